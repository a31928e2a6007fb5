//! Residency: address spaces that claim the same addresses take turns in the window.
//!
//! Theory of operation. All processes share one range of host addresses, and most address spaces have ranges of their
//! own. Two kinds do not: the child of fork(2) runs at its parent's addresses, and programs that are linked to fixed
//! addresses overlap. Such spaces are *relatives* and form a [`Family`]. One of a family is *resident*: the window
//! shows its memory. Before the scheduler runs a thread of another, that one's space is made resident ([`ensure`]).
//!
//! What is swapped is the *contested* part only: ranges that more than one member has mapped. The contents of private
//! mappings there are copied out of the window into a [`Parked`] image, and back in when the space returns; host mappings
//! that differ between the two are replaced. Shared mappings stay in place: all members see the same memory. Ranges that
//! one member alone has mapped are not touched.
//!
//! fork(2) parks a copy for the parent and lets the child go on with the memory as it stands: a child that soon calls
//! execve(2) or ends costs one copy out and one copy in. Memory that is parked counts against `mem=`.
//!
//! A space that ends or calls execve(2) hands the window to an heir, which skips whatever both have alike.
//!
//! Locks: the families' list, rank `Residency`; members' lists (rank `Mm`) and the window are taken inside it, one member
//! at a time.

use super::shared_memory::SharedMemory;
use super::space::Mm;
use super::user;
use super::vm_area::{Backing, VmArea, VmFlags};
use super::window::window;
use crate::abi::PAGE_SIZE;
use crate::error::{Errno, Result};
use crate::host::Prot;
use crate::sync::{Rank, SpinLock};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Range;
use core::ptr;
use core::sync::atomic::Ordering;

/// Spaces that contest addresses, and which of them the window shows.
struct Family {
    members: Vec<Weak<Mm>>,
    resident: Weak<Mm>,
}

/// The families, and every live space, so that the owners of a range can be found.
struct Spaces {
    all: Vec<Weak<Mm>>,
    families: Vec<Family>,
}

static SPACES: SpinLock<Spaces> = SpinLock::new(Rank::Residency, Spaces { all: Vec::new(), families: Vec::new() });

/// Contents of a space that is not resident.
#[derive(Default)]
pub(super) struct Parked {
    /// Address and bytes of each run of pages.
    runs: Vec<(usize, Vec<u8>)>,
    /// Pages charged against `mem=` for the runs.
    pages: usize,
}

impl Drop for Parked {
    fn drop(&mut self) {
        if self.pages > 0 {
            window().uncharge(self.pages);
        }
    }
}

impl Family {
    fn has(&self, mm: &Mm) -> bool {
        self.members.iter().any(|m| ptr::eq(m.as_ptr(), mm))
    }

    fn live(&self) -> Vec<Arc<Mm>> {
        self.members.iter().filter_map(Weak::upgrade).collect()
    }

    /// What members other than `mm` have.
    fn claims_beside(&self, mm: &Mm) -> Vec<Range<usize>> {
        self.live().iter().filter(|m| !ptr::eq(Arc::as_ptr(m), mm)).flat_map(|m| m.claims()).collect()
    }

    /// Tells the members that the window no longer shows anything at `gone`.
    fn note_absent(&self, gone: &[Range<usize>]) {
        for member in self.live() {
            member.add_absent(gone);
        }
    }

    /// Tells the relatives of `mm` that the window is about to show nothing at `parts`, as far as they have mapped it;
    /// returns what they have.
    fn note_unmapped(&self, mm: &Mm, parts: &[VmArea]) -> Vec<Range<usize>> {
        let mut all = Vec::new();
        for member in self.live().iter().filter(|m| !ptr::eq(Arc::as_ptr(m), mm)) {
            let claims = member.claims();
            for part in parts {
                member.add_absent(&covered(&part.range(), &claims));
            }
            all.extend(claims);
        }
        all
    }

