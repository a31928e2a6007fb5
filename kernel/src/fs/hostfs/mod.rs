//! hostfs: a directory of the host as a file system of the guest.
//!
//! Every inode holds an `O_PATH` descriptor, got by one `openat` of a single name with `O_NOFOLLOW` from its
//! directory's. No host call is ever given a name with a slash, `..`, or the text of a symbolic link: the VFS resolves
//! those inside the guest's tree. So nothing outside the directory can be named, whatever its contents do meanwhile. The one
//! exception is the directory that a mount(2) names below the one that is shared (`hostfs=DIR`): the host resolves it,
//! confined to that (`RESOLVE_IN_ROOT`).
//! What is opened for reading or writing is re-opened from the `O_PATH` descriptor through `/proc/self/fd`, which
//! leads to that inode and no other. Devices, FIFOs and sockets are never opened on the host: their numbers and names
//! mean the guest's.
//!
//! The number of descriptors is bounded by the dentry cache ([`crate::fs::dentry::RECENT`]) and by what the guest has
//! open. Owners and modes are the host's, or mapped where we are not root there (`ownership`). Data goes between the host's page cache and guest memory without a copy in between. Names are trusted for
//! [`TRUST`] before the host is asked again; attributes and contents always come from the host.

mod directory;
mod file;
mod inode;
mod ownership;

use crate::error::{Errno, Result};
use crate::fs::inode::{DeviceNumber, FileSystem, FsStat, Inode};
use crate::sync::{Once, Rank, SpinLock};
use crate::time::Duration;
use alloc::ffi::CString;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use inode::HostInode;
use ownership::Ownership;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

/// How long a name that was looked up is used without asking the host again.
pub const TRUST: Duration = Duration::from_millis(100);

/// What the inodes of one hostfs share.
struct Shared {
    writable: bool,
    /// How owners are mapped; `None` where they are the host's.
    ownership: Option<Ownership>,
    /// A device number of the guest's for each device of the host's that was met.
    devices: SpinLock<Vec<((u32, u32), DeviceNumber)>>,
}

impl Shared {
    fn device_for(&self, host: (u32, u32)) -> DeviceNumber {
        let mut devices = self.devices.lock();
        if let Some((_, guest)) = devices.iter().find(|(h, _)| *h == host) {
            return *guest;
        }
        let guest = DeviceNumber::anonymous();
        devices.push((host, guest));
        guest
    }
}

/// A directory of the host, mounted.
pub struct HostFs {
    shared: Arc<Shared>,
    root: Arc<HostInode>,
    directory: String,
}

impl HostFs {
    /// Opens the directory. The error is the host's: ENOENT, ENOTDIR, EACCES.
    pub fn open(directory: &str, writable: bool) -> Result<Arc<Self>> {
        Self::open_as(directory, writable, Ownership::of_process())
    }

    fn open_as(directory: &str, writable: bool, ownership: Option<Ownership>) -> Result<Arc<Self>> {
        let name = CString::new(directory).map_err(|_| Errno::EINVAL.because("a NUL in rootflags"))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, name.as_c_str(), flags, Mode::empty())?;
        Self::from_fd(fd, directory.into(), writable, ownership)
    }
}

/// The host directory that programs may mount (`hostfs=DIR`), and its name.
static SHARED_DIRECTORY: Once<(OwnedFd, String)> = Once::new();

/// Lets programs mount this host directory and what is below it. Done once, at boot. The error is the host's.
pub fn share(directory: &str) -> Result<()> {
    let name = CString::new(directory).map_err(|_| Errno::EINVAL.because("a NUL in hostfs="))?;
    let fd =
        rustix::fs::openat(CWD, name.as_c_str(), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    SHARED_DIRECTORY.call_once(|| (fd, directory.into()));
    Ok(())
}

impl HostFs {
    /// Opens a directory below the one that is shared; nothing outside is reached, whatever the name or links in it say.
    /// EPERM if none is shared.
    pub fn open_shared(name: &str) -> Result<Arc<Self>> {
        let (top, top_name) =
            SHARED_DIRECTORY.get().ok_or(Errno::EPERM.because("no host directory is shared (hostfs=)"))?;
        let inside = name.trim_matches('/');
        let text = CString::new(if inside.is_empty() { "." } else { inside }).map_err(|_| Errno::EINVAL)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let fd = rustix::fs::openat2(top, text.as_c_str(), flags, Mode::empty(), how)?;
        Self::from_fd(fd, alloc::format!("{}/{inside}", top_name.trim_end_matches('/')), true, Ownership::of_process())
    }

    fn from_fd(fd: OwnedFd, directory: String, writable: bool, ownership: Option<Ownership>) -> Result<Arc<Self>> {
        let devices = SpinLock::new(Rank::FileLocks, Vec::new());
        let shared = Arc::new(Shared { writable, ownership, devices });
        let root = HostInode::from_fd(shared.clone(), fd)?;
        Ok(Arc::new(HostFs { shared, root, directory }))
    }
}

impl FileSystem for HostFs {
    fn type_name(&self) -> &'static str {
        "hostfs"
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn device(&self) -> DeviceNumber {
        self.root.id().dev
    }

    fn stat_fs(&self) -> Result<FsStat> {
        self.root.stat_fs()
    }

    fn options(&self) -> String {
        alloc::format!(",hostfs={}", self.directory)
    }

    fn read_only(&self) -> bool {
        !self.shared.writable
    }

    fn sync(&self) -> Result<()> {
        if self.shared.writable {
            self.root.sync_file_system()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
