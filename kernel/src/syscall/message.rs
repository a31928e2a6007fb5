//! Messages: sendto(2), recvfrom(2), sendmsg(2), recvmsg(2), sendmmsg(2), recvmmsg(2).

use super::socket::{install, socket_file};
use crate::abi::general::__kernel_timespec;
use crate::error::{Errno, Result};
use crate::fs::file::{OpenFile, OpenFlags};
use crate::mm::{IovDest, IovSource, MAX_IOVECS, UserPtr, UserSlice};
use crate::net::file::address::write_address;
use crate::net::file::{ControlMessage, MessageFlags, RawAddress, Received, SendOptions, SocketFile, transfer};
use crate::task::{Fd, Thread};
use crate::time::{self, Duration};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// `struct msghdr` as words: name, namelen, iov, iovlen, control, controllen, flags.
type MessageHeader = [usize; 7];
const NAME: usize = 0;
const NAME_LEN: usize = 1;
const IOV: usize = 2;
const IOV_LEN: usize = 3;
const CONTROL: usize = 4;
const CONTROL_LEN: usize = 5;
const FLAGS: usize = 6;

/// Bytes of `struct mmsghdr`: a header and `msg_len`.
const MULTI_STRIDE: usize = size_of::<MessageHeader>() + 8;
/// `SCM_RIGHTS` of `SOL_SOCKET` (unix(7)).
const SCM_RIGHTS: i32 = 1;
const SOL_SOCKET: i32 = 1;
/// Bytes of `struct cmsghdr`.
const CONTROL_HEADER: usize = 16;
/// The most ancillary data that one call takes (`net.core.optmem_max`).
const CONTROL_MAX: usize = 131_072;

fn flags_from(bits: u32) -> MessageFlags {
    MessageFlags::from_bits_retain(bits)
}

/// sendto(2).
pub fn sys_sendto(t: &Thread, fd: Fd, buf: usize, len: usize, flags: u32, addr: usize, addr_len: i32) -> Result<usize> {
    let mut src = IovSource::user(buf, len)?;
    let file = socket_file(t, fd)?;
    let to = if addr == 0 { None } else { Some(RawAddress::read(addr, addr_len)?) };
    transfer::send(t, &file, &mut src, SendOptions { to, flags: flags_from(flags), control: Vec::new() })
}

/// recvfrom(2).
pub fn sys_recvfrom(
    t: &Thread,
    fd: Fd,
    buf: usize,
    len: usize,
    flags: u32,
    addr: usize,
    addr_len: UserPtr<i32>,
) -> Result<usize> {
    let mut dst = IovDest::user(buf, len)?;
    let file = socket_file(t, fd)?;
    let received = transfer::receive(t, &file, &mut dst, flags_from(flags), false)?;
    if addr != 0 {
        write_address(received.from.as_ref(), addr, addr_len)?;
    }
    Ok(received.len)
}

/// Where a header's iovecs are. EMSGSIZE if there are too many.
fn iovecs(header: &MessageHeader) -> Result<(UserPtr<[usize; 2]>, usize)> {
    if header[IOV_LEN] > MAX_IOVECS {
        return Err(Errno::EMSGSIZE.because("more than UIO_MAXIOV iovecs"));
    }
    Ok((UserPtr::new(header[IOV]), header[IOV_LEN]))
}

fn do_send(t: &Thread, file: &OpenFile, header: &MessageHeader, flags: MessageFlags) -> Result<usize> {
    let name_len = header[NAME_LEN] as i32;
    if name_len < 0 {
        return Err(Errno::EINVAL.because("a negative address length"));
    }
    let named = header[NAME] != 0 && name_len != 0;
    let to = if named { Some(RawAddress::read(header[NAME], name_len.min(128))?) } else { None };
    let (iov, count) = iovecs(header)?;
    let mut src = IovSource::iovecs(iov, count)?;
    let control = read_control(header[CONTROL], header[CONTROL_LEN])?;
    transfer::send(t, file, &mut src, SendOptions { to, flags, control })
}

/// sendmsg(2).
pub fn sys_sendmsg(t: &Thread, fd: Fd, message: UserPtr<MessageHeader>, flags: u32) -> Result<usize> {
    let file = socket_file(t, fd)?;
    do_send(t, &file, &message.read()?, flags_from(flags))
}

