//! Moving data between two files inside the kernel: sendfile(2), copy_file_range(2), splice(2), tee(2), vmsplice(2).
//!
//! The bytes pass through a buffer of the kernel's, a piece at a time. A piece counts only when the target has taken it:
//! from a pipe it is looked at, written, and only then consumed; from a file it is read at an offset that moves by what
//! was written. So an error or a signal in between loses nothing. From a socket or terminal, which cannot give bytes
//! back, no more is read than the target pipe has room for.

use super::at;
use crate::error::{Errno, Result};
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::inode::FileKind;
use crate::fs::io;
use crate::fs::pipe::Pipe;
use crate::fs::poll::PollEvents;
use crate::mm::{IovDest, IovSource, UserPtr};
use crate::sched;
use crate::task::{Fd, Thread};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Bytes of the buffer.
const PIECE: usize = 64 * 1024;
/// Most bytes that one call moves, as with read(2).
const MAX_COUNT: usize = 0x7fff_f000;

const SPLICE_F_NONBLOCK: u32 = 2;
/// MOVE, NONBLOCK, MORE, GIFT: all but NONBLOCK are advice.
const SPLICE_FLAGS: u32 = 0xf;

/// An offset that the guest keeps, or that of the description.
struct Position<'a> {
    file: &'a OpenFile,
    own: UserPtr<i64>,
    at: Option<u64>,
}

impl<'a> Position<'a> {
    fn read(file: &'a OpenFile, own: UserPtr<i64>) -> Result<Self> {
        let at = match own.non_null() {
            Some(_) if !file.ops().seekable() => return Err(Errno::ESPIPE.into()),
            Some(p) => Some(u64::try_from(p.read()?).map_err(|_| Errno::EINVAL.because("a negative offset"))?),
            None => file.ops().seekable().then(|| *file.offset()),
        };
        Ok(Position { file, own, at })
    }

    fn moved(&mut self, n: usize) {
        if let Some(at) = &mut self.at {
            *at += n as u64;
        }
    }

    /// Records where the transfer ended: with the guest, or in the description.
    fn finish(self) -> Result<()> {
        match (self.own.non_null(), self.at) {
            (Some(p), Some(at)) => p.write(at as i64),
            (None, Some(at)) => {
                *self.file.offset() = at;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn pair(t: &Thread, from: Fd, to: Fd) -> Result<(Arc<OpenFile>, Arc<OpenFile>)> {
    let (from, to) = (at::file(t, from)?, at::file(t, to)?);
    if !from.flags().readable() || !to.flags().writable() {
        return Err(Errno::EBADF.because("not open in that direction"));
    }
    Ok((from, to))
}

/// Moves from a file with an offset to any other, piece by piece, until `count` bytes or the end. An error counts only
/// if nothing was moved.
fn file_to_file(
    t: &Thread,
    source: &mut Position<'_>,
    to: &OpenFile,
    mut target: Option<&mut Position<'_>>,
    count: usize,
) -> Result<usize> {
    let mut buffer = alloc::vec![0u8; PIECE.min(count)];
    let mut done = 0;
    while done < count {
        let want = buffer.len().min(count - done);
        let step = (|| {
            let n = source.file.read(&mut IovDest::kernel(&mut buffer[..want]), source.at)?;
            if n == 0 {
                return Ok((0, 0));
            }
            let at = target.as_ref().and_then(|p| p.at);
            Ok((n, io::write(t, to, IovSource::kernel(&buffer[..n]), at)?))
        })();
        let (read, written) = match step {
            Ok(step) => step,
            Err(e) if done == 0 => return Err(e),
            Err(_) => break,
        };
        source.moved(written);
        if let Some(p) = &mut target {
            p.moved(written);
        }
        done += written;
        if written < read || read == 0 {
            break;
        }
        sched::breathe();
    }
    Ok(done)
}

/// sendfile(2).
pub fn sys_sendfile(t: &Thread, out: Fd, input: Fd, offset: UserPtr<i64>, count: usize) -> Result<usize> {
    let (from, to) = pair(t, input, out)?;
    if !from.ops().seekable() || from.inode().is_none_or(|i| i.kind() == FileKind::Directory) {
        return Err(Errno::EINVAL.because("the source of sendfile is a file with an offset"));
    }
    if to.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::EINVAL.because("the target of sendfile is open with O_APPEND"));
    }
    let mut source = Position::read(&from, offset)?;
    let done = file_to_file(t, &mut source, &to, None, count.min(MAX_COUNT))?;
    source.finish()?;
    Ok(done)
}

/// copy_file_range(2).
pub fn sys_copy_file_range(
    t: &Thread,
    input: Fd,
    offset_in: UserPtr<i64>,
    out: Fd,
    offset_out: UserPtr<i64>,
    count: usize,
    flags: u32,
) -> Result<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL.because("copy_file_range has no flags"));
    }
    let (from, to) = pair(t, input, out)?;
    for file in [&from, &to] {
        match file.inode().map(|i| i.kind()) {
            Some(FileKind::Regular) => {}
            Some(FileKind::Directory) => return Err(Errno::EISDIR.into()),
            _ => return Err(Errno::EINVAL.because("copy_file_range copies regular files")),
        }
    }
    if to.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::EBADF.because("the target is open with O_APPEND"));
    }
    let mut source = Position::read(&from, offset_in)?;
    let mut target = Position::read(&to, offset_out)?;
    let count = count.min(MAX_COUNT);
    let (a, b) = (source.at.unwrap_or(0), target.at.unwrap_or(0));
    let same = from.inode().map(|i| i.id()) == to.inode().map(|i| i.id());
    if same && a < b.saturating_add(count as u64) && b < a.saturating_add(count as u64) {
        return Err(Errno::EINVAL.because("the ranges overlap"));
    }
    let done = file_to_file(t, &mut source, &to, Some(&mut target), count)?;
    source.finish()?;
    target.finish()?;
    Ok(done)
}

