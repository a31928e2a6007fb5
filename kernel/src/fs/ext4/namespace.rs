//! Names and links: creating, linking, removing and renaming, and what becomes of an inode without a name.
//!
//! An inode that loses its last name goes onto the orphan list on disk, a chain through the inodes' deletion times that
//! begins in the superblock. It is deleted when its last user is gone, or at the next mount if the machine did not live
//! to do that.

use super::bytes::le32;
use super::directory::Slot;
use super::disk_inode::{DiskInode, FLAG_APPEND, FLAG_EXTENTS, FLAG_IMMUTABLE};
use super::extent::{ROOT_ENTRIES, put_leaf};
use super::superblock::RoCompat;
use super::volume::{Core, File, damaged};
use crate::error::{Errno, Result};
use crate::fs::inode::{FileKind, NewInode, NewKind, RenameMode, Timestamp};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Most links of an inode (`EXT4_LINK_MAX`).
const LINK_MAX: u16 = 65000;

fn now() -> Timestamp {
    Timestamp::now()
}

impl Core {
    /// What a name in a directory stands for.
    pub fn lookup(&mut self, dir: u32, name: &[u8]) -> Result<u32> {
        let slot = self.slot(dir, name)?.ok_or(Errno::ENOENT)?;
        let links = self.file(slot.ino)?.inode.links;
        if links == 0 {
            return Err(damaged("a name stands for a deleted inode"));
        }
        Ok(slot.ino)
    }

    fn slot(&mut self, dir: u32, name: &[u8]) -> Result<Option<Slot>> {
        self.with(dir, |core, d| Ok(core.index(d)?.get(name)))
    }

    fn check_not_frozen(file: &File) -> Result<()> {
        if file.inode.flags & (FLAG_IMMUTABLE | FLAG_APPEND) != 0 {
            return Err(Errno::EPERM.because("chattr made it immutable or append-only"));
        }
        Ok(())
    }

    /// Makes an inode without a name, in memory and marked in the bitmap.
    fn new_inode(&mut self, dir: u32, new: &NewInode<'_>) -> Result<Box<File>> {
        let kind = new.kind.kind();
        let ino = self.allocate_inode(dir, kind == FileKind::Directory)?;
        self.next_generation = self.next_generation.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let mode = (kind.mode_bits() | new.mode & 0o7777) as u16;
        let mut inode = DiskInode::new(&self.sb, mode, new.uid.0, new.gid.0, self.next_generation);
        inode.links = 1;
        let mut file = Box::new(File::new(ino, inode, kind, self.tick));
        let made = match new.kind {
            NewKind::Regular => {
                file.inode.flags |= FLAG_EXTENTS;
                put_leaf(file.inode.block_mut(), &[], ROOT_ENTRIES);
                Ok(())
            }
            NewKind::Directory => {
                file.inode.links = 2;
                self.begin_directory(&mut file, dir)
            }
            NewKind::Symlink(text) => self.write_link(&mut file, text),
            NewKind::CharDevice(number) | NewKind::BlockDevice(number) => {
                file.inode.set_device(number);
                Ok(())
            }
            NewKind::Fifo | NewKind::Socket => Ok(()),
        };
        self.note_inode(&file);
        match made {
            Ok(()) => Ok(file),
            Err(e) => {
                self.delete_inode(&mut file)?;
                Err(e)
            }
        }
    }

    /// Makes an object with a name; returns its number.
    pub fn create(&mut self, dir: u32, name: &[u8], new: &NewInode<'_>) -> Result<u32> {
        if self.slot(dir, name)?.is_some() {
            return Err(Errno::EEXIST.into());
        }
        let parent = self.file(dir)?;
        Self::check_immutable(parent)?;
        if parent.inode.links == 0 {
            return Err(Errno::ENOENT.because("the directory is gone"));
        }
        let directory = new.kind == NewKind::Directory;
        if directory {
            self.check_room_for_link(dir)?;
        }
        let mut file = self.new_inode(dir, new)?;
        let ino = file.ino;
        if let Err(e) = self.with(dir, |core, d| core.add_name(d, name, ino, file.kind)) {
            self.delete_inode(&mut file)?;
            return Err(e);
        }
        if directory {
            self.with(dir, |core, d| {
                core.add_directory_link(d);
                Ok(())
            })?;
        }
        self.put(file);
        Ok(ino)
    }

