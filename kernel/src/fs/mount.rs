//! The table of mounts (mount(2)). One mount namespace serves the whole machine.
//!
//! A mount shows a file system, or a part of one, at a place of another mount. Mounts on one place stack: the second
//! stands on the top of the first. The table is keyed by the place that is covered.

use super::dentry::{Dentry, Path};
use super::inode::{DeviceNumber, FileKind, FileSystem, FsStat, Inode, InodeId, Metadata};
use crate::error::{Errno, Result};
use crate::sync::{Once, Rank, SpinLock};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

bitflags::bitflags! {
    /// Flags of one mount (`MS_*` of mount(2)).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    #[allow(missing_docs)]
    pub struct MountFlags: u32 {
        const RDONLY = 1;
        const NOSUID = 2;
        const NODEV = 4;
        const NOEXEC = 8;
        const SYNCHRONOUS = 16;
        const NOATIME = 1024;
        const NODIRATIME = 2048;
        const RELATIME = 1 << 21;
        const STRICTATIME = 1 << 24;
    }
}

/// A file system at a place of the tree.
pub struct Mount {
    id: u64,
    fs: Arc<dyn FileSystem>,
    root: Arc<Dentry>,
    source: String,
    flags: AtomicU32,
    at: SpinLock<Option<Path>>,
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mount {} ({})", self.id, self.fs.type_name())
    }
}

static MOUNTS: SpinLock<BTreeMap<(u64, usize), Arc<Mount>>> = SpinLock::new(Rank::Mounts, BTreeMap::new());
static ROOT: SpinLock<Option<Arc<Mount>>> = SpinLock::new(Rank::Mounts, None);
static INTERNAL: Once<Arc<Mount>> = Once::new();

fn key(place: &Path) -> (u64, usize) {
    (place.mount().id, Arc::as_ptr(place.dentry()) as usize)
}

impl Mount {
    fn new(fs: Arc<dyn FileSystem>, root: Arc<Dentry>, source: &str, flags: MountFlags) -> Arc<Self> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        Arc::new(Mount {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            fs,
            root,
            source: source.into(),
            flags: AtomicU32::new(flags.bits()),
            at: SpinLock::new(Rank::FsContext, None),
        })
    }

    /// A mount that is in no tree yet.
    pub fn unattached(fs: Arc<dyn FileSystem>, source: &str, flags: MountFlags) -> Arc<Self> {
        let root = Dentry::root(fs.root());
        Self::new(fs, root, source, flags)
    }

    /// Its number in `/proc/self/mountinfo`.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The file system it shows.
    pub fn fs(&self) -> &Arc<dyn FileSystem> {
        &self.fs
    }

    /// The top of what it shows.
    pub fn root(&self) -> &Arc<Dentry> {
        &self.root
    }

    /// What it was mounted from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Its flags.
    pub fn flags(&self) -> MountFlags {
        MountFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// The place it covers; `None` for the root and for what is not attached.
    pub fn mountpoint(&self) -> Option<Path> {
        self.at.lock().clone()
    }

    /// EROFS if nothing may be changed through this mount.
    pub fn check_writable(&self) -> Result<()> {
        if self.flags().contains(MountFlags::RDONLY) || self.fs.read_only() {
            return Err(Errno::EROFS.into());
        }
        Ok(())
    }

    fn attach(self: &Arc<Self>, place: &Path) {
        place.dentry().add_mount();
        *self.at.lock() = Some(place.clone());
        MOUNTS.lock().insert(key(place), self.clone());
    }

    /// Takes the mount off its place, with all that stands on it; returns the place.
    fn detach(&self) -> Option<Path> {
        let place = self.at.lock().take()?;
        place.dentry().remove_mount();
        let removed = MOUNTS.lock().remove(&key(&place));
        drop(removed);
        Some(place)
    }

    /// Whether `place` lies in this mount or in one that stands on it.
    fn carries(self: &Arc<Self>, place: &Path) -> bool {
        let mut at = place.mount().clone();
        while !Arc::ptr_eq(&at, self) {
            match at.mountpoint() {
                Some(below) => at = below.mount().clone(),
                None => return false,
            }
        }
        true
    }
}

/// The mount that covers `place`, if one does.
pub fn mounted_on(place: &Path) -> Option<Arc<Mount>> {
    MOUNTS.lock().get(&key(place)).cloned()
}

/// Makes a file system the machine's root. Done once, at boot, before the first guest thread.
pub fn mount_root(fs: Arc<dyn FileSystem>, source: &str, flags: MountFlags) -> Path {
    let mount = Mount::unattached(fs, source, flags);
    let path = Path::mount_root(&mount);
    *ROOT.lock() = Some(mount);
    path
}

/// The top of the machine's tree. Before [`mount_root`] it is an empty place of its own.
pub fn machine_root() -> Path {
    let root = ROOT.lock().clone();
    Path::mount_root(root.as_ref().unwrap_or_else(|| internal()))
}

