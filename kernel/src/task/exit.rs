//! The ends of threads and processes.
//!
//! A thread ends on its way out of the kernel, when its stack holds nothing any more ([`end_if_asked`]): robust futexes
//! are marked, the clear-on-exit word is cleared and its waiter woken, a vfork(2) parent goes on, files and memory are
//! given up. The last thread of a process turns it into a zombie: children go to their reaper, orphaned stopped groups
//! are told, and the parent hears of it, or the zombie vanishes at once if the parent does not care.

use super::process::{ExitStatus, Process, StateChange};
use super::table::{self, INIT};
use super::thread::Thread;
use crate::fs::poll::PollEvents;
use crate::ipc::futex;
use crate::mm::{Mm, UserPtr};
use crate::sched;
use crate::signal::{
    self, ActionFlags, CLD_CONTINUED, CLD_EXITED, CLD_KILLED, CLD_STOPPED, SIG_IGN, SigAction, SigInfo, Signal,
};
use crate::task::Uid;
use crate::trace;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// Ends the running thread if it was asked to; then it does not return.
pub fn end_if_asked(t: &Thread) {
    if !t.signals.is_ending() {
        return;
    }
    finish(t);
    sched::retire(t);
    // Nothing owned is left on this stack: it is never unwound.
    loop {
        sched::schedule();
    }
}

/// All that a thread does at its end, while it is still a thread.
fn finish(t: &Thread) {
    let process = t.process();
    leave_memory(t);
    futex::release_owned(t);
    let mm = t.set_mm(Mm::nobodys());
    // A parent that waits in vfork(2) may use the memory again from here on.
    t.release_vfork_parent();
    t.set_undo_owner(None);
    t.set_files(None);
    let own = ExitStatus::Exited(t.exit_code());
    let status = {
        let mut f = process.family.lock();
        if t.tid().0 == process.pid().0 {
            f.leader_status = Some(own);
        }
        f.remains = Some((t.comm(), t.credentials()));
        f.ended_threads += t.cpu_times();
        f.ending.unwrap_or(f.leader_status.unwrap_or(own))
    };
    match status {
        ExitStatus::Exited(code) => trace::exited(t.tid(), format_args!("exited with {code}")),
        ExitStatus::Killed { signal, .. } => {
            let name = Signal::new(i32::from(signal)).map_or("?", Signal::name);
            trace::exited(t.tid(), format_args!("killed by {name}"));
        }
    }
    if table::unregister_thread(t) {
        mm.drop_user();
        end_process(process, status);
    } else {
        process.milestones.wake(PollEvents::all());
    }
}

/// What a thread does for others before it leaves its memory, by its end or by execve(2): robust futexes that it holds are
/// marked, and the clear-on-exit word is cleared and its waiter woken.
pub(crate) fn leave_memory(t: &Thread) {
    futex::exit_robust_list(t);
    let clear = t.clear_child_tid.swap(0, Ordering::Relaxed);
    if clear != 0 && UserPtr::<i32>::new(clear).write(0).is_ok() {
        // A word that is not there has no waiters.
        let _ = futex::wake_after_exit(t, clear);
    }
}

/// Whether [`leave_memory`] would change anything: the robust list is not empty, or others who use the memory may wait for
/// the clear-on-exit word. The memory must be resident.
pub(crate) fn owes_memory(t: &Thread) -> bool {
    let head = t.robust_list.load(Ordering::Relaxed);
    // The list's first entry, the futexes' offset, the entry that is being changed: a list that cannot be read is empty.
    let list = if head == 0 { Ok([0; 3]) } else { UserPtr::<[usize; 3]>::new(head).read() };
    let holds = list.is_ok_and(|[first, _, pending]| (head != 0 && first & !1 != head) || pending & !1 != 0);
    // This slot holds one count and the look another.
    let shared = Arc::strong_count(&t.mm()) > 2;
    holds || (shared && t.clear_child_tid.load(Ordering::Relaxed) != 0)
}

