//! Who hears of what happens to files (inotify(7)): the one place where the VFS reports events.
//!
//! Theory of operation. A watch belongs to an inotify instance and an inode, by the inode's number for life, so that all
//! names and openers of a file report to it. The VFS calls a function here after each change: by name ([`created`],
//! [`removed`], [`moved`]), by open file ([`opened`], [`accessed`], [`modified`], [`closed`]) or by place
//! ([`attributes_changed`]). An event goes to the watches of the directory, with the name in it, and to those of the inode
//! itself. While there are no watches at all, a report is one load. Only what this machine's programs do is reported:
//! what others do to a host directory is not, nor are writes through mappings (as on Linux).
//!
//! An inode that has lost its last name reports its end (IN_DELETE_SELF) when the last cached or open name of it goes, and
//! takes its watches along.
//!
//! Locks: the table's, rank `FileLocks`, is inside all of the VFS's but the instances' own (rank `Pipe`), which may be
//! taken under it. Inodes are let go of under neither.

use super::dentry::{Dentry, Path};
use super::file::{OpenFile, OpenFlags};
use super::inode::{DeviceNumber, FileKind, Inode, InodeId, SetAttributes};
use super::inotify::{Event, Inotify};
use crate::error::{Errno, Result};
use crate::sync::{Rank, SpinLock};
use crate::task::Uid;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

bitflags::bitflags! {
    /// `IN_*` of inotify(7): events, what comes with them, and what a watch is asked for.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    #[allow(missing_docs)]
    pub struct Mask: u32 {
        const ACCESS = 0x1;
        const MODIFY = 0x2;
        const ATTRIB = 0x4;
        const CLOSE_WRITE = 0x8;
        const CLOSE_NOWRITE = 0x10;
        const OPEN = 0x20;
        const MOVED_FROM = 0x40;
        const MOVED_TO = 0x80;
        const CREATE = 0x100;
        const DELETE = 0x200;
        const DELETE_SELF = 0x400;
        const MOVE_SELF = 0x800;
        const UNMOUNT = 0x2000;
        const Q_OVERFLOW = 0x4000;
        const IGNORED = 0x8000;
        const ONLYDIR = 0x100_0000;
        const DONT_FOLLOW = 0x200_0000;
        const EXCL_UNLINK = 0x400_0000;
        const MASK_CREATE = 0x1000_0000;
        const MASK_ADD = 0x2000_0000;
        const ISDIR = 0x4000_0000;
        const ONESHOT = 0x8000_0000;

        /// What a watch can be asked to report.
        const EVENTS = 0xfff;
    }
}

/// The limits of inotify(7), one for all users; /proc/sys/fs/inotify sets them.
pub static MAX_QUEUED_EVENTS: AtomicU64 = AtomicU64::new(16384);
/// Instances of one user.
pub static MAX_USER_INSTANCES: AtomicU64 = AtomicU64::new(128);
/// Watches of one user.
pub static MAX_USER_WATCHES: AtomicU64 = AtomicU64::new(65536);

/// One instance's interest in one inode.
pub struct Watch {
    instance: Weak<Inotify>,
    /// The watch descriptor.
    pub(super) wd: i32,
    inode: Arc<dyn Inode>,
    mask: AtomicU32,
}

impl Watch {
    /// What it reports, and how.
    pub(super) fn mask(&self) -> Mask {
        Mask::from_bits_retain(self.mask.load(Ordering::Relaxed))
    }

    /// What it watches.
    pub(super) fn id(&self) -> InodeId {
        self.inode.id()
    }
}

/// What one user has of each.
#[derive(Clone, Copy, Default)]
struct Usage {
    instances: u64,
    watches: u64,
}

struct Table {
    watches: BTreeMap<InodeId, Vec<Arc<Watch>>>,
    users: BTreeMap<Uid, Usage>,
}

static TABLE: SpinLock<Table> =
    SpinLock::new(Rank::FileLocks, Table { watches: BTreeMap::new(), users: BTreeMap::new() });

/// How many watches there are.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Counts an instance of a user. EMFILE if that is one too many.
pub(super) fn begin_instance(user: Uid) -> Result<()> {
    let mut table = TABLE.lock();
    let usage = table.users.entry(user).or_default();
    if usage.instances >= MAX_USER_INSTANCES.load(Ordering::Relaxed) {
        return Err(Errno::EMFILE.because("fs.inotify.max_user_instances"));
    }
    usage.instances += 1;
    Ok(())
}

/// An instance ends with the watches that it had.
pub(super) fn end_instance(user: Uid, watches: &BTreeMap<i32, Arc<Watch>>) {
    let mut table = TABLE.lock();
    for watch in watches.values() {
        table.strike(watch, user);
    }
    if let Some(usage) = table.users.get_mut(&user) {
        usage.instances -= 1;
        if usage.instances == 0 {
            table.users.remove(&user);
        }
    }
}

