//! The state of a mounted file system, and its transactions.
//!
//! One lock guards all of it ([`crate::sync::Rank::Inode`]): an operation of the VFS takes it, calls [`Core::begin`], makes
//! its changes in memory, and lets go. The changes of all operations since the last commit are one transaction; a commit
//! happens between operations only, so no operation is ever half in the journal. In memory are: blocks of metadata
//! (`buffer`), group descriptors, inodes with their extents and pages (`File`). A commit
//!
//! 1. writes the data of files that got new blocks (ordered mode: no file ever shows another's old blocks),
//! 2. brings inodes, descriptors, superblock and checksums into their blocks,
//! 3. writes those blocks to the journal, between two flushes (`journal`).
//!
//! The flushes take the host milliseconds. A commit is therefore *in flight* while they run: its blocks are images, what
//! it freed is kept apart, and operations go on in the next transaction. [`Core::advance`] takes it a stage further when a
//! flush has ended; the next commit, and the checkpoint, wait for its end.
//!
//! Blocks that the transaction freed are not used again before it has committed. Without a journal, step 3 writes blocks in
//! their places, and a crash is e2fsck's business.
//!
//! An operation takes a [`File`] out of the table while it works on it and puts it back: nothing else can reach that
//! inode meanwhile, and allocation may borrow the rest.

use super::buffer::{Buffers, Kind};
use super::bytes::{le16, le32, put32};
use super::checksum::crc32c;
use super::directory::Index;
use super::disk_inode::{DiskInode, FLAG_EXTENTS};
use super::extent::ExtentList;
use super::group::Group;
use super::journal::Journal;
use super::node::Node;
use super::superblock::{Incompat, STATE_ERROR, STATE_VALID, Superblock};
use crate::block::{BlockDevice, Flush, Waits};
use crate::error::{Errno, Error, Result};
use crate::fs::inode::{FileKind, Timestamp};
use crate::fs::page_cache::FilePages;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use hashbrown::HashMap;

/// The inode of the top directory.
pub(super) const ROOT_INODE: u32 = 2;

/// Most blocks that a transaction changes before it is committed.
const TRANSACTION_MAX: usize = 8192;
/// Inodes that are kept though nobody uses them.
const INODES_KEPT: usize = 16384;
/// Blocks that must be free without those of the running transaction's frees, or it is committed first.
const LOW_BLOCKS: u64 = 1024;

/// Damage of the image.
pub(super) const fn damaged(reason: &'static str) -> Error {
    Errno::EUCLEAN.because(reason)
}

/// An inode in memory.
pub(super) struct File {
    pub ino: u32,
    pub inode: DiskInode,
    pub kind: FileKind,
    /// Of a file with extents; symbolic links and devices have an empty list.
    pub extents: ExtentList,
    /// Blocks of the extent tree: leaves, then the levels above.
    pub tree: Vec<Vec<u64>>,
    pub pages: FilePages,
    /// Of a directory that was looked into.
    pub index: Option<Index>,
    /// When pages were used last, in ticks of the volume.
    pub used: u64,
}

impl File {
    /// A file of which nothing but its inode is in memory; `used` is the volume's tick.
    pub(super) fn new(ino: u32, inode: DiskInode, kind: FileKind, used: u64) -> Self {
        let (extents, pages) = (ExtentList::default(), FilePages::default());
        File { ino, inode, kind, extents, tree: Vec::new(), pages, index: None, used }
    }

    /// Whether its blocks are found through extents.
    pub fn has_extents(&self) -> bool {
        self.inode.flags & FLAG_EXTENTS != 0
    }
}

/// Up to where a commit is on its way to the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The images are being flushed; the commit block comes next.
    Images,
    /// The last flush runs.
    End,
}

/// A commit that has been written, but is not durable yet.
pub(super) struct InFlight {
    stage: Stage,
    /// What it waits for.
    flush: Option<Arc<Flush>>,
    /// What it freed, which must not be used again before it is durable.
    pub freed: BTreeMap<u64, u64>,
}

/// What the running transaction has done, beyond dirty blocks.
#[derive(Default)]
pub(super) struct Transaction {
    /// Freed runs, by start.
    pub freed: BTreeMap<u64, u64>,
    /// Freed blocks of metadata.
    pub revoked: BTreeSet<u64>,
    /// Inodes that differ from their place in the table.
    pub inodes: BTreeSet<u32>,
    /// Files with blocks that must hold their data before the commit.
    pub ordered: BTreeSet<u32>,
    pub superblock: bool,
}

