//! The first engine: one smoltcp `Interface` and socket per connection.
//!
//! smoltcp wants a device to send and receive through; [`Wire`] is that device for the length of one call: at most one
//! packet in, at most one packet out, straight from and to the caller's buffers. smoltcp's interface carries no state
//! of the connection (only link parameters and a random generator), so a new one per connection, or per change of MTU,
//! is cheap, while the socket with its two buffers is used again for later connections ([`EnginePool`]).
//!
//! The initial sequence number is ours (RFC 6528 wants it tied to the tuple and the clock, or a peer in TIME-WAIT
//! refuses the next connection): smoltcp draws it from a generator whose seed can be chosen, see [`seed_for`].
//!
//! A bare acknowledgement has SND.NXT as its sequence number (RFC 9293, section 3.10.7.4). When smoltcp's timer expires, it
//! goes back to the first byte that was not acknowledged, and so do its acknowledgements from then on. If that happens to
//! both ends at once, each drops the other's as outside of its window, and neither ever learns what has arrived. So the number
//! is kept here ([`SmoltcpEngine::set_sequence`]).

use super::engine::{Congestion, EngineConfig, Segment, TcpEngine, TcpState};
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::vec;
use core::num::NonZeroUsize;
use core::time::Duration;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, PacketMeta, RxToken, TxToken};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::time::{Duration as SmolDuration, Instant as SmolInstant};
use smoltcp::wire::{HardwareAddress, IpAddress, IpEndpoint, IpListenEndpoint};

/// Bytes of IPv4 and TCP headers without options.
const HEADERS: usize = 40;
/// Flags of a TCP header.
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;

/// A connection run by smoltcp.
pub struct SmoltcpEngine {
    iface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    config: EngineConfig,
    /// Behind the last byte that was ever sent: SND.NXT, as smoltcp would not go back.
    sent_up_to: Option<u32>,
}

impl SmoltcpEngine {
    fn socket(&self) -> &Socket<'static> {
        self.sockets.get(self.handle)
    }

    fn socket_mut(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    fn new(config: &EngineConfig, now: Instant) -> SmoltcpEngine {
        let rx = SocketBuffer::new(vec![0; config.receive_buffer]);
        let tx = SocketBuffer::new(vec![0; config.send_buffer]);
        let mut sockets = SocketSet::new(vec![]);
        let handle = sockets.add(Socket::new(rx, tx));
        let mut engine =
            SmoltcpEngine { iface: interface(config, now), sockets, handle, config: *config, sent_up_to: None };
        engine.apply_config();
        engine
    }

    /// Makes a finished connection's engine ready for a new one; the buffers keep their sizes.
    fn recycle(&mut self, config: &EngineConfig, now: Instant) {
        self.socket_mut().abort();
        self.iface = interface(config, now);
        self.config = *config;
        self.sent_up_to = None;
        self.apply_config();
    }

    /// Counts what a packet that leaves has sent, and gives a bare acknowledgement its sequence number.
    fn set_sequence(&mut self, packet: &mut [u8]) {
        let Some(header) = packet.first().map(|first| usize::from(first & 15) * 4) else { return };
        let Some(tcp) = packet.get_mut(header..).filter(|tcp| tcp.len() >= 20) else { return };
        let payload = tcp.len().saturating_sub(usize::from(tcp[12] >> 4) * 4) as u32;
        let (sequence, flags) = (u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]), tcp[13]);
        let len = payload + u32::from(flags & FIN != 0) + u32::from(flags & SYN != 0);
        let end = sequence.wrapping_add(len);
        match self.sent_up_to {
            _ if flags & RST != 0 => {}
            Some(sent) if len == 0 => tcp[4..8].copy_from_slice(&sent.to_be_bytes()),
            // Numbers wrap: what is less than half of them ahead is later.
            Some(sent) if end.wrapping_sub(sent).cast_signed() <= 0 => {}
            _ => self.sent_up_to = Some(end),
        }
    }

    fn apply_config(&mut self) {
        let config = self.config;
        let socket = self.socket_mut();
        socket.set_nagle_enabled(config.nagle);
        socket.set_ack_delay(None);
        socket.set_keep_alive(None);
        socket.set_timeout(None);
        socket.set_congestion_control(congestion(config.congestion));
    }

    fn start_connect(&mut self) {
        let tuple = self.config.tuple;
        let socket: &mut Socket = self.sockets.get_mut(self.handle);
        let local = IpListenEndpoint { addr: Some(IpAddress::Ipv4(*tuple.local.ip())), port: tuple.local.port() };
        let remote = IpEndpoint::new(IpAddress::Ipv4(*tuple.remote.ip()), tuple.remote.port());
        // Fails only for port 0 and unspecified addresses, which the stack never asks for.
        let _refused = socket.connect(self.iface.context(), remote, local);
    }

    fn start_accept(&mut self, syn: &[u8], now: Instant) -> bool {
        let local = self.config.tuple.local;
        let endpoint = IpListenEndpoint { addr: Some(IpAddress::Ipv4(*local.ip())), port: local.port() };
        if self.socket_mut().listen(endpoint).is_err() {
            return false;
        }
        let _no_answer = self.handle_segment(syn, &mut [0; 128], now);
        self.state() == TcpState::SynReceived
    }
}

