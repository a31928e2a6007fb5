//! The keys that erase, and how the terminal shows it (termios(3): VERASE, VWERASE, VKILL, ECHOE, ECHOK, ECHOKE).

use super::{Discipline, Effects};
use crate::abi::general as abi;

/// What VWERASE takes for part of a word: letters, digits and `_`, in Latin-1 as Linux has it.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || (byte >= 0xc0 && byte != 0xd7 && byte != 0xf7)
}

fn is_control(byte: u8) -> bool {
    byte < 32 || byte == 127
}

impl Discipline {
    /// Whether `byte` goes on with a character that began before it (IUTF8).
    pub(super) fn is_continuation(&self, byte: u8) -> bool {
        self.input(abi::IUTF8) && byte & 0xc0 == 0x80
    }

    /// The last character of the line: where it begins and its first byte.
    fn last_character(&self) -> Option<(usize, u8)> {
        let at = self.editing.iter().rposition(|&b| !self.is_continuation(b))?;
        Some((at, self.editing[at]))
    }

    pub(super) fn erase(&mut self, effects: &mut Effects) {
        let Some((at, byte)) = self.last_character() else { return };
        if self.local(abi::ECHO) && !self.local(abi::ECHOE) {
            let key = self.character(abi::VERASE);
            self.echo(key, effects);
            self.editing.truncate(at);
            return;
        }
        self.remove_shown(at, byte, effects);
    }

    pub(super) fn erase_word(&mut self, effects: &mut Effects) {
        let mut in_word = false;
        while let Some((at, byte)) = self.last_character() {
            if in_word && !is_word(byte) {
                return;
            }
            in_word |= is_word(byte);
            self.remove_shown(at, byte, effects);
        }
    }

    pub(super) fn erase_line(&mut self, effects: &mut Effects) {
        let visibly = self.local(abi::ECHOK) && self.local(abi::ECHOKE) && self.local(abi::ECHOE);
        if self.local(abi::ECHO) && visibly {
            while let Some((at, byte)) = self.last_character() {
                self.remove_shown(at, byte, effects);
            }
            return;
        }
        let was_empty = self.editing.is_empty();
        self.editing.clear();
        if self.local(abi::ECHO) && !was_empty {
            let key = self.character(abi::VKILL);
            self.echo(key, effects);
            if self.local(abi::ECHOK) {
                self.echo_raw(b"\n", effects);
            }
        }
    }

    /// Takes the character that begins at `at` off the line and off the screen.
    fn remove_shown(&mut self, at: usize, byte: u8, effects: &mut Effects) {
        self.editing.truncate(at);
        if !self.local(abi::ECHO) {
            return;
        }
        if byte == b'\t' {
            return self.unshow_tab(effects);
        }
        let control = self.local(abi::ECHOCTL);
        let columns = if !is_control(byte) { 1 } else { 2 * usize::from(control) };
        for _ in 0..columns {
            self.echo_raw(b"\x08 \x08", effects);
        }
    }

    /// Moves back over a tab: as far as what stands before it on the line leaves of eight columns.
    fn unshow_tab(&mut self, effects: &mut Effects) {
        let after_tab = self.editing.iter().rposition(|&b| b == b'\t');
        let since = &self.editing[after_tab.map_or(0, |i| i + 1)..];
        let width = |&b: &u8| match b {
            b if is_control(b) => 2 * usize::from(self.local(abi::ECHOCTL)),
            b => usize::from(!self.is_continuation(b)),
        };
        let mut columns: usize = since.iter().map(width).sum();
        if after_tab.is_none() {
            columns += self.line_column;
        }
        for _ in 0..8 - columns % 8 {
            self.echo_raw(b"\x08", effects);
        }
    }

    /// Shows the line that is edited once more, below (VREPRINT).
    pub(super) fn show_again(&mut self, key: u8, effects: &mut Effects) {
        self.echo(key, effects);
        self.echo_raw(b"\n", effects);
        for i in 0..self.editing.len() {
            self.echo(self.editing[i], effects);
        }
    }

    /// Echoes a byte in its visible form: `^C` for control characters, if ECHOCTL says so.
    pub(super) fn echo(&mut self, byte: u8, effects: &mut Effects) {
        if self.local(abi::ECHOCTL) && is_control(byte) && byte != b'\t' {
            self.echo_raw(&[b'^', byte ^ 0x40], effects);
        } else {
            self.echo_raw(&[byte], effects);
        }
    }

    /// Echoes bytes as if a program had written them.
    pub(super) fn echo_raw(&mut self, bytes: &[u8], effects: &mut Effects) {
        let out = self.process_output(bytes);
        effects.echo.extend(out);
    }
}
