//! Extended attributes: behind the inode's fields, and in one block.
//!
//! Reading looks at both places. Changing reads all attributes, changes the list and writes it anew: into the inode as
//! many as fit, the others into the block, which is made, kept or freed as needed. A block that several inodes share is left
//! to the others.

use super::buffer::Kind;
use super::bytes::{le16, le32, put16, put32};
use super::checksum::crc32c;
use super::volume::{Core, File, damaged};
use crate::error::{Errno, Result};
use crate::fs::inode::{Timestamp, XattrMode};
use alloc::boxed::Box;
use alloc::vec::Vec;

const MAGIC: u32 = 0xea02_0000;
/// Bytes of the header in the inode and in a block.
const BODY_HEADER: usize = 4;
const BLOCK_HEADER: usize = 32;
/// Bytes of an entry before its name.
const FIXED: usize = 16;

/// Name prefixes by number. ACLs have forms of their own on disk and are not served.
const PREFIXES: &[(u8, &[u8])] = &[(1, b"user."), (4, b"trusted."), (6, b"security."), (7, b"system.")];

/// An attribute: prefix number, the rest of its name, value.
struct Attribute {
    prefix: u8,
    name: Box<[u8]>,
    value: Vec<u8>,
}

impl Attribute {
    fn entry_len(&self) -> usize {
        (FIXED + self.name.len() + 3) & !3
    }

    fn value_len(&self) -> usize {
        (self.value.len() + 3) & !3
    }

    /// The order in which Linux looks entries up in a block.
    fn order(&self) -> (u8, usize, &[u8]) {
        (self.prefix, self.name.len(), &self.name)
    }

    /// `e_hash`: over the name and the value's words.
    fn hash(&self) -> u32 {
        let mut hash = 0u32;
        for &c in &self.name {
            // The name's bytes count as signed.
            hash = (hash << 5) ^ (hash >> 27) ^ (c as i8 as u32);
        }
        let mut padded = self.value.clone();
        padded.resize(self.value_len(), 0);
        for word in padded.chunks_exact(4) {
            hash = (hash << 16) ^ (hash >> 16) ^ le32(word, 0);
        }
        hash
    }
}

/// The checksum of an attribute block.
pub(super) fn block_checksum(b: &[u8], block: u64, seed: u32) -> u32 {
    let crc = crc32c(crc32c(seed, &block.to_le_bytes()), &b[..16]);
    crc32c(crc32c(crc, &[0; 4]), &b[20..])
}

fn split(name: &[u8]) -> Result<(u8, &[u8])> {
    for &(number, prefix) in PREFIXES {
        if let Some(rest) = name.strip_prefix(prefix) {
            if rest.is_empty() {
                return Err(Errno::EINVAL.because("an attribute without a name"));
            }
            if number == 7 {
                break;
            }
            return Ok((number, rest));
        }
    }
    Err(Errno::EOPNOTSUPP.because("no such name space of attributes on ext4 here"))
}

/// Parses entries from `at` on; values are relative to `base`.
fn parse(b: &[u8], mut at: usize, base: usize, out: &mut Vec<Attribute>) -> Option<()> {
    while b.len() >= at + 4 && le32(b, at) != 0 {
        let name_len = usize::from(b[at]);
        let name = b.get(at + FIXED..at + FIXED + name_len)?;
        let (offset, len) = (base + usize::from(le16(b, at + 2)), le32(b, at + 8) as usize);
        if le32(b, at + 4) != 0 {
            return None;
        }
        let value = if len == 0 { &[][..] } else { b.get(offset..offset.checked_add(len)?)? };
        out.push(Attribute { prefix: b[at + 1], name: name.into(), value: value.to_vec() });
        at += (FIXED + name_len + 3) & !3;
    }
    Some(())
}

/// Writes entries from `at` on, values from the end of `b` downwards.
fn put(b: &mut [u8], mut at: usize, base: usize, list: &[Attribute], hashes: bool) {
    let mut end = b.len();
    for a in list {
        end -= a.value_len();
        b[at] = a.name.len() as u8;
        b[at + 1] = a.prefix;
        put16(b, at + 2, if a.value.is_empty() { 0 } else { (end - base) as u16 });
        put32(b, at + 4, 0);
        put32(b, at + 8, a.value.len() as u32);
        put32(b, at + 12, if hashes { a.hash() } else { 0 });
        b[at + FIXED..at + FIXED + a.name.len()].copy_from_slice(&a.name);
        b[end..end + a.value.len()].copy_from_slice(&a.value);
        at += a.entry_len();
    }
}

impl Core {
    fn xattrs(&mut self, file: &File) -> Result<Vec<Attribute>> {
        let mut list = Vec::new();
        let bad = || damaged("an inode's extended attributes make no sense");
        let body = file.inode.body_xattrs();
        if le32(body, 0) == MAGIC {
            parse(body, BODY_HEADER, BODY_HEADER, &mut list).ok_or_else(bad)?;
        }
        if file.inode.xattr_block != 0 {
            let b = self.xattr_block(file.inode.xattr_block)?;
            parse(b, BLOCK_HEADER, 0, &mut list).ok_or_else(bad)?;
        }
        Ok(list)
    }

    fn xattr_block(&mut self, block: u64) -> Result<&mut [u8]> {
        let fresh = !self.cache.holds(block);
        if self.in_system_zone(block, 1) {
            return Err(damaged("extended attributes in a block of the file system's own"));
        }
        let (seed, csum) = (self.sb.seed, self.sb.metadata_csum());
        let b = self.block(block, Kind::Xattrs)?;
        if le32(b, 0) != MAGIC || (fresh && csum && block_checksum(b, block, seed) != le32(b, 16)) {
            return Err(damaged("a block of extended attributes makes no sense"));
        }
        Ok(b)
    }

