//! Directories: entries in blocks, and an index of them in memory.
//!
//! A directory is read whole when it is first looked into; from then on its names are found in a hash map, and its blocks
//! are changed where entries come and go. Large directories have a hash tree over their blocks, which is not needed for
//! that but must stay right: it says into which block a new name goes (`hash_tree`).
//!
//! Each name has a number that stays with it however entries move between blocks: it is the position that a reader of the
//! directory goes on from, so that no name is told twice or left out. The index lives as long as somebody has the directory
//! open, and so do the numbers.

use super::buffer::Kind;
use super::bytes::{le16, le32, put16, put32};
use super::disk_inode::FLAG_INDEX;
use super::extent::{Extent, Mapping};
use super::superblock::Incompat;
use super::volume::{Core, File, damaged};
use crate::error::{Errno, Result};
use crate::fs::inode::{DirEntry, DirSink, FileKind, NAME_MAX, Timestamp};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use hashbrown::HashMap;

/// Bytes of the false entry with the checksum, at the end of each block.
const TAIL: usize = 12;
const TAIL_TYPE: u8 = 0xde;
/// Bytes of an entry before its name.
pub(super) const FIXED: usize = 8;
/// Where the table of a hash tree's root begins: behind the dots and `dx_root_info`.
pub(super) const TREE_ENTRIES: usize = 32;
/// The number of the first name; 1 and 2 are the positions behind the dots.
const FIRST_NUMBER: u64 = 2;

/// Where a name stands, and what for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot {
    pub ino: u32,
    pub kind: u8,
    /// Block of the directory, and offset in it.
    block: u32,
    at: u16,
    /// Its place among the names.
    number: u64,
}

/// The names of a directory, without `.` and `..`.
#[derive(Default)]
pub(super) struct Index {
    names: HashMap<Arc<[u8]>, Slot>,
    /// The same by their numbers.
    order: BTreeMap<u64, Arc<[u8]>>,
    /// The longest entry that each block still has room for; 0 for tables of the hash tree.
    room: Vec<u16>,
}

impl Index {
    /// Looks a name up.
    pub fn get(&self, name: &[u8]) -> Option<Slot> {
        self.names.get(name).copied()
    }

    /// Whether there is nothing but `.` and `..`.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// An entry has moved.
    pub fn moved(&mut self, name: &[u8], block: u32, at: u16) {
        if let Some(slot) = self.names.get_mut(name) {
            (slot.block, slot.at) = (block, at);
        }
    }

    /// The longest entry that a block has room for.
    pub fn set_room(&mut self, block: u32, room: u16) {
        if let Some(r) = self.room.get_mut(block as usize) {
            *r = room;
        }
    }

    fn insert(&mut self, name: &[u8], ino: u32, kind: u8, block: u32, at: u16) {
        let number = self.order.last_key_value().map_or(FIRST_NUMBER, |(last, _)| last + 1);
        let name: Arc<[u8]> = name.into();
        self.order.insert(number, name.clone());
        if let Some(old) = self.names.insert(name, Slot { ino, kind, block, at, number }) {
            // A name that stands twice in a damaged directory.
            self.order.remove(&old.number);
        }
    }

    fn remove(&mut self, name: &[u8]) {
        if let Some(slot) = self.names.remove(name) {
            self.order.remove(&slot.number);
        }
    }
}

/// One entry of a block.
#[derive(Clone, Copy)]
pub(super) struct Raw {
    pub at: usize,
    pub len: usize,
    pub ino: u32,
    pub name_len: usize,
    pub kind: u8,
}

/// Bytes that an entry with a name of this length takes.
pub(super) const fn needed(name_len: usize) -> usize {
    (FIXED + name_len + 3) & !3
}

/// The entries of a block up to `end`. An error in the middle ends the walk with an error.
pub(super) fn entries(b: &[u8], end: usize) -> impl Iterator<Item = Result<Raw>> + '_ {
    let mut at = 0;
    core::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let raw = Raw {
            at,
            len: le16(b, at + 4).into(),
            ino: le32(b, at),
            name_len: b.get(at + 6).map_or(0, |&n| n.into()),
            kind: b.get(at + 7).copied().unwrap_or(0),
        };
        let fits = raw.len >= FIXED + 4
            && raw.len.is_multiple_of(4)
            && at + raw.len <= end
            && (raw.ino == 0 || needed(raw.name_len) <= raw.len);
        if !fits {
            at = end;
            return Some(Err(damaged("a directory entry makes no sense")));
        }
        at += raw.len;
        Some(Ok(raw))
    })
}