    fn check_immutable(dir: &File) -> Result<()> {
        if dir.inode.flags & FLAG_IMMUTABLE != 0 {
            return Err(Errno::EPERM.because("chattr made the directory immutable"));
        }
        Ok(())
    }

    /// Makes a regular file without a name (`O_TMPFILE`): an orphan from the start.
    pub fn create_unnamed(&mut self, dir: u32, new: &NewInode<'_>) -> Result<u32> {
        let mut file = self.new_inode(dir, new)?;
        file.inode.links = 0;
        let ino = file.ino;
        self.add_orphan(&mut file);
        self.put(file);
        Ok(ino)
    }

    /// Whether the directory may have one more subdirectory.
    fn check_room_for_link(&mut self, dir: u32) -> Result<()> {
        let nlink_may_overflow = self.sb.ro_compat.contains(RoCompat::DIR_NLINK);
        if self.file(dir)?.inode.links >= LINK_MAX && !nlink_may_overflow {
            return Err(Errno::EMLINK.into());
        }
        Ok(())
    }

    /// A subdirectory came. Beyond the limit the count becomes 1, which means: not counted (`dir_nlink`).
    fn add_directory_link(&mut self, dir: &mut File) {
        let links = &mut dir.inode.links;
        if *links != 1 {
            *links = if *links >= LINK_MAX { 1 } else { *links + 1 };
        }
        self.note_inode(dir);
    }

    fn drop_directory_link(&mut self, dir: &mut File) {
        if dir.inode.links > 2 {
            dir.inode.links -= 1;
        }
        self.note_inode(dir);
    }

    /// Gives an inode another name.
    pub fn link(&mut self, dir: u32, name: &[u8], ino: u32) -> Result<()> {
        Self::check_immutable(self.file(dir)?)?;
        let target = self.file(ino)?;
        Self::check_not_frozen(target)?;
        let kind = target.kind;
        if target.inode.links >= LINK_MAX {
            return Err(Errno::EMLINK.into());
        }
        self.with(dir, |core, d| core.add_name(d, name, ino, kind))?;
        self.with(ino, |core, f| {
            f.inode.links += 1;
            f.inode.ctime = now();
            core.note_inode(f);
            if f.inode.links == 1 {
                core.remove_orphan(f)?;
            }
            Ok(())
        })
    }

    /// Removes the name of something that is no directory.
    pub fn unlink(&mut self, dir: u32, name: &[u8]) -> Result<()> {
        let slot = self.slot(dir, name)?.ok_or(Errno::ENOENT)?;
        let target = self.file(slot.ino)?;
        if target.kind == FileKind::Directory {
            return Err(Errno::EISDIR.into());
        }
        Self::check_not_frozen(target)?;
        Self::check_not_frozen(self.file(dir)?)?;
        self.with(dir, |core, d| core.remove_name(d, name))?;
        self.with(slot.ino, |core, f| {
            core.drop_link(f);
            Ok(())
        })
    }

    fn drop_link(&mut self, file: &mut File) {
        file.inode.links = file.inode.links.saturating_sub(1);
        file.inode.ctime = now();
        self.note_inode(file);
        if file.inode.links == 0 {
            self.add_orphan(file);
        }
    }

