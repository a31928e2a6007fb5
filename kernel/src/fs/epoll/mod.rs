//! epoll(7): waiting for many files at a cost that grows with the ready ones only.
//!
//! Theory of operation. An instance has an interest list, by descriptor and description, and a ready list. An entry's
//! [`Item`] is registered once with the wait queues of its file; a wake-up there puts the entry on the ready list (if it
//! is not on it) and wakes one of the threads in epoll_wait(2). Those take entries off the ready list, ask each file for
//! its present events, and report what is wanted. A level-triggered entry goes back to the end of the list, so that it
//! is looked at again next time, and drops out when its file has nothing to say; an edge-triggered one waits for the
//! next wake-up.
//!
//! Ownership. The interest list holds the registrations; the wait queues hold the items; items refer weakly to the
//! instance and the file. So neither a file nor an instance is kept by being watched: the last reference to a
//! description removes its entries ([`description_dropped`]).
//!
//! Locks. No lock is held while a file is asked. The ready list's lock ranks below wait queues, since wake-ups end there.
//!
//! Limits. An instance may watch others, to a depth of [`MAX_NESTING`], without cycles: EPOLL_CTL_ADD says ELOOP.

mod item;

use super::file::{FileOps, OpenFile};
use super::poll::{Patience, PollEvents, PollWatch, Registration};
use crate::error::{Errno, Result};
use crate::sched::{self, WaitEnd, WaitQueue, WakeCallback};
use crate::sync::{Rank, SpinLock};
use crate::task::{Fd, Thread};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use item::{Item, ItemFlags, Key};

/// The longest chain of instances that watch each other.
const MAX_NESTING: usize = 5;

/// What EPOLLEXCLUSIVE goes with (epoll_ctl(2)).
const EXCLUSIVE_EVENTS: u32 = PollEvents::IN.bits()
    | PollEvents::OUT.bits()
    | PollEvents::ERR.bits()
    | PollEvents::HUP.bits()
    | ItemFlags::WAKEUP.bits()
    | ItemFlags::EDGE_TRIGGERED.bits()
    | ItemFlags::EXCLUSIVE.bits();

/// One reported event: the events, and what EPOLL_CTL_ADD was given to hand back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Event {
    pub events: u32,
    pub data: u64,
}

struct Entry {
    item: Arc<Item>,
    registrations: Vec<Registration>,
}

/// An instance.
pub struct Epoll {
    me: Weak<Epoll>,
    interest: SpinLock<BTreeMap<Key, Entry>>,
    ready: SpinLock<VecDeque<Arc<Item>>>,
    /// Where epoll_wait(2), and instances that watch this one, wait.
    waiters: Arc<WaitQueue>,
}

/// The instances that watch a description, kept by it.
#[derive(Default)]
pub struct Watchers(Vec<(Weak<Epoll>, Fd)>);

/// Held while an instance is added to another, so that two additions cannot close a cycle together.
static NESTING: SpinLock<()> = SpinLock::new(Rank::Epoll, ());

fn key(fd: Fd, file: &Arc<OpenFile>) -> Key {
    (fd, Arc::as_ptr(file) as usize)
}

impl Epoll {
    /// An instance that watches nothing.
    pub fn new() -> Arc<Self> {
        Arc::new_cyclic(|me| Epoll {
            me: me.clone(),
            interest: SpinLock::new(Rank::Epoll, BTreeMap::new()),
            ready: SpinLock::new(Rank::Ready, VecDeque::new()),
            waiters: Arc::new(WaitQueue::new()),
        })
    }

