//! Hash trees: where a name goes in a large directory.
//!
//! A directory of one block that overflows becomes a tree: its first block keeps `.` and `..` and becomes the root, its
//! names move to a leaf. Leaves are ordinary blocks of entries; the tree's own blocks look like blocks with one unused
//! entry, behind which lies a sorted table of (hash, block). A name belongs into the last leaf whose hash is not above its
//! own. A leaf without room is split at the middle of its bytes, after which its upper half lies in a new block at the
//! directory's end; a full table is split likewise, or moves down a level when it is the root's. There are two levels of
//! tables at most (three are the feature `large_dir`), as on Linux: then the directory is full.
//!
//! Names are found through the index in memory (`directory`), so only additions come here: a removal leaves the tree as it
//! is. A table that makes no sense is damage, and an error; nothing is written then.

use super::buffer::Kind;
use super::bytes::{le16, le32, put16, put32};
use super::directory::{FIXED, Raw, TREE_ENTRIES, entries, needed, put_entry, tree_counts};
use super::disk_inode::FLAG_INDEX;
use super::name_hash::HashVersion;
use super::superblock::Compat;
use super::volume::{Core, File, damaged};
use crate::error::{Errno, Result};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Bytes of an entry of a table.
const ENTRY: usize = 8;
/// Bytes of a table's checksum, where there is one.
const TABLE_TAIL: usize = 8;
/// Tables between the directory and a leaf, at most.
const LEVELS: usize = 2;
/// Where the tables of root and nodes begin.
const NODE_ENTRIES: usize = 8;
/// Bytes of `dx_root_info`.
const INFO_LEN: u8 = 8;

/// A table on the way to a leaf.
#[derive(Clone, Copy)]
struct Table {
    /// Block of the file system.
    block: u64,
    kind: Kind,
    /// Where its entries begin.
    start: usize,
    limit: usize,
    count: usize,
    /// The entry that was followed.
    at: usize,
}

/// The way to a leaf.
struct Walk {
    version: HashVersion,
    /// From the root down.
    tables: Vec<Table>,
    /// Block of the directory.
    leaf: u32,
}

/// An entry that is moved between leaves.
struct Moved {
    hash: u32,
    ino: u32,
    kind: u8,
    name: Box<[u8]>,
}

fn hash_at(b: &[u8], table: &Table, entry: usize) -> u32 {
    le32(b, table.start + entry * ENTRY)
}

fn child_at(b: &[u8], table: &Table, entry: usize) -> u32 {
    // The upper bits are reserved for how full the child is.
    le32(b, table.start + entry * ENTRY + 4) & 0x0fff_ffff
}

impl Core {
    fn table_tail(&self) -> usize {
        if self.sb.metadata_csum() { TABLE_TAIL } else { 0 }
    }

    /// Whether a directory that outgrows its only block is to become a tree.
    pub fn wants_tree(&self, dir: &File) -> bool {
        self.sb.compat.contains(Compat::DIR_INDEX)
            && dir.inode.flags & FLAG_INDEX == 0
            && dir.inode.size == self.block_size()
    }

    /// Reads the table in a block of the directory.
    fn table(&mut self, dir: &File, number: u32) -> Result<Table> {
        let (block, kind) = self.directory_block(dir, number)?;
        let start = if number == 0 { TREE_ENTRIES } else { NODE_ENTRIES };
        let wanted = (self.sb.block_size - start - self.table_tail()) / ENTRY;
        let sealed = self.sb.metadata_csum();
        let b = &*self.block(block, kind)?;
        match tree_counts(b) {
            Some((s, limit, count))
                if s == start
                    && limit == wanted
                    && (1..=limit).contains(&count)
                    && (!sealed || matches!(kind, Kind::HashTree(_))) =>
            {
                Ok(Table { block, kind, start, limit, count, at: 0 })
            }
            _ => Err(damaged("a table of a directory's hash tree makes no sense")),
        }
    }

