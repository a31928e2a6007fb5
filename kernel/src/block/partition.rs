//! Partition tables: MBR with logical partitions, and GPT; and the window of a disk that a partition is.

use super::{BlockDevice, Flush, SECTOR, Waits, check_range};
use crate::error::Result;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A part of a disk: its number (from 1), first byte and length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Extent {
    pub number: u32,
    pub start: u64,
    pub len: u64,
}

/// Most partitions of one disk: as many minor numbers as User-Mode Linux gives a disk.
pub(super) const MAX: u32 = 15;

/// Partition types of the MBR that hold further partitions.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
/// The MBR type that says: look at the GPT.
const PROTECTIVE: u8 = 0xee;

fn le32(b: &[u8], at: usize) -> u64 {
    u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]).into()
}

fn le64(b: &[u8], at: usize) -> u64 {
    le32(b, at) | le32(b, at + 4) << 32
}

fn sector(disk: &dyn BlockDevice, number: u64) -> Option<[u8; SECTOR as usize]> {
    let mut buf = [0u8; SECTOR as usize];
    disk.read_at(&mut buf, number.checked_mul(SECTOR)?).ok()?;
    Some(buf)
}

/// The four entries of a boot record: type, first sector, sectors. `None` without the signature.
fn boot_record(b: &[u8; SECTOR as usize]) -> Option<[(u8, u64, u64); 4]> {
    if b[510..] != [0x55, 0xaa] {
        return None;
    }
    // A file system's boot sector has the signature, too; its bytes here are no boot flags then.
    let plausible = (0..4).all(|i| matches!(b[446 + 16 * i], 0 | 0x80));
    plausible.then(|| core::array::from_fn(|i| (b[450 + 16 * i], le32(b, 454 + 16 * i), le32(b, 458 + 16 * i))))
}

/// The partitions of a disk, those that lie inside it. Empty for a disk without a table.
pub(super) fn read_table(disk: &dyn BlockDevice) -> Vec<Extent> {
    let Some(entries) = sector(disk, 0).as_ref().and_then(boot_record) else { return Vec::new() };
    let mut found = Vec::new();
    if entries.iter().any(|e| e.0 == PROTECTIVE) {
        gpt(disk, &mut found);
    } else {
        for (number, &(kind, start, len)) in (1..).zip(&entries) {
            if EXTENDED.contains(&kind) {
                logical(disk, start, &mut found);
            } else if kind != 0 {
                add(disk, &mut found, number, start, len);
            }
        }
    }
    found.sort_unstable_by_key(|p| p.number);
    found
}

fn add(disk: &dyn BlockDevice, found: &mut Vec<Extent>, number: u32, start: u64, sectors: u64) {
    let inside = start.checked_add(sectors).and_then(|end| end.checked_mul(SECTOR)).is_some_and(|e| e <= disk.size());
    if inside && sectors > 0 && number <= MAX {
        found.push(Extent { number, start: start * SECTOR, len: sectors * SECTOR });
    }
}

/// The chain of logical partitions, numbered from 5. Its length is bounded by the numbers that there are.
fn logical(disk: &dyn BlockDevice, extended: u64, found: &mut Vec<Extent>) {
    let mut record = extended;
    for number in 5..=MAX {
        let Some(entries) = sector(disk, record).as_ref().and_then(boot_record) else { return };
        let (kind, start, len) = entries[0];
        if kind != 0 {
            add(disk, found, number, record.saturating_add(start), len);
        }
        let (next_kind, next, _) = entries[1];
        if !EXTENDED.contains(&next_kind) {
            return;
        }
        record = extended.saturating_add(next);
    }
}

/// UEFI specification, chapter 5. The backup table at the end is not looked at.
fn gpt(disk: &dyn BlockDevice, found: &mut Vec<Extent>) {
    let Some(header) = sector(disk, 1).filter(|h| h.starts_with(b"EFI PART")) else { return };
    let (table, entry_size) = (le64(&header, 72), le32(&header, 84));
    if !(128..=4096).contains(&entry_size) {
        return;
    }
    for number in 1..=MAX.min(le32(&header, 80) as u32) {
        let mut entry = [0u8; 128];
        let at = table.saturating_mul(SECTOR).saturating_add(u64::from(number - 1) * entry_size);
        if disk.read_at(&mut entry, at).is_err() {
            return;
        }
        let (first, last) = (le64(&entry, 32), le64(&entry, 40));
        if entry[..16] != [0; 16] && first > 0 && last >= first {
            add(disk, found, number, first, (last - first).saturating_add(1));
        }
    }
}