    /// Makes the window show `to` instead of the present resident.
    fn switch_to(&mut self, to: &Arc<Mm>) {
        let mut before = Vec::new();
        if let Some(from) = self.resident.upgrade().filter(|from| !Arc::ptr_eq(from, to)) {
            before = from.areas();
            let contested = self.claims_beside(&from);
            // What is taken out of the window comes back into it: the guest's total does not grow for long.
            let parked = park(&before, &contested, false).unwrap_or_default();
            from.set_parked(Some(parked));
            from.resident.store(false, Ordering::Relaxed);
            let gone = tear_down(&before, &to.areas(), &contested);
            self.note_absent(&gone);
        }
        let contested = self.claims_beside(to);
        settle(to, &before, &contested);
        to.resident.store(true, Ordering::Relaxed);
        self.resident = Arc::downgrade(to);
    }
}

/// Notes a new space.
pub(super) fn register(mm: &Arc<Mm>) {
    let mut spaces = SPACES.lock();
    if spaces.all.len() == spaces.all.capacity() {
        spaces.all.retain(|s| s.strong_count() > 0);
    }
    spaces.all.push(Arc::downgrade(mm));
}

/// Makes the window show `mm` if it does not. Called by the scheduler before it runs one of its threads.
#[inline]
pub fn ensure(mm: &Arc<Mm>) {
    if !mm.is_resident() {
        make_resident(mm);
    }
}

#[cold]
fn make_resident(mm: &Arc<Mm>) {
    let mut spaces = SPACES.lock();
    if let Some(family) = spaces.families.iter_mut().find(|f| f.has(mm)) {
        family.switch_to(mm);
    }
}

/// A copy of `parent` for a child that runs at the same addresses. The child is resident afterwards; the parent's
/// contents are parked. ENOMEM if the guest has no memory for the copy.
pub fn fork(parent: &Arc<Mm>) -> Result<Arc<Mm>> {
    let child = Mm::new();
    let areas = parent.areas();
    let everything: Vec<Range<usize>> = areas.iter().map(VmArea::range).collect();
    let parked = park(&areas, &everything, true)?;
    child.copy_from(parent);
    let mut spaces = SPACES.lock();
    let at = spaces.families.iter().position(|f| f.has(parent)).unwrap_or_else(|| {
        spaces.families.push(Family { members: alloc::vec![Arc::downgrade(parent)], resident: Weak::new() });
        spaces.families.len() - 1
    });
    let family = &mut spaces.families[at];
    family.members.retain(|m| m.strong_count() > 0);
    family.members.push(Arc::downgrade(&child));
    family.resident = Arc::downgrade(&child);
    parent.set_parked(Some(parked));
    parent.resident.store(false, Ordering::Relaxed);
    for mm in [parent, &child] {
        mm.related.store(true, Ordering::Relaxed);
    }
    Ok(child)
}

/// Lets `mm`, which has mapped nothing there, have `range` although others may have it too: they take turns from now on.
/// The parts that nobody has are taken from the window; `reserve` puts the range into the list of `mm`, which is resident
/// afterwards. ENOMEM if a part is neither free nor mapped by a space, or if `mm` has relatives already and a part is
/// mapped by somebody else than these.
pub(super) fn claim(mm: &Arc<Mm>, range: &Range<usize>, reserve: impl FnOnce()) -> Result<()> {
    let mut spaces = SPACES.lock();
    let owners: Vec<Arc<Mm>> = spaces
        .all
        .iter()
        .filter_map(Weak::upgrade)
        .filter(|o| !Arc::ptr_eq(o, mm) && o.claims().iter().any(|c| overlap(c, range).is_some()))
        .collect();
    let own = spaces.families.iter().position(|f| f.has(mm));
    if own.is_some_and(|i| owners.iter().any(|o| !spaces.families[i].has(o))) {
        return Err(Errno::ENOMEM.because("a process that is no relative has mapped something there"));
    }
    let claims: Vec<Range<usize>> = owners.iter().flat_map(|o| o.claims()).collect();
    let mut taken: Vec<Range<usize>> = Vec::new();
    for gap in uncovered(range, &claims) {
        if window().take_at(gap.clone()).is_err() {
            taken.into_iter().for_each(|t| window().give_back(t));
            return Err(Errno::ENOMEM.because("the fixed addresses are not to be had"));
        }
        taken.push(gap);
    }
    // What an owner that is not resident has there may still be in the window, if no relative had it before.
    for owner in owners.iter().filter(|o| !o.is_resident()) {
        let beside = spaces.families.iter().find(|f| f.has(owner)).map(|f| f.claims_beside(owner)).unwrap_or_default();
        let areas = owner.areas();
        let fresh: Vec<Range<usize>> = areas
            .iter()
            .filter_map(|a| overlap(&a.range(), range))
            .flat_map(|part| uncovered(&part, &beside))
            .collect();
        owner.extend_parked(park(&areas, &fresh, false)?);
        owner.add_absent(&tear_down(&areas, &[], &fresh));
    }
    // The owners and their relatives become one family, in which the newcomer takes the window from all.
    let mut merged = match own {
        Some(i) => spaces.families.swap_remove(i),
        None => Family { members: alloc::vec![Arc::downgrade(mm)], resident: Weak::new() },
    };
    let mut residents: Vec<Arc<Mm>> = Vec::new();
    for owner in &owners {
        if merged.has(owner) {
            continue;
        }
        match spaces.families.iter().position(|f| f.has(owner)) {
            Some(i) => {
                let family = spaces.families.swap_remove(i);
                residents.extend(family.resident.upgrade());
                merged.members.extend(family.members);
            }
            None => {
                merged.members.push(Arc::downgrade(owner));
                residents.push(owner.clone());
            }
        }
    }
    reserve();
    for member in merged.live() {
        member.related.store(true, Ordering::Relaxed);
    }
    for resident in residents {
        merged.resident = Arc::downgrade(&resident);
        merged.switch_to(mm);
    }
    merged.resident = Arc::downgrade(mm);
    spaces.families.push(merged);
    Ok(())
}

