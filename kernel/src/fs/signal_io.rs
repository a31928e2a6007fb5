//! Signal-driven I/O: O_ASYNC, F_SETOWN, F_SETSIG (fcntl(2)) and their ioctls.
//!
//! Theory of operation. A description with O_ASYNC has a [`Notifier`] registered with the wait queues that its readiness
//! depends on. A wake-up may come with any lock held, so the notifier only notes the events and sets a kernel timer that
//! is due at once; the timer's callback, which runs without locks, sends the signal to the owner. Events that come before
//! that are one signal. The owner and the signal belong to the description and last whether O_ASYNC is set or not.

use super::file::{OpenFile, OpenFlags};
use super::poll::{PollEvents, PollWatch, Registration};
use crate::error::{Errno, Result};
use crate::sched::WakeCallback;
use crate::signal::{self, SigInfo, Signal};
use crate::sync::{Rank, SpinLock};
use crate::task::{self, Capability, Credentials, Fd, Pid, Process, Thread, Tid};
use crate::time::Instant;
use crate::time::timer::{TimerCallback, call_soon};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

/// Who gets the signals. Processes and threads that end take their claim with them; ids that are used again inherit none.
#[derive(Clone, Default)]
enum Owner {
    #[default]
    Nobody,
    Thread(Tid, Weak<Thread>),
    Process(Pid, Weak<Process>),
    Group(Pid),
}

/// An owner as F_SETOWN_EX names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum OwnerId {
    Thread(Tid),
    Process(Pid),
    Group(Pid),
}

#[derive(Clone, Default)]
struct Settings {
    owner: Owner,
    /// Of whoever named the owner: they must be allowed to signal it.
    credentials: Option<Arc<Credentials>>,
    /// F_SETSIG; `None` is a plain SIGIO.
    signal: Option<Signal>,
}

struct Notifier {
    me: Weak<Notifier>,
    settings: SpinLock<Settings>,
    /// Events since the last signal.
    events: AtomicU32,
    /// The descriptor through which O_ASYNC was set, for `si_fd`.
    fd: Fd,
}

/// The state of one description.
#[derive(Default)]
pub(super) struct SignalIo {
    settings: Settings,
    /// While O_ASYNC is set: the notifier, and where it is registered.
    active: Option<(Arc<Notifier>, Vec<Registration>)>,
}

impl WakeCallback for Notifier {
    fn wake(&self, events: PollEvents) {
        let first = self.events.fetch_or(events.bits(), Ordering::Relaxed) == 0;
        if let Some(me) = self.me.upgrade().filter(|_| first) {
            call_soon(me);
        }
    }
}

/// `si_code` and `si_band` for events, by what matters most (fcntl(2), F_SETSIG).
fn band(events: PollEvents) -> (i32, PollEvents) {
    const POLL_IN: i32 = 1;
    const POLL_OUT: i32 = 2;
    const POLL_ERR: i32 = 4;
    const POLL_PRI: i32 = 5;
    const POLL_HUP: i32 = 6;
    if events.contains(PollEvents::HUP) {
        (POLL_HUP, PollEvents::HUP | PollEvents::ERR)
    } else if events.contains(PollEvents::ERR) {
        (POLL_ERR, PollEvents::ERR)
    } else if events.contains(PollEvents::PRI) {
        (POLL_PRI, PollEvents::PRI | PollEvents::RDBAND)
    } else if events.intersects(PollEvents::READABLE | PollEvents::RDHUP) {
        (POLL_IN, PollEvents::READABLE)
    } else {
        (POLL_OUT, PollEvents::WRITABLE | PollEvents::WRBAND)
    }
}

impl Settings {
    /// Whether whoever named the owner may signal `process` (fcntl(2): the rules of kill(2)).
    fn permits(&self, process: &Process) -> bool {
        let (Some(mine), Some(theirs)) = (&self.credentials, process.credentials()) else { return true };
        mine.capable(Capability::Kill)
            || [mine.euid, mine.ruid].iter().any(|id| *id == theirs.suid || *id == theirs.ruid)
    }