    /// Follows a hash from the root to its leaf.
    fn walk(&mut self, dir: &File, name: &[u8]) -> Result<(Walk, u32)> {
        let blocks = dir.inode.size / self.block_size();
        let root = self.table(dir, 0)?;
        let b = &*self.block(root.block, root.kind)?;
        let (number, info_len, levels, flags) = (b[28], b[29], usize::from(b[30]), b[31]);
        let version = HashVersion::parse(number).filter(|_| info_len == INFO_LEN && levels < LEVELS && flags & 1 == 0);
        let version = version.ok_or(damaged("a hash tree of an unknown kind"))?;
        let hash = self.sb.name_hash.of(version, name);
        let mut walk = Walk { version, tables: Vec::with_capacity(LEVELS), leaf: 0 };
        let mut table = root;
        loop {
            let b = &*self.block(table.block, table.kind)?;
            // The first entry has no hash: everything below the second's belongs to it.
            let (mut low, mut high) = (1, table.count);
            while low < high {
                let middle = (low + high) / 2;
                if hash_at(b, &table, middle) > hash {
                    high = middle;
                } else {
                    low = middle + 1;
                }
            }
            table.at = low - 1;
            let child = child_at(b, &table, table.at);
            if child == 0 || u64::from(child) >= blocks {
                return Err(damaged("a hash tree leads out of its directory"));
            }
            walk.tables.push(table);
            if walk.tables.len() > levels {
                walk.leaf = child;
                return Ok((walk, hash));
            }
            table = self.table(dir, child)?;
        }
    }

    /// Adds a name to a directory with a hash tree. ENOSPC if tree or disk is full.
    pub fn add_to_tree(&mut self, dir: &mut File, name: &[u8], ino: u32, kind: u8) -> Result<()> {
        let (walk, hash) = self.walk(dir, name)?;
        if self.put_in_block(dir, walk.leaf, name, ino, kind)? {
            return Ok(());
        }
        let walk = self.make_room_in_table(dir, walk, name)?;
        let leaf = self.split_leaf(dir, &walk, hash)?;
        if self.put_in_block(dir, leaf, name, ino, kind)? {
            Ok(())
        } else {
            Err(damaged("half a directory block has no room for a name"))
        }
    }

    /// Makes sure that the last table of a walk can take an entry; returns the walk as it is then.
    fn make_room_in_table(&mut self, dir: &mut File, walk: Walk, name: &[u8]) -> Result<Walk> {
        match walk.tables[..] {
            [root] if root.count == root.limit => {
                let entries: Box<[u8]> =
                    self.block(root.block, root.kind)?[root.start..root.start + root.count * ENTRY].into();
                let number = self.new_table(dir, &entries)?;
                let b = self.block_mut(root.block, root.kind)?;
                b[30] = 1;
                put16(b, root.start + 2, 1);
                put32(b, root.start + 4, number);
            }
            [root, node] if node.count == node.limit => {
                if root.count == root.limit {
                    return Err(Errno::ENOSPC.because("the directory's hash tree is full"));
                }
                let half = node.count / 2;
                let b = &*self.block(node.block, node.kind)?;
                let hash = hash_at(b, &node, half);
                let upper: Box<[u8]> = b[node.start + half * ENTRY..node.start + node.count * ENTRY].into();
                let number = self.new_table(dir, &upper)?;
                put16(self.block_mut(node.block, node.kind)?, node.start + 2, half as u16);
                self.insert_entry(&root, hash, number)?;
            }
            _ => return Ok(walk),
        }
        self.walk(dir, name).map(|(walk, _)| walk)
    }

    /// A new block with a table of these entries; returns its number in the directory.
    fn new_table(&mut self, dir: &mut File, entries: &[u8]) -> Result<u32> {
        let number = self.grow(dir)?;
        let (block, kind) = self.directory_block(dir, number)?;
        let limit = (self.sb.block_size - NODE_ENTRIES - self.table_tail()) / ENTRY;
        let b = self.block_mut(block, kind)?;
        let len = b.len();
        b.fill(0);
        put16(b, 4, len as u16);
        b[NODE_ENTRIES..NODE_ENTRIES + entries.len()].copy_from_slice(entries);
        put16(b, NODE_ENTRIES, limit as u16);
        put16(b, NODE_ENTRIES + 2, (entries.len() / ENTRY) as u16);
        self.become_table(dir, number, block);
        Ok(number)
    }

    fn become_table(&mut self, dir: &mut File, number: u32, block: u64) {
        let kind = Kind::HashTree(dir.inode.seed(dir.ino, &self.sb));
        if let Some(buffer) = self.cache.cached(block) {
            buffer.kind = kind;
        }
        if let Some(index) = &mut dir.index {
            index.set_room(number, 0);
        }
    }

