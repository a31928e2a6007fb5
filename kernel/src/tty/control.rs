//! The calls on a terminal (ioctl_tty(2)) but for those about sessions.

use super::device::Tty;
use crate::abi::general::{self as abi, termios, termios2};
use crate::abi::ioctl as req;
use crate::error::{Errno, Result};
use crate::mm::UserPtr;
use crate::task::{Capability, Thread};

/// The speeds that the bits of `CBAUD` name (termios(3)), in baud; the first sixteen, then those of `CBAUDEX`.
const SPEEDS: [u32; 32] = [
    0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400, 0, 57600, 115_200, 230_400,
    460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000, 2_000_000, 2_500_000, 3_000_000, 3_500_000,
    4_000_000,
];

/// `CBAUDEX`, which stands apart from the low four bits, and by itself means "as the speed fields say" (`BOTHER`).
const CBAUDEX: u32 = 0o010000;
/// `sizeof(struct termio)`.
const TERMIO_LEN: usize = 18;
/// Where the input speed's bits are (`IBSHIFT`).
const INPUT_SHIFT: u32 = 16;

/// The speed that the bits of `CBAUD` in `c_cflag` name; `asked` for `BOTHER`.
fn speed(bits: u32, asked: u32) -> u32 {
    let low = (bits & 0xf) as usize;
    match bits & CBAUDEX {
        0 => SPEEDS[low],
        _ if low == 0 => asked,
        _ => SPEEDS[16 + low],
    }
}

impl Tty {
    fn change_settings(&self, new: termios, asked: Option<(u32, u32)>, flush: bool) {
        if flush {
            self.flush_input();
        }
        {
            let mut state = self.state.lock();
            let (asked_input, asked_output) = asked.unwrap_or(state.speed);
            let output = speed(new.c_cflag, asked_output);
            let input_bits = new.c_cflag >> INPUT_SHIFT;
            let input = if input_bits & (CBAUDEX | 0xf) == 0 { output } else { speed(input_bits, asked_input) };
            state.speed = (input, output);
        }
        self.set_settings(new);
    }

    fn change_settings2(&self, new: termios2, flush: bool) {
        let termios2 { c_iflag, c_oflag, c_cflag, c_lflag, c_line, c_cc, c_ispeed, c_ospeed } = new;
        let old_form = termios { c_iflag, c_oflag, c_cflag, c_lflag, c_line, c_cc };
        self.change_settings(old_form, Some((c_ispeed, c_ospeed)), flush);
    }

    fn settings2(&self) -> termios2 {
        let termios { c_iflag, c_oflag, c_cflag, c_lflag, c_line, c_cc } = self.settings();
        let (c_ispeed, c_ospeed) = self.state.lock().speed;
        termios2 { c_iflag, c_oflag, c_cflag, c_lflag, c_line, c_cc, c_ispeed, c_ospeed }
    }

    /// The settings as `struct termio` of System V: 16-bit flags, `c_line`, the first eight characters, a byte of padding.
    fn settings_short(&self) -> [u8; TERMIO_LEN] {
        let termios { c_iflag, c_oflag, c_cflag, c_lflag, c_line, c_cc } = self.settings();
        let mut short = [0; TERMIO_LEN];
        for (bytes, flags) in short.chunks_exact_mut(2).zip([c_iflag, c_oflag, c_cflag, c_lflag]) {
            bytes.copy_from_slice(&(flags as u16).to_ne_bytes());
        }
        short[8] = c_line;
        short[9..17].copy_from_slice(&c_cc[..8]);
        short
    }

    /// The upper halves of the flags and the other characters stay.
    fn change_settings_short(&self, short: [u8; TERMIO_LEN], flush: bool) {
        let mut new = self.settings();
        let flags = [&mut new.c_iflag, &mut new.c_oflag, &mut new.c_cflag, &mut new.c_lflag];
        for (flags, bytes) in flags.into_iter().zip(short.chunks_exact(2)) {
            *flags = (*flags & 0xffff_0000) | u32::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        }
        new.c_line = short[8];
        new.c_cc[..8].copy_from_slice(&short[9..17]);
        self.change_settings(new, None, flush);
    }

    /// tcflow(3).
    fn flow(&self, action: u32) -> Result<()> {
        let send = |index| {
            let byte = self.state.lock().discipline.character(index);
            if byte != 0 {
                self.device.output(&[byte]);
            }
        };
        match action {
            abi::TCOOFF | abi::TCOON => self.with_discipline(|d| ((), d.suspend(action == abi::TCOOFF))),
            abi::TCIOFF => send(abi::VSTOP),
            abi::TCION => send(abi::VSTART),
            _ => return Err(Errno::EINVAL.into()),
        }
        Ok(())
    }

