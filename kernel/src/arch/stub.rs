//! Patched system call sites and their stubs.
//!
//! A site is `mov $nr, %eax; syscall`, seven bytes. Patched, its first five are a `jmp rel32` to a stub, and the old
//! `syscall` stays behind them: code that jumps straight to it still traps. The stub stands in the *stub page*, at a
//! fixed distance from the page the site lies in ([`crate::mm::window::STUB_DISTANCE`]), one slot of 32 bytes:
//!
//! ```text
//! mov  $nr, %eax
//! lea  ret(%rip), %rcx        as `syscall` does: the return address
//! jmp  *entry(%rip)           the address of the kernel's entry, in the page's first slot
//! ```
//!
//! No stack is used (programs keep data below their stack pointer around system calls), no flag changes. The first slot
//! of a stub page holds the entry's address and the number of slots in use.

use super::entry;
use crate::mm::window;

/// Bytes of a site: `mov $imm32, %eax` and `syscall`.
pub const SITE_LEN: usize = 7;
/// Bytes of the jump that replaces the start of a site.
pub const JUMP_LEN: usize = 5;
/// Bytes of a slot.
pub const SLOT: usize = 32;
const PAGE: usize = crate::abi::PAGE_SIZE;
/// Offset of the address operand's base (the next instruction) and of the displacement of `lea` in a stub.
const LEA_NEXT: usize = 12;
const LEA_DISPLACEMENT: usize = 8;

/// Whether the seven bytes at a site, before the return address, are one that loads `nr`. `before` is the byte in front:
/// a prefix there would make the `mov` something else.
pub fn is_site(bytes: &[u8; SITE_LEN], before: u8, nr: u32) -> bool {
    let prefix = matches!(before, 0x40..=0x4f | 0x66 | 0x67 | 0xf0 | 0xf2 | 0xf3 | 0x0f);
    bytes[0] == 0xb8 && bytes[1..5] == nr.to_le_bytes() && bytes[5..] == [0x0f, 0x05] && !prefix
}

fn displacement(from_next: usize, to: usize) -> Option<[u8; 4]> {
    let distance = (to as i64).wrapping_sub(from_next as i64);
    i32::try_from(distance).ok().map(i32::to_le_bytes)
}

/// The jump that goes to a site at `site`.
pub fn jump(site: usize, stub: usize) -> Option<[u8; JUMP_LEN]> {
    let [a, b, c, d] = displacement(site + JUMP_LEN, stub)?;
    Some([0xe9, a, b, c, d])
}

/// What a site's jump has replaced: the load of `nr`.
pub fn load_of(nr: u32) -> [u8; JUMP_LEN] {
    let [a, b, c, d] = nr.to_le_bytes();
    [0xb8, a, b, c, d]
}

/// The stub at `at` for the site at `site` that loads `nr`.
pub fn stub(at: usize, site: usize, nr: u32) -> Option<[u8; SLOT]> {
    let mut s = [0xcc; SLOT];
    s[0] = 0xb8;
    s[1..5].copy_from_slice(&nr.to_le_bytes());
    s[5..8].copy_from_slice(&[0x48, 0x8d, 0x0d]);
    s[8..12].copy_from_slice(&displacement(at + LEA_NEXT, site + SITE_LEN)?);
    s[12..14].copy_from_slice(&[0xff, 0x25]);
    s[14..18].copy_from_slice(&displacement(at + 18, at & !(PAGE - 1))?);
    Some(s)
}

/// The first slot of a stub page with `used` slots in use.
pub fn header(used: u32) -> [u8; SLOT] {
    let mut h = [0; SLOT];
    h[..8].copy_from_slice(&entry::patched_entry().to_le_bytes());
    h[8..12].copy_from_slice(&used.to_le_bytes());
    h
}

/// The number of slots in use that a header says.
pub fn slots_used(header: &[u8; SLOT]) -> u32 {
    u32::from_le_bytes([header[8], header[9], header[10], header[11]])
}

/// Most stubs in a page.
pub const SLOTS: u32 = (PAGE / SLOT - 1) as u32;

/// If `rip` lies in a stub, the address of its site. Callable from a signal handler.
pub(super) fn site_of(rip: u64) -> Option<u64> {
    let window = window::get()?;
    if !window.is_stub_address(rip as usize) {
        return None;
    }
    let at = rip as usize & !(SLOT - 1);
    // SAFETY: code ran here, so the page is there and readable; slots do not cross pages.
    let rel = unsafe { ((at + LEA_DISPLACEMENT) as *const i32).read_unaligned() };
    let ret = (at + LEA_NEXT).wrapping_add_signed(rel as isize);
    Some((ret - SITE_LEN) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stub_leads_back_behind_its_site() {
        let (site, at) = (0x1000_0040_0123, 0x1000_4040_0020);
        let s = stub(at, site, 39).unwrap();
        assert_eq!(&s[..5], &[0xb8, 39, 0, 0, 0]);
        let rel = i32::from_le_bytes(s[8..12].try_into().unwrap());
        assert_eq!((at + 12).wrapping_add_signed(rel as isize), site + 7);
        let rel = i32::from_le_bytes(s[14..18].try_into().unwrap());
        assert_eq!((at + 18).wrapping_add_signed(rel as isize), at & !0xfff);
        let j = jump(site, at).unwrap();
        let rel = i32::from_le_bytes(j[1..].try_into().unwrap());
        assert_eq!((site + 5).wrapping_add_signed(rel as isize), at);
        assert_eq!(jump(site, site + (3 << 31)), None);
    }

    #[test]
    fn only_the_plain_shape_is_a_site() {
        let site = [0xb8, 39, 0, 0, 0, 0x0f, 0x05];
        assert!(is_site(&site, 0xc3, 39));
        assert!(!is_site(&site, 0xc3, 40));
        assert!(!is_site(&site, 0x41, 39), "mov $39, %r8d");
        assert!(!is_site(&[0x31, 0xc0, 0x90, 0x90, 0x90, 0x0f, 0x05], 0xc3, 0));
    }
}
