//! devtmpfs: the device nodes that a machine has from the start.

use super::inode::{DeviceNumber, FileSystem, NewInode, NewKind};
use super::tmpfs::TmpFs;
use crate::error::Result;
use crate::task::{Gid, Uid};
use alloc::sync::Arc;

/// How much regular files under /dev may hold.
const LIMIT: u64 = 16 << 20;

/// Name, major and minor number, permissions (devices.txt).
const NODES: &[(&[u8], u32, u32, u32)] = &[
    (b"null", 1, 3, 0o666),
    (b"zero", 1, 5, 0o666),
    (b"full", 1, 7, 0o666),
    (b"random", 1, 8, 0o666),
    (b"urandom", 1, 9, 0o666),
    (b"kmsg", 1, 11, 0o644),
    (b"tty", 5, 0, 0o666),
    (b"console", 5, 1, 0o600),
    (b"ptmx", 5, 2, 0o666),
];

const LINKS: &[(&[u8], &[u8])] = &[
    (b"fd", b"/proc/self/fd"),
    (b"stdin", b"/proc/self/fd/0"),
    (b"stdout", b"/proc/self/fd/1"),
    (b"stderr", b"/proc/self/fd/2"),
];

/// A file system with the nodes in it.
pub fn new() -> Result<Arc<TmpFs>> {
    let fs = TmpFs::new("devtmpfs", LIMIT, 0o755);
    let root = fs.root();
    let make = |name: &[u8], kind: NewKind<'_>, mode: u32| {
        root.create(name, &NewInode { kind, mode, uid: Uid(0), gid: Gid(0) }).map(drop)
    };
    for &(name, major, minor, mode) in NODES {
        make(name, NewKind::CharDevice(DeviceNumber::new(major, minor)), mode)?;
    }
    for disk in crate::block::list() {
        make(disk.name.as_bytes(), NewKind::BlockDevice(disk.number), 0o660)?;
    }
    for &(name, target) in LINKS {
        make(name, NewKind::Symlink(target), 0o777)?;
    }
    make(b"shm", NewKind::Directory, 0o1777)?;
    make(b"pts", NewKind::Directory, 0o755)?;
    Ok(fs)
}
