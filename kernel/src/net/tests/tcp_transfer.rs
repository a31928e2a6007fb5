//! Connections that work: handshakes, data both ways, offloads, faults on the link, many flows.

use super::pair::*;
use crate::net::*;
use crate::time::Instant;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;
use std::vec::Vec;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_handshake_makes_both_ends_ready() {
    let mut p = Pair::plain();
    let listener = p.listen(B, 80, 1);
    assert_eq!(p.stacks[B].accept(listener).unwrap_err(), NetError::WouldBlock);
    let client = p.connect(A, addr(B, 80));
    assert_eq!(p.ready(A, client), Readiness::empty());
    let now = p.now;
    assert_eq!(p.stacks[A].connect(client, Some(addr(B, 80)), now), Err(NetError::AlreadyInProgress));
    p.run(SECOND / 100);
    assert_eq!(p.ready(A, client), Readiness::OUT);
    assert_eq!(p.ready(B, listener), Readiness::IN);
    let now = p.now;
    assert_eq!(p.stacks[A].connect(client, Some(addr(B, 80)), now), Ok(()));
    assert_eq!(p.stacks[A].connect(client, Some(addr(B, 80)), now), Err(NetError::AlreadyConnected));
    let (server, peer) = p.stacks[B].accept(listener).unwrap();
    assert_eq!(p.stacks[A].local_addr(client), Ok(peer));
    assert_eq!(p.stacks[A].peer_addr(client), Ok(addr(B, 80)));
    assert_eq!(p.stacks[B].local_addr(server), Ok(addr(B, 80)));
    assert_eq!(p.ready(B, server), Readiness::OUT);
}

#[test]
fn bytes_arrive_as_sent_whatever_the_devices_do() {
    for (a, b, cuts) in [(NONE, NONE, false), (full(), full(), false), (full(), NONE, true), (NONE, full(), false)] {
        let mut p = Pair::new(a, b);
        p.cut = cuts;
        let (client, server) = p.established();
        p.transfer((A, client), (B, server), 5_000_000, SECOND * 10);
        p.transfer((B, server), (A, client), 3_000_000, SECOND * 10);
    }
}

#[test]
fn offloads_send_whole_segments_of_64_kb() {
    let mut p = Pair::new(full(), full());
    let (client, server) = p.established();
    p.transfer((A, client), (B, server), 500_000, SECOND);
    p.sent = [0; 2];
    p.transfer((A, client), (B, server), 10_000_000, SECOND * 10);
    assert!(p.sent[A] < 10_000_000 / 40_000, "{} frames for 10 MB", p.sent[A]);
}

#[test]
fn loss_duplication_and_reordering_are_repaired() {
    for seed_faults in [
        Faults { loss: 20, ..Faults::default() },
        Faults { duplicate: 50, ..Faults::default() },
        Faults { reorder: 100, ..Faults::default() },
        Faults { loss: 10, duplicate: 20, reorder: 50 },
    ] {
        for offloads in [NONE, full()] {
            let mut p = Pair::new(offloads, offloads);
            p.cut = true;
            let (client, server) = p.established();
            p.faults = seed_faults;
            p.transfer((A, client), (B, server), 400_000, SECOND * 3000);
            p.transfer((B, server), (A, client), 400_000, SECOND * 3000);
        }
    }
}

#[test]
fn a_full_device_holds_segments_back_and_loses_none() {
    let mut p = Pair::plain();
    let (client, server) = p.established();
    p.room = 3;
    // A device that is full says when it has room; here it has at every step.
    let step = Duration::from_micros(10);
    let (mut sent, mut got, total) = (0, 0, 300_000);
    while got < total {
        if sent < total {
            sent += p.write(A, client, &[7; 5000]).unwrap_or(0);
        }
        p.run(step);
        got += p.read(B, server).map_or(0, |d| d.len());
        assert!(p.now < Instant(60_000_000_000));
    }
    assert_eq!(p.stacks[A].tcp_info(client).unwrap().total_retrans, 0);
}

