//! The program break (brk(2)): a range set aside behind each program's data, with one mapping that grows and shrinks.

use super::residency;
use super::space::{Mm, page_align_up};
use super::spare;
use super::vm_area::{Backing, VmArea, VmFlags};
use super::window::{Zone, window};
use crate::abi::PAGE_SIZE;
use crate::error::Result;
use crate::host::Prot;

/// What a growing program break populates at once.
const EAGER_BREAK: usize = 32 * 1024;
/// Address range set aside for the program break.
const BREAK_RANGE: usize = 1 << 30;

/// The program break.
#[derive(Clone, Copy, Default)]
pub(super) struct Break {
    pub(super) start: usize,
    pub(super) now: usize,
    pub(super) limit: usize,
}

impl Mm {
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
        let mut inner = self.lock_inner();
        inner.program_break = Break { start: range.start, now: range.start, limit: range.end };
        Ok(())
    }

    /// Moves the program break (brk(2)); returns where it is then: unchanged if the move is not possible.
    pub fn set_break(&self, to: usize) -> usize {
        let mut inner = self.lock_inner();
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
            let _ = self.populate(first.clone());
            // A spare break brings cleared pages along, closed. What has memory must be open: the host is handed these
            // addresses, and its refusal is taken for the guest's fault unless memory is missing.
            for left in window().populated_runs(&(first.end..new_end)) {
                let _ = self.populate(left);
            }
            return to;
        }
        if new_end < old_end {
            let parts = inner.areas.carve(&(new_end..old_end));
            drop(inner);
            residency::finish_unmap(self, &parts, true);
        }
        to
    }
}
