//! The machine's network: the stack, its devices, and who waits for which socket.
//!
//! # Theory of operation
//!
//! The stack is a value without threads or clocks ([`NetStack`]); here it meets both. Everything that touches it goes
//! through [`Network::call`], which takes the lock, lets the caller work on the stack, transmits what became due, frees
//! the lock and wakes whoever waits for a socket at which something happened.
//!
//! Frames are received by polling, in batches:
//!
//! - when a vCPU idles (a program that waits for the network sleeps there) or a thread is about to wait, and when the timer
//!   signal interrupts guest code that runs long ([`Network`] is a [`sched::Poller`]);
//! - when a call would block: [`Network::receive`] looks before the thread goes to sleep;
//! - in calls that send, at most every [`RECEIVE_INTERVAL`]: a program that only sends hears acknowledgements, and does
//!   not pay a host call for each of its own.
//!
//! A call that found something to read does not poll: as long as a program has not read what it has, frames wait in the
//! host's queue, which is longer than a socket's.
//!
//! Locks: stack, then devices. Waiters are woken without either.

use super::event::Readiness;
use super::interface::{IfIndex, LinkInfo, LinkKind};
use super::ip::FrameOut;
use super::socket::SocketId;
use super::stack::{NetConfig, NetStack};
use crate::fs::poll::PollEvents;
use crate::klog;
use crate::sched::{self, WaitQueue};
use crate::sync::{Once, Rank, SpinGuard, SpinLock};
use crate::time::{self, Duration, Instant};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use hashbrown::HashMap;
use netdrv::{DeviceError, EthernetDevice, FrameMeta, FrameSink, MacAddr, TxFrame};
use rustix::fd::AsRawFd;

/// Frames taken from a device at a time: a full batch of small datagrams still fits a default receive buffer.
const BATCH: usize = 64;
/// Frames taken when a call asks after one socket of several: a program that serves a full socket meanwhile asks after an
/// empty one again and again, and what it does not keep up with must wait in the device, where it holds the sender back.
const FEW: usize = 8;
/// How often calls that send look for received frames.
const RECEIVE_INTERVAL: Duration = Duration::from_micros(20);
/// How soon a device whose queue was full is offered its frames again.
const RETRY_INTERVAL: Duration = Duration::from_micros(50);
/// Sockets whose waiters are collected under the lock before they are woken.
const WAKE_BATCH: usize = 4;

static NETWORK: Once<Network> = Once::new();

/// The stack with its devices.
pub struct Network {
    stack: SpinLock<Shared>,
    devices: SpinLock<Vec<Port>>,
}

struct Shared {
    stack: NetStack,
    /// Where each socket's waiters are.
    queues: HashMap<SocketId, Arc<WaitQueue>>,
    /// When frames were last received.
    received_at: Instant,
}

/// A device and the interface on it.
struct Port {
    interface: IfIndex,
    name: String,
    device: Box<dyn EthernetDevice>,
    /// Its last call failed; said once.
    failing: bool,
}

impl Port {
    /// Notes how a call on the device went; says so when that changes.
    fn note(&mut self, error: Option<DeviceError>) {
        match (&error, self.failing) {
            (Some(e), false) => klog!(Warning, "{}: {e}", self.name),
            (None, true) => klog!(Info, "{}: link becomes ready", self.name),
            _ => {}
        }
        self.failing = error.is_some();
    }
}

/// Offers the stack's frames to the devices.
struct Transmitter<'a> {
    devices: &'a SpinLock<Vec<Port>>,
}

impl FrameOut for Transmitter<'_> {
    fn transmit(&mut self, interface: IfIndex, frame: TxFrame<'_>) -> bool {
        let mut ports = self.devices.lock();
        // A frame for an interface without a device has nowhere to go: taken, and gone.
        let Some(port) = ports.iter_mut().find(|p| p.interface == interface) else { return true };
        match port.device.transmit(&[frame]) {
            Ok(taken) => {
                port.note(None);
                taken > 0
            }
            // As a cable that is unplugged: what is sent is lost, and the protocols above repeat it.
            Err(e) => {
                port.note(Some(e));
                true
            }
        }
    }
}

/// Feeds received frames to the stack.
struct Receiver<'a> {
    stack: &'a mut NetStack,
    interface: IfIndex,
    now: Instant,
}

impl FrameSink for Receiver<'_> {
    fn frame(&mut self, meta: FrameMeta, bytes: &mut [u8]) {
        self.stack.handle_frame(self.interface, meta, bytes, self.now);
    }
}

