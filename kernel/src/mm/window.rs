//! The guest window: which addresses are taken, which pages have memory, and how much of `mem=` is used.
//!
//! Theory of operation. All guest processes live in one range of the host process's address space, much larger than the
//! guest's memory. Address ranges are handed out to address spaces (`space`); a range costs nothing until it is touched.
//! The first touch faults; the owner of the range then has a chunk around the address populated, which is charged
//! against `mem=`. Freeing a range takes the memory away and makes it inaccessible, so that a stale pointer faults.
//!
//! The window has two zones. In the *image zone*, three of four gigabytes are kept free: the address `a + STUB_DISTANCE` of
//! every address `a` in the first belongs to the same owner and takes the stubs of patched sites, always in reach of a 32-bit
//! displacement and at a fixed distance, so that an image and its stubs can move together. Executable files go there.
//! Everything else comes from the *data zone*. A small segment below 3 GB takes programs that are linked to fixed addresses.
//!
//! The third zone, the *shared zone*, is never shown to programs at its own addresses: a shared memory object
//! (`shared_memory`) has its place in the memory file there, its *home*, and is mapped wherever programs want it, once or
//! often. Its pages are charged by the home's bits; at the other addresses bits of their own say which pages are accessible.
//!
//! Locks: one, of rank `Window`. Host calls are made under it: page states and host mappings change together.

use super::page_map::PageMap;
use crate::abi::PAGE_SIZE;
use crate::error::{Errno, Result};
use crate::host::{HostFd, HostWindow, Prot};
use crate::sync::{Once, Rank, SpinLock};
use alloc::collections::BTreeMap;
use core::ops::Range;

/// Distance from an image's code to its stubs: more than [`IMAGES`], so that they lie behind all images of their stretch.
pub const STUB_DISTANCE: usize = crate::arch::stub::DISTANCE;
/// The image zone is made of stretches of so many bytes, of which the first [`IMAGES`] take images.
const STRETCH: usize = 4 << 30;
const IMAGES: usize = 1 << 30;
const _: () = assert!(IMAGES <= STUB_DISTANCE && STUB_DISTANCE + IMAGES <= LOW_END && LOW_END <= STRETCH);

/// Address range of the window; costs page tables of the host only where it is touched.
const WINDOW_SIZE: usize = 1 << 40;
/// Part of the window that is the image zone.
const IMAGE_ZONE: usize = 1 << 38;

/// Part of the window, at its end, that is the shared zone.
const SHARED_ZONE: usize = 1 << 38;

/// The low segment, for programs linked to fixed addresses: above every `vm.mmap_min_addr`, below 2 GB, where such
/// programs' code must lie. Its first gigabyte is for them, what is above takes their stubs.
const LOW_START: usize = 0x10000;
const LOW_END: usize = 3 << 30;

/// Which part of the window a range comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Zone {
    /// Files and code, at most 1 GB each; stubs in reach.
    Image,
    /// Below 2 GB (MAP_32BIT); fixed-address programs are here, too.
    Low,
    /// Everything else.
    Data,
    /// Homes of shared memory objects.
    Shared,
}

/// Address ranges that nobody owns, by start.
#[derive(Default)]
struct FreeRanges(BTreeMap<usize, usize>);

impl FreeRanges {
    fn insert(&mut self, range: Range<usize>) {
        let (mut start, mut end) = (range.start, range.end);
        if let Some((&s, &e)) = self.0.range(..=start).next_back()
            && e >= start
        {
            start = s;
            end = end.max(e);
            self.0.remove(&s);
        }
        while let Some((&s, &e)) = self.0.range(start..=end).next() {
            end = end.max(e);
            self.0.remove(&s);
        }
        self.0.insert(start, end);
    }

    /// Whether the whole range is free.
    fn contains(&self, range: &Range<usize>) -> bool {
        self.0.range(..=range.start).next_back().is_some_and(|(_, &e)| e >= range.end)
    }

