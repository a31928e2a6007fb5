//! Making, ending and waiting for processes; groups and sessions; pidfds.

use crate::abi::general::{clone_args, rusage};
use crate::error::{Errno, Result};
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::procfs;
use crate::mm::{UserPtr, UserSlice};
use crate::signal::{self, SigInfo, Signal};
use crate::task::pidfd::{self, PidFd};
use crate::task::{
    self, Capability, CloneFlags, CloneRequest, CpuTimes, ExitStatus, Fd, Found, Pid, Process, Resource, Thread, Tid,
    WaitFor, WaitOptions,
};
use crate::time::timespec::timeval_of;
use alloc::sync::Arc;

/// Mask of the signal in the flags of clone(2).
const CSIGNAL: u64 = 0xff;
/// Size of the first version of `struct clone_args`.
const CLONE_ARGS_SIZE_VER0: usize = 64;

/// getpid(2)
pub fn sys_getpid(t: &Thread) -> Result<usize> {
    Ok(t.process().pid().0 as usize)
}

/// gettid(2)
pub fn sys_gettid(t: &Thread) -> Result<usize> {
    Ok(t.tid().0 as usize)
}

/// getppid(2): 0 for init.
pub fn sys_getppid(t: &Thread) -> Result<usize> {
    Ok(t.process().parent().map_or(0, |p| p.pid().0 as usize))
}

fn exit_signal_of(number: u64) -> Result<Option<Signal>> {
    match number {
        0 => Ok(None),
        n => match i32::try_from(n).ok().and_then(Signal::new) {
            Some(s) => Ok(Some(s)),
            None => Err(Errno::EINVAL.because("no such exit signal")),
        },
    }
}

/// clone(2)
pub fn sys_clone(
    t: &Thread,
    flags: u64,
    stack: u64,
    parent_tid: UserPtr<i32>,
    child_tid: UserPtr<i32>,
    tls: u64,
) -> Result<usize> {
    let flags = flags & 0xffff_ffff;
    // clone(2) takes any number for the signal; one that does not exist is never sent.
    let exit_signal = exit_signal_of(flags & CSIGNAL).unwrap_or(None);
    let flags = CloneFlags::from_bits_retain(flags & !CSIGNAL);
    if flags.contains(CloneFlags::PIDFD | CloneFlags::PARENT_SETTID) {
        return Err(Errno::EINVAL.because("clone(2) has one place for both pidfd and parent_tid"));
    }
    // Here bit 7 belongs to the signal: CLONE_NEWTIME is for clone3(2) only.
    let flags = flags - CloneFlags::NEWTIME;
    let request =
        CloneRequest { flags, exit_signal, stack, tls, parent_tid, child_tid, pidfd: parent_tid, set_tid: None };
    task::do_clone(t, &request)
}

/// clone3(2)
pub fn sys_clone3(t: &Thread, args: UserPtr<u8>, size: usize) -> Result<usize> {
    let args = read_clone_args(args, size)?;
    let flags = CloneFlags::from_bits(args.flags)
        .filter(|f| f.bits() & CSIGNAL & !CloneFlags::NEWTIME.bits() == 0 && !f.contains(CloneFlags::DETACHED))
        .ok_or_else(|| Errno::EINVAL.because("unknown clone3 flags"))?;
    if args.exit_signal > CSIGNAL {
        return Err(Errno::EINVAL.because("no such exit signal"));
    }
    let exit_signal = exit_signal_of(args.exit_signal)?;
    if exit_signal.is_some() && flags.intersects(CloneFlags::THREAD | CloneFlags::PARENT) {
        return Err(Errno::EINVAL.because("a thread or sibling has no exit signal of its own"));
    }
    if (args.stack == 0) != (args.stack_size == 0) {
        return Err(Errno::EINVAL.because("stack and stack_size go together"));
    }
    let request = CloneRequest {
        flags,
        exit_signal,
        stack: args.stack.wrapping_add(args.stack_size),
        tls: args.tls,
        parent_tid: UserPtr::new(args.parent_tid as usize),
        child_tid: UserPtr::new(args.child_tid as usize),
        pidfd: UserPtr::new(args.pidfd as usize),
        set_tid: requested_tid(t, &args)?,
    };
    task::do_clone(t, &request)
}

