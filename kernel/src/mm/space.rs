//! A process's address space: its mappings, and what faults, mmap(2) and its relatives do to them.
//!
//! Theory of operation. The list of mappings says what the guest may do; the host's page tables follow it lazily.
//! Anonymous memory is inaccessible until touched: the fault populates a chunk around the address. Files are mapped by
//! the host at once. Every operation works on the parts of mappings inside its range, so that splitting is one idea in
//! one place (`Areas::carve`).
//!
//! Locks: the list, rank `Mm`; the window's lock is taken inside it. No guest memory is touched under it except pages
//! that were just populated.

use super::areas::Areas;
use super::parked::{Parked, Saved};
use super::residency;
use super::shared_memory::SharedMemory;
use super::spare::{self, Part};
use super::texts;
use super::vm_area::{Backing, FileBacking, MemoryBacking, VmArea, VmFlags};
use super::window::{STUB_DISTANCE, Zone, window};
use crate::abi::PAGE_SIZE;
use crate::error::{Errno, Result};
use crate::host::Prot;
use crate::sync::{Once, Rank, SpinGuard, SpinLock};
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Least number of bytes that a first touch populates.
const CHUNK: usize = 64 * 1024;
/// What a touch populates where memory is being touched in order.
const LARGE_CHUNK: usize = 512 * 1024;
/// What a growing program break populates at once.
const EAGER_BREAK: usize = 32 * 1024;
/// Up to this size a new mapping is populated at once: it is made to be used.
const EAGER_MAP: usize = 64 * 1024;
/// Address range set aside for the program break.
const BREAK_RANGE: usize = 1 << 30;
/// Most mappings of one process (`vm.max_map_count`).
const MAX_AREAS: usize = 65530;

/// Rounds up to whole pages; `None` on overflow.
pub fn page_align_up(len: usize) -> Option<usize> {
    len.checked_add(PAGE_SIZE - 1).map(|n| n & !(PAGE_SIZE - 1))
}

/// Where a new mapping may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// Anywhere; the address is tried first if it is not 0.
    Hint(usize),
    /// There, in place of what the process has there (MAP_FIXED).
    Fixed(usize),
    /// There, if nothing is there (MAP_FIXED_NOREPLACE).
    FixedNoReplace(usize),
}

/// A mapping to be made.
pub struct MapRequest {
    /// Bytes, not zero; rounded up to pages.
    pub len: usize,
    /// Where.
    pub placement: Placement,
    /// What the guest may do.
    pub prot: Prot,
    /// What else it is.
    pub flags: VmFlags,
    /// Where its contents come from.
    pub backing: Backing,
    /// Its name in `/proc/<pid>/maps`.
    pub name: &'static str,
    /// Where in the window it goes if the placement leaves that open.
    pub zone: Zone,
}

/// How a page was touched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Access {
    Read,
    Write,
    Execute,
}

impl Access {
    fn allowed_by(self, prot: Prot) -> bool {
        match self {
            // On x86-64 what may be written or executed may be read.
            Access::Read => !prot.is_empty(),
            Access::Write => prot.contains(Prot::WRITE),
            Access::Execute => prot.contains(Prot::EXEC),
        }
    }
}

/// Why a fault stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultError {
    /// Nothing is mapped there (SEGV_MAPERR).
    NotMapped,
    /// The mapping does not allow it (SEGV_ACCERR).
    Denied,
    /// A file mapping beyond the file's end (SIGBUS, BUS_ADRERR).
    BeyondEnd,
    /// The guest's memory is used up.
    OutOfMemory,
}

/// With whom a mapping is shared ([`Mm::shared_location`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shared {
    /// With every mapping of this file or memory object.
    With(usize),
    /// With nobody.
    Private,
}

/// The program break.
#[derive(Clone, Copy, Default)]
struct Break {
    start: usize,
    now: usize,
    limit: usize,
}

/// Facts about the program that the space holds, for `/proc/<pid>`.
#[derive(Clone, Copy, Default, Debug)]
#[allow(missing_docs)]
pub struct ProgramLayout {
    pub arg_start: usize,
    pub arg_end: usize,
    pub env_start: usize,
    pub env_end: usize,
    pub start_code: usize,
    pub end_code: usize,
    pub start_stack: usize,
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) areas: Areas,
    /// No system call site is patched here: the program has a GS base of its own.
    pub(super) unpatched: bool,
    pub(super) parked: Parked,
    /// The space that fork(2) copied.
    forked_from: Weak<Mm>,
    /// Ranges where the window does not show this space's file mappings and shared memory although no relative has them now.
    absent: Vec<Range<usize>>,
    program_break: Break,
    /// What can be kept for another program when this one ends.
    parts: Vec<Part>,
    layout: ProgramLayout,
    auxv: Vec<u64>,
}

/// An address space.
pub struct Mm {
    inner: SpinLock<Inner>,
    /// Processes that run in it (vfork(2) shares it).
    users: AtomicUsize,
    /// Whether the window shows it (`residency`).
    pub(super) resident: AtomicBool,
    /// Whether other spaces claim addresses of it.
    pub(super) related: AtomicBool,
}

