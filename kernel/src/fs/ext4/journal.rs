//! The journal (jbd2): a log of block images in a file of the file system.
//!
//! A transaction is written as revoke blocks, then descriptor blocks each followed by the images that it names, then,
//! after a flush, a commit block, and a flush again (the flushes are the caller's, who may let others work meanwhile).
//! Whatever comes after the last whole commit block never happened. The
//! log is a ring; `tail` is the oldest transaction whose images may not be in their places yet. The checkpoint brings
//! them there, and moves the tail.
//!
//! All fields are big-endian. Checksums are of version 3, where the file system has checksums at all.

use super::bytes::{be32, put_be32};
use super::checksum::crc32c;
use super::extent::Extent;
use crate::block::BlockDevice;
use crate::error::{Errno, Result};
use crate::fs::inode::Timestamp;
use alloc::boxed::Box;
use alloc::vec::Vec;

pub(super) const MAGIC: u32 = 0xc03b_3998;
pub(super) const DESCRIPTOR: u32 = 1;
pub(super) const COMMIT: u32 = 2;
const SUPER_V2: u32 = 4;
pub(super) const REVOKE: u32 = 5;

pub(super) const INCOMPAT_REVOKE: u32 = 0x1;
pub(super) const INCOMPAT_64BIT: u32 = 0x2;
pub(super) const INCOMPAT_CSUM_V2: u32 = 0x8;
pub(super) const INCOMPAT_CSUM_V3: u32 = 0x10;
pub(super) const INCOMPAT_FAST_COMMIT: u32 = 0x20;
const INCOMPAT_SERVED: u32 = 0x3b;

pub(super) const TAG_ESCAPED: u32 = 1;
pub(super) const TAG_SAME_UUID: u32 = 2;
pub(super) const TAG_LAST: u32 = 8;

/// Bytes of a block's header: magic, type, transaction.
pub(super) const HEADER: usize = 12;
/// Bytes of the checksum at the end of descriptor and revoke blocks.
const TAIL: usize = 4;
const SUPER_LEN: usize = 1024;
const SUPER_CHECKSUM: usize = 0xfc;
const CRC32C_TYPE: u8 = 4;

/// The log.
pub(super) struct Journal {
    /// Its superblock's whole block.
    pub raw: Box<[u8]>,
    /// Where the log lies.
    map: Vec<Extent>,
    pub block_size: usize,
    /// First block of the ring, and the end.
    pub first: u32,
    pub last: u32,
    /// Where the next transaction goes, and how many blocks of the ring are in use.
    head: u32,
    used: u32,
    /// Number of the next transaction.
    pub sequence: u32,
}