fn read_clone_args(at: UserPtr<u8>, size: usize) -> Result<clone_args> {
    if size < CLONE_ARGS_SIZE_VER0 {
        return Err(Errno::EINVAL.because("struct clone_args is too small"));
    }
    if size > crate::abi::PAGE_SIZE {
        return Err(Errno::E2BIG.because("struct clone_args is larger than a page"));
    }
    let given = UserSlice::new(at.addr(), size).read_vec(size)?;
    let mut words = [0u64; 11];
    for (i, chunk) in given.chunks(8).enumerate() {
        let mut word = [0u8; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let word = u64::from_le_bytes(word);
        match words.get_mut(i) {
            Some(w) => *w = word,
            None if word != 0 => return Err(Errno::E2BIG.because("clone_args has fields that are not known here")),
            None => {}
        }
    }
    let [flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup] =
        words;
    Ok(clone_args {
        flags,
        pidfd,
        child_tid,
        parent_tid,
        exit_signal,
        stack,
        stack_size,
        tls,
        set_tid,
        set_tid_size,
        cgroup,
    })
}

fn requested_tid(t: &Thread, args: &clone_args) -> Result<Option<i32>> {
    match (args.set_tid, args.set_tid_size) {
        (0, 0) => Ok(None),
        (0, _) | (_, 0) => Err(Errno::EINVAL.because("set_tid and set_tid_size go together")),
        (at, 1) => {
            if !t.credentials().capable(task::Capability::SysAdmin) {
                return Err(Errno::EPERM.because("set_tid needs CAP_SYS_ADMIN"));
            }
            let id = UserPtr::<i32>::new(at as usize).read()?;
            if !(1..task::PID_MAX).contains(&id) {
                return Err(Errno::EINVAL.because("set_tid is not below pid_max"));
            }
            Ok(Some(id))
        }
        _ => Err(Errno::EINVAL.because("there is one PID namespace")),
    }
}

fn plain_clone(t: &Thread, flags: CloneFlags) -> Result<usize> {
    let request = CloneRequest {
        flags,
        exit_signal: Some(Signal::CHLD),
        stack: 0,
        tls: 0,
        parent_tid: UserPtr::new(0),
        child_tid: UserPtr::new(0),
        pidfd: UserPtr::new(0),
        set_tid: None,
    };
    task::do_clone(t, &request)
}

/// fork(2)
pub fn sys_fork(t: &Thread) -> Result<usize> {
    plain_clone(t, CloneFlags::empty())
}

/// vfork(2)
pub fn sys_vfork(t: &Thread) -> Result<usize> {
    plain_clone(t, CloneFlags::VM | CloneFlags::VFORK)
}

/// exit(2): ends the thread on its way out.
pub fn sys_exit(t: &Thread, code: i32) -> Result<usize> {
    t.request_exit(code as u8);
    Ok(0)
}

/// exit_group(2): ends all threads.
pub fn sys_exit_group(t: &Thread, code: i32) -> Result<usize> {
    t.process().begin_exit(ExitStatus::Exited(code as u8));
    Ok(0)
}

/// CPU times as `struct rusage`; what is not counted is 0.
pub fn rusage_of(times: CpuTimes, switches: u64) -> rusage {
    let tv = timeval_of;
    rusage {
        ru_utime: tv(times.user),
        ru_stime: tv(times.system),
        ru_maxrss: 0,
        ru_ixrss: 0,
        ru_idrss: 0,
        ru_isrss: 0,
        ru_minflt: 0,
        ru_majflt: 0,
        ru_nswap: 0,
        ru_inblock: 0,
        ru_oublock: 0,
        ru_msgsnd: 0,
        ru_msgrcv: 0,
        ru_nsignals: 0,
        ru_nvcsw: i64::try_from(switches).unwrap_or(i64::MAX),
        ru_nivcsw: 0,
    }
}

/// wait4(2)
pub fn sys_wait4(t: &Thread, pid: i32, status: UserPtr<i32>, options: u32, usage: UserPtr<rusage>) -> Result<usize> {
    let allowed = WaitOptions::NOHANG
        | WaitOptions::STOPPED
        | WaitOptions::CONTINUED
        | WaitOptions::NOTHREAD
        | WaitOptions::ALL
        | WaitOptions::CLONE;
    let options = WaitOptions::from_bits(options)
        .filter(|o| allowed.contains(*o))
        .ok_or_else(|| Errno::EINVAL.because("unknown wait4 options"))?;
    let which = match pid {
        i32::MIN => return Err(Errno::ESRCH.because("no process group has this number")),
        -1 => WaitFor::Any,
        0 => WaitFor::Group(t.process().group()),
        n if n < 0 => WaitFor::Group(Pid(-n)),
        n => WaitFor::Process(Pid(n)),
    };
    let Some(found) = task::do_wait(t, &which, options | WaitOptions::EXITED)? else { return Ok(0) };
    status.write_if_given(found.word)?;
    usage.write_if_given(rusage_of(found.times, 0))?;
    Ok(found.pid.0 as usize)
}

fn pidfd_of(t: &Thread, fd: Fd) -> Result<(Arc<OpenFile>, Arc<Process>)> {
    let file = t.file(fd)?;
    let process = file.ops().downcast_ref::<PidFd>().map(|p| p.process().clone());
    process.map(|p| (file, p)).ok_or_else(|| Errno::EBADF.because("not a pidfd"))
}

/// waitid(2)
pub fn sys_waitid(
    t: &Thread,
    kind: i32,
    id: i32,
    info: UserPtr<SigInfo>,
    options: u32,
    usage: UserPtr<rusage>,
) -> Result<usize> {
    let wanted = WaitOptions::EXITED | WaitOptions::STOPPED | WaitOptions::CONTINUED;
    let mut options = WaitOptions::from_bits(options)
        .filter(|o| o.intersects(wanted))
        .ok_or_else(|| Errno::EINVAL.because("waitid wants WEXITED, WSTOPPED or WCONTINUED, and no unknown option"))?;
    let mut nonblocking = false;
    let which = match kind {
        0 => WaitFor::Any,
        1 if id > 0 => WaitFor::Process(Pid(id)),
        2 if id >= 0 => WaitFor::Group(if id == 0 { t.process().group() } else { Pid(id) }),
        3 if id >= 0 => {
            let (file, process) = pidfd_of(t, Fd(id))?;
            nonblocking = file.nonblocking() && !options.contains(WaitOptions::NOHANG);
            if nonblocking {
                options |= WaitOptions::NOHANG;
            }
            WaitFor::Exactly(process)
        }
        _ => return Err(Errno::EINVAL.because("no such idtype or id")),
    };
    let found = task::do_wait(t, &which, options)?;
    if found.is_none() && nonblocking {
        return Err(Errno::EAGAIN.into());
    }
    if let Some(f) = &found {
        usage.write_if_given(rusage_of(f.times, 0))?;
    }
    info.write_if_given(wait_info(found.as_ref()))?;
    Ok(0)
}

/// What waitid(2) reports; all zero if nothing was found.
fn wait_info(found: Option<&Found>) -> SigInfo {
    match found {
        Some(f) => SigInfo::child(f.code, f.pid, f.uid, f.status, 0, 0),
        None => SigInfo::NONE,
    }
}

/// set_tid_address(2)
pub fn sys_set_tid_address(t: &Thread, at: usize) -> Result<usize> {
    t.set_clear_child_tid(at);
    Ok(t.tid().0 as usize)
}

/// The process that a call names, by its own number or that of one of its threads: 0 is the caller's. ESRCH if there is
/// none.
pub fn process_named(t: &Thread, pid: Pid) -> Result<Arc<Process>> {
    if pid.0 == 0 {
        return Ok(t.process().clone());
    }
    let by_thread = || task::find_thread(Tid(pid.0)).map(|o| o.process().clone());
    task::find_process(pid).or_else(by_thread).ok_or_else(|| Errno::ESRCH.into())
}

/// The thread that a call names: 0 is the caller. ESRCH if there is none.
pub fn thread_named(t: &Thread, tid: Tid) -> Result<Arc<Thread>> {
    if tid.0 == 0 {
        return Ok(t.arc());
    }
    task::find_thread(tid).ok_or_else(|| Errno::ESRCH.into())
}

/// setpgid(2)
pub fn sys_setpgid(t: &Thread, pid: Pid, group: Pid) -> Result<usize> {
    if group.0 < 0 {
        return Err(Errno::EINVAL.because("a negative process group"));
    }
    let target = process_named(t, pid)?;
    if pid.0 != 0 && target.pid() != pid {
        return Err(Errno::EINVAL.because("not the number of a process"));
    }
    let group = if group.0 == 0 { target.pid() } else { group };
    task::set_process_group(t.process(), &target, group)?;
    Ok(0)
}

/// getpgid(2)
pub fn sys_getpgid(t: &Thread, pid: Pid) -> Result<usize> {
    Ok(process_named(t, pid)?.group().0 as usize)
}

/// getpgrp(2)
pub fn sys_getpgrp(t: &Thread) -> Result<usize> {
    Ok(t.process().group().0 as usize)
}

/// setsid(2)
pub fn sys_setsid(t: &Thread) -> Result<usize> {
    Ok(task::new_session(t.process())?.0 as usize)
}

/// getsid(2)
pub fn sys_getsid(t: &Thread, pid: Pid) -> Result<usize> {
    Ok(process_named(t, pid)?.session().0 as usize)
}

/// pidfd_open(2)
pub fn sys_pidfd_open(t: &Thread, pid: Pid, flags: u32) -> Result<usize> {
    if flags & !OpenFlags::NONBLOCK.bits() != 0 || pid.0 <= 0 {
        return Err(Errno::EINVAL.because("pidfd_open takes a process number and PIDFD_NONBLOCK"));
    }
    let Some(process) = task::find_process(pid) else {
        let thread = task::find_thread(Tid(pid.0));
        return Err(match thread {
            Some(_) => Errno::EINVAL.because("not the number of a process"),
            None => Errno::ESRCH.into(),
        });
    };
    let file = pidfd::open(&process, flags != 0);
    let limit = t.process().rlimits().get(Resource::OpenFiles).rlim_cur;
    Ok(t.files().add(file, true, limit)?.0 as usize)
}

/// Whether `t` may do to `target` what a debugger may (ptrace(2), PTRACE_MODE_ATTACH_REALCREDS).
fn may_attach(t: &Thread, target: &Process) -> bool {
    let mine = t.credentials();
    let Some(theirs) = target.credentials() else { return false };
    let same_user = [theirs.euid, theirs.suid, theirs.ruid].iter().all(|id| *id == mine.ruid);
    let same_group = [theirs.egid, theirs.sgid, theirs.rgid].iter().all(|id| *id == mine.rgid);
    mine.capable(Capability::SysPtrace) || (same_user && same_group && target.dumpable() == 1)
}

/// pidfd_getfd(2): a descriptor of another process, for the caller.
pub fn sys_pidfd_getfd(t: &Thread, pidfd: Fd, fd: Fd, flags: u32) -> Result<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL.because("pidfd_getfd has no flags"));
    }
    let (_, target) = pidfd_of(t, pidfd)?;
    let thread = target.threads().first().cloned().ok_or(Errno::ESRCH)?;
    if !Arc::ptr_eq(&target, t.process()) && !may_attach(t, &target) {
        return Err(Errno::EPERM.because("neither the same user nor CAP_SYS_PTRACE"));
    }
    let file = thread.file(fd)?;
    super::at::install(t, file, true)
}

