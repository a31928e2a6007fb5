//! Timers of the guest's own: due at a reading of one of its clocks, once or again and again.
//!
//! The host's time is what kernel timers ([`super::timer`]) count in. A guest's clock may stand still meanwhile (CPU
//! time) or be set back, so an expiry of the kernel timer is only an occasion to look at the clock: what is not due yet
//! is set anew. Periods that have passed unseen are counted, not made up for one by one, and looks keep a distance, so
//! that a period of a nanosecond cannot occupy the machine.

use super::guest_clock::Clock;
use super::timer::{self, Timer, TimerCallback};
use super::{Duration, Instant};
use crate::sync::{Rank, SpinLock};
use alloc::sync::{Arc, Weak};

/// Least distance between two looks at a clock that runs with time.
const LEAST_DISTANCE: Duration = Duration::from_micros(50);
/// Least distance for a CPU-time clock: Linux looks at those once a tick.
const LEAST_DISTANCE_CPU: Duration = Duration::from_millis(1);

/// What happens when such a timer expires.
pub trait Expiry: Send + Sync {
    /// `periods` (at least one) have passed since the last call. Called without a lock; must not block.
    fn expired(&self, periods: u64);
}

/// When a timer is due.
#[derive(Clone)]
pub struct Setting {
    /// The clock that it follows.
    pub clock: Clock,
    /// The clock's reading at the next expiry.
    pub due: Duration,
    /// From one expiry to the next; zero for a single one.
    pub period: Duration,
}

impl Setting {
    /// Relative to the present reading.
    pub fn after(clock: Clock, delay: Duration, period: Duration) -> Self {
        let due = clock.now().saturating_add(delay);
        Setting { clock, due, period }
    }
}

#[derive(Default)]
struct Armed {
    setting: Option<Setting>,
    /// Counts settings, so that a look knows whether what it saw still stands.
    generation: u64,
    timer: Option<Timer>,
}

/// A timer with what it does at expiry.
pub struct IntervalTimer<S: Expiry + 'static> {
    sink: S,
    armed: SpinLock<Armed>,
    look: Arc<Look<S>>,
}

/// What the kernel timer holds: it does not keep the timer alive.
struct Look<S: Expiry + 'static>(Weak<IntervalTimer<S>>);

impl<S: Expiry + 'static> TimerCallback for Look<S> {
    fn expired(&self, _now: Instant) {
        let Some(t) = self.0.upgrade() else { return };
        let periods = t.take_expired();
        if periods > 0 {
            t.sink.expired(periods);
        }
    }
}

impl<S: Expiry + 'static> IntervalTimer<S> {
    /// A timer that is not set.
    pub fn new(sink: S) -> Arc<Self> {
        Arc::new_cyclic(|me: &Weak<Self>| IntervalTimer {
            sink,
            armed: SpinLock::new(Rank::Thread, Armed::default()),
            look: Arc::new(Look(me.clone())),
        })
    }

    /// What it does at expiry.
    pub fn sink(&self) -> &S {
        &self.sink
    }

    /// Sets it, or stops it with `None`; returns what was left, as [`IntervalTimer::remaining`].
    pub fn set(&self, setting: Option<Setting>) -> (Duration, Duration) {
        let left = self.remaining();
        let at = setting.as_ref().map(look_at);
        let (old_setting, old_timer) = {
            let mut a = self.armed.lock();
            a.generation += 1;
            let old = (core::mem::replace(&mut a.setting, setting), a.timer.take());
            a.timer = at.map(|at| timer::call_at(at, self.look.clone()));
            old
        };
        drop((old_setting, old_timer));
        left
    }

    /// Time until the next expiry, and the period. A timer that is set shows at least a nanosecond; zero is a timer that
    /// is not (timer_gettime(2)).
    pub fn remaining(&self) -> (Duration, Duration) {
        let setting = self.armed.lock().setting.clone();
        let Some(s) = setting else { return (Duration::ZERO, Duration::ZERO) };
        let now = s.clock.now();
        let due = match passed(&s, now) {
            0 => s.due,
            n => s.due.saturating_add(times(s.period, n)),
        };
        (due.saturating_sub(now).max(Duration::from_nanos(1)), s.period)
    }

    /// Counts what has expired by now and sets the timer for the next time.
    pub fn take_expired(&self) -> u64 {
        let (setting, generation) = {
            let a = self.armed.lock();
            (a.setting.clone(), a.generation)
        };
        let Some(mut s) = setting else { return 0 };
        let periods = passed(&s, s.clock.now());
        let goes_on = periods == 0 || s.period > Duration::ZERO;
        s.due = s.due.saturating_add(times(s.period, periods));
        let next = goes_on.then_some(s);
        let at = next.as_ref().map(look_at);
        let old = {
            let mut a = self.armed.lock();
            if a.generation != generation {
                return 0;
            }
            let old = (core::mem::replace(&mut a.setting, next), a.timer.take());
            a.timer = at.map(|at| timer::call_at(at, self.look.clone()));
            old
        };
        drop(old);
        periods
    }
}

/// How often the timer has expired at a reading of its clock.
fn passed(s: &Setting, now: Duration) -> u64 {
    match now.checked_sub(s.due) {
        None => 0,
        Some(_) if s.period.is_zero() => 1,
        Some(late) => u64::try_from(late.as_nanos() / s.period.as_nanos() + 1).unwrap_or(u64::MAX),
    }
}

fn times(period: Duration, n: u64) -> Duration {
    let nanos = period.as_nanos().saturating_mul(u128::from(n));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// When to look at the clock.
fn look_at(s: &Setting) -> Instant {
    let distance = if s.clock.is_cpu_time() { LEAST_DISTANCE_CPU } else { LEAST_DISTANCE };
    let earliest = super::now() + distance;
    let due = s.clock.instant_of(s.due);
    // The first expiry may be closer than the distance: only repetition needs one.
    if s.period.is_zero() && !s.clock.is_cpu_time() { due } else { due.max(earliest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(due: u64, period: u64) -> Setting {
        Setting { clock: Clock::Monotonic, due: Duration::from_nanos(due), period: Duration::from_nanos(period) }
    }

    #[test]
    fn periods_that_passed_unseen_are_counted() {
        let at = |n| Duration::from_nanos(n);
        assert_eq!(passed(&setting(100, 10), at(99)), 0);
        assert_eq!(passed(&setting(100, 10), at(100)), 1);
        assert_eq!(passed(&setting(100, 10), at(109)), 1);
        assert_eq!(passed(&setting(100, 10), at(135)), 4);
        assert_eq!(passed(&setting(100, 0), at(10_000)), 1);
        assert_eq!(times(at(10), 4), at(40));
        assert_eq!(times(Duration::MAX, 2), at(u64::MAX));
    }
}
