//! An open host file.

use crate::error::{Errno, Result};
use crate::fs::file::{FileOps, MapSource, OpenFile, OpenFlags};
use crate::host::HostFd;
use crate::mm::{IovDest, IovSource};
use alloc::sync::Arc;
use rustix::fs::OFlags;

pub(super) struct HostFile {
    fd: Arc<HostFd>,
    readable: bool,
}

impl HostFile {
    pub(super) fn new(fd: HostFd, readable: bool) -> Self {
        HostFile { fd: Arc::new(fd), readable }
    }
}

/// The offset as the host takes it: below 2^63.
fn host_offset(offset: Option<u64>) -> Result<u64> {
    offset
        .filter(|&o| o <= i64::MAX as u64)
        .ok_or_else(|| Errno::EINVAL.because("an offset beyond the end of all files"))
}

impl FileOps for HostFile {
    fn read(&self, _file: &OpenFile, dst: &mut IovDest<'_>, offset: Option<u64>) -> Result<usize> {
        dst.fill_from(&*self.fd, Some(host_offset(offset)?))
    }

    /// With O_APPEND, the host's descriptor has it too, and the offset is ignored there.
    fn write(&self, _file: &OpenFile, src: &mut IovSource<'_>, offset: Option<u64>) -> Result<usize> {
        src.drain_to(&*self.fd, Some(host_offset(offset)?))
    }

    /// The host appends by its own descriptor's flag.
    fn flags_changed(&self, file: &OpenFile) {
        let Ok(mut how) = rustix::fs::fcntl_getfl(&*self.fd) else { return };
        how.set(OFlags::APPEND, file.flags().contains(OpenFlags::APPEND));
        let _unchanged = rustix::fs::fcntl_setfl(&*self.fd, how);
    }

    fn seekable(&self) -> bool {
        true
    }

    fn map_source(&self, _file: &OpenFile) -> Result<MapSource> {
        if !self.readable {
            return Err(Errno::EACCES.because("a file that is not open for reading cannot be mapped"));
        }
        Ok(MapSource::Host(self.fd.clone()))
    }
}
