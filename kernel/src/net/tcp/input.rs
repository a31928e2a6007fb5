//! Segments in: table, listener, TIME-WAIT, reset; and what a change of state means to sockets.

use super::engine::{Congestion, EngineConfig, TcpEngine, TcpState};
use super::flow::{Flow, FlowOwner, Screened};
use super::segment::{self, ControlSegment, TcpFlags, TcpSegment};
use super::time_wait::{TIME_WAIT, TimeWaitVerdict};
use super::{Entry, FlowId, MAX_BUFFER, MAX_HANDSHAKES, MIN_BUFFER, TcpSocketState};
use crate::net::addr::FourTuple;
use crate::net::error::NetError;
use crate::net::interface::{IfIndex, QueuedFrame};
use crate::net::ip::{NextHop, Path};
use crate::net::ipv4::Ipv4Header;
use crate::net::port::Binding;
use crate::net::socket::{SocketId, SocketOptions};
use crate::net::stack::NetStack;
use crate::time::Instant;
use core::net::SocketAddrV4;
use core::time::Duration;
use netdrv::Offloads;

/// Bytes of IPv4 and TCP headers without options.
const HEADERS: u16 = 40;
/// How often a flow says that its neighbour is alive, at most: far less than the five seconds that the neighbour waits for it.
const CONFIRMATION_INTERVAL: Duration = Duration::from_millis(100);

impl NetStack {
    /// Takes an IP packet with a TCP segment to one of our addresses.
    pub(crate) fn tcp_input(
        &mut self,
        ip: &Ipv4Header,
        packet: &[u8],
        interface: IfIndex,
        trusted: bool,
        now: Instant,
    ) {
        self.ip.stats.tcp_in_segs += 1;
        let bytes = &packet[ip.header_len..ip.total_len];
        let Some(segment) = TcpSegment::parse(bytes) else {
            self.ip.stats.tcp_in_errs += 1;
            return;
        };
        if !trusted && !segment::checksum_is_valid(ip, bytes) {
            self.ip.stats.tcp_in_errs += 1;
            return;
        }
        let local = SocketAddrV4::new(ip.dst, segment.dst_port);
        let tuple = FourTuple { local, remote: SocketAddrV4::new(ip.src, segment.src_port) };
        match self.tcp.table.get(&tuple) {
            Some(Entry::Flow(id)) => {
                let id = *id;
                self.flow_input(id, &segment, packet, ip, now);
            }
            Some(Entry::TimeWait(tw)) => {
                let verdict = tw.judge(tuple, &segment);
                self.time_wait_input(verdict, tuple, ip, &segment, packet, interface, now);
            }
            None => self.unmatched(tuple, ip, &segment, packet, interface, now),
        }
    }

    fn flow_input(&mut self, id: FlowId, segment: &TcpSegment, packet: &[u8], ip: &Ipv4Header, now: Instant) {
        let Some(flow) = self.tcp.flows.get_mut(id) else { return };
        match flow.screen(segment) {
            Screened::Pass => {}
            Screened::Drop => return,
            Screened::Challenge => return self.challenge(id, now),
        }
        let before = flow.engine.receive_queued();
        if let Some(time) = flow.observe_received(segment, &packet[ip.header_len..], now) {
            self.tcp.round_trips.note(ip.src, time);
        }
        let mut reply = [0; 160];
        let answer = flow.engine.handle_segment(&packet[..ip.total_len], &mut reply, now);
        let received = flow.engine.receive_queued().saturating_sub(before);
        flow.note_received(received);
        let progress = segment.flags.contains(TcpFlags::ACK) && !flow.state.is_opening();
        let confirms = progress && now.saturating_since(flow.confirmed) >= CONFIRMATION_INTERVAL;
        if confirms {
            flow.confirmed = now;
        }
        let (path, owner) = (flow.path, flow.owner);
        if let Some(answer) = answer {
            self.send_engine_reply(id, &mut reply[..answer.len], now);
        }
        if confirms && let NextHop::Neighbor(hop) = path.next_hop {
            self.ip.neighbors.confirm(path.interface, hop, now);
        }
        if received > 0 {
            match owner {
                FlowOwner::Socket(socket) => self.note(socket),
                // Data for a program that is gone (RFC 1122, section 4.2.2.13).
                FlowOwner::Orphan => self.abort_flow(id, None),
                FlowOwner::Handshake(_) | FlowOwner::AcceptQueue(_) => {}
            }
        }
        self.note_flow(id, now);
        if !self.tcp.flow(id).is_ok_and(|flow| flow.can_wait_for_answer(now)) {
            self.tcp.mark_dirty(id);
        }
    }

