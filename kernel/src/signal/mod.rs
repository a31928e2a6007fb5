//! Signals.

/// A thread's part.
#[derive(Debug)]
pub struct ThreadSignals;

impl ThreadSignals {
    pub(crate) fn new(_blocked: u64) -> Self {
        ThreadSignals
    }
    pub(crate) fn is_pending(&self) -> bool {
        false
    }
}

/// A process's part.
#[derive(Debug)]
pub struct ProcessSignals;

/// Sends SIGPIPE to the thread.
pub fn raise_sigpipe(_t: &crate::task::Thread) {}