/// A partition.
pub(super) struct Partition {
    pub disk: Arc<dyn BlockDevice>,
    pub extent: Extent,
}

impl BlockDevice for Partition {
    fn size(&self) -> u64 {
        self.extent.len
    }

    fn read_only(&self) -> bool {
        self.disk.read_only()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(offset, buf.len(), self.extent.len)?;
        self.disk.read_at(buf, self.extent.start + offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        check_range(offset, buf.len(), self.extent.len)?;
        self.disk.write_at(buf, self.extent.start + offset)
    }

    fn flush(&self) -> Result<()> {
        self.disk.flush()
    }

    fn begin_flush(&self, waits: Waits) -> Result<Option<Arc<Flush>>> {
        self.disk.begin_flush(waits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{Rank, SpinLock};

    /// A disk in memory.
    struct Memory(SpinLock<Vec<u8>>);

    impl BlockDevice for Memory {
        fn size(&self) -> u64 {
            self.0.lock().len() as u64
        }

        fn read_only(&self) -> bool {
            false
        }

        fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
            check_range(offset, buf.len(), self.size())?;
            buf.copy_from_slice(&self.0.lock()[offset as usize..][..buf.len()]);
            Ok(())
        }

        fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
            check_range(offset, buf.len(), self.size())?;
            self.0.lock()[offset as usize..][..buf.len()].copy_from_slice(buf);
            Ok(())
        }

        fn flush(&self) -> Result<()> {
            Ok(())
        }
    }

    fn disk(sectors: usize) -> Memory {
        Memory(SpinLock::new(Rank::BlockDevice, alloc::vec![0; sectors * 512]))
    }

    fn entry(d: &Memory, sector: u64, index: u64, kind: u8, start: u32, len: u32) {
        let at = sector * 512 + 446 + 16 * index;
        d.write_at(&[kind], at + 4).unwrap();
        d.write_at(&start.to_le_bytes(), at + 8).unwrap();
        d.write_at(&len.to_le_bytes(), at + 12).unwrap();
        d.write_at(&[0x55, 0xaa], sector * 512 + 510).unwrap();
    }

    #[test]
    fn primary_and_logical_partitions_are_numbered_as_linux_does() {
        let d = disk(1000);
        entry(&d, 0, 0, 0x83, 10, 90);
        entry(&d, 0, 1, 0x05, 100, 500);
        entry(&d, 100, 0, 0x83, 1, 49);
        entry(&d, 100, 1, 0x05, 50, 100);
        entry(&d, 150, 0, 0x83, 2, 20);
        let table = read_table(&d);
        let expect = [(1, 10, 90), (5, 101, 49), (6, 152, 20)];
        assert_eq!(table, expect.map(|(number, s, l)| Extent { number, start: s * 512, len: l * 512 }));
    }

    #[test]
    fn what_lies_outside_and_loops_are_left_out() {
        let d = disk(100);
        entry(&d, 0, 0, 0x83, 50, 51);
        entry(&d, 0, 1, 0x05, 10, 50);
        entry(&d, 10, 1, 0x05, 0, 50);
        assert!(read_table(&d).is_empty());
        assert!(read_table(&disk(1)).is_empty());
    }

    #[test]
    fn a_gpt_is_read() {
        let d = disk(200);
        entry(&d, 0, 0, 0xee, 1, 199);
        d.write_at(b"EFI PART", 512).unwrap();
        d.write_at(&2u64.to_le_bytes(), 512 + 72).unwrap();
        d.write_at(&4u32.to_le_bytes(), 512 + 80).unwrap();
        d.write_at(&128u32.to_le_bytes(), 512 + 84).unwrap();
        d.write_at(&[1; 16], 1024 + 128).unwrap();
        d.write_at(&40u64.to_le_bytes(), 1024 + 128 + 32).unwrap();
        d.write_at(&49u64.to_le_bytes(), 1024 + 128 + 40).unwrap();
        assert_eq!(read_table(&d), [Extent { number: 2, start: 40 * 512, len: 10 * 512 }]);
    }
}
