//! The line discipline: from what the device sends to what programs read, and back (termios(3), N_TTY).
//!
//! Input passes two queues. What the device sends stands in `backlog`, as in Linux's flip buffers, until there is room
//! in what programs read; only on the way from one to the other do bytes take effect (echo, editing, signals). In
//! canonical mode a line that is not finished yet is apart, in `editing`. A line that outgrows the buffer loses what
//! comes before its end, one byte at a time, so that its newline always gets through.

mod erase;
mod output;
#[cfg(test)]
mod tests;

use crate::abi::general::{self as abi, termios};
use crate::signal::Signal;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Most bytes of unread input (`N_TTY_BUF_SIZE`, of which one stays free).
const MAX_INPUT: usize = 4095;

/// Most bytes that wait for room there (the limit that Linux gives the buffers of a pseudo-terminal).
const MAX_BACKLOG: usize = 8192;

/// Most bytes of echo that are kept while output is stopped.
const MAX_HELD_ECHO: usize = 4096;

/// What the device's bytes lead to beyond queued input.
#[derive(Default, PartialEq, Eq, Debug)]
pub struct Effects {
    /// To be written to the device.
    pub echo: Vec<u8>,
    /// To be sent to the foreground process group.
    pub signals: Vec<Signal>,
    /// Whether there is input that was not there before.
    pub arrived: bool,
    /// Whether input and output that wait were dropped; the echo comes after that.
    pub flushed: bool,
}

/// Settings, the line being edited, and the input that waits.
pub struct Discipline {
    settings: termios,
    backlog: VecDeque<u8>,
    /// Canonical mode: the line that is not yet finished.
    editing: Vec<u8>,
    /// What can be read.
    queue: VecDeque<u8>,
    /// Canonical mode: lengths of the finished lines in `queue`; a line of length 0 is an end of file.
    lines: VecDeque<usize>,
    /// The next byte is taken as it is (VLNEXT).
    literal: bool,
    /// Output is stopped by the stop character (IXON).
    stopped: bool,
    /// Output is stopped by a program (TCOOFF): no character starts it.
    suspended: bool,
    /// Echo that came while output was stopped.
    held_echo: VecDeque<u8>,
    /// Where the cursor is, and where it was when the line that is edited began.
    column: usize,
    line_column: usize,
}

/// What termios(3) calls "sane", as Linux gives a new terminal.
fn initial_settings() -> termios {
    let mut cc = [0u8; 19];
    for (index, byte) in [
        (abi::VINTR, 3),
        (abi::VQUIT, 28),
        (abi::VERASE, 127),
        (abi::VKILL, 21),
        (abi::VEOF, 4),
        (abi::VMIN, 1),
        (abi::VSTART, 17),
        (abi::VSTOP, 19),
        (abi::VSUSP, 26),
        (abi::VREPRINT, 18),
        (abi::VDISCARD, 15),
        (abi::VWERASE, 23),
        (abi::VLNEXT, 22),
    ] {
        cc[index as usize] = byte;
    }
    termios {
        c_iflag: abi::ICRNL | abi::IXON,
        c_oflag: abi::OPOST | abi::ONLCR,
        c_cflag: abi::B38400 | abi::CS8 | abi::CREAD,
        c_lflag: abi::ISIG
            | abi::ICANON
            | abi::ECHO
            | abi::ECHOE
            | abi::ECHOK
            | abi::ECHOCTL
            | abi::ECHOKE
            | abi::IEXTEN,
        c_line: 0,
        c_cc: cc,
    }
}

impl Default for Discipline {
    fn default() -> Self {
        Discipline {
            settings: initial_settings(),
            backlog: VecDeque::new(),
            editing: Vec::new(),
            queue: VecDeque::new(),
            lines: VecDeque::new(),
            literal: false,
            stopped: false,
            suspended: false,
            held_echo: VecDeque::new(),
            column: 0,
            line_column: 0,
        }
    }
}

impl Discipline {
    /// The settings.
    pub fn settings(&self) -> termios {
        self.settings
    }

    /// Changes the settings. What was typed before stays readable under the new ones. There is no serial line: characters
    /// have eight bits and no parity whatever is asked for.
    pub fn set_settings(&mut self, new: termios) -> Effects {
        let was_canonical = self.canonical();
        self.settings = new;
        self.settings.c_cflag = (new.c_cflag & !(abi::CSIZE | abi::PARENB)) | abi::CS8 | abi::CREAD;
        if was_canonical != self.canonical() {
            self.queue.extend(self.editing.drain(..));
            self.lines.clear();
            self.literal = false;
            if self.canonical() && !self.queue.is_empty() {
                self.lines.push_back(self.queue.len());
            }
        }
        if !self.input(abi::IXON) {
            self.stopped = false;
        }
        self.bring_in()
    }

