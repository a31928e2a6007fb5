//! Host descriptors.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

/// An open host file; closed when dropped.
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
