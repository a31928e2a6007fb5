//! Host descriptors.

use crate::error::Result;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};

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

impl HostFd {
    /// The same file once more, opened for reading only.
    ///
    /// # Errors
    /// The host's, of an open(2) through /proc/self/fd.
    pub fn reopened_for_reading(&self) -> Result<HostFd> {
        let name = alloc::format!("/proc/self/fd/{}", self.0.as_raw_fd());
        let fd = openat(CWD, name.as_bytes(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(HostFd(fd))
    }
}
