//! The socket calls of TCP sockets (`tcp(7)`). None blocks: what cannot be done now is `WouldBlock` or `InProgress`,
//! and the socket appears in the event list when it is worth trying again.

use super::engine::{TcpEngine, TcpState};
use super::flow::{Flow, FlowOwner};
use super::info::TcpInfo;
use super::{FlowId, Listener, MAX_BACKLOG, MAX_ORPHANS, TcpSocket, TcpSocketState, may_take};
use crate::net::addr::FourTuple;
use crate::net::error::NetError;
use crate::net::event::Readiness;
use crate::net::port::Binding;
use crate::net::socket::{Inner, Shutdown, Socket, SocketId};
use crate::net::stack::NetStack;
use crate::time::Instant;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// Where a socket stands with connecting.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Attempt {
    /// It may begin.
    New,
    /// It has connected since, and the program is told now.
    Succeeded,
}

impl NetStack {
    /// Binds a TCP socket (`bind(2)`).
    pub(crate) fn tcp_bind(&mut self, id: SocketId, addr: SocketAddrV4) -> Result<(), NetError> {
        let socket = self.sockets.get(id).ok_or(NetError::BadSocket)?;
        let tcp = socket.tcp()?;
        if tcp.bound.is_some() || !matches!(tcp.state, TcpSocketState::Unconnected) {
            return Err(NetError::Invalid);
        }
        if !addr.ip().is_unspecified() && !self.ip.is_own(*addr.ip()) {
            return Err(NetError::AddrNotAvailable);
        }
        let binding = binding_for(id, *addr.ip(), socket);
        let port = self.tcp.ports.bind(addr.port(), binding, &mut self.ip.rng)?;
        let bound = Some(SocketAddrV4::new(*addr.ip(), port));
        let tcp = self.tcp_socket_mut(id)?;
        (tcp.bound, tcp.asked) = (bound, bound);
        Ok(())
    }

    /// Gives back what a connection or a listener that is no more had taken beyond `bind`: the port that was chosen for
    /// it, the address that followed from the route (`tcp_disconnect` on Linux).
    fn restore_binding(&mut self, id: SocketId) {
        let Ok(tcp) = self.tcp_socket_mut(id) else { return };
        let asked = tcp.asked;
        match (core::mem::replace(&mut tcp.bound, asked), asked) {
            (Some(bound), None) => self.tcp.ports.unbind(bound.port(), id),
            (_, Some(asked)) => self.tcp.ports.restore(asked.port(), id, *asked.ip()),
            (None, None) => {}
        }
    }

