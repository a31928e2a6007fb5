//! The test bench: two stacks joined by a link that can lose, repeat, reorder and cut frames, in virtual time.

use crate::net::random::Rng;
use crate::net::*;
use crate::time::Instant;
use netdrv::{Checksum, FrameMeta, MacAddr, Offloads, TxFrame};
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use std::vec;
use std::vec::Vec;

pub const A: usize = 0;
pub const B: usize = 1;
pub const ETH: IfIndex = IfIndex(2);
pub const MAC: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])];

pub const NONE: Offloads = Offloads::empty();
pub fn full() -> Offloads {
    Offloads::TX_CSUM | Offloads::TX_TSO4 | Offloads::RX_CSUM | Offloads::RX_TSO4
}

/// What the link does to frames, in per mille.
#[derive(Copy, Clone, Default)]
pub struct Faults {
    pub loss: u32,
    pub duplicate: u32,
    pub reorder: u32,
}

pub struct Frame {
    pub meta: FrameMeta,
    pub bytes: Vec<u8>,
}

/// Collects what a stack transmits; takes `room` frames before it is full.
pub struct Collector {
    pub frames: Vec<Frame>,
    pub room: usize,
}

impl FrameOut for Collector {
    fn transmit(&mut self, interface: IfIndex, frame: TxFrame<'_>) -> bool {
        assert_eq!(interface, ETH);
        if self.frames.len() >= self.room {
            return false;
        }
        self.frames.push(Frame { meta: frame.meta, bytes: frame.parts.concat() });
        true
    }
}

/// Sees the sender and the frame.
pub type Filter = std::boxed::Box<dyn FnMut(usize, &Frame) -> bool>;

pub struct Pair {
    pub stacks: [NetStack; 2],
    pub now: Instant,
    pub latency: Duration,
    pub faults: Faults,
    /// The link cuts and finishes offloaded frames, as a device in front of a plain wire does.
    pub cut: bool,
    /// Frames a device takes in one poll.
    pub room: usize,
    /// Called with each frame that leaves; false drops it.
    pub filter: Filter,
    pub sent: [u64; 2],
    flying: VecDeque<(Instant, usize, Frame)>,
    rng: Rng,
}

pub fn ip(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 1 + host as u8)
}

pub fn addr(host: usize, port: u16) -> SocketAddr {
    SocketAddr::new(ip(host).into(), port)
}

pub fn stack(host: usize, offloads: Offloads, mtu: u32) -> NetStack {
    let mut stack = NetStack::new(NetConfig { seed: [host as u8 + 1; 16] });
    let link = LinkInfo { kind: LinkKind::Ethernet, mac: MAC[host], mtu, offloads };
    assert_eq!(stack.add_interface("eth0", &link), Ok(ETH));
    stack.add_address(ETH, ip(host), 24, None, None).unwrap();
    stack.set_interface_up(ETH, true).unwrap();
    stack
}

impl Pair {
    pub fn new(a: Offloads, b: Offloads) -> Pair {
        Pair {
            stacks: [stack(A, a, 1500), stack(B, b, 1500)],
            now: Instant(1_000_000_000),
            latency: Duration::from_micros(50),
            faults: Faults::default(),
            cut: false,
            room: usize::MAX,
            filter: std::boxed::Box::new(|_, _| true),
            sent: [0; 2],
            flying: VecDeque::new(),
            rng: Rng::new([9; 16]),
        }
    }

    pub fn plain() -> Pair {
        Pair::new(NONE, NONE)
    }

    /// Lets both stacks do what they can at this moment.
    pub fn poll(&mut self) {
        for host in [A, B] {
            let mut out = Collector { frames: Vec::new(), room: self.room };
            self.stacks[host].poll(self.now, &mut out);
            for frame in out.frames {
                self.check(host, &frame);
                self.sent[host] += 1;
                if !(self.filter)(host, &frame) {
                    continue;
                }
                let pieces = if self.cut { cut(frame) } else { vec![frame] };
                for piece in pieces {
                    self.launch(host, piece);
                }
            }
        }
    }

    fn check(&self, host: usize, frame: &Frame) {
        let interface = self.stacks[host].interface(ETH).unwrap();
        if !interface.offloads.contains(Offloads::TX_CSUM) {
            assert_eq!(frame.meta, FrameMeta::default(), "offloads that the device does not have");
        }
        if frame.meta.gso.is_none() {
            assert!(frame.bytes.len() <= interface.mtu as usize + 14, "frame of {} bytes", frame.bytes.len());
        }
    }

