//! The state of a link, which the control thread changes and the caller's polls use.

use super::Violation;
use super::ring::DeviceRing;
use crate::device::{DeviceStats, FrameSink, TxFrame};
use crate::frame::FrameMeta;
use crate::segment::{self, Capabilities};
use crate::vhost_user::message::Features;
use crate::vnet_header::{self, ETHERNET_HEADER_LEN, VNET_HEADER_LEN};
use crate::vring::lent::LentMemory;
use alloc::sync::Arc;
use alloc::vec::Vec;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;

/// Longest frame: the longest IP packet, ethernet header and a VLAN tag.
pub(super) const MAX_FRAME: usize = 65_535 + ETHERNET_HEADER_LEN + 4;
/// Bytes in front of a frame in [`Scratch`]: the longest header, and what puts the IP header at a multiple of 16.
const HEADROOM: usize = 18;
/// Alignment of the buffer.
const ALIGN: usize = 64;

/// What became of a frame that was offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    /// It is taken, or lost for good.
    Done,
    /// There is no room now.
    Full,
}

/// Everything between one front-end and us.
#[derive(Debug)]
pub(super) struct Link {
    /// What the front-end has acknowledged.
    pub(super) features: Features,
    pub(super) memory: Option<Arc<LentMemory>>,
    /// Two for each pair: the driver's receive ring, the driver's transmit ring.
    pub(super) rings: Vec<DeviceRing>,
    /// An epoll descriptor of the front-end's kicks. It goes with the connection: a front-end that keeps its ends of them
    /// open would else stay in our set.
    pub(super) kicks: Option<Arc<OwnedFd>>,
    /// Whether kicks were asked for since the last look.
    pub(super) armed: bool,
    next_pair: usize,
}

impl Link {
    /// Without a front-end.
    pub(super) fn new(pairs: u16) -> Link {
        let rings = (0..2 * pairs).map(|_| DeviceRing::new()).collect();
        Link { features: Features::empty(), memory: None, rings, kicks: None, armed: true, next_pair: 0 }
    }

    /// Forgets the front-end.
    pub(super) fn reset(&mut self) {
        *self = Link::new((self.rings.len() / 2) as u16);
    }

    /// The rings and the memory go, the connection stays.
    pub(super) fn reset_device(&mut self) {
        let kicks = self.kicks.take();
        self.reset();
        self.kicks = kicks;
    }

    /// Whether frames can flow towards the front-end.
    pub(super) fn is_up(&self) -> bool {
        self.rings.iter().step_by(2).any(DeviceRing::is_running)
    }

    /// Starts what has become complete. False if the front-end gave addresses that cannot be.
    pub(super) fn start(&mut self) -> bool {
        let event_idx = self.features.contains(Features::EVENT_IDX);
        self.armed = true;
        self.rings.iter_mut().all(|ring| ring.start(self.memory.as_ref(), event_idx))
    }

    /// `num_buffers` is part of the header with VIRTIO_F_VERSION_1, and with mergeable buffers.
    fn header_len(&self) -> usize {
        if self.features.intersects(Features::VERSION_1 | Features::MRG_RXBUF) { 12 } else { VNET_HEADER_LEN }
    }

    /// What the driver takes of us.
    fn takes(&self) -> Capabilities {
        let pairs = [
            (Features::GUEST_CSUM, Capabilities::CSUM),
            (Features::GUEST_TSO4, Capabilities::TSO4),
            (Features::GUEST_TSO6, Capabilities::TSO6),
            (Features::GUEST_USO4.union(Features::GUEST_USO6), Capabilities::USO),
            (Features::GUEST_ECN, Capabilities::ECN),
        ];
        pairs.into_iter().filter(|(theirs, _)| self.features.contains(*theirs)).map(|(_, ours)| ours).collect()
    }

