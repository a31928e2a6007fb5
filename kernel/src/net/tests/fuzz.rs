//! Whatever arrives, the stack neither panics nor spins, and goes on working.

use super::pair::*;
use super::tcp_endings::inject;
use crate::net::random::Rng;
use crate::net::*;
use netdrv::{Checksum, FrameMeta};
use std::boxed::Box;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use std::vec::Vec;

const SECOND: Duration = Duration::from_secs(1);

/// A frame and the host it was for.
type Caught = (usize, Vec<u8>);

/// Makes the checksums of a mutated frame right again, so that the mutation gets past them.
fn repair(frame: &mut [u8]) {
    if frame.len() < 34 {
        return;
    }
    let header_len = usize::from(frame[14] & 15) * 4;
    if header_len == 20 {
        let ip: &mut [u8; 20] = (&mut frame[14..34]).try_into().unwrap();
        ipv4::fill_checksum(ip);
    }
    if frame[23] == 1 && frame.len() >= 42 {
        icmp::fill_checksum(&mut frame[34..]);
    }
}

fn trusted() -> FrameMeta {
    FrameMeta { checksum: Checksum::Valid, gso: None }
}

/// Whether the stacks can still move data.
fn assert_alive(p: &mut Pair) {
    p.filter = Box::new(|_, _| true);
    p.stacks[A].flush_neighbors(|_, _| true);
    p.stacks[B].flush_neighbors(|_, _| true);
    while p.stacks[B].next_event().is_some() {}
    let listener = p.listen(B, 8080, 5);
    let client = p.connect(A, addr(B, 8080));
    let mut server = None;
    p.until(SECOND * 60, |p| {
        server = server.or(p.stacks[B].accept(listener).ok().map(|(id, _)| id));
        server.is_some()
    });
    p.transfer((A, client), (B, server.unwrap()), 50_000, SECOND * 60);
}

#[test]
fn random_bytes_do_no_harm() {
    let mut p = Pair::plain();
    let mut rng = Rng::new([5; 16]);
    p.listen(B, 80, 5);
    for round in 0..60_000u32 {
        let len = rng.below(if round % 50 == 0 { 3000 } else { 120 }) as usize;
        let mut frame: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
        if round % 2 == 0 && len >= 14 {
            frame[0..6].copy_from_slice(&MAC[B].0);
            let kind = if rng.below(4) == 0 { link::ETHERTYPE_ARP } else { link::ETHERTYPE_IPV4 };
            frame[12..14].copy_from_slice(&kind.to_be_bytes());
        }
        if round % 4 == 0 && len >= 40 {
            let protocol = [1, 6, 17, 2][rng.below(4) as usize];
            let mut header = ipv4::Ipv4Header::new(ip(A), ip(B), protocol, len - 34);
            if rng.below(4) == 0 {
                header.fragment_offset = rng.below(8192) as usize * 8;
                header.more_fragments = rng.below(2) == 0;
                header.ident = rng.below(4) as u16;
            }
            header.write(&mut frame[14..]);
            repair(&mut frame);
        }
        let now = p.now;
        p.stacks[B].handle_frame(ETH, trusted(), &mut frame, now);
        if round % 64 == 0 {
            p.now = p.now + Duration::from_millis(u64::from(rng.below(500)));
            p.poll();
        }
    }
    assert_alive(&mut p);
}

#[test]
fn mutated_segments_of_living_connections_do_no_harm() {
    for seed in 0..12u8 {
        let mut rng = Rng::new([seed; 16]);
        let mut p = Pair::plain();
        let seen: Rc<RefCell<Vec<Caught>>> = Rc::default();
        let mut moved = 0;
        for _ in 0..40 {
            p.filter = Box::new(|_, _| true);
            let (client, server) = p.established();
            let log = seen.clone();
            p.filter = Box::new(move |host, frame| {
                let mut log = log.borrow_mut();
                if log.len() < 64 {
                    log.push((1 - host, frame.bytes.clone()));
                }
                true
            });
            for round in 0..150 {
                let _sent = p.write(A, client, &[round as u8; 700]);
                let _sent = p.write(B, server, &[round as u8; 300]);
                moved += p.read(A, client).map_or(0, |d| d.len());
                moved += if round % 7 == 0 { p.read(B, server).map_or(0, |d| d.len()) } else { 0 };
                let now = p.now;
                if round == 120 {
                    let _ended = p.stacks[A].shutdown(client, Shutdown::Write, now);
                }
                p.poll();
                let frames: Vec<Caught> = seen.borrow_mut().drain(..).collect();
                for (host, mut frame) in frames {
                    for _ in 0..1 + rng.below(3) {
                        mutate(&mut frame, &mut rng);
                    }
                    repair(&mut frame);
                    p.stacks[host].handle_frame(ETH, trusted(), &mut frame, now);
                }
                p.run(Duration::from_micros(u64::from(rng.below(2000))));
            }
            let now = p.now;
            p.stacks[A].close(client, now);
            p.stacks[B].close(server, now);
        }
        assert!(moved > 100_000, "only {moved} bytes between mutations: the connections die too early");
        assert_alive(&mut p);
    }
}

