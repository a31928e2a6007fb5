//! Signals: actions, masks, sending, waiting, alternate stacks, signalfd.

use super::process::process_named;
use crate::abi::general::__kernel_timespec;
use crate::error::{Errno, Result};
use crate::fs::file::{OpenFile, OpenFlags};
use crate::mm::UserPtr;
use crate::sched;
use crate::signal::{
    self, AltStack, SI_TKILL, SI_USER, SIGSET_SIZE, SigAction, SigInfo, SigSet, Signal, SignalFd, StackT, TemporaryMask,
};
use crate::task::{self, Fd, Pid, Process, Resource, Thread, Tid};
use crate::time::{self, timespec};
use alloc::sync::Arc;
use alloc::vec::Vec;

fn check_set_size(size: usize) -> Result<()> {
    if size == SIGSET_SIZE { Ok(()) } else { Err(Errno::EINVAL.because("a signal set has 8 bytes")) }
}

fn signal_numbered(number: i32) -> Result<Signal> {
    Signal::new(number).ok_or_else(|| Errno::EINVAL.because("no such signal"))
}

/// A signal number of the kill family, where 0 only checks.
fn signal_or_check(number: i32) -> Result<Option<Signal>> {
    if number == 0 { Ok(None) } else { signal_numbered(number).map(Some) }
}

/// rt_sigaction(2)
pub fn sys_rt_sigaction(
    t: &Thread,
    number: i32,
    new: UserPtr<SigAction>,
    old: UserPtr<SigAction>,
    size: usize,
) -> Result<usize> {
    check_set_size(size)?;
    let signal = signal_numbered(number)?;
    let new = match new.non_null() {
        Some(p) => Some(p.read()?),
        None => None,
    };
    if new.is_some() && signal.is_unstoppable() {
        return Err(Errno::EINVAL.because("SIGKILL and SIGSTOP have no handlers"));
    }
    let hand = t.process().signals.hand();
    let (before, ignored) = {
        let mut actions = hand.actions.lock();
        let slot = &mut actions[signal.index()];
        let before = *slot;
        if let Some(mut new) = new {
            new.flags = new.flags().bits();
            new.mask = new.mask().0;
            *slot = new;
        }
        (before, slot.ignores(signal))
    };
    if new.is_some() && ignored {
        signal::discard_ignored(t.process(), SigSet::EMPTY.with(signal));
    }
    old.write_if_given(before)?;
    Ok(0)
}

/// rt_sigprocmask(2)
pub fn sys_rt_sigprocmask(t: &Thread, how: i32, set: UserPtr<u64>, old: UserPtr<u64>, size: usize) -> Result<usize> {
    check_set_size(size)?;
    let before = t.signals.blocked();
    if let Some(set) = set.non_null() {
        let set = SigSet(set.read()?);
        let new = match how {
            0 => before.or(set),
            1 => before.minus(set),
            2 => set,
            _ => return Err(Errno::EINVAL.because("sigprocmask knows SIG_BLOCK, SIG_UNBLOCK and SIG_SETMASK")),
        };
        signal::set_blocked(t, new);
    }
    old.write_if_given(before.0)?;
    Ok(0)
}

/// rt_sigpending(2)
pub fn sys_rt_sigpending(t: &Thread, set: UserPtr<u64>, size: usize) -> Result<usize> {
    if size > SIGSET_SIZE {
        return Err(Errno::EINVAL.because("a signal set has 8 bytes"));
    }
    let pending = t.signals.queued().or(t.process().signals.queued()).and(t.signals.blocked());
    crate::mm::UserSlice::new(set.addr(), size).write(&pending.0.to_le_bytes())?;
    Ok(0)
}

/// rt_sigreturn(2): the frame that a handler leaves gives all registers back.
pub fn sys_rt_sigreturn(t: &Thread) -> Result<usize> {
    match signal::restore(t) {
        Ok(rax) => Ok(rax),
        Err(e) => {
            signal::force_fault(t, Signal::SEGV, signal::SI_KERNEL, 0, 0, 0);
            Err(e)
        }
    }
}

fn wait_for_signal(t: &Thread) -> Errno {
    // Only a signal ends this wait: there is no deadline and nothing to look for.
    let _ = sched::block_on(t, None, || None::<()>);
    Errno::ERESTARTNOHAND
}

