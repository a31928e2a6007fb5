//! Names: the dentry cache, and places in the tree.
//!
//! A [`Dentry`] ties a name in a directory to an inode. A directory's dentry knows its children weakly; what keeps a
//! dentry is its use (an open file, a working directory, a mount, a child), and a list of the most recently looked up
//! ones, [`RECENT`] at most. File systems that hold host resources per inode are bounded by that.
//!
//! Only existing names are cached. On each use the directory is asked whether the name still stands
//! ([`Inode::revalidate`]), so that hostfs sees what the host changes. A change made here bumps the directory's
//! generation; a lookup that ran meanwhile on another vCPU sees it and does not store what it found.

use super::inode::{Inode, NAME_MAX};
use super::mount::Mount;
use crate::error::{Errno, Result};
use crate::sync::{Rank, SpinLock};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use hashbrown::HashMap;

/// How many dentries stay cached that nobody uses.
pub const RECENT: usize = 1024;

static RECENTLY_USED: SpinLock<VecDeque<Arc<Dentry>>> = SpinLock::new(Rank::PageCache, VecDeque::new());

struct Place {
    parent: Option<Arc<Dentry>>,
    name: Box<[u8]>,
    /// Removed from its directory, or never in one.
    unlinked: bool,
}

#[derive(Default)]
struct Children {
    by_name: HashMap<Box<[u8]>, Weak<Dentry>>,
    /// Bumped by each change of a name in this directory.
    generation: u64,
    /// Size of the map at which dead entries are swept out.
    sweep_at: usize,
}

/// A name in a directory and the inode it stands for.
pub struct Dentry {
    inode: Arc<dyn Inode>,
    place: SpinLock<Place>,
    children: SpinLock<Children>,
    /// How many mounts stand on it.
    mounts: AtomicU32,
    /// Used since the recent list last considered it.
    referenced: AtomicBool,
}

impl fmt::Debug for Dentry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dentry {:?}", alloc::string::String::from_utf8_lossy(&self.name()))
    }
}

impl Drop for Dentry {
    /// Lets go of the ancestors one by one: dropping them recursively could overflow a kernel stack.
    fn drop(&mut self) {
        let mut next = self.place.get_mut().parent.take();
        while let Some(dentry) = next {
            next = match Arc::into_inner(dentry) {
                Some(mut last) => last.place.get_mut().parent.take(),
                None => None,
            };
        }
    }
}

impl Dentry {
    fn new(inode: Arc<dyn Inode>, parent: Option<Arc<Dentry>>, name: &[u8], unlinked: bool) -> Arc<Self> {
        Arc::new(Dentry {
            inode,
            place: SpinLock::new(Rank::Directory, Place { parent, name: name.into(), unlinked }),
            children: SpinLock::new(Rank::Directory, Children::default()),
            mounts: AtomicU32::new(0),
            referenced: AtomicBool::new(true),
        })
    }

    /// The top of a file system.
    pub fn root(inode: Arc<dyn Inode>) -> Arc<Self> {
        Self::new(inode, None, b"/", false)
    }

    /// An object without a place in any tree: a pipe, a memfd, an O_TMPFILE. `name` is what `/proc/self/fd` shows.
    pub fn detached(inode: Arc<dyn Inode>, name: &[u8]) -> Arc<Self> {
        Self::new(inode, None, name, true)
    }

    /// The inode.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    /// The last component of its name.
    pub fn name(&self) -> Box<[u8]> {
        self.place.lock().name.clone()
    }

