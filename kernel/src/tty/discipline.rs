//! The line discipline: from what the device sends to what programs read, and back (termios(3), N_TTY).

use crate::abi::general::{self as abi, termios};
use crate::signal::Signal;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Most bytes of unread input; more is dropped with a bell (`N_TTY_BUF_SIZE`).
pub const MAX_INPUT: usize = 4096;

const SIGINT: Signal = Signal::INT;
const SIGQUIT: Signal = Signal::QUIT;
const SIGTSTP: Signal = Signal::TSTP;

/// What the device's bytes lead to beyond queued input.
#[derive(Default, PartialEq, Eq, Debug)]
pub struct Effects {
    /// To be written to the device.
    pub echo: Vec<u8>,
    /// To be sent to the foreground process group.
    pub signals: Vec<Signal>,
    /// Whether a reader can go on.
    pub readable: bool,
}

/// Settings, the line being edited, and the input that waits.
pub struct Discipline {
    settings: termios,
    /// Canonical mode: the line that is not yet finished.
    editing: Vec<u8>,
    /// What can be read.
    queue: VecDeque<u8>,
    /// Canonical mode: lengths of the finished lines in `queue`; a line of length 0 is an end of file.
    lines: VecDeque<usize>,
    /// The next byte is taken as it is (VLNEXT).
    literal: bool,
    /// Output is stopped (IXON).
    stopped: bool,
    column: usize,
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
        c_cflag: abi::B38400 | abi::CS8 | abi::CREAD | abi::HUPCL,
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
            editing: Vec::new(),
            queue: VecDeque::new(),
            lines: VecDeque::new(),
            literal: false,
            stopped: false,
            column: 0,
        }
    }
}

impl Discipline {
    /// The settings.
    pub fn settings(&self) -> termios {
        self.settings
    }

