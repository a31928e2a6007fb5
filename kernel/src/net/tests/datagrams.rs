//! UDP, ping and raw sockets.

use super::pair::*;
use super::tcp_endings::inject;
use crate::net::*;
use crate::time::Instant;
use std::boxed::Box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use std::vec;
use std::vec::Vec;

const MS: Duration = Duration::from_millis(1);
const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn udp(p: &mut Pair, host: usize, port: u16) -> SocketId {
    let id = p.socket(host, SocketKind::Udp);
    p.stacks[host].bind(id, SocketAddr::new(ANY.into(), port)).unwrap();
    id
}

fn connect(p: &mut Pair, host: usize, id: SocketId, to: SocketAddr) {
    let now = p.now;
    p.stacks[host].connect(id, Some(to), now).unwrap();
}

#[test]
fn datagrams_keep_their_borders_and_their_sender() {
    for offloads in [NONE, full()] {
        let mut p = Pair::new(offloads, offloads);
        let server = udp(&mut p, B, 53);
        let client = p.socket(A, SocketKind::Udp);
        for data in [&b"one"[..], b"", b"three"] {
            assert_eq!(p.send_to(A, client, addr(B, 53), data), Ok(data.len()));
        }
        p.run(MS);
        assert_eq!(p.ready(B, server), Readiness::IN | Readiness::OUT);
        assert_eq!(p.stacks[B].next_datagram_len(server), Ok(Some(3)));
        let from = p.stacks[A].local_addr(client).unwrap().port();
        for data in [&b"one"[..], b"", b"three"] {
            assert_eq!(p.recv_from(B, server), Ok((data.to_vec(), addr(A, from))));
        }
        assert_eq!(p.recv_from(B, server), Err(NetError::WouldBlock));
        p.send_to(B, server, addr(A, from), b"answer").unwrap();
        p.run(MS);
        assert_eq!(p.recv_from(A, client).unwrap().0, b"answer");
    }
}

#[test]
fn large_datagrams_travel_in_fragments() {
    for (size, frames) in [(1472, 1), (1473, 2), (8000, 6), (65507, 45)] {
        let mut p = Pair::new(full(), full());
        p.stacks[A].set_neighbor(ETH, ip(B), MAC[B], NeighborState::Permanent, Instant(0)).unwrap();
        let server = udp(&mut p, B, 53);
        let client = p.socket(A, SocketKind::Udp);
        let data: Vec<u8> = (0..size).map(|i| (i * 7) as u8).collect();
        p.send_to(A, client, addr(B, 53), &data).unwrap();
        p.run(MS);
        assert_eq!(p.sent[A], frames, "{size} bytes");
        assert!(p.recv_from(B, server).unwrap().0 == data);
    }
    let mut p = Pair::plain();
    let client = p.socket(A, SocketKind::Udp);
    assert_eq!(p.send_to(A, client, addr(B, 53), &[0; 65508]), Err(NetError::MessageTooLong));
    p.stacks[A].set_options(client, |o| o.dont_fragment = true).unwrap();
    assert_eq!(p.send_to(A, client, addr(B, 53), &[0; 1473]), Err(NetError::MessageTooLong));
}

#[test]
fn a_lost_fragment_costs_the_datagram_and_nothing_else() {
    let mut p = Pair::plain();
    p.stacks[A].set_neighbor(ETH, ip(B), MAC[B], NeighborState::Permanent, Instant(0)).unwrap();
    let server = udp(&mut p, B, 53);
    let client = p.socket(A, SocketKind::Udp);
    let mut seen = 0;
    p.filter = Box::new(move |host, _| {
        seen += usize::from(host == A);
        seen != 2
    });
    p.send_to(A, client, addr(B, 53), &[1; 4000]).unwrap();
    p.send_to(A, client, addr(B, 53), &[2; 4000]).unwrap();
    p.run(MS);
    assert_eq!(p.recv_from(B, server).unwrap().0, [2; 4000]);
    assert_eq!(p.recv_from(B, server), Err(NetError::WouldBlock));
    // After half a minute the rest is given up, and the sender hears of it (time exceeded).
    p.filter = Box::new(|_, _| true);
    p.sent = [0; 2];
    p.run(Duration::from_secs(31));
    assert_eq!(p.stacks[B].stats().ip_reasm_fails, 1);
    assert_eq!(p.stacks[A].stats().icmp_in_msgs, 1);
}

