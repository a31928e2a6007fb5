//! System calls that rustix does not offer.

use crate::error::Errno;
use core::arch::asm;

/// Makes a host system call.
///
/// # Safety
/// As the call itself: pointers among the arguments must be valid for what it does.
pub unsafe fn syscall(nr: u32, args: [usize; 6]) -> Result<usize, Errno> {
    let ret: isize;
    // SAFETY: the caller vouches for the arguments; the instruction clobbers rcx and r11 only.
    unsafe {
        asm!("syscall",
            inlateout("rax") nr as isize => ret,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    if (-4095..0).contains(&ret) { Err(Errno::from_raw(-ret as i32)) } else { Ok(ret as usize) }
}
