//! Advisory locks: record locks of processes and of open file descriptions (fcntl(2)), and flock(2).
//!
//! One table for the machine, by inode, so that file systems need not know of locks. A record lock belongs to a
//! descriptor table (POSIX: whoever closes any descriptor of the file loses all his locks on it) or to a description
//! (`F_OFD_SETLK`). Waiting processes are remembered with whom they wait for, so that a circle is refused (EDEADLK).

use super::fd_table::FdTable;
use super::file::OpenFile;
use super::inode::InodeId;
use crate::abi::general::{self, flock};
use crate::error::{Errno, Result};
use crate::mm::UserPtr;
use crate::sched::WaitQueue;
use crate::sync::{Rank, SpinLock};
use crate::task::Thread;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Whose a lock is: addresses of objects that live as long as the lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owner {
    Table(usize),
    Description(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct RecordLock {
    owner: Owner,
    exclusive: bool,
    /// First and last byte.
    start: u64,
    end: u64,
    pid: i32,
}

impl RecordLock {
    fn conflicts(&self, other: &RecordLock) -> bool {
        let overlap = self.start <= other.end && other.start <= self.end;
        overlap && self.owner != other.owner && (self.exclusive || other.exclusive)
    }
}

#[derive(Default)]
struct FileLocks {
    records: Vec<RecordLock>,
    /// Whole-file locks of flock(2): description and whether exclusive.
    whole: Vec<(usize, bool)>,
    released: Arc<WaitQueue>,
}

impl FileLocks {
    /// Whether nothing is lost with this: no lock, and nobody who waits for one. A waiter holds the queue from its first
    /// look on and is woken through no other, so the file's entry must last as long as there is one.
    fn is_idle(&self) -> bool {
        self.records.is_empty() && self.whole.is_empty() && Arc::strong_count(&self.released) == 1
    }

    /// Removes the owner's locks from a range, splitting what sticks out.
    fn cut(&mut self, owner: Owner, start: u64, end: u64) {
        let mut kept = Vec::with_capacity(self.records.len() + 1);
        for lock in self.records.drain(..) {
            if lock.owner != owner || lock.end < start || lock.start > end {
                kept.push(lock);
                continue;
            }
            if lock.start < start {
                kept.push(RecordLock { end: start - 1, ..lock });
            }
            if lock.end > end {
                kept.push(RecordLock { start: end + 1, ..lock });
            }
        }
        self.records = kept;
    }

    /// Adds a lock where it conflicts with none, in place of the owner's earlier ones; joins what touches.
    fn put(&mut self, mut new: RecordLock) {
        self.cut(new.owner, new.start, new.end);
        self.records.retain(|l| {
            let mine = l.owner == new.owner && l.exclusive == new.exclusive;
            let touches = l.end.checked_add(1) == Some(new.start) || new.end.checked_add(1) == Some(l.start);
            if mine && touches {
                new.start = new.start.min(l.start);
                new.end = new.end.max(l.end);
            }
            !(mine && touches)
        });
        self.records.push(new);
    }
}

#[derive(Default)]
struct Locks {
    files: BTreeMap<InodeId, FileLocks>,
    /// Who waits for whom.
    waiting: Vec<(Owner, Owner)>,
}

impl Locks {
    /// Whether `waiter`, once it waits for `holder`, waits for itself.
    fn would_deadlock(&self, waiter: Owner, holder: Owner) -> bool {
        let mut at = holder;
        // Each step follows an edge of a finite list; a circle that does not lead to the waiter ends the walk.
        for _ in 0..=self.waiting.len() {
            match self.waiting.iter().find(|(w, _)| *w == at) {
                Some((_, next)) if *next == waiter => return true,
                Some((_, next)) => at = *next,
                None => return false,
            }
        }
        false
    }
}

static LOCKS: SpinLock<Locks> = SpinLock::new(Rank::FileLocks, Locks { files: BTreeMap::new(), waiting: Vec::new() });
/// How many files have locks, so that closing a file without any is free.
static LOCKED_FILES: AtomicUsize = AtomicUsize::new(0);

/// Changes the locks of one file and wakes waiters afterwards.
fn with_file<R>(id: InodeId, change: impl FnOnce(&mut FileLocks) -> R) -> R {
    let mut locks = LOCKS.lock();
    let file = locks.files.entry(id).or_default();
    let result = change(file);
    let waiters = (!file.is_idle()).then(|| file.released.clone());
    forget_if_idle(&mut locks, id);
    drop(locks);
    if let Some(queue) = waiters {
        queue.wake(crate::fs::poll::PollEvents::all());
    }
    result
}

/// Drops a file's entry that holds nothing, and counts anew.
fn forget_if_idle(locks: &mut Locks, id: InodeId) {
    if locks.files.get(&id).is_some_and(FileLocks::is_idle) {
        locks.files.remove(&id);
    }
    LOCKED_FILES.store(locks.files.len(), Ordering::Relaxed);
}

fn owner(file: &OpenFile, table: &Arc<FdTable>, ofd: bool) -> Owner {
    if ofd { description(file) } else { Owner::Table(Arc::as_ptr(table) as usize) }
}

fn description(file: &OpenFile) -> Owner {
    Owner::Description(core::ptr::from_ref(file) as usize)
}

fn inode_of(file: &OpenFile) -> Result<InodeId> {
    file.inode().map(|i| i.id()).ok_or_else(|| Errno::EBADF.because("an anonymous file has no locks"))
}

/// First and last byte of what a `struct flock` names.
fn range(file: &OpenFile, l: &flock) -> Result<(u64, u64)> {
    let origin: i64 = match l.l_whence {
        0 => 0,
        1 => *file.offset() as i64,
        2 => file.metadata()?.size as i64,
        _ => return Err(Errno::EINVAL.because("unknown l_whence")),
    };
    let start = origin.checked_add(l.l_start).ok_or(Errno::EOVERFLOW)?;
    let (first, last) = match l.l_len {
        0 => (start, i64::MAX),
        n if n > 0 => (start, start.checked_add(n - 1).ok_or(Errno::EOVERFLOW)?),
        n => (start.checked_add(n).ok_or(Errno::EINVAL)?, start - 1),
    };
    match (u64::try_from(first), u64::try_from(last)) {
        (Ok(first), Ok(last)) => Ok((first, last)),
        _ => Err(Errno::EINVAL.because("the range begins before the file")),
    }
}

/// F_GETLK and F_OFD_GETLK: the first lock that stands in the way.
pub fn get(t: &Thread, file: &OpenFile, table: &Arc<FdTable>, arg: UserPtr<flock>, ofd: bool) -> Result<usize> {
    let mut l = arg.read()?;
    let exclusive = match l.l_type as u32 {
        general::F_RDLCK => false,
        general::F_WRLCK => true,
        _ => return Err(Errno::EINVAL.because("unknown l_type")),
    };
    let (start, end) = range(file, &l)?;
    let want = RecordLock { owner: owner(file, table, ofd), exclusive, start, end, pid: t.process().pid().0 };
    let id = inode_of(file)?;
    let held = {
        let locks = LOCKS.lock();
        locks.files.get(&id).and_then(|f| f.records.iter().find(|x| x.conflicts(&want)).copied())
    };
    match held {
        None => l.l_type = general::F_UNLCK as i16,
        Some(h) => {
            l.l_type = if h.exclusive { general::F_WRLCK } else { general::F_RDLCK } as i16;
            l.l_whence = 0;
            l.l_start = h.start as i64;
            l.l_len = if h.end == i64::MAX as u64 { 0 } else { (h.end - h.start + 1) as i64 };
            l.l_pid = if matches!(h.owner, Owner::Description(_)) { -1 } else { h.pid };
        }
    }
    arg.write(l)?;
    Ok(0)
}

/// F_SETLK, F_SETLKW and their OFD relatives.
pub fn set(
    t: &Thread,
    file: &Arc<OpenFile>,
    table: &Arc<FdTable>,
    arg: UserPtr<flock>,
    ofd: bool,
    wait: bool,
) -> Result<usize> {
    let l = arg.read()?;
    if ofd && l.l_pid != 0 {
        return Err(Errno::EINVAL.because("l_pid must be 0 for OFD locks"));
    }
    let id = inode_of(file)?;
    let (start, end) = range(file, &l)?;
    let owner = owner(file, table, ofd);
    let exclusive = match l.l_type as u32 {
        general::F_UNLCK => {
            with_file(id, |f| f.cut(owner, start, end));
            return Ok(0);
        }
        general::F_RDLCK if file.flags().readable() => false,
        general::F_WRLCK if file.flags().writable() => true,
        general::F_RDLCK | general::F_WRLCK => return Err(Errno::EBADF.because("not open for that kind of lock")),
        _ => return Err(Errno::EINVAL.because("unknown l_type")),
    };
    let new = RecordLock { owner, exclusive, start, end, pid: t.process().pid().0 };
    acquire(t, id, owner, wait, |f| match f.records.iter().find(|x| x.conflicts(&new)) {
        Some(held) => Err(held.owner),
        None => {
            f.put(new);
            Ok(())
        }
    })
}

/// flock(2).
pub fn flock(t: &Thread, file: &Arc<OpenFile>, operation: u32) -> Result<usize> {
    let id = inode_of(file)?;
    let owner = description(file);
    let me = core::ptr::from_ref::<OpenFile>(file) as usize;
    let exclusive = match operation & !general::LOCK_NB {
        general::LOCK_SH => false,
        general::LOCK_EX => true,
        general::LOCK_UN => {
            with_file(id, |f| f.whole.retain(|(d, _)| *d != me));
            return Ok(0);
        }
        _ => return Err(Errno::EINVAL.because("unknown flock operation")),
    };
    // A conversion gives the old lock up first (flock(2)).
    with_file(id, |f| f.whole.retain(|(d, e)| *d != me || *e == exclusive));
    acquire(t, id, owner, operation & general::LOCK_NB == 0, |f| {
        if f.whole.iter().any(|(d, _)| *d == me) {
            return Ok(());
        }
        match f.whole.iter().find(|(_, e)| exclusive || *e) {
            Some((d, _)) => Err(Owner::Description(*d)),
            None => {
                f.whole.push((me, exclusive));
                Ok(())
            }
        }
    })
}

/// Tries until `take` succeeds; it names the owner that stands in the way.
fn acquire(
    t: &Thread,
    id: InodeId,
    owner: Owner,
    wait: bool,
    mut take: impl FnMut(&mut FileLocks) -> core::result::Result<(), Owner>,
) -> Result<usize> {
    let mut attempt = || -> core::result::Result<(), Result<Arc<WaitQueue>>> {
        let mut locks = LOCKS.lock();
        let file = locks.files.entry(id).or_default();
        let queue = file.released.clone();
        let outcome = take(file);
        locks.waiting.retain(|(w, _)| *w != owner);
        LOCKED_FILES.store(locks.files.len(), Ordering::Relaxed);
        match outcome {
            Ok(()) => Ok(()),
            Err(_) if !wait => Err(Err(Errno::EAGAIN.into())),
            Err(holder) => {
                if matches!(owner, Owner::Table(_)) && locks.would_deadlock(owner, holder) {
                    return Err(Err(Errno::EDEADLK.into()));
                }
                locks.waiting.push((owner, holder));
                Err(Ok(queue))
            }
        }
    };
    let queue = match attempt() {
        Ok(()) => return Ok(0),
        Err(queue) => queue?,
    };
    let end = queue.wait(&t.arc(), None, || match attempt() {
        Ok(()) => Some(Ok(0)),
        Err(Err(e)) => Some(Err(e)),
        Err(Ok(_)) => None,
    });
    drop(queue);
    let mut locks = LOCKS.lock();
    locks.waiting.retain(|(w, _)| *w != owner);
    forget_if_idle(&mut locks, id);
    drop(locks);
    end?
}

/// A descriptor of `table` was closed: the process's record locks on that file go.
pub fn descriptor_closed(file: &OpenFile, table: &FdTable) {
    if LOCKED_FILES.load(Ordering::Relaxed) == 0 {
        return;
    }
    if let Some(inode) = file.inode() {
        let owner = Owner::Table(core::ptr::from_ref(table) as usize);
        let id = inode.id();
        let has_any = LOCKS.lock().files.get(&id).is_some_and(|f| f.records.iter().any(|l| l.owner == owner));
        if has_any {
            with_file(id, |f| f.records.retain(|l| l.owner != owner));
        }
    }
}

/// The last reference to a description goes: its locks go.
pub(super) fn description_dropped(file: &OpenFile) {
    if LOCKED_FILES.load(Ordering::Relaxed) == 0 {
        return;
    }
    if let Some(inode) = file.inode() {
        let (owner, me) = (description(file), core::ptr::from_ref(file) as usize);
        with_file(inode.id(), |f| {
            f.records.retain(|l| l.owner != owner);
            f.whole.retain(|(d, _)| *d != me);
        });
    }
}

/// A descriptor table goes: what record locks it still has go.
pub(super) fn table_dropped(table: &FdTable) {
    if LOCKED_FILES.load(Ordering::Relaxed) == 0 {
        return;
    }
    let owner = Owner::Table(core::ptr::from_ref(table) as usize);
    let held: Vec<InodeId> = {
        let locks = LOCKS.lock();
        let has = |f: &FileLocks| f.records.iter().any(|l| l.owner == owner);
        locks.files.iter().filter(|(_, f)| has(f)).map(|(id, _)| *id).collect()
    };
    for id in held {
        with_file(id, |f| f.records.retain(|l| l.owner != owner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(owner: usize, exclusive: bool, start: u64, end: u64) -> RecordLock {
        RecordLock { owner: Owner::Table(owner), exclusive, start, end, pid: 1 }
    }

    #[test]
    fn unlocking_the_middle_splits_and_touching_ranges_join() {
        let mut f = FileLocks::default();
        f.put(lock(1, true, 0, 99));
        f.cut(Owner::Table(1), 40, 59);
        assert_eq!(f.records, [lock(1, true, 0, 39), lock(1, true, 60, 99)]);
        f.put(lock(1, true, 40, 59));
        assert_eq!(f.records, [lock(1, true, 0, 99)]);
        // Another kind in the middle does not join.
        f.put(lock(1, false, 10, 19));
        assert_eq!(f.records.len(), 3);
    }

    #[test]
    fn readers_share_and_writers_do_not() {
        assert!(!lock(1, false, 0, 9).conflicts(&lock(2, false, 5, 9)));
        assert!(lock(1, false, 0, 9).conflicts(&lock(2, true, 9, 20)));
        assert!(!lock(1, true, 0, 9).conflicts(&lock(2, true, 10, 20)));
        assert!(!lock(1, true, 0, 9).conflicts(&lock(1, true, 0, 9)));
    }

    #[test]
    fn a_circle_of_waiters_is_seen() {
        let o = Owner::Table;
        let locks = Locks { waiting: Vec::from([(o(1), o(2)), (o(2), o(3))]), ..Locks::default() };
        assert!(locks.would_deadlock(o(3), o(1)));
        assert!(!locks.would_deadlock(o(4), o(1)));
        let unrelated = Locks { waiting: Vec::from([(o(1), o(2)), (o(2), o(1))]), ..Locks::default() };
        assert!(!unrelated.would_deadlock(o(3), o(1)));
    }
}