impl Table {
    /// Takes a watch out; whether it was there.
    fn strike(&mut self, watch: &Arc<Watch>, user: Uid) -> bool {
        let id = watch.id();
        let Some(list) = self.watches.get_mut(&id) else { return false };
        let Some(at) = list.iter().position(|w| Arc::ptr_eq(w, watch)) else { return false };
        list.remove(at);
        if list.is_empty() {
            self.watches.remove(&id);
        }
        if let Some(usage) = self.users.get_mut(&user) {
            usage.watches -= 1;
        }
        COUNT.fetch_sub(1, Ordering::Relaxed);
        true
    }
}

/// inotify_add_watch(2): a new watch, or a change of the one that the instance has on this inode. EEXIST for the latter
/// with IN_MASK_CREATE, ENOSPC beyond the user's limit.
pub(super) fn add_watch(instance: &Arc<Inotify>, inode: &Arc<dyn Inode>, mask: Mask) -> Result<i32> {
    let kept = mask & (Mask::EVENTS | Mask::EXCL_UNLINK | Mask::ONESHOT);
    let id = inode.id();
    let mut table = TABLE.lock();
    let mine = |w: &&Arc<Watch>| core::ptr::eq(w.instance.as_ptr(), Arc::as_ptr(instance));
    if let Some(watch) = table.watches.get(&id).and_then(|list| list.iter().find(mine)) {
        if mask.contains(Mask::MASK_CREATE) {
            return Err(Errno::EEXIST.because("IN_MASK_CREATE on a watch that is there"));
        }
        let before = if mask.contains(Mask::MASK_ADD) { watch.mask() } else { Mask::empty() };
        watch.mask.store((before | kept).bits(), Ordering::Relaxed);
        return Ok(watch.wd);
    }
    let usage = table.users.entry(instance.user()).or_default();
    if usage.watches >= MAX_USER_WATCHES.load(Ordering::Relaxed) {
        return Err(Errno::ENOSPC.because("fs.inotify.max_user_watches"));
    }
    usage.watches += 1;
    let watch = instance.enter(|wd| {
        let mask = AtomicU32::new(kept.bits());
        Arc::new(Watch { instance: Arc::downgrade(instance), wd, inode: inode.clone(), mask })
    });
    let wd = watch.wd;
    table.watches.entry(id).or_default().push(watch);
    COUNT.fetch_add(1, Ordering::Relaxed);
    Ok(wd)
}

/// Ends a watch; its instance reads IN_IGNORED.
pub(super) fn end_watch(instance: &Inotify, watch: &Arc<Watch>) {
    let was_there = TABLE.lock().strike(watch, instance.user());
    if was_there {
        let entered = instance.leave(watch.wd);
        instance.push(watch.wd, &Event::of(Mask::IGNORED));
        drop(entered);
    }
}

/// The watches of an inode.
fn watches_of(id: InodeId) -> Vec<Arc<Watch>> {
    TABLE.lock().watches.get(&id).cloned().unwrap_or_default()
}

/// Tells the watches of one inode. `unlinked` says that the event came through a name that is gone.
fn tell(id: InodeId, event: &Event<'_>, unlinked: bool) {
    for watch in watches_of(id) {
        let mask = watch.mask();
        let wanted = mask.intersects(event.mask & Mask::EVENTS) || event.mask.contains(Mask::UNMOUNT);
        if !wanted || (unlinked && mask.contains(Mask::EXCL_UNLINK)) {
            continue;
        }
        let Some(instance) = watch.instance.upgrade() else { continue };
        instance.push(watch.wd, event);
        if mask.contains(Mask::ONESHOT) {
            end_watch(&instance, &watch);
        }
    }
}

/// Whether nobody wants to hear of anything.
fn nobody_listens() -> bool {
    COUNT.load(Ordering::Relaxed) == 0
}

fn with_kind(mask: Mask, inode: &Arc<dyn Inode>) -> Mask {
    if inode.kind() == FileKind::Directory { mask | Mask::ISDIR } else { mask }
}

/// An event of a directory's entry.
fn tell_directory(dir: &Dentry, name: &[u8], mask: Mask, cookie: u32) {
    tell(dir.inode().id(), &Event { mask, name: Some(name), cookie }, false);
}

/// An event of an inode itself. Its kind is not said of those two that can be about nothing else.
fn tell_inode(inode: &Arc<dyn Inode>, mask: Mask) {
    let plain = mask.intersects(Mask::DELETE_SELF | Mask::MOVE_SELF);
    tell(inode.id(), &Event::of(if plain { mask } else { with_kind(mask, inode) }), false);
}

/// An event of an inode, for its directory and itself. `by_file`: of an open file, which may outlive its name.
fn tell_both(dentry: &Dentry, mask: Mask, by_file: bool) {
    let mask = with_kind(mask, dentry.inode());
    let unlinked = by_file && dentry.is_unlinked();
    if let Some(parent) = dentry.parent() {
        tell(parent.inode().id(), &Event { mask, name: Some(&dentry.name()), cookie: 0 }, unlinked);
    }
    tell(dentry.inode().id(), &Event::of(mask), unlinked);
}

