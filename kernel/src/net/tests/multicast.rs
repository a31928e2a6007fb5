//! Multicast groups: joined, reported, heard and left.

use super::pair::*;
use super::tcp_endings::inject;
use crate::net::ipv4::{Ipv4Header, protocol};
use crate::net::link::{ETHERTYPE_IPV4, EthernetHeader, multicast_mac};
use crate::net::*;
use std::boxed::Box;
use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use std::vec::Vec;

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
const MS: Duration = Duration::from_millis(10);
const QUERY: u8 = 0x11;
const REPORT: u8 = 0x16;
const LEAVE: u8 = 0x17;

fn to(port: u16) -> SocketAddr {
    SocketAddr::new(GROUP.into(), port)
}

fn udp(p: &mut Pair, host: usize, port: u16) -> SocketId {
    let id = p.socket(host, SocketKind::Udp);
    p.stacks[host].bind(id, SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)).unwrap();
    id
}

fn join(p: &mut Pair, host: usize, id: SocketId) -> Result<(), NetError> {
    let now = p.now;
    p.stacks[host].join_group(id, GROUP, Some(ETH), now)
}

/// Type, destination and group of the IGMP messages that B sends.
fn watch(p: &mut Pair) -> Rc<RefCell<Vec<(u8, Ipv4Addr, Ipv4Addr)>>> {
    let log: Rc<RefCell<Vec<_>>> = Rc::default();
    let writer = log.clone();
    p.filter = Box::new(move |host, frame| {
        let b = &frame.bytes;
        if host == B && b[23] == protocol::IGMP {
            // RFC 2236, section 2: "All IGMP messages described in this document are sent with IP TTL 1, and contain the
            // IP Router Alert option".
            assert_eq!((b[14], b[22], &b[34..38]), (0x46, 1, &[0x94, 4, 0, 0][..]));
            assert_eq!((checksum::of(&b[14..38]), checksum::of(&b[38..46])), (0, 0));
            let address = |at: usize| Ipv4Addr::from_octets(b[at..at + 4].try_into().unwrap());
            assert_eq!(b[..6], multicast_mac(address(30)).0);
            writer.borrow_mut().push((b[38], address(30), address(42)));
        }
        true
    });
    log
}

fn query(about: Ipv4Addr, tenths: u8) -> Vec<u8> {
    let all = Ipv4Addr::new(224, 0, 0, 1);
    let eth = EthernetHeader { dst: multicast_mac(all), src: MAC[A], ethertype: ETHERTYPE_IPV4 };
    let mut message = std::vec![QUERY, tenths, 0, 0];
    message.extend(about.octets());
    let sum = checksum::of(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    let mut bytes = eth.to_bytes().to_vec();
    bytes.resize(34, 0);
    Ipv4Header::new(ip(A), all, protocol::IGMP, message.len()).write(&mut bytes[14..]);
    bytes.extend(message);
    bytes
}

#[test]
fn members_hear_a_group_and_others_do_not() {
    let mut p = Pair::plain();
    let client = p.socket(A, SocketKind::Udp);
    let (member, guest) = (udp(&mut p, B, 53), udp(&mut p, B, 54));
    p.send_to(A, client, to(53), b"nobody").unwrap();
    p.run(MS);
    assert_eq!(p.recv_from(B, member), Err(NetError::WouldBlock));
    join(&mut p, B, member).unwrap();
    for port in [53, 54] {
        p.send_to(A, client, to(port), b"group").unwrap();
    }
    p.run(MS);
    assert_eq!(p.recv_from(B, member).unwrap().0, b"group");
    assert_eq!(p.recv_from(B, guest).unwrap().0, b"group");
    p.stacks[B].set_options(guest, |o| o.multicast_all = false).unwrap();
    p.send_to(A, client, to(54), b"group").unwrap();
    p.run(MS);
    assert_eq!(p.recv_from(B, guest), Err(NetError::WouldBlock));
    let now = p.now;
    p.stacks[B].close(member, now);
    p.send_to(A, client, to(53), b"late").unwrap();
    let late = udp(&mut p, B, 53);
    p.run(MS);
    assert_eq!(p.recv_from(B, late), Err(NetError::WouldBlock));
}

#[test]
fn what_is_sent_from_here_comes_back_to_members_unless_unwanted() {
    let mut p = Pair::plain();
    let id = udp(&mut p, B, 53);
    p.send_to(B, id, to(53), b"alone").unwrap();
    join(&mut p, B, id).unwrap();
    p.send_to(B, id, to(53), b"echo").unwrap();
    p.stacks[B].set_options(id, |o| o.multicast_loop = false).unwrap();
    p.send_to(B, id, to(53), b"silent").unwrap();
    p.run(MS);
    assert_eq!(p.recv_from(B, id).unwrap().0, b"echo");
    assert_eq!(p.recv_from(B, id), Err(NetError::WouldBlock));
}

#[test]
fn membership_is_reported_twice_on_demand_and_at_its_end() {
    let mut p = Pair::plain();
    let log = watch(&mut p);
    let report = (REPORT, GROUP, GROUP);
    let (first, second) = (udp(&mut p, B, 53), udp(&mut p, B, 54));
    join(&mut p, B, first).unwrap();
    join(&mut p, B, second).unwrap();
    p.run(Duration::from_secs(11));
    assert_eq!(log.take(), [report, report]);
    p.run(Duration::from_secs(100));
    assert_eq!(log.take(), []);
    for about in [Ipv4Addr::UNSPECIFIED, GROUP, Ipv4Addr::new(239, 9, 9, 9)] {
        inject(&mut p, B, query(about, 10));
        p.run(Duration::from_secs(2));
    }
    assert_eq!(log.take(), [report, report]);
    p.stacks[B].leave_group(first, GROUP, Some(ETH)).unwrap();
    p.run(MS);
    assert_eq!(log.take(), []);
    let now = p.now;
    p.stacks[B].close(second, now);
    p.run(MS);
    assert_eq!(log.take(), [(LEAVE, ROUTERS, GROUP)]);
}

#[test]
fn mistakes_are_told_apart() {
    let mut p = Pair::plain();
    let id = udp(&mut p, B, 53);
    let now = p.now;
    let stack = &mut p.stacks[B];
    assert_eq!(stack.join_group(id, ip(A), Some(ETH), now), Err(NetError::Invalid));
    assert_eq!(stack.join_group(id, GROUP, Some(IfIndex(9)), now), Err(NetError::NoDevice));
    assert_eq!(stack.leave_group(id, GROUP, Some(ETH)), Err(NetError::AddrNotAvailable));
    assert_eq!(stack.join_group(id, GROUP, None, now), Ok(()));
    assert_eq!(stack.join_group(id, GROUP, Some(ETH), now), Err(NetError::AddrInUse));
    for i in 1..20 {
        assert_eq!(stack.join_group(id, Ipv4Addr::new(239, 0, 0, i), None, now), Ok(()));
    }
    assert_eq!(stack.join_group(id, Ipv4Addr::new(239, 0, 0, 20), None, now), Err(NetError::NoBuffers));
}