    fn send(&self, events: PollEvents, fd: Fd) {
        let (code, band) = band(events);
        let (signal, info) = match self.signal {
            None => (Signal::IO, SigInfo::kernel(Signal::IO)),
            Some(signal) => (signal, SigInfo::poll(signal, code, band.bits(), fd)),
        };
        let to_process = |p: &Arc<Process>| {
            // A full queue gets a plain SIGIO instead.
            if self.permits(p) && signal::send_to_process(p, signal, info).is_err() {
                let _ = signal::send_to_process(p, Signal::IO, SigInfo::kernel(Signal::IO));
            }
        };
        match &self.owner {
            Owner::Nobody => {}
            Owner::Thread(_, thread) => {
                if let Some(t) = thread.upgrade().filter(|t| self.permits(t.process()))
                    && signal::send_to_thread(&t, signal, info).is_err()
                {
                    let _ = signal::send_to_thread(&t, Signal::IO, SigInfo::kernel(Signal::IO));
                }
            }
            Owner::Process(_, process) => {
                if let Some(p) = process.upgrade() {
                    to_process(&p);
                }
            }
            Owner::Group(group) => task::processes_of_group(*group).iter().for_each(to_process),
        }
    }
}

impl TimerCallback for Notifier {
    fn expired(&self, _now: Instant) {
        let events = PollEvents::from_bits_retain(self.events.swap(0, Ordering::Relaxed));
        let settings = self.settings.lock().clone();
        settings.send(events, self.fd);
    }
}

impl OpenFile {
    fn change_signal_settings(&self, change: impl FnOnce(&mut Settings)) {
        let (notifier, settings) = {
            let mut state = self.signal_io().lock();
            change(&mut state.settings);
            (state.active.as_ref().map(|(n, _)| n.clone()), state.settings.clone())
        };
        if let Some(n) = notifier {
            *n.settings.lock() = settings;
        }
    }

    /// F_SETOWN, F_SETOWN_EX; `None` is nobody. ESRCH if there is no such thread, process or group.
    pub fn set_signal_owner(&self, t: &Thread, id: Option<OwnerId>) -> Result<()> {
        let owner = match id {
            None => Owner::Nobody,
            Some(OwnerId::Thread(tid)) => {
                Owner::Thread(tid, Arc::downgrade(&task::find_thread(tid).ok_or(Errno::ESRCH)?))
            }
            Some(OwnerId::Process(pid)) => {
                Owner::Process(pid, Arc::downgrade(&task::find_process(pid).ok_or(Errno::ESRCH)?))
            }
            Some(OwnerId::Group(group)) if task::processes_of_group(group).is_empty() => {
                return Err(Errno::ESRCH.into());
            }
            Some(OwnerId::Group(group)) => Owner::Group(group),
        };
        self.change_signal_settings(|s| {
            s.credentials = Some(t.credentials());
            s.owner = owner;
        });
        Ok(())
    }

    /// F_GETOWN, F_GETOWN_EX: an owner that has ended is nobody.
    pub fn signal_owner(&self) -> Option<OwnerId> {
        match &self.signal_io().lock().settings.owner {
            Owner::Nobody => None,
            Owner::Thread(tid, thread) => (thread.strong_count() > 0).then_some(OwnerId::Thread(*tid)),
            Owner::Process(pid, process) => (process.strong_count() > 0).then_some(OwnerId::Process(*pid)),
            Owner::Group(group) => Some(OwnerId::Group(*group)),
        }
    }

    /// F_SETSIG; `None` is SIGIO without details.
    pub fn set_io_signal(&self, signal: Option<Signal>) {
        self.change_signal_settings(|s| s.signal = signal);
    }

    /// F_GETSIG.
    pub fn io_signal(&self) -> Option<Signal> {
        self.signal_io().lock().settings.signal
    }

    /// Sets or clears O_ASYNC through descriptor `fd`. Files without readiness have none: nothing happens.
    pub fn set_async(&self, fd: Fd, on: bool) {
        if !self.has_readiness() || self.flags().contains(OpenFlags::ASYNC) == on {
            return;
        }
        let mut active = None;
        if on {
            let settings = self.signal_io().lock().settings.clone();
            let notifier = Arc::new_cyclic(|me| Notifier {
                me: me.clone(),
                settings: SpinLock::new(Rank::OpenFile, settings),
                events: AtomicU32::new(0),
                fd,
            });
            let callback: Arc<dyn WakeCallback> = notifier.clone();
            let mut watch = PollWatch::for_callback(&callback, PollEvents::all(), false);
            self.poll(&mut watch);
            active = Some((notifier, watch.into_registrations()));
        }
        // Registrations end outside the lock.
        let before = core::mem::replace(&mut self.signal_io().lock().active, active);
        drop(before);
        self.store_async_flag(on);
    }
}