    fn launch(&mut self, from: usize, frame: Frame) {
        let dice = |rng: &mut Rng, per_mille: u32| rng.below(1000) < per_mille;
        if dice(&mut self.rng, self.faults.loss) {
            return;
        }
        if dice(&mut self.rng, self.faults.duplicate) {
            let copy = Frame { meta: frame.meta, bytes: frame.bytes.clone() };
            self.fly(from, copy, self.latency);
        }
        let late = if dice(&mut self.rng, self.faults.reorder) { self.latency * 3 } else { self.latency };
        self.fly(from, frame, late);
    }

    fn fly(&mut self, from: usize, frame: Frame, latency: Duration) {
        let at = self.now + latency;
        let place = self.flying.partition_point(|(t, _, _)| *t <= at);
        self.flying.insert(place, (at, 1 - from, frame));
    }

    /// Goes to the next moment at which something happens; false when nothing will.
    pub fn step(&mut self) -> bool {
        self.poll();
        let arrival = self.flying.front().map(|(at, _, _)| *at);
        let deadlines = [A, B].map(|h| self.stacks[h].next_deadline(self.now));
        let Some(next) = deadlines.into_iter().chain([arrival]).flatten().min() else { return false };
        self.now = self.now.max(next);
        while self.flying.front().is_some_and(|(at, _, _)| *at <= self.now) {
            let (_, host, mut frame) = self.flying.pop_front().unwrap();
            self.stacks[host].handle_frame(ETH, frame.meta, &mut frame.bytes, self.now);
        }
        true
    }

