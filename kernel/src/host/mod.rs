//! Every call to the host OS goes through here.

use crate::time::Instant;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

/// An open host file.
#[derive(Debug)]
pub struct HostFd(OwnedFd);

impl From<OwnedFd> for HostFd {
    fn from(fd: OwnedFd) -> Self {
        HostFd(fd)
    }
}

impl AsFd for HostFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Why a wait on the host ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WakeUp {
    /// A descriptor is ready.
    Events,
    /// The deadline has come.
    TimedOut,
    /// A host signal, or a kick from a helper thread.
    Interrupted,
}

/// Writes to the host's stderr, as far as it goes.
pub fn write_stderr(bytes: &[u8]) {
    // SAFETY: descriptor 2 stays open for the life of the machine.
    let stderr = unsafe { rustix::stdio::stderr() };
    let _ = rustix::io::write(stderr, bytes);
}

/// Whether the machine has been told to stop.
pub fn is_stopping() -> bool {
    false
}

/// Sleeps until a descriptor is readable, the deadline comes, or a signal.
pub fn wait_for_events(_fds: &[i32], _deadline: Option<Instant>) -> WakeUp {
    WakeUp::TimedOut
}
