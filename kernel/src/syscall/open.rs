//! open(2), openat2(2), close(2), close_range(2).

use super::at::{self, NameAt};
use crate::abi::general::open_how;
use crate::error::{Errno, Result};
use crate::fs::file::OpenFlags;
use crate::fs::lookup::Resolve;
use crate::fs::{Actor, fifo};
use crate::mm::{UserPtr, UserSlice};
use crate::task::{Fd, Thread};
use alloc::sync::Arc;

/// The flags that open(2) knows; it ignores others, openat2(2) refuses them.
const KNOWN_FLAGS: OpenFlags = OpenFlags::ACCMODE
    .union(OpenFlags::CREAT)
    .union(OpenFlags::EXCL)
    .union(OpenFlags::NOCTTY)
    .union(OpenFlags::TRUNC)
    .union(OpenFlags::APPEND)
    .union(OpenFlags::NONBLOCK)
    .union(OpenFlags::SYNC)
    .union(OpenFlags::ASYNC)
    .union(OpenFlags::DIRECT)
    .union(OpenFlags::LARGEFILE)
    .union(OpenFlags::DIRECTORY)
    .union(OpenFlags::NOFOLLOW)
    .union(OpenFlags::NOATIME)
    .union(OpenFlags::CLOEXEC)
    .union(OpenFlags::PATH)
    .union(OpenFlags::TMPFILE);

/// What `O_PATH` lets stand of the other flags.
const PATH_FLAGS: OpenFlags =
    OpenFlags::PATH.union(OpenFlags::DIRECTORY).union(OpenFlags::NOFOLLOW).union(OpenFlags::CLOEXEC);

fn clean_flags(flags: u32) -> OpenFlags {
    let flags = OpenFlags::from_bits_retain(flags) & KNOWN_FLAGS;
    if flags.contains(OpenFlags::PATH) { flags & PATH_FLAGS } else { flags | OpenFlags::LARGEFILE }
}

fn do_openat(t: &Thread, at: &NameAt, flags: OpenFlags, mode: u32, how: Resolve) -> Result<usize> {
    // O_TMPFILE holds the bit of O_DIRECTORY; without that, the other half of it means nothing.
    let tmpfile_bit = OpenFlags::TMPFILE & !OpenFlags::DIRECTORY;
    if flags.intersects(tmpfile_bit) && !flags.contains(OpenFlags::TMPFILE) {
        return Err(Errno::EINVAL.because("half of O_TMPFILE"));
    }
    // Before O_CREAT makes or O_TRUNC empties a file that then gets no number.
    t.files().check_room(at::open_limit(t))?;
    let file = Actor::of(t).open(at.base(), &at.name, flags, mode, how)?;
    fifo::wait_for_peer(t, &file)?;
    crate::tty::opened(t, &file, flags);
    at::install(t, file, flags.contains(OpenFlags::CLOEXEC))
}

/// open(2).
pub fn sys_open(t: &Thread, name: UserPtr<u8>, flags: u32, mode: u32) -> Result<usize> {
    sys_openat(t, Fd::CWD, name, flags, mode)
}

/// openat(2).
pub fn sys_openat(t: &Thread, dir: Fd, name: UserPtr<u8>, flags: u32, mode: u32) -> Result<usize> {
    do_openat(t, &NameAt::read(t, dir, name)?, clean_flags(flags), mode, Resolve::empty())
}

/// creat(2).
pub fn sys_creat(t: &Thread, name: UserPtr<u8>, mode: u32) -> Result<usize> {
    let flags = OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::TRUNC;
    sys_openat(t, Fd::CWD, name, flags.bits(), mode)
}

/// openat2(2).
pub fn sys_openat2(t: &Thread, dir: Fd, name: UserPtr<u8>, how: UserPtr<open_how>, size: usize) -> Result<usize> {
    const KNOWN_SIZE: usize = size_of::<open_how>();
    if size < KNOWN_SIZE {
        return Err(Errno::EINVAL.because("struct open_how is smaller than its first version"));
    }
    if size > 4096 {
        return Err(Errno::E2BIG.into());
    }
    let rest = UserSlice::new(how.addr() + KNOWN_SIZE, size - KNOWN_SIZE).read_vec(4096)?;
    if rest.iter().any(|&b| b != 0) {
        return Err(Errno::E2BIG.because("struct open_how has fields that are not known here"));
    }
    let how = how.read()?;
    let resolve = u32::try_from(how.resolve).ok().map(Resolve::from_bits_retain);
    let resolve = resolve.filter(|r| Resolve::OPENAT2.contains(*r)).ok_or(Errno::EINVAL)?;
    let flags = u32::try_from(how.flags).map(OpenFlags::from_bits_retain).map_err(|_| Errno::EINVAL)?;
    if !KNOWN_FLAGS.contains(flags) {
        return Err(Errno::EINVAL.because("unknown open flags"));
    }
    if flags.contains(OpenFlags::PATH) && !PATH_FLAGS.contains(flags) {
        return Err(Errno::EINVAL.because("flags that O_PATH does not go with"));
    }
    let makes = flags.contains(OpenFlags::CREAT) || flags.contains(OpenFlags::TMPFILE);
    if how.mode & !0o7777 != 0 || (how.mode != 0 && !makes) {
        return Err(Errno::EINVAL.because("a mode without O_CREAT, or with unknown bits"));
    }
    if resolve.contains(Resolve::BENEATH | Resolve::IN_ROOT) {
        return Err(Errno::EINVAL.because("RESOLVE_BENEATH and RESOLVE_IN_ROOT together"));
    }
    let name = name.read_path()?;
    // Under RESOLVE_BENEATH and RESOLVE_IN_ROOT the descriptor matters for absolute names, too.
    let confined = resolve.intersects(Resolve::BENEATH | Resolve::IN_ROOT);
    let base = if confined || name.first() != Some(&b'/') { at::base(t, dir)? } else { None };
    do_openat(t, &NameAt { base, name }, flags, how.mode as u32, resolve)
}

/// close(2).
pub fn sys_close(t: &Thread, fd: Fd) -> Result<usize> {
    let table = t.files();
    let file = table.remove(fd)?;
    table.finish_close(t, &file);
    Ok(0)
}

/// close_range(2).
pub fn sys_close_range(t: &Thread, first: u32, last: u32, flags: u32) -> Result<usize> {
    const UNSHARE: u32 = 2;
    const CLOEXEC: u32 = 4;
    if flags & !(UNSHARE | CLOEXEC) != 0 || first > last {
        return Err(Errno::EINVAL.into());
    }
    if flags & UNSHARE != 0 {
        t.set_files(Some(Arc::new(t.files().fork())));
    }
    let table = t.files();
    if flags & CLOEXEC != 0 {
        table.set_cloexec_range(first, last);
        return Ok(0);
    }
    for file in table.remove_range(first, last) {
        table.finish_close(t, &file);
    }
    Ok(0)
}
