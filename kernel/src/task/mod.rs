//! Threads and processes: their making, their ends, and who they act as.
//!
//! `clone` makes them, `exit` ends them, `wait` reports the end, `table` knows them all and guards the links between
//! them. Everything that a thread may share with others by clone(2) stands in slots of [`Thread`].

mod attributes;
mod clone;
mod credentials;
mod exec;
mod exit;
mod id_space;
mod ids;
mod load_average;
pub mod pidfd;
mod process;
mod rlimit;
mod table;
mod thread;
pub mod timers;
mod wait;

pub use attributes::{Attributes, DEFAULT_TIMER_SLACK, policy};
pub use clone::{CloneFlags, CloneRequest, do_clone, new_init_process, threads_max};
pub use credentials::{ALL_CAPABILITIES, Capability, Credentials, SECBIT_KEEP_CAPS, SECBIT_NO_SETUID_FIXUP};
pub use exec::{exec_done, kill_other_threads};
pub use exit::end_if_asked;
pub(crate) use exit::{leave_memory, notify_parent_of_change, owes_memory};
pub use id_space::PID_MAX;
pub use ids::{Fd, Gid, Pid, Tid, Uid};
pub use load_average::{FRACTION_BITS, load_averages, running_threads, start_load_averages};
pub(crate) use process::StateChange;
pub use process::{CpuTimes, ExitStatus, Process};
pub use rlimit::{INFINITY, RESOURCES, Resource, Rlimits};
pub use table::{
    INIT, all_processes, counts, find_process, find_thread, is_orphaned_group, new_session, processes_of_group,
    register, session_of_group, set_process_group,
};
pub use thread::{COMM_LEN, Completion, Thread, ThreadParts};
pub use wait::{Found, WaitFor, WaitOptions, do_wait};
