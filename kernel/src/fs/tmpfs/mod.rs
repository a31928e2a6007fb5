//! tmpfs (tmpfs(5)): files in memory. It also serves as devtmpfs and behind memfd_create(2).
//!
//! A file's contents begin as pages in the kernel's heap. When the file is mapped for the first time they move to a
//! host memory file of their own (`contents`), because the guest window maps host files; reads and writes then go
//! through that, so that mappings and calls see the same bytes. A file system has a limit in pages, charged as pages
//! come to be (extended attributes count, too), and one in inodes.

mod contents;
mod directory;
mod inode;

use crate::error::{Errno, Result};
use crate::fs::inode::{DeviceNumber, FileKind, FileSystem, FsStat, Inode, InodeId, NewInode, NewKind};
use crate::sync::{Rank, SpinLock};
use crate::task::{Gid, Uid};
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
pub use inode::TmpInode;

/// `TMPFS_MAGIC` of statfs(2).
const MAGIC: u64 = 0x0102_1994;

/// Inodes that even the smallest tmpfs may have; a larger one has one for each page.
const MIN_INODES: u64 = 1024;

/// What the inodes of one tmpfs share.
pub(super) struct Shared {
    device: DeviceNumber,
    /// In pages.
    limit: u64,
    used: AtomicU64,
    /// Files, directories and the rest that there are and may be: each takes kernel memory, empty or not.
    inodes: AtomicU64,
    max_inodes: u64,
    next_ino: AtomicU64,
    /// Held by whatever changes names, so that no two directories have to be locked at once.
    tree: SpinLock<()>,
}

impl Shared {
    fn new_id(&self) -> InodeId {
        InodeId { dev: self.device, ino: self.next_ino.fetch_add(1, Ordering::Relaxed) }
    }

    /// ENOSPC if there may be no more inodes (`nr_inodes`).
    fn check_inodes(&self) -> Result<()> {
        if self.inodes.load(Ordering::Relaxed) < self.max_inodes {
            return Ok(());
        }
        Err(Errno::ENOSPC.because("the tmpfs has no more inodes"))
    }

    /// Takes `pages` from the limit. ENOSPC if they are not there.
    fn charge(&self, pages: u64) -> Result<()> {
        let fits = |used: u64| used.checked_add(pages).filter(|&sum| sum <= self.limit);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(()),
            Err(_) => Err(Errno::ENOSPC.because("the tmpfs is full")),
        }
    }

    fn uncharge(&self, pages: u64) {
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(used.saturating_sub(pages)));
    }
}

/// A file system in memory.
pub struct TmpFs {
    shared: Arc<Shared>,
    root: Arc<TmpInode>,
    type_name: &'static str,
}

impl TmpFs {
    /// An empty one that holds at most `limit` bytes of contents; its root has the permissions `mode`.
    pub fn new(type_name: &'static str, limit: u64, mode: u32) -> Arc<Self> {
        let pages = limit / crate::abi::PAGE_SIZE as u64;
        let shared = Arc::new(Shared {
            device: DeviceNumber::anonymous(),
            limit: pages,
            used: AtomicU64::new(0),
            inodes: AtomicU64::new(0),
            max_inodes: pages.max(MIN_INODES),
            next_ino: AtomicU64::new(1),
            tree: SpinLock::new(Rank::Directory, ()),
        });
        let top = NewInode { kind: NewKind::Directory, mode, uid: Uid(0), gid: Gid(0) };
        let root = TmpInode::new(shared.clone(), &top);
        Arc::new(TmpFs { shared, root, type_name })
    }

    /// A regular file without a name. Its `seals` begin as given (memfd_create(2)).
    pub fn unnamed_file(&self, mode: u32, uid: Uid, gid: Gid, seals: u32) -> Arc<TmpInode> {
        let new = NewInode { kind: NewKind::Regular, mode, uid, gid };
        let file = TmpInode::new(self.shared.clone(), &new);
        file.begin_unnamed(seals);
        file
    }
}

impl FileSystem for TmpFs {
    fn type_name(&self) -> &'static str {
        self.type_name
    }

    fn root(&self) -> Arc<dyn Inode> {
        debug_assert_eq!(self.root.kind(), FileKind::Directory);
        self.root.clone()
    }

    fn device(&self) -> DeviceNumber {
        self.shared.device
    }

    fn stat_fs(&self) -> Result<FsStat> {
        let (limit, used) = (self.shared.limit, self.shared.used.load(Ordering::Relaxed));
        let free = limit.saturating_sub(used);
        let (files, inodes) = (self.shared.max_inodes, self.shared.inodes.load(Ordering::Relaxed));
        let files_free = files.saturating_sub(inodes);
        let blocks = FsStat { blocks: limit, blocks_free: free, blocks_available: free, ..FsStat::empty(MAGIC) };
        Ok(FsStat { files, files_free, ..blocks })
    }

    fn options(&self) -> String {
        alloc::format!(",size={}k", self.shared.limit * 4)
    }
}

#[cfg(test)]
mod tests;
