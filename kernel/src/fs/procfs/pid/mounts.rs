//! /proc/<pid>/mounts and mountinfo. There is one mount name space; what differs is the process's root.

use super::{Subject, escape, put};
use crate::error::Result;
use crate::fs::mount::{self, Mount, MountFlags};
use crate::fs::{FsContext, Path};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

fn options(mount: &Mount) -> String {
    let flags = mount.flags();
    let mut out = String::from(if mount.check_writable().is_ok() { "rw" } else { "ro" });
    let names = [
        (MountFlags::NOSUID, ",nosuid"),
        (MountFlags::NODEV, ",nodev"),
        (MountFlags::NOEXEC, ",noexec"),
        (MountFlags::NOATIME, ",noatime"),
        (MountFlags::NODIRATIME, ",nodiratime"),
    ];
    for (flag, name) in names {
        if flags.contains(flag) {
            out.push_str(name);
        }
    }
    if !flags.intersects(MountFlags::NOATIME | MountFlags::STRICTATIME) {
        out.push_str(",relatime");
    }
    out
}

/// Where a mount's top is as seen from a root; `None` if it is not below it.
fn place(mount: &Arc<Mount>, root: &Path) -> Option<String> {
    let (name, reached) = Path::mount_root(mount).name_below(root);
    // The root's own mount has no name above the root.
    let is_root = Arc::ptr_eq(mount, root.mount());
    (reached || is_root).then(|| if reached { escape(&name) } else { "/".into() })
}

fn each(s: &Subject, mut line: impl FnMut(&Arc<Mount>, String)) {
    let fs: Arc<FsContext> = match s.thread() {
        Ok(t) => t.fs(),
        Err(_) => return,
    };
    let root = fs.root();
    for m in mount::list() {
        if let Some(place) = place(&m, &root) {
            line(&m, place);
        }
    }
}

fn source(m: &Mount) -> String {
    let source = escape(m.source().as_bytes());
    if source.is_empty() { "none".into() } else { source }
}

pub(super) fn mounts(s: &Subject, out: &mut Vec<u8>) -> Result<()> {
    let mut text = String::new();
    each(s, |m, place| {
        let line = format!("{} {place} {} {}{} 0 0\n", source(m), m.fs().type_name(), options(m), m.fs().options());
        text.push_str(&line);
    });
    put(out, &text)
}

pub(super) fn mountinfo(s: &Subject, out: &mut Vec<u8>) -> Result<()> {
    let mut text = String::new();
    each(s, |m, place| {
        let parent = m.mountpoint().map_or(m.id(), |p| p.mount().id());
        let device = m.fs().device();
        let super_options = if m.fs().read_only() { "ro" } else { "rw" };
        text.push_str(&format!(
            "{} {parent} {}:{} {} {place} {} - {} {} {super_options}{}\n",
            m.id(),
            device.major(),
            device.minor(),
            escape(&inner_root(m)),
            options(m),
            m.fs().type_name(),
            source(m),
            m.fs().options()
        ));
    });
    put(out, &text)
}

/// The part of its file system that a mount shows, by its name there.
fn inner_root(m: &Arc<Mount>) -> Vec<u8> {
    let mut parts = Vec::new();
    let mut at = Some(m.root().clone());
    while let Some(dentry) = at {
        at = dentry.parent();
        if at.is_some() {
            parts.push(dentry.name());
        }
    }
    let mut out = Vec::new();
    for part in parts.iter().rev() {
        out.push(b'/');
        out.extend_from_slice(part);
    }
    if out.is_empty() { b"/".to_vec() } else { out }
}
