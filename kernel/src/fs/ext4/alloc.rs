//! Allocation of blocks and inodes from the groups' bitmaps.
//!
//! Blocks go near a goal: behind the file's last block, or into the group of its inode. A group gives a run as long as
//! wanted if it has one; if no group does, the first free run anywhere serves. What a transaction freed is not
//! given out before it is durable. Inodes go into their directory's group, then into the next with room.

use super::buffer::Kind;
use super::disk_inode::DiskInode;
use super::group::{BLOCK_UNINIT, INODE_UNINIT, bit, first_clear, initial_block_bitmap, set_bits};
use super::volume::{Core, File, damaged};
use crate::error::{Errno, Result};
use crate::fs::inode::Timestamp;
use alloc::collections::BTreeMap;

/// A run at least this long is good enough for a larger wish.
const GOOD_RUN: u32 = 256;

impl Core {
    /// The group of a block, and its number in it.
    fn group_of(&self, block: u64) -> (u32, u32) {
        let index = block - u64::from(self.sb.first_data_block);
        let per = u64::from(self.sb.blocks_per_group);
        ((index / per) as u32, (index % per) as u32)
    }

    /// The block bitmap of a group; made now if mke2fs left it uninitialised.
    fn block_bitmap(&mut self, group: u32) -> Result<u64> {
        let block = self.groups[group as usize].block_bitmap;
        if self.groups[group as usize].flags & BLOCK_UNINIT != 0 {
            let mut bitmap = alloc::vec![0u8; self.sb.block_size];
            initial_block_bitmap(&self.sb, &self.groups, group, &mut bitmap);
            self.cache.insert_new(block, Kind::BlockBitmap(group));
            self.block_mut(block, Kind::BlockBitmap(group))?.copy_from_slice(&bitmap);
            let g = &mut self.groups[group as usize];
            g.flags &= !BLOCK_UNINIT;
            g.dirty = true;
        } else {
            self.block(block, Kind::BlockBitmap(group))?;
        }
        Ok(block)
    }

    /// What was freed and is not free yet: by the running transaction, and by the one in flight.
    fn freed(&self) -> impl Iterator<Item = &BTreeMap<u64, u64>> {
        core::iter::once(&self.tx.freed).chain(self.in_flight.iter().map(|c| &c.freed))
    }

    /// The end of the freed run that holds `block`, if it is in one.
    fn freed_until(&self, block: u64) -> Option<u64> {
        self.freed()
            .filter_map(|freed| freed.range(..=block).next_back())
            .find(|(_, end)| **end > block)
            .map(|(_, end)| *end)
    }

    /// The first free run in `from..to` of a group: start and length, at most `want`.
    fn run_in(&mut self, group: u32, from: u32, to: u32, want: u32) -> Result<Option<(u32, u32)>> {
        let bitmap_block = self.block_bitmap(group)?;
        let start = self.sb.group_start(group);
        let mut at = from;
        loop {
            let bitmap = &*self.block(bitmap_block, Kind::BlockBitmap(group))?;
            let Some(first) = first_clear(bitmap, at, to) else { return Ok(None) };
            let mut len = 1;
            while len < want && first + len < to && !bit(bitmap, first + len) {
                len += 1;
            }
            let block = start + u64::from(first);
            if let Some(end) = self.freed_until(block) {
                at = (end - start).min(to.into()) as u32;
                continue;
            }
            let next =
                self.freed().filter_map(|freed| freed.range(block..block + u64::from(len)).next()).map(|(&at, _)| at);
            if let Some(next) = next.min() {
                len = (next - block) as u32;
            }
            return Ok(Some((first, len)));
        }
    }

    /// Looks through a group for a run of `want` blocks, or the first of at least `least`.
    fn best_in(&mut self, group: u32, from: u32, want: u32, least: u32) -> Result<Option<(u32, u32)>> {
        let len = self.sb.group_len(group);
        for (mut at, to) in [(from, len), (0, from)] {
            while at < to {
                match self.run_in(group, at, to, want)? {
                    Some((first, n)) if n >= least => return Ok(Some((first, n))),
                    Some((first, n)) => at = first + n,
                    None => break,
                }
            }
        }
        Ok(None)
    }

