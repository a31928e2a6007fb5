//! Directories and the places of a process: getdents(2), chdir(2), getcwd(2), chroot(2).

use super::at::{self, NameAt};
use crate::error::{Errno, Result};
use crate::fs::inode::{DirEntry, FileKind};
use crate::fs::lookup::Resolve;
use crate::fs::permission::{self, Access};
use crate::fs::{Actor, Path};
use crate::mm::{UserPtr, UserSlice};
use crate::task::{Capability, Fd, Thread};
use alloc::vec::Vec;

/// Most bytes of entries that one call returns.
const MAX_BATCH: usize = 64 * 1024;

/// Room for an entry's fixed part: inode number, cookie, length.
const FIXED: usize = 18;

fn list(t: &Thread, fd: Fd, out: UserSlice, pack: fn(&mut Vec<u8>, &DirEntry<'_>, usize) -> bool) -> Result<usize> {
    let file = at::file(t, fd)?;
    let room = out.len.min(MAX_BATCH);
    let mut packed = Vec::with_capacity(room.min(4096));
    let mut refused = false;
    let from = *file.offset();
    let mut to = from;
    file.list(from, &mut |entry| {
        if !pack(&mut packed, entry, room) {
            refused = true;
            return false;
        }
        to = entry.next;
        true
    })?;
    if packed.is_empty() && refused {
        return Err(Errno::EINVAL.because("the buffer is too small for the next entry"));
    }
    out.write(&packed)?;
    *file.offset() = to;
    Ok(packed.len())
}

/// Appends `struct linux_dirent64` (getdents(2)); false if it does not fit.
fn pack64(out: &mut Vec<u8>, e: &DirEntry<'_>, room: usize) -> bool {
    let len = (FIXED + 1 + e.name.len() + 1).next_multiple_of(8);
    let end = out.len() + len;
    if end > room {
        return false;
    }
    out.extend_from_slice(&e.ino.to_ne_bytes());
    out.extend_from_slice(&e.next.to_ne_bytes());
    out.extend_from_slice(&(len as u16).to_ne_bytes());
    out.push(e.kind.map_or(0, FileKind::dirent_type));
    out.extend_from_slice(e.name);
    out.resize(end, 0);
    true
}

/// Appends `struct linux_dirent`, whose type stands in the last byte; false if it does not fit.
fn pack_old(out: &mut Vec<u8>, e: &DirEntry<'_>, room: usize) -> bool {
    let len = (FIXED + e.name.len() + 2).next_multiple_of(8);
    let end = out.len() + len;
    if end > room {
        return false;
    }
    out.extend_from_slice(&e.ino.to_ne_bytes());
    out.extend_from_slice(&e.next.to_ne_bytes());
    out.extend_from_slice(&(len as u16).to_ne_bytes());
    out.extend_from_slice(e.name);
    out.resize(end - 1, 0);
    out.push(e.kind.map_or(0, FileKind::dirent_type));
    true
}

/// getdents64(2).
pub fn sys_getdents64(t: &Thread, fd: Fd, buf: usize, len: u32) -> Result<usize> {
    list(t, fd, UserSlice::new(buf, len as usize), pack64)
}

/// getdents(2).
pub fn sys_getdents(t: &Thread, fd: Fd, buf: usize, len: u32) -> Result<usize> {
    list(t, fd, UserSlice::new(buf, len as usize), pack_old)
}

fn check_directory(actor: &Actor, path: &Path) -> Result<()> {
    if path.inode().kind() != FileKind::Directory {
        return Err(Errno::ENOTDIR.into());
    }
    permission::check(&**path.inode(), Access::EXEC, &actor.who)
}

/// chdir(2).
pub fn sys_chdir(t: &Thread, name: UserPtr<u8>) -> Result<usize> {
    let actor = Actor::of(t);
    let path = NameAt::read(t, Fd::CWD, name)?.resolve(&actor, Resolve::DIRECTORY)?;
    check_directory(&actor, &path)?;
    actor.fs.set_cwd(path);
    Ok(0)
}

/// fchdir(2).
pub fn sys_fchdir(t: &Thread, fd: Fd) -> Result<usize> {
    let actor = Actor::of(t);
    let file = t.file(fd)?;
    let path = file.path().ok_or(Errno::ENOTDIR)?;
    check_directory(&actor, path)?;
    actor.fs.set_cwd(path.clone());
    Ok(0)
}

/// chroot(2).
pub fn sys_chroot(t: &Thread, name: UserPtr<u8>) -> Result<usize> {
    let actor = Actor::of(t);
    let path = NameAt::read(t, Fd::CWD, name)?.resolve(&actor, Resolve::DIRECTORY)?;
    check_directory(&actor, &path)?;
    if !actor.who.capable(Capability::SysChroot) {
        return Err(Errno::EPERM.into());
    }
    actor.fs.set_root(path);
    Ok(0)
}

/// getcwd(2) as the kernel has it: the length with the NUL.
pub fn sys_getcwd(t: &Thread, buf: usize, len: usize) -> Result<usize> {
    let fs = t.fs();
    let cwd = fs.cwd();
    if cwd.dentry().is_unlinked() {
        return Err(Errno::ENOENT.because("the working directory has been removed"));
    }
    let (name, reached) = cwd.name_below(&fs.root());
    let mut text = if reached { Vec::new() } else { b"(unreachable)".to_vec() };
    text.extend_from_slice(&name);
    text.push(0);
    if text.len() > len {
        return Err(Errno::ERANGE.into());
    }
    UserSlice::new(buf, len).write(&text)
}
