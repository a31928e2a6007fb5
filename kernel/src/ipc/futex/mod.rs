//! Futexes (futex(2)): sleeping on a word of guest memory.
//!
//! A waiter's entry stands in a hash bucket by its key: (address space, address) for private futexes and for shared ones
//! in private memory, (file or memory object, offset) for shared mappings. A wait reads the word and queues its entry under
//! the bucket's lock; a wake takes entries out under it. The kernel is not preemptible, so a read-modify-write of the word
//! is atomic against the guest while there is one vCPU; several need a compare-and-exchange in the copy routine.
//!
//! Futexes whose word names an owner (PI) are in `pi`, the lists of what a thread holds at its end in `robust`.

mod pi;
mod robust;

pub use pi::{cmp_requeue_pi, lock_pi, release_owned, unlock_pi, wait_requeue_pi};
pub use robust::exit_robust_list;

use crate::error::{Errno, Result};
use crate::mm::{Shared, UserPtr};
use crate::sched::{self, WaitEnd};
use crate::sync::{Rank, SpinLock};
use crate::task::Thread;
use crate::time::Instant;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// Any bit of a bitset (FUTEX_BITSET_MATCH_ANY).
pub const ANY: u32 = u32::MAX;
/// Buckets of the hash table.
const BUCKETS: usize = 256;
/// `Waiter::woken` before anybody woke it.
const ASLEEP: i32 = -1;

/// What a futex is known by, and where the caller has it.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    space: Space,
    /// In the space.
    offset: u64,
    /// Where the caller sees the word: not part of what it is known by.
    addr: usize,
}

/// What a futex's offset counts in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Space {
    /// The addresses of one address space; `shared` operations and private ones do not meet (futex(2)).
    Addresses { mm: usize, shared: bool },
    /// A file or memory object that is mapped.
    Object(usize),
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.space == other.space && self.offset == other.offset
    }
}

impl Key {
    /// The key of the word at `addr`. EINVAL if it is not aligned to 4 bytes, EFAULT if a shared one is not mapped.
    pub fn new(t: &Thread, addr: usize, private: bool) -> Result<Self> {
        if !addr.is_multiple_of(4) {
            return Err(Errno::EINVAL.because("a futex is aligned to 4 bytes"));
        }
        let mm = t.mm();
        let own = |shared| Space::Addresses { mm: Arc::as_ptr(&mm) as usize, shared };
        let (space, offset) = if private {
            (own(false), addr as u64)
        } else {
            match mm.shared_location(addr)? {
                (Shared::With(object), offset) => (Space::Object(object), offset),
                (Shared::Private, offset) => (own(true), offset),
            }
        };
        Ok(Key { space, offset, addr })
    }

    fn bucket(&self) -> usize {
        let space = match self.space {
            Space::Addresses { mm, .. } => mm,
            Space::Object(object) => object,
        } as u64;
        let mixed = (self.offset >> 2).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (space >> 4).wrapping_mul(0x85eb_ca6b);
        (mixed >> 32) as usize % BUCKETS
    }

    fn word(&self) -> UserPtr<u32> {
        UserPtr::new(self.addr)
    }
}

struct Waiter {
    thread: Arc<Thread>,
    /// Index of the futex that woke it (futex_waitv(2) has several), or [`ASLEEP`].
    woken: AtomicI32,
    /// Set by whoever hands a PI futex to it because the owner has died.
    owner_died: AtomicBool,
    /// Set when it was moved to a PI futex.
    was_moved: AtomicBool,
}

impl Waiter {
    fn new(t: &Thread) -> Arc<Self> {
        Arc::new(Waiter {
            thread: t.arc(),
            woken: AtomicI32::new(ASLEEP),
            owner_died: AtomicBool::new(false),
            was_moved: AtomicBool::new(false),
        })
    }

    /// The index of the futex that woke it.
    fn woken_by(&self) -> Option<usize> {
        usize::try_from(self.woken.load(Ordering::SeqCst)).ok()
    }
}

/// What a waiter waits for.
#[derive(Clone, Copy)]
enum Kind {
    /// To be woken.
    Plain,
    /// To be moved to this PI futex, or to be given it (FUTEX_WAIT_REQUEUE_PI).
    ToBeRequeued(Key),
    /// To be given the PI futex.
    Lock,
}

impl Kind {
    fn is_plain(self) -> bool {
        matches!(self, Kind::Plain)
    }
}

struct Entry {
    key: Key,
    bitset: u32,
    index: i32,
    kind: Kind,
    waiter: Arc<Waiter>,
}

type Bucket = SpinLock<Vec<Entry>>;

static TABLE: [Bucket; BUCKETS] = [const { SpinLock::new(Rank::Futex, Vec::new()) }; BUCKETS];

