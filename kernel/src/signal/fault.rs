//! Signals that a thread cannot put off: faults of its own instructions.

use super::action::{SIG_DFL, SIG_IGN};
use super::info::{SI_KERNEL, SigInfo};
use super::number::Signal;
use super::send;
use crate::arch::TrapFrame;
use crate::task::Thread;

/// Sends the running thread the signal of a fault: `code` and `addr` go to `siginfo_t`, `trap` and `error` (the
/// processor's) to the signal frame. If the signal is blocked or ignored, the process dies of it, init too.
pub fn force_fault(t: &Thread, signal: Signal, code: i32, addr: u64, trap: u64, error: u64) {
    t.signals.private.lock().trap = (trap, error, addr);
    force(t, signal, SigInfo::fault(signal, code, addr), false);
}

/// SIGSEGV because a signal frame could not be written or read. A frame for SIGSEGV itself that cannot be written would
/// fail for ever: its handler is dropped first.
pub(super) fn force_bad_frame(t: &Thread, of_segv: bool, frame: &TrapFrame) {
    crate::klog!(Debug, "tid {}: bad signal frame, sp {:#x}", t.tid(), frame.rsp);
    force(t, Signal::SEGV, SigInfo::new(Signal::SEGV, SI_KERNEL), of_segv);
}

fn force(t: &Thread, signal: Signal, info: SigInfo, drop_handler: bool) {
    let process = t.process();
    let hand = process.signals.hand();
    {
        let mut actions = hand.actions.lock();
        let action = &mut actions[signal.index()];
        let blocked = t.signals.blocked();
        if blocked.has(signal) || action.handler == SIG_IGN || drop_handler {
            action.handler = SIG_DFL;
            t.signals.store_blocked(blocked.without(signal));
        }
        if action.handler == SIG_DFL {
            process.signals.set_unkillable(false);
        }
        // Nothing limits a fault's signal; if one is pending already, it tells the same.
        let _ = t.signals.private.lock().queue.push(signal, info, u64::MAX);
    }
    send::notify(&t.arc());
}
