//! The Flatland kernel: a nommu Linux-ABI kernel in one host process.
//!
//! `docs/architecture.md` has the picture. Imports run downwards: `boot` → `syscall` → `loader`, `tty`, `fs`, `block`, `net`,
//! `ipc`, `signal`, `task` → `sched`, `mm`, `time` → `klog`, `trace`, `utsname` → `arch`, `host` → `sync`, `abi`, `error`.
//! Everything but `boot`, `host` and driver threads is `no_std`: nothing reaches for std's thread-locals, locks or hash
//! seeds, which need the host's FS register.

#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod abi;
#[allow(unsafe_code)]
pub mod arch;
pub mod block;
pub mod boot;
pub mod error;
pub mod fs;
#[allow(unsafe_code)]
pub mod host;
pub mod ipc;
pub mod klog;
pub mod loader;
pub mod mm;
pub mod net;
pub mod sched;
pub mod signal;
#[allow(unsafe_code)]
pub mod sync;
pub mod syscall;
pub mod task;
pub mod time;
pub mod trace;
pub mod tty;
pub mod utsname;
