//! The contents of files: reading and writing through the page cache, and writing back.
//!
//! A write copies into pages first and allocates blocks for what arrived, so that nothing is allocated for bytes that a
//! fault cut off, and no block is ever part of a file before its page is in memory. Dirty pages go to disk when the
//! transaction that gave the file its blocks commits, on fsync(2) and sync(2), by the clock, and when too many are dirty.

use super::extent::{Extent, Mapping};
use super::volume::{Core, File};
use crate::error::{Errno, Result};
use crate::fs::inode::{FallocateMode, SeekTarget, Timestamp};
use crate::fs::page_cache::{self, PAGE};
use crate::fs::permission;
use crate::mm::{IovDest, IovSource};
use alloc::vec::Vec;

/// Pages that are read at once when one is missing and the ones before it were read: 128 KB.
const READ_AHEAD: u64 = 32;
/// Bytes that are written to the device in one call.
const WRITE_RUN: usize = 1 << 20;
/// Bytes of one step of a write, which is one operation of a transaction.
pub(super) const WRITE_STEP: usize = 1 << 20;
/// Largest file: 2^32 − 1 blocks.
const MAX_BLOCKS: u64 = u32::MAX as u64;

impl Core {
    /// Largest size of a file in bytes.
    pub fn max_size(&self) -> u64 {
        MAX_BLOCKS * self.block_size()
    }

    /// Reads the pages `from..to` of a file from the device; holes and unwritten blocks are zeros.
    fn load_pages(&mut self, file: &mut File, from: u64, to: u64) -> Result<()> {
        let bs = self.block_size();
        let mut bytes = alloc::vec![0u8; ((to - from) * PAGE) as usize];
        let (start, end) = (from * PAGE, (to * PAGE).min(file.inode.size.next_multiple_of(bs)));
        let mut at = start;
        while at < end {
            let n = match file.extents.look(at / bs) {
                Mapping::Hole { run } => run.saturating_mul(bs).min(end - at),
                Mapping::Mapped { physical, run, unwritten } => {
                    let n = (run * bs).min(end - at);
                    if !unwritten {
                        let part = &mut bytes[(at - start) as usize..(at - start + n) as usize];
                        self.device.read_at(part, physical * bs)?;
                    }
                    n
                }
            };
            at += n;
        }
        // What the last block holds behind the file's end is nobody's.
        let live = file.inode.size.saturating_sub(start).min(bytes.len() as u64) as usize;
        bytes[live..].fill(0);
        for (index, bytes) in (from..to).zip(bytes.chunks_exact(PAGE as usize)) {
            let mut page = page_cache::zero_page();
            page.copy_from_slice(bytes);
            file.pages.fill(index, page);
        }
        Ok(())
    }

    fn load_missing(&mut self, file: &mut File, first: u64, last: u64) -> Result<()> {
        let mut index = first;
        while index <= last {
            if !file.pages.lacks(index) {
                index += 1;
                continue;
            }
            let mut to = index + 1;
            while to <= last && to - index < 256 && file.pages.lacks(to) {
                to += 1;
            }
            self.load_pages(file, index, to)?;
            index = to;
        }
        Ok(())
    }

    /// read(2) from a regular file.
    pub fn read_file(&mut self, file: &mut File, dst: &mut IovDest<'_>, offset: u64) -> Result<usize> {
        let Some(left) = file.inode.size.checked_sub(offset).filter(|&n| n > 0) else { return Ok(0) };
        let len = dst.remaining().min(usize::try_from(left).unwrap_or(usize::MAX));
        if len == 0 {
            return Ok(0);
        }
        self.tick += 1;
        file.used = self.tick;
        let mut done = 0;
        loop {
            let n = file.pages.copy_out(dst, offset + done as u64, len - done)?;
            done += n;
            let at = offset + done as u64;
            if done == len || !file.pages.lacks(at / PAGE) {
                return Ok(done);
            }
            let last = (offset + len as u64 - 1) / PAGE;
            let ahead = if at / PAGE == 0 || !file.pages.lacks(at / PAGE - 1) { READ_AHEAD } else { 1 };
            let end = file.inode.size.div_ceil(PAGE);
            let to = (last + 1).min(at / PAGE + 256).max((at / PAGE + ahead).min(end));
            if let Err(e) = self.load_pages(file, at / PAGE, to) {
                return if done > 0 { Ok(done) } else { Err(e) };
            }
        }
    }