#[test]
fn a_closed_port_is_reported_to_a_connected_socket_only() {
    let mut p = Pair::plain();
    let connected = p.socket(A, SocketKind::Udp);
    connect(&mut p, A, connected, addr(B, 9));
    let stray = p.socket(A, SocketKind::Udp);
    for id in [connected, stray] {
        p.send_to(A, id, addr(B, 9), b"anyone?").unwrap();
    }
    p.run(MS);
    assert!(p.ready(A, connected).contains(Readiness::ERR));
    assert_eq!(p.recv_from(A, connected), Err(NetError::ConnectionRefused));
    assert_eq!(p.recv_from(A, connected), Err(NetError::WouldBlock));
    assert_eq!(p.recv_from(A, stray), Err(NetError::WouldBlock));
    assert_eq!(p.stacks[B].stats().udp_no_ports, 2);
}

#[test]
fn connected_sockets_hear_their_peer_only_and_are_preferred() {
    let mut p = Pair::plain();
    let set = |p: &mut Pair, id| p.stacks[B].set_options(id, |o| o.reuse_addr = true).unwrap();
    let wild = p.socket(B, SocketKind::Udp);
    set(&mut p, wild);
    p.stacks[B].bind(wild, SocketAddr::new(ANY.into(), 53)).unwrap();
    let tied = p.socket(B, SocketKind::Udp);
    set(&mut p, tied);
    p.stacks[B].bind(tied, SocketAddr::new(ANY.into(), 53)).unwrap();
    connect(&mut p, B, tied, addr(A, 1000));
    let (friend, stranger) = (udp(&mut p, A, 1000), udp(&mut p, A, 1001));
    p.send_to(A, friend, addr(B, 53), b"friend").unwrap();
    p.send_to(A, stranger, addr(B, 53), b"stranger").unwrap();
    p.run(MS);
    assert_eq!(p.recv_from(B, tied).unwrap().0, b"friend");
    assert_eq!(p.recv_from(B, tied), Err(NetError::WouldBlock));
    assert_eq!(p.recv_from(B, wild).unwrap().0, b"stranger");
    let now = p.now;
    p.stacks[B].connect(tied, None, now).unwrap();
    assert_eq!(p.stacks[B].peer_addr(tied), Err(NetError::NotConnected));
}

#[test]
fn the_receive_buffer_bounds_what_waits() {
    let mut p = Pair::plain();
    let server = udp(&mut p, B, 53);
    p.stacks[B].set_options(server, |o| o.receive_buffer = Some(5000)).unwrap();
    let client = p.socket(A, SocketKind::Udp);
    for _ in 0..50 {
        p.send_to(A, client, addr(B, 53), &[0; 1000]).unwrap();
        p.run(MS);
    }
    let got = std::iter::from_fn(|| p.recv_from(B, server).ok()).count();
    assert_eq!(got, 6, "10,000 bytes with their bookkeeping");
    assert_eq!(p.stacks[B].stats().udp_rcvbuf_errors, 44);
}

#[test]
fn the_send_buffer_bounds_what_has_not_left() {
    let mut p = Pair::plain();
    p.stacks[A].set_neighbor(ETH, ip(B), MAC[B], NeighborState::Permanent, Instant(0)).unwrap();
    let client = p.socket(A, SocketKind::Udp);
    p.stacks[A].set_options(client, |o| o.send_buffer = Some(10_000)).unwrap();
    let sent = (0..50).take_while(|_| p.send_to(A, client, addr(B, 53), &[0; 1000]).is_ok()).count();
    assert_eq!(sent, 7);
    assert!(!p.ready(A, client).contains(Readiness::OUT));
    p.poll();
    assert!(p.ready(A, client).contains(Readiness::OUT));
    assert_eq!(p.events(A), [(client, Readiness::OUT)]);
}

#[test]
fn loopback_carries_the_largest_datagram_whole() {
    let mut p = Pair::plain();
    let server = udp(&mut p, A, 53);
    let client = p.socket(A, SocketKind::Udp);
    for to in ["127.0.0.1:53", "10.0.0.1:53", "0.0.0.0:53"] {
        p.send_to(A, client, to.parse().unwrap(), &vec![6; 65507]).unwrap();
        p.poll();
        assert_eq!(p.recv_from(A, server).unwrap().0.len(), 65507);
    }
    assert_eq!(p.sent[A], 0);
}

