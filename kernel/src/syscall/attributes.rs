//! Calls that change what inodes say of themselves: chmod(2), chown(2), utimensat(2), truncate(2), umask(2).

use super::at::{self, NameAt};
use crate::error::{Errno, Result};
use crate::fs::attributes::NewTime;
use crate::fs::inode::{FileKind, SetAttributes, Timestamp};
use crate::fs::lookup::Resolve;
use crate::fs::{Actor, Path, io};
use crate::mm::UserPtr;
use crate::task::{Fd, Gid, Thread, Uid};

type Name = UserPtr<u8>;

fn place(t: &Thread, actor: &Actor, dir: Fd, name: Name, flags: u32) -> Result<Path> {
    let how = at::resolve_flags(flags, at::SYMLINK_NOFOLLOW | at::EMPTY_PATH)?;
    NameAt::read(t, dir, name)?.resolve(actor, how)
}

/// The place of an open file, for the `f` calls.
fn place_of_fd(t: &Thread, fd: Fd) -> Result<Path> {
    at::file(t, fd)?.path().cloned().ok_or_else(|| Errno::EPERM.because("an anonymous file keeps no attributes"))
}

/// fchmodat2(2).
pub fn sys_fchmodat2(t: &Thread, dir: Fd, name: Name, mode: u32, flags: u32) -> Result<usize> {
    let actor = Actor::of(t);
    let path = place(t, &actor, dir, name, flags)?;
    actor.chmod(&path, mode)?;
    Ok(0)
}

/// fchmodat(2) as the kernel has it, without flags.
pub fn sys_fchmodat(t: &Thread, dir: Fd, name: Name, mode: u32) -> Result<usize> {
    sys_fchmodat2(t, dir, name, mode, 0)
}

/// chmod(2).
pub fn sys_chmod(t: &Thread, name: Name, mode: u32) -> Result<usize> {
    sys_fchmodat2(t, Fd::CWD, name, mode, 0)
}

/// fchmod(2).
pub fn sys_fchmod(t: &Thread, fd: Fd, mode: u32) -> Result<usize> {
    Actor::of(t).chmod(&place_of_fd(t, fd)?, mode)?;
    Ok(0)
}

fn owner(uid: u32, gid: u32) -> (Option<Uid>, Option<Gid>) {
    ((uid != u32::MAX).then_some(Uid(uid)), (gid != u32::MAX).then_some(Gid(gid)))
}

/// fchownat(2).
pub fn sys_fchownat(t: &Thread, dir: Fd, name: Name, uid: u32, gid: u32, flags: u32) -> Result<usize> {
    let actor = Actor::of(t);
    let path = place(t, &actor, dir, name, flags)?;
    let (uid, gid) = owner(uid, gid);
    actor.chown(&path, uid, gid)?;
    Ok(0)
}

/// chown(2).
pub fn sys_chown(t: &Thread, name: Name, uid: u32, gid: u32) -> Result<usize> {
    sys_fchownat(t, Fd::CWD, name, uid, gid, 0)
}

/// lchown(2).
pub fn sys_lchown(t: &Thread, name: Name, uid: u32, gid: u32) -> Result<usize> {
    sys_fchownat(t, Fd::CWD, name, uid, gid, at::SYMLINK_NOFOLLOW)
}

/// fchown(2).
pub fn sys_fchown(t: &Thread, fd: Fd, uid: u32, gid: u32) -> Result<usize> {
    let (uid, gid) = owner(uid, gid);
    Actor::of(t).chown(&place_of_fd(t, fd)?, uid, gid)?;
    Ok(0)
}

/// One time of utimensat(2), with its two special nanosecond values.
fn new_time([seconds, nanos]: [i64; 2]) -> Result<NewTime> {
    const UTIME_NOW: i64 = (1 << 30) - 1;
    const UTIME_OMIT: i64 = (1 << 30) - 2;
    match nanos {
        UTIME_NOW => Ok(NewTime::Now),
        UTIME_OMIT => Ok(NewTime::Omit),
        0..1_000_000_000 => Ok(NewTime::At(Timestamp { seconds, nanos: nanos as u32 })),
        _ => Err(Errno::EINVAL.because("nanoseconds out of range")),
    }
}

