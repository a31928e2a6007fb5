//! Connections that end, or never begin: FIN and RST in every order, TIME-WAIT, backlogs, time-outs, ICMP.

use super::pair::*;
use crate::net::tcp::engine::TcpState;
use crate::net::*;
use crate::time::Instant;
use std::boxed::Box;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;
use std::vec::Vec;

const SECOND: Duration = Duration::from_secs(1);

fn close(p: &mut Pair, host: usize, id: SocketId) {
    let now = p.now;
    p.stacks[host].close(id, now);
}

fn shutdown(p: &mut Pair, host: usize, id: SocketId, how: Shutdown) {
    let now = p.now;
    p.stacks[host].shutdown(id, how, now).unwrap();
}

fn tuple(p: &Pair, host: usize, id: SocketId) -> FourTuple {
    let v4 = |a: SocketAddr| match a {
        SocketAddr::V4(v4) => v4,
        SocketAddr::V6(_) => panic!("{a}"),
    };
    let local: SocketAddrV4 = v4(p.stacks[host].local_addr(id).unwrap());
    FourTuple { local, remote: v4(p.stacks[host].peer_addr(id).unwrap()) }
}

fn connections(p: &Pair, host: usize) -> Vec<TcpState> {
    p.stacks[host].tcp_connections().map(|(_, state)| state).collect()
}

/// Collects the TCP flag bytes that a host sends.
fn watch_flags(p: &mut Pair, watched: usize) -> std::rc::Rc<std::cell::RefCell<Vec<u8>>> {
    let log = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let writer = log.clone();
    p.filter = Box::new(move |host, frame| {
        if host == watched && frame.bytes.get(23) == Some(&6) && frame.bytes[12..14] == [8, 0] {
            writer.borrow_mut().push(frame.bytes[47]);
        }
        true
    });
    log
}

const RST: u8 = 4;

#[test]
fn half_close_lets_the_other_direction_go_on() {
    let mut p = Pair::plain();
    let (client, server) = p.established();
    p.write(A, client, b"last words").unwrap();
    shutdown(&mut p, A, client, Shutdown::Write);
    assert_eq!(p.write(A, client, b"x"), Err(NetError::BrokenPipe));
    p.run(SECOND / 100);
    assert_eq!(p.ready(B, server), Readiness::IN | Readiness::RDHUP | Readiness::OUT);
    assert_eq!(p.read(B, server).unwrap(), b"last words");
    assert_eq!(p.read(B, server).unwrap(), b"");
    p.transfer((B, server), (A, client), 2_000_000, SECOND * 10);
    close(&mut p, B, server);
    p.run(SECOND / 100);
    assert_eq!(p.read(A, client).unwrap(), b"");
    assert!(p.ready(A, client).contains(Readiness::HUP | Readiness::RDHUP | Readiness::IN | Readiness::OUT));
    assert_eq!(connections(&p, B), []);
    assert_eq!(connections(&p, A), [TcpState::TimeWait]);
}

#[test]
fn simultaneous_close_leaves_both_in_time_wait_for_a_minute() {
    let mut p = Pair::plain();
    let (client, server) = p.established();
    close(&mut p, A, client);
    close(&mut p, B, server);
    p.run(SECOND);
    assert_eq!(connections(&p, A), [TcpState::TimeWait]);
    assert_eq!(connections(&p, B), [TcpState::TimeWait]);
    p.run(SECOND * 58);
    assert_eq!(connections(&p, A).len(), 1);
    p.run(SECOND * 2);
    assert_eq!((connections(&p, A), connections(&p, B)), (Vec::new(), Vec::new()));
}

#[test]
fn what_was_received_can_be_read_long_after_the_connection_is_over() {
    let mut p = Pair::plain();
    let (client, server) = p.established();
    shutdown(&mut p, A, client, Shutdown::Write);
    p.run(SECOND / 100);
    p.write(B, server, &[5; 1000]).unwrap();
    close(&mut p, B, server);
    p.run(SECOND * 300);
    assert_eq!(p.read(A, client).unwrap(), [5; 1000]);
    assert_eq!(p.read(A, client).unwrap(), b"");
    assert_eq!(p.stacks[A].take_error(client), Ok(None));
}