    fn remove(&mut self, range: &Range<usize>) -> bool {
        let Some((&s, &e)) = self.0.range(..=range.start).next_back() else { return false };
        if e < range.end {
            return false;
        }
        self.0.remove(&s);
        if s < range.start {
            self.0.insert(s, range.start);
        }
        if range.end < e {
            self.0.insert(range.end, e);
        }
        true
    }

    /// The highest free range of `len` bytes at a multiple of `align`.
    fn highest_fit(&self, len: usize, align: usize) -> Option<Range<usize>> {
        self.0.iter().rev().find_map(|(&s, &e)| {
            let start = e.checked_sub(len)? & !(align - 1);
            (start >= s).then_some(start..start + len)
        })
    }
}

struct State {
    image: FreeRanges,
    low: FreeRanges,
    data: FreeRanges,
    shared: FreeRanges,
    populated: PageMap,
    /// Pages that the host write-protects although their mapping can be written: their first write is to be seen.
    tracked: PageMap,
    /// Pages of mappings of shared objects that are accessible there.
    opened: PageMap,
    /// Pages charged against `mem=`.
    charged: usize,
    /// `mem=` in pages.
    limit: usize,
}

impl State {
    fn free(&mut self, zone: Zone) -> &mut FreeRanges {
        match zone {
            Zone::Image => &mut self.image,
            Zone::Low => &mut self.low,
            Zone::Data => &mut self.data,
            Zone::Shared => &mut self.shared,
        }
    }
}

/// The window.
pub struct Window {
    host: HostWindow,
    state: SpinLock<State>,
}

static WINDOW: Once<Window> = Once::new();

/// Makes the window, once. `mem` is the guest's memory in bytes.
pub fn init(mem: usize) -> Result<()> {
    let host = HostWindow::reserve(WINDOW_SIZE, LOW_START..LOW_END)?;
    let base = host.base();
    let mut image = FreeRanges::default();
    let mut at = base;
    while at < base + IMAGE_ZONE {
        image.insert(at..at + IMAGES);
        at += STRETCH;
    }
    let mut data = FreeRanges::default();
    let shared_zone = base + host.size() - SHARED_ZONE;
    data.insert(base + IMAGE_ZONE..shared_zone);
    let mut shared = FreeRanges::default();
    shared.insert(shared_zone..base + host.size());
    let mut low = FreeRanges::default();
    if !host.low().is_empty() {
        low.insert(LOW_START..IMAGES);
    }
    let pages = (host.size() + host.low().len()) / PAGE_SIZE;
    let limit = mem / PAGE_SIZE;
    let (populated, tracked, opened) = (PageMap::new(pages)?, PageMap::new(pages)?, PageMap::new(pages)?);
    let state = State { image, low, data, shared, populated, tracked, opened, charged: 0, limit };
    // Relatives share frames and are charged for each page: there are never more frames than charges, but for a moment.
    super::frames::init(2 * limit)?;
    WINDOW.call_once(|| Window { host, state: SpinLock::new(Rank::Window, state) });
    Ok(())
}

/// The window; `None` before [`init`] and in unit tests.
#[inline]
pub fn get() -> Option<&'static Window> {
    WINDOW.get()
}

/// The window, once the machine runs.
pub(super) fn window() -> &'static Window {
    get().expect("the guest window is made at boot")
}

impl Window {
    /// Whether a range lies in the window, where guest memory can be.
    #[inline]
    pub fn contains(&self, addr: usize, len: usize) -> bool {
        self.host.contains(addr, len)
    }

    /// First address of the window.
    pub fn base(&self) -> usize {
        self.host.base()
    }

    fn page(&self, addr: usize) -> usize {
        self.host.offset_of(addr) / PAGE_SIZE
    }

    fn pages(&self, range: &Range<usize>) -> Range<usize> {
        self.page(range.start)..self.page(range.end - 1) + 1
    }

