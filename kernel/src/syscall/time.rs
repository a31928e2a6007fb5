//! Reading and setting clocks, and sleeping on them.
//!
//! The guest's clocks are those of [`crate::time`]; the vDSO reads the same, without a call. Setting the wall clock moves
//! the guest's, not the host's.

use crate::abi::general as c;
use crate::abi::general::{__kernel_old_timeval, __kernel_timespec};
use crate::error::{Errno, Result};
use crate::mm::UserPtr;
use crate::sched::{self, WaitEnd};
use crate::signal::RestartBlock;
use crate::sync::{Rank, SpinLock};
use crate::task::{Capability, Thread};
use crate::time::guest_clock::Clock;
use crate::time::timespec::{duration_of, duration_of_timeval, timespec_of, timeval_of};
use crate::time::{self, Duration};

/// `struct timezone`: minutes west of Greenwich, and the kind of summer time.
type Timezone = [i32; 2];
/// `struct tms`: user and system time of the process, then of the children it waited for.
type Tms = [i64; 4];

/// What settimeofday(2) was told; nothing here uses it.
static TIMEZONE: SpinLock<Timezone> = SpinLock::new(Rank::Thread, [0; 2]);

/// CLOCK_MONOTONIC.
pub(super) const MONOTONIC: i32 = c::CLOCK_MONOTONIC as i32;
/// TIMER_ABSTIME.
pub(super) const ABSOLUTE: u32 = 1;
/// Resolution of the coarse clocks: a tick at 250 Hz. (They are finer here.)
const COARSE_RESOLUTION: Duration = Duration::from_millis(4);
/// USER_HZ.
const TICKS_PER_SECOND: u128 = 100;
/// CPU time is looked at this often while somebody sleeps on it.
const CPU_SLEEP_STEP: Duration = Duration::from_millis(1);

fn is_coarse(id: i32) -> bool {
    id == c::CLOCK_REALTIME_COARSE as i32 || id == c::CLOCK_MONOTONIC_COARSE as i32
}

/// The clock for a sleep or a timer. EOPNOTSUPP for those that can only be read.
pub(super) fn clock_for_waiting(t: &Thread, id: i32) -> Result<Clock> {
    let clock = Clock::from_id(t, id)?;
    if is_coarse(id) || id == c::CLOCK_MONOTONIC_RAW as i32 {
        return Err(Errno::EOPNOTSUPP.because("this clock can only be read"));
    }
    Ok(clock)
}

/// The clock that a span is measured on: setting the wall clock does not change spans.
pub(super) fn clock_for_span(clock: Clock) -> Clock {
    match clock {
        Clock::Realtime | Clock::Tai => Clock::Monotonic,
        other => other,
    }
}

/// clock_gettime(2)
pub fn sys_clock_gettime(t: &Thread, id: i32, at: UserPtr<__kernel_timespec>) -> Result<usize> {
    at.write(timespec_of(Clock::from_id(t, id)?.now()))?;
    Ok(0)
}

/// clock_getres(2)
pub fn sys_clock_getres(t: &Thread, id: i32, at: UserPtr<__kernel_timespec>) -> Result<usize> {
    Clock::from_id(t, id)?;
    let resolution = if is_coarse(id) { COARSE_RESOLUTION } else { Duration::from_nanos(1) };
    at.write_if_given(timespec_of(resolution))?;
    Ok(0)
}

fn set_wall_clock(t: &Thread, to: Duration) -> Result<()> {
    if !t.credentials().capable(Capability::SysTime) {
        return Err(Errno::EPERM.because("setting a clock needs CAP_SYS_TIME"));
    }
    time::set_realtime(to);
    Ok(())
}

/// clock_settime(2)
pub fn sys_clock_settime(t: &Thread, id: i32, at: UserPtr<__kernel_timespec>) -> Result<usize> {
    match Clock::from_id(t, id)? {
        Clock::Realtime if id == c::CLOCK_REALTIME as i32 => set_wall_clock(t, duration_of(at.read()?)?).map(|()| 0),
        clock if clock.is_cpu_time() => Err(Errno::EPERM.because("CPU time cannot be set")),
        _ => Err(Errno::EINVAL.because("this clock cannot be set")),
    }
}

/// gettimeofday(2)
pub fn sys_gettimeofday(_t: &Thread, at: UserPtr<__kernel_old_timeval>, zone: UserPtr<Timezone>) -> Result<usize> {
    at.write_if_given(timeval_of(time::realtime()))?;
    if let Some(p) = zone.non_null() {
        let value = *TIMEZONE.lock();
        p.write(value)?;
    }
    Ok(0)
}

/// settimeofday(2)
pub fn sys_settimeofday(t: &Thread, at: UserPtr<__kernel_old_timeval>, zone: UserPtr<Timezone>) -> Result<usize> {
    const FARTHEST_MINUTES: i32 = 15 * 60;
    let to = match at.non_null() {
        Some(p) => Some(duration_of_timeval(p.read()?)?),
        None => None,
    };
    let zone = match zone.non_null() {
        Some(p) => Some(p.read()?),
        None => None,
    };
    if !t.credentials().capable(Capability::SysTime) {
        return Err(Errno::EPERM.because("setting a clock needs CAP_SYS_TIME"));
    }
    if let Some(z) = zone {
        if z[0].unsigned_abs() > FARTHEST_MINUTES as u32 {
            return Err(Errno::EINVAL.because("tz_minuteswest is beyond 15 hours"));
        }
        *TIMEZONE.lock() = z;
    }
    if let Some(to) = to {
        set_wall_clock(t, to)?;
    }
    Ok(0)
}

