//! What threads and processes hold of signals.

use super::action::SigHand;
use super::altstack::AltStack;
use super::number::SigSet;
use super::queue::Queue;
use super::restart::RestartBlock;
use crate::sched::WaitQueue;
use crate::sync::{Rank, SpinLock};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A thread's part: mask, private queue, alternate stack.
pub struct ThreadSignals {
    /// A look at the signals is due on the way to the guest, and interruptible waits must end. Set by senders, cleared
    /// by the thread itself.
    pending: AtomicBool,
    /// The thread must end.
    ending: AtomicBool,
    /// The mask. Written by the thread itself under the lock of its process's [`SigHand`].
    blocked: AtomicU64,
    /// The mask while sigtimedwait(2) has some of it lifted, or 0.
    lifted: AtomicU64,
    pub(super) private: SpinLock<Private>,
}

/// The rest of a thread's part.
pub(super) struct Private {
    pub queue: Queue,
    /// The mask to return to once the signal that ended sigsuspend(2), ppoll(2) or their like has been dealt with.
    pub saved_mask: Option<SigSet>,
    pub altstack: AltStack,
    pub restart: Option<RestartBlock>,
    /// Trap number, error code and address of the last fault, for the signal frame.
    pub trap: (u64, u64, u64),
}

impl ThreadSignals {
    pub(crate) fn new(blocked: u64) -> Self {
        ThreadSignals {
            pending: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            blocked: AtomicU64::new(SigSet(blocked).minus(SigSet::UNSTOPPABLE).0),
            lifted: AtomicU64::new(0),
            private: SpinLock::new(
                Rank::Thread,
                Private {
                    queue: Queue::new(),
                    saved_mask: None,
                    altstack: AltStack::NONE,
                    restart: None,
                    trap: (0, 0, 0),
                },
            ),
        }
    }

    /// Whether an interruptible wait must end.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.load(Ordering::SeqCst)
    }

    pub(super) fn set_pending(&self, pending: bool) {
        self.pending.store(pending, Ordering::SeqCst);
    }

    /// Whether the thread has been told to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    pub(super) fn set_ending(&self) -> bool {
        self.ending.swap(true, Ordering::SeqCst)
    }

    /// The mask.
    pub fn blocked(&self) -> SigSet {
        SigSet(self.blocked.load(Ordering::SeqCst))
    }

    pub(super) fn store_blocked(&self, set: SigSet) {
        self.blocked.store(set.minus(SigSet::UNSTOPPABLE).0, Ordering::SeqCst);
    }

    /// The mask, with what sigtimedwait(2) lifts for the time of its wait: what is in it is kept pending even if the
    /// action is to ignore it.
    pub(super) fn blocked_or_lifted(&self) -> SigSet {
        self.blocked().or(SigSet(self.lifted.load(Ordering::SeqCst)))
    }

    pub(super) fn set_lifted(&self, set: SigSet) {
        self.lifted.store(set.0, Ordering::SeqCst);
    }

    /// The private queue's signals.
    pub fn queued(&self) -> SigSet {
        self.private.lock().queue.pending()
    }

    /// The alternate stack, for a new thread that shares it (vfork(2)) .
    pub fn altstack(&self) -> AltStack {
        self.private.lock().altstack
    }

    pub(crate) fn set_altstack(&self, stack: AltStack) {
        self.private.lock().altstack = stack;
    }

    /// Takes the call that restart_syscall(2) is to go on with.
    pub(crate) fn take_restart(&self) -> Option<RestartBlock> {
        self.private.lock().restart.take()
    }

    /// Sets the call that restart_syscall(2) is to go on with.
    pub(crate) fn set_restart(&self, block: RestartBlock) {
        self.private.lock().restart = Some(block);
    }
}

/// A process's part: actions and the queue that any thread may take from.
pub struct ProcessSignals {
    hand: SpinLock<Arc<SigHand>>,
    pub(super) queue: SpinLock<Queue>,
    /// Woken when a signal is queued: signalfd(2) watches it.
    pub(crate) arrival: Arc<WaitQueue>,
    /// Set for init: signals without a handler do not reach it.
    unkillable: AtomicBool,
    /// Job control has stopped the process.
    stopped: AtomicBool,
    /// Where stopped threads wait.
    pub(crate) resumption: Arc<WaitQueue>,
}

impl ProcessSignals {
    /// With these actions and an empty queue.
    pub fn new(hand: Arc<SigHand>) -> Self {
        ProcessSignals {
            hand: SpinLock::new(Rank::Thread, hand),
            queue: SpinLock::new(Rank::Thread, Queue::new()),
            arrival: Arc::new(WaitQueue::new()),
            unkillable: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            resumption: Arc::new(WaitQueue::new()),
        }
    }

    /// The actions.
    pub fn hand(&self) -> Arc<SigHand> {
        self.hand.lock().clone()
    }

    /// Replaces the actions (execve(2)).
    pub(crate) fn set_hand(&self, hand: Arc<SigHand>) {
        let old = core::mem::replace(&mut *self.hand.lock(), hand);
        drop(old);
    }

    /// The shared queue's signals.
    pub fn queued(&self) -> SigSet {
        self.queue.lock().pending()
    }

    /// Whether signals without a handler are kept from it.
    pub fn is_unkillable(&self) -> bool {
        self.unkillable.load(Ordering::Relaxed)
    }

    pub(crate) fn set_unkillable(&self, yes: bool) {
        self.unkillable.store(yes, Ordering::Relaxed);
    }

    /// Whether job control has stopped it.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    pub(super) fn set_stopped(&self, yes: bool) {
        self.stopped.store(yes, Ordering::SeqCst);
    }
}
