//! The driver against the host's own stack, each test in a network namespace of its own. They fail, and say why, where
//! namespaces or taps cannot be made.

use super::OpenFailure;
use super::test_utils::*;
use crate::device::{DeviceError, EthernetDevice, Offloads, TxFrame};
use crate::frame::{Checksum, FrameMeta, Gso, GsoKind, MacAddr, Mtu};
use crate::sys::IfName;
use crate::sys::netif::NetIf;
use crate::sys::netns;
use crate::sys::tun::{TunFlags, TunQueue};
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::time::Duration;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::CapabilitySet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};

const TAP: TunFlags = TunFlags::TAP.union(TunFlags::NO_PI);

/// What `ip` reads, of this thread's namespace.
fn proc_net(file: &str) -> String {
    fs::read_to_string(std::format!("/proc/thread-self/net/{file}")).unwrap()
}

fn exists(ifname: &str) -> bool {
    proc_net("dev").lines().any(|l| l.trim_start().starts_with(&std::format!("{ifname}:")))
}

/// Interface, destination and mask of each route; the last two are hexadecimal, in memory order.
fn routes() -> Vec<[String; 3]> {
    let table = proc_net("route");
    let fields = table.lines().filter(|l| !l.starts_with("Iface")).map(|l| l.split_whitespace().collect::<Vec<_>>());
    fields.map(|f| [f[0], f[1], f[7]].map(String::from)).collect()
}

/// A tap that outlives its maker, as `ip tuntap add` makes it.
fn make_persistent(name: &str, flags: TunFlags, owner: Option<u32>) -> NetIf {
    let queue = TunQueue::open().unwrap();
    let name = queue.set_iff(IfName::new(name).unwrap(), flags).unwrap();
    queue.set_persistent().unwrap();
    if let Some(uid) = owner {
        queue.set_owner(uid).unwrap();
    }
    NetIf::new(name).unwrap()
}

fn failure(word: &str) -> OpenFailure {
    open_word(word, Offloads::all()).map(|d| panic!("{word}: opened {}", d.ifname())).unwrap_err().failure
}

fn drop_net_admin() {
    netns::drop_capability(CapabilitySet::NET_ADMIN).unwrap();
}

#[test]
fn a_missing_tap_is_made_with_its_address_and_goes_with_the_device() {
    in_new_namespace(|| {
        let device = open_word("eth0=tuntap,made0,0e:fd:0:0:0:1,10.99.1.1", Offloads::all()).unwrap();
        assert!(device.is_created() && exists("made0"));
        assert_eq!((device.ifname(), device.mtu(), device.depth()), ("made0", Mtu(1500), 64));
        assert_eq!(device.mac(), MacAddr([0x0e, 0xfd, 0, 0, 0, 1]));
        assert!(NetIf::new(IfName::new("made0").unwrap()).unwrap().is_up().unwrap());
        assert_eq!(routes(), [["made0", "0001630A", "00FFFFFF"]]);
        drop(device);
        assert!(!exists("made0"));
    });
}

#[test]
fn the_host_chooses_a_name_and_the_caller_a_random_address() {
    in_new_namespace(|| {
        let device = open_word("eth0=tuntap", Offloads::all()).unwrap();
        assert_eq!(device.ifname(), "tap0");
        assert_eq!(device.mac(), MacAddr([0x12, 0x11, 0x11, 0x11, 0x11, 0x11]));
        assert!(routes().is_empty(), "no address was asked for: {:?}", routes());
    });
}

#[test]
fn an_existing_tap_keeps_its_addresses_and_is_taken_up() {
    in_new_namespace(|| {
        for (name, flags) in [("old0", TAP), ("old1", TAP | TunFlags::VNET_HDR), ("old2", TAP | TunFlags::MULTI_QUEUE)]
        {
            let netif = make_persistent(name, flags, None);
            netif.set_ipv4([10, 98, 0, 1].into()).unwrap();
            netif.set_netmask([255, 255, 0, 0].into()).unwrap();
            assert!(!netif.is_up().unwrap());
            let device = open_word(&std::format!("eth0=tuntap,{name},,10.99.2.1"), Offloads::all()).unwrap();
            assert!(!device.is_created() && netif.is_up().unwrap());
            assert_eq!(routes(), [[name, "0000620A", "0000FFFF"]]);
            drop(device);
            assert!(exists(name));
            netif.set_down().unwrap();
        }
    });
}