#[test]
fn broadcast_needs_permission_and_reaches_everyone() {
    let mut p = Pair::plain();
    let server = udp(&mut p, B, 67);
    let own = udp(&mut p, A, 67);
    let client = p.socket(A, SocketKind::Udp);
    let to: SocketAddr = "10.0.0.255:67".parse().unwrap();
    assert_eq!(p.send_to(A, client, to, b"hello"), Err(NetError::AccessDenied));
    p.stacks[A].set_options(client, |o| o.broadcast = true).unwrap();
    p.send_to(A, client, to, b"hello").unwrap();
    p.run(MS);
    assert_eq!(p.recv_from(B, server).unwrap().0, b"hello");
    assert_eq!(p.recv_from(A, own).unwrap().0, b"hello");
    assert_eq!(p.stacks[A].stats().icmp_in_msgs, 0, "nobody complains about a broadcast");
}

fn echo_request(sequence: u16, data: &[u8]) -> Vec<u8> {
    let mut message = vec![8, 0, 0, 0, 0x12, 0x34];
    message.extend_from_slice(&sequence.to_be_bytes());
    message.extend_from_slice(data);
    icmp::fill_checksum(&mut message);
    message
}

#[test]
fn ping_sockets_get_the_answers_to_their_own_requests() {
    let mut p = Pair::plain();
    let (one, two) = (p.socket(A, SocketKind::Ping), p.socket(A, SocketKind::Ping));
    p.send_to(A, one, addr(B, 0), &echo_request(1, b"first")).unwrap();
    p.send_to(A, two, addr(B, 0), &echo_request(2, &[9; 3000])).unwrap();
    p.run(MS);
    let (reply, from) = p.recv_from(A, one).unwrap();
    assert_eq!((reply[0], &reply[6..8], &reply[8..], from), (0, &[0, 1][..], &b"first"[..], addr(B, 0)));
    assert_eq!(p.recv_from(A, one), Err(NetError::WouldBlock));
    assert_eq!(p.recv_from(A, two).unwrap().0.len(), 3008);
    assert_eq!(p.send_to(A, one, addr(B, 0), &[0; 8]), Err(NetError::Invalid), "requests only");
    let to_self = p.socket(A, SocketKind::Ping);
    p.send_to(A, to_self, "127.0.0.1:0".parse().unwrap(), &echo_request(1, b"me")).unwrap();
    p.poll();
    assert_eq!(&p.recv_from(A, to_self).unwrap().0[8..], b"me");
}

#[test]
fn raw_icmp_sockets_see_whole_packets_and_errors() {
    let mut p = Pair::plain();
    let raw = p.socket(A, SocketKind::Raw(1));
    p.stacks[A].set_options(raw, |o| o.icmp_filter = !(1 | 1 << 3)).unwrap();
    p.send_to(A, raw, addr(B, 0), &echo_request(1, b"raw")).unwrap();
    p.run(MS);
    let (packet, from) = p.recv_from(A, raw).unwrap();
    assert_eq!((packet[0], packet[20], &packet[28..], from), (0x45, 0, &b"raw"[..], addr(B, 0)));
    assert_eq!(p.recv_from(A, raw), Err(NetError::WouldBlock));
    // A host that does not answer ARP: our own "host unreachable", as ping shows it.
    p.send_to(A, raw, "10.0.0.9:0".parse().unwrap(), &echo_request(2, b"?")).unwrap();
    p.run(Duration::from_secs(4));
    let (packet, from) = p.recv_from(A, raw).unwrap();
    assert_eq!((&packet[20..22], from), (&[3, 1][..], addr(A, 0)));
}

#[test]
fn bad_checksums_are_dropped() {
    for at in [40, 41, 45] {
        let mut p = Pair::plain();
        p.stacks[A].set_neighbor(ETH, ip(B), MAC[B], NeighborState::Permanent, Instant(0)).unwrap();
        let server = udp(&mut p, B, 53);
        let client = p.socket(A, SocketKind::Udp);
        let caught = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let log = caught.clone();
        p.filter = Box::new(move |_, frame| {
            log.borrow_mut().push(frame.bytes.clone());
            false
        });
        p.send_to(A, client, addr(B, 53), b"fragile").unwrap();
        p.poll();
        let good = caught.borrow_mut().pop().unwrap();
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        inject(&mut p, B, bad);
        assert_eq!(p.recv_from(B, server), Err(NetError::WouldBlock));
        inject(&mut p, B, good);
        assert_eq!(p.recv_from(B, server).unwrap().0, b"fragile");
    }
}

#[test]
fn a_copy_routine_that_comes_short_sends_nothing() {
    let mut p = Pair::plain();
    let client = p.socket(A, SocketKind::Udp);
    let now = p.now;
    let result = p.stacks[A].send_to(client, Some(addr(B, 53)), 100, now, &mut |_| 50);
    assert_eq!(result, Err(NetError::Fault));
    p.run(MS);
    assert_eq!(p.sent[A], 0);
}
