//! Mappings that grow, shrink and move: mremap(2).

use super::mapping::{Placement, place, release};
use super::residency;
use super::space::Mm;
use super::vm_area::{Backing, FileBacking, VmArea, VmFlags};
use super::window::{Zone, window};
use crate::error::{Errno, Result};
use crate::host::Prot;
use alloc::vec::Vec;
use core::ops::Range;

impl Mm {
    /// Changes the length of a mapping, moving it if it may (mremap(2)); returns its address.
    pub fn remap(&self, old: Range<usize>, new_len: usize, to: Option<Placement>) -> Result<usize> {
        self.unshare(&old, false)?;
        let granted = to.map_or(Ok(Vec::new()), |to| self.prepare_fixed(to, new_len))?;
        let mut inner = self.lock_inner();
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