#[test]
fn a_header_length_left_by_the_last_holder_does_no_harm() {
    in_new_namespace(|| {
        let queue = TunQueue::open().unwrap();
        let name = queue.set_iff(IfName::new("old0").unwrap(), TAP | TunFlags::VNET_HDR).unwrap();
        queue.set_vnet_header_len(12).unwrap();
        queue.set_persistent().unwrap();
        let netif = NetIf::new(name).unwrap();
        netif.set_ipv4([10, 99, 3, 1].into()).unwrap();
        netif.set_netmask([255, 255, 255, 0].into()).unwrap();
        drop(queue);
        let mut guest = Guest::connect("old0", 3, Offloads::all());
        let socket = UdpSocket::bind((guest.host_ip, 7000)).unwrap();
        let (meta, frame) = guest.udp(guest.host_ip, 7000, b"ten bytes");
        guest.send(meta, &[&frame]);
        assert_eq!(receive_datagram(&socket), b"ten bytes");
    });
}

#[test]
fn refusals_name_their_reason() {
    in_new_namespace(|| {
        let _held = open_word("eth0=tuntap,held0", Offloads::all()).unwrap();
        assert_eq!(failure("eth1=tuntap,held0"), OpenFailure::Busy);
        assert_eq!(failure("eth1=tuntap,lo"), OpenFailure::NotATap);
        let host_mac = make_persistent("same0", TAP, None).hardware_address().unwrap();
        assert_eq!(failure(&std::format!("eth1=tuntap,same0,{}", MacAddr(host_mac))), OpenFailure::SameMac);
        make_persistent("mine0", TAP, Some(rustix::process::getuid().as_raw()));
        let theirs = make_persistent("theirs0", TAP, Some(54321));

        drop_net_admin();
        assert_eq!(failure("eth1=tuntap,new0"), OpenFailure::MayNotCreate);
        assert_eq!(failure("eth1=tuntap,theirs0"), OpenFailure::NotOwner);
        let mut mine = open_word("eth1=tuntap,mine0", Offloads::all()).expect("the owner needs no privilege");
        let frame = TxFrame { meta: FrameMeta::default(), parts: &[&[0xff; 60]] };
        assert_eq!(mine.transmit(&[frame]), Err(DeviceError::LinkDown), "nobody took it up, and we may not");
        assert_eq!(theirs.set_up(), Err(Errno::PERM));
    });
}

#[test]
fn an_open_error_is_one_line_with_the_remedy() {
    in_new_namespace(|| {
        drop_net_admin();
        assert_eq!(
            open_word("eth0=tuntap,tap100", Offloads::all()).unwrap_err().to_string(),
            "eth0: cannot open tap100: permission denied: run as root, or have it made for you: \
             ip tuntap add tap100 mode tap user $USER vnet_hdr"
        );
        assert_eq!(
            open_word("vec1:transport=tap,ifname=lo", Offloads::all()).unwrap_err().to_string(),
            "vec1: cannot open lo: this interface of the host is not a tap: name another one, or leave the name empty"
        );
    });
}

#[test]
fn offloads_are_what_caller_and_host_agree_on() {
    in_new_namespace(|| {
        let tx = Offloads::TX_CSUM | Offloads::TX_TSO4 | Offloads::TX_TSO6;
        let rx = Offloads::RX_CSUM | Offloads::RX_TSO4 | Offloads::RX_TSO6;
        let uso = Offloads::TX_USO | Offloads::RX_USO;
        let granted = |word: &str, accept| open_word(word, accept).unwrap().offloads();
        // USO depends on the host's release (6.2): both directions or none.
        assert!([tx | rx, tx | rx | uso].contains(&granted("eth0=tuntap", Offloads::all())));
        assert_eq!(granted("eth0=tuntap", tx | rx), tx | rx);
        assert_eq!(granted("eth0=tuntap", Offloads::empty()), Offloads::empty());
        assert_eq!(granted("eth0=tuntap", Offloads::RX_TSO4), Offloads::empty(), "segments need checksums");
        assert_eq!(granted("vec0:transport=tap,gro=0", tx | rx), tx | Offloads::RX_CSUM);
    });
}

