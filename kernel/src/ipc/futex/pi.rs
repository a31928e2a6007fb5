//! Futexes whose word names their owner (FUTEX_LOCK_PI and its relatives, futex(2)).
//!
//! The word holds the owner's thread number, FUTEX_WAITERS while somebody waits in the kernel, and FUTEX_OWNER_DIED. Who
//! waits stands in the futex's bucket as [`Kind::Lock`]; an unlock hands the lock to the one that came first by writing
//! its number. Each waiting thread knows whom it waits for (`Thread::pi_blocked_by`), so that a circle is found before it
//! closes (EDEADLK).
//!
//! An owner that ends without having told of the lock in its robust list is noticed by that, too: the first waiter gets
//! the lock and marks it FUTEX_OWNER_DIED itself, because it alone surely sees the word.
//!
//! A condition variable's waiters are moved to its mutex without being woken: FUTEX_WAIT_REQUEUE_PI waits as
//! [`Kind::ToBeRequeued`], FUTEX_CMP_REQUEUE_PI turns that into [`Kind::Lock`], or hands the lock over if it is free.
//!
//! Priorities are not inherited: threads have none that the scheduler acts upon.

use super::{ANY, Entry, Expectation, Key, Kind, TABLE, Waiter, forget, with_two};
use crate::abi::general::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};
use crate::error::{Errno, Result};
use crate::sched::{self, WaitEnd};
use crate::task::{self, Thread, Tid};
use crate::time::Instant;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Longest chain of owners that is looked through (`max_lock_depth` of Linux).
const CHAIN_LIMIT: usize = 1024;

/// Threads that wait for PI futexes: while there is none, nobody's end needs a look at the buckets.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// What is known of a word's owner before its bucket is locked: threads are looked up outside, for the process table's
/// lock comes first.
struct Owner {
    tid: u32,
    exists: bool,
    /// Whether it waits, perhaps through others, for a thread of this number.
    waits_for: bool,
}

impl Owner {
    fn look(word: u32, tid: u32) -> Self {
        let owner = word & FUTEX_TID_MASK;
        let mut at = task::find_thread(Tid(owner as i32));
        let exists = at.is_some();
        let mut waits_for = false;
        for _ in 0..CHAIN_LIMIT {
            let Some(t) = at else { break };
            let next = t.pi_blocked_by.load(Ordering::Relaxed);
            if next as u32 == tid {
                waits_for = true;
            }
            if next == 0 || waits_for {
                break;
            }
            at = task::find_thread(Tid(next));
        }
        Owner { tid: owner, exists, waits_for }
    }
}

/// What an attempt to lock came to.
enum Attempt {
    /// The caller (or whom it is for) owns the lock now.
    Taken,
    /// Somebody else owns it; FUTEX_WAITERS is set.
    Owned,
}

/// Takes the lock for thread `tid` if it is free, else readies it for a waiter. `None` if the word's owner is not the
/// one that was looked up any more.
fn attempt(bucket: &[Entry], key: Key, owner: &Owner, tid: u32, more_waiters: bool) -> Result<Option<Attempt>> {
    let value = key.word().read()?;
    if value & FUTEX_TID_MASK != owner.tid {
        return Ok(None);
    }
    if owner.tid == tid {
        return Err(Errno::EDEADLK.because("the lock is the thread's own already"));
    }
    let here = || bucket.iter().filter(|e| e.key == key);
    if here().any(|e| !matches!(e.kind, Kind::Lock)) {
        return Err(Errno::EINVAL.because("somebody waits there who does not wait for a lock"));
    }
    if owner.tid == 0 && here().next().is_none() {
        let waiters = if more_waiters { FUTEX_WAITERS } else { 0 };
        key.word().write(value & FUTEX_OWNER_DIED | waiters | tid)?;
        return Ok(Some(Attempt::Taken));
    }
    if owner.tid != 0 && !owner.exists {
        return Err(Errno::ESRCH.because("the lock's owner does not exist"));
    }
    if owner.waits_for {
        return Err(Errno::EDEADLK.because("the owner waits for a lock of the thread's"));
    }
    Ok(Some(Attempt::Owned))
}

/// Queues a waiter for the lock: `seen` is the lock as the running thread has it, `key` as the waiter has it.
fn begin_wait(bucket: &mut Vec<Entry>, seen: Key, key: Key, owner: u32, waiter: &Arc<Waiter>) -> Result<()> {
    seen.word().write(seen.word().read()? | FUTEX_WAITERS)?;
    waiter.thread.pi_blocked_by.store(owner as i32, Ordering::Relaxed);
    bucket.push(Entry { key, bitset: ANY, index: 0, kind: Kind::Lock, waiter: waiter.clone() });
    Ok(())
}

