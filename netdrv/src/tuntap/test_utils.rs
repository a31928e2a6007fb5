//! A host of its own for each test, and a guest that speaks just enough ARP, UDP and TCP.

use super::{TapDevice, open};
use crate::device::{EthernetDevice, FrameSink, Offloads, TxFrame};
use crate::frame::{Checksum, FrameMeta, MacAddr};
use crate::options::DeviceSpec;
use crate::sys::netns;
use crate::sys::tun::TunQueue;
use alloc::vec::Vec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::net::Ipv4Addr;
use std::panic::resume_unwind;
use std::thread;

/// Bytes of ethernet and IPv4 headers, and of these with UDP or TCP without options.
pub(super) const IP: usize = 14;
pub(super) const L4: usize = IP + 20;
pub(super) const UDP_PAYLOAD: usize = L4 + 8;
pub(super) const TCP_PAYLOAD: usize = L4 + 20;

/// Runs a test on a thread of its own in a new network namespace.
pub(super) fn in_new_namespace(test: impl FnOnce() + Send + 'static) {
    let run = move || {
        netns::enter_new()
            .expect("this test makes network namespaces: run it as root (CAP_SYS_ADMIN and CAP_NET_ADMIN)");
        TunQueue::open().expect("this test makes taps: it needs /dev/net/tun (modprobe tun)");
        test();
    };
    thread::spawn(run).join().unwrap_or_else(|panic| resume_unwind(panic));
}

/// Opens the tap of a command line word; the guest's random address is fixed.
pub(super) fn open_word(word: &str, accept: Offloads) -> Result<TapDevice, super::OpenError> {
    let spec = DeviceSpec::parse(word).expect("a good option").expect("a network option");
    let crate::DeviceKind::Tap(options) = &spec.kind else { panic!("{word}: no tap") };
    open(&spec.name, options, [0x11; 6], accept)
}

/// Received frames.
#[derive(Default)]
pub(super) struct Frames(pub(super) Vec<(FrameMeta, Vec<u8>)>);

impl FrameSink for Frames {
    fn frame(&mut self, meta: FrameMeta, bytes: &mut [u8]) {
        assert_eq!(bytes.as_ptr().addr() % 8, 2, "the IP header is not at an aligned address");
        self.0.push((meta, bytes.to_vec()));
    }
}

/// The guest's end of a tap, a /24 with the host at `.1` and the guest at `.2`.
pub(super) struct Guest {
    pub(super) device: TapDevice,
    pub(super) ip: Ipv4Addr,
    pub(super) host_ip: Ipv4Addr,
    pub(super) host_mac: MacAddr,
}

impl Guest {
    /// Makes the tap `name` on 10.99.`net`.0/24 and exchanges ARP, so that both sides know each other.
    pub(super) fn connect(name: &str, net: u8, accept: Offloads) -> Guest {
        let device = open_word(&std::format!("eth0=tuntap,{name},,10.99.{net}.1"), accept).unwrap();
        let (host_ip, ip) = (Ipv4Addr::new(10, 99, net, 1), Ipv4Addr::new(10, 99, net, 2));
        let mut guest = Guest { device, ip, host_ip, host_mac: MacAddr::BROADCAST };
        let mut request = guest.ethernet(0x0806);
        request.extend([0, 1, 8, 0, 6, 4, 0, 1]);
        request.extend(guest.device.mac().0);
        request.extend(ip.octets());
        request.extend([0; 6]);
        request.extend(host_ip.octets());
        guest.send(FrameMeta::default(), &[&request]);
        let reply = guest.receive_until(|_, f| f[12..14] == [8, 6] && f[21] == 2 && f[28..32] == host_ip.octets());
        guest.host_mac = MacAddr(reply.1[22..28].try_into().unwrap());
        guest
    }

    fn ethernet(&self, ethertype: u16) -> Vec<u8> {
        [&self.host_mac.0[..], &self.device.mac().0, &ethertype.to_be_bytes()].concat()
    }

    /// Sends one frame that must be taken.
    pub(super) fn send(&mut self, meta: FrameMeta, parts: &[&[u8]]) {
        let before = self.device.stats();
        assert_eq!(self.device.transmit(&[TxFrame { meta, parts }]), Ok(1));
        assert_eq!(self.device.stats().tx_packets, before.tx_packets + 1, "refused: {:?}", self.device.stats());
    }

    /// The next frame that `wanted` picks, within 5 s; others are dropped.
    pub(super) fn receive_until(&mut self, wanted: impl Fn(&FrameMeta, &[u8]) -> bool) -> (FrameMeta, Vec<u8>) {
        loop {
            let mut frames = Frames::default();
            if self.device.receive(1, &mut frames).unwrap() == 0 {
                assert!(self.wait_readable(5), "the frame did not arrive");
            }
            if let Some(frame) = frames.0.pop().filter(|(meta, bytes)| wanted(meta, bytes)) {
                return frame;
            }
        }
    }