/// How the volume may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    ReadOnly,
    Writable,
    /// An error stopped all writing.
    Failed,
    /// Unmounted.
    Closed,
}

/// The state under the lock.
pub(super) struct Core {
    pub name: String,
    pub device: Arc<dyn BlockDevice>,
    pub sb: Superblock,
    pub groups: Vec<Group>,
    pub cache: Buffers,
    pub journal: Option<Journal>,
    pub files: HashMap<u32, Box<File>>,
    pub nodes: HashMap<u32, Weak<Node>>,
    pub tx: Transaction,
    pub in_flight: Option<InFlight>,
    /// Who waits for flushes that begin now.
    pub waits: Waits,
    /// How many commits are durable.
    pub commits: u64,
    /// Files with dirty pages.
    pub dirty_data: BTreeSet<u32>,
    pub mode: Mode,
    /// Inodes that are to be deleted when their last user goes; the last is the head of the list on disk.
    pub orphans: Vec<u32>,
    /// Blocks of descriptors, bitmaps and inode tables, as sorted ranges: no file's.
    pub system: Vec<(u64, u64)>,
    pub tick: u64,
    pub next_generation: u32,
}

impl Core {
    /// In bytes.
    pub fn block_size(&self) -> u64 {
        self.sb.block_size as u64
    }

    /// Whether changes are possible now.
    pub fn check_writable(&self) -> Result<()> {
        match self.mode {
            Mode::Writable => Ok(()),
            Mode::ReadOnly => Err(Errno::EROFS.into()),
            Mode::Failed => Err(Errno::EROFS.because("an error stopped all writing; see dmesg")),
            Mode::Closed => Err(Errno::EIO.because("the file system is unmounted")),
        }
    }

    /// Something on disk is not as it must be, or the host refuses a write: nothing is written any more.
    pub fn fail(&mut self, e: Error) {
        if self.mode == Mode::Writable {
            crate::klog!(Error, "ext4 ({}): {e}; no more writing", self.name);
            self.mode = Mode::Failed;
        }
    }

    /// Begins an operation that changes something: commits first if the transaction is large, or space is short that
    /// it would set free.
    pub fn begin(&mut self) -> Result<()> {
        self.check_writable()?;
        let limit = self.journal.as_ref().map_or(TRANSACTION_MAX, |j| (j.capacity() as usize / 4).min(TRANSACTION_MAX));
        if self.in_flight.is_some() {
            self.advance()?;
        }
        let flying = self.in_flight.iter().flat_map(|c| &c.freed);
        let freed: u64 = self.tx.freed.iter().chain(flying).map(|(a, b)| b - a).sum();
        let short = freed > 0 && self.sb.free_blocks.saturating_sub(freed) < LOW_BLOCKS;
        let size = self.cache.dirty_count() + self.tx.inodes.len() / 8 + self.tx.revoked.len() / 128;
        if short || size > 2 * limit {
            self.commit()?;
        } else if size > limit && self.in_flight.is_none() {
            // It ends while others work; nobody waits for it.
            self.begin_commit()?;
            self.advance()?;
        }
        Ok(())
    }

    /// A block of metadata, from the cache or the disk; `kind` says what it should be once its bytes are known.
    pub fn block_as(&mut self, block: u64, kind: impl FnOnce(&[u8]) -> Kind) -> Result<&mut [u8]> {
        if !self.cache.holds(block) {
            if !self.sb.holds(block, 1) && block != u64::from(self.sb.first_data_block) {
                return Err(damaged("a block number lies outside the file system"));
            }
            let data = self.cache.read(block)?;
            let kind = kind(&data);
            if self.sb.metadata_csum() && !self.intact(&data, kind) {
                crate::klog!(Error, "ext4 ({}): block {block} ({kind:?}) has a wrong checksum", self.name);
                return Err(damaged("a block's checksum is wrong"));
            }
            self.cache.insert(block, data, kind);
        }
        match self.cache.cached(block) {
            Some(b) => Ok(&mut b.data),
            None => Err(Errno::EIO.into()),
        }
    }

