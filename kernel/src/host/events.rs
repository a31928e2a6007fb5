//! Sleeping until something happens, and being told to stop.

use crate::time::{self, Instant};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI32, Ordering};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{BorrowedFd, OwnedFd};

/// Why a wait on the host ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WakeUp {
    /// A descriptor is ready.
    Events,
    /// The deadline has come.
    TimedOut,
    /// A host signal, or a kick from a helper thread or a handler.
    Interrupted,
}

const RUNNING: i32 = i32::MIN;

/// The exit status that the machine stops with; `RUNNING` until then.
static STOP_STATUS: AtomicI32 = AtomicI32::new(RUNNING);

static KICK: crate::sync::Once<OwnedFd> = crate::sync::Once::new();

fn kick_fd() -> &'static OwnedFd {
    KICK.call_once(|| {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("the host grants an eventfd at boot")
    })
}

/// Tells the machine to stop with this exit status; the first one counts.
pub fn stop(status: i32) {
    let _ = STOP_STATUS.compare_exchange(RUNNING, status, Ordering::SeqCst, Ordering::SeqCst);
    kick();
}

/// Whether the machine has been told to stop.
pub fn is_stopping() -> bool {
    STOP_STATUS.load(Ordering::SeqCst) != RUNNING
}

/// The status to stop with, if the machine has been told to.
pub fn stop_status() -> Option<i32> {
    let status = STOP_STATUS.load(Ordering::SeqCst);
    (status != RUNNING).then_some(status)
}

/// Ends the sleep of an idle vCPU; callable from a signal handler and from any thread.
pub fn kick() {
    // A full counter is a pending kick, too.
    let _ = rustix::io::write(kick_fd(), &1u64.to_ne_bytes());
}

/// Writes to the host's stderr, as far as it goes.
pub fn write_stderr(bytes: &[u8]) {
    // SAFETY: descriptor 2 is the host's stderr from start to end; if it is closed the write fails.
    let stderr = unsafe { BorrowedFd::borrow_raw(2) };
    let _ = rustix::io::write(stderr, bytes);
}

/// Sleeps until a descriptor is readable, the deadline comes, or a host signal.
pub fn wait_for_events(fds: &[i32], deadline: Option<Instant>) -> WakeUp {
    let kick = kick_fd();
    let mut set: Vec<PollFd<'_>> = Vec::with_capacity(fds.len() + 1);
    set.push(PollFd::new(kick, PollFlags::IN));
    for &fd in fds {
        // SAFETY: a poller keeps the descriptors that it named open until it is called again, which is after this wait.
        set.push(PollFd::from_borrowed_fd(unsafe { BorrowedFd::borrow_raw(fd) }, PollFlags::IN));
    }
    let timeout = deadline.map(|at| {
        let left = at.saturating_since(time::now());
        Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
    });
    match poll(&mut set, timeout.as_ref()) {
        Ok(0) => WakeUp::TimedOut,
        Ok(_) => {
            if set[0].revents().contains(PollFlags::IN) {
                let mut count = [0u8; 8];
                let _ = rustix::io::read(kick, &mut count);
                WakeUp::Interrupted
            } else {
                WakeUp::Events
            }
        }
        Err(_) => WakeUp::Interrupted,
    }
}
