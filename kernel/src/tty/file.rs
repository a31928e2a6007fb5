//! A terminal that a program has open.

use super::device::Tty;
use crate::error::{Errno, Result};
use crate::fs::file::{FileOps, OpenFile};
use crate::fs::poll::{PollEvents, PollWatch};
use crate::mm::{IovDest, IovSource};
use crate::sched;
use crate::task::Thread;
use crate::time::{self, Duration};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

/// The open terminal.
pub(super) struct OpenTty {
    pub(super) tty: Arc<Tty>,
    /// How often the terminal had hung up when it was opened; `None` for /dev/console, which no hang-up ends.
    hangups: Option<u32>,
    /// Whether a read has begun to wait here: if the device goes away meanwhile, that is an error and no end of file.
    waited: AtomicBool,
}

impl OpenTty {
    pub(super) fn new(tty: Arc<Tty>) -> Self {
        tty.device.opened();
        OpenTty { hangups: Some(tty.hangups()), waited: AtomicBool::new(false), tty }
    }

    /// The terminal as /dev/console.
    pub(super) fn console(tty: Arc<Tty>) -> Self {
        let mut open = Self::new(tty);
        open.hangups = None;
        open
    }

    /// Whether the terminal has hung up since it was opened: then it is dead.
    fn is_dead(&self) -> bool {
        self.hangups.is_some_and(|n| n != self.tty.hangups())
    }

    /// What a read of a dead terminal returns.
    fn end_of_file(&self, waited: bool) -> Result<usize> {
        if waited && self.tty.device.is_gone() {
            return Err(Errno::EIO.because("the terminal hung up during the read"));
        }
        Ok(0)
    }

    /// A blocking read with VMIN above 1 or with VTIME (termios(3)): it ends when there are VMIN bytes or as many as it
    /// wants; when VTIME has passed since the last byte; or, with a VMIN of 0, since it began.
    fn read_with_patience(&self, t: &Thread, dst: &mut IovDest<'_>) -> Result<usize> {
        let begun = time::now();
        loop {
            if self.is_dead() {
                return self.end_of_file(true);
            }
            self.tty.check_background_read()?;
            let (min, tenths) = self.tty.state.lock().discipline.min_and_time();
            let time = Duration::from_millis(u64::from(tenths) * 100);
            let (available, arrived, ended) = self.tty.input();
            let deadline = match (min, tenths) {
                (_, 0) => None,
                (0, _) => Some(begun + time),
                _ if available > 0 => Some(begun.max(arrived) + time),
                _ => None,
            };
            let enough = min.max(1).min(dst.remaining());
            let too_late = deadline.is_some_and(|at| at <= time::now());
            if available >= enough || ended || too_late {
                return match self.tty.read_input(dst) {
                    Err(e) if e.errno() == Errno::EAGAIN => Ok(0),
                    other => other,
                };
            }
            let more = || (self.is_dead() || self.tty.input().0 != available || self.tty.input().2).then_some(());
            match self.tty.readable.wait(&t.arc(), deadline, more) {
                Ok(()) | Err(sched::WaitEnd::TimedOut) => {}
                Err(sched::WaitEnd::Interrupted) => return Err(Errno::ERESTARTSYS.into()),
            }
        }
    }
}

impl Drop for OpenTty {
    fn drop(&mut self) {
        self.tty.device.closed();
    }
}

impl FileOps for OpenTty {
    fn read(&self, file: &OpenFile, dst: &mut IovDest<'_>, _offset: Option<u64>) -> Result<usize> {
        let waited = self.waited.swap(false, Ordering::Relaxed);
        if self.is_dead() {
            return self.end_of_file(waited);
        }
        self.tty.check_background_read()?;
        let result = self.tty.read_input(dst);
        let waits = result.as_ref().is_err_and(|e| e.errno() == Errno::EAGAIN) && !file.nonblocking();
        self.waited.store(waits, Ordering::Relaxed);
        result
    }

    fn read_patiently(&self, t: &Thread, dst: &mut IovDest<'_>) -> Option<Result<usize>> {
        let patient = {
            let state = self.tty.state.lock();
            let (min, tenths) = state.discipline.min_and_time();
            !state.discipline.canonical() && (min > 1 || tenths > 0)
        };
        let applies = patient && !self.is_dead() && !dst.is_empty() && !self.tty.device.is_transparent();
        applies.then(|| self.read_with_patience(t, dst))
    }

    fn write(&self, _file: &OpenFile, src: &mut IovSource<'_>, _offset: Option<u64>) -> Result<usize> {
        if self.is_dead() {
            return Err(Errno::EIO.because("the terminal has hung up"));
        }
        if self.tty.state.lock().discipline.stops_background_output() {
            self.tty.check_background_change()?;
        }
        self.tty.write_output(src)
    }

    fn poll(&self, _file: &OpenFile, watch: &mut PollWatch<'_>) -> PollEvents {
        let ready = self.tty.readiness(watch);
        if self.is_dead() {
            return PollEvents::READABLE | PollEvents::WRITABLE | PollEvents::ERR | PollEvents::HUP;
        }
        ready
    }

    fn ioctl(&self, thread: &Thread, _file: &OpenFile, request: u32, arg: usize) -> Result<usize> {
        if self.is_dead() {
            let errno = if request == crate::abi::ioctl::TIOCSPGRP { Errno::ENOTTY } else { Errno::EIO };
            return Err(errno.because("the terminal has hung up"));
        }
        self.tty.control(thread, request, arg)
    }
}