impl core::fmt::Debug for Mm {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Mm").field("areas", &self.inner.lock().areas.by_start.len()).finish()
    }
}

impl Mm {
    /// Whether the window shows its memory.
    #[inline]
    pub fn is_resident(&self) -> bool {
        self.resident.load(Ordering::Relaxed)
    }

    /// An empty address space with one user.
    pub fn new() -> Arc<Self> {
        let mm = Arc::new(Mm {
            inner: SpinLock::new(Rank::Mm, Inner::default()),
            users: AtomicUsize::new(1),
            resident: AtomicBool::new(true),
            related: AtomicBool::new(false),
        });
        residency::register(&mm);
        mm
    }

    /// The address space of those that have none any more: empty, and never given up.
    pub fn nobodys() -> Arc<Self> {
        static NOBODYS: Once<Arc<Mm>> = Once::new();
        NOBODYS.call_once(Mm::new).clone()
    }

    /// Another process uses this address space (clone(2) with CLONE_VM but without CLONE_THREAD).
    pub fn add_user(&self) {
        self.users.fetch_add(1, Ordering::Relaxed);
    }

    /// A process no longer uses it; the last one takes the mappings with it.
    pub fn drop_user(&self) {
        if self.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            residency::leave(self);
        }
    }

    /// The mappings, locked.
    pub(super) fn lock_inner(&self) -> SpinGuard<'_, Inner> {
        self.inner.lock()
    }

    /// The mappings, lowest address first.
    pub(super) fn areas(&self) -> Vec<VmArea> {
        self.inner.lock().areas.by_start.values().cloned().collect()
    }

    /// The parts of the mappings inside `range`, lowest address first.
    pub(super) fn areas_in(&self, range: &Range<usize>) -> Vec<VmArea> {
        let inner = self.inner.lock();
        inner.areas.overlapping(core::slice::from_ref(range)).map(|a| a.part(range)).collect()
    }

    /// Takes all mappings and the break away.
    pub(super) fn take_areas(&self) -> Vec<VmArea> {
        let mut inner = self.inner.lock();
        inner.program_break = Break::default();
        core::mem::take(&mut inner.areas.by_start).into_values().collect()
    }

    /// How many of its mappings are of `object`.
    pub(super) fn mappings_of(&self, object: &Arc<SharedMemory>) -> usize {
        let of = |a: &&VmArea| matches!(&a.backing, Backing::Memory(m) if Arc::ptr_eq(&m.object, object));
        self.inner.lock().areas.by_start.values().filter(of).count()
    }

    /// The address range that is set aside for the program break.
    pub(super) fn break_range(&self) -> Range<usize> {
        let b = self.inner.lock().program_break;
        b.start..b.limit
    }

    /// The address ranges that this space has taken from the window: its mappings and the break's range, without overlap.
    pub(super) fn claims(&self) -> Vec<Range<usize>> {
        let inner = self.inner.lock();
        let reserved = inner.program_break.start..inner.program_break.limit;
        let mut claims: Vec<Range<usize>> = Vec::with_capacity(inner.areas.by_start.len() + 1);
        for area in inner.areas.by_start.values() {
            let before = area.start..area.end.min(reserved.start);
            let after = area.start.max(reserved.end)..area.end;
            let parts = if reserved.is_empty() { [area.range(), 0..0] } else { [before, after] };
            for part in parts.into_iter().filter(|p| !p.is_empty()) {
                match claims.last_mut().filter(|last| last.end == part.start) {
                    Some(last) => last.end = part.end,
                    None => claims.push(part),
                }
            }
        }
        if !reserved.is_empty() {
            claims.push(reserved);
        }
        claims
    }

    /// Becomes a copy of `parent`'s lists (fork(2)); contents are the caller's business.
    pub(super) fn copy_from(&self, parent: &Arc<Mm>) {
        let (areas, program_break, layout, auxv, unpatched) = {
            let p = parent.inner.lock();
            let kept = p.areas.by_start.iter().filter(|(_, a)| !a.flags.contains(VmFlags::DONTFORK));
            let areas: BTreeMap<usize, VmArea> = kept.map(|(k, a)| (*k, a.clone())).collect();
            (areas, p.program_break, p.layout, p.auxv.clone(), p.unpatched)
        };
        let mut inner = self.inner.lock();
        for area in areas.values() {
            if let Backing::Memory(m) = &area.backing {
                m.object.note_attached();
            }
        }
        inner.areas.by_start = areas;
        inner.program_break = program_break;
        inner.layout = layout;
        inner.auxv = auxv;
        inner.unpatched = unpatched;
        inner.forked_from = Arc::downgrade(parent);
    }

    /// The space that this one is a copy of; dangling if it is none.
    pub(super) fn forked_from(&self) -> Weak<Mm> {
        self.inner.lock().forked_from.clone()
    }

    /// Charges `pages` for what this space may have to keep out of the window. With `strict`, ENOMEM if `mem=` has no room.
    pub(super) fn charge_parked(&self, pages: usize, strict: bool) -> Result<()> {
        self.inner.lock().parked.charge(pages, strict)
    }

    /// Charges `pages` more.
    pub(super) fn charge_parked_more(&self, pages: usize) {
        self.inner.lock().parked.charge_more(pages);
    }

    /// Takes what this space keeps out of the window, with its charge.
    pub(super) fn take_parked(&self) -> Parked {
        core::mem::take(&mut self.inner.lock().parked)
    }

    /// The ranges that this space has otherwise than the window shows them.
    pub(super) fn parked_ranges(&self) -> Vec<Range<usize>> {
        self.inner.lock().parked.ranges()
    }

    /// Notes that this space has no memory at these pages, whatever the window shows.
    pub(super) fn park_nothing(&self, ranges: Vec<Range<usize>>) {
        let mut inner = self.inner.lock();
        for page in ranges.into_iter().flat_map(|r| r.step_by(PAGE_SIZE)) {
            inner.parked.keep(page, Saved::Nothing);
        }
    }

    /// Notes that the window shows nothing at these ranges.
    pub(super) fn add_absent(&self, gone: &[Range<usize>]) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        // Private memory comes back from what is parked; only files and shared memory have to be mapped again.
        for area in inner.areas.overlapping(gone).filter(|a| !matches!(a.backing, Backing::Anonymous)) {
            for range in gone {
                let part = range.start.max(area.start)..range.end.min(area.end);
                if !part.is_empty() {
                    // A relative may map and unmap the same addresses for as long as it likes.
                    let new = residency::uncovered(&part, &inner.absent);
                    inner.absent.extend(new);
                }
            }
        }
    }

    /// The ranges where the window shows nothing of this space; they are about to be shown.
    pub(super) fn take_absent(&self) -> Vec<Range<usize>> {
        core::mem::take(&mut self.inner.lock().absent)
    }

    /// Reserves a range that other spaces may have mapped, too: they take turns from now on (`residency`). This space is
    /// resident afterwards. ENOMEM if a part is neither free nor any space's.
    pub fn claim(self: &Arc<Self>, range: Range<usize>) -> Result<()> {
        residency::claim(self, &range, || {
            self.inner.lock().areas.insert(VmArea {
                start: range.start,
                end: range.end,
                prot: Prot::empty(),
                flags: VmFlags::NORESERVE,
                backing: Backing::Anonymous,
                name: "",
            });
        })
    }

    /// Makes a mapping; returns its address.
    pub fn map(&self, request: MapRequest) -> Result<usize> {
        let len = page_align_up(request.len).filter(|&l| l > 0).ok_or(Errno::ENOMEM.because("length overflows"))?;
        let granted = self.prepare_fixed(request.placement, len)?;
        let mut backing = request.backing;
        let is_text = |prot: Prot| prot.contains(Prot::EXEC) && !prot.contains(Prot::WRITE);
        if let Backing::File(f) = &mut backing
            && is_text(request.prot)
            && !request.flags.contains(VmFlags::SHARED)
        {
            f.text = f.path.as_ref().and_then(|path| texts::find(path, f.offset, len));
        }
        let mut inner = self.inner.lock();
        if inner.areas.by_start.len() >= MAX_AREAS {
            return Err(Errno::ENOMEM.because("more than vm.max_map_count mappings"));
        }
        let promise = request.prot.contains(Prot::WRITE) && !request.flags.contains(VmFlags::NORESERVE);
        if promise && matches!(backing, Backing::Anonymous) && len > window().usage().1 {
            return Err(Errno::ENOMEM.because("larger than the guest's memory (mem=)"));
        }
        if matches!(backing, Backing::Anonymous) && request.flags.contains(VmFlags::SHARED) {
            let object = SharedMemory::anonymous(len)?;
            backing = Backing::Memory(MemoryBacking { object, offset: 0, may_write: true });
        }
        let is_file = matches!(backing, Backing::File(_));
        let range = place(&mut inner, len, request.placement, request.zone, &granted, is_file)?;
        let area = VmArea {
            start: range.start,
            end: range.end,
            prot: request.prot,
            flags: request.flags,
            backing,
            name: request.name,
        };
        let mut area = area;
        if let Backing::File(f) = &mut area.backing {
            let has_room = window().has_stub_page(range.start);
            f.patched = !inner.unpatched && has_room && f.text.as_ref().is_some_and(|t| t.has_image());
        }
        let shown = match &area.backing {
            Backing::Anonymous => Ok(()),
            Backing::Memory(m) => m.show(&range, area.prot),
            Backing::File(_) => show_file(&area, range.clone()),
        };
        if let Err(e) = shown {
            drop(inner);
            self.abandon(range);
            return Err(e);
        }
        if let Backing::Memory(m) = &area.backing {
            m.object.note_attached();
        }
        area.flags.set(VmFlags::WRITTEN, area.prot.contains(Prot::WRITE));
        let eager = len <= EAGER_MAP && area.prot.contains(Prot::WRITE) && matches!(area.backing, Backing::Anonymous);
        inner.areas.insert(area);
        drop(inner);
        if eager {
            // Without memory it is a mapping all the same; the touch will tell.
            let _ = self.populate(range.clone());
        }
        Ok(range.start)
    }

    /// Before a mapping of `len` bytes takes the place of others: relatives keep what they have there. Returns the ranges
    /// that relatives alone have, which may be used without taking them from the window.
    fn prepare_fixed(&self, placement: Placement, len: usize) -> Result<Vec<Range<usize>>> {
        match placement {
            Placement::Fixed(at) if self.has_relatives() => {
                let range = at..at.checked_add(len).ok_or(Errno::ENOMEM)?;
                self.unshare(&range, false)?;
                residency::take_over(self, &range)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Gives up a range that [`place`] took for a mapping that could not be made. MAP_FIXED may have taken it from the
    /// break or from under a relative, who keep it.
    fn abandon(&self, range: Range<usize>) {
        let nothing = VmArea {
            start: range.start,
            end: range.end,
            prot: Prot::empty(),
            flags: VmFlags::empty(),
            backing: Backing::Anonymous,
            name: "",
        };
        residency::finish_unmap(self, &[nothing], false);
    }

    /// Unmaps whatever lies in the range (munmap(2)).
    pub fn unmap(&self, range: Range<usize>) -> Result<()> {
        let parts = {
            let mut inner = self.inner.lock();
            inner.areas.carve(&range)
        };
        residency::finish_unmap(self, &parts, false);
        Ok(())
    }

    /// Changes the access to the range (mprotect(2)). ENOMEM if a part of it is not mapped; what lies before that is
    /// changed, as Linux does.
    pub fn protect(&self, range: Range<usize>, prot: Prot) -> Result<()> {
        if prot.contains(Prot::WRITE) {
            self.unshare(&range, false)?;
        }
        let mut inner = self.inner.lock();
        let mapped_to = inner.areas.gaps(&range).first().map_or(range.end, |gap| gap.start);
        let changed = range.start..mapped_to;
        if !changed.is_empty() {
            let forbidden = |a: &VmArea| match &a.backing {
                Backing::Anonymous => false,
                Backing::Memory(m) => !m.may_write,
                Backing::File(f) => a.flags.contains(VmFlags::SHARED) && !f.may_write,
            };
            let mut at = changed.start;
            while let Some(a) = inner.areas.first_above(at).filter(|a| a.start < changed.end) {
                if prot.contains(Prot::WRITE) && forbidden(a) {
                    return Err(Errno::EACCES.because("a shared mapping of a file that is not open for writing"));
                }
                at = a.end;
            }
            for mut part in inner.areas.carve(&changed) {
                part.prot = prot;
                if prot.contains(Prot::WRITE) {
                    part.flags.insert(VmFlags::WRITTEN);
                }
                let done = match &part.backing {
                    Backing::Anonymous => window().protect(part.range(), prot),
                    Backing::Memory(m) => m.protect(&part.range(), prot),
                    Backing::File(_) => window().protect_file(part.range(), prot),
                };
                inner.areas.insert(part);
                done?;
            }
        }
        if mapped_to < range.end { Err(Errno::ENOMEM.because("part of the range is not mapped")) } else { Ok(()) }
    }

    /// Whether other spaces claim addresses of it.
    fn has_relatives(&self) -> bool {
        self.related.load(Ordering::Relaxed)
    }

    /// To be called before private pages in the range change or, with `populating`, get memory: relatives keep theirs.
    fn unshare(&self, range: &Range<usize>, populating: bool) -> Result<()> {
        if self.has_relatives() { residency::unshare(self, range, populating) } else { Ok(()) }
    }

    /// Resolves a touch of `addr` by populating memory, or by letting relatives keep theirs before it is written, or says
    /// why it cannot.
    pub fn fault(&self, addr: usize, access: Access) -> Result<(), FaultError> {
        let chunk = find_chunk(&self.inner.lock(), addr, access)?;
        if !matches!(chunk.source, Source::Memory(..)) {
            self.unshare(&chunk.range, true).map_err(|_| FaultError::OutOfMemory)?;
        }
        let inner = self.inner.lock();
        let Chunk { range, prot, source } = match find_chunk(&inner, addr, access) {
            Ok(found) => found,
            // A tracked page of a file is as it should be by now.
            Err(FaultError::BeyondEnd) if self.has_relatives() => return Ok(()),
            Err(e) => return Err(e),
        };
        let w = window();
        if matches!(source, Source::File) {
            return w.untrack(range, prot).map_err(|_| FaultError::OutOfMemory);
        }
        let page = addr & !(PAGE_SIZE - 1);
        drop(inner);
        let populate = |range: Range<usize>| match &source {
            Source::Memory(m, start) => {
                w.populate_shared(range.clone(), m.home(range.len()).start + (range.start - start), prot)
            }
            _ => w.populate(range, prot),
        };
        populate(range)
            .or_else(|_| populate(page..page + PAGE_SIZE))
            .or_else(|e| if super::reclaim() { populate(page..page + PAGE_SIZE) } else { Err(e) })
            .map_err(|_| FaultError::OutOfMemory)
    }

    /// Gives memory to the whole range now, as far as it is mapped anonymously (MAP_POPULATE, MADV_POPULATE_WRITE).
    pub fn populate(&self, range: Range<usize>) -> Result<()> {
        self.unshare(&range, true)?;
        let inner = self.inner.lock();
        let mut at = range.start;
        while let Some(a) = inner.areas.first_above(at).filter(|a| a.start < range.end) {
            let part = a.start.max(range.start)..a.end.min(range.end);
            at = a.end;
            if a.prot.is_empty() {
                continue;
            }
            match &a.backing {
                Backing::Anonymous => window().populate(part, a.prot)?,
                Backing::Memory(m) => {
                    let home = m.home(a.len());
                    let within = part.start..part.end.min(a.start + home.len());
                    if !within.is_empty() {
                        let home = home.start + (within.start - a.start);
                        window().populate_shared(within, home, a.prot)?;
                    }
                }
                Backing::File(_) => {}
            }
        }
        Ok(())
    }

    /// Forgets the contents of the range (MADV_DONTNEED): private anonymous memory reads as zeros, private file mappings
    /// as the file; what is shared keeps its contents. ENOMEM if a part is not mapped.
    pub fn discard(&self, range: Range<usize>) -> Result<()> {
        self.unshare(&range, false)?;
        let inner = self.inner.lock();
        let mut at = range.start;
        while let Some(a) = inner.areas.first_above(at).filter(|a| a.start < range.end) {
            let part = a.start.max(range.start)..a.end.min(range.end);
            at = a.end;
            match &a.backing {
                _ if a.flags.contains(VmFlags::SHARED) => {}
                Backing::Anonymous => {
                    window().discard(part)?;
                }
                Backing::Memory(_) => {}
                Backing::File(_) => window().drop_private(part)?,
            }
        }
        if inner.areas.gaps(&range).is_empty() {
            Ok(())
        } else {
            Err(Errno::ENOMEM.because("part of the range is not mapped"))
        }
    }

    /// Makes shared memory read as zeros for everybody (MADV_REMOVE). EINVAL if a mapping is private or of a file.
    pub fn remove(&self, range: Range<usize>) -> Result<()> {
        let inner = self.inner.lock();
        let mut at = range.start;
        while let Some(a) = inner.areas.first_above(at).filter(|a| a.start < range.end) {
            let part = a.start.max(range.start)..a.end.min(range.end);
            at = a.end;
            let Backing::Memory(m) = &a.part(&part).backing else {
                return Err(Errno::EINVAL.because("MADV_REMOVE is for shared anonymous memory"));
            };
            let home = m.home(part.len());
            if !home.is_empty() {
                window().clear_shared(home)?;
            }
        }
        if inner.areas.gaps(&range).is_empty() {
            Ok(())
        } else {
            Err(Errno::ENOMEM.because("part of the range is not mapped"))
        }
    }

    /// Writes shared file mappings in the range back (msync(2)); returns the files, for their file systems to make what
    /// was written durable. ENOMEM if a part is not mapped.
    pub fn sync(&self, range: Range<usize>) -> Result<Vec<crate::fs::Path>> {
        let inner = self.inner.lock();
        let mut files: Vec<crate::fs::Path> = Vec::new();
        let mut at = range.start;
        while let Some(a) = inner.areas.first_above(at).filter(|a| a.start < range.end) {
            let part = a.start.max(range.start)..a.end.min(range.end);
            at = a.end;
            if let Backing::File(file) = &a.backing
                && a.flags.contains(VmFlags::SHARED)
            {
                window().sync_file(part)?;
                files.extend(file.path.iter().filter(|p| !files.contains(p)).cloned().collect::<Vec<_>>());
            }
        }
        if inner.areas.gaps(&range).is_empty() {
            Ok(files)
        } else {
            Err(Errno::ENOMEM.because("part of the range is not mapped"))
        }
    }

    /// Whether every byte of the range is mapped.
    pub fn covers(&self, range: &Range<usize>) -> bool {
        self.inner.lock().areas.gaps(range).is_empty()
    }

    /// Takes a spare part with its mappings into this space, which has nothing at its addresses; returns where it lies.
    pub fn adopt(&self, key: &spare::Key) -> Option<Range<usize>> {
        let part = spare::take(key)?;
        let range = part.range.clone();
        let mut inner = self.inner.lock();
        for area in &part.areas {
            inner.areas.by_start.insert(area.start, area.clone());
        }
        inner.parts.push(part);
        Some(range)
    }

    /// Notes that the mappings in the range, as they are now, can be kept for another program when this one ends.
    pub fn note_part(&self, key: spare::Key, range: Range<usize>) {
        let areas = self.areas_in(&range);
        self.inner.lock().parts.push(Part { key, range, areas });
    }

    /// What can be kept for another program; nothing if the window does not show all of it.
    pub(super) fn take_parts(&self) -> Vec<Part> {
        let mut inner = self.inner.lock();
        let whole = inner.absent.is_empty() && !inner.unpatched && self.is_resident();
        let parts = core::mem::take(&mut inner.parts);
        if whole { parts } else { Vec::new() }
    }

    /// Sets aside the address range of the program break.
    pub fn set_up_break(&self) -> Result<()> {
        let range = match self.adopt(&spare::Key::Break) {
            Some(range) => range,
            None => {
                let range = window().take(BREAK_RANGE, PAGE_SIZE, Zone::Data)?;
                self.note_part(spare::Key::Break, range.clone());
                range
            }
        };
        let mut inner = self.inner.lock();
        inner.program_break = Break { start: range.start, now: range.start, limit: range.end };
        Ok(())
    }

    /// Moves the program break (brk(2)); returns where it is then: unchanged if the move is not possible.
    pub fn set_break(&self, to: usize) -> usize {
        let mut inner = self.inner.lock();
        let b = inner.program_break;
        if to < b.start || to > b.limit {
            return b.now;
        }
        let (Some(old_end), Some(new_end)) = (page_align_up(b.now), page_align_up(to)) else { return b.now };
        if new_end > old_end {
            let is_free = inner.areas.first_above(old_end).is_none_or(|a| a.start >= new_end);
            if new_end - b.start > window().usage().1 || !is_free {
                return b.now;
            }
            inner.areas.insert(VmArea {
                start: old_end,
                end: new_end,
                prot: Prot::READ | Prot::WRITE,
                flags: VmFlags::HEAP | VmFlags::WRITTEN,
                backing: Backing::Anonymous,
                name: "[heap]",
            });
        }
        inner.program_break.now = to;
        if new_end > old_end {
            // The first pages are as good as touched.
            let first = old_end..new_end.min(old_end + EAGER_BREAK);
            drop(inner);
            let _ = self.populate(first);
            return to;
        }
        if new_end < old_end {
            let parts = inner.areas.carve(&(new_end..old_end));
            drop(inner);
            residency::finish_unmap(self, &parts, true);
        }
        to
    }

    /// Changes the length of a mapping, moving it if it may (mremap(2)); returns its address.
    pub fn remap(&self, old: Range<usize>, new_len: usize, to: Option<Placement>) -> Result<usize> {
        self.unshare(&old, false)?;
        let granted = to.map_or(Ok(Vec::new()), |to| self.prepare_fixed(to, new_len))?;
        let mut inner = self.inner.lock();
        let area = inner.areas.find(old.start).ok_or(Errno::EFAULT.because("nothing is mapped there"))?.clone();
        if old.end > area.end {
            return Err(Errno::EFAULT.because("the old range spans several mappings"));
        }
        // With an old length of 0 the mapping is not moved but made a second time (mremap(2)).
        let again = old.is_empty();
        if again && !area.flags.contains(VmFlags::SHARED) {
            return Err(Errno::EINVAL.because("an old length of 0 and no shared mapping"));
        }
        if again && to.is_none() {
            return Err(Errno::ENOMEM.because("a second mapping lies elsewhere, and MREMAP_MAYMOVE is not set"));
        }
        if !again && matches!(to, None | Some(Placement::Hint(_))) {
            if new_len <= old.len() {
                let parts = inner.areas.carve(&(old.start + new_len..old.end));
                drop(inner);
                residency::finish_unmap(self, &parts, false);
                return Ok(old.start);
            }
            let end = old.start.checked_add(new_len).ok_or(Errno::ENOMEM.because("the new length overflows"))?;
            let tail = old.end..end;
            if old.end == area.end && window().take_at(tail.clone()).is_ok() {
                let mut grown = VmArea { start: tail.start, end: tail.end, ..area.clone() };
                if let Backing::File(f) = &mut grown.backing {
                    (f.text, f.patched) = (None, false);
                }
                grown.backing.advance(tail.start - area.start);
                let shown = match &grown.backing {
                    Backing::Anonymous => Ok(()),
                    Backing::Memory(m) => m.show(&tail, area.prot),
                    Backing::File(f) => {
                        let shared = area.flags.contains(VmFlags::SHARED);
                        window().map_file(tail.clone(), area.prot, &f.host, f.offset, shared)
                    }
                };
                if let Err(e) = shown {
                    drop(inner);
                    self.abandon(tail);
                    return Err(e);
                }
                inner.areas.insert(grown);
                return Ok(old.start);
            }
        }
        let Some(placement) = to else {
            return Err(Errno::ENOMEM.because("no room to grow in place, and MREMAP_MAYMOVE is not set"));
        };
        let zone = if matches!(area.backing, Backing::File(_)) { Zone::Image } else { Zone::Data };
        let new = place(&mut inner, new_len, placement, zone, &granted, false)?;
        let mut moved = VmArea { start: new.start, end: new.end, ..area.part(&(old.start..area.end)) };
        if let Backing::File(f) = &mut moved.backing {
            (f.text, f.patched) = (None, false);
        }
        let copied = move_contents(&old, &mut moved, &area);
        if let Err(e) = copied {
            drop(inner);
            release(&moved);
            self.abandon(new);
            return Err(e);
        }
        inner.areas.insert(moved);
        let parts = if again { Vec::new() } else { inner.areas.carve(&old) };
        drop(inner);
        residency::finish_unmap(self, &parts, false);
        Ok(new.start)
    }

    /// Runs `f` on every mapping, lowest address first.
    pub fn for_each_area(&self, mut f: impl FnMut(&VmArea)) {
        // Copied out, so that `f` may format, allocate and take locks of any rank.
        let areas: Vec<VmArea> = self.inner.lock().areas.by_start.values().cloned().collect();
        for a in &areas {
            f(a);
        }
    }

    /// The mapping that `addr` lies in.
    pub fn area_at(&self, addr: usize) -> Option<VmArea> {
        self.inner.lock().areas.find(addr).cloned()
    }

    /// What a byte of the mapping at `addr` is known by to whoever shares it: the file or memory object and the offset of
    /// a shared mapping, else the address. EFAULT if nothing is mapped there.
    pub fn shared_location(&self, addr: usize) -> Result<(Shared, u64)> {
        let inner = self.inner.lock();
        let area = inner.areas.find(addr).ok_or(Errno::EFAULT.because("nothing is mapped there"))?;
        Ok(match &area.backing {
            Backing::File(f) if area.flags.contains(VmFlags::SHARED) => {
                // One file may be open several times: the inode is what they share, if it has a name.
                let identity = match &f.path {
                    Some(p) => Arc::as_ptr(p.inode()).cast::<()>() as usize,
                    None => Arc::as_ptr(&f.host) as usize,
                };
                (Shared::With(identity), f.offset + (addr - area.start) as u64)
            }
            Backing::Memory(m) => {
                (Shared::With(Arc::as_ptr(&m.object) as usize), (m.offset + (addr - area.start)) as u64)
            }
            _ => (Shared::Private, addr as u64),
        })
    }

    /// Bytes of address range, and of memory that is populated.
    pub fn usage(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        let mut total = 0;
        let mut resident = 0;
        for a in inner.areas.by_start.values() {
            total += a.len();
            resident += match a.backing {
                Backing::Anonymous => window().populated_runs(&a.range()).iter().map(Range::len).sum(),
                Backing::Memory(_) => window().opened(&a.range()),
                Backing::File(_) => a.len(),
            };
        }
        (total, resident)
    }

    /// Where the program's arguments and environment lie.
    pub fn layout(&self) -> ProgramLayout {
        self.inner.lock().layout
    }

    /// Records where the program's parts lie, and its auxiliary vector.
    pub fn set_layout(&self, layout: ProgramLayout, auxv: Vec<u64>) {
        let mut inner = self.inner.lock();
        inner.layout = layout;
        inner.auxv = auxv;
    }

    /// The auxiliary vector (`/proc/<pid>/auxv`), as words.
    pub fn auxv(&self) -> Vec<u64> {
        self.inner.lock().auxv.clone()
    }
}

impl Drop for Mm {
    fn drop(&mut self) {
        // A space whose program could not be started was never given up by a process.
        if *self.users.get_mut() > 0 {
            residency::leave(self);
        }
    }
}

/// As [`release`], for all mappings of a span without gaps, some of which are of files.
pub(super) fn release_span(span: Range<usize>, areas: &[VmArea]) {
    let w = window();
    let stubs = areas.iter().filter(|a| matches!(&a.backing, Backing::File(f) if f.patched));
    let done = stubs
        .into_iter()
        .try_for_each(|a| w.unmap_file(a.start + STUB_DISTANCE..a.end + STUB_DISTANCE))
        .and_then(|()| w.clear(span.clone()));
    if let Err(e) = done {
        crate::klog!(Error, "guest memory {:#x}-{:#x} cannot be released: {e}", span.start, span.end);
    }
}

/// Makes the window show a part of a file mapping.
pub(super) fn show_file(area: &VmArea, part: Range<usize>) -> Result<()> {
    let Backing::File(f) = &area.backing else { return Ok(()) };
    let offset = f.offset + (part.start - area.start) as u64;
    let image = f.text.as_ref().filter(|_| f.patched).and_then(|t| t.image(offset));
    if let Some((image, at, stubs)) = image {
        return window().map_text(part, area.prot, &image, at, stubs);
    }
    window().map_file(part, area.prot, &f.host, offset, area.flags.contains(VmFlags::SHARED))
}

/// What a touch resolves at a time.
struct Chunk {
    range: Range<usize>,
    prot: Prot,
    source: Source,
}

/// Where a chunk's memory comes from.
enum Source {
    /// The window.
    Anonymous,
    /// A shared object, whose mapping begins at the address.
    Memory(MemoryBacking, usize),
    /// A file: it is only to be made writable.
    File,
}

/// The chunk around `addr` that a touch gives memory to, or makes writable.
fn find_chunk(inner: &Inner, addr: usize, access: Access) -> Result<Chunk, FaultError> {
    let area = inner.areas.find(addr).ok_or(FaultError::NotMapped)?;
    if !access.allowed_by(area.prot) {
        return Err(FaultError::Denied);
    }
    let w = window();
    let (source, end) = match &area.backing {
        Backing::Anonymous => (Source::Anonymous, area.end),
        Backing::Memory(m) => {
            let end = area.start + m.home(area.len()).len();
            (Source::Memory(m.clone(), area.start), end)
        }
        Backing::File(_) if access == Access::Write && w.is_tracked(addr) => (Source::File, area.end),
        // The host resolves these by itself; what reaches us lies beyond the file's end.
        Backing::File(_) => return Err(FaultError::BeyondEnd),
    };
    if addr >= end {
        return Err(FaultError::BeyondEnd);
    }
    let small = addr & !(CHUNK - 1);
    let before = small.wrapping_sub(PAGE_SIZE);
    let in_order = small > area.start && w.is_populated(before) && !w.is_tracked(before);
    let len = if in_order { LARGE_CHUNK } else { CHUNK };
    Ok(Chunk { range: small.max(area.start)..(small + len).min(end), prot: area.prot, source })
}

/// Takes the contents of a mapping away, or a shared one out of the window; its address range stays taken.
pub(super) fn release(area: &VmArea) {
    let done = match &area.backing {
        Backing::Anonymous => window().discard(area.range()).map(|_| ()),
        Backing::Memory(_) => window().unmap_shared(area.range()),
        Backing::File(f) if f.patched => window()
            .unmap_file(area.start + STUB_DISTANCE..area.end + STUB_DISTANCE)
            .and_then(|()| window().unmap_file(area.range())),
        Backing::File(_) => window().unmap_file(area.range()),
    };
    if let Err(e) = done {
        crate::klog!(Error, "guest memory {:#x}-{:#x} cannot be released: {e}", area.start, area.end);
    }
}

/// Finds and takes the address range of a new mapping, clearing what MAP_FIXED replaces. `granted` are ranges that
/// relatives have, for MAP_FIXED.
fn place(
    inner: &mut Inner,
    len: usize,
    placement: Placement,
    zone: Zone,
    granted: &[Range<usize>],
    replaced_by_file: bool,
) -> Result<Range<usize>> {
    let w = window();
    match placement {
        Placement::Hint(at) => {
            let at = at & !(PAGE_SIZE - 1);
            if let Some(range) = at.checked_add(len).filter(|_| at != 0).map(|end| at..end)
                && w.take_at(range.clone()).is_ok()
            {
                return Ok(range);
            }
            w.take(len, PAGE_SIZE, zone)
        }
        Placement::FixedNoReplace(at) => {
            let end = at.checked_add(len).ok_or(Errno::ENOMEM)?;
            let b = inner.program_break;
            if b.start < end && at < b.limit {
                return Err(Errno::EEXIST.because("the program break's area"));
            }
            w.take_at(at..end)?;
            Ok(at..end)
        }
        Placement::Fixed(at) => {
            let end = at.checked_add(len).ok_or(Errno::ENOMEM)?;
            if !w.contains(at, len) {
                return Err(Errno::ENOMEM.because("the address lies outside the guest window"));
            }
            let mut taken: Vec<Range<usize>> = Vec::new();
            let gaps = inner.areas.gaps(&(at..end));
            for gap in gaps.iter().flat_map(|gap| residency::uncovered(gap, granted)) {
                if let Err(e) = w.take_at(gap.clone()) {
                    taken.into_iter().for_each(|t| w.give_back(t));
                    return Err(Errno::ENOMEM.because(e.reason()));
                }
                taken.push(gap);
            }
            for part in inner.areas.carve(&(at..end)) {
                if let Backing::Memory(m) = &part.backing {
                    m.object.note_detached();
                }
                // The host replaces one file by another in one step; stubs have their own place.
                let replaced = replaced_by_file && matches!(&part.backing, Backing::File(f) if !f.patched);
                if !replaced {
                    release(&part);
                }
            }
            Ok(at..end)
        }
    }
}

/// Brings the contents of `old` (inside `area`) to `moved`, whose range is taken and empty.
fn move_contents(old: &Range<usize>, moved: &mut VmArea, area: &VmArea) -> Result<()> {
    let w = window();
    let distance = moved.start.wrapping_sub(old.start);
    match &moved.backing {
        Backing::Anonymous => {
            let keep = old.start..old.end.min(old.start + moved.len());
            if keep.is_empty() {
                return Ok(());
            }
            for run in w.populated_runs(&keep) {
                let to = run.start.wrapping_add(distance)..run.end.wrapping_add(distance);
                w.protect(run.clone(), area.prot | Prot::READ)?;
                let room = w.populate(to.clone(), area.prot | Prot::READ | Prot::WRITE);
                if room.is_ok() {
                    super::user::copy_populated(to.start, run.start, run.len());
                }
                // The old place stays if the new one has no room.
                w.protect(run, area.prot)?;
                room?;
                w.protect(to, area.prot)?;
            }
            Ok(())
        }
        Backing::Memory(m) => m.show(&moved.range(), area.prot),
        Backing::File(FileBacking { host, offset, .. }) => {
            let shared = moved.flags.contains(VmFlags::SHARED);
            if !shared && area.flags.contains(VmFlags::WRITTEN) {
                // Private changes live in the host's copies of the pages: they are copied, at the cost of copying all.
                let readable = area.prot | Prot::READ;
                w.map_file(moved.range(), readable | Prot::WRITE, host, *offset, false)?;
                let keep = old.start..old.start + old.len().min(moved.len());
                w.protect_file(keep.clone(), readable)?;
                let copied = super::user::copy_between(moved.start, keep.start, keep.len());
                w.protect_file(keep, area.prot)?;
                return copied.and_then(|()| w.protect_file(moved.range(), area.prot));
            }
            w.map_file(moved.range(), area.prot, host, *offset, shared)
        }
    }
}
