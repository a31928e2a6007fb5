//! The processor: entry and exit, context switch, traps, and what CPU features the guest sees. The only assembly.
//!
//! `entry` has the walk of a system call; `context` the switch; `trap` the host's signals; `xstate` the vector state.

pub mod context;
pub mod cpu;
mod cpuid;
pub mod displace;
mod entry;
pub mod frame;
mod hooks;
mod memory;
pub mod stub;
mod trap;
pub mod uaccess;
mod vcpu;
pub mod xstate;

pub use context::{Context, ContextRef, switch};
pub use frame::TrapFrame;
pub use hooks::{Hooks, set_hooks};
pub use trap::Trap;
pub use vcpu::{MAX_VCPUS, current_vcpu_index, request_preemption_check, set_signal_pending, take_interruption};

/// Address of the host's signal trampoline.
pub fn sigreturn_address() -> u64 {
    entry::sigreturn()
}

/// Waits until the processor sees code that was changed through another mapping (Intel SDM vol. 3, 9.1.3).
pub fn serialize() {
    let _ = core::arch::x86_64::__cpuid(0);
}

/// Makes this host thread vCPU `index` and arms the traps: from here on, a system call instruction outside the host's
/// own text is the guest's. `enter` is then the vCPU's idle loop. `vcpus` is how many the machine will have. No lock may be held.
pub fn start_vcpu(index: usize, vcpus: usize) -> crate::error::Result<()> {
    vcpu::Vcpu::install(index);
    trap::install_handlers();
    crate::host::seccomp::install_trap_filter()?;
    if vcpus == 1 {
        // SAFETY: this thread is the vCPU, and holds no lock. The process's other threads are the drivers', which know no locks
        // of the kernel's.
        unsafe { crate::sync::only_one_vcpu() };
    }
    Ok(())
}
