//! The guest window's host side: one large reservation, backed by a sparse memory file at offset = address − base, and a
//! small one at low addresses, for programs that are linked to fixed ones, backed by the same file behind that.
//!
//! Everything that is not in use is inaccessible. Ranges become accessible page run by page run, host files are mapped
//! over them, and freed ranges go back to the memory file, inaccessible and without memory.

use super::fd::HostFd;
use crate::error::{Errno, Result};
use alloc::format;
use core::ops::Range;
use core::ptr;
use linux_raw_sys::general::{F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap, mprotect};

bitflags::bitflags! {
    /// Access to guest memory, with the numbers of mmap(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Prot: u32 {
        /// May be read.
        const READ = 1;
        /// May be written.
        const WRITE = 2;
        /// May be executed.
        const EXEC = 4;
    }
}

impl Prot {
    /// What the host is asked for. Memory that may be written or executed may be read, as the guest's mappings say: with
    /// protection keys a host would make PROT_EXEC alone unreadable.
    fn with_read(self) -> u32 {
        if self.is_empty() { 0 } else { (self | Prot::READ).bits() }
    }

    fn host(self) -> ProtFlags {
        ProtFlags::from_bits_retain(self.with_read())
    }

    fn host_change(self) -> MprotectFlags {
        MprotectFlags::from_bits_retain(self.with_read())
    }
}

/// The reservation. Its methods trust their ranges: `mm` gives them, page-aligned and inside the window.
#[derive(Debug)]
pub struct HostWindow {
    base: usize,
    len: usize,
    /// The low segment; empty if the host has something there.
    low: Range<usize>,
    memory: OwnedFd,
}

/// Where the window goes if that is free: far from what the host maps, and easy to recognise.
const PREFERRED_BASE: usize = 0x1000_0000_0000;

