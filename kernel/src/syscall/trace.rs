//! `trace=syscalls`: calls, their arguments and results in strace(1)'s format. [`crate::trace`] has the lines.

use super::{ArgKind, Syscall};
use crate::error::Result;
use crate::mm::{UserPtr, UserSlice};
use crate::task::{Fd, Thread};
use crate::trace;
use alloc::format;
use alloc::string::String;
use core::fmt::Write;

/// Longest string shown in full, as strace's `-s`.
const STRING_MAX: usize = 32;

fn name(row: Option<&Syscall>, nr: u64) -> String {
    row.map_or_else(|| format!("syscall_{nr:#x}"), |r| r.name.into())
}

/// Whether a kind's value is known only when the call returns.
fn is_result(kind: ArgKind) -> bool {
    matches!(kind, ArgKind::out | ArgKind::outstr)
}

/// A call begins. Shown at once only up to the first argument that the call itself fills in.
pub(super) fn enter(t: &Thread, row: Option<&Syscall>, nr: u64, args: &[u64; 6]) {
    let mut line = trace::start_line();
    let _ = write!(line, "[pid {:>5}] {}(", t.tid(), name(row, nr));
    let kinds = row.map_or(&[][..], |r| r.args);
    for (i, &kind) in kinds.iter().enumerate().take_while(|(_, k)| !is_result(**k)) {
        separator(&mut line, i);
        argument(&mut line, kind, i, args, None);
    }
    trace::leave_open(t.tid().0, &line);
}

fn separator(line: &mut String, index: usize) {
    if index > 0 {
        line.push_str(", ");
    }
}

/// A call returns.
pub(super) fn leave(t: &Thread, row: Option<&Syscall>, nr: u64, args: &[u64; 6], result: &Result<usize>) {
    let mut line = trace::resume_line(t.tid().0).unwrap_or_else(|| {
        let mut line = trace::start_line();
        let _ = write!(line, "[pid {:>5}] <... {} resumed>", t.tid(), name(row, nr));
        line
    });
    let kinds = row.map_or(&[][..], |r| r.args);
    let shown = kinds.iter().position(|k| is_result(*k)).unwrap_or(kinds.len());
    for (i, &kind) in kinds.iter().enumerate().skip(shown) {
        separator(&mut line, i);
        argument(&mut line, kind, i, args, result.ok());
    }
    match result {
        Ok(value) => {
            let pointer = matches!(row.map(|r| r.name), Some("mmap" | "brk" | "mremap" | "shmat"));
            let _ = if pointer { writeln!(line, ") = {value:#x}") } else { writeln!(line, ") = {}", *value as isize) };
        }
        Err(e) => {
            let _ = match (e.errno().is_restart(), e.reason()) {
                (true, _) => writeln!(line, ") = ? {:?} (To be restarted if SA_RESTART is set)", e.errno()),
                (false, "") => writeln!(line, ") = -1 {}", e.errno()),
                (false, reason) => writeln!(line, ") = -1 {} /* {reason} */", e.errno()),
            };
        }
    }
    trace::emit(&line);
}

fn quoted(line: &mut String, bytes: &[u8], cut: bool) {
    let _ = write!(line, "\"{}\"{}", bytes.escape_ascii(), if cut { "..." } else { "" });
}

fn guest_bytes(line: &mut String, addr: u64, len: usize) {
    let mut buf = [0u8; STRING_MAX];
    let shown = len.min(STRING_MAX);
    match UserSlice::new(addr as usize, shown).read(&mut buf[..shown]) {
        Ok(_) => quoted(line, &buf[..shown], len > shown),
        Err(_) => {
            let _ = write!(line, "{addr:#x}");
        }
    }
}

fn flags(line: &mut String, value: u64, names: &[(u64, &str)], zero: &str) {
    let mut rest = value;
    let mut first = true;
    for &(bit, name) in names {
        if bit != 0 && rest & bit == bit {
            let _ = write!(line, "{}{name}", if first { "" } else { "|" });
            rest &= !bit;
            first = false;
        }
    }
    if first && rest == 0 {
        line.push_str(zero);
    } else if rest != 0 {
        let _ = write!(line, "{}{rest:#x}", if first { "" } else { "|" });
    }
}

