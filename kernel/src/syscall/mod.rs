//! System calls: the table, the dispatch, one file per family.
//!
//! A handler `sys_x(t, args…)` decodes and checks what the guest said; `do_x` acts on typed values. The entry is
//! [`dispatch`], on the thread's kernel stack with the host's FS: number → table → handler → result into rax.

pub(crate) mod at;
pub mod attributes;
pub mod credentials;
pub mod descriptor;
pub mod directory;
pub mod epoll;
pub mod event_fd;
pub mod exec;
pub mod futex;
pub mod inotify;
pub mod memory;
pub mod message;
pub mod misc;
pub mod mount;
pub mod mqueue;
pub mod msg;
pub mod names;
pub mod open;
pub mod prctl;
pub mod process;
pub mod readiness;
pub mod rw;
pub mod sched;
pub mod sem;
pub mod shm;
pub mod signal;
pub mod socket;
pub mod sockopt;
pub mod splice;
pub mod stat;
pub mod storage;
mod sysv;
mod table;
pub mod time;
pub mod timer;
pub mod trace;
pub mod xattr;

pub use table::SYSCALLS;

use crate::arch::TrapFrame;
use crate::error::{Errno, Result};
use crate::klog;
use crate::mm::UserPtr;
use crate::task::{Fd, Gid, Pid, Thread, Tid, Uid};
use core::sync::atomic::{AtomicU64, Ordering};

/// How far a call goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Support {
    /// As Linux.
    Full,
    /// The note says what is missing.
    Partial,
    /// ENOSYS.
    Missing,
}

/// What an argument is, for the trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(non_camel_case_types, missing_docs)]
pub enum ArgKind {
    int,
    hex,
    fd,
    ptr,
    size,
    /// A NUL-terminated path.
    path,
    /// Bytes the guest passes; the next argument is their length.
    buf,
    /// Bytes the kernel returns; the result is their length.
    out,
    /// A string the kernel returns.
    outstr,
    oflags,
    mode,
    prot,
    mapflags,
    signal,
    timespec,
    futexop,
}

/// A handler with its arguments still in registers.
pub type Handler = fn(&Thread, &[u64; 6]) -> Result<usize>;

/// A row of the table.
#[derive(Clone, Copy)]
pub struct Syscall {
    /// Number in rax.
    pub nr: u32,
    /// Name as in the manual, section 2.
    pub name: &'static str,
    /// The arguments' kinds.
    pub args: &'static [ArgKind],
    /// Who serves it; `None` is ENOSYS.
    pub handler: Option<Handler>,
    /// How far it goes.
    pub support: Support,
    /// What is missing, or why.
    pub note: &'static str,
}

/// An argument as a handler takes it, from its register.
pub trait SyscallArg {
    /// Takes the register's value; what does not fit is cut, as the ABI does.
    fn from_register(value: u64) -> Self;
}

macro_rules! integer_args {
    ($($t:ty),*) => { $(impl SyscallArg for $t {
        fn from_register(value: u64) -> Self {
            value as $t
        }
    })* };
}

integer_args!(u8, i32, u32, i64, u64, usize, isize);

macro_rules! id_args {
    ($($t:ident: $inner:ty),*) => { $(impl SyscallArg for $t {
        fn from_register(value: u64) -> Self {
            $t(value as $inner)
        }
    })* };
}

id_args!(Fd: i32, Pid: i32, Tid: i32, Uid: u32, Gid: u32);

impl<T> SyscallArg for UserPtr<T> {
    fn from_register(value: u64) -> Self {
        UserPtr::new(value as usize)
    }
}

/// Turns `path::to::handler` with the row's arguments into a [`Handler`].
macro_rules! call {
    (none $($k:ident)*) => {
        None
    };
    ($f:path;) => {
        Some(|t, _| $f(t))
    };
    ($f:path; $a:ident) => {
        Some(|t, r| $f(t, $crate::syscall::SyscallArg::from_register(r[0])))
    };
    ($f:path; $a:ident $b:ident) => {
        Some(|t, r| {
            use $crate::syscall::SyscallArg as A;
            $f(t, A::from_register(r[0]), A::from_register(r[1]))
        })
    };
    ($f:path; $a:ident $b:ident $c:ident) => {
        Some(|t, r| {
            use $crate::syscall::SyscallArg as A;
            $f(t, A::from_register(r[0]), A::from_register(r[1]), A::from_register(r[2]))
        })
    };
    ($f:path; $a:ident $b:ident $c:ident $d:ident) => {
        Some(|t, r| {
            use $crate::syscall::SyscallArg as A;
            $f(t, A::from_register(r[0]), A::from_register(r[1]), A::from_register(r[2]), A::from_register(r[3]))
        })
    };
    ($f:path; $a:ident $b:ident $c:ident $d:ident $e:ident) => {
        Some(|t, r| {
            use $crate::syscall::SyscallArg as A;
            $f(
                t,
                A::from_register(r[0]),
                A::from_register(r[1]),
                A::from_register(r[2]),
                A::from_register(r[3]),
                A::from_register(r[4]),
            )
        })
    };
    ($f:path; $a:ident $b:ident $c:ident $d:ident $e:ident $g:ident) => {
        Some(|t, r| {
            use $crate::syscall::SyscallArg as A;
            $f(
                t,
                A::from_register(r[0]),
                A::from_register(r[1]),
                A::from_register(r[2]),
                A::from_register(r[3]),
                A::from_register(r[4]),
                A::from_register(r[5]),
            )
        })
    };
}
pub(crate) use call;

