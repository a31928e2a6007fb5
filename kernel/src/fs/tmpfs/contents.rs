//! The bytes of a tmpfs file: heap pages until it is mapped, a host memory file from then on.

use super::Shared;
use crate::abi::PAGE_SIZE;
use crate::error::{Errno, Result};
use crate::fs::inode::SeekTarget;
use crate::host::HostFd;
use crate::mm::{IovDest, IovSource};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use rustix::fs::{FallocateFlags, MemfdFlags, OFlags};

const PAGE: u64 = PAGE_SIZE as u64;

/// Contents of one file. The size stands beside it, with the inode's metadata.
pub(super) enum Contents {
    /// Pages by index; what is missing is a hole.
    Pages(BTreeMap<u64, Box<[u8]>>),
    /// A host memory file of the same size, and how many pages are charged for it.
    Host(Arc<HostFd>, u64),
}

fn new_page() -> Box<[u8]> {
    alloc::vec![0; PAGE_SIZE].into_boxed_slice()
}

impl Contents {
    pub(super) fn new() -> Self {
        Contents::Pages(BTreeMap::new())
    }

    /// Pages that are charged to the file system.
    pub(super) fn charged(&self) -> u64 {
        match self {
            Contents::Pages(pages) => pages.len() as u64,
            Contents::Host(_, charged) => *charged,
        }
    }

    /// Reads from `offset` up to `size`.
    pub(super) fn read(&self, dst: &mut IovDest<'_>, offset: u64, size: u64) -> Result<usize> {
        let Some(left) = size.checked_sub(offset).filter(|&n| n > 0) else { return Ok(0) };
        let want = dst.remaining().min(usize::try_from(left).unwrap_or(usize::MAX));
        let pages = match self {
            Contents::Host(fd, _) => return dst.fill_from(&**fd, Some(offset)),
            Contents::Pages(pages) => pages,
        };
        let mut done = 0;
        while done < want {
            let at = offset + done as u64;
            let (start, n) = ((at % PAGE) as usize, (PAGE_SIZE - (at % PAGE) as usize).min(want - done));
            let step = match pages.get(&(at / PAGE)) {
                Some(page) => dst.put(&page[start..start + n]),
                None => dst.put_zeros(n),
            };
            match step {
                Ok(k) => {
                    done += k;
                    if k < n {
                        break;
                    }
                }
                Err(_) if done > 0 => break,
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    /// Writes at `offset`; the caller raises the size by what this returns. ENOSPC if the file system is full.
    pub(super) fn write(&mut self, src: &mut IovSource<'_>, offset: u64, shared: &Shared) -> Result<usize> {
        let pages = match self {
            Contents::Host(..) => return self.write_host(src, offset, shared),
            Contents::Pages(pages) => pages,
        };
        let mut done = 0;
        while !src.is_empty() {
            let at = offset + done as u64;
            let start = (at % PAGE) as usize;
            let n = (PAGE_SIZE - start).min(src.remaining());
            let fresh = !pages.contains_key(&(at / PAGE));
            let step = if fresh { shared.charge(1) } else { Ok(()) };
            let step = step.and_then(|()| {
                let page = pages.entry(at / PAGE).or_insert_with(new_page);
                src.take(&mut page[start..start + n])
            });
            match step {
                Ok(k) => {
                    done += k;
                    if k < n {
                        break;
                    }
                }
                Err(e) => {
                    if fresh && e.errno() != Errno::ENOSPC && pages.remove(&(at / PAGE)).is_some() {
                        shared.uncharge(1);
                    }
                    if done > 0 {
                        break;
                    }
                    return Err(e);
                }
            }
        }
        Ok(done)
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
                let gone = pages.split_off(&size.div_ceil(PAGE));
                shared.uncharge(gone.len() as u64);
                if let Some(page) = pages.get_mut(&(size / PAGE)) {
                    page[(size % PAGE) as usize..].fill(0);
                }
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
                let (first, last) = (offset / PAGE, end.div_ceil(PAGE));
                let touched: alloc::vec::Vec<u64> = pages.range(first..last).map(|(&i, _)| i).collect();
                for i in touched {
                    let (from, to) = (offset.max(i * PAGE) - i * PAGE, end.min((i + 1) * PAGE) - i * PAGE);
                    if from == 0 && to == PAGE {
                        pages.remove(&i);
                        shared.uncharge(1);
                    } else if let Some(page) = pages.get_mut(&i) {
                        page[from as usize..to as usize].fill(0);
                    }
                }
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
                let there = pages.range(first..last).count() as u64;
                shared.charge(last - first - there)?;
                for i in first..last {
                    pages.entry(i).or_insert_with(new_page);
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
            (Contents::Pages(pages), SeekTarget::Data) => match pages.range(offset / PAGE..).next() {
                Some((&i, _)) if i * PAGE < size => Ok(offset.max(i * PAGE)),
                _ => Err(Errno::ENXIO.into()),
            },
            (Contents::Pages(pages), SeekTarget::Hole) => {
                let mut hole = offset / PAGE;
                while pages.contains_key(&hole) {
                    hole += 1;
                }
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
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create(c"flatland-tmpfs", flags)?;
        rustix::fs::ftruncate(&fd, size)?;
        for (&i, page) in pages.iter() {
            let in_file = PAGE_SIZE.min(usize::try_from(size.saturating_sub(i * PAGE)).unwrap_or(PAGE_SIZE));
            let mut done = 0;
            while done < in_file {
                done += rustix::io::pwrite(&fd, &page[done..in_file], i * PAGE + done as u64)?;
            }
        }
        let fd = Arc::new(HostFd::from(fd));
        *self = Contents::Host(fd.clone(), pages.len() as u64);
        Ok(fd)
    }

    /// The host memory file, opened for reading only: for a file that is sealed against writing.
    pub(super) fn read_only(fd: &HostFd) -> Result<Arc<HostFd>> {
        use rustix::fd::{AsFd, AsRawFd};
        let name = alloc::format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(rustix::fs::CWD, name.as_bytes(), flags, rustix::fs::Mode::empty())?;
        Ok(Arc::new(HostFd::from(fd)))
    }
}