fn argument(line: &mut String, kind: ArgKind, i: usize, args: &[u64; 6], result: Option<usize>) {
    let value = args[i];
    let _ = match kind {
        ArgKind::int => write!(line, "{}", value as i64),
        ArgKind::size => write!(line, "{value}"),
        ArgKind::mode => write!(line, "{:#o}", value as u32),
        ArgKind::fd if value as i32 == Fd::CWD.0 => write!(line, "AT_FDCWD"),
        ArgKind::fd => write!(line, "{}", value as i32),
        ArgKind::hex | ArgKind::ptr if value == 0 => {
            write!(line, "{}", if kind == ArgKind::ptr { "NULL" } else { "0" })
        }
        ArgKind::hex | ArgKind::ptr => write!(line, "{value:#x}"),
        ArgKind::path => {
            match UserPtr::<u8>::new(value as usize).read_path() {
                Ok(path) => quoted(line, &path, false),
                Err(_) if value == 0 => line.push_str("NULL"),
                Err(_) => {
                    let _ = write!(line, "{value:#x}");
                }
            }
            Ok(())
        }
        ArgKind::buf => {
            guest_bytes(line, value, args.get(i + 1).copied().unwrap_or(0) as usize);
            Ok(())
        }
        ArgKind::out | ArgKind::outstr => {
            match result {
                Some(n) => guest_bytes(line, value, n),
                None => {
                    let _ = write!(line, "{value:#x}");
                }
            }
            Ok(())
        }
        ArgKind::timespec => {
            match UserPtr::<[i64; 2]>::new(value as usize).read() {
                Ok([sec, nsec]) => {
                    let _ = write!(line, "{{tv_sec={sec}, tv_nsec={nsec}}}");
                }
                Err(_) if value == 0 => line.push_str("NULL"),
                Err(_) => {
                    let _ = write!(line, "{value:#x}");
                }
            }
            Ok(())
        }
        ArgKind::signal => write!(line, "{}", value as i32),
        ArgKind::oflags => {
            line.push_str(["O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"][(value & 3) as usize]);
            if value & !3 != 0 {
                line.push('|');
                flags(line, value & !3, OPEN_FLAGS, "");
            }
            Ok(())
        }
        ArgKind::prot => {
            flags(line, value, &[(1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC")], "PROT_NONE");
            Ok(())
        }
        ArgKind::mapflags => {
            flags(line, value, MAP_FLAGS, "0");
            Ok(())
        }
        ArgKind::futexop => {
            let op = FUTEX_OPS.get((value & 0x7f) as usize).copied().unwrap_or("FUTEX_?");
            let private = if value & 128 != 0 { "_PRIVATE" } else { "" };
            let realtime = if value & 256 != 0 { "|FUTEX_CLOCK_REALTIME" } else { "" };
            write!(line, "{op}{private}{realtime}")
        }
    };
}

const OPEN_FLAGS: &[(u64, &str)] = &[
    (0o20200000, "O_TMPFILE"),
    (0o4010000, "O_SYNC"),
    (0o100, "O_CREAT"),
    (0o200, "O_EXCL"),
    (0o400, "O_NOCTTY"),
    (0o1000, "O_TRUNC"),
    (0o2000, "O_APPEND"),
    (0o4000, "O_NONBLOCK"),
    (0o10000, "O_DSYNC"),
    (0o20000, "O_ASYNC"),
    (0o40000, "O_DIRECT"),
    (0o100000, "O_LARGEFILE"),
    (0o200000, "O_DIRECTORY"),
    (0o400000, "O_NOFOLLOW"),
    (0o1000000, "O_NOATIME"),
    (0o2000000, "O_CLOEXEC"),
    (0o10000000, "O_PATH"),
];

const MAP_FLAGS: &[(u64, &str)] = &[
    (3, "MAP_SHARED_VALIDATE"),
    (1, "MAP_SHARED"),
    (2, "MAP_PRIVATE"),
    (0x10, "MAP_FIXED"),
    (0x20, "MAP_ANONYMOUS"),
    (0x100, "MAP_GROWSDOWN"),
    (0x800, "MAP_DENYWRITE"),
    (0x2000, "MAP_LOCKED"),
    (0x4000, "MAP_NORESERVE"),
    (0x8000, "MAP_POPULATE"),
    (0x10000, "MAP_NONBLOCK"),
    (0x20000, "MAP_STACK"),
    (0x40000, "MAP_HUGETLB"),
    (0x100000, "MAP_FIXED_NOREPLACE"),
];

const FUTEX_OPS: &[&str] = &[
    "FUTEX_WAIT",
    "FUTEX_WAKE",
    "FUTEX_FD",
    "FUTEX_REQUEUE",
    "FUTEX_CMP_REQUEUE",
    "FUTEX_WAKE_OP",
    "FUTEX_LOCK_PI",
    "FUTEX_UNLOCK_PI",
    "FUTEX_TRYLOCK_PI",
    "FUTEX_WAIT_BITSET",
    "FUTEX_WAKE_BITSET",
    "FUTEX_WAIT_REQUEUE_PI",
    "FUTEX_CMP_REQUEUE_PI",
];