#[test]
fn a_port_nobody_listens_on_refuses() {
    let mut p = Pair::plain();
    let client = p.connect(A, addr(B, 9));
    p.run(SECOND / 100);
    let all = Readiness::ERR | Readiness::HUP | Readiness::RDHUP | Readiness::IN | Readiness::OUT;
    assert_eq!(p.ready(A, client), all);
    assert_eq!(p.stacks[A].take_error(client), Ok(Some(NetError::ConnectionRefused)));
    assert_eq!(p.stacks[A].take_error(client), Ok(None));
    // The socket can try again once the failure has been told.
    p.listen(B, 9, 1);
    let now = p.now;
    assert_eq!(p.stacks[A].connect(client, Some(addr(B, 9)), now), Err(NetError::ConnectionAborted));
    assert_eq!(p.stacks[A].connect(client, Some(addr(B, 9)), now), Err(NetError::InProgress));
    p.run(SECOND / 100);
    assert_eq!(p.stacks[A].connect(client, Some(addr(B, 9)), now), Ok(()));
}

#[test]
fn closing_with_unread_data_resets() {
    let mut p = Pair::plain();
    let (client, server) = p.established();
    p.write(A, client, b"never read").unwrap();
    p.run(SECOND / 100);
    let flags = watch_flags(&mut p, B);
    close(&mut p, B, server);
    p.run(SECOND / 100);
    assert!(flags.borrow().iter().any(|f| f & RST != 0));
    assert!(p.ready(A, client).contains(Readiness::ERR | Readiness::HUP));
    assert_eq!(p.read(A, client), Err(NetError::ConnectionReset));
    assert_eq!(p.read(A, client).unwrap(), b"");
    assert_eq!(p.write(A, client, b"x"), Err(NetError::BrokenPipe));
    assert_eq!((connections(&p, A), connections(&p, B)), (Vec::new(), Vec::new()));
}

#[test]
fn lingering_for_zero_seconds_resets() {
    let mut p = Pair::plain();
    let (client, server) = p.established();
    p.stacks[A].set_options(client, |o| o.linger = Some(Duration::ZERO)).unwrap();
    close(&mut p, A, client);
    p.run(SECOND / 100);
    assert_eq!(p.read(B, server), Err(NetError::ConnectionReset));
    assert_eq!((connections(&p, A), connections(&p, B)), (Vec::new(), Vec::new()));
}

#[test]
fn data_for_a_closed_socket_is_answered_with_a_reset() {
    let mut p = Pair::plain();
    let (client, server) = p.established();
    close(&mut p, A, client);
    p.run(SECOND / 100);
    assert_eq!(p.read(B, server).unwrap(), b"");
    p.write(B, server, b"too late").unwrap();
    p.run(SECOND / 100);
    assert_eq!(p.stacks[B].take_error(server), Ok(Some(NetError::BrokenPipe)));
    assert_eq!(connections(&p, A), []);
}

#[test]
fn data_sent_before_close_arrives_in_the_background() {
    let mut p = Pair::plain();
    let (client, server) = p.established();
    let sent = p.write(A, client, &[3; 400_000]).unwrap();
    close(&mut p, A, client);
    let mut got = 0;
    p.until(SECOND * 10, |p| match p.read(B, server) {
        Ok(data) if data.is_empty() => true,
        Ok(data) => {
            got += data.len();
            false
        }
        Err(_) => false,
    });
    assert_eq!(got, sent);
}

#[test]
fn a_full_accept_queue_drops_syns_until_there_is_room() {
    let mut p = Pair::plain();
    let listener = p.listen(B, 80, 1);
    let clients: Vec<SocketId> = (0..5)
        .map(|_| {
            let id = p.connect(A, addr(B, 80));
            p.run(SECOND / 100);
            id
        })
        .collect();
    let up = |p: &Pair| clients.iter().filter(|c| p.ready(A, **c).contains(Readiness::OUT)).count();
    assert_eq!(up(&p), 2, "backlog 1 lets two wait");
    assert_eq!(p.stacks[B].stats().listen_overflows, 3);
    let mut accepted = 0;
    p.until(SECOND * 60, |p| {
        accepted += usize::from(p.stacks[B].accept(listener).is_ok());
        accepted == 5
    });
    p.run(SECOND);
    assert_eq!(up(&p), 5);
}

#[test]
fn closing_a_listener_resets_what_nobody_accepted() {
    let mut p = Pair::plain();
    let listener = p.listen(B, 80, 5);
    let client = p.connect(A, addr(B, 80));
    p.run(SECOND / 100);
    close(&mut p, B, listener);
    p.run(SECOND / 100);
    assert_eq!(p.read(A, client), Err(NetError::ConnectionReset));
    assert_eq!(connections(&p, B), []);
    let again = p.connect(A, addr(B, 80));
    p.run(SECOND / 100);
    assert_eq!(p.stacks[A].take_error(again), Ok(Some(NetError::ConnectionRefused)));
}

