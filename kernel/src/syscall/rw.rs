//! read(2), write(2) and their relatives; lseek(2).

use super::at;
use crate::error::{Errno, Result};
use crate::fs::file::OpenFile;
use crate::fs::inode::{FileKind, SeekTarget};
use crate::fs::io;
use crate::mm::{IovDest, IovSource, UserPtr};
use crate::task::{Fd, Thread};

/// `RWF_*` of preadv2(2): per-call flags. HIPRI, DSYNC, SYNC change nothing that could be seen here.
const RWF_HIPRI: u32 = 1;
const RWF_DSYNC: u32 = 2;
const RWF_SYNC: u32 = 4;
const RWF_NOWAIT: u32 = 8;
const RWF_APPEND: u32 = 16;

type Iovecs = UserPtr<[usize; 2]>;

fn offset(value: i64) -> Result<Option<u64>> {
    match u64::try_from(value) {
        Ok(at) => Ok(Some(at)),
        Err(_) => Err(Errno::EINVAL.because("a negative offset")),
    }
}

fn check_directory(file: &OpenFile) -> Result<()> {
    if file.inode().is_some_and(|i| i.kind() == FileKind::Directory) {
        return Err(Errno::EISDIR.into());
    }
    Ok(())
}

fn do_read(t: &Thread, fd: Fd, dst: impl FnOnce() -> Result<IovDest<'static>>, at: Option<u64>) -> Result<usize> {
    let file = at::file(t, fd)?;
    if !file.flags().readable() {
        return Err(Errno::EBADF.because("not open for reading"));
    }
    check_directory(&file)?;
    io::read(t, &file, dst()?, at)
}

fn do_write(t: &Thread, fd: Fd, src: impl FnOnce() -> Result<IovSource<'static>>, at: Option<u64>) -> Result<usize> {
    let file = at::file(t, fd)?;
    if !file.flags().writable() {
        return Err(Errno::EBADF.because("not open for writing"));
    }
    io::write(t, &file, src()?, at)
}

/// read(2).
pub fn sys_read(t: &Thread, fd: Fd, buf: usize, len: usize) -> Result<usize> {
    do_read(t, fd, || IovDest::user(buf, len), None)
}

/// write(2).
pub fn sys_write(t: &Thread, fd: Fd, buf: usize, len: usize) -> Result<usize> {
    do_write(t, fd, || IovSource::user(buf, len), None)
}

/// pread(2).
pub fn sys_pread64(t: &Thread, fd: Fd, buf: usize, len: usize, at: i64) -> Result<usize> {
    do_read(t, fd, || IovDest::user(buf, len), offset(at)?)
}

/// pwrite(2).
pub fn sys_pwrite64(t: &Thread, fd: Fd, buf: usize, len: usize, at: i64) -> Result<usize> {
    do_write(t, fd, || IovSource::user(buf, len), offset(at)?)
}

fn count(iovcnt: i32) -> Result<usize> {
    usize::try_from(iovcnt).map_err(|_| Errno::EINVAL.because("a negative number of iovecs"))
}

/// readv(2).
pub fn sys_readv(t: &Thread, fd: Fd, iov: Iovecs, iovcnt: i32) -> Result<usize> {
    do_read(t, fd, || IovDest::iovecs(iov, count(iovcnt)?), None)
}

/// writev(2).
pub fn sys_writev(t: &Thread, fd: Fd, iov: Iovecs, iovcnt: i32) -> Result<usize> {
    do_write(t, fd, || IovSource::iovecs(iov, count(iovcnt)?), None)
}

/// preadv(2). The offset's high half, a register of its own, is part of the low one on 64-bit machines.
pub fn sys_preadv(t: &Thread, fd: Fd, iov: Iovecs, iovcnt: i32, at: i64, _high: u64) -> Result<usize> {
    do_read(t, fd, || IovDest::iovecs(iov, count(iovcnt)?), offset(at)?)
}

