//! The processor: entry and exit, context switch, traps, and what CPU features the guest sees. The only assembly.

pub mod frame;
pub mod uaccess;

pub use frame::TrapFrame;

/// Most vCPUs that a machine can have.
pub const MAX_VCPUS: usize = 64;

/// The index of the vCPU that this host thread is; `None` on other threads.
pub fn current_vcpu_index() -> Option<usize> {
    None
}

/// Registers of a thread that does not run, and its kernel stack.
#[derive(Debug)]
pub struct Context;

/// Names a context to [`switch`].
#[derive(Clone, Copy, Debug)]
pub struct ContextRef(#[allow(dead_code)] *const Context);

impl Context {
    /// Names this context.
    pub fn handle(&self) -> ContextRef {
        ContextRef(self)
    }
}

/// Switches contexts; `None` is the vCPU's idle context.
pub fn switch(_prev: Option<ContextRef>, _next: Option<ContextRef>) {}

/// Makes the vCPU look at timers, devices and the run queue on its way to guest code.
pub fn request_preemption_check() {}

/// Tells the vCPU whether the thread that it is about to run has signals to deliver.
pub fn set_signal_pending(_pending: bool) {}
