//! Memory that a front-end has lent, and the tables of a ring in it, as the device sees them.
//!
//! A ring's tables are looked up once, when it starts; a buffer's address with every use. Addresses are checked against the
//! regions, whatever they are; what lies behind them changes at any time, so that each word is read once, and bytes are
//! copied out before they mean anything. Looking every word up anew, as `virtio-queue` over `vm-memory` does, took the
//! device twice the time for a short frame; the tests hold the two against each other.

use super::foreign::ForeignMapping;
use super::index::{RingWords, Word};
use super::layout::{DESCRIPTOR_LEN, RingSize};
use super::prefetch;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
use std::fs::File;
use std::io;
use vm_memory::{FileOffset, MmapRegion};

/// More follows at `next`.
const DESC_F_NEXT: u16 = 1;
/// For the device to write.
const DESC_F_WRITE: u16 = 2;
/// The buffer is a table of descriptors.
const DESC_F_INDIRECT: u16 = 4;
/// Most descriptors of a chain. Linux' driver makes a table longer than its ring if need be; no frame needs as many.
const MAX_CHAIN: u16 = 1024;
/// `f_type` of statfs(2).
const FUSE_SUPER_MAGIC: rustix::fs::FsWord = 0x6573_5546;

/// A part of the memory, mapped.
#[derive(Debug)]
struct Region {
    // Before the mapping: it is registered only while it exists.
    guard: ForeignMapping,
    mapping: MmapRegion<()>,
    /// The address by which buffers in it are known, its end, and the front-end's own address of the same byte.
    start: u64,
    end: u64,
    user: u64,
}

/// Where a region is to be, and what is behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LentRegion {
    pub(crate) guest: u64,
    pub(crate) user: u64,
    pub(crate) len: u64,
    pub(crate) offset: u64,
}

/// An address outside of what was lent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OutsideOfMemory;

/// The regions of a memory table, mapped.
#[derive(Debug)]
pub(crate) struct LentMemory {
    /// By address.
    regions: Vec<Region>,
}

impl LentMemory {
    /// Maps a memory table.
    ///
    /// # Errors
    /// A region larger than its file, or past the end of the address space; regions that overlap; the host's refusal.
    pub(crate) fn map(table: impl IntoIterator<Item = (LentRegion, File)>) -> io::Result<LentMemory> {
        let mut regions = Vec::new();
        for (LentRegion { guest, user, len, offset }, file) in table {
            let size = usize::try_from(len).map_err(io::Error::other)?;
            let end = guest.checked_add(len).filter(|_| user.checked_add(len).is_some());
            let end = end.filter(|_| size > 0).ok_or(io::ErrorKind::InvalidInput)?;
            check_file(&file, offset.checked_add(len))?;
            let mapping = MmapRegion::from_file(FileOffset::new(file, offset), size).map_err(io::Error::other)?;
            let guard = ForeignMapping::register(mapping.as_ptr(), size);
            let guard = guard.ok_or_else(|| io::Error::other("too many regions"))?;
            regions.push(Region { guard, mapping, start: guest, end, user });
        }
        regions.sort_by_key(|region| region.start);
        if regions.is_empty() || regions.windows(2).any(|pair| pair[1].start < pair[0].end) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(LentMemory { regions })
    }

    /// Whether the front-end has cut one of the files.
    pub(crate) fn is_broken(&self) -> bool {
        self.regions.iter().any(|region| region.guard.is_broken())
    }

    /// The guest address of an address of the front-end's.
    pub(crate) fn guest_address(&self, user: u64) -> Option<u64> {
        let inside = |region: &&Region| user.checked_sub(region.user).is_some_and(|at| at < region.end - region.start);
        self.regions.iter().find(inside).map(|region| region.start + (user - region.user))
    }

    /// The byte at `addr`, and how many there are from it on in its region.
    #[inline]
    fn at(&self, addr: u64) -> Option<(NonNull<u8>, usize)> {
        let region = self.regions.iter().find(|region| (region.start..region.end).contains(&addr))?;
        let offset = (addr - region.start) as usize;
        // SAFETY: inside of the region, which is mapped as long as `self` is.
        let byte = unsafe { region.mapping.as_ptr().add(offset) };
        Some((NonNull::new(byte)?, (region.end - addr) as usize))
    }

    /// `len` bytes from `addr` on, in one region, aligned.
    fn table(&self, addr: u64, len: usize, align: usize) -> Option<NonNull<u8>> {
        let (byte, room) = self.at(addr)?;
        (len <= room && byte.addr().get().is_multiple_of(align)).then_some(byte)
    }

    /// Says that a buffer at `addr` will be read, if there can be one.
    #[inline]
    pub(crate) fn expect(&self, addr: u64) {
        if let Some((start, _)) = self.at(addr) {
            prefetch::buffer(start.as_ptr());
        }
    }