impl TcpEngine for SmoltcpEngine {
    fn connect(config: &EngineConfig, now: Instant) -> Self {
        let mut engine = SmoltcpEngine::new(config, now);
        engine.start_connect();
        engine
    }

    fn accept(config: &EngineConfig, syn: &[u8], now: Instant) -> Option<Self> {
        let mut engine = SmoltcpEngine::new(config, now);
        engine.start_accept(syn, now).then_some(engine)
    }

    fn handle_segment(&mut self, packet: &[u8], reply: &mut [u8], now: Instant) -> Option<Segment> {
        let mut wire = Wire { config: &self.config, rx: Some(packet), tx: &mut *reply, sent: None };
        self.iface.poll_ingress_single(smol(now), &mut wire, &mut self.sockets);
        let sent = wire.sent?;
        self.set_sequence(&mut reply[..sent.len]);
        Some(sent)
    }

    fn poll_transmit(&mut self, buf: &mut [u8], now: Instant) -> Option<Segment> {
        let mut wire = Wire { config: &self.config, rx: None, tx: &mut *buf, sent: None };
        self.iface.poll_egress(smol(now), &mut wire, &mut self.sockets);
        let sent = wire.sent?;
        self.set_sequence(&mut buf[..sent.len]);
        Some(sent)
    }

    fn next_deadline(&mut self, now: Instant) -> Option<Instant> {
        let at = self.iface.poll_at(smol(now), &self.sockets)?;
        Some(Instant(u64::try_from(at.total_micros()).unwrap_or(0).saturating_mul(1000)))
    }

    fn state(&self) -> TcpState {
        match self.socket().state() {
            State::Closed => TcpState::Closed,
            State::Listen => TcpState::Listen,
            State::SynSent => TcpState::SynSent,
            State::SynReceived => TcpState::SynReceived,
            State::Established => TcpState::Established,
            State::FinWait1 => TcpState::FinWait1,
            State::FinWait2 => TcpState::FinWait2,
            State::CloseWait => TcpState::CloseWait,
            State::Closing => TcpState::Closing,
            State::LastAck => TcpState::LastAck,
            State::TimeWait => TcpState::TimeWait,
        }
    }