impl HostWindow {
    /// Reserves `len` bytes, a multiple of 2 MB, and the range `low` if nothing is there.
    pub fn reserve(len: usize, low: Range<usize>) -> Result<Self> {
        let memory = memfd_create("flatland-guest", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
            .map_err(|_| Errno::ENOMEM.because("the host refuses a memory file"))?;
        ftruncate(&memory, (len + low.len()) as u64)
            .map_err(|_| Errno::ENOMEM.because("the host refuses a sparse memory file of this size"))?;
        let seals = (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) as usize;
        // SAFETY: adds seals to a descriptor that is ours.
        unsafe {
            super::raw::syscall(
                linux_raw_sys::general::__NR_fcntl,
                [memory.as_raw_fd() as usize, F_ADD_SEALS as usize, seals, 0, 0, 0],
            )?;
        }
        let flags = MapFlags::SHARED | MapFlags::NORESERVE;
        // SAFETY: without MAP_FIXED a mapping replaces nothing.
        let base = unsafe {
            mmap(PREFERRED_BASE as *mut _, len, ProtFlags::empty(), flags | MapFlags::FIXED_NOREPLACE, &memory, 0)
                .or_else(|_| mmap(ptr::null_mut(), len, ProtFlags::empty(), flags, &memory, 0))
        }
        .map_err(|_| Errno::ENOMEM.because("the host has no address range for the guest window"))?;
        // SAFETY: FIXED_NOREPLACE replaces nothing.
        let low_at = unsafe {
            let flags = flags | MapFlags::FIXED_NOREPLACE;
            mmap(low.start as *mut _, low.len(), ProtFlags::empty(), flags, &memory, len as u64)
        };
        let low = if low_at.is_ok_and(|at| at as usize == low.start) { low } else { 0..0 };
        Ok(HostWindow { base: base as usize, len, low, memory })
    }

    /// First address.
    pub fn base(&self) -> usize {
        self.base
    }

    /// Bytes of address range, without the low segment.
    pub fn size(&self) -> usize {
        self.len
    }

    /// The low segment; empty if there is none.
    pub fn low(&self) -> Range<usize> {
        self.low.clone()
    }

    /// Where in the memory file an address inside lies.
    #[inline]
    pub fn offset_of(&self, addr: usize) -> usize {
        if self.low.contains(&addr) { self.len + (addr - self.low.start) } else { addr - self.base }
    }

    /// The address of an offset in the memory file.
    pub fn address_of(&self, offset: usize) -> usize {
        if offset >= self.len { self.low.start + (offset - self.len) } else { self.base + offset }
    }

    /// Whether the range is inside.
    #[inline]
    pub fn contains(&self, addr: usize, len: usize) -> bool {
        let offset = addr.wrapping_sub(self.base);
        if offset < self.len {
            return len <= self.len - offset;
        }
        self.low.contains(&addr) && len <= self.low.end - addr
    }

    fn assert_inside(&self, addr: usize, len: usize) {
        assert!(
            self.contains(addr, len) && addr.is_multiple_of(4096) && len.is_multiple_of(4096),
            "range outside the window"
        );
    }

    /// Changes the access to a range.
    pub fn protect(&self, addr: usize, len: usize, prot: Prot) -> Result<()> {
        self.assert_inside(addr, len);
        // SAFETY: the range is guest memory, which nothing in the host's Rust refers to but through `uaccess`.
        unsafe { mprotect(addr as *mut _, len, prot.host_change()) }.map_err(host_memory_error)
    }

    /// Gives the range memory now, in one call instead of a fault a page.
    pub fn populate(&self, addr: usize, len: usize, writable: bool) -> Result<()> {
        self.assert_inside(addr, len);
        let advice = if writable { Advice::LinuxPopulateWrite } else { Advice::LinuxPopulateRead };
        // SAFETY: populating does not change contents.
        unsafe { madvise(addr as *mut _, len, advice) }.map_err(host_memory_error)
    }

    /// Takes the memory of a range of the memory file away; it reads as zeros afterwards.
    pub fn discard(&self, addr: usize, len: usize) -> Result<()> {
        self.assert_inside(addr, len);
        let offset = self.offset_of(addr) as u64;
        fallocate(&self.memory, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len as u64)
            .map_err(|e| Errno::from(e).into())
    }

    /// Maps a host file over the range.
    pub fn map_file(
        &self,
        addr: usize,
        len: usize,
        prot: Prot,
        file: &HostFd,
        offset: u64,
        shared: bool,
    ) -> Result<()> {
        self.assert_inside(addr, len);
        let kind = if shared { MapFlags::SHARED } else { MapFlags::PRIVATE | MapFlags::NORESERVE };
        // SAFETY: replaces a range of the window, which nothing in the host's Rust refers to.
        unsafe { mmap(addr as *mut _, len, prot.host(), kind | MapFlags::FIXED, file.as_fd(), offset) }
            .map(|_| ())
            .map_err(host_memory_error)
    }

    /// Maps the memory file's bytes that belong to the addresses from `home` on over the range as well, inaccessible.
    pub fn map_again(&self, addr: usize, len: usize, home: usize) -> Result<()> {
        self.assert_inside(addr, len);
        self.assert_inside(home, len);
        let flags = MapFlags::SHARED | MapFlags::NORESERVE | MapFlags::FIXED;
        let offset = self.offset_of(home) as u64;
        // SAFETY: replaces a range of the window, which nothing in the host's Rust refers to.
        unsafe { mmap(addr as *mut _, len, ProtFlags::empty(), flags, &self.memory, offset) }
            .map(|_| ())
            .map_err(host_memory_error)
    }

    /// Drops a host file's private copies of the range's pages (madvise(2), MADV_DONTNEED).
    pub fn drop_private(&self, addr: usize, len: usize) -> Result<()> {
        self.assert_inside(addr, len);
        // SAFETY: guest memory; the guest asked for it.
        unsafe { madvise(addr as *mut _, len, Advice::LinuxDontNeed) }.map_err(host_memory_error)
    }

    /// Writes a shared host file's pages of the range back (msync(2)).
    pub fn sync(&self, addr: usize, len: usize) -> Result<()> {
        self.assert_inside(addr, len);
        // SAFETY: writing back does not change contents.
        unsafe { rustix::mm::msync(addr as *mut _, len, rustix::mm::MsyncFlags::SYNC) }
            .map_err(|e| Errno::from(e).into())
    }

    /// Puts the memory file back in place of whatever is mapped at the range, inaccessible.
    pub fn restore(&self, addr: usize, len: usize) -> Result<()> {
        self.assert_inside(addr, len);
        let flags = MapFlags::SHARED | MapFlags::NORESERVE | MapFlags::FIXED;
        let offset = self.offset_of(addr) as u64;
        // SAFETY: replaces a range of the window, which nothing in the host's Rust refers to.
        unsafe { mmap(addr as *mut _, len, ProtFlags::empty(), flags, &self.memory, offset) }
            .map(|_| ())
            .map_err(host_memory_error)
    }

    /// Where the window's memory file shows in the host, for messages.
    pub fn describe(&self) -> alloc::string::String {
        format!("{:#x}-{:#x}", self.base, self.base + self.len)
    }
}

/// The host's refusal of memory is the host's shortage (or its `vm.max_map_count`), whatever it calls it.
fn host_memory_error(e: rustix::io::Errno) -> crate::error::Error {
    match e {
        rustix::io::Errno::ACCESS => Errno::EACCES.into(),
        rustix::io::Errno::FAULT => Errno::EFAULT.into(),
        _ => Errno::ENOMEM.because("the host has no memory, or vm.max_map_count is too small"),
    }
}
