//! The table of processes and threads, and everything that changes families, groups and sessions.
//!
//! The table's lock is the outermost: links between processes (parent, children, group, session) change under it only,
//! while each process's own lock is taken for the moment of the change.

use super::id_space::IdSpace;
use super::ids::{Pid, Tid, Uid};
use super::process::Process;
use super::thread::Thread;
use crate::error::{Errno, Result};
use crate::sync::{Rank, SpinLock};
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

/// The number of init.
pub const INIT: Pid = Pid(1);

struct Table {
    ids: IdSpace,
    processes: BTreeMap<Pid, Arc<Process>>,
    threads: BTreeMap<Tid, Weak<Thread>>,
}

static TABLE: SpinLock<Table> = SpinLock::new(
    Rank::ProcessTable,
    Table { ids: IdSpace::new(), processes: BTreeMap::new(), threads: BTreeMap::new() },
);

/// A fresh number for a thread. EAGAIN if none is free (clone(2)).
pub(super) fn allocate_id() -> Result<i32> {
    TABLE.lock().ids.allocate().ok_or_else(|| Errno::EAGAIN.because("all process numbers are in use"))
}

/// A given number. EEXIST if it is in use.
pub(super) fn allocate_exact_id(id: i32) -> Result<i32> {
    TABLE.lock().ids.allocate_exactly(id).ok_or_else(|| Errno::EEXIST.into())
}

/// Gives back a number that no process or thread was made with after all.
pub(super) fn free_id(id: i32) {
    TABLE.lock().ids.release(id);
}

/// Enters a thread under its number, which it holds already. A new process's first thread enters the process, too.
pub fn register(thread: &Arc<Thread>) {
    let process = thread.process();
    let mut table = TABLE.lock();
    table.threads.insert(thread.tid(), thread.weak());
    let (first, group, session, parent) = {
        let mut f = process.family.lock();
        f.threads.push(thread.clone());
        (f.threads.len() == 1, f.group, f.session, f.parent.upgrade())
    };
    if first {
        table.ids.hold(process.pid().0);
        table.ids.hold(group.0);
        table.ids.hold(session.0);
        table.processes.insert(process.pid(), process.clone());
        if let Some(parent) = &parent {
            parent.family.lock().children.push(process.clone());
        }
    }
    drop(table);
    drop(parent);
}

/// Strikes a thread that ends; returns whether it was its process's last.
pub(super) fn unregister_thread(thread: &Thread) -> bool {
    let process = thread.process();
    let mut table = TABLE.lock();
    let weak = table.threads.remove(&thread.tid());
    table.ids.release(thread.tid().0);
    let (removed, last) = {
        let mut f = process.family.lock();
        let at = f.threads.iter().position(|t| core::ptr::eq(Arc::as_ptr(t), thread));
        (at.map(|i| f.threads.remove(i)), f.threads.is_empty())
    };
    drop(table);
    // The scheduler holds another count: the thread does not go here.
    drop((removed, weak));
    last
}

/// Gives the thread that called execve(2) the number of its process, whose first thread is gone.
pub(super) fn take_over_pid(thread: &Thread) {
    let pid = thread.process().pid();
    let mut table = TABLE.lock();
    table.threads.remove(&thread.tid());
    table.ids.release(thread.tid().0);
    table.ids.hold(pid.0);
    table.threads.insert(pid.into(), thread.weak());
    thread.set_tid(pid.into());
}

/// Strikes a process that was waited for, or that nobody waits for. Returns whether this call did it.
pub(super) fn release(process: &Arc<Process>) -> bool {
    let mut table = TABLE.lock();
    let Some(entry) = table.processes.remove(&process.pid()) else { return false };
    let (group, session, parent) = {
        let f = process.family.lock();
        (f.group, f.session, f.parent.upgrade())
    };
    table.ids.release(process.pid().0);
    table.ids.release(group.0);
    table.ids.release(session.0);
    let child = parent.as_ref().and_then(|p| {
        let mut f = p.family.lock();
        let at = f.children.iter().position(|c| Arc::ptr_eq(c, process));
        at.map(|i| f.children.remove(i))
    });
    drop(table);
    drop((entry, parent, child));
    true
}

/// The process with this number, a zombie too.
pub fn find_process(pid: Pid) -> Option<Arc<Process>> {
    TABLE.lock().processes.get(&pid).cloned()
}

/// The thread with this number.
pub fn find_thread(tid: Tid) -> Option<Arc<Thread>> {
    TABLE.lock().threads.get(&tid).and_then(Weak::upgrade)
}

/// All processes by rising number, zombies too.
pub fn all_processes() -> Vec<Arc<Process>> {
    TABLE.lock().processes.values().cloned().collect()
}

/// The processes of a group that are no zombies.
pub fn processes_of_group(group: Pid) -> Vec<Arc<Process>> {
    all_processes().into_iter().filter(|p| p.group() == group && p.exited().is_none()).collect()
}

