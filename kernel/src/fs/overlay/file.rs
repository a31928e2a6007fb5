//! An open file of an overlay: asks its object at each call which half counts, and opens that half when it changes.

use super::inode::{Listing, OverlayInode};
use crate::error::{Errno, Result};
use crate::fs::file::{FileOps, MapSource, OpenFile, OpenFlags};
use crate::fs::inode::{DirEntry, DirSink, FileKind, Inode, InodeId, list_dots};
use crate::mm::{IovDest, IovSource};
use crate::sync::{Rank, SpinLock};
use alloc::sync::Arc;

pub(super) struct OverlayFile {
    inode: Arc<OverlayInode>,
    flags: OpenFlags,
    /// The half that is open, and as what.
    open: SpinLock<Option<(InodeId, Arc<dyn FileOps>)>>,
    /// The directory as it was when its listing began.
    listing: SpinLock<Option<Arc<Listing>>>,
}

impl OverlayFile {
    pub fn new(inode: Arc<OverlayInode>, flags: OpenFlags) -> Result<Self> {
        let open = SpinLock::new(Rank::FileLocks, None);
        let file = OverlayFile { inode, flags, open, listing: SpinLock::new(Rank::FileLocks, None) };
        if file.inode.kind() == FileKind::Regular {
            file.ops()?;
        }
        Ok(file)
    }

    fn ops(&self) -> Result<Arc<dyn FileOps>> {
        let half = self.inode.current()?;
        let id = half.id();
        if let Some((of, ops)) = &*self.open.lock()
            && *of == id
        {
            return Ok(ops.clone());
        }
        let ops = half.open(self.flags & !OpenFlags::TRUNC)?;
        let old = self.open.lock().replace((id, ops.clone()));
        drop(old);
        Ok(ops)
    }

    fn listing(&self, cookie: u64) -> Result<Arc<Listing>> {
        let kept = self.listing.lock().clone();
        match kept {
            Some(listing) if cookie > 2 => Ok(listing),
            _ => {
                let fresh = Arc::new(self.inode.entries()?);
                let old = self.listing.lock().replace(fresh.clone());
                drop(old);
                Ok(fresh)
            }
        }
    }
}

impl FileOps for OverlayFile {
    fn read(&self, file: &OpenFile, dst: &mut IovDest<'_>, offset: Option<u64>) -> Result<usize> {
        if self.inode.kind() == FileKind::Directory {
            return Err(Errno::EISDIR.into());
        }
        self.ops()?.read(file, dst, offset)
    }

    fn write(&self, file: &OpenFile, src: &mut IovSource<'_>, offset: Option<u64>) -> Result<usize> {
        self.ops()?.write(file, src, offset)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn map_source(&self, file: &OpenFile) -> Result<MapSource> {
        self.ops()?.map_source(file)
    }

    fn read_dir(&self, file: &OpenFile, cookie: u64, sink: DirSink<'_>) -> Result<()> {
        if self.inode.kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR.into());
        }
        if !list_dots(file, cookie, sink) {
            return Ok(());
        }
        let listing = self.listing(cookie)?;
        let from = cookie.saturating_sub(2) as usize;
        for (i, (name, ino, kind)) in listing.iter().enumerate().skip(from) {
            if !sink(&DirEntry { name, ino: *ino, kind: Some(*kind), next: i as u64 + 3 }) {
                break;
            }
        }
        Ok(())
    }
}
