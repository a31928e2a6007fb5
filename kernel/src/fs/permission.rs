//! Who may do what with a file (path_resolution(7), "Permissions"; capabilities(7)).

use super::inode::{FileKind, Inode, Metadata};
use crate::error::{Errno, Result};
use crate::task::{Capability, Credentials};

bitflags::bitflags! {
    /// What a caller wants to do, with the numbers of access(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Access: u32 {
        /// Execute, or search a directory.
        const EXEC = 1;
        /// Write.
        const WRITE = 2;
        /// Read.
        const READ = 4;
    }
}

/// EACCES if `who` may not do `want` with `inode`.
pub fn check(inode: &dyn Inode, want: Access, who: &Credentials) -> Result<()> {
    if want.is_empty() {
        return Ok(());
    }
    let directory = inode.kind() == FileKind::Directory;
    if who.capable(Capability::DacOverride) && (directory || !want.contains(Access::EXEC)) {
        return Ok(());
    }
    check_metadata(&inode.metadata()?, want, who)
}

/// As [`check`], of an inode whose metadata is at hand.
pub fn check_metadata(meta: &Metadata, want: Access, who: &Credentials) -> Result<()> {
    let bits = if who.fsuid == meta.uid {
        meta.mode >> 6
    } else if who.in_group(meta.gid) {
        meta.mode >> 3
    } else {
        meta.mode
    };
    if want.bits() & !bits & 7 == 0 {
        return Ok(());
    }
    let directory = meta.kind == FileKind::Directory;
    let executable = directory || meta.mode & 0o111 != 0;
    if who.capable(Capability::DacOverride) && (!want.contains(Access::EXEC) || executable) {
        return Ok(());
    }
    let only_looks = !want.contains(Access::WRITE) && (directory || !want.contains(Access::EXEC));
    if who.capable(Capability::DacReadSearch) && only_looks {
        return Ok(());
    }
    Err(Errno::EACCES.into())
}

/// Whether `who` owns the file or may act as its owner (`CAP_FOWNER`).
pub fn owns(meta: &Metadata, who: &Credentials) -> bool {
    who.fsuid == meta.uid || who.capable(Capability::Fowner)
}

/// What a file's mode is after the running thread has written to it: set-user-ID goes, and set-group-ID where the group
/// may execute (inode(7)), unless the thread has CAP_FSETID.
pub fn mode_after_write(mode: u32) -> u32 {
    let stripped = mode & if mode & 0o010 != 0 { !0o6000 } else { !0o4000 };
    let may_keep = || crate::sched::current().is_none_or(|t| t.credentials().capable(Capability::Fsetid));
    if stripped == mode || may_keep() { mode } else { stripped }
}

/// Whether the directory's sticky bit keeps `who` from removing or renaming `victim` (inode(7), S_ISVTX).
pub fn check_sticky(dir: &dyn Inode, victim: &dyn Inode, who: &Credentials) -> Result<()> {
    if who.capable(Capability::Fowner) {
        return Ok(());
    }
    let dir = dir.metadata()?;
    if dir.mode & 0o1000 == 0 || dir.uid == who.fsuid || victim.metadata()?.uid == who.fsuid {
        return Ok(());
    }
    Err(Errno::EPERM.because("the directory is sticky and neither it nor the file is the caller's"))
}

#[cfg(test)]
mod tests {
    use super::super::inode::{DeviceNumber, InodeId};
    use super::*;
    use crate::task::{Gid, Uid};

    fn user(uid: u32, gid: u32) -> Credentials {
        Credentials { fsuid: Uid(uid), fsgid: Gid(gid), effective: 0, ..Credentials::root() }
    }

    fn file(mode: u32) -> Metadata {
        let id = InodeId { dev: DeviceNumber::new(0, 1), ino: 1 };
        Metadata { uid: Uid(10), gid: Gid(20), ..Metadata::new(id, FileKind::Regular, mode) }
    }

    #[test]
    fn the_first_class_that_fits_decides_alone() {
        // The owner is refused although everybody else is allowed.
        assert!(check_metadata(&file(0o077), Access::READ, &user(10, 20)).is_err());
        assert!(check_metadata(&file(0o077), Access::READ, &user(11, 20)).is_ok());
        assert!(check_metadata(&file(0o707), Access::READ, &user(11, 20)).is_err());
        assert!(check_metadata(&file(0o604), Access::READ, &user(11, 21)).is_ok());
    }

    #[test]
    fn root_executes_only_what_has_an_x() {
        assert!(check_metadata(&file(0), Access::READ | Access::WRITE, &Credentials::root()).is_ok());
        assert!(check_metadata(&file(0o600), Access::EXEC, &Credentials::root()).is_err());
        assert!(check_metadata(&file(0o010), Access::EXEC, &Credentials::root()).is_ok());
    }
}
