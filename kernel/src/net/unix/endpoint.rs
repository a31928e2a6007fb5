//! One unix socket: what it is connected to, what it has received, and how it ends.

use super::name::{self, Binding, Name, Wanted};
use super::queue::{Inbox, Leftovers, SendBuffer};
use super::rights::Credential;
use crate::error::{Errno, Result};
use crate::fs::poll::{PollEvents, PollWatch};
use crate::net::Shutdown;
use crate::net::file::{RawAddress, SocketType};
use crate::sched::WaitQueue;
use crate::sync::{Rank, SpinGuard, SpinLock};
use crate::task::Thread;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// `net.unix.max_dgram_qlen`: messages beyond which a datagram socket takes no more from strangers.
const MAX_DATAGRAMS: usize = 10;
/// `net.core.somaxconn`.
const MAX_BACKLOG: usize = 4096;

/// What a socket is connected to.
pub(super) enum Role {
    Unconnected,
    Listening { pending: VecDeque<Arc<Endpoint>>, backlog: usize },
    Connected(Arc<Endpoint>),
    Closed,
}

pub(super) struct State {
    pub(super) role: Role,
    pub(super) binding: Option<Binding>,
    pub(super) receive_shut: bool,
    pub(super) send_shut: bool,
    pub(super) error: Option<Errno>,
    /// `SO_PEERCRED`; of a listener, who called listen(2).
    pub(super) peer: Option<Credential>,
    pub(super) inbox: Inbox,
    /// The full queue that the last send or connect met: there is no use in trying again before it has room.
    obstacle: Option<Weak<Endpoint>>,
    /// Waiters of sockets that found this one's inbox or backlog full: they hear of room once, and come again.
    blocked: Vec<Weak<WaitQueue>>,
    /// A connection's name, which is its listener's.
    inherited: Option<Name>,
}

impl State {
    pub(super) fn name(&self) -> Option<&Name> {
        self.binding.as_ref().map(|b| &b.name).or(self.inherited.as_ref())
    }
}

/// A unix socket.
pub struct Endpoint {
    kind: SocketType,
    id: u64,
    state: SpinLock<State>,
    /// Who waits for this socket.
    pub(super) waiters: Arc<WaitQueue>,
    pub(super) account: Arc<SendBuffer>,
    /// `SO_PASSCRED`.
    pub(super) pass_credentials: AtomicBool,
}

static ALL: SpinLock<BTreeMap<u64, Weak<Endpoint>>> = SpinLock::new(Rank::Socket, BTreeMap::new());

/// Every unix socket.
pub fn all() -> Vec<Arc<Endpoint>> {
    ALL.lock().values().filter_map(Weak::upgrade).collect()
}

/// A socket as `/proc/net/unix` shows it.
pub struct Summary {
    /// The number in the order of making.
    pub id: u64,
    /// Its type.
    pub kind: SocketType,
    /// Whether it accepts connections.
    pub listening: bool,
    /// Whether it is connected.
    pub connected: bool,
    /// Its name, with an `@` for each NUL.
    pub name: Option<Vec<u8>>,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        ALL.lock().remove(&self.id);
    }
}

