//! One entry of an interest list: a file, what is wanted of it, and the hook that its wait queues call.

use super::Epoll;
use crate::fs::file::OpenFile;
use crate::fs::poll::PollEvents;
use crate::sched::WakeCallback;
use crate::sync::{Rank, SpinLock};
use crate::task::Fd;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// What names an entry: descriptor number and description. The same number may name another description later.
pub(super) type Key = (Fd, usize);

bitflags::bitflags! {
    /// The flags above the events in `struct epoll_event`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    #[allow(missing_docs)]
    pub struct ItemFlags: u32 {
        const EXCLUSIVE = 1 << 28;
        const WAKEUP = 1 << 29;
        const ONESHOT = 1 << 30;
        const EDGE_TRIGGERED = 1 << 31;
    }
}

/// An entry of an interest list.
pub(super) struct Item {
    pub(super) epoll: Weak<Epoll>,
    pub(super) file: Weak<OpenFile>,
    pub(super) key: Key,
    me: Weak<Item>,
    /// Events and flags as EPOLL_CTL_ADD or MOD gave them.
    wanted: AtomicU32,
    /// A one-shot entry that has been reported, or an entry that has been removed.
    silent: AtomicBool,
    pub(super) data: SpinLock<u64>,
    /// Whether it stands in the ready list.
    pub(super) queued: AtomicBool,
}

impl Item {
    pub(super) fn new(epoll: Weak<Epoll>, file: &Arc<OpenFile>, key: Key, wanted: u32, data: u64) -> Arc<Self> {
        Arc::new_cyclic(|me| Item {
            epoll,
            file: Arc::downgrade(file),
            key,
            me: me.clone(),
            wanted: AtomicU32::new(wanted),
            silent: AtomicBool::new(false),
            data: SpinLock::new(Rank::Ready, data),
            queued: AtomicBool::new(false),
        })
    }

    /// Events and flags as they were given.
    pub(super) fn raw(&self) -> u32 {
        self.wanted.load(Ordering::Relaxed)
    }

    /// The events that are reported; none for a one-shot entry that has had its turn.
    pub(super) fn interest(&self) -> PollEvents {
        if self.silent.load(Ordering::Acquire) {
            return PollEvents::empty();
        }
        PollEvents::from_bits_truncate(self.raw()) | PollEvents::ERR | PollEvents::HUP
    }

    pub(super) fn flags(&self) -> ItemFlags {
        ItemFlags::from_bits_truncate(self.raw())
    }

    /// Replaces what is wanted.
    pub(super) fn set_wanted(&self, wanted: u32, data: u64) {
        self.wanted.store(wanted, Ordering::Relaxed);
        *self.data.lock() = data;
        self.silent.store(false, Ordering::Release);
    }

    /// Stops reporting until the next EPOLL_CTL_MOD (EPOLLONESHOT), or for good.
    pub(super) fn silence(&self) {
        self.silent.store(true, Ordering::Release);
    }
}

impl WakeCallback for Item {
    /// Puts the entry on the ready list. The waiters look at the file themselves.
    fn wake(&self, events: PollEvents) {
        if !self.interest().intersects(events) {
            return;
        }
        if let (Some(epoll), Some(me)) = (self.epoll.upgrade(), self.me.upgrade()) {
            epoll.became_ready(me);
        }
    }
}
