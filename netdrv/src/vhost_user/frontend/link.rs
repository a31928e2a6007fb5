//! A link that is up: the shared region, the rings in it, and the eventfds.

use super::LinkFailure;
use super::rx::{Haste, MAX_FRAME, RxQueue};
use super::session::{Agreement, RingAddress};
use super::tx::{TX_RING, TxQueue};
use crate::device::{DeviceStats, FrameSink, TxFrame};
use crate::segment::{self, Capabilities};
use crate::vhost_user::NET_HEADER_LEN;
use crate::vhost_user::message::{FdRole, Features};
use crate::vnet_header::{self, VNET_HEADER_LEN};
use crate::vring::{DriverRing, RingLayout, SharedRegion};
use alloc::vec;
use alloc::vec::Vec;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

/// The address by which the peer knows the region's first byte: not 0, which some back-ends take for "not set", and below
/// what any address width of a back-end ends at.
pub(super) const GUEST_BASE: u64 = 1 << 32;

/// A receive and a transmit ring.
#[derive(Debug)]
struct Pair {
    rx: RxQueue,
    tx: TxQueue,
    /// By which the device learns of receive buffers, and of frames.
    kicks: [OwnedFd; 2],
}

/// Memory and eventfds of a link; the rings come once it is known what they must be able to.
#[derive(Debug)]
pub(super) struct LinkMemory {
    pub(super) region: SharedRegion,
    layouts: Vec<[RingLayout; 2]>,
    /// Two for each pair.
    kicks: Vec<OwnedFd>,
    /// One for all rings: whichever has news, all are looked at.
    pub(super) call: OwnedFd,
}

impl LinkMemory {
    /// For so many queue pairs.
    pub(super) fn new(pairs: u16) -> Result<LinkMemory, Errno> {
        let (mut end, mut layouts, mut kicks) = (0, Vec::new(), Vec::new());
        for _ in 0..pairs {
            let (rx, rx_end) = RxQueue::layout(end);
            let (tx, tx_end) = TxQueue::layout(rx_end);
            layouts.push([rx, tx]);
            end = tx_end;
        }
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        for _ in 0..2 * pairs {
            kicks.push(eventfd(0, flags)?);
        }
        Ok(LinkMemory { region: SharedRegion::new(end)?, layouts, kicks, call: eventfd(0, flags)? })
    }

    /// Where the rings of the first `pairs` pairs are, as the peer knows them.
    pub(super) fn addresses(&self, pairs: u16) -> Vec<RingAddress> {
        let address = |layout: &RingLayout| RingAddress {
            size: layout.size.get(),
            descriptors: GUEST_BASE + layout.descriptors as u64,
            available: GUEST_BASE + layout.available as u64,
            used: GUEST_BASE + layout.used as u64,
        };
        self.layouts.iter().take(usize::from(pairs)).flatten().map(address).collect()
    }
}

/// A link with rings.
#[derive(Debug)]
pub(super) struct Link {
    region: SharedRegion,
    pairs: Vec<Pair>,
    call: OwnedFd,
    takes: Capabilities,
    /// Whether calls were asked for since the last look.
    armed: bool,
    /// Where receiving goes on, so that every pair gets its turn.
    next_pair: usize,
}

impl Link {
    /// Makes the rings. They hold receive buffers from here on, so that a device may use them as soon as it knows them.
    pub(super) fn new(memory: LinkMemory, agreement: &Agreement) -> Link {
        let LinkMemory { region, layouts, kicks, call } = memory;
        let features = agreement.features;
        let has = |feature| features.contains(feature);
        let ring = |layout, direction| {
            let (indirect, event_idx) = (has(Features::INDIRECT_DESC), has(Features::EVENT_IDX));
            DriverRing::new(&region, layout, GUEST_BASE, direction, indirect, event_idx)
        };
        let segments = Features::GUEST_TSO4 | Features::GUEST_TSO6 | Features::GUEST_USO4 | Features::GUEST_USO6;
        let (mergeable, long) = (has(Features::MRG_RXBUF), features.intersects(segments));
        let mut kicks = kicks.into_iter();
        let mut pairs = Vec::new();
        for [rx, tx] in layouts.into_iter().take(usize::from(agreement.pairs)) {
            let (Some(rx_kick), Some(tx_kick)) = (kicks.next(), kicks.next()) else { break };
            pairs.push(Pair {
                rx: RxQueue::new(&region, ring(rx, RxQueue::direction()), mergeable, long),
                tx: TxQueue::new(&region, ring(tx, TxQueue::direction())),
                kicks: [rx_kick, tx_kick],
            });
        }
        Link { pairs, call, takes: capabilities(features), armed: false, next_pair: 0, region }
    }

