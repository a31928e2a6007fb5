//! The index protocol of a split ring, both sides: publishing, consuming, and asking for silence.
//!
//! This is all that needs thought about memory order, kept apart from descriptors and buffers, so that it can be run on
//! loom's atomics as well as on shared memory ([`RingWords`]). The numbers below are those of the module's head.

use core::sync::atomic::Ordering;

/// The six 16-bit words by which the sides talk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Word {
    /// Driver: [`AVAIL_F_NO_INTERRUPT`].
    AvailFlags,
    /// Driver: entries made available, ever.
    AvailIdx,
    /// Driver: notify when the used index passes this.
    UsedEvent,
    /// Device: [`USED_F_NO_NOTIFY`].
    UsedFlags,
    /// Device: entries used, ever.
    UsedIdx,
    /// Device: notify when the available index passes this.
    AvailEvent,
}

/// The driver wants no notification (advice only; without event indices).
pub(crate) const AVAIL_F_NO_INTERRUPT: u16 = 1;
/// The device wants no notification (advice only; without event indices).
pub(crate) const USED_F_NO_NOTIFY: u16 = 1;

/// Where the words are.
pub(crate) trait RingWords {
    /// Loads a word.
    fn load(&self, word: Word, order: Ordering) -> u16;
    /// Stores a word; only the side that owns it may.
    fn store(&self, word: Word, value: u16, order: Ordering);
    /// A sequentially consistent fence.
    fn fence(&self);
}

/// The peer moved its index farther than there are entries that it may move it over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct IndexOverrun;

/// Whether an index that moves from `old` to `new` passes the one at which the peer wants to be notified: virtio 1.2,
/// section 2.7.7.1 (`vring_need_event` of `<linux/virtio_ring.h>`).
const fn passes(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

/// One side's view of the ring. Which words are ours and which the peer's is all that differs between the sides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    /// The index that we store.
    ours: Word,
    /// The index that the peer stores.
    theirs: Word,
    /// The index of the peer's at which we want to be notified.
    our_event: Word,
    /// The index of ours at which the peer wants to be notified.
    their_event: Word,
    our_flags: Word,
    their_flags: Word,
}

impl Side {
    /// Who makes buffers available.
    pub(crate) const DRIVER: Side = Side {
        ours: Word::AvailIdx,
        theirs: Word::UsedIdx,
        our_event: Word::UsedEvent,
        their_event: Word::AvailEvent,
        our_flags: Word::AvailFlags,
        their_flags: Word::UsedFlags,
    };

    /// Who uses them.
    pub(crate) const DEVICE: Side = Side {
        ours: Word::UsedIdx,
        theirs: Word::AvailIdx,
        our_event: Word::AvailEvent,
        their_event: Word::UsedEvent,
        our_flags: Word::UsedFlags,
        their_flags: Word::AvailFlags,
    };
}

/// The state of the index protocol on one side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Indices {
    side: Side,
    event_idx: bool,
    /// Entries written, ever; the peer has been told of those up to `published`.
    written: u16,
    published: u16,
    /// Entries of the peer's that were taken, ever.
    taken: u16,
    /// Whether the peer has been asked to notify.
    armed: bool,
}

impl Indices {
    /// A ring that starts at `base`, the same for both directions, with notifications wanted (the words are 0).
    pub(crate) const fn new(side: Side, event_idx: bool, base: u16) -> Indices {
        Indices { side, event_idx, written: base, published: base, taken: base, armed: true }
    }

    /// The index of the next entry to write; it is not visible until [`Indices::publish`].
    pub(crate) fn next_entry(&self) -> u16 {
        self.written
    }

    /// Counts an entry as written.
    pub(crate) fn wrote_entry(&mut self) {
        self.written = self.written.wrapping_add(1);
    }

    /// Entries that were written since the last [`Indices::publish`].
    #[cfg_attr(not(feature = "backend"), allow(dead_code))]
    pub(crate) fn unpublished(&self) -> u16 {
        self.written.wrapping_sub(self.published)
    }

    /// The index of the peer's next entry.
    pub(crate) fn next_taken(&self) -> u16 {
        self.taken
    }

    /// Says which of the peer's entries is next, where somebody else counts them.
    #[cfg_attr(not(feature = "backend"), allow(dead_code))]
    pub(crate) fn set_next_taken(&mut self, index: u16) {
        self.taken = index;
    }

    /// Counts one of the peer's entries as taken.
    pub(crate) fn took_entry(&mut self) {
        self.taken = self.taken.wrapping_add(1);
    }

    /// Shows what was written to the peer; returns whether it must be notified.
    pub(crate) fn publish(&mut self, words: &impl RingWords) -> bool {
        if self.written == self.published {
            return false;
        }
        let old = core::mem::replace(&mut self.published, self.written);
        // 1 and 2: entries before index.
        words.store(self.side.ours, self.written, Ordering::Release);
        // 3: our index before their wish.
        words.fence();
        if self.event_idx {
            passes(words.load(self.side.their_event, Ordering::Relaxed), self.written, old)
        } else {
            // Both "silence" flags are bit 0.
            words.load(self.side.their_flags, Ordering::Relaxed) & 1 == 0
        }
    }

    /// How many entries of the peer's wait, at most `most`.
    ///
    /// # Errors
    /// There cannot be so many.
    pub(crate) fn waiting(&self, words: &impl RingWords, most: u16) -> Result<u16, IndexOverrun> {
        // 1 and 2: index before entries.
        let count = words.load(self.side.theirs, Ordering::Acquire).wrapping_sub(self.taken);
        if count > most { Err(IndexOverrun) } else { Ok(count) }
    }

    /// Asks to be notified of the peer's next entry. Returns whether one is there already: then no notification may come,
    /// and the caller must not sleep.
    pub(crate) fn arm(&mut self, words: &impl RingWords) -> bool {
        self.arm_behind(words, 0)
    }

    /// As [`Indices::arm`], for the entry behind `known` that the caller knows of and cannot do with alone.
    pub(crate) fn arm_behind(&mut self, words: &impl RingWords, known: u16) -> bool {
        self.armed = true;
        let next = self.taken.wrapping_add(known);
        if self.event_idx {
            words.store(self.side.our_event, next, Ordering::Relaxed);
        } else {
            words.store(self.side.our_flags, 0, Ordering::Relaxed);
        }
        // 3: our wish before their index.
        words.fence();
        words.load(self.side.theirs, Ordering::Relaxed) != next
    }

    /// Asks for silence. The peer may have notified already, and may again: it is advice.
    pub(crate) fn disarm(&mut self, words: &impl RingWords) {
        if !core::mem::replace(&mut self.armed, false) {
            return;
        }
        if self.event_idx {
            // As far ahead as an index can be: once in 65,536 entries a notification comes for nothing.
            words.store(self.side.our_event, self.taken.wrapping_sub(1), Ordering::Relaxed);
        } else {
            words.store(self.side.our_flags, 1, Ordering::Relaxed);
        }
    }
}

const _: () = assert!(AVAIL_F_NO_INTERRUPT == 1 && USED_F_NO_NOTIFY == 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_passed_once_and_across_the_wrap() {
        assert!(passes(0, 1, 0) && !passes(1, 1, 0) && passes(1, 3, 0) && !passes(3, 3, 0));
        assert!(passes(0xffff, 0, 0xffff) && passes(0xfffe, 1, 0xfffd) && !passes(1, 1, 0xfffd));
        assert!(!passes(5, 5, 5), "no entry, no notification");
    }
}
