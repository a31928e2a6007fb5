//! One random workload on the host's own ext4 and on ours: the trees must be the same.
//!
//! `workload.c` makes changes that follow from a seed. It runs natively on a loop mount of an image and in a guest on a
//! copy of that image, in stages with an unmount between them; what it prints on the way and the trees that it leaves must
//! agree, e2fsck must find nothing, and the host's kernel must read from the guest's image what the guest reads. Where loop
//! mounts are not permitted, a directory of the host is the model, without the places of holes.
//!
//! `FLATLAND_STEPS=100000 cargo test -p kernel --test storage in_step` runs longer, `FLATLAND_SEED=` another course.

use super::*;

/// An image that the host's kernel has mounted; unmounted when dropped.
struct LoopMount(PathBuf);

impl LoopMount {
    fn new(image: &str, at: &Path) -> Option<Self> {
        fs::create_dir_all(at).expect("a mount point");
        let out = Command::new("mount").args(["-t", "ext4", "-o", "loop", image]).arg(at).output().ok()?;
        out.status.success().then(|| LoopMount(at.to_owned()))
    }
}

impl Drop for LoopMount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: a number is accepted")))
}

/// Output of the workload on the host.
fn natively(program: &str, args: &[&str], dir: &Path) -> Vec<u8> {
    let out = Command::new(program).args(args).arg(dir).output().expect("it starts");
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stdout));
    out.stdout
}

/// Output of the workload as init of a guest.
fn in_guest(image: &str, args: &[&str]) -> Vec<u8> {
    let out = Command::new(env!("CARGO_BIN_EXE_vmlinux"))
        .args([&format!("ubd0={image}"), "rw", "mem=128m", "quiet", "init=/workload", "--"])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("vmlinux starts");
    let text = out.stdout.into_iter().filter(|&b| b != b'\r').collect::<Vec<u8>>();
    assert!(
        out.status.success(),
        "{args:?}: {}{}",
        String::from_utf8_lossy(&text),
        String::from_utf8_lossy(&out.stderr)
    );
    text
}

/// The two must be equal; shows the first line that is not.
fn same(what: &str, native: &[u8], guest: &[u8]) {
    if native != guest {
        let mut pairs = native.split(|&b| b == b'\n').zip(guest.split(|&b| b == b'\n'));
        let (n, g) = pairs.find(|(n, g)| n != g).unwrap_or((b"(more lines)", b"(or fewer)"));
        panic!("{what}\nnative: {}\nguest:  {}", String::from_utf8_lossy(n), String::from_utf8_lossy(g));
    }
}

#[test]
fn a_random_workload_ends_as_on_native_ext4() {
    let s = Scratch::new("in-step");
    let program = s.path("workload");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/storage/workload.c").display().to_string();
    host("gcc", &["-O2", "-static", "-o", &program, &source]);
    let (steps, seed) = (number("FLATLAND_STEPS", 1200), number("FLATLAND_SEED", 6));
    let variants: [(&str, &[&str]); 6] = [
        ("4 KB", &["-b", "4096"]),
        ("1 KB", &["-b", "1024"]),
        ("2 KB", &["-b", "2048"]),
        ("4 KB without a journal", &["-b", "4096", "-O", "^has_journal"]),
        ("1 KB without a journal", &["-b", "1024", "-O", "^has_journal"]),
        ("1 KB without checksums", &["-b", "1024", "-O", "^metadata_csum,^64bit"]),
    ];
    for (n, (name, options)) in (0..).zip(variants) {
        let tree = s.path("tree");
        fs::create_dir_all(format!("{tree}/t")).expect("a directory");
        fs::create_dir_all(format!("{tree}/dev")).expect("a directory");
        fs::copy(&program, format!("{tree}/workload")).expect("a copy");
        let (ours, theirs) = (s.path("ours"), s.path("theirs"));
        let mut words = vec!["-q", "-F", "-t", "ext4", "-N", "30000", "-d", &tree];
        words.extend(options);
        words.extend([ours.as_str(), "256M"]);
        host("/sbin/mke2fs", &words);
        fs::copy(&ours, &theirs).expect("a copy");
        let (at, plain) = (s.0.join("mounted"), s.0.join(format!("plain-{n}/t")));
        fs::create_dir_all(&plain).expect("a directory");
        let mut loops = true;
        for stage in 0..3 {
            let seed = (seed + 100 * n + stage).to_string();
            let steps = (steps / 3).to_string();
            let mounted = LoopMount::new(&theirs, &at);
            if mounted.is_none() && stage == 0 {
                println!("loop mounts are not permitted here: {} is the model", plain.display());
                loops = false;
            }
            let dir = if mounted.is_some() { at.join("t") } else { plain.clone() };
            let native = natively(&program, &["run", &seed, &steps], &dir);
            drop(mounted);
            let guest = in_guest(&ours, &["run", &seed, &steps, "/t"]);
            same(&format!("{name}, seed {seed}, on the way"), &native, &guest);
            check(&ours);
        }
        let map: &[&str] = if loops { &[] } else { &["nomap"] };
        let dump = |dir: &Path| {
            let out = Command::new(&program).arg("dump").arg(dir).args(map).output().expect("it starts");
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
            out.stdout
        };
        let mut args = vec!["dump", "/t"];
        args.extend(map);
        let guest = in_guest(&ours, &args);
        assert!(guest.len() > 10_000, "{name}: a tree of {} bytes", guest.len());
        if loops {
            let mounted = LoopMount::new(&theirs, &at).expect("it was possible before");
            same(&format!("{name}: the trees"), &dump(&at.join("t")), &guest);
            drop(mounted);
            let mounted = LoopMount::new(&ours, &at).expect("the guest's image mounts");
            same(&format!("{name}: the guest's image, read by the host"), &dump(&at.join("t")), &guest);
            drop(mounted);
        } else {
            same(&format!("{name}: the trees"), &dump(&plain), &guest);
        }
        check(&ours);
    }
}
