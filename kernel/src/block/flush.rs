//! Flushes that run while the machine goes on.
//!
//! Storing takes the host milliseconds. The vCPU hands that over ([`start`]) and runs other threads; the one that asked
//! sleeps in [`Flush::wait`]. The end is seen by a poller, as a device's events are. Whoever cannot sleep (boot, shutdown,
//! a write with O_SYNC) waits with the whole machine in [`Flush::finish`].
//!
//! Handing over costs two more wake-ups on the host, which a busy host makes long: where no other thread could run, the
//! vCPU calls fdatasync(2) itself.

use crate::error::Result;
use crate::fs::poll::PollEvents;
use crate::host::aio;
use crate::sched::{self, Poller, WaitQueue, register_poller};
use crate::sync::{Once, Rank, SpinLock};
use crate::time::Instant;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use rustix::fd::BorrowedFd;

/// Who waits for a flush.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waits {
    /// The thread that runs.
    Current,
    /// Nobody: a timer has interrupted the thread that runs.
    Nobody,
}

/// A flush that was begun.
pub struct Flush {
    end: Once<Result<()>>,
    waiters: WaitQueue,
}

/// The flushes that have not ended, by tag.
struct Running {
    next_tag: u64,
    list: Vec<(u64, Arc<Flush>)>,
}

static RUNNING: SpinLock<Running> = SpinLock::new(Rank::BlockDevice, Running { next_tag: 1, list: Vec::new() });
/// How many that are: looked at without the lock.
static COUNT: AtomicUsize = AtomicUsize::new(0);
static POLLER: Once<bool> = Once::new();
/// Whether a vCPU runs that polls.
static RUNS: AtomicBool = AtomicBool::new(false);

struct FlushPoller;

impl Poller for FlushPoller {
    fn poll(&self, _now: Instant) -> bool {
        COUNT.load(Ordering::Relaxed) > 0 && collect(false)
    }

    fn host_fds(&self, watch: &mut dyn FnMut(i32)) {
        aio::flush_event().into_iter().for_each(watch);
    }

    fn urgent(&self) -> bool {
        COUNT.load(Ordering::Relaxed) > 0
    }
}

/// Passes on what has ended; tells whether anything has.
fn collect(wait: bool) -> bool {
    let ended = aio::ended_flushes(wait);
    let any = !ended.is_empty();
    for (tag, result) in ended {
        let flush = {
            let mut running = RUNNING.lock();
            running.list.iter().position(|(t, _)| *t == tag).map(|i| running.list.swap_remove(i).1)
        };
        if let Some(flush) = flush {
            COUNT.fetch_sub(1, Ordering::Relaxed);
            flush.end.call_once(|| result);
            flush.waiters.wake(PollEvents::all());
        }
    }
    any
}

/// Begins to flush a host file that stays open. `None` if the host cannot do that beside, nobody would see the end, or
/// nobody would run meanwhile.
pub(super) fn start(fd: BorrowedFd<'_>, waits: Waits) -> Option<Arc<Flush>> {
    let others = sched::has_waiting() || (waits == Waits::Nobody && sched::current().is_some());
    if !others
        || !RUNS.load(Ordering::Relaxed)
        || !*POLLER.call_once(|| aio::flush_event().is_some() && register_poller(Arc::new(FlushPoller)).is_ok())
    {
        return None;
    }
    let flush = Arc::new(Flush { end: Once::new(), waiters: WaitQueue::new() });
    let mut running = RUNNING.lock();
    let tag = running.next_tag;
    aio::begin_flush(fd, tag).ok()?;
    running.next_tag += 1;
    running.list.push((tag, flush.clone()));
    COUNT.fetch_add(1, Ordering::Relaxed);
    Some(flush)
}

impl Flush {
    /// Says that there is a vCPU, whose pollers see a flush end. Before, flushes are waited for.
    pub fn may_run_beside() {
        RUNS.store(true, Ordering::Relaxed);
    }

    /// One that ends when a test says so.
    #[cfg(test)]
    pub fn pending() -> Arc<Self> {
        Arc::new(Flush { end: Once::new(), waiters: WaitQueue::new() })
    }

    /// Its end.
    #[cfg(test)]
    pub fn end(&self, result: Result<()>) {
        self.end.call_once(|| result);
    }

    /// How it ended, if it has.
    pub fn result(&self) -> Option<Result<()>> {
        self.end.get().copied()
    }

    /// Sleeps until it has ended. To be called without locks, by a thread.
    pub fn wait(&self) -> Result<()> {
        match sched::current() {
            Some(thread) => self.waiters.wait_uninterruptible(&thread.arc(), || self.result()),
            None => self.finish(),
        }
    }

    /// Waits for its end with the whole machine.
    pub fn finish(&self) -> Result<()> {
        loop {
            if let Some(result) = self.result() {
                return result;
            }
            collect(true);
        }
    }
}
