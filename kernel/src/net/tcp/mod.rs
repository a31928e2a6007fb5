//! TCP: flows in front, an engine per flow behind.
//!
//! A segment finds its entry in the flow table by 4-tuple: a live [`flow::Flow`], or a tuple in TIME-WAIT. A SYN for
//! no entry goes to the listener on its port; anything else is answered with a reset. Whatever happens to a flow
//! (segment, send, read, timer) puts it on the dirty list; the poll loop takes it from there, lets its engine transmit
//! for as long as there is something and the device takes it, and arms the timer heap with its next deadline. No flow
//! is looked at that has nothing to do.
//!
//! A flow outlives its socket (orphans finish by themselves) and a socket its flow (what was received can be read
//! after the connection is gone: the flow is then *detached*).

pub(super) mod calls;
pub mod engine;
pub(super) mod flow;
mod info;
mod input;
mod output;
mod round_trips;
mod segment;
mod smoltcp_engine;
mod time_wait;

pub use info::{TcpInfo, congestion_name};

use super::addr::{FourTuple, stays_inside};
use super::error::NetError;
use super::port::{PortTable, Sharing};
use super::random::{Rng, Secret};
use super::slab::{Key, Slab};
use crate::time::Instant;
use alloc::collections::VecDeque;
use core::net::{Ipv4Addr, SocketAddrV4};
use core::time::Duration;
use flow::{Flow, FlowQueue};
use hashbrown::HashMap;
use round_trips::RoundTrips;
use smoltcp_engine::EnginePool;
use time_wait::{TimeWait, TimeWaitQueue};

/// Names a flow.
pub(crate) type FlowId = Key<Flow>;

/// Send and receive buffer of a connection in bytes where the program sets none. At 40 Gbit/s and the 100 µs that two
/// wake-ups take, 500 KB are in flight; more than a core's level-2 cache holds would only make the copies slower.
pub const DEFAULT_BUFFER: usize = 512 * 1024;
/// What that becomes at most for a host that is known to be further away ([`RoundTrips`]).
const FAR_BUFFER: usize = 2 * 1024 * 1024;
/// What that becomes where there are many connections (`tcp_mem` on Linux): from so many flows on, so many bytes. Buffers
/// are the kernel's memory, which `mem=` does not bound.
const CROWDED: [(usize, usize); 2] = [(512, 32 * 1024), (64, 128 * 1024)];
/// Largest buffer a program can ask for (`tcp_rmem`, `tcp_wmem`).
pub const MAX_BUFFER: usize = 8 * 1024 * 1024;
/// Smallest.
pub const MIN_BUFFER: usize = 4096;
/// Largest listen backlog (`somaxconn`).
pub const MAX_BACKLOG: usize = 4096;
/// How long a tuple of loopback stays in TIME-WAIT at least before it is taken again.
const TIME_WAIT_REUSE: Duration = Duration::from_secs(1);
/// Handshakes under way at one listener; further SYNs are dropped, the peer repeats them.
const MAX_HANDSHAKES: usize = 256;
/// Connections whose socket is closed; beyond, a close resets (`tcp_max_orphans`).
const MAX_ORPHANS: usize = 8192;

/// What a TCP socket is at the moment.
#[derive(Default)]
pub(crate) struct TcpSocket {
    pub(crate) state: TcpSocketState,
    /// The local address, once bound; its port is claimed in the port table.
    pub(crate) bound: Option<SocketAddrV4>,
    /// What `bind` made of it, without what `connect` and `listen` add: it comes back when these have failed or ended.
    pub(crate) asked: Option<SocketAddrV4>,
    /// `shutdown(SHUT_RD)` was called.
    pub(crate) read_shut: bool,
}

/// States of a TCP socket.
#[derive(Default)]
pub(crate) enum TcpSocketState {
    /// Neither connected nor listening.
    #[default]
    Unconnected,
    /// Takes connections.
    Listening(Listener),
    /// Has a connection, or is making one, or had one.
    Connected {
        /// Its flow.
        flow: FlowId,
        /// The program was told that the connection attempt ended.
        reported: bool,
    },
}

/// A listening socket's queues.
pub(crate) struct Listener {
    /// How many finished connections may wait, less one (`listen(2)`).
    pub(crate) backlog: usize,
    /// Handshakes under way.
    pub(crate) handshakes: usize,
    /// Connections to accept.
    pub(crate) queue: VecDeque<FlowId>,
}

/// A tuple in the flow table.
enum Entry {
    Flow(FlowId),
    TimeWait(TimeWait),
}

/// Whether a new connection of ours may have a tuple: it is free, or has stayed in TIME-WAIT for a while and both ends are
/// in this machine, where no old segment is under way (`tcp_tw_reuse` = 2 on Linux).
fn may_take(table: &HashMap<FourTuple, Entry>, tuple: FourTuple, now: Instant) -> bool {
    let inside = stays_inside(*tuple.local.ip()) && stays_inside(*tuple.remote.ip());
    match table.get(&tuple) {
        None => true,
        Some(Entry::TimeWait(tw)) => inside && now + (time_wait::TIME_WAIT - TIME_WAIT_REUSE) >= tw.expires,
        Some(Entry::Flow(_)) => false,
    }
}

/// All of TCP's tables.
pub(crate) struct TcpLayer {
    pub(crate) flows: Slab<Flow>,
    table: HashMap<FourTuple, Entry>,
    pub(in crate::net) ports: PortTable,
    time_wait: TimeWaitQueue,
    pub(crate) dirty: VecDeque<FlowId>,
    pool: EnginePool,
    orphans: usize,
    round_trips: RoundTrips,
    sequence_secret: Secret,
}

