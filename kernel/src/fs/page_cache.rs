//! The page cache of one file: what of its contents is in memory, and what of that the disk does not have yet.
//!
//! Pages lie in the kernel's heap until the file is mapped for the first time (mmap(2), execve(2)); then all of them move
//! to a host memory file, because the guest window maps host files, and from then on calls and mappings see the same
//! bytes. A file system fills missing pages, decides when dirty pages are written, and drops clean ones when
//! [`over_limit`] says so. Bytes of the last page beyond the file's end are zero.
//!
//! What a program stores through a shared mapping is not seen here: while a writable mapping may exist, every page counts
//! as dirty ([`FilePages::mapped_writable`]).

use crate::error::{Errno, Result};
use crate::fs::sparse_pages::{Missing, NewPage, Page, SparsePages};
use crate::host::HostFd;
use crate::mm::{IovDest, IovSource};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use rustix::fs::{FallocateFlags, MemfdFlags};

pub use crate::fs::sparse_pages::{PAGE, zero_page};

static CACHED: AtomicU64 = AtomicU64::new(0);
static LIMIT: AtomicU64 = AtomicU64::new(64 << 20);

/// Sets how many bytes all page caches together may hold before clean pages are dropped.
pub fn set_limit(bytes: u64) {
    LIMIT.store(bytes, Ordering::Relaxed);
}

/// By how many pages the caches are over their limit.
pub fn over_limit() -> u64 {
    CACHED.load(Ordering::Relaxed).saturating_sub(LIMIT.load(Ordering::Relaxed) / PAGE)
}

/// The limit in pages.
pub fn limit() -> u64 {
    LIMIT.load(Ordering::Relaxed) / PAGE
}

enum Store {
    Heap(SparsePages),
    Host(HostFile),
}

/// The whole file in a host memory file.
struct HostFile {
    fd: Arc<HostFd>,
    /// The same, opened for reading only.
    reader: Option<Arc<HostFd>>,
    /// Whether `fd` was given away to be mapped.
    writable: bool,
}

impl HostFile {
    /// Whether nobody else has the descriptors, so that nothing is mapped.
    fn alone(&self) -> bool {
        Arc::strong_count(&self.fd) == 1 && self.reader.as_ref().is_none_or(|r| Arc::strong_count(r) == 1)
    }
}

/// The cached pages of a file.
pub struct FilePages {
    store: Store,
    dirty: BTreeSet<u64>,
}

impl Default for FilePages {
    fn default() -> Self {
        FilePages { store: Store::Heap(SparsePages::default()), dirty: BTreeSet::new() }
    }
}

impl Drop for FilePages {
    fn drop(&mut self) {
        if let Store::Heap(pages) = &self.store {
            CACHED.fetch_sub(pages.count(), Ordering::Relaxed);
        }
    }
}

impl FilePages {
    /// Whether a page must be filled before it can be read.
    pub fn lacks(&self, index: u64) -> bool {
        match &self.store {
            Store::Heap(pages) => !pages.contains(index),
            Store::Host(..) => false,
        }
    }

