//! New threads and processes (clone(2)).
//!
//! A new thread starts with a copy of its maker's registers, rax 0, and whatever stack and thread pointer it was given.
//! With CLONE_VM it lives in the same address space; a process made that way (vfork(2), posix_spawn(3)) keeps its parent
//! waiting until it calls execve(2) or ends, if CLONE_VFORK says so. Without CLONE_VM the child needs a copy of the
//! memory at the same addresses, which is the business of residency ([`copy_memory`]).

use super::ids::{Fd, Pid, Tid};
use super::process::Process;
use super::table;
use super::thread::{Completion, Thread, ThreadParts};
use crate::abi::{USER_ADDRESS_END, general as c};
use crate::arch;
use crate::error::{Errno, Result};
use crate::mm::{Access, Mm, UserPtr, residency, window};
use crate::sched;
use crate::signal::{ProcessSignals, Signal};
use crate::task::{Capability, Resource};
use alloc::sync::Arc;

bitflags::bitflags! {
    /// `CLONE_*`, and those of clone3(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[allow(missing_docs)]
    pub struct CloneFlags: u64 {
        const NEWTIME = c::CLONE_NEWTIME as u64;
        const VM = c::CLONE_VM as u64;
        const FS = c::CLONE_FS as u64;
        const FILES = c::CLONE_FILES as u64;
        const SIGHAND = c::CLONE_SIGHAND as u64;
        const PIDFD = c::CLONE_PIDFD as u64;
        const PTRACE = c::CLONE_PTRACE as u64;
        const VFORK = c::CLONE_VFORK as u64;
        const PARENT = c::CLONE_PARENT as u64;
        const THREAD = c::CLONE_THREAD as u64;
        const NEWNS = c::CLONE_NEWNS as u64;
        const SYSVSEM = c::CLONE_SYSVSEM as u64;
        const SETTLS = c::CLONE_SETTLS as u64;
        const PARENT_SETTID = c::CLONE_PARENT_SETTID as u64;
        const CHILD_CLEARTID = c::CLONE_CHILD_CLEARTID as u64;
        const DETACHED = c::CLONE_DETACHED as u64;
        const UNTRACED = c::CLONE_UNTRACED as u64;
        const CHILD_SETTID = c::CLONE_CHILD_SETTID as u64;
        const NEWCGROUP = c::CLONE_NEWCGROUP as u64;
        const NEWUTS = c::CLONE_NEWUTS as u64;
        const NEWIPC = c::CLONE_NEWIPC as u64;
        const NEWUSER = c::CLONE_NEWUSER as u64;
        const NEWPID = c::CLONE_NEWPID as u64;
        const NEWNET = c::CLONE_NEWNET as u64;
        const IO = c::CLONE_IO as u64;
        const CLEAR_SIGHAND = c::CLONE_CLEAR_SIGHAND;
        const INTO_CGROUP = c::CLONE_INTO_CGROUP;

        /// Every kind of namespace.
        const NAMESPACES = Self::NEWTIME.bits() | Self::NEWNS.bits() | Self::NEWCGROUP.bits() | Self::NEWUTS.bits()
            | Self::NEWIPC.bits() | Self::NEWUSER.bits() | Self::NEWPID.bits() | Self::NEWNET.bits();
    }
}

/// What a clone(2) in any of its forms asks for.
#[derive(Clone, Debug)]
pub struct CloneRequest {
    /// What is shared, and what else is to happen.
    pub flags: CloneFlags,
    /// The signal for the parent at the end; `None` for none.
    pub exit_signal: Option<Signal>,
    /// Initial stack pointer; 0 keeps the caller's.
    pub stack: u64,
    /// Thread pointer, with CLONE_SETTLS.
    pub tls: u64,
    /// Where CLONE_PARENT_SETTID writes.
    pub parent_tid: UserPtr<i32>,
    /// Where CLONE_CHILD_SETTID writes and CLONE_CHILD_CLEARTID clears.
    pub child_tid: UserPtr<i32>,
    /// Where CLONE_PIDFD writes.
    pub pidfd: UserPtr<i32>,
    /// The number to have, if it must be a certain one.
    pub set_tid: Option<i32>,
}

impl CloneRequest {
    /// Refuses the combinations that clone(2) lists under ERRORS.
    pub fn check(&self) -> Result<()> {
        use CloneFlags as F;
        let f = self.flags;
        let wrong = |reason| Err(Errno::EINVAL.because(reason));
        if f.contains(F::THREAD) && !f.contains(F::SIGHAND) {
            return wrong("CLONE_THREAD needs CLONE_SIGHAND");
        }
        if f.contains(F::SIGHAND) && !f.contains(F::VM) {
            return wrong("CLONE_SIGHAND needs CLONE_VM");
        }
        if f.contains(F::SIGHAND | F::CLEAR_SIGHAND) {
            return wrong("CLONE_CLEAR_SIGHAND contradicts CLONE_SIGHAND");
        }
        if f.contains(F::FS | F::NEWNS) || f.contains(F::FS | F::NEWUSER) {
            return wrong("a new namespace cannot share the root directory");
        }
        if f.contains(F::PIDFD | F::DETACHED) {
            return wrong("CLONE_PIDFD contradicts CLONE_DETACHED");
        }
        if f.intersects(F::NAMESPACES) {
            return wrong("there are no namespaces (CONFIG_NAMESPACES=n)");
        }
        if f.contains(F::SETTLS) && self.tls >= USER_ADDRESS_END as u64 {
            return Err(Errno::EPERM.because("the thread pointer is no user address"));
        }
        if f.contains(F::INTO_CGROUP) {
            return Err(Errno::EOPNOTSUPP.because("there are no cgroups"));
        }
        Ok(())
    }
}