    /// Puts an entry behind the one that was followed.
    fn insert_entry(&mut self, table: &Table, hash: u32, number: u32) -> Result<()> {
        let b = self.block_mut(table.block, table.kind)?;
        let from = table.start + (table.at + 1) * ENTRY;
        b.copy_within(from..table.start + table.count * ENTRY, from + ENTRY);
        put32(b, from, hash);
        put32(b, from + 4, number);
        put16(b, table.start + 2, table.count as u16 + 1);
        Ok(())
    }

    /// The live entries of a leaf, in the order of their hashes.
    fn leaf_entries(&mut self, dir: &File, number: u32, version: HashVersion) -> Result<Vec<Moved>> {
        let (block, kind) = self.directory_block(dir, number)?;
        let (end, name_hash) = (self.entries_end(), self.sb.name_hash);
        let b = &*self.block(block, kind)?;
        let mut found = Vec::new();
        for entry in entries(b, end) {
            let e: Raw = entry?;
            let name = &b[e.at + FIXED..e.at + FIXED + e.name_len.min(e.len - FIXED)];
            if e.ino != 0 && name != b"." && name != b".." {
                found.push(Moved { hash: name_hash.of(version, name), ino: e.ino, kind: e.kind, name: name.into() });
            }
        }
        found.sort_by_key(|m| m.hash);
        Ok(found)
    }

    /// Fills a leaf with entries, one behind the other; the last has the room that is left.
    fn fill_leaf(&mut self, dir: &mut File, number: u32, content: &[Moved]) -> Result<()> {
        let (block, kind) = self.directory_block(dir, number)?;
        let end = self.entries_end();
        let b = self.block_mut(block, kind)?;
        b[..end].fill(0);
        put16(b, 4, end as u16);
        let mut at = 0;
        for (i, m) in content.iter().enumerate() {
            let len = if i + 1 == content.len() { end - at } else { needed(m.name.len()) };
            put_entry(b, at, len, m.ino, &m.name, m.kind);
            if let Some(index) = &mut dir.index {
                index.moved(&m.name, number, at as u16);
            }
            at += len;
        }
        Ok(())
    }

    /// Splits the leaf of a walk; returns the half into which a name with `hash` goes.
    fn split_leaf(&mut self, dir: &mut File, walk: &Walk, hash: u32) -> Result<u32> {
        let mut lower = self.leaf_entries(dir, walk.leaf, walk.version)?;
        if lower.len() < 2 {
            return Err(damaged("a directory block with one name has no room for another"));
        }
        // The upper half: as many as fit into half a block, but not all.
        let (mut split, mut bytes) = (lower.len(), 0);
        while split > 1 && bytes + needed(lower[split - 1].name.len()) / 2 <= self.sb.block_size / 2 {
            split -= 1;
            bytes += needed(lower[split].name.len());
        }
        let upper = lower.split_off(split);
        let first = upper[0].hash;
        // Names with one hash on both sides: the bit tells a reader to go on.
        let continued = u32::from(lower[split - 1].hash == first);
        let number = self.grow(dir)?;
        self.fill_leaf(dir, number, &upper)?;
        self.fill_leaf(dir, walk.leaf, &lower)?;
        if let Some(table) = walk.tables.last() {
            self.insert_entry(table, first + continued, number)?;
        }
        Ok(if hash >= first { number } else { walk.leaf })
    }

    /// Makes a tree of a directory of one block: a root, and a leaf with all names.
    pub fn plant_tree(&mut self, dir: &mut File) -> Result<()> {
        let (block, kind) = self.directory_block(dir, 0)?;
        let b = &*self.block(block, kind)?;
        if le16(b, 4) != 12 || b[8] != b'.' || b.get(20..22) != Some(b"..") {
            return Err(damaged("a directory without . and .. in their places"));
        }
        let version = self.sb.name_hash.version;
        let names = self.leaf_entries(dir, 0, version)?;
        let leaf = self.grow(dir)?;
        self.fill_leaf(dir, leaf, &names)?;
        let limit = (self.sb.block_size - TREE_ENTRIES - self.table_tail()) / ENTRY;
        let b = self.block_mut(block, kind)?;
        let len = b.len();
        put16(b, 16, (len - 12) as u16);
        b[24..].fill(0);
        b[28] = version.number();
        b[29] = INFO_LEN;
        put16(b, TREE_ENTRIES, limit as u16);
        put16(b, TREE_ENTRIES + 2, 1);
        put32(b, TREE_ENTRIES + 4, leaf);
        self.become_table(dir, 0, block);
        dir.inode.flags |= FLAG_INDEX;
        self.note_inode(dir);
        Ok(())
    }
}