/// The last user of `mm` is gone: its memory and address ranges go, as far as no relative needs them.
pub(super) fn leave(mm: &Mm) {
    let mut spaces = SPACES.lock();
    let claims = mm.claims();
    let areas = mm.take_areas();
    let mut others: Vec<Range<usize>> = Vec::new();
    if let Some(i) = spaces.families.iter().position(|f| f.has(mm)) {
        let family = &mut spaces.families[i];
        family.members.retain(|m| m.strong_count() > 0 && !ptr::eq(m.as_ptr(), mm));
        let members = family.live();
        others = members.iter().flat_map(|m| m.claims()).collect();
        if let Some(heir) = members.first().filter(|_| mm.resident.load(Ordering::Relaxed)) {
            let gone = tear_down(&areas, &heir.areas(), &others);
            family.note_absent(&gone);
            settle(heir, &areas, &family.claims_beside(heir).into_iter().chain(claims.clone()).collect::<Vec<_>>());
            heir.resident.store(true, Ordering::Relaxed);
            family.resident = Arc::downgrade(heir);
        }
        if let [last] = &members[..] {
            last.related.store(false, Ordering::Relaxed);
        }
        if members.len() < 2 {
            spaces.families.swap_remove(i);
        }
    }
    mm.set_parked(None);
    for area in &areas {
        note_detached(area);
        for part in uncovered(&area.range(), &others) {
            super::space::release(&area.part(&part));
        }
    }
    for claim in claims {
        for part in uncovered(&claim, &others) {
            window().give_back(part);
        }
    }
}

/// Ends what `mm` no longer maps: private contents go; address ranges go back unless they belong to the break or a
/// relative.
pub(super) fn finish_unmap(mm: &Mm, parts: &[VmArea], keep_range: bool) {
    let others = if mm.related.load(Ordering::Relaxed) {
        let spaces = SPACES.lock();
        let family = spaces.families.iter().find(|f| f.has(mm));
        family.map(|f| f.note_unmapped(mm, parts)).unwrap_or_default()
    } else {
        Vec::new()
    };
    let reserved = mm.break_range();
    for area in parts {
        super::space::release(area);
        note_detached(area);
        if !keep_range {
            let mut kept = others.clone();
            kept.push(reserved.clone());
            for part in uncovered(&area.range(), &kept) {
                window().give_back(part);
            }
        }
    }
}

fn note_detached(area: &VmArea) {
    if let Backing::Memory(m) = &area.backing {
        m.object.note_detached();
    }
}

/// How many mappings of `object` there are in all spaces (`shm_nattch` of shmctl(2)).
pub fn count_mappings(object: &Arc<SharedMemory>) -> usize {
    // The spaces are let go of without the lock, which the end of one takes.
    let spaces: Vec<Arc<Mm>> = SPACES.lock().all.iter().filter_map(Weak::upgrade).collect();
    spaces.iter().map(|mm| mm.mappings_of(object)).sum()
}

