//! ext4 on images that mke2fs made, checked by e2fsck.
//!
//! A test mounts an image in this process, works on it through the VFS's traits, and asks e2fsck afterwards: after an
//! unmount, after a machine that vanished (the volume is forgotten without one), and of what our own recovery makes of it.

use super::*;
use crate::block::{BlockDevice, Disk};
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::inode::{FallocateMode, NewInode, NewKind, RenameMode, SeekTarget, SetAttributes, XattrMode};
use crate::mm::{IovDest, IovSource};
use crate::task::{Gid, Uid};
use ::alloc::collections::BTreeMap;
use ::alloc::format;
use ::alloc::string::String;
use ::alloc::vec;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};

mod damage;
mod hash_tree;
mod in_flight;

/// A host file as a device that can be made to die after a number of writes.
struct TestDevice {
    file: File,
    size: u64,
    /// Writes that still reach the file; later ones are lost without a word, as in a machine that was killed.
    writes_left: AtomicI64,
    read_only: bool,
}

impl BlockDevice for TestDevice {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(buf, offset).map_err(|_| Errno::EIO.into())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        assert!(offset + buf.len() as u64 <= self.size, "a write outside the image");
        if self.writes_left.fetch_sub(1, Ordering::Relaxed) > 0 {
            self.file.write_all_at(buf, offset).unwrap();
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

/// An image that goes with the test.
struct Image(PathBuf);

impl Drop for Image {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn run(program: &str, args: &[&str]) -> (Option<i32>, std::string::String) {
    let out = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program} (scripts/prepare): {e}"));
    (out.status.code(), format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
}

impl Image {
    fn new(name: &str, size: &str, options: &[&str]) -> Self {
        let path = std::env::temp_dir().join(format!("flatland-ext4-{}-{name}", std::process::id()));
        let image = Image(path);
        let _ = std::fs::remove_file(&image.0);
        let mut args = vec!["-q", "-F", "-t", "ext4"];
        args.extend(options);
        args.extend([image.name(), size]);
        let (code, text) = run("/sbin/mke2fs", &args);
        assert_eq!(code, Some(0), "{text}");
        image
    }

    fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn device(&self, writable: bool, writes: i64) -> Arc<TestDevice> {
        let file = File::options().read(true).write(true).open(&self.0).unwrap();
        let size = file.metadata().unwrap().len();
        Arc::new(TestDevice { file, size, writes_left: AtomicI64::new(writes), read_only: !writable })
    }

    fn mount_as(&self, writable: bool, writes: i64) -> core::result::Result<Arc<Ext4>, String> {
        let device = self.device(writable, writes);
        mount::open(&Disk { name: "test".into(), number: DeviceNumber::anonymous(), device }, writable)
    }

    fn mount(&self) -> Arc<Ext4> {
        self.mount_as(true, i64::MAX).unwrap()
    }

    /// `e2fsck -fn` has nothing to say.
    fn check(&self) {
        let (code, text) = run("/sbin/e2fsck", &["-fn", self.name()]);
        assert_eq!(code, Some(0), "{text}");
    }

    /// `e2fsck -fp` recovers, then `-fn` is clean.
    fn recover(&self) {
        let (code, text) = run("/sbin/e2fsck", &["-fp", self.name()]);
        assert!(matches!(code, Some(0 | 1)), "{code:?} {text}");
        self.check();
    }

    /// What debugfs shows of a file.
    fn cat(&self, path: &str) -> Vec<u8> {
        Command::new("/sbin/debugfs").args(["-R", &format!("cat {path}"), self.name()]).output().unwrap().stdout
    }
}

type Dir = Arc<dyn Inode>;

fn new(kind: NewKind<'_>) -> NewInode<'_> {
    NewInode { kind, mode: 0o644, uid: Uid(0), gid: Gid(0) }
}

fn make(dir: &Dir, name: &str) -> Dir {
    dir.create(name.as_bytes(), &new(NewKind::Regular)).unwrap()
}

fn mkdir(dir: &Dir, name: &str) -> Dir {
    dir.create(name.as_bytes(), &new(NewKind::Directory)).unwrap()
}

fn open(inode: &Dir, flags: OpenFlags) -> Arc<OpenFile> {
    OpenFile::anonymous(inode.clone().open(flags).unwrap(), flags)
}

fn write(inode: &Dir, offset: u64, bytes: &[u8]) -> Result<usize> {
    let file = open(inode, OpenFlags::RDWR);
    file.ops().write(&file, &mut IovSource::kernel(bytes), Some(offset))
}

fn read(inode: &Dir, offset: u64, len: usize) -> Vec<u8> {
    let file = open(inode, OpenFlags::RDWR);
    let mut buf = vec![0xee; len];
    let n = file.ops().read(&file, &mut IovDest::kernel(&mut buf), Some(offset)).unwrap();
    buf.truncate(n);
    buf
}

fn names(dir: &Dir) -> Vec<String> {
    let file = open(dir, OpenFlags::empty());
    let mut out = Vec::new();
    file.ops()
        .read_dir(&file, 2, &mut |e| {
            out.push(String::from_utf8(e.name.to_vec()).unwrap());
            true
        })
        .unwrap();
    out.sort();
    out
}

fn errno<T>(r: Result<T>) -> Option<Errno> {
    r.err().map(|e| e.errno())
}

/// The machine vanishes: nothing is written any more, and nothing is unmounted.
fn vanish(fs: Arc<Ext4>) {
    fs.volume.core.lock().mode = volume::Mode::Closed;
}

/// What mke2fs is told, in the variants that must work.
const VARIANTS: [(&str, &[&str]); 6] = [
    ("4k", &["-b", "4096"]),
    ("1k", &["-b", "1024"]),
    ("2k", &["-b", "2048"]),
    ("no-journal", &["-b", "4096", "-O", "^has_journal"]),
    ("no-csum", &["-b", "1024", "-O", "^metadata_csum,^64bit"]),
    ("old", &["-b", "4096", "-I", "128", "-O", "^metadata_csum,uninit_bg,^flex_bg"]),
];

#[test]
fn an_untouched_image_stays_clean() {
    for (name, options) in VARIANTS {
        let image = Image::new(&format!("untouched-{name}"), "40M", options);
        let fs = image.mount();
        assert_eq!(names(&fs.root()), ["lost+found"]);
        drop(fs);
        image.check();
    }
}

#[test]
fn ordinary_operations_leave_a_clean_image() {
    for (name, options) in VARIANTS {
        let image = Image::new(&format!("ordinary-{name}"), "64M", options);
        let fs = image.mount();
        let root: Dir = fs.root();
        let d = mkdir(&root, "dir");
        let f = make(&d, "file");
        assert_eq!(write(&f, 0, b"hello").unwrap(), 5);
        assert_eq!(write(&f, 100_000, &[7; 50_000]).unwrap(), 50_000);
        assert_eq!(read(&f, 0, 10), b"hello\0\0\0\0\0");
        assert_eq!(read(&f, 99_998, 4), [0, 0, 7, 7]);
        assert_eq!(read(&f, 150_000, 4), b"");
        d.link(b"second", &f).unwrap();
        root.create(b"short", &new(NewKind::Symlink(b"dir/file"))).unwrap();
        let long = [b'x'; 200];
        root.create(b"long", &new(NewKind::Symlink(&long))).unwrap();
        root.create(b"fifo", &new(NewKind::Fifo)).unwrap();
        root.create(b"null", &new(NewKind::CharDevice(DeviceNumber::new(1, 3)))).unwrap();
        root.create(b"big", &new(NewKind::BlockDevice(DeviceNumber::new(259, 70_000)))).unwrap();
        let g = make(&root, "gone");
        write(&g, 0, &[1; 300_000]).unwrap();
        root.unlink(b"gone").unwrap();
        drop(g);
        f.set_attributes(&SetAttributes { size: Some(120_001), ..Default::default() }).unwrap();
        mkdir(&d, "sub");
        d.rename(b"sub", &root, b"moved", RenameMode::Replace).unwrap();
        mkdir(&root, "target");
        root.rename(b"moved", &root, b"target", RenameMode::Replace).unwrap();
        assert_eq!(errno(root.rmdir(b"dir")), Some(Errno::ENOTEMPTY));
        assert_eq!(errno(root.create(b"dir", &new(NewKind::Regular))), Some(Errno::EEXIST));
        root.rename(b"dir", &root, b"fifo", RenameMode::Exchange).unwrap();
        f.set_xattr(b"user.a", b"small", XattrMode::Set).unwrap();
        f.set_xattr(b"user.b", &[3; 700], XattrMode::Set).unwrap();
        drop((d, f));
        fs.shut_down().unwrap();
        image.check();
        let fs = image.mount();
        let root: Dir = fs.root();
        assert_eq!(names(&root), ["big", "dir", "fifo", "long", "lost+found", "null", "short", "target"]);
        let d = root.lookup(b"fifo").unwrap();
        let f = d.lookup(b"second").unwrap();
        let meta = f.metadata().unwrap();
        assert_eq!((meta.size, meta.nlink), (120_001, 2));
        assert_eq!(read(&f, 119_999, 10), [7, 7]);
        assert_eq!(f.get_xattr(b"user.a").unwrap(), b"small");
        assert_eq!(f.get_xattr(b"user.b").unwrap(), [3; 700]);
        assert_eq!(root.lookup(b"big").unwrap().metadata().unwrap().rdev, DeviceNumber::new(259, 70_000));
        let link = root.lookup(b"long").unwrap();
        assert!(matches!(link.read_link().unwrap(), crate::fs::inode::LinkTarget::Text(t) if t == long));
        f.remove_xattr(b"user.b").unwrap();
        assert_eq!(f.list_xattrs().unwrap(), b"user.a\0");
        drop((d, f, link, root));
        drop(fs);
        image.check();
        assert!(image.cat("/fifo/second").starts_with(b"hello"));
        // An implementation by others reads the same.
        let view = ext4_view::Ext4::load_from_path(&image.0).unwrap();
        let bytes = view.read("/fifo/second").unwrap();
        assert_eq!((bytes.len(), &bytes[119_999..]), (120_001, &[7, 7][..]));
        assert_eq!(view.read_link("/short").unwrap().to_str().unwrap(), "dir/file");
    }
}

#[test]
fn large_directories_grow_and_shrink() {
    for (name, options) in [VARIANTS[0], VARIANTS[1]] {
        let image = Image::new(&format!("large-{name}"), "80M", options);
        // debugfs makes a directory with a hash tree for us to find.
        let fs = image.mount();
        let root: Dir = fs.root();
        let d = mkdir(&root, "many");
        for i in 0..3000 {
            make(&d, &format!("a-rather-long-name-for-a-file-{i}"));
        }
        drop(d);
        fs.shut_down().unwrap();
        image.check();
        // e2fsck makes a hash tree of it.
        let (code, text) = run("/sbin/e2fsck", &["-fyD", image.name()]);
        assert!(matches!(code, Some(0 | 1)), "{text}");
        let fs = image.mount();
        let d = fs.root().lookup(b"many").unwrap();
        assert_eq!(names(&d).len(), 3000);
        for i in (0..3000).step_by(2) {
            d.unlink(format!("a-rather-long-name-for-a-file-{i}").as_bytes()).unwrap();
        }
        fs.sync().unwrap();
        image.recover_copy();
        for i in 0..100 {
            make(&d, &format!("new-{i}"));
        }
        assert_eq!(names(&d).len(), 1600);
        drop(d);
        drop(fs);
        image.check();
    }
}

impl Image {
    /// Recovers a copy of the image as it is now, while it is mounted: what a kill at this moment would leave.
    fn recover_copy(&self) {
        let copy = Image(self.0.with_extension("copy"));
        std::fs::copy(&self.0, &copy.0).unwrap();
        copy.recover();
    }
}

#[test]
fn fragmented_files_get_deep_trees() {
    for (name, options) in [VARIANTS[0], VARIANTS[1], VARIANTS[4]] {
        let image = Image::new(&format!("fragmented-{name}"), "100M", options);
        let fs = image.mount();
        let root: Dir = fs.root();
        let f = make(&root, "sieve");
        for i in 0..3000u64 {
            assert_eq!(write(&f, i * 8192, &[i as u8; 100]).unwrap(), 100);
        }
        for i in (0..3000u64).step_by(7) {
            f.fallocate(FallocateMode::PunchHole, i * 8192, 8192).unwrap();
        }
        fs.sync().unwrap();
        image.recover_copy();
        assert_eq!(read(&f, 8 * 8192, 100), [8; 100]);
        assert_eq!(read(&f, 7 * 8192, 100), [0; 100]);
        f.fallocate(FallocateMode::Allocate { keep_size: false }, 0, 4000 * 8192).unwrap();
        assert_eq!(read(&f, 1000 * 8192, 3), [232; 3]);
        assert_eq!(f.seek_extent(7 * 8192, SeekTarget::Data).unwrap(), 8 * 8192);
        f.set_attributes(&SetAttributes { size: Some(5000), ..Default::default() }).unwrap();
        root.unlink(b"sieve").unwrap();
        drop(f);
        drop((root, fs));
        image.check();
    }
}

#[test]
fn a_full_disk_says_so_and_stays_clean() {
    let image = Image::new("full", "10M", &["-b", "1024"]);
    let fs = image.mount();
    let root: Dir = fs.root();
    let mut made = 0;
    let failed = loop {
        let f = make(&root, &format!("f{made}"));
        match write(&f, 0, &[made as u8; 1_000_000]) {
            Ok(1_000_000) => made += 1,
            Ok(_) => {}
            Err(e) => break e.errno(),
        }
        if made > 20 {
            break Errno::EINVAL;
        }
        if write(&f, 1_000_000, &[1; 100_000]).is_err() {
            break Errno::ENOSPC;
        }
    };
    assert_eq!(failed, Errno::ENOSPC);
    root.unlink(b"f0").unwrap();
    let f = make(&root, "again");
    assert_eq!(write(&f, 0, &[9; 500_000]).unwrap(), 500_000, "freed space serves again");
    drop((f, root));
    drop(fs);
    image.check();
}

#[test]
fn an_open_file_outlives_its_name() {
    let image = Image::new("orphan", "20M", &[]);
    let fs = image.mount();
    let root: Dir = fs.root();
    let free = fs.stat_fs().unwrap().blocks_free;
    let f = make(&root, "f");
    write(&f, 0, &[5; 1_000_000]).unwrap();
    root.unlink(b"f").unwrap();
    assert_eq!(read(&f, 999_999, 5), [5]);
    fs.sync().unwrap();
    image.recover_copy();
    drop(f);
    fs.sync().unwrap();
    assert_eq!(fs.stat_fs().unwrap().blocks_free, free);
    let t = root.create_unnamed(&new(NewKind::Regular)).unwrap();
    write(&t, 0, b"temporary").unwrap();
    fs.sync().unwrap();
    vanish(fs);
    drop((t, root));
    // Our own mount deletes what was left.
    let fs = image.mount();
    assert_eq!(fs.stat_fs().unwrap().blocks_free, free);
    drop(fs);
    image.check();
}

#[test]
fn what_was_synced_survives_a_vanished_machine() {
    for (name, options) in [VARIANTS[0], VARIANTS[1], VARIANTS[4]] {
        let image = Image::new(&format!("vanish-{name}"), "40M", options);
        let fs = image.mount();
        let root: Dir = fs.root();
        let f = make(&root, "synced");
        write(&f, 0, &[4; 100_000]).unwrap();
        f.sync(false).unwrap();
        let g = make(&root, "lost");
        write(&g, 0, &[6; 100_000]).unwrap();
        vanish(fs);
        drop((f, g, root));
        let copy = Image(image.0.with_extension("copy"));
        std::fs::copy(&image.0, &copy.0).unwrap();
        copy.recover();
        assert_eq!(copy.cat("/synced"), vec![4; 100_000]);
        // Read-only, nothing may be written: the journal is read through.
        let fs = image.mount_as(false, 0).unwrap();
        let f = fs.root().lookup(b"synced").unwrap();
        assert_eq!(read(&f, 0, 100_000), vec![4; 100_000]);
        assert_eq!(errno(fs.root().lookup(b"lost")), Some(Errno::ENOENT));
        drop((f, fs));
        let fs = image.mount();
        let f = fs.root().lookup(b"synced").unwrap();
        assert_eq!(read(&f, 0, 100_000), vec![4; 100_000]);
        drop((f, fs));
        image.check();
    }
}

/// A small random generator, so that a failure can be repeated from its seed.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % below
    }
}

/// What the tree should hold: contents by path.
type Model = BTreeMap<String, Vec<u8>>;

/// One random operation on tree and model.
fn step(root: &Dir, model: &mut Model, random: &mut Random) -> Option<String> {
    let dirs = 4;
    let path = |r: &mut Random| format!("d{}/f{}", r.next(dirs), r.next(40));
    let resolve = |p: &str| {
        let (d, f) = p.split_once('/').unwrap();
        (root.lookup(d.as_bytes()).unwrap(), String::from(f))
    };
    let p = path(random);
    let (dir, name) = resolve(&p);
    let name = name.as_bytes();
    match random.next(10) {
        0..4 => {
            let (at, len) = (random.next(60_000), random.next(30_000) as usize + 1);
            let bytes = vec![random.next(256) as u8; len];
            let inode = match dir.lookup(name) {
                Ok(inode) => inode,
                Err(_) => dir.create(name, &new(NewKind::Regular)).unwrap(),
            };
            assert_eq!(write(&inode, at, &bytes).unwrap(), len);
            let file = model.entry(p.clone()).or_default();
            let end = at as usize + len;
            file.resize(file.len().max(end), 0);
            file[at as usize..end].copy_from_slice(&bytes);
            if random.next(3) == 0 {
                inode.sync(random.next(2) == 0).unwrap();
                return Some(p);
            }
        }
        4..6 => {
            let done = dir.unlink(name);
            assert_eq!(done.is_ok(), model.remove(&p).is_some(), "{p}: {done:?}");
        }
        6..8 => {
            let q = path(random);
            let (to, new_name) = resolve(&q);
            let done = dir.rename(name, &to, new_name.as_bytes(), RenameMode::Replace);
            match model.remove(&p) {
                Some(file) => {
                    done.unwrap();
                    model.insert(q, file);
                }
                None => assert!(done.is_err()),
            }
        }
        8 => {
            if let Ok(inode) = dir.lookup(name) {
                let size = random.next(80_000);
                inode.set_attributes(&SetAttributes { size: Some(size), ..Default::default() }).unwrap();
                model.get_mut(&p).unwrap().resize(size as usize, 0);
            }
        }
        _ => {
            if let Ok(inode) = dir.lookup(name) {
                let (at, len) = (random.next(60_000), random.next(20_000) + 1);
                inode.fallocate(FallocateMode::PunchHole, at, len).unwrap();
                let file = model.get_mut(&p).unwrap();
                let (a, b) = ((at as usize).min(file.len()), ((at + len) as usize).min(file.len()));
                file[a..b].fill(0);
            }
        }
    }
    None
}

fn compare(root: &Dir, model: &Model) {
    let mut found = Model::new();
    for d in names(root).iter().filter(|n| n.starts_with('d')) {
        let dir = root.lookup(d.as_bytes()).unwrap();
        for f in names(&dir) {
            let inode = dir.lookup(f.as_bytes()).unwrap();
            let size = inode.metadata().unwrap().size as usize;
            found.insert(format!("{d}/{f}"), read(&inode, 0, size));
        }
    }
    assert_eq!(found.keys().collect::<Vec<_>>(), model.keys().collect::<Vec<_>>());
    for (path, bytes) in model {
        assert!(found[path] == *bytes, "{path} differs");
    }
}

#[test]
fn a_random_workload_agrees_with_a_model() {
    for (seed, (name, options)) in (1..).zip(VARIANTS) {
        let image = Image::new(&format!("random-{name}"), "64M", options);
        let (mut model, mut random) = (Model::new(), Random(seed));
        let fs = image.mount();
        for d in 0..4 {
            mkdir(&fs.root(), &format!("d{d}"));
        }
        drop(fs);
        for _ in 0..3 {
            let fs = image.mount();
            let root: Dir = fs.root();
            for _ in 0..300 {
                step(&root, &mut model, &mut random);
            }
            compare(&root, &model);
            drop((root, fs));
            image.check();
        }
        let fs = image.mount();
        compare(&(fs.root() as Dir), &model);
    }
}

#[test]
fn a_kill_at_any_write_loses_nothing_that_was_synced() {
    for (name, options) in [VARIANTS[0], VARIANTS[1]] {
        for round in 0..6u64 {
            let image = Image::new(&format!("kill-{name}-{round}"), "32M", options);
            let fs = image.mount();
            for d in 0..4 {
                mkdir(&fs.root(), &format!("d{d}"));
            }
            drop(fs);
            let mut random = Random(1000 + round);
            let device = image.device(true, 50 + random.next(600) as i64);
            let disk = Disk { name: "dying".into(), number: DeviceNumber::anonymous(), device: device.clone() };
            let fs = mount::open(&disk, true).unwrap();
            let root: Dir = fs.root();
            let mut model = Model::new();
            // Files as they were when they were last synced, and not touched since.
            let mut safe = Model::new();
            for _ in 0..200 {
                let before = model.clone();
                let synced = step(&root, &mut model, &mut random);
                let alive = device.writes_left.load(Ordering::Relaxed) > 0;
                if !alive {
                    // The last operation may or may not have happened.
                    safe.retain(|p, bytes| model.get(p) == Some(bytes) && before.get(p) == Some(bytes));
                    break;
                }
                safe.retain(|p, bytes| model.get(p) == Some(bytes));
                if let Some(p) = synced {
                    safe.insert(p.clone(), model[&p].clone());
                }
            }
            vanish(fs);
            drop(root);
            let copy = Image(image.0.with_extension("copy"));
            std::fs::copy(&image.0, &copy.0).unwrap();
            copy.recover();
            for check in [&copy, &image] {
                let fs = check.mount();
                for (path, bytes) in &safe {
                    let (d, f) = path.split_once('/').unwrap();
                    let inode = fs.root().lookup(d.as_bytes()).and_then(|d| d.lookup(f.as_bytes()));
                    let inode = inode.unwrap_or_else(|e| panic!("round {round}: {path}: {e}"));
                    assert!(read(&inode, 0, 200_000) == *bytes, "round {round}: {path} differs");
                }
                drop(fs);
                check.check();
            }
        }
    }
}

#[test]
fn a_read_only_mount_can_become_writable() {
    for options in [&[][..], &["-O", "^has_journal"]] {
        let image = Image::new("remount", "20M", options);
        let device = image.device(true, i64::MAX);
        let fs = mount::open(&Disk { name: "test".into(), number: DeviceNumber::anonymous(), device }, false).unwrap();
        let root: Dir = fs.root();
        assert_eq!(errno(root.create(b"f", &new(NewKind::Regular))), Some(Errno::EROFS));
        fs.make_writable().unwrap();
        write(&make(&root, "f"), 0, b"written").unwrap();
        drop((root, fs));
        image.check();
        assert_eq!(image.cat("/f"), b"written");
    }
}

#[test]
fn unsupported_features_are_refused_by_name() {
    for (feature, options) in [
        ("inline_data", &["-O", "inline_data"][..]),
        ("bigalloc", &["-O", "bigalloc"]),
        ("meta_bg", &["-O", "meta_bg,^resize_inode"]),
    ] {
        let image = Image::new(&format!("feature-{feature}"), "40M", options);
        let why = image.mount_as(true, i64::MAX).err().unwrap();
        assert!(why.contains(feature), "{why}");
    }
    let image = Image::new("quota", "40M", &["-O", "quota"]);
    assert!(image.mount().read_only(), "quota can be read only");
    let ext3 = Image::new("ext3", "40M", &["-O", "^extent,^64bit"]);
    assert!(ext3.mount_as(true, 1).err().unwrap().contains("extents"));
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let image = Image::new("damage", "8M", &["-b", "1024", "-N", "64"]);
    let fs = image.mount();
    let d = mkdir(&(fs.root() as Dir), "d");
    for i in 0..30 {
        let f = make(&d, &format!("file-{i}"));
        write(&f, 0, &[i as u8; 5000]).unwrap();
        f.set_xattr(b"user.x", &[1; 300], XattrMode::Set).unwrap();
    }
    drop(d);
    drop(fs);
    let clean = std::fs::read(&image.0).unwrap();
    let mut random = Random(77);
    for round in 0..150 {
        let mut bytes = clean.clone();
        for _ in 0..=random.next(4) {
            // Most of what there is to damage is in the first megabyte.
            let at = 1024 + random.next((1 << 20) - 1024) as usize;
            bytes[at] ^= 1 << random.next(8);
        }
        if round % 10 == 0 {
            bytes.truncate(1024 + random.next(4 << 20) as usize);
        }
        let copy = Image(image.0.with_extension("bad"));
        std::fs::write(&copy.0, &bytes).unwrap();
        let Ok(fs) = copy.mount_as(round % 2 == 0, i64::MAX) else { continue };
        let Ok(d) = fs.root().lookup(b"d") else { continue };
        for i in 0..30 {
            let name = format!("file-{i}");
            if let Ok(f) = d.lookup(name.as_bytes()) {
                let file = open(&f, OpenFlags::RDWR);
                let mut buf = [0; 6000];
                let _ = file.ops().read(&file, &mut IovDest::kernel(&mut buf), Some(0));
                let _ = f.get_xattr(b"user.x");
                let _ = file.ops().write(&file, &mut IovSource::kernel(&[1; 9000]), Some(0));
            }
            let _ = d.unlink(name.as_bytes());
        }
        let file = open(&d, OpenFlags::empty());
        let _ = file.ops().read_dir(&file, 2, &mut |_| true);
        let _ = fs.sync();
    }
}

#[test]
fn mapped_files_reach_the_disk() {
    let image = Image::new("mapped", "20M", &[]);
    let fs = image.mount();
    let root: Dir = fs.root();
    let f = make(&root, "f");
    write(&f, 0, &[1; 10_000]).unwrap();
    let file = open(&f, OpenFlags::RDWR);
    let crate::fs::file::MapSource::Host(fd) = file.ops().map_source(&file).unwrap() else { panic!() };
    rustix::io::pwrite(&*fd, b"through the mapping", 5000).unwrap();
    assert_eq!(read(&f, 5000, 7), b"through");
    f.sync(true).unwrap();
    write(&f, 20_000, b"beyond").unwrap();
    f.set_attributes(&SetAttributes { size: Some(20_003), ..Default::default() }).unwrap();
    drop((fd, file, f, root));
    drop(fs);
    image.check();
    let bytes = image.cat("/f");
    assert_eq!(bytes.len(), 20_003);
    assert_eq!(&bytes[5000..5019], b"through the mapping");
    assert_eq!(&bytes[20_000..], b"bey");
}

#[test]
fn a_hole_beyond_the_end_takes_the_last_block() {
    let image = Image::new("punch-end", "20M", &["-b", "4096"]);
    let fs = image.mount();
    write(&make(&(fs.root() as Dir), "f"), 0, &[7; 75_337]).unwrap();
    drop(fs);
    // Nothing of the file is in memory now.
    let fs = image.mount();
    let f = fs.root().lookup(b"f").unwrap();
    f.fallocate(FallocateMode::PunchHole, 20_022, 57_620).unwrap();
    assert_eq!(read(&f, 73_728, 4096), [0; 1609]);
    assert_eq!(f.seek_extent(0, SeekTarget::Hole).unwrap(), 20_480);
    assert_eq!(errno(f.seek_extent(20_480, SeekTarget::Data)), Some(Errno::ENXIO));
    drop((f, fs));
    image.check();
}