    fn addresses(&self, pages: &Range<usize>) -> Range<usize> {
        let start = self.host.address_of(pages.start * PAGE_SIZE);
        start..start + pages.len() * PAGE_SIZE
    }

    fn zone_of(&self, addr: usize) -> Zone {
        if addr < LOW_END {
            Zone::Low
        } else if addr < self.host.base() + IMAGE_ZONE {
            Zone::Image
        } else if addr < self.host.base() + self.host.size() - SHARED_ZONE {
            Zone::Data
        } else {
            Zone::Shared
        }
    }

    /// Takes a free range of `len` bytes (a multiple of the page size), aligned to `align` (a power of two).
    pub fn take(&self, len: usize, align: usize, zone: Zone) -> Result<Range<usize>> {
        let mut s = self.state.lock();
        // Images larger than a gigabyte have no stubs in reach and stay on the safety net.
        let zone = if len > IMAGES && zone == Zone::Image { Zone::Data } else { zone };
        let free = s.free(zone);
        let range = free
            .highest_fit(len, align.max(PAGE_SIZE))
            .ok_or(Errno::ENOMEM.because("no address range of this size is free"))?;
        free.remove(&range);
        Ok(range)
    }

    /// Takes this very range if it is free.
    pub fn take_at(&self, range: Range<usize>) -> Result<()> {
        if range.is_empty() || !self.contains(range.start, range.len()) {
            return Err(Errno::ENOMEM.because("the address lies outside the guest window"));
        }
        let zone = self.zone_of(range.start);
        if zone == Zone::Shared {
            return Err(Errno::ENOMEM.because("the address lies outside what programs can have"));
        }
        let mut s = self.state.lock();
        if s.free(zone).remove(&range) { Ok(()) } else { Err(Errno::EEXIST.because("the address range is taken")) }
    }

    /// Whether this very range is free.
    pub fn is_free(&self, range: &Range<usize>) -> bool {
        if range.is_empty() || !self.contains(range.start, range.len()) {
            return false;
        }
        self.state.lock().free(self.zone_of(range.start)).contains(range)
    }

    /// Gives a range back; its memory is gone already ([`Window::discard`] or [`Window::unmap_file`]).
    pub fn give_back(&self, range: Range<usize>) {
        let mut s = self.state.lock();
        s.free(self.zone_of(range.start)).insert(range);
    }

    /// Gives memory to the pages of the range that have none and makes all of it accessible. ENOMEM when `mem=` is used
    /// up.
    pub fn populate(&self, range: Range<usize>, prot: Prot) -> Result<()> {
        let limit = self.state.lock().limit;
        self.populate_within(range, prot, limit)
    }

    fn populate_within(&self, range: Range<usize>, prot: Prot, limit: usize) -> Result<()> {
        self.populate_locked(&mut self.state.lock(), range, prot, limit)
    }

    fn populate_locked(&self, s: &mut State, range: Range<usize>, prot: Prot, limit: usize) -> Result<()> {
        let pages = self.pages(&range);
        let missing = pages.len() - s.populated.count(pages.clone());
        if missing > 0 && s.charged + missing > limit {
            return Err(Errno::ENOMEM.because("the guest's memory (mem=) is used up"));
        }
        self.host.protect(range.start, range.len(), prot)?;
        if prot.is_empty() {
            return Ok(());
        }
        if missing > 0 {
            self.host.populate(range.start, range.len(), prot.contains(Prot::WRITE))?;
        }
        s.tracked.set(pages.clone(), false);
        s.populated.set(pages, true);
        s.charged += missing;
        Ok(())
    }