    /// One step of write(2), of at most [`WRITE_STEP`] bytes.
    pub fn write_file(&mut self, file: &mut File, src: &mut IovSource<'_>, offset: u64) -> Result<usize> {
        let bs = self.block_size();
        let room = self.max_size().checked_sub(offset).filter(|&n| n > 0).ok_or(Errno::EFBIG)?;
        let len = src.remaining().min(WRITE_STEP).min(usize::try_from(room).unwrap_or(usize::MAX));
        if len == 0 {
            return Ok(0);
        }
        self.tick += 1;
        file.used = self.tick;
        let end = offset + len as u64;
        let (first, last) = (offset / PAGE, (end - 1) / PAGE);
        // Pages that are covered in part must be whole before; those in between are made by the copy.
        if !offset.is_multiple_of(PAGE) {
            self.load_missing(file, first, first)?;
        }
        if !end.is_multiple_of(PAGE) {
            self.load_missing(file, last, last)?;
        }
        // A mapped file is as long as it says: it must be longer before bytes go there.
        let old_size = file.inode.size;
        if file.pages.is_mapped() && end > old_size {
            file.pages.set_size(old_size, end)?;
        }
        let copied = file.pages.copy_in(src, offset, len);
        let n = *copied.as_ref().unwrap_or(&0) as u64;
        let mut kept = 0;
        let mut result = copied;
        if n > 0 {
            match self.ensure_blocks(file, offset / bs, (offset + n).div_ceil(bs), false) {
                Ok(to) => kept = (to * bs).min(offset + n) - offset,
                Err(e) => result = Err(e),
            }
            if kept < n {
                // No room for these: what the pages hold for blocks that are not there must not be seen again.
                self.undo_unmapped(file, offset + kept, offset + n)?;
            }
        }
        let new_size = old_size.max(if kept > 0 { offset + kept } else { 0 });
        if file.pages.is_mapped() && end > old_size && new_size < end {
            file.pages.set_size(end, new_size)?;
        }
        if kept > 0 {
            if new_size > old_size {
                // fdatasync(2) wants the size, too, even where the block was there.
                self.tx.ordered.insert(file.ino);
            }
            file.inode.size = new_size;
            self.dirty_data.insert(file.ino);
            let now = Timestamp::now();
            (file.inode.mtime, file.inode.ctime) = (now, now);
            file.inode.mode = permission::mode_after_write(file.inode.mode.into()) as u16;
            self.note_inode(file);
            return Ok(kept as usize);
        }
        if file.pages.is_dirty() {
            self.dirty_data.insert(file.ino);
        }
        result
    }

    fn undo_unmapped(&mut self, file: &mut File, from: u64, to: u64) -> Result<()> {
        let bs = self.block_size();
        let mut at = from;
        while at < to {
            let block_end = ((at / bs) + 1) * bs;
            if matches!(file.extents.look(at / bs), Mapping::Hole { .. }) {
                file.pages.zero_range(at, block_end.min(to), false)?;
            }
            at = block_end;
        }
        Ok(())
    }

    /// Writes a file's dirty pages to their blocks.
    pub fn write_back(&mut self, file: &mut File) -> Result<()> {
        if !file.pages.is_dirty() {
            return Ok(());
        }
        let mapped_writable = file.pages.mapped_writable();
        let bs = self.block_size();
        let size = file.inode.size;
        let mut run: Vec<u8> = Vec::new();
        let mut run_at = 0u64;
        let mut page = page_cache::zero_page();
        for index in file.pages.dirty_pages(size) {
            file.pages.read_page(index, &mut page[..])?;
            let first = index * PAGE / bs;
            if mapped_writable {
                self.back_mapped_page(file, first, size, &page[..])?;
            }
            for (i, bytes) in page.chunks_exact(bs as usize).enumerate() {
                let block = first + i as u64;
                let Mapping::Mapped { physical, unwritten: false, .. } = file.extents.look(block) else { continue };
                if run.len() >= WRITE_RUN || (!run.is_empty() && physical * bs != run_at + run.len() as u64) {
                    self.device.write_at(&run, run_at)?;
                    run.clear();
                }
                if run.is_empty() {
                    run_at = physical * bs;
                }
                run.extend_from_slice(bytes);
            }
        }
        if !run.is_empty() {
            self.device.write_at(&run, run_at)?;
        }
        file.pages.written();
        if file.pages.is_dirty() {
            self.dirty_data.insert(file.ino);
        } else {
            self.dirty_data.remove(&file.ino);
        }
        Ok(())
    }

