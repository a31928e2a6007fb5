//! Descriptors that stand for events: eventfd(2), timerfd_create(2).

use super::at;
use crate::abi::general::{
    __kernel_itimerspec, CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM, CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_REALTIME_ALARM,
};
use crate::error::{Errno, Result};
use crate::fs::eventfd::EventFd;
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::timerfd::{Setting, TimerFd};
use crate::mm::UserPtr;
use crate::task::{Fd, Thread};
use crate::time;
use crate::time::guest_clock::Clock;
use crate::time::timespec::{duration_of, timespec_of};

const EFD_SEMAPHORE: u32 = 1;
const TFD_TIMER_ABSTIME: u32 = 1;
/// Accepted; a step of the clock cancels no timer.
const TFD_TIMER_CANCEL_ON_SET: u32 = 2;

/// CLOEXEC and NONBLOCK, which these calls spell as open(2) does. EINVAL for flags beyond those and `more`.
fn creation_flags(flags: u32, more: u32) -> Result<(OpenFlags, bool)> {
    let known = OpenFlags::CLOEXEC | OpenFlags::NONBLOCK;
    if flags & !(known.bits() | more) != 0 {
        return Err(Errno::EINVAL.because("unknown flags"));
    }
    let flags = OpenFlags::from_bits_retain(flags) & known;
    Ok((OpenFlags::RDWR | (flags & OpenFlags::NONBLOCK), flags.contains(OpenFlags::CLOEXEC)))
}

/// eventfd2(2).
pub fn sys_eventfd2(t: &Thread, count: u32, flags: u32) -> Result<usize> {
    let (status, cloexec) = creation_flags(flags, EFD_SEMAPHORE)?;
    let ops = EventFd::new(count.into(), flags & EFD_SEMAPHORE != 0);
    at::install(t, OpenFile::anonymous(ops, status), cloexec)
}

/// eventfd(2) as the kernel has it.
pub fn sys_eventfd(t: &Thread, count: u32) -> Result<usize> {
    sys_eventfd2(t, count, 0)
}

/// timerfd_create(2).
pub fn sys_timerfd_create(t: &Thread, clock: i32, flags: u32) -> Result<usize> {
    let (status, cloexec) = creation_flags(flags, 0)?;
    let known = [CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM];
    if !known.iter().any(|&k| k as i32 == clock) {
        return Err(Errno::EINVAL.because("not a clock for timerfd"));
    }
    at::install(t, OpenFile::anonymous(TimerFd::new(clock), status), cloexec)
}

fn timer(file: &OpenFile) -> Result<&TimerFd> {
    file.ops().downcast_ref::<TimerFd>().ok_or_else(|| Errno::EINVAL.because("not a timerfd"))
}

fn itimerspec(s: Setting) -> __kernel_itimerspec {
    __kernel_itimerspec { it_interval: timespec_of(s.interval), it_value: timespec_of(s.value) }
}

/// timerfd_settime(2).
pub fn sys_timerfd_settime(
    t: &Thread,
    fd: Fd,
    flags: u32,
    new: UserPtr<__kernel_itimerspec>,
    old: UserPtr<__kernel_itimerspec>,
) -> Result<usize> {
    if flags & !(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL.because("unknown timerfd flags"));
    }
    let new = new.read()?;
    let (value, interval) = (duration_of(new.it_value)?, duration_of(new.it_interval)?);
    let file = at::file(t, fd)?;
    let timer = timer(&file)?;
    let first = match (value.is_zero(), flags & TFD_TIMER_ABSTIME != 0) {
        (true, _) => None,
        (false, false) => Some(time::now() + value),
        (false, true) => Some(Clock::from_id(t, timer.clock())?.instant_of(value)),
    };
    let before = timer.set(first, interval);
    old.write_if_given(itimerspec(before))?;
    Ok(0)
}

/// timerfd_gettime(2).
pub fn sys_timerfd_gettime(t: &Thread, fd: Fd, out: UserPtr<__kernel_itimerspec>) -> Result<usize> {
    let file = at::file(t, fd)?;
    out.write(itimerspec(timer(&file)?.get()))?;
    Ok(0)
}
