//! A lock that favours one side.
//!
//! Frames are moved millions of times a second by one thread; once in a while another changes what they go through. A lock
//! costs the first a locked instruction each time, which waits until every earlier store has left the processor, and those
//! to a ring take a cache line's way between two cores. Here it stores one word and loads another ([`Owner::enter`]), which
//! would be wrong by itself: the processor may load before it stores. The other side ([`Visitor::lock`]) makes up for it: after
//! its own store it has the host interrupt the process's running threads (membarrier(2)), so that whoever entered before is
//! seen, and whoever enters later sees the visitor. Where the host has no such call both sides use a fence.

use alloc::sync::Arc;
use core::cell::{Cell, UnsafeCell};
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering, compiler_fence, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

#[derive(Debug)]
struct Favored<T> {
    /// The owner is inside.
    busy: AtomicBool,
    /// A visitor is inside, or wants to be.
    wanted: AtomicBool,
    /// Visitors among themselves.
    visitors: Mutex<()>,
    /// The host's call does for both sides.
    asymmetric: bool,
    value: UnsafeCell<T>,
}

// SAFETY: guards give access to one side at a time, so that sharing only moves the value between threads.
unsafe impl<T: Send> Sync for Favored<T> {}

/// The side that is favoured: one value, on one thread at a time.
#[derive(Debug)]
pub(crate) struct Owner<T> {
    shared: Arc<Favored<T>>,
    /// Not to be used by two threads at once.
    one_thread: PhantomData<Cell<()>>,
}

/// The other side.
#[derive(Clone, Debug)]
pub(crate) struct Visitor<T>(Arc<Favored<T>>);

/// Puts a value behind such a lock.
pub(crate) fn favored<T>(value: T) -> (Owner<T>, Visitor<T>) {
    with_mode(value, host_has_barrier())
}

fn with_mode<T>(value: T, asymmetric: bool) -> (Owner<T>, Visitor<T>) {
    let shared = Arc::new(Favored {
        busy: AtomicBool::new(false),
        wanted: AtomicBool::new(false),
        visitors: Mutex::new(()),
        asymmetric,
        value: UnsafeCell::new(value),
    });
    (Owner { shared: shared.clone(), one_thread: PhantomData }, Visitor(shared))
}

/// `MEMBARRIER_CMD_PRIVATE_EXPEDITED` and the registration for it (`<linux/membarrier.h>`).
const PRIVATE_EXPEDITED: libc::c_long = 1 << 3;
const REGISTER_PRIVATE_EXPEDITED: libc::c_long = 1 << 4;

fn membarrier(command: libc::c_long) -> bool {
    // SAFETY: the call takes no addresses.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

fn host_has_barrier() -> bool {
    membarrier(REGISTER_PRIVATE_EXPEDITED) && membarrier(PRIVATE_EXPEDITED)
}

impl<T> Owner<T> {
    /// The value, unless a visitor has it or wants it, or a guard of this exists.
    #[inline]
    pub(crate) fn enter(&self) -> Option<OwnerGuard<'_, T>> {
        let shared = &*self.shared;
        if shared.busy.load(Ordering::Relaxed) {
            return None;
        }
        shared.busy.store(true, Ordering::Relaxed);
        if shared.asymmetric {
            compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
        let guard = OwnerGuard { shared, one_thread: PhantomData };
        // Acquire: what the last visitor did.
        (!shared.wanted.load(Ordering::Acquire)).then_some(guard)
    }
}

impl<T> Visitor<T> {
    /// The value, once the owner leaves it for a moment.
    pub(crate) fn lock(&self) -> VisitorGuard<'_, T> {
        let shared = &*self.0;
        // A visitor that panicked has ended the process.
        let turn = shared.visitors.lock().unwrap_or_else(PoisonError::into_inner);
        shared.wanted.store(true, Ordering::Relaxed);
        if shared.asymmetric {
            membarrier(PRIVATE_EXPEDITED);
        } else {
            fence(Ordering::SeqCst);
        }
        while shared.busy.load(Ordering::Acquire) {
            thread::yield_now();
        }
        VisitorGuard { shared, _turn: turn }
    }
}

/// The owner is inside.
pub(crate) struct OwnerGuard<'a, T> {
    shared: &'a Favored<T>,
    one_thread: PhantomData<Cell<()>>,
}

impl<T> Deref for OwnerGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: while `busy` is set and `wanted` was seen clear behind it, no visitor gets in, and there is one guard.
        unsafe { &*self.shared.value.get() }
    }
}

impl<T> DerefMut for OwnerGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { &mut *self.shared.value.get() }
    }
}

impl<T> Drop for OwnerGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.shared.busy.store(false, Ordering::Release);
    }
}

/// A visitor is inside.
pub(crate) struct VisitorGuard<'a, T> {
    shared: &'a Favored<T>,
    _turn: MutexGuard<'a, ()>,
}

impl<T> Deref for VisitorGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `busy` was seen clear behind `wanted`, which keeps the owner out; other visitors wait for their turn.
        unsafe { &*self.shared.value.get() }
    }
}

impl<T> DerefMut for VisitorGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { &mut *self.shared.value.get() }
    }
}

impl<T> Drop for VisitorGuard<'_, T> {
    fn drop(&mut self) {
        self.shared.wanted.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    /// Adds one in two steps, with time for another to come in between.
    fn count(value: &mut [u64; 2]) {
        value[0] += 1;
        for _ in 0..20 {
            core::hint::spin_loop();
        }
        assert_eq!(value[0], value[1] + 1, "two at once");
        value[1] += 1;
    }

    #[test]
    fn one_side_is_inside_at_a_time() {
        for asymmetric in [host_has_barrier(), false] {
            let (owner, visitor) = with_mode([0, 0], asymmetric);
            let visits = 2000;
            let visitors = [(); 2].map(|()| {
                let visitor = visitor.clone();
                thread::spawn(move || {
                    for _ in 0..visits {
                        count(&mut visitor.lock());
                        // The owner's turn.
                        thread::sleep(Duration::from_micros(1));
                    }
                })
            });
            let mut entered = 0;
            while !visitors.iter().all(thread::JoinHandle::is_finished) {
                if let Some(mut value) = owner.enter() {
                    count(&mut value);
                    entered += 1;
                }
            }
            visitors.into_iter().for_each(|visitor| visitor.join().unwrap());
            assert_eq!(*visitor.lock(), [entered + 2 * visits; 2]);
            assert!(entered > 0);
        }
    }

    #[test]
    fn there_is_one_guard() {
        let (owner, visitor) = favored(1);
        let first = owner.enter();
        assert!(first.is_some() && owner.enter().is_none());
        drop(first);
        let visit = visitor.lock();
        assert!(owner.enter().is_none());
        drop(visit);
        assert_eq!(owner.enter().as_deref(), Some(&1));
    }
}
