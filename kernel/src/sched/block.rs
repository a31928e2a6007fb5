//! Blocking: register, look, sleep.

use super::idle::linger;
use super::run_queue::{RunState, schedule};
use super::wait_queue::WaitQueue;
use crate::error::{Errno, Error};
use crate::fs::poll::PollEvents;
use crate::task::Thread;
use crate::time::{self, Instant, timer};
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
    let mut timer = None;
    let end = loop {
        thread.entity.set_state(RunState::Blocked);
        if let Some(found) = look() {
            break Ok(found);
        }
        if thread.signal_pending() {
            break Err(WaitEnd::Interrupted);
        }
        if let Some(at) = deadline {
            if at <= time::now() {
                break Err(WaitEnd::TimedOut);
            }
            if timer.is_none() && at != Instant::FAR_FUTURE {
                timer = Some(timer::wake_at(at, thread.arc()));
            }
        }
        linger(thread);
        if !thread.entity.is_runnable() {
            schedule();
        }
    };
    thread.entity.set_state(RunState::Runnable);
    drop(timer);
    end
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
