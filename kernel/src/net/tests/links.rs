//! ARP, routes and interface state seen from outside.

use super::pair::*;
use super::tcp_endings::inject;
use crate::net::link::{ArpOperation, ArpPacket, ETHERTYPE_ARP, ETHERTYPE_IPV4, EthernetHeader};
use crate::net::*;
use netdrv::MacAddr;
use std::boxed::Box;
use std::net::Ipv4Addr;
use std::time::Duration;
use std::vec::Vec;

const MS: Duration = Duration::from_millis(1);

fn arp(operation: ArpOperation, sender: (MacAddr, Ipv4Addr), target: (MacAddr, Ipv4Addr), dst: MacAddr) -> Vec<u8> {
    let eth = EthernetHeader { dst, src: sender.0, ethertype: ETHERTYPE_ARP };
    let packet =
        ArpPacket { operation, sender_mac: sender.0, sender: sender.1, target_mac: target.0, target: target.1 };
    [&eth.to_bytes()[..], &packet.to_bytes()[..]].concat()
}

#[test]
fn addresses_are_resolved_once_and_packets_wait_meanwhile() {
    let mut p = Pair::plain();
    let server = p.socket(B, SocketKind::Udp);
    p.stacks[B].bind(server, addr(B, 53)).unwrap();
    let client = p.socket(A, SocketKind::Udp);
    for i in 0..10 {
        p.send_to(A, client, addr(B, 53), &[i]).unwrap();
    }
    p.poll();
    assert_eq!(p.sent, [1, 0], "one request");
    p.run(MS);
    for i in 0..10 {
        assert_eq!(p.recv_from(B, server).unwrap().0, [i]);
    }
    assert_eq!(p.sent, [11, 1]);
    let entry = p.stacks[A].neighbors().next().unwrap();
    assert_eq!((entry.addr, entry.mac, entry.state), (ip(B), Some(MAC[B]), NeighborState::Reachable));
}

#[test]
fn requests_are_repeated_three_times_a_second_apart() {
    let mut p = Pair::plain();
    let times = std::rc::Rc::new(std::cell::RefCell::new(0));
    let count = times.clone();
    p.filter = Box::new(move |_, frame| {
        assert_eq!(frame.bytes[12..14], [8, 6]);
        *count.borrow_mut() += 1;
        false
    });
    let client = p.socket(A, SocketKind::Udp);
    p.send_to(A, client, addr(B, 53), b"x").unwrap();
    p.run(Duration::from_secs(10));
    assert_eq!(*times.borrow(), 3);
    assert_eq!(p.stacks[A].neighbors().next().unwrap().state, NeighborState::Failed);
    p.send_to(A, client, addr(B, 53), b"x").unwrap();
    p.run(MS);
    assert_eq!(*times.borrow(), 4, "a new use asks again");
}

#[test]
fn only_our_addresses_are_answered_for() {
    let mut p = Pair::plain();
    let zero = MacAddr([0; 6]);
    let ask = |target| arp(ArpOperation::Request, (MAC[B], ip(B)), (zero, target), MacAddr::BROADCAST);
    inject(&mut p, A, ask(Ipv4Addr::new(10, 0, 0, 99)));
    p.poll();
    assert_eq!(p.sent[A], 0);
    inject(&mut p, A, ask(ip(A)));
    p.poll();
    assert_eq!(p.sent[A], 1);
}

#[test]
fn nobody_talks_us_out_of_our_own_address() {
    let mut p = Pair::plain();
    let thief = MacAddr([6; 6]);
    inject(&mut p, A, arp(ArpOperation::Reply, (thief, ip(A)), (MAC[A], ip(A)), MAC[A]));
    inject(&mut p, A, arp(ArpOperation::Reply, (thief, ip(B)), (MAC[A], ip(A)), MAC[A]));
    assert_eq!(p.stacks[A].neighbors().count(), 0, "unasked replies make no entries");
}

