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
pub fn out_of_memory(_t: &crate::task::Thread) {
    panic!("oom")
}
pub fn force_segv(t: &crate::task::Thread, _d: bool, tr: &crate::arch::Trap) {
    t.context.with_frame(|f| panic!("segv {tr:x?} {f:x?}"))
}
pub fn force_trap(t: &crate::task::Thread, tr: &crate::arch::Trap) {
    t.context.with_frame(|f| panic!("trap {tr:x?} {f:x?}"))
}
pub fn deliver(_t: &crate::task::Thread, _f: &mut crate::arch::TrapFrame) {}

/// Sends a signal to a process group.
pub fn send_to_group(_group: crate::task::Pid, _signal: u8) {}

/// Whether the thread ignores or blocks a signal.
pub fn ignores(_t: &crate::task::Thread, _signal: u8) -> bool {
    false
}
