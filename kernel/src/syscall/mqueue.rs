//! POSIX message queues: mq_open(2), mq_unlink(2), mq_timedsend(2), mq_timedreceive(2), mq_notify(2), mq_getsetattr(2).

use super::at;
use crate::abi::general::{self as c, __kernel_timespec};
use crate::error::{Errno, Result};
use crate::fs::Path;
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::inode::{Inode, NAME_MAX};
use crate::fs::mqueue::{self, Attributes, MessageQueue, Notify};
use crate::fs::permission::{self, Access};
use crate::mm::UserPtr;
use crate::net::file::SocketFile;
use crate::signal::Signal;
use crate::task::{Fd, Resource, Thread};
use crate::time::guest_clock::Clock;
use crate::time::{Instant, timespec};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Priorities are below this (`MQ_PRIO_MAX`).
const PRIORITIES: u32 = 32768;

/// `struct mq_attr`: flags, most messages, message size, messages, reserved.
type MqAttr = [i64; 8];
/// `struct sigevent`, as far as it counts here: value; signal and way in one word.
type Sigevent = [u64; 8];

/// A queue's name, as the C library gives it: without its slash.
fn read_name(name: UserPtr<u8>) -> Result<Vec<u8>> {
    let name = name.read_path()?;
    if name.is_empty() {
        return Err(Errno::ENOENT.because("an empty name"));
    }
    if name.contains(&b'/') || name == b"." || name == b".." {
        return Err(Errno::EACCES.because("a slash in the name"));
    }
    if name.len() > NAME_MAX {
        return Err(Errno::ENAMETOOLONG.into());
    }
    Ok(name)
}

/// mq_open(2)
pub fn sys_mq_open(t: &Thread, name: UserPtr<u8>, flags: u32, mode: u32, attr: UserPtr<MqAttr>) -> Result<usize> {
    let flags = OpenFlags::from_bits_truncate(flags);
    let given = match attr.non_null().filter(|_| flags.contains(OpenFlags::CREAT)) {
        Some(p) => {
            let a = p.read()?;
            // A negative number is larger than any limit.
            Some(Attributes { max_messages: a[1] as u64, message_size: a[2] as u64 })
        }
        None => None,
    };
    let name = read_name(name)?;
    let who = t.credentials();
    let (queue, made) = match mqueue::find(&name) {
        Some(_) if flags.contains(OpenFlags::CREAT | OpenFlags::EXCL) => return Err(Errno::EEXIST.into()),
        Some(queue) => (queue, false),
        None if !flags.contains(OpenFlags::CREAT) => return Err(Errno::ENOENT.into()),
        None => {
            let limit = t.process().rlimits().get(Resource::MsgQueue).rlim_cur;
            let mode = mode & 0o777 & !t.fs().umask();
            (mqueue::create(&name, mode, given, &who, limit)?, true)
        }
    };
    let mut want = Access::empty();
    want.set(Access::READ, flags.readable());
    want.set(Access::WRITE, flags.writable());
    if flags & OpenFlags::ACCMODE == OpenFlags::ACCMODE {
        return Err(Errno::EINVAL.because("no such access mode"));
    }
    // The maker may use the queue whatever its mode says.
    if !made {
        permission::check(&*queue, want, &who)?;
    }
    let label = [b"/", name.as_slice()].concat();
    let inode: Arc<dyn Inode> = queue.clone();
    let kept = flags & (OpenFlags::ACCMODE | OpenFlags::NONBLOCK);
    let file = OpenFile::opened(queue, kept, Path::detached(inode, &label));
    // As Linux: these descriptors close on exec whether O_CLOEXEC is given or not.
    at::install(t, file, true)
}

/// mq_unlink(2)
pub fn sys_mq_unlink(t: &Thread, name: UserPtr<u8>) -> Result<usize> {
    mqueue::unlink(&read_name(name)?, &t.credentials()).map(|()| 0)
}

fn deadline(timeout: UserPtr<__kernel_timespec>) -> Result<Option<Instant>> {
    match timeout.non_null() {
        Some(p) => Ok(Some(Clock::Realtime.instant_of(timespec::duration_of(p.read()?)?))),
        None => Ok(None),
    }
}

/// How long a call may wait: not at all with O_NONBLOCK.
fn patience(file: &OpenFile, deadline: Option<Instant>) -> Option<Option<Instant>> {
    (!file.nonblocking()).then_some(deadline)
}

