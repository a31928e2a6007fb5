//! Memory of the kernel's own, outside the guest window: stacks and aligned buffers.

use crate::abi::PAGE_SIZE;
use crate::error::{Errno, Result};
use alloc::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use core::ptr::{self, NonNull};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap_anonymous, mprotect, munmap};

/// A mapping of anonymous host memory; unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    start: usize,
    len: usize,
}

impl Mapping {
    /// `len` bytes that read as zero and get memory as they are touched. ENOMEM if the host has none.
    fn zeroed(len: usize) -> Result<Self> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of the host's choice touches nothing that exists.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), len, prot, MapFlags::PRIVATE | MapFlags::NORESERVE) };
        Ok(Mapping { start: start.map_err(|_| Errno::ENOMEM)? as usize, len })
    }

    /// The first `len` bytes of a file, shared and writable. ENOMEM if the host has no address range.
    pub(super) fn shared(file: impl rustix::fd::AsFd, len: usize) -> Result<Self> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: as above.
        let start = unsafe { rustix::mm::mmap(ptr::null_mut(), len, prot, MapFlags::SHARED, file, 0) };
        Ok(Mapping { start: start.map_err(|_| Errno::ENOMEM)? as usize, len })
    }

    /// A stack of `size` bytes with a guard of `guard` bytes below it that faults. ENOMEM if the host has none.
    pub fn stack(size: usize, guard: usize) -> Result<Self> {
        let len = size + guard;
        let mapping = Mapping::zeroed(len)?;
        // SAFETY: the guard is the start of the mapping just made.
        unsafe { mprotect(mapping.start as *mut _, guard, MprotectFlags::empty()) }.map_err(|_| Errno::ENOMEM)?;
        Ok(mapping)
    }

    /// A stack as above whose end is aligned to `size`, a power of two, so that its owner can be found from an address
    /// on it.
    pub fn aligned_stack(size: usize) -> Result<Self> {
        let len = 2 * size;
        // SAFETY: as above.
        let raw = unsafe {
            mmap_anonymous(ptr::null_mut(), len + size, ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::NORESERVE)
        }
        .map_err(|_| Errno::ENOMEM)? as usize;
        // Upper half usable and aligned, lower half guard.
        let usable = (raw + size).next_multiple_of(size);
        // SAFETY: the range lies inside the mapping just made.
        unsafe { mprotect(usable as *mut _, size, MprotectFlags::READ | MprotectFlags::WRITE) }
            .map_err(|_| Errno::ENOMEM)?;
        Ok(Mapping { start: usable - PAGE_SIZE, len: size + PAGE_SIZE })
    }

    /// First address.
    pub fn start(&self) -> usize {
        self.start
    }

    /// The address past the last.
    pub fn end(&self) -> usize {
        self.start + self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and its owner is gone. A failure would only leave it in place.
        let _ = unsafe { munmap(self.start as *mut _, self.len) };
    }
}

/// A heap buffer of chosen alignment.
pub struct AlignedBuffer {
    at: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the buffer owns plain bytes.
unsafe impl Send for AlignedBuffer {}
// SAFETY: shared access only reads plain bytes.
unsafe impl Sync for AlignedBuffer {}

impl AlignedBuffer {
    /// `len` zero bytes (at least one) at a multiple of `align`, a power of two.
    pub fn zeroed(len: usize, align: usize) -> Self {
        let layout = Layout::from_size_align(len.max(1), align).expect("a power of two and a size that fits");
        // SAFETY: the layout is not of size zero.
        let at = unsafe { alloc_zeroed(layout) };
        let Some(at) = NonNull::new(at) else { handle_alloc_error(layout) };
        AlignedBuffer { at, layout }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the allocation is this long, initialised, and borrowed with `self`.
        unsafe { core::slice::from_raw_parts(self.at.as_ptr(), self.layout.size()) }
    }

    /// The bytes, writable.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the allocation is this long, initialised, and borrowed mutably with `self`.
        unsafe { core::slice::from_raw_parts_mut(self.at.as_ptr(), self.layout.size()) }
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.at.as_ptr(), self.layout) };
    }
}

/// Pages of zero memory that the host gives as they are touched and takes back when they are forgotten.
pub struct LazyPages {
    mapping: Mapping,
    pages: usize,
}

// SAFETY: the mapping is plain memory that only this value refers to.
unsafe impl Send for LazyPages {}

impl LazyPages {
    /// `pages` zero pages. ENOMEM if the host has no address range for them.
    pub fn new(pages: usize) -> Result<Self> {
        Ok(LazyPages { mapping: Mapping::zeroed(pages * PAGE_SIZE)?, pages })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.pages
    }

    fn address(&self, index: usize) -> usize {
        assert!(index < self.pages, "no page {index}");
        self.mapping.start + index * PAGE_SIZE
    }

    /// A page's bytes.
    pub fn page(&self, index: usize) -> &[u8; PAGE_SIZE] {
        // SAFETY: the page lies inside the mapping, is initialised, and borrowed with `self`.
        unsafe { &*(self.address(index) as *const [u8; PAGE_SIZE]) }
    }

    /// A page's bytes, writable.
    pub fn page_mut(&mut self, index: usize) -> &mut [u8; PAGE_SIZE] {
        // SAFETY: the page lies inside the mapping, is initialised, and borrowed mutably with `self`.
        unsafe { &mut *(self.address(index) as *mut [u8; PAGE_SIZE]) }
    }

    /// Gives the pages' memory back; they read as zeros afterwards.
    pub fn forget(&mut self, pages: core::ops::Range<usize>) {
        let Some(last) = pages.clone().next_back() else { return };
        let (start, end) = (self.address(pages.start), self.address(last) + PAGE_SIZE);
        // SAFETY: the range lies inside the mapping; `self` is borrowed mutably. A failure only keeps the memory.
        let _ = unsafe { madvise(start as *mut _, end - start, Advice::LinuxDontNeed) };
    }
}

/// Words of zero memory that the host gives page by page as they are touched: for large, sparse tables.
pub struct LazyWords {
    mapping: Mapping,
    words: usize,
}

// SAFETY: the mapping is plain memory that only this value refers to.
unsafe impl Send for LazyWords {}

impl LazyWords {
    /// `words` zero words.
    pub fn new(words: usize) -> Result<Self> {
        let len = (words * 8).next_multiple_of(PAGE_SIZE);
        Ok(LazyWords { mapping: Mapping::zeroed(len)?, words })
    }
}

impl core::ops::Deref for LazyWords {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        // SAFETY: the mapping has room for this many zero-initialised words and lives as long as `self`.
        unsafe { core::slice::from_raw_parts(self.mapping.start as *const u64, self.words) }
    }
}

impl core::ops::DerefMut for LazyWords {
    fn deref_mut(&mut self) -> &mut [u64] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(self.mapping.start as *mut u64, self.words) }
    }
}