    /// Makes the pages of the range readable and writable, with memory: those that can be written already are left
    /// alone. For memory that was taken out of the window and comes back: no limit applies.
    pub fn make_writable(&self, range: Range<usize>, can_be_written: bool) -> Result<()> {
        let mut s = self.state.lock();
        let ready = |s: &State, page| can_be_written && s.populated.get(page) && !s.tracked.get(page);
        let mut pages = self.pages(&range);
        while let Some(start) = pages.clone().find(|&p| !ready(&s, p)) {
            let end = (start..pages.end).find(|&p| ready(&s, p)).unwrap_or(pages.end);
            let addresses = self.addresses(&(start..end));
            self.populate_locked(&mut s, addresses, Prot::READ | Prot::WRITE, usize::MAX)?;
            pages.start = end;
        }
        Ok(())
    }

    /// Write-protects those pages of the range that have memory, or all of it if files are mapped there, so that the first
    /// write to each is seen. `prot` is what the mapping allows.
    pub fn track(&self, range: Range<usize>, prot: Prot) -> Result<()> {
        let mut s = self.state.lock();
        self.host.protect(range.start, range.len(), prot & !Prot::WRITE)?;
        let pages = self.pages(&range);
        s.tracked.set(pages, true);
        Ok(())
    }

    /// Ends the tracking of pages in the range: they get the access that the mapping allows.
    pub fn untrack(&self, range: Range<usize>, prot: Prot) -> Result<()> {
        let mut s = self.state.lock();
        let pages = self.pages(&range);
        let mut from = pages.start;
        loop {
            let Some(run) = s.tracked.runs(from..pages.end, true).next() else { return Ok(()) };
            let at = self.addresses(&run);
            self.host.protect(at.start, at.len(), prot)?;
            from = run.end;
            s.tracked.set(run, false);
        }
    }

    /// Whether the first write to the page at `addr` is to be seen.
    pub fn is_tracked(&self, addr: usize) -> bool {
        self.state.lock().tracked.get(self.page(addr))
    }

    /// Charges pages that are kept outside the window. With `strict`, ENOMEM when `mem=` is used up.
    pub fn charge(&self, pages: usize, strict: bool) -> Result<()> {
        let mut s = self.state.lock();
        if strict && s.charged + pages > s.limit {
            return Err(Errno::ENOMEM.because("the guest's memory (mem=) is used up"));
        }
        s.charged += pages;
        Ok(())
    }

    /// Ends the charge of pages that were kept outside the window.
    pub fn uncharge(&self, pages: usize) {
        self.state.lock().charged -= pages;
    }

    /// Whether the page at `addr` has memory of its own, or shows a shared object's that has.
    pub fn is_populated(&self, addr: usize) -> bool {
        let s = self.state.lock();
        let page = self.page(addr);
        s.populated.get(page) || s.opened.get(page)
    }

    /// Changes the access to those pages of the range that have memory; tracked ones stay write-protected.
    pub fn protect(&self, range: Range<usize>, prot: Prot) -> Result<()> {
        let s = self.state.lock();
        for run in s.populated.runs(self.pages(&range), true) {
            let at = self.addresses(&run);
            self.host.protect(at.start, at.len(), prot)?;
            if prot.contains(Prot::WRITE) {
                for run in s.tracked.runs(run, true) {
                    let at = self.addresses(&run);
                    self.host.protect(at.start, at.len(), prot & !Prot::WRITE)?;
                }
            }
        }
        Ok(())
    }

    /// Takes the memory of the range away and makes it inaccessible; returns how many pages had memory.
    pub fn discard(&self, range: Range<usize>) -> Result<usize> {
        let mut s = self.state.lock();
        let pages = self.pages(&range);
        let mut touched: Option<Range<usize>> = None;
        for run in s.populated.runs(pages.clone(), true) {
            touched = Some(touched.map_or(run.clone(), |t| t.start..run.end));
        }
        let Some(touched) = touched else { return Ok(0) };
        let at = self.addresses(&touched);
        self.host.protect(at.start, at.len(), Prot::empty())?;
        self.host.discard(at.start, at.len())?;
        s.tracked.set(pages.clone(), false);
        let freed = s.populated.set(pages, false);
        s.charged -= freed;
        Ok(freed)
    }

