//! The preemption timer: a host timer that signals the vCPU's thread.
//!
//! It is armed for one instant at a time, and only earlier than it already is: setting it costs a system call, and a
//! firing that comes for nothing costs less than many settings.

use super::raw::syscall;
use super::signal::PREEMPT_SIGNAL;
use crate::error::Result;
use crate::time::{self, Instant};
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use linux_raw_sys::general::{__NR_timer_create, __NR_timer_settime};

const CLOCK_MONOTONIC: usize = 1;
const SIGEV_THREAD_ID: i32 = 4;
const TIMER_ABSTIME: usize = 1;

static TIMER_ID: AtomicI32 = AtomicI32::new(-1);
/// When the timer fires next; in the past if it has fired.
static ARMED: AtomicU64 = AtomicU64::new(0);

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

/// Sees to it that the vCPU is interrupted at `at` or before.
pub fn arm_preemption(at: Instant) {
    let armed = ARMED.load(Ordering::Relaxed);
    let now = time::now().as_nanos();
    if armed > now && armed <= at.as_nanos() {
        return;
    }
    let id = TIMER_ID.load(Ordering::Relaxed);
    if id < 0 {
        return;
    }
    // An instant that has passed already must still fire; zero would disarm.
    let target = at.as_nanos().max(1);
    let spec: [u64; 4] = [0, 0, target / 1_000_000_000, target % 1_000_000_000];
    ARMED.store(target, Ordering::Relaxed);
    // SAFETY: `struct itimerspec` is four 64-bit words and lives across the call.
    let _ = unsafe { syscall(__NR_timer_settime, [id as usize, TIMER_ABSTIME, spec.as_ptr() as usize, 0, 0, 0]) };
}
