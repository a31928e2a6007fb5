//! Errors of the kernel: an errno for the guest and a static reason for the log.
//!
//! Typed errors stay inside a subsystem; where a call leaves it, they become an [`Error`]. The reason is shown by
//! `trace=syscalls`, so that `-1 EINVAL` comes with the check that failed.

use core::fmt;

macro_rules! errnos {
    ($($name:ident $text:literal,)*) => {
        impl Errno {
            $(#[doc = $text] pub const $name: Errno = Errno(linux_raw_sys::errno::$name as u16);)*

            /// The symbolic name, such as `ENOENT`; `None` for a number that Linux does not define.
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Errno::$name => Some(stringify!($name)),)*
                    Errno::ERESTARTSYS => Some("ERESTARTSYS"),
                    Errno::ERESTARTNOINTR => Some("ERESTARTNOINTR"),
                    Errno::ERESTARTNOHAND => Some("ERESTARTNOHAND"),
                    Errno::ERESTART_RESTARTBLOCK => Some("ERESTART_RESTARTBLOCK"),
                    _ => None,
                }
            }

            /// What errno(3) says of it.
            pub const fn describe(self) -> &'static str {
                match self {
                    $(Errno::$name => $text,)*
                    _ => "unknown error",
                }
            }
        }
    };
}

/// A Linux error number, positive (errno(3)).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(u16);

impl Errno {
    /// Interrupted; restarts if the handler has SA_RESTART (signal(7)). Never seen by a guest.
    pub const ERESTARTSYS: Errno = Errno(512);
    /// Interrupted; restarts always. Never seen by a guest.
    pub const ERESTARTNOINTR: Errno = Errno(513);
    /// Interrupted; restarts only if no handler ran. Never seen by a guest.
    pub const ERESTARTNOHAND: Errno = Errno(514);
    /// Interrupted; goes on through restart_syscall(2) if no handler ran. Never seen by a guest.
    pub const ERESTART_RESTARTBLOCK: Errno = Errno(516);

    /// From a positive number, as host calls report it.
    pub const fn from_raw(raw: i32) -> Errno {
        Errno(raw as u16)
    }

    /// The positive number.
    pub const fn raw(self) -> i32 {
        self.0 as i32
    }

    /// This error with the check that failed.
    pub const fn because(self, reason: &'static str) -> Error {
        Error { errno: self, reason }
    }

    /// Whether this is one of the internal restart codes.
    pub const fn is_restart(self) -> bool {
        self.0 >= 512 && self.0 <= 516
    }
}

errnos! {
    EPERM "Operation not permitted", ENOENT "No such file or directory", ESRCH "No such process",
    EINTR "Interrupted system call", EIO "Input/output error", ENXIO "No such device or address",
    E2BIG "Argument list too long", ENOEXEC "Exec format error", EBADF "Bad file descriptor",
    ECHILD "No child processes", EAGAIN "Resource temporarily unavailable", ENOMEM "Cannot allocate memory",
    EACCES "Permission denied", EFAULT "Bad address", ENOTBLK "Block device required",
    EBUSY "Device or resource busy", EEXIST "File exists", EXDEV "Invalid cross-device link",
    ENODEV "No such device", ENOTDIR "Not a directory", EISDIR "Is a directory", EINVAL "Invalid argument",
    ENFILE "Too many open files in system", EMFILE "Too many open files",
    ENOTTY "Inappropriate ioctl for device", ETXTBSY "Text file busy", EFBIG "File too large",
    ENOSPC "No space left on device", ESPIPE "Illegal seek", EROFS "Read-only file system",
    EMLINK "Too many links", EPIPE "Broken pipe", EDOM "Numerical argument out of domain",
    ERANGE "Numerical result out of range", EDEADLK "Resource deadlock avoided",
    ENAMETOOLONG "File name too long", ENOLCK "No locks available", ENOSYS "Function not implemented",
    ENOTEMPTY "Directory not empty", ELOOP "Too many levels of symbolic links",
    ENOMSG "No message of desired type", EIDRM "Identifier removed", ENODATA "No data available",
    ETIME "Timer expired", ENOLINK "Link has been severed", EPROTO "Protocol error",
    ELIBBAD "Accessing a corrupted shared library", EBADMSG "Bad message", EOVERFLOW "Value too large for defined data type", EILSEQ "Invalid or incomplete multibyte or wide character",
    EUSERS "Too many users", ENOTSOCK "Socket operation on non-socket",
    EDESTADDRREQ "Destination address required", EMSGSIZE "Message too long",
    EPROTOTYPE "Protocol wrong type for socket", ENOPROTOOPT "Protocol not available",
    EPROTONOSUPPORT "Protocol not supported", ESOCKTNOSUPPORT "Socket type not supported",
    EOPNOTSUPP "Operation not supported", EPFNOSUPPORT "Protocol family not supported",
    EAFNOSUPPORT "Address family not supported by protocol", EADDRINUSE "Address already in use",
    EADDRNOTAVAIL "Cannot assign requested address", ENETDOWN "Network is down",
    ENETUNREACH "Network is unreachable", ENETRESET "Network dropped connection on reset",
    ECONNABORTED "Software caused connection abort", ECONNRESET "Connection reset by peer",
    ENOBUFS "No buffer space available", EISCONN "Transport endpoint is already connected",
    ENOTCONN "Transport endpoint is not connected", ESHUTDOWN "Cannot send after transport endpoint shutdown",
    ETOOMANYREFS "Too many references: cannot splice", ETIMEDOUT "Connection timed out",
    ECONNREFUSED "Connection refused", EHOSTDOWN "Host is down", EHOSTUNREACH "No route to host",
    EALREADY "Operation already in progress", EINPROGRESS "Operation now in progress",
    ESTALE "Stale file handle", EUCLEAN "Structure needs cleaning", EDQUOT "Disk quota exceeded", ECANCELED "Operation canceled",
    EOWNERDEAD "Owner died", ENOTRECOVERABLE "State not recoverable",
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?} ({})", self.describe())
    }
}

impl core::error::Error for Errno {}

impl From<rustix::io::Errno> for Errno {
    fn from(e: rustix::io::Errno) -> Self {
        Errno::from_raw(e.raw_os_error())
    }
}

/// An errno with the check that failed; the reason is empty where the errno says it all.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error {
    errno: Errno,
    reason: &'static str,
}

impl Error {
    /// What the guest sees.
    pub const fn errno(self) -> Errno {
        self.errno
    }

    /// The check that failed, for the trace.
    pub const fn reason(self) -> &'static str {
        self.reason
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Error { errno, reason: "" }
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(e: rustix::io::Errno) -> Self {
        Errno::from(e).into()
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reason.is_empty() {
            fmt::Display::fmt(&self.errno, f)
        } else {
            write!(f, "{:?}: {}", self.errno, self.reason)
        }
    }
}

impl core::error::Error for Error {}

/// The kernel's result.
pub type Result<T, E = Error> = core::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree_with_linux() {
        assert_eq!(Errno::ENOENT.raw(), 2);
        assert_eq!(Errno::ENOSYS.raw(), 38);
        assert_eq!(Errno::from_raw(110), Errno::ETIMEDOUT);
        assert_eq!(Errno::EAGAIN.name(), Some("EAGAIN"));
        assert!(Errno::ERESTARTSYS.is_restart());
        assert!(!Errno::ENOTRECOVERABLE.is_restart());
    }
}
