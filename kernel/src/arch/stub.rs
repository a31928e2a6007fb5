//! Stubs: where the jumps of patched sites lead.
//!
//! A site's jump (`displace`) goes to a stub in the *stub page*, at a fixed distance from the page that the jump stands in
//! ([`DISTANCE`]), one slot of 64 bytes:
//!
//! ```text
//! the leads                   as they were
//! lea  ret(%rip), %rcx        as `syscall` does: the return address (%rdx for `cpuid`, which loses what was there)
//! jmp  *entry(%rip)           the address of the kernel's entry, in the page's first slot
//! ```
//!
//! No stack is used (programs keep data below their stack pointer around system calls), and no flag changes but as the leads
//! do. The first slot of a stub page holds the entries' addresses and a bit for each slot in use; the last byte of
//! a slot, how long its leads are.
//!
//! Nobody sees an address in a stub. A context that is interrupted there is put to where it would be without the stub
//! ([`original`]): at a lead, or at the site's own instruction, which is still there and does the same, only slower. Two
//! leads whose starts are both below the jump are the exception: such a context cannot go on where it is, and is sent back
//! to the stub when it leaves the kernel (`Mm::resume_address`). So is a context that stood there when the site was patched, or that
//! a signal handler returns to.

use super::displace::{self, Displacement, JUMP_LEN, Room, SITE_LEN, SiteKind};
use super::{entry, uaccess};
use crate::mm::window;

/// Distance from a page of text to its stub page: in reach of every jump, and where punned jumps lead.
pub const DISTANCE: usize = (displace::PUNNED & !(PAGE - 1)) + PAGE;
/// Bytes of a slot.
pub const SLOT: usize = 64;
const PAGE: usize = crate::abi::PAGE_SIZE;
/// Slots of a page.
const SLOTS: usize = PAGE / SLOT;
/// Bytes of `lea` and of `jmp` behind the leads.
const LEA_LEN: usize = 7;
const JMP_LEN: usize = 6;
/// Where the displacement of `lea` stands in it, and that of `jmp`.
const LEA_DISPLACEMENT: usize = 3;
const JMP_DISPLACEMENT: usize = 2;
/// Where a slot says how long its leads are.
const LEADS_LEN: usize = SLOT - 1;
/// Where the first slot has the entry of `cpuid`, and the bits of the slots in use. The entry of system calls is first.
const CPUID_ENTRY: usize = 8;
const SLOTS_USED: usize = 16;

const _: () = assert!(displace::LEADS_MAX + LEA_LEN + JMP_LEN <= LEADS_LEN);
const _: () = assert!(SLOTS <= 64);

fn displacement(from_next: usize, to: usize) -> Option<[u8; 4]> {
    let distance = (to as i64).wrapping_sub(from_next as i64);
    i32::try_from(distance).ok().map(i32::to_le_bytes)
}

/// The jump from `at` to a stub.
pub fn jump(at: usize, stub: usize) -> Option<[u8; JUMP_LEN]> {
    let [a, b, c, d] = displacement(at + JUMP_LEN, stub)?;
    Some([0xe9, a, b, c, d])
}

/// Where a jump at `at` goes.
pub fn jump_target(at: usize, jump: &[u8; JUMP_LEN]) -> usize {
    let distance = i32::from_le_bytes([jump[1], jump[2], jump[3], jump[4]]);
    (at + JUMP_LEN).wrapping_add_signed(distance as isize)
}

/// The stub at `at` for the site. All addresses are offsets in one text, the stub's as well: only distances count.
fn code(at: usize, d: &Displacement) -> Option<[u8; SLOT]> {
    let mut s = [0xcc; SLOT];
    displace::move_leads(&d.original[..d.leads], d.at, at, &mut s)?;
    let (register, entry) = match d.kind {
        SiteKind::Syscall => (0x0d, 0),
        SiteKind::Cpuid => (0x15, CPUID_ENTRY),
    };
    let lea = d.leads;
    s[lea..lea + LEA_DISPLACEMENT].copy_from_slice(&[0x48, 0x8d, register]);
    s[lea + LEA_DISPLACEMENT..lea + LEA_LEN].copy_from_slice(&displacement(at + lea + LEA_LEN, d.site() + SITE_LEN)?);
    let jmp = lea + LEA_LEN;
    s[jmp..jmp + JMP_DISPLACEMENT].copy_from_slice(&[0xff, 0x25]);
    let entry_at = (at & !(PAGE - 1)) + entry;
    s[jmp + JMP_DISPLACEMENT..jmp + JMP_LEN].copy_from_slice(&displacement(at + jmp + JMP_LEN, entry_at)?);
    s[LEADS_LEN] = d.leads as u8;
    Some(s)
}

