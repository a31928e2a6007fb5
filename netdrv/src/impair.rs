//! Impairment: a wrapper that loses, duplicates and reorders frames, as netem does, by a seeded generator: the same seed
//! and the same traffic give the same faults.
//!
//! A reordered frame is held back until a later one has passed it, or the caller next receives: it is never held for
//! good, and [`EthernetDevice::receive`] never returns 0 while one is held for the stack. At most [`MAX_LATE`] frames are
//! held in each direction; those after them pass.

use crate::device::{DeviceError, DeviceStats, EthernetDevice, FrameSink, Offloads, TxFrame};
use crate::frame::{FrameMeta, MacAddr, Mtu};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use rustix::fd::BorrowedFd;

/// Frames held back in each direction.
pub const MAX_LATE: usize = 64;

/// A fraction in millionths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct PerMillion(pub u32);

/// How often each fault happens to a frame; the first that applies, in this order, is the only one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// The frame is dropped.
    pub loss: PerMillion,
    /// The frame arrives twice, the second time late.
    pub duplicate: PerMillion,
    /// The frame arrives late.
    pub reorder: PerMillion,
}

/// What happens to one frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Pass,
    Lose,
    Duplicate,
    Delay,
}

/// A device with faults in both directions.
#[derive(Debug)]
pub struct Impair<D> {
    device: D,
    transmit: Faults,
    receive: Faults,
    random: SplitMix64,
    tx_late: VecDeque<(FrameMeta, Vec<u8>)>,
    rx_late: VecDeque<(FrameMeta, Vec<u8>)>,
}

impl<D: EthernetDevice> Impair<D> {
    /// Wraps `device`.
    pub fn new(device: D, transmit: Faults, receive: Faults, seed: u64) -> Self {
        let (tx_late, rx_late) = (VecDeque::new(), VecDeque::new());
        Impair { device, transmit, receive, random: SplitMix64(seed), tx_late, rx_late }
    }

    /// Sends late frames as far as the device takes them.
    fn flush_late(&mut self) -> Result<(), DeviceError> {
        while let Some((meta, bytes)) = self.tx_late.front() {
            if self.device.transmit(&[TxFrame { meta: *meta, parts: &[bytes] }])? == 0 {
                break;
            }
            self.tx_late.pop_front();
        }
        Ok(())
    }
}

/// Decides over each frame on its way to the stack.
struct FaultySink<'a> {
    faults: Faults,
    random: &'a mut SplitMix64,
    late: &'a mut VecDeque<(FrameMeta, Vec<u8>)>,
    inner: &'a mut dyn FrameSink,
    passed: usize,
}

impl FrameSink for FaultySink<'_> {
    fn frame(&mut self, meta: FrameMeta, bytes: &mut [u8]) {
        let fate = self.random.fate(self.faults, self.late.len());
        if matches!(fate, Fate::Duplicate | Fate::Delay) {
            self.late.push_back((meta, bytes.to_vec()));
        }
        if matches!(fate, Fate::Pass | Fate::Duplicate) {
            self.inner.frame(meta, bytes);
            self.passed += 1;
        }
    }
}

impl<D: EthernetDevice> EthernetDevice for Impair<D> {
    fn mac(&self) -> MacAddr {
        self.device.mac()
    }

    fn set_mac(&mut self, mac: MacAddr) {
        self.device.set_mac(mac);
    }

    fn mtu(&self) -> Mtu {
        self.device.mtu()
    }

    fn offloads(&self) -> Offloads {
        self.device.offloads()
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FrameSink) -> Result<usize, DeviceError> {
        self.flush_late()?;
        let mut passed = 0;
        loop {
            let already_late = self.rx_late.len();
            let mut faulty = FaultySink {
                faults: self.receive,
                random: &mut self.random,
                late: &mut self.rx_late,
                inner: &mut *sink,
                passed: 0,
            };
            let waiting = self.device.receive(budget - passed, &mut faulty)?;
            passed += faulty.passed;
            // Frames that became late in this round wait for the next one, unless nothing is there to pass them.
            let due = if waiting == 0 { self.rx_late.len() } else { already_late };
            for _ in 0..due.min(budget - passed) {
                if let Some((meta, mut bytes)) = self.rx_late.pop_front() {
                    sink.frame(meta, &mut bytes);
                    passed += 1;
                }
            }
            if waiting == 0 || passed >= budget {
                return Ok(passed);
            }
        }
    }

