//! The receive ring: buffers in, frames out.

use super::LinkFailure;
use crate::vhost_user::NET_HEADER_LEN;
use crate::vring::prefetch::Guess;
use crate::vring::{Direction, DriverRing, RingLayout, RingSize, Segment, SharedRegion};
use alloc::vec::Vec;

/// Entries of the ring, and pieces of memory behind it.
pub(super) const RX_RING: u16 = 256;
/// Bytes of a piece: eight take the longest frame with its header. An odd number of cache lines, so that the pieces'
/// first lines spread over all sets of the caches.
pub(super) const RX_PIECE: usize = 129 * 64;
/// Pieces of a buffer that must take the longest frame by itself.
const PIECES_OF_LARGEST: u16 = 8;
/// Longest frame: the longest IP packet, ethernet header and a VLAN tag.
pub(super) const MAX_FRAME: usize = 65_535 + 14 + 4;

const _: () = assert!(RX_PIECE * PIECES_OF_LARGEST as usize >= MAX_FRAME + NET_HEADER_LEN);

/// How many buffers may wait to be shown again while frames come: the device always has the rest.
const LAZY: u16 = RX_RING / 8;

/// What a receiver has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Haste {
    /// A frame has just come, and its reader waits.
    FramesCome,
    /// No frame waits: there is time.
    Nothing,
    /// It is about to sleep, perhaps for long.
    Sleep,
}

/// The receive side of a queue pair.
#[derive(Debug)]
pub(super) struct RxQueue {
    ring: DriverRing,
    /// Offset of the first piece.
    pieces: usize,
    /// Pieces in a buffer: 1, or enough for the longest frame where frames cannot be spread and may be long.
    per_buffer: u16,
    mergeable: bool,
    /// Used buffers that are known to wait.
    waiting: u16,
    /// Which buffer the next frame comes in: most devices take them in turn.
    guess: Guess,
    /// Buffers that came back and were not shown to the device again. Their descriptors are written all at once: the
    /// device has those lines in its cache, and what is stored behind a write to them waits until they have come.
    returned: Vec<u16>,
}

impl RxQueue {
    /// Bytes of a region that a receive ring at `start` takes, and its layout.
    pub(super) fn layout(start: usize) -> (RingLayout, usize) {
        let layout = RingLayout::at(start, const { RingSize::new(RX_RING).unwrap() });
        (layout, layout.end.next_multiple_of(4096) + RX_PIECE * usize::from(RX_RING))
    }

    /// Gives all buffers to the device; whether it must be kicked does not matter, as a new ring is kicked anyway.
    pub(super) fn new(region: &SharedRegion, mut ring: DriverRing, mergeable: bool, long_frames: bool) -> RxQueue {
        let pieces = ring.layout().end.next_multiple_of(4096);
        let per_buffer = if long_frames && !mergeable { PIECES_OF_LARGEST } else { 1 };
        ring.disarm(region);
        let returned = (0..RX_RING / per_buffer).collect();
        let mut queue = RxQueue { ring, pieces, per_buffer, mergeable, waiting: 0, guess: Guess::default(), returned };
        queue.publish(region, Haste::Sleep);
        queue
    }

    pub(super) fn direction() -> Direction {
        Direction::FromDevice
    }

    fn piece(&self, index: u16) -> Segment {
        Segment { offset: self.pieces + usize::from(index) * RX_PIECE, len: RX_PIECE as u32 }
    }

    /// Where a buffer starts.
    fn start(&self, buffer: u16) -> usize {
        usize::from(buffer) * usize::from(self.per_buffer) * RX_PIECE + self.pieces
    }

    fn post(&mut self, region: &SharedRegion, buffer: u16) {
        let mut segments = [Segment { offset: 0, len: 0 }; PIECES_OF_LARGEST as usize];
        let used = &mut segments[..usize::from(self.per_buffer)];
        for (i, segment) in used.iter_mut().enumerate() {
            *segment = self.piece(buffer * self.per_buffer + i as u16);
        }
        // There is always room: the ring has as many entries as there are pieces, and a buffer that came back has freed its
        // own.
        let added = self.ring.add(region, &segments[..usize::from(self.per_buffer)], buffer);
        debug_assert!(added);
    }