    fn input(&self, flag: u32) -> bool {
        self.settings.c_iflag & flag != 0
    }

    fn output(&self, flag: u32) -> bool {
        self.settings.c_oflag & flag != 0
    }

    fn local(&self, flag: u32) -> bool {
        self.settings.c_lflag & flag != 0
    }

    /// Whether input comes in lines.
    pub fn canonical(&self) -> bool {
        self.local(abi::ICANON)
    }

    /// Whether background programs may not write (TOSTOP).
    pub fn stops_background_output(&self) -> bool {
        self.local(abi::TOSTOP)
    }

    /// Whether ^S and ^Q stop and start output (what TIOCPKT_DOSTOP and TIOCPKT_NOSTOP tell).
    pub fn has_flow_keys(&self) -> bool {
        self.input(abi::IXON) && self.is(19, abi::VSTOP) && self.is(17, abi::VSTART)
    }

    /// Whether output is stopped, by a character or by a program.
    pub fn is_stopped(&self) -> bool {
        self.stopped || self.suspended
    }

    /// Stops or starts output as tcflow(3) does; what was held back of the echo comes out.
    pub fn suspend(&mut self, stop: bool) -> Effects {
        self.suspended = stop;
        self.stopped &= stop;
        self.bring_in()
    }

    /// VMIN and VTIME (in tenths of a second).
    pub fn min_and_time(&self) -> (usize, u8) {
        (usize::from(self.settings.c_cc[abi::VMIN as usize]), self.settings.c_cc[abi::VTIME as usize])
    }

    /// The special character at `index`; 0 is none.
    pub fn character(&self, index: u32) -> u8 {
        self.settings.c_cc[index as usize]
    }

    /// Whether `byte` is the special character at `index`. 0 switches a special character off.
    fn is(&self, byte: u8, index: u32) -> bool {
        byte != 0 && self.character(index) == byte
    }

    /// Takes bytes from the device: no more than there is [`Discipline::room`] for.
    pub fn receive(&mut self, bytes: &[u8]) -> Effects {
        self.backlog.extend(bytes);
        self.bring_in()
    }

    /// How many bytes of input the device may send.
    pub fn room(&self) -> usize {
        MAX_BACKLOG.saturating_sub(self.backlog.len())
    }

    /// Moves the backlog on as far as there is room, and gives out the echo unless output is stopped.
    pub fn bring_in(&mut self) -> Effects {
        let mut effects = Effects::default();
        while self.queue.len() + self.editing.len() < MAX_INPUT || (self.canonical() && self.lines.is_empty()) {
            let Some(byte) = self.backlog.pop_front() else { break };
            self.receive_one(byte, &mut effects);
        }
        if effects.flushed {
            self.held_echo.clear();
        }
        self.held_echo.extend(effects.echo.drain(..));
        if self.is_stopped() {
            let excess = self.held_echo.len().saturating_sub(MAX_HELD_ECHO);
            self.held_echo.drain(..excess);
        } else {
            effects.echo.extend(self.held_echo.drain(..));
        }
        effects
    }

    fn receive_one(&mut self, byte: u8, effects: &mut Effects) {
        let mut byte = if self.input(abi::ISTRIP) { byte & 0x7f } else { byte };
        if self.input(abi::IUCLC) && self.local(abi::IEXTEN) {
            byte.make_ascii_lowercase();
        }
        if self.literal {
            self.literal = false;
            return self.accept(byte, effects);
        }
        if self.input(abi::IXON) {
            if self.is(byte, abi::VSTART) {
                self.stopped = false;
                return;
            }
            if self.is(byte, abi::VSTOP) {
                self.stopped = true;
                return;
            }
        }
        if self.local(abi::ISIG) {
            let signals = [(abi::VINTR, Signal::INT), (abi::VQUIT, Signal::QUIT), (abi::VSUSP, Signal::TSTP)];
            if let Some((_, signal)) = signals.into_iter().find(|(index, _)| self.is(byte, *index)) {
                return self.signal(byte, signal, effects);
            }
        }
        // Any key starts stopped output again.
        if self.input(abi::IXON) && self.input(abi::IXANY) {
            self.stopped = false;
        }
        let typed = byte;
        match byte {
            b'\r' if self.input(abi::IGNCR) => return,
            b'\r' if self.input(abi::ICRNL) => byte = b'\n',
            b'\n' if self.input(abi::INLCR) => byte = b'\r',
            _ => {}
        }
        if self.canonical() {
            self.edit(byte, effects);
        } else if byte == b'\n' && typed != byte && self.local(abi::ECHO) {
            // The return key moves to a new line here, too; a newline of itself is shown as any control character.
            self.echo_raw(b"\n", effects);
            self.queue.push_back(byte);
            effects.arrived = true;
        } else {
            self.accept(byte, effects);
        }
    }

