//! open(2): from a name to an open file description.

use super::context::Actor;
use super::dentry::Path;
use super::file::{FileOps, OpenFile, OpenFlags};
use super::inode::{FileKind, NewInode, NewKind, SetAttributes};
use super::lookup::{Last, Resolve, Walker};
use super::mount::MountFlags;
use super::permission::{self, Access};
use super::{device, fifo, notify};
use crate::error::{Errno, Result};
use crate::task::{Capability, Gid};
use alloc::sync::Arc;

/// A description that only names a place (`O_PATH`).
struct PathOnly;

impl FileOps for PathOnly {}

impl Actor {
    /// Opens a name. `mode` is for a file that is made (open(2)). FIFOs are opened without waiting for the other end:
    /// the caller does that.
    pub fn open(
        &self,
        base: Option<&Path>,
        name: &[u8],
        flags: OpenFlags,
        mode: u32,
        resolve: Resolve,
    ) -> Result<Arc<OpenFile>> {
        let mut how = resolve;
        how.set(Resolve::NO_FOLLOW, flags.contains(OpenFlags::NOFOLLOW));
        how.set(Resolve::DIRECTORY, flags.contains(OpenFlags::DIRECTORY));
        if flags.contains(OpenFlags::PATH) {
            let path = self.resolve(base, name, how)?;
            return Ok(OpenFile::opened(Arc::new(PathOnly), flags, path));
        }
        if flags.contains(OpenFlags::TMPFILE) {
            return self.open_unnamed(base, name, flags, mode, how);
        }
        if flags.contains(OpenFlags::CREAT) {
            return self.open_or_create(base, name, flags, mode, how);
        }
        let path = self.resolve(base, name, how)?;
        self.open_path(path, flags)
    }

    fn open_or_create(
        &self,
        base: Option<&Path>,
        name: &[u8],
        flags: OpenFlags,
        mode: u32,
        how: Resolve,
    ) -> Result<Arc<OpenFile>> {
        if flags.contains(OpenFlags::DIRECTORY) {
            return Err(Errno::EINVAL.because("O_CREAT makes no directories"));
        }
        let exclusive = flags.contains(OpenFlags::EXCL);
        let mut walker = Walker::new(self, base, name, how)?;
        loop {
            let Last::Name { name, directory } = walker.parent()? else {
                return Err(if exclusive { Errno::EEXIST } else { Errno::EISDIR }.into());
            };
            if directory {
                return Err(Errno::EISDIR.into());
            }
            match walker.look(&name)? {
                Some(_) if exclusive => return Err(Errno::EEXIST.into()),
                Some(found) if found.inode().kind() == FileKind::Symlink => {
                    if how.contains(Resolve::NO_FOLLOW) {
                        return Err(Errno::ELOOP.because("O_NOFOLLOW"));
                    }
                    if walker.follow(&found)? {
                        return self.open_path(walker.at().clone(), flags);
                    }
                }
                Some(found) => {
                    self.check_protected_open(walker.at(), &found)?;
                    return self.open_path(found, flags);
                }
                None => {
                    let path = match self.make_node(walker.at(), &name, NewKind::Regular, mode & 0o7777) {
                        // Somebody else was faster: look again.
                        Err(e) if e.errno() == Errno::EEXIST && !exclusive => {
                            walker.look(&name)?.ok_or(Errno::ENOENT)?
                        }
                        other => other?,
                    };
                    // The maker may write whatever the new file's mode says. There is nothing to cut.
                    return self.open_inode(path, flags & !OpenFlags::TRUNC);
                }
            }
        }
    }

    /// `O_CREAT` on another's FIFO or file in a sticky directory (proc(5), protected_fifos, protected_regular).
    fn check_protected_open(&self, dir: &Path, found: &Path) -> Result<()> {
        if self.who.fsuid.0 == 0 || !matches!(found.inode().kind(), FileKind::Fifo | FileKind::Regular) {
            return Ok(());
        }
        let dir = dir.inode().metadata()?;
        let owner = found.inode().metadata()?.uid;
        if dir.mode & 0o1002 == 0o1002 && owner != self.who.fsuid && owner != dir.uid {
            return Err(Errno::EACCES.because("another's file in a sticky directory, opened with O_CREAT"));
        }
        Ok(())
    }

