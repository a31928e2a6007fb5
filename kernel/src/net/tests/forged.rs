//! Packets from somebody who sees nothing of a connection and guesses: they end nothing, open nothing and learn nothing.

use super::pair::*;
use super::tcp_endings::inject;
use crate::net::ipv4::{Ipv4Header, protocol};
use crate::net::link::{ETHERTYPE_IPV4, EthernetHeader};
use crate::net::tcp::engine::TcpState;
use crate::net::*;
use std::boxed::Box;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use std::vec::Vec;

const MS: Duration = Duration::from_millis(10);
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Sequence and acknowledgement number, flags: of each TCP segment that a host sends.
type Log = Rc<RefCell<Vec<(u32, u32, u8)>>>;

fn watch(p: &mut Pair, watched: usize) -> Log {
    let log = Log::default();
    let writer = log.clone();
    p.filter = Box::new(move |host, frame| {
        let word = |at: usize| u32::from_be_bytes(frame.bytes[at..at + 4].try_into().unwrap());
        if host == watched && frame.bytes[12..14] == [8, 0] && frame.bytes[23] == 6 {
            writer.borrow_mut().push((word(38), word(42), frame.bytes[47]));
        }
        true
    });
    log
}

/// An ethernet frame from A to B around an IP payload.
fn packet(src: core::net::Ipv4Addr, dst: core::net::Ipv4Addr, number: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = EthernetHeader { dst: MAC[B], src: MAC[A], ethertype: ETHERTYPE_IPV4 }.to_bytes().to_vec();
    bytes.resize(34, 0);
    Ipv4Header::new(src, dst, number, payload.len()).write(&mut bytes[14..]);
    bytes.extend_from_slice(payload);
    bytes
}

/// A segment without data from A's end of a connection to B's.
fn segment(from: SocketAddr, to: SocketAddr, seq: u32, ack: u32, flags: u8) -> Vec<u8> {
    let mut tcp = std::vec![0; 20];
    tcp[..2].copy_from_slice(&from.port().to_be_bytes());
    tcp[2..4].copy_from_slice(&to.port().to_be_bytes());
    tcp[4..8].copy_from_slice(&seq.to_be_bytes());
    tcp[8..12].copy_from_slice(&ack.to_be_bytes());
    (tcp[12], tcp[13], tcp[14]) = (5 << 4, flags, 0xff);
    let v4 = |a: SocketAddr| Family::Inet.to_v4(a).unwrap();
    let (src, dst) = (*v4(from).ip(), *v4(to).ip());
    let sum = checksum::pseudo_header(src, dst, protocol::TCP, tcp.len()) + checksum::sum(&tcp);
    tcp[16..18].copy_from_slice(&(!checksum::fold(sum)).to_be_bytes());
    packet(src, dst, protocol::TCP, &tcp)
}

/// A connection that has carried data both ways, and the numbers that A sends next and has acknowledged.
struct Target {
    p: Pair,
    client: SocketId,
    server: SocketId,
    ends: [SocketAddr; 2],
    seq: u32,
    ack: u32,
}

fn target() -> Target {
    let mut p = Pair::plain();
    let log = watch(&mut p, A);
    let (client, server) = p.established();
    p.transfer((A, client), (B, server), 3000, Duration::from_secs(1));
    p.transfer((B, server), (A, client), 2000, Duration::from_secs(1));
    p.run(MS);
    let ends = [p.stacks[A].local_addr(client).unwrap(), addr(B, 80)];
    let (seq, ack, _) = *log.borrow().last().unwrap();
    Target { p, client, server, ends, seq, ack }
}

fn works(t: &mut Target) {
    t.p.transfer((A, t.client), (B, t.server), 5000, Duration::from_secs(5));
    t.p.transfer((B, t.server), (A, t.client), 5000, Duration::from_secs(5));
}

