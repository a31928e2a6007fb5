//! The driver on one end of a veth pair, the host's own stack on the other, each test in a namespace of its own.

use super::{OpenFailure, RawDevice, RawOptions, open};
use crate::device::{DeviceError, EthernetDevice, FrameSink, Offloads, TxFrame};
use crate::frame::{Checksum, FrameMeta, Gso, GsoKind};
use crate::segment::{fold, sum};
use crate::sys::netif::NetIf;
use crate::sys::{IfName, netns};
use alloc::string::ToString;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::time::Duration;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::Instant;

const GUEST: [u8; 6] = [2, 0, 0, 0, 0, 0x22];
const LIMIT: Duration = Duration::from_secs(10);

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("this test runs ip(8)");
    assert!(status.success(), "ip {arguments}");
}

/// Runs `test` in a new namespace with `dev0`, ours, and `dev1`, the host's: 10.99.0.1, which knows us as 10.99.0.2.
fn in_namespace(test: impl FnOnce([u8; 6]) + Send + 'static) {
    let done = thread::spawn(|| {
        netns::enter_new().expect("this test makes network namespaces: it needs root");
        ip("link add dev0 type veth peer name dev1");
        ip("link set dev0 up");
        ip("addr add 10.99.0.1/24 dev dev1");
        ip("link set dev1 up");
        ip("neigh add 10.99.0.2 lladdr 02:00:00:00:00:22 dev dev1");
        let netif = |name| NetIf::new(IfName::new(name).unwrap()).unwrap();
        let start = Instant::now();
        // The host takes note of a carrier in a work queue of its own, and drops what it is to send before that.
        while !["dev0", "dev1"].map(netif).iter().all(|n| n.is_running().unwrap()) {
            assert!(start.elapsed() < LIMIT, "no carrier");
        }
        test(netif("dev1").hardware_address().unwrap());
    });
    done.join().unwrap();
}

fn device(accept: Offloads) -> RawDevice {
    let options = RawOptions { ifname: "dev0".into(), mac: None };
    open("eth0", &options, GUEST, accept).unwrap()
}

/// Received IPv4 frames for us.
#[derive(Default)]
struct Frames(Vec<(FrameMeta, Vec<u8>)>);

impl FrameSink for Frames {
    fn frame(&mut self, meta: FrameMeta, bytes: &mut [u8]) {
        if bytes[..6] == GUEST && bytes[12..14] == [8, 0] {
            self.0.push((meta, bytes.to_vec()));
        }
    }
}

fn receive(
    device: &mut RawDevice,
    mut enough: impl FnMut(&[(FrameMeta, Vec<u8>)]) -> bool,
) -> Vec<(FrameMeta, Vec<u8>)> {
    let (mut frames, start) = (Frames::default(), Instant::now());
    while !enough(&frames.0) {
        assert!(start.elapsed() < LIMIT, "nothing came");
        let _ = device.receive(64, &mut frames);
    }
    frames.0
}

/// Ethernet, IPv4 and the pseudo-header sum of a packet of ours; `l4` starts with the transport header.
fn packet(to: [u8; 6], protocol: u8, checksum_at: usize, mut l4: Vec<u8>) -> Vec<u8> {
    let mut f = [&to[..], &GUEST, &[8, 0], &[0x45, 0]].concat();
    f.extend_from_slice(&((20 + l4.len()) as u16).to_be_bytes());
    f.extend_from_slice(&[0, 0, 0x40, 0, 64, protocol, 0, 0, 10, 99, 0, 2, 10, 99, 0, 1]);
    let header = !fold(sum(0, &f[14..34]));
    f[24..26].copy_from_slice(&header.to_be_bytes());
    let pseudo = fold(sum(u64::from(protocol) + l4.len() as u64, &f[26..34]));
    l4[checksum_at..checksum_at + 2].copy_from_slice(&pseudo.to_be_bytes());
    f.extend(l4);
    f
}

fn partial(offset: u16) -> Checksum {
    Checksum::Partial { start: 34, offset }
}

#[test]
fn datagrams_pass_both_ways_with_partial_checksums() {
    in_namespace(|host| {
        let mut device = device(Offloads::all());
        assert_eq!((device.ifname(), device.mtu().0), ("dev0", 1500));
        let socket = UdpSocket::bind("10.99.0.1:7000").unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let l4 = [&[0x10, 0, 0x1b, 0x58, 0, 12, 0, 0][..], b"ping"].concat();
        let frame = packet(host, 17, 6, l4);
        let meta = FrameMeta { checksum: partial(6), gso: None };
        assert_eq!(device.transmit(&[TxFrame { meta, parts: &[&frame[..14], &frame[14..]] }]), Ok(1));
        let mut buffer = [0; 64];
        let (len, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..len], from.to_string().as_str()), (&b"ping"[..], "10.99.0.2:4096"));
        socket.send_to(b"pong", from).unwrap();
        let frames = receive(&mut device, |frames| !frames.is_empty());
        assert_eq!(frames[0].1[42..], *b"pong");
        assert_eq!(frames[0].0.checksum, partial(6), "it never left the host");
    });
}

