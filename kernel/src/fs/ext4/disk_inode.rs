//! Inodes as they lie in the inode table.

use super::bytes::{le16, le32, put16, put32};
use super::checksum::crc32c;
use super::superblock::{RoCompat, Superblock};
use crate::fs::inode::{DeviceNumber, Timestamp};
use alloc::boxed::Box;

/// `i_flags`.
pub(super) const FLAG_IMMUTABLE: u32 = 0x10;
pub(super) const FLAG_APPEND: u32 = 0x20;
pub(super) const FLAG_INDEX: u32 = 0x1000;
pub(super) const FLAG_HUGE_FILE: u32 = 0x4_0000;
pub(super) const FLAG_EXTENTS: u32 = 0x8_0000;

/// Bytes of the inode that every version of the format has.
const CLASSIC: usize = 128;
const BLOCK_AT: usize = 40;
const BLOCK_LEN: usize = 60;
const CHECKSUM_LOW: usize = 124;
const CHECKSUM_HIGH: usize = 130;

/// An inode, parsed. The bytes are kept for the fields we do not know, and for the attributes behind the inode.
#[derive(Clone, Debug)]
pub(super) struct DiskInode {
    pub raw: Box<[u8]>,
    /// Type and permissions.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub links: u16,
    pub size: u64,
    /// In units of 512 bytes.
    pub sectors: u64,
    pub flags: u32,
    pub generation: u32,
    /// When it was deleted; the next inode of the orphan list while it is on that.
    pub dtime: u32,
    pub atime: Timestamp,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    pub btime: Option<Timestamp>,
    /// The block with extended attributes; 0 for none.
    pub xattr_block: u64,
}

fn read_time(b: &[u8], at: usize, extra_at: Option<usize>) -> Timestamp {
    let seconds = i64::from(le32(b, at) as i32);
    match extra_at {
        Some(x) => {
            let extra = le32(b, x);
            Timestamp { seconds: seconds + (i64::from(extra & 3) << 32), nanos: (extra >> 2).min(999_999_999) }
        }
        None => Timestamp { seconds, nanos: 0 },
    }
}

fn put_time(b: &mut [u8], at: usize, extra_at: Option<usize>, t: Timestamp) {
    // Without the extra bits, times end in 2038; with them in 2446.
    let (least, most) = (i64::from(i32::MIN), if extra_at.is_some() { 0x3_7fff_ffff } else { i64::from(i32::MAX) });
    let seconds = t.seconds.clamp(least, most);
    put32(b, at, seconds as u32);
    if let Some(x) = extra_at {
        let epoch = ((seconds - i64::from(seconds as i32)) >> 32) as u32 & 3;
        put32(b, x, t.nanos << 2 | epoch);
    }
}

impl DiskInode {
    /// An empty one.
    pub fn new(sb: &Superblock, mode: u16, uid: u32, gid: u32, generation: u32) -> Self {
        let mut raw = alloc::vec![0u8; sb.inode_size].into_boxed_slice();
        put16(&mut raw, CLASSIC, sb.want_extra_isize());
        let now = Timestamp::now();
        DiskInode {
            raw,
            mode,
            uid,
            gid,
            links: 0,
            size: 0,
            sectors: 0,
            flags: 0,
            generation,
            dtime: 0,
            atime: now,
            mtime: now,
            ctime: now,
            btime: Some(now),
            xattr_block: 0,
        }
    }

    fn extra_isize(raw: &[u8]) -> usize {
        if raw.len() <= CLASSIC { 0 } else { usize::from(le16(raw, CLASSIC)).min(raw.len() - CLASSIC) }
    }

    /// Whether the field that ends at `end` is there.
    fn has(raw: &[u8], end: usize) -> bool {
        CLASSIC + Self::extra_isize(raw) >= end
    }

    /// Parses a record of the table.
    pub fn parse(raw: &[u8], sb: &Superblock) -> Self {
        let extra = |at: usize| Self::has(raw, at + 4).then_some(at);
        let flags = le32(raw, 32);
        let mut blocks = u64::from(le32(raw, 28));
        if sb.ro_compat.contains(RoCompat::HUGE_FILE) {
            blocks |= u64::from(le16(raw, 116)) << 32;
            if flags & FLAG_HUGE_FILE != 0 {
                blocks *= sb.block_size as u64 / 512;
            }
        }
        DiskInode {
            mode: le16(raw, 0),
            uid: u32::from(le16(raw, 2)) | u32::from(le16(raw, 120)) << 16,
            gid: u32::from(le16(raw, 24)) | u32::from(le16(raw, 122)) << 16,
            links: le16(raw, 26),
            size: u64::from(le32(raw, 4)) | u64::from(le32(raw, 108)) << 32,
            sectors: blocks,
            flags,
            generation: le32(raw, 100),
            dtime: le32(raw, 20),
            atime: read_time(raw, 8, extra(140)),
            mtime: read_time(raw, 16, extra(136)),
            ctime: read_time(raw, 12, extra(132)),
            btime: extra(144).map(|at| read_time(raw, at, extra(148))),
            xattr_block: u64::from(le32(raw, 104)) | u64::from(le16(raw, 118)) << 32,
            raw: raw.into(),
        }
    }

