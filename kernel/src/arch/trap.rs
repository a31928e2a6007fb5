//! Host signals: system calls that were trapped, faults, and the preemption timer.
//!
//! A handler runs on the vCPU's signal stack with whatever FS and GS the interrupted code had; it finds its vCPU from
//! the stack's address. It does as little as it can: it writes the guest's general registers to the frame at the top of
//! the thread's kernel stack and lets the host's sigreturn resume in the kernel's entry code, with the vector registers
//! as they were. So there is one way into the kernel, whatever brought us there.

use super::displace;
use super::entry;
use super::frame::{FLAG_AC, FLAG_DF, FLAG_TF, FRAME_SIZE, TrapFrame};
use super::hooks::hooks;
use super::uaccess;
use super::vcpu::{Vcpu, pending};
use crate::abi::SigContext;
use crate::host::signal::{self, HostContext, HostSigInfo, PREEMPT_SIGNAL};
use crate::host::text;

/// A fault of guest (or kernel) code, as the host reported it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trap {
    /// The signal the host sent: SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGTRAP. 0 for a mere interruption.
    pub signal: i32,
    /// Its `si_code`.
    pub code: i32,
    /// Its `si_addr`: the address that was touched, or of the instruction.
    pub addr: u64,
    /// The processor's trap number.
    pub number: u64,
    /// The processor's error code; for a page fault bit 1 says "write", bit 4 "instruction fetch".
    pub error: u64,
}

impl Trap {
    /// No trap.
    pub const NONE: Trap = Trap { signal: 0, code: 0, addr: 0, number: 0, error: 0 };
    /// Trap number of a page fault.
    pub const PAGE_FAULT: u64 = 14;

    /// Whether a page fault was a write.
    pub const fn is_write(&self) -> bool {
        self.error & 2 != 0
    }

    /// Whether a page fault was an instruction fetch.
    pub const fn is_fetch(&self) -> bool {
        self.error & 16 != 0
    }
}

const SIGILL: i32 = 4;
const SIGTRAP: i32 = 5;
const SIGBUS: i32 = 7;
const SIGFPE: i32 = 8;
const SIGSEGV: i32 = 11;
const SIGSYS: i32 = 31;
/// Signals from outside that stop the machine.
const STOP_SIGNALS: [i32; 3] = [1, 2, 15];
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;

/// Installs the handlers for this process.
pub(super) fn install_handlers() {
    let faults = [SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS];
    for signo in faults.into_iter().chain(STOP_SIGNALS).chain([PREEMPT_SIGNAL]) {
        signal::install_handler(signo, handler);
    }
}

/// The vCPU whose signal stack we are on.
fn vcpu_of_this_stack() -> &'static Vcpu {
    // SAFETY: `Vcpu::install` stored its own address, and vCPUs live for ever.
    unsafe { &*(signal::signal_stack_owner() as *const Vcpu) }
}

fn in_exit_window(rip: u64) -> bool {
    (entry::exit_window_start()..entry::exit_window_end()).contains(&rip)
}

/// The guest's registers. A context in a stub is put to where it would be without the stub by `hooks::flatland_trap`.
fn frame_of(cx: &SigContext) -> TrapFrame {
    let mut frame = TrapFrame { rflags: cx.eflags, ..TrapFrame::start(cx.rip, cx.rsp) };
    frame.load_registers(cx);
    frame
}

/// Arranges that the kernel's trap entry runs next, on the thread's kernel stack, with `frame` as the guest's registers.
fn enter_kernel(vcpu: &Vcpu, cx: &mut SigContext, frame: TrapFrame, trap: Trap) {
    let at = vcpu.frame_top.get() - FRAME_SIZE as u64;
    // SAFETY: guest code runs, so the thread's kernel stack is empty and its top is the frame's place. The vector part
    // is written by the entry code.
    unsafe { (at as *mut TrapFrame).write(frame) };
    vcpu.trap.set(trap);
    cx.rip = entry::trap_entry();
    cx.rsp = at;
    cx.eflags &= !(FLAG_TF | FLAG_DF | FLAG_AC);
}

