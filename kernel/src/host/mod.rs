//! Every call to the host OS goes through here.
//!
//! Plain calls use rustix's raw backend, which needs neither errno nor TLS. What rustix lacks (signal handlers, the
//! trap filter, per-thread timers) is a raw system call in `raw`.

extern crate std;

mod events;
mod fd;
mod memory;
mod preempt;
mod raw;
pub mod seccomp;
pub mod signal;
pub mod text;

pub use events::{WakeUp, is_stopping, kick, stop, stop_status, wait_for_events, write_stderr};
pub use fd::HostFd;
pub use memory::{AlignedBuffer, Mapping};
pub use preempt::{arm_preemption, start_preemption_timer};

/// Fills `buf` with random bytes from the host's generator (getrandom(2)).
pub fn random(mut buf: &mut [u8]) -> crate::error::Result<()> {
    while !buf.is_empty() {
        match rustix::rand::getrandom(&mut *buf, rustix::rand::GetRandomFlags::empty()) {
            Ok(n) => buf = &mut buf[n..],
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
