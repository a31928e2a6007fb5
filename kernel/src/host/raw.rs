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

/// Ends the host process at once. The host takes the machine's devices with it.
pub fn exit_now(status: i32) -> ! {
    super::console::restore();
    loop {
        // SAFETY: exit_group takes no pointers and does not return.
        let _ = unsafe { syscall(linux_raw_sys::general::__NR_exit_group, [status as usize, 0, 0, 0, 0, 0]) };
    }
}

/// Return addresses from a chain of frame pointers, innermost first, with `rip` in front. The chain is followed as long
/// as it rises on the stack around `rsp`.
pub fn walk_frames(rip: u64, rbp: u64, rsp: u64) -> alloc::vec::Vec<u64> {
    const DEPTH: usize = 32;
    let mut out = alloc::vec![rip];
    let (mut frame, top) = (rbp, rsp.saturating_add(crate::arch::context::STACK_SIZE as u64));
    let mut low = rsp;
    while out.len() < DEPTH && frame % 8 == 0 && (low..top).contains(&frame) {
        let mut words = [0u64; 2];
        // SAFETY: the kernel side is `words`; the stack side may fault past its end, which ends the copy.
        let left = unsafe { crate::arch::uaccess::copy(words.as_mut_ptr().cast(), frame as *const u8, 16) };
        if left > 0 || words[1] == 0 {
            break;
        }
        out.push(words[1]);
        low = frame + 16;
        frame = words[0];
    }
    out
}