    /// The bytes as they are to be on disk, with their checksum.
    pub fn encode(&mut self, ino: u32, sb: &Superblock) -> &[u8] {
        let raw = &mut self.raw;
        put16(raw, 0, self.mode);
        put16(raw, 2, self.uid as u16);
        put16(raw, 120, (self.uid >> 16) as u16);
        put16(raw, 24, self.gid as u16);
        put16(raw, 122, (self.gid >> 16) as u16);
        put16(raw, 26, self.links);
        put32(raw, 4, self.size as u32);
        put32(raw, 108, (self.size >> 32) as u32);
        let huge = sb.ro_compat.contains(RoCompat::HUGE_FILE);
        let mut blocks = self.sectors;
        self.flags &= !FLAG_HUGE_FILE;
        if huge && blocks >= 1 << 48 {
            self.flags |= FLAG_HUGE_FILE;
            blocks /= sb.block_size as u64 / 512;
        }
        put32(raw, 28, blocks as u32);
        if huge {
            put16(raw, 116, (blocks >> 32) as u16);
        }
        put32(raw, 32, self.flags);
        put32(raw, 100, self.generation);
        put32(raw, 20, self.dtime);
        put32(raw, 104, self.xattr_block as u32);
        put16(raw, 118, (self.xattr_block >> 32) as u16);
        let have = CLASSIC + Self::extra_isize(raw);
        let extra = |at: usize| (have >= at + 4).then_some(at);
        put_time(raw, 8, extra(140), self.atime);
        put_time(raw, 16, extra(136), self.mtime);
        put_time(raw, 12, extra(132), self.ctime);
        if let (Some(at), Some(t)) = (extra(144), self.btime) {
            put_time(raw, at, extra(148), t);
        }
        if sb.metadata_csum() {
            let sum = Self::checksum(raw, ino, self.generation, sb);
            put16(raw, CHECKSUM_LOW, sum as u16);
            if Self::has(raw, CHECKSUM_HIGH + 2) {
                put16(raw, CHECKSUM_HIGH, (sum >> 16) as u16);
            }
        }
        &self.raw
    }

    fn checksum(raw: &[u8], ino: u32, generation: u32, sb: &Superblock) -> u32 {
        let mut crc = crc32c(Self::seed_of(ino, generation, sb), &raw[..CHECKSUM_LOW]);
        crc = crc32c(crc32c(crc, &[0, 0]), &raw[CHECKSUM_LOW + 2..CLASSIC]);
        if raw.len() > CLASSIC {
            crc = crc32c(crc, &raw[CLASSIC..CHECKSUM_HIGH]);
            if Self::has(raw, CHECKSUM_HIGH + 2) {
                crc = crc32c(crc32c(crc, &[0, 0]), &raw[CHECKSUM_HIGH + 2..]);
            } else {
                crc = crc32c(crc, &raw[CHECKSUM_HIGH..]);
            }
        }
        crc
    }

    /// Whether a record that was read has the right checksum.
    pub fn intact(raw: &[u8], ino: u32, sb: &Superblock) -> bool {
        if !sb.metadata_csum() {
            return true;
        }
        let sum = Self::checksum(raw, ino, le32(raw, 100), sb);
        if Self::has(raw, CHECKSUM_HIGH + 2) {
            return sum as u16 == le16(raw, CHECKSUM_LOW) && (sum >> 16) as u16 == le16(raw, CHECKSUM_HIGH);
        }
        sum as u16 == le16(raw, CHECKSUM_LOW)
    }

    fn seed_of(ino: u32, generation: u32, sb: &Superblock) -> u32 {
        crc32c(crc32c(sb.seed, &ino.to_le_bytes()), &generation.to_le_bytes())
    }

    /// The start of the checksums of this inode's directory blocks and extent nodes.
    pub fn seed(&self, ino: u32, sb: &Superblock) -> u32 {
        Self::seed_of(ino, self.generation, sb)
    }

    /// The 60 bytes of `i_block`: extent root, device number, or the text of a short symbolic link.
    pub fn block(&self) -> &[u8] {
        &self.raw[BLOCK_AT..BLOCK_AT + BLOCK_LEN]
    }

    /// To be changed.
    pub fn block_mut(&mut self) -> &mut [u8] {
        &mut self.raw[BLOCK_AT..BLOCK_AT + BLOCK_LEN]
    }

    /// The room for attributes behind the inode's own fields; empty if there is none.
    pub fn body_xattrs(&self) -> &[u8] {
        let at = CLASSIC + Self::extra_isize(&self.raw);
        if self.raw.len() <= CLASSIC || Self::extra_isize(&self.raw) == 0 { &[] } else { &self.raw[at..] }
    }

    /// To be changed.
    pub fn body_xattrs_mut(&mut self) -> &mut [u8] {
        let extra = Self::extra_isize(&self.raw);
        if self.raw.len() <= CLASSIC || extra == 0 { &mut [] } else { &mut self.raw[CLASSIC + extra..] }
    }

    /// Of a device: which one.
    pub fn device(&self) -> DeviceNumber {
        let (old, new) = (le32(self.block(), 0), le32(self.block(), 4));
        if old != 0 {
            return DeviceNumber::new(old >> 8 & 0xff, old & 0xff);
        }
        DeviceNumber::new(new >> 8 & 0xfff, (new & 0xff) | (new >> 12 & 0xf_ff00))
    }

    /// Stores a device number, in the old form where it fits, as Linux does.
    pub fn set_device(&mut self, d: DeviceNumber) {
        let (major, minor) = (d.major(), d.minor());
        let block = self.block_mut();
        if major < 256 && minor < 256 {
            put32(block, 0, major << 8 | minor);
        } else {
            put32(block, 4, (minor & 0xff) | major << 8 | (minor & !0xff) << 12);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_and_after_2038_survive() {
        for seconds in [-1, 0, 1 << 31, (1 << 31) - 1, 1 << 33, -(1 << 31)] {
            let mut b = [0u8; 8];
            let t = Timestamp { seconds, nanos: 999_999_999 };
            put_time(&mut b, 0, Some(4), t);
            assert_eq!(read_time(&b, 0, Some(4)), t, "{seconds}");
        }
    }
}