    /// Whether the descriptor polls readable within `seconds`.
    pub(super) fn wait_readable(&self, seconds: i64) -> bool {
        let timeout = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let mut readable = false;
        self.device.poll_fds(&mut |fd| {
            readable |= poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&timeout)).unwrap() > 0;
        });
        readable
    }

    /// Ethernet and IPv4 headers for `len` bytes of `protocol`, from the guest to `to`.
    pub(super) fn ipv4(&self, to: Ipv4Addr, protocol: u8, len: usize) -> Vec<u8> {
        let total = u16::try_from(20 + len).unwrap().to_be_bytes();
        let mut frame = self.ethernet(0x0800);
        frame.extend([0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, protocol, 0, 0]);
        frame.extend(self.ip.octets());
        frame.extend(to.octets());
        let sum = !ones_sum(0, &frame[IP..]);
        frame[IP + 10..IP + 12].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    /// A UDP datagram whose checksum is the pseudo-header's only, and the state that says so.
    pub(super) fn udp(&self, to: Ipv4Addr, port: u16, payload: &[u8]) -> (FrameMeta, Vec<u8>) {
        let len = 8 + payload.len();
        let mut frame = self.ipv4(to, 17, len);
        frame.extend(4000_u16.to_be_bytes());
        frame.extend(port.to_be_bytes());
        frame.extend((len as u16).to_be_bytes());
        frame.extend(pseudo_sum(self.ip, to, 17, len).to_be_bytes());
        frame.extend(payload);
        (FrameMeta { checksum: Checksum::Partial { start: L4 as u16, offset: 6 }, gso: None }, frame)
    }

    /// Headers of a TCP segment with `payload_len` bytes, options included; the checksum is the pseudo-header's only.
    pub(super) fn tcp(&self, to: Ipv4Addr, port: u16, tcp: &TcpFields, payload_len: usize) -> (FrameMeta, Vec<u8>) {
        let header_len = 20 + tcp.options.len();
        let mut frame = self.ipv4(to, 6, header_len + payload_len);
        frame.extend(4000_u16.to_be_bytes());
        frame.extend(port.to_be_bytes());
        frame.extend(tcp.seq.to_be_bytes());
        frame.extend(tcp.ack.to_be_bytes());
        frame.extend([(header_len as u8 / 4) << 4, tcp.flags, 0xff, 0xff]);
        frame.extend(pseudo_sum(self.ip, to, 6, header_len + payload_len).to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(tcp.options);
        (FrameMeta { checksum: Checksum::Partial { start: L4 as u16, offset: 16 }, gso: None }, frame)
    }

    /// Opens a connection to the host's `port`; returns the sequence and acknowledgement numbers to go on with, and the
    /// host's window in bytes.
    pub(super) fn handshake(&mut self, port: u16) -> (u32, u32, usize) {
        let (host, seq) = (self.host_ip, 1000);
        // Maximum segment size 1460, and no window scaling.
        let syn = TcpFields { seq, ack: 0, flags: SYN, options: &[2, 4, 0x05, 0xb4] };
        let (meta, frame) = self.tcp(host, port, &syn, 0);
        self.send(meta, &[&frame]);
        let (_, answer) = self.receive_until(|_, f| f.len() >= TCP_PAYLOAD && f[12..14] == [8, 0] && f[IP + 9] == 6);
        assert_eq!(answer[L4 + 13], SYN | ACK);
        let ack = u32::from_be_bytes(answer[L4 + 4..L4 + 8].try_into().unwrap()) + 1;
        let window = u16::from_be_bytes(answer[L4 + 14..L4 + 16].try_into().unwrap());
        let (meta, frame) = self.tcp(host, port, &TcpFields { seq: seq + 1, ack, flags: ACK, options: &[] }, 0);
        self.send(meta, &[&frame]);
        (seq + 1, ack, usize::from(window))
    }
}

pub(super) const SYN: u8 = 2;
pub(super) const PSH: u8 = 8;
pub(super) const ACK: u8 = 16;

/// What differs between segments.
pub(super) struct TcpFields<'a> {
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
    pub(super) options: &'a [u8],
}

/// The ones' complement sum of RFC 1071, not inverted.
pub(super) fn ones_sum(start: u32, bytes: &[u8]) -> u16 {
    let pairs = bytes.chunks(2).map(|p| u32::from(p[0]) << 8 | u32::from(*p.get(1).unwrap_or(&0)));
    let mut sum: u64 = u64::from(start) + pairs.map(u64::from).sum::<u64>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The pseudo-header's sum (RFC 793, section 3.1), not inverted.
pub(super) fn pseudo_sum(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, len: usize) -> u16 {
    let rest = [0, protocol, (len >> 8) as u8, len as u8];
    ones_sum(0, &[&from.octets()[..], &to.octets(), &rest].concat())
}

/// Whether IP and transport checksums of a frame are right when everything is summed.
pub(super) fn checksums_are_right(frame: &[u8]) -> bool {
    let len = usize::from(u16::from_be_bytes([frame[IP + 2], frame[IP + 3]]));
    let (ip, l4) = (&frame[IP..L4], &frame[L4..IP + len]);
    let address = |at: usize| Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]);
    let pseudo = pseudo_sum(address(12), address(16), ip[9], l4.len());
    ones_sum(0, ip) == 0xffff && ones_sum(u32::from(pseudo), l4) == 0xffff
}

/// Bytes without a short period, so that a swapped or missing piece shows.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}