    /// Removes an empty directory.
    pub fn rmdir(&mut self, dir: u32, name: &[u8]) -> Result<()> {
        let slot = self.slot(dir, name)?.ok_or(Errno::ENOENT)?;
        self.check_empty(slot.ino)?;
        Self::check_not_frozen(self.file(dir)?)?;
        self.with(dir, |core, d| {
            core.remove_name(d, name)?;
            core.drop_directory_link(d);
            Ok(())
        })?;
        self.bury_directory(slot.ino)
    }

    fn check_empty(&mut self, ino: u32) -> Result<()> {
        self.with(ino, |core, d| {
            Self::check_not_frozen(d)?;
            if core.index(d)?.is_empty() { Ok(()) } else { Err(Errno::ENOTEMPTY.into()) }
        })
    }

    fn bury_directory(&mut self, ino: u32) -> Result<()> {
        self.with(ino, |core, d| {
            d.inode.links = 0;
            d.inode.ctime = now();
            core.add_orphan(d);
            Ok(())
        })
    }

    /// Moves a name; see rename(2).
    pub fn rename(&mut self, dir: u32, name: &[u8], to: u32, new_name: &[u8], mode: RenameMode) -> Result<()> {
        let moved = self.slot(dir, name)?.ok_or(Errno::ENOENT)?;
        let target = self.slot(to, new_name)?;
        match (mode, &target) {
            (RenameMode::NoReplace, Some(_)) => return Err(Errno::EEXIST.into()),
            (RenameMode::Exchange, None) => return Err(Errno::ENOENT.into()),
            _ => {}
        }
        let kind = self.file(moved.ino)?.kind;
        Self::check_not_frozen(self.file(moved.ino)?)?;
        Self::check_not_frozen(self.file(dir)?)?;
        Self::check_immutable(self.file(to)?)?;
        if let (RenameMode::Exchange, Some(other)) = (mode, target) {
            return self.exchange((dir, name, moved.ino), (to, new_name, other.ino));
        }
        if target.is_some_and(|t| t.ino == moved.ino) {
            // Two names of one inode: nothing happens.
            return Ok(());
        }
        let directory = kind == FileKind::Directory;
        match target {
            Some(t) => {
                if directory {
                    self.check_empty(t.ino)?;
                } else {
                    Self::check_not_frozen(self.file(t.ino)?)?;
                }
                self.with(to, |core, d| core.replace_name(d, new_name, moved.ino, kind))?;
                if directory {
                    self.bury_directory(t.ino)?;
                    self.with(to, |core, d| {
                        core.drop_directory_link(d);
                        Ok(())
                    })?;
                } else {
                    self.with(t.ino, |core, f| {
                        core.drop_link(f);
                        Ok(())
                    })?;
                }
            }
            None => {
                if directory && dir != to {
                    self.check_room_for_link(to)?;
                }
                self.with(to, |core, d| core.add_name(d, new_name, moved.ino, kind))?;
            }
        }
        self.with(dir, |core, d| core.remove_name(d, name))?;
        if directory && dir != to {
            self.move_directory(moved.ino, dir, to)?;
        }
        self.with(moved.ino, |core, f| {
            f.inode.ctime = now();
            core.note_inode(f);
            Ok(())
        })
    }

    fn move_directory(&mut self, ino: u32, from: u32, to: u32) -> Result<()> {
        self.with(ino, |core, d| core.set_parent(d, to))?;
        self.with(from, |core, d| {
            core.drop_directory_link(d);
            Ok(())
        })?;
        self.with(to, |core, d| {
            core.add_directory_link(d);
            Ok(())
        })
    }