    /// A byte in canonical mode: a key that edits the line, one that ends it, or part of it.
    fn edit(&mut self, byte: u8, effects: &mut Effects) {
        let extended = self.local(abi::IEXTEN);
        if self.is(byte, abi::VERASE) {
            self.erase(effects);
        } else if self.is(byte, abi::VKILL) {
            self.erase_line(effects);
        } else if extended && self.is(byte, abi::VWERASE) {
            self.erase_word(effects);
        } else if extended && self.is(byte, abi::VLNEXT) {
            self.literal = true;
            if self.local(abi::ECHO) && self.local(abi::ECHOCTL) {
                effects.echo.extend_from_slice(b"^\x08");
            }
        } else if extended && self.local(abi::ECHO) && self.is(byte, abi::VREPRINT) {
            self.show_again(byte, effects);
        } else if self.is(byte, abi::VEOF) {
            self.finish_line(effects);
        } else if byte == b'\n' {
            if self.local(abi::ECHO) || self.local(abi::ECHONL) {
                self.echo_raw(b"\n", effects);
            }
            self.put(byte);
            self.finish_line(effects);
        } else if self.is(byte, abi::VEOL) || (extended && self.is(byte, abi::VEOL2)) {
            self.accept(byte, effects);
            self.finish_line(effects);
        } else {
            self.accept(byte, effects);
        }
    }

    /// Queues a byte that has no special meaning, and echoes it.
    fn accept(&mut self, byte: u8, effects: &mut Effects) {
        if self.local(abi::ECHO) {
            if self.editing.is_empty() {
                self.line_column = self.column;
            }
            self.echo(byte, effects);
        }
        self.put(byte);
        effects.arrived |= !self.canonical();
    }

    fn put(&mut self, byte: u8) {
        if !self.canonical() {
            return self.queue.push_back(byte);
        }
        if self.editing.len() > MAX_INPUT {
            self.editing.pop();
        }
        self.editing.push(byte);
    }

    fn finish_line(&mut self, effects: &mut Effects) {
        self.lines.push_back(self.editing.len());
        self.queue.extend(self.editing.drain(..));
        effects.arrived = true;
    }

    fn signal(&mut self, byte: u8, signal: Signal, effects: &mut Effects) {
        if !self.local(abi::NOFLSH) {
            self.flush_input();
            effects.echo.clear();
            effects.flushed = true;
        }
        if self.input(abi::IXON) {
            self.stopped = false;
        }
        if self.local(abi::ECHO) {
            self.echo(byte, effects);
        }
        effects.signals.push(signal);
    }

    /// Forgets input that programs could read (TCIFLUSH).
    pub fn flush_input(&mut self) {
        self.editing.clear();
        self.queue.clear();
        self.lines.clear();
        self.literal = false;
    }

    /// Forgets input that has not taken effect yet (TCOFLUSH at the master of a pseudo-terminal).
    pub fn flush_backlog(&mut self) {
        self.backlog.clear();
    }

    /// Whether poll(2) says that there is input.
    pub fn readable(&self) -> bool {
        if self.canonical() {
            return !self.lines.is_empty();
        }
        let least = match self.min_and_time() {
            (min, 0) => min.max(1),
            _ => 1,
        };
        self.queue.len() >= least
    }

    /// Bytes that a read could get now, were it content with them.
    pub fn available(&self) -> usize {
        if self.canonical() && self.lines.is_empty() { 0 } else { self.queue.len() }
    }

    /// Takes what a read of at most `max` bytes returns: in canonical mode at most one line; empty is an end of file.
    /// `None` if there is nothing to take yet. Room that this makes may let more of the backlog in.
    pub fn take(&mut self, max: usize) -> Option<(Vec<u8>, Effects)> {
        let n = if self.canonical() {
            let line = self.lines.front_mut()?;
            let n = max.min(*line);
            *line -= n;
            if *line == 0 {
                self.lines.pop_front();
            }
            n
        } else {
            if self.queue.is_empty() {
                return None;
            }
            max.min(self.queue.len())
        };
        let taken = self.queue.drain(..n).collect();
        Some((taken, self.bring_in()))
    }

    /// Puts bytes back that could not be given to the reader.
    pub fn put_back(&mut self, bytes: &[u8]) {
        for &b in bytes.iter().rev() {
            self.queue.push_front(b);
        }
        if self.canonical() {
            self.lines.push_front(bytes.len());
        }
    }
}