/// pidfd_send_signal(2)
pub fn sys_pidfd_send_signal(t: &Thread, fd: Fd, number: i32, info: UserPtr<SigInfo>, flags: u32) -> Result<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL.because("pidfd_send_signal has no flags here"));
    }
    // A directory of procfs will do as well (pidfd_send_signal(2)).
    let file = t.file(fd)?;
    let target = match procfs::process_of(&file) {
        Some(process) => process,
        None => pidfd_of(t, fd)?.1,
    };
    let signal = match number {
        0 => None,
        n => Some(Signal::new(n).ok_or_else(|| Errno::EINVAL.because("no such signal"))?),
    };
    signal::check_permission(t, &target, signal)?;
    if target.exited().is_some() {
        return Err(Errno::ESRCH.because("the process has ended"));
    }
    let given = match info.non_null() {
        None => None,
        Some(p) => {
            let given = p.read()?;
            if given.signo != number {
                return Err(Errno::EINVAL.because("si_signo is another signal"));
            }
            let foreign = !Arc::ptr_eq(&target, t.process());
            if foreign && (given.code >= 0 || given.code == signal::SI_TKILL) {
                return Err(Errno::EPERM.because("si_code is the kernel's"));
            }
            Some(given)
        }
    };
    let Some(signal) = signal else { return Ok(0) };
    let (pid, uid) = signal::sender(t);
    let info = given.unwrap_or(SigInfo::from_sender(signal, signal::SI_USER, pid, uid));
    signal::send_to_process(&target, signal, info)?;
    Ok(0)
}
