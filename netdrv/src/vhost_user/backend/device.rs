//! The device side of a link, as an ethernet device of this machine.

use super::control;
use super::link::{Link, Scratch, Sent};
use crate::device::{DeviceError, DeviceStats, EthernetDevice, FrameSink, Offloads, TxFrame};
use crate::frame::{FrameMeta, GsoKind, MacAddr, Mtu};
use crate::sys::favored::{Owner, Visitor, VisitorGuard, favored};
use crate::sys::thread::block_signals;
use crate::vhost_user::message::Features;
use crate::vhost_user::options::VhostUserOptions;
use crate::vhost_user::socket::Listener;
use crate::vhost_user::{OpenError, OpenFailure};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use spin::Mutex;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

/// What the control thread and the caller's polls have in common.
#[derive(Debug)]
pub(super) struct Shared {
    link: Visitor<Link>,
    /// Ends the caller's sleep, as kicks do: the control thread has changed something.
    wake: OwnedFd,
    /// Whether there is something in `wake`, as a look at it costs a system call. Set after it is written: who is woken in between
    /// comes again.
    woken: AtomicBool,
    /// Ends the control thread's waits.
    stop: OwnedFd,
    stopping: AtomicBool,
    /// The connection, to be shut down from here.
    connection: Mutex<Option<UnixStream>>,
    /// Why the last front-end went, until it has been told.
    failure: Mutex<Option<String>>,
    /// Offloads that the caller's stack takes.
    accept: Offloads,
    /// The address that a driver is told to use: ours, but for one bit.
    peer_mac: [u8; 6],
}