    /// getxattr(2).
    pub fn get_xattr(&mut self, file: &File, name: &[u8]) -> Result<Vec<u8>> {
        let (prefix, rest) = split(name)?;
        let found = self.xattrs(file)?.into_iter().find(|a| a.prefix == prefix && &*a.name == rest);
        found.map(|a| a.value).ok_or_else(|| Errno::ENODATA.into())
    }

    /// listxattr(2).
    pub fn list_xattrs(&mut self, file: &File) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        for a in self.xattrs(file)? {
            let Some((_, prefix)) = PREFIXES.iter().find(|(n, _)| *n == a.prefix && *n != 7) else { continue };
            out.extend_from_slice(prefix);
            out.extend_from_slice(&a.name);
            out.push(0);
        }
        Ok(out)
    }

    /// setxattr(2) and removexattr(2), which has no value.
    pub fn change_xattr(&mut self, file: &mut File, name: &[u8], value: Option<&[u8]>, mode: XattrMode) -> Result<()> {
        let (prefix, rest) = split(name)?;
        let mut list = self.xattrs(file)?;
        let at = list.iter().position(|a| a.prefix == prefix && &*a.name == rest);
        match (mode, at, value) {
            (XattrMode::Create, Some(_), _) => return Err(Errno::EEXIST.into()),
            (XattrMode::Replace, None, _) | (_, None, None) => return Err(Errno::ENODATA.into()),
            _ => {}
        }
        if let Some(at) = at {
            list.remove(at);
        }
        if let Some(value) = value {
            list.push(Attribute { prefix, name: rest.into(), value: value.to_vec() });
        }
        list.sort_by(|a, b| a.order().cmp(&b.order()));
        self.store_xattrs(file, list)?;
        file.inode.ctime = Timestamp::now();
        self.note_inode(file);
        Ok(())
    }

    fn store_xattrs(&mut self, file: &mut File, list: Vec<Attribute>) -> Result<()> {
        // Four zero bytes end the entries.
        let fits = |room: usize, used: usize, a: &Attribute| used + a.entry_len() + a.value_len() + 4 <= room;
        let (mut body, mut block) = (Vec::new(), Vec::new());
        let (mut in_body, mut in_block) = (BODY_HEADER, BLOCK_HEADER);
        let body_room = file.inode.body_xattrs().len();
        for a in list {
            let size = a.entry_len() + a.value_len();
            if fits(body_room, in_body, &a) {
                in_body += size;
                body.push(a);
            } else if fits(self.sb.block_size, in_block, &a) {
                in_block += size;
                block.push(a);
            } else {
                return Err(Errno::ENOSPC.because("no more room for extended attributes of this inode"));
            }
        }
        self.store_block(file, &block)?;
        let raw = file.inode.body_xattrs_mut();
        raw.fill(0);
        if !body.is_empty() {
            put32(raw, 0, MAGIC);
            put(raw, BODY_HEADER, BODY_HEADER, &body, false);
        }
        Ok(())
    }

    fn store_block(&mut self, file: &mut File, list: &[Attribute]) -> Result<()> {
        if list.is_empty() {
            return self.free_xattr_block(file);
        }
        let old = file.inode.xattr_block;
        let shared = old != 0 && le32(self.xattr_block(old)?, 4) > 1;
        let block = if old != 0 && !shared {
            old
        } else {
            let new = self.allocate_block(self.home_block(file.ino))?;
            self.cache.insert_new(new, Kind::Xattrs);
            if shared {
                self.free_xattr_block(file)?;
            }
            file.inode.xattr_block = new;
            file.inode.sectors += self.block_size() / 512;
            new
        };
        let b = self.block_mut(block, Kind::Xattrs)?;
        b.fill(0);
        put32(b, 0, MAGIC);
        put32(b, 4, 1);
        put32(b, 8, 1);
        put(b, BLOCK_HEADER, 0, list, true);
        Ok(())
    }

    /// Takes the attribute block from an inode; frees it if no other has it.
    pub fn free_xattr_block(&mut self, file: &mut File) -> Result<()> {
        let block = core::mem::take(&mut file.inode.xattr_block);
        if block == 0 {
            return Ok(());
        }
        file.inode.sectors = file.inode.sectors.saturating_sub(self.block_size() / 512);
        let users = le32(self.xattr_block(block)?, 4);
        if users > 1 {
            put32(self.block_mut(block, Kind::Xattrs)?, 4, users - 1);
            return Ok(());
        }
        self.free_blocks(block, 1, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(name: &[u8], value: &[u8]) -> Attribute {
        Attribute { prefix: 1, name: name.into(), value: value.to_vec() }
    }

    #[test]
    fn entries_are_read_as_written() {
        let mut b = [0u8; 256];
        put(&mut b, 4, 4, &[attribute(b"colour", b"blue"), attribute(b"e", b"")], false);
        let mut list = Vec::new();
        parse(&b, 4, 4, &mut list).unwrap();
        let got: Vec<_> = list.iter().map(|a| (&*a.name, a.value.as_slice())).collect();
        assert_eq!(got, [(&b"colour"[..], &b"blue"[..]), (b"e", b"")]);
    }

    #[test]
    fn values_outside_are_refused() {
        let mut b = [0u8; 64];
        put(&mut b, 4, 4, &[attribute(b"x", b"1234")], false);
        put32(&mut b, 12, 60);
        assert!(parse(&b, 4, 4, &mut Vec::new()).is_none());
    }
}
