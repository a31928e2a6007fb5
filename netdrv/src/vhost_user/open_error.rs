//! Why a vhost-user device could not be made, and what to do about it.

use crate::reason::Reason;
use alloc::string::String;
use core::fmt;
use rustix::io::Errno;

/// A device that could not be made. Displays as one line that ends in the remedy. A peer that is not there is no error:
/// the device waits for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenError {
    /// The guest's interface, such as `eth0`.
    pub interface: String,
    /// The socket's path.
    pub socket: String,
    /// What went wrong.
    pub failure: OpenFailure,
}

/// What went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenFailure {
    /// Somebody listens there, or the path is no socket.
    SocketInUse,
    /// The directory does not exist.
    NoDirectory,
    /// We may not make a socket there.
    Permission,
    /// The path is longer than a socket's may be.
    PathTooLong,
    /// Any other refusal of the host's.
    Host {
        /// The step that failed, in words.
        op: &'static str,
        /// The host's reason.
        errno: Errno,
    },
}

impl OpenFailure {
    /// What bind(2) said.
    pub(crate) fn bind(errno: Errno) -> OpenFailure {
        match errno {
            Errno::ADDRINUSE => OpenFailure::SocketInUse,
            Errno::NOENT => OpenFailure::NoDirectory,
            Errno::ACCESS | Errno::PERM => OpenFailure::Permission,
            Errno::NAMETOOLONG => OpenFailure::PathTooLong,
            errno => OpenFailure::Host { op: "binding the socket", errno },
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: cannot open {}: ", self.interface, self.socket)?;
        match self.failure {
            OpenFailure::SocketInUse => {
                f.write_str("it is in use: stop who listens there, name another path, or leave out `server`")
            }
            OpenFailure::NoDirectory => f.write_str("its directory does not exist: make it"),
            OpenFailure::Permission => f.write_str("permission denied: name a path in a directory of yours"),
            OpenFailure::PathTooLong => f.write_str("the path of a socket has at most 107 bytes: name a shorter one"),
            OpenFailure::Host { op, errno } => write!(f, "{op}: {}", Reason(errno)),
        }
    }
}

impl core::error::Error for OpenError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn every_failure_is_one_line_that_names_interface_and_socket() {
        for failure in [
            OpenFailure::SocketInUse,
            OpenFailure::NoDirectory,
            OpenFailure::Permission,
            OpenFailure::PathTooLong,
            OpenFailure::Host { op: "making a timer", errno: Errno::MFILE },
        ] {
            let line = OpenError { interface: "eth0".into(), socket: "/tmp/v.sock".into(), failure }.to_string();
            assert!(line.starts_with("eth0: cannot open /tmp/v.sock: ") && !line.contains('\n'), "{line}");
        }
    }
}