/// What became possible, in the bits of poll(2).
fn events_of(ready: Readiness) -> PollEvents {
    let mut events = PollEvents::from_bits_truncate(ready.bits());
    events.set(PollEvents::RDNORM, ready.contains(Readiness::IN));
    events.set(PollEvents::WRNORM, ready.contains(Readiness::OUT));
    events
}

/// The network of this machine.
pub fn network() -> &'static Network {
    NETWORK.call_once(|| {
        let mut seed = [0; 16];
        crate::host::random(&mut seed);
        Network {
            stack: SpinLock::new(
                Rank::Net,
                Shared {
                    stack: NetStack::new(NetConfig { seed }),
                    queues: HashMap::new(),
                    received_at: Instant::default(),
                },
            ),
            devices: SpinLock::new(Rank::NetDevice, Vec::new()),
        }
    })
}

impl Network {
    /// Looks at the stack, or changes something that sends nothing and wakes nobody.
    pub fn look<R>(&self, f: impl FnOnce(&mut NetStack) -> R) -> R {
        f(&mut self.stack.lock().stack)
    }

    /// Works on the stack, then transmits what is due and wakes whom it concerns.
    pub fn call<R>(&self, f: impl FnOnce(&mut NetStack, Instant) -> R) -> R {
        let now = time::now();
        let mut shared = self.stack.lock();
        let result = f(&mut shared.stack, now);
        shared.stack.poll(now, &mut Transmitter { devices: &self.devices });
        self.wake_and_unlock(shared);
        result
    }

    /// As [`Network::call`], for reads: most change nothing that anybody waits for.
    pub fn call_reading<R>(&self, f: impl FnOnce(&mut NetStack) -> R) -> R {
        let mut shared = self.stack.lock();
        let result = f(&mut shared.stack);
        if shared.stack.is_dirty() {
            shared.stack.poll(time::now(), &mut Transmitter { devices: &self.devices });
        }
        self.wake_and_unlock(shared);
        result
    }

    /// As [`Network::call`], for what sends: it also receives if that was long ago.
    pub fn call_sending<R>(&self, f: impl FnOnce(&mut NetStack, Instant) -> R) -> R {
        let now = time::now();
        let mut shared = self.stack.lock();
        let result = f(&mut shared.stack, now);
        shared.stack.poll(now, &mut Transmitter { devices: &self.devices });
        if now.saturating_since(shared.received_at) >= RECEIVE_INTERVAL {
            self.take_frames(&mut shared, now, BATCH);
            shared.stack.poll(now, &mut Transmitter { devices: &self.devices });
        }
        self.wake_and_unlock(shared);
        result
    }

    /// Receives what has come, and answers it; returns whether anything had.
    pub fn receive(&self, now: Instant) -> bool {
        self.receive_up_to(now, BATCH)
    }

    fn receive_up_to(&self, now: Instant, budget: usize) -> bool {
        let mut shared = self.stack.lock();
        let frames = self.take_frames(&mut shared, now, budget);
        // An idle vCPU comes here for as long as it spins, and a frame that comes meanwhile waits, as its reader does for
        // the end of this: nothing is done that is not due.
        if shared.stack.has_work(now) {
            shared.stack.poll(now, &mut Transmitter { devices: &self.devices });
        }
        self.wake_and_unlock(shared) || frames
    }

    /// Feeds the stack what the devices have; returns whether they had anything.
    fn take_frames(&self, shared: &mut Shared, now: Instant, budget: usize) -> bool {
        shared.received_at = now;
        let mut any = false;
        for port in self.devices.lock().iter_mut() {
            let mut sink = Receiver { stack: &mut shared.stack, interface: port.interface, now };
            match port.device.receive(budget, &mut sink) {
                Ok(frames) => any |= frames > 0,
                Err(e) => port.note(Some(e)),
            }
        }
        any
    }

