//! A terminal: its discipline, its queues, its owner among the sessions.
//!
//! Bytes that a device brings go through [`Tty::receive`]; what they lead to is done after the lock is free
//! ([`Tty::apply`]). Programs have the terminal open as an [`OpenTty`](super::file::OpenTty), which counts hang-ups: one
//! that was opened before the last hang-up is dead (tty_hangup: end of file, EIO), whatever the terminal does since.

use super::discipline::{Discipline, Effects};
use crate::abi::general::{termios, winsize};
use crate::error::{Errno, Result};
use crate::fs::inode::DeviceNumber;
use crate::fs::poll::{PollEvents, PollWatch};
use crate::mm::{IovDest, IovSource};
use crate::sched::WaitQueue;
use crate::signal::{self, Signal};
use crate::sync::{Rank, SpinLock};
use crate::task::Pid;
use crate::time::{self, Instant};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

/// Most bytes of one write that are processed at once.
const CHUNK: usize = 2048;

/// Most unread bytes of a transparent device.
const MAX_PLAIN: usize = 16 * CHUNK;

/// What a program or a key did to a terminal that its device may want to know (TIOCPKT of ioctl_tty(2)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Unread input was dropped.
    InputFlushed,
    /// Output that waits is to be dropped.
    OutputFlushed,
    /// Output was stopped, or goes on.
    Stopped(bool),
    /// Whether ^S and ^Q have come to be what stops and starts output.
    FlowKeys(bool),
}

/// What stands behind a terminal: the host's, or the master side of a pseudo-terminal.
pub trait TtyDevice: Send + Sync {
    /// Takes output; returns how much. 0 if there is no room now.
    fn output(&self, bytes: &[u8]) -> usize;

    /// How many bytes `output` would take.
    fn room(&self) -> usize {
        usize::MAX
    }

    /// Whether there is nobody any more to take output.
    fn is_gone(&self) -> bool {
        false
    }

    /// Told when a program has read input: there may be room for more.
    fn input_taken(&self) {}

    /// Told when a program has opened the terminal.
    fn opened(&self) {}

    /// Told when a program has closed the terminal; calls pair with `opened`.
    fn closed(&self) {}

    /// Told of what happened to the terminal.
    fn changed(&self, change: Change) {
        let _ = change;
    }

    /// Whether bytes pass both ways as they are: the device is no terminal.
    fn is_transparent(&self) -> bool {
        false
    }
}

pub(super) struct State {
    pub(super) discipline: Discipline,
    /// Input of a transparent device.
    plain: Vec<u8>,
    pub(super) size: winsize,
    /// Input and output speed in baud; of no effect.
    pub(super) speed: (u32, u32),
    /// The device will send no more.
    input_ended: bool,
    /// When input came last.
    arrived: Instant,
    pub(super) session: Option<Pid>,
    pub(super) foreground: Option<Pid>,
    pub(super) exclusive: bool,
}

/// A terminal.
pub struct Tty {
    me: Weak<Tty>,
    name: String,
    number: DeviceNumber,
    pub(super) device: Box<dyn TtyDevice>,
    pub(super) state: SpinLock<State>,
    hangups: AtomicU32,
    pub(super) readable: Arc<WaitQueue>,
    pub(super) writable: Arc<WaitQueue>,
}

impl Tty {
    /// A terminal over a device, of so many rows and columns.
    pub fn new(name: &str, number: DeviceNumber, size: (u16, u16), device: Box<dyn TtyDevice>) -> Arc<Self> {
        let state = State {
            discipline: Discipline::default(),
            plain: Vec::new(),
            size: winsize { ws_row: size.0, ws_col: size.1, ws_xpixel: 0, ws_ypixel: 0 },
            speed: (38400, 38400),
            input_ended: false,
            arrived: Instant(0),
            session: None,
            foreground: None,
            exclusive: false,
        };
        Arc::new_cyclic(|me| Tty {
            me: me.clone(),
            name: name.into(),
            number,
            device,
            state: SpinLock::new(Rank::Tty, state),
            hangups: AtomicU32::new(0),
            readable: Arc::new(WaitQueue::new()),
            writable: Arc::new(WaitQueue::new()),
        })
    }

