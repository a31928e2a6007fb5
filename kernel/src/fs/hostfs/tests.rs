//! hostfs on a temporary directory, with what a hostile host directory may hold.

use super::*;
use crate::fs::file::{MapSource, OpenFile, OpenFlags};
use crate::fs::inode::{FileKind, NewKind, RenameMode};
use crate::fs::lookup::Resolve;
use crate::fs::mount::{Mount, MountFlags};
use crate::fs::{Actor, FsContext, Path, io};
use crate::mm::{IovDest, IovSource};
use crate::task::Credentials;
use std::fs as host;
use std::path::PathBuf;

struct TempDir(PathBuf);

impl TempDir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(alloc::format!("flatland-hostfs-{}-{name}", std::process::id()));
        let _ = host::remove_dir_all(&path);
        host::create_dir_all(path.join("root")).unwrap();
        TempDir(path)
    }

    fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    fn actor(&self, writable: bool) -> Actor {
        let fs = HostFs::open(self.root().to_str().unwrap(), writable).unwrap();
        let root = Path::mount_root(&Mount::unattached(fs, "hostfs", MountFlags::empty()));
        Actor { fs: Arc::new(FsContext::at(root.clone(), root, 0o022)), who: Arc::new(Credentials::root()) }
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = host::remove_dir_all(&self.0);
    }
}

fn open(a: &Actor, name: &str, flags: OpenFlags) -> Result<Arc<OpenFile>> {
    a.open(None, name.as_bytes(), flags, 0o640, Resolve::empty())
}

fn text(file: &OpenFile) -> String {
    let mut buf = [0; 100];
    let n = io::read_seekable(file, &mut IovDest::kernel(&mut buf), Some(0)).unwrap();
    String::from_utf8(buf[..n].to_vec()).unwrap()
}

fn errno<T>(r: Result<T>) -> Option<Errno> {
    r.err().map(|e| e.errno())
}

#[test]
fn nothing_outside_the_directory_can_be_reached() {
    let dir = TempDir::new("hostile");
    host::write(dir.0.join("secret"), "secret").unwrap();
    host::create_dir(dir.root().join("sub")).unwrap();
    std::os::unix::fs::symlink("../secret", dir.root().join("up")).unwrap();
    std::os::unix::fs::symlink(dir.0.join("secret"), dir.root().join("absolute")).unwrap();
    std::os::unix::fs::symlink("..", dir.root().join("parent")).unwrap();
    std::os::unix::fs::symlink("/proc/self/root", dir.root().join("escape")).unwrap();
    let a = dir.actor(true);
    let absolute = dir.0.join("secret");
    for name in
        ["up", "absolute", "parent/secret", "../secret", "sub/../../secret", absolute.to_str().unwrap(), "escape/etc"]
    {
        assert_eq!(errno(open(&a, name, OpenFlags::empty())), Some(Errno::ENOENT), "{name}");
    }
    // The link that leads up ends at the guest's own root.
    assert_eq!(a.resolve(None, b"parent", Resolve::empty()).unwrap(), a.fs.root());
    assert_eq!(errno(a.fs.root().inode().lookup(b"..")), Some(Errno::EINVAL));
    assert_eq!(errno(a.fs.root().inode().lookup(b"sub/x")), Some(Errno::EINVAL));
    assert_eq!(errno(a.fs.root().inode().lookup(b"")), Some(Errno::EINVAL));
    // Writing through such a link makes no file outside.
    assert_eq!(errno(open(&a, "absolute", OpenFlags::CREAT | OpenFlags::WRONLY)), Some(Errno::ENOENT));
    assert_eq!(host::read_to_string(dir.0.join("secret")).unwrap(), "secret");
}

#[test]
fn files_are_read_listed_and_mapped() {
    let dir = TempDir::new("read");
    host::write(dir.root().join("file"), "contents").unwrap();
    host::create_dir(dir.root().join("sub")).unwrap();
    let a = dir.actor(false);
    let f = open(&a, "/file", OpenFlags::empty()).unwrap();
    assert_eq!(text(&f), "contents");
    let meta = f.metadata().unwrap();
    assert_eq!((meta.size, meta.kind, meta.id.dev.major()), (8, FileKind::Regular, 0));
    assert!(matches!(f.ops().map_source(&f), Ok(MapSource::Host(_))));
    let d = open(&a, "/", OpenFlags::DIRECTORY).unwrap();
    let mut names = Vec::new();
    d.ops()
        .read_dir(&d, 0, &mut |e| {
            names.push(String::from_utf8_lossy(e.name).into_owned());
            true
        })
        .unwrap();
    names.sort();
    assert_eq!(names, [".", "..", "file", "sub"]);
    assert_eq!(errno(open(&a, "/new", OpenFlags::CREAT)), Some(Errno::EROFS));
    assert_eq!(errno(open(&a, "/file", OpenFlags::RDWR)), Some(Errno::EROFS));
    assert_eq!(errno(a.unlink(None, b"/file")), Some(Errno::EROFS));
    assert_eq!(errno(a.chmod(f.path().unwrap(), 0o777)), Some(Errno::EROFS));
}

