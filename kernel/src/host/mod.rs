//! Every call to the host OS goes through here.
//!
//! Plain calls use rustix's raw backend, which needs neither errno nor TLS. What rustix lacks (signal handlers, the
//! trap filter, per-thread timers) is a raw system call in `raw`.

extern crate std;

pub mod aio;
pub mod console;
mod events;
mod fd;
mod memory;
mod preempt;
mod raw;
pub mod seccomp;
pub mod signal;
mod system;
pub mod text;
mod text_image;
pub mod vdso;
mod window;

pub use events::{WakeUp, is_stopping, kick, stop, stop_status, wait_for_events, write_stderr};
pub use fd::HostFd;
pub use memory::{AlignedBuffer, LazyPages, LazyWords, Mapping};
pub use preempt::{arm_preemption, preemption_fired, start_preemption_timer};
pub use raw::{exit_now, walk_frames};
pub use system::{clock_source_is_tsc, raise_descriptor_limit, random, read_file};
pub use text_image::TextImage;
pub use window::{HostWindow, Prot};