    /// Makes a socket take connections, or changes its backlog (`listen(2)`).
    ///
    /// # Errors
    /// `Invalid` when it is connected, `AddrInUse` when another socket listens.
    pub fn listen(&mut self, id: SocketId, backlog: usize) -> Result<(), NetError> {
        let backlog = backlog.min(MAX_BACKLOG);
        match &mut self.tcp_socket_mut(id)?.state {
            TcpSocketState::Listening(listener) => {
                listener.backlog = backlog;
                return Ok(());
            }
            TcpSocketState::Connected { .. } => return Err(NetError::Invalid),
            TcpSocketState::Unconnected => {}
        }
        if self.tcp_socket_mut(id)?.bound.is_none() {
            self.tcp_bind(id, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))?;
            self.tcp_socket_mut(id)?.asked = None;
        }
        let port = self.tcp_socket_mut(id)?.bound.map_or(0, |b| b.port());
        self.tcp.ports.listen(port, id)?;
        let listener = Listener { backlog, handshakes: 0, queue: VecDeque::new() };
        self.tcp_socket_mut(id)?.state = TcpSocketState::Listening(listener);
        Ok(())
    }

    /// Takes a finished connection off a listener's queue: a new socket, and the peer's address (`accept(2)`).
    ///
    /// # Errors
    /// `WouldBlock` when none waits, `Invalid` when the socket does not listen.
    pub fn accept(&mut self, id: SocketId) -> Result<(SocketId, SocketAddr), NetError> {
        let listener = self.sockets.get_mut(id).ok_or(NetError::BadSocket)?;
        let TcpSocketState::Listening(queues) = &mut listener.tcp_mut()?.state else { return Err(NetError::Invalid) };
        let flow_id = queues.queue.pop_front().ok_or(NetError::WouldBlock)?;
        let (family, options) = (listener.family, listener.options.clone());
        let flow = self.tcp.flow_mut(flow_id)?;
        let state = TcpSocketState::Connected { flow: flow_id, reported: true };
        let tcp = TcpSocket { state, bound: Some(flow.tuple.local), asked: None, read_shut: false };
        let mut socket = Socket::new(family, Inner::Tcp(tcp));
        // The options are the listener's, as they are now (socket(7), "inherited").
        flow.apply_options(&options);
        socket.options = options;
        socket.error = flow.error;
        let peer = family.show(flow.tuple.remote);
        let accepted = self.sockets.insert(socket);
        let flow = self.tcp.flow_mut(flow_id)?;
        flow.owner = FlowOwner::Socket(accepted);
        flow.writable = flow.is_writable();
        Ok((accepted, peer))
    }

    /// Begins to connect (`connect(2)`): `InProgress` the first time, and the outcome in a later call or `SO_ERROR`.
    pub(crate) fn tcp_connect(&mut self, id: SocketId, remote: SocketAddrV4, now: Instant) -> Result<(), NetError> {
        if self.check_connectable(id)? == Attempt::Succeeded {
            return Ok(());
        }
        let socket = self.sockets.get(id).ok_or(NetError::BadSocket)?;
        let (options, bound) = (socket.options.clone(), socket.tcp()?.bound);
        let ip = *remote.ip();
        if remote.port() == 0 {
            return Err(NetError::ConnectionRefused);
        }
        let path = self.ip.path(ip, bound.map(|b| *b.ip()), options.bound_device)?;
        if path.is_group() {
            return Err(NetError::NetUnreachable);
        }
        let local = self.connection_address(id, bound, path.source, remote, now)?;
        let tuple = FourTuple { local, remote };
        self.tcp.forget_time_wait(tuple);
        let config = self.engine_config(tuple, &path, &options, now);
        let engine = self.tcp.pool.connect(&config, now);
        let owner = FlowOwner::Socket(id);
        let mut flow = Flow::new(tuple, engine, owner, path, config.initial_sequence, config.mtu - 40, now);
        flow.apply_options(&options);
        let flow = self.tcp.insert(flow);
        self.ip.stats.tcp_active_opens += 1;
        let tcp = self.tcp_socket_mut(id)?;
        tcp.bound = Some(local);
        tcp.state = TcpSocketState::Connected { flow, reported: false };
        self.tcp.mark_dirty(flow);
        Err(NetError::InProgress)
    }

    /// Whether a socket may begin to connect, or what came of its last attempt.
    fn check_connectable(&mut self, id: SocketId) -> Result<Attempt, NetError> {
        let socket = self.sockets.get_mut(id).ok_or(NetError::BadSocket)?;
        let pending_error = socket.error;
        let tcp = socket.tcp_mut()?;
        let TcpSocketState::Connected { flow, reported } = &mut tcp.state else {
            let listening = matches!(tcp.state, TcpSocketState::Listening(_));
            return if listening { Err(NetError::AlreadyConnected) } else { Ok(Attempt::New) };
        };
        let (flow_id, was_reported) = (*flow, core::mem::replace(reported, true));
        let (ended, state) = match self.tcp.flows.get(flow_id) {
            Some(flow) => (flow.detached || flow.aborting, flow.state),
            None => (true, TcpState::Closed),
        };
        if was_reported {
            return Err(NetError::AlreadyConnected);
        }
        if ended && state == TcpState::Closed {
            self.tcp.remove(flow_id);
            let tcp = self.tcp_socket_mut(id)?;
            tcp.state = TcpSocketState::Unconnected;
            self.restore_binding(id);
            if let Some(socket) = self.sockets.get_mut(id) {
                socket.error = None;
            }
            return Err(pending_error.unwrap_or(NetError::ConnectionAborted));
        }
        if state.is_opening() {
            if let TcpSocketState::Connected { reported, .. } = &mut self.tcp_socket_mut(id)?.state {
                *reported = false;
            }
            return Err(NetError::AlreadyInProgress);
        }
        Ok(Attempt::Succeeded)
    }

    /// The local end of a new connection.
    fn connection_address(
        &mut self,
        id: SocketId,
        bound: Option<SocketAddrV4>,
        source: Ipv4Addr,
        remote: SocketAddrV4,
        now: Instant,
    ) -> Result<SocketAddrV4, NetError> {
        if let Some(bound) = bound {
            let ip = if bound.ip().is_unspecified() { source } else { *bound.ip() };
            let local = SocketAddrV4::new(ip, bound.port());
            if !may_take(&self.tcp.table, FourTuple { local, remote }, now) {
                return Err(NetError::AddrNotAvailable);
            }
            self.tcp.ports.narrow(bound.port(), id, ip);
            return Ok(local);
        }
        let table = &self.tcp.table;
        let is_free = |port| may_take(table, FourTuple { local: SocketAddrV4::new(source, port), remote }, now);
        let binding = binding_for(id, source, self.sockets.get(id).ok_or(NetError::BadSocket)?);
        let port = self.tcp.ports.bind_for_connection(binding, &mut self.ip.rng, is_free)?;
        Ok(SocketAddrV4::new(source, port))
    }

    /// Queues bytes for sending (`send(2)` on a stream): `fill` is called with free space of the send buffer, at most
    /// twice, and returns how many bytes it wrote. `more` is `MSG_MORE`. The segments leave at the next poll.
    ///
    /// # Errors
    /// `WouldBlock` when the buffer is full or the connection not yet made, `BrokenPipe` after the end, and a pending
    /// error once.
    pub fn send(
        &mut self,
        id: SocketId,
        more: bool,
        now: Instant,
        fill: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> Result<usize, NetError> {
        self.check_error(id)?;
        let flow_id = match self.tcp_socket_mut(id)?.state {
            TcpSocketState::Connected { flow, .. } => flow,
            _ => return Err(NetError::BrokenPipe),
        };
        let flow = self.tcp.flow_mut(flow_id)?;
        if flow.state.is_opening() && !flow.detached && !flow.aborting {
            return Err(NetError::WouldBlock);
        }
        if flow.sending_finished() || flow.detached || flow.aborting {
            return Err(NetError::BrokenPipe);
        }
        let had_space = flow.send_space() > 0;
        let sent = flow.send(more, fill, now);
        if sent == 0 && !had_space {
            flow.writable = false;
            return Err(NetError::WouldBlock);
        }
        self.tcp.mark_dirty(flow_id);
        Ok(sent)
    }

    /// Takes received bytes (`recv(2)` on a stream): `take` is called with them, at most twice, and returns how many it
    /// took; with `peek` they stay. Returns 0 at the end of data.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has come, `NotConnected`, and a pending error once everything received is read.
    pub fn recv(&mut self, id: SocketId, peek: bool, take: &mut dyn FnMut(&[u8]) -> usize) -> Result<usize, NetError> {
        let tcp = self.tcp_socket_mut(id)?;
        let read_shut = tcp.read_shut;
        let flow_id = match tcp.state {
            TcpSocketState::Connected { flow, .. } => flow,
            _ => {
                self.check_error(id)?;
                return Err(NetError::NotConnected);
            }
        };
        let flow = self.tcp.flow_mut(flow_id)?;
        let queued = flow.engine.receive_queued();
        if queued > 0 && !flow.state.is_opening() {
            let taken = if peek { peek_flow(flow, take) } else { read_flow(flow, queued, take) };
            if !peek && !flow.detached && flow.wants_window_update() {
                self.tcp.mark_dirty(flow_id);
            }
            return Ok(taken);
        }
        let (detached, state) = (flow.detached || flow.aborting, flow.state);
        self.check_error(id)?;
        if state.is_opening() && !detached {
            return Err(NetError::WouldBlock);
        }
        if read_shut || detached || state.peer_finished() || state == TcpState::Closed {
            return Ok(0);
        }
        Err(NetError::WouldBlock)
    }

    /// Bytes that `recv` would find (`SIOCINQ`), and bytes not acknowledged (`SIOCOUTQ`).
    ///
    /// # Errors
    /// `BadSocket`, `NotSupported`.
    pub fn tcp_queued(&self, id: SocketId) -> Result<(usize, usize), NetError> {
        let flow = self.tcp_flow(id)?;
        Ok(flow.map_or((0, 0), |f| (f.engine.receive_queued(), f.send_queued())))
    }

    /// What `TCP_INFO` reports.
    ///
    /// # Errors
    /// `BadSocket`, `NotSupported`.
    pub fn tcp_info(&self, id: SocketId) -> Result<TcpInfo, NetError> {
        let listening = matches!(self.tcp_socket(id)?.state, TcpSocketState::Listening(_));
        let idle = if listening { TcpState::Listen } else { TcpState::Closed };
        Ok(self.tcp_flow(id)?.map_or_else(|| TcpInfo::of_unconnected(idle), TcpInfo::of))
    }

    /// Bytes of the send and receive buffers in use.
    ///
    /// # Errors
    /// `BadSocket`, `NotSupported`.
    pub fn tcp_buffers(&self, id: SocketId) -> Result<(usize, usize), NetError> {
        let flow = self.tcp_flow(id)?;
        let default = (super::DEFAULT_BUFFER, super::DEFAULT_BUFFER);
        Ok(flow.map_or(default, |f| (f.engine.send_capacity(), f.engine.receive_capacity())))
    }

    /// Passes changed options on to a socket's flow.
    pub(crate) fn tcp_apply_options(&mut self, id: SocketId) -> Result<(), NetError> {
        let socket = self.sockets.get(id).ok_or(NetError::BadSocket)?;
        let TcpSocketState::Connected { flow: flow_id, .. } = socket.tcp()?.state else { return Ok(()) };
        if let Some(flow) = self.tcp.flows.get_mut(flow_id) {
            // The port table was told of the old value, and must be told of the same at the end.
            let reuse = flow.reuse;
            flow.apply_options(&socket.options);
            flow.reuse = reuse;
            if let Some(congestion) = socket.options.congestion {
                flow.engine.set_congestion(congestion);
            }
            if !flow.cork {
                flow.release_held();
            }
            self.tcp.mark_dirty(flow_id);
        }
        Ok(())
    }

    /// Closes one or both directions (`shutdown(2)`).
    pub(crate) fn tcp_shutdown(&mut self, id: SocketId, how: Shutdown, now: Instant) -> Result<(), NetError> {
        let tcp = self.tcp_socket_mut(id)?;
        let flow_id = match &tcp.state {
            TcpSocketState::Connected { flow, .. } => *flow,
            TcpSocketState::Listening(_) if how.read() => {
                self.stop_listening(id);
                self.restore_binding(id);
                // Whoever waits in accept(2) is to find that nobody will ever come.
                self.note(id);
                return Ok(());
            }
            // A listener sends nothing anyway.
            TcpSocketState::Listening(_) => return Ok(()),
            _ => return Err(NetError::NotConnected),
        };
        tcp.read_shut |= how.read();
        let flow = self.tcp.flow_mut(flow_id)?;
        if flow.detached {
            return Err(NetError::NotConnected);
        }
        if flow.state == TcpState::SynSent {
            flow.state = TcpState::Closed;
            self.tcp.detach(flow_id);
        } else if how.write() && !flow.sending_finished() {
            flow.finish_sending();
            self.note_flow(flow_id, now);
            self.tcp.mark_dirty(flow_id);
        }
        self.note(id);
        Ok(())
    }

    /// Closes a TCP socket (`close(2)`): its connection finishes in the background, or is reset when received data
    /// was never read (RFC 2525, section 2.17) or `SO_LINGER` is zero.
    pub(crate) fn tcp_close(&mut self, id: SocketId, now: Instant) {
        self.stop_listening(id);
        let Some(socket) = self.sockets.remove(id) else { return };
        let Ok(tcp) = socket.tcp() else { return };
        if let Some(bound) = tcp.bound {
            self.tcp.ports.unbind(bound.port(), id);
        }
        let TcpSocketState::Connected { flow: flow_id, .. } = tcp.state else { return };
        let Some(flow) = self.tcp.flows.get_mut(flow_id) else { return };
        if flow.aborting {
            flow.owner = FlowOwner::Orphan;
            self.tcp.orphans += 1;
            return;
        }
        if flow.detached || flow.state == TcpState::SynSent {
            return self.tcp.remove(flow_id);
        }
        let reset = flow.engine.receive_queued() > 0
            || socket.options.linger.is_some_and(|l| l.is_zero())
            || self.tcp.orphans >= MAX_ORPHANS;
        flow.become_orphan(now);
        self.tcp.orphans += 1;
        if reset {
            self.abort_flow(flow_id, None);
        } else {
            if !flow.sending_finished() {
                flow.finish_sending();
            }
            self.note_flow(flow_id, now);
            self.tcp.mark_dirty(flow_id);
        }
    }

    /// Ends a listener: connections nobody accepted are reset.
    fn stop_listening(&mut self, id: SocketId) {
        let Ok(tcp) = self.tcp_socket_mut(id) else { return };
        if !matches!(tcp.state, TcpSocketState::Listening(_)) {
            return;
        }
        tcp.state = TcpSocketState::Unconnected;
        let ours = |f: &Flow| f.owner == FlowOwner::Handshake(id) || f.owner == FlowOwner::AcceptQueue(id);
        let waiting: Vec<FlowId> = self.tcp.flows.iter().filter(|(_, f)| ours(f)).map(|(k, _)| k).collect();
        for flow_id in waiting {
            let Some(flow) = self.tcp.flows.get_mut(flow_id) else { continue };
            if flow.detached {
                self.tcp.remove(flow_id);
                continue;
            }
            flow.owner = FlowOwner::Orphan;
            self.tcp.orphans += 1;
            self.abort_flow(flow_id, None);
        }
    }

    /// A handshake ended without a connection.
    pub(crate) fn forget_handshake(&mut self, listener: SocketId) {
        if let Ok(tcp) = self.tcp_socket_mut(listener)
            && let TcpSocketState::Listening(queues) = &mut tcp.state
        {
            queues.handshakes = queues.handshakes.saturating_sub(1);
        }
    }

    /// The readiness of a TCP socket, as `tcp_poll` computes it.
    pub(crate) fn tcp_readiness(&self, socket: &Socket, tcp: &TcpSocket) -> Readiness {
        let mut ready = Readiness::empty();
        ready.set(Readiness::ERR, socket.error.is_some());
        let flow_id = match &tcp.state {
            TcpSocketState::Listening(queues) => {
                ready.set(Readiness::IN, !queues.queue.is_empty());
                return ready;
            }
            TcpSocketState::Unconnected => return ready | Readiness::OUT | Readiness::HUP,
            TcpSocketState::Connected { flow, .. } => *flow,
        };
        let Some(flow) = self.tcp.flows.get(flow_id) else { return ready | Readiness::HUP };
        let over = flow.detached || flow.aborting;
        if flow.state.is_opening() && !over {
            return ready;
        }
        let read_over = tcp.read_shut || over || flow.state.peer_finished();
        let write_over = over || flow.sending_finished();
        ready.set(Readiness::HUP, read_over && write_over);
        ready.set(Readiness::RDHUP, read_over);
        let queued = flow.engine.receive_queued();
        ready.set(Readiness::IN, read_over || queued >= socket.options.receive_low_water.max(1));
        ready.set(Readiness::OUT, write_over || flow.is_writable());
        ready
    }

    /// A TCP socket's addresses: our end, and the peer's while it is connected.
    pub(crate) fn tcp_addresses(&self, tcp: &TcpSocket) -> (Option<SocketAddrV4>, Option<SocketAddrV4>) {
        let TcpSocketState::Connected { flow, .. } = &tcp.state else { return (tcp.bound, None) };
        let Some(flow) = self.tcp.flows.get(*flow) else { return (tcp.bound, None) };
        let connected = !flow.detached && !flow.state.is_opening();
        (Some(flow.tuple.local), connected.then_some(flow.tuple.remote))
    }

    fn tcp_socket(&self, id: SocketId) -> Result<&TcpSocket, NetError> {
        self.sockets.get(id).ok_or(NetError::BadSocket)?.tcp()
    }

    fn tcp_socket_mut(&mut self, id: SocketId) -> Result<&mut TcpSocket, NetError> {
        self.sockets.get_mut(id).ok_or(NetError::BadSocket)?.tcp_mut()
    }

    fn tcp_flow(&self, id: SocketId) -> Result<Option<&Flow>, NetError> {
        Ok(match self.tcp_socket(id)?.state {
            TcpSocketState::Connected { flow, .. } => self.tcp.flows.get(flow),
            _ => None,
        })
    }

    /// Whether a tuple is in the table, in whatever state.
    #[cfg(test)]
    pub(crate) fn tcp_tuple_is_waiting(&self, tuple: FourTuple) -> bool {
        matches!(self.tcp.table.get(&tuple), Some(super::Entry::TimeWait(_)))
    }
}

