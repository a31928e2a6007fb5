//! Run queues, and the switch from one thread to the next.

use crate::arch;
use crate::mm::residency;
use crate::sync::{PerVcpu, Rank, SpinLock, assert_none_held};
use crate::task::Thread;
use crate::time::{self, Duration, Instant};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// How long a thread may run while others wait.
pub const TIME_SLICE: Duration = Duration::from_millis(4);

/// A thread whose memory had to be brought in runs at least so many times as long as that took.
const RESIDENCY_SHARE: u32 = 4;

/// A thread that wakes another makes room for it at once if it has had so much more of the processor. Without it, a
/// thread that gives a lock up and takes it again at once would never let the one it woke have it.
const WAKE_LEAD: Duration = Duration::from_millis(1);

/// How far behind the running thread a sleeper may be counted.
const SLEEPER_CREDIT: Duration = Duration::from_millis(3);

/// Every so-many-th pick takes the thread whose slice ran out longest ago, whoever has just woken.
pub const FAIR_TURN: u32 = 8;

/// Whether a thread may run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum RunState {
    /// It runs or stands in a run queue.
    Runnable = 0,
    /// It waits for something that wakes it.
    Blocked = 1,
    /// It has ended and will never run again.
    Dead = 2,
}

/// The scheduler's part of a thread.
pub struct Entity {
    state: AtomicU8,
    /// In a run queue or on a vCPU.
    queued: AtomicBool,
    /// Nanoseconds on a vCPU, up to the last switch.
    run_time: AtomicU64,
    /// As `run_time`, but a thread that slept long does not fall far behind the others: what wake-ups compare.
    fair_time: AtomicU64,
    switches: AtomicU64,
}

impl Entity {
    pub(crate) const fn new() -> Self {
        Entity {
            state: AtomicU8::new(RunState::Blocked as u8),
            queued: AtomicBool::new(false),
            run_time: AtomicU64::new(0),
            fair_time: AtomicU64::new(0),
            switches: AtomicU64::new(0),
        }
    }

    /// What a thread says of itself. That it blocks comes before its look at what it waits for: whoever changes that
    /// afterwards sees it.
    pub(crate) fn set_state(&self, state: RunState) {
        let order = if state == RunState::Blocked { Ordering::SeqCst } else { Ordering::Release };
        self.state.store(state as u8, order);
    }

    /// Whether it runs or wants to.
    pub fn is_runnable(&self) -> bool {
        self.state.load(Ordering::SeqCst) == RunState::Runnable as u8
    }

    /// Time spent on a vCPU, up to the last switch.
    pub fn run_time(&self) -> Duration {
        Duration::from_nanos(self.run_time.load(Ordering::Relaxed))
    }

    /// How often it was given a vCPU.
    pub fn switches(&self) -> u64 {
        self.switches.load(Ordering::Relaxed)
    }
}

struct RunQueue {
    woken: VecDeque<Arc<Thread>>,
    expired: VecDeque<Arc<Thread>>,
    picks: u32,
    /// The thread that was switched away from, until its stack is out of use.
    departed: Option<Arc<Thread>>,
    slice_started: Instant,
    slice: Duration,
    /// The running thread is to give way on its way out of the kernel, to one that it woke.
    make_room: bool,
}

static RUN_QUEUE: SpinLock<RunQueue> = SpinLock::new(
    Rank::RunQueue,
    RunQueue {
        woken: VecDeque::new(),
        expired: VecDeque::new(),
        picks: 0,
        departed: None,
        slice_started: Instant(0),
        slice: TIME_SLICE,
        make_room: false,
    },
);

/// The thread on each vCPU; empty while it idles.
static CURRENT: PerVcpu<Thread> = PerVcpu::new();

impl RunQueue {
    fn pick(&mut self) -> Option<Arc<Thread>> {
        self.picks = self.picks.wrapping_add(1);
        if self.picks.is_multiple_of(FAIR_TURN) {
            self.expired.pop_front().or_else(|| self.woken.pop_front())
        } else {
            self.woken.pop_front().or_else(|| self.expired.pop_front())
        }
    }

    fn has_waiting(&self) -> bool {
        !self.woken.is_empty() || !self.expired.is_empty()
    }
}

/// The thread on this vCPU; `None` while it idles or boots.
#[inline]
pub fn current() -> Option<&'static Thread> {
    CURRENT.get()
}

/// Time that a thread has spent on vCPUs, up to now.
pub fn cpu_time(thread: &Thread) -> Duration {
    let mut total = thread.entity.run_time();
    if current().is_some_and(|c| core::ptr::eq(c, thread)) {
        let since = RUN_QUEUE.lock().slice_started;
        total += time::now().saturating_since(since);
    }
    total
}

/// Takes off the running thread's account what it spent in the idle loop's place.
pub(super) fn discount(idle: Duration) {
    let mut rq = RUN_QUEUE.lock();
    rq.slice_started = rq.slice_started + idle;
}

/// Says that the running thread has ended. Under the lock: a wake-up that is under way must not undo it.
pub fn retire(thread: &Thread) {
    let _rq = RUN_QUEUE.lock();
    thread.entity.set_state(RunState::Dead);
}

/// Makes a new thread runnable for the first time.
pub fn spawn(thread: &Arc<Thread>) {
    wake(thread);
}

