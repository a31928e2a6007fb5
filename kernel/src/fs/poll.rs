//! Readiness: what poll(2), select(2), epoll(7) and every blocking call wait for.

use crate::sched::WaitQueue;
use crate::task::Thread;
use crate::time::Instant;
use alloc::sync::Arc;
use alloc::vec::Vec;

bitflags::bitflags! {
    /// The events of poll(2), with the numbers that poll and epoll share.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct PollEvents: u32 {
        /// There is something to read.
        const IN = 0x1;
        /// Urgent data.
        const PRI = 0x2;
        /// Writing would not block.
        const OUT = 0x4;
        /// An error; always reported.
        const ERR = 0x8;
        /// Hang-up; always reported.
        const HUP = 0x10;
        /// Not an open descriptor (poll only).
        const NVAL = 0x20;
        /// As IN.
        const RDNORM = 0x40;
        /// Priority band data.
        const RDBAND = 0x80;
        /// As OUT.
        const WRNORM = 0x100;
        /// Priority band may be written.
        const WRBAND = 0x200;
        /// The peer closed its writing half.
        const RDHUP = 0x2000;

        /// What is reported whether asked for or not.
        const ALWAYS = Self::ERR.bits() | Self::HUP.bits() | Self::NVAL.bits();
        /// Readable, in both spellings.
        const READABLE = Self::IN.bits() | Self::RDNORM.bits();
        /// Writable, in both spellings.
        const WRITABLE = Self::OUT.bits() | Self::WRNORM.bits();
    }
}

/// Collects the queues that a file's readiness depends on, while `FileOps::poll` looks at it.
///
/// A file calls [`PollWatch::watch`] with each queue *before* it looks at its state. What the watch does with the queue
/// is the caller's: nothing (a mere look), register the thread, or register an epoll item. Registrations end when the
/// watch is dropped, unless they were handed to their owner by [`PollWatch::into_registrations`].
pub struct PollWatch<'a> {
    mode: Mode<'a>,
    registrations: Vec<Registration>,
}

enum Mode<'a> {
    Look,
    Thread(&'a Thread, PollEvents, bool),
    Callback(&'a Arc<dyn crate::sched::WakeCallback>, PollEvents, bool),
}

/// One queue that somebody is registered with; dropping it ends the registration.
pub struct Registration {
    queue: Arc<WaitQueue>,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.queue.remove(self.id);
    }
}

impl<'a> PollWatch<'a> {
    /// A mere look at the present state.
    pub const fn look() -> PollWatch<'static> {
        PollWatch { mode: Mode::Look, registrations: Vec::new() }
    }

    /// Registers `thread` for `interest`.
    pub const fn for_thread(thread: &'a Thread, interest: PollEvents) -> Self {
        PollWatch { mode: Mode::Thread(thread, interest, false), registrations: Vec::new() }
    }

    /// Registers `thread` for `interest` as one of several of which one is woken per event.
    pub const fn for_thread_exclusive(thread: &'a Thread, interest: PollEvents) -> Self {
        PollWatch { mode: Mode::Thread(thread, interest, true), registrations: Vec::new() }
    }

    /// Registers a callback.
    pub const fn for_callback(
        callback: &'a Arc<dyn crate::sched::WakeCallback>,
        interest: PollEvents,
        exclusive: bool,
    ) -> Self {
        PollWatch { mode: Mode::Callback(callback, interest, exclusive), registrations: Vec::new() }
    }

    /// Called by a file for each queue that may change its readiness.
    pub fn watch(&mut self, queue: &Arc<WaitQueue>) {
        let id = match &self.mode {
            Mode::Look => return,
            Mode::Thread(t, interest, false) => queue.add_thread(t.arc(), *interest),
            Mode::Thread(t, interest, true) => queue.add_thread_exclusive(t.arc(), *interest),
            Mode::Callback(c, interest, exclusive) => queue.add_callback((*c).clone(), *interest, *exclusive),
        };
        self.registrations.push(Registration { queue: queue.clone(), id });
    }

    /// Stops registering: later looks with this watch only look. What is registered stays.
    pub fn only_look(&mut self) {
        self.mode = Mode::Look;
    }

    /// The registrations, for an owner that outlives the watch.
    pub fn into_registrations(self) -> Vec<Registration> {
        self.registrations
    }
}

/// How long a call waits for readiness.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Patience {
    /// It looks once and does not sleep: signals do not end it either.
    Immediate,
    /// Until then.
    Until(Instant),
    /// Until something is ready or a signal comes.
    Forever,
}

impl Patience {
    /// For a deadline that may lie in the past; `None` is for ever.
    pub fn until(deadline: Option<Instant>) -> Self {
        match deadline {
            None => Patience::Forever,
            Some(at) if at <= crate::time::now() => Patience::Immediate,
            Some(at) => Patience::Until(at),
        }
    }

    /// The deadline of the sleep; the outer `None` says that there is none to be had.
    pub fn deadline(self) -> Option<Option<Instant>> {
        match self {
            Patience::Immediate => None,
            Patience::Until(at) => Some(Some(at)),
            Patience::Forever => Some(None),
        }
    }
}