    /// A block of metadata of a known kind.
    pub fn block(&mut self, block: u64, kind: Kind) -> Result<&mut [u8]> {
        self.block_as(block, |_| kind)
    }

    /// The same, to be changed: part of the transaction from now on.
    pub fn block_mut(&mut self, block: u64, kind: Kind) -> Result<&mut [u8]> {
        self.block(block, kind)?;
        self.cache.mark_dirty(block);
        match self.cache.cached(block) {
            Some(b) => Ok(&mut b.data),
            None => Err(Errno::EIO.into()),
        }
    }

    /// The checksum of a block, and where it is stored in it; bitmaps have theirs in the group descriptor.
    fn checksum(&self, b: &[u8], kind: Kind) -> Option<(u32, Option<usize>)> {
        let len = b.len();
        Some(match kind {
            Kind::Plain => return None,
            Kind::BlockBitmap(_) => (crc32c(self.sb.seed, &b[..self.sb.blocks_per_group as usize / 8]), None),
            Kind::InodeBitmap(_) => (crc32c(self.sb.seed, &b[..self.sb.inodes_per_group as usize / 8]), None),
            Kind::Directory(seed) => (crc32c(seed, &b[..len - 12]), Some(len - 4)),
            Kind::Extents(seed) => {
                let at = super::extent::HEADER + usize::from(le16(b, 4)) * super::extent::ENTRY;
                if at + 4 > len {
                    return Some((0, Some(len)));
                }
                (crc32c(seed, &b[..at]), Some(at))
            }
            Kind::HashTree(seed) => {
                let Some((counts, limit, count)) = super::directory::tree_counts(b) else {
                    return Some((0, Some(len)));
                };
                let tail = counts + limit * 8;
                if count > limit || tail + 8 > len {
                    return Some((0, Some(len)));
                }
                let crc = crc32c(seed, &b[..counts + count * 8]);
                (crc32c(crc32c(crc, &b[tail..tail + 4]), &[0; 4]), Some(tail + 4))
            }
            Kind::Xattrs => return None,
        })
    }

    fn intact(&self, b: &[u8], kind: Kind) -> bool {
        let wide = self.sb.descriptor_size >= 64;
        let same = |sum: u32, stored: u32| if wide { sum == stored } else { sum as u16 == stored as u16 };
        match (kind, self.checksum(b, kind)) {
            (_, None) => true,
            (_, Some((sum, Some(at)))) => at + 4 <= b.len() && sum == le32(b, at),
            (Kind::BlockBitmap(g), Some((sum, None))) => same(sum, self.groups[g as usize].block_bitmap_csum),
            (Kind::InodeBitmap(g), Some((sum, None))) => same(sum, self.groups[g as usize].inode_bitmap_csum),
            _ => true,
        }
    }

    /// Brings the checksums of all dirty blocks up to date.
    fn seal_blocks(&mut self) {
        if !self.sb.metadata_csum() {
            return;
        }
        for block in self.cache.dirty_blocks() {
            let Some(kind) = self.cache.cached(block).map(|b| b.kind) else { continue };
            let data = match self.cache.cached(block) {
                Some(b) => core::mem::take(&mut b.data),
                None => continue,
            };
            let sum = match kind {
                Kind::Xattrs => Some((super::xattr::block_checksum(&data, block, self.sb.seed), Some(16))),
                _ => self.checksum(&data, kind),
            };
            let mut data = data;
            match (kind, sum) {
                (_, Some((sum, Some(at)))) => put32(&mut data, at, sum),
                (Kind::BlockBitmap(g), Some((sum, None))) => {
                    let group = &mut self.groups[g as usize];
                    (group.block_bitmap_csum, group.dirty) = (sum, true);
                }
                (Kind::InodeBitmap(g), Some((sum, None))) => {
                    let group = &mut self.groups[g as usize];
                    (group.inode_bitmap_csum, group.dirty) = (sum, true);
                }
                _ => {}
            }
            if let Some(b) = self.cache.cached(block) {
                b.data = data;
            }
        }
    }