    /// Its device number.
    pub fn number(&self) -> DeviceNumber {
        self.number
    }

    /// Its name below /dev.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A counted reference.
    pub fn arc(&self) -> Option<Arc<Tty>> {
        self.me.upgrade()
    }

    /// How often it has hung up.
    pub(super) fn hangups(&self) -> u32 {
        self.hangups.load(Ordering::Relaxed)
    }

    /// How many bytes of input there is room for.
    pub fn input_room(&self) -> usize {
        let state = self.state.lock();
        if self.device.is_transparent() { MAX_PLAIN.saturating_sub(state.plain.len()) } else { state.discipline.room() }
    }

    /// Takes input from the device.
    pub fn receive(&self, bytes: &[u8]) {
        let mut state = self.state.lock();
        state.arrived = time::now();
        if self.device.is_transparent() {
            state.plain.extend_from_slice(bytes);
            drop(state);
            return self.readable.wake(PollEvents::READABLE);
        }
        drop(state);
        self.with_discipline(|d| ((), d.receive(bytes)));
    }

    /// Lets the discipline do something, then does what follows from it, without its lock.
    pub(super) fn with_discipline<R>(&self, act: impl FnOnce(&mut Discipline) -> (R, Effects)) -> R {
        let (result, effects, flow, foreground) = {
            let mut state = self.state.lock();
            let before = state.discipline.is_stopped();
            let (result, effects) = act(&mut state.discipline);
            let after = state.discipline.is_stopped();
            (result, effects, (before != after).then_some(after), state.foreground)
        };
        if effects.flushed {
            self.device.changed(Change::OutputFlushed);
            self.device.changed(Change::InputFlushed);
        }
        if let Some(stopped) = flow {
            self.device.changed(Change::Stopped(stopped));
        }
        if !effects.echo.is_empty() {
            self.device.output(&effects.echo);
        }
        if let Some(group) = foreground {
            for signal in effects.signals {
                signal::send_to_group(group, signal);
            }
        }
        if effects.arrived {
            self.readable.wake(PollEvents::READABLE);
        }
        if flow == Some(false) {
            self.writable.wake(PollEvents::WRITABLE);
        }
        result
    }

    /// The device will send no more: readers get the end of file.
    pub fn end_input(&self) {
        self.state.lock().input_ended = true;
        self.readable.wake(PollEvents::READABLE | PollEvents::HUP);
        self.writable.wake(PollEvents::WRITABLE | PollEvents::HUP);
    }

    /// Hangs up (vhangup(2), the end of a pseudo-terminal's master): what is open is dead, the session loses its terminal
    /// and its leader hears of it.
    pub(super) fn hang_up(&self) {
        self.hangups.fetch_add(1, Ordering::Relaxed);
        let session = {
            let mut state = self.state.lock();
            state.discipline = Discipline::default();
            state.session
        };
        self.readable.wake(PollEvents::READABLE | PollEvents::HUP);
        self.writable.wake(PollEvents::WRITABLE | PollEvents::HUP);
        self.device.input_taken();
        if let Some(session) = session {
            self.disown(session);
        }
    }

    /// The device has room again.
    pub fn output_drained(&self) {
        self.writable.wake(PollEvents::WRITABLE);
    }

    /// Changes the size; tells the foreground group if it is another one.
    pub fn set_size(&self, new: winsize) {
        let group = {
            let mut state = self.state.lock();
            let old = core::mem::replace(&mut state.size, new);
            let same = (old.ws_row, old.ws_col, old.ws_xpixel, old.ws_ypixel)
                == (new.ws_row, new.ws_col, new.ws_xpixel, new.ws_ypixel);
            if same { None } else { state.foreground }
        };
        if let Some(group) = group {
            signal::send_to_group(group, Signal::WINCH);
        }
    }