    /// Tells the peer what we have sent and received (RFC 5961).
    fn challenge(&mut self, id: FlowId, now: Instant) {
        let Some(flow) = self.tcp.flows.get_mut(id).filter(|f| !f.detached && !f.aborting) else { return };
        let Some(ack) = flow.next_received().filter(|_| flow.may_challenge(now)) else { return };
        let FourTuple { local, remote } = flow.tuple;
        let (seq, window) = (flow.snd_max, flow.window);
        self.send_control(ControlSegment { local, remote, seq, ack, flags: TcpFlags::ACK, window }, now);
    }

    /// Looks at a flow after something happened to it: wakes writers, tells sockets and listeners of its state.
    pub(crate) fn note_flow(&mut self, id: FlowId, now: Instant) {
        let Some(flow) = self.tcp.flows.get_mut(id) else { return };
        if flow.detached || flow.aborting {
            return;
        }
        let writable = flow.is_writable();
        if writable && !flow.writable {
            flow.writable = true;
            if let FlowOwner::Socket(socket) = flow.owner {
                self.events.note(&mut self.sockets, socket);
            }
        }
        let (old, new) = (flow.state, flow.engine.state());
        if old == new {
            return;
        }
        flow.state = new;
        flow.note_fin_wait(now);
        match flow.owner {
            FlowOwner::Socket(socket) => {
                if new == TcpState::Closed {
                    let error = closing_error(old, flow.error);
                    flow.error = flow.error.or(error);
                    self.connection_ended(old, error);
                    self.report_error(socket, error);
                    self.tcp.detach(id);
                }
                self.note(socket);
            }
            FlowOwner::Handshake(listener) => self.handshake_progress(id, listener, new),
            FlowOwner::AcceptQueue(_) => {
                if new == TcpState::Closed {
                    flow.error = Some(NetError::ConnectionReset);
                    self.tcp.detach(id);
                }
            }
            FlowOwner::Orphan => {
                if new == TcpState::Closed {
                    self.tcp.remove(id);
                }
            }
        }
    }

    fn connection_ended(&mut self, old: TcpState, error: Option<NetError>) {
        if old.is_opening() {
            self.ip.stats.tcp_attempt_fails += 1;
        } else if error == Some(NetError::ConnectionReset) {
            self.ip.stats.tcp_estab_resets += 1;
        }
    }

    fn handshake_progress(&mut self, id: FlowId, listener: SocketId, new: TcpState) {
        let done = matches!(new, TcpState::Established | TcpState::CloseWait);
        let socket = self.sockets.get_mut(listener).and_then(|s| s.tcp_mut().ok());
        let Some(TcpSocketState::Listening(queues)) = socket.map(|t| &mut t.state) else {
            return self.tcp.remove(id);
        };
        queues.handshakes = queues.handshakes.saturating_sub(1);
        if !done {
            return self.tcp.remove(id);
        }
        queues.queue.push_back(id);
        if let Some(flow) = self.tcp.flows.get_mut(id) {
            flow.owner = FlowOwner::AcceptQueue(listener);
        }
        self.note(listener);
    }

    #[allow(clippy::too_many_arguments)]
    fn time_wait_input(
        &mut self,
        verdict: TimeWaitVerdict,
        tuple: FourTuple,
        ip: &Ipv4Header,
        segment: &TcpSegment,
        packet: &[u8],
        interface: IfIndex,
        now: Instant,
    ) {
        match verdict {
            TimeWaitVerdict::Ignore => {}
            TimeWaitVerdict::Acknowledge(ack) => self.send_control(ack, now),
            TimeWaitVerdict::Restart(ack) => {
                let expires = now + TIME_WAIT;
                if let Some(Entry::TimeWait(tw)) = self.tcp.table.get_mut(&tuple) {
                    tw.expires = expires;
                    self.tcp.time_wait.push(tuple, expires);
                }
                self.send_control(ack, now);
            }
            TimeWaitVerdict::Forget => self.tcp.forget_time_wait(tuple),
            TimeWaitVerdict::Reopen => {
                if self.find_listener(tuple).is_some() {
                    self.tcp.forget_time_wait(tuple);
                }
                self.unmatched(tuple, ip, segment, packet, interface, now);
            }
        }
    }

