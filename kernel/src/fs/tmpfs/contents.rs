//! The bytes of a tmpfs file: heap pages until it is mapped, a host memory file from then on.

use super::Shared;
use crate::error::{Errno, Result};
use crate::fs::inode::SeekTarget;
use crate::fs::sparse_pages::{Missing, NewPage, PAGE, SparsePages, zero_page};
use crate::host::HostFd;
use crate::mm::{IovDest, IovSource};
use alloc::sync::Arc;
use rustix::fs::{FallocateFlags, MemfdFlags};

/// Contents of one file. The size stands beside it, with the inode's metadata.
pub(super) enum Contents {
    /// Pages by index; what is missing is a hole.
    Pages(SparsePages),
    /// A host memory file of the same size, and how many pages are charged for it.
    Host(Arc<HostFd>, u64),
}

impl Contents {
    pub(super) fn new() -> Self {
        Contents::Pages(SparsePages::default())
    }

    /// Pages that are charged to the file system.
    pub(super) fn charged(&self) -> u64 {
        match self {
            Contents::Pages(pages) => pages.count(),
            Contents::Host(_, charged) => *charged,
        }
    }

    /// Reads from `offset` up to `size`.
    pub(super) fn read(&self, dst: &mut IovDest<'_>, offset: u64, size: u64) -> Result<usize> {
        let Some(left) = size.checked_sub(offset).filter(|&n| n > 0) else { return Ok(0) };
        let want = dst.remaining().min(usize::try_from(left).unwrap_or(usize::MAX));
        match self {
            Contents::Host(fd, _) => dst.fill_from(&**fd, Some(offset)),
            Contents::Pages(pages) => pages.copy_out(dst, offset, want, Missing::Zeros),
        }
    }

    /// Writes at `offset`; the caller raises the size by what this returns. ENOSPC if the file system is full.
    pub(super) fn write(&mut self, src: &mut IovSource<'_>, offset: u64, shared: &Shared) -> Result<usize> {
        match self {
            Contents::Host(..) => self.write_host(src, offset, shared),
            Contents::Pages(pages) => pages.copy_in(src, offset, src.remaining(), true, &mut |page| match page {
                NewPage::Made => shared.charge(1),
                NewPage::Dropped => {
                    shared.uncharge(1);
                    Ok(())
                }
            }),
        }
    }

    fn write_host(&mut self, src: &mut IovSource<'_>, offset: u64, shared: &Shared) -> Result<usize> {
        let Contents::Host(fd, charged) = self else { return Ok(0) };
        let end = offset + src.remaining() as u64;
        let most = end.div_ceil(PAGE) - offset / PAGE;
        // The host tells how many pages there are only afterwards: take what may be needed, give back the rest.
        shared.charge(most)?;
        let result = src.drain_to(&**fd, Some(offset));
        shared.uncharge(most);
        let now = rustix::fs::fstat(&**fd).map_or(*charged, |s| s.st_blocks as u64 / (PAGE / 512));
        if now > *charged {
            // Just checked, and no page more than was asked for then; mappings may have added some that come on top.
            let _ = shared.charge(now - *charged);
        } else {
            shared.uncharge(*charged - now);
        }
        *charged = now;
        result
    }

    /// Cuts the contents off at `size`, or makes them longer by a hole.
    pub(super) fn resize(&mut self, size: u64, shared: &Shared) -> Result<()> {
        match self {
            Contents::Pages(pages) => {
                shared.uncharge(pages.cut(size));
                Ok(())
            }
            Contents::Host(fd, _) => Ok(rustix::fs::ftruncate(&**fd, size)?),
        }
    }

    /// Makes a range read as zeros and gives its whole pages back.
    pub(super) fn punch(&mut self, offset: u64, len: u64, shared: &Shared) -> Result<()> {
        let end = offset.saturating_add(len);
        match self {
            Contents::Pages(pages) => {
                pages.zero_range(offset, end, true, |_, gone| shared.uncharge(gone.into()));
                Ok(())
            }
            Contents::Host(fd, _) => {
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                Ok(rustix::fs::fallocate(&**fd, flags, offset, len)?)
            }
        }
    }

    /// Makes pages for a range. ENOSPC, and nothing changed, if they do not all fit.
    pub(super) fn allocate(&mut self, offset: u64, len: u64, shared: &Shared) -> Result<()> {
        let (first, last) = (offset / PAGE, (offset + len).div_ceil(PAGE));
        match self {
            Contents::Pages(pages) => {
                let there = pages.indices(first..last).count() as u64;
                shared.charge(last - first - there)?;
                for i in first..last {
                    if !pages.contains(i) {
                        pages.insert(i, zero_page());
                    }
                }
                Ok(())
            }
            Contents::Host(fd, _) => Ok(rustix::fs::fallocate(&**fd, FallocateFlags::KEEP_SIZE, offset, len)?),
        }
    }

    /// The next data or hole in a file of `size` bytes (lseek(2)). ENXIO if there is none.
    pub(super) fn seek(&self, offset: u64, target: SeekTarget, size: u64) -> Result<u64> {
        if offset >= size {
            return Err(Errno::ENXIO.into());
        }
        match (self, target) {
            (Contents::Host(fd, _), SeekTarget::Data) => {
                Ok(rustix::fs::seek(&**fd, rustix::fs::SeekFrom::Data(offset))?)
            }
            (Contents::Host(fd, _), SeekTarget::Hole) => {
                Ok(rustix::fs::seek(&**fd, rustix::fs::SeekFrom::Hole(offset))?)
            }
            (Contents::Pages(pages), SeekTarget::Data) => match pages.next_present(offset / PAGE) {
                Some(i) if i * PAGE < size => Ok(offset.max(i * PAGE)),
                _ => Err(Errno::ENXIO.into()),
            },
            (Contents::Pages(pages), SeekTarget::Hole) => {
                let hole = pages.next_missing(offset / PAGE);
                Ok(offset.max(hole * PAGE).min(size))
            }
        }
    }

    /// Moves the bytes to a host memory file, if they are not in one yet, and returns that.
    pub(super) fn host_file(&mut self, size: u64) -> Result<Arc<HostFd>> {
        if let Contents::Host(fd, _) = self {
            return Ok(fd.clone());
        }
        let Contents::Pages(pages) = self else { return Err(Errno::EIO.into()) };
        let fd = Arc::new(HostFd::from(pages.to_memory_file(c"flatland-tmpfs", MemfdFlags::ALLOW_SEALING, size)?));
        *self = Contents::Host(fd.clone(), pages.count());
        Ok(fd)
    }

    /// The host memory file, opened for reading only: for a file that is sealed against writing.
    pub(super) fn read_only(fd: &HostFd) -> Result<Arc<HostFd>> {
        Ok(Arc::new(fd.reopened_for_reading()?))
    }
}
