//! Calls that change what an inode says of itself: chmod(2), chown(2), utimensat(2), truncate(2).

use super::context::Actor;
use super::dentry::Path;
use super::inode::{FileKind, SetAttributes, Timestamp};
use super::notify;
use super::permission::{self, Access};
use crate::error::{Errno, Result};
use crate::task::{Capability, Gid, Uid};

/// What utimensat(2) sets one of the two times to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewTime {
    /// The present (`UTIME_NOW`).
    Now,
    /// It stays (`UTIME_OMIT`).
    Omit,
    /// This.
    At(Timestamp),
}

impl NewTime {
    fn value(self) -> Option<Timestamp> {
        match self {
            NewTime::Now => Some(Timestamp::now()),
            NewTime::Omit => None,
            NewTime::At(t) => Some(t),
        }
    }
}

impl Path {
    /// Changes attributes, unasked whether that is allowed; who watches hears of it.
    pub fn change(&self, change: &SetAttributes) -> Result<()> {
        self.inode().set_attributes(change)?;
        notify::attributes_changed(self, change);
        Ok(())
    }
}

impl Actor {
    /// Changes the permission bits (chmod(2)).
    pub fn chmod(&self, path: &Path, mode: u32) -> Result<()> {
        path.mount().check_writable()?;
        let meta = path.inode().metadata()?;
        if meta.kind == FileKind::Symlink {
            return Err(Errno::EOPNOTSUPP.because("a symbolic link has no mode"));
        }
        if !permission::owns(&meta, &self.who) {
            return Err(Errno::EPERM.into());
        }
        let mut mode = mode & 0o7777;
        if !self.who.in_group(meta.gid) && !self.who.capable(Capability::Fsetid) {
            mode &= !0o2000;
        }
        path.change(&SetAttributes { mode: Some(mode), ..SetAttributes::default() })
    }

    /// Changes owner and group (chown(2)); `None` leaves one as it is.
    pub fn chown(&self, path: &Path, uid: Option<Uid>, gid: Option<Gid>) -> Result<()> {
        path.mount().check_writable()?;
        let meta = path.inode().metadata()?;
        if !self.who.capable(Capability::Chown) {
            let mine = self.who.fsuid == meta.uid;
            let uid_ok = uid.is_none_or(|u| mine && u == meta.uid);
            let gid_ok = gid.is_none_or(|g| mine && (g == meta.gid || self.who.in_group(g)));
            if !uid_ok || !gid_ok {
                return Err(Errno::EPERM.into());
            }
        }
        let mut change = SetAttributes { uid, gid, ..SetAttributes::default() };
        if meta.kind != FileKind::Directory && meta.mode & 0o6000 != 0 {
            // Set-user-ID and set-group-ID go with the old owner (chown(2)); a group bit without x means locking.
            let group_bit = if meta.mode & 0o010 != 0 { 0o2000 } else { 0 };
            change.mode = Some(meta.mode & !(0o4000 | group_bit));
        }
        path.change(&change)
    }

    /// Changes access and modification time (utimensat(2)).
    pub fn set_times(&self, path: &Path, atime: NewTime, mtime: NewTime) -> Result<()> {
        if atime == NewTime::Omit && mtime == NewTime::Omit {
            return Ok(());
        }
        path.mount().check_writable()?;
        let meta = path.inode().metadata()?;
        if !permission::owns(&meta, &self.who) {
            if atime != NewTime::Now || mtime != NewTime::Now {
                return Err(Errno::EPERM.into());
            }
            permission::check_metadata(&meta, Access::WRITE, &self.who)?;
        }
        let change = SetAttributes { atime: atime.value(), mtime: mtime.value(), ..SetAttributes::default() };
        path.change(&change)
    }

    /// Whether the size of a named file may be changed: its kind, its permissions and its mount.
    pub fn check_truncate(&self, path: &Path) -> Result<()> {
        match path.inode().kind() {
            FileKind::Directory => return Err(Errno::EISDIR.into()),
            FileKind::Regular => {}
            _ => return Err(Errno::EINVAL.because("only regular files are truncated")),
        }
        permission::check(&**path.inode(), Access::WRITE, &self.who)?;
        path.mount().check_writable()
    }

    /// Changes the size of a named file (truncate(2)).
    pub fn truncate(&self, path: &Path, size: u64) -> Result<()> {
        self.check_truncate(path)?;
        path.change(&SetAttributes { size: Some(size), ..SetAttributes::default() })
    }
}
