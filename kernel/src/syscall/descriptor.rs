//! Descriptors and descriptions: dup(2), fcntl(2), ioctl(2), pipe(2).

use super::at;
use crate::abi::{general, ioctl};
use crate::error::{Errno, Result};
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::inode::FileKind;
use crate::fs::signal_io::OwnerId;
use crate::fs::{locks, permission, pipe};
use crate::mm::UserPtr;
use crate::signal::Signal;
use crate::task::{Capability, Fd, Pid, Thread, Tid};
use alloc::sync::Arc;

/// dup(2).
pub fn sys_dup(t: &Thread, fd: Fd) -> Result<usize> {
    let file = t.file(fd)?;
    at::install(t, file, false)
}

fn do_dup(t: &Thread, old: Fd, new: Fd, cloexec: bool) -> Result<usize> {
    let table = t.files();
    let file = table.get(old)?;
    if let Some(replaced) = table.replace(new, file, cloexec, at::open_limit(t))? {
        table.finish_close(t, &replaced);
    }
    Ok(new.0 as usize)
}

/// dup2(2).
pub fn sys_dup2(t: &Thread, old: Fd, new: Fd) -> Result<usize> {
    if old == new {
        t.file(old)?;
        return Ok(new.0 as usize);
    }
    do_dup(t, old, new, false)
}

/// dup3(2).
pub fn sys_dup3(t: &Thread, old: Fd, new: Fd, flags: u32) -> Result<usize> {
    if old == new || flags & !OpenFlags::CLOEXEC.bits() != 0 {
        return Err(Errno::EINVAL.into());
    }
    do_dup(t, old, new, flags != 0)
}

/// fcntl(2).
pub fn sys_fcntl(t: &Thread, fd: Fd, command: u32, arg: usize) -> Result<usize> {
    let table = t.files();
    let file = table.get(fd)?;
    let path_only = [general::F_DUPFD, general::F_DUPFD_CLOEXEC, general::F_GETFD, general::F_SETFD, general::F_GETFL];
    if file.is_path_only() && !path_only.contains(&command) {
        return Err(Errno::EBADF.because("an O_PATH descriptor"));
    }
    match command {
        general::F_DUPFD | general::F_DUPFD_CLOEXEC => {
            let limit = at::open_limit(t);
            // The argument is an int: what is negative is beyond every limit.
            let from = arg as u32 as usize;
            if from as u64 >= limit {
                return Err(Errno::EINVAL.because("beyond RLIMIT_NOFILE"));
            }
            Ok(table.add_from(file, command == general::F_DUPFD_CLOEXEC, from, limit)?.0 as usize)
        }
        general::F_GETFD => Ok(usize::from(table.cloexec(fd)?)),
        general::F_SETFD => {
            table.set_cloexec(fd, arg & general::FD_CLOEXEC as usize != 0)?;
            Ok(0)
        }
        general::F_GETFL => Ok(file.flags().bits() as usize),
        general::F_SETFL => set_status_flags(t, &file, fd, OpenFlags::from_bits_retain(arg as u32)),
        general::F_GETLK | general::F_OFD_GETLK => {
            locks::get(t, &file, &table, UserPtr::new(arg), command == general::F_OFD_GETLK)
        }
        general::F_SETLK | general::F_SETLKW | general::F_OFD_SETLK | general::F_OFD_SETLKW => {
            let wait = matches!(command, general::F_SETLKW | general::F_OFD_SETLKW);
            let ofd = matches!(command, general::F_OFD_SETLK | general::F_OFD_SETLKW);
            locks::set(t, &file, &table, UserPtr::new(arg), ofd, wait)
        }
        general::F_SETPIPE_SZ => set_pipe_size(t, &file, arg),
        general::F_GETPIPE_SZ => Ok(file.ops().pipe().ok_or(Errno::EBADF)?.capacity()),
        general::F_GET_SEALS => Ok(file.inode().ok_or(Errno::EINVAL)?.seals()? as usize),
        general::F_ADD_SEALS => {
            if !file.flags().writable() {
                return Err(Errno::EPERM.because("seals are added through a descriptor that is open for writing"));
            }
            file.inode().ok_or(Errno::EINVAL)?.add_seals(arg as u32)?;
            Ok(0)
        }
        general::F_SETOWN | general::F_GETOWN => readiness_owner(t, &file, command == general::F_SETOWN, arg as i32),
        general::F_SETOWN_EX => {
            let [kind, number] = UserPtr::<OwnerEx>::new(arg).read()?;
            let id = match kind as u32 {
                general::F_OWNER_TID => OwnerId::Thread(Tid(number)),
                general::F_OWNER_PID => OwnerId::Process(Pid(number)),
                general::F_OWNER_PGRP => OwnerId::Group(Pid(number)),
                _ => return Err(Errno::EINVAL.because("no kind of owner")),
            };
            file.set_signal_owner(t, (number != 0).then_some(id))?;
            Ok(0)
        }
        general::F_GETOWN_EX => {
            let (kind, id) = match file.signal_owner() {
                None => (general::F_OWNER_PID, 0),
                Some(OwnerId::Thread(tid)) => (general::F_OWNER_TID, tid.0),
                Some(OwnerId::Process(pid)) => (general::F_OWNER_PID, pid.0),
                Some(OwnerId::Group(pid)) => (general::F_OWNER_PGRP, pid.0),
            };
            UserPtr::<OwnerEx>::new(arg).write([kind as i32, id])?;
            Ok(0)
        }
        general::F_SETSIG => {
            let signal = match arg {
                0 => None,
                n => Some(i32::try_from(n).ok().and_then(Signal::new).ok_or(Errno::EINVAL)?),
            };
            file.set_io_signal(signal);
            Ok(0)
        }
        general::F_GETSIG => Ok(file.io_signal().map_or(0, |s| s.number() as usize)),
        _ => Err(Errno::EINVAL.because("fcntl command not known here")),
    }
}