#[test]
fn loopback_carries_data_between_sockets_of_one_stack() {
    let mut p = Pair::plain();
    let listener = p.listen(A, 80, 5);
    for to in ["127.0.0.1:80", "10.0.0.1:80", "127.1.2.3:80"] {
        let client = p.connect(A, to.parse().unwrap());
        p.run(SECOND / 1000);
        let (server, peer) = p.stacks[A].accept(listener).unwrap();
        assert_eq!(p.stacks[A].local_addr(client), Ok(peer));
        p.transfer((A, client), (A, server), 3_000_000, SECOND * 10);
        p.transfer((A, server), (A, client), 3_000_000, SECOND * 10);
    }
    assert_eq!(p.sent, [0, 0]);
}

#[test]
fn a_zero_window_opens_again_even_when_the_update_is_lost() {
    let mut p = Pair::plain();
    let (client, server) = p.established();
    let mut sent = 0;
    for _ in 0..400 {
        sent += p.write(A, client, &[1; 10_000]).unwrap_or(0);
        p.run(SECOND / 1000);
    }
    assert_eq!(p.write(A, client, &[1; 10]), Err(NetError::WouldBlock));
    assert!(!p.ready(A, client).contains(Readiness::OUT));
    p.filter = std::boxed::Box::new(|host, _| host != B);
    let mut got = p.read(B, server).unwrap().len();
    p.run(SECOND / 1000);
    p.filter = std::boxed::Box::new(|_, _| true);
    p.until(SECOND * 120, |p| {
        got += p.read(B, server).map_or(0, |d| d.len());
        got == sent
    });
    p.run(SECOND);
    assert!(p.ready(A, client).contains(Readiness::OUT));
}

#[test]
fn small_answers_do_not_wait_for_delayed_acknowledgements() {
    let mut p = Pair::plain();
    let (client, server) = p.established();
    let start = p.now;
    // Write, write, read: with Nagle at one end and delayed acknowledgements at the other, 40 ms each on other stacks.
    for _ in 0..10 {
        p.write(A, client, b"head").unwrap();
        p.poll();
        p.write(A, client, b"body").unwrap();
        let mut got = 0;
        p.until(SECOND, |p| {
            got += p.read(B, server).map_or(0, |d| d.len());
            got == 8
        });
        p.write(B, server, b"ok").unwrap();
        p.until(SECOND, |p| p.read(A, client).is_ok());
    }
    assert!(p.now.saturating_since(start) < Duration::from_millis(150), "{:?}", p.now.saturating_since(start));
}

#[test]
fn request_and_response_take_one_packet_each() {
    let mut p = Pair::plain();
    let (client, server) = p.established();
    let round = |p: &mut Pair| {
        p.write(A, client, b"question").unwrap();
        p.until(SECOND, |p| p.read(B, server).is_ok());
        p.write(B, server, b"answer").unwrap();
        p.until(SECOND, |p| p.read(A, client).is_ok());
    };
    for _ in 0..5 {
        round(&mut p);
    }
    p.sent = [0; 2];
    for _ in 0..100 {
        round(&mut p);
    }
    assert_eq!(p.sent, [100, 100]);
}

#[test]
fn cork_and_more_hold_partial_segments_back() {
    let mut p = Pair::plain();
    let (client, server) = p.established();
    p.stacks[A].set_options(client, |o| o.cork = true).unwrap();
    p.write(A, client, &[1; 100]).unwrap();
    p.run(Duration::from_millis(100));
    assert_eq!(p.read(B, server), Err(NetError::WouldBlock));
    assert_eq!(p.stacks[A].tcp_queued(client).unwrap().1, 100);
    p.stacks[A].set_options(client, |o| o.cork = false).unwrap();
    p.run(Duration::from_millis(1));
    assert_eq!(p.read(B, server).unwrap().len(), 100);

    let now = p.now;
    p.stacks[A]
        .send(client, true, now, &mut |room| {
            room[..50].fill(2);
            50
        })
        .unwrap();
    p.run(Duration::from_millis(199));
    assert_eq!(p.read(B, server), Err(NetError::WouldBlock));
    p.run(Duration::from_millis(2));
    assert_eq!(p.read(B, server).unwrap().len(), 50);

    p.stacks[A].set_options(client, |o| o.cork = true).unwrap();
    p.write(A, client, &[3; 1460 * 2 + 10]).unwrap();
    p.run(Duration::from_millis(10));
    assert_eq!(p.read(B, server).unwrap().len(), 1460 * 2, "whole segments go at once");
    let now = p.now;
    p.stacks[A].shutdown(client, Shutdown::Write, now).unwrap();
    p.run(Duration::from_millis(10));
    assert_eq!(p.read(B, server).unwrap().len(), 10, "the rest goes with the FIN");
}