    /// Block and offset of an inode's record.
    pub fn inode_place(&self, ino: u32) -> Result<(u64, usize)> {
        let index = ino.checked_sub(1).filter(|_| ino <= self.sb.inodes).ok_or(damaged("no such inode number"))?;
        let group = &self.groups[(index / self.sb.inodes_per_group) as usize];
        let at = u64::from(index % self.sb.inodes_per_group) * self.sb.inode_size as u64;
        Ok((group.inode_table + at / self.block_size(), (at % self.block_size()) as usize))
    }

    /// Takes a file out of the table to work on it; reads it if it is not there.
    pub fn take(&mut self, ino: u32) -> Result<Box<File>> {
        if let Some(file) = self.files.remove(&ino) {
            return Ok(file);
        }
        self.load(ino)
    }

    /// Puts a file back.
    pub fn put(&mut self, file: Box<File>) {
        self.files.insert(file.ino, file);
    }

    /// Works on a file: takes it out, and puts it back whatever happens.
    pub fn with<T>(&mut self, ino: u32, work: impl FnOnce(&mut Core, &mut File) -> Result<T>) -> Result<T> {
        let mut file = self.take(ino)?;
        let result = work(self, &mut file);
        self.put(file);
        result
    }

    /// An inode to look at.
    pub fn file(&mut self, ino: u32) -> Result<&File> {
        if !self.files.contains_key(&ino) {
            let file = self.load(ino)?;
            self.files.insert(ino, file);
        }
        self.files.get(&ino).map(|f| &**f).ok_or_else(|| Errno::EIO.into())
    }

    fn load(&mut self, ino: u32) -> Result<Box<File>> {
        if self.mode == Mode::Closed {
            return Err(Errno::EIO.because("the file system is unmounted"));
        }
        let (block, at) = self.inode_place(ino)?;
        let size = self.sb.inode_size;
        let raw: Box<[u8]> = self.block(block, Kind::Plain)?[at..at + size].into();
        if !DiskInode::intact(&raw, ino, &self.sb) {
            crate::klog!(Error, "ext4 ({}): inode {ino} has a wrong checksum", self.name);
            return Err(damaged("an inode's checksum is wrong"));
        }
        let inode = DiskInode::parse(&raw, &self.sb);
        let kind = FileKind::from_mode(inode.mode.into()).ok_or(damaged("an inode of no known type"))?;
        self.load_parsed(ino, inode, kind)
    }

    /// An inode in memory, from its record: reads the extent tree.
    pub fn load_parsed(&mut self, ino: u32, inode: DiskInode, kind: FileKind) -> Result<Box<File>> {
        if inode.size > i64::MAX as u64 {
            return Err(damaged("an inode with an impossible size"));
        }
        let mut file = Box::new(File::new(ino, inode, kind, self.tick));
        let stored = matches!(kind, FileKind::Regular | FileKind::Directory)
            || kind == FileKind::Symlink && file.inode.size >= 60;
        if stored && file.has_extents() {
            self.read_extents(&mut file)?;
        } else if stored && file.inode.size > 0 {
            return Err(
                Errno::EOPNOTSUPP.because("a file with ext3's block map; convert it with e4defrag or chattr +e")
            );
        }
        Ok(file)
    }

    /// The file's inode was changed.
    pub fn note_inode(&mut self, file: &File) {
        self.tx.inodes.insert(file.ino);
    }

    /// Brings the changed inodes to their blocks of the table.
    fn store_inodes(&mut self) -> Result<()> {
        for ino in core::mem::take(&mut self.tx.inodes) {
            let (block, at) = self.inode_place(ino)?;
            let Some(file) = self.files.get_mut(&ino) else { continue };
            let raw: Box<[u8]> = file.inode.encode(ino, &self.sb).into();
            self.block_mut(block, Kind::Plain)?[at..at + raw.len()].copy_from_slice(&raw);
        }
        Ok(())
    }

    fn store_groups(&mut self) -> Result<()> {
        let size = self.sb.descriptor_size;
        let per_block = self.sb.block_size / size;
        for number in 0..self.groups.len() {
            if !core::mem::take(&mut self.groups[number].dirty) {
                continue;
            }
            let raw: Box<[u8]> = self.groups[number].encode(number as u32, &self.sb).into();
            let block = u64::from(self.sb.first_data_block) + 1 + (number / per_block) as u64;
            let at = number % per_block * size;
            self.block_mut(block, Kind::Plain)?[at..at + size].copy_from_slice(&raw);
        }
        Ok(())
    }

