//! The scheduler: guest threads on vCPUs.
//!
//! Theory of operation. A guest thread is a context: a kernel stack with the guest's registers at its top. A vCPU is a
//! host thread that runs one context at a time, or its idle loop on the host's own stack. The kernel is not preemptible:
//! a thread leaves its vCPU in [`schedule`] only, called where it blocks, yields, ends, or on its way back to guest code
//! when its time slice is over (a host timer signal sets the vCPU's pending word; the way out of the kernel looks at it).
//!
//! States: a thread is running or queued (`Runnable`), `Blocked`, or `Dead`. A waiter sets `Blocked` first, registers,
//! looks, then calls `schedule`. A wake-up in between sets `Runnable` again, and `schedule` keeps the thread. The state
//! and `queued` change under the run queue's lock only, except that a thread sets itself `Blocked` and back.
//!
//! The run queue has two lists. Threads that wake from a wait stand in the first: they have given the processor up of
//! their own accord. Threads whose slice ran out stand in the second, which is served when the first is empty, and
//! every [`FAIR_TURN`]-th time anyway, so that nobody starves.

mod block;
mod idle;
mod run_queue;
mod wait_queue;

pub use block::{WaitEnd, block_on, block_once, block_uninterruptible, sleep_until};
pub use idle::{
    IdlePolicy, Poller, breathe, idle_loop, next_interruption, poll_devices, register_poller, set_idle_policy,
};
pub use run_queue::{
    Entity, FAIR_TURN, RunState, TIME_SLICE, cpu_time, current, finish_switch, has_waiting, on_tick, retire, schedule,
    spawn, wake, yield_now,
};
pub use wait_queue::{WaitQueue, WakeCallback};
