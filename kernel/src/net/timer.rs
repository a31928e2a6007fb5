//! Deadlines of flows, soonest first. Entries are never removed early: whoever is woken too soon looks at its own
//! deadline and goes back to sleep.

use super::tcp::FlowId;
use crate::time::Instant;
use alloc::collections::BinaryHeap;
use core::cmp::Reverse;

/// Whose deadline.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum TimerKey {
    /// A TCP flow's.
    Flow(FlowId),
}

/// The sooner of two deadlines, where there are any.
pub(super) fn sooner(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// A heap of deadlines.
#[derive(Default)]
pub(super) struct TimerHeap {
    heap: BinaryHeap<Reverse<(Instant, TimerKey)>>,
}

impl TimerHeap {
    /// Adds a deadline; `FAR_FUTURE` is none.
    pub(super) fn arm(&mut self, at: Instant, key: TimerKey) {
        if at != Instant::FAR_FUTURE {
            self.heap.push(Reverse((at, key)));
        }
    }

    /// The next deadline that has come.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Instant, TimerKey)> {
        let due = self.heap.peek().is_some_and(|Reverse((at, _))| *at <= now);
        if due { self.heap.pop().map(|Reverse(entry)| entry) } else { None }
    }

    /// The next deadline.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}
