//! Segments out: the dirty list's work, flow by flow.

use super::FlowId;
use super::engine::{TcpEngine, TcpState};
use super::flow::{FlowOwner, FlowQueue, TimerAction};
use super::segment::{self, TcpSegment};
use crate::net::buffer::MAX_PACKET;
use crate::net::error::NetError;
use crate::net::interface::QueuedFrame;
use crate::net::ip::FrameOut;
use crate::net::ipv4::HEADER_LEN;
use crate::net::stack::NetStack;
use crate::net::timer::TimerKey;
use crate::time::Instant;

/// Segments that a flow sends before the next one has its turn: 16 of 64 KB are two full buffers.
const TURN: usize = 16;

impl NetStack {
    /// Lets a flow do all it can: timers, segments, and what follows from them.
    pub(crate) fn service_flow(&mut self, id: FlowId, now: Instant, out: &mut (dyn FrameOut + '_)) {
        let Some(flow) = self.tcp.flows.get_mut(id) else { return };
        flow.queue = FlowQueue::Idle;
        if flow.detached && !flow.aborting {
            return;
        }
        match flow.run_timers(now) {
            TimerAction::None => {}
            TimerAction::Abort(error) if flow.state == TcpState::SynSent => return self.fail_attempt(id, error),
            TimerAction::Abort(error) => self.abort_flow(id, Some(error)),
            TimerAction::Drop => return self.drop_flow(id, now),
        }
        if !self.transmit_flow(id, now, out) {
            return;
        }
        let Some(flow) = self.tcp.flows.get_mut(id) else { return };
        if flow.aborting {
            // The RST has left: nothing more is heard of this connection.
            flow.aborting = false;
            flow.state = TcpState::Closed;
            return self.end_aborted(id);
        }
        self.note_flow(id, now);
        let Some(flow) = self.tcp.flows.get_mut(id) else { return };
        if flow.state == TcpState::TimeWait && !flow.detached {
            self.tcp.enter_time_wait(id, now);
            if self.tcp.flow(id).is_ok_and(|f| f.owner == FlowOwner::Orphan) {
                self.tcp.remove(id);
            }
            return;
        }
        self.arm_flow(id, now);
    }

    /// Transmits until there is nothing more, the turn is over, or the device is full. Returns whether the flow was
    /// served: if not, it waits for its device.
    fn transmit_flow(&mut self, id: FlowId, now: Instant, out: &mut (dyn FrameOut + '_)) -> bool {
        let Some(flow) = self.tcp.flows.get_mut(id) else { return true };
        if flow.path.generation != self.ip.generation {
            let route = self.ip.path(*flow.tuple.remote.ip(), Some(*flow.tuple.local.ip()), None);
            match route {
                Ok(path) => flow.path = path,
                // No route at the moment: the engine is asked again when its timer or the peer says so.
                Err(_) => {
                    self.timers.arm(now + core::time::Duration::from_secs(1), TimerKey::Flow(id));
                    return true;
                }
            }
        }
        let path = flow.path;
        for _ in 0..TURN {
            if !path.is_local() && self.device_is_full(path.interface) {
                self.wait_for_device(id, path.interface);
                return false;
            }
            let Some(flow) = self.tcp.flows.get_mut(id) else { return true };
            let mut buf = self.ip.pool.get(MAX_PACKET);
            let Some(packet) = flow.engine.poll_transmit(buf.bytes_mut(), now) else {
                self.ip.pool.put(buf);
                return true;
            };
            buf.set_len(packet.len);
            let mut last = false;
            if let Some(segment) = TcpSegment::parse(&buf.bytes()[HEADER_LEN..]) {
                let (before, sent) = (flow.stats.retransmits, flow.snd_max);
                flow.observe_sent(&segment, now);
                self.ip.stats.tcp_retrans_segs += flow.stats.retransmits - before;
                last = flow.snd_max != sent && flow.has_sent_all();
            }
            let meta = segment::finish(buf.bytes_mut(), flow.ttl, flow.tos, path.offloads, packet.cut);
            self.ip.stats.tcp_out_segs += 1;
            self.ip.send(&path, QueuedFrame { meta, buf, charge: None }, now, Some(&mut *out));
            if last {
                return true;
            }
        }
        self.tcp.mark_dirty(id);
        true
    }

    fn device_is_full(&self, interface: crate::net::IfIndex) -> bool {
        self.ip.interface(interface).is_some_and(|i| !i.txq.is_empty())
    }

    fn wait_for_device(&mut self, id: FlowId, interface: crate::net::IfIndex) {
        if let Some(flow) = self.tcp.flows.get_mut(id)
            && let Ok(interface) = self.ip.interface_mut(interface)
        {
            // It may be on the dirty list still; what it finds there is a flow that waits, and is skipped.
            flow.queue = FlowQueue::Device;
            interface.waiting.push_back(id);
        }
    }

    /// Sees to it that the flow is served when its next deadline comes. The heap holds at most one useful entry per
    /// flow: a deadline that moved later needs none, the earlier entry finds out.
    fn arm_flow(&mut self, id: FlowId, now: Instant) {
        let Some(flow) = self.tcp.flows.get_mut(id) else { return };
        let at = flow.next_deadline(now);
        if at < flow.armed {
            flow.armed = at;
            self.timers.arm(at, TimerKey::Flow(id));
        }
    }

    /// A heap entry of the flow's has come due.
    pub(crate) fn flow_timer(&mut self, id: FlowId, at: Instant) {
        if let Some(flow) = self.tcp.flows.get_mut(id) {
            if flow.armed <= at {
                flow.armed = Instant::FAR_FUTURE;
            }
            self.tcp.mark_dirty(id);
        }
    }

    /// Resets a connection: the peer gets a RST at the next poll, the socket the error.
    pub(crate) fn abort_flow(&mut self, id: FlowId, error: Option<NetError>) {
        let Some(flow) = self.tcp.flows.get_mut(id) else { return };
        if flow.detached || flow.aborting {
            return;
        }
        flow.abort(error);
        if let FlowOwner::Socket(socket) = flow.owner {
            self.report_error(socket, error);
            self.note(socket);
        }
        self.tcp.mark_dirty(id);
    }

    fn end_aborted(&mut self, id: FlowId) {
        match self.tcp.flow(id).map(|f| f.owner) {
            Ok(FlowOwner::Socket(_) | FlowOwner::AcceptQueue(_)) => self.tcp.detach(id),
            _ => self.tcp.remove(id),
        }
    }

    /// Ends a flow without a word to the peer.
    fn drop_flow(&mut self, id: FlowId, now: Instant) {
        let Some(flow) = self.tcp.flows.get_mut(id) else { return };
        match flow.owner {
            FlowOwner::Handshake(listener) => {
                self.forget_handshake(listener);
                self.tcp.remove(id);
            }
            FlowOwner::Orphan => self.tcp.remove(id),
            FlowOwner::Socket(_) | FlowOwner::AcceptQueue(_) => {
                self.abort_flow(id, Some(NetError::TimedOut));
                self.arm_flow(id, now);
            }
        }
    }
}