/// The session of a process group; `None` if there is no such group.
pub fn session_of_group(group: Pid) -> Option<Pid> {
    TABLE.lock().processes.values().find(|p| p.group() == group).map(|p| p.session())
}

/// Number of threads, and the number given out last.
pub fn counts() -> (usize, i32) {
    let table = TABLE.lock();
    (table.threads.len(), table.ids.last())
}

/// Number of threads whose real user is `uid`.
pub(super) fn threads_of_user(uid: Uid) -> usize {
    let of_user = |p: &Arc<Process>| p.threads().iter().filter(|t| t.credentials().ruid == uid).count();
    all_processes().iter().map(of_user).sum()
}

/// Moves `process` to a group.
fn set_group(table: &mut Table, process: &Process, group: Pid) {
    let old = core::mem::replace(&mut process.family.lock().group, group);
    table.ids.hold(group.0);
    table.ids.release(old.0);
}

/// setsid(2): a new session and group, named after the process. EPERM if a group of that name exists.
pub fn new_session(process: &Process) -> Result<Pid> {
    let pid = process.pid();
    let mut table = TABLE.lock();
    if table.processes.values().any(|p| p.group() == pid) {
        return Err(Errno::EPERM.because("a process group of this number exists"));
    }
    let old = core::mem::replace(&mut process.family.lock().session, pid);
    table.ids.hold(pid.0);
    table.ids.release(old.0);
    set_group(&mut table, process, pid);
    Ok(pid)
}

/// setpgid(2) on `target` by `caller`, with POSIX's rules.
pub fn set_process_group(caller: &Arc<Process>, target: &Arc<Process>, group: Pid) -> Result<()> {
    let mut table = TABLE.lock();
    let session = caller.session();
    if !Arc::ptr_eq(caller, target) {
        let (child, execed, theirs) = {
            let f = target.family.lock();
            (f.parent.as_ptr() == Arc::as_ptr(caller), f.has_execed, f.session)
        };
        if !child {
            return Err(Errno::ESRCH.because("neither the caller nor a child of it"));
        }
        if theirs != session {
            return Err(Errno::EPERM.because("a child in another session"));
        }
        if execed {
            return Err(Errno::EACCES.because("the child has called execve"));
        }
    }
    if target.session() == target.pid() {
        return Err(Errno::EPERM.because("a session leader stays in its group"));
    }
    if group != target.pid() && !table.processes.values().any(|p| p.group() == group && p.session() == session) {
        return Err(Errno::EPERM.because("no such group in this session"));
    }
    if target.group() != group {
        set_group(&mut table, target, group);
    }
    Ok(())
}

/// Who takes over the children of `process`: the nearest living ancestor that is a subreaper (prctl(2)), else init.
fn reaper_of(table: &Table, process: &Process) -> Option<Arc<Process>> {
    let mut at = process.parent();
    while let Some(p) = at {
        if p.is_subreaper() && p.exited().is_none() {
            return Some(p);
        }
        at = p.parent();
    }
    table.processes.get(&INIT).filter(|p| p.exited().is_none()).cloned()
}

/// Gives the children of a process that ends to their reaper. Returns both.
pub(super) fn reparent_children(process: &Arc<Process>) -> (Option<Arc<Process>>, Vec<Arc<Process>>) {
    let table = TABLE.lock();
    let children = core::mem::take(&mut process.family.lock().children);
    if children.is_empty() {
        return (None, children);
    }
    let reaper = reaper_of(&table, process).filter(|r| !Arc::ptr_eq(r, process));
    for c in &children {
        let mut f = c.family.lock();
        f.parent = reaper.as_ref().map_or_else(Weak::new, Arc::downgrade);
        f.exit_signal = crate::signal::Signal::CHLD.number() as u8;
    }
    if let Some(r) = &reaper {
        r.family.lock().children.extend(children.iter().cloned());
    }
    (reaper, children)
}

/// Whose child a new process is: the caller's, or with CLONE_PARENT the caller's parent's.
pub(super) fn parent_for_clone(caller: &Arc<Process>, clone_parent: bool) -> Weak<Process> {
    if clone_parent { caller.family.lock().parent.clone() } else { Arc::downgrade(caller) }
}

/// Whether no member of the group, `ignoring` one that ends, has a parent in another group of its session: then nobody
/// is left who could continue a stopped member (POSIX, "orphaned process group").
pub fn is_orphaned_group(group: Pid, ignoring: Option<&Process>) -> bool {
    !all_processes().iter().any(|p| {
        p.group() == group
            && p.exited().is_none()
            && ignoring.is_none_or(|i| !core::ptr::eq(Arc::as_ptr(p), i))
            && p.parent().is_some_and(|parent| {
                parent.pid() != INIT && parent.group() != group && parent.session() == p.session()
            })
    })
}

/// Whether a member of the group is stopped.
pub(super) fn has_stopped_member(group: Pid) -> bool {
    processes_of_group(group).iter().any(|p| p.is_stopped())
}
