//! Journal recovery: what committed transactions say, after a machine that did not end by unmounting.
//!
//! Three passes over the log as jbd2 defines them: find the end (the first block that is not of the expected
//! transaction, or whose checksum is wrong), collect revocations, collect images. An image whose block was revoked by the
//! same or a later transaction is left out. The images are returned; who may write puts them in place, and who may not
//! reads through them.

use super::bytes::be32;
use super::checksum::crc32c;
use super::journal::{
    COMMIT, DESCRIPTOR, HEADER, INCOMPAT_64BIT, INCOMPAT_CSUM_V2, INCOMPAT_CSUM_V3, INCOMPAT_FAST_COMMIT, Journal,
    MAGIC, REVOKE, TAG_ESCAPED, TAG_LAST, TAG_SAME_UUID,
};
use crate::block::BlockDevice;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// What recovery found.
pub(super) struct Recovered {
    /// Block number and contents, each the latest.
    pub images: BTreeMap<u64, Box<[u8]>>,
    /// Number of the transaction after the last.
    pub next_sequence: u32,
    /// How many transactions were whole.
    pub transactions: u32,
}

/// One entry of a descriptor.
struct Tag {
    block: u64,
    flags: u32,
    checksum: u32,
}

struct Log<'a> {
    journal: &'a Journal,
    device: &'a dyn BlockDevice,
}

impl Log<'_> {
    fn read(&self, index: u32) -> Result<Vec<u8>, &'static str> {
        let mut b = alloc::vec![0u8; self.journal.block_size];
        let block = self.journal.block(index).ok_or("the log runs out of its file")?;
        self.device
            .read_at(&mut b, block * self.journal.block_size as u64)
            .map_err(|_| "the journal cannot be read")?;
        Ok(b)
    }

    /// Whether the checksum at `at` is right, if there are any.
    fn intact(&self, b: &[u8], at: usize) -> bool {
        if !self.journal.has_checksums() {
            return true;
        }
        let crc = crc32c(crc32c(self.journal.seed(), &b[..at]), &[0; 4]);
        crc32c(crc, &b[at + 4..]) == be32(b, at)
    }

    fn tags(&self, b: &[u8]) -> Vec<Tag> {
        let incompat = self.journal.incompat();
        let wide = incompat & INCOMPAT_64BIT != 0;
        let v3 = incompat & INCOMPAT_CSUM_V3 != 0;
        let len = match (v3, wide) {
            (true, _) => 16,
            (false, true) => 12,
            (false, false) => 8,
        } + if incompat & INCOMPAT_CSUM_V2 != 0 { 2 } else { 0 };
        let end = b.len() - if self.journal.has_checksums() { 4 } else { 0 };
        let mut tags = Vec::new();
        let mut at = HEADER;
        while at + len <= end {
            let flags = if v3 { be32(b, at + 4) } else { be32(b, at + 4) & 0xffff };
            let high = if wide { be32(b, at + 8) } else { 0 };
            let checksum = if v3 { be32(b, at + 12) } else { 0 };
            tags.push(Tag { block: u64::from(be32(b, at)) | u64::from(high) << 32, flags, checksum });
            at += len;
            if flags & TAG_SAME_UUID == 0 {
                at += 16;
            }
            if flags & TAG_LAST != 0 {
                break;
            }
        }
        tags
    }

    /// Walks the transactions from the tail to `end` (or to the first that is not whole, which is returned), and shows
    /// each block of the log to `visit`: transaction, kind, contents, and for descriptors the index after it.
    fn walk(
        &self,
        end: Option<u32>,
        mut visit: impl FnMut(u32, u32, &[u8], u32) -> Result<(), &'static str>,
    ) -> Result<u32, &'static str> {
        let mut sequence = self.journal.sequence;
        let mut index = self.journal.start();
        // No log is longer than its ring: a damaged one ends the walk all the same.
        let mut budget = self.journal.capacity() + 1;
        while Some(sequence) != end && budget > 0 {
            if index < self.journal.first || index >= self.journal.last {
                return Err("the journal begins outside its file");
            }
            let b = self.read(index)?;
            if be32(&b, 0) != MAGIC || be32(&b, 8) != sequence {
                break;
            }
            let kind = be32(&b, 4);
            let checksum_at = if kind == COMMIT { 16 } else { b.len() - 4 };
            if !self.intact(&b, checksum_at) {
                break;
            }
            budget -= 1;
            index = self.journal.after(index);
            visit(sequence, kind, &b, index)?;
            match kind {
                DESCRIPTOR => {
                    for _ in self.tags(&b) {
                        index = self.journal.after(index);
                        budget = budget.saturating_sub(1);
                    }
                }
                COMMIT => sequence = sequence.wrapping_add(1),
                REVOKE => {}
                _ => break,
            }
        }
        Ok(sequence)
    }
}

/// Reads what the log has. The error says why the log cannot be used.
pub(super) fn recover(journal: &Journal, device: &dyn BlockDevice, blocks: u64) -> Result<Recovered, &'static str> {
    let log = Log { journal, device };
    if journal.incompat() & INCOMPAT_FAST_COMMIT != 0 {
        return Err("the journal may hold fast commits, which are not replayed here; run e2fsck on the image");
    }
    let end = log.walk(None, |_, _, _, _| Ok(()))?;
    let record = if journal.incompat() & INCOMPAT_64BIT != 0 { 8 } else { 4 };
    let mut revoked: BTreeMap<u64, u32> = BTreeMap::new();
    log.walk(Some(end), |sequence, kind, b, _| {
        if kind == REVOKE {
            let used = (be32(b, HEADER) as usize).min(b.len());
            for r in b[HEADER + 4..used.max(HEADER + 4)].chunks_exact(record) {
                let block =
                    if record == 8 { u64::from(be32(r, 0)) << 32 | u64::from(be32(r, 4)) } else { be32(r, 0).into() };
                revoked.insert(block, sequence);
            }
        }
        Ok(())
    })?;
    let mut images: BTreeMap<u64, Box<[u8]>> = BTreeMap::new();
    let v3 = journal.incompat() & INCOMPAT_CSUM_V3 != 0;
    log.walk(Some(end), |sequence, kind, b, after| {
        if kind != DESCRIPTOR {
            return Ok(());
        }
        let mut index = after;
        for tag in log.tags(b) {
            let mut image = log.read(index)?;
            index = journal.after(index);
            // Transaction numbers wrap; the difference tells which is later.
            let later = |r: &u32| (r.wrapping_sub(sequence) as i32) >= 0;
            if revoked.get(&tag.block).is_some_and(later) {
                continue;
            }
            if tag.block >= blocks {
                return Err("the journal names a block outside the file system; run e2fsck on the image");
            }
            if v3 && crc32c(crc32c(journal.seed(), &sequence.to_be_bytes()), &image) != tag.checksum {
                return Err("a block in the journal has a wrong checksum; run e2fsck on the image");
            }
            if tag.flags & TAG_ESCAPED != 0 {
                image[..4].copy_from_slice(&MAGIC.to_be_bytes());
            }
            images.insert(tag.block, image.into_boxed_slice());
        }
        Ok(())
    })?;
    Ok(Recovered { images, next_sequence: end, transactions: end.wrapping_sub(journal.sequence) })
}
