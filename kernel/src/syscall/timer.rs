//! Interval timers and POSIX timers: setitimer(2), alarm(2), timer_create(2) and their like.

use super::time::{ABSOLUTE, clock_for_span, clock_for_waiting};
use crate::abi::general as c;
use crate::abi::general::{__kernel_itimerspec, __kernel_old_itimerval};
use crate::error::{Errno, Result};
use crate::mm::UserPtr;
use crate::signal::Signal;
use crate::task::timers::{Itimer, Notification, notified_thread};
use crate::task::{Thread, Tid};
use crate::time::Duration;
use crate::time::interval::Setting;
use crate::time::timespec::{duration_of, duration_of_timeval, timespec_of, timeval_of};

/// `struct sigevent`: value, signal and kind, thread, padding.
type Sigevent = [u64; 8];

fn itimerval_of((left, period): (Duration, Duration)) -> __kernel_old_itimerval {
    // A timer that is set never shows zero, however little is left.
    let left = if left.is_zero() { left } else { left.max(Duration::from_micros(1)) };
    __kernel_old_itimerval { it_interval: timeval_of(period), it_value: timeval_of(left) }
}

/// getitimer(2)
pub fn sys_getitimer(t: &Thread, which: i32, at: UserPtr<__kernel_old_itimerval>) -> Result<usize> {
    let which = Itimer::from_number(which)?;
    at.write(itimerval_of(t.process().timers.itimer(which)))?;
    Ok(0)
}

/// setitimer(2). NULL for the new value stops the timer, as on Linux.
pub fn sys_setitimer(
    t: &Thread,
    which: i32,
    new: UserPtr<__kernel_old_itimerval>,
    old: UserPtr<__kernel_old_itimerval>,
) -> Result<usize> {
    let (delay, period) = match new.non_null() {
        Some(p) => {
            let value = p.read()?;
            (duration_of_timeval(value.it_value)?, duration_of_timeval(value.it_interval)?)
        }
        None => (Duration::ZERO, Duration::ZERO),
    };
    let which = Itimer::from_number(which)?;
    let before = t.process().timers.set_itimer(which, delay, period);
    old.write_if_given(itimerval_of(before))?;
    Ok(0)
}

/// alarm(2): what was left is rounded to whole seconds, but never to zero.
pub fn sys_alarm(t: &Thread, seconds: u32) -> Result<usize> {
    let delay = Duration::from_secs(u64::from(seconds));
    let (left, _) = t.process().timers.set_itimer(Itimer::Real, delay, Duration::ZERO);
    let rounded = left.as_secs() + u64::from(left.subsec_millis() >= 500);
    Ok(if left.is_zero() { 0 } else { rounded.max(1) as usize })
}

fn notification_of(t: &Thread, event: &Sigevent) -> Result<Notification> {
    let (signo, kind, tid) = (event[1] as u32 as i32, (event[1] >> 32) as u32, Tid(event[2] as i32));
    let signal = || Signal::new(signo).ok_or_else(|| Errno::EINVAL.because("sigev_signo is no signal"));
    match kind {
        c::SIGEV_NONE => Ok(Notification::Nothing),
        // SIGEV_THREAD is the C library's; the kernel takes it for a signal to the process.
        c::SIGEV_SIGNAL | c::SIGEV_THREAD => Ok(Notification::Process(signal()?)),
        c::SIGEV_THREAD_ID => {
            let tid = notified_thread(t, tid)?;
            Ok(Notification::Thread(signal()?, tid))
        }
        _ => Err(Errno::EINVAL.because("no such sigev_notify")),
    }
}

/// timer_create(2)
pub fn sys_timer_create(t: &Thread, clock: i32, event: UserPtr<Sigevent>, id: UserPtr<i32>) -> Result<usize> {
    let clock = clock_for_waiting(t, clock)?;
    let (notification, value) = match event.non_null() {
        None => (Notification::Process(Signal::ALRM), None),
        Some(p) => {
            let event = p.read()?;
            (notification_of(t, &event)?, Some(event[0]))
        }
    };
    let timers = &t.process().timers;
    let made = timers.create(clock, notification, value)?;
    if let Err(e) = id.write(made) {
        timers.delete(made)?;
        return Err(e);
    }
    Ok(0)
}

fn itimerspec_of((left, period): (Duration, Duration)) -> __kernel_itimerspec {
    __kernel_itimerspec { it_interval: timespec_of(period), it_value: timespec_of(left) }
}

/// timer_settime(2)
pub fn sys_timer_settime(
    t: &Thread,
    id: i32,
    flags: u32,
    new: UserPtr<__kernel_itimerspec>,
    old: UserPtr<__kernel_itimerspec>,
) -> Result<usize> {
    let Some(new) = new.non_null() else {
        return Err(Errno::EINVAL.because("timer_settime needs a new value"));
    };
    let new = new.read()?;
    let (value, period) = (duration_of(new.it_value)?, duration_of(new.it_interval)?);
    let timer = t.process().timers.posix(id)?;
    let clock = timer.sink().clock().clone();
    let setting = if value.is_zero() {
        None
    } else if flags & ABSOLUTE != 0 {
        Some(Setting { clock, due: value, period })
    } else {
        Some(Setting::after(clock_for_span(clock), value, period))
    };
    timer.sink().reset_overrun();
    let before = timer.set(setting);
    old.write_if_given(itimerspec_of(before))?;
    Ok(0)
}

/// timer_gettime(2)
pub fn sys_timer_gettime(t: &Thread, id: i32, at: UserPtr<__kernel_itimerspec>) -> Result<usize> {
    let timer = t.process().timers.posix(id)?;
    at.write(itimerspec_of(timer.remaining()))?;
    Ok(0)
}

/// timer_getoverrun(2)
pub fn sys_timer_getoverrun(t: &Thread, id: i32) -> Result<usize> {
    Ok(t.process().timers.posix(id)?.sink().overrun() as usize)
}

/// timer_delete(2)
pub fn sys_timer_delete(t: &Thread, id: i32) -> Result<usize> {
    t.process().timers.delete(id).map(|()| 0)
}