    /// Copies the next frame into `frame` and its header into `header`; returns the frame's length, or `None` when none
    /// waits.
    pub(super) fn receive(
        &mut self,
        region: &SharedRegion,
        header: &mut [u8; NET_HEADER_LEN],
        frame: &mut [u8],
    ) -> Result<Option<usize>, LinkFailure> {
        if self.waiting == 0 {
            self.waiting = self.ring.waiting(region)?;
            if self.waiting == 0 {
                return Ok(None);
            }
            if let Some(buffer) =
                u16::try_from(self.guess.next()).ok().filter(|&token| token < RX_RING / self.per_buffer)
            {
                region.expect(self.start(buffer));
            }
        }
        let first = self.take(region)?;
        self.guess.note(first.token.into());
        if self.waiting > 0
            && let Some(next) = self.ring.expected(region)
        {
            region.expect(self.start(next));
        }
        if (first.len as usize) < NET_HEADER_LEN {
            return Err(LinkFailure::Runt);
        }
        let mut cursor = self.start(first.token);
        region.read(cursor, header);
        cursor += NET_HEADER_LEN;
        let buffers = if self.mergeable { u16::from_le_bytes([header[10], header[11]]) } else { 1 };
        let mut filled = 0;
        let mut part = first.len as usize - NET_HEADER_LEN;
        let mut token = first.token;
        for left in (0..buffers).rev() {
            // Pieces of a buffer lie behind each other, so that a buffer is one range.
            let room = frame.get_mut(filled..filled + part).ok_or(LinkFailure::LongFrame)?;
            region.read(cursor, room);
            filled += part;
            self.returned.push(token);
            if left == 0 {
                return Ok(Some(filled));
            }
            if self.waiting == 0 {
                self.waiting = self.ring.waiting(region)?;
            }
            if self.waiting == 0 {
                return Err(LinkFailure::MissingBuffers);
            }
            let next = self.take(region)?;
            (token, part) = (next.token, next.len as usize);
            cursor = usize::from(token) * RX_PIECE + self.pieces;
        }
        // A frame takes one buffer at least (virtio 1.2, section 5.1.6.4).
        Err(LinkFailure::MissingBuffers)
    }

    /// Whether a frame waits, or the device's index is wrong.
    pub(super) fn may_receive(&self, region: &SharedRegion) -> bool {
        self.waiting > 0 || self.ring.waiting(region) != Ok(0)
    }

    fn take(&mut self, region: &SharedRegion) -> Result<crate::vring::Used, LinkFailure> {
        self.waiting -= 1;
        Ok(self.ring.take(region)?)
    }

    /// Shows buffers that came back to the device if there are enough, for which `haste` says what is to do; returns whether
    /// it must be kicked.
    pub(super) fn publish(&mut self, region: &SharedRegion, haste: Haste) -> bool {
        let least = match haste {
            Haste::FramesCome => LAZY / self.per_buffer,
            Haste::Nothing => LAZY / 2 / self.per_buffer,
            Haste::Sleep => 1,
        };
        if self.returned.len() < usize::from(least) {
            return false;
        }
        let mut returned = core::mem::take(&mut self.returned);
        returned.drain(..).for_each(|buffer| self.post(region, buffer));
        self.returned = returned;
        self.ring.publish(region)
    }

    /// Asks for a call; returns whether a frame waits already.
    pub(super) fn arm(&mut self, region: &SharedRegion) -> bool {
        self.waiting > 0 || self.ring.arm(region)
    }

    /// Asks for silence.
    pub(super) fn disarm(&mut self, region: &SharedRegion) {
        self.ring.disarm(region);
    }
}