/// Makes a blocked thread runnable; returns whether it was blocked.
pub fn wake(thread: &Arc<Thread>) -> bool {
    let e = &thread.entity;
    let mut rq = RUN_QUEUE.lock();
    // Two steps, as locked instructions are dear (`sync::SpinLock`): nobody else ends a wait but the thread itself, which
    // may find what it looks for meanwhile. Then this is one wake-up too many, which every wait allows for.
    if e.state.load(Ordering::SeqCst) != RunState::Blocked as u8 {
        return false;
    }
    e.state.store(RunState::Runnable as u8, Ordering::Release);
    if !e.queued.load(Ordering::Relaxed) {
        e.queued.store(true, Ordering::Relaxed);
        rq.woken.push_back(thread.clone());
        if let Some(runner) = current() {
            let ran = time::now().saturating_since(rq.slice_started).as_nanos() as u64;
            let now = runner.entity.fair_time.load(Ordering::Relaxed) + ran;
            let floor = now.saturating_sub(SLEEPER_CREDIT.as_nanos() as u64);
            let woken = e.fair_time.fetch_max(floor, Ordering::Relaxed).max(floor);
            if now > woken + WAKE_LEAD.as_nanos() as u64 {
                rq.make_room = true;
            }
            // Someone who has run for a while makes room at the next chance.
            arch::request_preemption_check();
        }
    }
    true
}

/// Whether a thread waits for a vCPU.
pub fn has_waiting() -> bool {
    RUN_QUEUE.lock().has_waiting()
}

/// Gives other runnable threads a turn. What is left of the slice counts as used: a thread that yields while it holds a
/// lock has to make room for the one that it wakes when it lets go of it, or that one would always find the lock taken.
pub fn yield_now() {
    if let Some(t) = current() {
        let rq = RUN_QUEUE.lock();
        if rq.has_waiting() {
            let left = (rq.slice_started + rq.slice).saturating_since(time::now());
            t.entity.fair_time.fetch_add(left.as_nanos() as u64, Ordering::Relaxed);
        }
    }
    schedule();
}

/// The end of the running thread's slice, if others wait.
pub fn slice_end() -> Option<Instant> {
    let rq = RUN_QUEUE.lock();
    let slice = if rq.make_room { Duration::ZERO } else { rq.slice };
    (current().is_some() && rq.has_waiting()).then(|| rq.slice_started + slice)
}

/// Called on the way to guest code after a timer signal or a wake-up: switches if the slice is over.
pub fn on_tick(now: Instant) {
    if slice_end().is_some_and(|end| end <= now) || crate::host::is_stopping() {
        schedule();
    }
}

/// Runs the next thread; returns when this one is chosen again. A thread that is not runnable leaves the queue.
pub fn schedule() {
    assert_none_held();
    let next = {
        let mut rq = RUN_QUEUE.lock();
        let now = time::now();
        if let Some(p) = current() {
            let ran = now.saturating_since(rq.slice_started).as_nanos() as u64;
            p.entity.run_time.fetch_add(ran, Ordering::Relaxed);
            p.entity.fair_time.fetch_add(ran, Ordering::Relaxed);
            if p.entity.is_runnable() {
                rq.expired.push_back(p.arc());
            } else {
                p.entity.queued.store(false, Ordering::Relaxed);
            }
        }
        // A machine that is told to stop runs no thread any more: the idle loop ends it.
        let next = if crate::host::is_stopping() { None } else { rq.pick() };
        rq.slice_started = now;
        rq.make_room = false;
        match (current(), &next) {
            (Some(p), Some(n)) if core::ptr::eq(p, Arc::as_ptr(n)) => None,
            (None, None) => return,
            _ => Some(next),
        }
    };
    let Some(next) = next else {
        // The same thread goes on; its space may have lost the window to a child meanwhile.
        if let Some(t) = current() {
            bring_memory_in(t);
        }
        return;
    };
    {
        if let Some(n) = &next {
            n.entity.switches.fetch_add(1, Ordering::Relaxed);
            arch::set_signal_pending(n.signal_pending());
            arch::request_preemption_check();
            bring_memory_in(n);
        }
    }
    let next_context = next.as_ref().map(|n| n.context.handle());
    // The slot keeps the next thread. The previous one is kept until the next context has left this one's stack: if it
    // has ended, nobody else may know it, and its stack never unwinds.
    let previous = CURRENT.replace(next);
    let previous_context = previous.as_ref().map(|p| p.context.handle());
    let stale = core::mem::replace(&mut RUN_QUEUE.lock().departed, previous);
    drop(stale);
    arch::switch(previous_context, next_context);
    finish_switch();
}

/// Makes the memory of `thread` resident. Its slice starts when that is done and is the longer the longer it took: threads
/// of relatives that compute side by side would otherwise do nothing but take each other's place.
fn bring_memory_in(thread: &Thread) {
    let mm = thread.mm();
    if mm.is_resident() {
        RUN_QUEUE.lock().slice = TIME_SLICE;
        return;
    }
    let before = time::now();
    residency::ensure(&mm);
    let after = time::now();
    let mut rq = RUN_QUEUE.lock();
    rq.slice_started = after;
    rq.slice = TIME_SLICE.max(after.saturating_since(before) * RESIDENCY_SHARE);
}

/// What a context does first after it was switched to: lets go of the thread before it.
pub fn finish_switch() {
    let departed = RUN_QUEUE.lock().departed.take();
    drop(departed);
}
