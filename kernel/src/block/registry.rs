//! The block devices of this machine. Filled at boot, never emptied.

use super::cow::{self, CowFile};
use super::image::{Access, HostId, ImageFile};
use super::option::disk_name;
use super::partition::{self, Partition};
use super::{BlockDevice, ImageError, UbdSpec};
use crate::fs::inode::DeviceNumber;
use crate::sync::{Rank, SpinLock};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// `UBD_MAJOR` (devices.txt).
pub(super) const MAJOR: u32 = 98;
/// Minor numbers of one disk: the whole, and its partitions.
const MINORS: u32 = partition::MAX + 1;

/// A device with its name and number.
#[derive(Clone)]
pub struct Disk {
    /// Without `/dev/`: `ubda`, `ubda1`.
    pub name: String,
    /// For `/dev` nodes and `st_rdev`.
    pub number: DeviceNumber,
    /// What it stores.
    pub device: Arc<dyn BlockDevice>,
}

static DISKS: SpinLock<Vec<Disk>> = SpinLock::new(Rank::BlockDevice, Vec::new());
/// Host files that are open for writing, and those that are open at all.
static OPEN: SpinLock<Vec<(HostId, bool)>> = SpinLock::new(Rank::BlockDevice, Vec::new());

/// Opens what an option asks for, reads its partition table and enters all of it. Done at boot.
pub fn attach(spec: &UbdSpec) -> Result<(), ImageError> {
    let named = |e: ImageError| ImageError(format!("ubd{}={e}", spec.index));
    let access = Access { writable: !spec.read_only, synchronous: spec.synchronous, shared: spec.shared };
    let is_cow = spec.cow.is_none() && cow::probe(&spec.image).map_err(named)?;
    let (device, ids): (Arc<dyn BlockDevice>, Vec<(HostId, bool)>) = if is_cow || spec.cow.is_some() {
        let (file, backing) = match &spec.cow {
            Some(cow) => (cow.as_str(), Some(spec.image.as_str())),
            None => (spec.image.as_str(), None),
        };
        let (cow, [own, below]) = CowFile::open(file, backing, access).map_err(named)?;
        (Arc::new(cow), Vec::from([(own, access.writable), (below, false)]))
    } else {
        let (image, id) = ImageFile::open(&spec.image, access).map_err(named)?;
        (Arc::new(image), Vec::from([(id, access.writable)]))
    };
    // Locks of one process do not exclude each other: this does.
    let twice = {
        let mut open = OPEN.lock();
        let clash = |new: &(HostId, bool)| open.iter().any(|old| old.0 == new.0 && (old.1 || new.1));
        let twice = ids.iter().any(clash) && !spec.shared;
        open.extend(ids);
        twice
    };
    if twice {
        return Err(named(ImageError(format!("{}: already in use by another ubd of this machine", spec.image))));
    }
    enter(spec.index, device);
    Ok(())
}

fn enter(index: u32, device: Arc<dyn BlockDevice>) {
    let base = disk_name(index);
    let table = partition::read_table(&*device);
    let number = |minor: u32| DeviceNumber::new(MAJOR, index * MINORS + minor);
    let mut all = Vec::from([Disk { name: base.clone(), number: number(0), device: device.clone() }]);
    for extent in table {
        let name = format!("{base}{}", extent.number);
        let part = Partition { disk: device.clone(), extent };
        all.push(Disk { name, number: number(extent.number), device: Arc::new(part) });
    }
    for disk in &all {
        crate::klog!(
            Info,
            "{}: {} sectors{}",
            disk.name,
            disk.device.size() / super::SECTOR,
            match disk.device.read_only() {
                true => ", read-only",
                false => "",
            }
        );
    }
    DISKS.lock().extend(all);
}

/// All devices, in the order in which they were attached.
pub fn list() -> Vec<Disk> {
    DISKS.lock().clone()
}

/// The device with this number.
pub fn by_number(number: DeviceNumber) -> Option<Disk> {
    DISKS.lock().iter().find(|d| d.number == number).cloned()
}

/// The device with this name, with or without `/dev/`; disks are also known by number (`ubd0`), as UML names them.
pub fn by_name(name: &str) -> Option<Disk> {
    let name = name.strip_prefix("/dev/").unwrap_or(name);
    let disks = DISKS.lock();
    if let Some(found) = disks.iter().find(|d| d.name == name) {
        return Some(found.clone());
    }
    let rest = name.strip_prefix("ubd")?;
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let index: u32 = rest.parse().ok().filter(|&i| i < super::option::MAX_DISKS)?;
    let name = disk_name(index);
    disks.iter().find(|d| d.name == name).cloned()
}