#[test]
fn peeking_leaves_the_bytes_and_sees_across_the_end_of_the_ring() {
    let mut p = Pair::plain();
    let (client, server) = p.established();
    p.stacks[B].set_options(server, |o| o.receive_low_water = 1).unwrap();
    let chunk: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    for _ in 0..4 {
        let mut sent = 0;
        p.until(SECOND * 10, |p| {
            sent += p.write(A, client, &chunk[sent..]).unwrap_or(0);
            p.stacks[B].tcp_queued(server).unwrap().0 == chunk.len()
        });
        let mut seen = Vec::new();
        p.stacks[B]
            .recv(server, true, &mut |bytes| {
                seen.extend_from_slice(bytes);
                bytes.len()
            })
            .unwrap();
        assert!(seen == chunk);
        assert!(p.read(B, server).unwrap() == chunk);
    }
}

#[test]
fn a_thousand_flows_work_side_by_side() {
    let mut p = Pair::plain();
    let listener = p.listen(B, 80, 4096);
    let clients: Vec<SocketId> = (0..1000)
        .map(|i| {
            if i % 100 == 0 {
                p.run(SECOND / 10);
            }
            p.connect(A, addr(B, 80))
        })
        .collect();
    let mut servers = Vec::new();
    p.until(SECOND * 30, |p| {
        while let Ok((id, _)) = p.stacks[B].accept(listener) {
            servers.push(id);
        }
        servers.len() == 1000
    });
    for (i, client) in clients.iter().enumerate() {
        p.write(A, *client, &(i as u32).to_be_bytes()).unwrap();
    }
    let mut numbers = HashSet::new();
    for server in servers {
        p.until(SECOND * 10, |p| p.ready(B, server).contains(Readiness::IN));
        let bytes = p.read(B, server).unwrap();
        numbers.insert(u32::from_be_bytes(bytes[..].try_into().unwrap()));
    }
    assert_eq!(numbers.len(), 1000);
}

#[test]
fn ports_and_sequence_numbers_are_unpredictable() {
    let mut p = Pair::plain();
    let syns = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let log = syns.clone();
    p.filter = std::boxed::Box::new(move |host, frame| {
        let tcp = frame.bytes.get(34..54);
        if let Some(tcp) = tcp.filter(|t| host == A && t[13] == 2 && frame.bytes[23] == 6) {
            let port = u16::from_be_bytes([tcp[0], tcp[1]]);
            log.borrow_mut().push((port, u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]])));
        }
        true
    });
    for _ in 0..50 {
        p.connect(A, addr(B, 9));
        p.run(SECOND / 100);
    }
    let syns = syns.borrow();
    assert_eq!(syns.len(), 50);
    let near = syns.windows(2).filter(|w| w[0].0.abs_diff(w[1].0) < 100 || w[0].1.abs_diff(w[1].1) < 1 << 20);
    assert!(near.count() < 5);
}

#[test]
fn events_name_each_socket_once_until_taken() {
    let mut p = Pair::plain();
    let (client, server) = p.established();
    p.events(A);
    p.events(B);
    p.write(A, client, b"one").unwrap();
    p.run(SECOND / 1000);
    p.write(A, client, b"two").unwrap();
    p.run(SECOND / 1000);
    assert_eq!(p.events(B), [(server, Readiness::IN | Readiness::OUT)]);
    assert_eq!(p.events(B), []);
    p.write(A, client, b"three").unwrap();
    p.run(SECOND / 1000);
    assert_eq!(p.events(B).len(), 1, "new data is an event though the socket was readable already");
}

