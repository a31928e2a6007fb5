//! The device: connecting, the handshake, and frames once the link is up.

use super::LinkFailure;
use super::link::{GUEST_BASE, Link, LinkMemory, RxScratch};
use super::session::SessionError;
use super::session::{Offer, Session};
use crate::device::{DeviceError, DeviceStats, EthernetDevice, FrameSink, Offloads, TxFrame};
use crate::frame::{MacAddr, Mtu};
use crate::vhost_user::message::{Features, ProtocolFeatures, parse_reply};
use crate::vhost_user::options::VhostUserOptions;
use crate::vhost_user::socket::{Listener, Stream};
use crate::vhost_user::{OpenError, OpenFailure};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// Between two attempts to reach a peer that is not there.
const RETRY: Duration = Duration::from_millis(50);
/// How long a handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// Polls between two looks at the socket while frames flow: the look costs a system call, ten times an empty poll, and a frame
/// that comes meanwhile waits.
const POLLS_PER_LOOK: u32 = 1024;
/// The same while they do not.
const POLLS_PER_ATTEMPT: u32 = 8;
/// Events taken at a time.
const EVENTS: usize = 8;

/// What an event is about.
const ON_SOCKET: u64 = 1;
const ON_LISTENER: u64 = 2;
const ON_TIMER: u64 = 3;

/// The front-end of a vhost-user link.
#[derive(Debug)]
pub struct VhostUserDevice {
    options: VhostUserOptions,
    mac: MacAddr,
    /// What the caller's stack takes on reception, and wants to use on transmission; the latter is granted whatever the peer
    /// is able to, as the rest is done in software.
    offloads: Offloads,
    /// Polls readable when the socket, the listener or the timer wants a look. Not for calls: a sleep that a call ends through
    /// another descriptor costs both sides more.
    epoll: OwnedFd,
    timer: OwnedFd,
    listener: Option<Listener>,
    state: State,
    /// Why the link went down, until it has been told.
    failure: Option<String>,
    polls: u32,
    scratch: RxScratch,
    /// Frames that are cut in software are put together here.
    tx_scratch: Vec<u8>,
    stats: DeviceStats,
}

/// How far the link has got.
#[expect(clippy::large_enum_variant, reason = "there is one for each device, and it hardly ever moves")]
#[derive(Debug)]
enum State {
    /// No peer.
    Down,
    /// Connected; messages go to and fro.
    Handshake { stream: Stream, session: Session, draft: Draft },
    /// Frames flow.
    Up { stream: Stream, link: Link },
}

/// What the handshake works on: memory, which becomes rings once it is known what they must be able to. They are complete
/// before the peer learns where they are.
#[derive(Debug, Default)]
struct Draft {
    memory: Option<LinkMemory>,
    link: Option<Link>,
}

impl Draft {
    /// Sends what is due.
    fn send_due(&mut self, stream: &Stream, session: &mut Session) -> Result<(), LinkFailure> {
        loop {
            if session.needs_rings()
                && let Some(memory) = self.memory.take()
            {
                let agreement = session.agreement();
                session.set_rings(memory.addresses(agreement.pairs));
                self.link = Some(Link::new(memory, &agreement));
            }
            let Some(message) = session.poll_send() else { return Ok(()) };
            let fd = message.fd.zip(self.link.as_ref()).and_then(|(role, link)| link.fd(role));
            stream.send(&message.bytes, fd).map_err(LinkFailure::Closed)?;
        }
    }
}

/// Makes the device that the options describe; connecting goes on in its polls.
///
/// `random` becomes the guest's address where none is named. `accept` is what the caller's stack can take.
///
/// # Errors
/// A server's socket that cannot be bound; the host out of descriptors.
pub fn open(
    interface: &str,
    options: &VhostUserOptions,
    random: [u8; 6],
    accept: Offloads,
) -> Result<VhostUserDevice, OpenError> {
    let fail = |failure| OpenError { interface: interface.into(), socket: options.socket.clone(), failure };
    let host = |op| move |errno| fail(OpenFailure::Host { op, errno });
    let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(host("making an epoll descriptor"))?;
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)
        .map_err(host("making a timer"))?;
    epoll::add(&epoll, &timer, EventData::new_u64(ON_TIMER), EventFlags::IN).map_err(host("watching the timer"))?;
    let listener = match options.server {
        false => None,
        true => {
            let listener = Listener::bind(&options.socket).map_err(|errno| fail(OpenFailure::bind(errno)))?;
            epoll::add(&epoll, &listener, EventData::new_u64(ON_LISTENER), EventFlags::IN)
                .map_err(host("watching the socket"))?;
            Some(listener)
        }
    };
    let mut device = VhostUserDevice {
        mac: options.mac.unwrap_or_else(|| MacAddr::local_from_random(random)),
        options: options.clone(),
        offloads: accept,
        epoll,
        timer,
        listener,
        state: State::Down,
        failure: None,
        polls: 0,
        scratch: RxScratch::new(),
        tx_scratch: Vec::new(),
        stats: DeviceStats::default(),
    };
    device.attempt();
    Ok(device)
}

