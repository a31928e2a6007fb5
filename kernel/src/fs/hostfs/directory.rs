//! An open host directory. The host's cookies are ours, so listing survives changes as it does on the host.

use crate::error::Result;
use crate::fs::file::{FileOps, OpenFile};
use crate::fs::inode::{DirEntry, DirSink, FileKind};
use crate::sync::{Rank, SpinLock};
use alloc::vec::Vec;
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, RawDir, SeekFrom};

/// Bytes of entries that are fetched at once.
const BATCH: usize = 16 * 1024;

pub(super) struct HostDirectory {
    /// Locked, since listing moves the descriptor's position.
    fd: SpinLock<OwnedFd>,
}

impl HostDirectory {
    pub(super) fn new(fd: OwnedFd) -> Self {
        HostDirectory { fd: SpinLock::new(Rank::Inode, fd) }
    }
}

fn kind_of(t: FileType) -> Option<FileKind> {
    Some(match t {
        FileType::RegularFile => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        FileType::CharacterDevice => FileKind::CharDevice,
        FileType::BlockDevice => FileKind::BlockDevice,
        FileType::Unknown => return None,
    })
}

impl FileOps for HostDirectory {
    fn seekable(&self) -> bool {
        true
    }

    fn read_dir(&self, file: &OpenFile, cookie: u64, sink: DirSink<'_>) -> Result<()> {
        // What lies above the top of this file system is not the host's to tell.
        let above = file.path().filter(|p| p.dentry().parent().is_none()).map(|p| p.inode().id().ino);
        let mut buf: Vec<u8> = Vec::with_capacity(BATCH);
        let fd = self.fd.lock();
        rustix::fs::seek(&*fd, SeekFrom::Start(cookie))?;
        let mut entries = RawDir::new(&*fd, buf.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let ino = above.filter(|_| name == b"..").unwrap_or(entry.ino());
            let taken = DirEntry { name, ino, kind: kind_of(entry.file_type()), next: entry.next_entry_cookie() };
            if !sink(&taken) {
                break;
            }
        }
        Ok(())
    }
}
