//! Blocking: register, look, sleep.

use super::idle::{anticipate, linger};
use super::run_queue::{RunState, schedule};
use super::wait_queue::WaitQueue;
use crate::error::{Errno, Error};
use crate::fs::poll::PollEvents;
use crate::task::Thread;
use crate::time::timer::{self, Timer};
use crate::time::{self, Instant};
use alloc::sync::Arc;

/// Why a wait ended without its wish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitEnd {
    /// A signal is pending.
    Interrupted,
    /// The deadline has passed.
    TimedOut,
}

impl From<WaitEnd> for Error {
    /// ERESTARTSYS and ETIMEDOUT: right for most calls; the others map the ends themselves (signal(7)).
    fn from(end: WaitEnd) -> Error {
        match end {
            WaitEnd::Interrupted => Errno::ERESTARTSYS.into(),
            WaitEnd::TimedOut => Errno::ETIMEDOUT.into(),
        }
    }
}

/// Sleeps until `look` gives something, a signal is pending or the deadline has passed.
///
/// The caller has registered `thread` with whatever wakes it; `look` is called after the thread counts as blocked, so a
/// wake-up that comes while it looks is not lost. `look` may take locks, but must not block.
pub fn block_on<R>(
    thread: &Thread,
    deadline: Option<Instant>,
    mut look: impl FnMut() -> Option<R>,
) -> Result<R, WaitEnd> {
    let mut pause = Pause { thread, deadline, timer: None };
    loop {
        thread.entity.set_state(RunState::Blocked);
        if let Some(found) = look() {
            return Ok(found);
        }
        pause.rest()?;
    }
}

/// Sleeps until something may have happened that the caller waits for: its next attempt tells. `look` registers the thread and
/// looks, as for [`block_on`]; a wake-up ends the wait without another look.
pub fn block_once(thread: &Thread, deadline: Option<Instant>, look: impl FnOnce() -> bool) -> Result<(), WaitEnd> {
    if anticipate(thread, deadline) {
        return Ok(());
    }
    let mut pause = Pause { thread, deadline, timer: None };
    thread.entity.set_state(RunState::Blocked);
    if look() { Ok(()) } else { pause.sleep() }
}

/// A thread's wait; when it is over, however it ended, the thread counts as runnable.
struct Pause<'a> {
    thread: &'a Thread,
    deadline: Option<Instant>,
    timer: Option<Timer>,
}

impl Pause<'_> {
    /// Gives the vCPU up until something wakes the thread, after a short time of polling in its place.
    fn rest(&mut self) -> Result<(), WaitEnd> {
        self.prepare()?;
        linger(self.thread);
        self.leave();
        Ok(())
    }

    /// Gives the vCPU up until something wakes the thread.
    fn sleep(&mut self) -> Result<(), WaitEnd> {
        self.prepare()?;
        self.leave();
        Ok(())
    }

    fn leave(&self) {
        if !self.thread.entity.is_runnable() {
            schedule();
        }
    }

    fn prepare(&mut self) -> Result<(), WaitEnd> {
        if self.thread.signal_pending() {
            return Err(WaitEnd::Interrupted);
        }
        if let Some(at) = self.deadline {
            if at <= time::now() {
                return Err(WaitEnd::TimedOut);
            }
            if self.timer.is_none() && at != Instant::FAR_FUTURE {
                self.timer = Some(timer::wake_at(at, self.thread.arc()));
            }
        }
        Ok(())
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        self.thread.entity.set_state(RunState::Runnable);
    }
}

/// As [`block_on`], but signals do not end the wait, and there is no deadline.
pub fn block_uninterruptible<R>(thread: &Thread, mut look: impl FnMut() -> Option<R>) -> R {
    loop {
        thread.entity.set_state(RunState::Blocked);
        if let Some(found) = look() {
            thread.entity.set_state(RunState::Runnable);
            return found;
        }
        schedule();
    }
}

/// Sleeps until the deadline or a signal.
pub fn sleep_until(thread: &Thread, deadline: Instant) -> WaitEnd {
    match block_on(thread, Some(deadline), || None::<()>) {
        Err(end) => end,
        Ok(()) => WaitEnd::TimedOut,
    }
}

impl WaitQueue {
    /// Sleeps on this queue until `look` gives something, a signal is pending or the deadline has passed.
    pub fn wait<R>(
        &self,
        thread: &Arc<Thread>,
        deadline: Option<Instant>,
        look: impl FnMut() -> Option<R>,
    ) -> Result<R, WaitEnd> {
        let id = self.add_thread(thread.clone(), PollEvents::all());
        let end = block_on(thread, deadline, look);
        self.remove(id);
        end
    }

    /// As [`WaitQueue::wait`], but signals do not end the wait.
    pub fn wait_uninterruptible<R>(&self, thread: &Arc<Thread>, look: impl FnMut() -> Option<R>) -> R {
        let id = self.add_thread(thread.clone(), PollEvents::all());
        let found = block_uninterruptible(thread, look);
        self.remove(id);
        found
    }
}
