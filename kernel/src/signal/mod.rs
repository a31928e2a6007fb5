//! Signals (signal(7)).
//!
//! Theory of operation. A signal is sent (`send`) to a thread's private queue or a process's shared one and marks a
//! thread as having something pending. A marked thread leaves its interruptible wait, and looks at its queues on its way
//! to the guest ([`deliver`]): a signal is ignored, stops or ends the process, or gets a frame on the guest's stack
//! (`frame`) so that the guest continues in its handler, and rt_sigreturn(2) restores what the frame holds. Only the
//! thread itself takes from its queues, changes its mask or its registers.
//!
//! Locks. The lock of the action table ([`SigHand`]) orders sending, taking, and changes of masks and actions; queues
//! have short locks of their own below it. Waking and telling parents happens after it is released.
//!
//! Ends. A thread never ends inside a handler or in here, because kernel stacks do not unwind: it is marked
//! (`ask_to_end`), returns, and `task::end_if_asked` ends it on the way out.

mod action;
mod altstack;
mod deliver;
mod fault;
mod frame;
mod info;
mod mask;
mod number;
mod queue;
pub mod restart;
mod send;
mod signalfd;
mod state;
mod stop;

pub use action::{ActionFlags, SIG_DFL, SIG_IGN, SigAction, SigHand};
pub use altstack::{AltStack, SS_AUTODISARM, SS_DISABLE, SS_ONSTACK, StackT};
pub use deliver::deliver;
pub use fault::{force_fault, force_segv, force_trap, out_of_memory};
pub(crate) use frame::restore;
pub use frame::{FpxSwBytes, RtSigFrame, max_frame_size};
pub use info::{
    CLD_CONTINUED, CLD_EXITED, CLD_KILLED, CLD_STOPPED, SI_KERNEL, SI_QUEUE, SI_TIMER, SI_TKILL, SI_USER, SigInfo,
    sender,
};
pub use mask::{SIGSET_SIZE, TemporaryMask};
pub use number::{DefaultAction, SIGNALS, SigSet, Signal};
pub use queue::{Queue, Rejected};
pub use restart::RestartBlock;
pub(crate) use send::{ask_to_end, discard_ignored, has_timer_signal, resolve_restart};
pub use send::{
    check_permission, ignores, raise_sigpipe, send_to_group, send_to_process, send_to_thread, set_blocked, wait_for,
};
pub use signalfd::{SignalFd, SignalfdSiginfo};
pub use state::{ProcessSignals, ThreadSignals};