/// Whether private contents of a mapping must be kept when another space takes its place.
fn has_contents(area: &VmArea) -> bool {
    !area.flags.contains(VmFlags::SHARED)
        && (matches!(area.backing, Backing::Anonymous) || area.flags.contains(VmFlags::WRITTEN))
}

/// Copies the private contents of `areas` inside `ranges` out of the window. With `strict`, ENOMEM if `mem=` has no room
/// for the copy.
fn park(areas: &[VmArea], ranges: &[Range<usize>], strict: bool) -> Result<Parked> {
    let w = window();
    let mut runs: Vec<(Range<usize>, Prot)> = Vec::new();
    for area in areas.iter().filter(|a| has_contents(a)) {
        for part in covered(&area.range(), ranges) {
            match area.backing {
                Backing::Anonymous => runs.extend(w.populated_runs(&part).into_iter().map(|r| (r, area.prot))),
                Backing::Memory(_) => {}
                Backing::File(_) => runs.push((part, area.prot)),
            }
        }
    }
    let pages = runs.iter().map(|(r, _)| r.len()).sum::<usize>() / PAGE_SIZE;
    w.charge(pages, strict)?;
    let mut parked = Parked { runs: Vec::with_capacity(runs.len()), pages };
    for (run, prot) in runs {
        let hidden = prot.is_empty();
        if hidden {
            w.protect_file(run.clone(), Prot::READ)?;
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(run.len()).map_err(|_| Errno::ENOMEM)?;
        bytes.resize(run.len(), 0);
        // Pages beyond a file's end cannot be read and have no contents.
        let mut at = 0;
        while at < bytes.len() {
            let left = user::read_raw(&mut bytes[at..], run.start + at);
            let stopped = run.len() - left;
            at = if left == 0 { run.len() } else { (stopped + 1).next_multiple_of(PAGE_SIZE) };
        }
        if hidden {
            w.protect_file(run.clone(), prot)?;
        }
        parked.runs.push((run.start, bytes));
    }
    Ok(parked)
}

/// Whether the window may keep showing `a` where `b` has its place; both cover the same range.
fn same_mapping(a: &VmArea, b: &VmArea) -> bool {
    let shared = |x: &VmArea| x.flags.contains(VmFlags::SHARED);
    shared(a) == shared(b)
        && match (&a.backing, &b.backing) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (Backing::Memory(x), Backing::Memory(y)) => {
                Arc::ptr_eq(&x.object, &y.object) && x.offset == y.offset && a.prot == b.prot
            }
            (Backing::File(x), Backing::File(y)) => {
                Arc::ptr_eq(&x.host, &y.host) && x.offset == y.offset && a.prot == b.prot
            }
            _ => false,
        }
}

/// The parts of `area` inside `ranges` that no mapping of `others` is the same as.
fn different(area: &VmArea, others: &[VmArea], ranges: &[Range<usize>]) -> Vec<Range<usize>> {
    let same: Vec<Range<usize>> = others
        .iter()
        .filter_map(|o| overlap(&o.range(), &area.range()).map(|r| (o.part(&r), area.part(&r))))
        .filter(|(o, a)| same_mapping(o, a))
        .map(|(o, _)| o.range())
        .collect();
    covered(&area.range(), ranges).iter().flat_map(|part| uncovered(part, &same)).collect()
}

/// Removes from the window what `from` shows inside `contested` and `to` does not; returns what was removed.
fn tear_down(from: &[VmArea], to: &[VmArea], contested: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut gone = Vec::new();
    for area in from {
        for part in different(area, to, contested) {
            super::space::release(&area.part(&part));
            gone.push(part);
        }
    }
    gone
}

