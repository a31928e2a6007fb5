//! Semaphore sets (semget(2), semop(2), semctl(2)).
//!
//! A semop(2) is an array of operations that all happen or none. One that cannot happen now waits in its set's list, in
//! the order of arrival; whoever changes a value tries the waiting ones again, those that wait for zeros first, and does
//! them on their threads' behalf. A set also keeps, by process, what SEM_UNDO is to give back at the process's end
//! ([`UndoOwner`]): threads that were made with CLONE_SYSVSEM share one.

use super::{NOWAIT, Object, Permissions, READ, Registry, WRITE, now};
use crate::error::{Errno, Result};
use crate::sched::{self, WaitEnd};
use crate::sync::{Rank, SpinLock};
use crate::task::{Credentials, Gid, Pid, Thread, Uid};
use crate::time::Instant;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

/// The largest value (`SEMVMX`), and the largest adjustment at exit (`SEMAEM`).
pub const MAX_VALUE: i32 = 32767;
/// `SEM_UNDO`.
const UNDO: i16 = 0x1000;

/// Most semaphores in a set, in all sets, most operations in a call, most sets (`/proc/sys/kernel/sem`).
pub static LIMITS: [AtomicU64; 4] =
    [AtomicU64::new(32000), AtomicU64::new(1_024_000_000), AtomicU64::new(500), AtomicU64::new(32000)];

/// The limits as numbers: SEMMSL, SEMMNS, SEMOPM, SEMMNI.
pub fn limits() -> [u64; 4] {
    LIMITS.each_ref().map(|l| l.load(Ordering::Relaxed))
}

/// One operation of semop(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Which semaphore of the set.
    pub number: u16,
    /// What is added; 0 waits for zero.
    pub change: i16,
    /// IPC_NOWAIT, SEM_UNDO.
    pub flags: i16,
}

#[derive(Clone, Copy, Default)]
struct Semaphore {
    value: i32,
    /// Who changed it last.
    pid: i32,
}

/// A semop(2) that waits.
struct Pending {
    thread: Arc<Thread>,
    pid: Pid,
    operations: Vec<Operation>,
    owner: Option<u64>,
    /// The operation that cannot happen.
    blocked_by: AtomicUsize,
    /// [`WAITING`], [`DONE`], or a negative errno.
    outcome: AtomicI32,
}

const WAITING: i32 = 1;
const DONE: i32 = 0;

impl Pending {
    fn alters(&self) -> bool {
        alters(&self.operations)
    }

    fn finish(&self, outcome: i32) {
        self.outcome.store(outcome, Ordering::SeqCst);
        sched::wake(&self.thread);
    }

    fn outcome(&self) -> Option<Result<()>> {
        match self.outcome.load(Ordering::SeqCst) {
            WAITING => None,
            DONE => Some(Ok(())),
            e => Some(Err(Errno::from_raw(-e).into())),
        }
    }
}

fn alters(operations: &[Operation]) -> bool {
    operations.iter().any(|o| o.change != 0)
}

struct Set {
    permissions: Permissions,
    semaphores: Vec<Semaphore>,
    /// Seconds of the wall clock; 0 for never.
    operated: i64,
    changed: i64,
    /// Adjustments at exit, by owner; one for each semaphore.
    undo: BTreeMap<u64, Vec<i32>>,
    pending: VecDeque<Arc<Pending>>,
}

impl Object for Set {
    fn permissions(&self) -> &Permissions {
        &self.permissions
    }
}

static SETS: SpinLock<Registry<Set>> = SpinLock::new(Rank::SysvIpc, Registry::new());

/// Whose adjustments at exit these are. When the last thread that shares it ends, they are made.
pub struct UndoOwner(u64);

