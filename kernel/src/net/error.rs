//! Why a network operation failed; errno values exist only at the edge ([`NetError::errno`]).

use linux_raw_sys::errno;

/// A failed network operation. Names follow the meaning, the errno is in `socket(7)`, `tcp(7)`, `udp(7)`, `ip(7)`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum NetError {
    /// Nothing to do now: wait for readiness (`EAGAIN`).
    WouldBlock,
    /// The connection attempt has begun (`EINPROGRESS`).
    InProgress,
    /// An earlier connection attempt has not finished (`EALREADY`).
    AlreadyInProgress,
    /// The socket is connected already (`EISCONN`).
    AlreadyConnected,
    /// The socket is not connected (`ENOTCONN`).
    NotConnected,
    /// The peer refused (`ECONNREFUSED`).
    ConnectionRefused,
    /// The peer reset the connection (`ECONNRESET`).
    ConnectionReset,
    /// The connection went away before it was accepted (`ECONNABORTED`).
    ConnectionAborted,
    /// The peer did not answer in time (`ETIMEDOUT`).
    TimedOut,
    /// No answer from the next hop, or a router said so (`EHOSTUNREACH`).
    HostUnreachable,
    /// No route (`ENETUNREACH`).
    NetUnreachable,
    /// The interface is down (`ENETDOWN`).
    NetDown,
    /// The address or port is taken (`EADDRINUSE`).
    AddrInUse,
    /// The address is not ours, or every ephemeral port is taken (`EADDRNOTAVAIL`).
    AddrNotAvailable,
    /// The sending side is shut down (`EPIPE`).
    BrokenPipe,
    /// An argument makes no sense here (`EINVAL`).
    Invalid,
    /// No destination was given and the socket has none (`EDESTADDRREQ`).
    DestinationRequired,
    /// The datagram does not fit (`EMSGSIZE`).
    MessageTooLong,
    /// Broadcast without `SO_BROADCAST` (`EACCES`).
    AccessDenied,
    /// A queue or table is full (`ENOBUFS`).
    NoBuffers,
    /// The call does not fit this kind of socket (`EOPNOTSUPP`).
    NotSupported,
    /// The option is unknown, or the peer has no such protocol (`ENOPROTOOPT`).
    NoProtocolOption,
    /// The socket id is stale (`EBADF`).
    BadSocket,
    /// The address is of another family (`EAFNOSUPPORT`).
    FamilyNotSupported,
    /// No such interface (`ENODEV`).
    NoDevice,
    /// The route, address or neighbour exists already (`EEXIST`).
    Exists,
    /// No such route (`ESRCH`).
    NoSuchRoute,
    /// No such entry (`ENOENT`).
    NotFound,
    /// Reading is shut down on a datagram socket: `recvfrom` returns 0 bytes (no errno).
    EndOfData,
    /// The caller's copy routine took fewer bytes than a datagram has (`EFAULT`).
    Fault,
}

impl NetError {
    /// The positive errno value (`errno(3)`); 0 for [`NetError::EndOfData`].
    pub fn errno(self) -> i32 {
        let e = match self {
            Self::WouldBlock => errno::EAGAIN,
            Self::InProgress => errno::EINPROGRESS,
            Self::AlreadyInProgress => errno::EALREADY,
            Self::AlreadyConnected => errno::EISCONN,
            Self::NotConnected => errno::ENOTCONN,
            Self::ConnectionRefused => errno::ECONNREFUSED,
            Self::ConnectionReset => errno::ECONNRESET,
            Self::ConnectionAborted => errno::ECONNABORTED,
            Self::TimedOut => errno::ETIMEDOUT,
            Self::HostUnreachable => errno::EHOSTUNREACH,
            Self::NetUnreachable => errno::ENETUNREACH,
            Self::NetDown => errno::ENETDOWN,
            Self::AddrInUse => errno::EADDRINUSE,
            Self::AddrNotAvailable => errno::EADDRNOTAVAIL,
            Self::BrokenPipe => errno::EPIPE,
            Self::Invalid => errno::EINVAL,
            Self::DestinationRequired => errno::EDESTADDRREQ,
            Self::MessageTooLong => errno::EMSGSIZE,
            Self::AccessDenied => errno::EACCES,
            Self::NoBuffers => errno::ENOBUFS,
            Self::NotSupported => errno::EOPNOTSUPP,
            Self::NoProtocolOption => errno::ENOPROTOOPT,
            Self::BadSocket => errno::EBADF,
            Self::FamilyNotSupported => errno::EAFNOSUPPORT,
            Self::NoDevice => errno::ENODEV,
            Self::Exists => errno::EEXIST,
            Self::NoSuchRoute => errno::ESRCH,
            Self::NotFound => errno::ENOENT,
            Self::EndOfData => 0,
            Self::Fault => errno::EFAULT,
        };
        e as i32
    }
}