    fn open_unnamed(
        &self,
        base: Option<&Path>,
        name: &[u8],
        flags: OpenFlags,
        mode: u32,
        how: Resolve,
    ) -> Result<Arc<OpenFile>> {
        if !flags.writable() {
            return Err(Errno::EINVAL.because("O_TMPFILE without write access"));
        }
        let dir = self.resolve(base, name, how | Resolve::DIRECTORY)?;
        permission::check(&**dir.inode(), Access::WRITE | Access::EXEC, &self.who)?;
        dir.mount().check_writable()?;
        let new = self.new_inode(&dir, NewKind::Regular, mode & 0o7777 & !self.fs.umask())?;
        let inode = dir.inode().create_unnamed(&new)?;
        let label = alloc::format!("/#{} (deleted)", inode.id().ino);
        let dentry = super::dentry::Dentry::detached(inode, label.as_bytes());
        self.open_inode(dir.with_dentry(dentry), flags)
    }

    /// Opens a place, after a look at permissions.
    pub fn open_path(&self, path: Path, flags: OpenFlags) -> Result<Arc<OpenFile>> {
        let inode = path.inode();
        let mut want = Access::empty();
        want.set(Access::READ, flags.readable());
        want.set(Access::WRITE, flags.writable() || flags.contains(OpenFlags::TRUNC));
        match inode.kind() {
            FileKind::Symlink => return Err(Errno::ELOOP.because("O_NOFOLLOW on a symbolic link")),
            FileKind::Directory if want.contains(Access::WRITE) => return Err(Errno::EISDIR.into()),
            FileKind::Directory if flags.contains(OpenFlags::CREAT) => return Err(Errno::EISDIR.into()),
            FileKind::Socket => return Err(Errno::ENXIO.because("a socket is connected to, not opened")),
            _ => {}
        }
        permission::check(&**inode, want, &self.who)?;
        if flags.contains(OpenFlags::NOATIME) && !permission::owns(&inode.metadata()?, &self.who) {
            return Err(Errno::EPERM.because("O_NOATIME on another's file"));
        }
        self.open_inode(path, flags)
    }

    fn open_inode(&self, path: Path, flags: OpenFlags) -> Result<Arc<OpenFile>> {
        let inode = path.inode();
        let kind = inode.kind();
        let changes = flags.writable() || flags.contains(OpenFlags::TRUNC);
        if changes && matches!(kind, FileKind::Regular | FileKind::Directory) {
            path.mount().check_writable()?;
        }
        let ops = match kind {
            FileKind::CharDevice | FileKind::BlockDevice => {
                if path.mount().flags().contains(MountFlags::NODEV) {
                    return Err(Errno::EACCES.because("the mount is nodev"));
                }
                device::open(kind, inode.metadata()?.rdev, flags)?
            }
            FileKind::Fifo => fifo::open(inode, flags)?,
            FileKind::Regular | FileKind::Directory => inode.clone().open(flags)?,
            FileKind::Symlink => return Err(Errno::ELOOP.into()),
            FileKind::Socket => return Err(Errno::ENXIO.into()),
        };
        let file = OpenFile::opened(ops, flags, path.clone());
        notify::opened(&file);
        if flags.contains(OpenFlags::TRUNC) && kind == FileKind::Regular {
            path.change(&SetAttributes { size: Some(0), ..SetAttributes::default() })?;
        }
        Ok(file)
    }

    /// What a new object in `dir` gets: owner, group (the directory's if that is set-group-ID), mode.
    pub(super) fn new_inode<'a>(&self, dir: &Path, kind: NewKind<'a>, mode: u32) -> Result<NewInode<'a>> {
        let meta = dir.inode().metadata()?;
        let (mut mode, mut gid): (u32, Gid) = (mode, self.who.fsgid);
        if meta.mode & 0o2000 != 0 {
            gid = meta.gid;
            if kind == NewKind::Directory {
                mode |= 0o2000;
            } else if mode & 0o2010 == 0o2010 && !self.who.in_group(gid) && !self.who.capable(Capability::Fsetid) {
                mode &= !0o2000;
            }
        }
        Ok(NewInode { kind, mode, uid: self.who.fsuid, gid })
    }
}
