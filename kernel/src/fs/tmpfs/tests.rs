//! tmpfs through the VFS, without a machine.

use super::*;
use crate::error::Errno;
use crate::fs::dentry::{Dentry, Path};
use crate::fs::file::{MapSource, OpenFile, OpenFlags};
use crate::fs::inode::{FallocateMode, RenameMode, SeekTarget, XattrMode};
use crate::fs::lookup::Resolve;
use crate::fs::mount::{self, Mount, MountFlags};
use crate::fs::{Actor, FsContext, io};
use crate::mm::{IovDest, IovSource};
use crate::task::Credentials;
use alloc::vec::Vec;

/// Somebody at the root of a fresh tmpfs of `limit` bytes.
fn actor_on(limit: u64) -> Actor {
    let mount = Mount::unattached(TmpFs::new("tmpfs", limit, 0o755), "tmpfs", MountFlags::empty());
    let root = Path::mount_root(&mount);
    Actor { fs: Arc::new(FsContext::at(root.clone(), root, 0o022)), who: Arc::new(Credentials::root()) }
}

fn actor() -> Actor {
    actor_on(1 << 20)
}

fn user(a: &Actor, uid: u32) -> Actor {
    let who = Credentials { fsuid: Uid(uid), fsgid: Gid(uid), effective: 0, ..Credentials::root() };
    Actor { fs: a.fs.clone(), who: Arc::new(who) }
}

fn open(a: &Actor, name: &str, flags: OpenFlags) -> Result<Arc<OpenFile>> {
    a.open(None, name.as_bytes(), flags, 0o666, Resolve::empty())
}

fn put(file: &OpenFile, bytes: &[u8]) -> Result<usize> {
    io::write_seekable(file, &mut IovSource::kernel(bytes), None)
}

fn get(file: &OpenFile, at: u64, n: usize) -> Vec<u8> {
    let mut buf = alloc::vec![0xee; n];
    let got = io::read_seekable(file, &mut IovDest::kernel(&mut buf), Some(at)).unwrap();
    buf.truncate(got);
    buf
}

fn make(a: &Actor, name: &str, bytes: &[u8]) -> Arc<OpenFile> {
    let file = open(a, name, OpenFlags::CREAT | OpenFlags::RDWR).unwrap();
    assert_eq!(put(&file, bytes).unwrap(), bytes.len());
    file
}

fn errno<T>(r: Result<T>) -> Option<Errno> {
    r.err().map(|e| e.errno())
}

fn names(a: &Actor, dir: &str) -> Vec<String> {
    let dir = open(a, dir, OpenFlags::DIRECTORY).unwrap();
    let (mut all, mut cookie) = (Vec::new(), 0);
    loop {
        // One entry at a time: cookies must lead on.
        let before = cookie;
        let mut taken = false;
        let mut sink = |e: &crate::fs::inode::DirEntry<'_>| {
            if taken {
                return false;
            }
            taken = true;
            all.push(String::from_utf8(e.name.to_vec()).unwrap());
            cookie = e.next;
            true
        };
        dir.ops().read_dir(&dir, before, &mut sink).unwrap();
        if cookie == before {
            return all;
        }
    }
}

#[test]
fn what_is_written_is_read_before_and_after_mapping() {
    let a = actor();
    let f = make(&a, "/f", b"hello");
    *f.offset() = 9000;
    put(&f, b"far").unwrap();
    let expect = |f: &OpenFile| {
        assert_eq!(get(f, 0, 6), b"hello\0");
        assert_eq!(get(f, 8998, 100), b"\0\0far");
        assert_eq!(get(f, 9003, 1), b"");
        assert_eq!(f.metadata().unwrap().size, 9003);
        assert_eq!(f.metadata().unwrap().blocks, 16);
    };
    expect(&f);
    let MapSource::Host(fd) = f.ops().map_source(&f).unwrap() else { panic!("a host file was due") };
    expect(&f);
    let mut same = [0; 5];
    assert_eq!(rustix::io::pread(&*fd, &mut same, 0), Ok(5));
    assert_eq!(&same, b"hello");
    *f.offset() = 1;
    put(&f, b"a").unwrap();
    assert_eq!(get(&f, 0, 5), b"hallo");
}

