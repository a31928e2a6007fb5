//! Sending, receiving, connecting and accepting with waiting: the socket calls' counterpart of `fs::io`.
//!
//! What may wait does so unless the description is non-blocking or the call says MSG_DONTWAIT, and no longer than
//! `SO_RCVTIMEO` and `SO_SNDTIMEO` allow; the timeout counts for the whole call.

use super::{MessageFlags, RawAddress, Received, SendOptions, SocketFile, SocketOps};
use crate::error::{Errno, Result};
use crate::fs::file::{Direction, FileOps, OpenFile};
use crate::fs::io::block_until_ready;
use crate::fs::poll::{PollEvents, PollWatch};
use crate::mm::{IovDest, IovSource};
use crate::task::Thread;
use crate::time::{self, Instant};
use alloc::boxed::Box;

/// A socket call that may wait.
struct Waiter<'a> {
    t: &'a Thread,
    file: &'a OpenFile,
    interest: PollEvents,
    blocking: bool,
    timeout: Option<time::Duration>,
    deadline: Option<Instant>,
}

impl<'a> Waiter<'a> {
    fn new(t: &'a Thread, file: &'a OpenFile, socket: &SocketFile, direction: Direction, blocking: bool) -> Self {
        let interest = if direction == Direction::Read { PollEvents::READABLE } else { PollEvents::WRITABLE };
        let timeout = socket.timeout(direction);
        Waiter { t, file, interest, blocking: blocking && !file.nonblocking(), timeout, deadline: None }
    }

    /// Waits for readiness; the call's time begins with its first wait.
    fn wait(&mut self) -> Result<()> {
        if let (Some(timeout), None) = (self.timeout, self.deadline) {
            self.deadline = Some(time::now() + timeout);
        }
        block_until_ready(self.t, self.file, self.interest, self.deadline)
    }

    /// Repeats `attempt` until it says something other than EAGAIN.
    fn repeat<R>(&mut self, mut attempt: impl FnMut() -> Result<R>) -> Result<R> {
        loop {
            match attempt() {
                Err(e) if e.errno() == Errno::EAGAIN && self.blocking => self.wait()?,
                other => return other,
            }
        }
    }
}

/// Another attempt after some bytes have moved: an error that waits is left for the next call, which has nothing else to
/// tell. What is returned here instead only ends the loop.
fn unless_failed<R>(socket: &SocketFile, attempt: impl FnOnce() -> Result<R>) -> Result<R> {
    if socket.ops().poll(&mut PollWatch::look()).contains(PollEvents::ERR) {
        return Err(Errno::EIO.because("an error waits"));
    }
    attempt()
}

/// One attempt to receive. A blocking call on a stream wants `SO_RCVLOWAT` bytes.
pub(super) fn receive_once(
    socket: &SocketFile,
    dst: &mut IovDest<'_>,
    flags: MessageFlags,
    nonblocking: bool,
    control: bool,
) -> Result<Received> {
    let ops = socket.ops();
    // A call for one byte is content with it.
    if !nonblocking && dst.remaining() > 1 && socket.is_stream() && ops.low_water() > 1 {
        let ready = ops.poll(&mut PollWatch::look());
        let ends = PollEvents::RDHUP | PollEvents::ERR | PollEvents::HUP;
        if !ready.intersects(ends | PollEvents::IN) && dst.remaining() >= ops.low_water() {
            return Err(Errno::EAGAIN.because("fewer than SO_RCVLOWAT bytes have come"));
        }
    }
    ops.receive(dst, flags, control)
}

/// recvmsg(2): one message, or what a stream has; with MSG_WAITALL, all that was asked for.
pub fn receive(
    t: &Thread,
    file: &OpenFile,
    dst: &mut IovDest<'_>,
    flags: MessageFlags,
    control: bool,
) -> Result<Received> {
    let socket = SocketFile::of(file)?;
    if flags.contains(MessageFlags::ERRQUEUE) {
        return Err(Errno::EAGAIN.because("the error queue is empty"));
    }
    let mut waiter = Waiter::new(t, file, socket, Direction::Read, !flags.contains(MessageFlags::DONTWAIT));
    let nonblocking = !waiter.blocking;
    let mut first = waiter.repeat(|| receive_once(socket, dst, flags, nonblocking, control))?;
    let whole = flags.contains(MessageFlags::WAITALL) && !flags.contains(MessageFlags::PEEK) && socket.is_stream();
    if !whole {
        return Ok(first);
    }
    let mut last = first.len;
    while last > 0 && !dst.is_empty() {
        match waiter.repeat(|| unless_failed(socket, || receive_once(socket, dst, flags, nonblocking, false))) {
            Ok(more) => {
                last = more.len;
                first.len += last;
            }
            // What has come counts; the reason is told by the next call.
            Err(_) => break,
        }
    }
    Ok(first)
}

/// sendmsg(2): one message, or all of a stream's bytes unless the call may not wait. SIGPIPE where the peer is gone.
pub fn send(t: &Thread, file: &OpenFile, src: &mut IovSource<'_>, mut options: SendOptions) -> Result<usize> {
    let socket = SocketFile::of(file)?;
    let mut waiter = Waiter::new(t, file, socket, Direction::Write, !options.flags.contains(MessageFlags::DONTWAIT));
    let mut done = 0;
    loop {
        let mut attempt = || socket.ops().send(src, &options);
        let step = match done {
            0 => waiter.repeat(attempt),
            _ => waiter.repeat(|| unless_failed(socket, &mut attempt)),
        };
        match step {
            Ok(n) => {
                done += n;
                // Ancillary data goes with the first bytes.
                options.control.clear();
            }
            Err(_) if done > 0 => return Ok(done),
            Err(e) => {
                if e.errno() == Errno::EPIPE && socket.is_stream() && !options.flags.contains(MessageFlags::NOSIGNAL) {
                    crate::signal::raise_sigpipe(t);
                }
                return Err(e);
            }
        }
        if src.is_empty() || !socket.is_stream() {
            return Ok(done);
        }
        if !waiter.blocking {
            return Ok(done);
        }
    }
}

/// connect(2). A wait that a signal ends is begun again by the restarted call, which finds the attempt under way.
pub fn connect(t: &Thread, file: &OpenFile, address: &RawAddress) -> Result<()> {
    let socket = SocketFile::of(file)?;
    let mut waiter = Waiter::new(t, file, socket, Direction::Write, true);
    loop {
        match socket.ops().connect(t, address) {
            // EAGAIN is a full backlog of a unix socket.
            Err(e) if waiter.blocking && matches!(e.errno(), Errno::EINPROGRESS | Errno::EALREADY | Errno::EAGAIN) => {
                match waiter.wait() {
                    Err(end) if end.errno() == Errno::EAGAIN && e.errno() != Errno::EAGAIN => {
                        return Err(Errno::EINPROGRESS.because("SO_SNDTIMEO has passed"));
                    }
                    other => other?,
                }
            }
            other => return other,
        }
    }
}

/// accept(2).
pub fn accept(t: &Thread, file: &OpenFile) -> Result<(Box<dyn SocketOps>, super::SocketAddress)> {
    let socket = SocketFile::of(file)?;
    Waiter::new(t, file, socket, Direction::Read, true).repeat(|| socket.ops().accept())
}
