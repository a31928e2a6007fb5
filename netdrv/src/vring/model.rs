//! The index protocol under loom: all interleavings and all reorderings that the C11 memory model allows, for a driver
//! and a device on a ring of two entries that sleep whenever there is nothing to do.
//!
//! What must hold: no entry is read before it was written (loom's cells report the race), each buffer goes round once, and
//! neither side sleeps for ever (loom reports the deadlock).

use super::index::{Indices, RingWords, Side, Word};
use core::sync::atomic::Ordering;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::Notify;
use loom::sync::atomic::{AtomicU16, fence};
use loom::thread;

/// Entries of the ring, and buffers that exist.
const SIZE: usize = 2;

struct Ring {
    words: [AtomicU16; 6],
    /// The entries of both rings stand for all that an index publishes: descriptors, buffers, ids.
    available: [UnsafeCell<u16>; SIZE],
    used: [UnsafeCell<u16>; SIZE],
    kick: Notify,
    call: Notify,
}

/// What a run leaves out, to see that it is missed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// No fence between storing a word and loading the other's.
    Fence,
    /// The index is stored without Release.
    Release,
}

struct Words<'a>(&'a Ring, Broken);

impl RingWords for Words<'_> {
    fn load(&self, word: Word, order: Ordering) -> u16 {
        self.0.words[word as usize].load(order)
    }

    fn store(&self, word: Word, value: u16, order: Ordering) {
        let order = if self.1 == Broken::Release { Ordering::Relaxed } else { order };
        self.0.words[word as usize].store(value, order);
    }

    fn fence(&self) {
        if self.1 != Broken::Fence {
            fence(Ordering::SeqCst);
        }
    }
}

// SAFETY: loom's cells check at run time that no access races; that is what this module is for.
unsafe impl Sync for Ring {}
// SAFETY: as above.
unsafe impl Send for Ring {}

fn put(slots: &[UnsafeCell<u16>; SIZE], index: u16, value: u16) {
    // SAFETY: loom checks that nobody else has access.
    slots[usize::from(index) % SIZE].with_mut(|slot| unsafe { *slot = value });
}

fn get(slots: &[UnsafeCell<u16>; SIZE], index: u16) -> u16 {
    // SAFETY: loom checks that nobody else writes.
    slots[usize::from(index) % SIZE].with(|slot| unsafe { *slot })
}

/// Uses `count` buffers: takes each from the available ring, writes what it is used with.
fn device(ring: &Ring, event_idx: bool, base: u16, count: u16, broken: Broken) {
    let words = Words(ring, broken);
    let mut indices = Indices::new(Side::DEVICE, event_idx, base);
    indices.disarm(&words);
    let mut left = count;
    while left > 0 {
        let waiting = indices.waiting(&words, SIZE as u16).expect("an honest driver");
        for _ in 0..waiting {
            let buffer = get(&ring.available, indices.next_taken());
            indices.took_entry();
            put(&ring.used, indices.next_entry(), buffer + 100);
            indices.wrote_entry();
            left -= 1;
        }
        if indices.publish(&words) {
            ring.call.notify();
        }
        if waiting == 0 && left > 0 && !indices.arm(&words) {
            ring.kick.wait();
            indices.disarm(&words);
        }
    }
}

/// Makes `count` buffers available and waits for each to come back.
fn driver(ring: &Ring, event_idx: bool, base: u16, count: u16, broken: Broken) {
    let words = Words(ring, broken);
    let mut indices = Indices::new(Side::DRIVER, event_idx, base);
    indices.disarm(&words);
    let (mut sent, mut back) = (0, 0);
    while back < count {
        if sent < count && sent - back < SIZE as u16 {
            put(&ring.available, indices.next_entry(), sent);
            indices.wrote_entry();
            sent += 1;
            if indices.publish(&words) {
                ring.kick.notify();
            }
        }
        let waiting = indices.waiting(&words, sent - back).expect("an honest device");
        for _ in 0..waiting {
            assert_eq!(get(&ring.used, indices.next_taken()), back + 100, "in order, and each once");
            indices.took_entry();
            back += 1;
        }
        let full = sent == count || usize::from(sent - back) == SIZE;
        if waiting == 0 && back < count && full && !indices.arm(&words) {
            ring.call.wait();
            indices.disarm(&words);
        }
    }
}

fn explore(event_idx: bool, base: u16, count: u16, broken: Broken) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(move || {
        let ring = Arc::new(Ring {
            words: core::array::from_fn(|_| AtomicU16::new(base)),
            available: core::array::from_fn(|_| UnsafeCell::new(0)),
            used: core::array::from_fn(|_| UnsafeCell::new(0)),
            kick: Notify::new(),
            call: Notify::new(),
        });
        // Flags are 0 at the start, whatever the indices are.
        ring.words[Word::AvailFlags as usize].store(0, Ordering::Relaxed);
        ring.words[Word::UsedFlags as usize].store(0, Ordering::Relaxed);
        let theirs = ring.clone();
        let peer = thread::spawn(move || device(&theirs, event_idx, base, count, broken));
        driver(&ring, event_idx, base, count, broken);
        peer.join().unwrap();
    });
}

/// Whether loom finds something wrong.
fn is_caught(broken: Broken) -> bool {
    // A model that fails panics, in a thread of its own so that the panic ends there.
    std::thread::spawn(move || explore(true, 0, 1, broken)).join().is_err()
}

#[test]
fn nobody_sleeps_for_ever_with_event_indices() {
    explore(true, 0, 1, Broken::Nothing);
}

#[test]
fn nobody_sleeps_for_ever_with_flags() {
    explore(false, 0, 1, Broken::Nothing);
}

#[test]
fn entries_are_seen_across_the_wrap_of_the_index() {
    explore(true, u16::MAX, 2, Broken::Nothing);
}

#[cfg(panic = "unwind")]
#[test]
fn the_model_misses_what_is_left_out() {
    assert!(is_caught(Broken::Release), "an index without Release went unnoticed");
    assert!(is_caught(Broken::Fence), "a missing fence went unnoticed");
}