impl TcpLayer {
    pub(crate) fn new(rng: &mut Rng) -> TcpLayer {
        TcpLayer {
            flows: Slab::default(),
            table: HashMap::new(),
            ports: PortTable::new(Sharing::Tcp),
            time_wait: TimeWaitQueue::default(),
            dirty: VecDeque::new(),
            pool: EnginePool::default(),
            orphans: 0,
            round_trips: RoundTrips::default(),
            sequence_secret: rng.secret(),
        }
    }

    /// An initial sequence number: a clock of 4 µs plus a keyed hash of the tuple (RFC 6528, section 3), so that
    /// numbers of one tuple grow with time and those of others say nothing about it.
    fn initial_sequence(&self, tuple: FourTuple, now: Instant) -> u32 {
        let clock = (now.0 / 4000) as u32;
        clock.wrapping_add(self.sequence_secret.hash(&tuple.to_bytes()) as u32)
    }

    /// The size of the buffers of a new connection with `remote` where the program sets none, in bytes.
    fn default_buffer(&self, remote: Ipv4Addr) -> usize {
        let flows = self.flows.len();
        match CROWDED.iter().find(|(from, _)| flows >= *from) {
            Some((_, bytes)) => *bytes,
            None => self.round_trips.bytes_under_way(remote).clamp(DEFAULT_BUFFER, FAR_BUFFER),
        }
    }

    /// Puts a flow on the dirty list.
    pub(crate) fn mark_dirty(&mut self, id: FlowId) {
        if let Some(flow) = self.flows.get_mut(id)
            && flow.queue == FlowQueue::Idle
        {
            flow.queue = FlowQueue::Dirty;
            self.dirty.push_back(id);
        }
    }

    /// Flows that waited for a device may go on.
    pub(crate) fn unblock(&mut self, id: FlowId) {
        if let Some(flow) = self.flows.get_mut(id)
            && flow.queue == FlowQueue::Device
        {
            flow.queue = FlowQueue::Dirty;
            self.dirty.push_back(id);
        }
    }

    /// Frees tuples whose stay in TIME-WAIT is over.
    pub(crate) fn expire_time_wait(&mut self, now: Instant) {
        while let Some((marked, tuple)) = self.time_wait.pop(now) {
            if let Some(Entry::TimeWait(tw)) = self.table.get(&tuple)
                && tw.expires == marked
            {
                self.forget_time_wait(tuple);
            }
        }
    }

    /// When [`TcpLayer::expire_time_wait`] has something to do.
    pub(crate) fn time_wait_deadline(&self) -> Option<Instant> {
        self.time_wait.next_deadline()
    }

    fn forget_time_wait(&mut self, tuple: FourTuple) {
        if let Some(Entry::TimeWait(tw)) = self.table.get(&tuple) {
            let reuse = tw.reuse;
            self.table.remove(&tuple);
            self.ports.release(tuple.local.port(), reuse);
        }
    }

    fn flow(&self, id: FlowId) -> Result<&Flow, NetError> {
        self.flows.get(id).ok_or(NetError::NotConnected)
    }

    fn flow_mut(&mut self, id: FlowId) -> Result<&mut Flow, NetError> {
        self.flows.get_mut(id).ok_or(NetError::NotConnected)
    }

    /// Enters a new flow; its local port is in use from now on.
    fn insert(&mut self, flow: Flow) -> FlowId {
        let (tuple, reuse) = (flow.tuple, flow.reuse);
        let id = self.flows.insert(flow);
        self.table.insert(tuple, Entry::Flow(id));
        self.ports.hold(tuple.local.port(), reuse);
        id
    }

    /// Takes a flow out of the table; its tuple is free.
    fn detach(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        if core::mem::replace(&mut flow.detached, true) {
            return;
        }
        let (tuple, reuse) = (flow.tuple, flow.reuse);
        if matches!(self.table.get(&tuple), Some(Entry::Flow(entry)) if *entry == id) {
            self.table.remove(&tuple);
        }
        self.ports.release(tuple.local.port(), reuse);
    }

    /// Ends a flow altogether.
    fn remove(&mut self, id: FlowId) {
        self.detach(id);
        if let Some(flow) = self.flows.remove(id) {
            self.orphans -= usize::from(flow.owner == flow::FlowOwner::Orphan).min(self.orphans);
            self.pool.put(flow.engine);
        }
    }

    /// Turns a flow whose engine has reached TIME-WAIT into a tuple that only waits.
    fn enter_time_wait(&mut self, id: FlowId, now: Instant) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        if core::mem::replace(&mut flow.detached, true) {
            return;
        }
        let expires = now + time_wait::TIME_WAIT;
        let (tuple, reuse) = (flow.tuple, flow.reuse);
        let entry = TimeWait { snd_nxt: flow.snd_max, rcv_nxt: flow.rcv_nxt, window: flow.window, expires, reuse };
        self.table.insert(tuple, Entry::TimeWait(entry));
        self.time_wait.push(tuple, expires);
    }

    /// Every connection and tuple in TIME-WAIT, for `/proc/net/tcp`.
    pub(crate) fn tuples(&self) -> impl Iterator<Item = (FourTuple, engine::TcpState)> + '_ {
        self.table.iter().filter_map(|(tuple, entry)| match entry {
            Entry::Flow(id) => self.flows.get(*id).map(|f| (*tuple, f.state)),
            Entry::TimeWait(_) => Some((*tuple, engine::TcpState::TimeWait)),
        })
    }
}