/// The first slot of a stub page with these slots in use.
fn header(used: u64) -> [u8; SLOT] {
    let mut h = [0; SLOT];
    h[..8].copy_from_slice(&entry::patched_entry().to_le_bytes());
    h[CPUID_ENTRY..CPUID_ENTRY + 8].copy_from_slice(&entry::cpuid_entry().to_le_bytes());
    h[SLOTS_USED..SLOTS_USED + 8].copy_from_slice(&used.to_le_bytes());
    h
}

/// Writes a stub for a site into the stub pages of its text, which begin at the text's own offset. Returns the jump that goes to
/// the site, and where the stub is. `None` if there is no slot that it could lead to.
pub fn place(stubs: &mut [u8], d: &Displacement) -> Option<([u8; JUMP_LEN], usize)> {
    // A punned jump goes to one of 256 bytes, any other to any slot of its page.
    let reach = match d.room {
        Room::Punned => {
            let end = d.at + JUMP_LEN + displace::PUNNED + 256 - DISTANCE;
            end.saturating_sub(256).next_multiple_of(SLOT)..end
        }
        Room::Long | Room::Several => {
            let page = d.at & !(PAGE - 1);
            page..page + PAGE
        }
    };
    for at in reach.step_by(SLOT) {
        let (page, slot) = (at & !(PAGE - 1), at % PAGE / SLOT);
        let used = u64::from_le_bytes(stubs.get(page + SLOTS_USED..page + SLOTS_USED + 8)?.try_into().ok()?);
        if slot == 0 || used & (1 << slot) != 0 {
            continue;
        }
        let stub = at + DISTANCE;
        let (code, jump) = (code(stub, d)?, jump(d.at, stub)?);
        stubs[at..at + SLOT].copy_from_slice(&code);
        stubs[page..page + SLOT].copy_from_slice(&header(used | 1 << slot));
        return Some((jump, stub));
    }
    None
}

/// A stub's leads and the site behind them: how long they are, and where the site is. `None` if it is no stub's address.
fn read(at: usize) -> Option<(usize, usize)> {
    let mut slot = [0u8; SLOT];
    // SAFETY: the buffer is this long; nothing is written to `at`, and a fault there ends the copy.
    if at.is_multiple_of(PAGE) || unsafe { uaccess::copy(slot.as_mut_ptr(), at as *const u8, SLOT) } != 0 {
        return None;
    }
    let leads = usize::from(slot[LEADS_LEN]);
    if leads > displace::LEADS_MAX {
        return None;
    }
    let rel = slot[leads + LEA_DISPLACEMENT..leads + LEA_LEN].try_into().ok()?;
    let behind = (at + leads + LEA_LEN).wrapping_add_signed(i32::from_le_bytes(rel) as isize);
    Some((leads, behind.wrapping_sub(SITE_LEN)))
}

