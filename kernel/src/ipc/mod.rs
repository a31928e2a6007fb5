//! Communication between processes that is neither file nor socket.

pub mod futex;
pub mod sysv;