    /// Enters a page as the disk has it. A page that is there already stays as it is.
    pub fn fill(&mut self, index: u64, page: Box<Page>) {
        if let Store::Heap(pages) = &mut self.store
            && pages.insert(index, page)
        {
            CACHED.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many pages are in the heap.
    pub fn count(&self) -> usize {
        match &self.store {
            Store::Heap(pages) => pages.count() as usize,
            Store::Host(..) => 0,
        }
    }

    /// Whether some page must still be written.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || self.mapped_writable()
    }

    /// Whether programs may be storing through a mapping.
    pub fn mapped_writable(&self) -> bool {
        matches!(&self.store, Store::Host(host) if host.writable)
    }

    /// Copies out, at most `len` bytes from `offset` on; stops where a page is missing.
    pub fn copy_out(&self, dst: &mut IovDest<'_>, offset: u64, len: usize) -> Result<usize> {
        match &self.store {
            // The host stops at the end of its file, which is the end of ours.
            Store::Host(HostFile { fd, .. }) => dst.fill_from(&**fd, Some(offset)).map(|n| n.min(len)),
            Store::Heap(pages) => pages.copy_out(dst, offset, len, Missing::Stop),
        }
    }

    /// Copies in at `offset`, at most `len` bytes, and marks the pages dirty. Pages that are covered in part must be
    /// there; of whole ones, those that are missing are made. A page that a fault leaves half made is dropped again.
    pub fn copy_in(&mut self, src: &mut IovSource<'_>, offset: u64, len: usize) -> Result<usize> {
        let n = match &mut self.store {
            Store::Host(HostFile { fd, .. }) => src.drain_to(&**fd, Some(offset))?,
            Store::Heap(pages) => pages.copy_in(src, offset, len, false, &mut |page| {
                match page {
                    NewPage::Made => CACHED.fetch_add(1, Ordering::Relaxed),
                    NewPage::Dropped => CACHED.fetch_sub(1, Ordering::Relaxed),
                };
                Ok(())
            })?,
        };
        if n > 0 {
            self.dirty.extend(offset / PAGE..(offset + n as u64).div_ceil(PAGE));
        }
        Ok(n)
    }

    /// The page's bytes, for writing back.
    pub fn read_page(&self, index: u64, buf: &mut [u8]) -> Result<()> {
        match &self.store {
            Store::Heap(pages) => match pages.get(index) {
                Some(page) => buf.copy_from_slice(page),
                None => buf.fill(0),
            },
            Store::Host(HostFile { fd, .. }) => {
                let mut done = 0;
                while done < buf.len() {
                    match rustix::io::pread(&**fd, &mut buf[done..], index * PAGE + done as u64)? {
                        0 => break,
                        n => done += n,
                    }
                }
                buf[done..].fill(0);
            }
        }
        Ok(())
    }

    /// Zeroes `from..to` where pages are there, and marks those dirty that are only partly inside; whole pages are dropped
    /// if `drop_whole`, because nothing lies behind them any more.
    pub fn zero_range(&mut self, from: u64, to: u64, drop_whole: bool) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        match &mut self.store {
            Store::Heap(pages) => {
                let dirty = &mut self.dirty;
                pages.zero_range(from, to, drop_whole, |i, gone| {
                    if gone {
                        dirty.remove(&i);
                        CACHED.fetch_sub(1, Ordering::Relaxed);
                    } else {
                        dirty.insert(i);
                    }
                });
            }
            Store::Host(HostFile { fd, .. }) => {
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                rustix::fs::fallocate(&**fd, flags, from, to - from)?;
                let whole = from.div_ceil(PAGE)..to / PAGE;
                self.dirty.retain(|i| !drop_whole || !whole.contains(i));
                self.dirty.extend([from / PAGE, (to - 1) / PAGE].iter().filter(|i| !whole.contains(i)));
            }
        }
        Ok(())
    }

    /// The file has another size now: pages behind its end go, the rest of the last page becomes zero.
    pub fn set_size(&mut self, old: u64, new: u64) -> Result<()> {
        match &mut self.store {
            Store::Heap(pages) => {
                if new < old {
                    CACHED.fetch_sub(pages.cut(new), Ordering::Relaxed);
                    self.dirty.split_off(&new.div_ceil(PAGE));
                }
                Ok(())
            }
            Store::Host(HostFile { fd, .. }) => {
                self.dirty.split_off(&new.div_ceil(PAGE));
                Ok(rustix::fs::ftruncate(&**fd, new)?)
            }
        }
    }

    /// The dirty pages, ascending. With a writable mapping that is every page of a file of `size` bytes.
    pub fn dirty_pages(&self, size: u64) -> Vec<u64> {
        if self.mapped_writable() {
            return (0..size.div_ceil(PAGE)).collect();
        }
        self.dirty.iter().copied().collect()
    }

    /// How many pages are known to be dirty.
    pub fn dirty_count(&self) -> usize {
        self.dirty.len()
    }

    /// Marks a page dirty that is there.
    pub fn mark_dirty(&mut self, index: u64) {
        self.dirty.insert(index);
    }