/// A name was made in `dir`.
pub(super) fn created(dir: &Dentry, name: &[u8], inode: &Arc<dyn Inode>) {
    if !nobody_listens() {
        tell_directory(dir, name, with_kind(Mask::CREATE, inode), 0);
    }
}

/// An inode has got another name, in `dir` (link(2)).
pub(super) fn linked(dir: &Dentry, name: &[u8], inode: &Arc<dyn Inode>) {
    if !nobody_listens() {
        tell_inode(inode, Mask::ATTRIB);
        created(dir, name, inode);
    }
}

/// A name was removed from `dir` (unlink(2), rmdir(2)).
pub(super) fn removed(dir: &Dentry, name: &[u8], victim: Arc<Dentry>) {
    if nobody_listens() {
        return;
    }
    let mask = with_kind(Mask::DELETE, victim.inode());
    if victim.inode().kind() != FileKind::Directory {
        tell_inode(victim.inode(), Mask::ATTRIB);
    }
    // If nobody has it open, it reports its end here, before its directory hears of it.
    drop(victim);
    tell_directory(dir, name, mask, 0);
}

/// A name was moved (rename(2)); `replaced` is what had the new one.
pub(super) fn moved(from: (&Dentry, &[u8]), to: (&Dentry, &[u8]), moved: &Dentry, replaced: Option<Arc<Dentry>>) {
    static COOKIE: AtomicU32 = AtomicU32::new(1);
    if nobody_listens() {
        return;
    }
    let cookie = COOKIE.fetch_add(1, Ordering::Relaxed);
    tell_directory(from.0, from.1, with_kind(Mask::MOVED_FROM, moved.inode()), cookie);
    tell_directory(to.0, to.1, with_kind(Mask::MOVED_TO, moved.inode()), cookie);
    if let Some(target) = &replaced {
        tell_inode(target.inode(), Mask::ATTRIB);
    }
    tell_inode(moved.inode(), Mask::MOVE_SELF);
    drop(replaced);
}

/// The last reference to an unlinked dentry is going: the inode ends with it if it has no other name.
pub(super) fn dentry_gone(inode: &Arc<dyn Inode>) {
    if nobody_listens() || watches_of(inode.id()).is_empty() {
        return;
    }
    let directory = inode.kind() == FileKind::Directory;
    if directory || inode.metadata().is_ok_and(|m| m.nlink == 0) {
        tell_inode(inode, Mask::DELETE_SELF);
        end_all(watches_of(inode.id()));
    }
}

fn end_all(watches: Vec<Arc<Watch>>) {
    for watch in watches {
        if let Some(instance) = watch.instance.upgrade() {
            end_watch(&instance, &watch);
        }
    }
}

/// A file system is no longer mounted anywhere.
pub(super) fn unmounted(device: DeviceNumber) {
    if nobody_listens() {
        return;
    }
    let lists: Vec<Vec<Arc<Watch>>> = {
        let table = TABLE.lock();
        table.watches.iter().filter(|(id, _)| id.dev == device).map(|(_, list)| list.clone()).collect()
    };
    for list in lists {
        if let Some(first) = list.first() {
            tell_inode(&first.inode, Mask::UNMOUNT);
        }
        end_all(list);
    }
}

fn file_event(file: &OpenFile, mask: Mask) {
    if nobody_listens() || file.is_path_only() {
        return;
    }
    if let Some(path) = file.path() {
        tell_both(path.dentry(), mask, true);
    }
}

/// A file was opened.
pub(super) fn opened(file: &OpenFile) {
    file_event(file, Mask::OPEN);
}

/// A file was read, or a directory listed.
pub(super) fn accessed(file: &OpenFile) {
    file_event(file, Mask::ACCESS);
}

/// A file was written.
pub(super) fn modified(file: &OpenFile) {
    file_event(file, Mask::MODIFY);
}

/// The last reference to an open file is going.
pub(super) fn closed(file: &OpenFile) {
    let writes = file.flags().intersects(OpenFlags::WRONLY | OpenFlags::RDWR);
    file_event(file, if writes { Mask::CLOSE_WRITE } else { Mask::CLOSE_NOWRITE });
}

/// An extended attribute was set or removed.
pub(crate) fn xattr_changed(path: &Path) {
    if !nobody_listens() {
        tell_both(path.dentry(), Mask::ATTRIB, false);
    }
}

/// Attributes were changed: which event that is depends on them (a time alone stands for reading or writing).
pub(super) fn attributes_changed(path: &Path, change: &SetAttributes) {
    if nobody_listens() {
        return;
    }
    let mut mask = Mask::empty();
    mask.set(Mask::MODIFY, change.size.is_some());
    mask.set(Mask::ATTRIB, change.mode.is_some() || change.uid.is_some() || change.gid.is_some());
    match (change.atime, change.mtime) {
        (Some(_), Some(_)) => mask |= Mask::ATTRIB,
        (Some(_), None) => mask |= Mask::ACCESS,
        (None, Some(_)) => mask |= Mask::MODIFY,
        (None, None) => {}
    }
    if !mask.is_empty() {
        tell_both(path.dentry(), mask, false);
    }
}
