//! Two devices linked to each other in memory, for tests of a stack: what one sends, the other receives.
//!
//! A pair is strict where a real device is lenient: a frame that is longer than the MTU allows, or that asks for an
//! offload which was not granted, is dropped and counted in `tx_errors`.

use crate::device::{DeviceError, DeviceStats, EthernetDevice, FrameSink, Offloads, TxFrame};
use crate::frame::{Checksum, FrameMeta, GsoKind, MacAddr, Mtu};
use crate::vnet_header::{self, ETHERNET_HEADER_LEN};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use rustix::fd::BorrowedFd;
use spin::Mutex;

/// Frames under way in one direction.
type Queue = Arc<Mutex<VecDeque<(FrameMeta, Vec<u8>)>>>;

/// What both ends of a [`pair`] have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PairOptions {
    /// Largest IP packet without segmentation offload.
    pub mtu: Mtu,
    /// Frames that may be under way in each direction.
    pub queue_len: usize,
    /// What both ends report. A frame that one end may send, the other must take: set `TX_*` and `RX_*` together.
    pub offloads: Offloads,
}

impl Default for PairOptions {
    fn default() -> Self {
        PairOptions { mtu: Mtu(1500), queue_len: 256, offloads: Offloads::empty() }
    }
}

/// One end of a link in memory.
#[derive(Debug)]
pub struct PairDevice {
    mac: MacAddr,
    options: PairOptions,
    inbound: Queue,
    outbound: Queue,
    stats: DeviceStats,
}

/// Makes a link; the ends have the given addresses.
pub fn pair(macs: [MacAddr; 2], options: PairOptions) -> (PairDevice, PairDevice) {
    let (there, back) = (Queue::default(), Queue::default());
    let end = |mac, inbound: &Queue, outbound: &Queue| PairDevice {
        mac,
        options,
        inbound: inbound.clone(),
        outbound: outbound.clone(),
        stats: DeviceStats::default(),
    };
    (end(macs[0], &back, &there), end(macs[1], &there, &back))
}

impl PairDevice {
    /// Whether the other end still exists.
    fn is_linked(&self) -> bool {
        Arc::strong_count(&self.outbound) > 1
    }

    fn may_send(&self, frame: &TxFrame<'_>) -> bool {
        let mut needed = Offloads::empty();
        if matches!(frame.meta.checksum, Checksum::Partial { .. }) {
            needed |= Offloads::TX_CSUM;
        }
        needed |= match frame.meta.gso.map(|gso| gso.kind) {
            None => Offloads::empty(),
            Some(GsoKind::TcpV4) => Offloads::TX_TSO4,
            Some(GsoKind::TcpV6) => Offloads::TX_TSO6,
            Some(GsoKind::UdpL4) => Offloads::TX_USO,
        };
        let longest = usize::from(self.options.mtu.0) + ETHERNET_HEADER_LEN;
        self.options.offloads.contains(needed)
            && frame.parts.len() <= TxFrame::MAX_PARTS
            && (frame.meta.gso.is_some() || frame.len() <= longest)
            && vnet_header::encode(&frame.meta, frame.len()).is_ok()
    }
}

impl EthernetDevice for PairDevice {
    fn mac(&self) -> MacAddr {
        self.mac
    }

    fn set_mac(&mut self, mac: MacAddr) {
        self.mac = mac;
    }

    fn mtu(&self) -> Mtu {
        self.options.mtu
    }

    fn offloads(&self) -> Offloads {
        self.options.offloads
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FrameSink) -> Result<usize, DeviceError> {
        for taken in 0..budget {
            // The lock is released before the sink runs: it may send.
            let next = self.inbound.lock().pop_front();
            let Some((meta, mut bytes)) = next else {
                return if taken > 0 || self.is_linked() { Ok(taken) } else { Err(DeviceError::LinkDown) };
            };
            self.stats.rx_packets += 1;
            self.stats.rx_bytes += bytes.len() as u64;
            sink.frame(meta, &mut bytes);
        }
        Ok(budget)
    }