/// Builds [`SYSCALLS`], sorted by number.
macro_rules! syscalls {
    ($($nr:literal $name:ident($($kind:ident),*) => $($handler:ident)::+, $support:ident, $note:literal;)*) => {
        /// The table, sorted by number.
        pub static SYSCALLS: &[Syscall] = &[$(Syscall {
            nr: $nr,
            name: stringify!($name),
            args: &[$(ArgKind::$kind),*],
            handler: syscalls!(@handler [$($handler)::+] $($kind)*),
            support: Support::$support,
            note: $note,
        }),*];
    };
    (@handler [none] $($kind:ident)*) => { None };
    (@handler [$($handler:ident)::+] $($kind:ident)*) => { call!($($handler)::+; $($kind)*) };
}
pub(crate) use syscalls;

/// One past the highest number that has a row.
const NUMBERS: usize = 512;

/// Row index by number, plus one; 0 where there is none.
static INDEX: [u16; NUMBERS] = {
    let mut index = [0u16; NUMBERS];
    let mut i = 0;
    while i < SYSCALLS.len() {
        index[SYSCALLS[i].nr as usize] = i as u16 + 1;
        i += 1;
    }
    index
};

/// The row of a number.
pub fn lookup(nr: u64) -> Option<&'static Syscall> {
    let index = *INDEX.get(usize::try_from(nr).ok()?)?;
    SYSCALLS.get(usize::from(index).checked_sub(1)?)
}

/// Which numbers have been reported as missing.
static REPORTED: [AtomicU64; NUMBERS / 64] = [const { AtomicU64::new(0) }; NUMBERS / 64];

#[cold]
fn report_missing(t: &Thread, nr: u64, row: Option<&Syscall>) {
    let (word, bit) = ((nr as usize % NUMBERS) / 64, 1 << (nr % 64));
    if REPORTED[word].fetch_or(bit, Ordering::Relaxed) & bit == 0 {
        let name = row.map_or("unknown", |r| r.name);
        let comm = t.comm();
        let comm = comm.split(|&b| b == 0).next().unwrap_or_default();
        let comm = comm.escape_ascii();
        match row.map_or("", |r| r.note) {
            "" => klog!(Warning, "{comm}[{}]: system call {nr} ({name}) is not implemented: ENOSYS", t.tid()),
            // A gap that is documented, and that programs expect.
            note => klog!(Info, "{comm}[{}]: system call {nr} ({name}): ENOSYS: {note}", t.tid()),
        }
    }
}

/// Serves the system call in `frame`.
pub fn dispatch(t: &Thread, frame: &mut TrapFrame) {
    let (raw, args) = (frame.orig_rax, frame.args());
    // As Linux: the low half of rax is the number.
    let nr = u64::from(raw as u32);
    let row = lookup(nr);
    let tracing = crate::trace::enabled();
    if tracing {
        trace::enter(t, row, nr, &args);
    }
    let result = match row.and_then(|r| r.handler) {
        Some(handler) => handler(t, &args),
        None => {
            report_missing(t, nr, row);
            Err(Errno::ENOSYS.into())
        }
    };
    if tracing {
        trace::leave(t, row, nr, &args, &result);
    }
    let value = match result {
        Ok(value) => value as u64,
        Err(e) if e.errno().is_restart() => {
            crate::signal::resolve_restart(t);
            (-i64::from(e.errno().raw())) as u64
        }
        Err(e) => (-i64::from(e.errno().raw())) as u64,
    };
    t.context.with_frame(|f| {
        // execve and rt_sigreturn have replaced all registers and say so by clearing the number.
        if f.orig_rax == raw {
            f.rax = value;
        }
    });
}
