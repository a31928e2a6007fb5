//! Capture: a wrapper that writes every frame of a device as pcap, in both directions.
//!
//! The format is the classic one with nanoseconds (draft-ietf-opsawg-pcap, magic 0xa1b23c4d), ethernet link type, whole
//! frames. Segments that the host is to cut, and checksums that it is to finish, show as the stack handed them over.

use crate::device::{DeviceError, DeviceStats, EthernetDevice, FrameSink, Offloads, TxFrame};
use crate::frame::{FrameMeta, MacAddr, Mtu};
use core::time::Duration;
use rustix::fd::BorrowedFd;

const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
const VERSION_MAJOR: u16 = 2;
const VERSION_MINOR: u16 = 4;
const LINKTYPE_ETHERNET: u32 = 1;
/// Longest frame a reader must expect, in bytes (what tcpdump writes, too).
const SNAPLEN: u32 = 262_144;

/// Where a capture goes, and whence it has the time.
pub trait CaptureSink: Send {
    /// Appends all the bytes, or fails; after a failure the capture ends, and the device goes on.
    ///
    /// # Errors
    /// The sink's own business; it is told apart from success only.
    fn write(&mut self, bytes: &[u8]) -> Result<(), CaptureEnded>;

    /// Time since the Unix epoch.
    fn now(&mut self) -> Duration;
}

/// The sink takes nothing more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the capture cannot be written")]
pub struct CaptureEnded;

/// A device all of whose frames are recorded.
#[derive(Debug)]
pub struct Capture<D, S> {
    device: D,
    pcap: Pcap<S>,
}

impl<D: EthernetDevice, S: CaptureSink> Capture<D, S> {
    /// Wraps `device`, and writes the file header.
    pub fn new(device: D, sink: S) -> Self {
        let mut pcap = Pcap { sink, ended: false };
        let mut header = [0u8; 24];
        header[..4].copy_from_slice(&MAGIC_NANOSECONDS.to_le_bytes());
        header[4..6].copy_from_slice(&VERSION_MAJOR.to_le_bytes());
        header[6..8].copy_from_slice(&VERSION_MINOR.to_le_bytes());
        header[16..20].copy_from_slice(&SNAPLEN.to_le_bytes());
        header[20..].copy_from_slice(&LINKTYPE_ETHERNET.to_le_bytes());
        pcap.append(&header);
        Capture { device, pcap }
    }

    /// Whether the sink failed, so that frames since then are missing.
    pub fn is_ended(&self) -> bool {
        self.pcap.ended
    }

    /// Ends the capture.
    pub fn into_inner(self) -> (D, S) {
        (self.device, self.pcap.sink)
    }
}

#[derive(Debug)]
struct Pcap<S> {
    sink: S,
    ended: bool,
}

impl<S: CaptureSink> Pcap<S> {
    fn append(&mut self, bytes: &[u8]) {
        if !self.ended {
            self.ended = self.sink.write(bytes).is_err();
        }
    }

    fn record(&mut self, now: Duration, parts: &[&[u8]]) {
        if self.ended {
            return;
        }
        let len = parts.iter().map(|p| p.len()).sum::<usize>() as u32;
        let mut header = [0u8; 16];
        // Seconds are 32 bits wide in this format, until 2106.
        header[..4].copy_from_slice(&(now.as_secs() as u32).to_le_bytes());
        header[4..8].copy_from_slice(&now.subsec_nanos().to_le_bytes());
        header[8..12].copy_from_slice(&len.to_le_bytes());
        header[12..].copy_from_slice(&len.to_le_bytes());
        self.append(&header);
        for part in parts {
            self.append(part);
        }
    }
}

/// Records what passes through to the stack.
struct RecordingSink<'a, S> {
    pcap: &'a mut Pcap<S>,
    inner: &'a mut dyn FrameSink,
}