impl VhostUserDevice {
    /// The socket's path.
    pub fn socket(&self) -> &str {
        &self.options.socket
    }

    /// Whether frames flow.
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// What we offer a device: what the stack takes, less what the options leave out.
    fn offer(&self, region_len: u64) -> Offer {
        let mut features = Features::VERSION_1
            | Features::CSUM
            | Features::HOST_TSO4
            | Features::HOST_TSO6
            | Features::HOST_ECN
            | Features::HOST_USO
            | Features::MRG_RXBUF
            | Features::MTU
            | Features::INDIRECT_DESC
            | Features::EVENT_IDX;
        let receive = [
            (Offloads::RX_CSUM, Features::GUEST_CSUM),
            (Offloads::RX_TSO4, Features::GUEST_TSO4 | Features::GUEST_ECN),
            (Offloads::RX_TSO6, Features::GUEST_TSO6 | Features::GUEST_ECN),
            (Offloads::RX_USO, Features::GUEST_USO4 | Features::GUEST_USO6),
        ];
        for (_, theirs) in receive.into_iter().filter(|(ours, _)| self.offloads.contains(*ours)) {
            features |= theirs;
        }
        if self.options.queues > 1 {
            features |= Features::MQ | Features::CTRL_VQ;
        }
        let protocol = ProtocolFeatures::all() - self.options.off_protocol;
        Offer {
            features: features - self.options.off,
            protocol,
            pairs: self.options.queues,
            guest_base: GUEST_BASE,
            region_len,
            mtu: self.mtu().0,
        }
    }

    /// Tries to reach the peer; sets the timer for the next attempt where it is not there.
    fn attempt(&mut self) {
        if self.listener.is_some() {
            return;
        }
        match Stream::connect(&self.options.socket) {
            Ok(stream) => self.connected(stream),
            Err(_) => self.set_timer(RETRY),
        }
    }

    fn connected(&mut self, stream: Stream) {
        if let Err(failure) = self.begin(stream) {
            self.reset(failure);
        }
    }

    fn begin(&mut self, stream: Stream) -> Result<(), LinkFailure> {
        let memory = LinkMemory::new(self.options.queues).map_err(LinkFailure::Host)?;
        epoll::add(&self.epoll, &stream, EventData::new_u64(ON_SOCKET), EventFlags::IN).map_err(LinkFailure::Host)?;
        let session = Session::new(self.offer(memory.region.len() as u64));
        self.state = State::Handshake { stream, session, draft: Draft { memory: Some(memory), link: None } };
        self.set_timer(HANDSHAKE_LIMIT);
        self.advance()
    }

    /// Takes the link down; a client tries again after a while.
    fn reset(&mut self, failure: LinkFailure) {
        // Descriptors leave the epoll set as they are closed.
        self.state = State::Down;
        self.failure = Some(failure.to_string());
        if self.listener.is_none() {
            self.set_timer(RETRY);
        }
    }