    fn store_superblock(&mut self) -> Result<()> {
        let (block, at) = self.sb.place();
        let seconds = Timestamp::now().seconds as u32;
        let raw: Box<[u8]> = self.sb.encode(seconds).into();
        self.block_mut(block, Kind::Plain)?[at..at + raw.len()].copy_from_slice(&raw);
        Ok(())
    }

    /// Writes the superblock in its place at once, outside any transaction: the flags of mounting and unmounting.
    pub fn write_superblock_now(&mut self) -> Result<()> {
        let seconds = Timestamp::now().seconds as u32;
        let raw: Box<[u8]> = self.sb.encode(seconds).into();
        let (block, at) = self.sb.place();
        if let Some(b) = self.cache.cached(block) {
            b.data[at..at + raw.len()].copy_from_slice(&raw);
        }
        self.device.write_at(&raw, super::superblock::OFFSET)
    }

    /// Whether the running transaction has anything in it.
    pub fn has_changes(&self) -> bool {
        self.cache.dirty_count() > 0
            || !self.tx.inodes.is_empty()
            || !self.tx.revoked.is_empty()
            || !self.tx.freed.is_empty()
            || self.tx.superblock
            || self.groups.iter().any(|g| g.dirty)
    }

    /// Commits the running transaction, and waits for it with the whole machine. After an error nothing is written any more.
    pub fn commit(&mut self) -> Result<()> {
        self.finish_commit()?;
        self.begin_commit()?;
        self.finish_commit()
    }

    /// Begins to commit the running transaction; none may be in flight.
    pub fn begin_commit(&mut self) -> Result<()> {
        if self.mode != Mode::Writable {
            return Ok(());
        }
        let result = self.try_commit();
        if let Err(e) = result {
            self.fail(e);
        }
        result
    }

    /// Takes the commit in flight as far as it goes; what it waits for then, or nothing if none is in flight any more.
    pub fn advance(&mut self) -> Result<Option<Arc<Flush>>> {
        let result = self.try_advance();
        if let Err(e) = result {
            self.fail(e);
        }
        result
    }

    fn try_advance(&mut self) -> Result<Option<Arc<Flush>>> {
        while let Some(mut commit) = self.in_flight.take() {
            if let Some(flush) = commit.flush.clone() {
                match flush.result() {
                    Some(result) => result?,
                    None => {
                        self.in_flight = Some(commit);
                        return Ok(Some(flush));
                    }
                }
            }
            match (commit.stage, &mut self.journal) {
                (Stage::Images, Some(journal)) => {
                    journal.write_commit_block(&*self.device)?;
                    commit.stage = Stage::End;
                    commit.flush = self.device.begin_flush(self.waits)?;
                    self.in_flight = Some(commit);
                }
                _ => self.commits += 1,
            }
        }
        Ok(None)
    }

    /// Waits for the commit in flight with the whole machine.
    pub fn finish_commit(&mut self) -> Result<()> {
        while let Some(flush) = self.advance()? {
            // How it ended is seen by the next look.
            let _ = flush.finish();
        }
        Ok(())
    }

    fn try_commit(&mut self) -> Result<()> {
        for ino in core::mem::take(&mut self.tx.ordered) {
            if self.files.contains_key(&ino) {
                self.with(ino, |core, file| core.write_back(file))?;
            }
        }
        if !self.has_changes() {
            return Ok(());
        }
        self.store_inodes()?;
        self.seal_blocks();
        self.store_groups()?;
        self.store_superblock()?;
        let revoked: Vec<u64> = core::mem::take(&mut self.tx.revoked).into_iter().collect();
        let stage = match self.journal.take() {
            Some(mut journal) => {
                let result = self.log(&mut journal, &revoked);
                self.journal = Some(journal);
                result?;
                Stage::Images
            }
            None => {
                self.cache.committed();
                self.cache.write_checkpoint()?;
                Stage::End
            }
        };
        let freed = core::mem::take(&mut self.tx.freed);
        self.tx.superblock = false;
        self.in_flight = Some(InFlight { stage, flush: self.device.begin_flush(self.waits)?, freed });
        Ok(())
    }

