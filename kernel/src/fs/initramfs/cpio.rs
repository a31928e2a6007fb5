//! The "newc" cpio format (Linux: Documentation/driver-api/early-userspace/buffer-format.rst): a header of 110 characters,
//! the name with its NUL, padding to four bytes, the data, padding to four bytes. `TRAILER!!!` ends an archive.

use alloc::format;
use alloc::string::String;

const HEADER: usize = 110;
const TRAILER: &[u8] = b"TRAILER!!!";

/// Whether an archive begins here.
pub(super) fn is_archive(b: &[u8]) -> bool {
    b.starts_with(b"070701") || b.starts_with(b"070702")
}

/// One object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry<'a> {
    pub ino: u32,
    /// Type and permissions, as `st_mode`.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub links: u32,
    /// Seconds since 1970.
    pub mtime: u32,
    /// Major and minor number of the device that it was on.
    pub device: (u32, u32),
    /// Of a device: which one.
    pub special: (u32, u32),
    pub name: &'a [u8],
    pub data: &'a [u8],
}

/// Walks through an archive.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0 }
    }

    /// What follows the archive.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(len);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| format!("the cpio archive is cut short at byte {}", self.at))?;
        self.at = (self.at + len).next_multiple_of(4);
        Ok(taken)
    }

    /// The next object; `None` at the archive's end.
    pub fn next(&mut self) -> Result<Option<Entry<'a>>, String> {
        let start = self.at;
        let header = self.bytes.get(start..start + HEADER).filter(|h| is_archive(h));
        let header = header.ok_or_else(|| format!("no cpio header (newc) at byte {start}"))?;
        self.at = start + HEADER;
        let field = |n: usize| {
            let text = core::str::from_utf8(&header[6 + 8 * n..14 + 8 * n]).ok();
            text.and_then(|t| u32::from_str_radix(t, 16).ok())
                .ok_or_else(|| format!("a bad cpio header at byte {start}"))
        };
        let (data_len, name_len) = (field(6)? as usize, field(11)? as usize);
        // The name is padded together with the header.
        let end = self.at.checked_add(name_len).filter(|&e| name_len > 0 && e <= self.bytes.len());
        let end = end.ok_or_else(|| format!("a bad cpio name at byte {start}"))?;
        let name = &self.bytes[self.at..end - 1];
        self.at = start + (HEADER + name_len).next_multiple_of(4);
        let data = self.take(data_len)?;
        if name == TRAILER {
            return Ok(None);
        }
        Ok(Some(Entry {
            ino: field(0)?,
            mode: field(1)?,
            uid: field(2)?,
            gid: field(3)?,
            links: field(4)?,
            mtime: field(5)?,
            device: (field(7)?, field(8)?),
            special: (field(9)?, field(10)?),
            name,
            data,
        }))
    }
}