/// Brings the mappings and contents of `to` into the window where `from` was shown before: inside `contested`, and where
/// an earlier switch removed what `to` has.
fn settle(to: &Arc<Mm>, from: &[VmArea], contested: &[Range<usize>]) {
    let w = window();
    let contested: Vec<Range<usize>> = contested.iter().cloned().chain(to.take_absent()).collect();
    let contested = &contested[..];
    let parked = to.take_parked().unwrap_or_default();
    let areas = to.areas();
    let mut failed = None;
    for area in &areas {
        match &area.backing {
            Backing::File(f) => {
                for part in different(area, from, contested) {
                    let offset = f.offset + (part.start - area.start) as u64;
                    let shared = area.flags.contains(VmFlags::SHARED);
                    failed = w.map_file(part, area.prot, &f.host, offset, shared).err().or(failed);
                }
            }
            Backing::Memory(_) => {
                for part in different(area, from, contested) {
                    if let Backing::Memory(m) = area.part(&part).backing {
                        failed = m.show(&part, area.prot).err().or(failed);
                    }
                }
            }
            Backing::Anonymous => {
                // Pages that the other had and this one has not.
                let mine: Vec<Range<usize>> = parked.runs.iter().map(|(at, b)| *at..at + b.len()).collect();
                for part in covered(&area.range(), contested).iter().flat_map(|part| uncovered(part, &mine)) {
                    failed = w.discard(part).err().or(failed);
                }
            }
        }
    }
    let runs = { parked }.take_runs();
    for (at, bytes) in runs {
        let mut done = 0;
        while done < bytes.len() {
            let Some(area) = areas.iter().find(|a| a.range().contains(&(at + done))) else { break };
            let n = (bytes.len() - done).min(area.end - (at + done));
            let piece = at + done..at + done + n;
            failed = restore(area, piece, &bytes[done..done + n]).err().or(failed);
            done += n;
        }
    }
    if let Some(e) = failed {
        crate::klog!(Error, "a process's memory cannot be brought back: {e}");
    }
}

/// Writes the contents of a piece of a mapping back.
fn restore(area: &VmArea, piece: Range<usize>, bytes: &[u8]) -> Result<()> {
    let w = window();
    let writable = Prot::READ | Prot::WRITE;
    match area.backing {
        Backing::Anonymous => {
            w.populate_always(piece.clone(), writable)?;
            user::write_raw(piece.start, bytes);
            if area.prot != writable { w.protect(piece, area.prot) } else { Ok(()) }
        }
        Backing::Memory(_) => Ok(()),
        Backing::File(_) => {
            w.protect_file(piece.clone(), writable)?;
            let mut page = [0u8; PAGE_SIZE];
            for (i, chunk) in bytes.chunks(PAGE_SIZE).enumerate() {
                let at = piece.start + i * PAGE_SIZE;
                // A page that is as it should be is not written: writing gives it memory of its own.
                if user::read_raw(&mut page[..chunk.len()], at) == 0 && page[..chunk.len()] != *chunk {
                    user::write_raw(at, chunk);
                }
            }
            w.protect_file(piece, area.prot)
        }
    }
}

impl Parked {
    /// Takes the runs of `more`, and its charge, in addition.
    pub(super) fn extend(&mut self, mut more: Parked) {
        self.runs.append(&mut more.runs);
        self.pages += core::mem::take(&mut more.pages);
    }

    /// The runs; the charge for them ends.
    fn take_runs(mut self) -> Vec<(usize, Vec<u8>)> {
        core::mem::take(&mut self.runs)
    }
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> Option<Range<usize>> {
    let both = a.start.max(b.start)..a.end.min(b.end);
    (!both.is_empty()).then_some(both)
}

/// The parts of `range` inside one of `ranges`, in order and without overlap.
fn covered(range: &Range<usize>, ranges: &[Range<usize>]) -> Vec<Range<usize>> {
    uncovered(range, &uncovered(range, ranges))
}

/// The parts of `range` outside all of `ranges`, in order.
pub(super) fn uncovered(range: &Range<usize>, ranges: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut inside: Vec<Range<usize>> = ranges.iter().filter_map(|r| overlap(r, range)).collect();
    inside.sort_by_key(|r| r.start);
    let mut out = Vec::new();
    let mut at = range.start;
    for r in inside {
        if r.start > at {
            out.push(at..r.start);
        }
        at = at.max(r.end);
    }
    if at < range.end {
        out.push(at..range.end);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_right() {
        let others = [30..40, 10..20, 15..25];
        assert_eq!(uncovered(&(0..50), &others), alloc::vec![0..10, 25..30, 40..50]);
        assert_eq!(covered(&(0..50), &others), alloc::vec![10..25, 30..40]);
        assert_eq!(covered(&(12..14), &others), alloc::vec![12..14]);
        assert_eq!(uncovered(&(12..14), &others), alloc::vec![]);
    }
}
