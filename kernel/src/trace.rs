//! The lines of `trace=syscalls`, in strace(1)'s format, on the kernel log's stream.
//!
//! A call that returns is one line, `[pid 12] read(3, "abc"..., 832) = 832`: what it returned is part of it. While a call
//! is on its way the line stands open. A call that does not return, or that takes long enough for another thread to
//! be traced meanwhile, is shown as strace shows it: `<unfinished ...>`, `<... read resumed>`. `syscall::trace` writes
//! the calls; ends and signals come from those who bring them about.

use alloc::string::String;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};

static ENABLED: AtomicBool = AtomicBool::new(false);
/// The thread whose call is open on the last line, or 0.
static OPEN: AtomicI32 = AtomicI32::new(0);

/// Turns tracing on or off.
pub fn set_enabled(on: bool) {
    ENABLED.store(on, Ordering::Relaxed);
}

/// Whether calls are traced.
#[inline]
pub fn enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

/// Writes text as it is.
pub(crate) fn emit(text: &str) {
    crate::host::write_stderr(text.as_bytes());
}

/// The start of a new line: marks the one that stands open, if any, as unfinished.
pub(crate) fn start_line() -> String {
    let open = OPEN.swap(0, Ordering::Relaxed) != 0;
    String::from(if open { " <unfinished ...>\n" } else { "" })
}

/// Writes the start of a line that thread `tid` will go on with.
pub(crate) fn leave_open(tid: i32, text: &str) {
    OPEN.store(tid, Ordering::Relaxed);
    emit(text);
}

/// The rest of the line that thread `tid` left open, unless another line has come since.
pub(crate) fn resume_line(tid: i32) -> Option<String> {
    OPEN.compare_exchange(tid, 0, Ordering::Relaxed, Ordering::Relaxed).ok().map(|_| String::new())
}

/// Notes a signal's delivery, as strace does.
pub fn signal(tid: impl fmt::Display, name: &str, code: i32) {
    if enabled() {
        let mut line = start_line();
        let _ = writeln!(line, "[pid {tid:>5}] --- {name} {{si_signo={name}, si_code={code}}} ---");
        emit(&line);
    }
}

/// Notes a thread's end, as strace does.
pub fn exited(tid: impl fmt::Display, how: fmt::Arguments<'_>) {
    if enabled() {
        let mut line = start_line();
        let _ = writeln!(line, "[pid {tid:>5}] +++ {how} +++");
        emit(&line);
    }
}
