//! What a vCPU does when no thread is runnable, and how devices are polled.
//!
//! Devices are poll-based. They are polled when the vCPU idles, when the timer signal asks for it while guest code runs
//! long, and by the calls that use them (a socket call polls the network). An idle vCPU polls for a short time, because
//! waking a sleeping core costs 20–50 µs, then sleeps in the host's poll until a device, a helper thread or a deadline
//! wakes it. A thread that waits begins with that by itself ([`linger`], [`anticipate`]), for what comes within microseconds.

use super::run_queue;
use crate::arch;
use crate::error::{Errno, Result};
use crate::host::{self, WakeUp};
use crate::sync::Once;
use crate::task::Thread;
use crate::time::{self, Duration, Instant, timer};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// Something that brings events from the host: a network stack over its devices, the console.
pub trait Poller: Send + Sync {
    /// Looks for events and passes them on; returns whether there were any.
    fn poll(&self, now: Instant) -> bool;

    /// Whether [`Poller::poll`] would find something urgent, as far as a look tells that costs far less than a poll.
    fn glance(&self) -> bool {
        false
    }

    /// When it must be polled again even if its descriptors stay silent.
    fn deadline(&self, _now: Instant) -> Option<Instant> {
        None
    }

    /// Has the other ends notify the descriptors below from now on. Returns whether something waits already, so that the
    /// vCPU must not sleep.
    fn prepare_sleep(&self) -> bool {
        false
    }

    /// Calls `watch` with each host descriptor that becomes readable when there is something to poll.
    fn host_fds(&self, watch: &mut dyn FnMut(i32));

    /// Whether polling it is so cheap and urgent that guest code should be interrupted for it every millisecond.
    fn urgent(&self) -> bool {
        false
    }
}

/// How long an idle vCPU polls before it sleeps (`idle=`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IdlePolicy {
    /// Poll for this long, then sleep.
    Spin(Duration),
    /// Sleep at once.
    Sleep,
}

/// Most pollers of a machine: the console, the network, and room for more devices.
const MAX_POLLERS: usize = 8;

/// Filled from the front, never emptied: readable without a lock.
static POLLERS: [Once<Arc<dyn Poller>>; MAX_POLLERS] = [const { Once::new() }; MAX_POLLERS];
/// Glances at urgent devices between two polls of all.
const GLANCES: u32 = 16;
/// How long a thread that waits polls before it leaves that to the idle loop.
const LINGER: Duration = Duration::from_micros(20);

static SPIN_NANOS: AtomicU64 = AtomicU64::new(0);

/// Adds a poller; it stays for the life of the machine. ENOSPC if there are too many.
pub fn register_poller(poller: Arc<dyn Poller>) -> Result<()> {
    let free = POLLERS.iter().find(|slot| slot.get().is_none()).ok_or(Errno::ENOSPC)?;
    free.call_once(|| poller);
    Ok(())
}

/// Sets how long an idle vCPU polls before it sleeps.
pub fn set_idle_policy(policy: IdlePolicy) {
    let nanos = match policy {
        IdlePolicy::Spin(d) => u64::try_from(d.as_nanos()).unwrap_or(u64::MAX),
        IdlePolicy::Sleep => 0,
    };
    SPIN_NANOS.store(nanos, Ordering::Relaxed);
}

fn pollers() -> impl Iterator<Item = &'static Arc<dyn Poller>> {
    POLLERS.iter().map_while(|slot| slot.get())
}

/// Polls every device once and runs the timers that are due; returns whether anything happened.
pub fn poll_devices(now: Instant) -> bool {
    let mut any = timer::run_expired(now);
    for p in pollers() {
        any |= p.poll(now);
    }
    any
}

/// When guest code must be interrupted next: a timer, a device's deadline or period, the end of a slice.
pub fn next_interruption(now: Instant) -> Option<Instant> {
    let mut next = timer::next_deadline();
    let mut earlier = |at: Option<Instant>| {
        if let Some(at) = at {
            next = Some(next.map_or(at, |n| n.min(at)));
        }
    };
    earlier(run_queue::slice_end());
    for p in pollers() {
        earlier(p.deadline(now));
        if p.urgent() {
            earlier(Some(now + Duration::from_millis(1)));
        }
    }
    next
}

