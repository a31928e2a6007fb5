//! From the command line to a running machine, and to its end.
//!
//! Order: host text is recorded before guest memory exists; the root is mounted and devices are opened while errors can
//! still be told as bad options; then this host thread becomes the vCPU, and from there on only the kernel's own text
//! may call the host.

extern crate std;

pub mod cmdline;
mod init;
mod ip_option;
mod panic;

use crate::arch;
use crate::error::{Errno, Error};
use crate::fs::hostfs::HostFs;
use crate::fs::mount::MountFlags;
use crate::sched::{self, IdlePolicy};
use crate::{host, klog, mm, net, time, trace, tty, utsname};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use cmdline::{Command, Hook, Idle, Options, Root};
use core::fmt;
use std::{eprintln, print, println};

/// The version that `--version` prints and uname(2) builds on.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why a machine could not be started: one line that names the option and the remedy.
#[derive(Debug)]
pub struct BootError(String);

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl BootError {
    fn new(text: impl Into<String>) -> Self {
        BootError(text.into())
    }
}

impl From<Error> for BootError {
    fn from(e: Error) -> Self {
        BootError(e.to_string())
    }
}

/// Exit status for a bad command line or a machine that cannot be started.
const STATUS_USAGE: i32 = 2;

/// Runs the program: returns its exit status.
pub fn main(args: impl Iterator<Item = String>) -> i32 {
    let words: Vec<String> = args.skip(1).collect();
    let options = match cmdline::parse(words.iter().map(String::as_str)) {
        Ok(Command::Boot(options)) => options,
        Ok(Command::Help) => {
            print!("{}", cmdline::HELP);
            return 0;
        }
        Ok(Command::Version) => {
            println!("vmlinux {VERSION} (Flatland)");
            return 0;
        }
        Err(e) => {
            eprintln!("vmlinux: {e}");
            return STATUS_USAGE;
        }
    };
    match boot(&options) {
        Ok(never) => match never {},
        Err(e) => {
            eprintln!("vmlinux: {e}");
            STATUS_USAGE
        }
    }
}

fn boot(o: &Options) -> Result<core::convert::Infallible, BootError> {
    utsname::set_command_line(&o.text);
    crate::klog::set_console_level(o.loglevel);
    trace::set_enabled(o.trace.syscalls);
    arch::cpu::check_required()?;
    host::text::record()?;
    host::raise_descriptor_limit();
    time::clock::start();
    time::since_boot();
    panic::install();
    klog!(Info, "Flatland {VERSION}, a nommu Linux-ABI kernel; command line: {}", o.text);
    mm::window::init(o.mem).map_err(|e| BootError::new(format!("mem={}: {e}", o.mem)))?;
    time::vdso::init()?;
    mount_root(o)?;
    set_up_network(o)?;
    sched::set_idle_policy(match o.idle {
        Idle::Spin(d) => IdlePolicy::Spin(d),
        Idle::Sleep => IdlePolicy::Sleep,
    });
    if o.hook == Hook::Patch {
        mm::texts::enable();
    }
    arch::set_hooks(init::hooks());
    let thread = init::prepare(o)?;
    tty::register_poller()?;
    time::clock::start();
    arch::start_vcpu(0).map_err(|e| BootError::new(format!("the host refuses a seccomp filter: {e}")))?;
    host::start_preemption_timer()?;
    klog!(Info, "run {} as init process", o.init.as_deref().unwrap_or("the default"));
    sched::spawn(&thread);
    drop(thread);
    sched::idle_loop();
    host::signal::block_all();
    host::console::restore();
    let status = host::stop_status().unwrap_or(0);
    klog!(Info, "machine stops with status {status}");
    // Not by way of the runtime's own clean-up: it takes the signal stack away while the preemption timer still runs.
    host::exit_now(status)
}

/// Opens the devices and configures their interfaces.
fn set_up_network(o: &Options) -> Result<(), BootError> {
    let address = |c: &ip_option::IpConfig| net::config::InterfaceConfig {
        address: c.client,
        prefix: c.prefix,
        gateway: c.gateway,
        device: c.device.clone(),
    };
    let addresses: Vec<_> = o.ip.iter().map(address).collect();
    if let Some(name) = o.ip.iter().find_map(|c| c.hostname.as_deref()) {
        utsname::set_hostname(name.as_bytes());
    }
    net::facts::register();
    net::config::init(&o.devices, &addresses).map_err(|e| BootError::new(e.to_string()))
}

fn mount_root(o: &Options) -> Result<(), BootError> {
    let Root::Hostfs(dir) = &o.root;
    let fs = HostFs::open(dir, o.writable).map_err(|e| {
        let hint = if e.errno() == Errno::ENOENT { "; make one with: appliance rootfs build" } else { "" };
        BootError::new(format!("rootflags={dir}: cannot use this directory as the root: {e}{hint}"))
    })?;
    let mut flags = MountFlags::empty();
    flags.set(MountFlags::RDONLY, !o.writable);
    crate::fs::boot::mount_initial(fs, "/dev/root", flags, o.mem as u64)?;
    Ok(())
}
