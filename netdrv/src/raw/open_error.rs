//! Why a packet socket could not be opened, and what to do about it.

use crate::reason::Reason;
use alloc::string::String;
use core::fmt;
use rustix::io::Errno;

/// A host interface that could not be opened. Displays as one line that ends in the remedy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenError {
    /// The guest's interface, such as `eth0`.
    pub interface: String,
    /// The host's interface.
    pub host_interface: String,
    /// What went wrong.
    pub failure: OpenFailure,
}

/// What went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenFailure {
    /// There is none of this name.
    NoSuchInterface,
    /// CAP_NET_RAW is missing.
    Permission,
    /// It is not an ethernet interface.
    NotEthernet,
    /// Any other refusal of the host's.
    Host {
        /// The step that failed, in words.
        op: &'static str,
        /// The host's reason.
        errno: Errno,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: cannot open {}: ", self.interface, self.host_interface)?;
        match self.failure {
            OpenFailure::NoSuchInterface => f.write_str("the host has no such interface: name one of `ip link`"),
            OpenFailure::Permission => f.write_str("permission denied: run as root, or with CAP_NET_RAW"),
            OpenFailure::NotEthernet => f.write_str("it is not an ethernet interface: name another"),
            OpenFailure::Host { op, errno } => write!(f, "{op}: {}", Reason(errno)),
        }
    }
}

impl core::error::Error for OpenError {}