fn receive_datagram(socket: &UdpSocket) -> Vec<u8> {
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut buffer = vec![0; 70_000];
    let len = socket.recv(&mut buffer).expect("the datagram did not arrive");
    buffer.truncate(len);
    buffer
}

#[test]
fn a_datagram_in_pieces_with_a_partial_checksum_arrives_whole() {
    in_new_namespace(|| {
        let mut guest = Guest::connect("t0", 4, Offloads::all());
        let socket = UdpSocket::bind((guest.host_ip, 7000)).unwrap();
        let payload = pattern(1400);
        let (meta, frame) = guest.udp(guest.host_ip, 7000, &payload);
        let mut parts: Vec<&[u8]> = vec![&frame[..UDP_PAYLOAD]];
        parts.extend(frame[UDP_PAYLOAD..].chunks(1400 / 17 + 1));
        assert_eq!(parts.len(), TxFrame::MAX_PARTS);
        guest.send(meta, &parts);
        assert_eq!(receive_datagram(&socket), payload);
    });
}

#[test]
fn frames_wait_for_their_budget_in_order_and_wake_the_poller() {
    in_new_namespace(|| {
        let mut guest = Guest::connect("t0", 5, Offloads::all());
        let socket = UdpSocket::bind((guest.host_ip, 0)).unwrap();
        for number in 0..5u8 {
            socket.send_to(&[number; 10], (guest.ip, 9)).unwrap();
        }
        assert!(guest.wait_readable(5));
        let before = guest.device.stats();
        let mut frames = Frames::default();
        let mut taken = 0;
        while frames.0.iter().filter(|f| is_udp(&f.1)).count() < 5 {
            assert!(guest.wait_readable(5), "{} frames of 5 arrived", frames.0.len());
            let now = guest.device.receive(2, &mut frames).unwrap();
            assert!((1..=2).contains(&now));
            taken += now;
        }
        assert_eq!(taken, frames.0.len());
        let stats = guest.device.stats();
        assert_eq!(stats.rx_packets - before.rx_packets, taken as u64);
        let bytes: usize = frames.0.iter().map(|f| f.1.len()).sum();
        assert_eq!(stats.rx_bytes - before.rx_bytes, bytes as u64);
        let numbers: Vec<u8> = frames.0.iter().filter(|f| is_udp(&f.1)).map(|f| f.1[UDP_PAYLOAD]).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
        for (meta, frame) in frames.0.iter().filter(|f| is_udp(&f.1)) {
            assert_eq!(meta.checksum, Checksum::Partial { start: L4 as u16, offset: 6 });
            assert_eq!(frame[..12], [guest.device.mac().0, guest.host_mac.0].concat());
        }
    });
}

fn is_udp(frame: &[u8]) -> bool {
    frame[12..14] == [8, 0] && frame[IP + 9] == 17
}

fn is_tcp_data(frame: &[u8]) -> bool {
    frame.len() > TCP_PAYLOAD && frame[12..14] == [8, 0] && frame[IP + 9] == 6
}

fn tcp_segments(size: u16) -> Option<Gso> {
    let size = NonZeroU16::new(size).unwrap();
    Some(Gso { kind: GsoKind::TcpV4, size, header_len: TCP_PAYLOAD as u16, ecn: false })
}

