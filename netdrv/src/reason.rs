//! Words for the host's refusals: without the standard library an errno is a bare number.

use core::fmt;
use rustix::io::Errno;

/// Displays what an errno means, and its name, for those that opening and driving a device can meet.
pub(crate) struct Reason(pub(crate) Errno);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Errno::PERM => "operation not permitted (EPERM)",
            Errno::ACCESS => "permission denied (EACCES)",
            Errno::NOENT => "no such file (ENOENT)",
            Errno::NODEV => "no such device (ENODEV)",
            Errno::BUSY => "busy (EBUSY)",
            Errno::INVAL => "invalid argument (EINVAL)",
            Errno::MFILE => "too many open files in this process (EMFILE)",
            Errno::NFILE => "too many open files on the host (ENFILE)",
            Errno::NOMEM => "the host is out of memory (ENOMEM)",
            Errno::NOBUFS => "the host is out of buffers (ENOBUFS)",
            Errno::NOTTY => "the host does not know this request (ENOTTY)",
            Errno::OPNOTSUPP => "not supported by the host (EOPNOTSUPP)",
            Errno::AFNOSUPPORT => "the host has no IPv4 (EAFNOSUPPORT)",
            Errno::ADDRINUSE => "address in use (EADDRINUSE)",
            Errno::CONNREFUSED => "connection refused (ECONNREFUSED)",
            Errno::CONNRESET => "connection reset (ECONNRESET)",
            Errno::PIPE => "end of the connection (EPIPE)",
            Errno::AGAIN => "it does not read (EAGAIN)",
            Errno::ADDRNOTAVAIL => "address not available (EADDRNOTAVAIL)",
            other => return write!(f, "host error {}", other.raw_os_error()),
        })
    }
}
