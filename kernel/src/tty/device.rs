//! A terminal: its discipline, its queues, its owner among the sessions, and the calls on it.

use super::discipline::Discipline;
use crate::abi::general::{self as abi, termios, termios2, winsize};
use crate::abi::ioctl as req;
use crate::error::{Errno, Result};
use crate::fs::file::{FileOps, OpenFile};
use crate::fs::poll::{PollEvents, PollWatch};
use crate::mm::{IovDest, IovSource, UserPtr};
use crate::sched::WaitQueue;
use crate::signal::Signal;
use crate::sync::{Rank, SpinLock};
use crate::task::{Pid, Thread};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

/// Most bytes of one write that are processed at once.
const CHUNK: usize = 2048;

const SIGWINCH: Signal = Signal::WINCH;

/// What stands behind a terminal: the host's, or the master side of a pseudo-terminal.
pub trait TtyDevice: Send + Sync {
    /// Takes output; returns how much. 0 if there is no room now.
    fn output(&self, bytes: &[u8]) -> usize;

    /// How many bytes `output` would take.
    fn room(&self) -> usize {
        usize::MAX
    }

    /// Whether bytes pass both ways as they are: the device is no terminal.
    fn is_transparent(&self) -> bool {
        false
    }
}

pub(super) struct State {
    discipline: Discipline,
    /// Input of a transparent device.
    plain: Vec<u8>,
    size: winsize,
    /// The device will send no more.
    hung_up: bool,
    pub(super) session: Option<Pid>,
    pub(super) foreground: Option<Pid>,
    exclusive: bool,
}

/// A terminal.
pub struct Tty {
    me: Weak<Tty>,
    name: String,
    device: Box<dyn TtyDevice>,
    pub(super) state: SpinLock<State>,
    readable: Arc<WaitQueue>,
    writable: Arc<WaitQueue>,
}