/// Waits until `ready` gives something other than EAGAIN; with `nonblocking`, EAGAIN stands.
fn repeat<R>(
    t: &Thread,
    file: &OpenFile,
    interest: PollEvents,
    nonblocking: bool,
    mut attempt: impl FnMut() -> Result<R>,
) -> Result<R> {
    loop {
        match attempt() {
            Err(e) if e.errno() == Errno::EAGAIN && !nonblocking => io::block_until_ready(t, file, interest, None)?,
            other => return other,
        }
    }
}

/// Bytes at the front of a pipe: none if it is empty and has no writer.
fn wait_for_bytes(t: &Thread, file: &OpenFile, pipe: &Pipe, max: usize, nonblocking: bool) -> Result<Vec<u8>> {
    repeat(t, file, PollEvents::READABLE, nonblocking, || pipe.peek(max))
}

/// Room in a pipe, at least one byte.
fn wait_for_room(t: &Thread, file: &OpenFile, pipe: &Pipe, nonblocking: bool) -> Result<usize> {
    let attempt = || pipe.room_for_splice();
    let result = repeat(t, file, PollEvents::WRITABLE, nonblocking, attempt);
    if result.as_ref().is_err_and(|e| e.errno() == Errno::EPIPE) {
        crate::signal::raise_sigpipe(t);
    }
    result
}

/// Moves up to `count` bytes in steps, each told how many are done; a step that moves none is the end. An error after the
/// first bytes is not told: the caller hears of the bytes.
fn in_steps(count: usize, mut step: impl FnMut(usize) -> Result<usize>) -> Result<usize> {
    let mut done = 0;
    while done < count {
        match step(done) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if done == 0 => return Err(e),
            Err(_) => break,
        }
    }
    Ok(done)
}

fn from_pipe(
    t: &Thread,
    from: (&OpenFile, &Pipe),
    to: &OpenFile,
    target: &mut Position<'_>,
    count: usize,
    nonblocking: bool,
) -> Result<usize> {
    in_steps(count, |done| {
        let bytes = wait_for_bytes(t, from.0, from.1, PIECE.min(count - done), nonblocking || done > 0)?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let n = io::write(t, to, IovSource::kernel(&bytes), target.at)?;
        from.1.consume(n);
        target.moved(n);
        Ok(n)
    })
}

fn to_pipe(
    t: &Thread,
    from: &OpenFile,
    source: &mut Position<'_>,
    to: (&OpenFile, &Pipe),
    count: usize,
    nonblocking: bool,
) -> Result<usize> {
    let mut buffer = alloc::vec![0u8; PIECE.min(count)];
    in_steps(count, |done| {
        let quick = nonblocking || done > 0;
        let n = repeat(t, from, PollEvents::READABLE, quick || from.nonblocking(), || {
            let room = wait_for_room(t, to.0, to.1, quick)?;
            let want = buffer.len().min(count - done).min(room);
            from.read(&mut IovDest::kernel(&mut buffer[..want]), source.at)
        })?;
        if n > 0 {
            to.1.write(&mut IovSource::kernel(&buffer[..n]), false)?;
        }
        source.moved(n);
        Ok(n)
    })
}

