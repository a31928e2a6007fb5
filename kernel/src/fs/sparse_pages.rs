//! Pages of a file in the kernel's heap, by their numbers in the file: what tmpfs stores, and what the page cache holds
//! of a file until it is mapped.
//!
//! Pages come in groups of sixteen, so that reading in order looks something up once in 64 KB. What a missing page
//! means (a hole, or something that is still on the disk), what is charged for pages, and which are dirty, is the
//! owners' business.

use crate::abi::PAGE_SIZE;
use crate::error::{Errno, Result};
use crate::mm::{IovDest, IovSource};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;
use rustix::fd::OwnedFd;
use rustix::fs::MemfdFlags;

/// Bytes of a page.
pub const PAGE: u64 = PAGE_SIZE as u64;
/// Pages of a group.
const GROUP: u64 = 16;

/// One page.
pub type Page = [u8; PAGE_SIZE];

/// A page of zeros.
pub fn zero_page() -> Box<Page> {
    // Made on the heap: as an array it would lie on the kernel's stack first.
    match alloc::vec![0u8; PAGE_SIZE].into_boxed_slice().try_into() {
        Ok(page) => page,
        Err(_) => Box::new([0; PAGE_SIZE]),
    }
}

#[derive(Default)]
struct Group {
    pages: [Option<Box<Page>>; GROUP as usize],
}

impl Group {
    fn is_empty(&self) -> bool {
        self.pages.iter().all(Option::is_none)
    }
}

/// What reading does where no page is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    /// It stops.
    Stop,
    /// It reads zeros.
    Zeros,
}

/// What happens to a page that a write needs and that is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewPage {
    /// It is about to be made; an error ends the write.
    Made,
    /// It is dropped again, because nothing, or not all that was to come, came into it.
    Dropped,
}

/// Bytes of a file, in pages of which any may be missing.
#[derive(Default)]
pub struct SparsePages {
    groups: BTreeMap<u64, Box<Group>>,
    count: u64,
}

/// Place of `at` in its page, and how many of `left` bytes lie in that page.
fn within(at: u64, left: usize) -> (usize, usize) {
    let start = (at % PAGE) as usize;
    (start, (PAGE_SIZE - start).min(left))
}

impl SparsePages {
    /// How many pages there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The page of that number.
    pub fn get(&self, index: u64) -> Option<&Page> {
        self.groups.get(&(index / GROUP))?.pages[(index % GROUP) as usize].as_deref()
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, index: u64) -> Option<&mut Page> {
        self.groups.get_mut(&(index / GROUP))?.pages[(index % GROUP) as usize].as_deref_mut()
    }

    /// Whether the page is there.
    pub fn contains(&self, index: u64) -> bool {
        self.get(index).is_some()
    }

    /// Enters a page unless there is one; tells whether it did.
    pub fn insert(&mut self, index: u64, page: Box<Page>) -> bool {
        let place = &mut self.groups.entry(index / GROUP).or_default().pages[(index % GROUP) as usize];
        if place.is_some() {
            return false;
        }
        *place = Some(page);
        self.count += 1;
        true
    }

    /// Drops a page; tells whether it was there.
    pub fn remove(&mut self, index: u64) -> bool {
        let Some(group) = self.groups.get_mut(&(index / GROUP)) else { return false };
        let there = group.pages[(index % GROUP) as usize].take().is_some();
        self.count -= u64::from(there);
        if group.is_empty() {
            self.groups.remove(&(index / GROUP));
        }
        there
    }

