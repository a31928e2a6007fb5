//! The entries of a tmpfs directory: found by name, listed by a cookie that never changes while the entry exists.

use super::inode::TmpInode;
use crate::error::{Errno, Result};
use crate::fs::inode::{DirEntry, DirSink, Inode};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use hashbrown::HashMap;

/// Cookies below this are `.` and `..`.
const FIRST_COOKIE: u64 = 3;

struct Entry {
    name: Box<[u8]>,
    inode: Arc<TmpInode>,
}

/// The entries.
pub(super) struct Entries {
    cookies: HashMap<Box<[u8]>, u64>,
    by_cookie: BTreeMap<u64, Entry>,
    next: u64,
    /// Removed from its own directory: nothing can be made here any more.
    pub(super) dead: bool,
}

impl Entries {
    pub(super) fn new() -> Self {
        Entries { cookies: HashMap::new(), by_cookie: BTreeMap::new(), next: FIRST_COOKIE, dead: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_cookie.is_empty()
    }

    pub(super) fn get(&self, name: &[u8]) -> Result<Arc<TmpInode>> {
        let entry = self.cookies.get(name).and_then(|cookie| self.by_cookie.get(cookie));
        entry.map(|e| e.inode.clone()).ok_or_else(|| Errno::ENOENT.into())
    }

    /// Adds a name. EEXIST if it is there, ENOENT if the directory is dead.
    pub(super) fn add(&mut self, name: &[u8], inode: Arc<TmpInode>) -> Result<()> {
        if self.dead {
            return Err(Errno::ENOENT.because("the directory has been removed"));
        }
        if self.cookies.contains_key(name) {
            return Err(Errno::EEXIST.into());
        }
        self.cookies.insert(name.into(), self.next);
        self.by_cookie.insert(self.next, Entry { name: name.into(), inode });
        self.next += 1;
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> Option<Arc<TmpInode>> {
        let cookie = self.cookies.remove(name)?;
        self.by_cookie.remove(&cookie).map(|e| e.inode)
    }

    /// Lets the name stand for another inode; returns the old one.
    pub(super) fn replace(&mut self, name: &[u8], inode: Arc<TmpInode>) -> Option<Arc<TmpInode>> {
        let entry = self.cookies.get(name).and_then(|cookie| self.by_cookie.get_mut(cookie))?;
        Some(core::mem::replace(&mut entry.inode, inode))
    }

    /// Lists entries after the one with this cookie.
    pub(super) fn list(&self, cookie: u64, sink: DirSink<'_>) {
        for (&own, entry) in self.by_cookie.range(cookie.max(FIRST_COOKIE - 1) + 1..) {
            let inode = &entry.inode;
            if !sink(&DirEntry { name: &entry.name, ino: inode.id().ino, kind: Some(inode.kind()), next: own }) {
                return;
            }
        }
    }
}
