//! Copies of guest pages, kept outside the window for spaces that are not resident.
//!
//! A [`Frame`] is one page in a store that the host backs as it is touched. Frames are counted: relatives that have the
//! same contents share one. Freed frames are used again, the latest first, because its bytes are still in a cache; when
//! many lie idle the older ones' memory goes back to the host.

use super::user;
use crate::abi::PAGE_SIZE;
use crate::error::{Errno, Result};
use crate::host::LazyPages;
use crate::sync::{Once, Rank, SpinLock};
use alloc::vec::Vec;

/// Idle frames that keep their memory.
const WARM: usize = 1024;
/// Idle frames with memory from which on the older ones give it back.
const WARM_MAX: usize = 4 * WARM;

/// The store: all frames, and which are idle.
struct Store {
    pages: LazyPages,
    /// Owners of each frame that was ever used.
    counts: Vec<u32>,
    /// Idle frames that have memory, the latest last.
    warm: Vec<u32>,
    /// Idle frames without memory.
    cold: Vec<u32>,
}

static STORE: Once<SpinLock<Store>> = Once::new();

/// Makes the store, once, for at most `pages` frames.
pub(super) fn init(pages: usize) -> Result<()> {
    let store = Store { pages: LazyPages::new(pages)?, counts: Vec::new(), warm: Vec::new(), cold: Vec::new() };
    STORE.call_once(|| SpinLock::new(Rank::Frames, store));
    Ok(())
}

impl Store {
    fn take(&mut self) -> Option<u32> {
        let index = match self.warm.pop().or_else(|| self.cold.pop()) {
            Some(index) => index,
            None if self.counts.len() < self.pages.count() => {
                self.counts.push(0);
                (self.counts.len() - 1) as u32
            }
            None => return None,
        };
        self.counts[index as usize] = 1;
        Some(index)
    }

    fn put(&mut self, index: u32) {
        let count = &mut self.counts[index as usize];
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.warm.push(index);
        if self.warm.len() >= WARM_MAX {
            self.cool();
        }
    }

    /// Gives the memory of all but the latest idle frames back.
    fn cool(&mut self) {
        let older = self.warm.len() - WARM;
        let mut cooled: Vec<u32> = self.warm.drain(..older).collect();
        cooled.sort_unstable();
        for run in cooled.chunk_by(|a, b| *b == a + 1) {
            let start = run[0] as usize;
            self.pages.forget(start..start + run.len());
        }
        self.cold.extend(cooled);
    }
}

fn with_store<R>(f: impl FnOnce(&mut Store) -> R) -> R {
    f(&mut STORE.get().expect("frames exist once the window does").lock())
}

/// A counted reference to a page outside the window.
#[derive(Debug)]
pub(super) struct Frame(u32);

impl Frame {
    /// A copy of the page at `addr` in the window; `None` if it cannot be read (beyond a file's end). ENOMEM if the store
    /// is full.
    pub(super) fn copy_of(addr: usize) -> Result<Option<Frame>> {
        with_store(|store| {
            let index = store.take().ok_or(Errno::ENOMEM.because("all frames for parked memory are in use"))?;
            if user::read_raw(store.pages.page_mut(index as usize), addr) == 0 {
                return Ok(Some(Frame(index)));
            }
            store.put(index);
            Ok(None)
        })
    }

    /// Writes the contents to the page at `addr`, which must be writable; returns whether it was.
    pub(super) fn write_to(&self, addr: usize) -> bool {
        with_store(|store| user::write_raw(addr, store.pages.page(self.0 as usize)) == 0)
    }

    /// Whether the page at `addr` can be read and has the same contents.
    pub(super) fn matches(&self, addr: usize) -> bool {
        let mut there = [0u8; PAGE_SIZE];
        user::read_raw(&mut there, addr) == 0 && with_store(|store| *store.pages.page(self.0 as usize) == there)
    }
}

impl Clone for Frame {
    fn clone(&self) -> Self {
        with_store(|store| store.counts[self.0 as usize] += 1);
        Frame(self.0)
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        with_store(|store| store.put(self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_and_used_again() {
        let mut store = Store {
            pages: LazyPages::new(WARM_MAX + 1).unwrap(),
            counts: Vec::new(),
            warm: Vec::new(),
            cold: Vec::new(),
        };
        let first = store.take().unwrap();
        store.counts[first as usize] += 1;
        store.put(first);
        assert!(store.warm.is_empty());
        store.put(first);
        assert_eq!(store.take(), Some(first));
        let all: Vec<u32> = core::iter::from_fn(|| store.take()).collect();
        assert_eq!(all.len(), WARM_MAX);
        for &index in &all {
            store.pages.page_mut(index as usize)[7] = 1;
            store.put(index);
        }
        assert_eq!((store.warm.len(), store.cold.len()), (WARM, WARM_MAX - WARM));
        assert_eq!(store.pages.page(all[0] as usize)[7], 0);
        assert_eq!(store.pages.page(all[WARM_MAX - 1] as usize)[7], 1);
    }
}
