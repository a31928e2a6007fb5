//! Transfers that may wait: the one place where reads and writes block.
//!
//! A file's operations never block, they answer EAGAIN. The loops here then poll the devices for a moment, register the
//! thread with the queues that the file names, look again, and sleep ([`sched::block_once`]). A write to a stream goes on until all is written; a signal or an error after
//! some bytes moved ends the call with their number.

use super::file::{Direction, OpenFile, OpenFlags};
use super::inode::Inode;
use super::poll::{PollEvents, PollWatch};
use crate::error::{Errno, Error, Result};
use crate::mm::{IovDest, IovSource};
use crate::sched;
use crate::signal::Signal;
use crate::task::{Resource, Thread};
use crate::time::{self, Instant};

/// Waits until `file` may be ready for `interest`, has an error or a hang-up, or the deadline passes: EAGAIN then, and
/// ERESTARTSYS for a signal (EINTR where the file has a timeout, as signal(7) says of sockets). Whether it is, the
/// caller's next attempt tells.
pub fn block_until_ready(t: &Thread, file: &OpenFile, interest: PollEvents, deadline: Option<Instant>) -> Result<()> {
    let mut watch = PollWatch::for_thread(t, interest);
    let end = sched::block_once(t, deadline, || file.poll(&mut watch).intersects(interest | PollEvents::ALWAYS));
    match end {
        Ok(()) => Ok(()),
        Err(sched::WaitEnd::TimedOut) => Err(Errno::EAGAIN.because("the file's timeout has passed")),
        Err(sched::WaitEnd::Interrupted) if deadline.is_some() => Err(Errno::EINTR.into()),
        Err(sched::WaitEnd::Interrupted) => Err(Errno::ERESTARTSYS.into()),
    }
}

/// When a blocking transfer in this direction, begun now, gives up.
fn deadline(file: &OpenFile, direction: Direction) -> Option<Instant> {
    file.ops().timeout(direction).map(|d| time::now() + d)
}

/// Repeats `attempt` until it says something other than EAGAIN, waiting for readiness in between, unless the file is
/// non-blocking.
fn repeat(
    t: &Thread,
    file: &OpenFile,
    interest: PollEvents,
    direction: Direction,
    mut attempt: impl FnMut() -> Result<usize>,
) -> Result<usize> {
    let mut until = None;
    loop {
        match attempt() {
            Err(e) if e.errno() == Errno::EAGAIN && !file.nonblocking() => {
                if until.is_none() {
                    until = Some(deadline(file, direction));
                }
                block_until_ready(t, file, interest, until.flatten())?;
            }
            other => return other,
        }
    }
}

/// Reads into `dst`, at `offset` or where the description stands (which then moves on).
pub fn read(t: &Thread, file: &OpenFile, mut dst: IovDest<'_>, offset: Option<u64>) -> Result<usize> {
    if !file.flags().readable() {
        return Err(Errno::EBADF.because("not open for reading"));
    }
    if !file.ops().seekable() {
        if offset.is_some() {
            return Err(Errno::ESPIPE.into());
        }
        if !file.nonblocking()
            && let Some(result) = file.ops().read_patiently(t, &mut dst)
        {
            if matches!(result, Ok(n) if n > 0) {
                super::notify::accessed(file);
            }
            return result;
        }
        return repeat(t, file, PollEvents::READABLE, Direction::Read, || file.read(&mut dst, None));
    }
    repeat(t, file, PollEvents::READABLE, Direction::Read, || read_seekable(file, &mut dst, offset))
}

/// One transfer from a file with an offset, which never blocks.
pub fn read_seekable(file: &OpenFile, dst: &mut IovDest<'_>, offset: Option<u64>) -> Result<usize> {
    if let Some(at) = offset {
        return file.read(dst, Some(at));
    }
    if !file.ops().locks_offset() {
        let at = *file.offset();
        let n = file.read(dst, Some(at))?;
        *file.offset() = at + n as u64;
        return Ok(n);
    }
    let mut at = file.offset();
    let n = file.read(dst, Some(*at))?;
    *at += n as u64;
    Ok(n)
}