/// For calls that work long without waiting: deals with the interruption that came meanwhile, if any, as the way out of the
/// kernel would. Others may run in between. To be called without locks.
pub fn breathe() {
    if !arch::take_interruption() {
        return;
    }
    let now = time::now();
    time::clock::steer(now);
    poll_devices(now);
    run_queue::on_tick(now);
    let now = time::now();
    if let Some(at) = next_interruption(now) {
        host::arm_preemption(at, now);
    }
}

/// How long an idle vCPU polls.
fn spin_time() -> Duration {
    Duration::from_nanos(SPIN_NANOS.load(Ordering::Relaxed))
}

/// Polls devices from `now` on until `done`, which is told whether a poll found anything, and until `end` at most; returns
/// when it last did. At least once.
fn spin(mut now: Instant, end: Instant, mut done: impl FnMut(bool) -> bool) -> Instant {
    loop {
        time::clock::steer(now);
        let happened = poll_devices(now);
        if done(happened) || now >= end {
            return now;
        }
        now = time::now();
        // Polling everything takes a third of a microsecond, which a frame that comes meanwhile would wait for.
        let glance = |_| {
            core::hint::spin_loop();
            pollers().find(|p| p.glance())
        };
        if let Some(urgent) = (0..GLANCES).find_map(glance) {
            let happened = urgent.poll(now);
            if done(happened) {
                return now;
            }
        }
    }
}

/// Whether the running thread is to leave the vCPU to others now.
fn is_wanted() -> bool {
    run_queue::has_waiting() || host::is_stopping()
}

/// Polls devices in the place of the idle loop, on the stack of a thread that is about to wait: where what it waits for comes
/// soon, the way to the idle loop and back would take longer. Returns when the thread may run again, when others want
/// to, or after [`LINGER`]. To be called without locks.
pub(super) fn linger(thread: &Thread) {
    linger_until(None, |_| thread.entity.is_runnable());
}

/// As [`linger`], for a thread that does not count as blocked yet and is registered nowhere, which takes as long as a frame's way
/// through the stack. Returns whether anything happened: the thread looks whether it concerns it.
pub(super) fn anticipate(thread: &Thread, deadline: Option<Instant>) -> bool {
    let mut any = false;
    linger_until(deadline, |happened| {
        any |= happened;
        any || thread.signal_pending()
    });
    any
}

fn linger_until(deadline: Option<Instant>, mut done: impl FnMut(bool) -> bool) {
    let limit = spin_time().min(LINGER);
    if limit == Duration::ZERO || done(false) || is_wanted() {
        return;
    }
    let started = time::now();
    let end = deadline.map_or(started + limit, |at| at.min(started + limit));
    if end > started {
        let ended = spin(started, end, |happened| done(happened) || is_wanted());
        run_queue::discount(ended.saturating_since(started));
    }
}

/// The vCPU's idle loop; runs on the host's own stack. Returns when the machine has been told to stop.
pub fn idle_loop() {
    let mut fds: Vec<i32> = Vec::new();
    while !host::is_stopping() {
        if run_queue::has_waiting() {
            run_queue::schedule();
            continue;
        }
        let started = time::now();
        let now = spin(started, started + spin_time(), |_| is_wanted());
        if is_wanted() {
            continue;
        }
        if pollers().filter(|p| p.prepare_sleep()).count() > 0 {
            continue;
        }
        let deadline = pollers().filter_map(|p| p.deadline(now)).chain(timer::next_deadline()).min();
        fds.clear();
        pollers().for_each(|p| p.host_fds(&mut |fd| fds.push(fd)));
        match host::wait_for_events(&fds, deadline) {
            WakeUp::Events | WakeUp::TimedOut | WakeUp::Interrupted => {}
        }
    }
}
