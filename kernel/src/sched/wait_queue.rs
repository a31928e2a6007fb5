//! Wait queues: where threads sleep until something happens, and where epoll listens.
//!
//! A file, socket or process that can make a waiter's wish come true owns a [`WaitQueue`] and calls
//! [`WaitQueue::wake`] after each change, saying what became possible. A waiter registers, *then* looks whether it can
//! go on, and only then blocks; a wake-up between the look and the block is not lost, because registering comes first
//! and the thread's state is set to blocked before the look ([`crate::sched::block_until`]).

use crate::fs::poll::PollEvents;
use crate::sync::{Rank, SpinLock};
use crate::task::Thread;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Something other than a thread that wants to hear of events: an epoll item.
pub trait WakeCallback: Send + Sync {
    /// Called without the queue's lock, with the events that became possible. Must not block.
    fn wake(&self, events: PollEvents);
}

enum Target {
    Thread(Arc<Thread>),
    Callback(Arc<dyn WakeCallback>),
}

struct Waiter {
    id: u64,
    interest: PollEvents,
    exclusive: bool,
    target: Target,
}

#[derive(Default)]
struct Waiters {
    next_id: u64,
    list: Vec<Waiter>,
}

/// A list of waiters, in the order they came.
pub struct WaitQueue {
    waiters: SpinLock<Waiters>,
}

impl Default for WaitQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl WaitQueue {
    /// A queue without waiters.
    pub const fn new() -> Self {
        WaitQueue { waiters: SpinLock::new(Rank::WaitQueue, Waiters { next_id: 0, list: Vec::new() }) }
    }

    /// Registers a thread; it is woken for events in `interest`, and for errors and hang-ups always. The registration
    /// lasts until [`WaitQueue::remove`].
    pub fn add_thread(&self, thread: Arc<Thread>, interest: PollEvents) -> u64 {
        self.add(Target::Thread(thread), interest, false)
    }

    /// Registers a thread of which one is woken per event (accept(2), EPOLLEXCLUSIVE-like waits).
    pub fn add_thread_exclusive(&self, thread: Arc<Thread>, interest: PollEvents) -> u64 {
        self.add(Target::Thread(thread), interest, true)
    }

    /// Registers a callback. With `exclusive`, one of the exclusive waiters hears of each event.
    pub fn add_callback(&self, callback: Arc<dyn WakeCallback>, interest: PollEvents, exclusive: bool) -> u64 {
        self.add(Target::Callback(callback), interest, exclusive)
    }

    fn add(&self, target: Target, interest: PollEvents, exclusive: bool) -> u64 {
        let mut w = self.waiters.lock();
        let id = w.next_id;
        w.next_id += 1;
        w.list.push(Waiter { id, interest: interest | PollEvents::ALWAYS, exclusive, target });
        id
    }

    /// Ends a registration.
    pub fn remove(&self, id: u64) {
        let removed = {
            let mut w = self.waiters.lock();
            w.list.iter().position(|x| x.id == id).map(|i| w.list.remove(i))
        };
        // The last reference to a thread may go here: not under the lock.
        drop(removed);
    }

    /// Tells the waiters that `events` became possible.
    pub fn wake(&self, events: PollEvents) {
        let mut callbacks: Vec<Arc<dyn WakeCallback>> = Vec::new();
        {
            let mut w = self.waiters.lock();
            let mut exclusive_done = false;
            for waiter in &mut w.list {
                if !waiter.interest.intersects(events) || (waiter.exclusive && exclusive_done) {
                    continue;
                }
                match &waiter.target {
                    Target::Thread(t) => exclusive_done |= crate::sched::wake(t) && waiter.exclusive,
                    Target::Callback(c) => {
                        callbacks.push(c.clone());
                        exclusive_done |= waiter.exclusive;
                    }
                }
            }
        }
        for c in callbacks {
            c.wake(events);
        }
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiters.lock().list.is_empty()
    }
}
