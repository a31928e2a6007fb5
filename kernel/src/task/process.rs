//! A process: threads that share a number, signal actions, limits and children.

use super::credentials::Credentials;
use super::ids::{Pid, Tid};
use super::rlimit::Rlimits;
use super::thread::{COMM_LEN, Thread};
use super::timers::ProcessTimers;
use crate::error::{Errno, Result};
use crate::fs::Path;
use crate::sched::WaitQueue;
use crate::signal::ProcessSignals;
use crate::sync::{Rank, SpinLock};
use crate::time::{Duration, Instant};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI16, AtomicU8, AtomicU32, Ordering};

/// How a process ended, or what wait(2) may hear of it meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitStatus {
    /// By exit(2) or exit_group(2), with the low 8 bits of its argument.
    Exited(u8),
    /// By a signal; `core` if the signal dumps core.
    Killed {
        /// The signal's number.
        signal: u8,
        /// Whether the default action is to dump core (none is written; WCOREDUMP stays false).
        core: bool,
    },
}

impl ExitStatus {
    /// The status word of wait(2).
    pub fn wait_word(self) -> i32 {
        match self {
            ExitStatus::Exited(code) => i32::from(code) << 8,
            ExitStatus::Killed { signal, .. } => i32::from(signal),
        }
    }
}

/// CPU time used, split as times(2) does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuTimes {
    /// In guest code.
    pub user: Duration,
    /// In the kernel on its behalf.
    pub system: Duration,
}

impl core::ops::AddAssign for CpuTimes {
    fn add_assign(&mut self, o: CpuTimes) {
        self.user += o.user;
        self.system += o.system;
    }
}

/// Family, threads and end of a process.
pub(crate) struct Family {
    pub parent: Weak<Process>,
    pub children: Vec<Arc<Process>>,
    pub threads: Vec<Arc<Thread>>,
    pub group: Pid,
    pub session: Pid,
    /// Set when exit_group(2), a fatal signal or execve(2) asks all threads to end.
    pub ending: Option<ExitStatus>,
    /// The thread that runs execve(2) and must outlive the others.
    pub exec_survivor: Option<Tid>,
    /// Set when the last thread is gone: a zombie.
    pub exited: Option<ExitStatus>,
    /// How the first thread ended, if it ended before the others.
    pub leader_status: Option<ExitStatus>,
    /// What `/proc` and kill(2) still ask of a zombie: its last thread's name and identity.
    pub remains: Option<([u8; COMM_LEN], Arc<Credentials>)>,
    /// The signal to send to the parent at the end; 0 for none.
    pub exit_signal: u8,
    /// Whether it has called execve(2) since it was made (setpgid(2) asks).
    pub has_execed: bool,
    /// Job control: stopped by this signal, not yet continued.
    pub stopped: Option<u8>,
    /// A change that wait(2) with WUNTRACED or WCONTINUED has not yet reported.
    pub unreported: Option<StateChange>,
    /// CPU time of threads that ended, and of children that were waited for.
    pub ended_threads: CpuTimes,
    pub waited_children: CpuTimes,
}

/// What WUNTRACED and WCONTINUED report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StateChange {
    Stopped(u8),
    Continued,
}

/// What core(5) gives a process to begin with: anonymous memory, ELF headers, private huge pages.
const DEFAULT_COREDUMP_FILTER: u32 = 0x33;

/// A process.
pub struct Process {
    pid: Pid,
    pub(crate) family: SpinLock<Family>,
    /// Signal actions and the process-wide queue.
    pub(crate) signals: ProcessSignals,
    rlimits: SpinLock<Rlimits>,
    exe: SpinLock<Option<Path>>,
    /// Where parents wait for children's changes.
    pub(crate) child_events: Arc<WaitQueue>,
    /// Where execve(2) waits for its sibling threads to end.
    pub(crate) milestones: Arc<WaitQueue>,
    /// Where pidfds wait for the end.
    pub(crate) exit_event: Arc<WaitQueue>,
    started: Instant,
    /// PR_SET_CHILD_SUBREAPER.
    subreaper: AtomicBool,
    /// PR_SET_DUMPABLE.
    dumpable: AtomicU8,
    /// Commands of membarrier(2) that it may use, beyond those that need no registration.
    membarriers: AtomicU32,
    /// How much likelier than by its size it is to be killed for want of memory, in thousandths of `mem=`
    /// (proc_pid_oom_score_adj(5)).
    oom_score_adj: AtomicI16,
    /// How low anybody may set that: the last value that was set with CAP_SYS_RESOURCE.
    oom_score_adj_min: AtomicI16,
    /// Kinds of mappings that a core dump would have (core(5)); kept, as no dumps are written.
    coredump_filter: AtomicU32,
    /// setitimer(2), timer_create(2), RLIMIT_CPU.
    pub(crate) timers: ProcessTimers,
}