impl Endpoint {
    /// A socket that is connected to nothing.
    pub fn new(kind: SocketType) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let waiters = Arc::new(WaitQueue::new());
        let state = State {
            role: Role::Unconnected,
            binding: None,
            receive_shut: false,
            send_shut: false,
            error: None,
            peer: None,
            inbox: Inbox::default(),
            obstacle: None,
            blocked: Vec::new(),
            inherited: None,
        };
        let endpoint = Arc::new(Endpoint {
            kind,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            state: SpinLock::new(Rank::UnixSocket, state),
            account: SendBuffer::new(waiters.clone()),
            waiters,
            pass_credentials: AtomicBool::new(false),
        });
        ALL.lock().insert(endpoint.id, Arc::downgrade(&endpoint));
        endpoint
    }

    /// `SO_TYPE`.
    pub fn kind(&self) -> SocketType {
        self.kind
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn lock(&self) -> SpinGuard<'_, State> {
        self.state.lock()
    }

    /// For `/proc/net/unix`.
    pub fn summary(&self) -> Summary {
        let state = self.lock();
        Summary {
            id: self.id,
            kind: self.kind,
            listening: matches!(state.role, Role::Listening { .. }),
            connected: matches!(state.role, Role::Connected(_)),
            name: state.name().map(Name::shown),
        }
    }

    /// Whether messages and connections end together with the other side's socket.
    pub(super) fn is_connection(&self) -> bool {
        self.kind != SocketType::Datagram
    }

    /// Connects this side to `peer`.
    pub(super) fn join(&self, peer: &Arc<Endpoint>, who: Credential) {
        let mut state = self.lock();
        state.role = Role::Connected(peer.clone());
        state.peer = Some(who);
    }

    /// bind(2).
    pub(super) fn bind(self: &Arc<Self>, t: &Thread, wanted: &Wanted<'_>) -> Result<()> {
        if self.lock().binding.is_some() {
            let harmless = matches!(wanted, Wanted::Any);
            return if harmless { Ok(()) } else { Err(Errno::EINVAL.because("the socket has a name")) };
        }
        let binding = name::bind(t, self, wanted)?;
        let rejected = {
            let mut state = self.lock();
            match state.binding {
                Some(_) => Some(binding),
                None => {
                    state.binding = Some(binding);
                    None
                }
            }
        };
        match rejected {
            None => Ok(()),
            // Two threads bound one socket at the same time.
            Some(binding) => {
                name::release(self.kind, &binding);
                Err(Errno::EINVAL.because("the socket has a name"))
            }
        }
    }

    /// With SO_PASSCRED a socket gets a name before it sends (unix(7)).
    pub(super) fn autobind(self: &Arc<Self>, t: &Thread) -> Result<()> {
        if self.pass_credentials.load(Ordering::Relaxed) && self.lock().name().is_none() {
            return self.bind(t, &Wanted::Any);
        }
        Ok(())
    }

    /// listen(2).
    pub(super) fn listen(&self, backlog: usize, who: Credential) -> Result<()> {
        if !self.is_connection() {
            return Err(Errno::EOPNOTSUPP.because("datagram sockets do not listen"));
        }
        let mut state = self.lock();
        if state.binding.is_none() {
            return Err(Errno::EINVAL.because("the socket has no name"));
        }
        let allowed = backlog.min(MAX_BACKLOG);
        match &mut state.role {
            Role::Unconnected => state.role = Role::Listening { pending: VecDeque::new(), backlog: allowed },
            Role::Listening { backlog, .. } => *backlog = allowed,
            _ => return Err(Errno::EINVAL.because("the socket is connected")),
        }
        state.peer = Some(who);
        drop(state);
        self.wake_blocked();
        Ok(())
    }

    /// accept(2): the connection, and its peer's name.
    pub(super) fn accept(&self) -> Result<(Arc<Endpoint>, Option<Name>)> {
        if !self.is_connection() {
            return Err(Errno::EOPNOTSUPP.because("datagram sockets accept nothing"));
        }
        let accepted = {
            let mut state = self.lock();
            let shut = state.receive_shut;
            let Role::Listening { pending, .. } = &mut state.role else {
                return Err(Errno::EINVAL.because("the socket does not listen"));
            };
            match pending.pop_front() {
                None if shut => return Err(Errno::EINVAL.because("the listener is shut down")),
                None => return Err(Errno::EAGAIN.into()),
                Some(endpoint) => endpoint,
            }
        };
        self.wake_blocked();
        let client = accepted.peer_endpoint();
        let name = client.and_then(|c| c.lock().name().cloned());
        Ok((accepted, name))
    }

    /// The other side of a connection.
    pub(super) fn peer_endpoint(&self) -> Option<Arc<Endpoint>> {
        match &self.lock().role {
            Role::Connected(peer) => Some(peer.clone()),
            _ => None,
        }
    }

    /// connect(2) of a stream or of sequenced packets; EAGAIN while the listener's backlog is full.
    pub(super) fn connect(self: &Arc<Self>, t: &Thread, address: &RawAddress) -> Result<()> {
        self.autobind(t)?;
        let listener = name::find(t, self.kind, address)?;
        let (full, host, server_name) = {
            let state = listener.lock();
            let Role::Listening { pending, backlog } = &state.role else {
                return Err(Errno::ECONNREFUSED.because("the socket there does not listen"));
            };
            if state.receive_shut {
                return Err(Errno::ECONNREFUSED.because("the listener is shut down"));
            }
            (pending.len() > *backlog, state.peer, state.name().cloned())
        };
        let server = Endpoint::new(self.kind);
        server.lock().inherited = server_name;
        {
            let mut state = self.lock();
            match state.role {
                Role::Unconnected => {}
                Role::Connected(_) => return Err(Errno::EISCONN.into()),
                _ => return Err(Errno::EINVAL.because("the socket listens")),
            }
            if full {
                state.obstacle = Some(Arc::downgrade(&listener));
                return Err(Errno::EAGAIN.because("the listener's backlog is full"));
            }
            state.role = Role::Connected(server.clone());
            state.peer = host;
        }
        server.join(self, Credential::effective(t));
        server.account.set_limit(listener.account.limit());
        let pass = listener.pass_credentials.load(Ordering::Relaxed);
        server.pass_credentials.store(pass, Ordering::Relaxed);
        let refused = match &mut listener.lock().role {
            Role::Listening { pending, .. } => {
                pending.push_back(server.clone());
                false
            }
            _ => true,
        };
        if refused {
            self.lock().role = Role::Unconnected;
            server.lock().role = Role::Closed;
            return Err(Errno::ECONNREFUSED.because("the listener went away"));
        }
        self.waiters.wake(PollEvents::WRITABLE);
        listener.waiters.wake(PollEvents::READABLE);
        Ok(())
    }

    /// connect(2) of a datagram socket: where send(2) goes, and whom it hears; `None` ends that.
    pub(super) fn set_peer(self: &Arc<Self>, peer: Option<Arc<Endpoint>>) -> Result<()> {
        if let Some(p) = &peer
            && !p.hears(self)
        {
            return Err(Errno::EPERM.because("the socket there is connected to another"));
        }
        let (old, leftovers) = {
            let mut state = self.lock();
            let new = peer.map_or(Role::Unconnected, Role::Connected);
            let old = core::mem::replace(&mut state.role, new);
            let changed = match (&old, &state.role) {
                (Role::Connected(a), Role::Connected(b)) => !Arc::ptr_eq(a, b),
                (Role::Connected(_), _) => true,
                _ => false,
            };
            // What others than the peer have sent is not for this socket any more.
            (old, changed.then(|| state.inbox.drain()))
        };
        drop(old);
        if let Some(leftovers) = leftovers {
            leftovers.dispose();
        }
        self.wake_blocked();
        Ok(())
    }

    /// Whether a datagram socket takes messages from `sender`: a connected one only from its peer.
    pub(super) fn hears(&self, sender: &Arc<Endpoint>) -> bool {
        match &self.lock().role {
            Role::Connected(peer) => Arc::ptr_eq(peer, sender),
            _ => true,
        }
    }

    /// Whether the inbox or the backlog has no room for another of `sender`'s, who is told then when there is.
    fn is_full(&self, sender: &Endpoint) -> bool {
        let mut state = self.lock();
        let full = match &state.role {
            Role::Listening { pending, backlog } => pending.len() > *backlog,
            Role::Connected(peer) if core::ptr::eq(&**peer, sender) => false,
            Role::Closed => false,
            _ => !self.is_connection() && state.inbox.count() > MAX_DATAGRAMS,
        };
        if full && !state.blocked.iter().any(|w| core::ptr::eq(w.as_ptr(), Arc::as_ptr(&sender.waiters))) {
            state.blocked.retain(|w| w.strong_count() > 0);
            state.blocked.push(Arc::downgrade(&sender.waiters));
        }
        full
    }

    /// Tells those who found no room that there may be some.
    fn wake_blocked(&self) {
        let blocked = core::mem::take(&mut self.lock().blocked);
        for waiters in blocked.iter().filter_map(Weak::upgrade) {
            waiters.wake(PollEvents::WRITABLE);
        }
    }

    /// EAGAIN, remembered for poll, while `to` has no room for another of ours.
    pub(super) fn check_space(&self, to: &Arc<Endpoint>) -> Result<()> {
        if !to.is_full(self) {
            return Ok(());
        }
        self.lock().obstacle = Some(Arc::downgrade(to));
        Err(Errno::EAGAIN.because("the receiver's queue is full"))
    }

    /// Something was taken out of the inbox.
    pub(super) fn made_space(&self) {
        if !self.is_connection() {
            self.wake_blocked();
        }
    }

    /// shutdown(2): what this side shuts, the other side of a connection finds shut, too.
    pub(super) fn shutdown(&self, how: Shutdown) {
        let (read, write) = (how != Shutdown::Write, how != Shutdown::Read);
        let peer = {
            let mut state = self.lock();
            state.receive_shut |= read;
            state.send_shut |= write;
            match &state.role {
                Role::Connected(peer) if self.is_connection() => Some(peer.clone()),
                _ => None,
            }
        };
        self.wake_all();
        if let Some(peer) = peer {
            peer.shut_by_peer(read, write, None);
        }
    }

    fn shut_by_peer(&self, reads: bool, writes: bool, error: Option<Errno>) {
        {
            let mut state = self.lock();
            state.send_shut |= reads;
            state.receive_shut |= writes;
            if error.is_some() {
                state.error = error;
            }
        }
        self.wake_all();
    }

    fn wake_all(&self) {
        self.waiters.wake(PollEvents::READABLE | PollEvents::WRITABLE | PollEvents::RDHUP | PollEvents::HUP);
        self.wake_blocked();
    }

    /// The end of the socket: nobody can use it any more. Connections that were never accepted end with a reset.
    pub(super) fn close(&self, never_accepted: bool) {
        let (role, binding, leftovers): (Role, Option<Binding>, Leftovers) = {
            let mut state = self.lock();
            state.receive_shut = true;
            state.send_shut = true;
            (core::mem::replace(&mut state.role, Role::Closed), state.binding.take(), state.inbox.drain())
        };
        if let Some(binding) = binding {
            name::release(self.kind, &binding);
        }
        self.wake_all();
        match role {
            Role::Listening { pending, .. } => pending.iter().for_each(|p| p.close(true)),
            Role::Connected(peer) if self.is_connection() => {
                let unread = never_accepted || !leftovers.is_empty();
                peer.shut_by_peer(true, true, unread.then_some(Errno::ECONNRESET));
            }
            _ => {}
        }
        leftovers.dispose();
    }

    /// poll(2).
    pub(super) fn poll(&self, watch: &mut PollWatch<'_>) -> PollEvents {
        watch.watch(&self.waiters);
        let mut events = PollEvents::empty();
        let (listening, obstacle, peer) = {
            let state = self.lock();
            events.set(PollEvents::ERR, state.error.is_some());
            events.set(PollEvents::HUP, state.receive_shut && state.send_shut);
            events.set(PollEvents::RDHUP | PollEvents::READABLE, state.receive_shut);
            let (some, unconnected) = match &state.role {
                Role::Listening { pending, .. } => (!pending.is_empty(), false),
                Role::Unconnected => (!state.inbox.is_empty(), true),
                _ => (!state.inbox.is_empty(), false),
            };
            if some {
                events |= PollEvents::READABLE;
            }
            if self.is_connection() && unconnected {
                events |= PollEvents::HUP;
            }
            let peer = match &state.role {
                Role::Connected(peer) if !self.is_connection() => Some(peer.clone()),
                _ => None,
            };
            let listening = matches!(state.role, Role::Listening { .. });
            (listening, state.obstacle.as_ref().and_then(Weak::upgrade), peer)
        };
        if let Some(listener) = &obstacle {
            if listener.is_full(self) {
                // A connect or sendto that waits: neither writable nor, before it is connected, hung up.
                return events - PollEvents::HUP;
            }
            self.lock().obstacle = None;
        }
        if !listening && self.account.writable() && !peer.is_some_and(|p| p.is_full(self)) {
            events |= PollEvents::WRITABLE | PollEvents::WRBAND;
        }
        events
    }
}
