//! The timers of a process: setitimer(2), timer_create(2), and the limit on its CPU time (RLIMIT_CPU).
//!
//! All of them send signals. A POSIX timer has one signal queued at most: what expires meanwhile is its overrun, which
//! is written into the signal's info when a thread takes it ([`ProcessTimers::delivered`]).

use super::ids::Tid;
use super::process::{ExitStatus, Process};
use super::rlimit::{INFINITY, Resource};
use super::thread::Thread;
use crate::error::{Errno, Result};
use crate::signal::{self, SigInfo, Signal};
use crate::sync::{Rank, SpinLock};
use crate::time::Duration;
use crate::time::guest_clock::Clock;
use crate::time::interval::{Expiry, IntervalTimer, Setting};
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};

/// The three interval timers of setitimer(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Itimer {
    Real = 0,
    Virtual = 1,
    Prof = 2,
}

impl Itimer {
    /// From the number that setitimer(2) takes. EINVAL if there is none.
    pub fn from_number(which: i32) -> Result<Self> {
        match which {
            0 => Ok(Itimer::Real),
            1 => Ok(Itimer::Virtual),
            2 => Ok(Itimer::Prof),
            _ => Err(Errno::EINVAL.because("setitimer knows ITIMER_REAL, ITIMER_VIRTUAL and ITIMER_PROF")),
        }
    }

    fn signal(self) -> Signal {
        match self {
            Itimer::Real => Signal::ALRM,
            Itimer::Virtual => Signal::VTALRM,
            Itimer::Prof => Signal::PROF,
        }
    }
}

/// Sends a signal of the kernel's to the process.
struct KernelSignal {
    owner: Weak<Process>,
    signal: Signal,
}

impl Expiry for KernelSignal {
    fn expired(&self, _periods: u64) {
        if let Some(p) = self.owner.upgrade() {
            // A standard signal of the kernel's is never refused.
            let _ = signal::send_to_process(&p, self.signal, SigInfo::kernel(self.signal));
        }
    }
}

/// RLIMIT_CPU: SIGXCPU at the soft limit and each second after it, SIGKILL at the hard one (getrlimit(2)).
struct CpuLimit {
    owner: Weak<Process>,
}

impl Expiry for CpuLimit {
    fn expired(&self, _periods: u64) {
        let Some(p) = self.owner.upgrade() else { return };
        let times = p.cpu_times();
        let used = (times.user + times.system).as_secs();
        let limit = p.rlimits().get(Resource::Cpu);
        if used >= limit.rlim_max {
            p.begin_exit(ExitStatus::Killed { signal: Signal::KILL.number() as u8, core: false });
            return;
        }
        if used >= limit.rlim_cur {
            // A standard signal of the kernel's is never refused.
            let _ = signal::send_to_process(&p, Signal::XCPU, SigInfo::kernel(Signal::XCPU));
            // As Linux: the soft limit moves on by a second.
            p.update_rlimits(|all| {
                let mut raised = all.get(Resource::Cpu);
                raised.rlim_cur = (used + 1).min(raised.rlim_max);
                all.set_by_number(Resource::Cpu as usize, raised);
            });
        }
        p.timers.watch_cpu_limit();
    }
}

/// What a POSIX timer does at expiry (sigevent(7)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notification {
    /// Nothing: SIGEV_NONE.
    Nothing,
    /// A signal to the process: SIGEV_SIGNAL.
    Process(Signal),
    /// A signal to one of its threads: SIGEV_THREAD_ID.
    Thread(Signal, Tid),
}

/// What timer_create(2) makes.
pub struct PosixTimer {
    id: i32,
    clock: Clock,
    notification: Notification,
    /// `sigev_value`; `None` stands for the timer's number.
    value: Option<u64>,
    owner: Weak<Process>,
    overruns: SpinLock<Overruns>,
}

#[derive(Default)]
struct Overruns {
    /// Expiries beyond the first since the signal was queued.
    pending: u64,
    /// Those of the signal that was taken last: timer_getoverrun(2).
    taken: i32,
}

impl PosixTimer {
    /// The clock that timer_create(2) named.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Overruns of the expiry whose signal was taken last.
    pub fn overrun(&self) -> i32 {
        self.overruns.lock().taken
    }

    /// Forgets overruns: the timer has been set anew.
    pub fn reset_overrun(&self) {
        *self.overruns.lock() = Overruns::default();
    }
}

impl Expiry for PosixTimer {
    fn expired(&self, periods: u64) {
        let (signal, tid) = match self.notification {
            Notification::Nothing => return,
            Notification::Process(signal) => (signal, None),
            Notification::Thread(signal, tid) => (signal, Some(tid)),
        };
        let Some(process) = self.owner.upgrade() else { return };
        let thread = tid.and_then(super::find_thread).filter(|o| Arc::ptr_eq(o.process(), &process));
        if tid.is_some() && thread.is_none() {
            return;
        }
        let queued = signal::has_timer_signal(&process, thread.as_deref(), self.id);
        {
            let mut o = self.overruns.lock();
            o.pending = if queued { o.pending.saturating_add(periods) } else { periods - 1 };
        }
        if queued {
            return;
        }
        let info = SigInfo::timer(signal, self.id, 0, self.value.unwrap_or(self.id as u64));
        // A full queue loses the expiry: it counts as an overrun of the next one's.
        let _ = match &thread {
            Some(t) => signal::send_to_thread(t, signal, info),
            None => signal::send_to_process(&process, signal, info),
        };
    }
}