/// pause(2)
pub fn sys_pause(t: &Thread) -> Result<usize> {
    Err(wait_for_signal(t).into())
}

/// rt_sigsuspend(2)
pub fn sys_rt_sigsuspend(t: &Thread, mask: UserPtr<u64>, size: usize) -> Result<usize> {
    check_set_size(size)?;
    let mask = SigSet(mask.read()?);
    let temporary = TemporaryMask::set(t, Some(mask));
    let errno = wait_for_signal(t);
    temporary.end(true);
    Err(errno.into())
}

/// rt_sigtimedwait(2)
pub fn sys_rt_sigtimedwait(
    t: &Thread,
    set: UserPtr<u64>,
    info: UserPtr<SigInfo>,
    timeout: UserPtr<__kernel_timespec>,
    size: usize,
) -> Result<usize> {
    check_set_size(size)?;
    let wanted = SigSet(set.read()?).minus(SigSet::UNSTOPPABLE);
    let deadline = match timeout.non_null() {
        Some(p) => Some(time::now() + timespec::duration_of(p.read()?)?),
        None => None,
    };
    let (signal, taken) = signal::wait_for(t, wanted, deadline)?;
    info.write_if_given(taken)?;
    Ok(signal.number() as usize)
}

/// sigaltstack(2)
pub fn sys_sigaltstack(t: &Thread, new: UserPtr<StackT>, old: UserPtr<StackT>) -> Result<usize> {
    let sp = t.context.with_frame(|f| f.rsp);
    let current = t.signals.altstack();
    if let Some(p) = new.non_null() {
        let request = p.read()?;
        if current.in_use(sp) {
            return Err(Errno::EPERM.because("the thread runs on its alternate stack"));
        }
        t.signals.set_altstack(AltStack::from_request(request)?);
    }
    old.write_if_given(current.report(sp))?;
    Ok(0)
}

fn info_from(t: &Thread, signal: Signal, code: i32) -> SigInfo {
    let (pid, uid) = signal::sender(t);
    SigInfo::from_sender(signal, code, pid, uid)
}

fn kill_one(t: &Thread, target: &Arc<Process>, signal: Option<Signal>) -> Result<()> {
    signal::check_permission(t, target, signal)?;
    match signal {
        Some(s) => signal::send_to_process(target, s, info_from(t, s, SI_USER)),
        None => Ok(()),
    }
}

/// Signals several processes: success if one took it, else the last error; ESRCH if there were none (kill(2)).
fn kill_many(t: &Thread, targets: Vec<Arc<Process>>, signal: Option<Signal>) -> Result<usize> {
    let mut result = Err(Errno::ESRCH.because("no such process"));
    for p in &targets {
        match kill_one(t, p, signal) {
            Ok(()) => result = Ok(0),
            Err(e) if result.is_err() => result = Err(e),
            Err(_) => {}
        }
    }
    result
}

/// kill(2)
pub fn sys_kill(t: &Thread, pid: i32, number: i32) -> Result<usize> {
    let signal = signal_or_check(number)?;
    let group = |g: Pid| task::all_processes().into_iter().filter(|p| p.group() == g).collect();
    match pid {
        i32::MIN => Err(Errno::ESRCH.because("no process group has this number")),
        -1 => {
            let all = task::all_processes();
            let others = all.into_iter().filter(|p| p.pid() != task::INIT && !Arc::ptr_eq(p, t.process())).collect();
            kill_many(t, others, signal)
        }
        0 => kill_many(t, group(t.process().group()), signal),
        n if n < 0 => kill_many(t, group(Pid(-n)), signal),
        n => kill_one(t, &process_named(t, Pid(n))?, signal).map(|()| 0),
    }
}

fn kill_thread(t: &Thread, group: Option<Pid>, tid: Tid, number: i32, info: Option<SigInfo>) -> Result<usize> {
    if tid.0 <= 0 || group.is_some_and(|g| g.0 <= 0) {
        return Err(Errno::EINVAL.because("not a thread's number"));
    }
    let signal = signal_or_check(number)?;
    let target = task::find_thread(tid)
        .filter(|o| group.is_none_or(|g| o.process().pid() == g))
        .ok_or_else(|| Errno::ESRCH.because("no such thread"))?;
    signal::check_permission(t, target.process(), signal)?;
    if let Some(s) = signal {
        signal::send_to_thread(&target, s, info.unwrap_or(info_from(t, s, SI_TKILL)))?;
    }
    Ok(0)
}

