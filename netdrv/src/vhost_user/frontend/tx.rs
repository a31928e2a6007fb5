//! The transmit ring: frames in, pieces of memory back.

use super::LinkFailure;
use super::rx::MAX_FRAME;
use crate::vhost_user::NET_HEADER_LEN;
use crate::vring::{Direction, DriverRing, RingLayout, RingSize, Segment, SharedRegion};
use alloc::vec;
use alloc::vec::Vec;

/// Entries of the ring, and pieces of memory behind it.
pub(super) const TX_RING: u16 = 256;
/// Bytes of a piece: four take the longest frame with its header. An odd number of cache lines, as on the receive side.
pub(super) const TX_PIECE: usize = 259 * 64;
/// Most pieces of a frame.
const MAX_PIECES: usize = 4;

const _: () = assert!(TX_PIECE * MAX_PIECES >= MAX_FRAME + NET_HEADER_LEN);

/// Fewer free pieces than this: look for some that came back before taking another.
const LOW: usize = TX_RING as usize / 2;

/// The transmit side of a queue pair.
///
/// A frame is copied into pieces that came back last, because they are still in the caches. Which pieces a chain has is
/// kept here, by its first piece, which is its token.
#[derive(Debug)]
pub(super) struct TxQueue {
    ring: DriverRing,
    /// Offset of the first piece.
    pieces: usize,
    free: Vec<u16>,
    /// The pieces of a frame in flight, by its first one.
    taken: Vec<[u16; MAX_PIECES]>,
    counts: Vec<u8>,
    /// A frame was turned away for want of room.
    blocked: bool,
}

impl TxQueue {
    /// Bytes of a region up to the end of a transmit ring at `start`, and its layout.
    pub(super) fn layout(start: usize) -> (RingLayout, usize) {
        let layout = RingLayout::at(start, const { RingSize::new(TX_RING).unwrap() });
        (layout, layout.end.next_multiple_of(4096) + TX_PIECE * usize::from(TX_RING))
    }

    pub(super) fn new(region: &SharedRegion, mut ring: DriverRing) -> TxQueue {
        let pieces = ring.layout().end.next_multiple_of(4096);
        ring.disarm(region);
        let size = usize::from(TX_RING);
        TxQueue {
            ring,
            pieces,
            free: (0..TX_RING).rev().collect(),
            taken: vec![[0; MAX_PIECES]; size],
            counts: vec![0; size],
            blocked: false,
        }
    }

    pub(super) fn direction() -> Direction {
        Direction::ToDevice
    }

    /// Pieces that a frame takes; `None` for one that is too long.
    fn pieces_for(frame_len: usize) -> Option<usize> {
        (frame_len <= MAX_FRAME).then(|| (frame_len + NET_HEADER_LEN).div_ceil(TX_PIECE))
    }

    /// Whether `frames` frames of at most `frame_len` bytes fit in; looks for pieces that came back where few are free.
    pub(super) fn has_room(
        &mut self,
        region: &SharedRegion,
        frames: usize,
        frame_len: usize,
    ) -> Result<bool, LinkFailure> {
        let Some(each) = TxQueue::pieces_for(frame_len) else { return Ok(true) };
        let pieces = frames * each;
        if each > 1 || self.free.len() < LOW.max(pieces) {
            self.reclaim(region)?;
        }
        // A ring without indirect tables has a descriptor for each piece, so that pieces are what runs out.
        self.blocked = self.free.len() < pieces;
        Ok(!self.blocked)
    }

    /// Takes back what the device is done with.
    fn reclaim(&mut self, region: &SharedRegion) -> Result<(), LinkFailure> {
        for _ in 0..self.ring.waiting(region)? {
            let first = usize::from(self.ring.take(region)?.token);
            let count = usize::from(self.counts[first]);
            self.free.extend_from_slice(&self.taken[first][..count]);
        }
        Ok(())
    }

    /// Copies a frame in behind its header, for the next [`TxQueue::publish`]. [`TxQueue::has_room`] has said that it fits;
    /// one that is too long is not taken, which is the answer.
    pub(super) fn add(&mut self, region: &SharedRegion, header: &[u8; NET_HEADER_LEN], parts: &[&[u8]]) -> bool {
        let len: usize = parts.iter().map(|p| p.len()).sum();
        let Some(count) = TxQueue::pieces_for(len).filter(|&count| count <= self.free.len()) else { return false };
        let mut pieces = [0; MAX_PIECES];
        let mut segments = [Segment { offset: 0, len: 0 }; MAX_PIECES];
        let mut left = len + NET_HEADER_LEN;
        for i in 0..count {
            let Some(piece) = self.free.pop() else { return false };
            pieces[i] = piece;
            let len = left.min(TX_PIECE);
            left -= len;
            segments[i] = Segment { offset: self.pieces + usize::from(piece) * TX_PIECE, len: len as u32 };
        }
        let segments = &segments[..count];
        fill(region, segments, header, parts);
        let first = usize::from(pieces[0]);
        (self.taken[first], self.counts[first]) = (pieces, count as u8);
        let added = self.ring.add(region, segments, pieces[0]);
        debug_assert!(added, "a descriptor for each piece");
        added
    }

    /// Says that a frame may follow: the lines that it will be written to have time to come.
    pub(super) fn expect_frame(&self, region: &SharedRegion) {
        if let Some(piece) = self.free.last() {
            region.expect_write(self.pieces + usize::from(*piece) * TX_PIECE);
        }
        self.ring.expect_add(region);
    }

    /// Shows what was added to the device; returns whether it must be kicked.
    pub(super) fn publish(&mut self, region: &SharedRegion) -> bool {
        self.ring.publish(region)
    }

    /// If a frame was turned away: asks for a call when room comes; returns whether it has already.
    pub(super) fn arm(&mut self, region: &SharedRegion) -> bool {
        self.blocked && self.ring.in_flight() > 0 && self.ring.arm(region)
    }

    /// Asks for silence.
    pub(super) fn disarm(&mut self, region: &SharedRegion) {
        self.ring.disarm(region);
    }
}

/// Spreads header and parts over the segments, which are as long as they together.
fn fill(region: &SharedRegion, segments: &[Segment], header: &[u8], parts: &[&[u8]]) {
    let mut segments = segments.iter();
    let (mut at, mut room) = (0, 0);
    for mut part in core::iter::once(header).chain(parts.iter().copied()) {
        while !part.is_empty() {
            if room == 0 {
                let Some(next) = segments.next() else { return };
                (at, room) = (next.offset, next.len as usize);
            }
            let (now, later) = part.split_at(part.len().min(room));
            region.write(at, now);
            at += now.len();
            room -= now.len();
            part = later;
        }
    }
}
