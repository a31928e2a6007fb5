//! Residency: address spaces that claim the same addresses take turns in the window.
//!
//! Theory of operation. All processes share one range of host addresses, and most address spaces have ranges of their
//! own. Two kinds do not: the child of fork(2) runs at its parent's addresses, and programs that are linked to fixed
//! addresses overlap. Such spaces are *relatives* and form a [`Family`]. One of a family is *resident*: the window
//! shows its memory. Before the scheduler runs a thread of another, that one's space is made resident ([`ensure`]).
//!
//! A space that is not resident keeps only what it has otherwise than the window shows ([`super::parked`]): a private page
//! without an entry there is the page in the window. So a page in the window may be the resident's and, at the same time,
//! that of any number of relatives. Its contents must not change before those have got a copy: [`Family::save`] makes one
//! for all of them. It is called before the resident writes (below), gives up, or gets memory for a page, and before
//! another becomes resident for the pages which that one has otherwise. A switch costs what two relatives differ in.
//!
//! After fork(2) parent and child have everything alike, and the child goes on with the memory as it stands. If that is
//! little ([`EAGER_PAGES`]), all of it is copied at once: cheaper than the faults. Otherwise the host write-protects it
//! (*tracked* pages of the window), and the first write to a chunk faults and saves the chunk ([`unshare`]). Either way
//! the whole copy is charged against `mem=` when fork is called, so that it fails then (ENOMEM), not later.
//!
//! What shared mappings show is nobody's own: they are never saved, and stay in place where members have them alike. Ranges that one member alone has mapped are not
//! touched by a switch. Host mappings that differ between two members are replaced.
//!
//! A space that ends or calls execve(2) hands the window to an heir.
//!
//! Locks: the families' list, rank `Residency`; members' lists (rank `Mm`) and the window are taken inside it, one member
//! at a time.

use super::frames::Frame;
use super::parked::Saved;
use super::shared_memory::SharedMemory;
use super::space::Mm;
use super::spare;
use super::vm_area::{Backing, VmArea, VmFlags};
use super::window::window;
use crate::abi::PAGE_SIZE;
use crate::error::{Errno, Result};
use crate::host::Prot;
use crate::sync::{Rank, SpinLock};
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Range;
use core::ptr;
use core::sync::atomic::Ordering;

/// Up to so many private pages in use are copied by fork(2) at once: 1 MB.
const EAGER_PAGES: usize = 256;

/// What becomes of pages without memory when pages are saved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unused {
    /// They are about to get memory: that the relatives have none is noted.
    Noted,
    /// They stay without.
    Skipped,
}

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

impl Family {
    fn has(&self, mm: &Mm) -> bool {
        self.members.iter().any(|m| ptr::eq(m.as_ptr(), mm))
    }

    fn live(&self) -> Vec<Arc<Mm>> {
        self.members.iter().filter_map(Weak::upgrade).collect()
    }

    fn beside(&self, mm: &Mm) -> Vec<Arc<Mm>> {
        self.members.iter().filter(|m| !ptr::eq(m.as_ptr(), mm)).filter_map(Weak::upgrade).collect()
    }

    /// What members other than `mm` have.
    fn claims_beside(&self, mm: &Mm) -> Vec<Range<usize>> {
        self.beside(mm).iter().flat_map(|m| m.claims()).collect()
    }

    /// Tells the members that the window no longer shows anything at `gone`.
    fn note_absent(&self, gone: &[Range<usize>]) {
        if !gone.is_empty() {
            for member in self.live() {
                member.add_absent(gone);
            }
        }
    }

    /// Tells the relatives of `mm` that the window is about to show nothing at `parts`, as far as they have mapped it;
    /// returns what they have.
    fn note_unmapped(&self, mm: &Mm, parts: &[VmArea]) -> Vec<Range<usize>> {
        let mut all = Vec::new();
        for member in self.beside(mm) {
            let claims = member.claims();
            for part in parts {
                member.add_absent(&covered(&part.range(), &claims));
            }
            all.extend(claims);
        }
        all
    }

