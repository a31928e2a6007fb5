//! The superblock: what the image is, and whether we can serve it.

use super::bytes::{le_split, le16, le32, put16, put32};
use super::checksum::crc32c;
use super::name_hash::NameHash;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Where it lies, in bytes, and its length.
pub(super) const OFFSET: u64 = 1024;
pub(super) const LEN: usize = 1024;
const MAGIC: u16 = 0xef53;
const CHECKSUM_AT: usize = 0x3fc;

/// `s_flags`: names are hashed as unsigned characters.
const FLAG_UNSIGNED_HASH: u32 = 2;
/// `s_state`: cleanly unmounted.
pub(super) const STATE_VALID: u16 = 1;
/// `s_state`: errors were found.
pub(super) const STATE_ERROR: u16 = 2;

bitflags::bitflags! {
    /// Features that change nothing for who does not know them (`s_feature_compat`).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(super) struct Compat: u32 {
        const HAS_JOURNAL = 0x4;
        const EXT_ATTR = 0x8;
        const DIR_INDEX = 0x20;
        const SPARSE_SUPER2 = 0x200;
        const FAST_COMMIT = 0x400;
        const _ = !0;
    }

    /// Features that who does not know them must not mount (`s_feature_incompat`).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(super) struct Incompat: u32 {
        const FILETYPE = 0x2;
        const RECOVER = 0x4;
        const EXTENTS = 0x40;
        const BIT64 = 0x80;
        const FLEX_BG = 0x200;
        const CSUM_SEED = 0x2000;
        const _ = !0;
    }

    /// Features that who does not know them must not write (`s_feature_ro_compat`).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(super) struct RoCompat: u32 {
        const SPARSE_SUPER = 0x1;
        const LARGE_FILE = 0x2;
        const HUGE_FILE = 0x8;
        const GDT_CSUM = 0x10;
        const DIR_NLINK = 0x20;
        const EXTRA_ISIZE = 0x40;
        const BIGALLOC = 0x200;
        const METADATA_CSUM = 0x400;
        const READONLY = 0x1000;
        const ORPHAN_PRESENT = 0x10000;
        const _ = !0;
    }
}

/// The incompatible features that are served.
const SERVED: u32 = 0x2 | 0x4 | 0x40 | 0x80 | 0x200 | 0x2000;
/// The read-only-compatible features with which we write.
const WRITTEN: u32 = 0x1 | 0x2 | 0x8 | 0x10 | 0x20 | 0x40 | 0x400;

/// Names as mke2fs(8) and tune2fs(8) spell them, by bit.
const INCOMPAT_NAMES: &[(u32, &str)] = &[
    (0x1, "compression"),
    (0x8, "journal_dev"),
    (0x10, "meta_bg"),
    (0x100, "mmp"),
    (0x400, "ea_inode"),
    (0x1000, "dirdata"),
    (0x4000, "large_dir"),
    (0x8000, "inline_data"),
    (0x10000, "encrypt"),
    (0x20000, "casefold"),
];
const RO_COMPAT_NAMES: &[(u32, &str)] = &[
    (0x100, "quota"),
    (0x200, "bigalloc"),
    (0x1000, "read-only"),
    (0x2000, "project"),
    (0x8000, "verity"),
    (0x10000, "orphan_present (the orphan file is in use: run e2fsck)"),
];

fn names(bits: u32, table: &[(u32, &str)]) -> String {
    let mut words: Vec<String> = Vec::new();
    for bit in (0..32).map(|i| 1u32 << i).filter(|b| bits & b != 0) {
        match table.iter().find(|(b, _)| *b == bit) {
            Some((_, name)) => words.push((*name).into()),
            None => words.push(format!("{bit:#x}")),
        }
    }
    words.join(", ")
}

/// A superblock, parsed; the bytes are kept for the fields that we do not know.
pub(super) struct Superblock {
    raw: Box<[u8]>,
    pub compat: Compat,
    pub incompat: Incompat,
    pub ro_compat: RoCompat,
    pub blocks: u64,
    pub inodes: u32,
    pub first_data_block: u32,
    /// In bytes.
    pub block_size: usize,
    pub blocks_per_group: u32,
    pub inodes_per_group: u32,
    pub first_inode: u32,
    /// In bytes.
    pub inode_size: usize,
    /// Bytes of one group descriptor.
    pub descriptor_size: usize,
    pub groups: u32,
    pub reserved_gdt: u32,
    pub journal_inode: u32,
    /// The start of every metadata checksum.
    pub seed: u32,
    /// By what directories' hash trees are ordered.
    pub name_hash: NameHash,
    // What changes while mounted.
    pub free_blocks: u64,
    pub free_inodes: u32,
    pub last_orphan: u32,
    pub state: u16,
}

