//! Memory that a peer has lent us: it may cut the file under our mapping at any time, so that an access faults (SIGBUS).
//!
//! Each mapping is registered here while it exists. The process's SIGBUS handler asks [`absorb_fault`]; if the address lies in
//! such a mapping, the page is replaced by one of zeros, the mapping is marked as broken, and the access goes on. Whoever
//! owns it finds the mark after its batch of work and drops the peer.

use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

const PAGE: usize = 4096;
/// Mappings at a time: eight regions for each of 64 peers.
const SLOTS: usize = 512;

struct Slot {
    /// First address; 0 while the slot is free, 1 while it is being filled.
    start: AtomicUsize,
    end: AtomicUsize,
    broken: AtomicBool,
}

static MAPPINGS: [Slot; SLOTS] =
    [const { Slot { start: AtomicUsize::new(0), end: AtomicUsize::new(0), broken: AtomicBool::new(false) } }; SLOTS];

/// A registered mapping; it must be dropped before the mapping goes.
#[derive(Debug)]
pub(crate) struct ForeignMapping(usize);

impl ForeignMapping {
    /// Registers a mapping of shared memory; `None` when there are too many.
    pub(crate) fn register(start: *mut u8, len: usize) -> Option<ForeignMapping> {
        let free = |slot: &Slot| slot.start.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        let index = MAPPINGS.iter().position(free)?;
        let slot = &MAPPINGS[index];
        slot.broken.store(false, Ordering::Relaxed);
        slot.end.store(start as usize + len, Ordering::Relaxed);
        slot.start.store(start as usize, Ordering::Release);
        Some(ForeignMapping(index))
    }

    /// Whether the peer has cut the file.
    pub(crate) fn is_broken(&self) -> bool {
        MAPPINGS[self.0].broken.load(Ordering::Relaxed)
    }
}

impl Drop for ForeignMapping {
    fn drop(&mut self) {
        MAPPINGS[self.0].start.store(0, Ordering::Release);
    }
}

/// For the SIGBUS handler: makes the access at `addr` go on if it is to a peer's memory. Returns whether it is. Safe to call
/// in a signal handler.
pub fn absorb_fault(addr: usize) -> bool {
    let inside = |slot: &&Slot| {
        let start = slot.start.load(Ordering::Acquire);
        start > 1 && (start..slot.end.load(Ordering::Relaxed)).contains(&addr)
    };
    let Some(slot) = MAPPINGS.iter().find(inside) else { return false };
    slot.broken.store(true, Ordering::Relaxed);
    let page = (addr & !(PAGE - 1)) as *mut core::ffi::c_void;
    debug_assert!(!ptr::eq(page, ptr::null()));
    let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::FIXED);
    // SAFETY: replaces one page of a registered mapping, which is plain bytes that are only accessed as such; the mapping
    // exists, because this thread is just accessing it.
    unsafe { mmap_anonymous(page, PAGE, prot, flags) }.is_ok()
}
