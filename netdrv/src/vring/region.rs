//! Memory that is shared with a peer by descriptor.

use super::prefetch;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A memory file of fixed size, mapped. The peer that has its descriptor reads and writes it at any time.
///
/// All access is by offset, checked against the size; an offset outside is a bug of ours (offsets come from
/// [`RingLayout`](super::RingLayout), never from the peer) and panics.
#[derive(Debug)]
pub(crate) struct SharedRegion {
    memory: OwnedFd,
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to this value and stays until it is dropped; access through `&self` is by atomics and by
// copies that tolerate concurrent writers.
unsafe impl Send for SharedRegion {}
// SAFETY: as above.
unsafe impl Sync for SharedRegion {}

impl SharedRegion {
    /// `len` bytes of zeros (rounded up to pages), which get memory as they are touched.
    ///
    /// # Errors
    /// ENOMEM, EMFILE, ENFILE as memfd_create(2) and mmap(2).
    pub(crate) fn new(len: usize) -> Result<SharedRegion, Errno> {
        let len = len.next_multiple_of(4096);
        let memory = memfd_create("flatland-vring", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&memory, len as u64)?;
        // Whoever gets the descriptor cannot cut the file under our mapping.
        fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        // SAFETY: a fresh mapping at an address of the host's choice touches nothing that exists.
        let base =
            unsafe { mmap(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &memory, 0)? };
        let base = NonNull::new(base.cast()).ok_or(Errno::NOMEM)?;
        Ok(SharedRegion { memory, base, len })
    }

    /// Bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        assert!(offset <= self.len && len <= self.len - offset, "offset outside of the shared region");
        // SAFETY: just checked to lie in the mapping.
        unsafe { self.base.as_ptr().add(offset) }
    }

    /// A 16-bit word at an even offset.
    #[inline]
    fn word(&self, offset: usize) -> &AtomicU16 {
        assert!(offset.is_multiple_of(2), "a word at an odd offset");
        // SAFETY: in the mapping (checked by `at`), aligned, and only ever accessed atomically or by racing copies of the
        // peer's, which an atomic tolerates.
        unsafe { AtomicU16::from_ptr(self.at(offset, 2).cast()) }
    }

    /// Loads a little-endian word.
    #[inline]
    pub(crate) fn load_u16(&self, offset: usize, order: Ordering) -> u16 {
        u16::from_le(self.word(offset).load(order))
    }

    /// Stores a little-endian word.
    #[inline]
    pub(crate) fn store_u16(&self, offset: usize, value: u16, order: Ordering) {
        self.word(offset).store(value.to_le(), order);
    }

    /// Loads a little-endian 32-bit word at a multiple of 4.
    #[inline]
    pub(crate) fn load_u32(&self, offset: usize) -> u32 {
        assert!(offset.is_multiple_of(4), "a word at an odd offset");
        // SAFETY: as in `word`.
        let word = unsafe { AtomicU32::from_ptr(self.at(offset, 4).cast()) };
        u32::from_le(word.load(Ordering::Relaxed))
    }

    /// Stores a little-endian 64-bit word at a multiple of 8.
    #[inline]
    pub(crate) fn store_u64(&self, offset: usize, value: u64) {
        assert!(offset.is_multiple_of(8), "a word at an odd offset");
        // SAFETY: as in `word`.
        let word = unsafe { AtomicU64::from_ptr(self.at(offset, 8).cast()) };
        word.store(value.to_le(), Ordering::Relaxed);
    }

    /// Says that a buffer at `offset` will be read.
    #[inline]
    pub(crate) fn expect(&self, offset: usize) {
        prefetch::buffer(self.base.as_ptr().wrapping_add(offset));
    }

    /// Says that a buffer at `offset` will be written.
    #[inline]
    pub(crate) fn expect_write(&self, offset: usize) {
        prefetch::buffer_to_write(self.base.as_ptr().wrapping_add(offset));
    }

    /// Copies bytes in.
    #[inline]
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        let to = self.at(offset, bytes.len());
        // SAFETY: the target lies in the mapping, to which no Rust reference but those of atomics exists; a peer that
        // writes at the same time spoils its own data only.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }

    /// Copies bytes out; what the peer writes meanwhile shows in part or not at all.
    #[inline]
    pub(crate) fn read(&self, offset: usize, bytes: &mut [u8]) {
        let from = self.at(offset, bytes.len());
        // SAFETY: the source lies in the mapping; any byte is a valid u8.
        unsafe { ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
    }

    /// Clears a range.
    pub(crate) fn clear(&self, offset: usize, len: usize) {
        let at = self.at(offset, len);
        // SAFETY: as in `write`.
        unsafe { ptr::write_bytes(at, 0, len) };
    }
}

impl AsFd for SharedRegion {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

impl Drop for SharedRegion {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and its owner is gone. A failure would only leave it in place.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}