    /// A segment for no known tuple: a SYN may open a flow, anything else is reset.
    fn unmatched(
        &mut self,
        tuple: FourTuple,
        ip: &Ipv4Header,
        segment: &TcpSegment,
        packet: &[u8],
        interface: IfIndex,
        now: Instant,
    ) {
        let flags = segment.flags & (TcpFlags::SYN | TcpFlags::ACK | TcpFlags::RST | TcpFlags::FIN);
        if flags.contains(TcpFlags::RST) {
            return;
        }
        if flags == TcpFlags::SYN
            && tuple.remote.port() != 0
            && let Some(listener) = self.find_listener(tuple)
        {
            return self.open_passive(listener, tuple, &packet[..ip.total_len], interface, now);
        }
        self.ip.stats.tcp_out_rsts += 1;
        self.send_control(ControlSegment::reset_for(ip, segment), now);
    }

    /// The listener for a tuple: the most exact address wins, `SO_REUSEPORT` peers share by hash.
    fn find_listener(&self, tuple: FourTuple) -> Option<SocketId> {
        let matches = |addr: core::net::Ipv4Addr| addr == *tuple.local.ip();
        let hears = |b: &&Binding| b.listening && b.hears(*tuple.local.ip());
        let listeners = || self.tcp.ports.bindings(tuple.local.port()).iter().filter(hears);
        let exact = listeners().filter(|b| matches(b.addr)).count();
        let any = listeners().filter(|b| b.addr.is_unspecified()).count();
        let (count, want_exact) = if exact > 0 { (exact, true) } else { (any, false) };
        let nth = match count {
            0 => return None,
            1 => 0,
            n => self.tcp.sequence_secret.hash(&tuple.to_bytes()) as usize % n,
        };
        let fits = |addr: core::net::Ipv4Addr| if want_exact { matches(addr) } else { addr.is_unspecified() };
        listeners().filter(|b| fits(b.addr)).nth(nth).map(|b| b.socket)
    }

    fn open_passive(&mut self, listener: SocketId, tuple: FourTuple, syn: &[u8], interface: IfIndex, now: Instant) {
        let Some(socket) = self.sockets.get(listener) else { return };
        let options = socket.options.clone();
        let Ok(TcpSocketState::Listening(queues)) = socket.tcp().map(|t| &t.state) else { return };
        // The peer repeats its SYN; by then a place may be free (listen(2)).
        let full = queues.queue.len() > queues.backlog || queues.handshakes > queues.backlog.clamp(8, MAX_HANDSHAKES);
        if full {
            self.ip.stats.listen_overflows += 1;
            return;
        }
        let via = options.bound_device;
        if via.is_some_and(|v| v != interface && interface != IfIndex::LO) {
            return;
        }
        let Ok(path) = self.ip.path(*tuple.remote.ip(), Some(*tuple.local.ip()), via) else { return };
        if path.is_group() {
            return;
        }
        let config = self.engine_config(tuple, &path, &options, now);
        let Some(engine) = self.tcp.pool.accept(&config, syn, now) else { return };
        let owner = FlowOwner::Handshake(listener);
        let mss = config.mtu - HEADERS;
        let mut flow = Flow::new(tuple, engine, owner, path, config.initial_sequence, mss, now);
        flow.apply_options(&options);
        if let Some(segment) = TcpSegment::parse(&syn[20..]) {
            flow.observe_received(&segment, &syn[20..], now);
        }
        let id = self.tcp.insert(flow);
        self.ip.stats.tcp_passive_opens += 1;
        if let Some(Ok(tcp)) = self.sockets.get_mut(listener).map(|s| s.tcp_mut())
            && let TcpSocketState::Listening(queues) = &mut tcp.state
        {
            queues.handshakes += 1;
        }
        self.tcp.mark_dirty(id);
    }