/// sendmmsg(2): how many messages were sent; an error only for the first.
pub fn sys_sendmmsg(t: &Thread, fd: Fd, messages: usize, count: u32, flags: u32) -> Result<usize> {
    let file = socket_file(t, fd)?;
    let mut sent = 0;
    for i in 0..(count as usize).min(MAX_IOVECS) {
        let at = messages.wrapping_add(i * MULTI_STRIDE);
        let one = || {
            let len = do_send(t, &file, &UserPtr::<MessageHeader>::new(at).read()?, flags_from(flags))?;
            UserPtr::<u32>::new(at.wrapping_add(size_of::<MessageHeader>())).write(len as u32)
        };
        match one() {
            Ok(()) => sent += 1,
            Err(_) if sent > 0 => break,
            Err(e) => return Err(e),
        }
    }
    Ok(sent)
}

/// Ancillary data from a program's buffer. EINVAL where a header's length does not fit.
fn read_control(addr: usize, len: usize) -> Result<Vec<ControlMessage>> {
    let mut messages = Vec::new();
    if len == 0 || addr == 0 {
        return Ok(messages);
    }
    if len > CONTROL_MAX {
        return Err(Errno::ENOBUFS.because("more ancillary data than optmem_max"));
    }
    let bytes = UserSlice::new(addr, len).read_vec(CONTROL_MAX)?;
    let mut rest = &bytes[..];
    while let Some((header, _)) = rest.split_first_chunk::<CONTROL_HEADER>() {
        let word = |at: usize| header[at..].first_chunk().map_or(0, |b| i32::from_ne_bytes(*b));
        let whole = header.first_chunk().map_or(0, |b| usize::from_ne_bytes(*b));
        if whole < CONTROL_HEADER || whole > rest.len() {
            return Err(Errno::EINVAL.because("cmsg_len does not fit the buffer"));
        }
        let data = rest[CONTROL_HEADER..whole].to_vec();
        messages.push(ControlMessage { level: word(8), kind: word(12), data });
        rest = &rest[whole.next_multiple_of(8).min(rest.len())..];
    }
    Ok(messages)
}

/// Writes ancillary data to a program's buffer; returns how many bytes, and whether something was cut.
fn write_control(messages: &[ControlMessage], addr: usize, room: usize) -> Result<(usize, bool)> {
    let mut used = 0;
    for message in messages {
        let left = room - used;
        if left < CONTROL_HEADER {
            return Ok((used, true));
        }
        let whole = CONTROL_HEADER + message.data.len();
        let shown = whole.min(left);
        let mut bytes = Vec::with_capacity(shown);
        bytes.extend_from_slice(&shown.to_ne_bytes());
        bytes.extend_from_slice(&message.level.to_ne_bytes());
        bytes.extend_from_slice(&message.kind.to_ne_bytes());
        bytes.extend_from_slice(&message.data[..shown - CONTROL_HEADER]);
        UserSlice::new(addr.wrapping_add(used), shown).write(&bytes)?;
        used += whole.next_multiple_of(8).min(left);
        if shown < whole {
            return Ok((used, true));
        }
    }
    Ok((used, false))
}

/// Gives received descriptions numbers and writes those as `SCM_RIGHTS`; returns how many bytes, and whether some had to
/// be dropped for want of room or of numbers (unix(7)).
fn write_rights(
    t: &Thread,
    rights: Vec<Arc<OpenFile>>,
    addr: usize,
    room: usize,
    cloexec: bool,
) -> Result<(usize, bool)> {
    let fit = room.saturating_sub(CONTROL_HEADER) / size_of::<i32>();
    let all = rights.len();
    let flags = if cloexec { OpenFlags::CLOEXEC } else { OpenFlags::empty() };
    let mut count = 0;
    for file in rights.into_iter().take(fit) {
        let Ok(fd) = install(t, file, flags) else { break };
        let at = addr.wrapping_add(CONTROL_HEADER + count * size_of::<i32>());
        if let Err(e) = UserPtr::<i32>::new(at).write(fd.0) {
            drop(t.files().remove(fd));
            if count == 0 {
                return Err(e);
            }
            break;
        }
        count += 1;
    }
    if count == 0 {
        return Ok((0, true));
    }
    let len = CONTROL_HEADER + count * size_of::<i32>();
    UserPtr::<usize>::new(addr).write(len)?;
    UserPtr::<[i32; 2]>::new(addr.wrapping_add(size_of::<usize>())).write([SOL_SOCKET, SCM_RIGHTS])?;
    Ok((len.next_multiple_of(8).min(room), count < all))
}