impl Shared {
    /// The link, once the caller's polls leave it for a moment.
    pub(super) fn link(&self) -> VisitorGuard<'_, Link> {
        self.link.lock()
    }

    pub(super) fn stop_fd(&self) -> BorrowedFd<'_> {
        self.stop.as_fd()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn peer_mac(&self) -> [u8; 6] {
        self.peer_mac
    }

    /// What a driver may send us, as features.
    pub(super) fn accepted(&self) -> Features {
        let pairs = [
            (Offloads::RX_CSUM, Features::CSUM),
            (Offloads::RX_TSO4, Features::HOST_TSO4.union(Features::HOST_ECN)),
            (Offloads::RX_TSO6, Features::HOST_TSO6.union(Features::HOST_ECN)),
            (Offloads::RX_USO, Features::HOST_USO),
        ];
        pairs.into_iter().filter(|(ours, _)| self.accept.contains(*ours)).map(|(_, theirs)| theirs).collect()
    }

    /// Ends the caller's sleep.
    pub(super) fn wake(&self) {
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        self.woken.store(true, Ordering::Release);
    }

    pub(super) fn connected(&self, stream: UnixStream) {
        *self.connection.lock() = Some(stream);
    }

    pub(super) fn disconnected(&self, reason: String) {
        *self.connection.lock() = None;
        // A violation that was found in the ring is the better reason.
        self.failure.lock().get_or_insert(reason);
        self.wake();
    }

    /// Drops a front-end that has broken the rules.
    fn drop_peer(&self, violation: &super::Violation) -> DeviceError {
        // The caller is told here; what the control thread finds is the consequence.
        *self.failure.lock() = None;
        self.hang_up();
        DeviceError::Peer(violation.text())
    }

    /// Ends the connection, which the control thread sees.
    fn hang_up(&self) {
        if let Some(stream) = &*self.connection.lock() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// The device side of a vhost-user link.
#[derive(Debug)]
pub struct BackendDevice {
    shared: Arc<Shared>,
    link: Owner<Link>,
    control: Option<JoinHandle<()>>,
    options: VhostUserOptions,
    mac: MacAddr,
    accept: Offloads,
    /// A frame was turned away for want of buffers.
    blocked: bool,
    /// A frame was turned away as the control thread had the link: nobody tells when that is over.
    missed: bool,
    /// The kicks that the next sleep waits for; the control thread may replace the link's meanwhile.
    kicks: Option<Arc<OwnedFd>>,
    scratch: Scratch,
    /// Frames that are cut in software are put together here.
    tx_scratch: Vec<u8>,
    stats: DeviceStats,
}

/// Makes the device that the options describe; front-ends may come and go from then on.
///
/// `random` becomes this side's address where none is named. `accept` is what the caller's stack can take. A thread is
/// started, so that the host's filters and signal handlers must not be in place yet.
///
/// # Errors
/// A server's socket that cannot be bound; the host out of descriptors or threads.
pub fn open(
    interface: &str,
    options: &VhostUserOptions,
    random: [u8; 6],
    accept: Offloads,
) -> Result<BackendDevice, OpenError> {
    let fail = |failure| OpenError { interface: interface.into(), socket: options.socket.clone(), failure };
    let host = |op| move |errno| fail(OpenFailure::Host { op, errno });
    let listener = match options.server {
        true => Some(Listener::bind(&options.socket).map_err(|errno| fail(OpenFailure::bind(errno)))?),
        false => None,
    };
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let wake = eventfd(0, flags).map_err(host("making an eventfd"))?;
    let mac = options.mac.unwrap_or_else(|| MacAddr::local_from_random(random));
    let MacAddr([first, b, c, d, e, last]) = mac;
    let (link, theirs) = favored(Link::new(options.queues));
    let shared = Arc::new(Shared {
        link: theirs,
        wake,
        woken: AtomicBool::new(false),
        stop: eventfd(0, flags).map_err(host("making an eventfd"))?,
        stopping: AtomicBool::new(false),
        connection: Mutex::new(None),
        failure: Mutex::new(None),
        accept,
        peer_mac: [first | 2, b, c, d, e, last ^ 1],
    });
    let (masked, wait) = mpsc::channel();
    let (ours, theirs) = (options.clone(), shared.clone());
    let control = thread::Builder::new().name("vhost-user".into()).spawn(move || {
        block_signals();
        let _ = masked.send(());
        control::run(&ours, listener.as_ref(), &theirs);
    });
    let control = control.map_err(|e| host("starting a thread")(Errno::from_io_error(&e).unwrap_or(Errno::AGAIN)))?;
    // From here on no signal reaches the thread.
    let _ = wait.recv();
    Ok(BackendDevice {
        shared,
        link,
        control: Some(control),
        options: options.clone(),
        mac,
        accept,
        blocked: false,
        missed: false,
        kicks: None,
        scratch: Scratch::new(),
        tx_scratch: Vec::new(),
        stats: DeviceStats::default(),
    })
}

impl BackendDevice {
    /// The socket's path.
    pub fn socket(&self) -> &str {
        &self.options.socket
    }

    /// Whether frames can flow.
    pub fn is_up(&self) -> bool {
        self.link.enter().is_none_or(|link| link.is_up())
    }
}

/// Whether a caller that accepts this takes a frame of that kind.
fn takes(accept: Offloads, meta: &FrameMeta) -> bool {
    accept.contains(match meta.gso.map(|gso| gso.kind) {
        None => return true,
        Some(GsoKind::TcpV4) => Offloads::RX_TSO4,
        Some(GsoKind::TcpV6) => Offloads::RX_TSO6,
        Some(GsoKind::UdpL4) => Offloads::RX_USO,
    })
}

impl EthernetDevice for BackendDevice {
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
        self.accept
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FrameSink) -> Result<usize, DeviceError> {
        let shared = &*self.shared;
        let Some(mut link) = self.link.enter() else { return Ok(0) };
        if link.armed {
            // The load first: most sleeps end by a kick, and a swap is a locked instruction.
            if shared.woken.load(Ordering::Acquire) && shared.woken.swap(false, Ordering::AcqRel) {
                let mut count = [0; 8];
                let _ = rustix::io::read(&shared.wake, &mut count);
                if let Some(reason) = shared.failure.lock().take() {
                    return Err(DeviceError::Peer(reason));
                }
            }
        }
        let accept = self.accept;
        let result = link.receive(budget, &mut self.scratch, &mut self.stats, &|meta| takes(accept, meta), sink);
        if let Err(violation) = &result {
            link.reset();
            drop(link);
            return Err(shared.drop_peer(violation));
        }
        Ok(result.unwrap_or_default())
    }

    fn may_receive(&self) -> bool {
        self.link.enter().is_none_or(|link| link.may_receive())
    }

    fn transmit(&mut self, frames: &[TxFrame<'_>]) -> Result<usize, DeviceError> {
        let shared = &*self.shared;
        let Some(mut link) = self.link.enter() else {
            self.missed = true;
            return Ok(0);
        };
        if !link.is_up() {
            return Err(DeviceError::LinkDown);
        }
        let mut taken = 0;
        let mut result = Ok(());
        self.blocked = false;
        for frame in frames {
            match link.send(frame, &mut self.stats, &mut self.tx_scratch) {
                Ok(Sent::Done) => taken += 1,
                Ok(Sent::Full) => {
                    self.blocked = true;
                    break;
                }
                Err(violation) => {
                    result = Err(violation);
                    break;
                }
            }
        }
        match result.and_then(|()| link.flush()) {
            Ok(()) => Ok(taken),
            Err(violation) => {
                link.reset();
                drop(link);
                Err(shared.drop_peer(&violation))
            }
        }
    }

    fn prepare_sleep(&mut self) -> bool {
        if core::mem::take(&mut self.missed) {
            return true;
        }
        // While the control thread works there is nothing to wait for: it is done in no time.
        self.link.enter().is_none_or(|mut link| {
            // Before the sleep and not after it, when frames wait. What kicks are about shows in the rings.
            link.take_kicks();
            self.kicks.clone_from(&link.kicks);
            link.arm(self.blocked)
        })
    }

    fn poll_fds<'a>(&'a self, watch: &mut dyn FnMut(BorrowedFd<'a>)) {
        if let Some(kicks) = &self.kicks {
            watch(kicks.as_fd());
        }
        watch(self.shared.wake.as_fd());
    }

    fn stats(&self) -> DeviceStats {
        self.stats
    }
}

impl Drop for BackendDevice {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        let _ = rustix::io::write(&self.shared.stop, &1u64.to_ne_bytes());
        self.shared.hang_up();
        if let Some(control) = self.control.take() {
            let _ = control.join();
        }
    }
}
