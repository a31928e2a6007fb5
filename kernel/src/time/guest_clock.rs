//! The guest's clocks by number (clock_gettime(2)).
//!
//! CLOCK_MONOTONIC, _RAW and _COARSE are the machine's clock (`clock`), CLOCK_REALTIME and CLOCK_BOOTTIME stand at a
//! distance from it. CPU-time clocks are the scheduler's accounts.

use super::{Duration, Instant};
use crate::error::{Errno, Result};
use crate::task::{self, Pid, Process, Thread, Tid};
use alloc::sync::Arc;

/// A clock.
#[derive(Clone)]
pub enum Clock {
    /// CLOCK_REALTIME, _COARSE and _ALARM: the same here, since the machine never suspends.
    Realtime,
    /// CLOCK_TAI; the offset from UTC is 0 until somebody sets it, as on Linux.
    Tai,
    /// CLOCK_MONOTONIC, _RAW and _COARSE: the host's monotonic clock.
    Monotonic,
    /// CLOCK_BOOTTIME: the host's, as the vDSO shows it.
    Boottime,
    /// CPU time of a process.
    ProcessCpu(Arc<Process>),
    /// CPU time of a thread.
    ThreadCpu(Arc<Thread>),
}

/// Bits of a dynamic clock number: `(!pid << 3) | kind`, 4 for a thread's (clock_getcpuclockid(3)).
const CPU_CLOCK_PER_THREAD: i32 = 4;
const CPU_CLOCK_KIND: i32 = 3;
/// Kind 3 is a descriptor's clock.
const CLOCK_OF_FD: i32 = 3;

impl Clock {
    /// The clock of this number, as `t` names it. EINVAL if there is none.
    pub fn from_id(t: &Thread, id: i32) -> Result<Self> {
        if id < 0 {
            return Self::dynamic(t, id);
        }
        match id {
            0 | 5 | 8 => Ok(Clock::Realtime),
            1 | 4 | 6 => Ok(Clock::Monotonic),
            2 => Ok(Clock::ProcessCpu(t.process().clone())),
            3 => Ok(Clock::ThreadCpu(t.arc())),
            7 | 9 => Ok(Clock::Boottime),
            11 => Ok(Clock::Tai),
            _ => Err(Errno::EINVAL.because("no such clock")),
        }
    }

    fn dynamic(t: &Thread, id: i32) -> Result<Self> {
        let unknown = || Errno::EINVAL.because("no such process or thread");
        if id & CPU_CLOCK_KIND == CLOCK_OF_FD {
            return Err(Errno::EINVAL.because("there are no clock devices"));
        }
        let number = !(id >> 3);
        if id & CPU_CLOCK_PER_THREAD != 0 {
            let thread = if number == 0 { Some(t.arc()) } else { task::find_thread(Tid(number)) };
            return thread.filter(|o| Arc::ptr_eq(o.process(), t.process())).map(Clock::ThreadCpu).ok_or_else(unknown);
        }
        let process = if number == 0 { Some(t.process().clone()) } else { task::find_process(Pid(number)) };
        process.map(Clock::ProcessCpu).ok_or_else(unknown)
    }

    /// Its present reading.
    pub fn now(&self) -> Duration {
        match self {
            Clock::Realtime | Clock::Tai => super::realtime(),
            Clock::Monotonic => Duration::from_nanos(super::now().as_nanos()),
            Clock::Boottime => Duration::from_nanos(super::now().as_nanos().saturating_add(super::boottime_offset())),
            Clock::ProcessCpu(p) => {
                let times = p.cpu_times();
                times.user + times.system
            }
            Clock::ThreadCpu(t) => {
                let times = t.cpu_times();
                times.user + times.system
            }
        }
    }

    /// Whether it counts CPU time.
    pub fn is_cpu_time(&self) -> bool {
        matches!(self, Clock::ProcessCpu(_) | Clock::ThreadCpu(_))
    }

    /// The instant at which it shows `reading`, or showed it. For CPU-time clocks the earliest possible one: they do not
    /// run faster than time itself on one vCPU. A later step of the wall clock does not move a deadline that was computed
    /// before.
    pub fn instant_of(&self, reading: Duration) -> Instant {
        let shown = self.now();
        match reading.checked_sub(shown) {
            Some(ahead) => super::now().saturating_add(ahead),
            None => super::now() - (shown - reading),
        }
    }
}