impl UndoOwner {
    /// Somebody without adjustments yet.
    pub fn new() -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(UndoOwner(NEXT.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Drop for UndoOwner {
    fn drop(&mut self) {
        let pid = sched::current().map_or(0, |t| t.process().pid().0);
        for set in SETS.lock().iter_mut() {
            let Some(adjustments) = set.undo.remove(&self.0) else { continue };
            for (s, by) in set.semaphores.iter_mut().zip(adjustments).filter(|(_, by)| *by != 0) {
                *s = Semaphore { value: (s.value + by).clamp(0, MAX_VALUE), pid };
            }
            set.operated = now();
            set.retry_pending();
        }
    }
}

/// How an attempt at an array of operations ended.
#[derive(PartialEq, Eq, Debug)]
enum Attempt {
    Done,
    /// This one cannot happen now.
    Blocked(usize),
    /// A value or an adjustment would leave its range (ERANGE).
    OutOfRange,
}

impl Set {
    fn attempt(&mut self, operations: &[Operation], owner: Option<u64>, pid: Pid) -> Attempt {
        let before = |set: &Set, o: &Operation| set.semaphores[usize::from(o.number)].value;
        let mut old = Vec::with_capacity(operations.len());
        let mut end = Attempt::Done;
        for (i, o) in operations.iter().enumerate() {
            let value = before(self, o);
            let new = value + i32::from(o.change);
            let adjusted = match owner.filter(|_| o.flags & UNDO != 0) {
                Some(owner) => {
                    let known = self.undo.get(&owner).map_or(0, |a| a[usize::from(o.number)]);
                    // Earlier operations of this array count, too.
                    let so_far: i32 = operations[..i]
                        .iter()
                        .filter(|p| p.number == o.number && p.flags & UNDO != 0)
                        .map(|p| i32::from(p.change))
                        .sum();
                    known - so_far - i32::from(o.change)
                }
                None => 0,
            };
            if (o.change == 0 && value != 0) || new < 0 {
                end = Attempt::Blocked(i);
            } else if new > MAX_VALUE || !(-MAX_VALUE - 1..=MAX_VALUE).contains(&adjusted) {
                end = Attempt::OutOfRange;
            }
            if end != Attempt::Done {
                break;
            }
            old.push(value);
            self.semaphores[usize::from(o.number)].value = new;
        }
        if end != Attempt::Done {
            for (o, value) in operations.iter().zip(old).rev() {
                self.semaphores[usize::from(o.number)].value = value;
            }
            return end;
        }
        for o in operations {
            self.semaphores[usize::from(o.number)].pid = pid.0;
            if let Some(owner) = owner.filter(|_| o.flags & UNDO != 0 && o.change != 0) {
                let n = self.semaphores.len();
                let adjustments = self.undo.entry(owner).or_insert_with(|| alloc::vec![0; n]);
                adjustments[usize::from(o.number)] -= i32::from(o.change);
            }
        }
        self.operated = now();
        Attempt::Done
    }

    /// Does what waits and can happen now.
    fn retry_pending(&mut self) {
        loop {
            let mut order: Vec<Arc<Pending>> = self.pending.iter().filter(|p| !p.alters()).cloned().collect();
            order.extend(self.pending.iter().filter(|p| p.alters()).cloned());
            let mut altered = false;
            for p in order {
                let outcome = match self.attempt(&p.operations, p.owner, p.pid) {
                    Attempt::Blocked(i) => {
                        p.blocked_by.store(i, Ordering::Relaxed);
                        continue;
                    }
                    Attempt::Done => DONE,
                    Attempt::OutOfRange => -Errno::ERANGE.raw(),
                };
                self.pending.retain(|q| !Arc::ptr_eq(q, &p));
                p.finish(outcome);
                if p.alters() && outcome == DONE {
                    altered = true;
                    break;
                }
            }
            if !altered {
                return;
            }
        }
    }

    /// Waiters that the semaphore keeps from going on: for it to grow, and to become zero.
    fn waiters(&self, number: usize) -> (usize, usize) {
        let blocking = |p: &&Arc<Pending>, zero: bool| {
            let o = p.operations[p.blocked_by.load(Ordering::Relaxed)];
            usize::from(o.number) == number && (o.change == 0) == zero
        };
        let count = |zero: bool| self.pending.iter().filter(|p| blocking(p, zero)).count();
        (count(false), count(true))
    }

    fn forget_undo(&mut self, number: Option<usize>) {
        for adjustments in self.undo.values_mut() {
            match number {
                Some(n) => adjustments[n] = 0,
                None => adjustments.fill(0),
            }
        }
    }
}

/// What semctl(2) tells of a set (`struct semid_ds`).
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Status {
    pub id: i32,
    pub permissions: Permissions,
    /// Seconds of the wall clock; 0 for never.
    pub operated: i64,
    pub changed: i64,
    pub semaphores: usize,
}

impl Set {
    fn status(&self, id: i32) -> Status {
        Status {
            id,
            permissions: self.permissions,
            operated: self.operated,
            changed: self.changed,
            semaphores: self.semaphores.len(),
        }
    }
}

/// semget(2)
pub fn get(key: i32, count: i32, flags: i32, who: &Credentials) -> Result<i32> {
    let [per_set, in_all, _, sets_limit] = limits();
    if count < 0 || count as u64 > per_set {
        return Err(Errno::EINVAL.because("as many semaphores as no set may have"));
    }
    let mut sets = SETS.lock();
    let total: usize = sets.iter().map(|(_, s)| s.semaphores.len()).sum();
    let count = count as usize;
    let fits = |s: &Set| {
        if count <= s.semaphores.len() { Ok(()) } else { Err(Errno::EINVAL.because("the set has fewer semaphores")) }
    };
    let make = |_| {
        if count == 0 {
            return Err(Errno::EINVAL.because("a new set has semaphores"));
        }
        if (total + count) as u64 > in_all {
            return Err(Errno::ENOSPC.because("SEMMNS"));
        }
        Ok(Set {
            permissions: Permissions::new(key, flags, who),
            semaphores: alloc::vec![Semaphore::default(); count],
            operated: 0,
            changed: now(),
            undo: BTreeMap::new(),
            pending: VecDeque::new(),
        })
    };
    sets.get_or_add(key, flags, who, sets_limit, fits, make)
}

/// semop(2), semtimedop(2). EAGAIN when it would wait and may not, or when the deadline passes.
pub fn operate(t: &Thread, id: i32, operations: Vec<Operation>, deadline: Option<Instant>) -> Result<()> {
    let pid = t.process().pid();
    let who = t.credentials();
    let needs_undo = operations.iter().any(|o| o.flags & UNDO != 0 && o.change != 0);
    let owner = needs_undo.then(|| t.undo_owner().0);
    let pending = {
        let mut sets = SETS.lock();
        let set = sets.get(id)?;
        if operations.iter().any(|o| usize::from(o.number) >= set.semaphores.len()) {
            return Err(Errno::EFBIG.because("the set has fewer semaphores"));
        }
        set.permissions.check(&who, if alters(&operations) { WRITE } else { READ })?;
        let blocked_by = match set.attempt(&operations, owner, pid) {
            Attempt::Done => {
                if alters(&operations) {
                    set.retry_pending();
                }
                return Ok(());
            }
            Attempt::OutOfRange => return Err(Errno::ERANGE.because("a value or adjustment above SEMVMX")),
            Attempt::Blocked(i) => i,
        };
        if i32::from(operations[blocked_by].flags) & NOWAIT != 0 {
            return Err(Errno::EAGAIN.because("IPC_NOWAIT"));
        }
        let pending = Arc::new(Pending {
            thread: t.arc(),
            pid,
            operations,
            owner,
            blocked_by: AtomicUsize::new(blocked_by),
            outcome: AtomicI32::new(WAITING),
        });
        set.pending.push_back(pending.clone());
        pending
    };
    let end = sched::block_on(t, deadline, || pending.outcome());
    if let Ok(set) = SETS.lock().get(id) {
        set.pending.retain(|p| !Arc::ptr_eq(p, &pending));
    }
    match (pending.outcome(), end) {
        (Some(outcome), _) | (None, Ok(outcome)) => outcome,
        (None, Err(WaitEnd::TimedOut)) => Err(Errno::EAGAIN.because("the timeout has passed")),
        (None, Err(WaitEnd::Interrupted)) => Err(Errno::EINTR.into()),
    }
}

/// IPC_STAT.
pub fn status(id: i32, who: &Credentials) -> Result<Status> {
    let mut sets = SETS.lock();
    let set = sets.get(id)?;
    set.permissions.check(who, READ)?;
    Ok(set.status(id))
}

/// SEM_STAT, and SEM_STAT_ANY if `who` is not given: by index.
pub fn status_at(index: i32, who: Option<&Credentials>) -> Result<Status> {
    let mut sets = SETS.lock();
    let id = sets.id_at(index)?;
    let set = sets.get(id)?;
    if let Some(who) = who {
        set.permissions.check(who, READ)?;
    }
    Ok(set.status(id))
}

/// All sets, for `/proc/sysvipc/sem`.
pub fn list() -> Vec<Status> {
    SETS.lock().iter().map(|(id, s)| s.status(id)).collect()
}

/// Sets, semaphores in them, and the highest index (SEM_INFO).
pub fn usage() -> (usize, usize, u32) {
    let sets = SETS.lock();
    (sets.len(), sets.iter().map(|(_, s)| s.semaphores.len()).sum(), sets.highest_index())
}

/// What semctl(2) tells of one semaphore.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// GETVAL.
    Value,
    /// GETPID.
    LastPid,
    /// GETNCNT.
    WaitingForMore,
    /// GETZCNT.
    WaitingForZero,
}

/// GETVAL, GETPID, GETNCNT, GETZCNT.
pub fn ask(id: i32, number: i32, question: Question, who: &Credentials) -> Result<usize> {
    let mut sets = SETS.lock();
    let set = sets.get(id)?;
    set.permissions.check(who, READ)?;
    let number = number_in(set, number)?;
    let s = set.semaphores[number];
    Ok(match question {
        Question::Value => s.value as usize,
        Question::LastPid => s.pid as usize,
        Question::WaitingForMore => set.waiters(number).0,
        Question::WaitingForZero => set.waiters(number).1,
    })
}

fn number_in(set: &Set, number: i32) -> Result<usize> {
    let inside = usize::try_from(number).ok().filter(|&n| n < set.semaphores.len());
    inside.ok_or(Errno::EINVAL.because("the set has fewer semaphores"))
}

/// GETALL.
pub fn values(id: i32, who: &Credentials) -> Result<Vec<u16>> {
    let mut sets = SETS.lock();
    let set = sets.get(id)?;
    set.permissions.check(who, READ)?;
    Ok(set.semaphores.iter().map(|s| s.value as u16).collect())
}

/// How many semaphores a set has that `who` may alter (SETALL).
pub fn count_to_set(id: i32, who: &Credentials) -> Result<usize> {
    let mut sets = SETS.lock();
    let set = sets.get(id)?;
    set.permissions.check(who, WRITE)?;
    Ok(set.semaphores.len())
}

/// SETVAL.
pub fn set_value(id: i32, number: i32, value: i32, who: &Credentials, pid: Pid) -> Result<()> {
    if !(0..=MAX_VALUE).contains(&value) {
        return Err(Errno::ERANGE.because("a value above SEMVMX"));
    }
    let mut sets = SETS.lock();
    let set = sets.get(id)?;
    let number = number_in(set, number)?;
    set.permissions.check(who, WRITE)?;
    set.forget_undo(Some(number));
    set.semaphores[number] = Semaphore { value, pid: pid.0 };
    set.changed = now();
    set.retry_pending();
    Ok(())
}

/// SETALL; a set's number of semaphores never changes.
pub fn set_values(id: i32, values: &[u16], who: &Credentials, pid: Pid) -> Result<()> {
    if values.iter().any(|&v| i32::from(v) > MAX_VALUE) {
        return Err(Errno::ERANGE.because("a value above SEMVMX"));
    }
    let mut sets = SETS.lock();
    let set = sets.get(id)?;
    set.permissions.check(who, WRITE)?;
    for (s, &value) in set.semaphores.iter_mut().zip(values) {
        *s = Semaphore { value: i32::from(value), pid: pid.0 };
    }
    set.forget_undo(None);
    set.changed = now();
    set.retry_pending();
    Ok(())
}

/// IPC_RMID: whoever waits is told (EIDRM).
pub fn remove(id: i32, who: &Credentials) -> Result<()> {
    let removed = {
        let mut sets = SETS.lock();
        sets.get(id)?.permissions.check_owner(who)?;
        sets.remove(id)
    };
    for p in removed.iter().flat_map(|set| &set.pending) {
        p.finish(-Errno::EIDRM.raw());
    }
    Ok(())
}

/// IPC_SET.
pub fn change(id: i32, uid: Uid, gid: Gid, mode: u32, who: &Credentials) -> Result<()> {
    let mut sets = SETS.lock();
    let set = sets.get(id)?;
    set.permissions.check_owner(who)?;
    set.permissions.change(uid, gid, mode)?;
    set.changed = now();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[i32]) -> Set {
        Set {
            permissions: Permissions::new(1, 0o600, &Credentials::root()),
            semaphores: values.iter().map(|&value| Semaphore { value, pid: 0 }).collect(),
            operated: 0,
            changed: 0,
            undo: BTreeMap::new(),
            pending: VecDeque::new(),
        }
    }

    fn op(number: u16, change: i16) -> Operation {
        Operation { number, change, flags: UNDO }
    }

    fn seen(s: &Set) -> Vec<i32> {
        s.semaphores.iter().map(|s| s.value).collect()
    }

    #[test]
    fn all_operations_happen_or_none() {
        let mut s = set(&[2, 0]);
        assert_eq!(s.attempt(&[op(0, -1), op(1, -1)], None, Pid(7)), Attempt::Blocked(1));
        assert_eq!(seen(&s), [2, 0]);
        assert_eq!(s.attempt(&[op(0, -1), op(0, -1), op(0, 0), op(1, 5)], None, Pid(7)), Attempt::Done);
        assert_eq!(seen(&s), [0, 5]);
        assert_eq!(s.attempt(&[op(1, 1), op(0, 32767), op(0, 1)], None, Pid(7)), Attempt::OutOfRange);
        assert_eq!(seen(&s), [0, 5]);
    }

    #[test]
    fn adjustments_add_up_and_stay_in_range() {
        let mut s = set(&[5]);
        assert_eq!(s.attempt(&[op(0, -2), op(0, 1)], Some(3), Pid(7)), Attempt::Done);
        assert_eq!(s.undo[&3], [1]);
        assert_eq!(s.attempt(&[op(0, 30000)], Some(3), Pid(7)), Attempt::Done);
        assert_eq!(s.attempt(&[Operation { flags: 0, ..op(0, -30000) }], Some(3), Pid(7)), Attempt::Done);
        assert_eq!(s.attempt(&[op(0, 30000)], Some(3), Pid(7)), Attempt::OutOfRange);
        assert_eq!(seen(&s), [4]);
        s.forget_undo(Some(0));
        assert_eq!(s.undo[&3], [0]);
    }
}