extern "C" fn handler(signo: i32, info: &HostSigInfo, context: &mut HostContext) {
    let cx = &mut context.registers;
    let vcpu = vcpu_of_this_stack();
    let in_kernel = text::contains(cx.rip);
    match signo {
        SIGSYS => system_call(vcpu, info, cx, in_kernel),
        PREEMPT_SIGNAL => {
            crate::host::preemption_fired();
            interruption(vcpu, cx, in_kernel);
        }
        _ if STOP_SIGNALS.contains(&signo) => {
            crate::host::stop(128 + signo);
            interruption(vcpu, cx, in_kernel);
        }
        _ => {
            let trap = Trap { signal: signo, code: info.code, addr: info.addr(), number: cx.trapno, error: cx.err };
            if in_kernel {
                kernel_fault(vcpu, cx, trap);
            } else {
                vcpu.take_over_gs();
                let frame = frame_of(cx);
                enter_kernel(vcpu, cx, frame, trap);
            }
        }
    }
}

/// Makes the vCPU look at its pending work soon.
fn interruption(vcpu: &Vcpu, cx: &mut SigContext, in_kernel: bool) {
    vcpu.raise(pending::EVENTS);
    if !in_kernel {
        vcpu.take_over_gs();
        let frame = frame_of(cx);
        enter_kernel(vcpu, cx, frame, Trap::NONE);
    } else if in_exit_window(cx.rip) {
        // The guest's GS base may be loaded already.
        vcpu.load_gs();
        cx.rip = entry::exit_restart();
    }
}

fn system_call(vcpu: &Vcpu, info: &HostSigInfo, cx: &mut SigContext, in_kernel: bool) {
    if in_kernel {
        // A stray kill(2) from outside: the kernel's own system calls are never trapped.
        return;
    }
    if info.code != signal::SYS_SECCOMP {
        return;
    }
    if info.arch() != AUDIT_ARCH_X86_64 {
        // int $0x80 and its like: no 32-bit entry exists here (CONFIG_IA32_EMULATION=n).
        cx.rax = (-38i64) as u64;
        return;
    }
    vcpu.take_over_gs();
    // The processor left the return address in rcx and the flags in r11, and nothing has changed them since.
    cx.rip = entry::syscall_entry();
    cx.eflags &= !(FLAG_TF | FLAG_DF | FLAG_AC);
}

fn kernel_fault(vcpu: &Vcpu, cx: &mut SigContext, trap: Trap) {
    if let Some(fixup) = uaccess::fixup_for(cx.rip) {
        cx.rip = fixup;
        return;
    }
    // Memory that a vhost-user peer has lent, and cut away: the driver finds out after its batch.
    if trap.signal == SIGBUS && netdrv::vhost_user::absorb_fault(trap.addr as usize) {
        return;
    }
    // The guest's flags may be live for a few instructions around entry and exit.
    if trap.signal == SIGTRAP && cx.eflags & FLAG_TF != 0 {
        cx.eflags &= !FLAG_TF;
        return;
    }
    if trap.signal == SIGBUS && cx.eflags & FLAG_AC != 0 {
        cx.eflags &= !FLAG_AC;
        return;
    }
    if in_exit_window(cx.rip) {
        // The guest's own return address or stack selector faults: a fault of the guest, at the address it asked for.
        let at = vcpu.frame_top.get() - FRAME_SIZE as u64;
        vcpu.load_gs();
        vcpu.trap.set(trap);
        cx.rip = entry::trap_return();
        cx.rsp = at;
        return;
    }
    if (entry::patched_entry()..entry::patched_entry_end()).contains(&cx.rip) && trap.signal == SIGSEGV {
        // The guest has changed its GS base: its own fault, at the call that it made.
        vcpu.load_gs();
        let mut frame = frame_of(cx);
        frame.rip = cx.rcx;
        enter_kernel(vcpu, cx, frame, trap);
        return;
    }
    if (entry::cpuid_entry()..entry::cpuid_entry_end()).contains(&cx.rip) && trap.signal == SIGSEGV {
        // The same with `cpuid`, which needs no GS: it is still there behind the jump, and is executed.
        vcpu.take_over_gs();
        let mut frame = frame_of(cx);
        frame.rip = cx.rdx.wrapping_sub(displace::SITE_LEN as u64);
        enter_kernel(vcpu, cx, frame, Trap::NONE);
        return;
    }
    vcpu.load_host_fs();
    vcpu.load_gs();
    let guard = {
        // SAFETY: `current` is null or the context that runs, which the scheduler keeps.
        let current = unsafe { vcpu.current.get().as_ref() };
        current.is_some_and(|c| c.guard_contains(trap.addr as usize))
    };
    if guard {
        crate::klog!(Emergency, "kernel stack overflow");
    }
    (hooks().kernel_fault)(&trap, &frame_of(cx));
}