/// Makes a thread or process; returns its number, after CLONE_VFORK's wait.
pub fn do_clone(t: &Thread, request: &CloneRequest) -> Result<usize> {
    request.check()?;
    let flags = request.flags;
    if flags.contains(CloneFlags::PARENT) && t.process().signals.is_unkillable() {
        return Err(Errno::EINVAL.because("init cannot have siblings"));
    }
    check_process_limit(t)?;
    let mm = if flags.contains(CloneFlags::VM) { t.mm() } else { copy_memory(t)? };
    let forked = !flags.contains(CloneFlags::VM);
    let numbered = match request.set_tid {
        Some(id) => table::allocate_exact_id(id),
        None => table::allocate_id(),
    };
    let id = match numbered {
        Ok(id) => id,
        Err(e) => {
            drop(mm);
            residency::ensure(&t.mm());
            return Err(e);
        }
    };
    let made = make(t, request, Tid(id), mm).and_then(|thread| {
        // After a fork the window shows the child's memory, where its number goes.
        if flags.contains(CloneFlags::CHILD_SETTID) {
            if forked {
                // It is the child that gets the page: a fault of ours would be resolved for the caller's memory.
                for addr in [request.child_tid.addr(), request.child_tid.addr().wrapping_add(3)] {
                    if window::get()
                        .is_some_and(|w| w.contains(addr, 1) && (!w.is_populated(addr) || w.is_tracked(addr)))
                    {
                        let _ = thread.mm().fault(addr, Access::Write);
                    }
                }
            }
            let _ = request.child_tid.write(id);
        }
        if forked && flags.intersects(CloneFlags::PIDFD | CloneFlags::PARENT_SETTID) {
            residency::ensure(&t.mm());
        }
        if flags.contains(CloneFlags::PIDFD) {
            install_pidfd(t, &thread, request.pidfd)?;
        }
        Ok(thread)
    });
    let thread = match made {
        Ok(thread) => thread,
        Err(e) => {
            table::free_id(id);
            // A child's memory that is not wanted may have left the window to another relative.
            residency::ensure(&t.mm());
            return Err(e);
        }
    };
    // As Linux: a bad address for the number does not undo the clone.
    if flags.contains(CloneFlags::PARENT_SETTID) {
        let _ = request.parent_tid.write(id);
    }
    let completion = flags.contains(CloneFlags::VFORK).then(|| Arc::new(Completion::default()));
    if let Some(c) = &completion {
        thread.set_vfork_parent(c.clone());
    }
    if flags.contains(CloneFlags::VM) && !flags.contains(CloneFlags::THREAD) {
        thread.mm().add_user();
    }
    table::register(&thread);
    if thread.process().is_exiting() {
        // An exit_group(2) came while the thread was made.
        crate::signal::ask_to_end(&thread);
    }
    sched::spawn(&thread);
    drop(thread);
    if let Some(c) = completion {
        c.wait_killable(t);
    } else if forked {
        // The child first: its memory is in the window, and it may soon give it up for another program.
        sched::yield_now();
    }
    Ok(id as usize)
}

/// Most threads of the machine (`/proc/sys/kernel/threads-max`). As on Linux an eighth of the memory may go to kernel stacks
/// of 16 KB; but each thread also takes several of the mappings that the host allows vmlinux (`vm.max_map_count`).
pub fn threads_max() -> usize {
    let memory = window::get().map_or(0, |w| w.usage().1);
    (memory / (8 * (16 << 10))).clamp(64, 8192)
}

/// The machine's limit, and RLIMIT_NPROC: how many threads the caller's real user may have. EAGAIN if there are so many.
fn check_process_limit(t: &Thread) -> Result<()> {
    if table::counts().0 >= threads_max() {
        return Err(Errno::EAGAIN.because("threads-max"));
    }
    let limit = t.process().rlimits().get(Resource::Processes).rlim_cur;
    let who = t.credentials();
    let exempt = who.ruid.0 == 0 || who.capable(Capability::SysResource) || who.capable(Capability::SysAdmin);
    // All threads together are counted already; whose they are is worth a look only where that could matter.
    if !exempt && table::counts().0 as u64 >= limit && table::threads_of_user(who.ruid) as u64 >= limit {
        return Err(Errno::EAGAIN.because("RLIMIT_NPROC"));
    }
    Ok(())
}

/// The copy of the caller's memory that fork(2) needs.
fn copy_memory(t: &Thread) -> Result<Arc<Mm>> {
    residency::fork(&t.mm())
}

