//! Sockets as files: what the socket calls, read, write and poll have in common.
//!
//! A [`SocketFile`] is the file behind a descriptor. It holds what every socket has, whatever its family: timeouts and
//! the options of `SOL_SOCKET` that no protocol looks at. What a family does is behind [`SocketOps`]. As with
//! [`FileOps`], no operation blocks; [`transfer`] registers, looks again and sleeps.

pub mod address;
pub mod inet;
mod inet_option;
mod interface_ioctl;
pub(super) mod option;
mod route_ioctl;
mod tcp_info;
pub mod transfer;

pub use address::{RawAddress, SocketAddress};
pub use option::{OptionValue, Timestamps};

use crate::error::{Errno, Error, Result};
use crate::fs::file::{Direction, FileOps, OpenFile, OpenFlags};
use crate::fs::inode::{FileKind, InodeId, Metadata};
use crate::fs::poll::{PollEvents, PollWatch};
use crate::mm::{IovDest, IovSource};
use crate::net::{NetError, Shutdown};
use crate::task::Thread;
use crate::time::{Duration, Instant};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use option::CommonOptions;

bitflags::bitflags! {
    /// `MSG_*` flags (send(2), recv(2)).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    #[allow(missing_docs)]
    pub struct MessageFlags: u32 {
        const OOB = 0x1;
        const PEEK = 0x2;
        const DONTROUTE = 0x4;
        const CTRUNC = 0x8;
        const TRUNC = 0x20;
        const DONTWAIT = 0x40;
        const EOR = 0x80;
        const WAITALL = 0x100;
        const ERRQUEUE = 0x2000;
        const NOSIGNAL = 0x4000;
        const MORE = 0x8000;
        const WAITFORONE = 0x1_0000;
        const FASTOPEN = 0x2000_0000;
        const CMSG_CLOEXEC = 0x4000_0000;
        const _ = !0;
    }
}

/// `SOCK_*` types (socket(2)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum SocketType {
    Stream = 1,
    Datagram = 2,
    Raw = 3,
    SeqPacket = 5,
}

/// Ancillary data of one message (cmsg(3)).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControlMessage {
    /// `cmsg_level`.
    pub level: i32,
    /// `cmsg_type`.
    pub kind: i32,
    /// The bytes after the header.
    pub data: Vec<u8>,
}

/// What a message is sent with beside its bytes.
#[derive(Default)]
pub struct SendOptions {
    /// To whom, where the program says.
    pub to: Option<RawAddress>,
    /// `MSG_*`.
    pub flags: MessageFlags,
    /// Ancillary data.
    pub control: Vec<ControlMessage>,
}

/// What a receive call returns beside the bytes.
#[derive(Default)]
pub struct Received {
    /// The call's result: bytes received, or with MSG_TRUNC the datagram's length.
    pub len: usize,
    /// From whom, where the protocol says.
    pub from: Option<SocketAddress>,
    /// `msg_flags`.
    pub flags: MessageFlags,
    /// Ancillary data.
    pub control: Vec<ControlMessage>,
    /// Open file descriptions that came with it (`SCM_RIGHTS`).
    pub rights: Vec<Arc<OpenFile>>,
    /// When it came, where the protocol says.
    pub arrived: Option<Instant>,
}

/// What a family of sockets does. No operation blocks: EAGAIN where it would.
pub trait SocketOps: Send + Sync {
    /// `SO_DOMAIN`, `SO_TYPE` and `SO_PROTOCOL`.
    fn kind(&self) -> (u16, SocketType, i32);

