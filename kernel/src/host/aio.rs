//! fdatasync(2) without waiting for it: io_submit(2) with IOCB_CMD_FDSYNC, which the host's own workers carry out.
//!
//! There is one context for the machine. What is begun is told by a tag; finished tags are collected, and an eventfd says
//! that there are some. Hosts that refuse the calls (io_setup(2): ENOSYS, EPERM, EAGAIN) make [`begin_flush`] fail, and the
//! caller waits in fdatasync(2) instead.

use super::raw::syscall;
use crate::error::{Errno, Result};
use crate::sync::Once;
use alloc::vec::Vec;
use linux_raw_sys::general::{__NR_io_getevents, __NR_io_setup, __NR_io_submit};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Most flushes that run at once.
const DEPTH: usize = 64;
const IOCB_CMD_FDSYNC: u16 = 3;
const IOCB_FLAG_RESFD: u32 = 1;

/// `struct iocb` (linux/aio_abi.h), little-endian.
#[repr(C)]
#[derive(Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    fd: u32,
    buf: u64,
    len: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    event: u32,
}

/// `struct io_event`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct IoEvent {
    data: u64,
    iocb: u64,
    result: i64,
    result2: i64,
}

struct Context {
    id: usize,
    event: OwnedFd,
}

static CONTEXT: Once<Result<Context, Errno>> = Once::new();

fn context() -> Result<&'static Context> {
    let made = CONTEXT.call_once(|| {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let event = eventfd(0, flags).map_err(Errno::from)?;
        let mut id = 0usize;
        // SAFETY: the second argument points to a word for the context's number, which is zero as the call wants it.
        unsafe { syscall(__NR_io_setup, [DEPTH, &raw mut id as usize, 0, 0, 0, 0])? };
        Ok(Context { id, event })
    });
    made.as_ref().map_err(|e| (*e).into())
}

/// Begins to bring a file's data to the host's storage.
///
/// # Errors
/// The host's: EAGAIN with too many at once, or that it has no such calls.
pub fn begin_flush(fd: BorrowedFd<'_>, tag: u64) -> Result<()> {
    let context = context()?;
    let iocb = Iocb {
        data: tag,
        opcode: IOCB_CMD_FDSYNC,
        fd: fd.as_raw_fd().cast_unsigned(),
        flags: IOCB_FLAG_RESFD,
        event: context.event.as_raw_fd().cast_unsigned(),
        ..Iocb::default()
    };
    let list = [&raw const iocb];
    // SAFETY: the host copies the list and the iocb before the call returns, and holds the file by itself from then on.
    match unsafe { syscall(__NR_io_submit, [context.id, 1, list.as_ptr() as usize, 0, 0, 0]) } {
        Ok(1) => Ok(()),
        Ok(_) => Err(Errno::EAGAIN.into()),
        Err(e) => Err(e.into()),
    }
}

/// Collects flushes that have ended: tag and result. With `wait`, at least one, unless a host signal comes first.
pub fn ended_flushes(wait: bool) -> Vec<(u64, Result<()>)> {
    let Ok(context) = context() else { return Vec::new() };
    // The eventfd only wakes; it is not counted.
    let mut count = [0u8; 8];
    let _ = rustix::io::read(&context.event, &mut count);
    let mut events = [IoEvent::default(); DEPTH];
    let no_time = [0i64; 2];
    let timeout = if wait { 0 } else { no_time.as_ptr() as usize };
    // SAFETY: the array has room for as many events as are asked for; the timeout is null or a struct timespec.
    let n = unsafe {
        syscall(__NR_io_getevents, [context.id, usize::from(wait), DEPTH, events.as_mut_ptr() as usize, timeout, 0])
    };
    let result = |e: &IoEvent| match i32::try_from(-e.result) {
        Ok(errno) if errno > 0 => Err(Errno::from_raw(errno).into()),
        _ => Ok(()),
    };
    events.iter().take(n.unwrap_or(0)).map(|e| (e.data, result(e))).collect()
}

/// The descriptor that becomes readable when a flush ends.
pub fn flush_event() -> Option<i32> {
    context().ok().map(|c| c.event.as_raw_fd())
}