    fn send(&mut self, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> usize {
        let write = |space: &mut [u8]| {
            let wrote = if space.is_empty() { 0 } else { fill(space).min(space.len()) };
            (wrote, wrote)
        };
        self.socket_mut().send(write).unwrap_or(0)
    }

    fn recv(&mut self, take: &mut dyn FnMut(&[u8]) -> usize) -> usize {
        let read = |data: &mut [u8]| {
            let took = if data.is_empty() { 0 } else { take(data).min(data.len()) };
            (took, took)
        };
        self.socket_mut().recv(read).unwrap_or(0)
    }

    fn peek(&mut self, max: usize) -> &[u8] {
        self.socket_mut().peek(max).unwrap_or(&[])
    }

    fn peek_copy(&mut self, into: &mut [u8]) -> usize {
        self.socket_mut().peek_slice(into).unwrap_or(0)
    }

    fn receive_queued(&self) -> usize {
        self.socket().recv_queue()
    }

    fn send_queued(&self) -> usize {
        self.socket().send_queue()
    }

    fn send_space(&self) -> usize {
        let socket = self.socket();
        socket.send_capacity() - socket.send_queue()
    }

    fn send_capacity(&self) -> usize {
        self.socket().send_capacity()
    }

    fn receive_capacity(&self) -> usize {
        self.socket().recv_capacity()
    }

    fn close(&mut self) {
        self.socket_mut().close();
    }

    fn abort(&mut self) {
        self.socket_mut().abort();
    }

    fn set_nagle(&mut self, on: bool) {
        self.config.nagle = on;
        self.socket_mut().set_nagle_enabled(on);
    }

    fn set_ack_delay(&mut self, delay: Option<Duration>) {
        let delay = delay.map(|d| SmolDuration::from_micros(d.as_micros() as u64));
        self.socket_mut().set_ack_delay(delay);
    }

    fn set_keepalive_probing(&mut self, interval: Option<Duration>) {
        let interval = interval.map(|d| SmolDuration::from_micros(d.as_micros() as u64));
        self.socket_mut().set_keep_alive(interval);
    }

    fn set_congestion(&mut self, algorithm: Congestion) {
        self.config.congestion = algorithm;
        self.socket_mut().set_congestion_control(congestion(algorithm));
    }

    fn set_mtu(&mut self, mtu: u16, now: Instant) {
        self.config.mtu = mtu;
        self.iface = interface(&self.config, now);
    }
}

/// Engines of finished connections, kept for their buffers: a new connection neither allocates nor touches fresh
/// memory as long as one of the default size is here.
#[derive(Default)]
pub struct EnginePool {
    #[expect(clippy::vec_box, reason = "engines go from flow to pool and back without being moved")]
    free: vec::Vec<Box<SmoltcpEngine>>,
}

impl EnginePool {
    /// Engines kept at most.
    const KEEP: usize = 32;

    /// As [`TcpEngine::connect`].
    pub fn connect(&mut self, config: &EngineConfig, now: Instant) -> Box<SmoltcpEngine> {
        match self.take(config, now) {
            Some(mut engine) => {
                engine.start_connect();
                engine
            }
            None => Box::new(SmoltcpEngine::connect(config, now)),
        }
    }

    /// As [`TcpEngine::accept`].
    pub fn accept(&mut self, config: &EngineConfig, syn: &[u8], now: Instant) -> Option<Box<SmoltcpEngine>> {
        let Some(mut engine) = self.take(config, now) else {
            return SmoltcpEngine::accept(config, syn, now).map(Box::new);
        };
        if engine.start_accept(syn, now) {
            return Some(engine);
        }
        self.put(engine);
        None
    }

    /// Gives a finished connection's engine back.
    pub fn put(&mut self, engine: Box<SmoltcpEngine>) {
        if self.free.len() < Self::KEEP {
            self.free.push(engine);
        }
    }

