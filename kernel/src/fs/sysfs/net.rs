//! /sys/class/net: one directory per interface (Documentation/ABI/testing/sysfs-class-net of Linux).

use super::device;
use crate::error::{Errno, Result};
use crate::fs::inode::{FileKind, Inode};
use crate::fs::procfs::{Interface, Statistics, interfaces};
use crate::fs::pseudo::{DirProvider, FixedDir, Identity, Listed, PseudoDir, PseudoFile};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

type Attribute = fn(&Interface) -> Result<String>;

fn hardware(address: &[u8]) -> String {
    let parts: Vec<String> = address.iter().map(|b| format!("{b:02x}")).collect();
    parts.join(":")
}

/// Link attributes that only a device with a carrier has.
fn carrier(i: &Interface) -> Result<String> {
    let up = i.carrier.ok_or(Errno::EINVAL.because("the interface is down"))?;
    Ok(format!("{}", u32::from(up)))
}

/// Virtual links have no speed and no duplex mode.
fn unknown(_: &Interface) -> Result<String> {
    Err(Errno::EINVAL.because("the link has no such property"))
}

const ATTRIBUTES: &[(&str, Attribute)] = &[
    ("addr_len", |i| Ok(format!("{}", i.address.len()))),
    ("address", |i| Ok(hardware(&i.address))),
    ("broadcast", |i| Ok(hardware(&i.broadcast))),
    ("carrier", carrier),
    ("dev_id", |_| Ok("0x0".into())),
    ("dev_port", |_| Ok("0".into())),
    ("duplex", unknown),
    ("flags", |i| Ok(format!("{:#x}", i.flags))),
    ("ifindex", |i| Ok(format!("{}", i.index))),
    ("iflink", |i| Ok(format!("{}", i.index))),
    ("mtu", |i| Ok(format!("{}", i.mtu))),
    ("operstate", |i| Ok(i.operstate.into())),
    ("speed", unknown),
    ("tx_queue_len", |i| Ok(format!("{}", i.tx_queue_len))),
    ("type", |i| Ok(format!("{}", i.hardware_type))),
];

type Counter = fn(&Statistics) -> u64;

const STATISTICS: &[(&str, Counter)] = &[
    ("collisions", |s| s.collisions),
    ("multicast", |s| s.multicast),
    ("rx_bytes", |s| s.rx_bytes),
    ("rx_dropped", |s| s.rx_dropped),
    ("rx_errors", |s| s.rx_errors),
    ("rx_packets", |s| s.rx_packets),
    ("tx_bytes", |s| s.tx_bytes),
    ("tx_dropped", |s| s.tx_dropped),
    ("tx_errors", |s| s.tx_errors),
    ("tx_packets", |s| s.tx_packets),
];

/// The interface as it is now. ENODEV if it is gone.
fn find(index: u32) -> Result<Interface> {
    interfaces().into_iter().find(|i| i.index == index).ok_or_else(|| Errno::ENODEV.into())
}

fn attribute(index: u32, show: impl Fn(&Interface) -> Result<String> + Send + Sync + 'static) -> Arc<dyn Inode> {
    PseudoFile::new(Identity::new(device(), 0o444), move |out| {
        out.extend_from_slice(show(&find(index)?)?.as_bytes());
        out.push(b'\n');
        Ok(())
    })
}

fn interface(index: u32) -> Arc<dyn Inode> {
    let statistics = STATISTICS.iter().fold(FixedDir::default(), |dir, &(name, get)| {
        dir.with(name, attribute(index, move |i| Ok(format!("{}", get(&i.statistics)))))
    });
    let start = FixedDir::default().with("statistics", super::directory(statistics));
    super::directory(ATTRIBUTES.iter().fold(start, |dir, &(name, show)| dir.with(name, attribute(index, show))))
}

/// The interfaces, by name.
struct Interfaces;

impl DirProvider for Interfaces {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let found = interfaces().into_iter().find(|i| i.name.as_bytes() == name).ok_or(Errno::ENOENT)?;
        Ok(interface(found.index))
    }

    fn list(&self) -> Result<Vec<Listed>> {
        let entry = |i: Interface| Listed {
            name: i.name.into_bytes(),
            ino: u64::from(i.index) | 1 << 40,
            kind: FileKind::Directory,
            position: u64::from(i.index),
        };
        Ok(interfaces().into_iter().map(entry).collect())
    }
}

/// The directory.
pub(super) fn directory() -> Arc<dyn Inode> {
    PseudoDir::new(Identity::new(device(), 0o555), Interfaces)
}
