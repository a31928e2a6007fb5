//! A vCPU: the block that hangs off the host thread's GS base, and its signal stack.

use super::context::Context;
use crate::host;
use core::arch::asm;
use core::cell::Cell;
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Most vCPUs that a machine can have.
pub const MAX_VCPUS: usize = 64;

/// Pending work that a vCPU sees on its way to guest code.
pub mod pending {
    /// Timers and devices want a look.
    pub const EVENTS: u32 = 1;
    /// The thread has signals to deliver, or must stop or end.
    pub const SIGNAL: u32 = 2;
    /// The time slice and the next interruption want a look.
    pub const CHECK: u32 = 4;
}

/// The per-vCPU block. The assembly uses the first fields by their offsets.
#[repr(C)]
pub struct Vcpu {
    this: *const Vcpu,
    scratch: Cell<u64>,
    /// End of the running thread's trap frame, which is the top of its kernel stack.
    pub(super) frame_top: Cell<u64>,
    pub(super) host_fs: Cell<u64>,
    pending: AtomicU32,
    index: u32,
    /// Stack pointer of the idle context while a thread runs.
    pub(super) idle_rsp: Cell<u64>,
    /// The context whose vector state is in the registers.
    pub(super) vector_owner: Cell<*const Context>,
    /// The context that runs; null while idle.
    pub(super) current: Cell<*const Context>,
    /// What the last trap was, for `flatland_trap`.
    pub(super) trap: Cell<super::trap::Trap>,
    /// Nonzero if the context that runs has a GS base of its own, `guest_gs`, which the exit loads.
    own_gs: Cell<u32>,
    guest_gs: Cell<u64>,
}

/// Offsets of the fields that the assembly uses, from GS.
pub(super) mod offsets {
    use super::*;
    pub const SCRATCH: usize = offset_of!(Vcpu, scratch);
    pub const FRAME_TOP: usize = offset_of!(Vcpu, frame_top);
    pub const HOST_FS: usize = offset_of!(Vcpu, host_fs);
    pub const PENDING: usize = offset_of!(Vcpu, pending);
    pub const OWN_GS: usize = offset_of!(Vcpu, own_gs);
    pub const GUEST_GS: usize = offset_of!(Vcpu, guest_gs);
}

/// Set once the first vCPU has its GS base, so that code which runs earlier, and unit tests, do not look.
static STARTED: AtomicBool = AtomicBool::new(false);

/// This host thread's vCPU, if it is one.
pub fn this_vcpu() -> Option<&'static Vcpu> {
    if !STARTED.load(Ordering::Relaxed) {
        return None;
    }
    let base: u64;
    // SAFETY: FSGSBASE was checked before STARTED was set; reading the GS base has no effect.
    unsafe { asm!("rdgsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) };
    // SAFETY: in the kernel GS is null on helper threads and the address of a leaked Vcpu on vCPU threads.
    unsafe { (base as *const Vcpu).as_ref() }
}

/// The index of the vCPU that this host thread is; `None` on other threads.
pub fn current_vcpu_index() -> Option<usize> {
    this_vcpu().map(|v| v.index as usize)
}

impl Vcpu {
    /// Makes this host thread vCPU `index`: sets GS and the signal stack. Lives for ever.
    pub(super) fn install(index: usize) -> &'static Vcpu {
        let fs: u64;
        // SAFETY: FSGSBASE was checked by the caller; reading the FS base has no effect.
        unsafe { asm!("rdfsbase {}", out(reg) fs, options(nomem, nostack, preserves_flags)) };
        let block = alloc::boxed::Box::leak(alloc::boxed::Box::new(Vcpu {
            this: ptr::null(),
            scratch: Cell::new(0),
            frame_top: Cell::new(0),
            host_fs: Cell::new(fs),
            pending: AtomicU32::new(0),
            index: index as u32,
            idle_rsp: Cell::new(0),
            vector_owner: Cell::new(ptr::null()),
            current: Cell::new(ptr::null()),
            trap: Cell::new(super::trap::Trap::NONE),
            own_gs: Cell::new(0),
            guest_gs: Cell::new(0),
        }));
        block.this = ptr::from_ref(block);
        let block: &'static Vcpu = block;
        host::signal::install_signal_stack(ptr::from_ref(block) as usize);
        block.load_gs();
        STARTED.store(true, Ordering::Release);
        block
    }

    /// Points GS at this block.
    pub(super) fn load_gs(&self) {
        // SAFETY: host code on x86-64 Linux does not use GS; the block lives for ever.
        unsafe { asm!("wrgsbase {}", in(reg) self.this as usize, options(nomem, nostack, preserves_flags)) };
    }

    /// As [`Vcpu::load_gs`], coming from guest code: if the guest has a GS base of its own, it may have changed it.
    pub(super) fn take_over_gs(&self) {
        if self.own_gs.get() != 0 {
            let base: u64;
            // SAFETY: reading the GS base has no effect.
            unsafe { asm!("rdgsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) };
            self.guest_gs.set(base);
        }
        self.load_gs();
    }

    /// The GS base of the context that runs, if it has one of its own.
    pub(super) fn guest_gs(&self) -> Option<u64> {
        (self.own_gs.get() != 0).then(|| self.guest_gs.get())
    }

    /// Sets the GS base that the exit loads; with `None` the guest keeps the vCPU's.
    pub(super) fn set_guest_gs(&self, base: Option<u64>) {
        self.guest_gs.set(base.unwrap_or(0));
        self.own_gs.set(u32::from(base.is_some()));
    }

    /// Points FS at the host's thread block, so that host code that uses TLS may run (a panic in a signal handler).
    pub(super) fn load_host_fs(&self) {
        // SAFETY: this is the FS base that the host's runtime gave this thread.
        unsafe { asm!("wrfsbase {}", in(reg) self.host_fs.get(), options(nomem, nostack, preserves_flags)) };
    }

    /// Sets bits of [`pending`].
    pub(super) fn raise(&self, bits: u32) {
        self.pending.fetch_or(bits, Ordering::SeqCst);
    }

    /// Clears bits of [`pending`]; returns which of them were set.
    pub(super) fn take(&self, bits: u32) -> u32 {
        self.pending.fetch_and(!bits, Ordering::SeqCst) & bits
    }
}

/// Makes the vCPU look at its time slice and its next interruption on the way to guest code.
pub fn request_preemption_check() {
    if let Some(v) = this_vcpu() {
        v.raise(pending::CHECK);
    }
}

/// Whether an interruption has come that nobody has dealt with yet; the caller does that now.
pub fn take_interruption() -> bool {
    this_vcpu().is_some_and(|v| v.take(pending::EVENTS) != 0)
}

/// Tells the vCPU whether the thread that it runs, or is about to run, has signals to deliver.
pub fn set_signal_pending(is_pending: bool) {
    if let Some(v) = this_vcpu() {
        if is_pending {
            v.raise(pending::SIGNAL);
        } else {
            v.take(pending::SIGNAL);
        }
    }
}