/// splice(2).
pub fn sys_splice(
    t: &Thread,
    input: Fd,
    offset_in: UserPtr<i64>,
    out: Fd,
    offset_out: UserPtr<i64>,
    count: usize,
    flags: u32,
) -> Result<usize> {
    if flags & !SPLICE_FLAGS != 0 {
        return Err(Errno::EINVAL.because("unknown splice flags"));
    }
    if count == 0 {
        return Ok(0);
    }
    let (from, to) = pair(t, input, out)?;
    let count = count.min(MAX_COUNT);
    let quick = flags & SPLICE_F_NONBLOCK != 0;
    match (from.ops().pipe(), to.ops().pipe()) {
        (Some(_), _) if !offset_in.is_null() => Err(Errno::ESPIPE.into()),
        (_, Some(_)) if !offset_out.is_null() => Err(Errno::ESPIPE.into()),
        (Some(a), Some(b)) if Arc::ptr_eq(a, b) => Err(Errno::EINVAL.because("a pipe into itself")),
        (Some(a), Some(b)) => {
            let quick = quick || from.nonblocking() || to.nonblocking();
            let room = wait_for_room(t, &to, b, quick)?;
            let bytes = wait_for_bytes(t, &from, a, count.min(room), quick)?;
            let n = io::write(t, &to, IovSource::kernel(&bytes), None)?;
            a.consume(n);
            Ok(n)
        }
        (Some(a), None) => {
            if to.flags().contains(OpenFlags::APPEND) {
                return Err(Errno::EINVAL.because("the target of splice is open with O_APPEND"));
            }
            let mut target = Position::read(&to, offset_out)?;
            let done = from_pipe(t, (&from, a), &to, &mut target, count, quick || from.nonblocking())?;
            target.finish()?;
            Ok(done)
        }
        (None, Some(b)) => {
            let mut source = Position::read(&from, offset_in)?;
            let done = to_pipe(t, &from, &mut source, (&to, b), count, quick || to.nonblocking())?;
            source.finish()?;
            Ok(done)
        }
        (None, None) => Err(Errno::EINVAL.because("one side of splice is a pipe")),
    }
}

/// tee(2).
pub fn sys_tee(t: &Thread, input: Fd, out: Fd, count: usize, flags: u32) -> Result<usize> {
    if flags & !SPLICE_FLAGS != 0 {
        return Err(Errno::EINVAL.because("unknown splice flags"));
    }
    let (from, to) = pair(t, input, out)?;
    let (Some(a), Some(b)) = (from.ops().pipe(), to.ops().pipe()) else {
        return Err(Errno::EINVAL.because("both sides of tee are pipes"));
    };
    if Arc::ptr_eq(a, b) {
        return Err(Errno::EINVAL.because("a pipe into itself"));
    }
    if count == 0 {
        return Ok(0);
    }
    let quick = flags & SPLICE_F_NONBLOCK != 0 || from.nonblocking() || to.nonblocking();
    wait_for_room(t, &to, b, quick)?;
    repeat(t, &from, PollEvents::READABLE, quick, || a.tee(b, count.min(MAX_COUNT)))
}

/// vmsplice(2): memory into a pipe, or out of it; the pages are copied.
pub fn sys_vmsplice(t: &Thread, fd: Fd, iov: UserPtr<[usize; 2]>, count: usize, flags: u32) -> Result<usize> {
    if flags & !SPLICE_FLAGS != 0 {
        return Err(Errno::EINVAL.because("unknown splice flags"));
    }
    let file = at::file(t, fd)?;
    let Some(pipe) = file.ops().pipe() else { return Err(Errno::EBADF.because("vmsplice is for pipes")) };
    let quick = flags & SPLICE_F_NONBLOCK != 0;
    if file.flags().writable() {
        let mut src = IovSource::iovecs(iov, count)?;
        if quick {
            return pipe.write(&mut src, false);
        }
        return io::write(t, &file, src, None);
    }
    let mut dst = IovDest::iovecs(iov, count)?;
    if quick {
        return pipe.read(&mut dst);
    }
    io::read(t, &file, dst, None)
}