impl Process {
    /// A process without threads, not yet in the table.
    pub(crate) fn new(
        pid: Pid,
        parent: Weak<Process>,
        group: Pid,
        session: Pid,
        exit_signal: u8,
        signals: ProcessSignals,
        rlimits: Rlimits,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Process {
            pid,
            family: SpinLock::new(
                Rank::Process,
                Family {
                    parent,
                    children: Vec::new(),
                    threads: Vec::new(),
                    group,
                    session,
                    ending: None,
                    exec_survivor: None,
                    exited: None,
                    leader_status: None,
                    remains: None,
                    exit_signal,
                    has_execed: false,
                    stopped: None,
                    unreported: None,
                    ended_threads: CpuTimes::default(),
                    waited_children: CpuTimes::default(),
                },
            ),
            signals,
            rlimits: SpinLock::new(Rank::Thread, rlimits),
            exe: SpinLock::new(Rank::Thread, None),
            child_events: Arc::new(WaitQueue::new()),
            milestones: Arc::new(WaitQueue::new()),
            exit_event: Arc::new(WaitQueue::new()),
            started: crate::time::now(),
            subreaper: AtomicBool::new(false),
            dumpable: AtomicU8::new(1),
            membarriers: AtomicU32::new(0),
            oom_score_adj: AtomicI16::new(0),
            oom_score_adj_min: AtomicI16::new(0),
            coredump_filter: AtomicU32::new(DEFAULT_COREDUMP_FILTER),
            timers: ProcessTimers::new(me.clone()),
        })
    }

    /// Its number.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Resource limits.
    pub fn rlimits(&self) -> Rlimits {
        *self.rlimits.lock()
    }

    /// Changes the resource limits.
    pub fn update_rlimits<R>(&self, f: impl FnOnce(&mut Rlimits) -> R) -> R {
        f(&mut self.rlimits.lock())
    }

    /// The executable (`/proc/<pid>/exe`).
    pub fn exe(&self) -> Option<Path> {
        self.exe.lock().clone()
    }

    /// Records the executable.
    pub fn set_exe(&self, path: Option<Path>) {
        let old = core::mem::replace(&mut *self.exe.lock(), path);
        drop(old);
    }

    /// When it was made.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Its threads, the first one first.
    pub fn threads(&self) -> Vec<Arc<Thread>> {
        self.family.lock().threads.clone()
    }

    /// Its parent; `None` for init.
    pub fn parent(&self) -> Option<Arc<Process>> {
        self.family.lock().parent.upgrade()
    }

    /// Its process group's number.
    pub fn group(&self) -> Pid {
        self.family.lock().group
    }

    /// Its session's number.
    pub fn session(&self) -> Pid {
        self.family.lock().session
    }

    /// How it ended, if it did and was not yet waited for.
    pub fn exited(&self) -> Option<ExitStatus> {
        self.family.lock().exited
    }

    /// Whether it is stopped by job control.
    pub fn is_stopped(&self) -> bool {
        self.family.lock().stopped.is_some()
    }

    /// Who it acts as: its first thread's identity, or its last one's if it is a zombie.
    pub fn credentials(&self) -> Option<Arc<Credentials>> {
        let f = self.family.lock();
        let first = f.threads.first().cloned();
        let remains = f.remains.as_ref().map(|r| r.1.clone());
        drop(f);
        first.map(|t| t.credentials()).or(remains)
    }

    /// Its name, padded with NULs.
    pub fn comm(&self) -> [u8; COMM_LEN] {
        let f = self.family.lock();
        let first = f.threads.first().cloned();
        let remains = f.remains.as_ref().map(|r| r.0);
        drop(f);
        first.map(|t| t.comm()).or(remains).unwrap_or_default()
    }

    /// Whether orphaned descendants become its children (PR_SET_CHILD_SUBREAPER).
    pub fn is_subreaper(&self) -> bool {
        self.subreaper.load(Ordering::Relaxed)
    }

    /// Sets whether orphaned descendants become its children.
    pub fn set_subreaper(&self, yes: bool) {
        self.subreaper.store(yes, Ordering::Relaxed);
    }

    /// PR_GET_DUMPABLE.
    pub fn dumpable(&self) -> u8 {
        self.dumpable.load(Ordering::Relaxed)
    }

    /// PR_SET_DUMPABLE.
    pub fn set_dumpable(&self, value: u8) {
        self.dumpable.store(value, Ordering::Relaxed);
    }

    /// What is added to its badness, in thousandths of `mem=`: -1000 (never killed) to 1000.
    pub fn oom_score_adj(&self) -> i16 {
        self.oom_score_adj.load(Ordering::Relaxed)
    }

    /// Sets what is added to its badness, for somebody who has CAP_SYS_RESOURCE or not. EACCES without, if that is less than
    /// was last set with it.
    pub fn set_oom_score_adj(&self, value: i16, privileged: bool) -> Result<()> {
        if privileged {
            self.oom_score_adj_min.store(value, Ordering::Relaxed);
        } else if value < self.oom_score_adj_min.load(Ordering::Relaxed) {
            return Err(Errno::EACCES.because("lower than was set with CAP_SYS_RESOURCE"));
        }
        self.oom_score_adj.store(value, Ordering::Relaxed);
        Ok(())
    }

    /// Takes over, as its child, what `parent` has set about being killed and dumped.
    pub(crate) fn inherit_settings(&self, parent: &Process) {
        let copy = |from: &AtomicI16, to: &AtomicI16| to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        copy(&parent.oom_score_adj, &self.oom_score_adj);
        copy(&parent.oom_score_adj_min, &self.oom_score_adj_min);
        self.set_coredump_filter(parent.coredump_filter());
        self.set_dumpable(parent.dumpable());
        self.set_membarriers(parent.membarriers());
    }

    /// How good a choice it is when memory is used up: bytes that it uses, shifted by what its user says. `None` if it is not to
    /// be chosen.
    pub fn badness(&self) -> Option<i64> {
        let adj = i64::from(self.oom_score_adj());
        let used = self.threads().first().map_or(0, |t| t.mm().usage().1) as i64;
        let all = crate::mm::window::get().map_or(0, |w| w.usage().1) as i64;
        (adj > -1000).then_some(used + adj * (all / 1000))
    }

    /// Kinds of mappings that a core dump would have.
    pub fn coredump_filter(&self) -> u32 {
        self.coredump_filter.load(Ordering::Relaxed)
    }

    /// Sets the kinds of mappings that a core dump would have.
    pub fn set_coredump_filter(&self, kinds: u32) {
        self.coredump_filter.store(kinds, Ordering::Relaxed);
    }

    /// Commands of membarrier(2) that it has registered for.
    pub fn membarriers(&self) -> u32 {
        self.membarriers.load(Ordering::Relaxed)
    }

    /// Sets the commands of membarrier(2) that it may use.
    pub fn set_membarriers(&self, commands: u32) {
        self.membarriers.store(commands, Ordering::Relaxed);
    }

    /// CPU time of its threads so far, ended ones included.
    pub fn cpu_times(&self) -> CpuTimes {
        let (mut total, threads) = {
            let f = self.family.lock();
            (f.ended_threads, f.threads.clone())
        };
        for t in &threads {
            total += t.cpu_times();
        }
        total
    }

    /// CPU time of the children that were waited for, and of theirs.
    pub fn children_cpu_times(&self) -> CpuTimes {
        self.family.lock().waited_children
    }

    /// Asks all threads to end. The first status stands (exit_group(2), fatal signals).
    pub(crate) fn begin_exit(&self, status: ExitStatus) {
        let threads = {
            let mut f = self.family.lock();
            if f.ending.is_none() && f.exited.is_none() {
                f.ending = Some(status);
            }
            f.threads.clone()
        };
        for t in &threads {
            crate::signal::ask_to_end(t);
        }
    }
}