    /// Whether stubs for code at `addr` have a place.
    pub fn has_stub_page(&self, addr: usize) -> bool {
        self.contains(addr, 1) && matches!(self.zone_of(addr), Zone::Image | Zone::Low)
    }

    /// Whether `addr` lies where stubs are: behind the images of each stretch of the image zone.
    pub fn is_stub_address(&self, addr: usize) -> bool {
        let from_start = if addr < LOW_END { addr } else { addr.wrapping_sub(self.base()) };
        self.has_stub_page(addr) && from_start % STRETCH >= IMAGES
    }

    /// Maps a host file over a range that has no memory of its own.
    pub fn map_file(&self, range: Range<usize>, prot: Prot, file: &HostFd, offset: u64, shared: bool) -> Result<()> {
        let mut s = self.state.lock();
        s.tracked.set(self.pages(&range), false);
        self.host.map_file(range.start, range.len(), prot, file, offset, shared)
    }

    /// Maps the image of a text over a range, and its stubs at their distance. `at` and `stubs` are offsets in the image.
    pub fn map_text(&self, range: Range<usize>, prot: Prot, image: &HostFd, at: u64, stubs: u64) -> Result<()> {
        let mut s = self.state.lock();
        s.tracked.set(self.pages(&range), false);
        self.host.map_file(range.start + STUB_DISTANCE, range.len(), Prot::READ | Prot::EXEC, image, stubs, false)?;
        self.host.map_file(range.start, range.len(), prot, image, at, false)
    }

    /// Changes the access to a range that a host file is mapped over.
    pub fn protect_file(&self, range: Range<usize>, prot: Prot) -> Result<()> {
        let _state = self.state.lock();
        self.host.protect(range.start, range.len(), prot)
    }

    /// Forgets private changes to a range that a host file is mapped over.
    pub fn drop_private(&self, range: Range<usize>) -> Result<()> {
        let _state = self.state.lock();
        self.host.drop_private(range.start, range.len())
    }

    /// Writes shared changes to a host file back.
    pub fn sync_file(&self, range: Range<usize>) -> Result<()> {
        self.host.sync(range.start, range.len())
    }

    /// Takes everything in a range away: host files, shared objects and memory.
    pub fn clear(&self, range: Range<usize>) -> Result<()> {
        let mut s = self.state.lock();
        self.host.restore(range.start, range.len())?;
        let pages = self.pages(&range);
        let runs: alloc::vec::Vec<Range<usize>> = s.populated.runs(pages.clone(), true).collect();
        for run in runs {
            let at = self.addresses(&run);
            self.host.discard(at.start, at.len())?;
        }
        s.tracked.set(pages.clone(), false);
        s.opened.set(pages.clone(), false);
        let freed = s.populated.set(pages, false);
        s.charged -= freed;
        Ok(())
    }

    /// Unmaps a host file from a range.
    pub fn unmap_file(&self, range: Range<usize>) -> Result<()> {
        let mut s = self.state.lock();
        s.tracked.set(self.pages(&range), false);
        self.host.restore(range.start, range.len())
    }

    /// Maps a part of a shared object, from the address `home` of its home on, over a range; pages that have memory are
    /// accessible at once.
    pub fn map_shared(&self, range: Range<usize>, home: usize, prot: Prot) -> Result<()> {
        let mut s = self.state.lock();
        let pages = self.pages(&range);
        s.tracked.set(pages, false);
        self.host.map_again(range.start, range.len(), home)?;
        if prot.is_empty() { Ok(()) } else { self.open_shared(&mut s, &range, home, prot) }
    }

    /// Changes the access to a range that a shared object is mapped over.
    pub fn protect_shared(&self, range: Range<usize>, home: usize, prot: Prot) -> Result<()> {
        self.open_shared(&mut self.state.lock(), &range, home, prot)
    }

