//! Shared memory objects: what MAP_SHARED | MAP_ANONYMOUS (mmap(2)) and shmat(2) map.
//!
//! An object owns a range of the window's memory file, its *home*, in a zone of addresses that programs never see. A
//! mapping of it is one more host mapping of the same bytes, at whatever address a program wants it, so that relatives,
//! several mappings in one process and unrelated processes see one memory. Pages are populated in chunks and charged
//! against `mem=` at their first touch through any mapping, by the bits of the home (`window`). The object lives as long as
//! somebody has a reference: mappings, and the System V registry for segments that are not removed.
//!
//! A reference from a mapping that is gone may linger for the length of a system call (lists of mappings are copied), so
//! mappings are counted by looking for them ([`super::residency::count_mappings`]), not by references.

use super::page_align_up;
use super::window::{Zone, window};
use crate::abi::PAGE_SIZE;
use crate::error::{Errno, Result};
use crate::sched;
use alloc::string::String;
use alloc::sync::Arc;
use core::ops::Range;
use core::sync::atomic::{AtomicI32, AtomicI64, AtomicU64, Ordering};

/// When and by whom an object was mapped and unmapped last, as shmctl(2) reports it.
#[derive(Default)]
struct Attachments {
    attached: AtomicI64,
    detached: AtomicI64,
    pid: AtomicI32,
}

/// An object.
pub struct SharedMemory {
    home: Range<usize>,
    name: String,
    ino: u64,
    is_segment: bool,
    attachments: Attachments,
}

impl SharedMemory {
    /// Anonymous memory of `len` bytes, rounded up to pages, that reads as zeros. ENOMEM if no address range is left.
    pub fn anonymous(len: usize) -> Result<Arc<Self>> {
        static NEXT_INO: AtomicU64 = AtomicU64::new(1);
        Self::new(len, String::from("/dev/zero (deleted)"), NEXT_INO.fetch_add(1, Ordering::Relaxed), false)
    }

    /// A System V segment of `len` bytes; `/proc/<pid>/maps` shows its key and number (shmget(2)).
    pub fn segment(len: usize, key: i32, id: i32) -> Result<Arc<Self>> {
        Self::new(len, alloc::format!("/SYSV{key:08x} (deleted)"), id as u64, true)
    }

    fn new(len: usize, name: String, ino: u64, is_segment: bool) -> Result<Arc<Self>> {
        let len = page_align_up(len).filter(|&l| l > 0).ok_or(Errno::ENOMEM.because("the length overflows"))?;
        let home = window().take(len, PAGE_SIZE, Zone::Shared)?;
        Ok(Arc::new(SharedMemory { home, name, ino, is_segment, attachments: Attachments::default() }))
    }

    /// Its length in bytes, a multiple of the page size.
    pub fn len(&self) -> usize {
        self.home.len()
    }

    /// Whether it has no byte; no object is like that.
    pub fn is_empty(&self) -> bool {
        self.home.is_empty()
    }

    /// What `/proc/<pid>/maps` calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The inode number in `/proc/<pid>/maps`; a segment's is its identifier.
    pub fn ino(&self) -> u64 {
        self.ino
    }

    /// Whether it is a System V segment: shmdt(2) unmaps no other.
    pub fn is_segment(&self) -> bool {
        self.is_segment
    }

    /// The home of `len` bytes from `offset` on, as far as the object goes.
    pub(super) fn home_part(&self, offset: usize, len: usize) -> Range<usize> {
        let at = |n: usize| self.home.start + n.min(self.home.len());
        at(offset)..at(offset.saturating_add(len))
    }

    /// Bytes that have memory.
    pub fn populated(&self) -> usize {
        window().populated_runs(&self.home).iter().map(Range::len).sum()
    }

    /// Notes that the running process maps it, if it is a segment.
    pub(super) fn note_attached(&self) {
        if !self.is_segment {
            return;
        }
        self.attachments.attached.store(crate::time::realtime().as_secs() as i64, Ordering::Relaxed);
        self.note_user();
    }

    /// Notes that the running process unmaps it, if it is a segment.
    pub(super) fn note_detached(&self) {
        if !self.is_segment {
            return;
        }
        self.attachments.detached.store(crate::time::realtime().as_secs() as i64, Ordering::Relaxed);
        self.note_user();
    }

    fn note_user(&self) {
        if let Some(t) = sched::current() {
            self.attachments.pid.store(t.process().pid().0, Ordering::Relaxed);
        }
    }

    /// When it was last mapped and unmapped, in seconds of the wall clock (0: never), and by which process.
    pub fn attachments(&self) -> (i64, i64, i32) {
        let a = &self.attachments;
        (a.attached.load(Ordering::Relaxed), a.detached.load(Ordering::Relaxed), a.pid.load(Ordering::Relaxed))
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        if let Err(e) = window().release_shared(self.home.clone()) {
            crate::klog!(Error, "shared memory cannot be released: {e}");
        }
    }
}