impl<S: CaptureSink> FrameSink for RecordingSink<'_, S> {
    fn frame(&mut self, meta: FrameMeta, bytes: &mut [u8]) {
        let now = self.pcap.sink.now();
        self.pcap.record(now, &[bytes]);
        self.inner.frame(meta, bytes);
    }
}

impl<D: EthernetDevice, S: CaptureSink> EthernetDevice for Capture<D, S> {
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
        self.device.receive(budget, &mut RecordingSink { pcap: &mut self.pcap, inner: sink })
    }

    fn may_receive(&self) -> bool {
        self.device.may_receive()
    }

    fn transmit(&mut self, frames: &[TxFrame<'_>]) -> Result<usize, DeviceError> {
        // Before the device has them, so that an answer is never dated before its question.
        let now = self.pcap.sink.now();
        let taken = self.device.transmit(frames)?;
        for frame in &frames[..taken] {
            self.pcap.record(now, frame.parts);
        }
        Ok(taken)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::{PairOptions, pair};
    use alloc::vec::Vec;

    const MACS: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])];

    /// A file of limited size; every look at the clock takes a second and a nanosecond.
    struct Disk {
        file: Vec<u8>,
        room: usize,
        time: Duration,
    }

    impl CaptureSink for Disk {
        fn write(&mut self, bytes: &[u8]) -> Result<(), CaptureEnded> {
            if self.file.len() + bytes.len() > self.room {
                return Err(CaptureEnded);
            }
            self.file.extend_from_slice(bytes);
            Ok(())
        }

        fn now(&mut self) -> Duration {
            self.time += Duration::new(1, 1);
            self.time
        }
    }

    struct Nothing;

    impl FrameSink for Nothing {
        fn frame(&mut self, _: FrameMeta, _: &mut [u8]) {}
    }

    fn disk(room: usize) -> Disk {
        Disk { file: Vec::new(), room, time: Duration::from_secs(0x1234_5678) }
    }

    fn word(file: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(file[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn both_directions_are_recorded_with_time_and_length() {
        let (a, mut b) = pair(MACS, PairOptions { queue_len: 1, ..PairOptions::default() });
        let mut a = Capture::new(a, disk(usize::MAX));
        let meta = FrameMeta::default();
        let frames = [TxFrame { meta, parts: &[&[1; 14], &[2; 50]] }, TxFrame { meta, parts: &[&[9; 60]] }];
        assert_eq!(a.transmit(&frames), Ok(1), "the second frame was not taken, so it must not be recorded");
        assert_eq!(b.transmit(&[TxFrame { meta, parts: &[&[3; 61]] }]), Ok(1));
        assert_eq!(a.receive(9, &mut Nothing), Ok(1));
        assert!(!a.is_ended());
        let file = a.into_inner().1.file;

        assert_eq!(file[..8], [0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0]);
        assert_eq!((word(&file, 16), word(&file, 20)), (262_144, 1));
        assert_eq!((word(&file, 24), word(&file, 28)), (0x1234_5679, 1));
        assert_eq!((word(&file, 32), word(&file, 36)), (64, 64));
        assert_eq!(file[40..104], [&[1u8; 14][..], &[2; 50]].concat());
        assert_eq!((word(&file, 104), word(&file, 108)), (0x1234_567a, 2));
        assert_eq!((word(&file, 112), word(&file, 116)), (61, 61));
        assert_eq!(file[120..], [3; 61]);
    }

    #[test]
    fn a_full_disk_ends_the_capture_but_not_the_traffic() {
        let (a, mut b) = pair(MACS, PairOptions::default());
        let mut a = Capture::new(a, disk(24 + 16 + 60));
        let frame = TxFrame { meta: FrameMeta::default(), parts: &[&[0; 60]] };
        assert_eq!(a.transmit(&[frame; 2]), Ok(2));
        assert!(a.is_ended());
        assert_eq!(b.receive(9, &mut Nothing), Ok(2));
        assert_eq!(a.into_inner().1.file.len(), 100, "one whole record, no torn one");
    }
}