impl Tty {
    /// A terminal over a device.
    pub fn new(name: &str, device: Box<dyn TtyDevice>) -> Arc<Self> {
        let state = State {
            discipline: Discipline::default(),
            plain: Vec::new(),
            size: winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 },
            hung_up: false,
            session: None,
            foreground: None,
            exclusive: false,
        };
        Arc::new_cyclic(|me| Tty {
            me: me.clone(),
            name: name.into(),
            device,
            state: SpinLock::new(Rank::Tty, state),
            readable: Arc::new(WaitQueue::new()),
            writable: Arc::new(WaitQueue::new()),
        })
    }

    /// Its device number.
    pub fn number(&self) -> crate::fs::inode::DeviceNumber {
        crate::fs::inode::DeviceNumber::new(super::console::MAJOR, 1)
    }

    /// Its name below /dev.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A counted reference.
    pub fn arc(&self) -> Option<Arc<Tty>> {
        self.me.upgrade()
    }

    /// How many bytes of input there is room for.
    pub fn input_room(&self) -> usize {
        let state = self.state.lock();
        if self.device.is_transparent() {
            (16 * CHUNK).saturating_sub(state.plain.len())
        } else {
            state.discipline.room()
        }
    }

    /// Takes input from the device.
    pub fn receive(&self, bytes: &[u8]) {
        let mut state = self.state.lock();
        if self.device.is_transparent() {
            state.plain.extend_from_slice(bytes);
            drop(state);
            return self.readable.wake(PollEvents::READABLE);
        }
        let was_stopped = state.discipline.is_stopped();
        let effects = state.discipline.receive(bytes);
        let started = was_stopped && !state.discipline.is_stopped();
        let foreground = state.foreground;
        drop(state);
        if !effects.echo.is_empty() {
            self.device.output(&effects.echo);
        }
        if let Some(group) = foreground {
            for signal in effects.signals {
                crate::signal::send_to_group(group, signal);
            }
        }
        if effects.readable {
            self.readable.wake(PollEvents::READABLE);
        }
        if started {
            self.writable.wake(PollEvents::WRITABLE);
        }
    }

    /// The device will send no more: readers get the end of file.
    pub fn hang_up(&self) {
        self.state.lock().hung_up = true;
        self.readable.wake(PollEvents::READABLE | PollEvents::HUP);
        self.writable.wake(PollEvents::WRITABLE | PollEvents::HUP);
    }

    /// The device has room again.
    pub fn output_drained(&self) {
        self.writable.wake(PollEvents::WRITABLE);
    }

    /// Changes the size; tells the foreground group if it is another one.
    pub fn set_size(&self, rows: u16, columns: u16) {
        let new = winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        self.set_winsize(new);
    }

    fn set_winsize(&self, new: winsize) {
        let group = {
            let mut state = self.state.lock();
            let old = core::mem::replace(&mut state.size, new);
            let same = (old.ws_row, old.ws_col, old.ws_xpixel, old.ws_ypixel)
                == (new.ws_row, new.ws_col, new.ws_xpixel, new.ws_ypixel);
            if same { None } else { state.foreground }
        };
        if let Some(group) = group {
            crate::signal::send_to_group(group, SIGWINCH);
        }
    }

    /// Reads; EAGAIN if there is nothing yet.
    pub fn read_input(&self, dst: &mut IovDest<'_>) -> Result<usize> {
        if dst.is_empty() {
            return Ok(0);
        }
        let mut state = self.state.lock();
        let hung_up = state.hung_up;
        let taken = if self.device.is_transparent() {
            let n = state.plain.len().min(dst.remaining());
            if n > 0 { Some(state.plain.drain(..n).collect()) } else { None }
        } else if state.discipline.canonical() || state.discipline.readable() || state.discipline.min_and_time().0 == 0
        {
            state.discipline.take(dst.remaining())
        } else {
            None
        };
        let polls = !state.discipline.canonical() && state.discipline.min_and_time() == (0, 0);
        drop(state);
        let Some(bytes) = taken else {
            let at_once = hung_up || (polls && !self.device.is_transparent());
            return if at_once { Ok(0) } else { Err(Errno::EAGAIN.into()) };
        };
        let bytes: Vec<u8> = bytes;
        match dst.put(&bytes) {
            Ok(n) => Ok(n),
            Err(e) => {
                let mut state = self.state.lock();
                if self.device.is_transparent() {
                    state.plain.splice(0..0, bytes);
                } else {
                    state.discipline.put_back(&bytes);
                }
                Err(e)
            }
        }
    }

    /// Writes; EAGAIN while output is stopped or the device has no room.
    pub fn write_output(&self, src: &mut IovSource<'_>) -> Result<usize> {
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
    pub fn readiness(&self, watch: &mut PollWatch<'_>) -> PollEvents {
        watch.watch(&self.readable);
        watch.watch(&self.writable);
        let state = self.state.lock();
        let mut events = PollEvents::empty();
        let readable = if self.device.is_transparent() { !state.plain.is_empty() } else { state.discipline.readable() };
        if readable || state.hung_up {
            events |= PollEvents::READABLE;
        }
        if self.device.room() >= 2 && (self.device.is_transparent() || !state.discipline.is_stopped()) {
            events |= PollEvents::WRITABLE;
        }
        events
    }

    fn set_settings(&self, new: termios, flush: bool) {
        {
            let mut state = self.state.lock();
            if flush {
                state.discipline.flush_input();
            }
            state.discipline.set_settings(new);
        }
        self.readable.wake(PollEvents::READABLE);
        self.writable.wake(PollEvents::WRITABLE);
    }

    fn set_settings2(&self, new: termios2, flush: bool) {
        let termios2 { c_iflag, c_oflag, c_cflag, c_lflag, c_line, c_cc, .. } = new;
        self.set_settings(termios { c_iflag, c_oflag, c_cflag, c_lflag, c_line, c_cc }, flush);
    }

    fn settings2(&self) -> termios2 {
        let termios { c_iflag, c_oflag, c_cflag, c_lflag, c_line, c_cc } = self.settings();
        termios2 { c_iflag, c_oflag, c_cflag, c_lflag, c_line, c_cc, c_ispeed: 38400, c_ospeed: 38400 }
    }

    fn settings(&self) -> termios {
        self.state.lock().discipline.settings()
    }

    /// The calls that every terminal has (ioctl_tty(2)).
    pub fn control(&self, t: &Thread, request: u32, arg: usize) -> Result<usize> {
        match request {
            req::TCGETS => UserPtr::new(arg).write(self.settings())?,
            req::TCGETS2 => UserPtr::new(arg).write(self.settings2())?,
            // Output is never delayed here, so there is nothing to drain before a change.
            req::TCSETS | req::TCSETSW => self.set_settings(UserPtr::new(arg).read()?, false),
            req::TCSETSF => self.set_settings(UserPtr::new(arg).read()?, true),
            req::TCSETS2 | req::TCSETSW2 => self.set_settings2(UserPtr::new(arg).read()?, false),
            req::TCSETSF2 => self.set_settings2(UserPtr::new(arg).read()?, true),
            req::TIOCGWINSZ => {
                let size = self.state.lock().size;
                UserPtr::new(arg).write(size)?;
            }
            req::TIOCSWINSZ => self.set_winsize(UserPtr::new(arg).read()?),
            req::FIONREAD => {
                let n = {
                    let state = self.state.lock();
                    if self.device.is_transparent() { state.plain.len() } else { state.discipline.available() }
                };
                UserPtr::<i32>::new(arg).write(n as i32)?;
            }
            req::TIOCOUTQ => UserPtr::<i32>::new(arg).write(0)?,
            req::TCFLSH => match arg as u32 {
                abi::TCIFLUSH | abi::TCIOFLUSH => self.state.lock().discipline.flush_input(),
                abi::TCOFLUSH => {}
                _ => return Err(Errno::EINVAL.into()),
            },
            // Breaks and delays mean nothing without a serial line.
            req::TCSBRK | req::TCSBRKP | req::TIOCSBRK | req::TIOCCBRK | req::TCXONC => {}
            req::TIOCEXCL => self.state.lock().exclusive = true,
            req::TIOCNXCL => self.state.lock().exclusive = false,
            req::TIOCGEXCL => {
                let exclusive = self.state.lock().exclusive;
                UserPtr::<i32>::new(arg).write(i32::from(exclusive))?;
            }
            req::TIOCGETD => UserPtr::<i32>::new(arg).write(0)?,
            req::TIOCSTI => {
                return Err(Errno::EIO.because("input is not faked (as with dev.tty.legacy_tiocsti=0)"));
            }
            _ => return self.control_session(t, request, arg),
        }
        Ok(0)
    }
}