impl Entry {
    /// Marks the waiter as woken by this entry; false if another entry of it was faster.
    fn claim(&self) -> bool {
        self.waiter.woken.compare_exchange(ASLEEP, self.index, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

/// Takes up to `count` entries of `key` out of the bucket and wakes them. The entries are returned so that they are
/// dropped without the lock.
fn wake_in(bucket: &mut Vec<Entry>, key: Key, count: usize, bitset: u32) -> (usize, Vec<Entry>) {
    let mut removed = Vec::new();
    let mut woken = 0;
    let mut i = 0;
    while i < bucket.len() && woken < count {
        if bucket[i].key == key && bucket[i].bitset & bitset != 0 && bucket[i].kind.is_plain() {
            let entry = bucket.remove(i);
            if entry.claim() {
                sched::wake(&entry.waiter.thread);
                woken += 1;
            }
            removed.push(entry);
        } else {
            i += 1;
        }
    }
    (woken, removed)
}

/// Whether somebody waits for a lock there, which no plain wake-up gives.
fn has_lock_waiters(bucket: &[Entry], key: Key) -> bool {
    bucket.iter().any(|e| e.key == key && !e.kind.is_plain())
}

/// FUTEX_WAKE and FUTEX_WAKE_BITSET: wakes up to `count` waiters that share a bit; returns how many. EINVAL if somebody
/// waits there for a PI futex.
pub fn wake(key: Key, count: usize, bitset: u32) -> Result<usize> {
    let mut bucket = TABLE[key.bucket()].lock();
    if has_lock_waiters(&bucket, key) {
        return Err(Errno::EINVAL.because("waiters of a PI futex are not woken so"));
    }
    let (woken, removed) = wake_in(&mut bucket, key, count, bitset);
    drop(bucket);
    drop(removed);
    Ok(woken)
}

/// The wake-up of `set_tid_address(2)`: one waiter of the shared futex.
pub fn wake_after_exit(t: &Thread, addr: usize) -> Result<usize> {
    wake(Key::new(t, addr, false)?, 1, ANY)
}

/// Removes every entry of `waiter`. The bucket of `key` is looked at first, the others only if it was moved or has
/// several.
fn forget(waiter: &Arc<Waiter>, keys: &[Key]) {
    let mut left = keys.len();
    let hinted = keys.iter().map(Key::bucket);
    for b in hinted.chain(0..BUCKETS) {
        if left == 0 {
            return;
        }
        let mut removed = Vec::new();
        let mut bucket = TABLE[b].lock();
        let mut i = 0;
        while i < bucket.len() {
            if Arc::ptr_eq(&bucket[i].waiter, waiter) {
                removed.push(bucket.remove(i));
            } else {
                i += 1;
            }
        }
        drop(bucket);
        left -= removed.len().min(left);
    }
}

/// One futex that a thread waits on, with the value that it must have.
#[derive(Clone, Copy, Debug)]
pub struct Expectation {
    /// Which futex.
    pub key: Key,
    /// What its word must hold.
    pub value: u32,
    /// Bits of which a wake must have one.
    pub bitset: u32,
}

/// Waits until one of the futexes is woken; returns its index. EAGAIN if a word does not hold its value, ETIMEDOUT, and
/// ERESTARTSYS if a signal came.
pub fn wait_any(t: &Thread, futexes: &[Expectation], deadline: Option<Instant>) -> Result<usize> {
    let waiter = Waiter::new(t);
    let mut keys: Vec<Key> = Vec::with_capacity(futexes.len());
    let mut failure = None;
    for (index, f) in futexes.iter().enumerate() {
        let mut bucket = TABLE[f.key.bucket()].lock();
        match f.key.word().read() {
            Ok(value) if value == f.value => {
                bucket.push(Entry {
                    key: f.key,
                    bitset: f.bitset,
                    index: index as i32,
                    kind: Kind::Plain,
                    waiter: waiter.clone(),
                });
                keys.push(f.key);
            }
            Ok(_) => failure = Some(Errno::EAGAIN.because("the futex does not hold the expected value")),
            Err(e) => failure = Some(e),
        }
        if failure.is_some() {
            break;
        }
    }
    let end = match failure {
        Some(e) => Err(e),
        None => sched::block_on(t, deadline, || waiter.woken_by().map(|_| ())).map_err(|end| match end {
            WaitEnd::Interrupted => Errno::ERESTARTSYS.into(),
            WaitEnd::TimedOut => Errno::ETIMEDOUT.into(),
        }),
    };
    if end.is_err() || futexes.len() > 1 {
        // With one futex, the waker has removed the entry.
        forget(&waiter, &keys);
    }
    match waiter.woken_by() {
        Some(index) => Ok(index),
        None => end.map(|()| 0),
    }
}

/// Runs `f` on the buckets of both keys, locked in the order of their indices; the second is `None` if they are one.
fn with_two<R>(a: Key, b: Key, f: impl FnOnce(&mut Vec<Entry>, Option<&mut Vec<Entry>>) -> R) -> R {
    let (ia, ib) = (a.bucket(), b.bucket());
    if ia == ib {
        return f(&mut TABLE[ia].lock(), None);
    }
    let first = TABLE[ia.min(ib)].lock();
    let second = TABLE[ia.max(ib)].lock();
    let (mut ga, mut gb) = if ia < ib { (first, second) } else { (second, first) };
    f(&mut ga, Some(&mut gb))
}

/// FUTEX_REQUEUE and FUTEX_CMP_REQUEUE: wakes up to `wakes` waiters of `from` and moves up to `moves` others to `to`.
/// Returns how many were woken and how many moved. EAGAIN if the word of `from` does not hold `expected`.
pub fn requeue(from: Key, to: Key, wakes: usize, moves: usize, expected: Option<u32>) -> Result<(usize, usize)> {
    let (result, removed) = with_two(from, to, |source, target| {
        if let Some(expected) = expected {
            match from.word().read() {
                Ok(value) if value == expected => {}
                Ok(_) => return (Err(Errno::EAGAIN.because("the futex does not hold the expected value")), Vec::new()),
                Err(e) => return (Err(e), Vec::new()),
            }
        }
        if has_lock_waiters(source, from) {
            let e = Errno::EINVAL.because("waiters of a PI futex are not moved so");
            return (Err(e), Vec::new());
        }
        let (woken, removed) = wake_in(source, from, wakes, ANY);
        let mut moved = Vec::new();
        let mut i = 0;
        while i < source.len() && moved.len() < moves {
            if source[i].key == from && from != to {
                let mut entry = source.remove(i);
                entry.key = to;
                moved.push(entry);
            } else {
                i += 1;
            }
        }
        let count = moved.len();
        match target {
            Some(target) => target.append(&mut moved),
            None => source.append(&mut moved),
        }
        (Ok((woken, count)), removed)
    });
    drop(removed);
    result
}

/// The operation that FUTEX_WAKE_OP does on its second word, as encoded in `val3`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WakeOp {
    op: u32,
    argument: i32,
    compare: u32,
    with: i32,
}

impl WakeOp {
    /// Decodes `val3`. ENOSYS for operations that do not exist.
    pub fn decode(encoded: u32) -> Result<Self> {
        let sign_extend = |v: u32| ((v << 20) as i32) >> 20;
        let (op, compare) = (encoded >> 28 & 0xf, encoded >> 24 & 0xf);
        let mut argument = sign_extend(encoded >> 12 & 0xfff);
        if op & 8 != 0 {
            argument = 1i32.wrapping_shl(argument as u32 & 31);
        }
        if op & 7 > 4 || compare > 5 {
            return Err(Errno::ENOSYS.because("no such FUTEX_WAKE_OP operation"));
        }
        Ok(WakeOp { op: op & 7, argument, compare, with: sign_extend(encoded & 0xfff) })
    }

    /// The word's new value.
    fn apply(self, old: u32) -> u32 {
        let argument = self.argument as u32;
        match self.op {
            0 => argument,
            1 => old.wrapping_add(argument),
            2 => old | argument,
            3 => old & !argument,
            _ => old ^ argument,
        }
    }

    /// Whether the old value wakes waiters of the second word.
    fn wakes(self, old: u32) -> bool {
        let old = old as i32;
        match self.compare {
            0 => old == self.with,
            1 => old != self.with,
            2 => old < self.with,
            3 => old <= self.with,
            4 => old > self.with,
            _ => old >= self.with,
        }
    }
}

/// FUTEX_WAKE_OP: changes the word of `second`, wakes waiters of `first`, and of `second` if its old value says so.
pub fn wake_op(first: Key, second: Key, wakes: usize, wakes_second: usize, op: WakeOp) -> Result<usize> {
    let (result, removed) = with_two(first, second, |a, b| {
        let old = match second.word().read() {
            Ok(old) => old,
            Err(e) => return (Err(e), Vec::new()),
        };
        if let Err(e) = second.word().write(op.apply(old)) {
            return (Err(e), Vec::new());
        }
        let (mut woken, mut removed) = wake_in(a, first, wakes, ANY);
        if op.wakes(old) {
            let (more, also_removed) = wake_in(b.unwrap_or(a), second, wakes_second, ANY);
            woken += more;
            removed.extend(also_removed);
        }
        (Ok(woken), removed)
    });
    drop(removed);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_op_is_decoded_and_applied_as_futex_2_says() {
        let encode = |op: u32, arg: u32, cmp: u32, with: u32| op << 28 | cmp << 24 | (arg & 0xfff) << 12 | with & 0xfff;
        let add = WakeOp::decode(encode(1, 0xfff, 4, 0)).unwrap();
        assert_eq!(add.apply(5), 4, "the argument is sign-extended");
        assert!(add.wakes(1) && !add.wakes(0) && !add.wakes(u32::MAX), "compared as signed");
        let set_bit = WakeOp::decode(encode(2 | 8, 5, 0, 7)).unwrap();
        assert_eq!(set_bit.apply(1), 0x21);
        assert!(set_bit.wakes(7));
        assert_eq!(WakeOp::decode(encode(3, 1, 1, 0)).unwrap().apply(3), 2);
        assert_eq!(WakeOp::decode(encode(4, 1, 1, 0)).unwrap().apply(3), 2);
        assert_eq!(WakeOp::decode(encode(5, 0, 0, 0)).unwrap_err().errno(), Errno::ENOSYS);
        assert_eq!(WakeOp::decode(encode(0, 0, 6, 0)).unwrap_err().errno(), Errno::ENOSYS);
    }
}