fn do_receive(t: &Thread, file: &OpenFile, message: UserPtr<MessageHeader>, flags: MessageFlags) -> Result<usize> {
    let header = message.read()?;
    if (header[NAME_LEN] as i32) < 0 {
        return Err(Errno::EINVAL.because("a negative address length"));
    }
    let (iov, count) = iovecs(&header)?;
    let mut dst = IovDest::iovecs(iov, count)?;
    let mut received = transfer::receive(t, file, &mut dst, flags, true)?;
    let mut shown = received.flags | (flags & MessageFlags::CMSG_CLOEXEC);
    let field = |index: usize| message.addr().wrapping_add(index * size_of::<usize>());
    if header[NAME] != 0 {
        let len = match &received.from {
            Some(from) => from.write(header[NAME], header[NAME_LEN] as i32)?,
            None => 0,
        };
        UserPtr::<u32>::new(field(NAME_LEN)).write(len)?;
    }
    let room = if header[CONTROL] == 0 { 0 } else { header[CONTROL_LEN] };
    let control = all_control(SocketFile::of(file)?, &received);
    let (mut used, mut cut) = write_control(&control, header[CONTROL], room)?;
    if !received.rights.is_empty() {
        let rights = core::mem::take(&mut received.rights);
        let cloexec = flags.contains(MessageFlags::CMSG_CLOEXEC);
        let (more, lost) = write_rights(t, rights, header[CONTROL].wrapping_add(used), room - used, cloexec)?;
        used += more;
        cut |= lost;
    }
    shown.set(MessageFlags::CTRUNC, cut);
    UserPtr::<usize>::new(field(CONTROL_LEN)).write(used)?;
    UserPtr::<u32>::new(field(FLAGS)).write(shown.bits())?;
    Ok(received.len)
}

/// A received message's ancillary data with the timestamp that the socket's options ask for.
fn all_control(socket: &SocketFile, received: &Received) -> Vec<ControlMessage> {
    let mut all = Vec::new();
    if let (Some(wanted), Some(arrived)) = (socket.timestamps(), received.arrived) {
        let wall = time::realtime().saturating_sub(time::now().saturating_since(arrived));
        all.push(wanted.message(wall));
    }
    all.extend(received.control.iter().cloned());
    all
}

/// recvmsg(2).
pub fn sys_recvmsg(t: &Thread, fd: Fd, message: UserPtr<MessageHeader>, flags: u32) -> Result<usize> {
    let file = socket_file(t, fd)?;
    do_receive(t, &file, message, flags_from(flags))
}

/// recvmmsg(2): how many messages were received; an error only for the first. The timeout is looked at after each
/// message, as on Linux, and what is left of it is written back.
pub fn sys_recvmmsg(
    t: &Thread,
    fd: Fd,
    messages: usize,
    count: u32,
    flags: u32,
    timeout: UserPtr<__kernel_timespec>,
) -> Result<usize> {
    let file = socket_file(t, fd)?;
    let started = time::now();
    let limit = match timeout.non_null() {
        None => None,
        Some(p) => {
            let ts = p.read()?;
            if ts.tv_sec < 0 || !(0..1_000_000_000).contains(&ts.tv_nsec) {
                return Err(Errno::EINVAL.because("not a time"));
            }
            Some(Duration::new(ts.tv_sec as u64, ts.tv_nsec as u32))
        }
    };
    let mut flags = flags_from(flags);
    let mut got = 0;
    for i in 0..(count as usize).min(MAX_IOVECS) {
        let at = messages.wrapping_add(i * MULTI_STRIDE);
        let one = || {
            let len = do_receive(t, &file, UserPtr::new(at), flags - MessageFlags::WAITFORONE)?;
            UserPtr::<u32>::new(at.wrapping_add(size_of::<MessageHeader>())).write(len as u32)
        };
        match one() {
            Ok(()) => got += 1,
            Err(_) if got > 0 => break,
            Err(e) => return Err(e),
        }
        if flags.contains(MessageFlags::WAITFORONE) {
            flags |= MessageFlags::DONTWAIT;
        }
        if limit.is_some_and(|l| time::now().saturating_since(started) >= l) {
            break;
        }
    }
    if let Some(limit) = limit {
        let left = limit.saturating_sub(time::now().saturating_since(started));
        timeout.write(__kernel_timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() })?;
    }
    Ok(got)
}
