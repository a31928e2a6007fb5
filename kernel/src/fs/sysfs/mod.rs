//! sysfs (sysfs(5)): the little of the device model that programs look at.
//!
//! Fixed directories around two computed ones: the processor, of which there is one, and the network interfaces
//! (`net`), which the network side describes ([`crate::fs::procfs::NetFacts`]).

mod net;

use super::inode::{DeviceNumber, FileSystem, Inode};
use super::pseudo::{FixedDir, Identity, PseudoDir, PseudoFile, PseudoFs};
use crate::sync::Once;
use alloc::sync::Arc;

/// `SYSFS_MAGIC` of statfs(2).
const MAGIC: u64 = 0x6265_6572;

fn device() -> DeviceNumber {
    static DEVICE: Once<DeviceNumber> = Once::new();
    *DEVICE.call_once(DeviceNumber::anonymous)
}

fn directory(entries: FixedDir) -> Arc<dyn Inode> {
    PseudoDir::new(Identity::new(device(), 0o555), entries)
}

/// A file whose text never changes.
fn constant(text: &'static str) -> Arc<dyn Inode> {
    PseudoFile::new(Identity::new(device(), 0o444), move |out| {
        out.extend_from_slice(text.as_bytes());
        Ok(())
    })
}

fn empty() -> Arc<dyn Inode> {
    directory(FixedDir::default())
}

/// The one processor (Documentation/admin-guide/cputopology.rst of Linux).
fn processors() -> Arc<dyn Inode> {
    let topology = FixedDir::default()
        .with("core_id", constant("0\n"))
        .with("physical_package_id", constant("0\n"))
        .with("thread_siblings", constant("1\n"))
        .with("thread_siblings_list", constant("0\n"))
        .with("core_siblings", constant("1\n"))
        .with("core_siblings_list", constant("0\n"));
    let cpu0 = FixedDir::default().with("topology", directory(topology));
    directory(
        FixedDir::default()
            .with("online", constant("0\n"))
            .with("possible", constant("0\n"))
            .with("present", constant("0\n"))
            .with("offline", constant("\n"))
            .with("kernel_max", constant("0\n"))
            .with("cpu0", directory(cpu0)),
    )
}

fn root() -> FixedDir {
    let node0 = FixedDir::default().with("cpulist", constant("0\n")).with("cpumap", constant("1\n"));
    let nodes = FixedDir::default()
        .with("online", constant("0\n"))
        .with("possible", constant("0\n"))
        .with("node0", directory(node0));
    let system = FixedDir::default().with("cpu", processors()).with("node", directory(nodes));
    let devices = FixedDir::default().with("system", directory(system));
    let huge = FixedDir::default().with("enabled", constant("always madvise [never]\n"));
    let mm = FixedDir::default().with("transparent_hugepage", directory(huge));
    let class = FixedDir::default()
        .with("net", net::directory())
        .with("tty", empty())
        .with("block", empty())
        .with("mem", empty());
    let fs = FixedDir::default().with("cgroup", empty());
    FixedDir::default()
        .with("block", empty())
        .with("bus", empty())
        .with("class", directory(class))
        .with("dev", empty())
        .with("devices", directory(devices))
        .with("firmware", empty())
        .with("fs", directory(fs))
        .with("kernel", directory(FixedDir::default().with("mm", directory(mm))))
        .with("module", empty())
        .with("power", empty())
}

/// The file system; there is one, in as many places as it is mounted.
pub fn file_system() -> Arc<dyn FileSystem> {
    static FS: Once<Arc<PseudoFs>> = Once::new();
    FS.call_once(|| PseudoFs::new("sysfs", MAGIC, PseudoDir::new(Identity::new(device(), 0o555), root()))).clone()
}
