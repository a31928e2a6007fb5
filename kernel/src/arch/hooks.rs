//! The way up: what the entry code calls, set by the kernel at boot.

use super::frame::{FLAG_TF, TrapFrame};
use super::trap::Trap;
use super::vcpu::{pending, this_vcpu};
use super::{cpuid, stub};
use crate::sync::Once;

/// What the kernel does for a guest context. Called on the thread's kernel stack with the host's FS.
#[derive(Clone, Copy)]
pub struct Hooks {
    /// Serves the system call in `frame` and puts its result there.
    pub syscall: fn(&mut TrapFrame),
    /// Deals with a fault of guest code.
    pub fault: fn(&mut TrapFrame, &Trap),
    /// Runs first in every new thread.
    pub thread_started: fn(),
    /// Work on the way to the guest: events (timers, devices, time slice) if `events`, signals if `signals`.
    pub prepare_exit: fn(&mut TrapFrame, events: bool, signals: bool),
    /// Where a context goes on that is to go on at an address that the jump of a patched site covers: the address, or in
    /// the site's stub.
    pub resume_address: fn(u64) -> u64,
    /// A fault in kernel code that nothing expects: reports it and ends the machine.
    pub kernel_fault: fn(&Trap, &TrapFrame) -> !,
}

static HOOKS: Once<Hooks> = Once::new();

/// Sets the hooks, once, before the first thread runs.
pub fn set_hooks(hooks: Hooks) {
    HOOKS.call_once(|| hooks);
}

#[inline]
pub(super) fn hooks() -> &'static Hooks {
    HOOKS.get().expect("the kernel sets its hooks before a thread runs")
}

pub(super) extern "C" fn flatland_syscall(frame: &mut TrapFrame) {
    (hooks().syscall)(frame);
    // The quick way out sets the flags a few instructions too early for single-stepping.
    if frame.rflags & FLAG_TF != 0 {
        frame.full = 1;
    }
    set_resume_address(frame);
}

/// Serves a patched `cpuid` instruction: its registers are written with their upper halves clear.
pub(super) extern "C" fn flatland_cpuid(frame: &mut TrapFrame) {
    let [eax, ebx, ecx, edx] = cpuid::answer(frame.rax as u32, frame.rcx as u32);
    (frame.rax, frame.rbx) = (eax.into(), ebx.into());
    (frame.rcx, frame.rdx) = (ecx.into(), edx.into());
}

/// Takes a context out of a stub. Whether it was in one.
fn set_original_address(frame: &mut TrapFrame) -> bool {
    let original = stub::original(frame.rip);
    frame.rip = original.unwrap_or(frame.rip);
    original.is_some()
}

/// A context that was interrupted, or that a program has put together, may stand where a patched site's jump now is.
fn set_resume_address(frame: &mut TrapFrame) {
    if frame.full != 0 {
        frame.rip = (hooks().resume_address)(frame.rip);
    }
}

pub(super) extern "C" fn flatland_trap(frame: &mut TrapFrame) {
    let Some(v) = this_vcpu() else { return };
    let mut trap = v.trap.replace(Trap::NONE);
    // Inside a stub the call has not begun: the context stands where it would without the stub.
    let at = frame.rip;
    if set_original_address(frame) && trap.addr == at {
        trap.addr = frame.rip;
    }
    if trap.signal != 0 {
        (hooks().fault)(frame, &trap);
    }
    set_resume_address(frame);
}

pub(super) extern "C" fn flatland_thread_started() {
    (hooks().thread_started)();
}

pub(super) extern "C" fn flatland_prepare_exit(frame: &mut TrapFrame) {
    let Some(v) = this_vcpu() else { return };
    let bits = v.take(pending::EVENTS | pending::SIGNAL | pending::CHECK);
    // Nobody is to see where the last way out was to go on.
    set_original_address(frame);
    (hooks().prepare_exit)(frame, bits & pending::EVENTS != 0, bits & pending::SIGNAL != 0);
    set_resume_address(frame);
}