#[test]
fn a_half_open_handshake_is_given_up() {
    let mut p = Pair::plain();
    let listener = p.listen(B, 80, 5);
    p.connect(A, addr(B, 80));
    p.filter = Box::new(|host, frame| host != A || frame.bytes.get(47).is_none_or(|f| *f == 2) || frame.bytes[13] == 6);
    p.run(SECOND);
    assert_eq!(connections(&p, B), [TcpState::SynReceived]);
    p.filter = Box::new(|host, frame| host != A || frame.bytes[13] == 6);
    p.run(SECOND * 70);
    assert_eq!(connections(&p, B), []);
    assert_eq!(p.stacks[B].accept(listener).unwrap_err(), NetError::WouldBlock);
}

#[test]
fn a_silent_host_times_out() {
    let mut p = Pair::plain();
    p.stacks[A].set_neighbor(ETH, ip(B), MAC[B], NeighborState::Permanent, Instant(0)).unwrap();
    p.filter = Box::new(|_, _| false);
    let client = p.connect(A, addr(B, 80));
    p.run(SECOND * 120);
    assert_eq!(p.ready(A, client), Readiness::empty());
    p.run(SECOND * 10);
    assert_eq!(p.stacks[A].take_error(client), Ok(Some(NetError::TimedOut)));
    assert_eq!(connections(&p, A), []);
    assert!((6..=8).contains(&p.sent[A]), "{} SYNs in 127 s", p.sent[A]);
}

#[test]
fn user_timeout_ends_a_connection_that_gets_no_answer() {
    let mut p = Pair::plain();
    let (client, _server) = p.established();
    p.stacks[A].set_options(client, |o| o.user_timeout = Some(SECOND * 5)).unwrap();
    p.run(SECOND * 60);
    assert_eq!(connections(&p, A), [TcpState::Established], "idle is no reason");
    p.filter = Box::new(|_, _| false);
    p.write(A, client, b"hello?").unwrap();
    p.run(SECOND * 4);
    assert_eq!(p.stacks[A].take_error(client), Ok(None));
    p.run(SECOND * 3);
    assert_eq!(p.stacks[A].take_error(client), Ok(Some(NetError::TimedOut)));
}

#[test]
fn keepalive_finds_a_dead_peer_and_spares_a_living_one() {
    let mut p = Pair::plain();
    let (client, _server) = p.established();
    let set = |o: &mut SocketOptions| {
        o.keepalive = true;
        (o.keep_idle, o.keep_interval, o.keep_count) = (SECOND * 10, SECOND * 2, 3);
    };
    p.stacks[A].set_options(client, set).unwrap();
    p.sent = [0; 2];
    p.run(SECOND * 100);
    assert_eq!(p.stacks[A].take_error(client), Ok(None));
    assert!((8..=12).contains(&p.sent[B]), "{} answers", p.sent[B]);
    p.filter = Box::new(|_, _| false);
    p.sent = [0; 2];
    p.run(SECOND * 20);
    assert_eq!(p.stacks[A].take_error(client), Ok(Some(NetError::TimedOut)));
    assert!((3..=5).contains(&p.sent[A]), "{} probes and a reset", p.sent[A]);
}

#[test]
fn an_orphan_does_not_wait_for_a_fin_for_ever() {
    let mut p = Pair::plain();
    let (client, _server) = p.established();
    close(&mut p, A, client);
    p.run(SECOND * 30);
    assert_eq!(connections(&p, A), [TcpState::FinWait2]);
    p.run(SECOND * 40);
    assert_eq!(connections(&p, A), []);
}

