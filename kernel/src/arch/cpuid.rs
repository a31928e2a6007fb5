//! What `cpuid` says to a guest whose site is patched (Intel SDM vol. 2A, CPUID).
//!
//! On a host that is itself a virtual machine the instruction traps to the hypervisor and takes some microseconds; the C
//! library's start-up runs it some forty times. A patched site (`stub`) comes to the kernel instead, which has asked the
//! processor once for each leaf. The exit is by `iretq`, which serializes as `cpuid` does.
//!
//! The answers are the processor's own, but for two things, which `/proc/cpuinfo` says in the same way: there is one
//! processor, number 0, and AMX is not offered (leaves 1, 4, 7, 0xb, 0x1d to 0x1f and AMD's like). Leaf 0xd is left alone: `xgetbv` shows
//! a guest what is really enabled, and the sizes of save areas must agree with that.
//!
//! Sites that are not patched execute the instruction and see the host. So what is answered here must be right for a program
//! that has seen some of each.

use crate::sync::{Rank, SpinLock};
use alloc::vec::Vec;
use core::arch::x86_64::__cpuid_count;

/// Leaves that are remembered: those that a processor has are far fewer.
const ANSWERS_MAX: usize = 256;

/// The registers that `cpuid` writes: eax, ebx, ecx, edx.
pub type Answer = [u32; 4];

/// Answers by leaf and subleaf.
static ANSWERS: SpinLock<Vec<((u32, u32), Answer)>> = SpinLock::new(Rank::Heap, Vec::new());

/// What the guest gets for a leaf and subleaf (eax and ecx).
pub fn answer(leaf: u32, subleaf: u32) -> Answer {
    let subleaf = if has_subleaves(leaf) { subleaf } else { 0 };
    let key = (leaf, subleaf);
    let known = |answers: &Vec<((u32, u32), Answer)>| answers.iter().find(|(k, _)| *k == key).map(|(_, a)| *a);
    if let Some(answer) = known(&ANSWERS.lock()) {
        return answer;
    }
    let r = __cpuid_count(leaf, subleaf);
    let answer = for_guest(leaf, subleaf, [r.eax, r.ebx, r.ecx, r.edx]);
    let mut answers = ANSWERS.lock();
    if is_constant(leaf) && answers.len() < ANSWERS_MAX && known(&answers).is_none() {
        answers.push((key, answer));
    }
    answer
}

/// Whether a leaf's answer depends on ecx; those that are not known here may.
fn has_subleaves(leaf: u32) -> bool {
    !matches!(leaf, 0..=3 | 5 | 6 | 8..=0xa | 0x15 | 0x16 | 0x8000_0000..=0x8000_000a)
}

/// Whether a leaf says the same each time and on each processor of the host, once it has been made one processor's.
fn is_constant(leaf: u32) -> bool {
    // 0x1a and 0x1c tell of the core that asks, where cores differ.
    matches!(leaf, 0..=0x19 | 0x1b | 0x1d..=0x24 | 0x4000_0000..=0x4000_00ff | 0x8000_0000..=0x8000_0028)
}

/// Bits of leaf 7: AMX_BF16, AMX_TILE and AMX_INT8 in edx of subleaf 0; AMX_FP16 in eax, AMX_COMPLEX in edx of subleaf 1.
const AMX_7_0_EDX: u32 = 1 << 22 | 1 << 24 | 1 << 25;
const AMX_7_1_EAX: u32 = 1 << 21;
const AMX_7_1_EDX: u32 = 1 << 8;

/// An answer of the processor's as the guest gets it: one processor, without AMX.
fn for_guest(leaf: u32, subleaf: u32, host: Answer) -> Answer {
    let [mut eax, mut ebx, mut ecx, mut edx] = host;
    match leaf {
        // Initial APIC id and number of logical processors.
        1 => ebx = ebx & 0xffff | 1 << 16,
        // Processors that share the cache, and cores of the package, both less one. No cache of that number: nothing.
        4 | 0x8000_001d if eax & 0x1f != 0 => eax &= 0x3fff,
        7 if subleaf == 0 => edx &= !AMX_7_0_EDX,
        7 if subleaf == 1 => (eax, edx) = (eax & !AMX_7_1_EAX, edx & !AMX_7_1_EDX),
        // Levels of the topology: each has one processor, whose id is 0 however far it is shifted.
        0xb | 0x1f => {
            if ecx >> 8 & 0xff != 0 {
                (eax, ebx) = (0, 1);
            }
            edx = 0;
        }
        // Tiles and their multiplication.
        0x1d | 0x1e => (eax, ebx, ecx, edx) = (0, 0, 0, 0),
        // AMD's number of cores less one, and width of the core's id.
        0x8000_0008 => ecx &= !0xf0ff,
        // AMD's ids of the processor, the core and the node.
        0x8000_001e => (eax, ebx, ecx) = (0, 0, 0),
        _ => {}
    }
    [eax, ebx, ecx, edx]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_the_processors_where_nothing_is_withheld() {
        for (leaf, subleaf) in [(0, 0), (2, 0), (0xd, 0), (0xd, 1), (0xd, 2), (0x8000_0000, 0), (0x8000_0002, 0)] {
            let r = __cpuid_count(leaf, subleaf);
            for _ in 0..2 {
                assert_eq!(answer(leaf, subleaf), [r.eax, r.ebx, r.ecx, r.edx], "{leaf:#x}.{subleaf}");
            }
        }
        assert_eq!(answer(0, 99), answer(0, 0), "ecx does not matter");
    }

    #[test]
    fn the_guest_sees_one_processor_without_amx() {
        assert_eq!(for_guest(1, 0, [5, 0x0310_0800, 6, 7]), [5, 0x0001_0800, 6, 7]);
        assert_eq!(for_guest(4, 0, [0x1c00_4121, 1, 2, 3]), [0x0121, 1, 2, 3]);
        assert_eq!(for_guest(7, 0, [0, 0, 0, u32::MAX])[3], !(1 << 22 | 1 << 24 | 1 << 25));
        assert_eq!(for_guest(7, 1, [u32::MAX; 4]), [!(1 << 21), u32::MAX, u32::MAX, !(1 << 8)]);
        assert_eq!(for_guest(0xb, 1, [5, 16, 0x201, 9]), [0, 1, 0x201, 0]);
        assert_eq!(for_guest(0xb, 2, [0, 0, 2, 9]), [0, 0, 2, 0]);
        assert_eq!(for_guest(0x1d, 1, [1; 4]), [0; 4]);
    }
}
