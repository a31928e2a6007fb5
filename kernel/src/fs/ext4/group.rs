//! Block groups: the descriptors in memory, and the bitmaps of groups that mke2fs left uninitialised.

use super::bytes::{le16, le32, put16};
use super::checksum::{crc16, crc32c};
use super::superblock::{RoCompat, Superblock};
use alloc::boxed::Box;

/// `bg_flags`: the inode bitmap was never written.
pub(super) const INODE_UNINIT: u16 = 1;
/// `bg_flags`: the block bitmap was never written.
pub(super) const BLOCK_UNINIT: u16 = 2;

/// A group descriptor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Group {
    raw: Box<[u8]>,
    pub block_bitmap: u64,
    pub inode_bitmap: u64,
    pub inode_table: u64,
    pub free_blocks: u32,
    pub free_inodes: u32,
    pub used_dirs: u32,
    pub flags: u16,
    /// Inodes at the table's end that were never used.
    pub itable_unused: u32,
    pub block_bitmap_csum: u32,
    pub inode_bitmap_csum: u32,
    /// Its block of the descriptor table must be written.
    pub dirty: bool,
}

impl Group {
    /// Parses a descriptor of 32 or 64 bytes.
    pub fn parse(b: &[u8]) -> Self {
        let wide = b.len() >= 64;
        let block =
            |low: usize, high: usize| u64::from(le32(b, low)) | if wide { u64::from(le32(b, high)) << 32 } else { 0 };
        let count =
            |low: usize, high: usize| u32::from(le16(b, low)) | if wide { u32::from(le16(b, high)) << 16 } else { 0 };
        Group {
            block_bitmap: block(0, 32),
            inode_bitmap: block(4, 36),
            inode_table: block(8, 40),
            free_blocks: count(12, 44),
            free_inodes: count(14, 46),
            used_dirs: count(16, 48),
            flags: le16(b, 18),
            itable_unused: count(28, 50),
            block_bitmap_csum: count(24, 56),
            inode_bitmap_csum: count(26, 58),
            raw: b.into(),
            dirty: false,
        }
    }

    /// The bytes as they are to be on disk, with their checksum.
    pub fn encode(&mut self, number: u32, sb: &Superblock) -> &[u8] {
        let wide = self.raw.len() >= 64;
        let raw = &mut self.raw;
        let mut count = |low: usize, high: usize, value: u32| {
            put16(raw, low, value as u16);
            if wide {
                put16(raw, high, (value >> 16) as u16);
            }
        };
        count(12, 44, self.free_blocks);
        count(14, 46, self.free_inodes);
        count(16, 48, self.used_dirs);
        count(28, 50, self.itable_unused);
        count(24, 56, self.block_bitmap_csum);
        count(26, 58, self.inode_bitmap_csum);
        put16(raw, 18, self.flags);
        let sum = Self::checksum(raw, number, sb);
        put16(raw, 30, sum);
        &self.raw
    }

    fn checksum(raw: &[u8], number: u32, sb: &Superblock) -> u16 {
        let number = number.to_le_bytes();
        if sb.metadata_csum() {
            let crc = crc32c(crc32c(sb.seed, &number), &raw[..30]);
            return crc32c(crc32c(crc, &[0, 0]), &raw[32..]) as u16;
        }
        if sb.ro_compat.contains(RoCompat::GDT_CSUM) {
            return crc16(crc16(crc16(crc16(!0, sb.uuid()), &number), &raw[..30]), &raw[32..]);
        }
        0
    }

    /// Whether what was read has the right checksum, and its blocks lie inside the file system.
    pub fn check(&self, number: u32, sb: &Superblock) -> Result<(), &'static str> {
        if sb.descriptor_csum() && Self::checksum(&self.raw, number, sb) != le16(&self.raw, 30) {
            return Err("a group descriptor's checksum is wrong");
        }
        let table = (u64::from(sb.inodes_per_group) * sb.inode_size as u64).div_ceil(sb.block_size as u64);
        let inside =
            sb.holds(self.block_bitmap, 1) && sb.holds(self.inode_bitmap, 1) && sb.holds(self.inode_table, table);
        let counts = self.free_blocks <= sb.group_len(number)
            && self.free_inodes <= sb.inodes_per_group
            && self.itable_unused <= sb.inodes_per_group;
        if inside && counts { Ok(()) } else { Err("a group descriptor makes no sense") }
    }
}

/// Whether a bit is set.
pub(super) fn bit(bitmap: &[u8], index: u32) -> bool {
    bitmap.get((index / 8) as usize).is_none_or(|b| b >> (index % 8) & 1 == 1)
}

/// Sets or clears `count` bits.
pub(super) fn set_bits(bitmap: &mut [u8], from: u32, count: u32, on: bool) {
    for index in from..from.saturating_add(count) {
        if let Some(b) = bitmap.get_mut((index / 8) as usize) {
            let mask = 1 << (index % 8);
            if on { *b |= mask } else { *b &= !mask }
        }
    }
}

/// The first clear bit in `from..to`, a byte at a time where all are set.
pub(super) fn first_clear(bitmap: &[u8], from: u32, to: u32) -> Option<u32> {
    let mut at = from;
    while at < to {
        if at.is_multiple_of(8) && bitmap.get((at / 8) as usize) == Some(&0xff) {
            at += 8;
        } else if bit(bitmap, at) {
            at += 1;
        } else {
            return Some(at);
        }
    }
    None
}

/// What the block bitmap of an uninitialised group is: the metadata in it and what lies beyond the end is in use.
pub(super) fn initial_block_bitmap(sb: &Superblock, groups: &[Group], number: u32, bitmap: &mut [u8]) {
    bitmap.fill(0);
    let (start, len) = (sb.group_start(number), sb.group_len(number));
    if sb.group_has_super(number) {
        let own = 1 + sb.descriptor_blocks() as u32 + sb.reserved_gdt;
        set_bits(bitmap, 0, own.min(len), true);
    }
    let table = (u64::from(sb.inodes_per_group) * sb.inode_size as u64).div_ceil(sb.block_size as u64);
    for g in groups {
        for (block, count) in [(g.block_bitmap, 1), (g.inode_bitmap, 1), (g.inode_table, table)] {
            let (from, to) = (block.max(start), (block + count).min(start + u64::from(len)));
            if from < to {
                set_bits(bitmap, (from - start) as u32, (to - from) as u32, true);
            }
        }
    }
    set_bits(bitmap, len, sb.block_size as u32 * 8 - len, true);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_set_found_and_cleared() {
        let mut map = [0u8; 8];
        set_bits(&mut map, 0, 20, true);
        assert_eq!(first_clear(&map, 0, 64), Some(20));
        set_bits(&mut map, 9, 1, false);
        assert_eq!(first_clear(&map, 3, 64), Some(9));
        assert_eq!(first_clear(&map, 10, 20), None);
        assert!(bit(&map, 64), "what lies outside is in use");
    }
}
