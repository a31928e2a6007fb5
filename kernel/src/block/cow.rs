//! Copy-on-write files in User-Mode Linux's format, version 3: many machines share one read-only image, and each writes
//! to a file of its own.
//!
//! A COW file is a header (big-endian), a bitmap with a bit for each sector of the backing image (bit n % 8 of byte
//! n / 8), and the sectors themselves, each at its own place in a sparse area as large as the image. A sector whose bit
//! is set is read from here. The data is written before its bit, so a killed machine leaves sectors old or new.
//!
//! Two layouts of version 3 are about: the packed one that kernels write, and the one that 64-bit tools built with
//! natural alignment write, in which everything from the size on lies four bytes further. The format word, always 0 and
//! where the packed layout has the path, tells them apart.

use super::image::{Access, HostId, ImageFile, absolute, exists, mtime_and_size};
use super::{BlockDevice, Flush, ImageError, SECTOR, Waits, check_range};
use crate::error::{Errno, Result};
use crate::sync::{Rank, SpinLock};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

const MAGIC: u32 = 0x4f4f_4f4d;
const VERSION: u32 = 3;
const PATH_LEN: usize = 4096;
/// Bytes of either layout, as the formats' own tools count them.
const HEADER_LEN: usize = 4128;
const WIDE_HEADER_LEN: usize = 4136;
/// What kernels choose for new files.
const ALIGNMENT: u32 = 4096;

/// A header of version 3.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Header {
    /// Seconds since 1970 at which the backing file was last changed when this file was made.
    mtime: u32,
    /// Of the backing file, in bytes.
    size: u64,
    sector_size: u32,
    alignment: u32,
    backing: String,
    wide: bool,
}

fn be32(b: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

fn be64(b: &[u8], at: usize) -> u64 {
    u64::from(be32(b, at)) << 32 | u64::from(be32(b, at + 4))
}

impl Header {
    /// Whether a file that begins with these bytes is a COW file of any version.
    fn is_cow(start: &[u8]) -> bool {
        start.len() >= 8 && (be32(start, 0) == MAGIC || be32(start, 0) == MAGIC.swap_bytes())
    }

    fn parse(b: &[u8]) -> Result<Self, &'static str> {
        if !Self::is_cow(b) {
            return Err("not a COW file");
        }
        if be32(b, 0) != MAGIC || be32(b, 4) != VERSION {
            return Err("a COW file of another version than 3");
        }
        if b.len() < WIDE_HEADER_LEN {
            return Err("a COW file that is cut short");
        }
        let wide = be32(b, 32) == 0;
        let at = if wide { 16 } else { 12 };
        let path = &b[at + 20..at + 20 + PATH_LEN];
        let end = path.iter().position(|&c| c == 0).ok_or("a COW header without the end of its path")?;
        let header = Header {
            mtime: be32(b, 8),
            size: be64(b, at),
            sector_size: be32(b, at + 8),
            alignment: be32(b, at + 12),
            backing: core::str::from_utf8(&path[..end]).map_err(|_| "a backing file name that is no text")?.to_string(),
            wide,
        };
        if be32(b, at + 16) != 0 {
            return Err("a COW file with another format than a bitmap");
        }
        let sane = |n: u32| n.is_power_of_two() && n <= 1 << 20;
        if !sane(header.sector_size) || u64::from(header.sector_size) < SECTOR || !sane(header.alignment) {
            return Err("a COW header with impossible sizes");
        }
        Ok(header)
    }

    fn encode(&self) -> Vec<u8> {
        let mut b = Vec::with_capacity(HEADER_LEN);
        b.extend(MAGIC.to_be_bytes());
        b.extend(VERSION.to_be_bytes());
        b.extend(self.mtime.to_be_bytes());
        if self.wide {
            b.extend([0; 4]);
        }
        b.extend(self.size.to_be_bytes());
        b.extend(self.sector_size.to_be_bytes());
        b.extend(self.alignment.to_be_bytes());
        b.extend(0u32.to_be_bytes());
        b.extend(self.backing.as_bytes());
        b.resize(if self.wide { WIDE_HEADER_LEN } else { HEADER_LEN }, 0);
        b
    }

    /// Where bitmap and data begin, and the bitmap's length, in bytes.
    fn layout(&self) -> (u64, u64, u64) {
        let align = u64::from(self.alignment);
        let header = if self.wide { WIDE_HEADER_LEN } else { HEADER_LEN } as u64;
        let bitmap_at = header.next_multiple_of(align);
        let bitmap_len = self.size.div_ceil(u64::from(self.sector_size)).div_ceil(8);
        (bitmap_at, bitmap_len, (bitmap_at + bitmap_len).next_multiple_of(align))
    }
}