#[test]
fn a_64_kb_segment_reaches_the_hosts_tcp_and_a_packet_socket_whole() {
    in_new_namespace(|| {
        let mut guest = Guest::connect("t0", 6, Offloads::all());
        let host = guest.host_ip;
        let listener = TcpListener::bind((host, 7000)).unwrap();
        let (seq, ack, window) = guest.handshake(7000);
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let flags = SocketFlags::CLOEXEC;
        let every_protocol = rustix::net::Protocol::from_raw((0x0003_u16.to_be() as u32).try_into().unwrap());
        let watcher =
            rustix::net::socket_with(AddressFamily::PACKET, SocketType::RAW, flags, Some(every_protocol)).unwrap();

        let payload = pattern(44 * 1460);
        assert!(payload.len() <= window, "the host offers a window of {window} bytes only");
        let fields = TcpFields { seq, ack, flags: ACK | PSH, options: &[] };
        let (mut meta, headers) = guest.tcp(host, 7000, &fields, payload.len());
        meta.gso = tcp_segments(1460);
        guest.send(meta, &[&headers, &payload[..10_000], &payload[10_000..]]);

        let mut got = vec![0; payload.len()];
        stream.read_exact(&mut got).expect("the host's TCP did not take the segment");
        assert!(got == payload);
        let mut frame = vec![0; 70_000];
        let len = rustix::io::read(&watcher, &mut frame[..]).unwrap();
        assert_eq!(len, headers.len() + payload.len(), "the segment was cut before the packet socket saw it");
        assert!(frame[..headers.len()] == headers && frame[headers.len()..len] == payload);
    });
}

/// Reads `len` bytes of payload from the host, acknowledging each frame; returns the frames.
fn read_stream(guest: &mut Guest, seq: u32, first: u32, len: usize) -> (Vec<u8>, Vec<FrameMeta>) {
    let (mut bytes, mut metas) = (Vec::new(), Vec::new());
    while bytes.len() < len {
        let (meta, frame) = guest.receive_until(|_, f| is_tcp_data(f));
        let at = u32::from_be_bytes(frame[L4 + 4..L4 + 8].try_into().unwrap());
        assert_eq!(at.wrapping_sub(first) as usize, bytes.len(), "a segment is missing or out of order");
        let total = usize::from(u16::from_be_bytes([frame[IP + 2], frame[IP + 3]]));
        let payload = &frame[TCP_PAYLOAD..IP + total];
        if meta.checksum != (Checksum::Partial { start: L4 as u16, offset: 16 }) {
            assert!(checksums_are_right(&frame), "an unmarked frame has a wrong checksum");
        }
        bytes.extend(payload);
        metas.push(meta);
        let ack = first.wrapping_add(bytes.len() as u32);
        let (meta, frame) = guest.tcp(guest.host_ip, 7000, &TcpFields { seq, ack, flags: ACK, options: &[] }, 0);
        guest.send(meta, &[&frame]);
    }
    (bytes, metas)
}

#[test]
fn the_hosts_segments_arrive_coalesced_if_accepted_and_cut_if_not() {
    in_new_namespace(|| {
        for (net, accept, expect_gso) in
            [(7, Offloads::all(), true), (8, Offloads::RX_CSUM, false), (9, Offloads::empty(), false)]
        {
            let mut guest = Guest::connect(&std::format!("t{net}"), net, accept);
            let listener = TcpListener::bind((guest.host_ip, 7000)).unwrap();
            let (seq, ack, _) = guest.handshake(7000);
            let (mut stream, _) = listener.accept().unwrap();
            let payload = pattern(300_000);
            let sent = payload.clone();
            let writer = std::thread::spawn(move || stream.write_all(&sent).map(|()| stream));
            let (got, metas) = read_stream(&mut guest, seq, ack, payload.len());
            assert!(got == payload);
            writer.join().unwrap().unwrap();
            assert_eq!(metas.iter().any(|m| m.gso.is_some()), expect_gso);
            for gso in metas.iter().filter_map(|m| m.gso) {
                assert_eq!(Some(gso), tcp_segments(1460));
            }
            let partial = metas.iter().any(|m| matches!(m.checksum, Checksum::Partial { .. }));
            assert_eq!(partial, !accept.is_empty(), "checksums are left to us if, and only if, we agreed");
        }
    });
}

