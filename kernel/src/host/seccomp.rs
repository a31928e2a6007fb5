//! The safety net: a seccomp filter that traps every system call whose instruction is not in the host's own text.
//!
//! The filter knows the recorded ranges ([`super::text`]) and nothing else: what lies outside is the guest's, and every
//! call of another architecture or ABI (`int $0x80`, x32) is too. It fails closed.

use super::raw::syscall;
use super::text;
use crate::error::Result;
use alloc::vec::Vec;
use linux_raw_sys::general::{__NR_prctl, __NR_seccomp};

/// `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Insn {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

const LD_W_ABS: u16 = 0x20;
const JEQ_K: u16 = 0x15;
const JGT_K: u16 = 0x25;
const JGE_K: u16 = 0x35;
const RET_K: u16 = 0x06;

const OFFSET_NR: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_IP_LOW: u32 = 8;
const OFFSET_IP_HIGH: u32 = 12;
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const X32_BIT: u32 = 0x4000_0000;
const RET_ALLOW: u32 = 0x7fff_0000;
const RET_TRAP: u32 = 0x0003_0000;
const PR_SET_NO_NEW_PRIVS: usize = 38;
const SECCOMP_SET_MODE_FILTER: usize = 1;

const fn insn(code: u16, jt: u8, jf: u8, k: u32) -> Insn {
    Insn { code, jt, jf, k }
}

/// The program: allow x86-64 calls whose instruction pointer (past the 2-byte instruction) lies in a range.
fn program(ranges: &[(u64, u64)]) -> Vec<Insn> {
    let mut p = alloc::vec![
        insn(LD_W_ABS, 0, 0, OFFSET_ARCH),
        insn(JEQ_K, 1, 0, AUDIT_ARCH_X86_64),
        insn(RET_K, 0, 0, RET_TRAP),
        insn(LD_W_ABS, 0, 0, OFFSET_NR),
        insn(JGE_K, 0, 1, X32_BIT),
        insn(RET_K, 0, 0, RET_TRAP),
    ];
    for &(start, end) in ranges {
        // A range may cross a 4 GB boundary: cut it where the upper half changes.
        let mut from = start;
        while from < end {
            let to = end.min((from | 0xffff_ffff) + 1);
            p.push(insn(LD_W_ABS, 0, 0, OFFSET_IP_HIGH));
            p.push(insn(JEQ_K, 0, 4, (from >> 32) as u32));
            p.push(insn(LD_W_ABS, 0, 0, OFFSET_IP_LOW));
            p.push(insn(JGE_K, 0, 2, from as u32));
            p.push(insn(JGT_K, 1, 0, (to - 1) as u32));
            p.push(insn(RET_K, 0, 0, RET_ALLOW));
            from = to;
        }
    }
    p.push(insn(RET_K, 0, 0, RET_TRAP));
    p
}

/// Installs the filter on this host thread; threads that exist already are not affected.
pub fn install_trap_filter() -> Result<()> {
    #[repr(C)]
    struct Fprog {
        len: u16,
        filter: *const Insn,
    }
    let program = program(text::ranges());
    let prog = Fprog { len: program.len() as u16, filter: program.as_ptr() };
    // SAFETY: the program lives across the calls; the filter allows every call from here on that this code makes.
    unsafe {
        syscall(__NR_prctl, [PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0])?;
        syscall(__NR_seccomp, [SECCOMP_SET_MODE_FILTER, 0, &raw const prog as usize, 0, 0, 0])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A classic-BPF machine as small as the filter needs.
    fn run(program: &[Insn], arch: u32, nr: u32, ip: u64) -> u32 {
        let (mut pc, mut acc) = (0usize, 0u32);
        loop {
            let i = program[pc];
            pc += 1;
            let mut jump = |taken: bool| pc += usize::from(if taken { i.jt } else { i.jf });
            match i.code {
                LD_W_ABS => {
                    acc = match i.k {
                        OFFSET_NR => nr,
                        OFFSET_ARCH => arch,
                        OFFSET_IP_LOW => ip as u32,
                        OFFSET_IP_HIGH => (ip >> 32) as u32,
                        other => panic!("load of {other}"),
                    }
                }
                JEQ_K => jump(acc == i.k),
                JGT_K => jump(acc > i.k),
                JGE_K => jump(acc >= i.k),
                RET_K => return i.k,
                other => panic!("opcode {other:#x}"),
            }
        }
    }

    #[test]
    fn only_the_recorded_ranges_pass() {
        let p = program(&[(0x5555_0000_1000, 0x5555_0000_3000), (0x7fff_ffff_f000, 0x8000_0000_1000)]);
        let check = |ip| run(&p, AUDIT_ARCH_X86_64, 1, ip);
        assert_eq!(check(0x5555_0000_1000), RET_ALLOW);
        assert_eq!(check(0x5555_0000_2fff), RET_ALLOW);
        assert_eq!(check(0x5555_0000_3000), RET_TRAP);
        assert_eq!(check(0x5555_0000_0fff), RET_TRAP);
        assert_eq!(check(0x5556_0000_1000), RET_TRAP);
        assert_eq!(check(0x7fff_ffff_ffff), RET_ALLOW);
        assert_eq!(check(0x8000_0000_0fff), RET_ALLOW);
        assert_eq!(check(0x8000_0000_1000), RET_TRAP);
        assert_eq!(check(0), RET_TRAP);
    }

    #[test]
    fn other_abis_are_trapped_even_from_host_text() {
        let p = program(&[(0x1000, 0x2000)]);
        assert_eq!(run(&p, AUDIT_ARCH_X86_64, 1, 0x1800), RET_ALLOW);
        assert_eq!(run(&p, AUDIT_ARCH_X86_64, X32_BIT | 1, 0x1800), RET_TRAP);
        assert_eq!(run(&p, 0x4000_0003, 1, 0x1800), RET_TRAP);
    }
}