    /// Copies bytes out.
    #[inline]
    pub(crate) fn read(&self, mut addr: u64, mut bytes: &mut [u8]) -> Result<(), OutsideOfMemory> {
        while !bytes.is_empty() {
            let (from, room) = self.at(addr).ok_or(OutsideOfMemory)?;
            let (now, later) = bytes.split_at_mut(room.min(bytes.len()));
            // SAFETY: the source is mapped and any byte is a valid u8; what the front-end writes meanwhile shows in part.
            unsafe { ptr::copy_nonoverlapping(from.as_ptr(), now.as_mut_ptr(), now.len()) };
            // Buffers may go over from one region to the next.
            addr = addr.wrapping_add(now.len() as u64);
            bytes = later;
        }
        Ok(())
    }

    /// Copies bytes in.
    #[inline]
    pub(crate) fn write(&self, mut addr: u64, mut bytes: &[u8]) -> Result<(), OutsideOfMemory> {
        while !bytes.is_empty() {
            let (to, room) = self.at(addr).ok_or(OutsideOfMemory)?;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            // SAFETY: the target is mapped, writable, and no Rust reference to it exists but those of atomics; whoever writes
            // at the same time spoils its own data.
            unsafe { ptr::copy_nonoverlapping(now.as_ptr(), to.as_ptr(), now.len()) };
            addr = addr.wrapping_add(now.len() as u64);
            bytes = later;
        }
        Ok(())
    }
}

/// Whether a file may be mapped up to `end`: a regular one that is long enough, and whose pages come from the host's kernel, not from
/// a process that could let us wait for them.
fn check_file(file: &File, end: Option<u64>) -> io::Result<()> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || end.is_none_or(|end| end > metadata.len()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a region of memory is larger than its file"));
    }
    if rustix::fs::fstatfs(file)?.f_type == FUSE_SUPER_MAGIC {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "memory on a file system in user space"));
    }
    Ok(())
}

// SAFETY: `MmapRegion` is Send and Sync, and so is what is done with its bytes here: atomics, and copies that tolerate others.
unsafe impl Send for DeviceTables {}
// SAFETY: as above.
unsafe impl Sync for DeviceTables {}

/// A descriptor, as it was when it was read.
#[derive(Clone, Copy)]
struct Descriptor {
    addr: u64,
    len: u32,
    flags: u16,
    next: u16,
}

impl Descriptor {
    fn from_words(addr: u64, rest: u64) -> Descriptor {
        Descriptor { addr, len: rest as u32, flags: (rest >> 32) as u16, next: (rest >> 48) as u16 }
    }
}

/// A piece of a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    pub(crate) addr: u64,
    pub(crate) len: u32,
    /// For the device to write, else to read.
    pub(crate) writable: bool,
}

/// A chain that no driver makes: a loop, a descriptor out of range, tables in tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BrokenChain;

/// The three tables of a ring in lent memory, which they keep mapped.
#[derive(Debug)]
pub(crate) struct DeviceTables {
    memory: Arc<LentMemory>,
    size: RingSize,
    descriptors: NonNull<u8>,
    available: NonNull<u8>,
    used: NonNull<u8>,
}

impl DeviceTables {
    /// Looks the tables up; `None` if one of them is not in the memory, or not aligned (virtio 1.2, section 2.7).
    pub(crate) fn new(
        memory: Arc<LentMemory>,
        size: RingSize,
        descriptors: u64,
        available: u64,
        used: u64,
    ) -> Option<DeviceTables> {
        let entries = usize::from(size.get());
        let descriptors = memory.table(descriptors, DESCRIPTOR_LEN * entries, 16)?;
        // flags, idx, ring[], used_event; flags, idx, ring[] of (id, len), avail_event
        let available = memory.table(available, 6 + 2 * entries, 2)?;
        let used = memory.table(used, 6 + 8 * entries, 4)?;
        Some(DeviceTables { memory, size, descriptors, available, used })
    }

    /// The memory they lie in.
    pub(crate) fn memory(&self) -> &LentMemory {
        &self.memory
    }

    #[inline]
    fn descriptor(&self, index: u16) -> Option<Descriptor> {
        if index >= self.size.get() {
            return None;
        }
        // SAFETY: inside of the table, which is mapped and aligned to 16.
        let words = unsafe {
            let at = self.descriptors.as_ptr().add(DESCRIPTOR_LEN * usize::from(index)).cast::<u64>();
            [AtomicU64::from_ptr(at), AtomicU64::from_ptr(at.add(1))]
        };
        let [addr, rest] = words.map(|word| u64::from_le(word.load(Ordering::Relaxed)));
        Some(Descriptor::from_words(addr, rest))
    }

    /// Says that the chain at `head` will be walked, if there can be one.
    #[inline]
    pub(crate) fn expect_head(&self, head: u16) {
        let at = self.descriptors.as_ptr().wrapping_add(DESCRIPTOR_LEN * usize::from(head));
        prefetch::line(at);
    }

