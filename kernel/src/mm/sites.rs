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

/// A patched site: the number that it loads, and its stub.
#[derive(Clone, Copy)]
struct Patched {
    nr: u32,
    stub: usize,
}

/// The system call sites of an address space that have trapped.
#[derive(Default, Clone)]
pub(super) struct Sites {
    /// How often each has trapped, by its return address.
    traps: HashMap<usize, u32>,
    /// Those that were patched, by address.
    patched: HashMap<usize, Patched>,
    /// No site is patched any more.
    off: bool,
}

impl Sites {
    /// Forgets sites in a range that is unmapped.
    pub(super) fn forget(&mut self, range: &Range<usize>) {
        if !self.traps.is_empty() {
            self.traps.retain(|ret, _| !range.contains(ret));
            self.patched.retain(|site, _| !range.contains(site));
        }
    }
}

impl Mm {
    /// Notes that the system call before `ret` with number `nr` has trapped; patches its site if it is time and it can
    /// be done.
    pub fn note_trapped_call(&self, ret: usize, nr: u64) {
        let Ok(nr) = u32::try_from(nr) else { return };
        let mut inner = self.lock_inner();
        if inner.sites.off {
            return;
        }
        let count = inner.sites.traps.entry(ret).or_insert(0);
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
        if stub::is_site(&at_site, bytes[0], nr)
            && let Some(stub) = patch(site, nr)
        {
            inner.sites.patched.insert(site, Patched { nr, stub });
        }
    }

    /// Makes every patched site trap again, and patches none from now on: for programs that change what the patched
    /// entry needs.
    pub fn restore_patched_calls(&self) {
        let patched = {
            let mut inner = self.lock_inner();
            inner.sites.off = true;
            core::mem::take(&mut inner.sites.patched)
        };
        for (site, p) in patched {
            let mut there = [0u8; JUMP_LEN];
            let is_ours =
                super::user::copy_from_user(&mut there, site).is_ok() && stub::jump(site, p.stub) == Some(there);
            if is_ours {
                // A thread inside the stub goes on in the kernel, or starts over at the site.
                write_text(site, &stub::load_of(p.nr));
            }
        }
    }
}

/// Writes to code that is private to its process.
fn write_text(site: usize, bytes: &[u8; JUMP_LEN]) -> bool {
    let w = window();
    // The five bytes may lie in two pages.
    let text = site & !(PAGE_SIZE - 1)..(site + JUMP_LEN).next_multiple_of(PAGE_SIZE);
    let written = w.protect_file(text.clone(), Prot::READ | Prot::WRITE | Prot::EXEC).is_ok()
        && super::user::copy_to_user(site, bytes).is_ok();
    if let Err(e) = w.protect_file(text, Prot::READ | Prot::EXEC) {
        crate::klog!(Error, "patched code at {site:#x} stays writable: {e}");
    }
    written
}

/// Makes the stub, then the jump to it; returns the stub. If the guest's memory is used up, the site stays on the net.
fn patch(site: usize, nr: u32) -> Option<usize> {
    let w = window();
    let page = (site & !(PAGE_SIZE - 1)) + STUB_DISTANCE;
    let stubs = page..page + PAGE_SIZE;
    let mut header = [0u8; SLOT];
    if !w.is_populated(page) {
        if w.populate(stubs.clone(), Prot::READ | Prot::WRITE).is_err() {
            return None;
        }
        header = stub::header(0);
    } else if super::user::copy_from_user(&mut header, page).is_err() {
        return None;
    }
    let used = stub::slots_used(&header);
    if used >= stub::SLOTS {
        return None;
    }
    let at = page + SLOT * (used as usize + 1);
    let (code, jump) = (stub::stub(at, site, nr)?, stub::jump(site, at)?);
    let write = |addr: usize, bytes: &[u8]| super::user::copy_to_user(addr, bytes).is_ok();
    let made = w.protect(stubs.clone(), Prot::READ | Prot::WRITE).is_ok()
        && write(at, &code)
        && write(page, &stub::header(used + 1));
    if w.protect(stubs, Prot::READ | Prot::EXEC).is_err() || !made {
        return None;
    }
    write_text(site, &jump).then_some(at)
}
