//! Calls that make, move and remove names: mkdir(2), mknod(2), symlink(2), link(2), unlink(2), rmdir(2), rename(2).

use super::context::Actor;
use super::dentry::{Dentry, Path};
use super::inode::{FileKind, LinkTarget, NAME_MAX, NewKind, RenameMode};
use super::lookup::{ParentAndName, Resolve};
use super::notify;
use super::permission::{self, Access};
use crate::error::{Errno, Result};
use crate::mm::spare;
use crate::task::Capability;
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Actor {
    /// Makes an object named `name` in `dir`, with the umask applied.
    pub(super) fn make_node(&self, dir: &Path, name: &[u8], kind: NewKind<'_>, mode: u32) -> Result<Path> {
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG.into());
        }
        dir.mount().check_writable()?;
        self.check_change(dir)?;
        let mode = if matches!(kind, NewKind::Symlink(_)) { 0o777 } else { mode & !self.fs.umask() };
        let new = self.new_inode(dir, kind, mode)?;
        let inode = dir.inode().create(name, &new)?;
        let dentry = dir.dentry().insert_new(name, inode);
        notify::created(dir.dentry(), name, dentry.inode());
        Ok(dir.with_dentry(dentry))
    }

    /// Whether names in `dir` may be made and removed.
    fn check_change(&self, dir: &Path) -> Result<()> {
        if dir.dentry().is_unlinked() {
            return Err(Errno::ENOENT.because("the directory has been removed"));
        }
        permission::check(&**dir.inode(), Access::WRITE | Access::EXEC, &self.who)
    }

    /// Finds the place for a new name: EEXIST if it is taken. `directory` says whether a slash may follow it.
    fn place_for_new(&self, base: Option<&Path>, name: &[u8], directory: bool) -> Result<ParentAndName> {
        let place = self.resolve_parent(base, name, Errno::EEXIST)?;
        match place.existing() {
            Ok(_) => Err(Errno::EEXIST.into()),
            Err(e) if e.errno() == Errno::ENOENT => {
                if place.directory && !directory {
                    return Err(Errno::ENOENT.because("a slash after the name of what is no directory"));
                }
                Ok(place)
            }
            Err(e) => Err(e),
        }
    }

    /// Makes a directory (mkdir(2)).
    pub fn mkdir(&self, base: Option<&Path>, name: &[u8], mode: u32) -> Result<Path> {
        let place = self.place_for_new(base, name, true)?;
        self.make_node(&place.dir, &place.name, NewKind::Directory, mode & 0o1777)
    }

    /// Makes a file, device, FIFO or socket (mknod(2)).
    pub fn mknod(&self, base: Option<&Path>, name: &[u8], kind: NewKind<'_>, mode: u32) -> Result<Path> {
        if kind.kind().is_device() && !self.who.capable(Capability::Mknod) {
            return Err(Errno::EPERM.because("a device node without CAP_MKNOD"));
        }
        let place = self.place_for_new(base, name, false)?;
        self.make_node(&place.dir, &place.name, kind, mode & 0o7777)
    }

    /// Makes a symbolic link (symlink(2)).
    pub fn symlink(&self, target: &[u8], base: Option<&Path>, name: &[u8]) -> Result<Path> {
        if target.is_empty() {
            return Err(Errno::ENOENT.because("an empty target"));
        }
        let place = self.place_for_new(base, name, false)?;
        self.make_node(&place.dir, &place.name, NewKind::Symlink(target), 0o777)
    }

    /// Gives `target` another name (link(2)).
    pub fn link(&self, target: &Path, base: Option<&Path>, name: &[u8]) -> Result<()> {
        let place = self.place_for_new(base, name, false)?;
        if !Arc::ptr_eq(target.mount(), place.dir.mount()) {
            return Err(Errno::EXDEV.into());
        }
        place.dir.mount().check_writable()?;
        self.check_change(&place.dir)?;
        if target.inode().kind() == FileKind::Directory {
            return Err(Errno::EPERM.because("a hard link to a directory"));
        }
        if place.name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG.into());
        }
        self.check_protected_link(target)?;
        place.dir.inode().link(&place.name, target.inode())?;
        place.dir.dentry().insert_new(&place.name, target.inode().clone());
        notify::linked(place.dir.dentry(), &place.name, target.inode());
        Ok(())
    }

    /// Only an owner, or who may read and write it, links to a plain file (proc(5), protected_hardlinks).
    fn check_protected_link(&self, target: &Path) -> Result<()> {
        let meta = target.inode().metadata()?;
        if permission::owns(&meta, &self.who) {
            return Ok(());
        }
        let plain = meta.kind == FileKind::Regular && meta.mode & 0o4000 == 0 && meta.mode & 0o2010 != 0o2010;
        if plain && permission::check_metadata(&meta, Access::READ | Access::WRITE, &self.who).is_ok() {
            return Ok(());
        }
        Err(Errno::EPERM.because("a hard link to another's file"))
    }

    fn check_remove(&self, place: &ParentAndName, victim: &Arc<Dentry>) -> Result<()> {
        place.dir.mount().check_writable()?;
        self.check_change(&place.dir)?;
        permission::check_sticky(&**place.dir.inode(), &**victim.inode(), &self.who)?;
        if victim.is_mountpoint() {
            return Err(Errno::EBUSY.because("something is mounted there"));
        }
        Ok(())
    }

    /// Removes a name (unlink(2)).
    pub fn unlink(&self, base: Option<&Path>, name: &[u8]) -> Result<()> {
        let place = self.resolve_parent(base, name, Errno::EISDIR)?;
        let victim = place.existing()?;
        let directory = victim.inode().kind() == FileKind::Directory;
        if place.directory && !directory {
            return Err(Errno::ENOTDIR.into());
        }
        self.check_remove(&place, &victim)?;
        if directory {
            return Err(Errno::EISDIR.into());
        }
        place.dir.inode().unlink(&place.name)?;
        place.dir.dentry().remove_child(&victim);
        spare::drop_file(victim.inode().id());
        notify::removed(place.dir.dentry(), &place.name, victim);
        Ok(())
    }

    /// Removes an empty directory (rmdir(2)).
    pub fn rmdir(&self, base: Option<&Path>, name: &[u8]) -> Result<()> {
        let special = match name.iter().rposition(|&b| b != b'/').map(|end| &name[..=end]) {
            Some(n) if n == b".." || n.ends_with(b"/..") => Errno::ENOTEMPTY,
            Some(n) if n == b"." || n.ends_with(b"/.") => Errno::EINVAL,
            _ => Errno::EBUSY,
        };
        let place = self.resolve_parent(base, name, special)?;
        let victim = place.existing()?;
        self.check_remove(&place, &victim)?;
        if victim.inode().kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR.into());
        }
        place.dir.inode().rmdir(&place.name)?;
        place.dir.dentry().remove_child(&victim);
        notify::removed(place.dir.dentry(), &place.name, victim);
        Ok(())
    }

    /// Moves a name (renameat2(2)).
    pub fn rename(&self, old: (Option<&Path>, &[u8]), new: (Option<&Path>, &[u8]), mode: RenameMode) -> Result<()> {
        let from = self.resolve_parent(old.0, old.1, Errno::EBUSY)?;
        let to = self.resolve_parent(new.0, new.1, Errno::EBUSY)?;
        if !Arc::ptr_eq(from.dir.mount(), to.dir.mount()) {
            return Err(Errno::EXDEV.into());
        }
        let moved = from.existing()?;
        let target = match to.existing() {
            Ok(t) => Some(t),
            Err(e) if e.errno() == Errno::ENOENT => None,
            Err(e) => return Err(e),
        };
        self.check_rename(&from, &to, &moved, target.as_ref(), mode)?;
        if to.name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG.into());
        }
        if target.as_ref().is_some_and(|t| t.inode().id() == moved.inode().id()) && mode == RenameMode::Replace {
            // Two names of one file: rename(2) does nothing, says POSIX.
            return Ok(());
        }
        from.dir.inode().rename(&from.name, to.dir.inode(), &to.name, mode)?;
        let old_place = (&**from.dir.dentry(), from.name.as_slice());
        let new_place = (&**to.dir.dentry(), to.name.as_slice());
        match (mode, &target) {
            (RenameMode::Exchange, Some(t)) => {
                from.dir.dentry().move_child(&moved, to.dir.dentry(), &to.name);
                to.dir.dentry().move_child(t, from.dir.dentry(), &from.name);
                notify::moved(old_place, new_place, &moved, None);
                notify::moved(new_place, old_place, t, None);
            }
            _ => {
                if let Some(t) = &target {
                    to.dir.dentry().remove_child(t);
                    spare::drop_file(t.inode().id());
                }
                from.dir.dentry().move_child(&moved, to.dir.dentry(), &to.name);
                notify::moved(old_place, new_place, &moved, target);
            }
        }
        Ok(())
    }

    fn check_rename(
        &self,
        from: &ParentAndName,
        to: &ParentAndName,
        moved: &Arc<Dentry>,
        target: Option<&Arc<Dentry>>,
        mode: RenameMode,
    ) -> Result<()> {
        let directory = |d: &Arc<Dentry>| d.inode().kind() == FileKind::Directory;
        match (mode, target) {
            (RenameMode::NoReplace, Some(_)) => return Err(Errno::EEXIST.into()),
            (RenameMode::Exchange, None) => return Err(Errno::ENOENT.into()),
            _ => {}
        }
        if moved.is_ancestor_of(to.dir.dentry()) {
            return Err(Errno::EINVAL.because("a directory moved into itself"));
        }
        if let Some(t) = target {
            if t.is_ancestor_of(from.dir.dentry()) {
                let errno = if mode == RenameMode::Exchange { Errno::EINVAL } else { Errno::ENOTEMPTY };
                return Err(errno.because("the target holds what is moved"));
            }
            self.check_remove(to, t)?;
            if mode == RenameMode::Replace {
                match (directory(moved), directory(t)) {
                    (true, false) => return Err(Errno::ENOTDIR.into()),
                    (false, true) => return Err(Errno::EISDIR.into()),
                    _ => {}
                }
            }
        } else {
            self.check_change(&to.dir)?;
        }
        if (from.directory || to.directory) && !directory(moved) {
            return Err(Errno::ENOTDIR.into());
        }
        self.check_remove(from, moved)?;
        if directory(moved) && !Arc::ptr_eq(from.dir.dentry(), to.dir.dentry()) {
            // Its `..` changes.
            permission::check(&**moved.inode(), Access::WRITE, &self.who)?;
        }
        Ok(())
    }

    /// The text of a symbolic link (readlink(2)).
    pub fn read_link(&self, base: Option<&Path>, name: &[u8]) -> Result<Vec<u8>> {
        let path = self.resolve(base, name, Resolve::NO_FOLLOW | Resolve::EMPTY_PATH)?;
        if path.inode().kind() != FileKind::Symlink {
            return Err(if name.is_empty() { Errno::ENOENT } else { Errno::EINVAL }.into());
        }
        Ok(match path.inode().read_link()? {
            LinkTarget::Text(text) | LinkTarget::Magic(_, text) => text,
        })
    }
}
