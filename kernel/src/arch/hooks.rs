//! The way up: what the entry code calls, set by the kernel at boot.

use super::frame::{FLAG_TF, TrapFrame};
use super::trap::Trap;
use super::vcpu::{pending, this_vcpu};
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
}

pub(super) extern "C" fn flatland_trap(frame: &mut TrapFrame) {
    let Some(v) = this_vcpu() else { return };
    let trap = v.trap.replace(Trap::NONE);
    if trap.signal != 0 {
        (hooks().fault)(frame, &trap);
    }
}

pub(super) extern "C" fn flatland_thread_started() {
    (hooks().thread_started)();
}

pub(super) extern "C" fn flatland_prepare_exit(frame: &mut TrapFrame) {
    let Some(v) = this_vcpu() else { return };
    let bits = v.take(pending::EVENTS | pending::SIGNAL | pending::CHECK);
    (hooks().prepare_exit)(frame, bits & pending::EVENTS != 0, bits & pending::SIGNAL != 0);
}