#[test]
fn changes_reach_the_host_and_come_from_it() {
    let dir = TempDir::new("write");
    let a = dir.actor(true);
    let f = open(&a, "/new", OpenFlags::CREAT | OpenFlags::RDWR).unwrap();
    io::write_seekable(&f, &mut IovSource::kernel(b"one"), None).unwrap();
    assert_eq!(host::read_to_string(dir.root().join("new")).unwrap(), "one");
    assert_eq!(f.metadata().unwrap().mode, 0o640);
    a.mkdir(None, b"/d", 0o755).unwrap();
    a.rename((None, b"/new"), (None, b"/d/moved"), RenameMode::Replace).unwrap();
    assert!(dir.root().join("d/moved").exists());
    a.truncate(f.path().unwrap(), 1).unwrap();
    assert_eq!(text(&f), "o");
    // The host replaces the file: after the time of trust the guest sees the new one, the open one stays.
    host::write(dir.root().join("d/other"), "two").unwrap();
    host::rename(dir.root().join("d/other"), dir.root().join("d/moved")).unwrap();
    std::thread::sleep(TRUST + core::time::Duration::from_millis(20));
    assert_eq!(text(&open(&a, "/d/moved", OpenFlags::empty()).unwrap()), "two");
    assert_eq!(text(&f), "o");
    let appender = open(&a, "/d/moved", OpenFlags::WRONLY | OpenFlags::APPEND).unwrap();
    io::write_seekable(&appender, &mut IovSource::kernel(b"+"), None).unwrap();
    assert_eq!(*appender.offset(), 4);
    assert_eq!(host::read_to_string(dir.root().join("d/moved")).unwrap(), "two+");
    // O_APPEND goes and comes (F_SETFL), on the host's side, too.
    appender.set_status_flags(OpenFlags::empty());
    io::write_seekable(&appender, &mut IovSource::kernel(b"T"), Some(0)).unwrap();
    appender.set_status_flags(OpenFlags::APPEND);
    *appender.offset() = 0;
    io::write_seekable(&appender, &mut IovSource::kernel(b"!"), None).unwrap();
    assert_eq!(host::read_to_string(dir.root().join("d/moved")).unwrap(), "Two+!");
}

#[test]
fn devices_on_the_host_are_not_made_and_fifos_are_the_guests() {
    let dir = TempDir::new("nodes");
    let a = dir.actor(true);
    let null = NewKind::CharDevice(DeviceNumber::new(1, 3));
    assert_eq!(errno(a.mknod(None, b"/null", null, 0o666)), Some(Errno::EPERM));
    a.mknod(None, b"/fifo", NewKind::Fifo, 0o600).unwrap();
    let write = OpenFlags::WRONLY | OpenFlags::NONBLOCK;
    assert_eq!(errno(open(&a, "/fifo", write)), Some(Errno::ENXIO));
    let r = open(&a, "/fifo", OpenFlags::NONBLOCK).unwrap();
    let w = open(&a, "/fifo", write).unwrap();
    w.ops().write(&w, &mut IovSource::kernel(b"through"), None).unwrap();
    let mut buf = [0; 20];
    assert_eq!(r.ops().read(&r, &mut IovDest::kernel(&mut buf), None).unwrap(), 7);
}

#[test]
fn owners_are_mapped_for_who_is_not_root_on_the_host() {
    use crate::fs::inode::{NewInode, SetAttributes};
    use crate::task::{Gid, Uid};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let dir = TempDir::new("owners");
    let own = host::metadata(dir.root()).unwrap();
    let mapping = Ownership { uid: own.uid(), gid: own.gid() };
    let open = || HostFs::open_as(dir.root().to_str().unwrap(), true, Some(mapping)).unwrap().root();
    let root = open();
    assert_eq!((root.metadata().unwrap().uid, root.metadata().unwrap().gid), (Uid(0), Gid(0)));
    let f = root.create(b"f", &NewInode { kind: NewKind::Regular, mode: 0o640, uid: Uid(33), gid: Gid(44) }).unwrap();
    f.set_attributes(&SetAttributes { mode: Some(0o4000), ..Default::default() }).unwrap();
    let seen = open().lookup(b"f").unwrap().metadata().unwrap();
    assert_eq!((seen.uid, seen.gid, seen.mode), (Uid(33), Gid(44), 0o4000));
    let on_host = host::metadata(dir.root().join("f")).unwrap();
    assert_eq!((on_host.uid(), on_host.permissions().mode() & 0o7777), (own.uid(), 0o600), "the user keeps his file");
    assert!(f.list_xattrs().unwrap().is_empty());
    f.set_attributes(&SetAttributes { uid: Some(Uid(0)), gid: Some(Gid(0)), mode: Some(0o755), ..Default::default() })
        .unwrap();
    let seen = open().lookup(b"f").unwrap().metadata().unwrap();
    assert_eq!((seen.uid, seen.gid, seen.mode), (Uid(0), Gid(0), 0o755));
    assert_eq!(host::metadata(dir.root().join("f")).unwrap().permissions().mode() & 0o7777, 0o755);
    // Made without any permission, as under umask 0777.
    for (name, kind, on_host) in [(b"x", NewKind::Regular, 0o600), (b"d", NewKind::Directory, 0o700)] {
        let made = root.create(name, &NewInode { kind, mode: 0, uid: Uid(0), gid: Gid(0) }).unwrap();
        assert_eq!(made.metadata().unwrap().mode, 0);
        let host = host::metadata(dir.root().join(std::str::from_utf8(name).unwrap())).unwrap();
        assert_eq!(host.permissions().mode() & 0o7777, on_host, "the user keeps access");
    }
}
