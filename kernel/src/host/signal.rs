//! The host's signals to this process.

use super::memory::Mapping;
use super::raw::syscall;
use crate::abi::SigContext;
use core::arch::asm;
use linux_raw_sys::general::{
    __NR_rt_sigaction, __NR_rt_sigprocmask, __NR_sigaltstack, SA_ONSTACK, SA_RESTORER, SA_SIGINFO, SIG_SETMASK,
    SIG_UNBLOCK,
};

/// The signal of the preemption timer: a real-time one that C libraries leave alone.
pub const PREEMPT_SIGNAL: i32 = 40;
/// `si_code` of a system call that the filter trapped.
pub const SYS_SECCOMP: i32 = 1;

/// Bytes of a vCPU's signal stack: AT_MINSIGSTKSZ is 12 KB where AMX exists; the handlers and a panic need more.
const SIGNAL_STACK: usize = 128 * 1024;

/// `siginfo_t` as the kernel fills it for the signals that are handled here.
#[repr(C)]
pub struct HostSigInfo {
    pub signo: i32,
    pub errno: i32,
    pub code: i32,
    _pad: i32,
    fields: [u64; 14],
}

impl HostSigInfo {
    /// `si_addr` of a fault; `si_call_addr` of a trapped system call.
    pub fn addr(&self) -> u64 {
        self.fields[0]
    }

    /// `si_arch` of a trapped system call.
    pub fn arch(&self) -> u32 {
        (self.fields[1] >> 32) as u32
    }
}

/// `ucontext_t` as the kernel lays it out (x86-64 `struct ucontext`), up to the registers.
#[repr(C)]
pub struct HostContext {
    flags: u64,
    link: u64,
    stack: [u64; 3],
    /// The interrupted code's registers; what a handler writes here is loaded when it returns.
    pub registers: SigContext,
}

/// A handler: runs on the vCPU's signal stack with unknown FS and GS.
pub type Handler = extern "C" fn(i32, &HostSigInfo, &mut HostContext);

/// `struct kernel_sigaction`.
#[repr(C)]
struct KernelSigaction {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

/// Installs `handler` for `signo`: on the signal stack, with every signal blocked meanwhile.
pub fn install_handler(signo: i32, handler: Handler) {
    let action = KernelSigaction {
        handler: handler as usize,
        flags: u64::from(SA_SIGINFO | SA_ONSTACK | SA_RESTORER),
        restorer: crate::arch::sigreturn_address() as usize,
        mask: u64::MAX,
    };
    let unblock = 1u64 << (signo - 1);
    // SAFETY: the structures are laid out as the kernel wants them and live across the calls.
    let done = unsafe {
        syscall(__NR_rt_sigaction, [signo as usize, &raw const action as usize, 0, 8, 0, 0])
            .and_then(|_| syscall(__NR_rt_sigprocmask, [SIG_UNBLOCK as usize, &raw const unblock as usize, 0, 8, 0, 0]))
    };
    done.expect("the host accepts a handler for a valid signal");
}

/// Blocks every signal for good: this host thread is about to leave, and its runtime gives up the signal stack.
pub fn block_all() {
    let all = u64::MAX;
    // SAFETY: the set is 8 bytes, as the size says, and lives across the call.
    let _ = unsafe { syscall(__NR_rt_sigprocmask, [SIG_SETMASK as usize, &raw const all as usize, 0, 8, 0, 0]) };
}

/// Installs a plain handler that may interrupt anything but does not need a vCPU (SIGINT and its like).
pub fn install_notifier(signo: i32, handler: extern "C" fn(i32)) {
    let action = KernelSigaction {
        handler: handler as usize,
        flags: u64::from(SA_ONSTACK | SA_RESTORER),
        restorer: crate::arch::sigreturn_address() as usize,
        mask: u64::MAX,
    };
    // SAFETY: the structure is laid out as the kernel wants it and lives across the call.
    let _ = unsafe { syscall(__NR_rt_sigaction, [signo as usize, &raw const action as usize, 0, 8, 0, 0]) };
}

/// Gives this host thread a signal stack that remembers `owner`.
pub(crate) fn install_signal_stack(owner: usize) {
    #[repr(C)]
    struct StackT {
        sp: usize,
        flags: i32,
        size: usize,
    }
    let stack = Mapping::aligned_stack(SIGNAL_STACK).expect("the host has memory for a signal stack");
    let base = stack.end() - SIGNAL_STACK;
    // SAFETY: the first word of the fresh stack; the stack proper starts above it.
    unsafe { (base as *mut usize).write(owner) };
    let alt = StackT { sp: base + 64, flags: 0, size: SIGNAL_STACK - 64 };
    // SAFETY: the structure is laid out as the kernel wants it; the stack is leaked, so it outlives the thread.
    unsafe { syscall(__NR_sigaltstack, [&raw const alt as usize, 0, 0, 0, 0, 0]) }.expect("the host accepts the stack");
    core::mem::forget(stack);
}

/// The owner of the signal stack that this code runs on.
pub(crate) fn signal_stack_owner() -> usize {
    let sp: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
    // SAFETY: only called from handlers, which run on a stack made by `install_signal_stack`.
    unsafe { ((sp & !(SIGNAL_STACK - 1)) as *const usize).read() }
}
