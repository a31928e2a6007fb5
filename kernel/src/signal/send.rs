//! Sending: to a thread, a process, a group.
//!
//! A signal goes to the private queue of a thread or the shared one of a process, under the lock of the process's
//! [`SigHand`](super::SigHand), unless its action is to ignore it and nobody blocks it. Then a thread is chosen that
//! does not block it; its pending flag is set and it is woken. A signal that ends the process, whatever thread takes it,
//! ends it at once: threads in killable waits must not sit it out.

use super::action::{SIG_DFL, SIG_IGN};
use super::info::{SI_TIMER, SigInfo};
use super::number::{DefaultAction, SigSet, Signal};
use super::queue::Rejected;
use crate::arch;
use crate::error::{Errno, Result};
use crate::fs::poll::PollEvents;
use crate::sched;
use crate::task::{self, Capability, ExitStatus, Pid, Process, Resource, Thread};
use crate::time::Instant;
use alloc::sync::Arc;
use alloc::vec::Vec;

enum Target<'a> {
    Thread(&'a Arc<Thread>),
    Process(&'a Arc<Process>),
}

impl Target<'_> {
    fn process(&self) -> &Arc<Process> {
        match self {
            Target::Thread(t) => t.process(),
            Target::Process(p) => p,
        }
    }
}

/// Makes `thread` look at its signals: at once if it runs, else when it wakes, which it does if it is blocked. With
/// several vCPUs the one that runs it must be interrupted, too.
pub(crate) fn notify(thread: &Arc<Thread>) {
    thread.signals.set_pending(true);
    if sched::current().is_some_and(|c| core::ptr::eq(c, Arc::as_ptr(thread))) {
        arch::set_signal_pending(true);
    }
    sched::wake(thread);
}

/// Tells `thread` to end as soon as it is on its way to the guest.
pub(crate) fn ask_to_end(thread: &Arc<Thread>) {
    thread.signals.set_ending();
    notify(thread);
}

/// Queues a signal for one thread. EAGAIN if a real-time signal finds RLIMIT_SIGPENDING reached.
pub fn send_to_thread(thread: &Arc<Thread>, signal: Signal, info: SigInfo) -> Result<()> {
    send(Target::Thread(thread), signal, info)
}

/// Queues a signal for whichever thread of the process takes it. A zombie takes it without effect.
pub fn send_to_process(process: &Arc<Process>, signal: Signal, info: SigInfo) -> Result<()> {
    send(Target::Process(process), signal, info)
}

/// Sends a signal of the kernel's own to every process of a group (a terminal's ^C, hang-ups).
pub fn send_to_group(group: Pid, signal: Signal) {
    for p in task::processes_of_group(group) {
        // A full queue loses the signal, as it does on Linux.
        let _ = send_to_process(&p, signal, SigInfo::kernel(signal));
    }
}

/// SIGPIPE for a thread that wrote to a pipe or socket without readers.
pub fn raise_sigpipe(t: &Thread) {
    raise(t, Signal::PIPE);
}

/// A standard signal that the running thread's own call brings upon it.
pub fn raise(t: &Thread, signal: Signal) {
    let (pid, uid) = super::info::sender(t);
    let info = SigInfo::from_sender(signal, super::info::SI_USER, pid, uid);
    // A standard signal is never refused.
    let _ = send_to_thread(&t.arc(), signal, info);
}

fn wants(thread: &Thread, signal: Signal) -> bool {
    let s = &thread.signals;
    !s.blocked().has(signal)
        && !s.is_ending()
        && (signal == Signal::KILL || !s.is_pending() || sched::current().is_some_and(|c| core::ptr::eq(c, thread)))
}

fn send(target: Target<'_>, signal: Signal, info: SigInfo) -> Result<()> {
    let process = target.process();
    let threads = process.threads();
    let Some(first) = threads.first() else { return Ok(()) };
    let limit = process.rlimits().get(Resource::PendingSignals).rlim_cur;
    if signal == Signal::CONT {
        super::stop::resume(process);
    }
    let hand = process.signals.hand();
    let (chosen, fatal) = {
        let actions = hand.actions.lock();
        if signal == Signal::CONT {
            discard(process, &threads, SigSet::STOPS);
        } else if SigSet::STOPS.has(signal) {
            discard(process, &threads, SigSet::EMPTY.with(Signal::CONT));
        }
        let action = actions[signal.index()];
        let protected = process.signals.is_unkillable() && action.handler == SIG_DFL;
        let held_back = match &target {
            Target::Thread(t) => t.signals.blocked_or_lifted(),
            Target::Process(_) => first.signals.blocked_or_lifted(),
        };
        if !held_back.has(signal) && (protected || action.ignores(signal)) {
            return Ok(());
        }
        let pushed = match &target {
            Target::Thread(t) => t.signals.private.lock().queue.push(signal, info, limit),
            Target::Process(p) => p.signals.queue.lock().push(signal, info, limit),
        };
        match pushed {
            Ok(()) => {}
            Err(Rejected::AlreadyPending) => return Ok(()),
            Err(Rejected::LimitReached) => {
                return Err(Errno::EAGAIN.because("RLIMIT_SIGPENDING signals are queued already"));
            }
        }
        let chosen = match &target {
            Target::Thread(t) => wants(t, signal).then(|| (*t).clone()),
            Target::Process(_) => threads.iter().find(|t| wants(t, signal)).cloned(),
        };
        let fatal = chosen.is_some()
            && !protected
            && action.handler == SIG_DFL
            && signal.default_action() == DefaultAction::Terminate
            && !held_back.has(signal);
        (chosen, fatal)
    };
    if fatal {
        process.begin_exit(ExitStatus::Killed { signal: signal.number() as u8, core: false });
    }
    if let Some(t) = chosen {
        notify(&t);
    }
    process.signals.arrival.wake(PollEvents::READABLE);
    Ok(())
}