/// mq_timedsend(2)
pub fn sys_mq_timedsend(
    t: &Thread,
    fd: Fd,
    message: UserPtr<u8>,
    len: usize,
    priority: u32,
    timeout: UserPtr<__kernel_timespec>,
) -> Result<usize> {
    let deadline = deadline(timeout)?;
    if priority >= PRIORITIES {
        return Err(Errno::EINVAL.because("MQ_PRIO_MAX"));
    }
    let file = at::file(t, fd)?;
    let queue = MessageQueue::of(&file)?;
    if !file.flags().writable() {
        return Err(Errno::EBADF.because("not open for writing"));
    }
    if len as u64 > queue.attributes().message_size {
        return Err(Errno::EMSGSIZE.because("longer than mq_msgsize"));
    }
    let text = message.read_many(len)?;
    queue.send(t, &text, priority, patience(&file, deadline)).map(|()| 0)
}

/// mq_timedreceive(2)
pub fn sys_mq_timedreceive(
    t: &Thread,
    fd: Fd,
    message: UserPtr<u8>,
    len: usize,
    priority: UserPtr<u32>,
    timeout: UserPtr<__kernel_timespec>,
) -> Result<usize> {
    let deadline = deadline(timeout)?;
    let file = at::file(t, fd)?;
    let queue = MessageQueue::of(&file)?;
    if !file.flags().readable() {
        return Err(Errno::EBADF.because("not open for reading"));
    }
    let (text, its_priority) = queue.receive(t, len, patience(&file, deadline))?;
    priority.write_if_given(its_priority)?;
    message.write_many(&text)?;
    Ok(text.len())
}

fn notify_of(t: &Thread, event: &Sigevent) -> Result<Notify> {
    let (signo, kind) = (event[1] as u32 as i32, (event[1] >> 32) as u32);
    match kind {
        c::SIGEV_NONE => Ok(Notify::Nothing),
        c::SIGEV_SIGNAL => {
            let signal = Signal::new(signo).ok_or(Errno::EINVAL.because("sigev_signo is no signal"))?;
            Ok(Notify::Signal(signal, event[0]))
        }
        // The C library's way: a netlink socket of its own gets the cookie that the value points to.
        c::SIGEV_THREAD => {
            let cookie = UserPtr::new(event[0] as usize).read()?;
            let socket = at::file(t, Fd(signo))?;
            if SocketFile::of(&socket)?.ops().kind().0 != crate::net::netlink::AF_NETLINK {
                return Err(Errno::EINVAL.because("not a netlink socket"));
            }
            Ok(Notify::Socket(socket, cookie))
        }
        _ => Err(Errno::EINVAL.because("no such sigev_notify")),
    }
}

/// mq_notify(2)
pub fn sys_mq_notify(t: &Thread, fd: Fd, event: UserPtr<Sigevent>) -> Result<usize> {
    let how = match event.non_null() {
        Some(p) => Some(notify_of(t, &p.read()?)?),
        None => None,
    };
    let file = at::file(t, fd)?;
    let queue = MessageQueue::of(&file)?;
    match how {
        Some(how) => queue.notify(t, how)?,
        None => queue.forget_notification(t),
    }
    Ok(0)
}

/// mq_getsetattr(2)
pub fn sys_mq_getsetattr(t: &Thread, fd: Fd, new: UserPtr<MqAttr>, old: UserPtr<MqAttr>) -> Result<usize> {
    let nonblock = i64::from(OpenFlags::NONBLOCK.bits());
    let wanted = match new.non_null() {
        Some(p) => Some(p.read()?[0]),
        None => None,
    };
    if wanted.is_some_and(|flags| flags & !nonblock != 0) {
        return Err(Errno::EINVAL.because("only O_NONBLOCK can be changed"));
    }
    let file = at::file(t, fd)?;
    let queue = MessageQueue::of(&file)?;
    let Attributes { max_messages, message_size } = *queue.attributes();
    let flags = if file.nonblocking() { nonblock } else { 0 };
    let now: MqAttr = [flags, max_messages as i64, message_size as i64, queue.len() as i64, 0, 0, 0, 0];
    if let Some(wanted) = wanted {
        let mut status = file.flags();
        status.set(OpenFlags::NONBLOCK, wanted != 0);
        file.set_status_flags(status);
    }
    old.write_if_given(now)?;
    Ok(0)
}
