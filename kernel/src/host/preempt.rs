//! The preemption timer: a host timer that signals the vCPU's thread.
//!
//! It is armed for one instant at a time, and only earlier than it already is: setting it costs a system call, and a
//! firing that comes for nothing costs less than many settings. The host is told how long from now, not when: its clock
//! and the machine's agree about spans, but may stand microseconds apart. A firing that comes too early all the same is
//! noted ([`preemption_fired`]), so that the timer is set again for what is left.

use super::raw::syscall;
use super::signal::PREEMPT_SIGNAL;
use crate::error::Result;
use crate::time::{Duration, Instant};
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use linux_raw_sys::general::{__NR_timer_create, __NR_timer_settime};

const CLOCK_MONOTONIC: usize = 1;
const SIGEV_THREAD_ID: i32 = 4;

static TIMER_ID: AtomicI32 = AtomicI32::new(-1);
static ARMED: Armed = Armed(AtomicU64::new(0));

/// When the timer fires next; 0 once it has fired.
struct Armed(AtomicU64);

impl Armed {
    /// Notes that the timer is to fire at `at`; returns how long from `now` it must be set to, `None` if it fires by then
    /// anyway.
    fn set(&self, at: Instant, now: Instant) -> Option<Duration> {
        let armed = self.0.load(Ordering::Relaxed);
        if armed > now.as_nanos() && armed <= at.as_nanos() {
            return None;
        }
        self.0.store(at.as_nanos(), Ordering::Relaxed);
        // An instant that has passed already must still fire; zero would disarm.
        Some(at.saturating_since(now).max(Duration::from_nanos(1)))
    }

    fn fired(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Makes the timer for the calling host thread.
pub fn start_preemption_timer() -> Result<()> {
    /// `struct sigevent` with SIGEV_THREAD_ID.
    #[repr(C)]
    struct Sigevent {
        value: u64,
        signo: i32,
        notify: i32,
        tid: i32,
        pad: [i32; 11],
    }
    let event = Sigevent {
        value: 0,
        signo: PREEMPT_SIGNAL,
        notify: SIGEV_THREAD_ID,
        tid: rustix::thread::gettid().as_raw_nonzero().get(),
        pad: [0; 11],
    };
    let mut id = 0i32;
    // SAFETY: both structures are laid out as the kernel wants them and live across the call.
    unsafe { syscall(__NR_timer_create, [CLOCK_MONOTONIC, &raw const event as usize, &raw mut id as usize, 0, 0, 0])? };
    TIMER_ID.store(id, Ordering::Relaxed);
    Ok(())
}

/// Sees to it that the vCPU is interrupted at `at` or before; it is `now`.
pub fn arm_preemption(at: Instant, now: Instant) {
    let id = TIMER_ID.load(Ordering::Relaxed);
    if id < 0 {
        return;
    }
    let Some(span) = ARMED.set(at, now) else { return };
    let spec: [u64; 4] = [0, 0, span.as_secs(), span.subsec_nanos().into()];
    // SAFETY: `struct itimerspec` is four 64-bit words and lives across the call.
    let _ = unsafe { syscall(__NR_timer_settime, [id as usize, 0, spec.as_ptr() as usize, 0, 0, 0]) };
}

/// The timer has fired: whatever it is needed for next must be set anew. Callable from a signal handler.
pub fn preemption_fired() {
    ARMED.fired();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_is_set_only_for_something_earlier() {
        let armed = Armed(AtomicU64::new(0));
        assert_eq!(armed.set(Instant(500), Instant(100)), Some(Duration::from_nanos(400)));
        assert_eq!(armed.set(Instant(600), Instant(200)), None);
        assert_eq!(armed.set(Instant(300), Instant(200)), Some(Duration::from_nanos(100)));
        assert_eq!(armed.set(Instant(700), Instant(300)), Some(Duration::from_nanos(400)));
        assert_eq!(armed.set(Instant(10), Instant(800)), Some(Duration::from_nanos(1)), "what is late fires at once");
    }

    #[test]
    fn a_timer_that_fires_before_its_time_is_set_again() {
        let armed = Armed(AtomicU64::new(0));
        armed.set(Instant(500), Instant(100));
        armed.fired();
        assert_eq!(armed.set(Instant(500), Instant(450)), Some(Duration::from_nanos(50)));
    }
}
