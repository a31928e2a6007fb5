//! The kernel log: levels as in Linux (kern_levels), lines on the host's stderr.
//!
//! A line has the time since boot in brackets, as dmesg(1) prints it. `loglevel=N` shows levels below N; `quiet` is
//! `loglevel=4`. All lines are kept in a ring of fixed size for syslog(2).

use crate::sync::{Rank, SpinLock};
use alloc::collections::VecDeque;
use alloc::string::String;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU8, Ordering};

/// Bytes of log that are kept.
pub const RING_BYTES: usize = 128 * 1024;

/// How urgent a line is (syslog(2)).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs)]
#[repr(u8)]
pub enum Level {
    Emergency = 0,
    Alert = 1,
    Critical = 2,
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
    Debug = 7,
}

static CONSOLE_LEVEL: AtomicU8 = AtomicU8::new(7);
static RING: SpinLock<Ring> = SpinLock::new(Rank::Log, Ring { lines: VecDeque::new(), bytes: 0 });

struct Ring {
    lines: VecDeque<String>,
    bytes: usize,
}

/// Shows levels below `level` on stderr, as the `loglevel=` option counts (0–15).
pub fn set_console_level(level: u8) {
    CONSOLE_LEVEL.store(level, Ordering::Relaxed);
}

/// Writes one line; use the [`crate::klog!`] macro.
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    let since_boot = crate::time::since_boot();
    let mut line = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(line, "[{:5}.{:06}] {message}", since_boot.as_secs(), since_boot.subsec_micros());
    if (level as u8) < CONSOLE_LEVEL.load(Ordering::Relaxed) {
        crate::host::write_stderr(line.as_bytes());
    }
    let mut ring = RING.lock();
    ring.bytes += line.len();
    ring.lines.push_back(line);
    while ring.bytes > RING_BYTES {
        let Some(old) = ring.lines.pop_front() else { break };
        ring.bytes -= old.len();
    }
}

/// The kept lines, oldest first, joined (dmesg(1)).
pub fn read_all() -> String {
    let ring = RING.lock();
    ring.lines.iter().map(String::as_str).collect()
}

/// Logs a line: `klog!(Info, "eth0: {mac}")`.
#[macro_export]
macro_rules! klog {
    ($level:ident, $($arg:tt)*) => {
        $crate::klog::write($crate::klog::Level::$level, format_args!($($arg)*))
    };
}