    /// Runs for a span of virtual time.
    pub fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.poll();
            let arrival = self.flying.front().map(|(at, _, _)| *at);
            let deadlines = [A, B].map(|h| self.stacks[h].next_deadline(self.now));
            match deadlines.into_iter().chain([arrival]).flatten().min() {
                Some(next) if next <= end => assert!(self.step()),
                _ => break,
            }
        }
        self.now = end;
        self.poll();
    }

    /// Runs until `done`; panics when that takes more than `limit` of virtual time or ends before.
    pub fn until(&mut self, limit: Duration, mut done: impl FnMut(&mut Pair) -> bool) {
        let end = self.now + limit;
        let mut steps = 0u64;
        while !done(self) {
            steps += 1;
            assert!(steps < 20_000_000, "the stacks spin at {:?}", self.now);
            assert!(self.step(), "nothing more happens at {:?}", self.now);
            assert!(self.now <= end, "too late");
        }
    }

    pub fn socket(&mut self, host: usize, kind: SocketKind) -> SocketId {
        self.stacks[host].socket(kind, Family::Inet)
    }

    pub fn listen(&mut self, host: usize, port: u16, backlog: usize) -> SocketId {
        let id = self.socket(host, SocketKind::Tcp);
        self.stacks[host].set_options(id, |o| o.reuse_addr = true).unwrap();
        self.stacks[host].bind(id, SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)).unwrap();
        self.stacks[host].listen(id, backlog).unwrap();
        id
    }

    pub fn connect(&mut self, host: usize, to: SocketAddr) -> SocketId {
        let id = self.socket(host, SocketKind::Tcp);
        assert_eq!(self.stacks[host].connect(id, Some(to), self.now), Err(NetError::InProgress));
        id
    }

    /// An established connection from A to B: both sockets.
    pub fn established(&mut self) -> (SocketId, SocketId) {
        let listener = self.listen(B, 80, 5);
        let client = self.connect(A, addr(B, 80));
        let mut accepted = None;
        self.until(Duration::from_secs(30), |p| {
            if accepted.is_none() {
                accepted = p.stacks[B].accept(listener).ok();
            }
            accepted.is_some() && p.ready(A, client).contains(Readiness::OUT)
        });
        let now = self.now;
        self.stacks[B].close(listener, now);
        (client, accepted.unwrap().0)
    }

    pub fn ready(&self, host: usize, id: SocketId) -> Readiness {
        self.stacks[host].readiness(id)
    }

    /// What the stack has told of its sockets since the last time.
    pub fn events(&mut self, host: usize) -> Vec<(SocketId, Readiness)> {
        let ids: Vec<_> = std::iter::from_fn(|| self.stacks[host].next_event()).collect();
        ids.into_iter().map(|id| (id, self.ready(host, id))).collect()
    }

    pub fn write(&mut self, host: usize, id: SocketId, data: &[u8]) -> Result<usize, NetError> {
        let mut rest = data;
        self.stacks[host].send(id, false, self.now, &mut |room| {
            let n = room.len().min(rest.len());
            room[..n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            n
        })
    }

    pub fn read(&mut self, host: usize, id: SocketId) -> Result<Vec<u8>, NetError> {
        let mut data = Vec::new();
        self.stacks[host].recv(id, false, &mut |bytes| {
            data.extend_from_slice(bytes);
            bytes.len()
        })?;
        Ok(data)
    }

    /// Moves `len` bytes from one socket to the other and checks each.
    pub fn transfer(&mut self, from: (usize, SocketId), to: (usize, SocketId), len: usize, limit: Duration) {
        let data: Vec<u8> = (0..len as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
        let (mut sent, mut got) = (0, 0);
        self.until(limit, |p| {
            while sent < len {
                match p.write(from.0, from.1, &data[sent..]) {
                    Ok(n) => sent += n,
                    Err(NetError::WouldBlock) => break,
                    Err(error) => panic!("send: {error:?}"),
                }
            }
            match p.read(to.0, to.1) {
                Ok(bytes) => {
                    assert!(!bytes.is_empty(), "the end after {got} of {len} bytes");
                    assert!(bytes == data[got..got + bytes.len()], "wrong bytes after {got}");
                    got += bytes.len();
                }
                Err(NetError::WouldBlock) => {}
                Err(error) => panic!("recv: {error:?}"),
            }
            got == len
        });
    }

    pub fn send_to(&mut self, host: usize, id: SocketId, to: SocketAddr, data: &[u8]) -> Result<usize, NetError> {
        self.stacks[host].send_to(id, Some(to), data.len(), self.now, &mut |room| {
            room.copy_from_slice(data);
            room.len()
        })
    }

    pub fn recv_from(&mut self, host: usize, id: SocketId) -> Result<(Vec<u8>, SocketAddr), NetError> {
        let mut data = Vec::new();
        let info = self.stacks[host].receive_from(id, false, &mut |bytes| data.extend_from_slice(bytes))?;
        assert_eq!(info.len, data.len());
        Ok((data, info.from))
    }
}

/// What a device with offloads puts on a plain wire: segments of the asked size, checksums finished.
pub fn cut(frame: Frame) -> Vec<Frame> {
    use crate::net::checksum;
    let finish = |mut bytes: Vec<u8>, start: usize, offset: usize| {
        let sum = checksum::of(&bytes[start..]).to_be_bytes();
        bytes[start + offset..start + offset + 2].copy_from_slice(&sum);
        Frame { meta: FrameMeta::default(), bytes }
    };
    let Checksum::Partial { start, offset } = frame.meta.checksum else { return vec![frame] };
    let (start, offset) = (usize::from(start), usize::from(offset));
    let Some(gso) = frame.meta.gso else { return vec![finish(frame.bytes, start, offset)] };
    let header_len = usize::from(gso.header_len);
    let (header, payload) = frame.bytes.split_at(header_len);
    let chunks: Vec<&[u8]> = payload.chunks(usize::from(gso.size.get())).collect();
    let mut sent = 0u32;
    let mut frames = Vec::new();
    for (i, chunk) in chunks.iter().enumerate() {
        let mut bytes = [header, chunk].concat();
        let total = (bytes.len() - 14) as u16;
        bytes[16..18].copy_from_slice(&total.to_be_bytes());
        let ip: &mut [u8; 20] = (&mut bytes[14..34]).try_into().unwrap();
        ipv4::fill_checksum(ip);
        let seq = u32::from_be_bytes(bytes[start + 4..start + 8].try_into().unwrap()).wrapping_add(sent);
        bytes[start + 4..start + 8].copy_from_slice(&seq.to_be_bytes());
        if i + 1 < chunks.len() {
            bytes[start + 13] &= !0x09;
        }
        let pseudo = checksum::pseudo_header(
            Ipv4Addr::from_octets(bytes[26..30].try_into().unwrap()),
            Ipv4Addr::from_octets(bytes[30..34].try_into().unwrap()),
            6,
            bytes.len() - start,
        );
        bytes[start + offset..start + offset + 2].copy_from_slice(&checksum::fold(pseudo).to_be_bytes());
        frames.push(finish(bytes, start, offset));
        sent += chunk.len() as u32;
    }
    frames
}
