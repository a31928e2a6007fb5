//! Waiting for children (wait(2)).

use super::exit::end_code;
use super::ids::{Pid, Uid};
use super::process::{CpuTimes, Process, StateChange};
use super::table;
use super::thread::Thread;
use crate::error::{Errno, Result};
use crate::signal::{CLD_CONTINUED, CLD_STOPPED, Signal};
use alloc::sync::Arc;

bitflags::bitflags! {
    /// The options of wait4(2) and waitid(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[allow(missing_docs)]
    pub struct WaitOptions: u32 {
        const NOHANG = 1;
        const STOPPED = 2;
        const EXITED = 4;
        const CONTINUED = 8;
        const NOWAIT = 0x0100_0000;
        /// Only the calling thread's own children; all threads share theirs here.
        const NOTHREAD = 0x2000_0000;
        const ALL = 0x4000_0000;
        const CLONE = 0x8000_0000;
    }
}

/// Which children.
#[derive(Clone, Debug)]
pub enum WaitFor {
    /// Any.
    Any,
    /// The one with this number.
    Process(Pid),
    /// Those of this group.
    Group(Pid),
    /// This very one (P_PIDFD).
    Exactly(Arc<Process>),
}

/// What a wait found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The child.
    pub pid: Pid,
    /// Its real user.
    pub uid: Uid,
    /// `CLD_*`.
    pub code: i32,
    /// Exit code or signal.
    pub status: i32,
    /// The status word of wait4(2).
    pub word: i32,
    /// Its CPU time, with that of the children it waited for.
    pub times: CpuTimes,
}

impl WaitFor {
    fn matches(&self, child: &Arc<Process>) -> bool {
        match self {
            WaitFor::Any => true,
            WaitFor::Process(pid) => child.pid() == *pid,
            WaitFor::Group(group) => child.group() == *group,
            WaitFor::Exactly(p) => Arc::ptr_eq(p, child),
        }
    }
}

impl core::fmt::Debug for Process {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Process({})", self.pid())
    }
}

/// Waits for a child to change as `options` ask. `None` with WNOHANG if none has. ECHILD if there is none to wait for.
pub fn do_wait(t: &Thread, which: &WaitFor, options: WaitOptions) -> Result<Option<Found>> {
    let process = t.process();
    if options.contains(WaitOptions::NOHANG) {
        return look(process, which, options).transpose();
    }
    let found = process.child_events.wait(&t.arc(), None, || look(process, which, options))?;
    found.map(Some)
}

/// One look at the children.
fn look(process: &Arc<Process>, which: &WaitFor, options: WaitOptions) -> Option<Result<Found>> {
    let children = process.family.lock().children.clone();
    let mut any = false;
    for child in children.iter().filter(|c| which.matches(c) && kind_matches(c, options)) {
        // What has ended will neither stop nor continue: without WEXITED there is nothing to wait for.
        any |= options.contains(WaitOptions::EXITED) || child.exited().is_none();
        if let Some(found) = look_at(process, child, options) {
            return Some(Ok(found));
        }
    }
    if any { None } else { Some(Err(Errno::ECHILD.into())) }
}

/// Children that signal their end with something other than SIGCHLD are waited for with __WCLONE or __WALL only.
fn kind_matches(child: &Process, options: WaitOptions) -> bool {
    if options.contains(WaitOptions::ALL) {
        return true;
    }
    let is_clone = child.family.lock().exit_signal != Signal::CHLD.number() as u8;
    is_clone == options.contains(WaitOptions::CLONE)
}

fn look_at(parent: &Arc<Process>, child: &Arc<Process>, options: WaitOptions) -> Option<Found> {
    let keep = options.contains(WaitOptions::NOWAIT);
    let uid = child.credentials().map_or(Uid(0), |c| c.ruid);
    let mut times = child.cpu_times();
    let mut f = child.family.lock();
    times += f.waited_children;
    let found = |code, status, word| Found { pid: child.pid(), uid, code, status, word, times };
    if let Some(status) = f.exited {
        drop(f);
        if !options.contains(WaitOptions::EXITED) || !(keep || reap(parent, child, times)) {
            return None;
        }
        let (code, value) = end_code(status);
        return Some(found(code, value, status.wait_word()));
    }
    let change = f.unreported?;
    let found = match change {
        StateChange::Stopped(signal) if options.contains(WaitOptions::STOPPED) => {
            found(CLD_STOPPED, i32::from(signal), i32::from(signal) << 8 | 0x7f)
        }
        StateChange::Continued if options.contains(WaitOptions::CONTINUED) => {
            found(CLD_CONTINUED, Signal::CONT.number(), 0xffff)
        }
        _ => return None,
    };
    if !keep {
        f.unreported = None;
    }
    Some(found)
}

/// Strikes a zombie; false if another thread was faster.
fn reap(parent: &Arc<Process>, child: &Arc<Process>, times: CpuTimes) -> bool {
    let reaped = table::release(child);
    if reaped {
        parent.family.lock().waited_children += times;
    }
    reaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::ExitStatus;

    #[test]
    fn status_words_are_those_of_wait_2() {
        assert_eq!(ExitStatus::Exited(3).wait_word(), 0x300);
        assert_eq!(ExitStatus::Killed { signal: 11, core: true }.wait_word(), 11);
    }

    #[test]
    fn a_parent_without_children_has_none_to_wait_for() {
        let p = Process::new(
            Pid(100),
            alloc::sync::Weak::new(),
            Pid(100),
            Pid(100),
            17,
            crate::signal::ProcessSignals::new(Arc::default()),
            crate::task::Rlimits::default(),
        );
        let e = look(&p, &WaitFor::Any, WaitOptions::EXITED).unwrap().unwrap_err();
        assert_eq!(e.errno(), Errno::ECHILD);
    }

    #[test]
    fn stops_and_continues_are_reported_once() {
        let make = |pid, parent| {
            Process::new(
                Pid(pid),
                parent,
                Pid(100),
                Pid(100),
                17,
                crate::signal::ProcessSignals::new(Arc::default()),
                crate::task::Rlimits::default(),
            )
        };
        let parent = make(100, alloc::sync::Weak::new());
        let child = make(101, Arc::downgrade(&parent));
        parent.family.lock().children.push(child.clone());
        assert!(look(&parent, &WaitFor::Any, WaitOptions::STOPPED).is_none());
        child.family.lock().unreported = Some(StateChange::Stopped(20));
        let keep = WaitOptions::STOPPED | WaitOptions::NOWAIT;
        assert_eq!(look(&parent, &WaitFor::Process(Pid(101)), keep).unwrap().unwrap().word, 0x147f);
        assert_eq!(look(&parent, &WaitFor::Group(Pid(100)), WaitOptions::STOPPED).unwrap().unwrap().status, 20);
        assert!(look(&parent, &WaitFor::Any, WaitOptions::STOPPED).is_none());
        assert!(look(&parent, &WaitFor::Any, WaitOptions::STOPPED | WaitOptions::CLONE).unwrap().is_err());
        child.family.lock().exited = Some(ExitStatus::Exited(0));
        assert_eq!(look(&parent, &WaitFor::Any, keep).unwrap().unwrap_err().errno(), Errno::ECHILD);
    }
}
