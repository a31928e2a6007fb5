//! The console: a terminal on the host's standard input and output.
//!
//! Where both are terminals, the host's is put in raw mode and the guest's discipline does editing, echo and signals.
//! Where one of them is not, bytes pass both ways as they are (a log file gets no carriage returns, a pipe is read to
//! its end), although programs see a terminal all the same.

use super::device::{Tty, TtyDevice};
use super::file::OpenTty;
use crate::abi::general::winsize;
use crate::error::{Errno, Result};
use crate::fs::context::Actor;
use crate::fs::file::{FileOps, OpenFile, OpenFlags};
use crate::fs::inode::{DeviceNumber, FileKind, Inode, InodeId, Metadata};
use crate::fs::lookup::Resolve;
use crate::fs::{Path, device, devpts, mount};
use crate::host::console as host;
use crate::sched::{self, Poller};
use crate::sync::Once;
use crate::time::{Duration, Instant};
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How often the host's standard input is looked at while the machine is busy.
const LOOK_EVERY: Duration = Duration::from_millis(1);

pub(super) const MAJOR: u32 = 5;

static CONSOLE: Once<Arc<Tty>> = Once::new();

struct HostConsole {
    terminal: bool,
}

impl TtyDevice for HostConsole {
    fn output(&self, bytes: &[u8]) -> usize {
        host::write(bytes);
        bytes.len()
    }

    fn room(&self) -> usize {
        host::room()
    }

    fn is_transparent(&self) -> bool {
        !self.terminal
    }
}

/// The console. The first call brings up devices 5:0 to 5:2 and the slaves of pseudo-terminals.
pub fn console() -> &'static Arc<Tty> {
    CONSOLE.call_once(|| {
        device::register_char(MAJOR, open_device);
        device::register_char(devpts::SLAVE_MAJOR, super::pty::open_slave);
        let device = Box::new(HostConsole { terminal: host::is_terminal() });
        Tty::new("console", DeviceNumber::new(MAJOR, 1), (24, 80), device)
    })
}

fn open_device(number: DeviceNumber, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    match number.minor() {
        0 => super::job_control::open_own_terminal(),
        1 => Ok(Arc::new(OpenTty::console(console().clone()))),
        2 => super::pty::open_master(),
        _ => Err(Errno::ENXIO.because("no such terminal")),
    }
}

struct ConsolePoller {
    terminal: bool,
    ended: AtomicBool,
    last: AtomicU64,
}

impl ConsolePoller {
    /// Takes what the host's standard input has; returns whether it had any, or has ended.
    fn take_input(&self, tty: &Tty) -> bool {
        if self.ended.load(Ordering::Relaxed) {
            return false;
        }
        if let Some((rows, columns)) = self.terminal.then(host::size).flatten() {
            tty.set_size(winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 });
        }
        let mut buf = [0u8; 1024];
        let room = tty.input_room().min(buf.len());
        if room == 0 {
            return false;
        }
        match host::read(&mut buf[..room]) {
            host::Input::Nothing => false,
            host::Input::Bytes(n) => {
                tty.receive(&buf[..n]);
                true
            }
            host::Input::End => {
                self.ended.store(true, Ordering::Relaxed);
                tty.end_input();
                true
            }
        }
    }
}

impl Poller for ConsolePoller {
    fn poll(&self, now: Instant) -> bool {
        let since = now.saturating_since(Instant(self.last.load(Ordering::Relaxed)));
        if since < LOOK_EVERY && !host::has_backlog() {
            return false;
        }
        self.last.store(now.as_nanos(), Ordering::Relaxed);
        let tty = console();
        let drained = host::has_backlog() && host::flush();
        if drained {
            tty.output_drained();
        }
        self.take_input(tty) || drained
    }

    /// Output that waits is offered again and again while programs run.
    fn deadline(&self, _now: Instant) -> Option<Instant> {
        host::has_backlog().then(|| Instant(self.last.load(Ordering::Relaxed)) + LOOK_EVERY)
    }

    /// Nothing once the input has ended, or while there is no room for it: it would be ready for ever.
    fn host_fds(&self, watch: &mut dyn FnMut(i32)) {
        let listens = !self.ended.load(Ordering::Relaxed) && console().input_room() > 0;
        let input = listens.then(host::input_fd);
        let output = if host::has_backlog() { host::writable_fd() } else { None };
        input.into_iter().chain(output).for_each(watch);
    }
}

/// Begins to take input from the host, whose terminal is put in raw mode. Done once, at boot.
pub fn register_poller() -> crate::error::Result<()> {
    let terminal = host::is_terminal();
    if terminal {
        host::enter_raw_mode();
    }
    sched::register_poller(Arc::new(ConsolePoller { terminal, ended: AtomicBool::new(false), last: AtomicU64::new(0) }))
}

/// The console's inode where the tree has no /dev/console.
struct ConsoleInode(InodeId);

impl Inode for ConsoleInode {
    fn kind(&self) -> FileKind {
        FileKind::CharDevice
    }

    fn id(&self) -> InodeId {
        self.0
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(Metadata { rdev: DeviceNumber::new(MAJOR, 1), ..Metadata::new(self.0, FileKind::CharDevice, 0o600) })
    }
}

/// What init has as descriptors 0, 1 and 2: /dev/console, or the console without a name if the tree has none.
pub fn open_console() -> Arc<OpenFile> {
    let console = console();
    let by_name = Actor::kernel().open(None, b"/dev/console", OpenFlags::RDWR, 0, Resolve::empty());
    match by_name {
        Ok(file) if file.ops().downcast_ref::<OpenTty>().is_some() => file,
        _ => {
            let path = Path::detached(Arc::new(ConsoleInode(mount::internal_id())), b"/dev/console");
            OpenFile::opened(Arc::new(OpenTty::console(console.clone())), OpenFlags::RDWR, path)
        }
    }
}
