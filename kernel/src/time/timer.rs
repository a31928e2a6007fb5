//! Kernel timers: things that happen at an instant.
//!
//! One ordered map for the machine. Timers run from the idle loop and on the way back to guest code; the host's
//! preemption timer is armed for the earliest. A callback runs without any lock held and must not block.

use super::Instant;
use crate::sync::{Rank, SpinLock};
use crate::task::Thread;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

/// Called when its time has come.
pub trait TimerCallback: Send + Sync {
    /// `now` is at or after the instant that was asked for.
    fn expired(&self, now: Instant);
}

enum Action {
    Wake(Arc<Thread>),
    Call(Arc<dyn TimerCallback>),
}

struct Timers {
    next_id: u64,
    pending: BTreeMap<(Instant, u64), Action>,
}

static TIMERS: SpinLock<Timers> = SpinLock::new(Rank::Timer, Timers { next_id: 0, pending: BTreeMap::new() });

/// A timer that has been set; dropping it cancels it.
#[must_use]
#[derive(Debug)]
pub struct Timer {
    key: (Instant, u64),
}

impl Timer {
    /// When it is due.
    pub fn deadline(&self) -> Instant {
        self.key.0
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let removed = TIMERS.lock().pending.remove(&self.key);
        drop(removed);
    }
}

fn add(at: Instant, action: Action) -> Timer {
    let mut t = TIMERS.lock();
    t.next_id += 1;
    let key = (at, t.next_id);
    let first = t.pending.first_key_value().is_none_or(|(k, _)| key < *k);
    t.pending.insert(key, action);
    drop(t);
    if first {
        crate::arch::request_preemption_check();
    }
    Timer { key }
}

/// Wakes `thread` at `at`.
pub fn wake_at(at: Instant, thread: Arc<Thread>) -> Timer {
    add(at, Action::Wake(thread))
}

/// Calls `callback` at `at`.
pub fn call_at(at: Instant, callback: Arc<dyn TimerCallback>) -> Timer {
    add(at, Action::Call(callback))
}

/// Calls `callback` as soon as no lock is held any more; that cannot be taken back.
pub fn call_soon(callback: Arc<dyn TimerCallback>) {
    core::mem::forget(call_at(super::now(), callback));
}

/// When the earliest timer is due.
pub fn next_deadline() -> Option<Instant> {
    TIMERS.lock().pending.first_key_value().map(|(k, _)| k.0)
}

/// Runs what is due; returns whether anything was.
pub fn run_expired(now: Instant) -> bool {
    let mut any = false;
    loop {
        let action = {
            let mut t = TIMERS.lock();
            match t.pending.first_key_value() {
                Some((k, _)) if k.0 <= now => t.pending.pop_first().map(|(_, a)| a),
                _ => None,
            }
        };
        match action {
            None => return any,
            Some(Action::Wake(thread)) => {
                crate::sched::wake(&thread);
            }
            Some(Action::Call(callback)) => callback.expired(now),
        }
        any = true;
    }
}
