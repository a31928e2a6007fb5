//! Signals that a thread cannot put off: faults of its own instructions.

use super::action::{SIG_DFL, SIG_IGN};
use super::info::{SI_KERNEL, SigInfo};
use super::number::Signal;
use super::send;
use crate::arch::{Trap, TrapFrame};
use crate::task::{self, ExitStatus, Process, Thread};
use alloc::sync::Arc;

/// `si_code` of SIGSEGV: nothing is mapped there.
const SEGV_MAPERR: i32 = 1;
/// `si_code` of SIGSEGV: the mapping does not allow it.
const SEGV_ACCERR: i32 = 2;
/// `si_code` of SIGBUS: beyond the end of the object.
const BUS_ADRERR: i32 = 2;

/// Sends the running thread the signal of a fault: `code` and `addr` go to `siginfo_t`, `trap` and `error` (the
/// processor's) to the signal frame. If the signal is blocked or ignored, the process dies of it, init too.
pub fn force_fault(t: &Thread, signal: Signal, code: i32, addr: u64, trap: u64, error: u64) {
    t.signals.private.lock().trap = (trap, error, addr);
    force(t, signal, SigInfo::fault(signal, code, addr), false);
}

/// SIGSEGV for an address that the program has not mapped, or that its mapping does not allow to use so (`denied`).
pub fn force_segv(t: &Thread, denied: bool, trap: &Trap) {
    let code = if denied { SEGV_ACCERR } else { SEGV_MAPERR };
    force_fault(t, Signal::SEGV, code, trap.addr, trap.number, trap.error);
}

/// SIGBUS for an address beyond the end of what is mapped there.
pub fn force_bus(t: &Thread, trap: &Trap) {
    force_fault(t, Signal::BUS, BUS_ADRERR, trap.addr, trap.number, trap.error);
}

/// The signal of a trap as the host reported it; of a page fault that is none of the guest window's, only that nothing
/// is mapped there.
pub fn force_trap(t: &Thread, trap: &Trap) {
    let signal = Signal::new(trap.signal).unwrap_or(Signal::SEGV);
    if trap.number == Trap::PAGE_FAULT && signal == Signal::SEGV {
        return force_segv(t, false, trap);
    }
    force_fault(t, signal, trap.code, trap.addr, trap.number, trap.error);
}

/// The guest's memory (`mem=`) is used up, and `t` needs a page that it was promised: ends the worst process
/// ([`crate::task::Process::badness`]), init aside unless it is alone. Returns whether that is another one than `t`'s, so that `t` should try again when it is
/// gone.
pub fn out_of_memory(t: &Thread) -> bool {
    let processes = task::all_processes();
    let size_of = |p: &Arc<Process>| p.threads().first().map_or(0, |t| t.mm().usage().1);
    let is_dying = |p: &Arc<Process>| p.is_exiting() && !p.threads().is_empty();
    let own = t.process();
    if let Some(dying) = processes.iter().find(|p| is_dying(p)) {
        // One goes already. Its memory comes when it is gone; if it is our own, its other threads are asked to end.
        return !Arc::ptr_eq(dying, own);
    }
    let candidates = processes.iter().filter(|p| p.exited().is_none() && p.pid() != task::INIT);
    let worst = candidates.filter_map(|p| Some((p.badness()?, p))).max_by_key(|(badness, _)| *badness);
    let victim = worst.map_or(own, |(_, p)| p);
    let comm = victim.comm();
    let comm = comm.split(|&b| b == 0).next().unwrap_or_default();
    crate::klog!(
        Error,
        "out of memory: killed process {} ({}), which used {} KB",
        victim.pid(),
        comm.escape_ascii(),
        size_of(victim) / 1024
    );
    let signal = Signal::KILL.number() as u8;
    victim.begin_exit(ExitStatus::Killed { signal, core: false });
    !Arc::ptr_eq(victim, own)
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