    fn set_timer(&self, after: Duration) {
        let value = Timespec { tv_sec: after.as_secs() as i64, tv_nsec: i64::from(after.subsec_nanos()) };
        let interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        // A valid descriptor and a valid time: there is nothing to refuse.
        let _ = timerfd_settime(
            &self.timer,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: interval, it_value: value },
        );
    }

    /// Does what became possible besides moving frames: connecting, the handshake, noticing that the peer is gone.
    fn service(&mut self) {
        self.polls = 0;
        let mut events = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; EVENTS];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let Ok(count) = epoll::wait(&self.epoll, &mut events[..], Some(&now)) else { return };
        for event in events.iter().take(count) {
            let done = match event.data.u64() {
                ON_SOCKET => self.advance(),
                ON_LISTENER => self.accept(),
                ON_TIMER => self.time_out(),
                _ => Ok(()),
            };
            if let Err(failure) = done {
                self.reset(failure);
            }
        }
    }

    fn accept(&mut self) -> Result<(), LinkFailure> {
        let Some(stream) = self.listener.as_ref().and_then(Listener::accept) else { return Ok(()) };
        match self.state {
            State::Down => self.begin(stream),
            // One peer at a time: whoever comes second finds its connection closed.
            _ => Ok(()),
        }
    }

    fn time_out(&mut self) -> Result<(), LinkFailure> {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.timer, &mut count);
        match self.state {
            State::Down => self.attempt(),
            State::Handshake { .. } => return Err(LinkFailure::Silent),
            State::Up { .. } => {}
        }
        Ok(())
    }

    /// Reads answers and sends what is due.
    fn advance(&mut self) -> Result<(), LinkFailure> {
        match &mut self.state {
            State::Down => return Ok(()),
            State::Up { stream, .. } => {
                // An established back-end has nothing to say here.
                let bytes = stream.fill().map_err(LinkFailure::Closed)?;
                if let Some((reply, _)) = parse_reply(bytes)? {
                    return Err(SessionError::Unexpected(reply.request).into());
                }
                return Ok(());
            }
            State::Handshake { stream, session, draft } => {
                draft.send_due(stream, session)?;
                while let Some((reply, len)) = parse_reply(stream.fill().map_err(LinkFailure::Closed)?)? {
                    session.handle(reply)?;
                    stream.consume(len);
                    draft.send_due(stream, session)?;
                }
                if !session.is_established() {
                    return Ok(());
                }
            }
        }
        if let State::Handshake { stream, draft: Draft { link: Some(link), .. }, .. } =
            core::mem::replace(&mut self.state, State::Down)
        {
            link.start();
            self.failure = None;
            self.state = State::Up { stream, link };
        }
        Ok(())
    }
}

impl EthernetDevice for VhostUserDevice {
    fn mac(&self) -> MacAddr {
        self.mac
    }

    fn set_mac(&mut self, mac: MacAddr) {
        self.mac = mac;
    }

    fn mtu(&self) -> Mtu {
        self.options.mtu
    }

    fn offloads(&self) -> Offloads {
        self.offloads
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FrameSink) -> Result<usize, DeviceError> {
        self.polls += 1;
        if self.polls >= if self.is_up() { POLLS_PER_LOOK } else { POLLS_PER_ATTEMPT } {
            self.service();
        }
        let State::Up { link, .. } = &mut self.state else {
            return self.failure.take().map_or(Ok(0), |reason| Err(DeviceError::Peer(reason)));
        };
        match link.receive(budget, &mut self.scratch, &mut self.stats, sink) {
            Ok(taken) => Ok(taken),
            Err(failure) => {
                self.reset(failure);
                Err(self.failure.take().map_or(DeviceError::LinkDown, DeviceError::Peer))
            }
        }
    }

    fn may_receive(&self) -> bool {
        match &self.state {
            State::Up { link, .. } => link.may_receive(),
            _ => true,
        }
    }

    fn transmit(&mut self, frames: &[TxFrame<'_>]) -> Result<usize, DeviceError> {
        let State::Up { link, .. } = &mut self.state else { return Err(DeviceError::LinkDown) };
        let mut taken = 0;
        for frame in frames {
            match link.send(frame, &mut self.stats, &mut self.tx_scratch) {
                Ok(true) => taken += 1,
                Ok(false) => break,
                Err(failure) => {
                    self.reset(failure);
                    return Err(self.failure.take().map_or(DeviceError::LinkDown, DeviceError::Peer));
                }
            }
        }
        link.flush();
        Ok(taken)
    }

    fn prepare_sleep(&mut self) -> bool {
        // Calls are taken before the next sleep and not after the last, when frames wait. Where none came, something else
        // ended that sleep.
        let called = match &self.state {
            State::Up { link, .. } => link.take_calls(),
            _ => false,
        };
        if !called {
            self.service();
        }
        match &mut self.state {
            State::Up { link, .. } => link.arm(),
            // The caller is to hear of a failure now.
            _ => self.failure.is_some(),
        }
    }

    fn poll_fds<'a>(&'a self, watch: &mut dyn FnMut(BorrowedFd<'a>)) {
        if let State::Up { link, .. } = &self.state {
            watch(link.call_fd());
        }
        watch(self.epoll.as_fd());
    }

    fn stats(&self) -> DeviceStats {
        self.stats
    }
}