    /// A descriptor that goes to the peer.
    pub(super) fn fd(&self, role: FdRole) -> Option<BorrowedFd<'_>> {
        match role {
            FdRole::Memory => Some(self.region.as_fd()),
            FdRole::Call => Some(self.call.as_fd()),
            FdRole::Kick(ring) => {
                let pair = self.pairs.get(usize::from(ring / 2))?;
                Some(pair.kicks[usize::from(ring % 2)].as_fd())
            }
        }
    }

    /// Tells the device that all rings have something: that is how they start.
    pub(super) fn start(&self) {
        self.pairs.iter().flat_map(|p| &p.kicks).for_each(notify);
    }

    /// Hands up to `budget` frames over.
    pub(super) fn receive(
        &mut self,
        budget: usize,
        scratch: &mut RxScratch,
        stats: &mut DeviceStats,
        sink: &mut dyn FrameSink,
    ) -> Result<usize, LinkFailure> {
        if self.armed {
            self.disarm();
        }
        let mut taken = 0;
        for _ in 0..self.pairs.len() {
            let at = self.next_pair;
            self.next_pair = if at + 1 < self.pairs.len() { at + 1 } else { 0 };
            let before = taken;
            while taken < budget {
                let rx = &mut self.pairs[at].rx;
                let mut header = [0; NET_HEADER_LEN];
                let Some(len) = rx.receive(&self.region, &mut header, scratch.bytes_mut())? else { break };
                let frame = &mut scratch.bytes_mut()[..len];
                let decoded = header.first_chunk::<VNET_HEADER_LEN>().map(|h| vnet_header::decode(h, frame));
                match decoded {
                    Some(Ok(meta)) => {
                        stats.rx_packets += 1;
                        stats.rx_bytes += len as u64;
                        taken += 1;
                        sink.frame(meta, frame);
                    }
                    _ => stats.rx_errors += 1,
                }
            }
            let pair = &mut self.pairs[at];
            let haste = if taken > before { Haste::FramesCome } else { Haste::Nothing };
            if pair.rx.publish(&self.region, haste) {
                notify(&pair.kicks[0]);
            }
        }
        Ok(taken)
    }

    /// Whether a frame waits, or something is wrong.
    pub(super) fn may_receive(&self) -> bool {
        self.pairs.iter().any(|pair| pair.rx.may_receive(&self.region))
    }

    /// Offers one frame; returns whether it was taken (it may have been lost on the way, as `stats` says).
    pub(super) fn send(
        &mut self,
        frame: &TxFrame<'_>,
        stats: &mut DeviceStats,
        scratch: &mut Vec<u8>,
    ) -> Result<bool, LinkFailure> {
        let len = frame.len();
        // One vCPU transmits: the first pair is its.
        let Some(pair) = self.pairs.first_mut() else { return Ok(false) };
        if frame.parts.len() > TxFrame::MAX_PARTS || len > MAX_FRAME {
            stats.tx_errors += 1;
            return Ok(true);
        }
        let Ok(header) = vnet_header::encode(&frame.meta, len) else {
            stats.tx_errors += 1;
            return Ok(true);
        };
        if self.takes.take(&frame.meta) {
            if !pair.tx.has_room(&self.region, 1, len)? {
                return Ok(false);
            }
            pair.tx.add(&self.region, &net_header(&header), frame.parts);
            stats.tx_packets += 1;
            stats.tx_bytes += len as u64;
            return Ok(true);
        }
        let frames = segment::count(&frame.meta, len, self.takes);
        let longest = frame.meta.gso.map_or(len, |gso| usize::from(gso.header_len) + usize::from(gso.size.get()));
        if frames > usize::from(TX_RING) {
            // More than the ring ever holds: a peer that lacks so much is no match for such segments.
            stats.tx_dropped += 1;
            return Ok(true);
        }
        if !pair.tx.has_room(&self.region, frames, longest.min(len))? {
            return Ok(false);
        }
        scratch.clear();
        frame.parts.iter().for_each(|part| scratch.extend_from_slice(part));
        let (region, tx) = (&self.region, &mut pair.tx);
        let sent = segment::split(&frame.meta, scratch, self.takes, |meta, parts| {
            let len = parts[0].len() + parts[1].len();
            let added = vnet_header::encode(&meta, len).is_ok_and(|h| tx.add(region, &net_header(&h), &parts));
            if added {
                stats.tx_packets += 1;
                stats.tx_bytes += len as u64;
            } else {
                stats.tx_errors += 1;
            }
        });
        if sent.is_err() {
            stats.tx_errors += 1;
        }
        Ok(true)
    }

    /// Shows what was sent to the device.
    pub(super) fn flush(&mut self) {
        for pair in &mut self.pairs {
            if pair.tx.publish(&self.region) {
                notify(&pair.kicks[1]);
            }
            pair.tx.expect_frame(&self.region);
        }
    }

    /// Polls readable when the device has called.
    pub(super) fn call_fd(&self) -> BorrowedFd<'_> {
        self.call.as_fd()
    }

    /// Takes the calls that have come; returns whether any had.
    pub(super) fn take_calls(&self) -> bool {
        drain(&self.call)
    }

    /// Asks for calls; returns whether there is something to do already.
    pub(super) fn arm(&mut self) -> bool {
        self.armed = true;
        let mut ready = false;
        for pair in &mut self.pairs {
            if pair.rx.publish(&self.region, Haste::Sleep) {
                notify(&pair.kicks[0]);
            }
            ready |= pair.rx.arm(&self.region);
            ready |= pair.tx.arm(&self.region);
        }
        ready
    }

    fn disarm(&mut self) {
        self.armed = false;
        for pair in &mut self.pairs {
            pair.rx.disarm(&self.region);
            pair.tx.disarm(&self.region);
        }
    }
}