impl Journal {
    /// Reads the journal's superblock. The error says what is wrong.
    pub fn open(device: &dyn BlockDevice, map: Vec<Extent>, block_size: usize) -> Result<Self, &'static str> {
        let mut journal = Journal {
            raw: alloc::vec![0u8; block_size].into_boxed_slice(),
            map,
            block_size,
            first: 0,
            last: 0,
            head: 0,
            used: 0,
            sequence: 0,
        };
        let mut raw = core::mem::take(&mut journal.raw);
        let block = journal.block(0).ok_or("the journal has no blocks")?;
        device.read_at(&mut raw, block * block_size as u64).map_err(|_| "the journal lies outside the image")?;
        let kind = be32(&raw, 4);
        if be32(&raw, 0) != MAGIC || !matches!(kind, 3 | SUPER_V2) {
            return Err("the journal has no superblock");
        }
        if be32(&raw, 12) != block_size as u32 {
            return Err("the journal's block size is another");
        }
        if kind == SUPER_V2 && be32(&raw, 40) & !INCOMPAT_SERVED != 0 {
            return Err("the journal has unknown features");
        }
        if be32(&raw, 40) & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) != 0
            && Self::super_sum(&raw) != be32(&raw, SUPER_CHECKSUM)
        {
            return Err("the checksum of the journal's superblock is wrong");
        }
        journal.first = be32(&raw, 20);
        journal.last = be32(&raw, 16);
        if be32(&raw, 40) & INCOMPAT_FAST_COMMIT != 0 {
            journal.last = journal.last.saturating_sub(be32(&raw, 84));
        }
        let whole = journal.map.iter().map(|e| u64::from(e.len)).sum::<u64>();
        if journal.first == 0 || journal.last < journal.first + 64 || u64::from(journal.last) > whole {
            return Err("the journal's size makes no sense");
        }
        journal.sequence = be32(&raw, 24);
        journal.head = journal.first;
        journal.raw = raw;
        Ok(journal)
    }

    fn super_sum(raw: &[u8]) -> u32 {
        let crc = crc32c(!0, &raw[..SUPER_CHECKSUM]);
        crc32c(crc32c(crc, &[0; 4]), &raw[SUPER_CHECKSUM + 4..SUPER_LEN])
    }

    /// Features that a reader must know.
    pub fn incompat(&self) -> u32 {
        if be32(&self.raw, 4) == SUPER_V2 { be32(&self.raw, 40) } else { 0 }
    }

    /// Whether blocks carry checksums.
    pub fn has_checksums(&self) -> bool {
        self.incompat() & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) != 0
    }

    /// The start of every checksum.
    pub fn seed(&self) -> u32 {
        crc32c(!0, &self.raw[48..64])
    }

    /// Block of the log that recovery begins with; 0 if there is nothing to recover.
    pub fn start(&self) -> u32 {
        be32(&self.raw, 28)
    }

    /// The place on disk of a block of the log.
    pub fn block(&self, index: u32) -> Option<u64> {
        let e = self.map.iter().find(|e| index >= e.logical && index - e.logical < e.len)?;
        Some(e.physical + u64::from(index - e.logical))
    }

    /// The next block of the ring.
    pub fn after(&self, index: u32) -> u32 {
        if index + 1 >= self.last { self.first } else { index + 1 }
    }

    /// How many blocks a transaction may have at most.
    pub fn capacity(&self) -> u32 {
        self.last - self.first - 1
    }

    /// Whether half of the ring waits for the checkpoint.
    pub fn wants_checkpoint(&self) -> bool {
        self.used > self.capacity() / 2
    }

    /// Begins an empty log for writing: transactions are numbered from `sequence` on.
    pub fn start_log(&mut self, device: &dyn BlockDevice, sequence: u32, bit64: bool, checksums: bool) -> Result<()> {
        let mut incompat = self.incompat() & !(INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) | INCOMPAT_REVOKE;
        if bit64 {
            incompat |= INCOMPAT_64BIT;
        }
        if checksums {
            incompat |= INCOMPAT_CSUM_V3;
        }
        put_be32(&mut self.raw, 4, SUPER_V2);
        put_be32(&mut self.raw, 40, incompat);
        self.raw[80] = if checksums { CRC32C_TYPE } else { 0 };
        self.sequence = sequence.max(1);
        self.head = self.first;
        self.used = 0;
        self.write_super(device, self.first)
    }

    /// Writes the superblock: recovery begins at `start` (0: there is nothing to recover) with the next transaction.
    pub fn write_super(&mut self, device: &dyn BlockDevice, start: u32) -> Result<()> {
        put_be32(&mut self.raw, 24, self.sequence);
        put_be32(&mut self.raw, 28, start);
        if self.has_checksums() {
            let sum = Self::super_sum(&self.raw);
            put_be32(&mut self.raw, SUPER_CHECKSUM, sum);
        }
        let block = self.block(0).ok_or(Errno::EIO)?;
        device.write_at(&self.raw, block * self.block_size as u64)
    }

    /// Everything in the log is in its place (and flushed): the ring is empty.
    pub fn checkpointed(&mut self, device: &dyn BlockDevice) -> Result<()> {
        self.used = 0;
        self.write_super(device, self.head)?;
        device.flush()
    }

    fn tag_len(&self) -> usize {
        let incompat = self.incompat();
        match (incompat & INCOMPAT_CSUM_V3 != 0, incompat & INCOMPAT_64BIT != 0) {
            (true, _) => 16,
            (false, true) => 12,
            (false, false) => 8,
        }
    }

    fn tags_per_descriptor(&self) -> usize {
        // One UUID, with the first tag.
        (self.block_size - HEADER - 16 - TAIL) / self.tag_len()
    }

    fn revokes_per_block(&self) -> usize {
        (self.block_size - HEADER - 4 - TAIL) / self.revoke_len()
    }

    fn revoke_len(&self) -> usize {
        if self.incompat() & INCOMPAT_64BIT != 0 { 8 } else { 4 }
    }

    /// Blocks of the log that a transaction of so many images and revocations takes.
    pub fn cost(&self, images: usize, revokes: usize) -> u32 {
        (images + images.div_ceil(self.tags_per_descriptor()) + revokes.div_ceil(self.revokes_per_block()) + 1) as u32
    }

    /// Whether a transaction of that cost has room now.
    pub fn has_room(&self, cost: u32) -> bool {
        self.used + cost <= self.capacity()
    }

    fn header(&self, kind: u32) -> Vec<u8> {
        let mut b = alloc::vec![0u8; self.block_size];
        put_be32(&mut b, 0, MAGIC);
        put_be32(&mut b, 4, kind);
        put_be32(&mut b, 8, self.sequence);
        b
    }

    fn seal(&self, block: &mut [u8], at: usize) {
        if self.has_checksums() {
            put_be32(block, at, 0);
            let sum = crc32c(self.seed(), block);
            put_be32(block, at, sum);
        }
    }

    fn revoke_block(&self, blocks: &[u64]) -> Vec<u8> {
        let mut b = self.header(REVOKE);
        let mut at = HEADER + 4;
        for &block in blocks {
            if self.revoke_len() == 8 {
                put_be32(&mut b, at, (block >> 32) as u32);
                put_be32(&mut b, at + 4, block as u32);
            } else {
                put_be32(&mut b, at, block as u32);
            }
            at += self.revoke_len();
        }
        put_be32(&mut b, HEADER, at as u32);
        let tail = self.block_size - TAIL;
        self.seal(&mut b, tail);
        b
    }

    /// A descriptor and its images, as they go to the log.
    fn descriptor(&self, images: &[(u64, &[u8])], out: &mut Vec<u8>) {
        let v3 = self.incompat() & INCOMPAT_CSUM_V3 != 0;
        let wide = self.incompat() & INCOMPAT_64BIT != 0;
        let start = out.len();
        out.extend(self.header(DESCRIPTOR));
        let mut at = HEADER;
        for (i, &(block, image)) in images.iter().enumerate() {
            let image_at = out.len();
            out.extend_from_slice(image);
            let mut flags = if i > 0 { TAG_SAME_UUID } else { 0 };
            if i + 1 == images.len() {
                flags |= TAG_LAST;
            }
            if be32(image, 0) == MAGIC {
                // An image that looks like a block of the log goes without its first word.
                flags |= TAG_ESCAPED;
                out[image_at..image_at + 4].fill(0);
            }
            let sum = crc32c(crc32c(self.seed(), &self.sequence.to_be_bytes()), &out[image_at..]);
            let d = &mut out[start..];
            put_be32(d, at, block as u32);
            if v3 {
                put_be32(d, at + 4, flags);
                put_be32(d, at + 8, (block >> 32) as u32);
                put_be32(d, at + 12, sum);
            } else {
                put_be32(d, at + 4, flags);
                if wide {
                    put_be32(d, at + 8, (block >> 32) as u32);
                }
            }
            at += self.tag_len();
            if i == 0 {
                // The UUID: zeros, as nobody else writes to an internal journal.
                at += 16;
            }
        }
        let tail = self.block_size - TAIL;
        self.seal(&mut out[start..start + self.block_size], tail);
    }

    /// Writes consecutive blocks of the log.
    fn write(&mut self, device: &dyn BlockDevice, bytes: &[u8]) -> Result<()> {
        let bs = self.block_size;
        let mut done = 0;
        while done < bytes.len() {
            let first = self.block(self.head).ok_or(Errno::EIO)?;
            let mut count = 0usize;
            while done + count * bs < bytes.len() {
                if self.block(self.head) != Some(first + count as u64) {
                    break;
                }
                count += 1;
                self.head = self.after(self.head);
                if self.head == self.first {
                    break;
                }
            }
            device.write_at(&bytes[done..done + count * bs], first * bs as u64)?;
            done += count * bs;
        }
        self.used += (bytes.len() / bs) as u32;
        Ok(())
    }

    /// Writes the images of a transaction. The caller has seen that there is room, and flushes before the commit block.
    pub fn write_images(&mut self, device: &dyn BlockDevice, images: &[(u64, &[u8])], revoked: &[u64]) -> Result<()> {
        let mut log = Vec::new();
        for chunk in revoked.chunks(self.revokes_per_block()) {
            log.extend(self.revoke_block(chunk));
        }
        for chunk in images.chunks(self.tags_per_descriptor()) {
            self.descriptor(chunk, &mut log);
            if log.len() >= 1 << 20 {
                self.write(device, &log)?;
                log.clear();
            }
        }
        self.write(device, &log)
    }

    /// Writes the commit block behind the images. Once it is flushed, a crash does not undo the transaction.
    pub fn write_commit_block(&mut self, device: &dyn BlockDevice) -> Result<()> {
        let mut end = self.header(COMMIT);
        let now = Timestamp::now();
        put_be32(&mut end, 48, (now.seconds >> 32) as u32);
        put_be32(&mut end, 52, now.seconds as u32);
        put_be32(&mut end, 56, now.nanos);
        self.seal(&mut end, 16);
        self.write(device, &end)?;
        self.sequence = self.sequence.wrapping_add(1);
        Ok(())
    }
}