    fn take(&mut self, config: &EngineConfig, now: Instant) -> Option<Box<SmoltcpEngine>> {
        let fits = |e: &SmoltcpEngine| {
            e.receive_capacity() == config.receive_buffer && e.send_capacity() == config.send_buffer
        };
        let at = self.free.iter().rposition(|e| fits(e))?;
        let mut engine = self.free.swap_remove(at);
        engine.recycle(config, now);
        Some(engine)
    }
}

fn interface(config: &EngineConfig, now: Instant) -> Interface {
    let mut settings = Config::new(HardwareAddress::Ip);
    settings.random_seed = seed_for(config.initial_sequence);
    let mut wire = Wire { config, rx: None, tx: &mut [], sent: None };
    let mut iface = Interface::new(settings, &mut wire, smol(now));
    // Which addresses are ours is for the stack to say: it hands over this connection's packets only.
    iface.set_any_ip(true);
    iface
}

/// A seed with which the second number that smoltcp's generator yields is `sequence`. An interface draws the first
/// when it is made (an IPv4 identification, again while that is 0) and the socket draws the second as its initial
/// sequence number. The generator is one step of `s = s * M + A` per number, of which it shows bits 29 to 60 when the
/// top three are clear; a step has an inverse.
fn seed_for(sequence: u32) -> u64 {
    const M: u64 = 0xbb2e_fcec_3c39_611d;
    const A: u64 = 0x7590_ef39;
    let inverse = (0..6).fold(1u64, |x, _| x.wrapping_mul(2u64.wrapping_sub(M.wrapping_mul(x))));
    let back = |s: u64| s.wrapping_sub(A).wrapping_mul(inverse);
    let shown = |s: u64| (s >> (29 - (s >> 61))) as u32;
    let after_second = u64::from(sequence) << 29;
    // The low bits are free: try another filling in the rare case that the first number would be drawn twice.
    let mut filling = 0u64;
    loop {
        let after_first = back(after_second | filling);
        let first = shown(after_first);
        if (first ^ (first >> 16)) as u16 != 0 {
            return back(after_first);
        }
        filling += 1;
    }
}

fn congestion(algorithm: Congestion) -> CongestionControl {
    match algorithm {
        Congestion::None => CongestionControl::None,
        Congestion::Reno => CongestionControl::Reno,
    }
}

fn smol(now: Instant) -> SmolInstant {
    SmolInstant::from_micros(i64::try_from(now.0 / 1000).unwrap_or(i64::MAX))
}

/// smoltcp's device for the length of one call.
struct Wire<'a> {
    config: &'a EngineConfig,
    rx: Option<&'a [u8]>,
    tx: &'a mut [u8],
    sent: Option<Segment>,
}

impl Device for Wire<'_> {
    type RxToken<'b>
        = Incoming<'b>
    where
        Self: 'b;
    type TxToken<'b>
        = Outgoing<'b>
    where
        Self: 'b;

    fn receive(&mut self, _now: SmolInstant) -> Option<(Incoming<'_>, Outgoing<'_>)> {
        let rx = self.rx.take()?;
        Some((Incoming(rx), Outgoing { tx: self.tx, sent: &mut self.sent, cut: None }))
    }

    fn transmit(&mut self, _now: SmolInstant) -> Option<Outgoing<'_>> {
        let idle = self.sent.is_none();
        idle.then_some(Outgoing { tx: self.tx, sent: &mut self.sent, cut: None })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mtu = usize::from(self.config.mtu);
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ip;
        caps.max_transmission_unit = mtu;
        caps.checksum = ChecksumCapabilities::ignored();
        if self.config.segmentation_offload {
            // Whole segments only, so that a bulk transfer has no short ones in the middle.
            let mss = mtu.saturating_sub(HEADERS).max(1);
            let payload = (65535 - HEADERS) / mss * mss;
            caps.segmentation.tcpv4 = NonZeroUsize::new(HEADERS + payload);
        }
        caps
    }
}

struct Incoming<'a>(&'a [u8]);

impl RxToken for Incoming<'_> {
    fn consume<R, F>(self, f: F) -> R
    where
        F: FnOnce(&[u8]) -> R,
    {
        f(self.0)
    }
}

struct Outgoing<'a> {
    tx: &'a mut [u8],
    sent: &'a mut Option<Segment>,
    cut: Option<core::num::NonZeroU16>,
}