    /// EPOLL_CTL_ADD. EEXIST if it is there, EPERM if the file cannot be polled, ELOOP if instances would watch each
    /// other in a circle.
    pub fn add(&self, fd: Fd, file: &Arc<OpenFile>, wanted: Event) -> Result<()> {
        if !file.has_readiness() {
            return Err(Errno::EPERM.because("regular files and directories are always ready"));
        }
        let nested = file.ops().downcast_ref::<Epoll>();
        let flags = ItemFlags::from_bits_truncate(wanted.events);
        if flags.contains(ItemFlags::EXCLUSIVE) && (nested.is_some() || wanted.events & !EXCLUSIVE_EVENTS != 0) {
            return Err(Errno::EINVAL.because("what EPOLLEXCLUSIVE does not go with"));
        }
        let item = Item::new(self.me.clone(), file, key(fd, file), wanted.events, wanted.data);
        let mut seen = Vec::new();
        {
            let _nesting = nested.map(|inner| (NESTING.lock(), inner));
            if let Some((_, inner)) = &_nesting {
                inner.check_nesting(self, 1, &mut seen)?;
            }
            let mut interest = self.interest.lock();
            if interest.contains_key(&item.key) {
                return Err(Errno::EEXIST.into());
            }
            interest.insert(item.key, Entry { item: item.clone(), registrations: Vec::new() });
        }
        drop(seen);
        file.add_watcher(self.me.clone(), fd);
        self.register(&item, file);
        Ok(())
    }

    /// Walks the instances that `self` watches. ELOOP if `outer` is among them or the chain is too long. `seen` keeps
    /// the descriptions that were met until no lock is held.
    fn check_nesting(&self, outer: &Epoll, depth: usize, seen: &mut Vec<Arc<OpenFile>>) -> Result<()> {
        if core::ptr::eq(self, outer) || depth > MAX_NESTING {
            return Err(Errno::ELOOP.because("instances that watch each other"));
        }
        let files: Vec<Arc<OpenFile>> = self.interest.lock().values().filter_map(|e| e.item.file.upgrade()).collect();
        let result = files
            .iter()
            .filter_map(|f| f.ops().downcast_ref::<Epoll>())
            .try_for_each(|inner| inner.check_nesting(outer, depth + 1, seen));
        seen.extend(files);
        result
    }

    /// Hooks the item to its file's queues, in place of older hooks, and looks whether it is ready already.
    fn register(&self, item: &Arc<Item>, file: &Arc<OpenFile>) {
        let callback: Arc<dyn WakeCallback> = item.clone();
        let exclusive = item.flags().contains(ItemFlags::EXCLUSIVE);
        let mut watch = PollWatch::for_callback(&callback, item.interest(), exclusive);
        let now = file.poll(&mut watch);
        let registrations = watch.into_registrations();
        let old = match self.interest.lock().get_mut(&item.key) {
            Some(entry) if Arc::ptr_eq(&entry.item, item) => {
                core::mem::replace(&mut entry.registrations, registrations)
            }
            // It was removed meanwhile.
            _ => registrations,
        };
        drop(old);
        if now.intersects(item.interest()) {
            self.became_ready(item.clone());
        }
    }

    /// EPOLL_CTL_MOD. ENOENT if it is not there.
    pub fn modify(&self, fd: Fd, file: &Arc<OpenFile>, wanted: Event) -> Result<()> {
        let item = match self.interest.lock().get(&key(fd, file)) {
            Some(entry) => entry.item.clone(),
            None => return Err(Errno::ENOENT.into()),
        };
        let flags = item.flags() | ItemFlags::from_bits_truncate(wanted.events);
        if flags.contains(ItemFlags::EXCLUSIVE) {
            return Err(Errno::EINVAL.because("EPOLLEXCLUSIVE cannot be modified"));
        }
        item.set_wanted(wanted.events, wanted.data);
        self.register(&item, file);
        Ok(())
    }

    /// EPOLL_CTL_DEL. ENOENT if it is not there.
    pub fn remove(&self, fd: Fd, file: &Arc<OpenFile>) -> Result<()> {
        let key = key(fd, file);
        self.forget(key).ok_or(Errno::ENOENT)?;
        file.remove_watcher(&self.me, fd);
        Ok(())
    }

    fn forget(&self, key: Key) -> Option<()> {
        let entry = self.interest.lock().remove(&key)?;
        entry.item.silence();
        let queued = {
            let mut ready = self.ready.lock();
            let at = ready.iter().position(|i| Arc::ptr_eq(i, &entry.item));
            at.and_then(|i| ready.remove(i))
        };
        // Ending the registrations takes the wait queues' locks: no other is held now.
        drop((entry, queued));
        Some(())
    }

    /// Puts an entry on the ready list and wakes a waiter.
    fn became_ready(&self, item: Arc<Item>) {
        self.push_ready(item);
        self.waiters.wake(PollEvents::READABLE);
    }