    /// What of the object has memory may be accessed at the range as `prot` says. The rest stays closed: its first touch
    /// is to be charged.
    fn open_shared(&self, s: &mut State, range: &Range<usize>, home: usize, prot: Prot) -> Result<()> {
        let homes: alloc::vec::Vec<_> = s.populated.runs(self.pages(&(home..home + range.len())), true).collect();
        for run in homes {
            let at = self.addresses(&run);
            let here = range.start + (at.start - home);
            self.host.protect(here, at.len(), prot)?;
            s.opened.set(self.pages(&(here..here + at.len())), true);
        }
        Ok(())
    }

    /// Gives memory to the part of a shared object that is mapped over the range, and makes it accessible there. ENOMEM
    /// when `mem=` is used up.
    pub fn populate_shared(&self, range: Range<usize>, home: usize, prot: Prot) -> Result<()> {
        let mut s = self.state.lock();
        let homes = self.pages(&(home..home + range.len()));
        let missing = homes.len() - s.populated.count(homes.clone());
        if s.charged + missing > s.limit {
            return Err(Errno::ENOMEM.because("the guest's memory (mem=) is used up"));
        }
        self.host.protect(range.start, range.len(), prot)?;
        self.host.populate(range.start, range.len(), prot.contains(Prot::WRITE))?;
        s.populated.set(homes, true);
        s.opened.set(self.pages(&range), true);
        s.charged += missing;
        Ok(())
    }

    /// Takes a shared object out of a range; the object keeps its memory.
    pub fn unmap_shared(&self, range: Range<usize>) -> Result<()> {
        let mut s = self.state.lock();
        s.opened.set(self.pages(&range), false);
        self.host.restore(range.start, range.len())
    }

    /// Makes a part of a shared object read as zeros. It stays charged, for it may be accessible in many places.
    pub fn clear_shared(&self, home: Range<usize>) -> Result<()> {
        let _state = self.state.lock();
        self.host.discard(home.start, home.len())
    }

    /// Ends a shared object that is mapped nowhere any more: its memory goes, and its home is free.
    pub fn release_shared(&self, home: Range<usize>) -> Result<()> {
        let mut s = self.state.lock();
        let freed = s.populated.set(self.pages(&home), false);
        s.charged -= freed;
        let gone = if freed > 0 { self.host.discard(home.start, home.len()) } else { Ok(()) };
        s.shared.insert(home);
        gone
    }

    /// The runs of pages with memory in the range.
    pub fn populated_runs(&self, range: &Range<usize>) -> alloc::vec::Vec<Range<usize>> {
        let s = self.state.lock();
        s.populated.runs(self.pages(range), true).map(|r| self.addresses(&r)).collect()
    }

    /// Bytes of shared objects that are accessible in the range.
    pub fn opened(&self, range: &Range<usize>) -> usize {
        self.state.lock().opened.count(self.pages(range)) * PAGE_SIZE
    }

    /// Bytes charged, and the limit (`mem=`).
    pub fn usage(&self) -> (usize, usize) {
        let s = self.state.lock();
        (s.charged * PAGE_SIZE, s.limit * PAGE_SIZE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ranges_split_and_merge() {
        let mut f = FreeRanges::default();
        f.insert(0x1000..0x9000);
        assert_eq!(f.highest_fit(0x2000, 0x1000), Some(0x7000..0x9000));
        assert!(f.remove(&(0x3000..0x5000)));
        assert!(!f.remove(&(0x4000..0x6000)));
        assert!(f.contains(&(0x1000..0x3000)) && !f.contains(&(0x2000..0x4000)));
        assert_eq!(f.highest_fit(0x1000, 0x4000), Some(0x8000..0x9000));
        f.insert(0x3000..0x5000);
        assert_eq!(f.0.len(), 1);
        assert!(f.contains(&(0x1000..0x9000)));
        assert_eq!(f.highest_fit(0x9000, 0x1000), None);
    }
}