fn end_process(process: &Arc<Process>, status: ExitStatus) {
    process.timers.clear();
    process.family.lock().exited = Some(status);
    if process.session() == process.pid() {
        crate::tty::leader_exited(process.pid());
    }
    let (reaper, children) = table::reparent_children(process);
    for child in &children {
        let threads = child.threads();
        if let Some(death) = threads.first().and_then(|t| t.attributes().parent_death_signal) {
            // A full queue loses the signal, as it does on Linux.
            let _ = signal::send_to_process(
                child,
                death,
                SigInfo::from_sender(death, signal::SI_USER, process.pid(), Uid(0)),
            );
        }
        hang_up_if_orphaned(child, process, None);
    }
    for zombie in children.iter().filter(|c| c.exited().is_some()) {
        match &reaper {
            Some(_) => notify_parent_of_end(zombie),
            None => drop(table::release(zombie)),
        }
    }
    if let Some(parent) = process.parent() {
        hang_up_if_orphaned(process, &parent, Some(process));
    }
    process.exit_event.wake(PollEvents::READABLE);
    if process.pid() == INIT {
        crate::host::stop(match status {
            ExitStatus::Exited(code) => i32::from(code),
            ExitStatus::Killed { signal, .. } => 128 + i32::from(signal),
        });
    }
    notify_parent_of_end(process);
}

/// SIGHUP and SIGCONT for the group of `member` if it has a stopped member and nobody is left who could continue it now
/// that `member` has lost `parent`, or ends itself (`ending`) (POSIX, _exit). A parent in another session, or in the
/// group itself, could not have continued it either: then nothing has changed.
fn hang_up_if_orphaned(member: &Process, parent: &Process, ending: Option<&Process>) {
    let group = member.group();
    let kept_it = parent.group() != group && parent.session() == member.session();
    if kept_it && table::has_stopped_member(group) && table::is_orphaned_group(group, ending) {
        signal::send_to_group(group, Signal::HUP);
        signal::send_to_group(group, Signal::CONT);
    }
}

fn child_info(process: &Process, code: i32, status: i32) -> SigInfo {
    let uid = process.credentials().map_or(Uid(0), |c| c.ruid);
    let times = process.cpu_times();
    let ticks = |d: crate::time::Duration| (d.as_millis() / 10) as u64;
    SigInfo::child(code, process.pid(), uid, status, ticks(times.user), ticks(times.system))
}

/// What `si_code` and `si_status` say of an end.
pub(super) fn end_code(status: ExitStatus) -> (i32, i32) {
    match status {
        ExitStatus::Exited(code) => (CLD_EXITED, i32::from(code)),
        ExitStatus::Killed { signal, .. } => (CLD_KILLED, i32::from(signal)),
    }
}

/// Whether a parent with this action for SIGCHLD wants no zombies (sigaction(2), SA_NOCLDWAIT).
fn wants_no_zombies(action: &SigAction) -> bool {
    action.handler == SIG_IGN || action.flags().contains(ActionFlags::NOCLDWAIT)
}

fn notify_parent_of_end(process: &Arc<Process>) {
    let (parent, exit_signal, status) = {
        let f = process.family.lock();
        (f.parent.upgrade(), Signal::new(i32::from(f.exit_signal)), f.exited)
    };
    let (Some(parent), Some(status)) = (parent, status) else { return };
    let action = parent.signals.hand().get(Signal::CHLD);
    let is_child_signal = exit_signal == Some(Signal::CHLD);
    let vanishes = is_child_signal && wants_no_zombies(&action);
    if let Some(signal) = exit_signal.filter(|_| !(is_child_signal && action.handler == SIG_IGN)) {
        let (code, value) = end_code(status);
        let mut info = child_info(process, code, value);
        info.signo = signal.number();
        // A full queue loses the signal, as it does on Linux.
        let _ = signal::send_to_process(&parent, signal, info);
    }
    if vanishes {
        table::release(process);
    }
    parent.child_events.wake(PollEvents::all());
}

/// Tells the parent that job control stopped or continued its child.
pub(crate) fn notify_parent_of_change(process: &Arc<Process>, change: StateChange) {
    let Some(parent) = process.parent() else { return };
    let action = parent.signals.hand().get(Signal::CHLD);
    if !action.flags().contains(ActionFlags::NOCLDSTOP) && action.handler != SIG_IGN {
        let (code, status) = match change {
            StateChange::Stopped(signal) => (CLD_STOPPED, i32::from(signal)),
            StateChange::Continued => (CLD_CONTINUED, Signal::CONT.number()),
        };
        // A full queue loses the signal, as it does on Linux.
        let _ = signal::send_to_process(&parent, Signal::CHLD, child_info(process, code, status));
    }
    parent.child_events.wake(PollEvents::all());
}