/// Of a block of the hash tree: where its counts stand, the limit and the count. `None` if it is none.
pub(super) fn tree_counts(b: &[u8]) -> Option<(usize, usize, usize)> {
    let at = if usize::from(le16(b, 4)) == b.len() { 8 } else { TREE_ENTRIES };
    if at == TREE_ENTRIES && (le16(b, 4) != 12 || b.get(29) != Some(&8)) {
        return None;
    }
    Some((at, le16(b, at).into(), le16(b, at + 2).into()))
}

/// The number by which entries tell a file's type.
pub(super) const fn type_number(kind: FileKind) -> u8 {
    match kind {
        FileKind::Regular => 1,
        FileKind::Directory => 2,
        FileKind::CharDevice => 3,
        FileKind::BlockDevice => 4,
        FileKind::Fifo => 5,
        FileKind::Socket => 6,
        FileKind::Symlink => 7,
    }
}

fn kind_of(number: u8) -> Option<FileKind> {
    Some(match number {
        1 => FileKind::Regular,
        2 => FileKind::Directory,
        3 => FileKind::CharDevice,
        4 => FileKind::BlockDevice,
        5 => FileKind::Fifo,
        6 => FileKind::Socket,
        7 => FileKind::Symlink,
        _ => return None,
    })
}

pub(super) fn put_entry(b: &mut [u8], at: usize, len: usize, ino: u32, name: &[u8], kind: u8) {
    put32(b, at, ino);
    put16(b, at + 4, len as u16);
    b[at + 6] = name.len() as u8;
    b[at + 7] = kind;
    b[at + FIXED..at + FIXED + name.len()].copy_from_slice(name);
}

impl Core {
    /// Where entries end in a block.
    pub fn entries_end(&self) -> usize {
        self.sb.block_size - if self.sb.metadata_csum() { TAIL } else { 0 }
    }

    fn put_tail(&self, b: &mut [u8]) {
        if self.sb.metadata_csum() {
            let at = b.len() - TAIL;
            b[at..].fill(0);
            put16(b, at + 4, TAIL as u16);
            b[at + 7] = TAIL_TYPE;
        }
    }

    fn entry_type(&self, kind: FileKind) -> u8 {
        if self.sb.incompat.contains(Incompat::FILETYPE) { type_number(kind) } else { 0 }
    }

    /// Place on disk and kind of a directory's block; reads it.
    pub fn directory_block(&mut self, dir: &File, number: u32) -> Result<(u64, Kind)> {
        let Mapping::Mapped { physical, unwritten: false, .. } = dir.extents.look(number.into()) else {
            return Err(damaged("a directory with a hole"));
        };
        let seed = dir.inode.seed(dir.ino, &self.sb);
        let tree = dir.inode.flags & FLAG_INDEX != 0;
        self.block_as(physical, |b| {
            let node = le32(b, 0) == 0 && usize::from(le16(b, 4)) == b.len();
            if tree && (number == 0 || node) { Kind::HashTree(seed) } else { Kind::Directory(seed) }
        })?;
        let kind = self.cache.cached(physical).map_or(Kind::Directory(seed), |b| b.kind);
        Ok((physical, kind))
    }