fn binding_for(id: SocketId, addr: Ipv4Addr, socket: &Socket) -> Binding {
    let options = &socket.options;
    Binding {
        socket: id,
        addr,
        reuse_addr: options.reuse_addr,
        reuse_port: options.reuse_port,
        family: socket.family,
        v6_only: options.v6_only,
        listening: false,
        ephemeral: false,
    }
}

/// Takes from the `queued` bytes that a flow has received.
fn read_flow(flow: &mut Flow, queued: usize, take: &mut dyn FnMut(&[u8]) -> usize) -> usize {
    let mut total = 0;
    // Twice, as they may wrap around the end of the ring.
    for _ in 0..2 {
        let (mut offered, mut took) = (0, 0);
        flow.engine.recv(&mut |data| {
            offered = data.len();
            took = take(data).min(offered);
            took
        });
        total += took;
        if took < offered || total >= queued {
            break;
        }
    }
    total
}

fn peek_flow(flow: &mut Flow, take: &mut dyn FnMut(&[u8]) -> usize) -> usize {
    let queued = flow.engine.receive_queued();
    let first = flow.engine.peek(queued);
    let offered = first.len();
    let took = take(first).min(offered);
    if took < offered || offered == queued {
        return took;
    }
    // The rest lies at the front of the ring, where only a copy reaches it.
    let mut copy = vec![0; queued];
    let len = flow.engine.peek_copy(&mut copy);
    took + take(&copy[offered.min(len)..len]).min(len - offered.min(len))
}