/// If `rip` lies in a stub, where the context would be without it.
pub(super) fn original(rip: u64) -> Option<u64> {
    let window = window::get()?;
    if !window.is_stub_address(rip as usize) {
        return None;
    }
    let at = rip as usize & !(SLOT - 1);
    let (leads, site) = read(at)?;
    let done = (rip as usize - at).min(leads);
    Some(site.wrapping_sub(leads).wrapping_add(done) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;
    use alloc::vec;

    fn displacement_of(kind: SiteKind, room: Room, at: usize, leads: &[u8]) -> Displacement {
        let original = [leads, &kind.bytes()].concat();
        Displacement { kind, room, at, leads: leads.len(), original: original.into(), function: at..at + 9 }
    }

    #[repr(align(4096))]
    struct Page([u8; 4096]);

    /// A page with the stub page's bytes, at its own address.
    fn copy(stubs: &[u8]) -> Box<Page> {
        let mut page = Box::new(Page([0; 4096]));
        page.0.copy_from_slice(&stubs[..4096]);
        page
    }

    #[test]
    fn a_stub_runs_the_leads_and_leads_back_behind_the_site() {
        let mut stubs = vec![0u8; 4096];
        let d = displacement_of(SiteKind::Syscall, Room::Long, 0x123, &[0xb8, 39, 0, 0, 0]);
        let (j, at) = place(&mut stubs, &d).unwrap();
        assert_eq!((jump_target(0x123, &j), at), (DISTANCE + SLOT, DISTANCE + SLOT));
        let s = &stubs[SLOT..2 * SLOT];
        assert_eq!(&s[..8], &[0xb8, 39, 0, 0, 0, 0x48, 0x8d, 0x0d]);
        let rel = i32::from_le_bytes(s[8..12].try_into().unwrap());
        assert_eq!((at + 12).wrapping_add_signed(rel as isize), 0x123 + 7);
        assert_eq!(&s[12..14], &[0xff, 0x25]);
        let rel = i32::from_le_bytes(s[14..18].try_into().unwrap());
        assert_eq!((at + 18).wrapping_add_signed(rel as isize), DISTANCE);
        assert_eq!(stubs[..8], entry::patched_entry().to_le_bytes());
    }

    #[test]
    fn cpuid_has_an_entry_of_its_own() {
        let mut stubs = vec![0u8; 4096];
        let d = displacement_of(SiteKind::Cpuid, Room::Long, 0x20, &[0xb8, 4, 0, 0, 0, 0x31, 0xc9]);
        let (_, at) = place(&mut stubs, &d).unwrap();
        let s = &stubs[SLOT..2 * SLOT];
        assert_eq!(&s[7..10], &[0x48, 0x8d, 0x15], "lea to rdx");
        let rel = i32::from_le_bytes(s[16..20].try_into().unwrap());
        assert_eq!((at + 20).wrapping_add_signed(rel as isize), DISTANCE + CPUID_ENTRY);
        assert_eq!(stubs[8..16], entry::cpuid_entry().to_le_bytes());
    }

    #[test]
    fn a_punned_jump_leaves_the_bytes_behind_it() {
        let mut stubs = vec![0u8; 2 * 4096];
        for at in [100, 300, 0xff0, 0x1010, 0x1080, 0x10c0] {
            let d = displacement_of(SiteKind::Syscall, Room::Punned, at, &[0x31, 0xc0]);
            let (jump, _) = place(&mut stubs, &d).unwrap();
            assert_eq!(jump[2..], [0x0f, 0x05, 0x48], "{at:#x}");
        }
        let first = displacement_of(SiteKind::Syscall, Room::Punned, 58, &[0x31, 0xc0]);
        assert_eq!(place(&mut stubs, &first), None, "before the first slot");
    }

    #[test]
    fn a_full_page_takes_no_more() {
        let mut stubs = vec![0u8; 4096];
        let d = |at| displacement_of(SiteKind::Syscall, Room::Long, at, &[0xb8, 39, 0, 0, 0]);
        for i in 0..SLOTS - 1 {
            assert!(place(&mut stubs, &d(i * 7)).is_some());
        }
        assert_eq!(place(&mut stubs, &d(0x800)), None);
    }

    #[test]
    fn an_address_in_a_stub_is_one_in_front_of_the_site() {
        let mut stubs = vec![0u8; 4096];
        let d = displacement_of(SiteKind::Cpuid, Room::Several, 0x40, &[0x44, 0x89, 0xe0, 0x89, 0xf1]);
        place(&mut stubs, &d).unwrap();
        let page = copy(&stubs);
        let base = page.0.as_ptr() as usize;
        let (leads, site) = read(base + SLOT).unwrap();
        assert_eq!((leads, site + DISTANCE - base), (5, d.site()));
        assert_eq!(read(base), None, "the first slot is none");
    }
}