#[test]
fn routes_lead_through_gateways_and_follow_addresses() {
    let mut p = Pair::plain();
    let far: std::net::SocketAddr = "192.0.2.1:53".parse().unwrap();
    let client = p.socket(A, SocketKind::Udp);
    assert_eq!(p.send_to(A, client, far, b"x"), Err(NetError::NetUnreachable));
    let default = Route {
        destination: Prefix::DEFAULT,
        gateway: Some(ip(B)),
        interface: ETH,
        metric: 0,
        source: None,
        protocol: RouteProtocol::Boot,
        kind: RouteKind::Unicast,
    };
    let off_link = Route { gateway: Some(Ipv4Addr::new(172, 16, 0, 1)), ..default.clone() };
    assert_eq!(p.stacks[A].add_route(off_link), Err(NetError::NetUnreachable));
    p.stacks[A].add_route(default.clone()).unwrap();
    assert_eq!(p.stacks[A].add_route(default), Err(NetError::Exists));
    let to_gateway = std::rc::Rc::new(std::cell::Cell::new(0));
    let count = to_gateway.clone();
    p.filter = Box::new(move |host, frame| {
        if host == A && frame.bytes[12..14] == ETHERTYPE_IPV4.to_be_bytes() {
            assert_eq!(frame.bytes[0..6], MAC[B].0);
            assert_eq!(frame.bytes[30..34], [192, 0, 2, 1]);
            count.set(count.get() + 1);
        }
        true
    });
    p.send_to(A, client, far, b"x").unwrap();
    p.run(MS);
    assert_eq!(to_gateway.get(), 1);
    p.stacks[A].remove_address(ETH, ip(A), 24).unwrap();
    assert_eq!(p.stacks[A].routes().count(), 0);
    assert_eq!(p.send_to(A, client, far, b"x"), Err(NetError::NetUnreachable));
}

#[test]
fn a_link_that_goes_down_and_up_keeps_its_address_and_route() {
    let mut p = Pair::plain();
    let (client, server) = p.established();
    p.stacks[A].set_interface_up(ETH, false).unwrap();
    assert_eq!(p.stacks[A].routes().count(), 0);
    p.write(A, client, b"while down").unwrap();
    p.run(MS * 10);
    p.stacks[A].set_interface_up(ETH, true).unwrap();
    p.until(Duration::from_secs(10), |p| p.read(B, server).is_ok_and(|d| d == b"while down"));
}

#[test]
fn frames_for_others_and_martians_are_dropped() {
    let mut p = Pair::plain();
    let server = p.socket(B, SocketKind::Udp);
    p.stacks[B].bind(server, "0.0.0.0:53".parse().unwrap()).unwrap();
    let frame = |dst_mac: MacAddr, src: [u8; 4], dst: [u8; 4]| {
        let mut bytes = std::vec![0u8; 14 + 20 + 8];
        let eth = EthernetHeader { dst: dst_mac, src: MAC[A], ethertype: ETHERTYPE_IPV4 };
        bytes[..14].copy_from_slice(&eth.to_bytes());
        ipv4::Ipv4Header::new(src.into(), dst.into(), 17, 8).write(&mut bytes[14..]);
        // A datagram without checksum (RFC 768).
        bytes[34..42].copy_from_slice(&[0, 7, 0, 53, 0, 8, 0, 0]);
        bytes
    };
    let (a, b) = (ip(A).octets(), ip(B).octets());
    for (mac, src, dst) in [
        (MacAddr([2, 0, 0, 0, 0, 9]), a, b),
        (MAC[B], a, [10, 0, 0, 3]),
        (MAC[B], [127, 0, 0, 1], b),
        (MAC[B], b, b),
        (MAC[B], a, [127, 0, 0, 1]),
        (MAC[B], [224, 0, 0, 1], b),
        (MAC[B], [255; 4], b),
        (MAC[B], [10, 0, 0, 255], b),
        (MacAddr::BROADCAST, a, b),
    ] {
        inject(&mut p, B, frame(mac, src, dst));
        assert_eq!(p.recv_from(B, server), Err(NetError::WouldBlock), "{mac} {src:?} {dst:?}");
    }
    inject(&mut p, B, frame(MAC[B], a, b));
    assert!(p.recv_from(B, server).is_ok());
}