/// Writes from `src`, at `offset` or where the description stands (which then moves on).
pub fn write(t: &Thread, file: &OpenFile, mut src: IovSource<'_>, offset: Option<u64>) -> Result<usize> {
    if !file.flags().writable() {
        return Err(Errno::EBADF.because("not open for writing"));
    }
    let result = if file.ops().seekable() {
        limit_size(t, file, &mut src, offset)?;
        repeat(t, file, PollEvents::WRITABLE, Direction::Write, || write_seekable(file, &mut src, offset))
    } else if offset.is_some() {
        return Err(Errno::ESPIPE.into());
    } else {
        write_stream(t, file, &mut src)
    };
    if result.is_err_and(|e| e.errno() == Errno::EPIPE) && file.ops().raises_sigpipe() {
        crate::signal::raise_sigpipe(t);
    }
    result
}

/// Writes all of `src` to a stream, unless it is non-blocking or something ends the call early.
fn write_stream(t: &Thread, file: &OpenFile, src: &mut IovSource<'_>) -> Result<usize> {
    let mut done = 0;
    loop {
        let step = repeat(t, file, PollEvents::WRITABLE, Direction::Write, || {
            // A socket's error that comes after some bytes is left for the next call, which has nothing else to tell.
            if done > 0 && file.ops().pipe().is_none() && file.poll(&mut PollWatch::look()).contains(PollEvents::ERR) {
                return Ok(0);
            }
            file.write(src, None)
        });
        match step {
            Ok(n) => done += n,
            Err(e) if done > 0 => {
                // A pipe's writer hears that the last reader has gone even if some bytes went before (pipe(7)).
                if e.errno() == Errno::EPIPE && file.ops().pipe().is_some() {
                    crate::signal::raise_sigpipe(t);
                }
                return Ok(done);
            }
            Err(e) => return Err(e),
        }
        if src.is_empty() || file.nonblocking() || matches!(step, Ok(0)) {
            return Ok(done);
        }
    }
}

/// One transfer to a file with an offset, which never blocks. With O_APPEND the file itself finds its end.
pub fn write_seekable(file: &OpenFile, src: &mut IovSource<'_>, offset: Option<u64>) -> Result<usize> {
    if let Some(at) = offset {
        return file.write(src, Some(at));
    }
    if !file.ops().locks_offset() {
        let at = *file.offset();
        let n = file.write(src, Some(at))?;
        *file.offset() = at + n as u64;
        return Ok(n);
    }
    let mut at = file.offset();
    let n = file.write(src, Some(*at))?;
    *at += n as u64;
    if n > 0
        && file.flags().contains(OpenFlags::APPEND)
        && let Some(inode) = file.inode()
    {
        *at = inode.metadata()?.size;
    }
    Ok(n)
}

/// Cuts a write to a regular file at RLIMIT_FSIZE (setrlimit(2)). EFBIG and SIGXFSZ if nothing of it fits.
fn limit_size(t: &Thread, file: &OpenFile, src: &mut IovSource<'_>, offset: Option<u64>) -> Result<()> {
    let limit = t.process().rlimits().get(Resource::FileSize).rlim_cur;
    if limit == crate::task::INFINITY || src.is_empty() {
        return Ok(());
    }
    let Some(inode) = file.inode().filter(|i| i.kind() == super::inode::FileKind::Regular) else { return Ok(()) };
    let at = if file.flags().contains(OpenFlags::APPEND) {
        inode.metadata()?.size
    } else {
        offset.unwrap_or_else(|| *file.offset())
    };
    match limit.checked_sub(at) {
        None | Some(0) => Err(size_limit_reached(t)),
        Some(room) => {
            src.truncate(usize::try_from(room).unwrap_or(usize::MAX));
            Ok(())
        }
    }
}

/// Whether a regular file may grow to `size` bytes under RLIMIT_FSIZE; one that is larger already may shrink to it. EFBIG
/// and SIGXFSZ if not.
pub fn check_growth(t: &Thread, inode: &dyn Inode, size: u64) -> Result<()> {
    let limit = t.process().rlimits().get(Resource::FileSize).rlim_cur;
    if size > limit && inode.metadata()?.size < size { Err(size_limit_reached(t)) } else { Ok(()) }
}

fn size_limit_reached(t: &Thread) -> Error {
    crate::signal::raise(t, Signal::XFSZ);
    Errno::EFBIG.because("RLIMIT_FSIZE")
}