    /// Takes ready entries, at most `max`, and reports them.
    fn collect(&self, max: usize) -> Vec<Event> {
        let mut out = Vec::new();
        let mut looks = self.ready.lock().len();
        while out.len() < max && looks > 0 {
            looks -= 1;
            let Some(item) = self.pop_ready() else { break };
            let found = look_at(&item);
            if found.is_empty() {
                continue;
            }
            let flags = item.flags();
            out.push(Event { events: found.bits(), data: *item.data.lock() });
            if flags.contains(ItemFlags::ONESHOT) {
                item.silence();
            } else if !flags.contains(ItemFlags::EDGE_TRIGGERED) {
                self.push_ready(item);
            }
        }
        out
    }

    fn pop_ready(&self) -> Option<Arc<Item>> {
        let item = self.ready.lock().pop_front()?;
        // Cleared before the file is asked: a wake-up from now on queues the entry again.
        item.queued.store(false, Ordering::Release);
        Some(item)
    }

    fn push_ready(&self, item: Arc<Item>) {
        if !item.queued.swap(true, Ordering::AcqRel) {
            self.ready.lock().push_back(item);
        }
    }

    fn has_ready(&self) -> bool {
        !self.ready.lock().is_empty()
    }

    /// epoll_wait(2): at least one event, or none at the deadline. EINTR for a signal, whatever its handler's flags
    /// (signal(7)).
    pub fn wait(&self, t: &Thread, max: usize, patience: Patience) -> Result<Vec<Event>> {
        let mut found = self.collect(max);
        if found.is_empty()
            && let Some(deadline) = patience.deadline()
        {
            let id = self.waiters.add_thread_exclusive(t.arc(), PollEvents::READABLE);
            let end = sched::block_on(t, deadline, || {
                found = self.collect(max);
                (!found.is_empty()).then_some(())
            });
            self.waiters.remove(id);
            if end == Err(WaitEnd::Interrupted) {
                // The wake-up that came with the signal may have been meant for another waiter.
                if self.has_ready() {
                    self.waiters.wake(PollEvents::READABLE);
                }
                return Err(Errno::EINTR.into());
            }
        }
        if self.has_ready() {
            self.waiters.wake(PollEvents::READABLE);
        }
        Ok(found)
    }
}

/// What of the wanted events an entry's file has now.
fn look_at(item: &Item) -> PollEvents {
    match item.file.upgrade() {
        Some(file) => file.poll(&mut PollWatch::look()) & item.interest(),
        None => PollEvents::empty(),
    }
}

/// Removes a description from the instances that watch it, as its last reference goes.
pub(super) fn description_dropped(file: *const OpenFile, watchers: Watchers) {
    for (epoll, fd) in watchers.0 {
        if let Some(epoll) = epoll.upgrade() {
            epoll.forget((fd, file as usize));
        }
    }
}

impl Watchers {
    /// Whether nobody watches.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, epoll: Weak<Epoll>, fd: Fd) {
        self.0.push((epoll, fd));
    }

    pub(super) fn remove(&mut self, epoll: &Weak<Epoll>, fd: Fd) {
        self.0.retain(|(e, f)| !(e.ptr_eq(epoll) && *f == fd) && e.strong_count() > 0);
    }
}

impl FileOps for Epoll {
    /// Readable if any entry of the ready list has something to report; those that have not drop out.
    fn poll(&self, _file: &OpenFile, watch: &mut PollWatch<'_>) -> PollEvents {
        watch.watch(&self.waiters);
        let mut looks = self.ready.lock().len();
        while looks > 0 {
            looks -= 1;
            let Some(item) = self.pop_ready() else { break };
            if !look_at(&item).is_empty() {
                self.push_ready(item);
                return PollEvents::READABLE;
            }
        }
        PollEvents::empty()
    }

    fn label(&self) -> String {
        String::from("anon_inode:[eventpoll]")
    }

    fn fd_info(&self) -> String {
        let items: Vec<Arc<Item>> = self.interest.lock().values().map(|e| e.item.clone()).collect();
        items
            .iter()
            .map(|i| alloc::format!("tfd: {:8} events: {:8x} data: {:16x}\n", i.key.0.0, i.raw(), *i.data.lock()))
            .collect()
    }
}

#[cfg(test)]
mod tests;
