//! The one routine that copies between kernel and guest memory, and survives a fault.
//!
//! [`copy`] is assembly between two labels. When the host reports a fault there, the trap handler moves the saved
//! instruction pointer to the fix-up ([`fixup_for`]), which returns how many bytes are left. `rep movsb` keeps its
//! counter in rcx, so the count is exact at any point. Short copies go by words and count in rcx, too; a word that
//! faults may reach into the next page, so it is done again by bytes: the count then stands at the very byte, which the
//! callers need to know which page is missing.

use core::arch::global_asm;

global_asm!(
    ".text",
    ".p2align 4",
    ".globl flatland_uaccess_copy",
    "flatland_uaccess_copy:", // rdi = dst, rsi = src, rdx = len; returns bytes not copied
    "mov rcx, rdx",
    "cmp rcx, 64",
    "jb 2f",
    "rep movsb",
    "xor eax, eax",
    "ret",
    ".globl flatland_uaccess_words",
    "flatland_uaccess_words:",
    "2: cmp rcx, 8",
    "jb 3f",
    "mov rax, [rsi]",
    "mov [rdi], rax",
    "add rsi, 8",
    "add rdi, 8",
    "sub rcx, 8",
    "jmp 2b",
    ".globl flatland_uaccess_bytes",
    "flatland_uaccess_bytes:",
    "3: test rcx, rcx",
    "jz 4f",
    "mov al, [rsi]",
    "mov [rdi], al",
    "inc rsi",
    "inc rdi",
    "dec rcx",
    "jmp 3b",
    "4: xor eax, eax",
    "ret",
    ".globl flatland_uaccess_end",
    "flatland_uaccess_end:",
    "mov rax, rcx",
    "ret",
);

unsafe extern "C" {
    fn flatland_uaccess_copy(dst: *mut u8, src: *const u8, len: usize) -> usize;
    safe fn flatland_uaccess_words();
    safe fn flatland_uaccess_bytes();
    safe fn flatland_uaccess_end();
}

/// Copies `len` bytes; returns how many were *not* copied because of a fault.
///
/// # Safety
/// Whichever side is the kernel's must be valid for `len` bytes; the other may fault, but must not be kernel memory.
#[inline]
pub unsafe fn copy(dst: *mut u8, src: *const u8, len: usize) -> usize {
    // SAFETY: the routine touches exactly these ranges; a fault inside it is caught by the trap handler.
    unsafe { flatland_uaccess_copy(dst, src, len) }
}

/// Where to go on when a fault hits the instruction at `rip`: `None` if it is not in the copy routine.
pub fn fixup_for(rip: u64) -> Option<u64> {
    let start = flatland_uaccess_copy as *const () as u64;
    let words = flatland_uaccess_words as *const () as u64;
    let bytes = flatland_uaccess_bytes as *const () as u64;
    let end = flatland_uaccess_end as *const () as u64;
    if (words..bytes).contains(&rip) { Some(bytes) } else { (start..end).contains(&rip).then_some(end) }
}
