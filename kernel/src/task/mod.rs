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

/// The session of a process group; `None` if there is no such group.
pub fn session_of_group(_group: Pid) -> Option<Pid> {
    None
}
