//! The end of a kernel that found itself broken: message, registers, backtrace, and out.

use crate::arch::{Trap, TrapFrame};
use crate::host::{self, text};
use crate::klog;
use alloc::string::ToString;
use std::backtrace::Backtrace;

extern crate std;

/// Exit status of a panic: as if by SIGABRT.
const STATUS: i32 = 134;

/// Makes Rust's panics kernel panics.
pub(super) fn install() {
    std::panic::set_hook(std::boxed::Box::new(|info| {
        crate::klog::set_console_level(8);
        klog!(Emergency, "Kernel panic - not syncing: {info}");
        report_thread();
        for line in Backtrace::force_capture().to_string().lines() {
            klog!(Emergency, "{line}");
        }
        host::exit_now(STATUS);
    }));
}

fn report_thread() {
    if let Some(t) = crate::sched::current() {
        let comm = t.comm();
        let comm = comm.split(|&b| b == 0).next().unwrap_or_default();
        klog!(Emergency, "CPU: 0 PID: {} Comm: {}", t.tid(), comm.escape_ascii());
    }
}

/// A fault in kernel code that nothing expects.
pub(super) fn kernel_fault(trap: &Trap, r: &TrapFrame) -> ! {
    crate::klog::set_console_level(8);
    klog!(
        Emergency,
        "Kernel panic - not syncing: host signal {} (code {}) at rip {:#x}, address {:#x}, trap {} error {:#x}",
        trap.signal,
        trap.code,
        r.rip,
        trap.addr,
        trap.number,
        trap.error
    );
    report_thread();
    klog!(Emergency, "RAX: {:016x} RBX: {:016x} RCX: {:016x} RDX: {:016x}", r.rax, r.rbx, r.rcx, r.rdx);
    klog!(Emergency, "RSI: {:016x} RDI: {:016x} RBP: {:016x} RSP: {:016x}", r.rsi, r.rdi, r.rbp, r.rsp);
    klog!(Emergency, "R08: {:016x} R09: {:016x} R10: {:016x} R11: {:016x}", r.r8, r.r9, r.r10, r.r11);
    klog!(Emergency, "R12: {:016x} R13: {:016x} R14: {:016x} R15: {:016x}", r.r12, r.r13, r.r14, r.r15);
    klog!(Emergency, "Call trace (and offsets from the start of vmlinux's text):");
    for address in host::walk_frames(r.rip, r.rbp, r.rsp) {
        klog!(Emergency, "  {:#x} ({:+#x})", address, address.wrapping_sub(text::load_base()));
    }
    host::exit_now(STATUS)
}
