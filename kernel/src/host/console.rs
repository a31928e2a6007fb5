//! The host's standard input and output as the machine's console.

use crate::sync::{Rank, SpinLock};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// The terminal's settings from before raw mode.
static SAVED: SpinLock<Option<Termios>> = SpinLock::new(Rank::Log, None);

fn stdin() -> BorrowedFd<'static> {
    // SAFETY: descriptors 0 to 2 stay open for the life of the machine.
    unsafe { BorrowedFd::borrow_raw(0) }
}

fn stdout() -> BorrowedFd<'static> {
    // SAFETY: descriptors 0 to 2 stay open for the life of the machine.
    unsafe { BorrowedFd::borrow_raw(1) }
}

/// Whether standard input and output are both terminals.
pub fn is_terminal() -> bool {
    isatty(stdin()) && isatty(stdout())
}

/// The descriptor of standard input, for the idle loop's wait.
pub fn input_fd() -> i32 {
    0
}

fn ready(fd: BorrowedFd<'_>, events: PollFlags, timeout: Option<&Timespec>) -> bool {
    matches!(poll(&mut [PollFd::new(&fd, events)], timeout), Ok(n) if n > 0)
}

/// What a look at standard input found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input {
    /// Nothing yet.
    Nothing,
    /// So many bytes.
    Bytes(usize),
    /// The end, or an error, which is final as well.
    End,
}

/// Reads what standard input has, without waiting. The descriptor may be shared with other programs, so it is not made
/// non-blocking: poll tells whether a read would wait.
pub fn read(buf: &mut [u8]) -> Input {
    if !ready(stdin(), PollFlags::IN, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
        return Input::Nothing;
    }
    match rustix::io::read(stdin(), buf) {
        Ok(0) => Input::End,
        Ok(n) => Input::Bytes(n),
        Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Input::Nothing,
        Err(_) => Input::End,
    }
}

/// Writes all of `bytes` to standard output. Output that the host refuses for good (a closed pipe) is dropped.
pub fn write(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(stdout(), bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => {
                ready(stdout(), PollFlags::OUT, None);
            }
            Err(_) => return,
        }
    }
}

/// Rows and columns of the terminal; `None` if there is none.
pub fn size() -> Option<(u16, u16)> {
    tcgetwinsize(stdout()).ok().map(|w| (w.ws_row, w.ws_col))
}

/// Takes line editing, echo and signals away from the host's terminal: the guest's does them. Does nothing where input
/// or output is no terminal.
pub fn enter_raw_mode() {
    if !is_terminal() {
        return;
    }
    let Ok(settings) = tcgetattr(stdin()) else { return };
    let mut raw = settings.clone();
    raw.make_raw();
    if tcsetattr(stdin(), OptionalActions::Now, &raw).is_ok() {
        SAVED.lock().get_or_insert(settings);
    }
}

/// Gives the host's terminal back as it was. Does nothing if it was not changed.
pub fn restore() {
    let saved = SAVED.try_lock().and_then(|mut s| s.take());
    if let Some(settings) = saved {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &settings);
    }
}