    fn log(&mut self, journal: &mut Journal, revoked: &[u64]) -> Result<()> {
        let dirty = self.cache.dirty_blocks();
        let cost = journal.cost(dirty.len(), revoked.len());
        if !journal.has_room(cost) || journal.wants_checkpoint() || self.cache.checkpoint_count() > TRANSACTION_MAX {
            self.cache.write_checkpoint()?;
            self.device.flush()?;
            journal.checkpointed(&*self.device)?;
        }
        if !journal.has_room(cost) {
            return Err(Errno::EIO.because("a transaction is larger than the journal"));
        }
        let images: Vec<(u64, Box<[u8]>)> =
            dirty.iter().filter_map(|&block| self.cache.cached(block).map(|b| (block, b.data.clone()))).collect();
        let images: Vec<(u64, &[u8])> = images.iter().map(|(block, data)| (*block, &**data)).collect();
        journal.write_images(&*self.device, &images, revoked)?;
        self.cache.committed();
        for &block in revoked {
            self.cache.revoke(block);
        }
        Ok(())
    }

    /// Writes all dirty data and begins a commit, or a flush where there is nothing to commit.
    pub fn begin_sync(&mut self) -> Result<Option<Arc<Flush>>> {
        for ino in core::mem::take(&mut self.dirty_data) {
            if self.files.contains_key(&ino) {
                self.with(ino, |core, file| core.write_back(file))?;
            }
        }
        if self.has_changes() || !self.tx.ordered.is_empty() {
            self.begin_commit().map(|()| None)
        } else {
            self.device.begin_flush(self.waits)
        }
    }

    /// Ends the mount: everything is in its place, the journal is empty, the superblock says so.
    pub fn close(&mut self) -> Result<()> {
        if self.mode == Mode::Writable {
            let doomed = self.orphans.clone();
            for ino in doomed {
                self.begin()?;
                self.delete_orphan(ino)?;
            }
            self.finish_commit()?;
            if let Some(flush) = self.begin_sync()? {
                flush.finish()?;
            }
            self.finish_commit()?;
            self.cache.write_checkpoint()?;
            self.device.flush()?;
            if let Some(mut journal) = self.journal.take() {
                journal.write_super(&*self.device, 0)?;
                self.sb.incompat.remove(Incompat::RECOVER);
            }
            if self.sb.state & STATE_ERROR == 0 {
                self.sb.state |= STATE_VALID;
            }
            self.write_superblock_now()?;
            self.device.flush()?;
        }
        self.mode = Mode::Closed;
        Ok(())
    }

    /// Keeps memory within bounds: drops pages of files that were not used lately, and inodes that nobody uses.
    pub fn shrink(&mut self) {
        if crate::fs::page_cache::over_limit() > 0 {
            self.shrink_pages();
        }
        if self.files.len() > INODES_KEPT * 2 {
            let (nodes, tx, data) = (&self.nodes, &self.tx, &self.dirty_data);
            let mut excess = self.files.len() - INODES_KEPT;
            let used = |ino: &u32| nodes.get(ino).is_some_and(|n| n.strong_count() > 0);
            self.files.retain(|ino, f| {
                let keep = excess == 0
                    || used(ino)
                    || tx.inodes.contains(ino)
                    || tx.ordered.contains(ino)
                    || data.contains(ino)
                    || f.pages.is_dirty();
                if !keep {
                    excess -= 1;
                }
                keep
            });
            self.nodes.retain(|_, n| n.strong_count() > 0);
        }
    }

    fn shrink_pages(&mut self) {
        let mut by_age: Vec<(u64, u32)> = self
            .files
            .values()
            .filter(|f| f.pages.count() > 0 || f.pages.is_mapped())
            .map(|f| (f.used, f.ino))
            .collect();
        by_age.sort_unstable();
        // A tenth below the limit, so that this does not run for each page.
        let slack = crate::fs::page_cache::limit() / 10;
        for (_, ino) in by_age {
            let over = crate::fs::page_cache::over_limit() + slack;
            if let Some(file) = self.files.get_mut(&ino) {
                let dropped = file.pages.drop_clean(over as usize) as u64;
                if dropped >= over {
                    return;
                }
            }
        }
    }

    /// The node that the VFS knows an inode by.
    pub fn known_node(&self, ino: u32) -> Option<Arc<Node>> {
        self.nodes.get(&ino)?.upgrade()
    }
}
