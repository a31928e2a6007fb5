//! A process's address space: its mappings and what else belongs to them.
//!
//! Theory of operation. The list of mappings says what the guest may do; the host's page tables follow it lazily.
//! Anonymous memory is inaccessible until touched: the fault populates a chunk around the address (`faults`). Files are
//! mapped by the host at once (`mapping`, `remap`). Every operation works on the parts of mappings inside its range, so
//! that splitting is one idea in one place (`Areas::carve`).
//!
//! Locks: the list, rank `Mm`; the window's lock is taken inside it. No guest memory is touched under it except pages
//! that were just populated.

use super::areas::Areas;
use super::parked::{Parked, Saved};
use super::program_break::Break;
use super::residency;
use super::shared_memory::SharedMemory;
use super::spare::{self, Part};
use super::vm_area::{Backing, VmArea, VmFlags};
use super::window::window;
use crate::abi::PAGE_SIZE;
use crate::error::{Errno, Result};
use crate::sync::{Once, Rank, SpinGuard, SpinLock};
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Rounds up to whole pages; `None` on overflow.
pub fn page_align_up(len: usize) -> Option<usize> {
    len.checked_add(PAGE_SIZE - 1).map(|n| n & !(PAGE_SIZE - 1))
}

/// With whom a mapping is shared ([`Mm::shared_location`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shared {
    /// With every mapping of this file or memory object.
    With(usize),
    /// With nobody.
    Private,
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
    pub(super) program_break: Break,
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
        inner.areas.parts(range).collect()
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

    /// Whether other spaces claim addresses of it.
    pub(super) fn has_relatives(&self) -> bool {
        self.related.load(Ordering::Relaxed)
    }

    /// To be called before private pages in the range change or, with `populating`, get memory: relatives keep theirs.
    pub(super) fn unshare(&self, range: &Range<usize>, populating: bool) -> Result<()> {
        if self.has_relatives() { residency::unshare(self, range, populating) } else { Ok(()) }
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