    /// Changes the settings. What was typed before stays readable under the new ones.
    pub fn set_settings(&mut self, new: termios) {
        let was_canonical = self.canonical();
        self.settings = new;
        if was_canonical && !self.canonical() {
            self.queue.extend(self.editing.drain(..));
            self.lines.clear();
        } else if !was_canonical && self.canonical() && !self.queue.is_empty() {
            self.lines.push_back(self.queue.len());
        }
        if !self.input(abi::IXON) {
            self.stopped = false;
        }
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

    /// Whether output is stopped by ^S.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// VMIN and VTIME (in tenths of a second).
    pub fn min_and_time(&self) -> (usize, u8) {
        (usize::from(self.settings.c_cc[abi::VMIN as usize]), self.settings.c_cc[abi::VTIME as usize])
    }

    /// Whether `byte` is the special character at `index`. 0 switches a special character off.
    fn is(&self, byte: u8, index: u32) -> bool {
        byte != 0 && self.settings.c_cc[index as usize] == byte
    }

    /// Takes bytes from the device.
    pub fn receive(&mut self, bytes: &[u8]) -> Effects {
        let mut effects = Effects::default();
        for &byte in bytes {
            self.receive_one(byte, &mut effects);
        }
        effects.readable = self.readable();
        effects
    }

    fn receive_one(&mut self, byte: u8, effects: &mut Effects) {
        let mut byte = if self.input(abi::ISTRIP) { byte & 0x7f } else { byte };
        if self.literal {
            self.literal = false;
            return self.accept(byte, effects);
        }
        match byte {
            b'\r' if self.input(abi::IGNCR) => return,
            b'\r' if self.input(abi::ICRNL) => byte = b'\n',
            b'\n' if self.input(abi::INLCR) => byte = b'\r',
            _ => {}
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
            let signal = [(abi::VINTR, SIGINT), (abi::VQUIT, SIGQUIT), (abi::VSUSP, SIGTSTP)];
            if let Some((_, signal)) = signal.into_iter().find(|(index, _)| self.is(byte, *index)) {
                return self.signal(byte, signal, effects);
            }
        }
        // Any key starts stopped output again.
        if self.stopped && self.input(abi::IXANY) {
            self.stopped = false;
        }
        if !self.canonical() {
            return self.accept(byte, effects);
        }
        if self.is(byte, abi::VERASE) {
            self.erase(effects);
        } else if self.is(byte, abi::VKILL) {
            self.erase_line(effects);
        } else if self.local(abi::IEXTEN) && self.is(byte, abi::VWERASE) {
            self.erase_word(effects);
        } else if self.local(abi::IEXTEN) && self.is(byte, abi::VLNEXT) {
            self.literal = true;
            if self.local(abi::ECHO) && self.local(abi::ECHOCTL) {
                effects.echo.extend_from_slice(b"^\x08");
            }
        } else if self.local(abi::IEXTEN) && self.is(byte, abi::VREPRINT) {
            let line = core::mem::take(&mut self.editing);
            self.echo(byte, effects);
            self.echo_newline(effects);
            for &b in &line {
                self.echo(b, effects);
            }
            self.editing = line;
        } else if self.is(byte, abi::VEOF) {
            self.finish_line();
        } else if byte == b'\n' || self.is(byte, abi::VEOL) || self.is(byte, abi::VEOL2) {
            self.accept(byte, effects);
            self.finish_line();
        } else {
            self.accept(byte, effects);
        }
    }

    /// Queues a byte that has no special meaning, and echoes it.
    fn accept(&mut self, byte: u8, effects: &mut Effects) {
        if self.queue.len() + self.editing.len() >= MAX_INPUT {
            if self.input(abi::IMAXBEL) {
                effects.echo.push(7);
            }
            return;
        }
        self.echo(byte, effects);
        if self.canonical() {
            self.editing.push(byte);
        } else {
            self.queue.push_back(byte);
        }
    }

    fn finish_line(&mut self) {
        self.lines.push_back(self.editing.len());
        self.queue.extend(self.editing.drain(..));
    }

    fn signal(&mut self, byte: u8, signal: Signal, effects: &mut Effects) {
        if !self.local(abi::NOFLSH) {
            self.flush_input();
        }
        self.stopped = false;
        self.echo(byte, effects);
        effects.signals.push(signal);
    }

    /// Forgets unread input (TCIFLUSH).
    pub fn flush_input(&mut self) {
        self.editing.clear();
        self.queue.clear();
        self.lines.clear();
    }

    /// How a byte is echoed: `^C` for control characters.
    fn shown(&self, byte: u8) -> Vec<u8> {
        let control = byte < 32 || byte == 127;
        if control && self.local(abi::ECHOCTL) && byte != b'\n' && byte != b'\t' {
            return Vec::from([b'^', byte ^ 0x40]);
        }
        Vec::from([byte])
    }

    fn echo(&mut self, byte: u8, effects: &mut Effects) {
        if byte == b'\n' && (self.local(abi::ECHO) || (self.local(abi::ECHONL) && self.canonical())) {
            return self.echo_newline(effects);
        }
        if self.local(abi::ECHO) {
            let shown = self.shown(byte);
            effects.echo.extend(self.process_output(&shown));
        }
    }

    fn echo_newline(&mut self, effects: &mut Effects) {
        effects.echo.extend(self.process_output(b"\n"));
    }

    /// Takes the last character off the line, a whole UTF-8 sequence with IUTF8.
    fn erase(&mut self, effects: &mut Effects) {
        let Some(mut byte) = self.editing.pop() else { return };
        while self.input(abi::IUTF8) && byte & 0xc0 == 0x80 {
            match self.editing.pop() {
                Some(b) => byte = b,
                None => break,
            }
        }
        self.echo_erased(byte, effects);
    }

    fn echo_erased(&self, byte: u8, effects: &mut Effects) {
        if !self.local(abi::ECHO) {
            return;
        }
        if !self.local(abi::ECHOE) {
            effects.echo.push(self.settings.c_cc[abi::VERASE as usize]);
            return;
        }
        for _ in 0..self.shown(byte).len() {
            effects.echo.extend_from_slice(b"\x08 \x08");
        }
    }

    fn erase_word(&mut self, effects: &mut Effects) {
        let blank = |b: Option<&u8>| b.is_none_or(|b| b.is_ascii_whitespace());
        while !self.editing.is_empty() && blank(self.editing.last()) {
            self.erase(effects);
        }
        while !blank(self.editing.last()) {
            self.erase(effects);
        }
    }

    fn erase_line(&mut self, effects: &mut Effects) {
        if self.local(abi::ECHOKE) && self.local(abi::ECHOE) {
            while !self.editing.is_empty() {
                self.erase(effects);
            }
            return;
        }
        self.editing.clear();
        if self.local(abi::ECHO) && self.local(abi::ECHOK) {
            self.echo_newline(effects);
        }
    }

    /// What programs write, as the device is to get it.
    pub fn process_output(&mut self, bytes: &[u8]) -> Vec<u8> {
        if !self.output(abi::OPOST) {
            return bytes.to_vec();
        }
        let mut out = Vec::with_capacity(bytes.len() + 8);
        for &byte in bytes {
            match byte {
                b'\n' if self.output(abi::ONLCR) => {
                    out.extend_from_slice(b"\r\n");
                    self.column = 0;
                }
                b'\r' if self.output(abi::OCRNL) => out.push(b'\n'),
                b'\r' if self.output(abi::ONOCR) && self.column == 0 => {}
                b'\t' if self.settings.c_oflag & abi::TABDLY == abi::TAB3 => {
                    let spaces = 8 - self.column % 8;
                    out.extend(core::iter::repeat_n(b' ', spaces));
                    self.column += spaces;
                }
                b'\r' => {
                    out.push(byte);
                    self.column = 0;
                }
                _ => {
                    let byte = if self.output(abi::OLCUC) { byte.to_ascii_uppercase() } else { byte };
                    out.push(byte);
                    self.column += usize::from(byte >= 32);
                }
            }
        }
        out
    }

    /// Whether a read would return at once (VTIME apart).
    pub fn readable(&self) -> bool {
        if self.canonical() { !self.lines.is_empty() } else { self.queue.len() >= self.min_and_time().0.max(1) }
    }

    /// Bytes that FIONREAD counts.
    pub fn available(&self) -> usize {
        self.queue.len()
    }

    /// How much more input there is room for.
    pub fn room(&self) -> usize {
        MAX_INPUT.saturating_sub(self.queue.len() + self.editing.len())
    }

    /// Takes what a read of at most `max` bytes returns: in canonical mode at most one line; empty is an end of file.
    /// `None` if there is nothing to take yet.
    pub fn take(&mut self, max: usize) -> Option<Vec<u8>> {
        if !self.canonical() {
            if self.queue.is_empty() {
                return None;
            }
            let n = max.min(self.queue.len());
            return Some(self.queue.drain(..n).collect());
        }
        let line = self.lines.front_mut()?;
        let n = max.min(*line);
        *line -= n;
        if *line == 0 {
            self.lines.pop_front();
        }
        Some(self.queue.drain(..n).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_edited_and_then_read() {
        let mut d = Discipline::default();
        let e = d.receive(b"helxo\x7f\x7flo");
        assert_eq!(e.echo, b"helxo\x08 \x08\x08 \x08lo");
        assert!(!e.readable);
        let e = d.receive(b"\rnext");
        assert_eq!(e.echo, b"\r\nnext");
        assert!(e.readable);
        assert_eq!(d.take(3).unwrap(), b"hel");
        assert_eq!(d.take(100).unwrap(), b"lo\n");
        assert_eq!(d.take(100), None);
    }

    #[test]
    fn control_d_ends_a_line_without_a_newline_and_alone_is_an_end_of_file() {
        let mut d = Discipline::default();
        d.receive(b"ab\x04\x04");
        assert_eq!(d.take(9).unwrap(), b"ab");
        assert_eq!(d.take(9).unwrap(), b"");
        assert_eq!(d.take(9), None);
    }

    #[test]
    fn control_c_signals_and_drops_the_line() {
        let mut d = Discipline::default();
        let e = d.receive(b"abc\x03");
        assert_eq!(e.signals, [SIGINT]);
        assert_eq!(e.echo, b"abc^C");
        d.receive(b"\n");
        assert_eq!(d.take(9).unwrap(), b"\n");
    }

    #[test]
    fn words_and_lines_are_erased() {
        let mut d = Discipline::default();
        d.receive(b"one two  \x17x\n");
        assert_eq!(d.take(99).unwrap(), b"one x\n");
        d.receive(b"gone\x15kept\n");
        assert_eq!(d.take(99).unwrap(), b"kept\n");
        d.receive(b"a\x16\x03\n");
        assert_eq!(d.take(99).unwrap(), b"a\x03\n");
    }

    #[test]
    fn raw_mode_passes_bytes_and_keeps_what_was_typed() {
        let mut d = Discipline::default();
        d.receive(b"half");
        let mut raw = d.settings();
        raw.c_lflag &= !(abi::ICANON | abi::ISIG | abi::ECHO);
        raw.c_iflag = 0;
        raw.c_oflag = 0;
        d.set_settings(raw);
        let e = d.receive(b"\x03\r");
        assert_eq!(e, Effects { readable: true, ..Effects::default() });
        assert_eq!(d.take(99).unwrap(), b"half\x03\r");
        assert_eq!(d.process_output(b"a\n"), b"a\n");
    }
}
