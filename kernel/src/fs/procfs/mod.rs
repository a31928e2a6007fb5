//! procfs (proc(5)): processes and the machine as text.
//!
//! The root has fixed files and one directory per process. Every file is a small function that writes its text from what
//! other subsystems tell; none holds state. Facts about the network come from [`NetFacts`], which the network side
//! registers: this folder knows the files' forms, not the protocols.

mod machine;
pub mod net;
mod pid;
mod sysctl;

use super::inode::{DeviceNumber, FileKind, FileSystem, Inode, InodeId, LinkTarget};
use super::pseudo::{DirProvider, FixedDir, Identity, Listed, PseudoDir, PseudoFile, PseudoFs, PseudoLink};
use crate::error::{Errno, Result};
use crate::sched;
use crate::sync::Once;
use crate::task::{self, Pid, Tid};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
pub use net::{Interface, NetFacts, NetTable, Statistics, interfaces, register_net_facts};
pub use pid::process_of;

/// `PROC_SUPER_MAGIC` of statfs(2).
const MAGIC: u64 = 0x9fa0;

/// The device that all of procfs is on, however often it is mounted.
fn device() -> DeviceNumber {
    static DEVICE: Once<DeviceNumber> = Once::new();
    *DEVICE.call_once(DeviceNumber::anonymous)
}

/// Text of a file that cannot fail.
type Text = fn() -> String;

/// A file with computed text.
fn file(mode: u32, text: Text) -> Arc<dyn Inode> {
    PseudoFile::new(Identity::new(device(), mode), move |out| {
        out.extend_from_slice(text().as_bytes());
        Ok(())
    })
}

/// A directory with fixed entries.
fn directory(entries: FixedDir) -> Arc<dyn Inode> {
    PseudoDir::new(Identity::new(device(), 0o555), entries)
}

/// The file system; there is one, in as many places as it is mounted.
pub fn file_system() -> Arc<dyn FileSystem> {
    static FS: Once<Arc<PseudoFs>> = Once::new();
    FS.call_once(|| {
        let root = PseudoDir::new(
            Identity { id: InodeId { dev: device(), ino: pid::ROOT_INO }, ..Identity::new(device(), 0o555) },
            Root { fixed: fixed_entries() },
        );
        PseudoFs::new("proc", MAGIC, root)
    })
    .clone()
}

fn link(text: impl Fn() -> Result<String> + Send + Sync + 'static) -> Arc<dyn Inode> {
    PseudoLink::new(Identity::new(device(), 0o777), move || Ok(LinkTarget::Text(text()?.into_bytes())))
}

/// The caller's process and thread numbers. ENOENT for the kernel itself, which is neither.
fn caller() -> Result<(Pid, Tid)> {
    let t = sched::current().ok_or(Errno::ENOENT)?;
    Ok((t.process().pid(), t.tid()))
}

fn fixed_entries() -> FixedDir {
    let entries = FixedDir::default()
        .with("self", link(|| Ok(alloc::format!("{}", caller()?.0.0))))
        .with("thread-self", link(|| caller().map(|(pid, tid)| alloc::format!("{}/task/{}", pid.0, tid.0))))
        .with("mounts", PseudoLink::fixed(device(), "self/mounts"))
        .with("net", PseudoLink::fixed(device(), "self/net"))
        .with("sys", sysctl::directory());
    machine::FILES.iter().fold(entries, |entries, &(name, mode, text)| entries.with(name, file(mode, text)))
}

/// Position of a process's number in the root: behind every fixed file.
const FIRST_PROCESS: u64 = 1 << 16;

/// Fixed files, then processes by number.
struct Root {
    fixed: FixedDir,
}

/// A name as a number in its canonical form.
fn number(name: &[u8]) -> Option<i32> {
    let text = core::str::from_utf8(name).ok()?;
    text.parse().ok().filter(|_| text == "0" || !text.starts_with(['0', '+', '-']))
}

impl DirProvider for Root {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        match number(name) {
            Some(n) => pid::lookup(n),
            None => self.fixed.lookup(name),
        }
    }

    fn list(&self) -> Result<Vec<Listed>> {
        let mut all = self.fixed.list()?;
        all.extend(task::all_processes().iter().map(|p| Listed {
            name: alloc::format!("{}", p.pid().0).into_bytes(),
            ino: pid::process_ino(p.pid()),
            kind: FileKind::Directory,
            position: FIRST_PROCESS + p.pid().0 as u64,
        }));
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_numbers_name_processes() {
        assert_eq!((number(b"42"), number(b"0")), (Some(42), Some(0)));
        for name in [b"042".as_slice(), b"-4", b"00", b"+4", b"", b"4x", b"99999999999"] {
            assert_eq!(number(name), None);
        }
    }

    #[test]
    fn fixed_files_are_listed_and_found() {
        let root = file_system().root();
        for name in [b"cpuinfo".as_slice(), b"meminfo", b"self", b"sys", b"mounts", b"version"] {
            root.lookup(name).unwrap();
        }
        assert_eq!(root.lookup(b"nothing").map(drop).unwrap_err().errno(), Errno::ENOENT);
    }
}
