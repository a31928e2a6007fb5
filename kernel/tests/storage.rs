//! Boots `vmlinux` from ext4 images and looks at them with e2fsprogs; COW files with uml-utilities.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[path = "storage/in_step.rs"]
mod in_step;

/// A scratch directory that goes with the test.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a program of the host; panics with its output if it fails.
fn host(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program} (scripts/prepare): {e}"));
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{program} {args:?}: {text}");
    text
}

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("storage-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a scratch directory");
        Scratch(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// A root directory with busybox and nothing else.
    fn root(&self) -> String {
        let root = self.0.join("root");
        for d in ["bin", "dev", "etc", "proc", "sys", "tmp", "run", "mnt"] {
            fs::create_dir_all(root.join(d)).expect("a directory");
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static (scripts/prepare)");
        for applet in ["sh", "ls", "cat", "sync", "mkdir", "rm", "mount", "umount", "dd", "sleep", "echo", "mv", "stat"]
        {
            symlink("busybox", root.join("bin").join(applet)).expect("a link");
        }
        root.display().to_string()
    }

    /// An ext4 image of that root.
    fn image(&self, name: &str, options: &[&str]) -> String {
        let (root, image) = (self.root(), self.path(name));
        let mut args = vec!["-q", "-F", "-t", "ext4", "-d", &root];
        args.extend(options);
        args.extend([image.as_str(), "48M"]);
        host("/sbin/mke2fs", &args);
        fs::remove_dir_all(root).expect("the root can be removed");
        image
    }
}

fn vmlinux(words: &[&str], script: &str) -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_vmlinux"));
    c.args(["mem=64m", "quiet", "init=/bin/sh"]).args(words).args(["--", "-c", script]).stdin(Stdio::null());
    c
}

fn run(words: &[&str], script: &str) -> Output {
    vmlinux(words, script).output().expect("vmlinux starts")
}

/// The script must succeed; returns what it printed.
fn boot(words: &[&str], script: &str) -> String {
    let out = run(words, script);
    let (text, log) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{words:?} {script}: {:?}\n{text}\n{log}", out.status);
    text.replace('\r', "")
}

