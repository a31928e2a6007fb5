//! Host descriptors.

use crate::error::{Errno, Result};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::pread;

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
    /// Reads from `offset` on until the buffer is full or the file ends; returns how many bytes were read (pread(2)).
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match pread(&self.0, &mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(Errno::from(e).into()),
            }
        }
        Ok(done)
    }

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