/// `struct f_owner_ex` of fcntl(2): kind and id.
type OwnerEx = [i32; 2];

/// F_SETOWN and F_GETOWN: a positive number is a process, a negative one a group.
fn readiness_owner(t: &Thread, file: &OpenFile, set: bool, who: i32) -> Result<usize> {
    if set {
        let id = match who {
            0 => None,
            i32::MIN => return Err(Errno::EINVAL.into()),
            1.. => Some(OwnerId::Process(Pid(who))),
            _ => Some(OwnerId::Group(Pid(-who))),
        };
        file.set_signal_owner(t, id)?;
        return Ok(0);
    }
    Ok(match file.signal_owner() {
        None => 0,
        Some(OwnerId::Thread(tid)) => tid.0 as usize,
        Some(OwnerId::Process(pid)) => pid.0 as usize,
        Some(OwnerId::Group(group)) => -group.0 as isize as usize,
    })
}

fn set_status_flags(t: &Thread, file: &OpenFile, fd: Fd, new: OpenFlags) -> Result<usize> {
    let asks = new.contains(OpenFlags::NOATIME) && !file.flags().contains(OpenFlags::NOATIME);
    if asks && !permission::owns(&file.metadata()?, &t.credentials()) {
        return Err(Errno::EPERM.because("O_NOATIME on another's file"));
    }
    file.set_async(fd, new.contains(OpenFlags::ASYNC));
    file.set_status_flags(new);
    Ok(0)
}

fn set_pipe_size(t: &Thread, file: &OpenFile, bytes: usize) -> Result<usize> {
    let pipe = file.ops().pipe().ok_or(Errno::EBADF)?;
    if bytes > pipe::MAX_CAPACITY && !t.credentials().capable(Capability::SysResource) {
        return Err(Errno::EPERM.because("beyond pipe-max-size"));
    }
    if bytes > 1 << 31 {
        return Err(Errno::EINVAL.into());
    }
    pipe.set_capacity(bytes)
}

fn is_socket(file: &OpenFile) -> bool {
    file.metadata().is_ok_and(|m| m.kind == FileKind::Socket)
}

/// ioctl(2): what is common to all files; the rest is the file's.
pub fn sys_ioctl(t: &Thread, fd: Fd, request: u32, arg: usize) -> Result<usize> {
    let table = t.files();
    let file = at::file(t, fd)?;
    match request {
        ioctl::FIOCLEX => table.set_cloexec(fd, true).map(|()| 0),
        ioctl::FIONCLEX => table.set_cloexec(fd, false).map(|()| 0),
        ioctl::FIONBIO => {
            let mut flags = file.flags();
            flags.set(OpenFlags::NONBLOCK, UserPtr::<i32>::new(arg).read()? != 0);
            file.set_status_flags(flags);
            Ok(0)
        }
        ioctl::FIOASYNC => {
            let on = UserPtr::<i32>::new(arg).read()? != 0;
            if on && !file.has_readiness() {
                return Err(Errno::ENOTTY.because("this file has no readiness to signal"));
            }
            file.set_async(fd, on);
            Ok(0)
        }
        ioctl::FIOSETOWN | ioctl::SIOCSPGRP if is_socket(&file) => {
            readiness_owner(t, &file, true, UserPtr::<i32>::new(arg).read()?)
        }
        ioctl::FIOGETOWN | ioctl::SIOCGPGRP if is_socket(&file) => {
            let owner = readiness_owner(t, &file, false, 0)?;
            UserPtr::<i32>::new(arg).write(owner as i32)?;
            Ok(0)
        }
        ioctl::FIONREAD if file.inode().is_some_and(|i| i.kind() == FileKind::Regular) => {
            let left = file.metadata()?.size.saturating_sub(*file.offset());
            UserPtr::<i32>::new(arg).write(left as i32)?;
            Ok(0)
        }
        _ => file.ops().ioctl(t, &file, request, arg),
    }
}

/// pipe2(2).
pub fn sys_pipe2(t: &Thread, out: UserPtr<[i32; 2]>, flags: u32) -> Result<usize> {
    let flags = OpenFlags::from_bits_retain(flags);
    if !(OpenFlags::CLOEXEC | OpenFlags::NONBLOCK | OpenFlags::DIRECT).contains(flags) {
        return Err(Errno::EINVAL.because("unknown pipe flags"));
    }
    let (read, write) = pipe::create(&t.credentials(), flags);
    install_pair(t, read, write, flags.contains(OpenFlags::CLOEXEC), out)
}

/// pipe(2).
pub fn sys_pipe(t: &Thread, out: UserPtr<[i32; 2]>) -> Result<usize> {
    sys_pipe2(t, out, 0)
}

/// Gives two descriptions numbers and tells the guest; takes both back if that fails.
pub(crate) fn install_pair(
    t: &Thread,
    first: Arc<OpenFile>,
    second: Arc<OpenFile>,
    cloexec: bool,
    out: UserPtr<[i32; 2]>,
) -> Result<usize> {
    let table = t.files();
    let limit = at::open_limit(t);
    let a = table.add(first, cloexec, limit)?;
    let b = match table.add(second, cloexec, limit) {
        Ok(b) => b,
        Err(e) => {
            drop(table.remove(a));
            return Err(e);
        }
    };
    if let Err(e) = out.write([a.0, b.0]) {
        drop((table.remove(a), table.remove(b)));
        return Err(e);
    }
    Ok(0)
}