    pub(crate) fn engine_config(
        &self,
        tuple: FourTuple,
        path: &Path,
        options: &SocketOptions,
        now: Instant,
    ) -> EngineConfig {
        let mtu = match options.max_segment {
            Some(mss) => path.mtu.min(usize::from(mss.saturating_add(HEADERS))),
            None => path.mtu,
        };
        let default = self.tcp.default_buffer(*tuple.remote.ip());
        let buffer = |set: Option<usize>| set.unwrap_or(default).clamp(MIN_BUFFER, MAX_BUFFER);
        let default_congestion = if path.is_local() { Congestion::None } else { Congestion::Reno };
        EngineConfig {
            tuple,
            initial_sequence: self.tcp.initial_sequence(tuple, now),
            mtu: mtu.clamp(usize::from(MIN_MTU), 65535) as u16,
            segmentation_offload: path.offloads.contains(Offloads::TX_TSO4 | Offloads::TX_CSUM),
            receive_buffer: buffer(options.receive_buffer),
            send_buffer: buffer(options.send_buffer),
            congestion: options.congestion.unwrap_or(default_congestion),
            nagle: !options.nodelay,
        }
    }

    /// An ICMP message about a segment of ours (RFC 1122, section 4.2.3.9; RFC 5927 for what to believe).
    pub(crate) fn tcp_error(&mut self, tuple: FourTuple, seq: u32, error: NetError, mtu: u16, now: Instant) {
        let Some(Entry::Flow(id)) = self.tcp.table.get(&tuple) else { return };
        let id = *id;
        let Some(flow) = self.tcp.flows.get_mut(id) else { return };
        let window = flow.engine.send_capacity() as u32 + 1;
        let plausible = flow.snd_max.wrapping_sub(seq) <= window;
        if !plausible {
            return;
        }
        if error == NetError::MessageTooLong {
            let mtu = mtu.max(MIN_PATH_MTU);
            if mtu - HEADERS < flow.mss {
                flow.mss = mtu - HEADERS;
                flow.engine.set_mtu(mtu, now);
                self.tcp.mark_dirty(id);
            }
            return;
        }
        // Only an attempt that nobody has answered is ended by it; a connection may recover.
        if flow.engine.state() == TcpState::SynSent {
            self.fail_attempt(id, error);
        }
    }

    /// Ends an active open that got no answer, without a word to the peer.
    pub(crate) fn fail_attempt(&mut self, id: FlowId, error: NetError) {
        let Some(flow) = self.tcp.flows.get_mut(id) else { return };
        flow.state = TcpState::Closed;
        flow.error = Some(error);
        let owner = flow.owner;
        self.ip.stats.tcp_attempt_fails += 1;
        self.tcp.detach(id);
        if let FlowOwner::Socket(socket) = owner {
            self.report_error(socket, Some(error));
            self.note(socket);
        }
    }

    /// Sends a segment that no engine wrote.
    pub(crate) fn send_control(&mut self, segment: ControlSegment, now: Instant) {
        let Ok(path) = self.ip.path(*segment.remote.ip(), Some(*segment.local.ip()), None) else { return };
        if path.is_group() {
            return;
        }
        let mut buf = self.ip.pool.get(ControlSegment::LEN);
        segment.write(buf.bytes_mut());
        let meta = segment::finish(buf.bytes_mut(), 64, 0, path.offloads, None);
        self.ip.stats.tcp_out_segs += 1;
        self.ip.send(&path, QueuedFrame { meta, buf, charge: None }, now, None);
    }

    /// Sends what an engine answered on the spot.
    fn send_engine_reply(&mut self, id: FlowId, reply: &mut [u8], now: Instant) {
        let Some(flow) = self.tcp.flows.get_mut(id) else { return };
        if let Some(segment) = TcpSegment::parse(&reply[20..]) {
            flow.observe_sent(&segment, now);
        }
        let meta = segment::finish(reply, flow.ttl, flow.tos, flow.path.offloads, None);
        let path = flow.path;
        let buf = self.ip.pool.copy(reply);
        self.ip.stats.tcp_out_segs += 1;
        self.ip.send(&path, QueuedFrame { meta, buf, charge: None }, now, None);
    }
}

/// Smallest MTU an engine is run with.
const MIN_MTU: u16 = 128;
/// Smallest MTU that an ICMP message is believed about (`min_pmtu`).
const MIN_PATH_MTU: u16 = 552;

/// What a socket reports when its connection has come to an end by the peer's doing.
fn closing_error(old: TcpState, known: Option<NetError>) -> Option<NetError> {
    match (known, old) {
        (Some(_), _) => known,
        (None, TcpState::SynSent) => Some(NetError::ConnectionRefused),
        (None, TcpState::LastAck | TcpState::TimeWait) => None,
        (None, TcpState::CloseWait) => Some(NetError::BrokenPipe),
        (None, _) => Some(NetError::ConnectionReset),
    }
}