/// utimensat(2); a NULL name means the descriptor itself.
pub fn sys_utimensat(t: &Thread, dir: Fd, name: Name, times: UserPtr<[[i64; 2]; 2]>, flags: u32) -> Result<usize> {
    let [atime, mtime] = match times.non_null() {
        None => [NewTime::Now; 2],
        Some(times) => {
            let [a, m] = times.read()?;
            [new_time(a)?, new_time(m)?]
        }
    };
    if [atime, mtime] == [NewTime::Omit; 2] {
        // Nothing to do, so nothing is looked at.
        return Ok(0);
    }
    let actor = Actor::of(t);
    let path = if name.is_null() && dir != Fd::CWD {
        if flags != 0 {
            return Err(Errno::EINVAL.because("flags without a name"));
        }
        place_of_fd(t, dir)?
    } else {
        place(t, &actor, dir, name, flags)?
    };
    actor.set_times(&path, atime, mtime)?;
    Ok(0)
}

fn from_micros([seconds, micros]: [i64; 2]) -> Result<NewTime> {
    match micros {
        0..1_000_000 => Ok(NewTime::At(Timestamp { seconds, nanos: micros as u32 * 1000 })),
        _ => Err(Errno::EINVAL.because("microseconds out of range")),
    }
}

/// futimesat(2).
pub fn sys_futimesat(t: &Thread, dir: Fd, name: Name, times: UserPtr<[[i64; 2]; 2]>) -> Result<usize> {
    let [atime, mtime] = match times.non_null() {
        None => [NewTime::Now; 2],
        Some(times) => {
            let [a, m] = times.read()?;
            [from_micros(a)?, from_micros(m)?]
        }
    };
    let actor = Actor::of(t);
    let path = if name.is_null() { place_of_fd(t, dir)? } else { place(t, &actor, dir, name, 0)? };
    actor.set_times(&path, atime, mtime)?;
    Ok(0)
}

/// utimes(2).
pub fn sys_utimes(t: &Thread, name: Name, times: UserPtr<[[i64; 2]; 2]>) -> Result<usize> {
    sys_futimesat(t, Fd::CWD, name, times)
}

/// utime(2).
pub fn sys_utime(t: &Thread, name: Name, times: UserPtr<[i64; 2]>) -> Result<usize> {
    let [atime, mtime] = match times.non_null() {
        None => [NewTime::Now; 2],
        Some(times) => times.read()?.map(|seconds| NewTime::At(Timestamp { seconds, nanos: 0 })),
    };
    let actor = Actor::of(t);
    let path = place(t, &actor, Fd::CWD, name, 0)?;
    actor.set_times(&path, atime, mtime)?;
    Ok(0)
}

fn new_size(size: i64) -> Result<u64> {
    u64::try_from(size).map_err(|_| Errno::EINVAL.because("a negative size"))
}

/// truncate(2).
pub fn sys_truncate(t: &Thread, name: Name, size: i64) -> Result<usize> {
    let size = new_size(size)?;
    let actor = Actor::of(t);
    let path = NameAt::read(t, Fd::CWD, name)?.resolve(&actor, Resolve::empty())?;
    actor.check_truncate(&path)?;
    io::check_growth(t, &**path.inode(), size)?;
    actor.truncate(&path, size)?;
    Ok(0)
}

/// ftruncate(2).
pub fn sys_ftruncate(t: &Thread, fd: Fd, size: i64) -> Result<usize> {
    let size = new_size(size)?;
    let file = at::file(t, fd)?;
    let path = file.path().filter(|p| p.inode().kind() == FileKind::Regular);
    let Some(path) = path.filter(|_| file.flags().writable()) else {
        return Err(Errno::EINVAL.because("not a regular file that is open for writing"));
    };
    io::check_growth(t, &**path.inode(), size)?;
    path.change(&SetAttributes { size: Some(size), ..SetAttributes::default() })?;
    Ok(0)
}

/// umask(2).
pub fn sys_umask(t: &Thread, mask: u32) -> Result<usize> {
    Ok(t.fs().set_umask(mask) as usize)
}