fn refusal(words: &[&str]) -> String {
    let out = run(words, "true");
    assert_eq!(out.status.code(), Some(2), "{words:?}");
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

fn check(image: &str) {
    host("/sbin/e2fsck", &["-fn", image]);
}

#[test]
fn an_image_is_the_root_and_stays_clean() {
    let s = Scratch::new("root");
    for (name, options) in [
        ("default", &[][..]),
        ("4k", &["-b", "4096"]),
        ("plain", &["-O", "^has_journal,^metadata_csum,^64bit", "-b", "1024"]),
    ] {
        let image = s.image(name, options);
        let ubd = format!("ubd0={image}");
        let text = boot(
            &[&ubd, "rw"],
            "mkdir /d; echo hello > /d/f; mv /d/f /g; cat /proc/mounts; dd if=/dev/zero of=/z bs=1000 count=3000 2>/dev/null",
        );
        assert!(text.contains("/dev/ubda / ext4 rw"), "{text}");
        check(&image);
        let shown = host("/sbin/debugfs", &["-R", "cat /g", &image]);
        assert!(shown.contains("hello"), "{shown}");
        let text = boot(&[&ubd, "ro"], "cat /g; stat -c %s /z; echo no > /h || echo refused");
        assert!(text.contains("hello\n3000000\n") && text.contains("refused"), "{text}");
        check(&image);
    }
}

/// Where the first partition begins.
const START: u64 = 2048 * 512;

/// Writes a disk with one partition (MBR) that holds the file system `image`.
fn partitioned(disk: &str, image: &str) {
    let fs_bytes = fs::read(image).expect("the image");
    let file = File::create(disk).expect("a disk");
    let (start, sectors) = ((START / 512) as u32, (fs_bytes.len() / 512) as u32);
    file.set_len(START + fs_bytes.len() as u64).expect("a size");
    file.write_all_at(&fs_bytes, START).expect("the file system");
    file.write_all_at(&[0x83], 446 + 4).expect("the table");
    file.write_all_at(&start.to_le_bytes(), 446 + 8).expect("the table");
    file.write_all_at(&sectors.to_le_bytes(), 446 + 12).expect("the table");
    file.write_all_at(&[0x55, 0xaa], 510).expect("the signature");
}

#[test]
fn partitions_and_second_disks_are_mounted() {
    let s = Scratch::new("partitions");
    let image = s.image("fs", &[]);
    let disk = s.path("disk");
    partitioned(&disk, &image);
    let text = boot(
        &[&format!("ubd0={disk}"), &format!("ubd1r={image}"), "root=/dev/ubda1", "rw"],
        "ls /dev; cat /proc/partitions; mount -t ext4 -o ro /dev/ubdb /mnt && ls /mnt && umount /mnt && echo unmounted; \
         mount -t ext4 /dev/ubdb /nowhere || true; dd if=/dev/ubdb bs=1k count=2 2>/dev/null | cat > /sb; stat -c %s /sb",
    );
    for word in ["ubda1", "ubdb", "98       16", "lost+found", "unmounted", "2048"] {
        assert!(text.contains(word), "no {word} in {text}");
    }
    check(&image);
}

#[test]
fn mounting_and_unmounting_inside_leaves_a_clean_image() {
    let s = Scratch::new("inside");
    let (image, second) = (s.image("a", &[]), s.image("b", &[]));
    boot(
        &[&format!("ubd0={image}"), &format!("ubd1={second}"), "rw"],
        "mount -t ext4 /dev/ubdb /mnt && echo inside > /mnt/new && umount /mnt && \
         mount -t ext4 /dev/ubdb /mnt && cat /mnt/new && umount /mnt",
    );
    check(&second);
    assert!(host("/sbin/debugfs", &["-R", "cat /new", &second]).contains("inside"));
}

#[test]
fn cow_files_go_to_and_from_uml_utilities() {
    let s = Scratch::new("cow");
    let image = s.image("base", &[]);
    let before = fs::read(&image).expect("the image");
    for ours in [true, false] {
        let (cow, merged) = (s.path(&format!("cow-{ours}")), s.path(&format!("merged-{ours}")));
        if !ours {
            host("uml_mkcow", &[&cow, &image]);
        }
        boot(
            &[&format!("ubd0={cow},{image}"), "rw"],
            "echo changed > /c; dd if=/dev/zero of=/z bs=777 count=999 2>/dev/null",
        );
        // The COW file knows its image.
        assert!(boot(&[&format!("ubd0={cow}"), "rw"], "cat /c").contains("changed"));
        assert!(fs::read(&image).expect("the image") == before, "the image was written");
        host("uml_moo", &[&cow, &merged]);
        check(&merged);
        assert!(host("/sbin/debugfs", &["-R", "cat /c", &merged]).contains("changed"));
        assert!(fs::metadata(&cow).expect("the COW file").len() > before.len() as u64);
    }
    let (one, two) = (s.path("one"), s.path("two"));
    let mut first = vmlinux(&[&format!("ubd0={one},{image}"), "rw"], "echo up; sleep 60")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("vmlinux starts");
    wait_for(&mut first, "up");
    boot(&[&format!("ubd0={two},{image}"), "rw"], "echo second > /s");
    kill(first);
}

/// A loop device of the host's over a file, detached with the test.
struct Loop(String);

impl Loop {
    /// `None`, with a word why, where the host permits none.
    fn over(file: &str) -> Option<Self> {
        let made =
            Command::new("losetup").args(["--find", "--show", file]).output().expect("losetup (scripts/prepare)");
        if !made.status.success() {
            eprintln!("skipped: no loop device here: {}", String::from_utf8_lossy(&made.stderr).trim());
            return None;
        }
        Some(Loop(String::from_utf8_lossy(&made.stdout).trim().to_owned()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[test]
fn a_block_device_of_the_host_is_a_disk() {
    let s = Scratch::new("device");
    let (image, disk, cow) = (s.image("fs", &[]), s.path("disk"), s.path("cow"));
    partitioned(&disk, &image);
    let Some(device) = Loop::over(&disk) else { return };
    let device = device.0.as_str();
    let partition = || {
        let bytes = fs::read(&disk).expect("the disk");
        fs::write(&image, &bytes[START as usize..]).expect("the file system");
        check(&image);
        host("/sbin/debugfs", &["-R", "ls -p /", &image])
    };

    // Its partitions, and its size in KB.
    let rooted = |spec: &str, more: &str, script: &str| boot(&[spec, "root=/dev/ubda1", more], script);
    let text = rooted(&format!("ubd0={device}"), "rw", "echo one > /one; cat /proc/partitions /proc/mounts");
    let size = fs::metadata(&disk).expect("the disk").len() / 1024;
    assert!(text.contains(&format!("{size} ubda\n")) && text.contains(" ubda1\n"), "{text}");
    assert!(text.contains("/dev/ubda1 / ext4 rw"), "{text}");
    assert!(partition().contains("/one/"), "what was written is on the device");

    // Writes that wait for the disk; the same disk twice; somebody else's.
    rooted(&format!("ubd0s={device}"), "rw", "echo two > /two; sync");
    assert!(partition().contains("/two/"));
    let twice = refusal(&[&format!("ubd0={device}"), &format!("ubd1={device}"), "rw"]);
    assert!(twice.contains("in use"), "{twice}");
    let mut first = vmlinux(&[&format!("ubd0={device}"), "root=/dev/ubda1", "rw"], "echo up; sleep 60")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    wait_for(&mut first, "up");
    let text = refusal(&[&format!("ubd0={device}"), "root=/dev/ubda1", "rw"]);
    assert!(text.contains(&format!("process {}", first.id())) && text.contains("in use"), "{text}");
    kill(first);

    // Read-only: nothing reaches it, although the machine asks for rw. Shared: two machines at once.
    let before = fs::read(&disk).expect("the disk");
    let read_only = format!("ubd0r={device}");
    let text =
        rooted(&read_only, "ro", "cat /one; echo x > /three || echo refused; echo x > /dev/ubda || echo refused");
    assert_eq!(text.matches("refused").count(), 2, "{text}");
    let mut first = vmlinux(&[&format!("ubd0rc={device}"), "root=/dev/ubda1", "ro"], "cat /one; sleep 60")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    wait_for(&mut first, "one");
    assert_eq!(rooted(&format!("ubd0rc={device}"), "ro", "cat /two"), "two\n");
    kill(first);

    // A COW file over it takes what is written.
    let layered = format!("ubd0={cow},{device}");
    rooted(&layered, "rw", "echo four > /four; rm /one");
    assert_eq!(rooted(&layered, "rw", "cat /four; ls /one 2>/dev/null || true"), "four\n");
    assert!(fs::read(&disk).expect("the disk") == before, "the device was written to");
}

fn wait_for(child: &mut Child, word: &str) {
    let out = child.stdout.as_mut().expect("piped");
    let mut line = String::new();
    let mut reader = BufReader::new(out);
    while !line.contains(word) {
        line.clear();
        assert!(reader.read_line(&mut line).expect("output") > 0, "the guest ended early");
    }
}

fn kill(mut child: Child) {
    child.kill().expect("the guest can be killed");
    child.wait().expect("and waited for");
}

#[test]
fn an_image_in_use_is_refused_with_the_holder() {
    let s = Scratch::new("busy");
    let image = s.image("image", &[]);
    let ubd = format!("ubd0={image}");
    let mut first = vmlinux(&[&ubd, "rw"], "echo up; sleep 60")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    wait_for(&mut first, "up");
    let text = refusal(&[&ubd, "rw"]);
    assert!(text.contains(&format!("process {}", first.id())) && text.contains("in use"), "{text}");
    kill(first);
    boot(&[&ubd, "rw"], "true");
    let twice = refusal(&[&ubd, &format!("ubd1={image}"), "rw"]);
    assert!(twice.contains("already in use"), "{twice}");
}

#[test]
fn bad_images_are_refused_in_one_line() {
    let s = Scratch::new("bad");
    let image = s.image("good", &[]);
    assert!(refusal(&["ubd0=/no/such/image"]).contains("rootfs build --ext4"));
    assert!(refusal(&[&format!("ubd0={}", s.0.display())]).contains("hostfs"));
    let junk = s.path("junk");
    fs::write(&junk, vec![7u8; 1 << 20]).expect("a file");
    assert!(refusal(&[&format!("ubd0={junk}")]).contains("not an ext4 file system"));
    let short = s.path("short");
    fs::write(&short, &fs::read(&image).expect("the image")[..4 << 20]).expect("a file");
    assert!(refusal(&[&format!("ubd0={short}")]).contains("cut short"));
    assert!(refusal(&[&format!("ubd0={image}"), "root=/dev/ubdc"]).contains("/dev/ubda"));
    let inline = s.image("inline", &["-O", "inline_data"]);
    assert!(refusal(&[&format!("ubd0={inline}")]).contains("inline_data"));
}

/// The script that is killed: it tells of each file once it is synced.
const WORKLOAD: &str = "i=0; while :; do i=$((i+1)); mkdir /d$i; echo contents $i > /d$i/f; \
     dd if=/dev/zero of=/z$((i%5)) bs=4k count=$((i%90)) 2>/dev/null; rm -rf /d$((i-30)); sync; echo synced $i; \
     echo junk > /d$i/g; mv /d$i/g /d$i/h; done";

#[test]
fn kills_at_random_moments_lose_nothing_that_was_synced() {
    let s = Scratch::new("kills");
    let image = s.image("image", &["-b", "1024"]);
    let ubd = format!("ubd0={image}");
    let mut seed = u64::from(std::process::id());
    for round in 0..4 {
        let mut child =
            vmlinux(&[&ubd, "rw"], WORKLOAD).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts");
        let mut out = child.stdout.take().expect("piped");
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let run_for = Duration::from_millis(400 + (seed >> 33) % 900);
        let started = Instant::now();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = out.read_to_string(&mut text);
            text
        });
        sleep(run_for.saturating_sub(started.elapsed()));
        kill(child);
        let told = reader.join().expect("the reader ends");
        let last =
            told.lines().filter_map(|l| l.trim().strip_prefix("synced ")?.parse::<u32>().ok()).max().unwrap_or(0);
        // Our own recovery, on a copy; e2fsck's on the image.
        let copy = s.path("copy");
        fs::copy(&image, &copy).expect("a copy");
        let shown = boot(&[&format!("ubd0={copy}"), "rw"], &format!("cat /d{last}/f || [ {last} = 0 ]"));
        assert!(last == 0 || shown.contains(&format!("contents {last}")), "round {round}: {last}: {shown}");
        check(&copy);
        let preen = Command::new("/sbin/e2fsck").args(["-fp", &image]).output().expect("e2fsck");
        assert!(
            matches!(preen.status.code(), Some(0 | 1)),
            "round {round}: {}",
            String::from_utf8_lossy(&preen.stdout)
        );
        check(&image);
        for i in last.saturating_sub(20).max(1)..=last {
            let shown = host("/sbin/debugfs", &["-R", &format!("cat /d{i}/f"), &image]);
            assert!(shown.contains(&format!("contents {i}")), "round {round}: {i} of {last}: {shown}");
        }
        boot(&[&ubd, "rw"], "rm -rf /d[0-9]* /z[0-9]*");
        check(&image);
    }
}

#[test]
fn an_overlay_lets_many_guests_use_one_image() {
    let s = Scratch::new("overlay");
    let image = s.image("image", &[]);
    let before = fs::read(&image).expect("the image");
    let words = [format!("ubd0={image}"), "rootflags=overlay".into(), "rw".into()];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut first = vmlinux(&words, "echo mine > /f; echo up; sleep 60")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("vmlinux starts");
    wait_for(&mut first, "up");
    let text = boot(
        &words,
        "rm /bin/ls; [ -e /bin/ls ] || echo ls is gone; echo x > /g; cat /g; cat /f 2>&1; mkdir /etc/new; cat /proc/mounts; sh -c 'echo $0'",
    );
    assert!(text.contains("overlay / overlay rw") || text.contains("/dev/ubda / overlay rw"), "{text}");
    assert!(text.contains("x\n") && text.contains("ls is gone") && text.contains("No such file"), "{text}");
    kill(first);
    assert!(fs::read(&image).expect("the image") == before, "the image was written");
    let root = s.root();
    let flags = format!("rootflags={root},overlay");
    boot(&["rootfstype=hostfs", &flags, "rw"], "echo x > /file && rm -r /mnt && cat /file");
    assert!(!Path::new(&root).join("file").exists() && Path::new(&root).join("mnt").exists());
}

#[test]
fn an_initrd_is_the_root() {
    let s = Scratch::new("initrd");
    let root = s.root();
    fs::write(
        Path::new(&root).join("init"),
        "#!/bin/sh\necho from /init $1; cat /proc/mounts; echo x > /y && cat /y\n",
    )
    .expect("an init");
    host("/bin/chmod", &["755", &format!("{root}/init")]);
    for (name, compressor) in [("plain", "cat"), ("gzip", "gzip"), ("zstd", "zstd -q")] {
        let file = s.path(name);
        host(
            "/bin/sh",
            &["-c", &format!("cd {root} && find . | busybox cpio -o -H newc 2>/dev/null | {compressor} > {file}")],
        );
        let out = Command::new(env!("CARGO_BIN_EXE_vmlinux"))
            .args(["mem=64m", "quiet", &format!("initrd={file}"), "--", "arg"])
            .stdin(Stdio::null())
            .output()
            .expect("vmlinux starts");
        let text = String::from_utf8_lossy(&out.stdout).replace('\r', "");
        assert!(
            text.contains("from /init arg") && text.contains("rootfs / tmpfs rw") && text.ends_with("x\n"),
            "{text}"
        );
    }
    assert!(refusal(&["initrd=/no/such/file"]).contains("cpio"));
    assert!(refusal(&["initrd=/bin/busybox"]).contains("not a cpio"));
}
