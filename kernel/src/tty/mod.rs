//! Terminals (termios(3), ioctl_tty(2)).
//!
//! A [`Tty`] is a line discipline ([`discipline`]) between a device, which brings input bytes and takes output bytes,
//! and the programs that have the terminal open. Input goes `receive` → discipline → queue → read(2); output goes
//! write(2) → discipline → device; echo takes the same way. The discipline is pure: it is given bytes and returns what
//! is to be queued, echoed and signalled, and the terminal acts on that after its lock is free.

pub mod console;
mod control;
mod device;
mod discipline;
mod file;
mod job_control;
mod pty;

pub use console::{console, open_console, register_poller};
pub use device::{Tty, TtyDevice};
pub use job_control::{hang_up_own, leader_exited, number_of_session, opened, set_init_session};
pub use pty::count as pty_count;