    /// All dirty pages have been written. A writable mapping that nobody has any more is forgotten.
    pub fn written(&mut self) {
        self.dirty.clear();
        if let Store::Host(host) = &mut self.store
            && Arc::strong_count(&host.fd) == 1
        {
            host.writable = false;
        }
    }

    /// Drops clean pages, at most `most`; returns how many. A host memory file that nobody maps counts as none.
    pub fn drop_clean(&mut self, most: usize) -> usize {
        match &mut self.store {
            Store::Heap(pages) => {
                let clean: Vec<u64> =
                    pages.indices(0..u64::MAX).filter(|i| !self.dirty.contains(i)).take(most).collect();
                for &i in &clean {
                    pages.remove(i);
                }
                CACHED.fetch_sub(clean.len() as u64, Ordering::Relaxed);
                clean.len()
            }
            Store::Host(host) if self.dirty.is_empty() && !host.writable && host.alone() => {
                self.store = Store::Heap(SparsePages::default());
                0
            }
            Store::Host(..) => 0,
        }
    }

    /// Whether the pages lie in a host memory file.
    pub fn is_mapped(&self) -> bool {
        matches!(self.store, Store::Host(..))
    }

    /// Moves the file's `size` bytes, all of which are in the heap, to a host memory file.
    pub fn move_to_host(&mut self, size: u64) -> Result<()> {
        let Store::Heap(pages) = &mut self.store else { return Ok(()) };
        let fd = pages.to_memory_file(c"flatland-file", MemfdFlags::empty(), size)?;
        CACHED.fetch_sub(pages.count(), Ordering::Relaxed);
        self.store = Store::Host(HostFile { fd: Arc::new(HostFd::from(fd)), reader: None, writable: false });
        Ok(())
    }

    /// The host memory file, for a mapping. For one that may write, the pages count as dirty from now on.
    pub fn map_host(&mut self, writable: bool) -> Result<Arc<HostFd>> {
        let Store::Host(host) = &mut self.store else { return Err(Errno::EIO.into()) };
        if writable {
            host.writable = true;
            return Ok(host.fd.clone());
        }
        if let Some(reader) = &host.reader {
            return Ok(reader.clone());
        }
        let reader = Arc::new(host.fd.reopened_for_reading()?);
        host.reader = Some(reader.clone());
        Ok(reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(p: &mut FilePages, offset: u64, bytes: &[u8]) {
        assert_eq!(p.copy_in(&mut IovSource::kernel(bytes), offset, bytes.len()).unwrap(), bytes.len());
    }

    fn read(p: &FilePages, offset: u64, len: usize) -> Vec<u8> {
        let mut buf = alloc::vec![0xaa; len];
        let n = p.copy_out(&mut IovDest::kernel(&mut buf), offset, len).unwrap();
        buf.truncate(n);
        buf
    }

    #[test]
    fn bytes_survive_the_move_to_the_host() {
        let mut p = FilePages::default();
        p.fill(0, zero_page());
        write(&mut p, 10, b"hello");
        p.fill(1, zero_page());
        assert_eq!(p.dirty_pages(8192), [0]);
        p.move_to_host(5000).unwrap();
        assert_eq!(read(&p, 10, 5), b"hello");
        assert_eq!(read(&p, 4990, 100).len(), 10);
        assert!(!p.mapped_writable());
        let fd = p.map_host(true).unwrap();
        assert_eq!(p.dirty_pages(5000), [0, 1]);
        drop(fd);
        p.written();
        assert!(!p.is_dirty());
    }

    #[test]
    fn shrinking_zeroes_the_tail_and_drops_the_rest() {
        let mut p = FilePages::default();
        write(&mut p, 0, &[7; 8192]);
        p.set_size(8192, 100).unwrap();
        assert_eq!(read(&p, 0, 8192).len(), 4096);
        assert_eq!(read(&p, 98, 4), [7, 7, 0, 0]);
        assert_eq!(p.dirty_pages(100), [0]);
    }

    #[test]
    fn only_clean_pages_are_dropped() {
        let mut p = FilePages::default();
        write(&mut p, 0, &[1; 4096]);
        p.fill(1, zero_page());
        assert_eq!(p.drop_clean(10), 1);
        assert!(!p.lacks(0) && p.lacks(1));
    }
}
