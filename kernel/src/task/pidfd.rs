//! Descriptors that stand for a process (pidfd_open(2)).

use super::process::Process;
use crate::fs::file::{FileOps, OpenFile, OpenFlags};
use crate::fs::poll::{PollEvents, PollWatch};
use alloc::sync::Arc;

/// The file behind a pidfd: readable once the process has ended.
pub struct PidFd {
    process: Arc<Process>,
}

impl PidFd {
    /// The process.
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }
}

impl FileOps for PidFd {
    fn poll(&self, _file: &OpenFile, watch: &mut PollWatch<'_>) -> PollEvents {
        watch.watch(&self.process.exit_event);
        match self.process.exited() {
            Some(_) => PollEvents::READABLE,
            None => PollEvents::empty(),
        }
    }
}

/// A pidfd for `process`; with `nonblocking`, waitid(2) on it answers EAGAIN instead of waiting.
pub fn open(process: &Arc<Process>, nonblocking: bool) -> Arc<OpenFile> {
    let flags = if nonblocking { OpenFlags::RDWR | OpenFlags::NONBLOCK } else { OpenFlags::RDWR };
    OpenFile::anonymous(Arc::new(PidFd { process: process.clone() }), flags)
}