impl Superblock {
    /// Parses and checks. The error is for the user: what the image is, or which feature is not served.
    pub fn parse(raw: &[u8]) -> Result<Self, String> {
        if raw.len() < LEN || le16(raw, 56) != MAGIC {
            return Err("not an ext4 file system (no magic number at byte 1080)".into());
        }
        let (compat, incompat, ro_compat) = (le32(raw, 92), le32(raw, 96), le32(raw, 100));
        if incompat & !SERVED != 0 {
            let list = names(incompat & !SERVED, INCOMPAT_NAMES);
            return Err(format!("unsupported ext4 features: {list}; make the image without them (mke2fs -O ^…)"));
        }
        if ro_compat & 0x200 != 0 {
            return Err("unsupported ext4 features: bigalloc; make the image without them (mke2fs -O ^…)".into());
        }
        let bit64 = incompat & 0x80 != 0;
        let metadata_csum = ro_compat & 0x400 != 0;
        if metadata_csum && (raw[0x175] != 1 || crc32c(!0, &raw[..CHECKSUM_AT]) != le32(raw, CHECKSUM_AT)) {
            return Err("the superblock's checksum is wrong; run e2fsck on the image".into());
        }
        if incompat & 0x40 == 0 {
            return Err(
                "no extents: an ext2 or ext3 file system; accepted: ext4 (tune2fs -O extents converts it)".into()
            );
        }
        let log = le32(raw, 24);
        if log > 2 {
            return Err("unsupported block size; accepted: 1, 2 or 4 KB (mke2fs -b 4096)".into());
        }
        let uuid_seed = crc32c(!0, &raw[104..120]);
        let rev0 = le32(raw, 76) == 0;
        let s = Superblock {
            compat: Compat::from_bits_retain(compat),
            incompat: Incompat::from_bits_retain(incompat),
            ro_compat: RoCompat::from_bits_retain(ro_compat),
            blocks: if bit64 { le_split(raw, 4, 0x150) } else { le32(raw, 4).into() },
            inodes: le32(raw, 0),
            first_data_block: le32(raw, 20),
            block_size: 1024 << log,
            blocks_per_group: le32(raw, 32),
            inodes_per_group: le32(raw, 40),
            first_inode: if rev0 { 11 } else { le32(raw, 84) },
            inode_size: if rev0 { 128 } else { le16(raw, 88).into() },
            descriptor_size: if bit64 { le16(raw, 254).into() } else { 32 },
            groups: 0,
            reserved_gdt: le16(raw, 206).into(),
            journal_inode: le32(raw, 224),
            seed: if incompat & 0x2000 != 0 { le32(raw, 0x270) } else { uuid_seed },
            name_hash: NameHash::new(&raw[0xec..0xfc], raw[0xfc], le32(raw, 0x160) & FLAG_UNSIGNED_HASH != 0),
            free_blocks: if bit64 { le_split(raw, 12, 0x158) } else { le32(raw, 12).into() },
            free_inodes: le32(raw, 16),
            last_orphan: le32(raw, 232),
            state: le16(raw, 58),
            raw: raw[..LEN].into(),
        };
        s.geometry().map_err(|what| format!("the superblock is damaged ({what}); run e2fsck on the image"))
    }