    fn exchange(&mut self, a: (u32, &[u8], u32), b: (u32, &[u8], u32)) -> Result<()> {
        let (kind_a, kind_b) = (self.file(a.2)?.kind, self.file(b.2)?.kind);
        self.with(a.0, |core, d| core.replace_name(d, a.1, b.2, kind_b))?;
        self.with(b.0, |core, d| core.replace_name(d, b.1, a.2, kind_a))?;
        if a.0 != b.0 {
            if kind_a == FileKind::Directory {
                self.move_directory(a.2, a.0, b.0)?;
            }
            if kind_b == FileKind::Directory {
                self.move_directory(b.2, b.0, a.0)?;
            }
        }
        for ino in [a.2, b.2] {
            self.with(ino, |core, f| {
                f.inode.ctime = now();
                core.note_inode(f);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Puts an inode at the head of the orphan list.
    pub fn add_orphan(&mut self, file: &mut File) {
        if self.orphans.contains(&file.ino) {
            return;
        }
        file.inode.dtime = self.sb.last_orphan;
        self.sb.last_orphan = file.ino;
        self.orphans.push(file.ino);
        self.tx.superblock = true;
        self.note_inode(file);
    }

    /// Takes an inode off the orphan list.
    pub fn remove_orphan(&mut self, file: &mut File) -> Result<()> {
        let Some(at) = self.orphans.iter().rposition(|&o| o == file.ino) else { return Ok(()) };
        let next = file.inode.dtime;
        match self.orphans.get(at + 1).copied() {
            // The one that was added after it points to it.
            Some(later) => self.with(later, |core, f| {
                f.inode.dtime = next;
                core.note_inode(f);
                Ok(())
            })?,
            None => {
                self.sb.last_orphan = next;
                self.tx.superblock = true;
            }
        }
        self.orphans.remove(at);
        file.inode.dtime = 0;
        self.note_inode(file);
        Ok(())
    }

    /// Deletes an orphan if it still has no name.
    pub fn delete_orphan(&mut self, ino: u32) -> Result<()> {
        let mut file = self.take(ino)?;
        if file.inode.links > 0 || !self.orphans.contains(&ino) {
            self.put(file);
            return Ok(());
        }
        if let Err(e) = self.remove_orphan(&mut file) {
            self.put(file);
            return Err(e);
        }
        self.delete_inode(&mut file)
    }

    /// Frees everything that an inode has, and the inode. The caller drops the file.
    fn delete_inode(&mut self, file: &mut File) -> Result<()> {
        self.dirty_data.remove(&file.ino);
        self.tx.ordered.remove(&file.ino);
        self.free_xattr_block(file)?;
        if !file.extents.all().is_empty() || !file.tree.is_empty() {
            let metadata = file.kind != FileKind::Regular;
            for e in file.extents.remove(0, u64::MAX) {
                self.free_blocks(e.physical, e.len.into(), metadata)?;
            }
            for block in core::mem::take(&mut file.tree).into_iter().flatten() {
                self.free_blocks(block, 1, true)?;
            }
        }
        self.free_inode(file, file.kind == FileKind::Directory)
    }

    /// At mount: what the orphan list on disk says. Inodes without links are deleted, others cut to their size.
    pub fn recover_orphans(&mut self) -> Result<()> {
        let mut chain = Vec::new();
        let mut next = self.sb.last_orphan;
        while next != 0 {
            if next > self.sb.inodes || chain.contains(&next) || chain.len() > 1 << 20 {
                return Err(damaged("the orphan list makes no sense"));
            }
            chain.push(next);
            let (block, at) = self.inode_place(next)?;
            let size = self.sb.inode_size;
            next = le32(&self.block(block, super::buffer::Kind::Plain)?[at..at + size], 20);
        }
        let count = chain.len();
        self.orphans = chain.into_iter().rev().collect();
        for ino in self.orphans.clone().into_iter().rev() {
            self.begin()?;
            if self.file(ino)?.inode.links == 0 {
                self.delete_orphan(ino)?;
            } else {
                self.with(ino, |core, f| {
                    if f.kind == FileKind::Regular {
                        core.resize_file(f, f.inode.size)?;
                    }
                    core.remove_orphan(f)
                })?;
            }
        }
        if count > 0 {
            crate::klog!(Info, "ext4 ({}): {count} orphans cleaned up", self.name);
        }
        Ok(())
    }
}