/// pwritev(2).
pub fn sys_pwritev(t: &Thread, fd: Fd, iov: Iovecs, iovcnt: i32, at: i64, _high: u64) -> Result<usize> {
    do_write(t, fd, || IovSource::iovecs(iov, count(iovcnt)?), offset(at)?)
}

/// -1 means the description's own offset in the `2` calls.
fn offset2(at: i64) -> Result<Option<u64>> {
    if at == -1 { Ok(None) } else { offset(at) }
}

/// preadv2(2).
pub fn sys_preadv2(t: &Thread, fd: Fd, iov: Iovecs, iovcnt: i32, at: i64, _high: u64, flags: u32) -> Result<usize> {
    if flags & !(RWF_HIPRI | RWF_NOWAIT) != 0 {
        return Err(Errno::EOPNOTSUPP.because("RWF_ flags of reading are HIPRI and NOWAIT"));
    }
    let file = at::file(t, fd)?;
    let mut dst = IovDest::iovecs(iov, count(iovcnt)?)?;
    if flags & RWF_NOWAIT == 0 {
        return io::read(t, &file, dst, offset2(at)?);
    }
    if !file.flags().readable() {
        return Err(Errno::EBADF.into());
    }
    if file.ops().seekable() {
        return io::read_seekable(&file, &mut dst, offset2(at)?);
    }
    file.read(&mut dst, None)
}

/// pwritev2(2).
pub fn sys_pwritev2(t: &Thread, fd: Fd, iov: Iovecs, iovcnt: i32, at: i64, _high: u64, flags: u32) -> Result<usize> {
    if flags & !(RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_APPEND) != 0 {
        return Err(Errno::EOPNOTSUPP.because("RWF_ flags of writing are HIPRI, DSYNC, SYNC and APPEND"));
    }
    let file = at::file(t, fd)?;
    let src = IovSource::iovecs(iov, count(iovcnt)?)?;
    let mut at = offset2(at)?;
    if let (Some(inode), true) = (file.inode(), flags & RWF_APPEND != 0) {
        at = Some(inode.metadata()?.size);
    }
    let n = io::write(t, &file, src, at)?;
    if let (Some(inode), true) = (file.inode(), flags & (RWF_DSYNC | RWF_SYNC) != 0) {
        inode.sync(flags & RWF_SYNC == 0)?;
    }
    Ok(n)
}

/// lseek(2).
pub fn sys_lseek(t: &Thread, fd: Fd, offset: i64, whence: i32) -> Result<usize> {
    let file = at::file(t, fd)?;
    do_lseek(&file, offset, whence).map(|at| at as usize)
}

/// Moves a description's offset; returns the new one.
pub fn do_lseek(file: &OpenFile, offset: i64, whence: i32) -> Result<u64> {
    if !file.ops().seekable() {
        return Err(Errno::ESPIPE.into());
    }
    if file.ops().stays_at_start() {
        *file.offset() = 0;
        return Ok(0);
    }
    let from = |origin: u64| {
        origin.checked_add_signed(offset).filter(|&at| at <= i64::MAX as u64).ok_or(Errno::EINVAL.because("before 0"))
    };
    let size = || match file.ops().device_size() {
        Some(size) => Ok(size),
        None => file.inode().map_or(Ok(0), |i| i.metadata().map(|m| m.size)),
    };
    let extent = |target| {
        let inode = file.inode().ok_or(Errno::ENXIO)?;
        let at = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
        inode.seek_extent(at, target)
    };
    let at = match whence {
        0 => from(0)?,
        1 => from(*file.offset())?,
        2 => from(size()?)?,
        3 => extent(SeekTarget::Data)?,
        4 => extent(SeekTarget::Hole)?,
        _ => return Err(Errno::EINVAL.because("unknown whence")),
    };
    *file.offset() = at;
    Ok(at)
}