/// Drops pending signals of a process and its threads. Called under the lock of its actions.
pub(super) fn discard(process: &Process, threads: &[Arc<Thread>], set: SigSet) {
    process.signals.queue.lock().discard(set);
    for t in threads {
        t.signals.private.lock().queue.discard(set);
    }
}

/// Drops what is pending of signals whose action has become "ignore" (sigaction(2), POSIX).
pub(crate) fn discard_ignored(process: &Process, set: SigSet) {
    let threads = process.threads();
    let hand = process.signals.hand();
    let _ordered = hand.actions.lock();
    discard(process, &threads, set);
}

/// Whether `t` may send `signal` to `target` (kill(2)). EPERM if not.
pub fn check_permission(t: &Thread, target: &Process, signal: Option<Signal>) -> Result<()> {
    if core::ptr::eq(Arc::as_ptr(t.process()), target) {
        return Ok(());
    }
    let Some(theirs) = target.credentials() else { return Ok(()) };
    let mine = t.credentials();
    let same_user = [mine.euid, mine.ruid].iter().any(|id| *id == theirs.suid || *id == theirs.ruid);
    let same_session = || signal == Some(Signal::CONT) && t.process().session() == target.session();
    if same_user || mine.capable(Capability::Kill) || same_session() {
        return Ok(());
    }
    Err(Errno::EPERM.because("neither the same user nor CAP_KILL"))
}

/// Changes the mask of the running thread. What it now blocks may be for another thread to take.
pub fn set_blocked(t: &Thread, set: SigSet) {
    let process = t.process();
    let hand = process.signals.hand();
    let handed_over = {
        let _ordered = hand.actions.lock();
        let newly = set.minus(t.signals.blocked());
        t.signals.store_blocked(set);
        process.signals.queue.lock().pending().and(newly)
    };
    if !handed_over.is_empty() {
        let others: Vec<Arc<Thread>> = process.threads();
        for o in others.iter().filter(|o| !core::ptr::eq(Arc::as_ptr(o), t)) {
            if !handed_over.minus(o.signals.blocked()).is_empty() {
                notify(o);
            }
        }
    }
    recalculate(t);
}

/// Whether anything is pending that the mask lets through.
pub(super) fn has_deliverable(t: &Thread) -> bool {
    let blocked = t.signals.blocked();
    !t.signals.queued().or(t.process().signals.queued()).minus(blocked).is_empty()
}

/// Sets the pending flag of the running thread to what its queues and mask say.
pub(crate) fn recalculate(t: &Thread) {
    let pending = t.signals.is_ending() || t.process().signals.is_stopped() || has_deliverable(t);
    t.signals.set_pending(pending);
    arch::set_signal_pending(pending);
}

/// Takes the next pending signal in `wanted`: the thread's own first, then the process's.
pub(crate) fn take(t: &Thread, wanted: SigSet) -> Option<(Signal, SigInfo)> {
    let process = t.process();
    let mut found = {
        let hand = process.signals.hand();
        let _ordered = hand.actions.lock();
        let own = t.signals.private.lock().queue.take(wanted);
        own.or_else(|| process.signals.queue.lock().take(wanted))
    };
    if let Some((_, info)) = found.as_mut().filter(|f| f.1.code == SI_TIMER) {
        process.timers.delivered(info);
    }
    found
}

/// Whether a signal of this timer is queued: for the thread if one is given, else for the process.
pub(crate) fn has_timer_signal(process: &Process, thread: Option<&Thread>, id: i32) -> bool {
    let found = match thread {
        Some(t) => t.signals.private.lock().queue.with_timer_entry(id, |_| ()),
        None => process.signals.queue.lock().with_timer_entry(id, |_| ()),
    };
    found.is_some()
}

/// Waits for a signal of `wanted` (sigtimedwait(2)): it is taken without its handler, whether blocked or not. EAGAIN
/// when the deadline has passed, EINTR if another signal came.
pub fn wait_for(t: &Thread, wanted: SigSet, deadline: Option<Instant>) -> Result<(Signal, SigInfo)> {
    if let Some(found) = take(t, wanted) {
        recalculate(t);
        return Ok(found);
    }
    // While it waits, what it waits for is let through, so that senders wake it; and what it blocks counts as blocked
    // still, so that senders do not drop it.
    let mask = t.signals.blocked();
    t.signals.set_lifted(mask.and(wanted));
    set_blocked(t, mask.minus(wanted));
    let end = sched::block_on(t, deadline, || {
        let ready = t.signals.queued().or(t.process().signals.queued()).and(wanted);
        (!ready.is_empty()).then_some(())
    });
    let found = take(t, wanted);
    t.signals.set_lifted(SigSet::EMPTY);
    set_blocked(t, mask);
    match (found, end) {
        (Some(found), _) => Ok(found),
        (None, Err(sched::WaitEnd::TimedOut)) => Err(Errno::EAGAIN.because("no signal came in time")),
        (None, _) => Err(Errno::EINTR.into()),
    }
}

/// Whether the thread blocks or ignores a signal, so that sending it would change nothing.
pub fn ignores(t: &Thread, signal: Signal) -> bool {
    t.signals.blocked().has(signal) || t.process().signals.hand().get(signal).handler == SIG_IGN
}

/// A system call of the running thread has ended with a restart code: [`super::deliver`] must look at it, even if the
/// signal that caused it went to another thread.
pub(crate) fn resolve_restart(t: &Thread) {
    t.signals.set_pending(true);
    arch::set_signal_pending(true);
}
