//! Sockets and connections: socket(2), socketpair(2), bind(2), listen(2), accept(2), connect(2), shutdown(2),
//! getsockname(2), getpeername(2).

use super::at::open_limit;
use super::descriptor::install_pair;
use crate::error::{Errno, Result};
use crate::fs::file::{OpenFile, OpenFlags};
use crate::mm::UserPtr;
use crate::net::Shutdown;
use crate::net::file::address::{AF_INET, AF_INET6, write_address};
use crate::net::file::inet::InetSocket;
use crate::net::file::{RawAddress, SocketFile, SocketOps, transfer};
use crate::net::netlink::{self, AF_NETLINK};
use crate::net::unix::{self, AF_UNIX};
use crate::task::{Fd, Thread};
use alloc::boxed::Box;
use alloc::sync::Arc;

/// `SOCK_NONBLOCK` and `SOCK_CLOEXEC` have the numbers of the open flags.
const SOCK_NONBLOCK: u32 = OpenFlags::NONBLOCK.bits();
const SOCK_CLOEXEC: u32 = OpenFlags::CLOEXEC.bits();
/// The bits of a socket's type without the flags.
const SOCK_TYPE_MASK: u32 = 0xf;

/// The open flags in a socket's type, or of accept4(2). EINVAL if there are others.
fn flags_from(bits: u32) -> Result<OpenFlags> {
    if bits & !(SOCK_NONBLOCK | SOCK_CLOEXEC) != 0 {
        return Err(Errno::EINVAL.because("unknown flags"));
    }
    Ok(OpenFlags::from_bits_retain(bits))
}

/// Gives a socket's description a number.
pub(super) fn install(t: &Thread, file: Arc<OpenFile>, flags: OpenFlags) -> Result<Fd> {
    t.files().add(file, flags.contains(OpenFlags::CLOEXEC), open_limit(t))
}

/// socket(2).
pub fn sys_socket(t: &Thread, domain: i32, kind: u32, protocol: i32) -> Result<usize> {
    let flags = flags_from(kind & !SOCK_TYPE_MASK)?;
    let ops = create(t, domain, kind & SOCK_TYPE_MASK, protocol)?;
    Ok(install(t, SocketFile::open(ops, flags), flags)?.0 as usize)
}

fn create(t: &Thread, domain: i32, kind: u32, protocol: i32) -> Result<Box<dyn SocketOps>> {
    match u16::try_from(domain) {
        Ok(domain @ (AF_INET | AF_INET6)) => InetSocket::create(t, domain, kind, protocol),
        Ok(AF_UNIX) => unix::create(kind, protocol),
        Ok(AF_NETLINK) => netlink::create(kind, protocol),
        _ => Err(Errno::EAFNOSUPPORT.because("no sockets of this family")),
    }
}

/// socketpair(2).
pub fn sys_socketpair(t: &Thread, domain: i32, kind: u32, protocol: i32, out: UserPtr<[i32; 2]>) -> Result<usize> {
    let flags = flags_from(kind & !SOCK_TYPE_MASK)?;
    if domain != i32::from(AF_UNIX) {
        create(t, domain, kind & SOCK_TYPE_MASK, protocol)?;
        return Err(Errno::EOPNOTSUPP.because("only unix sockets come in pairs"));
    }
    let [a, b] = unix::pair(t, kind & SOCK_TYPE_MASK, protocol)?;
    let (a, b) = (SocketFile::open(a, flags), SocketFile::open(b, flags));
    install_pair(t, a, b, flags.contains(OpenFlags::CLOEXEC), out)
}

/// The description behind a descriptor, which must be a socket's.
pub(super) fn socket_file(t: &Thread, fd: Fd) -> Result<Arc<OpenFile>> {
    let file = t.file(fd)?;
    SocketFile::of(&file)?;
    Ok(file)
}

/// bind(2).
pub fn sys_bind(t: &Thread, fd: Fd, addr: usize, len: i32) -> Result<usize> {
    let file = socket_file(t, fd)?;
    let address = RawAddress::read(addr, len)?;
    SocketFile::of(&file)?.ops().bind(t, &address)?;
    Ok(0)
}

/// listen(2). A negative backlog is the largest, as on Linux.
pub fn sys_listen(t: &Thread, fd: Fd, backlog: i32) -> Result<usize> {
    let file = socket_file(t, fd)?;
    SocketFile::of(&file)?.ops().listen(usize::try_from(backlog).unwrap_or(usize::MAX))?;
    Ok(0)
}

/// accept(2).
pub fn sys_accept(t: &Thread, fd: Fd, addr: usize, len: UserPtr<i32>) -> Result<usize> {
    sys_accept4(t, fd, addr, len, 0)
}

/// accept4(2).
pub fn sys_accept4(t: &Thread, fd: Fd, addr: usize, len: UserPtr<i32>, flags: u32) -> Result<usize> {
    let flags = flags_from(flags)?;
    let file = socket_file(t, fd)?;
    // A connection that is taken off the queue and gets no number is lost.
    t.files().check_room(open_limit(t))?;
    let (ops, peer) = transfer::accept(t, &file)?;
    let accepted = SocketFile::accepted(ops, SocketFile::of(&file)?, flags);
    if addr != 0 {
        write_address(Some(&peer), addr, len)?;
    }
    Ok(install(t, accepted, flags)?.0 as usize)
}

/// connect(2).
pub fn sys_connect(t: &Thread, fd: Fd, addr: usize, len: i32) -> Result<usize> {
    let file = socket_file(t, fd)?;
    let address = RawAddress::read(addr, len)?;
    transfer::connect(t, &file, &address)?;
    Ok(0)
}

/// shutdown(2).
pub fn sys_shutdown(t: &Thread, fd: Fd, how: i32) -> Result<usize> {
    let file = socket_file(t, fd)?;
    let how = match how {
        0 => Shutdown::Read,
        1 => Shutdown::Write,
        2 => Shutdown::Both,
        _ => return Err(Errno::EINVAL.because("neither SHUT_RD, SHUT_WR nor SHUT_RDWR")),
    };
    SocketFile::of(&file)?.ops().shutdown(how)?;
    Ok(0)
}

/// getsockname(2).
pub fn sys_getsockname(t: &Thread, fd: Fd, addr: usize, len: UserPtr<i32>) -> Result<usize> {
    let file = socket_file(t, fd)?;
    let address = SocketFile::of(&file)?.ops().local_address()?;
    write_address(Some(&address), addr, len)?;
    Ok(0)
}

/// getpeername(2).
pub fn sys_getpeername(t: &Thread, fd: Fd, addr: usize, len: UserPtr<i32>) -> Result<usize> {
    let file = socket_file(t, fd)?;
    let address = SocketFile::of(&file)?.ops().peer_address()?;
    write_address(Some(&address), addr, len)?;
    Ok(0)
}
