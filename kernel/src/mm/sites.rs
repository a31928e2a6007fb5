//! System call sites in an address space: from the first trap to the patched image (`texts`), and back.

use super::mapping::show_file;
use super::space::Mm;
use super::vm_area::{Backing, VmArea, VmFlags};
use super::window::{STUB_DISTANCE, window};
use super::{residency, user};
use crate::abi::PAGE_SIZE;
use crate::arch::stub::{self, JUMP_LEN};
use crate::host::Prot;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

/// Whether a mapping may show a patched image: private code of a file that the program has not written to.
fn may_be_patched(area: &VmArea) -> bool {
    matches!(&area.backing, Backing::File(f) if f.text.is_some())
        && !area.flags.intersects(VmFlags::SHARED | VmFlags::WRITTEN)
        && area.prot.contains(Prot::EXEC)
        && !area.prot.contains(Prot::WRITE)
        && window().has_stub_page(area.start)
        && !window().is_stub_address(area.start)
}

/// Changes whether mappings show patched images; returns those that changed.
fn set_patched(mm: &Mm, range: &Range<usize>, patched: bool) -> Vec<VmArea> {
    let mut inner = mm.lock_inner();
    let mut changed = Vec::new();
    let parts: Vec<VmArea> = inner.areas.overlapping(core::slice::from_ref(range)).cloned().collect();
    for part in parts {
        let differs = matches!(&part.backing, Backing::File(f) if f.patched != patched);
        // What the program has written to its text would be lost with a mapping that is replaced.
        let fixed = if patched { !may_be_patched(&part) } else { part.flags.contains(VmFlags::WRITTEN) };
        if !differs || fixed {
            continue;
        }
        for mut area in inner.areas.carve(&part.range()) {
            if let Backing::File(f) = &mut area.backing {
                f.patched = patched;
            }
            changed.push(area.clone());
            inner.areas.insert(area);
        }
    }
    changed
}

impl Mm {
    /// Notes that the system call before `ret` with number `nr` has trapped; from the trap on at which its text gets an
    /// image, the mapping shows it.
    pub fn note_trapped_call(self: &Arc<Self>, ret: usize, nr: u64) {
        let Ok(nr) = u32::try_from(nr) else { return };
        let area = {
            let inner = self.lock_inner();
            if inner.unpatched {
                return;
            }
            inner.areas.find(ret.wrapping_sub(1)).filter(|a| may_be_patched(a)).cloned()
        };
        let Some(area) = area else { return };
        let Backing::File(f) = &area.backing else { return };
        let Some(text) = &f.text else { return };
        if !text.note_trap(&area, &f.host, ret, nr) || f.patched {
            return;
        }
        // Relatives have the same text in the window: they all see the image, or none does.
        let onlookers = residency::onlookers(self);
        if onlookers.iter().any(|mm| mm.lock_inner().unpatched) {
            return;
        }
        for mm in onlookers.iter().filter(|mm| !Arc::ptr_eq(mm, self)) {
            set_patched(mm, &area.range(), true);
        }
        for changed in set_patched(self, &area.range(), true) {
            if let Err(e) = show_file(&changed, changed.range()) {
                crate::klog!(Error, "patched text at {:#x} cannot be mapped: {e}", changed.start);
            }
        }
    }

    /// Makes every patched site trap again, and patches none from now on: for programs that change what the patched
    /// entry needs. A thread inside a stub goes on in the kernel, or starts over at the site.
    pub fn restore_patched_calls(&self) {
        let written: Vec<VmArea> = {
            let mut inner = self.lock_inner();
            inner.unpatched = true;
            let is_written =
                |a: &&VmArea| a.flags.contains(VmFlags::WRITTEN) && matches!(&a.backing, Backing::File(f) if f.patched);
            inner.areas.by_start.values().filter(is_written).cloned().collect()
        };
        written.iter().for_each(unpatch);
        for changed in set_patched(self, &(0..usize::MAX), false) {
            let stubs = changed.start + STUB_DISTANCE..changed.end + STUB_DISTANCE;
            if let Err(e) = show_file(&changed, changed.range()).and_then(|()| window().unmap_file(stubs)) {
                crate::klog!(Error, "patched text at {:#x} cannot be replaced: {e}", changed.start);
            }
        }
    }
}

/// Puts the first instructions of the patched sites of a mapping back, one by one.
fn unpatch(area: &VmArea) {
    let Backing::File(f) = &area.backing else { return };
    let Some(text) = &f.text else { return };
    let w = window();
    for (site, nr) in text.sites_in(area) {
        let mut there = [0u8; JUMP_LEN];
        let is_ours =
            user::copy_from_user(&mut there, site).is_ok() && stub::jump(site, target(site, &there)) == Some(there);
        if !is_ours || !w.is_stub_address(target(site, &there)) {
            continue;
        }
        let text = site & !(PAGE_SIZE - 1)..(site + JUMP_LEN).next_multiple_of(PAGE_SIZE);
        let written = w
            .protect_file(text.clone(), Prot::READ | Prot::WRITE | Prot::EXEC)
            .and_then(|()| user::copy_to_user(site, &stub::load_of(nr)));
        if let Err(e) = written.and_then(|()| w.protect_file(text, area.prot)) {
            crate::klog!(Error, "a patched site at {site:#x} stays: {e}");
        }
    }
}

/// Where a jump at `site` goes.
fn target(site: usize, jump: &[u8; JUMP_LEN]) -> usize {
    let distance = i32::from_le_bytes([jump[1], jump[2], jump[3], jump[4]]);
    (site + JUMP_LEN).wrapping_add_signed(distance as isize)
}