#[test]
fn a_reset_counts_only_with_the_very_next_number() {
    // RFC 5961, section 3.2: "If the RST bit is set and the sequence number does not exactly match the next expected
    // sequence value, yet is within the current receive window, TCP MUST send an acknowledgment (challenge ACK)".
    let mut t = target();
    let log = watch(&mut t.p, B);
    for guess in [1, 1000, 40_000, u32::MAX, 0x8000_0000] {
        inject(&mut t.p, B, segment(t.ends[0], t.ends[1], t.seq.wrapping_add(guess), 0, RST));
        t.p.run(MS);
    }
    let challenges: Vec<_> = log.borrow().iter().filter(|(.., flags)| *flags == ACK).copied().collect();
    assert_eq!(challenges, [(t.ack, t.seq, ACK)], "one, however many guesses there are");
    works(&mut t);
    let mut t = target();
    inject(&mut t.p, B, segment(t.ends[0], t.ends[1], t.seq, 0, RST));
    assert_eq!(t.p.read(B, t.server), Err(NetError::ConnectionReset));
}

#[test]
fn a_syn_neither_ends_nor_restarts_a_connection() {
    // RFC 5961, section 4.2: "If the SYN bit is set, irrespective of the sequence number, TCP MUST send an ACK".
    for guess in [0, 1000, 0x8000_0000] {
        let mut t = target();
        let log = watch(&mut t.p, B);
        inject(&mut t.p, B, segment(t.ends[0], t.ends[1], t.seq.wrapping_add(guess), 0, SYN));
        t.p.run(MS);
        assert_eq!(log.borrow()[..], [(t.ack, t.seq, ACK)]);
        works(&mut t);
    }
}

#[test]
fn a_peer_that_has_forgotten_the_connection_resets_it_by_the_challenge() {
    let mut t = target();
    // A restarts: its stack knows nothing, and opens the same four numbers again.
    t.p.stacks[A] = stack(A, NONE, 1500);
    let again = t.p.socket(A, SocketKind::Tcp);
    t.p.stacks[A].bind(again, t.ends[0]).unwrap();
    let now = t.p.now;
    assert_eq!(t.p.stacks[A].connect(again, Some(t.ends[1]), now), Err(NetError::InProgress));
    let server = t.server;
    t.p.until(Duration::from_secs(10), |p| p.read(B, server) == Err(NetError::ConnectionReset));
}

#[test]
fn a_fin_out_of_order_waits_for_the_data_before_it() {
    let mut t = target();
    inject(&mut t.p, B, segment(t.ends[0], t.ends[1], t.seq.wrapping_add(1000), t.ack, FIN | ACK));
    t.p.run(MS);
    assert_eq!(t.p.read(B, t.server), Err(NetError::WouldBlock));
    works(&mut t);
}

#[test]
fn we_do_not_answer_ourselves() {
    // The same address and port at both ends ("LAND"): a SYN that seems to come from its own target.
    let mut p = Pair::plain();
    let listener = p.listen(B, 80, 5);
    inject(&mut p, B, segment(addr(B, 80), addr(B, 80), 1, 0, SYN));
    inject(&mut p, B, segment(addr(B, 81), addr(B, 80), 1, 0, SYN));
    p.run(MS);
    assert_eq!(p.stacks[B].accept(listener).map(drop), Err(NetError::WouldBlock));
    assert_eq!(p.stacks[B].tcp_connections().count(), 0);
    assert_eq!(p.stacks[B].stats().ip_in_addr_errors, 2);
    assert!(p.stacks[B].tcp_info(listener).is_ok_and(|i| i.state == TcpState::Listen));
}

