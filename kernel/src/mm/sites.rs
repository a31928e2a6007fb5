//! Patching system call sites in an address space (`hook=patch`).
//!
//! A trapped call proves that its address is a system call instruction. Patching costs as much as several traps, so a
//! site must trap [`PATCH_AFTER`] times first: programs that live for a moment stay as they are. Only private file
//! mappings that are executable and not writable are patched; code that a program makes itself stays on the net. The
//! host gives the page a private copy: the file never sees the patch.

use super::space::Mm;
use super::vm_area::{Backing, VmFlags};
use super::window::{STUB_DISTANCE, window};
use crate::abi::PAGE_SIZE;
use crate::arch::stub::{self, JUMP_LEN, SITE_LEN, SLOT};
use crate::host::Prot;
use core::ops::Range;
use hashbrown::HashMap;

/// How often a site must trap before it is patched.
const PATCH_AFTER: u32 = 6;

/// How often each site has trapped, by its return address.
#[derive(Clone, Default)]
pub(super) struct Sites(HashMap<usize, u32>);

impl Sites {
    /// Forgets sites in a range that is unmapped.
    pub(super) fn forget(&mut self, range: &Range<usize>) {
        if !self.0.is_empty() {
            self.0.retain(|ret, _| !range.contains(ret));
        }
    }
}

impl Mm {
    /// Notes that the system call before `ret` with number `nr` has trapped; patches its site if it is time and it can
    /// be done.
    pub fn note_trapped_call(&self, ret: usize, nr: u64) {
        let Ok(nr) = u32::try_from(nr) else { return };
        let mut inner = self.lock_inner();
        let count = inner.sites.0.entry(ret).or_insert(0);
        *count = count.saturating_add(1);
        if *count != PATCH_AFTER {
            return;
        }
        let Some(site) = ret.checked_sub(SITE_LEN) else { return };
        let patchable = inner.areas.find(site).is_some_and(|a| {
            matches!(a.backing, Backing::File(_))
                && !a.flags.contains(VmFlags::SHARED)
                && a.prot.contains(Prot::EXEC)
                && !a.prot.contains(Prot::WRITE)
                && site > a.start
                && ret <= a.end
        });
        if !patchable || !window().has_stub_page(site) {
            return;
        }
        let mut bytes = [0u8; SITE_LEN + 1];
        if super::user::copy_from_user(&mut bytes, site - 1).is_err() {
            return;
        }
        let mut at_site = [0u8; SITE_LEN];
        at_site.copy_from_slice(&bytes[1..]);
        if stub::is_site(&at_site, bytes[0], nr) {
            patch(site, nr);
        }
    }
}

/// Makes the stub, then the jump to it. If the guest's memory is used up, the site stays on the net.
fn patch(site: usize, nr: u32) {
    let w = window();
    let page = (site & !(PAGE_SIZE - 1)) + STUB_DISTANCE;
    let stubs = page..page + PAGE_SIZE;
    let mut header = [0u8; SLOT];
    if !w.is_populated(page) {
        if w.populate(stubs.clone(), Prot::READ | Prot::WRITE).is_err() {
            return;
        }
        header = stub::header(0);
    } else if super::user::copy_from_user(&mut header, page).is_err() {
        return;
    }
    let used = stub::slots_used(&header);
    if used >= stub::SLOTS {
        return;
    }
    let at = page + SLOT * (used as usize + 1);
    let (Some(code), Some(jump)) = (stub::stub(at, site, nr), stub::jump(site, at)) else { return };
    let write = |addr: usize, bytes: &[u8]| super::user::copy_to_user(addr, bytes).is_ok();
    let made = w.protect(stubs.clone(), Prot::READ | Prot::WRITE).is_ok()
        && write(at, &code)
        && write(page, &stub::header(used + 1));
    if w.protect(stubs, Prot::READ | Prot::EXEC).is_err() || !made {
        return;
    }
    // The jump's five bytes may lie in two pages.
    let text = site & !(PAGE_SIZE - 1)..(site + JUMP_LEN).next_multiple_of(PAGE_SIZE);
    if w.protect_file(text.clone(), Prot::READ | Prot::WRITE | Prot::EXEC).is_ok() {
        write(site, &jump);
    }
    if let Err(e) = w.protect_file(text, Prot::READ | Prot::EXEC) {
        crate::klog!(Error, "patched code at {site:#x} stays writable: {e}");
    }
}
