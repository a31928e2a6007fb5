//! Extent trees on disk, read into a file's list and written from it; and where a file's blocks come from and go.

use super::buffer::Kind;
use super::disk_inode::FLAG_EXTENTS;
use super::extent::{ENTRY, Extent, ExtentList, HEADER, Mapping, Node, ROOT_ENTRIES, parse_node, put_index, put_leaf};
use super::volume::{Core, File, damaged};
use crate::error::{Errno, Result};
use alloc::vec::Vec;

/// The most tree blocks of one file: far more than any image needs that we can hold in memory.
const NODES_MAX: usize = 1 << 20;
/// Most blocks that are allocated in one step.
const RUN_MAX: u64 = 32767;
/// Blocks that data leaves free, so that punching a hole or removing a name finds one for a node that splits.
const KEPT_FOR_NODES: u64 = 32;

impl Core {
    /// Reads the tree of a file that was just loaded.
    pub fn read_extents(&mut self, file: &mut File) -> Result<()> {
        let seed = file.inode.seed(file.ino, &self.sb);
        let root = parse_node(file.inode.block(), None).ok_or(damaged("the root of an extent tree makes no sense"))?;
        let mut list: Vec<Extent> = Vec::new();
        let mut levels: Vec<Vec<u64>> = Vec::new();
        let mut nodes = match root {
            Node::Leaf(extents) => {
                list = extents;
                Vec::new()
            }
            Node::Index(blocks, depth) => blocks.into_iter().map(|b| (b, depth)).collect(),
        };
        while !nodes.is_empty() {
            levels.insert(0, nodes.iter().map(|n: &(u64, u16)| n.0).collect());
            let mut below = Vec::new();
            for (block, depth) in nodes {
                if self.in_system_zone(block, 1) || levels.iter().map(Vec::len).sum::<usize>() > NODES_MAX {
                    return Err(damaged("an extent tree uses blocks of the file system's own"));
                }
                match parse_node(self.block(block, Kind::Extents(seed))?, Some(depth)) {
                    Some(Node::Leaf(extents)) => list.extend(extents),
                    Some(Node::Index(blocks, next)) => below.extend(blocks.into_iter().map(|b| (b, next))),
                    None => return Err(damaged("a node of an extent tree makes no sense")),
                }
            }
            nodes = below;
        }
        for e in &list {
            if !self.sb.holds(e.physical, e.len.into()) || self.in_system_zone(e.physical, e.len.into()) {
                return Err(damaged("a file's blocks lie outside, or are the file system's own"));
            }
        }
        file.extents = ExtentList::from_sorted(list).ok_or(damaged("a file's extents overlap"))?;
        file.tree = levels;
        Ok(())
    }

    /// Brings the tree on disk up to date with the list. ENOSPC if there is no block for a node.
    pub fn store_extents(&mut self, file: &mut File) -> Result<()> {
        if file.extents.clean > file.extents.all().len() {
            file.extents.clean = file.extents.all().len();
        }
        file.inode.flags |= FLAG_EXTENTS;
        self.note_inode(file);
        let count = file.extents.all().len();
        if count <= ROOT_ENTRIES {
            put_leaf(file.inode.block_mut(), file.extents.all(), ROOT_ENTRIES);
            for level in core::mem::take(&mut file.tree) {
                self.free_nodes(file, level)?;
            }
            file.extents.clean = count;
            return Ok(());
        }
        // With checksums, a node ends with one.
        let tail = if self.sb.metadata_csum() { 4 } else { 0 };
        let max = (self.sb.block_size - HEADER - tail) / ENTRY;
        let mut sizes = Vec::from([count.div_ceil(max)]);
        while let Some(&last) = sizes.last()
            && last > ROOT_ENTRIES
        {
            sizes.push(last.div_ceil(max));
        }
        self.resize_levels(file, &sizes)?;
        let seed = file.inode.seed(file.ino, &self.sb);
        let kind = Kind::Extents(seed);
        for (i, extents) in file.extents.all().chunks(max).enumerate() {
            // What lies before the first change is on disk as it is here, unless the levels moved; then clean is 0.
            if (i + 1) * max <= file.extents.clean {
                continue;
            }
            put_leaf(self.block_mut(file.tree[0][i], kind)?, extents, max);
        }
        let mut below: Vec<(u32, u64)> =
            file.extents.all().chunks(max).zip(&file.tree[0]).map(|(c, &b)| (c[0].logical, b)).collect();
        for level in 1..sizes.len() {
            let mut next = Vec::new();
            for (entries, &block) in below.chunks(max).zip(&file.tree[level]) {
                put_index(self.block_mut(block, kind)?, entries, max, level as u16);
                next.push((entries[0].0, block));
            }
            below = next;
        }
        put_index(file.inode.block_mut(), &below, ROOT_ENTRIES, sizes.len() as u16);
        file.extents.clean = count;
        Ok(())
    }