    /// Takes up to `want` blocks in one run, near `goal`. ENOSPC if there is none.
    pub fn allocate_blocks(&mut self, goal: u64, want: u32) -> Result<(u64, u32)> {
        let goal = if self.sb.holds(goal, 1) { goal } else { u64::from(self.sb.first_data_block) + 1 };
        let (home, home_bit) = self.group_of(goal);
        let groups = self.sb.groups;
        for least in [want.min(GOOD_RUN), 1] {
            for step in 0..groups {
                let group = (home + step) % groups;
                if self.groups[group as usize].free_blocks < least {
                    continue;
                }
                let from = if step == 0 { home_bit } else { 0 };
                if let Some((first, len)) = self.best_in(group, from, want, least)? {
                    return self.claim(group, first, len);
                }
            }
            if least == 1 {
                break;
            }
        }
        Err(Errno::ENOSPC.into())
    }

    fn claim(&mut self, group: u32, first: u32, len: u32) -> Result<(u64, u32)> {
        let bitmap_block = self.groups[group as usize].block_bitmap;
        set_bits(self.block_mut(bitmap_block, Kind::BlockBitmap(group))?, first, len, true);
        let start = self.sb.group_start(group) + u64::from(first);
        if self.in_system_zone(start, len.into()) {
            self.fail(damaged("a bitmap calls blocks of the file system's own free"));
            return Err(damaged("a bitmap calls blocks of the file system's own free"));
        }
        let g = &mut self.groups[group as usize];
        g.free_blocks = g.free_blocks.saturating_sub(len);
        g.dirty = true;
        self.sb.free_blocks = self.sb.free_blocks.saturating_sub(len.into());
        Ok((start, len))
    }

    /// Takes one block for metadata.
    pub fn allocate_block(&mut self, goal: u64) -> Result<u64> {
        self.allocate_blocks(goal, 1).map(|(block, _)| block)
    }

    /// Gives blocks back. Blocks of `metadata` leave the cache, and the journal's older images of them are revoked.
    pub fn free_blocks(&mut self, start: u64, count: u64, metadata: bool) -> Result<()> {
        if !self.sb.holds(start, count) || self.in_system_zone(start, count) {
            let e = damaged("blocks that are to be freed are not a file's");
            self.fail(e);
            return Err(e);
        }
        if metadata {
            for block in start..start + count {
                self.cache.forget(block);
                if self.journal.is_some() {
                    self.tx.revoked.insert(block);
                }
            }
        }
        let (mut at, end) = (start, start + count);
        while at < end {
            let (group, first) = self.group_of(at);
            let n = (end - at).min((self.sb.group_len(group) - first).into()) as u32;
            let bitmap_block = self.block_bitmap(group)?;
            let bitmap = self.block_mut(bitmap_block, Kind::BlockBitmap(group))?;
            if (first..first + n).any(|i| !bit(bitmap, i)) {
                let e = damaged("a block is freed that is free");
                self.fail(e);
                return Err(e);
            }
            set_bits(bitmap, first, n, false);
            let g = &mut self.groups[group as usize];
            g.free_blocks += n;
            g.dirty = true;
            self.sb.free_blocks += u64::from(n);
            at += u64::from(n);
        }
        self.note_freed(start, end);
        Ok(())
    }

    fn note_freed(&mut self, mut start: u64, mut end: u64) {
        if let Some((&a, &b)) = self.tx.freed.range(..=start).next_back()
            && b >= start
        {
            (start, end) = (a, end.max(b));
        }
        while let Some((&a, &b)) = self.tx.freed.range(start..=end).next() {
            end = end.max(b);
            self.tx.freed.remove(&a);
        }
        self.tx.freed.insert(start, end);
    }

    /// Whether blocks overlap descriptors, bitmaps or inode tables.
    pub fn in_system_zone(&self, start: u64, count: u64) -> bool {
        let at = self.system.partition_point(|&(_, end)| end <= start);
        self.system.get(at).is_some_and(|&(from, _)| from < start + count)
    }

