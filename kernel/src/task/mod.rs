//! Threads and processes: their making, their ends, and who they act as.

mod credentials;
mod ids;
mod process;
mod rlimit;
mod thread;

pub use credentials::{ALL_CAPABILITIES, Capability, Credentials};
pub use ids::{Fd, Gid, Pid, Tid, Uid};
pub use process::{CpuTimes, ExitStatus, Process};
pub use rlimit::{INFINITY, RESOURCES, Resource, Rlimits};
pub use thread::{COMM_LEN, Thread, ThreadParts};
pub fn new_init_process() -> alloc::sync::Arc<Process> {
    Process::new(Pid(1), alloc::sync::Weak::new(), Pid(1), Pid(1), 0, crate::signal::ProcessSignals, Rlimits::default())
}
pub fn register(t: &alloc::sync::Arc<Thread>) {
    t.process().family.lock().threads.push(t.clone());
}
pub fn end_if_asked(_t: &Thread) {}
pub fn kill_other_threads(_t: &Thread) -> crate::error::Result<()> {
    Ok(())
}
pub fn exec_done(_t: &Thread) {}

/// The session of a process group; `None` if there is no such group.
pub fn session_of_group(_group: Pid) -> Option<Pid> {
    None
}