/// The host trusts a partial checksum that stays on the machine. Forwarding to a guest that takes no offloads makes it do
/// the work, so that wrong offsets or sizes in the header show.
#[test]
fn the_host_finishes_checksums_and_cuts_segments_as_the_header_says() {
    in_new_namespace(|| {
        let mut sender = Guest::connect("a0", 10, Offloads::all());
        let mut receiver = Guest::connect("b0", 11, Offloads::empty());
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        let to = receiver.ip;

        let (meta, frame) = sender.udp(to, 7000, &pattern(999));
        sender.send(meta, &[&frame]);
        let (meta, got) = receiver.receive_until(|_, f| is_udp(f) && f.len() > 1000);
        assert_eq!(meta.checksum, Checksum::Unknown);
        assert!(checksums_are_right(&got) && got[UDP_PAYLOAD..] == pattern(999));
        assert_ne!(got[L4 + 6..L4 + 8], frame[L4 + 6..L4 + 8], "the pseudo-header's sum was sent as the checksum");

        let payload = pattern(44 * 1000 + 123);
        let fields = TcpFields { seq: 5, ack: 6, flags: ACK | PSH, options: &[] };
        let (mut meta, headers) = sender.tcp(to, 7000, &fields, payload.len());
        meta.gso = tcp_segments(1000);
        sender.send(meta, &[&headers, &payload]);
        let mut got = Vec::new();
        for segment in 0..45u32 {
            let (meta, frame) = receiver.receive_until(|_, f| is_tcp_data(f));
            assert_eq!(meta, FrameMeta::default());
            assert!(checksums_are_right(&frame), "segment {segment}");
            assert_eq!(frame[L4 + 4..L4 + 8], (5 + 1000 * segment).to_be_bytes());
            assert_eq!(frame.len(), TCP_PAYLOAD + if segment == 44 { 123 } else { 1000 });
            got.extend_from_slice(&frame[TCP_PAYLOAD..]);
        }
        assert!(got == payload);
    });
}

#[test]
fn frames_that_cannot_be_sent_are_counted_and_do_not_stop_the_others() {
    in_new_namespace(|| {
        let mut guest = Guest::connect("t0", 12, Offloads::all());
        let socket = UdpSocket::bind((guest.host_ip, 7000)).unwrap();
        let (meta, good) = guest.udp(guest.host_ip, 7000, b"good");
        let plain = FrameMeta::default();
        let beyond = FrameMeta { checksum: Checksum::Partial { start: 34, offset: 9000 }, gso: None };
        let (big, many) = ([0; 1519], [&good[..1]; 19]);
        let frames = [
            TxFrame { meta: plain, parts: &[&good[..13]] },
            TxFrame { meta: plain, parts: &[] },
            TxFrame { meta: plain, parts: &[&big] },
            TxFrame { meta: plain, parts: &many },
            TxFrame { meta: beyond, parts: &[&good] },
            TxFrame { meta: FrameMeta { gso: tcp_segments(9), ..plain }, parts: &[&good] },
            TxFrame { meta, parts: &[&good] },
        ];
        assert_eq!(guest.device.transmit(&frames), Ok(7));
        assert_eq!(guest.device.stats().tx_errors, 6);
        assert_eq!(receive_datagram(&socket), b"good");
    });
}

#[test]
fn a_link_that_is_down_or_deleted_says_so_and_comes_back_when_it_is_up() {
    in_new_namespace(|| {
        let mut guest = Guest::connect("t0", 13, Offloads::all());
        let socket = UdpSocket::bind((guest.host_ip, 7000)).unwrap();
        let (meta, frame) = guest.udp(guest.host_ip, 7000, b"up");
        let netif = NetIf::new(IfName::new("t0").unwrap()).unwrap();
        let parts: &[&[u8]] = &[&frame];

        netif.set_down().unwrap();
        assert_eq!(guest.device.transmit(&[TxFrame { meta, parts }]), Err(DeviceError::LinkDown));
        netif.set_up().unwrap();
        guest.send(meta, parts);
        assert_eq!(receive_datagram(&socket), b"up");

        netns::delete_link("t0").unwrap();
        assert!(!exists("t0"));
        assert_eq!(guest.device.transmit(&[TxFrame { meta, parts }]), Err(DeviceError::LinkDown));
        assert!(guest.wait_readable(5), "a sleeper must notice that the interface is gone");
        assert_eq!(guest.device.receive(1, &mut Frames::default()), Err(DeviceError::LinkDown));
    });
}
