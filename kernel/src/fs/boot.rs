//! The mounts that the machine has from the start.

use super::context::Actor;
use super::inode::FileSystem;
use super::lookup::Resolve;
use super::mount::{self, MountFlags};
use super::{devpts, devtmpfs, procfs, sysfs, tmpfs::TmpFs};
use crate::error::{Errno, Result};
use alloc::sync::Arc;

/// Makes `root` the machine's root and mounts the usual file systems where it has directories for them: devtmpfs on
/// /dev, devpts on /dev/pts, and a tmpfs each on /tmp, /run and /dev/shm. A tree without such a directory is fine; it
/// just lacks the mount. `memory` is the guest's memory in bytes: a tmpfs may hold half of it.
pub fn mount_initial(root: Arc<dyn FileSystem>, source: &str, flags: MountFlags, memory: u64) -> Result<()> {
    mount::mount_root(root, source, flags);
    let nosuid = MountFlags::NOSUID;
    let nodev = nosuid | MountFlags::NODEV;
    mount_if_there(b"/dev", devtmpfs::new()?, "devtmpfs", nosuid)?;
    let nothing = nodev | MountFlags::NOEXEC;
    mount_if_there(b"/proc", procfs::file_system(), "proc", nothing)?;
    mount_if_there(b"/sys", sysfs::file_system(), "sysfs", nothing)?;
    mount_if_there(b"/dev/pts", devpts::file_system(), "devpts", nosuid | MountFlags::NOEXEC)?;
    for (directory, mode) in [(&b"/dev/shm"[..], 0o1777), (b"/run", 0o755), (b"/tmp", 0o1777)] {
        mount_if_there(directory, TmpFs::new("tmpfs", memory / 2, mode), "tmpfs", nodev)?;
    }
    Ok(())
}

fn mount_if_there(directory: &[u8], fs: Arc<dyn FileSystem>, source: &str, flags: MountFlags) -> Result<()> {
    match Actor::kernel().resolve(None, directory, Resolve::DIRECTORY) {
        Ok(place) => mount::mount(fs, source, flags, &place).map(drop),
        Err(e) if e.errno() == Errno::ENOENT || e.errno() == Errno::ENOTDIR => Ok(()),
        Err(e) => Err(e),
    }
}