/// FUTEX_LOCK_PI and FUTEX_TRYLOCK_PI (`try_only`). EDEADLK if the caller owns it or a circle would close, ESRCH if the
/// owner does not exist, EAGAIN if it is taken and only tried for.
pub fn lock_pi(t: &Thread, key: Key, deadline: Option<Instant>, try_only: bool) -> Result<()> {
    let tid = t.tid().0 as u32;
    let waiter = Waiter::new(t);
    loop {
        let owner = Owner::look(key.word().read()?, tid);
        let mut bucket = TABLE[key.bucket()].lock();
        match attempt(&bucket, key, &owner, tid, false)? {
            None => continue,
            Some(Attempt::Taken) => return Ok(()),
            Some(Attempt::Owned) if try_only => return Err(Errno::EAGAIN.because("the lock is taken")),
            Some(Attempt::Owned) => begin_wait(&mut bucket, key, key, owner.tid, &waiter)?,
        }
        break;
    }
    match wait_for_lock(t, &waiter, key, &[key], deadline) {
        Err(WaitEnd::TimedOut) => Err(Errno::ETIMEDOUT.into()),
        Err(WaitEnd::Interrupted) => Err(Errno::ERESTARTNOINTR.into()),
        Ok(owned) => owned,
    }
}

/// Sleeps until the lock is the waiter's. `keys` are the futexes that its entry may stand at, of which `lock` is handed
/// over.
fn wait_for_lock(
    t: &Thread,
    waiter: &Arc<Waiter>,
    lock: Key,
    keys: &[Key],
    deadline: Option<Instant>,
) -> Result<Result<()>, WaitEnd> {
    WAITING.fetch_add(1, Ordering::Relaxed);
    let end = sched::block_on(t, deadline, || waiter.woken_by().map(|_| ()));
    if waiter.woken_by().is_none() {
        forget(waiter, &keys[..1]);
    }
    WAITING.fetch_sub(1, Ordering::Relaxed);
    t.pi_blocked_by.store(0, Ordering::Relaxed);
    if waiter.woken_by().is_none() {
        return end.map(Ok);
    }
    if waiter.owner_died.load(Ordering::SeqCst) {
        return Ok(lock.word().write(t.tid().0 as u32 | FUTEX_OWNER_DIED | FUTEX_WAITERS));
    }
    Ok(Ok(()))
}

/// Takes the first of the lock's waiters that has not given up out of the bucket and makes it the one that the others
/// wait for. Those who gave up are put into `gone`, to be dropped without the lock.
fn next_owner(bucket: &mut Vec<Entry>, key: Key, gone: &mut Vec<Entry>) -> Option<Entry> {
    loop {
        let at = bucket.iter().position(|e| e.key == key && matches!(e.kind, Kind::Lock))?;
        let candidate = bucket.remove(at);
        if !candidate.claim() {
            gone.push(candidate);
            continue;
        }
        let tid = candidate.waiter.thread.tid().0;
        candidate.waiter.thread.pi_blocked_by.store(0, Ordering::Relaxed);
        for e in bucket.iter().filter(|e| e.key == key && matches!(e.kind, Kind::Lock)) {
            e.waiter.thread.pi_blocked_by.store(tid, Ordering::Relaxed);
        }
        return Some(candidate);
    }
}

/// Hands a PI futex to the waiter that came first, or leaves it free; `flags` is kept in the word.
pub(super) fn hand_over(key: Key, flags: u32) -> Result<()> {
    let mut gone = Vec::new();
    let mut bucket = TABLE[key.bucket()].lock();
    let entry = next_owner(&mut bucket, key, &mut gone);
    let value = entry.as_ref().map_or(flags, |e| e.waiter.thread.tid().0 as u32 | FUTEX_WAITERS | flags);
    let written = key.word().write(value);
    if let Some(e) = &entry {
        sched::wake(&e.waiter.thread);
    }
    drop(bucket);
    drop((entry, gone));
    written
}

/// FUTEX_UNLOCK_PI. EPERM if the caller does not own the lock.
pub fn unlock_pi(t: &Thread, key: Key) -> Result<()> {
    let value = key.word().read()?;
    if value & FUTEX_TID_MASK != t.tid().0 as u32 {
        return Err(Errno::EPERM.because("the caller does not own the lock"));
    }
    if TABLE[key.bucket()].lock().iter().any(|e| e.key == key && !matches!(e.kind, Kind::Lock)) {
        return Err(Errno::EINVAL.because("somebody waits there who does not wait for a lock"));
    }
    hand_over(key, 0)
}

/// Gives what a thread that ends still owns, and others wait for, to the first of these.
pub fn release_owned(t: &Thread) {
    if WAITING.load(Ordering::Relaxed) == 0 {
        return;
    }
    let tid = t.tid().0;
    for bucket in &TABLE {
        let mut gone = Vec::new();
        let mut bucket = bucket.lock();
        let mine =
            |e: &Entry| matches!(e.kind, Kind::Lock) && e.waiter.thread.pi_blocked_by.load(Ordering::Relaxed) == tid;
        while let Some(key) = bucket.iter().find(|e| mine(e)).map(|e| e.key) {
            if let Some(heir) = next_owner(&mut bucket, key, &mut gone) {
                heir.waiter.owner_died.store(true, Ordering::SeqCst);
                sched::wake(&heir.waiter.thread);
                gone.push(heir);
            }
        }
        drop(bucket);
        drop(gone);
    }
}