#[test]
fn v4_mapped_sockets_listen_on_the_wildcard_for_ipv4() {
    let mut p = Pair::plain();
    let listener = p.stacks[B].socket(SocketKind::Tcp, Family::Inet6);
    let wildcard: SocketAddr = "[::]:5201".parse().unwrap();
    p.stacks[B].bind(listener, wildcard).unwrap();
    p.stacks[B].listen(listener, 5).unwrap();
    assert_eq!(p.stacks[B].local_addr(listener), Ok(wildcard));
    let client = p.stacks[A].socket(SocketKind::Tcp, Family::Inet6);
    let now = p.now;
    let to: SocketAddr = "[::ffff:10.0.0.2]:5201".parse().unwrap();
    assert_eq!(p.stacks[A].connect(client, Some(to), now), Err(NetError::InProgress));
    p.run(SECOND / 100);
    let (server, peer) = p.stacks[B].accept(listener).unwrap();
    assert!(matches!(peer, SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped() == Some(ip(A))));
    p.transfer((A, client), (B, server), 10_000, SECOND);
}

#[test]
fn buffers_and_segment_sizes_are_as_asked() {
    let mut p = Pair::plain();
    let listener = p.listen(B, 80, 5);
    let client = p.socket(A, SocketKind::Tcp);
    p.stacks[A].set_options(client, |o| (o.send_buffer, o.max_segment) = (Some(16384), Some(500))).unwrap();
    let largest = std::rc::Rc::new(std::cell::Cell::new(0));
    let seen = largest.clone();
    p.filter = std::boxed::Box::new(move |host, frame| {
        if host == A {
            seen.set(seen.get().max(frame.bytes.len()));
        }
        true
    });
    let now = p.now;
    let _in_progress = p.stacks[A].connect(client, Some(addr(B, 80)), now);
    p.run(SECOND / 100);
    let (server, _) = p.stacks[B].accept(listener).unwrap();
    assert_eq!(p.stacks[A].tcp_buffers(client).unwrap().0, 16384);
    p.transfer((A, client), (B, server), 100_000, SECOND * 10);
    assert_eq!(largest.get(), 14 + 40 + 500);
    let info = p.stacks[A].tcp_info(client).unwrap();
    assert_eq!((info.snd_mss, info.total_retrans), (500, 0));
    assert!(info.rtt >= Duration::from_micros(100) && info.rtt < Duration::from_millis(15), "{:?}", info.rtt);
}

#[test]
fn connections_have_buffers_for_what_is_under_way_to_a_known_host() {
    const KB: usize = 1024;
    for (latency, buffer) in [(10, 512 * KB), (50, 512 * KB), (90, 1024 * KB), (200, 2048 * KB), (20_000, 2048 * KB)] {
        let mut p = Pair::new(full(), full());
        p.latency = Duration::from_micros(latency);
        let (client, server) = p.established();
        assert_eq!(p.stacks[A].tcp_buffers(client), Ok((512 * KB, 512 * KB)), "nothing is known of the host");
        assert_eq!(p.stacks[B].tcp_buffers(server), Ok((512 * KB, 512 * KB)), "nothing is known of the host");
        // The first handshake waited for an address resolution: the next one is shorter, and counts.
        p.established();
        let (client, server) = p.established();
        assert_eq!(p.stacks[A].tcp_buffers(client), Ok((buffer, buffer)), "{latency} µs, client");
        assert_eq!(p.stacks[B].tcp_buffers(server), Ok((buffer, buffer)), "{latency} µs, server");
    }
}

/// A device that has no room for the first frames that it is offered.
struct Late {
    refused: usize,
    taken: usize,
}

impl FrameOut for Late {
    fn transmit(&mut self, _: IfIndex, _: netdrv::TxFrame<'_>) -> bool {
        let room = self.refused == 0;
        self.refused = self.refused.saturating_sub(1);
        self.taken += usize::from(room);
        room
    }
}

#[test]
fn a_flow_that_waited_for_its_device_is_due_however_late_there_is_room() {
    let mut p = Pair::plain();
    let (client, _) = p.established();
    let now = p.now;
    assert_eq!(p.write(A, client, &[7; 10_000]), Ok(10_000));
    let mut out = Late { refused: usize::MAX, taken: 0 };
    p.stacks[A].poll(now, &mut out);
    // A look at the device finds it full, the next one does not.
    let mut out = Late { refused: 1, taken: 0 };
    p.stacks[A].poll(now, &mut out);
    assert_eq!(out.taken, 0);
    assert!(p.stacks[A].has_work(now), "the flow would wait for ever");
    p.stacks[A].poll(now, &mut out);
    assert_eq!(out.taken, 1);
    assert!(p.stacks[A].next_deadline(now).is_none_or(|at| at > now), "it has been served");
}
