//! Job control: stopping and continuing a process.

use super::number::{SigSet, Signal};
use super::send;
use crate::fs::poll::PollEvents;
use crate::task::{Process, StateChange, Thread, notify_parent_of_change};
use alloc::sync::Arc;

/// Stops the process of the running thread, which then finds itself stopped on its way out; so do its siblings.
pub(super) fn stop(t: &Thread, signal: Signal) {
    let process = t.process();
    let threads = {
        let mut f = process.family.lock();
        if f.ending.is_some() || f.stopped.is_some() {
            return;
        }
        f.stopped = Some(signal.number() as u8);
        f.unreported = Some(StateChange::Stopped(signal.number() as u8));
        f.threads.clone()
    };
    process.signals.set_stopped(true);
    for other in &threads {
        send::notify(other);
    }
    notify_parent_of_change(process, StateChange::Stopped(signal.number() as u8));
}

/// SIGCONT: a stopped process goes on, and its parent hears of it.
pub(super) fn resume(process: &Arc<Process>) {
    let was_stopped = {
        let mut f = process.family.lock();
        let stopped = f.stopped.take().is_some();
        if stopped {
            f.unreported = Some(StateChange::Continued);
        }
        stopped
    };
    if was_stopped {
        process.signals.set_stopped(false);
        process.signals.resumption.wake(PollEvents::all());
        notify_parent_of_change(process, StateChange::Continued);
    }
}

/// Sleeps while the process is stopped; only SIGCONT and the process's end wake it.
pub(super) fn wait_while_stopped(t: &Thread) {
    let process = t.process();
    process
        .signals
        .resumption
        .wait_uninterruptible(&t.arc(), || (!process.signals.is_stopped() || t.signals.is_ending()).then_some(()));
}

/// Whether a stop signal of the terminal has no effect: its process group is orphaned, so that nobody could continue it.
pub(super) fn is_void(process: &Process, signal: Signal) -> bool {
    SigSet::STOPS.without(Signal::STOP).has(signal) && crate::task::is_orphaned_group(process.group(), None)
}
