//! overlay: a writable tree in memory over one that is only read, so that one image or directory serves many guests.
//!
//! Theory of operation. The lower tree (ext4 or hostfs) is never written. The upper tree is a tmpfs in the form that
//! overlayfs of Linux uses: what is in it hides the lower object of the same name, a character device 0:0 (a *whiteout*)
//! hides it for good, and a directory with the attribute `trusted.overlay.opaque` hides all that is below. A directory that
//! is in both shows the entries of both. The first change of a lower object *copies it up*: its directories, then itself with
//! owner, mode, times and attributes.
//!
//! An [`OverlayInode`] stands for one object, with its upper and lower halves; objects in use are found again by the id of
//! either half (`Table`), so that a file which was opened before it was copied up and one which was opened afterwards are
//! the same. An open file asks its object at each call which half counts.
//!
//! Limits, as overlayfs has them: a directory that has a lower half cannot be renamed (EXDEV; mv(1) copies then), hard
//! links of lower files come apart when they are copied up and not in use, and a private mapping of a lower file stays with
//! the lower one.

mod file;
mod inode;

use super::inode::{DeviceNumber, FileSystem, FsStat, Inode, InodeId};
use super::tmpfs::TmpFs;
use crate::error::Result;
use crate::sync::{Rank, SpinLock};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use inode::OverlayInode;

/// What the inodes of one overlay share.
struct Shared {
    device: DeviceNumber,
    /// Objects in use, by the ids of their halves.
    table: SpinLock<BTreeMap<InodeId, Weak<OverlayInode>>>,
}

impl Shared {
    fn known(&self, id: InodeId) -> Option<Arc<OverlayInode>> {
        self.table.lock().get(&id)?.upgrade()
    }

    fn enter(&self, id: InodeId, inode: &Arc<OverlayInode>) {
        let mut table = self.table.lock();
        if table.len() > 4096 && table.len().is_power_of_two() {
            table.retain(|_, w| w.strong_count() > 0);
        }
        table.insert(id, Arc::downgrade(inode));
    }
}

/// The file system.
pub struct OverlayFs {
    lower: Arc<dyn FileSystem>,
    upper: Arc<TmpFs>,
    root: Arc<OverlayInode>,
    device: DeviceNumber,
}

impl OverlayFs {
    /// A fresh upper tree of at most `limit` bytes over `lower`.
    pub fn new(lower: Arc<dyn FileSystem>, limit: u64) -> Result<Arc<Self>> {
        let below = lower.root();
        let meta = below.metadata()?;
        let upper = TmpFs::new("tmpfs", limit, meta.mode);
        let device = DeviceNumber::anonymous();
        let shared = Arc::new(Shared { device, table: SpinLock::new(Rank::Directory, BTreeMap::new()) });
        let top: Arc<dyn Inode> = upper.root();
        inode::copy_attributes(&below, &top)?;
        let root = OverlayInode::new(shared, None, b"", Some(top), Some(below))?;
        Ok(Arc::new(OverlayFs { lower, upper, root, device }))
    }
}

impl FileSystem for OverlayFs {
    fn type_name(&self) -> &'static str {
        "overlay"
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn device(&self) -> DeviceNumber {
        self.device
    }

    fn stat_fs(&self) -> Result<FsStat> {
        self.upper.stat_fs()
    }

    fn options(&self) -> String {
        alloc::format!(",lower={}{}", self.lower.type_name(), self.upper.options())
    }

    fn shut_down(&self) -> Result<()> {
        self.lower.shut_down()
    }
}

#[cfg(test)]
mod tests;