    fn transmit(&mut self, frames: &[TxFrame<'_>]) -> Result<usize, DeviceError> {
        for (taken, frame) in frames.iter().enumerate() {
            // The dice are thrown again for a frame that the device refuses and the caller offers again.
            let fate = self.random.fate(self.transmit, self.tx_late.len());
            if matches!(fate, Fate::Pass | Fate::Duplicate) {
                match self.device.transmit(core::slice::from_ref(frame)) {
                    Ok(0) => return Ok(taken),
                    Err(error) if taken == 0 => return Err(error),
                    // What went before is reported first; the next call finds the error again.
                    Err(_) => return Ok(taken),
                    Ok(_) => {}
                }
            }
            if matches!(fate, Fate::Duplicate | Fate::Delay) {
                self.tx_late.push_back((frame.meta, frame.parts.concat()));
            } else if fate == Fate::Pass && self.flush_late().is_err() {
                return Ok(taken + 1);
            }
        }
        Ok(frames.len())
    }

    fn prepare_sleep(&mut self) -> bool {
        self.device.prepare_sleep()
    }

    fn poll_fds<'a>(&'a self, watch: &mut dyn FnMut(BorrowedFd<'a>)) {
        self.device.poll_fds(watch);
    }

    fn stats(&self) -> DeviceStats {
        self.device.stats()
    }
}

/// Sebastiano Vigna's splitmix64: small, and good enough to roll dice.
#[derive(Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn happens(&mut self, chance: PerMillion) -> bool {
        self.next() % 1_000_000 < u64::from(chance.0)
    }

    fn fate(&mut self, faults: Faults, held: usize) -> Fate {
        if self.happens(faults.loss) {
            Fate::Lose
        } else if held >= MAX_LATE {
            Fate::Pass
        } else if self.happens(faults.duplicate) {
            Fate::Duplicate
        } else if self.happens(faults.reorder) {
            Fate::Delay
        } else {
            Fate::Pass
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::FrameSink;
    use crate::pair::{PairDevice, PairOptions, pair};

    const ALWAYS: PerMillion = PerMillion(1_000_000);
    const MACS: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])];

    /// Collects the sequence number in the last byte of each frame.
    #[derive(Default)]
    struct Numbers(Vec<u8>);

    impl FrameSink for Numbers {
        fn frame(&mut self, _: FrameMeta, bytes: &mut [u8]) {
            self.0.extend(bytes.last());
            // A sink may write to the frame; a copy that arrives later must not show it.
            bytes.fill(0xff);
        }
    }

    fn send_numbers(device: &mut dyn EthernetDevice, count: u8) {
        for number in 0..count {
            let mut bytes = [0; 60];
            bytes[59] = number;
            assert_eq!(device.transmit(&[TxFrame { meta: FrameMeta::default(), parts: &[&bytes] }]), Ok(1));
        }
    }

    fn receive_all(device: &mut dyn EthernetDevice, budget: usize) -> Vec<u8> {
        let mut numbers = Numbers::default();
        loop {
            let before = numbers.0.len();
            let taken = device.receive(budget, &mut numbers).unwrap();
            assert_eq!(taken, numbers.0.len() - before);
            assert!(taken <= budget);
            if taken == 0 {
                return numbers.0;
            }
        }
    }

    fn impaired(transmit: Faults, receive: Faults, seed: u64) -> (Impair<PairDevice>, PairDevice) {
        let (a, b) = pair(MACS, PairOptions::default());
        (Impair::new(a, transmit, receive, seed), b)
    }

    #[test]
    fn no_faults_change_nothing() {
        let (mut a, mut b) = impaired(Faults::default(), Faults::default(), 1);
        send_numbers(&mut a, 50);
        send_numbers(&mut b, 50);
        assert_eq!(receive_all(&mut b, 7), (0..50).collect::<Vec<_>>());
        assert_eq!(receive_all(&mut a, 7), (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn certain_loss_loses_all_both_ways() {
        let faults = Faults { loss: ALWAYS, ..Faults::default() };
        let (mut a, mut b) = impaired(faults, faults, 1);
        send_numbers(&mut a, 50);
        send_numbers(&mut b, 50);
        assert_eq!(receive_all(&mut b, 7), []);
        assert_eq!(receive_all(&mut a, 7), []);
    }

    #[test]
    fn certain_duplication_delivers_all_twice_unharmed() {
        let faults = Faults { duplicate: ALWAYS, ..Faults::default() };
        let (mut a, mut b) = impaired(faults, faults, 1);
        send_numbers(&mut a, 20);
        send_numbers(&mut b, 20);
        let back = receive_all(&mut a, 3);
        for mut numbers in [receive_all(&mut b, 3), back] {
            numbers.sort_unstable();
            assert_eq!(numbers, (0..40).map(|n| n / 2).collect::<Vec<u8>>());
        }
    }

    #[test]
    fn reordering_loses_nothing_and_does_reorder() {
        let faults = Faults { reorder: PerMillion(300_000), ..Faults::default() };
        let (mut a, mut b) = impaired(faults, faults, 7);
        send_numbers(&mut a, 100);
        send_numbers(&mut b, 100);
        let back = receive_all(&mut a, 9);
        for mut numbers in [receive_all(&mut b, 9), back] {
            let sorted: Vec<u8> = (0..100).collect();
            assert_ne!(numbers, sorted);
            numbers.sort_unstable();
            assert_eq!(numbers, sorted);
        }
    }

    #[test]
    fn a_held_frame_leaves_at_the_next_call_without_traffic() {
        let (mut a, mut b) = impaired(Faults { reorder: ALWAYS, ..Faults::default() }, Faults::default(), 1);
        send_numbers(&mut a, 1);
        assert_eq!(receive_all(&mut b, 8), []);
        assert_eq!(receive_all(&mut a, 8), []);
        assert_eq!(receive_all(&mut b, 8), [0]);
    }

    #[test]
    fn the_seed_decides_and_rates_hold_roughly() {
        let run = |seed| {
            let (mut a, mut b) =
                impaired(Faults { loss: PerMillion(250_000), ..Faults::default() }, Faults::default(), seed);
            send_numbers(&mut a, 240);
            receive_all(&mut b, 64)
        };
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
        // 240 frames at 0.75: 180 expected, standard deviation 6.7.
        assert!((150..=210).contains(&run(3).len()), "{} of 240 arrived", run(3).len());
    }
}