    /// Hands up to `budget` frames over.
    pub(super) fn receive(
        &mut self,
        budget: usize,
        scratch: &mut Scratch,
        stats: &mut DeviceStats,
        takes: &dyn Fn(&FrameMeta) -> bool,
        sink: &mut dyn FrameSink,
    ) -> Result<usize, Violation> {
        if core::mem::replace(&mut self.armed, false) {
            self.disarm();
        }
        let header_len = self.header_len();
        let (pairs, mut taken) = (self.rings.len() / 2, 0);
        for _ in 0..pairs {
            let at = 2 * self.next_pair + 1;
            self.next_pair = if self.next_pair + 1 < pairs { self.next_pair + 1 } else { 0 };
            let Some(ring) = self.rings.get_mut(at) else { continue };
            let before = taken;
            while taken < budget {
                let Some((head, len)) = ring.read_next(header_len, scratch)? else { break };
                let (header, frame) = scratch.split(header_len, len).ok_or(Violation::Length)?;
                ring.give_back(head);
                taken += 1;
                match vnet_header::decode(header, frame) {
                    Err(_) => stats.rx_errors += 1,
                    Ok(meta) if !takes(&meta) => stats.rx_dropped += 1,
                    Ok(meta) => {
                        stats.rx_packets += 1;
                        stats.rx_bytes += frame.len() as u64;
                        sink.frame(meta, frame);
                    }
                }
            }
            if taken > before {
                ring.publish_if_many();
            } else {
                ring.publish();
            }
        }
        self.check_memory().map(|()| taken)
    }

    /// Whether a frame waits, or something is wrong.
    pub(super) fn may_receive(&self) -> bool {
        self.rings.iter().skip(1).step_by(2).any(DeviceRing::may_receive)
    }

    /// Whether the memory is still what was lent.
    fn check_memory(&self) -> Result<(), Violation> {
        match &self.memory {
            Some(memory) if memory.is_broken() => Err(Violation::MemoryCut),
            _ => Ok(()),
        }
    }

    /// Offers one frame.
    pub(super) fn send(
        &mut self,
        frame: &TxFrame<'_>,
        stats: &mut DeviceStats,
        scratch: &mut Vec<u8>,
    ) -> Result<Sent, Violation> {
        let len = frame.len();
        if frame.parts.len() > TxFrame::MAX_PARTS || len > MAX_FRAME {
            stats.tx_errors += 1;
            return Ok(Sent::Done);
        }
        let takes = self.takes();
        if takes.take(&frame.meta) {
            let mut parts: [&[u8]; TxFrame::MAX_PARTS + 1] = [&[]; TxFrame::MAX_PARTS + 1];
            parts[1..=frame.parts.len()].copy_from_slice(frame.parts);
            return self.put(&frame.meta, &mut parts[..=frame.parts.len()], len, stats);
        }
        if vnet_header::encode(&frame.meta, len).is_err() {
            stats.tx_errors += 1;
            return Ok(Sent::Done);
        }
        scratch.clear();
        frame.parts.iter().for_each(|part| scratch.extend_from_slice(part));
        let mut result = Ok(Sent::Done);
        let mut sent = 0;
        let cut = segment::split(&frame.meta, scratch, takes, |meta, parts| {
            if result != Ok(Sent::Done) {
                return;
            }
            let len = parts[0].len() + parts[1].len();
            result = self.put(&meta, &mut [&[], parts[0], parts[1]], len, stats);
            sent += usize::from(result == Ok(Sent::Done));
        });
        if cut.is_err() {
            stats.tx_errors += 1;
        }
        match result {
            // The rest of a frame that was cut is lost, as a whole frame cannot be taken back.
            Ok(Sent::Full) if sent > 0 => {
                stats.tx_dropped += 1;
                Ok(Sent::Done)
            }
            other => other,
        }
    }