/// tkill(2)
pub fn sys_tkill(t: &Thread, tid: Tid, number: i32) -> Result<usize> {
    kill_thread(t, None, tid, number, None)
}

/// tgkill(2)
pub fn sys_tgkill(t: &Thread, group: Pid, tid: Tid, number: i32) -> Result<usize> {
    kill_thread(t, Some(group), tid, number, None)
}

/// Reads the info of a sigqueue call. EPERM if it claims to come from the kernel or kill(2), unless to oneself.
fn queued_info(t: &Thread, target: Pid, number: i32, info: UserPtr<SigInfo>) -> Result<SigInfo> {
    let mut info = info.read()?;
    if (info.code >= 0 || info.code == SI_TKILL) && target != t.process().pid() {
        return Err(Errno::EPERM.because("si_code is the kernel's"));
    }
    info.signo = number;
    Ok(info)
}

/// rt_sigqueueinfo(2)
pub fn sys_rt_sigqueueinfo(t: &Thread, pid: Pid, number: i32, info: UserPtr<SigInfo>) -> Result<usize> {
    let info = queued_info(t, pid, number, info)?;
    let signal = signal_or_check(number)?;
    if pid.0 <= 0 {
        return Err(Errno::ESRCH.because("no such process"));
    }
    let target = process_named(t, pid)?;
    signal::check_permission(t, &target, signal)?;
    if let Some(s) = signal {
        signal::send_to_process(&target, s, info)?;
    }
    Ok(0)
}

/// rt_tgsigqueueinfo(2)
pub fn sys_rt_tgsigqueueinfo(t: &Thread, group: Pid, tid: Tid, number: i32, info: UserPtr<SigInfo>) -> Result<usize> {
    let info = queued_info(t, group, number, info)?;
    kill_thread(t, Some(group), tid, number, Some(info))
}

fn do_signalfd(t: &Thread, fd: Fd, mask: UserPtr<u64>, size: usize, flags: u32) -> Result<usize> {
    check_set_size(size)?;
    let flags = OpenFlags::from_bits_retain(flags);
    if !(OpenFlags::NONBLOCK | OpenFlags::CLOEXEC).contains(flags) {
        return Err(Errno::EINVAL.because("signalfd knows SFD_NONBLOCK and SFD_CLOEXEC"));
    }
    let wanted = SigSet(mask.read()?);
    if fd.0 == -1 {
        let file =
            OpenFile::anonymous(Arc::new(SignalFd::new(wanted)), OpenFlags::RDWR | (flags & OpenFlags::NONBLOCK));
        let limit = t.process().rlimits().get(Resource::OpenFiles).rlim_cur;
        return Ok(t.files().add(file, flags.contains(OpenFlags::CLOEXEC), limit)?.0 as usize);
    }
    let file = t.file(fd)?;
    let existing = file.ops().downcast_ref::<SignalFd>().ok_or_else(|| Errno::EINVAL.because("not a signalfd"))?;
    existing.set_wanted(wanted);
    Ok(fd.0 as usize)
}

/// signalfd(2), the first form.
pub fn sys_signalfd(t: &Thread, fd: Fd, mask: UserPtr<u64>, size: usize) -> Result<usize> {
    do_signalfd(t, fd, mask, size, 0)
}

/// signalfd4(2)
pub fn sys_signalfd4(t: &Thread, fd: Fd, mask: UserPtr<u64>, size: usize, flags: u32) -> Result<usize> {
    do_signalfd(t, fd, mask, size, flags)
}

/// restart_syscall(2): goes on with the call that a stop or an ignored signal interrupted.
pub fn sys_restart_syscall(t: &Thread) -> Result<usize> {
    match t.signals.take_restart() {
        Some(block) => (block.resume)(t, &block.args),
        None => Err(Errno::EINTR.because("nothing to restart")),
    }
}
