//! A ranked spin lock.
//!
//! A locked instruction waits until every earlier store has left the processor. Behind stores to memory that a peer reads
//! at the same time (a virtio ring) that is a cache line's way between two cores for each of them, and a packet's way through the kernel
//! takes some thirty locks. So the machine with one vCPU takes its locks with an ordinary load and store, as Linux
//! does on one processor ([`only_one_vcpu`]).

use super::rank::{self, Rank};
use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering, compiler_fence};

/// Tries before a contended lock is taken for a self-deadlock where only one vCPU exists: far longer than any
/// critical section.
const DEADLOCK_SPINS: u64 = 1 << 32;

/// Whether one thread of the host takes all the locks there are.
static LONE: AtomicBool = AtomicBool::new(false);

/// Says that from now on no thread but the caller takes any [`SpinLock`]; said once, when the machine has its one vCPU.
/// Threads of drivers use locks of their own, and the kernel heap has its own.
///
/// # Safety
/// No lock may be held, and no other thread of the process may take one, now or later.
pub unsafe fn only_one_vcpu() {
    LONE.store(true, Ordering::Relaxed);
}

/// A lock that spins; see the module's head for its rules.
pub struct SpinLock<T: ?Sized> {
    rank: Rank,
    locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands out one `&mut T` at a time, so sharing it between threads only moves T between them.
unsafe impl<T: ?Sized + Send> Sync for SpinLock<T> {}
// SAFETY: owning the lock is owning the value.
unsafe impl<T: ?Sized + Send> Send for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// A free lock around `value`.
    pub const fn new(rank: Rank, value: T) -> Self {
        SpinLock { rank, locked: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// The value, when nobody can hold the lock any more.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Takes the lock; spins while another vCPU holds it.
    #[inline]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        rank::acquire(self.rank);
        if !self.take() {
            self.lock_contended();
        }
        SpinGuard { lock: self, value: PhantomData }
    }

    /// Takes the lock if it is free; returns whether it was.
    #[inline]
    fn take(&self) -> bool {
        if !LONE.load(Ordering::Relaxed) {
            return self.take_from_others();
        }
        // A signal handler that comes in between has given back what it took.
        let free = !self.locked.load(Ordering::Relaxed);
        if free {
            self.locked.store(true, Ordering::Relaxed);
            compiler_fence(Ordering::Acquire);
        }
        free
    }

    /// Apart, as every lock in the kernel's code would hold it.
    #[cold]
    fn take_from_others(&self) -> bool {
        self.locked.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[cold]
    fn lock_contended(&self) {
        let mut spins = 0u64;
        loop {
            while self.locked.load(Ordering::Relaxed) {
                core::hint::spin_loop();
                spins += 1;
                assert!(spins < DEADLOCK_SPINS, "lock of rank {:?} never comes free", self.rank);
            }
            if self.take() {
                return;
            }
        }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        if !self.take() {
            return None;
        }
        rank::acquire(self.rank);
        Some(SpinGuard { lock: self, value: PhantomData })
    }

    /// The value through exclusive access, without locking.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for SpinLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(v) => f.debug_tuple("SpinLock").field(&&*v).finish(),
            None => f.write_str("SpinLock(held)"),
        }
    }
}

/// The locked value; dropping it frees the lock.
#[must_use]
pub struct SpinGuard<'a, T: ?Sized> {
    lock: &'a SpinLock<T>,
    /// The guard gives the value itself: it may be shared between threads only if the value may.
    value: PhantomData<&'a mut T>,
}

impl<T: ?Sized> Deref for SpinGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard exists, so this holder alone has access.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for SpinGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard exists, so this holder alone has access, and the guard is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for SpinGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.locked.store(false, Ordering::Release);
        rank::release(self.lock.rank);
    }
}
