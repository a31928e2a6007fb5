//! The driver's side of a split ring: descriptors, chains, and what is in flight.
//!
//! All of the ring's state is kept in private memory and only ever written to the shared tables. What comes back, a used
//! entry, is a head and a length: the head must be one that is in flight, the length is clamped to what was offered.

use super::index::{IndexOverrun, Indices, RingWords, Side, Word};
use super::layout::{DESCRIPTOR_LEN, MAX_SEGMENTS, RingLayout};
use super::region::SharedRegion;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

/// More follows at `next`.
const DESC_F_NEXT: u16 = 1;
/// For the device to write; otherwise to read.
const DESC_F_WRITE: u16 = 2;
/// The buffer is a table of descriptors.
const DESC_F_INDIRECT: u16 = 4;

/// A piece of a buffer: an offset in the region, and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Segment {
    /// Where it starts in the region.
    pub(crate) offset: usize,
    /// Its length in bytes.
    pub(crate) len: u32,
}

/// What an honest device never does. The ring is not to be used any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum RingError {
    /// `used.idx` went farther than there are buffers in flight.
    #[error("the peer moved its used index past what was made available")]
    Index,
    /// A used entry names a descriptor that heads no chain in flight.
    #[error("the peer returned descriptor {0}, which it does not have")]
    Id(u32),
    /// A used entry's length is larger than its buffer.
    #[error("the peer wrote {0} bytes to a buffer that has not so many")]
    Length(u32),
}

impl From<IndexOverrun> for RingError {
    fn from(_: IndexOverrun) -> RingError {
        RingError::Index
    }
}

/// A buffer that came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Used {
    /// What [`DriverRing::add`] was told.
    pub(crate) token: u16,
    /// Bytes that the device wrote; 0 for buffers it was to read.
    pub(crate) len: u32,
}

/// A chain in flight, by its head.
#[derive(Clone, Copy, Debug)]
struct Chain {
    token: u16,
    /// Descriptors of the ring in it; 0 while the descriptor heads no chain.
    descriptors: u16,
    /// Bytes that the device may write.
    writable: u32,
}

const NO_CHAIN: Chain = Chain { token: 0, descriptors: 0, writable: 0 };

/// Whether the device reads or writes a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// It reads.
    ToDevice,
    /// It writes.
    FromDevice,
}

/// The driver's side of one ring.
#[derive(Debug)]
pub(crate) struct DriverRing {
    layout: RingLayout,
    /// What the peer must add to an offset to get the address it knows.
    guest_base: u64,
    direction: Direction,
    indirect: bool,
    indices: Indices,
    /// By descriptor.
    chains: Vec<Chain>,
    /// The next descriptor of a chain: a copy of what the table says, which the peer cannot change.
    next: Vec<u16>,
    free: Vec<u16>,
    in_flight: u16,
}

/// The ring's words in shared memory.
struct Words<'a> {
    layout: &'a RingLayout,
    region: &'a SharedRegion,
}

impl Words<'_> {
    fn offset(&self, word: Word) -> usize {
        match word {
            Word::AvailFlags => self.layout.available,
            Word::AvailIdx => self.layout.available + 2,
            Word::UsedEvent => self.layout.used_event(),
            Word::UsedFlags => self.layout.used,
            Word::UsedIdx => self.layout.used + 2,
            Word::AvailEvent => self.layout.avail_event(),
        }
    }
}

impl RingWords for Words<'_> {
    fn load(&self, word: Word, order: Ordering) -> u16 {
        self.region.load_u16(self.offset(word), order)
    }

    fn store(&self, word: Word, value: u16, order: Ordering) {
        self.region.store_u16(self.offset(word), value, order);
    }

    fn fence(&self) {
        fence(Ordering::SeqCst);
    }
}

impl DriverRing {
    /// An empty ring at `layout`, whose tables are cleared. `guest_base` is the address by which the peer knows the
    /// region's first byte.
    pub(crate) fn new(
        region: &SharedRegion,
        layout: RingLayout,
        guest_base: u64,
        direction: Direction,
        indirect: bool,
        event_idx: bool,
    ) -> DriverRing {
        region.clear(layout.descriptors, layout.indirect - layout.descriptors);
        let size = layout.size.get();
        DriverRing {
            layout,
            guest_base,
            direction,
            indirect,
            indices: Indices::new(Side::DRIVER, event_idx, 0),
            chains: vec![NO_CHAIN; usize::from(size)],
            next: vec![0; usize::from(size)],
            // The last is taken first, so that a ring with little in flight touches few lines of the table.
            free: (0..size).rev().collect(),
            in_flight: 0,
        }
    }

    /// Where its tables are.
    pub(crate) fn layout(&self) -> &RingLayout {
        &self.layout
    }

    /// Chains that the device has.
    pub(crate) fn in_flight(&self) -> u16 {
        self.in_flight
    }

    /// Descriptors of the ring that a buffer of so many segments takes.
    fn descriptors_for(&self, segments: usize) -> usize {
        if self.indirect && segments > 1 { 1 } else { segments }
    }

    /// Whether a buffer of so many segments fits in now.
    pub(crate) fn has_room(&self, segments: usize) -> bool {
        self.free.len() >= self.descriptors_for(segments)
    }

    fn write_descriptor(&self, region: &SharedRegion, at: usize, segment: Segment, flags: u16, next: u16) {
        region.store_u64(at, self.guest_base + segment.offset as u64);
        region.store_u64(at + 8, u64::from(segment.len) | u64::from(flags) << 32 | u64::from(next) << 48);
    }