    /// Puts one frame into the first receive ring; `parts[0]` is where the header goes.
    fn put(
        &mut self,
        meta: &FrameMeta,
        parts: &mut [&[u8]],
        len: usize,
        stats: &mut DeviceStats,
    ) -> Result<Sent, Violation> {
        let header_len = self.header_len();
        let mergeable = self.features.contains(Features::MRG_RXBUF);
        let Some(ring) = self.rings.iter_mut().step_by(2).find(|ring| ring.is_running()) else { return Ok(Sent::Full) };
        let Ok(short) = vnet_header::encode(meta, len) else {
            stats.tx_errors += 1;
            return Ok(Sent::Done);
        };
        let buffers = match ring.collect_writable(header_len + len, mergeable)? {
            None => return Ok(Sent::Full),
            Some(0) => {
                stats.tx_dropped += 1;
                return Ok(Sent::Done);
            }
            Some(buffers) => buffers,
        };
        let mut header = [0; 12];
        header[..VNET_HEADER_LEN].copy_from_slice(&short);
        header[VNET_HEADER_LEN..].copy_from_slice(&(buffers as u16).to_le_bytes());
        let mut with_header: [&[u8]; TxFrame::MAX_PARTS + 1] = [&[]; TxFrame::MAX_PARTS + 1];
        let used = &mut with_header[..parts.len()];
        used.copy_from_slice(parts);
        used[0] = &header[..header_len];
        ring.fill(used, header_len + len)?;
        stats.tx_packets += 1;
        stats.tx_bytes += len as u64;
        Ok(Sent::Done)
    }

    /// Shows what was sent to the driver.
    pub(super) fn flush(&mut self) -> Result<(), Violation> {
        for ring in self.rings.iter_mut().step_by(2) {
            ring.publish();
            ring.expect_frame();
        }
        self.check_memory()
    }

    /// Takes the edges of kicks.
    pub(super) fn take_kicks(&self) {
        let mut events = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 4];
        if let Some(kicks) = &self.kicks {
            let _ = epoll::wait(kicks, &mut events[..], Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        }
    }

    /// Asks for kicks: for frames, and with `blocked` for receive buffers. Returns whether there is something already.
    pub(super) fn arm(&mut self, blocked: bool) -> bool {
        self.armed = true;
        let mut ready = false;
        for (i, ring) in self.rings.iter_mut().enumerate().filter(|(_, ring)| ring.is_running()) {
            if i % 2 == 1 {
                ring.publish();
                ready |= ring.arm();
            } else if blocked {
                ready |= ring.arm_for_more();
            }
        }
        ready
    }

    fn disarm(&mut self) {
        self.rings.iter_mut().for_each(DeviceRing::disarm);
    }
}

/// Where every frame is copied to, header in front: its IP header comes to lie at a multiple of 16.
#[derive(Debug)]
pub(super) struct Scratch {
    bytes: Vec<u8>,
    frame: usize,
}

impl Scratch {
    pub(super) fn new() -> Scratch {
        let bytes = alloc::vec![0; HEADROOM + MAX_FRAME + ALIGN];
        let frame = bytes.as_ptr().align_offset(ALIGN).min(ALIGN) + HEADROOM;
        Scratch { bytes, frame }
    }

    /// Room for the `len` bytes behind the first `from` of header and frame.
    pub(super) fn gather(&mut self, header_len: usize, from: usize, len: usize) -> Option<&mut [u8]> {
        let most = header_len + MAX_FRAME;
        if from > most || len > most - from {
            return None;
        }
        let start = self.frame - header_len + from;
        self.bytes.get_mut(start..start + len)
    }

    /// Header and frame, of `len` bytes together.
    fn split(&mut self, header_len: usize, len: usize) -> Option<(&[u8; VNET_HEADER_LEN], &mut [u8])> {
        let frame_len = len.checked_sub(header_len)?;
        let (front, back) = self.bytes.split_at_mut(self.frame);
        let header = front[front.len() - header_len..].first_chunk()?;
        Some((header, back.get_mut(..frame_len)?))
    }
}