#[test]
fn cutting_a_file_clears_what_a_longer_one_shows() {
    for mapped in [false, true] {
        let a = actor();
        let f = make(&a, "/f", &[7; 5000]);
        if mapped {
            f.ops().map_source(&f).unwrap();
        }
        let path = f.path().unwrap();
        a.truncate(path, 10).unwrap();
        a.truncate(path, 20).unwrap();
        assert_eq!(get(&f, 8, 99), [7, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}

#[test]
fn the_limit_holds_and_what_is_freed_can_be_used_again() {
    let a = actor_on(8 * 4096);
    let f = make(&a, "/f", &[1; 6 * 4096]);
    let g = open(&a, "/g", OpenFlags::CREAT | OpenFlags::RDWR).unwrap();
    assert_eq!(put(&g, &[2; 3 * 4096]).unwrap(), 2 * 4096);
    assert_eq!(errno(put(&g, &[2])), Some(Errno::ENOSPC));
    f.inode().unwrap().fallocate(FallocateMode::PunchHole, 4096, 4096).unwrap();
    assert_eq!(get(&f, 4095, 2), [1, 0]);
    assert_eq!(put(&g, &[2]).unwrap(), 1);
    a.unlink(None, b"/f").unwrap();
    // Unlinked but open: still there.
    assert_eq!(get(&f, 0, 1), [1]);
    assert_eq!(
        errno(g.inode().unwrap().fallocate(FallocateMode::Allocate { keep_size: true }, 0, 8 * 4096)),
        Some(Errno::ENOSPC)
    );
    drop(f);
    // With its last user the file is gone, whatever the dentry cache had of it.
    let hole = g.inode().unwrap().seek_extent(0, SeekTarget::Hole).unwrap();
    assert_eq!(hole, 2 * 4096 + 1);
    assert_eq!(put(&g, &[3; 8 * 4096]).unwrap(), 6 * 4096 - 1);
}

#[test]
fn inodes_and_attributes_are_limited_too() {
    let a = actor_on(4 * 4096);
    let root = a.fs.root();
    let stat = || root.mount().fs().stat_fs().unwrap();
    let free = stat().files_free;
    assert!(free < stat().files && free > 100);
    for i in 0..free {
        a.mkdir(None, alloc::format!("/{i}").as_bytes(), 0o755).unwrap();
    }
    assert_eq!(errno(a.mkdir(None, b"/more", 0o755)), Some(Errno::ENOSPC));
    a.rmdir(None, b"/0").unwrap();
    a.mkdir(None, b"/more", 0o755).unwrap();
    let set =
        |name: &[u8], pages: usize| root.inode().set_xattr(name, &alloc::vec![1; pages * 4096 - 8], XattrMode::Set);
    set(b"user.one", 3).unwrap();
    assert_eq!(stat().blocks_free, 1);
    assert_eq!(errno(set(b"user.two", 2)), Some(Errno::ENOSPC));
    assert_eq!(errno(root.inode().get_xattr(b"user.two")), Some(Errno::ENODATA));
    set(b"user.one", 1).unwrap();
    set(b"user.two", 2).unwrap();
    root.inode().remove_xattr(b"user.one").unwrap();
    assert_eq!(stat().blocks_free, 2);
}

#[test]
fn holes_and_data_are_told_apart() {
    let a = actor();
    let f = make(&a, "/f", &[1; 4096]);
    *f.offset() = 3 * 4096;
    put(&f, b"x").unwrap();
    let inode = f.inode().unwrap();
    for mapped in [false, true] {
        if mapped {
            f.ops().map_source(&f).unwrap();
        }
        assert_eq!(inode.seek_extent(0, SeekTarget::Hole).unwrap(), 4096);
        assert_eq!(inode.seek_extent(5000, SeekTarget::Data).unwrap(), 3 * 4096);
        assert_eq!(errno(inode.seek_extent(3 * 4096 + 1, SeekTarget::Data)), Some(Errno::ENXIO));
    }
}

#[test]
fn names_resolve_as_path_resolution_says() {
    let a = actor();
    a.mkdir(None, b"/d", 0o777).unwrap();
    a.mkdir(None, b"/d/e/", 0o777).unwrap();
    make(&a, "/d/e/f", b"x");
    a.symlink(b"e/../e", None, b"/d/link").unwrap();
    a.symlink(b"/d/link/f", None, b"/abs").unwrap();
    a.symlink(b"loop", None, b"/loop").unwrap();
    let id = |n: &str| a.resolve(None, n.as_bytes(), Resolve::empty()).map(|p| p.inode().id());
    let f = id("/d/e/f").unwrap();
    for same in ["/d/link/f", "//d/./e//f", "/../d/e/f", "abs", "d/e/../link/f", "/d/link/../e/f"] {
        assert_eq!(id(same).unwrap(), f, "{same}");
    }
    assert_eq!(errno(id("/d/e/f/")), Some(Errno::ENOTDIR));
    assert_eq!(errno(id("/d/e/f/..")), Some(Errno::ENOTDIR));
    assert_eq!(errno(id("/loop")), Some(Errno::ELOOP));
    assert_eq!(errno(id("")), Some(Errno::ENOENT));
    assert_eq!(errno(id(&"x".repeat(256))), Some(Errno::ENAMETOOLONG));
    assert_eq!(errno(id(&"/d".repeat(2048))), Some(Errno::ENAMETOOLONG));
    let nofollow = a.resolve(None, b"/abs", Resolve::NO_FOLLOW).unwrap();
    assert_eq!(nofollow.inode().kind(), FileKind::Symlink);
    assert_eq!(a.read_link(None, b"/abs").unwrap(), b"/d/link/f");
    assert_eq!(errno(open(&a, "/abs", OpenFlags::NOFOLLOW)), Some(Errno::ELOOP));
}

#[test]
fn openat2_restrictions_hold() {
    let a = actor();
    a.mkdir(None, b"/jail", 0o777).unwrap();
    make(&a, "/secret", b"x");
    make(&a, "/jail/ok", b"x");
    a.symlink(b"/secret", None, b"/jail/abs").unwrap();
    a.symlink(b"../secret", None, b"/jail/up").unwrap();
    a.symlink(b"/ok", None, b"/jail/rooted").unwrap();
    let jail = a.resolve(None, b"/jail", Resolve::empty()).unwrap();
    let at = |n: &str, how| a.resolve(Some(&jail), n.as_bytes(), how).map(|p| p.inode().id());
    assert!(at("ok", Resolve::BENEATH).is_ok());
    for out in ["abs", "up", "..", "/jail/ok", "./../jail/ok"] {
        assert_eq!(errno(at(out, Resolve::BENEATH)), Some(Errno::EXDEV), "{out}");
    }
    assert_eq!(at("rooted", Resolve::IN_ROOT).unwrap(), at("ok", Resolve::empty()).unwrap());
    assert_eq!(errno(at("up", Resolve::IN_ROOT)), Some(Errno::ENOENT));
    assert_eq!(errno(at("rooted", Resolve::NO_SYMLINKS)), Some(Errno::ELOOP));
}

#[test]
fn creating_follows_dangling_links_and_exclusive_does_not() {
    let a = actor();
    a.symlink(b"target", None, b"/dangling").unwrap();
    assert_eq!(errno(open(&a, "/dangling", OpenFlags::CREAT | OpenFlags::EXCL)), Some(Errno::EEXIST));
    let f = open(&a, "/dangling", OpenFlags::CREAT | OpenFlags::RDWR).unwrap();
    assert_eq!(f.path().unwrap().display(), b"/target");
    assert_eq!(f.metadata().unwrap().mode, 0o644);
    assert_eq!(errno(open(&a, "/new/", OpenFlags::CREAT)), Some(Errno::EISDIR));
    assert_eq!(errno(open(&a, "/", OpenFlags::CREAT)), Some(Errno::EISDIR));
}

#[test]
fn renaming_moves_replaces_and_swaps() {
    let a = actor();
    let none = None::<&Path>;
    make(&a, "/a", b"a");
    make(&a, "/b", b"bb");
    a.mkdir(None, b"/d", 0o755).unwrap();
    let ren = |o: &str, n: &str, m| a.rename((none, o.as_bytes()), (none, n.as_bytes()), m);
    assert_eq!(errno(ren("/a", "/b", RenameMode::NoReplace)), Some(Errno::EEXIST));
    ren("/a", "/b", RenameMode::Exchange).unwrap();
    assert_eq!(get(&open(&a, "/a", OpenFlags::empty()).unwrap(), 0, 9), b"bb");
    ren("/a", "/b", RenameMode::Replace).unwrap();
    assert_eq!(errno(open(&a, "/a", OpenFlags::empty())), Some(Errno::ENOENT));
    let b = open(&a, "/b", OpenFlags::empty()).unwrap();
    ren("/b", "/d/c", RenameMode::Replace).unwrap();
    assert_eq!(b.path().unwrap().name_below(&a.fs.root()).0, b"/d/c");
    assert_eq!(errno(ren("/d", "/d/x", RenameMode::Replace)), Some(Errno::EINVAL));
    assert_eq!(errno(ren("/d/c", "/d", RenameMode::Replace)), Some(Errno::ENOTEMPTY));
    make(&a, "/f", b"");
    assert_eq!(errno(ren("/f", "/d", RenameMode::Replace)), Some(Errno::EISDIR));
    assert_eq!(errno(ren("/d", "/f", RenameMode::Replace)), Some(Errno::ENOTDIR));
    a.mkdir(None, b"/empty", 0o755).unwrap();
    ren("/d", "/empty", RenameMode::Replace).unwrap();
    assert_eq!(names(&a, "/empty"), [".", "..", "c"]);
    assert_eq!(a.fs.root().inode().metadata().unwrap().nlink, 3);
}

#[test]
fn links_are_counted_and_directories_listed() {
    let a = actor();
    let f = make(&a, "/f", b"x");
    a.link(f.path().unwrap(), None, b"/g").unwrap();
    assert_eq!(f.metadata().unwrap().nlink, 2);
    assert_eq!(errno(a.link(f.path().unwrap(), None, b"/g")), Some(Errno::EEXIST));
    a.unlink(None, b"/f").unwrap();
    assert_eq!(names(&a, "/"), [".", "..", "g"]);
    a.mkdir(None, b"/d", 0o755).unwrap();
    assert_eq!(errno(a.unlink(None, b"/d")), Some(Errno::EISDIR));
    assert_eq!(errno(a.rmdir(None, b"/g")), Some(Errno::ENOTDIR));
    assert_eq!(errno(a.rmdir(None, b"/d/.")), Some(Errno::EINVAL));
    let d = open(&a, "/d", OpenFlags::DIRECTORY).unwrap();
    a.rmdir(None, b"/d").unwrap();
    assert_eq!(errno(a.mkdir(d.path(), b"x", 0o755)), Some(Errno::ENOENT));
    assert_eq!(f.path().unwrap().display(), b"/f (deleted)");
}

#[test]
fn others_are_kept_out() {
    let a = actor();
    make(&a, "/private", b"x");
    let path = a.resolve(None, b"/private", Resolve::empty()).unwrap();
    a.chmod(&path, 0o600).unwrap();
    a.mkdir(None, b"/tmp", 0o777).unwrap();
    let tmp = a.resolve(None, b"/tmp", Resolve::empty()).unwrap();
    a.chmod(&tmp, 0o1777).unwrap();
    let (one, two) = (user(&a, 1), user(&a, 2));
    assert_eq!(errno(open(&one, "/private", OpenFlags::empty())), Some(Errno::EACCES));
    assert_eq!(errno(open(&one, "/new", OpenFlags::CREAT)), Some(Errno::EACCES));
    make(&one, "/tmp/mine", b"");
    assert_eq!(errno(two.unlink(None, b"/tmp/mine")), Some(Errno::EPERM));
    assert_eq!(errno(two.chmod(&path, 0o777)), Some(Errno::EPERM));
    assert_eq!(errno(one.chown(&path, Some(Uid(1)), None)), Some(Errno::EPERM));
    one.unlink(None, b"/tmp/mine").unwrap();
}

#[test]
fn mounts_cover_and_stand_read_only() {
    let a = actor();
    a.mkdir(None, b"/m", 0o755).unwrap();
    let place = a.resolve(None, b"/m", Resolve::empty()).unwrap();
    mount::mount(TmpFs::new("tmpfs", 1 << 20, 0o755), "tmpfs", MountFlags::empty(), &place).unwrap();
    make(&a, "/m/inside", b"x");
    assert_eq!(errno(a.rmdir(None, b"/m")), Some(Errno::EBUSY));
    let up = a.resolve(None, b"/m/..", Resolve::empty()).unwrap();
    assert_eq!(up, a.fs.root());
    assert_eq!(errno(a.resolve(None, b"/m/inside", Resolve::NO_XDEV)), Some(Errno::EXDEV));
    let top = a.resolve(None, b"/m", Resolve::empty()).unwrap();
    mount::remount(&top, MountFlags::RDONLY).unwrap();
    assert_eq!(errno(open(&a, "/m/new", OpenFlags::CREAT)), Some(Errno::EROFS));
    assert_eq!(errno(open(&a, "/m/inside", OpenFlags::RDWR)), Some(Errno::EROFS));
    let held = open(&a, "/m/inside", OpenFlags::empty()).unwrap();
    assert_eq!(errno(mount::unmount(&top, false)), Some(Errno::EBUSY));
    drop(held);
    mount::unmount(&top, false).unwrap();
    assert_eq!(errno(open(&a, "/m/inside", OpenFlags::empty())), Some(Errno::ENOENT));
    a.rmdir(None, b"/m").unwrap();
}

#[test]
fn sealed_files_stay_as_they_are() {
    use crate::abi::general::{F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE};
    let fs = TmpFs::new("tmpfs", 1 << 20, 0o755);
    let inode = fs.unnamed_file(0o777, Uid(0), Gid(0), 0);
    let f = OpenFile::opened(inode.clone(), OpenFlags::RDWR, Path::detached(inode.clone(), b"/memfd:x (deleted)"));
    put(&f, b"data").unwrap();
    inode.add_seals(F_SEAL_GROW | F_SEAL_SHRINK).unwrap();
    assert_eq!(errno(put(&f, b"more")), Some(Errno::EPERM));
    assert_eq!(errno(actor().truncate(f.path().unwrap(), 1)), Some(Errno::EPERM));
    *f.offset() = 0;
    put(&f, b"DATA").unwrap();
    inode.add_seals(F_SEAL_WRITE | F_SEAL_SEAL).unwrap();
    assert_eq!(errno(put(&f, b"x")), Some(Errno::EPERM));
    assert_eq!(errno(inode.add_seals(F_SEAL_GROW)), Some(Errno::EPERM));
    assert_eq!(get(&f, 0, 9), b"DATA");
}

#[test]
fn the_cache_forgets_unused_names_and_keeps_used_ones() {
    let a = actor_on(1 << 24);
    let dir: Arc<Dentry> = a.mkdir(None, b"/d", 0o755).unwrap().dentry().clone();
    let kept = make(&a, "/d/kept", b"");
    for i in 0..2 * crate::fs::dentry::RECENT {
        let name = alloc::format!("/d/{i}");
        a.mknod(None, name.as_bytes(), NewKind::Regular, 0o644).unwrap();
    }
    assert!(Arc::ptr_eq(&dir.lookup(b"kept").unwrap(), kept.path().unwrap().dentry()));
    assert!(dir.lookup(b"0").is_ok());
}