#[test]
fn time_wait_answers_a_repeated_fin_and_makes_way_for_a_new_connection() {
    let mut p = Pair::plain();
    let listener = p.listen(B, 80, 5);
    let client = p.socket(A, SocketKind::Tcp);
    p.stacks[A].bind(client, addr(A, 5000)).unwrap();
    let now = p.now;
    let _in_progress = p.stacks[A].connect(client, Some(addr(B, 80)), now);
    p.run(SECOND / 100);
    let (server, _) = p.stacks[B].accept(listener).unwrap();
    let waiting = tuple(&p, B, server);
    // B closes first, so that B keeps the tuple.
    close(&mut p, B, server);
    p.run(SECOND / 100);
    close(&mut p, A, client);
    p.run(SECOND / 100);
    assert!(p.stacks[B].tcp_tuple_is_waiting(waiting));
    assert_eq!(connections(&p, A), []);
    // The same four numbers again, at once: the sequence number grows with the clock, so TIME-WAIT gives way.
    let again = p.socket(A, SocketKind::Tcp);
    p.stacks[A].bind(again, addr(A, 5000)).unwrap();
    let now = p.now;
    assert_eq!(p.stacks[A].connect(again, Some(addr(B, 80)), now), Err(NetError::InProgress));
    p.run(SECOND / 100);
    let (server, _) = p.stacks[B].accept(listener).unwrap();
    p.transfer((A, again), (B, server), 10_000, SECOND);
}

#[test]
fn a_lost_last_acknowledgement_is_sent_again_from_time_wait() {
    let mut p = Pair::plain();
    let (client, server) = p.established();
    close(&mut p, A, client);
    p.run(SECOND / 100);
    let mut lost = false;
    p.filter = Box::new(move |host, _| host != A || std::mem::replace(&mut lost, true));
    close(&mut p, B, server);
    p.run(SECOND / 100);
    assert_eq!(connections(&p, A), [TcpState::TimeWait]);
    assert_eq!(connections(&p, B), [TcpState::LastAck]);
    p.run(SECOND * 3);
    assert_eq!(connections(&p, B), []);
}

#[test]
fn binding_to_a_port_in_time_wait_needs_reuse() {
    let mut p = Pair::plain();
    let (client, server) = p.established();
    close(&mut p, B, server);
    p.run(SECOND / 100);
    close(&mut p, A, client);
    p.run(SECOND / 100);
    let id = p.socket(B, SocketKind::Tcp);
    assert_eq!(p.stacks[B].bind(id, addr(B, 80)), Err(NetError::AddrInUse));
    p.run(SECOND * 61);
    assert_eq!(p.stacks[B].bind(id, addr(B, 80)), Ok(()));
}

#[test]
fn ports_run_out_and_come_back() {
    let mut p = Pair::plain();
    p.stacks[A].set_port_range(40000, 40009).unwrap();
    p.listen(B, 80, 100);
    p.listen(B, 81, 100);
    let clients: Vec<SocketId> = (0..10).map(|_| p.connect(A, addr(B, 80))).collect();
    let one_more = p.socket(A, SocketKind::Tcp);
    let now = p.now;
    assert_eq!(p.stacks[A].connect(one_more, Some(addr(B, 80)), now), Err(NetError::AddrNotAvailable));
    assert_eq!(p.stacks[A].connect(one_more, Some(addr(B, 81)), now), Err(NetError::InProgress));
    for client in clients {
        p.stacks[A].set_options(client, |o| o.linger = Some(Duration::ZERO)).unwrap();
        close(&mut p, A, client);
    }
    p.run(SECOND / 100);
    p.connect(A, addr(B, 80));
}

#[test]
fn ports_of_loopback_in_time_wait_are_taken_again_when_the_others_are_used_up() {
    let mut p = Pair::plain();
    p.stacks[A].set_port_range(40000, 40003).unwrap();
    let to: SocketAddr = "127.0.0.1:80".parse().unwrap();
    let listener = p.listen(A, 80, 10);
    let round = |p: &mut Pair| {
        let client = p.connect(A, to);
        p.run(SECOND / 100);
        let (server, _) = p.stacks[A].accept(listener).unwrap();
        // The client ends it, and keeps the tuple.
        close(p, A, client);
        p.run(SECOND / 100);
        close(p, A, server);
        p.run(SECOND / 100);
    };
    for _ in 0..4 {
        round(&mut p);
    }
    let early = p.socket(A, SocketKind::Tcp);
    let now = p.now;
    assert_eq!(p.stacks[A].connect(early, Some(to), now), Err(NetError::AddrNotAvailable));
    p.run(SECOND);
    for _ in 0..4 {
        round(&mut p);
    }
}