/// A connection from the host to us, as far as one segment each way: what arrives of `size` bytes in `accept`.
fn tcp_from_host(accept: Offloads) {
    in_namespace(move |host| {
        let mut device = device(accept);
        let sender = thread::spawn(|| {
            // The namespace is the spawning thread's.
            let mut stream = TcpStream::connect("10.99.0.2:80").unwrap();
            stream.write_all(&[7; 30_000]).unwrap();
            thread::sleep(Duration::from_millis(300));
        });
        let syn = receive(&mut device, |frames| !frames.is_empty()).remove(0).1;
        let sequence = u32::from_be_bytes(syn[38..42].try_into().unwrap());
        let mut l4 = [
            &[0, 80][..],
            &syn[34..36],
            &[0, 0, 0, 1],
            &(sequence + 1).to_be_bytes(),
            &[0x50, 0x12, 0xff, 0xff, 0, 0, 0, 0],
        ]
        .concat();
        let meta = FrameMeta { checksum: partial(16), gso: None };
        assert_eq!(device.transmit(&[TxFrame { meta, parts: &[&packet(host, 6, 16, l4.clone())] }]), Ok(1));
        let mut payload = 0;
        let frames = receive(&mut device, |frames| {
            payload = frames.iter().map(|(_, f)| f.len().saturating_sub(34 + usize::from(f[46] >> 4) * 4)).sum();
            payload >= 5360
        });
        let longest = frames.iter().map(|(_, f)| f.len()).max().unwrap();
        if accept.contains(Offloads::RX_TSO4) {
            assert!(frames.iter().any(|(meta, _)| meta.gso.is_some()) && longest > 1514, "{longest}");
        } else {
            assert!(frames.iter().all(|(meta, _)| meta.gso.is_none()) && longest <= 1514, "{longest}");
        }
        // Reset the connection, so that the sender does not linger.
        l4[13] = 0x04;
        l4[4..8].copy_from_slice(&2u32.to_be_bytes());
        let _ = device.transmit(&[TxFrame { meta, parts: &[&packet(host, 6, 16, l4)] }]);
        sender.join().unwrap();
    });
}

#[test]
fn what_the_host_has_not_cut_arrives_whole_or_is_cut_here() {
    tcp_from_host(Offloads::all());
    tcp_from_host(Offloads::RX_CSUM);
}

#[test]
fn segments_of_ours_are_cut_by_the_host() {
    in_namespace(|host| {
        let mut device = device(Offloads::all());
        let listener = TcpListener::bind("10.99.0.1:80").unwrap();
        let l4 = [&[0x10, 0, 0, 80, 0, 0, 0, 9, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0][..]].concat();
        let meta = FrameMeta { checksum: partial(16), gso: None };
        assert_eq!(device.transmit(&[TxFrame { meta, parts: &[&packet(host, 6, 16, l4)] }]), Ok(1));
        let answer = receive(&mut device, |frames| !frames.is_empty()).remove(0).1;
        let ack = u32::from_be_bytes(answer[38..42].try_into().unwrap()) + 1;
        let header =
            [&[0x10, 0, 0, 80, 0, 0, 0, 10][..], &ack.to_be_bytes(), &[0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]].concat();
        let data: Vec<u8> = (0..20_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let frame = packet(host, 6, 16, [header, data.clone()].concat());
        let gso = Gso { kind: GsoKind::TcpV4, size: NonZeroU16::new(536).unwrap(), header_len: 54, ecn: false };
        let meta = FrameMeta { checksum: partial(16), gso: Some(gso) };
        assert_eq!(device.transmit(&[TxFrame { meta, parts: &[&frame] }]), Ok(1));
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut got = alloc::vec![0; data.len()];
        stream.read_exact(&mut got).unwrap();
        assert_eq!(got, data);
    });
}

#[test]
fn an_interface_that_goes_down_is_told_and_comes_back() {
    in_namespace(|host| {
        let mut device = device(Offloads::all());
        let frame = packet(host, 17, 6, [0x10, 0, 0x1b, 0x58, 0, 8, 0, 0].to_vec());
        let meta = FrameMeta { checksum: partial(6), gso: None };
        ip("link set dev0 down");
        assert_eq!(device.transmit(&[TxFrame { meta, parts: &[&frame] }]), Err(DeviceError::LinkDown));
        ip("link set dev0 up");
        let start = Instant::now();
        while device.transmit(&[TxFrame { meta, parts: &[&frame] }]) != Ok(1) {
            assert!(start.elapsed() < LIMIT);
        }
    });
}

#[test]
fn each_refusal_is_named() {
    in_namespace(|_| {
        let failure = |name: &str| {
            let options = RawOptions { ifname: name.into(), mac: None };
            open("eth0", &options, GUEST, Offloads::all()).map(|d| panic!("{}", d.ifname())).unwrap_err().failure
        };
        assert_eq!(failure("none0"), OpenFailure::NoSuchInterface);
        assert_eq!(failure("lo"), OpenFailure::NotEthernet);
        netns::drop_capability(rustix::thread::CapabilitySet::NET_RAW).unwrap();
        assert_eq!(failure("dev0"), OpenFailure::Permission);
    });
}