/// A terminal that a program has open.
pub(super) struct OpenTty(pub(super) Arc<Tty>);

impl FileOps for OpenTty {
    fn read(&self, _file: &OpenFile, dst: &mut IovDest<'_>, _offset: Option<u64>) -> Result<usize> {
        self.0.check_background_read()?;
        self.0.read_input(dst)
    }

    fn write(&self, _file: &OpenFile, src: &mut IovSource<'_>, _offset: Option<u64>) -> Result<usize> {
        let stops = self.0.state.lock().discipline.stops_background_output();
        if stops {
            self.0.check_background_change()?;
        }
        self.0.write_output(src)
    }

    fn poll(&self, _file: &OpenFile, watch: &mut PollWatch<'_>) -> PollEvents {
        self.0.readiness(watch)
    }

    /// VTIME without VMIN: a read gives up after so many tenths of a second.
    fn timeout(&self, direction: crate::fs::file::Direction) -> Option<crate::time::Duration> {
        let state = self.0.state.lock();
        let (min, tenths) = state.discipline.min_and_time();
        let reads = direction == crate::fs::file::Direction::Read;
        (reads && !state.discipline.canonical() && min == 0 && tenths > 0)
            .then(|| crate::time::Duration::from_millis(u64::from(tenths) * 100))
    }

    fn ioctl(&self, thread: &Thread, _file: &OpenFile, request: u32, arg: usize) -> Result<usize> {
        self.0.control(thread, request, arg)
    }
}