#[derive(Default)]
struct PosixTimers {
    next_id: i32,
    timers: BTreeMap<i32, Arc<IntervalTimer<PosixTimer>>>,
}

/// Most POSIX timers of a process: Linux counts them against RLIMIT_SIGPENDING.
const MAX_POSIX_TIMERS: usize = 4096;

/// All timers of a process.
pub struct ProcessTimers {
    owner: Weak<Process>,
    itimers: [Arc<IntervalTimer<KernelSignal>>; 3],
    cpu_limit: Arc<IntervalTimer<CpuLimit>>,
    posix: SpinLock<PosixTimers>,
}

impl ProcessTimers {
    pub(super) fn new(owner: Weak<Process>) -> Self {
        let itimers = [Itimer::Real, Itimer::Virtual, Itimer::Prof]
            .map(|i| IntervalTimer::new(KernelSignal { owner: owner.clone(), signal: i.signal() }));
        let cpu_limit = IntervalTimer::new(CpuLimit { owner: owner.clone() });
        ProcessTimers { owner, itimers, cpu_limit, posix: SpinLock::new(Rank::Thread, PosixTimers::default()) }
    }

    /// Time left and period of an interval timer.
    pub fn itimer(&self, which: Itimer) -> (Duration, Duration) {
        self.itimers[which as usize].remaining()
    }

    /// Sets an interval timer (zero `delay` stops it); returns what it was.
    pub fn set_itimer(&self, which: Itimer, delay: Duration, period: Duration) -> (Duration, Duration) {
        let setting = if delay.is_zero() {
            None
        } else {
            let clock = match which {
                Itimer::Real => Some(Clock::Monotonic),
                // There is no system time apart from the user's.
                Itimer::Virtual | Itimer::Prof => self.owner.upgrade().map(Clock::ProcessCpu),
            };
            clock.map(|c| Setting::after(c, delay, period))
        };
        self.itimers[which as usize].set(setting)
    }

    /// Makes a POSIX timer; returns its number. EAGAIN if the process has too many.
    pub fn create(&self, clock: Clock, notification: Notification, value: Option<u64>) -> Result<i32> {
        let id = {
            let mut p = self.posix.lock();
            if p.timers.len() >= MAX_POSIX_TIMERS {
                return Err(Errno::EAGAIN.because("too many timers"));
            }
            let mut id = p.next_id;
            while p.timers.contains_key(&id) {
                id = id.wrapping_add(1) & i32::MAX;
            }
            p.next_id = id.wrapping_add(1) & i32::MAX;
            id
        };
        let timer = IntervalTimer::new(PosixTimer {
            id,
            clock,
            notification,
            value,
            owner: self.owner.clone(),
            overruns: SpinLock::new(Rank::Thread, Overruns::default()),
        });
        self.posix.lock().timers.insert(id, timer);
        Ok(id)
    }

    /// The POSIX timer of this number. EINVAL if there is none.
    pub fn posix(&self, id: i32) -> Result<Arc<IntervalTimer<PosixTimer>>> {
        let found = self.posix.lock().timers.get(&id).cloned();
        found.ok_or_else(|| Errno::EINVAL.because("no such timer"))
    }

    /// Removes a POSIX timer. EINVAL if there is none.
    pub fn delete(&self, id: i32) -> Result<()> {
        let removed = self.posix.lock().timers.remove(&id);
        removed.map(drop).ok_or_else(|| Errno::EINVAL.because("no such timer"))
    }

    /// A thread takes a timer's signal: its overruns go into the info.
    pub(crate) fn delivered(&self, info: &mut SigInfo) {
        let Ok(timer) = self.posix(info.timer_id()) else { return };
        let late = timer.take_expired();
        let mut o = timer.sink().overruns.lock();
        let count = o.pending.saturating_add(late);
        *o = Overruns { pending: 0, taken: i32::try_from(count).unwrap_or(i32::MAX) };
        info.set_overrun(o.taken);
    }

    /// Arms SIGXCPU according to RLIMIT_CPU.
    pub fn watch_cpu_limit(&self) {
        let Some(p) = self.owner.upgrade() else { return };
        let limit = p.rlimits().get(Resource::Cpu);
        let setting = (limit.rlim_cur != INFINITY).then(|| Setting {
            clock: Clock::ProcessCpu(p),
            // A limit of no time at all still gets a second, as on Linux.
            due: Duration::from_secs(limit.rlim_cur.max(1)),
            period: Duration::ZERO,
        });
        self.cpu_limit.set(setting);
    }

    /// execve(2): POSIX timers are deleted, the others go on.
    pub(super) fn exec(&self) {
        let gone = core::mem::take(&mut self.posix.lock().timers);
        drop(gone);
    }

    /// The process has ended.
    pub(super) fn clear(&self) {
        self.exec();
        for t in &self.itimers {
            t.set(None);
        }
        self.cpu_limit.set(None);
    }
}

/// Where a SIGEV_THREAD_ID may point: a thread of the caller's process. EINVAL if it is not.
pub fn notified_thread(t: &Thread, tid: Tid) -> Result<Tid> {
    let found = super::find_thread(tid).filter(|o| Arc::ptr_eq(o.process(), t.process()));
    found.map(|o| o.tid()).ok_or_else(|| Errno::EINVAL.because("sigev_notify_thread_id is no thread of the process"))
}
