//! /proc/sys: what sysctl(8) shows, and the little of it that can be set.

use super::{Text, device, file};
use crate::error::{Errno, Result};
use crate::fs::fd_table::NR_OPEN;
use crate::fs::inode::Inode;
use crate::fs::pseudo::{FixedDir, Identity, PseudoDir, PseudoFile};
use crate::fs::{pipe, procfs};
use crate::host;
use crate::sync::Once;
use crate::task::{PID_MAX, threads_max};
use crate::utsname;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

type Entries = &'static [(&'static str, Text)];

fn fixed(entries: Entries) -> FixedDir {
    entries.iter().fold(FixedDir::default(), |dir, &(name, text)| dir.with(name, file(0o444, text)))
}

fn subdirectory(entries: FixedDir) -> Arc<dyn Inode> {
    PseudoDir::new(Identity::new(device(), 0o555), entries)
}

/// A number that programs write and read back; nothing here acts upon it.
fn kept(initial: u64) -> Arc<dyn Inode> {
    let value = Arc::new(AtomicU64::new(initial));
    let shown = value.clone();
    PseudoFile::writable(
        Identity::new(device(), 0o644),
        move |out| {
            out.extend_from_slice(format!("{}\n", shown.load(Ordering::Relaxed)).as_bytes());
            Ok(())
        },
        move |bytes| {
            value.store(parse(bytes)?, Ordering::Relaxed);
            Ok(())
        },
    )
}

fn parse(bytes: &[u8]) -> Result<u64> {
    let text = core::str::from_utf8(bytes).map_err(|_| Errno::EINVAL)?;
    text.trim().parse().map_err(|_| Errno::EINVAL.because("not a number"))
}

/// 16 random bytes as a version 4 UUID (RFC 9562).
fn random_uuid() -> String {
    let mut b = [0u8; 16];
    host::random(&mut b);
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    let hex: String = b.iter().map(|b| format!("{b:02x}")).collect();
    format!("{}-{}-{}-{}-{}\n", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn boot_id() -> String {
    static ID: Once<String> = Once::new();
    ID.call_once(random_uuid).clone()
}

const RANDOM: Entries = &[
    ("boot_id", boot_id),
    ("uuid", random_uuid),
    ("entropy_avail", || "256\n".into()),
    ("poolsize", || "256\n".into()),
];

const KERNEL: Entries = &[
    ("ostype", || "Linux\n".into()),
    ("osrelease", || format!("{}\n", utsname::RELEASE)),
    ("version", || format!("{}\n", utsname::VERSION)),
    ("pid_max", || format!("{PID_MAX}\n")),
    ("threads-max", || format!("{}\n", threads_max())),
    ("ngroups_max", || "65536\n".into()),
    ("cap_last_cap", || format!("{}\n", crate::task::ALL_CAPABILITIES.count_ones() - 1)),
    ("overflowuid", || "65534\n".into()),
    ("overflowgid", || "65534\n".into()),
    ("randomize_va_space", || "0\n".into()),
    ("tainted", || "0\n".into()),
];

const FS: Entries = &[
    ("file-max", || format!("{NR_OPEN}\n")),
    ("nr_open", || format!("{NR_OPEN}\n")),
    ("pipe-max-size", || format!("{}\n", pipe::MAX_CAPACITY)),
];

const VM: Entries = &[
    ("overcommit_memory", || "1\n".into()),
    ("max_map_count", || "65530\n".into()),
    ("mmap_min_addr", || "65536\n".into()),
];

/// Socket buffers: default and largest sizes in bytes.
const CORE: &[(&str, u64)] = &[
    ("rmem_max", 4_194_304),
    ("wmem_max", 4_194_304),
    ("rmem_default", 212_992),
    ("wmem_default", 212_992),
    ("somaxconn", 4096),
    ("netdev_max_backlog", 1000),
    ("optmem_max", 131_072),
];

const IPV4: Entries = &[
    ("ip_local_port_range", || "32768\t60999\n".into()),
    ("tcp_rmem", || "4096\t131072\t6291456\n".into()),
    ("tcp_wmem", || "4096\t16384\t4194304\n".into()),
    ("tcp_congestion_control", || "cubic\n".into()),
    ("tcp_available_congestion_control", || "reno cubic\n".into()),
    ("tcp_allowed_congestion_control", || "reno cubic\n".into()),
    ("ip_forward", || "0\n".into()),
    ("ping_group_range", || "0\t2147483647\n".into()),
    ("tcp_timestamps", || "1\n".into()),
    ("tcp_sack", || "1\n".into()),
    ("tcp_window_scaling", || "1\n".into()),
];

fn hostname() -> Arc<dyn Inode> {
    PseudoFile::writable(
        Identity::new(device(), 0o644),
        |out| {
            let name = utsname::hostname();
            out.extend_from_slice(if name.is_empty() { b"(none)" } else { &name });
            out.push(b'\n');
            Ok(())
        },
        |bytes| {
            utsname::set_hostname(bytes.split(|&b| b == b'\n').next().unwrap_or_default());
            Ok(())
        },
    )
}

/// The directory.
pub(super) fn directory() -> Arc<dyn Inode> {
    let core = CORE.iter().fold(FixedDir::default(), |dir, &(name, value)| dir.with(name, kept(value)));
    let net = FixedDir::default().with("core", subdirectory(core)).with("ipv4", subdirectory(fixed(IPV4)));
    let kernel = fixed(KERNEL).with("hostname", hostname()).with("random", subdirectory(fixed(RANDOM)));
    procfs::directory(
        FixedDir::default()
            .with("fs", subdirectory(fixed(FS)))
            .with("kernel", subdirectory(kernel))
            .with("net", subdirectory(net))
            .with("vm", subdirectory(fixed(VM))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_have_their_form_and_the_boot_id_stays() {
        let id = random_uuid();
        assert_eq!(id.len(), 37);
        assert_eq!((&id[14..15], id.matches('-').count()), ("4", 4));
        assert_eq!(boot_id(), boot_id());
        assert_ne!(random_uuid(), random_uuid());
    }
}