    /// Gives every member but `except` a copy of those of its private pages in `ranges` that it has as the window shows
    /// them. Pages without memory need a note only if they are about to get some. `shown` are the mappings that the
    /// window's access is set for. ENOMEM if the store of frames is full.
    fn save(&self, except: &Mm, shown: &[VmArea], ranges: &[Range<usize>], unused: Unused) -> Result<()> {
        let members = self.beside(except);
        let mut made: BTreeMap<usize, Saved> = BTreeMap::new();
        for (i, member) in members.iter().enumerate() {
            let others_follow = i + 1 < members.len();
            let mut inner = member.lock_inner();
            let inner = &mut *inner;
            for area in inner.areas.overlapping(ranges).filter(|a| has_contents(a)) {
                for part in covered(&area.range(), ranges) {
                    let in_use = runs_in_use(area, &part);
                    for page in in_use.iter().cloned().flat_map(pages_of) {
                        if inner.parked.has(page) {
                            continue;
                        }
                        let contents = match made.get(&page) {
                            Some(contents) => contents.clone(),
                            None => copy_page(page, shown)?,
                        };
                        if others_follow {
                            made.insert(page, contents.clone());
                        }
                        inner.parked.keep(page, contents);
                    }
                    if unused == Unused::Noted {
                        for page in uncovered(&part, &in_use).into_iter().flat_map(pages_of) {
                            inner.parked.keep(page, Saved::Nothing);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes the window show `to` instead of the present resident.
    fn switch_to(&mut self, to: &Arc<Mm>) {
        let mut before = Vec::new();
        if let Some(from) = self.resident.upgrade().filter(|from| !Arc::ptr_eq(from, to)) {
            before = from.areas();
            let contested = self.claims_beside(&from);
            let pages = page_count(&private_runs(&before, &contested));
            // What is taken out of the window comes back into it: the guest's total does not grow for long.
            let _ = from.charge_parked(pages, false);
            from.resident.store(false, Ordering::Relaxed);
            self.give_way(&before, to, &contested);
        }
        let contested = self.claims_beside(to);
        settle(to, &before, &contested);
        to.resident.store(true, Ordering::Relaxed);
        self.resident = Arc::downgrade(to);
    }

    /// Clears the way for `to` where the window shows the mappings `shown`: the contents that it will not show any more
    /// are saved for whom they belong to, and mappings inside `contested` that `to` has not are removed.
    fn give_way(&self, shown: &[VmArea], to: &Mm, contested: &[Range<usize>]) {
        let going = differing(shown, &to.areas(), contested);
        let gone: Vec<Range<usize>> = going.iter().map(VmArea::range).collect();
        let saved = self
            .save(to, shown, &to.parked_ranges(), Unused::Noted)
            .and_then(|()| self.save(to, shown, &gone, Unused::Skipped));
        if let Err(e) = saved {
            crate::klog!(Error, "a process's memory cannot be kept: {e}");
        }
        release_all(&going);
        self.note_absent(&gone);
    }
}

/// The contents of a page in the window, which `shown` has set the access to.
fn copy_page(page: usize, shown: &[VmArea]) -> Result<Saved> {
    if let Some(frame) = Frame::copy_of(page)? {
        return Ok(Saved::Page(frame));
    }
    // It may only be hidden (PROT_NONE). Pages beyond a file's end cannot be read and have no contents.
    let area = shown.iter().find(|a| a.range().contains(&page));
    if area.is_some_and(|a| !a.prot.is_empty()) {
        return Ok(Saved::Nothing);
    }
    let w = window();
    w.protect_file(page..page + PAGE_SIZE, Prot::READ)?;
    let copied = Frame::copy_of(page);
    w.protect_file(page..page + PAGE_SIZE, Prot::empty())?;
    Ok(copied?.map_or(Saved::Nothing, Saved::Page))
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

/// A copy of `parent` for a child that runs at the same addresses. The child is resident afterwards. ENOMEM if the guest
/// has no memory for a whole copy.
pub fn fork(parent: &Arc<Mm>) -> Result<Arc<Mm>> {
    let mut areas = parent.areas();
    // What the child does not get stays as it is, the parent's alone.
    areas.retain(|a| !a.flags.contains(VmFlags::DONTFORK));
    let everything: Vec<Range<usize>> = areas.iter().map(VmArea::range).collect();
    let private = private_runs(&areas, &everything);
    let pages = page_count(&private);
    if let Err(e) = parent.charge_parked(pages, true) {
        if !super::reclaim() {
            return Err(e);
        }
        parent.charge_parked(pages, true)?;
    }
    // Not before: a space with the parent's lists that is no relative of it would take its memory along.
    let child = Mm::new();
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
    parent.resident.store(false, Ordering::Relaxed);
    for mm in [parent, &child] {
        mm.related.store(true, Ordering::Relaxed);
    }
    let done = if pages <= EAGER_PAGES {
        let runs: Vec<Range<usize>> = private.iter().map(|(run, _)| run.clone()).collect();
        family.save(&child, &areas, &runs, Unused::Skipped).and_then(|()| untrack(&areas, &runs))
    } else {
        let writable = private.iter().filter(|(_, prot)| prot.contains(Prot::WRITE));
        writable.into_iter().try_for_each(|(run, prot)| window().track(run.clone(), *prot))
    };
    drop(spaces);
    let wiped = areas.iter().filter(|a| a.flags.contains(VmFlags::WIPEONFORK));
    let done = done.and_then(|()| wiped.map(VmArea::range).try_for_each(|range| child.discard(range)));
    if let Err(e) = done {
        // The parent's memory is in the window as it was, or has been saved: the child ends unborn.
        make_resident(parent);
        drop(child);
        return Err(e);
    }
    Ok(child)
}

/// The resident `mm` is about to change private pages in `range`, or, with `populating`, to get memory for them: relatives
/// that have them as the window shows them get copies. Afterwards no page there is write-protected for tracking. ENOMEM
/// if there is no room for the copies.
pub(super) fn unshare(mm: &Mm, range: &Range<usize>, populating: bool) -> Result<()> {
    let ranges = [range.clone()];
    let unused = if populating { Unused::Noted } else { Unused::Skipped };
    let areas = mm.areas_in(range);
    if mm.related.load(Ordering::Relaxed) {
        let spaces = SPACES.lock();
        if let Some(family) = spaces.families.iter().find(|f| f.has(mm)) {
            family.save(mm, &areas, &ranges, unused)?;
        }
    }
    untrack(&areas, &ranges)
}

/// The resident `mm` is about to map at fixed addresses: what relatives alone have in `range` leaves the window. Returns
/// where that is. ENOMEM if there is no room for copies.
pub(super) fn take_over(mm: &Mm, range: &Range<usize>) -> Result<Vec<Range<usize>>> {
    let own = mm.claims();
    let spaces = SPACES.lock();
    let Some(family) = spaces.families.iter().find(|f| f.has(mm)) else { return Ok(Vec::new()) };
    let theirs = uncovered(range, &own).iter().flat_map(|r| covered(r, &family.claims_beside(mm))).collect::<Vec<_>>();
    if theirs.is_empty() {
        return Ok(theirs);
    }
    family.save(mm, &[], &theirs, Unused::Skipped)?;
    for member in family.beside(mm) {
        let areas = member.areas();
        let inside = |area: &VmArea| covered(&area.range(), &theirs);
        release_all(&areas.iter().flat_map(|a| inside(a).into_iter().map(|r| a.part(&r))).collect::<Vec<_>>());
        member.add_absent(&theirs);
    }
    Ok(theirs)
}

/// The spaces that see what the window shows of `mm`: itself and its relatives.
pub(super) fn onlookers(mm: &Arc<Mm>) -> Vec<Arc<Mm>> {
    let spaces = SPACES.lock();
    spaces.families.iter().find(|f| f.has(mm)).map_or_else(|| alloc::vec![mm.clone()], Family::live)
}

/// Lets tracked pages of `areas` inside `ranges` be written again, as far as their mappings say.
fn untrack(areas: &[VmArea], ranges: &[Range<usize>]) -> Result<()> {
    for area in areas.iter().filter(|a| has_contents(a)) {
        for part in covered(&area.range(), ranges) {
            window().untrack(part, area.prot)?;
        }
    }
    Ok(())
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
    // What an owner that is not resident has there may be in the window, if no relative had it before.
    for owner in owners.iter().filter(|o| !residents.iter().any(|r| Arc::ptr_eq(r, o))) {
        let beside = merged.beside(owner);
        let beside: Vec<Range<usize>> =
            beside.iter().filter(|m| !Arc::ptr_eq(m, mm)).flat_map(|m| m.claims()).collect();
        let areas = owner.areas();
        let fresh: Vec<Range<usize>> =
            areas.iter().filter_map(|a| overlap(&a.range(), range)).flat_map(|p| uncovered(&p, &beside)).collect();
        let going = differing(&areas, &[], &fresh);
        owner.charge_parked_more(page_count(&private_runs(&areas, &fresh)));
        merged.save(mm, &areas, &fresh, Unused::Skipped)?;
        release_all(&going);
        owner.add_absent(&fresh);
    }
    // The newcomer's own pages there have no memory, whatever the window shows.
    mm.park_nothing(window().populated_runs(range));
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
    let mut claims = mm.claims();
    let mut areas = mm.take_areas();
    let parked = mm.take_parked();
    let origin = mm.forked_from();
    let mut others: Vec<Range<usize>> = Vec::new();
    if let Some(i) = spaces.families.iter().position(|f| f.has(mm)) {
        let family = &mut spaces.families[i];
        family.members.retain(|m| m.strong_count() > 0 && !ptr::eq(m.as_ptr(), mm));
        let members = family.live();
        others = members.iter().flat_map(|m| m.claims()).collect();
        // Most children end while their parent waits for them.
        let heir = members.iter().find(|m| ptr::eq(Arc::as_ptr(m), origin.as_ptr())).or(members.first());
        if let Some(heir) = heir.filter(|_| mm.resident.load(Ordering::Relaxed)) {
            family.give_way(&areas, heir, &others);
            let contested: Vec<Range<usize>> = family.claims_beside(heir).into_iter().chain(claims.clone()).collect();
            settle(heir, &areas, &contested);
            heir.resident.store(true, Ordering::Relaxed);
            family.resident = Arc::downgrade(heir);
        }
        if let [last] = &members[..] {
            last.related.store(false, Ordering::Relaxed);
            // Nobody is left to save anything for.
            let areas = last.areas();
            let everything: Vec<Range<usize>> = areas.iter().map(VmArea::range).collect();
            if let Err(e) = untrack(&areas, &everything) {
                crate::klog!(Error, "a process's memory stays write-protected: {e}");
            }
        }
        if members.len() < 2 {
            spaces.families.swap_remove(i);
        }
    }
    areas.iter().for_each(note_detached);
    drop(parked);
    if others.is_empty() {
        keep_parts(mm, &mut areas, &mut claims);
    }
    let alone: Vec<VmArea> =
        areas.iter().flat_map(|a| uncovered(&a.range(), &others).into_iter().map(|part| a.part(&part))).collect();
    release_all(&alone);
    for claim in claims {
        for part in uncovered(&claim, &others) {
            window().give_back(part);
        }
    }
}

/// Keeps what another program can use of a space that ends: it leaves `areas` and `claims`.
fn keep_parts(mm: &Mm, areas: &mut Vec<VmArea>, claims: &mut Vec<Range<usize>>) {
    for part in mm.take_parts() {
        let range = part.range.clone();
        let inside = |a: &VmArea| a.start >= range.start && a.end <= range.end;
        let now: Vec<VmArea> = areas.iter().filter(|a| inside(a)).cloned().collect();
        let crossed = areas.iter().any(|a| !inside(a) && overlap(&a.range(), &range).is_some());
        if !crossed && spare::keep(part, &now) {
            areas.retain(|a| !inside(a));
            *claims = claims.iter().flat_map(|c| uncovered(c, core::slice::from_ref(&range))).collect();
        }
    }
}

/// Ends what `mm`, which is resident, no longer maps: private contents go; address ranges go back unless they belong to the
/// break or a relative.
pub(super) fn finish_unmap(mm: &Mm, parts: &[VmArea], keep_range: bool) {
    let others = if mm.related.load(Ordering::Relaxed) {
        let spaces = SPACES.lock();
        let family = spaces.families.iter().find(|f| f.has(mm));
        family.map(|f| {
            let ranges: Vec<Range<usize>> = parts.iter().map(VmArea::range).collect();
            if let Err(e) = f.save(mm, parts, &ranges, Unused::Skipped) {
                crate::klog!(Error, "a process's memory cannot be kept: {e}");
            }
            f.note_unmapped(mm, parts)
        })
    } else {
        None
    };
    let others = others.unwrap_or_default();
    let reserved = mm.break_range();
    for area in parts {
        super::mapping::release(area);
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
        && !matches!(area.backing, Backing::Memory(_))
        && (matches!(area.backing, Backing::Anonymous) || area.flags.contains(VmFlags::WRITTEN))
}

/// The runs of pages of `part` of a mapping that may have contents, as the window shows it.
fn runs_in_use(area: &VmArea, part: &Range<usize>) -> Vec<Range<usize>> {
    match area.backing {
        Backing::Anonymous => window().populated_runs(part),
        Backing::Memory(_) => Vec::new(),
        Backing::File(_) => alloc::vec![part.clone()],
    }
}

fn pages_of(run: Range<usize>) -> impl Iterator<Item = usize> {
    run.step_by(PAGE_SIZE)
}

fn page_count(runs: &[(Range<usize>, Prot)]) -> usize {
    runs.iter().map(|(run, _)| run.len()).sum::<usize>() / PAGE_SIZE
}

/// The runs of private pages in use of `areas` inside `ranges`, with the access to them.
fn private_runs(areas: &[VmArea], ranges: &[Range<usize>]) -> Vec<(Range<usize>, Prot)> {
    let mut runs = Vec::new();
    for area in areas.iter().filter(|a| has_contents(a)) {
        for part in covered(&area.range(), ranges) {
            runs.extend(runs_in_use(area, &part).into_iter().map(|run| (run, area.prot)));
        }
    }
    runs
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
                Arc::ptr_eq(&x.host, &y.host) && x.offset == y.offset && a.prot == b.prot && x.patched == y.patched
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

/// The parts of the mappings `from` inside `contested` that `to` has not.
fn differing(from: &[VmArea], to: &[VmArea], contested: &[Range<usize>]) -> Vec<VmArea> {
    let unlike = |area: &VmArea| different(area, to, contested).into_iter().map(|r| area.part(&r)).collect::<Vec<_>>();
    from.iter().flat_map(unlike).collect()
}

/// Takes the contents of mappings away: those that lie side by side together, for each call to the host has its price.
pub(super) fn release_all(areas: &[VmArea]) {
    for group in areas.chunk_by(|a, b| a.end == b.start) {
        let span = group[0].start..group[group.len() - 1].end;
        if group.len() > 1 && group.iter().any(|a| !matches!(a.backing, Backing::Anonymous)) {
            super::mapping::release_span(span, group);
        } else {
            group.iter().for_each(super::mapping::release);
        }
    }
}

/// Brings the mappings and contents of `to` into the window where `from` was shown before: inside `contested`, and where
/// an earlier switch removed what `to` has.
fn settle(to: &Arc<Mm>, from: &[VmArea], contested: &[Range<usize>]) {
    let w = window();
    let contested: Vec<Range<usize>> = contested.iter().cloned().chain(to.take_absent()).collect();
    let mut parked = to.take_parked();
    let areas = to.areas();
    let mut failed = None;
    for area in &areas {
        match &area.backing {
            Backing::File(_) => {
                for part in different(area, from, &contested) {
                    failed = super::mapping::show_file(area, part).err().or(failed);
                }
            }
            Backing::Memory(_) => {
                for part in different(area, from, &contested) {
                    if let Backing::Memory(m) = area.part(&part).backing {
                        failed = m.show(&part, area.prot).err().or(failed);
                    }
                }
            }
            Backing::Anonymous => {
                // The memory stays, but each may have its own access to it.
                let other = from.iter().filter(|f| f.prot != area.prot && matches!(f.backing, Backing::Anonymous));
                for part in other.filter_map(|f| overlap(&f.range(), &area.range())) {
                    failed = w.protect(part, area.prot).err().or(failed);
                }
            }
        }
    }
    let pages: Vec<(usize, Saved)> = parked.take_pages().into_iter().collect();
    for area in &areas {
        let start = pages.partition_point(|(page, _)| *page < area.start);
        let end = pages.partition_point(|(page, _)| *page < area.end);
        if start < end && has_contents(area) {
            failed = restore(area, &pages[start..end]).err().or(failed);
        }
    }
    if let Some(e) = failed {
        crate::klog!(Error, "a process's memory cannot be brought back: {e}");
    }
}

/// Runs of pages that follow each other.
fn page_runs(pages: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for page in pages {
        match runs.last_mut().filter(|last| last.end == page) {
            Some(last) => last.end += PAGE_SIZE,
            None => runs.push(page..page + PAGE_SIZE),
        }
    }
    runs
}

/// Writes pages of a mapping back, the resident's from now on.
fn restore(area: &VmArea, pages: &[(usize, Saved)]) -> Result<()> {
    let w = window();
    let empty = pages.iter().filter(|(_, s)| matches!(s, Saved::Nothing)).map(|(page, _)| *page);
    let mut kept: Vec<(usize, &Frame)> =
        pages.iter().filter_map(|(page, s)| if let Saved::Page(f) = s { Some((*page, f)) } else { None }).collect();
    if matches!(area.backing, Backing::Anonymous) {
        for run in page_runs(empty) {
            w.discard(run)?;
        }
    }
    let writable = area.prot.contains(Prot::WRITE);
    let anonymous = matches!(area.backing, Backing::Anonymous);
    if !(anonymous && writable) {
        // A page that is as it should be is not written: that would take two more calls, or, for a page of a file, give
        // it memory of its own.
        kept.retain(|(page, frame)| !frame.matches(*page));
    }
    let runs = page_runs(kept.iter().map(|(page, _)| *page));
    for run in &runs {
        if anonymous {
            w.make_writable(run.clone(), writable)?;
        } else {
            w.protect_file(run.clone(), Prot::READ | Prot::WRITE)?;
        }
    }
    for (page, frame) in &kept {
        // What cannot be written lies beyond a file's end.
        let _ = frame.write_to(*page);
    }
    if area.prot != Prot::READ | Prot::WRITE {
        for run in runs {
            w.protect_file(run, area.prot)?;
        }
    }
    Ok(())
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
