//! `memcpy` and its family, and `strlen`, for the whole binary.
//!
//! The C library picks AVX versions of these when the program starts. The kernel must not touch vector registers
//! beyond the low halves of xmm0–15, so its own definitions, which the linker prefers, are baseline SSE2 and `rep movsb`.

use core::arch::global_asm;

global_asm!(
    ".text",
    ".p2align 5",
    ".globl memcpy",
    ".type memcpy, @function",
    "memcpy:", // rdi = dst, rsi = src, rdx = n
    "mov rax, rdi",
    "cmp rdx, 16",
    "jb 2f",
    "cmp rdx, 32",
    "ja 1f",
    "movups xmm0, [rsi]",
    "movups xmm1, [rsi+rdx-16]",
    "movups [rdi], xmm0",
    "movups [rdi+rdx-16], xmm1",
    "ret",
    "1: cmp rdx, 512",
    "jae 5f",
    // 33..511 bytes: 32 at a time, then the last 32, which may overlap.
    "movups xmm2, [rsi+rdx-32]",
    "movups xmm3, [rsi+rdx-16]",
    "lea r8, [rdi+rdx-32]",
    "6: movups xmm0, [rsi]",
    "movups xmm1, [rsi+16]",
    "movups [rdi], xmm0",
    "movups [rdi+16], xmm1",
    "add rsi, 32",
    "add rdi, 32",
    "cmp rdi, r8",
    "jb 6b",
    "movups [r8], xmm2",
    "movups [r8+16], xmm3",
    "ret",
    "5: mov rcx, rdx",
    "rep movsb",
    "ret",
    "2: cmp edx, 8",
    "jb 3f",
    "mov rcx, [rsi]",
    "mov r8, [rsi+rdx-8]",
    "mov [rdi], rcx",
    "mov [rdi+rdx-8], r8",
    "ret",
    "3: cmp edx, 4",
    "jb 4f",
    "mov ecx, [rsi]",
    "mov r8d, [rsi+rdx-4]",
    "mov [rdi], ecx",
    "mov [rdi+rdx-4], r8d",
    "ret",
    "4: test edx, edx",
    "jz 7f",
    "movzx ecx, byte ptr [rsi]",
    "movzx r8d, byte ptr [rsi+rdx-1]",
    "cmp edx, 2",
    "jbe 8f",
    "movzx r9d, byte ptr [rsi+1]",
    "mov [rdi+1], r9b",
    "8: mov [rdi], cl",
    "mov [rdi+rdx-1], r8b",
    "7: ret",
    ".size memcpy, .-memcpy",
    ".p2align 5",
    ".globl memmove",
    ".type memmove, @function",
    "memmove:",
    "cmp rdx, 32",
    "jbe memcpy", // loads everything before it stores
    "mov r9, rdi",
    "sub r9, rsi",
    "cmp r9, rdx",
    "jae memcpy", // apart, or the destination is lower: forwards is right
    "mov rax, rdi",
    "movups xmm2, [rsi]",
    "movups xmm3, [rsi+16]",
    "2: movups xmm0, [rsi+rdx-16]",
    "movups xmm1, [rsi+rdx-32]",
    "movups [rdi+rdx-16], xmm0",
    "movups [rdi+rdx-32], xmm1",
    "sub rdx, 32",
    "cmp rdx, 32",
    "ja 2b",
    "movups [rdi], xmm2",
    "movups [rdi+16], xmm3",
    "ret",
    ".size memmove, .-memmove",
    ".p2align 5",
    ".globl memset",
    ".type memset, @function",
    "memset:", // rdi = dst, esi = byte, rdx = n
    "mov rax, rdi",
    "movzx esi, sil",
    "mov rcx, 0x0101010101010101",
    "imul rsi, rcx",
    "cmp rdx, 16",
    "jb 3f",
    "cmp rdx, 512",
    "jae 4f",
    "movq xmm0, rsi",
    "punpcklqdq xmm0, xmm0",
    "lea r8, [rdi+rdx-16]",
    "2: movups [rdi], xmm0",
    "add rdi, 16",
    "cmp rdi, r8",
    "jb 2b",
    "movups [r8], xmm0",
    "ret",
    "4: mov r8, rax",
    "mov eax, esi",
    "mov rcx, rdx",
    "rep stosb",
    "mov rax, r8",
    "ret",
    "3: cmp edx, 8",
    "jb 5f",
    "mov [rdi], rsi",
    "mov [rdi+rdx-8], rsi",
    "ret",
    "5: cmp edx, 4",
    "jb 6f",
    "mov [rdi], esi",
    "mov [rdi+rdx-4], esi",
    "ret",
    "6: test edx, edx",
    "jz 7f",
    "mov [rdi], sil",
    "mov [rdi+rdx-1], sil",
    "cmp edx, 2",
    "jbe 7f",
    "mov [rdi+1], sil",
    "7: ret",
    ".size memset, .-memset",
    ".p2align 5",
    ".globl memcmp",
    ".globl bcmp",
    ".type memcmp, @function",
    "memcmp:",
    "bcmp:",
    "2: cmp rdx, 16",
    "jb 3f",
    "movups xmm0, [rdi]",
    "movups xmm1, [rsi]",
    "pcmpeqb xmm0, xmm1",
    "pmovmskb eax, xmm0",
    "xor eax, 0xffff",
    "jnz 4f",
    "add rdi, 16",
    "add rsi, 16",
    "sub rdx, 16",
    "jmp 2b",
    "4: bsf ecx, eax",
    "movzx eax, byte ptr [rdi+rcx]",
    "movzx edx, byte ptr [rsi+rcx]",
    "sub eax, edx",
    "ret",
    "3: test rdx, rdx",
    "jz 5f",
    "movzx eax, byte ptr [rdi]",
    "movzx ecx, byte ptr [rsi]",
    "sub eax, ecx",
    "jnz 6f",
    "inc rdi",
    "inc rsi",
    "dec rdx",
    "jmp 3b",
    "5: xor eax, eax",
    "6: ret",
    ".size memcmp, .-memcmp",
    // Reads whole aligned blocks of 16: what is read beyond the string lies on the same page.
    ".p2align 5",
    ".globl strlen",
    ".type strlen, @function",
    "strlen:",
    "mov rax, rdi",
    "and rax, -16",
    "pxor xmm0, xmm0",
    "pcmpeqb xmm0, [rax]",
    "pmovmskb edx, xmm0",
    "mov ecx, edi",
    "and ecx, 15",
    "shr edx, cl",
    "test edx, edx", // a shift by zero leaves the flags as they were
    "jz 2f",
    "bsf eax, edx",
    "ret",
    "2: add rax, 16",
    "pxor xmm0, xmm0",
    "pcmpeqb xmm0, [rax]",
    "pmovmskb edx, xmm0",
    "test edx, edx",
    "jz 2b",
    "bsf edx, edx",
    "add rax, rdx",
    "sub rax, rdi",
    "ret",
    ".size strlen, .-strlen",
);

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn strings_of_every_length_and_alignment_have_their_length() {
        for start in 0..32 {
            for len in 0..70 {
                let mut bytes = vec![b'x'; 128];
                let at = bytes.as_ptr().align_offset(16) + start;
                bytes[at + len] = 0;
                // SAFETY: the string ends inside the vector.
                let counted = unsafe { libc::strlen(bytes[at..].as_ptr().cast()) };
                assert_eq!(counted, len, "{start} {len}");
            }
        }
    }

    #[test]
    fn copies_of_every_small_length_and_overlap() {
        for n in (0..600).chain([4096, 5000]) {
            let src: Vec<u8> = (0..n).map(|i| (i * 7 + 3) as u8).collect();
            let mut dst = vec![0xee; n + 2];
            dst[1..=n].copy_from_slice(&src);
            assert_eq!(dst[0], 0xee);
            assert_eq!(dst[n + 1], 0xee);
            assert!(dst[1..=n] == src[..], "memcpy of {n}");
            for shift in [1usize, 5, 16, 33] {
                let mut up: Vec<u8> = (0..n + shift).map(|i| (i * 11) as u8).collect();
                let expect: Vec<u8> = up[..n].to_vec();
                up.copy_within(..n, shift);
                assert!(up[shift..] == expect[..], "memmove up of {n} by {shift}");
                let mut down: Vec<u8> = (0..n + shift).map(|i| (i * 13) as u8).collect();
                let expect: Vec<u8> = down[shift..].to_vec();
                down.copy_within(shift.., 0);
                assert!(down[..n] == expect[..], "memmove down of {n} by {shift}");
            }
            let mut set = vec![1u8; n + 2];
            set[1..=n].fill(0xab);
            assert!(set[0] == 1 && set[n + 1] == 1 && set[1..=n].iter().all(|&b| b == 0xab), "memset of {n}");
            if n > 0 {
                let mut other = src.clone();
                other[n - 1] ^= 0x80;
                assert_eq!(src.cmp(&other), src[n - 1].cmp(&other[n - 1]), "memcmp of {n}");
            }
        }
    }

    #[test]
    fn strings_of_every_length_and_alignment() {
        for start in 0..17 {
            for len in 0..80 {
                let mut bytes = vec![0u8; start];
                bytes.extend(core::iter::repeat_n(0xff, len));
                bytes.extend([0, 1, 0]);
                // SAFETY: the bytes from `start` on end in a NUL inside the vector.
                let string = unsafe { core::ffi::CStr::from_ptr(bytes[start..].as_ptr().cast()) };
                assert_eq!(string.count_bytes(), len, "from {start}");
            }
        }
    }
}