    /// Blocks for what a program stored through a mapping into a hole.
    fn back_mapped_page(&mut self, file: &mut File, first: u64, size: u64, page: &[u8]) -> Result<()> {
        let bs = self.block_size();
        for (i, bytes) in page.chunks_exact(bs as usize).enumerate() {
            let block = first + i as u64;
            let there = matches!(file.extents.look(block), Mapping::Mapped { unwritten: false, .. });
            if !there && block * bs < size && bytes.iter().any(|&b| b != 0) {
                match self.ensure_blocks(file, block, block + 1, false) {
                    // The program that stored it is long past: as on Linux, the log is all that can be told.
                    Err(e) if e.errno() == Errno::ENOSPC => {
                        crate::klog!(Error, "ext4 ({}): no space for a mapped page of inode {}", self.name, file.ino);
                    }
                    other => drop(other?),
                }
            }
        }
        Ok(())
    }

    /// Gives a file another size (truncate(2)).
    pub fn resize_file(&mut self, file: &mut File, size: u64) -> Result<()> {
        if size > self.max_size() {
            return Err(Errno::EFBIG.into());
        }
        let bs = self.block_size();
        let old = file.inode.size;
        if size < old {
            if !size.is_multiple_of(PAGE) && !file.pages.is_mapped() {
                // The tail of the last page becomes zero, on disk, too.
                self.load_missing(file, size / PAGE, size / PAGE)?;
            }
            file.pages.set_size(old, size)?;
            if !size.is_multiple_of(bs) {
                file.pages.mark_dirty(size / PAGE);
                self.dirty_data.insert(file.ino);
                self.tx.ordered.insert(file.ino);
            }
            // Blocks behind the end go also where fallocate put them there.
            self.remove_blocks(file, size.div_ceil(bs), u64::MAX)?;
        } else {
            if file.pages.is_mapped() {
                file.pages.set_size(old, size)?;
            }
            if size == old {
                self.remove_blocks(file, size.div_ceil(bs), u64::MAX)?;
            }
        }
        file.inode.size = size;
        self.tx.ordered.insert(file.ino);
        self.note_inode(file);
        Ok(())
    }

    /// fallocate(2).
    pub fn allocate_range(&mut self, file: &mut File, mode: FallocateMode, offset: u64, len: u64) -> Result<()> {
        let bs = self.block_size();
        let end = offset.checked_add(len).filter(|&e| e <= self.max_size()).ok_or(Errno::EFBIG)?;
        let (keep_size, zero) = match mode {
            FallocateMode::Allocate { keep_size } => (keep_size, false),
            FallocateMode::ZeroRange { keep_size } => (keep_size, true),
            FallocateMode::PunchHole => (true, true),
        };
        if zero {
            self.zero_range(file, offset, end.min(file.inode.size.next_multiple_of(bs)))?;
        }
        if mode != FallocateMode::PunchHole {
            let to = end.div_ceil(bs);
            let mut at = offset / bs;
            while at < to {
                at = self.ensure_blocks(file, at, to, true)?;
            }
            if !keep_size && end > file.inode.size {
                if file.pages.is_mapped() {
                    file.pages.set_size(file.inode.size, end)?;
                }
                file.inode.size = end;
            }
        }
        let now = Timestamp::now();
        (file.inode.mtime, file.inode.ctime) = (now, now);
        self.note_inode(file);
        Ok(())
    }

