//! What the processor must have, and what the guest is told about it.

use crate::error::{Errno, Result};
use core::arch::asm;
use rustix::param::linux_hwcap;

/// HWCAP2 bit: FSGSBASE instructions may be used (Linux `arch/x86/include/uapi/asm/hwcap2.h`).
const HWCAP2_FSGSBASE: usize = 1 << 1;

/// Checks that the host has what the kernel's entry code needs.
pub fn check_required() -> Result<()> {
    let (_, hwcap2) = linux_hwcap();
    if hwcap2 & HWCAP2_FSGSBASE == 0 {
        return Err(
            Errno::ENODEV.because("the host has no FSGSBASE (it needs Linux 5.9 and an Ivy Bridge or later processor)")
        );
    }
    Ok(())
}

/// AT_HWCAP and AT_HWCAP2 as the guest gets them: the host's.
pub fn hwcaps() -> (usize, usize) {
    linux_hwcap()
}

/// The time stamp counter.
pub fn time_stamp() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: rdtsc only reads the counter; the host permits it (checked when the clock was chosen).
    unsafe { asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags)) };
    u64::from(high) << 32 | u64::from(low)
}
