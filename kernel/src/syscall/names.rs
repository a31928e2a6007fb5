//! Calls on names: mkdir(2), mknod(2), link(2), symlink(2), readlink(2), unlink(2), rename(2).

use super::at::{self, NameAt};
use crate::abi::general;
use crate::error::{Errno, Result};
use crate::fs::Actor;
use crate::fs::inode::{DeviceNumber, FileKind, NewKind, RenameMode};
use crate::fs::lookup::Resolve;
use crate::mm::{UserPtr, UserSlice};
use crate::task::{Capability, Fd, Thread};

type Name = UserPtr<u8>;

/// mkdirat(2).
pub fn sys_mkdirat(t: &Thread, dir: Fd, name: Name, mode: u32) -> Result<usize> {
    let at = NameAt::read(t, dir, name)?;
    Actor::of(t).mkdir(at.base(), &at.name, mode)?;
    Ok(0)
}

/// mkdir(2).
pub fn sys_mkdir(t: &Thread, name: Name, mode: u32) -> Result<usize> {
    sys_mkdirat(t, Fd::CWD, name, mode)
}

/// mknodat(2).
pub fn sys_mknodat(t: &Thread, dir: Fd, name: Name, mode: u32, device: u32) -> Result<usize> {
    let number = DeviceNumber(u64::from(device));
    let kind = match FileKind::from_mode(mode) {
        Some(FileKind::Regular) => NewKind::Regular,
        None if mode & 0o170000 == 0 => NewKind::Regular,
        Some(FileKind::Fifo) => NewKind::Fifo,
        Some(FileKind::Socket) => NewKind::Socket,
        Some(FileKind::CharDevice) => NewKind::CharDevice(number),
        Some(FileKind::BlockDevice) => NewKind::BlockDevice(number),
        Some(FileKind::Directory) => return Err(Errno::EPERM.because("mknod makes no directories")),
        _ => return Err(Errno::EINVAL.because("mknod makes no such kind of file")),
    };
    let at = NameAt::read(t, dir, name)?;
    Actor::of(t).mknod(at.base(), &at.name, kind, mode)?;
    Ok(0)
}

/// mknod(2).
pub fn sys_mknod(t: &Thread, name: Name, mode: u32, device: u32) -> Result<usize> {
    sys_mknodat(t, Fd::CWD, name, mode, device)
}

/// symlinkat(2).
pub fn sys_symlinkat(t: &Thread, target: Name, dir: Fd, name: Name) -> Result<usize> {
    let target = target.read_path()?;
    let at = NameAt::read(t, dir, name)?;
    Actor::of(t).symlink(&target, at.base(), &at.name)?;
    Ok(0)
}

/// symlink(2).
pub fn sys_symlink(t: &Thread, target: Name, name: Name) -> Result<usize> {
    sys_symlinkat(t, target, Fd::CWD, name)
}

/// linkat(2).
pub fn sys_linkat(t: &Thread, from_dir: Fd, from: Name, dir: Fd, name: Name, flags: u32) -> Result<usize> {
    if flags & !(at::SYMLINK_FOLLOW | at::EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.because("unknown AT_ flags"));
    }
    let actor = Actor::of(t);
    let mut how = Resolve::empty();
    how.set(Resolve::NO_FOLLOW, flags & at::SYMLINK_FOLLOW == 0);
    how.set(Resolve::EMPTY_PATH, flags & at::EMPTY_PATH != 0);
    let from = NameAt::read(t, from_dir, from)?;
    if from.name.is_empty() && flags & at::EMPTY_PATH != 0 && !actor.who.capable(Capability::DacReadSearch) {
        return Err(Errno::ENOENT.because("AT_EMPTY_PATH without CAP_DAC_READ_SEARCH"));
    }
    let target = from.resolve(&actor, how)?;
    let at = NameAt::read(t, dir, name)?;
    actor.link(&target, at.base(), &at.name)?;
    Ok(0)
}

/// link(2).
pub fn sys_link(t: &Thread, from: Name, name: Name) -> Result<usize> {
    sys_linkat(t, Fd::CWD, from, Fd::CWD, name, 0)
}

/// readlinkat(2).
pub fn sys_readlinkat(t: &Thread, dir: Fd, name: Name, buf: usize, len: i32) -> Result<usize> {
    let len = usize::try_from(len).ok().filter(|&n| n > 0).ok_or(Errno::EINVAL)?;
    let at = NameAt::read(t, dir, name)?;
    let text = Actor::of(t).read_link(at.base(), &at.name)?;
    UserSlice::new(buf, len).write(&text)
}

/// readlink(2).
pub fn sys_readlink(t: &Thread, name: Name, buf: usize, len: i32) -> Result<usize> {
    sys_readlinkat(t, Fd::CWD, name, buf, len)
}

/// unlinkat(2).
pub fn sys_unlinkat(t: &Thread, dir: Fd, name: Name, flags: u32) -> Result<usize> {
    const REMOVEDIR: u32 = 0x200;
    if flags & !REMOVEDIR != 0 {
        return Err(Errno::EINVAL.because("unknown AT_ flags"));
    }
    let at = NameAt::read(t, dir, name)?;
    let actor = Actor::of(t);
    if flags == REMOVEDIR { actor.rmdir(at.base(), &at.name) } else { actor.unlink(at.base(), &at.name) }?;
    Ok(0)
}

/// unlink(2).
pub fn sys_unlink(t: &Thread, name: Name) -> Result<usize> {
    sys_unlinkat(t, Fd::CWD, name, 0)
}

/// rmdir(2).
pub fn sys_rmdir(t: &Thread, name: Name) -> Result<usize> {
    sys_unlinkat(t, Fd::CWD, name, 0x200)
}

/// renameat2(2).
pub fn sys_renameat2(t: &Thread, old_dir: Fd, old: Name, new_dir: Fd, new: Name, flags: u32) -> Result<usize> {
    let mode = match flags {
        0 => RenameMode::Replace,
        general::RENAME_NOREPLACE => RenameMode::NoReplace,
        general::RENAME_EXCHANGE => RenameMode::Exchange,
        _ => return Err(Errno::EINVAL.because("RENAME_NOREPLACE or RENAME_EXCHANGE, nothing else")),
    };
    let old = NameAt::read(t, old_dir, old)?;
    let new = NameAt::read(t, new_dir, new)?;
    Actor::of(t).rename((old.base(), &old.name), (new.base(), &new.name), mode)?;
    Ok(0)
}

/// renameat(2).
pub fn sys_renameat(t: &Thread, old_dir: Fd, old: Name, new_dir: Fd, new: Name) -> Result<usize> {
    sys_renameat2(t, old_dir, old, new_dir, new, 0)
}

/// rename(2).
pub fn sys_rename(t: &Thread, old: Name, new: Name) -> Result<usize> {
    sys_renameat2(t, Fd::CWD, old, Fd::CWD, new, 0)
}