    /// tcflush(3).
    fn flush(&self, queue: u32) -> Result<()> {
        use super::device::Change;
        match queue {
            abi::TCIFLUSH => self.flush_input(),
            abi::TCOFLUSH => self.device.changed(Change::OutputFlushed),
            abi::TCIOFLUSH => {
                self.flush_input();
                self.device.changed(Change::OutputFlushed);
            }
            _ => return Err(Errno::EINVAL.into()),
        }
        Ok(())
    }

    /// The calls that programs in the background may not make (termios(3), TOSTOP): `None` if this is none of them.
    fn change(&self, request: u32, arg: usize) -> Option<Result<()>> {
        let result = match request {
            // Output is never delayed here, so there is nothing to drain before a change. Breaks mean nothing.
            req::TCSBRK | req::TCSBRKP | req::TIOCSBRK | req::TIOCCBRK => self.check_background_change(),
            req::TCSETS | req::TCSETSW | req::TCSETSF => self.check_background_change().and_then(|()| {
                self.change_settings(UserPtr::new(arg).read()?, None, request == req::TCSETSF);
                Ok(())
            }),
            req::TCSETS2 | req::TCSETSW2 | req::TCSETSF2 => self.check_background_change().and_then(|()| {
                self.change_settings2(UserPtr::new(arg).read()?, request == req::TCSETSF2);
                Ok(())
            }),
            req::TCSETA | req::TCSETAW | req::TCSETAF => self.check_background_change().and_then(|()| {
                self.change_settings_short(UserPtr::new(arg).read()?, request == req::TCSETAF);
                Ok(())
            }),
            req::TCFLSH => self.check_background_change().and_then(|()| self.flush(arg as u32)),
            req::TCXONC => self.check_background_change().and_then(|()| self.flow(arg as u32)),
            req::TIOCSETD => self.check_background_change().and_then(|()| match UserPtr::<i32>::new(arg).read()? {
                0 => Ok(()),
                _ => Err(Errno::EINVAL.because("there is no line discipline but N_TTY")),
            }),
            _ => return None,
        };
        Some(result)
    }

    /// The calls that every terminal has.
    pub(super) fn control(&self, t: &Thread, request: u32, arg: usize) -> Result<usize> {
        if let Some(result) = self.change(request, arg) {
            return result.map(|()| 0);
        }
        match request {
            req::TCGETS => UserPtr::new(arg).write(self.settings())?,
            req::TCGETA => UserPtr::new(arg).write(self.settings_short())?,
            req::TCGETS2 => UserPtr::new(arg).write(self.settings2())?,
            req::TIOCGWINSZ => {
                let size = self.state.lock().size;
                UserPtr::new(arg).write(size)?;
            }
            req::TIOCSWINSZ => self.set_size(UserPtr::new(arg).read()?),
            req::FIONREAD => UserPtr::<i32>::new(arg).write(self.input().0 as i32)?,
            req::TIOCOUTQ => UserPtr::<i32>::new(arg).write(0)?,
            req::TIOCEXCL => self.state.lock().exclusive = true,
            req::TIOCNXCL => self.state.lock().exclusive = false,
            req::TIOCGEXCL => {
                let exclusive = self.state.lock().exclusive;
                UserPtr::<i32>::new(arg).write(i32::from(exclusive))?;
            }
            req::TIOCGETD => UserPtr::<i32>::new(arg).write(0)?,
            req::TIOCGDEV => UserPtr::<u32>::new(arg).write(self.number().0 as u32)?,
            req::TIOCVHANGUP if t.credentials().capable(Capability::SysAdmin) => self.hang_up(),
            req::TIOCVHANGUP => return Err(Errno::EPERM.because("TIOCVHANGUP without CAP_SYS_ADMIN")),
            req::TIOCSTI => {
                return Err(Errno::EIO.because("input is not faked (as with dev.tty.legacy_tiocsti=0)"));
            }
            _ => return self.control_session(t, request, arg),
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_named_by_bits_or_by_themselves() {
        assert_eq!(speed(abi::B38400, 1), 38400);
        assert_eq!(speed(abi::B115200, 1), 115_200);
        assert_eq!(speed(abi::B4000000, 1), 4_000_000);
        assert_eq!(speed(CBAUDEX, 31250), 31250);
    }
}