    /// Checks that the numbers fit each other, and counts the groups.
    fn geometry(mut self) -> Result<Self, &'static str> {
        let bits = self.block_size as u32 * 8;
        let check = |ok: bool, what: &'static str| if ok { Ok(()) } else { Err(what) };
        check(self.blocks_per_group > 0 && self.blocks_per_group <= bits, "blocks per group")?;
        check(self.blocks_per_group.is_multiple_of(8), "blocks per group")?;
        check(self.inodes_per_group > 0 && self.inodes_per_group <= bits, "inodes per group")?;
        check(self.inodes_per_group.is_multiple_of(8), "inodes per group")?;
        check(self.inode_size.is_power_of_two() && (128..=self.block_size).contains(&self.inode_size), "inode size")?;
        check(matches!(self.descriptor_size, 32 | 64), "descriptor size")?;
        check(self.first_data_block == u32::from(self.block_size == 1024), "first data block")?;
        check(self.blocks > u64::from(self.first_data_block), "size")?;
        let groups = (self.blocks - u64::from(self.first_data_block)).div_ceil(self.blocks_per_group.into());
        self.groups = u32::try_from(groups).ok().filter(|&g| g <= 1 << 22).ok_or("size")?;
        let inodes = u64::from(self.groups) * u64::from(self.inodes_per_group);
        check(u64::from(self.inodes) == inodes && self.inodes >= 11, "inode count")?;
        check(self.first_inode >= 11 && self.first_inode <= self.inodes, "first inode")?;
        Ok(self)
    }

    /// Whether metadata has CRC-32C checksums.
    pub fn metadata_csum(&self) -> bool {
        self.ro_compat.contains(RoCompat::METADATA_CSUM)
    }

    /// Whether group descriptors have checksums, so that groups may be uninitialised.
    pub fn descriptor_csum(&self) -> bool {
        self.ro_compat.intersects(RoCompat::METADATA_CSUM | RoCompat::GDT_CSUM)
    }

    /// Why it may be read but not written, if so.
    pub fn not_writable(&self) -> Option<String> {
        let unknown = self.ro_compat.bits() & !WRITTEN;
        (unknown != 0).then(|| format!("ext4 features that can only be read here: {}", names(unknown, RO_COMPAT_NAMES)))
    }

    /// The UUID.
    pub fn uuid(&self) -> &[u8] {
        &self.raw[104..120]
    }

    /// Blocks that are kept for root (`s_r_blocks_count`).
    pub fn reserved_blocks(&self) -> u64 {
        le_split(&self.raw, 8, 0x154)
    }

    /// What new inodes reserve beyond the first 128 bytes.
    pub fn want_extra_isize(&self) -> u16 {
        if self.inode_size < 160 { 0 } else { le16(&self.raw, 350).clamp(32, (self.inode_size - 128) as u16) & !3 }
    }

    /// Notes a mount that writes: time and count.
    pub fn note_mount(&mut self, seconds: u32) {
        put32(&mut self.raw, 44, seconds);
        let count = le16(&self.raw, 52).wrapping_add(1);
        put16(&mut self.raw, 52, count);
    }

    /// The block and offset in it where the superblock lies.
    pub fn place(&self) -> (u64, usize) {
        if self.block_size == 1024 { (1, 0) } else { (0, OFFSET as usize) }
    }

    /// The bytes as they are to be on disk.
    pub fn encode(&mut self, seconds: u32) -> &[u8] {
        let bit64 = self.incompat.contains(Incompat::BIT64);
        let raw = &mut self.raw;
        put32(raw, 12, self.free_blocks as u32);
        if bit64 {
            put32(raw, 0x158, (self.free_blocks >> 32) as u32);
        }
        put32(raw, 16, self.free_inodes);
        put32(raw, 48, seconds);
        put16(raw, 58, self.state);
        put32(raw, 96, self.incompat.bits());
        put32(raw, 100, self.ro_compat.bits());
        put32(raw, 232, self.last_orphan);
        if self.ro_compat.contains(RoCompat::METADATA_CSUM) {
            let sum = crc32c(!0, &raw[..CHECKSUM_AT]);
            put32(raw, CHECKSUM_AT, sum);
        }
        &self.raw
    }

    /// Whether a group begins with a copy of superblock and descriptors.
    pub fn group_has_super(&self, group: u32) -> bool {
        let power = |base: u32| {
            let mut n = base;
            while n < group {
                n = n.saturating_mul(base);
            }
            n == group
        };
        if group == 0 {
            return true;
        }
        if self.compat.contains(Compat::SPARSE_SUPER2) {
            return group == le32(&self.raw, 0x24c) || group == le32(&self.raw, 0x250);
        }
        if group == 1 || !self.ro_compat.contains(RoCompat::SPARSE_SUPER) {
            return true;
        }
        power(3) || power(5) || power(7)
    }

    /// Blocks of the descriptor table.
    pub fn descriptor_blocks(&self) -> u64 {
        (u64::from(self.groups) * self.descriptor_size as u64).div_ceil(self.block_size as u64)
    }

    /// First block of a group.
    pub fn group_start(&self, group: u32) -> u64 {
        u64::from(self.first_data_block) + u64::from(group) * u64::from(self.blocks_per_group)
    }

    /// Blocks of a group: fewer in the last.
    pub fn group_len(&self, group: u32) -> u32 {
        (self.blocks - self.group_start(group)).min(self.blocks_per_group.into()) as u32
    }

    /// Whether these blocks lie inside the file system.
    pub fn holds(&self, block: u64, count: u64) -> bool {
        block > u64::from(self.first_data_block) && block.checked_add(count).is_some_and(|end| end <= self.blocks)
    }
}