    /// Makes a range read as zeros: whole blocks go, the others are zeroed in their pages.
    fn zero_range(&mut self, file: &mut File, from: u64, to: u64) -> Result<()> {
        let (bs, size) = (self.block_size(), file.inode.size);
        if from >= to.min(size) {
            return Ok(());
        }
        // A range that goes to the file's end takes the last block whole.
        let to = if to >= size { size.next_multiple_of(bs) } else { to };
        for edge in [from, to.min(size) - 1] {
            self.load_missing(file, edge / PAGE, edge / PAGE)?;
        }
        file.pages.zero_range(from, to.min(size), true)?;
        self.remove_blocks(file, from.div_ceil(bs), to / bs)?;
        self.dirty_data.insert(file.ino);
        self.tx.ordered.insert(file.ino);
        Ok(())
    }

    /// lseek(2) with SEEK_DATA or SEEK_HOLE. Unwritten blocks count as holes unless their pages are dirty, which they are
    /// not: writing makes them written.
    pub fn seek_file(&self, file: &File, offset: u64, target: SeekTarget) -> Result<u64> {
        let (bs, size) = (self.block_size(), file.inode.size);
        if offset >= size {
            return Err(Errno::ENXIO.into());
        }
        let mut at = offset / bs;
        while at * bs < size {
            let (data, run) = match file.extents.look(at) {
                Mapping::Mapped { run, unwritten, .. } => (!unwritten, run),
                Mapping::Hole { run } => (false, run),
            };
            if data == (target == SeekTarget::Data) {
                return Ok((at * bs).max(offset));
            }
            at = at.saturating_add(run.min(size));
        }
        if target == SeekTarget::Hole { Ok(size) } else { Err(Errno::ENXIO.into()) }
    }

    /// The file as a host memory file, to be mapped.
    pub fn map_file(&mut self, file: &mut File, writable: bool) -> Result<alloc::sync::Arc<crate::host::HostFd>> {
        if !file.pages.is_mapped() {
            let pages = file.inode.size.div_ceil(PAGE);
            if pages > 0 {
                self.load_missing(file, 0, pages - 1)?;
            }
            file.pages.move_to_host(file.inode.size)?;
        }
        self.tick += 1;
        file.used = self.tick;
        if writable {
            self.dirty_data.insert(file.ino);
        }
        file.pages.map_host(writable)
    }

    /// Reads the whole of a small object: a symbolic link's block.
    pub fn read_small(&mut self, file: &mut File) -> Result<Vec<u8>> {
        let bs = self.block_size();
        let size = file.inode.size;
        let Mapping::Mapped { physical, unwritten: false, .. } = file.extents.look(0) else {
            return Err(super::volume::damaged("a symbolic link without its text"));
        };
        if size >= bs {
            return Err(super::volume::damaged("a symbolic link that is too long"));
        }
        let block = self.block(physical, super::buffer::Kind::Plain)?;
        Ok(block[..size as usize].to_vec())
    }

    /// Gives a new symbolic link its text.
    pub fn write_link(&mut self, file: &mut File, text: &[u8]) -> Result<()> {
        file.inode.size = text.len() as u64;
        if text.len() < 60 {
            file.inode.block_mut()[..text.len()].copy_from_slice(text);
            return Ok(());
        }
        if text.len() as u64 >= self.block_size() {
            return Err(Errno::ENAMETOOLONG.into());
        }
        let block = self.allocate_block(self.home_block(file.ino))?;
        self.cache.insert_new(block, super::buffer::Kind::Plain);
        self.block_mut(block, super::buffer::Kind::Plain)?[..text.len()].copy_from_slice(text);
        file.extents.insert(Extent { logical: 0, len: 1, physical: block, unwritten: false });
        file.inode.sectors += self.block_size() / 512;
        self.store_extents(file)
    }

    /// Writes back what a long write left dirty, once it is more than a tenth of what may be cached.
    pub fn throttle(&mut self, file: &mut File) -> Result<()> {
        if file.pages.dirty_count() as u64 > page_cache::limit() / 10 {
            self.write_back(file)?;
        }
        Ok(())
    }
}