    /// The numbers of the pages that are there, ascending.
    pub fn indices(&self, range: Range<u64>) -> impl Iterator<Item = u64> + '_ {
        let groups = self.groups.range(range.start / GROUP..range.end.div_ceil(GROUP).max(range.start / GROUP));
        groups
            .flat_map(|(g, group)| (g * GROUP..).zip(&group.pages).filter(|(_, p)| p.is_some()).map(|(i, _)| i))
            .filter(move |i| range.contains(i))
    }

    /// Reads at most `len` bytes from `offset` on.
    pub fn copy_out(&self, dst: &mut IovDest<'_>, offset: u64, len: usize, missing: Missing) -> Result<usize> {
        let len = len.min(dst.remaining());
        let mut done = 0;
        while done < len {
            let index = (offset + done as u64) / PAGE;
            let group = self.groups.get(&(index / GROUP));
            for slot in (index % GROUP) as usize..GROUP as usize {
                let (start, n) = within(offset + done as u64, len - done);
                let step = match (group.and_then(|g| g.pages[slot].as_deref()), missing) {
                    (Some(page), _) => dst.put(&page[start..start + n]),
                    (None, Missing::Zeros) => dst.put_zeros(n),
                    (None, Missing::Stop) => return Ok(done),
                };
                match step {
                    Ok(k) => done += k,
                    Err(_) if done > 0 => return Ok(done),
                    Err(e) => return Err(e),
                }
                if step.is_ok_and(|k| k < n) || done == len {
                    return Ok(done);
                }
            }
        }
        Ok(done)
    }

    /// Writes at most `len` bytes at `offset`. Pages that are missing are made after `note` agreed; one that comes only in
    /// part (a fault, or no more bytes than said) is dropped unless `keep_part`.
    pub fn copy_in(
        &mut self,
        src: &mut IovSource<'_>,
        offset: u64,
        len: usize,
        keep_part: bool,
        note: &mut dyn FnMut(NewPage) -> Result<()>,
    ) -> Result<usize> {
        let len = len.min(src.remaining());
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let (start, n) = within(at, len - done);
            let fresh = !self.contains(at / PAGE);
            let ready = if fresh { note(NewPage::Made) } else { Ok(()) };
            let step = ready.and_then(|()| {
                if fresh {
                    self.insert(at / PAGE, zero_page());
                }
                let page = self.get_mut(at / PAGE).ok_or(Errno::EIO)?;
                src.take(&mut page[start..start + n])
            });
            let came = *step.as_ref().unwrap_or(&0);
            if fresh && came < n && (came == 0 || !keep_part) {
                if self.remove(at / PAGE) {
                    note(NewPage::Dropped)?;
                }
                return if done > 0 { Ok(done) } else { step.and(Err(Errno::EFAULT.into())) };
            }
            match step {
                Ok(k) => done += k,
                Err(_) if done > 0 => break,
                Err(e) => return Err(e),
            }
            if came < n {
                break;
            }
        }
        Ok(done)
    }

    /// Makes `from..to` zeros where pages are: whole ones go if `drop_whole`. `touched` hears of each page, and whether it
    /// went.
    pub fn zero_range(&mut self, from: u64, to: u64, drop_whole: bool, mut touched: impl FnMut(u64, bool)) {
        let there: Vec<u64> = self.indices(from / PAGE..to.div_ceil(PAGE)).collect();
        for i in there {
            let (a, b) = (from.max(i * PAGE) - i * PAGE, to.min((i + 1) * PAGE) - i * PAGE);
            let whole = drop_whole && a == 0 && b == PAGE;
            if whole {
                self.remove(i);
            } else if let Some(page) = self.get_mut(i) {
                page[a as usize..b as usize].fill(0);
            }
            touched(i, whole);
        }
    }

    /// Cuts the file off at `size`: pages behind it go, the rest of the last becomes zero. Tells how many went.
    pub fn cut(&mut self, size: u64) -> u64 {
        let end = size.div_ceil(PAGE);
        let behind = self.groups.split_off(&end.div_ceil(GROUP));
        let mut gone = behind.values().map(|g| g.pages.iter().flatten().count() as u64).sum();
        if let Some(group) = self.groups.get_mut(&(end / GROUP)) {
            gone += group.pages[(end % GROUP) as usize..].iter_mut().filter_map(Option::take).count() as u64;
            if group.is_empty() {
                self.groups.remove(&(end / GROUP));
            }
        }
        self.count -= gone;
        if let Some(page) = self.get_mut(size / PAGE) {
            page[(size % PAGE) as usize..].fill(0);
        }
        gone
    }

    /// The next page from `index` on that is there.
    pub fn next_present(&self, index: u64) -> Option<u64> {
        self.indices(index..u64::MAX - GROUP).next()
    }

    /// The next page from `index` on that is missing.
    pub fn next_missing(&self, mut index: u64) -> u64 {
        while self.contains(index) {
            index += 1;
        }
        index
    }

    /// The bytes as a host memory file of `size`.
    pub fn to_memory_file(&self, name: &core::ffi::CStr, flags: MemfdFlags, size: u64) -> Result<OwnedFd> {
        let fd = rustix::fs::memfd_create(name, flags | MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&fd, size)?;
        for i in self.indices(0..size.div_ceil(PAGE)) {
            let Some(page) = self.get(i) else { continue };
            let len = PAGE_SIZE.min(usize::try_from(size - i * PAGE).unwrap_or(PAGE_SIZE));
            let mut done = 0;
            while done < len {
                done += rustix::io::pwrite(&fd, &page[done..len], i * PAGE + done as u64)?;
            }
        }
        Ok(fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(p: &mut SparsePages, offset: u64, bytes: &[u8]) {
        let n = p.copy_in(&mut IovSource::kernel(bytes), offset, bytes.len(), false, &mut |_| Ok(())).unwrap();
        assert_eq!(n, bytes.len());
    }

    fn read(p: &SparsePages, offset: u64, len: usize, missing: Missing) -> Vec<u8> {
        let mut buf = alloc::vec![0xaa; len];
        let n = p.copy_out(&mut IovDest::kernel(&mut buf), offset, len, missing).unwrap();
        buf.truncate(n);
        buf
    }

    #[test]
    fn bytes_go_over_pages_and_groups() {
        let mut p = SparsePages::default();
        let bytes: Vec<u8> = (0..40 * PAGE_SIZE).map(|i| (i / 7) as u8).collect();
        write(&mut p, 13 * PAGE + 100, &bytes);
        assert_eq!(p.count(), 41);
        assert!(read(&p, 13 * PAGE + 100, bytes.len(), Missing::Stop) == bytes);
        assert_eq!(p.indices(0..20).collect::<Vec<_>>(), [13, 14, 15, 16, 17, 18, 19]);
        assert_eq!((p.next_present(0), p.next_present(54), p.next_missing(13)), (Some(13), None, 54));
    }

    #[test]
    fn what_is_missing_stops_or_is_zero() {
        let mut p = SparsePages::default();
        write(&mut p, 0, b"start");
        write(&mut p, 40 * PAGE, b"end");
        assert_eq!(read(&p, 0, 100 * PAGE_SIZE, Missing::Stop).len(), PAGE_SIZE);
        let all = read(&p, 0, 41 * PAGE_SIZE, Missing::Zeros);
        assert_eq!((all.len(), &all[40 * PAGE_SIZE..40 * PAGE_SIZE + 4]), (41 * PAGE_SIZE, &b"end\0"[..]));
        assert_eq!(read(&p, 20 * PAGE, 10, Missing::Stop), b"");
    }

    #[test]
    fn cutting_counts_right() {
        for pages in [0, 1, 15, 16, 17, 31, 32, 33] {
            let mut p = SparsePages::default();
            write(&mut p, 0, &[7; 40 * PAGE_SIZE]);
            assert_eq!(p.cut(pages * PAGE), 40 - pages);
            assert_eq!((p.count(), p.indices(0..100).count() as u64), (pages, pages));
            write(&mut p, 0, &[7; 40 * PAGE_SIZE]);
            assert_eq!(p.cut(pages * PAGE + 5), 39 - pages);
            assert_eq!(read(&p, pages * PAGE, PAGE_SIZE, Missing::Stop)[4..7], [7, 0, 0]);
        }
    }

    #[test]
    fn a_page_that_is_not_admitted_is_not_made() {
        let mut p = SparsePages::default();
        let mut left = 3;
        let n = p.copy_in(&mut IovSource::kernel(&[1; 5 * PAGE_SIZE]), 0, 5 * PAGE_SIZE, true, &mut |_| {
            left -= 1;
            if left < 0 { Err(Errno::ENOSPC.into()) } else { Ok(()) }
        });
        assert_eq!((n.unwrap(), p.count()), (3 * PAGE_SIZE, 3));
    }

    #[test]
    fn whole_pages_go_and_parts_are_zeroed() {
        let mut p = SparsePages::default();
        write(&mut p, 0, &[7; 20 * PAGE_SIZE]);
        let mut seen = Vec::new();
        p.zero_range(PAGE + 1, 3 * PAGE + 1, true, |i, gone| seen.push((i, gone)));
        assert_eq!(seen, [(1, false), (2, true), (3, false)]);
        assert_eq!(p.count(), 19);
        assert_eq!(read(&p, PAGE, 3, Missing::Stop), [7, 0, 0]);
    }
}
