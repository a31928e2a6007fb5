//! What programs write, as the device is to get it (termios(3): OPOST and the flags that it governs).

use super::Discipline;
use crate::abi::general as abi;
use alloc::vec::Vec;

impl Discipline {
    /// Processes output and follows where the cursor goes.
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
                b'\n' => {
                    out.push(byte);
                    if self.output(abi::ONLRET) {
                        self.column = 0;
                    }
                }
                b'\r' if self.output(abi::ONOCR) && self.column == 0 => {}
                b'\r' if self.output(abi::OCRNL) => {
                    out.push(b'\n');
                    if self.output(abi::ONLRET) {
                        self.column = 0;
                    }
                }
                b'\r' => {
                    out.push(byte);
                    self.column = 0;
                }
                b'\t' => {
                    let columns = 8 - self.column % 8;
                    self.column += columns;
                    if self.settings.c_oflag & abi::TABDLY == abi::TAB3 {
                        out.extend(core::iter::repeat_n(b' ', columns));
                    } else {
                        out.push(byte);
                    }
                }
                8 => {
                    out.push(byte);
                    self.column = self.column.saturating_sub(1);
                }
                _ => {
                    out.push(if self.output(abi::OLCUC) { byte.to_ascii_uppercase() } else { byte });
                    let shown = byte >= 32 && byte != 127 && !self.is_continuation(byte);
                    self.column += usize::from(shown);
                }
            }
        }
        out
    }
}