    /// Writes a buffer's descriptors and its entry in the available ring; the device sees it at the next
    /// [`DriverRing::publish`]. The segments belong to the device until the buffer comes back as a [`Used`] with `token`.
    /// Returns false, and does nothing, where there is no room; a buffer of no segments, or of more than an indirect table
    /// has room for, never has.
    pub(crate) fn add(&mut self, region: &SharedRegion, segments: &[Segment], token: u16) -> bool {
        if segments.is_empty() || segments.len() > MAX_SEGMENTS || !self.has_room(segments.len()) {
            return false;
        }
        let access = match self.direction {
            Direction::ToDevice => 0,
            Direction::FromDevice => DESC_F_WRITE,
        };
        let descriptors = self.descriptors_for(segments.len());
        let taken = self.free.len() - descriptors;
        let head = self.free[self.free.len() - 1];
        if descriptors < segments.len() {
            let table = self.layout.indirect_table(head);
            for (i, segment) in segments.iter().enumerate() {
                let more = if i + 1 < segments.len() { DESC_F_NEXT } else { 0 };
                self.write_descriptor(region, table + i * DESCRIPTOR_LEN, *segment, access | more, i as u16 + 1);
            }
            let len = (segments.len() * DESCRIPTOR_LEN) as u32;
            let at = self.layout.descriptors + usize::from(head) * DESCRIPTOR_LEN;
            self.write_descriptor(region, at, Segment { offset: table, len }, DESC_F_INDIRECT, 0);
        } else {
            for (i, segment) in segments.iter().enumerate() {
                let this = self.free[self.free.len() - 1 - i];
                let (more, next) = match i + 1 < segments.len() {
                    true => (DESC_F_NEXT, self.free[self.free.len() - 2 - i]),
                    false => (0, 0),
                };
                self.next[usize::from(this)] = next;
                let at = self.layout.descriptors + usize::from(this) * DESCRIPTOR_LEN;
                self.write_descriptor(region, at, *segment, access | more, next);
            }
        }
        self.free.truncate(taken);
        let writable = if access == 0 { 0 } else { segments.iter().map(|s| s.len).sum() };
        self.chains[usize::from(head)] = Chain { token, descriptors: descriptors as u16, writable };
        self.in_flight += 1;
        let entry = self.layout.available_entry(self.indices.next_entry());
        region.store_u16(entry, head, Ordering::Relaxed);
        self.indices.wrote_entry();
        true
    }

    /// Shows what was added to the device; returns whether it must be kicked.
    pub(crate) fn publish(&mut self, region: &SharedRegion) -> bool {
        self.indices.publish(&Words { layout: &self.layout, region })
    }

    /// Buffers that wait to be taken back.
    ///
    /// # Errors
    /// [`RingError::Index`].
    pub(crate) fn waiting(&self, region: &SharedRegion) -> Result<u16, RingError> {
        Ok(self.indices.waiting(&Words { layout: &self.layout, region }, self.in_flight)?)
    }

    /// The token of the buffer that comes back next, which is known to be there, as far as its entry can be believed: a hint.
    #[inline]
    pub(crate) fn expected(&self, region: &SharedRegion) -> Option<u16> {
        let id = region.load_u32(self.layout.used_entry(self.indices.next_taken()));
        self.chains.get(id as usize).map(|chain| chain.token)
    }

    /// Says that a buffer will be added.
    #[inline]
    pub(crate) fn expect_add(&self, region: &SharedRegion) {
        if let Some(head) = self.free.last() {
            region.expect_write(self.layout.descriptors + usize::from(*head) * DESCRIPTOR_LEN);
        }
        region.expect_write(self.layout.available_entry(self.indices.next_entry()));
    }

    /// Takes one buffer back; only when [`DriverRing::waiting`] has said that one waits.
    ///
    /// # Errors
    /// [`RingError::Id`], [`RingError::Length`].
    pub(crate) fn take(&mut self, region: &SharedRegion) -> Result<Used, RingError> {
        let entry = self.layout.used_entry(self.indices.next_taken());
        let (id, len) = (region.load_u32(entry), region.load_u32(entry + 4));
        let chain = self.chains.get_mut(id as usize).ok_or(RingError::Id(id))?;
        let Chain { token, descriptors, writable } = core::mem::replace(chain, NO_CHAIN);
        if descriptors == 0 {
            return Err(RingError::Id(id));
        }
        self.indices.took_entry();
        self.in_flight -= 1;
        let mut descriptor = id as u16;
        for _ in 0..descriptors {
            self.free.push(descriptor);
            descriptor = self.next[usize::from(descriptor)];
        }
        // Devices differ in what they report for buffers that they only read.
        match self.direction {
            Direction::ToDevice => Ok(Used { token, len: 0 }),
            Direction::FromDevice if len > writable => Err(RingError::Length(len)),
            Direction::FromDevice => Ok(Used { token, len }),
        }
    }

    /// Asks for a call when the next buffer comes back; returns whether one has already.
    pub(crate) fn arm(&mut self, region: &SharedRegion) -> bool {
        self.indices.arm(&Words { layout: &self.layout, region })
    }

    /// Asks for silence.
    pub(crate) fn disarm(&mut self, region: &SharedRegion) {
        self.indices.disarm(&Words { layout: &self.layout, region });
    }
}