    /// Wakes the waiters of sockets at which something happened, without the lock; returns whether there were such sockets.
    fn wake_and_unlock<'a>(&'a self, mut shared: SpinGuard<'a, Shared>) -> bool {
        let mut any = false;
        loop {
            if !shared.stack.has_events() {
                return any;
            }
            let mut batch: [Option<(Arc<WaitQueue>, PollEvents)>; WAKE_BATCH] = [const { None }; WAKE_BATCH];
            let mut count = 0;
            while count < WAKE_BATCH
                && let Some(id) = shared.stack.next_event()
            {
                // Who registers from now on looks afterwards.
                if let Some(queue) = shared.queues.get(&id).filter(|queue| !queue.is_empty()) {
                    batch[count] = Some((queue.clone(), events_of(shared.stack.readiness(id))));
                    count += 1;
                }
            }
            drop(shared);
            any = true;
            for (queue, events) in batch.iter().flatten() {
                queue.wake(*events);
            }
            if count < WAKE_BATCH {
                return any;
            }
            shared = self.stack.lock();
        }
    }

    /// Makes a socket known: its events go to the returned queue until [`Network::close`].
    pub fn open<E>(&self, make: impl FnOnce(&mut NetStack) -> Result<SocketId, E>) -> Result<OpenSocket, E> {
        let mut shared = self.stack.lock();
        let id = make(&mut shared.stack)?;
        let queue = Arc::new(WaitQueue::new());
        shared.queues.insert(id, queue.clone());
        Ok(OpenSocket { id, queue })
    }

    /// Closes a socket; a connection finishes by itself.
    fn close(&self, id: SocketId) {
        // Whoever still waits holds the queue, and finds the socket gone.
        let queue = self.stack.lock().queues.remove(&id);
        self.call_sending(|stack, now| stack.close(id, now));
        drop(queue);
    }

    /// Puts an interface on a device, down and without addresses.
    ///
    /// # Errors
    /// `Exists` when the name is taken.
    pub fn attach(&self, name: &str, device: Box<dyn EthernetDevice>) -> Result<IfIndex, super::NetError> {
        let link = LinkInfo {
            kind: LinkKind::Ethernet,
            mac: device.mac(),
            mtu: u32::from(device.mtu().0),
            offloads: device.offloads(),
        };
        let interface = self.stack.lock().stack.add_interface(name, &link)?;
        self.devices.lock().push(Port { interface, name: name.into(), device, failing: false });
        Ok(interface)
    }

    /// Changes the hardware address of an interface and of its device.
    ///
    /// # Errors
    /// `NoDevice`, `AddrNotAvailable` for a group address.
    pub fn set_mac(&self, interface: IfIndex, mac: MacAddr) -> Result<(), super::NetError> {
        let mut shared = self.stack.lock();
        shared.stack.set_interface_mac(interface, mac)?;
        if let Some(port) = self.devices.lock().iter_mut().find(|p| p.interface == interface) {
            port.device.set_mac(mac);
        }
        Ok(())
    }

    /// Whether there is a device to poll.
    fn has_devices(&self) -> bool {
        !self.devices.lock().is_empty()
    }
}

/// A socket of the stack's, open until this is dropped.
pub struct OpenSocket {
    id: SocketId,
    queue: Arc<WaitQueue>,
}

impl OpenSocket {
    /// Its name in the stack.
    pub fn id(&self) -> SocketId {
        self.id
    }

    /// Where its waiters are.
    pub fn queue(&self) -> &Arc<WaitQueue> {
        &self.queue
    }

    /// What it is ready for; when that is nothing, after a look at the devices.
    pub fn readiness(&self) -> PollEvents {
        let ready = network().look(|stack| stack.readiness(self.id));
        if !ready.is_empty() && ready != Readiness::OUT {
            return events_of(ready);
        }
        let now = time::now();
        let due = {
            let shared = network().stack.lock();
            now.saturating_since(shared.received_at) >= RECEIVE_INTERVAL
        };
        if !due || !network().receive_up_to(now, FEW) {
            return events_of(ready);
        }
        events_of(network().look(|stack| stack.readiness(self.id)))
    }
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        network().close(self.id);
    }
}

/// The network as the idle loop and the timer signal poll it.
pub(super) struct NetworkPoller;

impl sched::Poller for NetworkPoller {
    fn poll(&self, now: Instant) -> bool {
        network().receive(now)
    }

    fn glance(&self) -> bool {
        network().devices.lock().iter().any(|port| port.device.may_receive())
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        let shared = network().stack.lock();
        let blocked = shared.stack.interfaces().iter().any(|i| shared.stack.is_blocked(i.index));
        let retry = blocked.then(|| now + RETRY_INTERVAL);
        shared.stack.next_deadline(now).into_iter().chain(retry).min()
    }

    fn host_fds(&self, watch: &mut dyn FnMut(i32)) {
        for port in network().devices.lock().iter() {
            port.device.poll_fds(&mut |fd| watch(fd.as_raw_fd()));
        }
    }

    fn urgent(&self) -> bool {
        network().has_devices()
    }

    fn prepare_sleep(&self) -> bool {
        // Every device is to notify, also behind one that has frames already.
        network().devices.lock().iter_mut().filter_map(|port| port.device.prepare_sleep().then_some(())).count() > 0
    }
}