    /// The directory it is in; `None` at the top of a file system.
    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.place.lock().parent.clone()
    }

    /// Whether its name is gone.
    pub fn is_unlinked(&self) -> bool {
        self.place.lock().unlinked
    }

    /// Whether something is mounted on it.
    pub fn is_mountpoint(&self) -> bool {
        self.mounts.load(Ordering::Relaxed) > 0
    }

    pub(super) fn add_mount(&self) {
        self.mounts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove_mount(&self) {
        self.mounts.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether `self` is `other` or an ancestor of it.
    pub fn is_ancestor_of(self: &Arc<Self>, other: &Arc<Dentry>) -> bool {
        let mut at = Some(other.clone());
        while let Some(d) = at {
            if Arc::ptr_eq(&d, self) {
                return true;
            }
            at = d.parent();
        }
        false
    }

    fn cached(&self, name: &[u8]) -> Option<Arc<Dentry>> {
        let found = self.children.lock().by_name.get(name).and_then(Weak::upgrade)?;
        found.referenced.store(true, Ordering::Relaxed);
        Some(found)
    }

    /// Looks a name up, in the cache or in the file system. The name is a plain component: not `.`, not `..`.
    pub fn lookup(self: &Arc<Self>, name: &[u8]) -> Result<Arc<Dentry>> {
        if let Some(child) = self.cached(name) {
            if child.is_mountpoint() || self.inode.revalidate(name, child.inode()) {
                return Ok(child);
            }
            self.forget(&child);
        }
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG.into());
        }
        loop {
            let generation = self.children.lock().generation;
            let inode = self.inode.lookup(name)?;
            if let Some(child) = self.insert(name, inode, Some(generation)) {
                return Ok(child);
            }
        }
    }

    /// Stores a name that was looked up (if the directory is still of that generation) or made here.
    fn insert(self: &Arc<Self>, name: &[u8], inode: Arc<dyn Inode>, generation: Option<u64>) -> Option<Arc<Dentry>> {
        let child = Self::new(inode, Some(self.clone()), name, false);
        let mut children = self.children.lock();
        match generation {
            Some(g) if g != children.generation => {
                drop(children);
                return None;
            }
            Some(_) => {}
            None => children.generation += 1,
        }
        if let Some(there) = children.by_name.get(name).and_then(Weak::upgrade)
            && generation.is_some()
            && there.inode.id() == child.inode.id()
        {
            drop(children);
            return Some(there);
        }
        if children.by_name.len() >= children.sweep_at {
            children.by_name.retain(|_, d| d.strong_count() > 0);
            children.sweep_at = (children.by_name.len() * 2).max(16);
        }
        children.by_name.insert(name.into(), Arc::downgrade(&child));
        drop(children);
        remember(child.clone());
        Some(child)
    }

    /// Stores a name that was just made in this directory.
    pub(super) fn insert_new(self: &Arc<Self>, name: &[u8], inode: Arc<dyn Inode>) -> Arc<Dentry> {
        let child = self.insert(name, inode.clone(), None);
        // Without a generation to compare, `insert` always stores; the other branch only spares a panic.
        child.unwrap_or_else(|| Self::new(inode, Some(self.clone()), name, false))
    }

    /// Drops `child` from the cache without saying that its name is gone.
    fn forget(&self, child: &Arc<Dentry>) {
        let name = child.name();
        let mut children = self.children.lock();
        if children.by_name.get(&name).is_some_and(|d| core::ptr::eq(d.as_ptr(), Arc::as_ptr(child))) {
            children.by_name.remove(&name);
        }
    }

    /// Records that `child`'s name was removed from this directory.
    pub(super) fn remove_child(&self, child: &Arc<Dentry>) {
        self.children.lock().generation += 1;
        self.forget(child);
        child.place.lock().unlinked = true;
        forget_recent(child);
    }

    /// Records that `child` moved from `self` to the name `new_name` in `new_parent`.
    pub(super) fn move_child(&self, child: &Arc<Dentry>, new_parent: &Arc<Dentry>, new_name: &[u8]) {
        self.children.lock().generation += 1;
        self.forget(child);
        let old_parent = {
            let mut place = child.place.lock();
            place.name = new_name.into();
            place.unlinked = false;
            place.parent.replace(new_parent.clone())
        };
        drop(old_parent);
        let mut children = new_parent.children.lock();
        children.generation += 1;
        children.by_name.insert(new_name.into(), Arc::downgrade(child));
    }
}

/// Puts a dentry on the list of recent ones; the oldest that was not used since goes.
fn remember(dentry: Arc<Dentry>) {
    let mut dropped = Vec::new();
    {
        let mut recent = RECENTLY_USED.lock();
        recent.push_back(dentry);
        let mut looks = recent.len();
        while recent.len() > RECENT && looks > 0 {
            looks -= 1;
            let Some(old) = recent.pop_front() else { break };
            if old.referenced.swap(false, Ordering::Relaxed) {
                recent.push_back(old);
            } else {
                dropped.push(old);
            }
        }
    }
    // Inodes may go with them: not under the lock.
    drop(dropped);
}