    fn transmit(&mut self, frames: &[TxFrame<'_>]) -> Result<usize, DeviceError> {
        if !self.is_linked() {
            return Err(DeviceError::LinkDown);
        }
        for (taken, frame) in frames.iter().enumerate() {
            if !self.may_send(frame) {
                self.stats.tx_errors += 1;
                continue;
            }
            let mut queue = self.outbound.lock();
            if queue.len() >= self.options.queue_len {
                return Ok(taken);
            }
            queue.push_back((frame.meta, frame.parts.concat()));
            self.stats.tx_packets += 1;
            self.stats.tx_bytes += frame.len() as u64;
        }
        Ok(frames.len())
    }

    fn poll_fds<'a>(&'a self, _watch: &mut dyn FnMut(BorrowedFd<'a>)) {}

    fn stats(&self) -> DeviceStats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Gso;
    use core::num::NonZeroU16;

    const MACS: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])];

    #[derive(Default)]
    struct Frames(Vec<(FrameMeta, Vec<u8>)>);

    impl FrameSink for Frames {
        fn frame(&mut self, meta: FrameMeta, bytes: &mut [u8]) {
            self.0.push((meta, bytes.to_vec()));
        }
    }

    #[test]
    fn frames_arrive_whole_in_order_and_are_counted() {
        let (mut a, mut b) = pair(MACS, PairOptions::default());
        assert_eq!((a.mac(), b.mac()), (MACS[0], MACS[1]));
        let meta = FrameMeta::default();
        let sent = a.transmit(&[TxFrame { meta, parts: &[&[1; 14], &[2; 46]] }, TxFrame { meta, parts: &[&[3; 60]] }]);
        assert_eq!(sent, Ok(2));
        let mut got = Frames::default();
        assert_eq!(b.receive(1, &mut got), Ok(1));
        assert_eq!(b.receive(9, &mut got), Ok(1));
        assert_eq!(b.receive(9, &mut got), Ok(0));
        assert_eq!(got.0[0].1, [&[1u8; 14][..], &[2; 46]].concat());
        assert_eq!(got.0[1].1, [3; 60]);
        assert_eq!((a.stats().tx_packets, a.stats().tx_bytes), (2, 120));
        assert_eq!((b.stats().rx_packets, b.stats().rx_bytes), (2, 120));
    }

    #[test]
    fn a_full_queue_takes_part_of_a_batch() {
        let (mut a, mut b) = pair(MACS, PairOptions { queue_len: 2, ..PairOptions::default() });
        let frame = TxFrame { meta: FrameMeta::default(), parts: &[&[0; 60]] };
        assert_eq!(a.transmit(&[frame; 3]), Ok(2));
        assert_eq!(a.transmit(&[frame]), Ok(0));
        assert_eq!(b.receive(1, &mut Frames::default()), Ok(1));
        assert_eq!(a.transmit(&[frame; 3]), Ok(1));
    }

    #[test]
    fn what_was_not_granted_is_an_error_of_the_sender() {
        let partial = Checksum::Partial { start: 34, offset: 16 };
        let gso = Gso { kind: GsoKind::TcpV4, size: NonZeroU16::MIN, header_len: 54, ecn: false };
        let segment = FrameMeta { checksum: partial, gso: Some(gso) };
        let big = [0; 60_000];
        let frames = [
            TxFrame { meta: FrameMeta { checksum: partial, gso: None }, parts: &[&big[..60]] },
            TxFrame { meta: segment, parts: &[&big] },
            TxFrame { meta: FrameMeta::default(), parts: &[&big[..1515]] },
            TxFrame { meta: FrameMeta::default(), parts: &[&big[..13]] },
        ];
        let (mut a, mut b) = pair(MACS, PairOptions::default());
        assert_eq!(a.transmit(&frames), Ok(4));
        assert_eq!(a.stats().tx_errors, 4);
        assert_eq!(b.receive(9, &mut Frames::default()), Ok(0));

        let (mut a, mut b) = pair(MACS, PairOptions { offloads: Offloads::all(), ..PairOptions::default() });
        assert_eq!(a.transmit(&frames), Ok(4));
        assert_eq!(a.stats().tx_errors, 2);
        let mut got = Frames::default();
        assert_eq!(b.receive(9, &mut got), Ok(2));
        assert_eq!((got.0[1].0, got.0[1].1.len()), (segment, 60_000));
    }

    #[test]
    fn the_link_is_down_without_its_other_end() {
        let (mut a, mut b) = pair(MACS, PairOptions::default());
        let frame = TxFrame { meta: FrameMeta::default(), parts: &[&[0; 60]] };
        assert_eq!(a.transmit(&[frame]), Ok(1));
        drop(a);
        assert_eq!(b.transmit(&[frame]), Err(DeviceError::LinkDown));
        assert_eq!(b.receive(9, &mut Frames::default()), Ok(1), "what was sent before still arrives");
        assert_eq!(b.receive(9, &mut Frames::default()), Err(DeviceError::LinkDown));
    }
}