/// Mounts a file system on a directory (or, for a bind mount of a file, on a file).
pub fn mount(fs: Arc<dyn FileSystem>, source: &str, flags: MountFlags, on: &Path) -> Result<Arc<Mount>> {
    let mount = Mount::unattached(fs, source, flags);
    attach(mount, on)
}

fn attach(mount: Arc<Mount>, on: &Path) -> Result<Arc<Mount>> {
    let on = on.clone().top_mount();
    let directory = |d: &Arc<Dentry>| d.inode().kind() == FileKind::Directory;
    if directory(mount.root()) != directory(on.dentry()) {
        return Err(Errno::ENOTDIR.because("a directory goes on a directory, a file on a file"));
    }
    mount.attach(&on);
    Ok(mount)
}

/// Shows `what` at `on` as well (`MS_BIND`); with `recursive`, what is mounted below it, too (`MS_REC`).
pub fn bind(what: &Path, on: &Path, recursive: bool) -> Result<()> {
    let source = what.mount();
    let copy = Mount::new(source.fs.clone(), what.dentry().clone(), &source.source, source.flags());
    // Taken before the new mount is there, so that binding a tree into itself does not run for ever.
    let below = if recursive { submounts(what) } else { Vec::new() };
    let mut copies = Vec::from([(source.clone(), attach(copy, on)?)]);
    for child in below {
        let Some(place) = child.mountpoint() else { continue };
        let Some((_, parent)) = copies.iter().find(|(old, _)| Arc::ptr_eq(old, place.mount())) else { continue };
        let copy = Mount::new(child.fs.clone(), child.root.clone(), &child.source, child.flags());
        copy.attach(&Path::new(parent.clone(), place.dentry().clone()));
        copies.push((child, copy));
    }
    Ok(())
}

/// The mounts at or below `what`, parents first.
fn submounts(what: &Path) -> Vec<Arc<Mount>> {
    let all: Vec<Arc<Mount>> = list();
    let mut chosen: Vec<Arc<Mount>> = Vec::new();
    for mount in all {
        let Some(at) = mount.mountpoint() else { continue };
        let direct = Arc::ptr_eq(at.mount(), what.mount()) && what.dentry().is_ancestor_of(at.dentry());
        if direct || chosen.iter().any(|c| Arc::ptr_eq(c, at.mount())) {
            chosen.push(mount);
        }
    }
    chosen
}

/// Moves the mount whose top is `what`, with all that stands on it, to another place (`MS_MOVE`). EINVAL if `what` is no
/// mount or the root, ELOOP if the place is inside it.
pub fn move_mount(what: &Path, on: &Path) -> Result<()> {
    let mount = what.mount();
    if !what.is_mount_root() || mount.mountpoint().is_none() {
        return Err(Errno::EINVAL.because("only a mount is moved, and not the root"));
    }
    let on = on.clone().top_mount();
    let directory = |d: &Arc<Dentry>| d.inode().kind() == FileKind::Directory;
    if directory(mount.root()) != directory(on.dentry()) {
        return Err(Errno::EINVAL.because("a directory goes on a directory, a file on a file"));
    }
    if mount.carries(&on) {
        return Err(Errno::ELOOP.because("a mount cannot stand on itself"));
    }
    let before = mount.detach();
    mount.attach(&on);
    drop(before);
    Ok(())
}

/// Whether `place` is `top` or below it, through mounts.
fn is_below(place: &Path, top: &Path) -> bool {
    let mut at = place.clone();
    while !Arc::ptr_eq(at.mount(), top.mount()) {
        match at.mount().mountpoint() {
            Some(below) => at = below,
            None => return false,
        }
    }
    top.dentry().is_ancestor_of(at.dentry())
}

/// pivot_root(2): the mount whose top is `new` takes the place of the one whose top is `root`, which goes to `put_old`.
/// Processes that are at the old root are the caller's to move.
pub fn pivot_root(root: &Path, new: &Path, put_old: &Path) -> Result<()> {
    if Arc::ptr_eq(new.mount(), root.mount()) || Arc::ptr_eq(put_old.mount(), root.mount()) {
        return Err(Errno::EBUSY.because("the new root, or the place for the old one, is on the current root mount"));
    }
    let new_is_mount = new.is_mount_root() && new.mount().mountpoint().is_some();
    if !root.is_mount_root() || !new_is_mount {
        return Err(Errno::EINVAL.because("the root and the new root must be mounts"));
    }
    if !is_below(put_old, new) || !is_below(new, root) {
        return Err(Errno::EINVAL.because("the place for the old root must be below the new one, that below the root"));
    }
    let (old, new) = (root.mount().clone(), new.mount().clone());
    // The references that the table held end after its lock is free.
    let freed = new.detach();
    let former = old.detach();
    old.attach(&put_old.clone().top_mount());
    match &former {
        Some(place) => new.attach(place),
        None => {
            let before = ROOT.lock().replace(new);
            drop(before);
        }
    }
    drop((freed, former));
    Ok(())
}

