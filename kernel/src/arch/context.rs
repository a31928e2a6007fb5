//! Kernel stacks and the switch between contexts.
//!
//! A context owns a kernel stack with a guard page below it. The guest's registers stand in a [`TrapFrame`] at the very
//! top; below it, while the thread is switched out, the callee-saved registers and a return address. The vector state
//! goes to a save area when another guest context needs the registers; a thread that idles and comes back finds its own
//! still loaded.

use super::entry;
use super::frame::{FRAME_SIZE, TrapFrame};
use super::vcpu::this_vcpu;
use super::xstate::VectorState;
use crate::error::Result;
use crate::host::Mapping;
use crate::sync::{Rank, SpinLock};
use alloc::vec::Vec;
use core::cell::{Cell, UnsafeCell};
use core::ptr;

/// Bytes of kernel stack of a thread. Unoptimised builds need more.
pub const STACK_SIZE: usize = if cfg!(debug_assertions) { 256 * 1024 } else { 64 * 1024 };
/// Bytes below the stack that fault.
pub const GUARD_SIZE: usize = 16 * 1024;
/// Stacks kept for the next threads.
const SPARE_STACKS: usize = 64;

static SPARE: SpinLock<Vec<Mapping>> = SpinLock::new(Rank::Heap, Vec::new());

/// Registers of a thread, and its kernel stack.
pub struct Context {
    stack: Option<Mapping>,
    saved_rsp: Cell<u64>,
    /// The guest's own GS base (arch_prctl(2), ARCH_SET_GS), while another context runs.
    guest_gs: Cell<Option<u64>>,
    vectors: UnsafeCell<VectorState>,
}

// SAFETY: the cells are touched by the vCPU that runs or switches the context only, and the scheduler runs a context on
// one vCPU at a time; its lock orders one vCPU's use before the next.
unsafe impl Sync for Context {}
// SAFETY: nothing in it depends on the host thread.
unsafe impl Send for Context {}

/// Names a context to [`switch`]. Whoever calls `switch` sees to it that the context lives until it is switched away from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextRef(*const Context);

fn take_stack() -> Result<Mapping> {
    if let Some(stack) = SPARE.lock().pop() {
        return Ok(stack);
    }
    Mapping::stack(STACK_SIZE, GUARD_SIZE)
}

impl Context {
    /// A context that will start in the guest with the registers of `frame` and initial vector state. ENOMEM if the
    /// host has no memory for a stack.
    pub fn new(frame: &TrapFrame) -> Result<Self> {
        Self::build(frame, VectorState::initial())
    }

    /// A context with the registers of `frame` and the vector state that is in the registers now (clone(2)).
    pub fn with_current_vectors(frame: &TrapFrame) -> Result<Self> {
        let mut vectors = VectorState::initial();
        vectors.save();
        Self::build(frame, vectors)
    }

    fn build(frame: &TrapFrame, vectors: VectorState) -> Result<Self> {
        let stack = take_stack()?;
        let frame_at = stack.end() - FRAME_SIZE;
        // What `flatland_switch_stacks` pops: six registers and the return address.
        let start_at = frame_at - 7 * 8;
        // SAFETY: both addresses lie inside the fresh stack, aligned, and nobody else uses it.
        unsafe {
            (frame_at as *mut TrapFrame).write(*frame);
            (start_at as *mut [u64; 7]).write([0, 0, 0, 0, 0, 0, entry::thread_start()]);
        }
        Ok(Context {
            stack: Some(stack),
            saved_rsp: Cell::new(start_at as u64),
            guest_gs: Cell::new(None),
            vectors: UnsafeCell::new(vectors),
        })
    }

    /// Names this context.
    pub fn handle(&self) -> ContextRef {
        ContextRef(self)
    }

    fn frame_top(&self) -> u64 {
        self.stack.as_ref().map_or(0, |s| s.end() as u64)
    }

