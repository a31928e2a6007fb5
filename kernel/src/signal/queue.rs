//! Pending signals of one thread or one process.

use super::info::{SI_KERNEL, SI_USER, SigInfo};
use super::number::{SigSet, Signal};
use alloc::collections::VecDeque;

/// Pending signals: which ones, and what came with each instance.
///
/// A standard signal is there once at most; its further instances are lost. Real-time signals queue in the order they
/// came. A signal may be pending without an entry (the limit on entries was reached): it is then delivered with an
/// empty SI_USER info, as Linux does.
#[derive(Default)]
pub struct Queue {
    pending: SigSet,
    entries: VecDeque<SigInfo>,
}

/// Why a signal was not queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rejected {
    /// A standard signal that is pending already: not an error.
    AlreadyPending,
    /// A queued signal beyond RLIMIT_SIGPENDING: EAGAIN of sigqueue(3).
    LimitReached,
}

impl Queue {
    /// An empty queue.
    pub const fn new() -> Self {
        Queue { pending: SigSet::EMPTY, entries: VecDeque::new() }
    }

    /// The signals that are pending.
    pub fn pending(&self) -> SigSet {
        self.pending
    }

    /// Number of entries, for RLIMIT_SIGPENDING.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Adds an instance. Beyond `limit` entries, kill(2) and the kernel still get the bare signal through; queued
    /// real-time signals are refused.
    pub fn push(&mut self, signal: Signal, info: SigInfo, limit: u64) -> Result<(), Rejected> {
        if !signal.is_realtime() && self.pending.has(signal) {
            return Err(Rejected::AlreadyPending);
        }
        let exempt = !signal.is_realtime() && (info.code >= 0 || info.code == SI_USER);
        if exempt || (self.entries.len() as u64) < limit {
            self.entries.push_back(info);
        } else if signal.is_realtime() && info.code != SI_USER && info.code != SI_KERNEL {
            return Err(Rejected::LimitReached);
        }
        self.pending = self.pending.with(signal);
        Ok(())
    }

    /// Takes the next instance of a signal in `wanted`.
    pub fn take(&mut self, wanted: SigSet) -> Option<(Signal, SigInfo)> {
        let signal = self.pending.and(wanted).first()?;
        let number = signal.number();
        let found = self.entries.iter().position(|e| e.signo == number);
        let info = found.and_then(|i| self.entries.remove(i)).unwrap_or(SigInfo::new(signal, SI_USER));
        if !self.entries.iter().any(|e| e.signo == number) {
            self.pending = self.pending.without(signal);
        }
        Some((signal, info))
    }

    /// Drops every instance of the signals in `set`.
    pub fn discard(&mut self, set: SigSet) {
        self.pending = self.pending.minus(set);
        self.entries.retain(|e| e.signal().is_some_and(|s| !set.has(s)));
    }

    /// Runs `f` on the pending entry of a timer, if it has one.
    pub fn with_timer_entry<R>(&mut self, timer_id: i32, f: impl FnOnce(&mut SigInfo) -> R) -> Option<R> {
        self.entries.iter_mut().find(|e| e.code == super::info::SI_TIMER && e.timer_id() == timer_id).map(f)
    }
}

#[cfg(test)]
mod tests {
    use super::super::info::SI_QUEUE;
    use super::*;
    use crate::task::{Pid, Uid};
    use alloc::vec::Vec;

    fn rt(n: i32) -> Signal {
        Signal::new(n).unwrap()
    }

    fn queued(signal: Signal, pid: i32) -> SigInfo {
        SigInfo::from_sender(signal, SI_QUEUE, Pid(pid), Uid(0))
    }

    #[test]
    fn a_standard_signal_is_pending_once() {
        let mut q = Queue::new();
        assert_eq!(q.push(Signal::USR1, queued(Signal::USR1, 1), 10), Ok(()));
        assert_eq!(q.push(Signal::USR1, queued(Signal::USR1, 2), 10), Err(Rejected::AlreadyPending));
        let (signal, info) = q.take(SigSet::ALL).unwrap();
        assert_eq!((signal, info.pid()), (Signal::USR1, 1));
        assert!(q.take(SigSet::ALL).is_none() && q.is_empty());
    }

    #[test]
    fn realtime_signals_queue_in_order_lowest_number_first() {
        let mut q = Queue::new();
        for (n, pid) in [(40, 1), (34, 2), (40, 3)] {
            q.push(rt(n), queued(rt(n), pid), 10).unwrap();
        }
        let order: Vec<_> = core::iter::from_fn(|| q.take(SigSet::ALL)).map(|(s, i)| (s.number(), i.pid())).collect();
        assert_eq!(order, [(34, 2), (40, 1), (40, 3)]);
    }

    #[test]
    fn the_limit_refuses_sigqueue_but_not_kill() {
        let mut q = Queue::new();
        q.push(rt(34), queued(rt(34), 1), 1).unwrap();
        assert_eq!(q.push(rt(35), queued(rt(35), 1), 1), Err(Rejected::LimitReached));
        assert_eq!(q.push(rt(36), SigInfo::from_sender(rt(36), SI_USER, Pid(5), Uid(0)), 1), Ok(()));
        q.discard(SigSet::EMPTY.with(rt(34)));
        let (signal, info) = q.take(SigSet::ALL).unwrap();
        assert_eq!((signal.number(), info.code, info.pid()), (36, SI_USER, 0));
    }

    #[test]
    fn only_wanted_signals_are_taken() {
        let mut q = Queue::new();
        q.push(Signal::TERM, SigInfo::kernel(Signal::TERM), 0).unwrap();
        assert!(q.take(SigSet::EMPTY.with(Signal::HUP)).is_none());
        assert_eq!(q.take(SigSet::EMPTY.with(Signal::TERM)).map(|x| x.1.code), Some(SI_KERNEL));
    }
}