/// time(2)
pub fn sys_time(_t: &Thread, at: UserPtr<i64>) -> Result<usize> {
    let seconds = time::realtime().as_secs();
    at.write_if_given(seconds as i64)?;
    Ok(seconds as usize)
}

/// times(2)
pub fn sys_times(t: &Thread, at: UserPtr<Tms>) -> Result<usize> {
    let ticks = |d: Duration| (d.as_nanos() * TICKS_PER_SECOND / 1_000_000_000) as i64;
    if let Some(p) = at.non_null() {
        let (own, children) = (t.process().cpu_times(), t.process().children_cpu_times());
        p.write([ticks(own.user), ticks(own.system), ticks(children.user), ticks(children.system)])?;
    }
    Ok(ticks(time::since_boot()) as usize)
}

/// Words of `struct timex`.
const TIMEX_WORDS: usize = 26;
/// ADJ_OFFSET_SS_READ: only tells what adjtime(3) has left to do.
const ADJ_OFFSET_SS_READ: u32 = 0xa001;
const STA_UNSYNC: u64 = 0x40;
const TIME_ERROR: usize = 5;

/// adjtimex(2): tells of a clock that nobody in the guest steers.
pub fn sys_adjtimex(_t: &Thread, at: UserPtr<[u64; TIMEX_WORDS]>) -> Result<usize> {
    let given = at.read()?;
    let modes = given[0] as u32;
    if modes != 0 && modes != ADJ_OFFSET_SS_READ {
        return Err(Errno::EPERM.because("the clock follows the host's and is not steered here"));
    }
    let now = time::realtime();
    let mut out = [0u64; TIMEX_WORDS];
    out[0] = u64::from(modes);
    (out[3], out[4]) = (16_000_000, 16_000_000); // maxerror and esterror of a clock that is not synchronized, in µs
    out[5] = STA_UNSYNC;
    out[6] = 2; // constant
    out[7] = 1; // precision in µs
    out[8] = 32_768_000; // tolerance: 500 ppm
    out[9] = now.as_secs();
    out[10] = u64::from(now.subsec_micros());
    out[11] = 10_000; // µs per tick
    at.write(out)?;
    Ok(TIME_ERROR)
}

/// clock_adjtime(2)
pub fn sys_clock_adjtime(t: &Thread, id: i32, at: UserPtr<[u64; TIMEX_WORDS]>) -> Result<usize> {
    Clock::from_id(t, id)?;
    if id != c::CLOCK_REALTIME as i32 {
        return Err(Errno::EOPNOTSUPP.because("only CLOCK_REALTIME is adjusted"));
    }
    sys_adjtimex(t, at)
}

/// Sleeps until the clock shows `reading` or a signal comes.
fn sleep_until(t: &Thread, clock: &Clock, reading: Duration) -> WaitEnd {
    while clock.now() < reading {
        let mut at = clock.instant_of(reading);
        if clock.is_cpu_time() {
            at = at.max(time::now() + CPU_SLEEP_STEP);
        }
        if sched::sleep_until(t, at) == WaitEnd::Interrupted {
            return WaitEnd::Interrupted;
        }
    }
    WaitEnd::TimedOut
}

/// A sleep that goes on through restart_syscall(2); the arguments are clock, reading in nanoseconds, place for the rest.
fn sleep_span(t: &Thread, args: &[u64; 6]) -> Result<usize> {
    let clock = Clock::from_id(t, args[0] as i32)?;
    let reading = Duration::from_nanos(args[1]);
    if sleep_until(t, &clock, reading) == WaitEnd::TimedOut {
        return Ok(0);
    }
    let left = reading.saturating_sub(clock.now());
    if left.is_zero() {
        return Ok(0);
    }
    UserPtr::<__kernel_timespec>::new(args[2] as usize).write_if_given(timespec_of(left))?;
    t.signals.set_restart(RestartBlock { resume: sleep_span, args: *args });
    Err(Errno::ERESTART_RESTARTBLOCK.into())
}

fn start_span(t: &Thread, id: i32, length: Duration, rest: UserPtr<__kernel_timespec>) -> Result<usize> {
    let reading = Clock::from_id(t, id)?.now().saturating_add(length);
    let nanos = u64::try_from(reading.as_nanos()).unwrap_or(u64::MAX);
    sleep_span(t, &[id as u64, nanos, rest.addr() as u64, 0, 0, 0])
}

/// nanosleep(2)
pub fn sys_nanosleep(t: &Thread, at: UserPtr<__kernel_timespec>, rest: UserPtr<__kernel_timespec>) -> Result<usize> {
    start_span(t, MONOTONIC, duration_of(at.read()?)?, rest)
}

/// clock_nanosleep(2)
pub fn sys_clock_nanosleep(
    t: &Thread,
    id: i32,
    flags: u32,
    at: UserPtr<__kernel_timespec>,
    rest: UserPtr<__kernel_timespec>,
) -> Result<usize> {
    let clock = clock_for_waiting(t, id)?;
    if matches!(&clock, Clock::ThreadCpu(o) if core::ptr::eq(alloc::sync::Arc::as_ptr(o), t)) {
        return Err(Errno::EINVAL.because("a thread that sleeps uses no CPU time"));
    }
    let wanted = duration_of(at.read()?)?;
    if flags & ABSOLUTE == 0 {
        let id = if matches!(clock, Clock::Realtime | Clock::Tai) { MONOTONIC } else { id };
        return start_span(t, id, wanted, rest);
    }
    match sleep_until(t, &clock, wanted) {
        WaitEnd::TimedOut => Ok(0),
        WaitEnd::Interrupted => Err(Errno::ERESTARTNOHAND.into()),
    }
}
