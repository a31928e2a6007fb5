//! The metadata cache: blocks of bitmaps, inode tables, directories, extent trees and attributes.
//!
//! A block that is changed becomes dirty and part of the running transaction. When the transaction commits, its images go
//! to the journal and to the *checkpoint* list; from there they reach their places on disk later. Until then the
//! checkpoint list, not the disk, has the block's contents, and a clean block may leave the cache at any time.

use crate::block::BlockDevice;
use crate::error::{Errno, Result};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use hashbrown::HashMap;

/// How many blocks are kept that could be read again.
const KEPT: usize = 8192;

/// What a block is, which decides its checksum. A seed covers the number and generation of the inode that owns it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Superblock, descriptors, inode tables, symbolic links: no checksum over the block as such.
    Plain,
    /// Of a group.
    BlockBitmap(u32),
    /// Of a group.
    InodeBitmap(u32),
    /// A directory's entries.
    Directory(u32),
    /// The root or a node of a directory's hash tree.
    HashTree(u32),
    /// A node of an extent tree.
    Extents(u32),
    /// Extended attributes.
    Xattrs,
}

/// A cached block.
pub(super) struct Buffer {
    pub data: Box<[u8]>,
    pub kind: Kind,
    dirty: bool,
    used: bool,
}

/// The cache of one file system.
pub(super) struct Buffers {
    device: Arc<dyn BlockDevice>,
    block_size: usize,
    map: HashMap<u64, Buffer>,
    dirty: BTreeSet<u64>,
    checkpoint: BTreeMap<u64, Box<[u8]>>,
}

impl Buffers {
    pub fn new(device: Arc<dyn BlockDevice>, block_size: usize) -> Self {
        let (map, dirty, checkpoint) = (HashMap::new(), BTreeSet::new(), BTreeMap::new());
        Buffers { device, block_size, map, dirty, checkpoint }
    }

    /// The block, if it is in the cache.
    pub fn cached(&mut self, block: u64) -> Option<&mut Buffer> {
        let buffer = self.map.get_mut(&block)?;
        buffer.used = true;
        Some(buffer)
    }

    /// Whether the block is in the cache.
    pub fn holds(&self, block: u64) -> bool {
        self.map.contains_key(&block)
    }

    /// Reads a block that is not in the cache, without a look at its checksum.
    pub fn read(&self, block: u64) -> Result<Box<[u8]>> {
        if let Some(image) = self.checkpoint.get(&block) {
            return Ok(image.clone());
        }
        let mut data = alloc::vec![0u8; self.block_size].into_boxed_slice();
        let at = block.checked_mul(self.block_size as u64).ok_or(Errno::EIO)?;
        self.device.read_at(&mut data, at)?;
        Ok(data)
    }

    /// Enters a block that was read and checked.
    pub fn insert(&mut self, block: u64, data: Box<[u8]>, kind: Kind) {
        if self.map.len() >= KEPT + self.dirty.len() {
            self.evict();
        }
        self.map.insert(block, Buffer { data, kind, dirty: false, used: true });
    }

    /// Enters a block whose old contents do not matter: zeros, dirty.
    pub fn insert_new(&mut self, block: u64, kind: Kind) {
        self.insert(block, alloc::vec![0u8; self.block_size].into_boxed_slice(), kind);
        self.mark_dirty(block);
    }

    /// Makes a cached block part of the running transaction.
    pub fn mark_dirty(&mut self, block: u64) {
        if let Some(b) = self.map.get_mut(&block)
            && !b.dirty
        {
            b.dirty = true;
            self.dirty.insert(block);
        }
    }

    /// Forgets a block that was freed.
    pub fn forget(&mut self, block: u64) {
        self.map.remove(&block);
        self.dirty.remove(&block);
    }

    /// How many blocks the running transaction has changed.
    pub fn dirty_count(&self) -> usize {
        self.dirty.len()
    }

    /// The numbers of the dirty blocks, ascending.
    pub fn dirty_blocks(&self) -> alloc::vec::Vec<u64> {
        self.dirty.iter().copied().collect()
    }

    /// The dirty blocks have reached the journal: they are clean, and their images wait for the checkpoint.
    pub fn committed(&mut self) {
        for block in core::mem::take(&mut self.dirty) {
            if let Some(b) = self.map.get_mut(&block) {
                b.dirty = false;
                self.checkpoint.insert(block, b.data.clone());
            }
        }
    }

    /// A block's image whose transaction the journal has, but whose place on disk may be stale.
    pub fn add_checkpoint(&mut self, block: u64, image: Box<[u8]>) {
        self.checkpoint.insert(block, image);
    }

    /// A block was freed by a transaction that has committed: its old image must not reach the disk any more.
    pub fn revoke(&mut self, block: u64) {
        self.checkpoint.remove(&block);
    }

    /// How many images wait for the checkpoint.
    pub fn checkpoint_count(&self) -> usize {
        self.checkpoint.len()
    }

    /// Brings the waiting images to their places. The caller flushes before it lets go of the journal's copies.
    pub fn write_checkpoint(&mut self) -> Result<()> {
        let mut run: alloc::vec::Vec<u8> = alloc::vec::Vec::new();
        let mut start = 0u64;
        let bs = self.block_size as u64;
        for (&block, image) in &self.checkpoint {
            if !run.is_empty() && (block * bs != start + run.len() as u64 || run.len() >= 1 << 20) {
                self.device.write_at(&run, start)?;
                run.clear();
            }
            if run.is_empty() {
                start = block * bs;
            }
            run.extend_from_slice(image);
        }
        if !run.is_empty() {
            self.device.write_at(&run, start)?;
        }
        self.checkpoint.clear();
        Ok(())
    }

    /// Drops clean blocks that were not used since the last time.
    fn evict(&mut self) {
        self.map.retain(|_, b| b.dirty || core::mem::take(&mut b.used));
        if self.map.len() >= KEPT + self.dirty.len() {
            self.map.retain(|_, b| b.dirty);
        }
    }
}