/// Changes the flags of the mount whose top is `at` (`MS_REMOUNT`).
pub fn remount(at: &Path, flags: MountFlags) -> Result<()> {
    if !at.is_mount_root() {
        return Err(Errno::EINVAL.because("nothing is mounted there"));
    }
    if !flags.contains(MountFlags::RDONLY) {
        if at.mount().fs.read_only() {
            at.mount().fs.make_writable()?;
        }
    } else {
        at.mount().fs.sync()?;
    }
    // Without a word on access times they stay as they are (mount(2)).
    let atime = MountFlags::NOATIME | MountFlags::NODIRATIME | MountFlags::RELATIME | MountFlags::STRICTATIME;
    let kept = if flags.intersects(atime) { MountFlags::empty() } else { at.mount().flags() & atime };
    at.mount().flags.store((flags | kept).bits(), Ordering::Relaxed);
    Ok(())
}

/// Takes the mount whose top is `at` away (umount2(2)). EBUSY while something is mounted below or files are open there,
/// unless `detach` (`MNT_DETACH`).
pub fn unmount(at: &Path, detach: bool) -> Result<()> {
    let mount = at.mount();
    if !at.is_mount_root() {
        return Err(Errno::EINVAL.because("nothing is mounted there"));
    }
    let Some(place) = mount.mountpoint() else {
        return Err(Errno::EBUSY.because("the root cannot be unmounted"));
    };
    let children = submounts(at);
    // The table and `at` hold one reference each, and so may the caller's other copies; more means that it is in use.
    if !detach && (!children.is_empty() || Arc::strong_count(mount) > 2) {
        return Err(Errno::EBUSY.into());
    }
    for m in children.iter().rev().chain([mount]) {
        drop(m.detach());
    }
    drop(place);
    let device = mount.fs.device();
    if !list().iter().any(|m| m.fs.device() == device) {
        super::notify::unmounted(device);
    }
    for m in children.iter().chain([mount]) {
        shut_down_unless_shown(&m.fs)?;
    }
    Ok(())
}

/// Ends a file system that no mount shows any more. One that is still in use (it was detached) goes on until then.
fn shut_down_unless_shown(fs: &Arc<dyn FileSystem>) -> Result<()> {
    let device = fs.device();
    if list().iter().any(|m| m.fs.device() == device) {
        return Ok(());
    }
    fs.shut_down()
}

/// Ends all file systems: the machine stops. Errors are logged, as nobody is left to be told.
pub fn shut_down_all() {
    for mount in list().iter().rev() {
        if let Err(e) = mount.fs.shut_down() {
            crate::klog!(Error, "{}: unmounting: {e}", mount.source);
        }
    }
}

/// All mounts, in the order they were made, the root first.
pub fn list() -> Vec<Arc<Mount>> {
    let root = ROOT.lock().clone();
    let mut all: Vec<Arc<Mount>> = MOUNTS.lock().values().cloned().collect();
    all.sort_by_key(|m| m.id);
    root.into_iter().chain(all).collect()
}

/// The mount of objects that are in no tree.
pub(super) fn internal() -> &'static Arc<Mount> {
    INTERNAL.call_once(|| {
        let fs = Arc::new(InternalFs(DeviceNumber::anonymous()));
        Mount::unattached(fs, "none", MountFlags::empty())
    })
}

/// The file system of objects that are in no tree; its root is an empty directory that nobody can reach.
struct InternalFs(DeviceNumber);

struct InternalRoot(InodeId);

impl Inode for InternalRoot {
    fn kind(&self) -> FileKind {
        FileKind::Directory
    }

    fn id(&self) -> InodeId {
        self.0
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(Metadata::new(self.0, FileKind::Directory, 0o555))
    }

    fn lookup(&self, _name: &[u8]) -> Result<Arc<dyn Inode>> {
        Err(Errno::ENOENT.into())
    }
}

impl FileSystem for InternalFs {
    fn type_name(&self) -> &'static str {
        "anon_inodefs"
    }

    fn root(&self) -> Arc<dyn Inode> {
        Arc::new(InternalRoot(InodeId { dev: self.0, ino: 1 }))
    }

    fn device(&self) -> DeviceNumber {
        self.0
    }

    fn stat_fs(&self) -> Result<FsStat> {
        Ok(FsStat::empty(0x0904_1934))
    }
}

/// An inode number and device for a new object that is in no tree.
pub fn internal_id() -> InodeId {
    static NEXT: AtomicU64 = AtomicU64::new(2);
    InodeId { dev: internal().fs.device(), ino: NEXT.fetch_add(1, Ordering::Relaxed) }
}