fn make(t: &Thread, request: &CloneRequest, tid: Tid, mm: Arc<Mm>) -> Result<Arc<Thread>> {
    let flags = request.flags;
    let context = t.context.with_frame(|f| {
        let mut frame = *f;
        frame.rax = 0;
        frame.orig_rax = u64::MAX;
        if request.stack != 0 {
            frame.rsp = request.stack;
        }
        if flags.contains(CloneFlags::SETTLS) {
            frame.fs_base = request.tls;
        }
        arch::Context::with_current_vectors(&frame)
    })?;
    context.set_guest_gs(t.context.guest_gs());
    let parts = ThreadParts {
        files: if flags.contains(CloneFlags::FILES) { t.files() } else { Arc::new(t.files().fork()) },
        fs: if flags.contains(CloneFlags::FS) { t.fs() } else { Arc::new(t.fs().fork()) },
        mm,
        credentials: t.credentials(),
        comm: t.comm(),
        context,
    };
    let same_process = flags.contains(CloneFlags::THREAD);
    let process = if same_process { t.process().clone() } else { new_process(t, request, Pid(tid.0)) };
    let thread = Thread::new(tid, process, parts, t.signals.blocked().0);
    if flags.contains(CloneFlags::SYSVSEM) {
        thread.set_undo_owner(Some(t.undo_owner()));
    }
    let attributes = t.attributes().for_child(same_process);
    thread.update_attributes(|a| *a = attributes);
    if flags.contains(CloneFlags::CHILD_CLEARTID) {
        thread.set_clear_child_tid(request.child_tid.addr());
    }
    // A thread of the same memory starts without an alternate stack, but for vfork, whose parent does not run.
    if !flags.contains(CloneFlags::VM) || flags.contains(CloneFlags::VFORK) {
        thread.signals.set_altstack(t.signals.altstack());
    }
    Ok(thread)
}

fn new_process(t: &Thread, request: &CloneRequest, pid: Pid) -> Arc<Process> {
    let flags = request.flags;
    let mine = t.process();
    let hand = mine.signals.hand();
    let hand = if flags.contains(CloneFlags::SIGHAND) {
        hand
    } else if flags.contains(CloneFlags::CLEAR_SIGHAND) {
        Arc::new(hand.after_exec())
    } else {
        Arc::new(hand.fork())
    };
    let clone_parent = flags.contains(CloneFlags::PARENT);
    let exit_signal =
        if clone_parent { mine.family.lock().exit_signal } else { request.exit_signal.map_or(0, |s| s.number() as u8) };
    let process = Process::new(
        pid,
        table::parent_for_clone(mine, clone_parent),
        mine.group(),
        mine.session(),
        exit_signal,
        ProcessSignals::new(hand),
        mine.rlimits(),
    );
    process.set_exe(mine.exe());
    process.inherit_settings(mine);
    process.timers.watch_cpu_limit();
    process
}

fn install_pidfd(t: &Thread, thread: &Arc<Thread>, at: UserPtr<i32>) -> Result<()> {
    let file = super::pidfd::open(thread.process(), false);
    let limit = t.process().rlimits().get(Resource::OpenFiles).rlim_cur;
    let fd: Fd = t.files().add(file, true, limit)?;
    if let Err(e) = at.write(fd.0) {
        let closed = t.files().remove(fd);
        drop(closed);
        return Err(e);
    }
    Ok(())
}

/// Process 1, without a thread yet. To be called once, before any other number is given out.
pub fn new_init_process() -> Result<Arc<Process>> {
    let id = table::allocate_exact_id(table::INIT.0)?;
    let signals = ProcessSignals::new(Arc::default());
    signals.set_unkillable(true);
    let none = alloc::sync::Weak::new();
    // As Linux: init starts in group and session 0, and may make its own.
    let exit_signal = Signal::CHLD.number() as u8;
    Ok(Process::new(Pid(id), none, Pid(0), Pid(0), exit_signal, signals, super::Rlimits::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(flags: CloneFlags) -> CloneRequest {
        CloneRequest {
            flags,
            exit_signal: None,
            stack: 0,
            tls: 0,
            parent_tid: UserPtr::new(0),
            child_tid: UserPtr::new(0),
            pidfd: UserPtr::new(0),
            set_tid: None,
        }
    }

    #[test]
    fn combinations_are_refused_as_clone_2_says() {
        use CloneFlags as F;
        let ok =
            [F::empty(), F::VM | F::VFORK, F::VM | F::FS | F::FILES | F::SIGHAND | F::THREAD | F::SYSVSEM | F::SETTLS];
        for f in ok {
            assert!(request(f).check().is_ok(), "{f:?}");
        }
        let refused = [
            F::THREAD,
            F::VM | F::THREAD,
            F::SIGHAND,
            F::VM | F::SIGHAND | F::CLEAR_SIGHAND,
            F::FS | F::NEWNS,
            F::NEWNET,
            F::PIDFD | F::DETACHED,
        ];
        for f in refused {
            assert_eq!(request(f).check().unwrap_err().errno(), Errno::EINVAL, "{f:?}");
        }
    }
}
