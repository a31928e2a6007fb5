//! Delivery: what happens to pending signals on the way to the guest.

use super::action::{ActionFlags, SIG_DFL, SIG_IGN, SigAction};
use super::info::SigInfo;
use super::number::{DefaultAction, Signal};
use super::{frame as sigframe, mask, restart, send, stop};
use crate::arch::TrapFrame;
use crate::task::{ExitStatus, Thread};
use crate::trace;

/// Deals with everything that is pending. `frame` has the guest's registers; on return they are those of the next
/// handler, or of the interrupted code with its system call restarted as `restart` decides. A stopped thread sleeps in
/// here; a thread that must end is only told so: `task::end_if_asked` ends it.
pub fn deliver(t: &Thread, frame: &mut TrapFrame) {
    loop {
        if t.signals.is_ending() {
            // The way out looks again and ends the thread.
            crate::arch::set_signal_pending(true);
            return;
        }
        if t.process().signals.is_stopped() {
            stop::wait_while_stopped(t);
            continue;
        }
        let Some((signal, info)) = send::take(t, t.signals.blocked().complement()) else { break };
        let action = disposition(t, signal);
        trace::signal(t.tid(), signal.name(), info.code);
        match action {
            Disposition::Nothing => {}
            Disposition::Stop => {
                if !stop::is_void(t.process(), signal) {
                    stop::stop(t, signal);
                }
            }
            Disposition::End => end(t, signal, &info, frame),
            Disposition::Handle(action) => handle(t, frame, signal, &info, &action),
        }
    }
    restart::apply(frame, None);
    mask::restore_saved(t);
    send::recalculate(t);
}

enum Disposition {
    Nothing,
    Stop,
    End,
    Handle(SigAction),
}

/// What the signal does; a one-shot handler is used up by this.
fn disposition(t: &Thread, signal: Signal) -> Disposition {
    let process = t.process();
    let hand = process.signals.hand();
    let mut actions = hand.actions.lock();
    let action = actions[signal.index()];
    match action.handler {
        SIG_IGN => Disposition::Nothing,
        SIG_DFL => match signal.default_action() {
            DefaultAction::Ignore | DefaultAction::Continue => Disposition::Nothing,
            _ if process.signals.is_unkillable() => Disposition::Nothing,
            DefaultAction::Stop => Disposition::Stop,
            DefaultAction::Terminate | DefaultAction::Core => Disposition::End,
        },
        _ => {
            if action.flags().contains(ActionFlags::RESETHAND) {
                actions[signal.index()].handler = SIG_DFL;
            }
            Disposition::Handle(action)
        }
    }
}

fn handle(t: &Thread, frame: &mut TrapFrame, signal: Signal, info: &SigInfo, action: &SigAction) {
    restart::apply(frame, Some(action.flags().contains(ActionFlags::RESTART)));
    let (old_mask, trap) = {
        let mut private = t.signals.private.lock();
        (private.saved_mask.take().unwrap_or(t.signals.blocked()), private.trap)
    };
    match sigframe::build(t, frame, signal, info, action, old_mask, trap) {
        Ok(()) => {
            let mut blocked = t.signals.blocked().or(action.mask());
            if !action.flags().contains(ActionFlags::NODEFER) {
                blocked = blocked.with(signal);
            }
            send::set_blocked(t, blocked);
        }
        Err(_) => {
            send::set_blocked(t, old_mask);
            super::fault::force_bad_frame(t, signal == Signal::SEGV, frame);
        }
    }
}

/// Ends the process by a signal, with a report for those that tell of a program's fault.
fn end(t: &Thread, signal: Signal, info: &SigInfo, frame: &TrapFrame) {
    let core = signal.default_action() == DefaultAction::Core;
    if core {
        super::crash::report(t, signal, info, frame);
    }
    t.process().begin_exit(ExitStatus::Killed { signal: signal.number() as u8, core });
}
