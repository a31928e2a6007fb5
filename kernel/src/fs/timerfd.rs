//! timerfd_create(2): a timer whose expirations are read from a descriptor.
//!
//! The kernel timer only wakes whoever waits; how many times the timer expired is computed from the clock when somebody
//! looks. A periodic timer is armed again when it is read, so that one that nobody reads costs nothing.

use super::file::{FileOps, OpenFile};
use super::poll::{PollEvents, PollWatch};
use crate::error::{Errno, Result};
use crate::mm::IovDest;
use crate::sched::WaitQueue;
use crate::sync::{Rank, SpinLock};
use crate::time::timer::{self, Timer, TimerCallback};
use crate::time::{self, Duration, Instant};
use alloc::string::String;
use alloc::sync::Arc;

/// Time to the next expiration, and between those after it; zero for none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Setting {
    pub value: Duration,
    pub interval: Duration,
}

#[derive(Default)]
struct State {
    /// The next expiration that has not been counted; `None` if disarmed.
    next: Option<Instant>,
    interval: Duration,
    /// Expirations since the last read.
    ticks: u64,
    timer: Option<Timer>,
}

impl State {
    /// Counts what has expired by `now`.
    fn advance(&mut self, now: Instant) {
        let Some(next) = self.next.filter(|&n| n <= now) else { return };
        let interval = self.interval.as_nanos() as u64;
        if interval == 0 {
            self.ticks += 1;
            self.next = None;
            return;
        }
        let n = 1 + now.saturating_since(next).as_nanos() as u64 / interval;
        self.ticks = self.ticks.saturating_add(n);
        self.next = Some(Instant(next.as_nanos().saturating_add(n.saturating_mul(interval))));
    }

    fn setting(&self, now: Instant) -> Setting {
        let value = self.next.map_or(Duration::ZERO, |n| n.saturating_since(now));
        Setting { value, interval: self.interval }
    }
}

/// Wakes those who wait for the timer.
struct Expiry(Arc<WaitQueue>);

impl TimerCallback for Expiry {
    fn expired(&self, _now: Instant) {
        self.0.wake(PollEvents::READABLE);
    }
}

/// The file behind a timerfd.
pub struct TimerFd {
    /// `CLOCK_*`, as it was asked for.
    clock: i32,
    state: SpinLock<State>,
    expired: Arc<WaitQueue>,
    callback: Arc<Expiry>,
}

impl TimerFd {
    /// A disarmed timer.
    pub fn new(clock: i32) -> Arc<Self> {
        let expired = Arc::new(WaitQueue::new());
        let callback = Arc::new(Expiry(expired.clone()));
        Arc::new(TimerFd { clock, state: SpinLock::new(Rank::Pipe, State::default()), expired, callback })
    }

    /// The clock it was made for.
    pub fn clock(&self) -> i32 {
        self.clock
    }

    fn arm(&self, state: &mut State) {
        state.timer = state.next.map(|at| timer::call_at(at, self.callback.clone()));
    }

    /// Sets the first expiration (`None` disarms) and the interval; returns what was set before.
    pub fn set(&self, first: Option<Instant>, interval: Duration) -> Setting {
        let now = time::now();
        let mut state = self.state.lock();
        state.advance(now);
        let old = state.setting(now);
        state.next = first;
        state.interval = interval;
        state.ticks = 0;
        self.arm(&mut state);
        old
    }

    /// What is set, with the time that is left.
    pub fn get(&self) -> Setting {
        let now = time::now();
        let mut state = self.state.lock();
        state.advance(now);
        self.arm(&mut state);
        state.setting(now)
    }

    /// Expirations since the last call. EAGAIN if there are none.
    fn take(&self) -> Result<u64> {
        let mut state = self.state.lock();
        state.advance(time::now());
        if state.ticks == 0 {
            return Err(Errno::EAGAIN.into());
        }
        self.arm(&mut state);
        Ok(core::mem::take(&mut state.ticks))
    }
}

impl FileOps for TimerFd {
    fn read(&self, _file: &OpenFile, dst: &mut IovDest<'_>, _offset: Option<u64>) -> Result<usize> {
        if dst.remaining() < 8 {
            return Err(Errno::EINVAL.because("a timerfd is read in 8 bytes"));
        }
        let ticks = self.take()?;
        dst.put(&ticks.to_ne_bytes())
    }

    fn poll(&self, _file: &OpenFile, watch: &mut PollWatch<'_>) -> PollEvents {
        watch.watch(&self.expired);
        let state = self.state.lock();
        let due = state.ticks > 0 || state.next.is_some_and(|n| n <= time::now());
        if due { PollEvents::READABLE } else { PollEvents::empty() }
    }

    fn label(&self) -> String {
        String::from("anon_inode:[timerfd]")
    }

    fn fd_info(&self) -> String {
        let Setting { value, interval } = self.get();
        let ticks = self.state.lock().ticks;
        alloc::format!(
            "clockid: {}\nticks: {ticks}\nsettime flags: 00\nit_value: ({}, {})\nit_interval: ({}, {})\n",
            self.clock,
            value.as_secs(),
            value.subsec_nanos(),
            interval.as_secs(),
            interval.subsec_nanos()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expirations_are_counted_from_the_clock() {
        let mut s = State { next: Some(Instant(100)), interval: Duration::from_nanos(50), ..State::default() };
        s.advance(Instant(99));
        assert_eq!((s.ticks, s.next), (0, Some(Instant(100))));
        s.advance(Instant(225));
        assert_eq!((s.ticks, s.next), (3, Some(Instant(250))));
        let mut once = State { next: Some(Instant(100)), ..State::default() };
        once.advance(Instant(500));
        once.advance(Instant(900));
        assert_eq!((once.ticks, once.next), (1, None));
    }

    #[test]
    fn a_timer_in_the_past_is_readable_once() {
        let t = TimerFd::new(1);
        assert_eq!(t.take().unwrap_err().errno(), Errno::EAGAIN);
        t.set(Some(Instant(1)), Duration::ZERO);
        let file = OpenFile::anonymous(t.clone(), Default::default());
        assert_eq!(file.poll(&mut PollWatch::look()), PollEvents::READABLE);
        assert_eq!(t.take().unwrap(), 1);
        assert_eq!(t.take().unwrap_err().errno(), Errno::EAGAIN);
        assert_eq!(t.get(), Setting::default());
    }
}