    /// The index of a directory; made when it is first asked for.
    pub fn index<'a>(&mut self, dir: &'a mut File) -> Result<&'a mut Index> {
        if dir.kind != FileKind::Directory {
            return Err(Errno::ENOTDIR.into());
        }
        if dir.index.is_none() {
            let index = self.read_directory(dir)?;
            dir.index = Some(index);
        }
        dir.index.as_mut().ok_or_else(|| Errno::EIO.into())
    }

    fn read_directory(&mut self, dir: &File) -> Result<Index> {
        let bs = self.block_size();
        if !dir.has_extents() || !dir.inode.size.is_multiple_of(bs) || dir.inode.size / bs > u64::from(u32::MAX) {
            return Err(damaged("a directory with an impossible size"));
        }
        if dir.inode.size / bs > dir.extents.blocks() {
            return Err(damaged("a directory with a hole"));
        }
        let mut index = Index::default();
        for number in 0..(dir.inode.size / bs) as u32 {
            let (physical, kind) = self.directory_block(dir, number)?;
            let end = if matches!(kind, Kind::HashTree(_)) { self.sb.block_size } else { self.entries_end() };
            let b = self.block(physical, kind)?;
            let mut room = 0;
            for entry in entries(b, end) {
                let e = entry?;
                room = room.max(spare(&e));
                let name = &b[e.at + FIXED..e.at + FIXED + e.name_len.min(e.len - FIXED)];
                if e.ino == 0 || name == b"." || name == b".." {
                    continue;
                }
                if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
                    return Err(damaged("a directory entry with an impossible name"));
                }
                index.insert(name, e.ino, e.kind, number, e.at as u16);
            }
            index.room.push(if matches!(kind, Kind::HashTree(_)) { 0 } else { room as u16 });
        }
        Ok(index)
    }

    /// Lists names from `cookie` on.
    pub fn list_directory(&mut self, dir: &mut File, cookie: u64, sink: DirSink<'_>) -> Result<()> {
        let index = self.index(dir)?;
        for (&number, name) in index.order.range(cookie.max(FIRST_NUMBER)..) {
            let Some(slot) = index.get(name) else { continue };
            if !sink(&DirEntry { name, ino: slot.ino.into(), kind: kind_of(slot.kind), next: number + 1 }) {
                break;
            }
        }
        Ok(())
    }

    /// Adds an empty block to a directory; returns its number.
    pub fn grow(&mut self, dir: &mut File) -> Result<u32> {
        let number = (dir.inode.size / self.block_size()) as u32;
        let goal = dir.extents.goal(number.into()).unwrap_or_else(|| self.home_block(dir.ino));
        let physical = self.allocate_block(goal)?;
        let kind = Kind::Directory(dir.inode.seed(dir.ino, &self.sb));
        self.cache.insert_new(physical, kind);
        let end = self.entries_end();
        let mut b: Box<[u8]> = alloc::vec![0u8; self.sb.block_size].into();
        put16(&mut b, 4, end as u16);
        self.put_tail(&mut b);
        self.block_mut(physical, kind)?.copy_from_slice(&b);
        dir.extents.insert(Extent { logical: number, len: 1, physical, unwritten: false });
        dir.inode.sectors += self.block_size() / 512;
        dir.inode.size += self.block_size();
        if let Err(e) = self.store_extents(dir) {
            // No block for a node of the extent tree: the block goes again, or disk and memory would differ.
            dir.inode.size -= self.block_size();
            self.remove_blocks(dir, number.into(), u64::from(number) + 1)?;
            return Err(e);
        }
        if let Some(index) = &mut dir.index {
            index.room.push(end as u16);
        }
        Ok(number)
    }

    /// Makes the first block of a new directory.
    pub fn begin_directory(&mut self, dir: &mut File, parent: u32) -> Result<()> {
        dir.index = Some(Index::default());
        self.grow(dir)?;
        let (physical, kind) = self.directory_block(dir, 0)?;
        let (end, own, number) = (self.entries_end(), dir.ino, self.entry_type(FileKind::Directory));
        let b = self.block_mut(physical, kind)?;
        put_entry(b, 0, 12, own, b".", number);
        put_entry(b, 12, end - 12, parent, b"..", number);
        if let Some(index) = &mut dir.index {
            index.room[0] = (end - 24) as u16;
        }
        Ok(())
    }

    /// Adds a name. EEXIST if it is there.
    pub fn add_name(&mut self, dir: &mut File, name: &[u8], ino: u32, kind: FileKind) -> Result<()> {
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG.into());
        }
        if self.index(dir)?.names.contains_key(name) {
            return Err(Errno::EEXIST.into());
        }
        if dir.inode.links == 0 {
            return Err(Errno::ENOENT.because("the directory is gone"));
        }
        let type_number = self.entry_type(kind);
        if dir.inode.flags & FLAG_INDEX != 0 {
            self.add_to_tree(dir, name, ino, type_number)?;
        } else {
            self.add_in_order(dir, name, ino, type_number)?;
        }
        self.touch_directory(dir);
        Ok(())
    }

    /// Adds a name to a directory without a tree: into the first block with room, or a new one.
    fn add_in_order(&mut self, dir: &mut File, name: &[u8], ino: u32, kind: u8) -> Result<()> {
        let need = needed(name.len());
        let number = match self.index(dir)?.room.iter().position(|&r| usize::from(r) >= need) {
            Some(n) => n as u32,
            None if self.wants_tree(dir) => {
                self.plant_tree(dir)?;
                return self.add_to_tree(dir, name, ino, kind);
            }
            None => self.grow(dir)?,
        };
        if self.put_in_block(dir, number, name, ino, kind)? {
            Ok(())
        } else {
            Err(damaged("a directory block without the room it had"))
        }
    }

    /// Puts an entry into a block; false if there is no room.
    pub fn put_in_block(&mut self, dir: &mut File, number: u32, name: &[u8], ino: u32, kind: u8) -> Result<bool> {
        let need = needed(name.len());
        let (physical, block_kind) = self.directory_block(dir, number)?;
        let end = self.entries_end();
        let b = self.block(physical, block_kind)?;
        let place = entries(b, end).filter_map(Result::ok).find(|e| spare(e) >= need);
        let Some(e) = place else { return Ok(false) };
        let b = self.block_mut(physical, block_kind)?;
        let at = if e.ino == 0 { e.at } else { e.at + needed(e.name_len) };
        if e.ino != 0 {
            put16(b, e.at + 4, (at - e.at) as u16);
        }
        put_entry(b, at, e.at + e.len - at, ino, name, kind);
        let room = widest(b, end);
        let index = self.index(dir)?;
        index.set_room(number, room);
        index.insert(name, ino, kind, number, at as u16);
        Ok(true)
    }

    fn touch_directory(&mut self, dir: &mut File) {
        let now = Timestamp::now();
        (dir.inode.mtime, dir.inode.ctime) = (now, now);
        self.note_inode(dir);
    }

    /// Removes a name.
    pub fn remove_name(&mut self, dir: &mut File, name: &[u8]) -> Result<()> {
        let slot = self.index(dir)?.get(name).ok_or(Errno::ENOENT)?;
        let (physical, kind) = self.directory_block(dir, slot.block)?;
        let end = self.entries_end();
        let b = self.block_mut(physical, kind)?;
        let mut before: Option<Raw> = None;
        let mut found: Option<Raw> = None;
        for e in entries(b, end).filter_map(Result::ok) {
            if e.at == usize::from(slot.at) {
                found = Some(e);
                break;
            }
            before = Some(e);
        }
        let e = found.filter(|e| e.ino == slot.ino).ok_or(damaged("a directory entry is not where it was"))?;
        match before {
            Some(p) => put16(b, p.at + 4, (p.len + e.len) as u16),
            None => put32(b, e.at, 0),
        }
        let room = widest(b, end);
        let index = self.index(dir)?;
        index.set_room(slot.block, room);
        index.remove(name);
        self.touch_directory(dir);
        Ok(())
    }

    /// Makes a name stand for another inode.
    pub fn replace_name(&mut self, dir: &mut File, name: &[u8], ino: u32, kind: FileKind) -> Result<()> {
        let slot = self.index(dir)?.get(name).ok_or(Errno::ENOENT)?;
        let (physical, block_kind) = self.directory_block(dir, slot.block)?;
        let type_number = self.entry_type(kind);
        let b = self.block_mut(physical, block_kind)?;
        put32(b, slot.at.into(), ino);
        b[usize::from(slot.at) + 7] = type_number;
        if let Some(slot) = self.index(dir)?.names.get_mut(name) {
            (slot.ino, slot.kind) = (ino, type_number);
        }
        self.touch_directory(dir);
        Ok(())
    }

    /// Makes `..` stand for another directory.
    pub fn set_parent(&mut self, dir: &mut File, parent: u32) -> Result<()> {
        let (physical, kind) = self.directory_block(dir, 0)?;
        let b = self.block_mut(physical, kind)?;
        if le16(b, 4) != 12 || b.get(20..22) != Some(b"..") {
            return Err(damaged("a directory without .. in its place"));
        }
        put32(b, 12, parent);
        Ok(())
    }
}

/// The longest entry that fits where `e` stands, beside what it holds.
fn spare(e: &Raw) -> usize {
    if e.ino == 0 { e.len } else { e.len.saturating_sub(needed(e.name_len)) }
}

fn widest(b: &[u8], end: usize) -> u16 {
    entries(b, end).filter_map(Result::ok).map(|e| spare(&e)).max().unwrap_or(0) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_blocks_end_the_walk() {
        let mut b = [0u8; 1024];
        assert!(entries(&b, 1024).any(|e| e.is_err()), "a length of zero");
        put_entry(&mut b, 0, 1024, 5, b"name", 1);
        assert_eq!(entries(&b, 1024).count(), 1);
        put16(&mut b, 4, 1028);
        assert!(entries(&b, 1024).next().unwrap().is_err(), "beyond the end");
        put16(&mut b, 4, 12);
        b[6] = 200;
        assert!(entries(&b, 1024).next().unwrap().is_err(), "a name longer than its entry");
    }
}
