//! The host's standard input and output as the machine's console.
//!
//! Nobody may read what the machine writes: a pager waits for a key, a terminal was stopped. Output therefore goes as far
//! as the host takes it without waiting, and the rest to a backlog of bounded size, which the console's poller empties;
//! when it is full, the programs that write wait, and no others. At the end the machine waits for the backlog.
//!
//! Standard output may be shared with other programs, so it is not made non-blocking: pipes and terminals are opened once
//! more (a file description of our own), sockets are sent to with MSG_DONTWAIT, and regular files do not wait. Where
//! opening is refused, poll says that a pipe has room for a page, which is what one write then has at most.

use crate::sync::{Once, Rank, SpinLock};
use alloc::collections::VecDeque;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::net::SendFlags;
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

/// Most bytes that wait for the host. Echoes beyond are dropped.
const BACKLOG_MAX: usize = 64 * 1024;

/// Output that the host has not taken yet.
static BACKLOG: SpinLock<VecDeque<u8>> = SpinLock::new(Rank::Log, VecDeque::new());

/// How standard output is written to without waiting.
enum Way {
    /// By a description of our own that does not wait.
    Own(OwnedFd),
    /// It is a socket.
    Socket,
    /// It never waits.
    File,
    /// By asking before each write.
    Asking,
}

static WAY: Once<Way> = Once::new();

fn way() -> &'static Way {
    WAY.call_once(|| match rustix::fs::fstat(stdout()).map(|s| FileType::from_raw_mode(s.st_mode)) {
        Ok(FileType::Fifo | FileType::CharacterDevice) => {
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            rustix::fs::open("/proc/self/fd/1", flags, Mode::empty()).map_or(Way::Asking, Way::Own)
        }
        Ok(FileType::Socket) => Way::Socket,
        Ok(FileType::RegularFile) => Way::File,
        _ => Way::Asking,
    })
}

/// Writes what the host takes at once; EAGAIN if it takes nothing now.
fn write_some(bytes: &[u8]) -> Result<usize, rustix::io::Errno> {
    /// What a pipe that is writable takes without waiting (`PIPE_BUF`).
    const PAGE: usize = 4096;
    match way() {
        Way::Own(fd) => rustix::io::write(fd, bytes),
        Way::Socket => rustix::net::send(stdout(), bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
        Way::File => rustix::io::write(stdout(), bytes),
        Way::Asking if ready(stdout(), PollFlags::OUT, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) => {
            rustix::io::write(stdout(), &bytes[..bytes.len().min(PAGE)])
        }
        Way::Asking => Err(rustix::io::Errno::AGAIN),
    }
}

/// Writes from the front of the backlog what the host takes. Output that the host refuses for good (a closed pipe) is
/// dropped.
fn send(backlog: &mut VecDeque<u8>) {
    while !backlog.is_empty() {
        match write_some(backlog.as_slices().0) {
            Ok(n) => drop(backlog.drain(..n)),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return,
            Err(_) => backlog.clear(),
        }
    }
}

/// Writes `bytes` to standard output, or behind what waits for it.
pub fn write(bytes: &[u8]) {
    let mut backlog = BACKLOG.lock();
    let room = (2 * BACKLOG_MAX).saturating_sub(backlog.len());
    backlog.extend(&bytes[..bytes.len().min(room)]);
    send(&mut backlog);
}

/// How many bytes there is room for.
pub fn room() -> usize {
    BACKLOG_MAX.saturating_sub(BACKLOG.lock().len())
}

/// Whether output waits for the host.
pub fn has_backlog() -> bool {
    !BACKLOG.lock().is_empty()
}

/// A descriptor that is readable while standard output can be written to; `None` if the host has no such thing for it.
pub fn writable_fd() -> Option<i32> {
    static WRITABLE: Once<Option<OwnedFd>> = Once::new();
    let watch = || {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC).ok()?;
        epoll::add(&set, stdout(), epoll::EventData::new_u64(0), epoll::EventFlags::OUT).ok()?;
        Some(set)
    };
    WRITABLE.call_once(watch).as_ref().map(AsRawFd::as_raw_fd)
}

/// Offers the host what waits; returns whether it took any.
pub fn flush() -> bool {
    let mut backlog = BACKLOG.lock();
    let before = backlog.len();
    send(&mut backlog);
    backlog.len() < before
}

/// Waits until the host has taken everything, or has gone; not for long if a signal of the host's ends the machine. For
/// the end of the machine: nothing runs any more.
pub fn drain() {
    let killed = super::stop_status().is_some_and(|status| status >= 128);
    let limit = killed.then_some(Timespec { tv_sec: 0, tv_nsec: 200_000_000 });
    while BACKLOG.try_lock().is_some_and(|mut backlog| {
        send(&mut backlog);
        !backlog.is_empty()
    }) {
        if !ready(stdout(), PollFlags::OUT, limit.as_ref()) && killed {
            return;
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