/// A COW file over its image.
pub(super) struct CowFile {
    file: ImageFile,
    backing: ImageFile,
    bitmap: SpinLock<Vec<u8>>,
    size: u64,
    sector: u64,
    bitmap_at: u64,
    data_at: u64,
}

/// What a host file is.
pub(super) fn probe(path: &str) -> Result<bool, ImageError> {
    let (file, _) = ImageFile::open(path, Access { shared: true, ..Access::default() })?;
    let mut start = [0u8; 8];
    let n = file.read_some(&mut start, 0).map_err(|e| ImageError(format!("{path}: {e}")))?;
    Ok(Header::is_cow(&start[..n]))
}

impl CowFile {
    /// Opens the COW file `path`; makes it, over `backing`, if it does not exist. Without `backing`, the name in the
    /// header counts. Returns the host's identities of both files.
    pub(super) fn open(path: &str, backing: Option<&str>, access: Access) -> Result<(Self, [HostId; 2]), ImageError> {
        let error = |what: &str| ImageError(format!("{path}: {what}"));
        if !exists(path) {
            let backing = backing.ok_or_else(|| error("no such COW file; accepted: ubd0=COW,IMAGE"))?;
            return Self::create(path, backing, access);
        }
        let (file, id) = ImageFile::open(path, access)?;
        let mut start = alloc::vec![0u8; WIDE_HEADER_LEN];
        let n = file.read_some(&mut start, 0).map_err(|e| error(&e.to_string()))?;
        let header = Header::parse(&start[..n]).map_err(&error)?;
        let backing = backing.unwrap_or(&header.backing);
        let (mtime, size) = mtime_and_size(backing)?;
        if size != header.size {
            return Err(error(&format!("made for an image of {} bytes, but {backing} has {size}", header.size)));
        }
        if mtime as u32 != header.mtime {
            return Err(error(&format!(
                "{backing} was changed after this COW file was made over it; merge with uml_moo, or delete the COW file"
            )));
        }
        Self::assemble(file, id, backing, &header)
    }

    fn create(path: &str, backing: &str, access: Access) -> Result<(Self, [HostId; 2]), ImageError> {
        let backing = absolute(backing)?;
        let (mtime, size) = mtime_and_size(&backing)?;
        if backing.len() >= PATH_LEN {
            return Err(ImageError(format!("{path}: the image's name is too long for a COW file")));
        }
        let header = Header {
            mtime: mtime as u32,
            size,
            sector_size: SECTOR as u32,
            alignment: ALIGNMENT,
            backing: backing.clone(),
            wide: false,
        };
        let (mut file, id) = ImageFile::create(path, access)?;
        let (_, _, data_at) = header.layout();
        file.extend(data_at + size)
            .and_then(|()| file.write_at(&header.encode(), 0))
            .map_err(|e| ImageError(format!("{path}: {e}")))?;
        Self::assemble(file, id, &backing, &header)
    }

    fn assemble(
        mut file: ImageFile,
        id: HostId,
        backing: &str,
        header: &Header,
    ) -> Result<(Self, [HostId; 2]), ImageError> {
        let (backing_file, backing_id) = ImageFile::open(backing, Access::default())?;
        let (bitmap_at, bitmap_len, data_at) = header.layout();
        let mut bitmap = alloc::vec![0u8; bitmap_len as usize];
        let read = file
            .read_some(&mut bitmap, bitmap_at)
            .and_then(|_| if file.read_only() { Ok(()) } else { file.extend(data_at + header.size) });
        read.map_err(|e| ImageError(format!("COW file over {backing}: {e}")))?;
        let cow = CowFile {
            file,
            backing: backing_file,
            bitmap: SpinLock::new(Rank::BlockDevice, bitmap),
            size: header.size,
            sector: header.sector_size.into(),
            bitmap_at,
            data_at,
        };
        Ok((cow, [id, backing_id]))
    }
}