    /// The inode bitmap of a group; made now if it is uninitialised.
    fn inode_bitmap(&mut self, group: u32) -> Result<u64> {
        let block = self.groups[group as usize].inode_bitmap;
        if self.groups[group as usize].flags & INODE_UNINIT != 0 {
            // As Linux does: a group whose inodes are used has its block bitmap on disk, too.
            self.block_bitmap(group)?;
            self.cache.insert_new(block, Kind::InodeBitmap(group));
            let (used, bits) = (self.sb.inodes_per_group, self.sb.block_size as u32 * 8);
            set_bits(self.block_mut(block, Kind::InodeBitmap(group))?, used, bits - used, true);
            let g = &mut self.groups[group as usize];
            g.flags &= !INODE_UNINIT;
            g.itable_unused = self.sb.inodes_per_group;
            g.dirty = true;
        } else {
            self.block(block, Kind::InodeBitmap(group))?;
        }
        Ok(block)
    }

    /// Takes an inode near the directory `parent`. ENOSPC if there is none.
    pub fn allocate_inode(&mut self, parent: u32, directory: bool) -> Result<u32> {
        let groups = self.sb.groups;
        let home = (parent - 1) / self.sb.inodes_per_group;
        for step in 0..groups {
            let group = (home + step) % groups;
            let g = &self.groups[group as usize];
            // The last try takes any inode; before, a group without blocks is no good place.
            if g.free_inodes == 0 || (g.free_blocks == 0 && step + 1 < groups && groups > 1) {
                continue;
            }
            let bitmap_block = self.inode_bitmap(group)?;
            let per_group = self.sb.inodes_per_group;
            let from = if group == 0 { self.sb.first_inode - 1 } else { 0 };
            let bitmap = self.block_mut(bitmap_block, Kind::InodeBitmap(group))?;
            let Some(index) = first_clear(bitmap, from, per_group) else { continue };
            set_bits(bitmap, index, 1, true);
            let g = &mut self.groups[group as usize];
            g.free_inodes = g.free_inodes.saturating_sub(1);
            g.used_dirs += u32::from(directory);
            g.itable_unused = g.itable_unused.min(per_group - index - 1);
            g.dirty = true;
            self.sb.free_inodes = self.sb.free_inodes.saturating_sub(1);
            return Ok(group * per_group + index + 1);
        }
        Err(Errno::ENOSPC.because("no free inodes"))
    }

    /// Gives an inode back: its record says when, and its bit is cleared.
    pub fn free_inode(&mut self, file: &mut File, directory: bool) -> Result<()> {
        let per_group = self.sb.inodes_per_group;
        let (group, index) = ((file.ino - 1) / per_group, (file.ino - 1) % per_group);
        if file.ino < self.sb.first_inode {
            return Err(damaged("a reserved inode is deleted"));
        }
        let bitmap_block = self.inode_bitmap(group)?;
        set_bits(self.block_mut(bitmap_block, Kind::InodeBitmap(group))?, index, 1, false);
        let g = &mut self.groups[group as usize];
        g.free_inodes += 1;
        g.used_dirs = g.used_dirs.saturating_sub(u32::from(directory));
        g.dirty = true;
        self.sb.free_inodes += 1;
        // The record is cleared but for what tells a checker that it was deleted.
        let (ino, generation) = (file.ino, file.inode.generation);
        let mut empty = DiskInode::new(&self.sb, 0, 0, 0, generation);
        empty.dtime = Timestamp::now().seconds as u32;
        file.inode = empty;
        let (block, at) = self.inode_place(ino)?;
        let raw: alloc::boxed::Box<[u8]> = file.inode.encode(ino, &self.sb).into();
        self.block_mut(block, Kind::Plain)?[at..at + raw.len()].copy_from_slice(&raw);
        self.tx.inodes.remove(&ino);
        Ok(())
    }

    /// Where the first block of a new file goes: the group of its inode.
    pub fn home_block(&self, ino: u32) -> u64 {
        self.sb.group_start((ino - 1) / self.sb.inodes_per_group)
    }
}