/// Takes a dentry off the list of recent ones: what nobody can find any more must not keep its inode's space.
fn forget_recent(dentry: &Arc<Dentry>) {
    let dropped = {
        let mut recent = RECENTLY_USED.lock();
        let at = recent.iter().position(|d| Arc::ptr_eq(d, dentry));
        at.and_then(|i| recent.swap_remove_back(i))
    };
    drop(dropped);
}

/// A place in the tree: a name, and the mount through which it was reached.
#[derive(Clone)]
pub struct Path {
    mount: Arc<Mount>,
    dentry: Arc<Dentry>,
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.mount, &other.mount) && Arc::ptr_eq(&self.dentry, &other.dentry)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&alloc::string::String::from_utf8_lossy(&self.display()))
    }
}

impl Path {
    /// A place.
    pub fn new(mount: Arc<Mount>, dentry: Arc<Dentry>) -> Self {
        Path { mount, dentry }
    }

    /// The top of a mount.
    pub fn mount_root(mount: &Arc<Mount>) -> Self {
        Path { mount: mount.clone(), dentry: mount.root().clone() }
    }

    /// The place of an object that is in no tree (see [`Dentry::detached`]).
    pub fn detached(inode: Arc<dyn Inode>, name: &[u8]) -> Self {
        Path { mount: super::mount::internal().clone(), dentry: Dentry::detached(inode, name) }
    }

    /// The mount of all objects that are in no tree.
    pub fn detached_mount() -> &'static Arc<Mount> {
        super::mount::internal()
    }

    /// The mount.
    pub fn mount(&self) -> &Arc<Mount> {
        &self.mount
    }

    /// The name.
    pub fn dentry(&self) -> &Arc<Dentry> {
        &self.dentry
    }

    /// The inode.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        self.dentry.inode()
    }

    /// The same mount, another name.
    pub fn with_dentry(&self, dentry: Arc<Dentry>) -> Self {
        Path { mount: self.mount.clone(), dentry }
    }

    /// Whether this is the top of its mount.
    pub fn is_mount_root(&self) -> bool {
        Arc::ptr_eq(&self.dentry, self.mount.root())
    }

    /// The directory above, through mounts, but not above `root`.
    pub fn parent_below(&self, root: &Path) -> Path {
        let mut at = self.clone();
        loop {
            if at == *root {
                return at;
            }
            if at.is_mount_root() {
                match at.mount.mountpoint() {
                    Some(below) => at = below,
                    None => return at,
                }
                continue;
            }
            return match at.dentry.parent() {
                Some(parent) => at.with_dentry(parent).top_mount(),
                None => at,
            };
        }
    }

    /// What is mounted on top of this place, or the place itself.
    pub fn top_mount(self) -> Path {
        let mut at = self;
        while at.dentry.is_mountpoint() {
            match super::mount::mounted_on(&at) {
                Some(child) => at = Path::mount_root(&child),
                None => break,
            }
        }
        at
    }

    /// The absolute path name as seen below `root`, and whether `root` was reached (getcwd(2) says "(unreachable)").
    pub fn name_below(&self, root: &Path) -> (Vec<u8>, bool) {
        let mut parts: Vec<Box<[u8]>> = Vec::new();
        let mut at = self.clone();
        let reached = loop {
            if at == *root {
                break true;
            }
            if at.is_mount_root() {
                match at.mount.mountpoint() {
                    Some(below) => at = below,
                    None => break false,
                }
                continue;
            }
            let parent = at.dentry.parent();
            parts.push(at.dentry.name());
            match parent {
                Some(parent) => at = at.with_dentry(parent),
                None => break false,
            }
        };
        let mut out = Vec::new();
        for part in parts.iter().rev() {
            out.push(b'/');
            out.extend_from_slice(part);
        }
        if out.is_empty() {
            out.push(b'/');
        }
        (out, reached)
    }

    /// The name as `/proc/<pid>/fd` and `/proc/<pid>/exe` show it: from the machine's root, marked if it is gone.
    pub fn display(&self) -> Vec<u8> {
        if self.dentry.is_unlinked() && self.dentry.parent().is_none() {
            return self.dentry.name().into_vec();
        }
        let (mut name, _) = self.name_below(&super::mount::machine_root());
        if self.dentry.is_unlinked() {
            name.extend_from_slice(b" (deleted)");
        }
        name
    }
}