impl TxToken for Outgoing<'_> {
    fn consume<R, F>(self, len: usize, f: F) -> R
    where
        F: FnOnce(&mut [u8]) -> R,
    {
        if len <= self.tx.len() {
            *self.sent = Some(Segment { len, cut: self.cut });
            f(&mut self.tx[..len])
        } else {
            // A packet larger than the caller's room is not sent; smoltcp repeats it after its timeout.
            f(&mut vec![0; len])
        }
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.cut = meta.segmentation_offload_size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::addr::FourTuple;
    use alloc::vec::Vec;

    fn config(initial_sequence: u32) -> EngineConfig {
        EngineConfig {
            tuple: FourTuple { local: "10.0.0.1:1000".parse().unwrap(), remote: "10.0.0.2:80".parse().unwrap() },
            initial_sequence,
            mtu: 1500,
            segmentation_offload: false,
            receive_buffer: 65536,
            send_buffer: 65536,
            congestion: Congestion::Reno,
            nagle: true,
        }
    }

    #[test]
    fn the_initial_sequence_number_is_the_one_asked_for() {
        for sequence in [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0xdead_beef, 12345] {
            let mut engine = SmoltcpEngine::connect(&config(sequence), Instant(0));
            let mut buf = [0xaa; 1500];
            let syn = engine.poll_transmit(&mut buf, Instant(0)).unwrap();
            assert_eq!(u32::from_be_bytes([buf[24], buf[25], buf[26], buf[27]]), sequence);
            assert_eq!(syn.cut, None);
        }
    }

    /// All that an end has to send now.
    fn due(end: &mut SmoltcpEngine, now: Instant) -> Vec<Vec<u8>> {
        let mut buf = [0; 1500];
        core::iter::from_fn(|| end.poll_transmit(&mut buf, now).map(|sent| buf[..sent.len].to_vec())).collect()
    }

    /// Packets for an end; returns its immediate answers.
    fn deliver(end: &mut SmoltcpEngine, packets: &[Vec<u8>], now: Instant) -> Vec<Vec<u8>> {
        let mut reply = [0; 1500];
        let mut answer =
            |packet: &Vec<u8>| end.handle_segment(packet, &mut reply, now).map(|sent| reply[..sent.len].to_vec());
        packets.iter().filter_map(&mut answer).collect()
    }

    /// Carries everything both ways, until neither end has anything to say.
    fn carry(ends: &mut [SmoltcpEngine; 2], now: Instant) {
        loop {
            let mut packets = ends.each_mut().map(|end| due(end, now));
            if packets.iter().all(Vec::is_empty) {
                return;
            }
            while packets.iter().any(|queue| !queue.is_empty()) {
                let [from_first, from_second] = packets;
                let to_second = deliver(&mut ends[1], &from_first, now);
                packets = [deliver(&mut ends[0], &from_second, now), to_second];
            }
        }
    }

    fn send_and_forget(ends: &mut [SmoltcpEngine; 2], len: usize) {
        for end in ends {
            while end.recv(&mut |bytes| bytes.len()) > 0 {}
            let sent = end.send(&mut |room| {
                let len = len.min(room.len());
                room[..len].fill(7);
                len
            });
            assert_eq!(sent, len);
        }
    }

    #[test]
    fn both_ends_recover_when_all_acknowledgements_of_both_are_lost() {
        let mut now = Instant(1_000_000_000);
        let mut client = SmoltcpEngine::connect(&config(u32::MAX - 40_000), now);
        let FourTuple { local, remote } = config(0).tuple;
        let passive = EngineConfig { tuple: FourTuple { local: remote, remote: local }, ..config(9) };
        let syn = due(&mut client, now).remove(0);
        let mut ends = [client, SmoltcpEngine::accept(&passive, &syn, now).unwrap()];
        // Opens the congestion windows.
        for _ in 0..20 {
            now = Instant(now.0 + 50_000_000);
            carry(&mut ends, now);
            send_and_forget(&mut ends, 30_000);
        }
        for _ in 0..50 {
            now = Instant(now.0 + 50_000_000);
            carry(&mut ends, now);
        }
        send_and_forget(&mut ends, 30_000);
        let flights = ends.each_mut().map(|end| due(end, now));
        assert!(flights.iter().all(|flight| flight.len() > 10), "the flight must be longer than what is repeated");
        let _lost = [deliver(&mut ends[0], &flights[1], now), deliver(&mut ends[1], &flights[0], now)];
        let _lost = ends.each_mut().map(|end| due(end, now));
        for _ in 0..600 {
            now = Instant(now.0 + 100_000_000);
            carry(&mut ends, now);
        }
        assert_eq!(ends.each_ref().map(|end| end.send_queued()), [0, 0]);
        assert_eq!(ends.each_ref().map(|end| end.receive_queued()), [30_000, 30_000]);
    }
}