    /// Runs `f` on the guest's registers. For the thread itself, in a system call; or for one that does not run.
    pub fn with_frame<R>(&self, f: impl FnOnce(&mut TrapFrame) -> R) -> R {
        let frame = (self.frame_top() as usize - FRAME_SIZE) as *mut TrapFrame;
        // SAFETY: the frame lies at the top of this context's stack; the thread is in the kernel, where only one party
        // at a time works on its registers, and the closure cannot keep the reference.
        f(unsafe { &mut *frame })
    }

    /// Runs `f` on the saved vector state, which first takes in what is in the registers if this context's is there.
    pub(super) fn with_vectors<R>(&self, f: impl FnOnce(&mut VectorState) -> R) -> R {
        // SAFETY: as for the frame: one party at a time.
        f(unsafe { &mut *self.vectors.get() })
    }

    fn runs_here(&self) -> Option<&'static super::vcpu::Vcpu> {
        this_vcpu().filter(|v| ptr::eq(v.current.get(), self))
    }

    /// The guest's GS base, if it has asked for one of its own. For the running thread, or one that nobody runs.
    pub fn guest_gs(&self) -> Option<u64> {
        match self.runs_here() {
            Some(v) => v.guest_gs(),
            None => self.guest_gs.get(),
        }
    }

    /// Gives the guest a GS base of its own, or takes it away. Its process must not enter by patched sites any more.
    pub fn set_guest_gs(&self, base: Option<u64>) {
        self.guest_gs.set(base);
        if let Some(v) = self.runs_here() {
            v.set_guest_gs(base);
        }
    }

    /// Whether `addr` lies in the guard below this context's stack.
    pub(super) fn guard_contains(&self, addr: usize) -> bool {
        self.stack.as_ref().is_some_and(|s| (s.start()..s.start() + GUARD_SIZE).contains(&addr))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if let Some(v) = this_vcpu()
            && ptr::eq(v.vector_owner.get(), self)
        {
            v.vector_owner.set(ptr::null());
        }
        if let Some(stack) = self.stack.take() {
            let mut spare = SPARE.lock();
            if spare.len() < SPARE_STACKS {
                spare.push(stack);
            }
        }
    }
}

/// Switches from `prev` to `next`; `None` is the vCPU's idle context. Returns when `prev` is switched to again.
pub fn switch(prev: Option<ContextRef>, next: Option<ContextRef>) {
    let vcpu = this_vcpu().expect("only a vCPU switches contexts");
    let save = match prev {
        // SAFETY: the scheduler keeps the context alive until it has been switched away from.
        Some(p) => unsafe { (*p.0).saved_rsp.as_ptr() },
        None => vcpu.idle_rsp.as_ptr(),
    };
    // SAFETY: the context that runs is kept by the scheduler until it has been switched away from.
    if let Some(current) = unsafe { vcpu.current.get().as_ref() } {
        current.guest_gs.set(vcpu.guest_gs());
    }
    let load = match next {
        // SAFETY: the scheduler keeps the context alive while it runs.
        Some(n) => unsafe {
            let next = &*n.0;
            let owner = vcpu.vector_owner.get();
            if !ptr::eq(owner, next) {
                if let Some(owner) = owner.as_ref() {
                    owner.with_vectors(VectorState::save);
                }
                next.with_vectors(|v| v.load());
                vcpu.vector_owner.set(next);
            }
            vcpu.frame_top.set(next.frame_top());
            vcpu.current.set(next);
            vcpu.set_guest_gs(next.guest_gs.get());
            next.saved_rsp.get()
        },
        None => {
            vcpu.current.set(ptr::null());
            vcpu.set_guest_gs(None);
            vcpu.idle_rsp.get()
        }
    };
    // SAFETY: `load` was saved by this routine or laid out by `build`; `save` stays valid while we are away.
    unsafe { entry::flatland_switch_stacks(save, load) };
}