#[test]
fn many_connections_have_smaller_buffers() {
    let mut p = Pair::plain();
    p.listen(B, 80, 4096);
    let size = |p: &Pair, id| p.stacks[A].tcp_buffers(id).unwrap().0;
    let first = p.connect(A, addr(B, 80));
    let mut sizes: Vec<usize> = (0..600)
        .map(|_| {
            let id = p.connect(A, addr(B, 80));
            size(&p, id)
        })
        .collect();
    assert!(sizes.is_sorted_by(|a, b| a >= b));
    sizes.dedup();
    assert_eq!(sizes, [512 << 10, 128 << 10, 32 << 10]);
    assert_eq!(size(&p, first), 512 << 10, "what is there stays");
}

#[test]
fn addresses_that_cannot_be_reached_say_so_at_once() {
    let mut p = Pair::plain();
    let id = p.socket(A, SocketKind::Tcp);
    let now = p.now;
    let connect = |p: &mut Pair, to: &str| p.stacks[A].connect(id, Some(to.parse().unwrap()), now);
    assert_eq!(connect(&mut p, "192.0.2.1:80"), Err(NetError::NetUnreachable));
    assert_eq!(connect(&mut p, "10.0.0.255:80"), Err(NetError::NetUnreachable));
    assert_eq!(connect(&mut p, "224.0.0.1:80"), Err(NetError::NetUnreachable));
    assert_eq!(p.stacks[A].bind(id, "10.9.9.9:0".parse().unwrap()), Err(NetError::AddrNotAvailable));
    assert_eq!(p.read(A, id), Err(NetError::NotConnected));
    assert_eq!(p.write(A, id, b"x"), Err(NetError::BrokenPipe));
    assert_eq!(p.stacks[A].peer_addr(id), Err(NetError::NotConnected));
}

#[test]
fn a_neighbour_that_does_not_answer_is_an_unreachable_host() {
    let mut p = Pair::plain();
    let client = p.connect(A, "10.0.0.77:80".parse().unwrap());
    p.run(SECOND * 2);
    assert_eq!(p.stacks[A].take_error(client), Ok(None));
    p.run(SECOND * 2);
    assert_eq!(p.stacks[A].take_error(client), Ok(Some(NetError::HostUnreachable)));
    assert_eq!(connections(&p, A), []);
}

#[test]
fn a_smaller_path_mtu_is_taken_from_icmp() {
    let mut p = Pair::plain();
    let (client, server) = p.established();
    // A router in between takes packets of 1000 bytes and says so.
    let complaints = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let queue = complaints.clone();
    p.filter = Box::new(move |host, frame| {
        if host == A && frame.bytes.len() > 1014 {
            queue.borrow_mut().push(frame.bytes[14..].to_vec());
            return false;
        }
        true
    });
    p.write(A, client, &[9; 5000]).unwrap();
    p.poll();
    let packet = complaints.borrow_mut().pop().unwrap();
    let message = icmp_about(&packet, 3, 4, 1000);
    inject(&mut p, A, message);
    let mut got = 0;
    p.until(SECOND * 10, |p| {
        got += p.read(B, server).map_or(0, |d| d.len());
        got == 5000
    });
}

#[test]
fn closing_while_connecting_leaves_nothing_behind() {
    let mut p = Pair::plain();
    p.listen(B, 80, 5);
    let client = p.connect(A, addr(B, 80));
    p.poll();
    close(&mut p, A, client);
    p.run(SECOND);
    assert_eq!((connections(&p, A), connections(&p, B)), (Vec::new(), Vec::new()));
    assert_eq!(p.ready(A, client), Readiness::empty());
    assert_eq!(p.write(A, client, b"x"), Err(NetError::BadSocket));
}

/// An ICMP error about `packet` from B to A, as a frame.
pub fn icmp_about(packet: &[u8], kind: u8, code: u8, mtu: u16) -> Vec<u8> {
    let quoted = icmp::quoted_len(packet.len());
    let len = icmp::ICMP_HEADER + quoted;
    let mut frame = std::vec![0; 34 + len];
    let eth = link::EthernetHeader { dst: MAC[A], src: MAC[B], ethertype: link::ETHERTYPE_IPV4 };
    frame[..14].copy_from_slice(&eth.to_bytes());
    ipv4::Ipv4Header::new(ip(B), ip(A), ipv4::protocol::ICMP, len).write(&mut frame[14..]);
    icmp::write_error(&mut frame[34..], kind, code, mtu, &packet[..quoted]);
    frame
}

/// Hands a frame to a host as if it had come over the link.
pub fn inject(p: &mut Pair, host: usize, mut frame: Vec<u8>) {
    let now = p.now;
    p.stacks[host].handle_frame(ETH, netdrv::FrameMeta::default(), &mut frame, now);
}