    /// Reads what is there; EAGAIN if there is nothing yet.
    pub(super) fn read_input(&self, dst: &mut IovDest<'_>) -> Result<usize> {
        if dst.is_empty() {
            return Ok(0);
        }
        let transparent = self.device.is_transparent();
        let (ended, polls) = {
            let state = self.state.lock();
            let d = &state.discipline;
            (state.input_ended, !transparent && !d.canonical() && d.min_and_time() == (0, 0))
        };
        let taken = if transparent {
            let mut state = self.state.lock();
            let n = state.plain.len().min(dst.remaining());
            (n > 0).then(|| state.plain.drain(..n).collect())
        } else {
            self.with_discipline(|d| match d.take(dst.remaining()) {
                Some((bytes, effects)) => (Some(bytes), effects),
                None => (None, Effects::default()),
            })
        };
        let Some(bytes) = taken else {
            return if ended || polls { Ok(0) } else { Err(Errno::EAGAIN.into()) };
        };
        let bytes: Vec<u8> = bytes;
        match dst.put(&bytes) {
            Ok(n) => {
                self.device.input_taken();
                Ok(n)
            }
            Err(e) => {
                let mut state = self.state.lock();
                if transparent {
                    state.plain.splice(0..0, bytes);
                } else {
                    state.discipline.put_back(&bytes);
                }
                Err(e)
            }
        }
    }

    /// How many bytes a read could get now, when the last of them came, and whether no more will.
    pub(super) fn input(&self) -> (usize, Instant, bool) {
        let state = self.state.lock();
        let n = if self.device.is_transparent() { state.plain.len() } else { state.discipline.available() };
        (n, state.arrived, state.input_ended)
    }

    /// Writes; EAGAIN while output is stopped or the device has no room.
    pub(super) fn write_output(&self, src: &mut IovSource<'_>) -> Result<usize> {
        let mut done = 0;
        let mut chunk = [0u8; CHUNK];
        while !src.is_empty() {
            // Post-processing may double the bytes.
            let room = self.device.room().min(2 * CHUNK) / 2;
            let stopped = !self.device.is_transparent() && self.state.lock().discipline.is_stopped();
            if room == 0 || stopped {
                return if done > 0 { Ok(done) } else { Err(Errno::EAGAIN.into()) };
            }
            let n = match src.take(&mut chunk[..room.min(CHUNK)]) {
                Ok(n) => n,
                Err(_) if done > 0 => return Ok(done),
                Err(e) => return Err(e),
            };
            if self.device.is_transparent() {
                self.device.output(&chunk[..n]);
            } else {
                let out = self.state.lock().discipline.process_output(&chunk[..n]);
                self.device.output(&out);
            }
            done += n;
        }
        Ok(done)
    }

    /// The present readiness.
    pub(super) fn readiness(&self, watch: &mut PollWatch<'_>) -> PollEvents {
        watch.watch(&self.readable);
        watch.watch(&self.writable);
        let state = self.state.lock();
        let transparent = self.device.is_transparent();
        let readable = if transparent { !state.plain.is_empty() } else { state.discipline.readable() };
        let mut events = PollEvents::empty();
        events.set(PollEvents::READABLE, readable || state.input_ended);
        let writable = self.device.room() >= 2 && (transparent || !state.discipline.is_stopped());
        events.set(PollEvents::WRITABLE, writable);
        events
    }

    /// The present settings.
    pub(super) fn settings(&self) -> termios {
        self.state.lock().discipline.settings()
    }

    /// Changes the settings.
    pub(super) fn set_settings(&self, new: termios) {
        let keys = self.with_discipline(|d| {
            let before = d.has_flow_keys();
            let effects = d.set_settings(new);
            let after = d.has_flow_keys();
            ((before != after).then_some(after), effects)
        });
        if let Some(on) = keys {
            self.device.changed(Change::FlowKeys(on));
        }
        self.readable.wake(PollEvents::READABLE);
        self.writable.wake(PollEvents::WRITABLE);
        self.device.input_taken();
    }

    /// Drops unread input.
    pub(super) fn flush_input(&self) {
        self.with_discipline(|d| {
            d.flush_input();
            ((), d.bring_in())
        });
        self.device.changed(Change::InputFlushed);
        self.device.input_taken();
    }
}