    /// The present readiness, after showing `watch` the queues that may change it.
    fn poll(&self, watch: &mut PollWatch<'_>) -> PollEvents;

    /// bind(2).
    fn bind(&self, t: &Thread, address: &RawAddress) -> Result<()>;

    /// connect(2): EINPROGRESS once it has begun, EALREADY while it lasts.
    fn connect(&self, t: &Thread, address: &RawAddress) -> Result<()>;

    /// listen(2).
    fn listen(&self, backlog: usize) -> Result<()>;

    /// accept(2): the new socket and its peer's address.
    fn accept(&self) -> Result<(Box<dyn SocketOps>, SocketAddress)>;

    /// getsockname(2).
    fn local_address(&self) -> Result<SocketAddress>;

    /// getpeername(2).
    fn peer_address(&self) -> Result<SocketAddress>;

    /// shutdown(2).
    fn shutdown(&self, how: Shutdown) -> Result<()>;

    /// Takes a message of the kernel's own. EINVAL where none is taken.
    fn deliver(&self, message: &[u8]) -> Result<()> {
        let _ = message;
        Err(Errno::EINVAL.because("only netlink sockets take messages from the kernel"))
    }

    /// Takes bytes to send; on a stream maybe not all. EPIPE after the end.
    fn send(&self, src: &mut IovSource<'_>, options: &SendOptions) -> Result<usize>;

    /// Moves received bytes to `dst`. Ancillary data is collected only where `control` asks.
    fn receive(&self, dst: &mut IovDest<'_>, flags: MessageFlags, control: bool) -> Result<Received>;

    /// Bytes that a blocking receive waits for at least (`SO_RCVLOWAT`).
    fn low_water(&self) -> usize {
        1
    }

    /// setsockopt(2) of what [`SocketFile`] does not know itself.
    fn set_option(&self, t: &Thread, level: i32, name: i32, value: &OptionValue<'_>) -> Result<()>;

    /// getsockopt(2), likewise.
    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>>;

    /// Waits before the last close, as `SO_LINGER` asks (socket(7)).
    fn linger(&self, t: &Thread) {
        let _ = t;
    }

    /// The unix socket, if it is one.
    fn unix(&self) -> Option<&crate::net::unix::UnixSocket> {
        None
    }

    /// The family's own ioctl(2) calls.
    fn ioctl(&self, t: &Thread, request: u32, arg: usize) -> Result<usize> {
        let _ = (t, request, arg);
        Err(Errno::ENOTTY.into())
    }
}

/// A socket behind a descriptor.
pub struct SocketFile {
    ops: Box<dyn SocketOps>,
    common: CommonOptions,
    id: InodeId,
}

impl SocketFile {
    /// An open file description for a socket. `flags` may hold NONBLOCK.
    pub fn open(ops: Box<dyn SocketOps>, flags: OpenFlags) -> Arc<OpenFile> {
        Self::with_common(ops, CommonOptions::default(), flags)
    }

    /// The same for a socket that `listener` accepted: it inherits options.
    pub fn accepted(ops: Box<dyn SocketOps>, listener: &SocketFile, flags: OpenFlags) -> Arc<OpenFile> {
        Self::with_common(ops, listener.common.inherit(), flags)
    }

    fn with_common(ops: Box<dyn SocketOps>, common: CommonOptions, flags: OpenFlags) -> Arc<OpenFile> {
        let file = SocketFile { ops, common, id: crate::fs::mount::internal_id() };
        OpenFile::anonymous(Arc::new(file), OpenFlags::RDWR | (flags & OpenFlags::NONBLOCK))
    }

    /// The socket behind an open file. ENOTSOCK if it is something else.
    pub fn of(file: &OpenFile) -> Result<&SocketFile> {
        file.ops().downcast_ref().ok_or_else(|| Errno::ENOTSOCK.into())
    }

    /// What its family does.
    pub fn ops(&self) -> &dyn SocketOps {
        &*self.ops
    }

    /// Whether it carries a stream of bytes, not messages.
    pub fn is_stream(&self) -> bool {
        self.ops.kind().1 == SocketType::Stream
    }
}

impl FileOps for SocketFile {
    fn read(&self, file: &OpenFile, dst: &mut IovDest<'_>, _offset: Option<u64>) -> Result<usize> {
        if dst.is_empty() {
            return Ok(0);
        }
        transfer::receive_once(self, dst, MessageFlags::empty(), file.nonblocking(), false).map(|r| r.len)
    }

    fn write(&self, _file: &OpenFile, src: &mut IovSource<'_>, _offset: Option<u64>) -> Result<usize> {
        self.ops.send(src, &SendOptions::default())
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(Metadata::new(self.id, FileKind::Socket, 0o777))
    }

    fn label(&self) -> String {
        alloc::format!("socket:[{}]", self.id.ino)
    }

    fn poll(&self, _file: &OpenFile, watch: &mut PollWatch<'_>) -> PollEvents {
        self.ops.poll(watch)
    }

    fn raises_sigpipe(&self) -> bool {
        self.is_stream()
    }

    fn timeout(&self, direction: Direction) -> Option<Duration> {
        self.common.timeout(direction)
    }

    fn linger(&self, thread: &Thread) {
        self.ops.linger(thread);
    }

    fn deliver(&self, message: &[u8]) -> Result<()> {
        self.ops.deliver(message)
    }

    fn ioctl(&self, thread: &Thread, _file: &OpenFile, request: u32, arg: usize) -> Result<usize> {
        match self.ops.ioctl(thread, request, arg) {
            Err(e) if e.errno() == Errno::ENOTTY => interface_ioctl::ioctl(thread, request, arg),
            other => other,
        }
    }
}

impl From<NetError> for Error {
    fn from(e: NetError) -> Error {
        Errno::from_raw(e.errno()).into()
    }
}