/// `struct virtio_net_hdr_v1`: `num_buffers` is there always with VIRTIO_F_VERSION_1, and 0 on transmission (virtio 1.2, section
/// 5.1.6.2.1).
fn net_header(header: &[u8; VNET_HEADER_LEN]) -> [u8; NET_HEADER_LEN] {
    let mut long = [0; NET_HEADER_LEN];
    long[..VNET_HEADER_LEN].copy_from_slice(header);
    long
}

/// What a device with these features takes of us.
fn capabilities(features: Features) -> Capabilities {
    let pairs = [
        (Features::CSUM, Capabilities::CSUM),
        (Features::HOST_TSO4, Capabilities::TSO4),
        (Features::HOST_TSO6, Capabilities::TSO6),
        (Features::HOST_USO, Capabilities::USO),
        (Features::HOST_ECN, Capabilities::ECN),
    ];
    pairs.into_iter().filter(|(theirs, _)| features.contains(*theirs)).map(|(_, ours)| ours).collect()
}

/// Adds to an eventfd. A full counter is a pending notification, too.
fn notify(fd: &OwnedFd) {
    let _ = rustix::io::write(fd, &1u64.to_ne_bytes());
}

/// Empties an eventfd; returns whether there was something in it.
fn drain(fd: &OwnedFd) -> bool {
    let mut count = [0; 8];
    rustix::io::read(fd, &mut count).is_ok()
}

/// Where every frame is copied to: its IP header comes to lie at a multiple of 16.
#[derive(Debug)]
pub(super) struct RxScratch {
    bytes: Vec<u8>,
    start: usize,
}

impl RxScratch {
    const ALIGN: usize = 64;
    /// In front of the ethernet header.
    const PAD: usize = 2;

    pub(super) fn new() -> RxScratch {
        let bytes = vec![0; MAX_FRAME + RxScratch::ALIGN + RxScratch::PAD];
        let start = bytes.as_ptr().align_offset(RxScratch::ALIGN).min(RxScratch::ALIGN) + RxScratch::PAD;
        RxScratch { bytes, start }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..][..MAX_FRAME]
    }
}