#[test]
fn an_unfinished_datagram_shows_nothing_but_itself() {
    let mut p = Pair::plain();
    let server = p.socket(B, SocketKind::Udp);
    p.stacks[B].bind(server, addr(B, 53)).unwrap();
    let client = p.socket(A, SocketKind::Udp);
    // Secrets of others pass through the buffers that reassembly uses later.
    p.send_to(A, client, addr(B, 53), &[0x5a; 60_000]).unwrap();
    p.run(MS);
    assert_eq!(p.recv_from(B, server).unwrap().0.len(), 60_000);
    let complaints: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
    let writer = complaints.clone();
    p.filter = Box::new(move |host, frame| {
        if host == B && frame.bytes[23] == 1 {
            writer.borrow_mut().push(frame.bytes.clone());
        }
        true
    });
    let fragment = |offset: usize, more: bool| {
        let mut bytes = packet(ip(A), ip(B), protocol::UDP, &[0x11; 16]);
        let header = Ipv4Header {
            ident: 7,
            more_fragments: more,
            fragment_offset: offset,
            ..Ipv4Header::new(ip(A), ip(B), protocol::UDP, 16)
        };
        header.write(&mut bytes[14..]);
        bytes
    };
    inject(&mut p, B, fragment(0, true));
    inject(&mut p, B, fragment(4000, false));
    p.run(Duration::from_secs(31));
    let complaints = complaints.borrow();
    assert_eq!(complaints.len(), 1, "time exceeded");
    assert_eq!(complaints[0][62..], [0x11; 16], "{:x?}", &complaints[0][34..]);
}

#[test]
fn loopback_addresses_stay_inside() {
    // RFC 1122, section 3.2.1.3: "Addresses of this form MUST NOT appear outside a host."
    let mut p = Pair::plain();
    let tcp = p.socket(A, SocketKind::Tcp);
    p.stacks[A].bind(tcp, "127.0.0.1:0".parse().unwrap()).unwrap();
    let now = p.now;
    assert_eq!(p.stacks[A].connect(tcp, Some(addr(B, 80)), now), Err(NetError::Invalid));
    let udp = p.socket(A, SocketKind::Udp);
    p.stacks[A].bind(udp, "127.0.0.1:0".parse().unwrap()).unwrap();
    assert_eq!(p.send_to(A, udp, addr(B, 53), b"x"), Err(NetError::Invalid));
    p.run(MS);
    assert_eq!(p.sent, [0; 2]);
}

#[test]
fn a_failed_connection_leaves_the_socket_as_bind_had_it() {
    let mut p = Pair::plain();
    let id = p.socket(A, SocketKind::Tcp);
    let attempt = |p: &mut Pair, to: SocketAddr| {
        let now = p.now;
        assert_eq!(p.stacks[A].connect(id, Some(to), now), Err(NetError::InProgress));
        p.run(MS);
        let now = p.now;
        assert_eq!(p.stacks[A].connect(id, Some(to), now), Err(NetError::ConnectionRefused));
    };
    attempt(&mut p, "127.0.0.1:80".parse().unwrap());
    assert_eq!(p.stacks[A].local_addr(id), Ok("0.0.0.0:0".parse().unwrap()));
    // Another way, another address.
    attempt(&mut p, addr(B, 80));
    p.stacks[A].bind(id, "0.0.0.0:5000".parse().unwrap()).unwrap();
    attempt(&mut p, "127.0.0.1:80".parse().unwrap());
    assert_eq!(p.stacks[A].local_addr(id), Ok("0.0.0.0:5000".parse().unwrap()));
    attempt(&mut p, addr(B, 80));
}

#[test]
fn soft_errors_are_not_reported_to_datagram_sockets() {
    let mut p = Pair::plain();
    let id = p.socket(A, SocketKind::Udp);
    let now = p.now;
    // Nobody answers ARP there: the host is unreachable for the moment, which udp(7) keeps to itself.
    p.stacks[A].connect(id, Some("10.0.0.77:9".parse().unwrap()), now).unwrap();
    p.send_to(A, id, "10.0.0.77:9".parse().unwrap(), b"?").unwrap();
    p.run(Duration::from_secs(5));
    assert_eq!(p.stacks[A].stats().icmp_in_msgs, 1);
    assert_eq!(p.recv_from(A, id), Err(NetError::WouldBlock));
}