    /// Says that the chain in the available ring's entry for a free-running index, which is known to be there, will be read
    /// next, or written if it is `writable`. Its head and its first descriptor are looked at, as a hint.
    #[inline]
    pub(crate) fn expect_entry(&self, index: u16, writable: bool) {
        let Some(Descriptor { addr, .. }) = self.descriptor(self.available(index)) else { return };
        let Some((start, _)) = self.memory.at(addr) else { return };
        if writable {
            prefetch::buffer_to_write(start.as_ptr());
        } else {
            prefetch::buffer(start.as_ptr());
        }
    }

    /// The head in the available ring's entry for a free-running index.
    #[inline]
    pub(crate) fn available(&self, index: u16) -> u16 {
        // SAFETY: inside of the ring, which is mapped and aligned to 2.
        let entry = unsafe { AtomicU16::from_ptr(self.available.as_ptr().add(4 + 2 * self.size.slot(index)).cast()) };
        u16::from_le(entry.load(Ordering::Relaxed))
    }

    /// Writes the used ring's entry for a free-running index.
    #[inline]
    pub(crate) fn set_used(&self, index: u16, id: u16, len: u32) {
        // SAFETY: inside of the ring, which is mapped and aligned to 4.
        let words = unsafe {
            let at = self.used.as_ptr().add(4 + 8 * self.size.slot(index)).cast::<u32>();
            [AtomicU32::from_ptr(at), AtomicU32::from_ptr(at.add(1))]
        };
        words[0].store(u32::from(id).to_le(), Ordering::Relaxed);
        words[1].store(len.to_le(), Ordering::Relaxed);
    }

    /// Hands each piece of the chain at `head` over; a chain has one at least.
    ///
    /// # Errors
    /// [`BrokenChain`], or what `piece` returned.
    #[inline]
    pub(crate) fn walk<E: From<BrokenChain>>(
        &self,
        head: u16,
        mut piece: impl FnMut(Piece) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut next = head;
        for _ in 0..self.size.get() {
            let descriptor = self.descriptor(next).ok_or(BrokenChain)?;
            if descriptor.flags & DESC_F_INDIRECT != 0 {
                return self.walk_table(descriptor, piece);
            }
            let Descriptor { addr, len, flags, .. } = descriptor;
            piece(Piece { addr, len, writable: flags & DESC_F_WRITE != 0 })?;
            if flags & DESC_F_NEXT == 0 {
                return Ok(());
            }
            next = descriptor.next;
        }
        Err(BrokenChain.into())
    }

    /// The pieces of an indirect table (virtio 1.2, section 2.7.5.3), which ends a chain.
    fn walk_table<E: From<BrokenChain>>(
        &self,
        table: Descriptor,
        mut piece: impl FnMut(Piece) -> Result<(), E>,
    ) -> Result<(), E> {
        let entries = table.len / DESCRIPTOR_LEN as u32;
        let whole = table.len.is_multiple_of(DESCRIPTOR_LEN as u32) && entries <= MAX_CHAIN.into();
        if !whole || table.flags & DESC_F_NEXT != 0 {
            return Err(BrokenChain.into());
        }
        let mut next = 0;
        for _ in 0..entries {
            if u32::from(next) >= entries {
                return Err(BrokenChain.into());
            }
            let mut bytes = [0; DESCRIPTOR_LEN];
            let at = table.addr.wrapping_add(u64::from(next) * DESCRIPTOR_LEN as u64);
            self.memory.read(at, &mut bytes).map_err(|_| BrokenChain)?;
            let [addr, rest] = [0, 8].map(|i| bytes[i..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word)));
            let Descriptor { addr, len, flags, next: following } = Descriptor::from_words(addr, rest);
            if flags & DESC_F_INDIRECT != 0 {
                return Err(BrokenChain.into());
            }
            piece(Piece { addr, len, writable: flags & DESC_F_WRITE != 0 })?;
            if flags & DESC_F_NEXT == 0 {
                return Ok(());
            }
            next = following;
        }
        Err(BrokenChain.into())
    }

    #[inline]
    fn word(&self, word: Word) -> &AtomicU16 {
        let size = usize::from(self.size.get());
        let (table, offset) = match word {
            Word::AvailFlags => (self.available, 0),
            Word::AvailIdx => (self.available, 2),
            Word::UsedEvent => (self.available, 4 + 2 * size),
            Word::UsedFlags => (self.used, 0),
            Word::UsedIdx => (self.used, 2),
            Word::AvailEvent => (self.used, 4 + 8 * size),
        };
        // SAFETY: inside of the ring, which is mapped and aligned to 2 at least, for as long as `self` keeps the memory.
        unsafe { AtomicU16::from_ptr(table.as_ptr().add(offset).cast()) }
    }
}

impl RingWords for DeviceTables {
    #[inline]
    fn load(&self, word: Word, order: Ordering) -> u16 {
        u16::from_le(self.word(word).load(order))
    }

    #[inline]
    fn store(&self, word: Word, value: u16, order: Ordering) {
        self.word(word).store(value.to_le(), order);
    }

    fn fence(&self) {
        fence(Ordering::SeqCst);
    }
}
