//! An overlay over a tmpfs that plays the lower tree.

use super::*;
use crate::error::Errno;
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::inode::{NewInode, NewKind, RenameMode, SetAttributes};
use crate::mm::{IovDest, IovSource};
use crate::task::{Gid, Uid};
use alloc::vec::Vec;

type Node = Arc<dyn Inode>;

fn new(kind: NewKind<'_>) -> NewInode<'_> {
    NewInode { kind, mode: 0o755, uid: Uid(7), gid: Gid(8) }
}

fn put(file: &Node, bytes: &[u8]) {
    let open = OpenFile::anonymous(file.clone().open(OpenFlags::WRONLY).unwrap(), OpenFlags::WRONLY);
    open.ops().write(&open, &mut IovSource::kernel(bytes), Some(0)).unwrap();
}

fn get(open: &OpenFile) -> Vec<u8> {
    let mut buf = [0u8; 64];
    let n = open.ops().read(open, &mut IovDest::kernel(&mut buf), Some(0)).unwrap();
    buf[..n].to_vec()
}

fn reader(file: &Node) -> Arc<OpenFile> {
    OpenFile::anonymous(file.clone().open(OpenFlags::empty()).unwrap(), OpenFlags::empty())
}

fn names(dir: &Node) -> Vec<String> {
    let file = reader(dir);
    let mut out = Vec::new();
    file.ops()
        .read_dir(&file, 2, &mut |e| {
            out.push(String::from_utf8(e.name.to_vec()).unwrap());
            true
        })
        .unwrap();
    out
}

/// `/d/f` with "lower", `/d/g`, `/e` below; and the overlay's root.
fn trees() -> (Node, Node) {
    let lower = TmpFs::new("tmpfs", 1 << 20, 0o755);
    let root: Node = lower.root();
    let d = root.create(b"d", &new(NewKind::Directory)).unwrap();
    put(&d.create(b"f", &new(NewKind::Regular)).unwrap(), b"lower");
    d.create(b"g", &new(NewKind::Regular)).unwrap();
    root.create(b"e", &new(NewKind::Directory)).unwrap();
    (root, OverlayFs::new(lower, 1 << 20).unwrap().root())
}

fn errno<T>(r: Result<T>) -> Option<Errno> {
    r.err().map(|e| e.errno())
}

#[test]
fn writing_copies_up_and_leaves_the_lower_tree_alone() {
    let (lower, root) = trees();
    let d = root.lookup(b"d").unwrap();
    let f = d.lookup(b"f").unwrap();
    let before = reader(&f);
    assert_eq!(get(&before), b"lower");
    let id = f.id();
    put(&f, b"upper");
    assert_eq!(get(&before), b"upper", "who had it open sees the change");
    assert_eq!(f.id(), id);
    assert_eq!(f.metadata().unwrap().uid, Uid(7));
    assert_eq!(get(&reader(&lower.lookup(b"d").unwrap().lookup(b"f").unwrap())), b"lower");
    drop((d, f, before));
    assert_eq!(get(&reader(&root.lookup(b"d").unwrap().lookup(b"f").unwrap())), b"upper");
}

#[test]
fn removed_names_stay_away_and_can_come_back() {
    let (lower, root) = trees();
    let d = root.lookup(b"d").unwrap();
    assert_eq!(errno(root.rmdir(b"d")), Some(Errno::ENOTEMPTY));
    d.unlink(b"f").unwrap();
    d.unlink(b"g").unwrap();
    assert_eq!(errno(d.lookup(b"f")), Some(Errno::ENOENT));
    assert!(names(&d).is_empty());
    drop(d);
    root.rmdir(b"d").unwrap();
    assert_eq!(names(&root), ["e"]);
    let d = root.create(b"d", &new(NewKind::Directory)).unwrap();
    assert!(names(&d).is_empty(), "the old contents do not shine through");
    drop(d);
    assert!(names(&root.lookup(b"d").unwrap()).is_empty());
    assert_eq!(names(&lower.lookup(b"d").unwrap()).len(), 2);
}

#[test]
fn renames_move_files_and_refuse_lower_directories() {
    let (_lower, root) = trees();
    let (d, e) = (root.lookup(b"d").unwrap(), root.lookup(b"e").unwrap());
    d.rename(b"f", &e, b"h", RenameMode::Replace).unwrap();
    assert_eq!(names(&d), ["g"]);
    assert_eq!(get(&reader(&e.lookup(b"h").unwrap())), b"lower");
    e.rename(b"h", &d, b"g", RenameMode::Replace).unwrap();
    assert_eq!(get(&reader(&d.lookup(b"g").unwrap())), b"lower");
    assert_eq!(errno(root.rename(b"d", &root, b"x", RenameMode::Replace)), Some(Errno::EXDEV));
    let n = root.create(b"n", &new(NewKind::Directory)).unwrap();
    n.create(b"inside", &new(NewKind::Regular)).unwrap();
    drop(n);
    root.rename(b"n", &root, b"m", RenameMode::Replace).unwrap();
    assert_eq!(names(&root.lookup(b"m").unwrap()), ["inside"]);
}

#[test]
fn attributes_and_links_copy_up() {
    let (lower, root) = trees();
    let d = root.lookup(b"d").unwrap();
    let f = d.lookup(b"f").unwrap();
    f.set_attributes(&SetAttributes { mode: Some(0o600), ..Default::default() }).unwrap();
    d.link(b"l", &f).unwrap();
    assert_eq!(d.lookup(b"l").unwrap().metadata().unwrap().nlink, 2);
    assert_eq!(d.lookup(b"f").unwrap().metadata().unwrap().mode, 0o600);
    assert_eq!(lower.lookup(b"d").unwrap().lookup(b"f").unwrap().metadata().unwrap().mode, 0o755);
    assert_eq!(names(&d), ["f", "g", "l"]);
}
