//! Mappings made, taken away and given other access: mmap(2), munmap(2), mprotect(2).
//!
//! A new mapping first gets its address range from the window ([`place`]), then the window shows what backs it, then it
//! enters the list; what fails on the way gives the range back. MAP_FIXED takes the place of what the process has there,
//! and only of that: relatives keep theirs (`residency`).

use super::residency;
use super::shared_memory::SharedMemory;
use super::space::{Inner, Mm, page_align_up};
use super::texts;
use super::vm_area::{Backing, MemoryBacking, VmArea, VmFlags};
use super::window::{STUB_DISTANCE, Zone, window};
use crate::abi::PAGE_SIZE;
use crate::error::{Errno, Result};
use crate::host::Prot;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

/// Up to this size a new mapping is populated at once: it is made to be used.
const EAGER_MAP: usize = 64 * 1024;
/// Most mappings of one process (`vm.max_map_count`).
const MAX_AREAS: usize = 65530;

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

impl Mm {
    /// Reserves a range that other spaces may have mapped, too: they take turns from now on (`residency`). This space is
    /// resident afterwards. ENOMEM if a part is neither free nor any space's.
    pub fn claim(self: &Arc<Self>, range: Range<usize>) -> Result<()> {
        residency::claim(self, &range, || {
            self.lock_inner().areas.insert(VmArea {
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
        let mut inner = self.lock_inner();
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
    pub(super) fn prepare_fixed(&self, placement: Placement, len: usize) -> Result<Vec<Range<usize>>> {
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
    pub(super) fn abandon(&self, range: Range<usize>) {
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
            let mut inner = self.lock_inner();
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
        let mut inner = self.lock_inner();
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
pub(super) fn place(
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