    /// Gives each level its number of nodes.
    fn resize_levels(&mut self, file: &mut File, sizes: &[usize]) -> Result<()> {
        while file.tree.len() > sizes.len() {
            let level = file.tree.pop().unwrap_or_default();
            self.free_nodes(file, level)?;
        }
        file.tree.resize_with(sizes.len(), Vec::new);
        let per_block = self.block_size() / 512;
        let seed = file.inode.seed(file.ino, &self.sb);
        for (level, &size) in sizes.iter().enumerate() {
            if file.tree[level].len() > size {
                let surplus = file.tree[level].split_off(size);
                self.free_nodes(file, surplus)?;
            }
            while file.tree[level].len() < size {
                let goal = file.extents.all().first().map_or(0, |e| e.physical);
                let block = self.allocate_block(goal)?;
                self.cache.insert_new(block, Kind::Extents(seed));
                file.tree[level].push(block);
                file.inode.sectors += per_block;
            }
        }
        Ok(())
    }

    fn free_nodes(&mut self, file: &mut File, nodes: Vec<u64>) -> Result<()> {
        for block in nodes {
            self.free_blocks(block, 1, true)?;
            file.inode.sectors = file.inode.sectors.saturating_sub(self.block_size() / 512);
        }
        Ok(())
    }

    /// Makes sure that the blocks `from..to` of a file are there: written ones, or reserved ones that read as zeros.
    /// Returns up to which block that is so: fewer than asked for if space ran out, ENOSPC if that is none.
    pub fn ensure_blocks(&mut self, file: &mut File, from: u64, to: u64, unwritten: bool) -> Result<u64> {
        if to > u64::from(u32::MAX) {
            return Err(Errno::EFBIG.into());
        }
        let mut at = from;
        let mut added: Vec<(u64, u64)> = Vec::new();
        let mut result = Ok(());
        while at < to {
            match file.extents.look(at) {
                Mapping::Mapped { run, .. } => at += run.min(to - at),
                Mapping::Hole { run } => {
                    let want = run.min(to - at).min(RUN_MAX) as u32;
                    let goal = file.extents.goal(at).unwrap_or_else(|| self.home_block(file.ino));
                    let kept = KEPT_FOR_NODES.min(self.sb.blocks / 64);
                    let room = self.sb.free_blocks.saturating_sub(kept);
                    if room == 0 {
                        result = Err(Errno::ENOSPC.into());
                        break;
                    }
                    match self.allocate_blocks(goal, want.min(room.min(RUN_MAX) as u32)) {
                        Ok((physical, len)) => {
                            file.extents.insert(Extent { logical: at as u32, len, physical, unwritten });
                            file.inode.sectors += u64::from(len) * (self.block_size() / 512);
                            added.push((at, at + u64::from(len)));
                            at += u64::from(len);
                        }
                        Err(e) => {
                            result = Err(e);
                            break;
                        }
                    }
                }
            }
        }
        let converted = !unwritten && file.extents.mark_written(from, at);
        if converted || !added.is_empty() {
            self.tx.ordered.insert(file.ino);
            if let Err(e) = self.store_extents(file) {
                // No block for a node of the tree: what was added must go again, or disk and memory would differ.
                for (from, to) in added {
                    self.remove_blocks(file, from, to)?;
                }
                return Err(e);
            }
        }
        match result {
            Err(e) if at == from => Err(e),
            _ => Ok(at),
        }
    }

    /// Takes the blocks `from..to` away from a file and frees them.
    pub fn remove_blocks(&mut self, file: &mut File, from: u64, to: u64) -> Result<()> {
        let gone = file.extents.remove(from, to);
        if gone.is_empty() {
            return Ok(());
        }
        let metadata = file.kind == crate::fs::inode::FileKind::Directory;
        for e in gone {
            self.free_blocks(e.physical, e.len.into(), metadata)?;
            file.inode.sectors = file.inode.sectors.saturating_sub(u64::from(e.len) * (self.block_size() / 512));
        }
        self.store_extents(file)
    }
}