fn bit(bitmap: &[u8], sector: u64) -> bool {
    bitmap.get((sector / 8) as usize).is_some_and(|b| b >> (sector % 8) & 1 == 1)
}

impl BlockDevice for CowFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_only(&self) -> bool {
        self.file.read_only()
    }

    /// Runs of sectors that lie in one of the two files are read at once.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(offset, buf.len(), self.size)?;
        let end = offset + buf.len() as u64;
        let bitmap = self.bitmap.lock();
        let mut at = offset;
        while at < end {
            let here = bit(&bitmap, at / self.sector);
            let mut until = (at / self.sector + 1) * self.sector;
            while until < end && bit(&bitmap, until / self.sector) == here {
                until += self.sector;
            }
            let until = until.min(end);
            let part = &mut buf[(at - offset) as usize..(until - offset) as usize];
            if here {
                self.file.read_at(part, self.data_at + at)?;
            } else {
                self.backing.read_at(part, at)?;
            }
            at = until;
        }
        Ok(())
    }

    /// A sector that is written in part for the first time is brought over whole.
    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        if self.read_only() {
            return Err(Errno::EROFS.because("the block device is read-only"));
        }
        check_range(offset, buf.len(), self.size)?;
        if buf.is_empty() {
            return Ok(());
        }
        let end = offset + buf.len() as u64;
        let (first, last) = (offset / self.sector, (end - 1) / self.sector);
        let mut bitmap = self.bitmap.lock();
        for (sector, whole) in [(first, offset.is_multiple_of(self.sector)), (last, end.is_multiple_of(self.sector))] {
            if !whole && !bit(&bitmap, sector) {
                let start = sector * self.sector;
                let mut old = alloc::vec![0u8; self.sector.min(self.size - start) as usize];
                self.backing.read_at(&mut old, start)?;
                self.file.write_at(&old, self.data_at + start)?;
            }
        }
        self.file.write_at(buf, self.data_at + offset)?;
        let mut changed: Option<(usize, usize)> = None;
        for sector in first..=last {
            if !bit(&bitmap, sector) {
                let byte = (sector / 8) as usize;
                bitmap[byte] |= 1 << (sector % 8);
                changed = Some((changed.map_or(byte, |(from, _)| from), byte));
            }
        }
        match changed {
            Some((from, to)) => self.file.write_at(&bitmap[from..=to], self.bitmap_at + from as u64),
            None => Ok(()),
        }
    }

    fn flush(&self) -> Result<()> {
        self.file.flush()
    }

    fn begin_flush(&self, waits: Waits) -> Result<Option<Arc<Flush>>> {
        self.file.begin_flush(waits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(wide: bool) -> Header {
        let backing = String::from("/srv/image");
        Header { mtime: 77, size: 5 << 20, sector_size: 512, alignment: 4096, backing, wide }
    }

    #[test]
    fn both_layouts_are_read_as_they_are_written() {
        for wide in [false, true] {
            let h = header(wide);
            let mut bytes = h.encode();
            bytes.resize(WIDE_HEADER_LEN, 0);
            assert_eq!(Header::parse(&bytes), Ok(h));
        }
    }

    #[test]
    fn bitmap_and_data_are_aligned() {
        let (bitmap_at, len, data_at) = header(false).layout();
        assert_eq!((bitmap_at, len, data_at), (8192, 1280, 12288));
    }

    #[test]
    fn foreign_and_broken_headers_are_refused() {
        assert!(Header::parse(&[0; 8]).is_err());
        let mut bytes = header(false).encode();
        bytes.resize(WIDE_HEADER_LEN, 0);
        bytes[20..24].fill(0);
        assert!(Header::parse(&bytes).is_err(), "a sector size of zero");
        let mut v2 = header(false).encode();
        v2[7] = 2;
        assert!(Header::parse(&v2).unwrap_err().contains("version"));
    }
}