/// FUTEX_WAIT_REQUEUE_PI: waits on `on` until the lock `lock` is the caller's. EAGAIN if the word does not hold its
/// value, or for a signal after the move to the lock; EINVAL if the two are one.
pub fn wait_requeue_pi(t: &Thread, on: Expectation, lock: Key, deadline: Option<Instant>) -> Result<()> {
    if on.key == lock {
        return Err(Errno::EINVAL.because("both futexes are one"));
    }
    let waiter = Waiter::new(t);
    {
        let mut bucket = TABLE[on.key.bucket()].lock();
        if on.key.word().read()? != on.value {
            return Err(Errno::EAGAIN.because("the futex does not hold the expected value"));
        }
        let kind = Kind::ToBeRequeued(lock);
        bucket.push(Entry { key: on.key, bitset: ANY, index: 0, kind, waiter: waiter.clone() });
    }
    let ended = wait_for_lock(t, &waiter, lock, &[on.key, lock], deadline);
    let moved = waiter.was_moved.load(Ordering::SeqCst);
    match ended {
        Ok(owned) => owned,
        Err(WaitEnd::TimedOut) => Err(Errno::ETIMEDOUT.into()),
        Err(WaitEnd::Interrupted) if moved => Err(Errno::EAGAIN.because("a signal came after the move to the lock")),
        Err(WaitEnd::Interrupted) => Err(Errno::ERESTARTNOINTR.into()),
    }
}

/// The first waiter of `from`, which is to be moved to `to`: its place, itself, and the lock as it sees it. EINVAL if it
/// waits for something else.
fn first_to_move(source: &[Entry], from: Key, to: Key) -> Result<Option<(usize, Arc<Waiter>, Key)>> {
    let Some((i, entry)) = source.iter().enumerate().find(|(_, e)| e.key == from) else { return Ok(None) };
    match entry.kind {
        Kind::ToBeRequeued(lock) if lock == to => Ok(Some((i, entry.waiter.clone(), lock))),
        _ => Err(Errno::EINVAL.because("a waiter that is not to be moved to this lock")),
    }
}

/// How a step of FUTEX_CMP_REQUEUE_PI went.
enum Step {
    /// A waiter was moved, or given the lock.
    Moved(Entry),
    /// There is none.
    NoWaiter,
    /// The first waiter or the lock's owner is not the one that was looked up.
    Changed,
}

/// FUTEX_CMP_REQUEUE_PI: gives the lock `to` to the first waiter of `from` if it is free, and moves it, and up to `moves`
/// more, to the lock otherwise. Returns how many it dealt with. EAGAIN if the word of `from` does not hold `expected`.
pub fn cmp_requeue_pi(from: Key, to: Key, moves: usize, expected: u32) -> Result<usize> {
    if from == to {
        return Err(Errno::EINVAL.because("both futexes are one"));
    }
    let mut done = 0;
    while done <= moves {
        // Who comes first decides whose number the owner is looked up for, which is done without the buckets' locks.
        let first = first_to_move(&TABLE[from.bucket()].lock(), from, to);
        let tid = first?.map_or(0, |(_, waiter, _)| waiter.thread.tid().0 as u32);
        let owner = Owner::look(to.word().read()?, tid);
        let step = with_two(from, to, |source, target| {
            if done == 0 && from.word().read()? != expected {
                return Err(Errno::EAGAIN.because("the futex does not hold the expected value"));
            }
            move_first(source, target, (from, to), &owner, tid, moves > done)
        });
        match step {
            Ok(Step::Moved(entry)) => {
                drop(entry);
                done += 1;
            }
            Ok(Step::Changed) => {}
            Ok(Step::NoWaiter) => break,
            // As Linux: what was done before counts.
            Err(_) if done > 0 => break,
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

fn move_first(
    source: &mut Vec<Entry>,
    target: Option<&mut Vec<Entry>>,
    (from, to): (Key, Key),
    owner: &Owner,
    tid: u32,
    more: bool,
) -> Result<Step> {
    let Some((i, waiter, lock)) = first_to_move(source, from, to)? else { return Ok(Step::NoWaiter) };
    if waiter.thread.tid().0 as u32 != tid {
        return Ok(Step::Changed);
    }
    let Some(attempt) = attempt(target.as_deref().unwrap_or(source), to, owner, tid, more)? else {
        return Ok(Step::Changed);
    };
    let entry = source.remove(i);
    match attempt {
        Attempt::Taken => {
            if entry.claim() {
                sched::wake(&entry.waiter.thread);
            }
        }
        Attempt::Owned => {
            waiter.was_moved.store(true, Ordering::SeqCst);
            begin_wait(target.unwrap_or(source), to, lock, owner.tid, &waiter)?;
        }
    }
    Ok(Step::Moved(entry))
}