/// Changes a header field a little, or a lot.
fn mutate(frame: &mut Vec<u8>, rng: &mut Rng) {
    if frame.len() < 54 {
        return;
    }
    match rng.below(8) {
        // Sequence and acknowledgement numbers near their true values: the interesting places are the edges.
        0 | 1 => nudge(&mut frame[38..42], rng),
        2 | 3 => nudge(&mut frame[42..46], rng),
        // Flags; a reset or a SYN would often end the game early, so they are rare.
        4 => frame[47] = rng.next_u64() as u8 & if rng.below(40) == 0 { 0x3f } else { 0x39 },
        5 => frame[48..50].copy_from_slice(&(rng.next_u64() as u16 >> rng.below(16)).to_be_bytes()),
        6 => {
            let at = 14 + rng.below(frame.len() as u32 - 14) as usize;
            let at = if at == 47 { 48 } else { at };
            frame[at] = rng.next_u64() as u8;
        }
        _ => {
            let len = 54 + rng.below(frame.len() as u32 - 53) as usize;
            frame.truncate(len);
            let total = (len - 14) as u16;
            frame[16..18].copy_from_slice(&total.to_be_bytes());
        }
    }
}

fn nudge(field: &mut [u8], rng: &mut Rng) {
    let value = u32::from_be_bytes(field.try_into().unwrap());
    let by = match rng.below(4) {
        0 => 1,
        1 => rng.below(3000),
        2 => rng.below(1 << 20),
        _ => rng.next_u64() as u32,
    };
    let value = if rng.below(2) == 0 { value.wrapping_add(by) } else { value.wrapping_sub(by) };
    field.copy_from_slice(&value.to_be_bytes());
}

#[test]
fn icmp_errors_about_strangers_do_no_harm() {
    let mut p = Pair::plain();
    let mut rng = Rng::new([8; 16]);
    let (client, server) = p.established();
    for _ in 0..5000 {
        let mut packet: Vec<u8> = (0..60).map(|_| rng.next_u64() as u8).collect();
        ipv4::Ipv4Header::new(ip(A), ip(B), [1, 6, 17][rng.below(3) as usize], 40).write(&mut packet);
        let kind = [3, 4, 5, 11, 12][rng.below(5) as usize];
        let frame = super::tcp_endings::icmp_about(&packet, kind, rng.below(16) as u8, rng.next_u64() as u16);
        inject(&mut p, A, frame);
    }
    p.transfer((A, client), (B, server), 100_000, SECOND * 10);
}

#[test]
fn a_flood_of_syns_stays_within_bounds() {
    let mut p = Pair::plain();
    p.listen(B, 80, 4096);
    for i in 0..5000u32 {
        let mut frame = std::vec![0u8; 54];
        let eth = link::EthernetHeader { dst: MAC[B], src: MAC[A], ethertype: link::ETHERTYPE_IPV4 };
        frame[..14].copy_from_slice(&eth.to_bytes());
        let source = std::net::Ipv4Addr::from_bits(0x0a00_0000 | ((i & 0xff) + 3));
        ipv4::Ipv4Header::new(source, ip(B), 6, 20).write(&mut frame[14..]);
        frame[34..36].copy_from_slice(&(1024 + i as u16).to_be_bytes());
        frame[36..38].copy_from_slice(&80u16.to_be_bytes());
        (frame[46], frame[47]) = (0x50, 2);
        let now = p.now;
        p.stacks[B].handle_frame(ETH, trusted(), &mut frame, now);
        if i % 10 == 0 {
            p.poll();
        }
    }
    assert!(p.stacks[B].tcp_connections().count() <= 257);
    p.run(SECOND * 70);
    assert_eq!(p.stacks[B].tcp_connections().count(), 0);
}
