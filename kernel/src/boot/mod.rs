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
use crate::block::{self, UbdSpec};
use crate::error::{Errno, Error};
use crate::fs::hostfs::{self, HostFs};
use crate::fs::inode::FileSystem;
use crate::fs::mount::MountFlags;
use crate::fs::overlay::OverlayFs;
use crate::fs::{ext4, initramfs, page_cache};
use crate::sched::{self, IdlePolicy};
use crate::{host, klog, mm, net, time, trace, tty, utsname};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
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
    arch::start_vcpu(0, 1).map_err(|e| BootError::new(format!("the host refuses a seccomp filter: {e}")))?;
    host::start_preemption_timer()?;
    klog!(Info, "run {} as init process", o.init.as_deref().unwrap_or("the default"));
    crate::task::start_load_averages();
    sched::spawn(&thread);
    drop(thread);
    sched::idle_loop();
    host::console::drain();
    host::signal::block_all();
    host::console::restore();
    crate::fs::mount::shut_down_all();
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

/// Opens the block devices, then the root.
fn mount_root(o: &Options) -> Result<(), BootError> {
    block::register_driver();
    let root_disk = match &o.root {
        Root::Block(name) if o.overlay => block::option::disk_of(name),
        _ => None,
    };
    for disk in &o.disks {
        // Below an overlay nothing is written: any number of machines may have the image.
        let disk = UbdSpec { read_only: disk.read_only || root_disk == Some(disk.index), ..disk.clone() };
        block::attach(&disk).map_err(|e| BootError::new(e.to_string()))?;
    }
    page_cache::set_limit(o.mem as u64 / 2);
    let mut flags = MountFlags::empty();
    // What is in memory only may be written in any case, as Linux does with its initramfs.
    flags.set(MountFlags::RDONLY, !o.writable && !matches!(o.root, Root::Initrd(_)));
    let (fs, source) = match &o.root {
        Root::Hostfs(dir) => (open_hostfs(dir, o.writable && !o.overlay)?, String::from("/dev/root")),
        Root::Block(name) => open_disk(name, o)?,
        Root::Initrd(file) => (open_initrd(file, o)?, String::from("rootfs")),
    };
    let fs: Arc<dyn FileSystem> = if o.overlay { OverlayFs::new(fs, o.mem as u64 / 2)? } else { fs };
    if let Some(shared) = &o.hostfs {
        hostfs::share(shared)
            .map_err(|e| BootError::new(format!("hostfs={shared}: cannot share this directory: {e}")))?;
    }
    crate::fs::boot::mount_initial(fs, &source, flags, o.mem as u64)?;
    Ok(())
}

/// `root=/dev/ubda`: ext4 on a block device.
fn open_disk(name: &str, o: &Options) -> Result<(Arc<dyn FileSystem>, String), BootError> {
    let disk = block::by_name(name).ok_or_else(|| {
        let names: Vec<String> = block::list().iter().map(|d| format!("/dev/{}", d.name)).collect();
        BootError::new(format!("root={name}: no such block device; accepted: {}", names.join(", ")))
    })?;
    let image = o.disks.iter().find(|d| disk.name.starts_with(&d.name())).map_or("", |d| &d.image);
    match ext4::open(&disk, o.writable && !o.overlay) {
        Ok(fs) => Ok((fs, format!("/dev/{}", disk.name))),
        Err(why) => Err(BootError::new(format!("root=/dev/{} ({image}): {why}", disk.name))),
    }
}

fn open_initrd(file: &str, o: &Options) -> Result<Arc<dyn FileSystem>, BootError> {
    let image = host::read_file(file).ok_or_else(|| {
        let accepted = "a cpio archive (newc), plain or compressed with gzip or zstd";
        BootError::new(format!("initrd={file}: cannot read this file; accepted: {accepted}"))
    })?;
    match initramfs::unpack(&image, o.mem as u64 / 2) {
        Ok(fs) => Ok(fs),
        Err(why) => Err(BootError::new(format!("initrd={file}: {why}"))),
    }
}

fn open_hostfs(dir: &str, writable: bool) -> Result<Arc<dyn FileSystem>, BootError> {
    let fs = HostFs::open(dir, writable).map_err(|e| {
        let hint = if e.errno() == Errno::ENOENT { "; make one with: appliance rootfs build" } else { "" };
        BootError::new(format!("rootflags={dir}: cannot use this directory as the root: {e}{hint}"))
    })?;
    Ok(fs)
}
