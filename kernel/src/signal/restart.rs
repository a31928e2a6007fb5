//! Which interrupted calls start again (signal(7), "Interruption of system calls").
//!
//! A handler of a system call that a signal interrupts answers with one of four internal codes. What becomes of it is
//! decided on the way out, once it is known whether a signal handler runs:
//!
//! | code | no handler | handler with SA_RESTART | handler without |
//! | --- | --- | --- | --- |
//! | ERESTARTSYS: read, write, wait4, accept, futex wait, flock … | again | again | EINTR |
//! | ERESTARTNOINTR: clone, open of a fifo … | again | again | again |
//! | ERESTARTNOHAND: pause, sigsuspend, ppoll, pselect, select, clock_nanosleep(TIMER_ABSTIME) … | again | EINTR | EINTR |
//! | ERESTART_RESTARTBLOCK: nanosleep, poll, futex wait with a relative timeout | restart_syscall(2) | EINTR | EINTR |
//!
//! Calls that signal(7) lists as never restarted (epoll_wait, semop, sigtimedwait, sockets with timeouts …) answer
//! EINTR themselves.

use crate::arch::TrapFrame;
use crate::error::{Errno, Result};
use crate::task::Thread;
use linux_raw_sys::general::__NR_restart_syscall;

/// What goes on when restart_syscall(2) is called: a function of the call's own, and its arguments.
#[derive(Clone, Copy)]
pub struct RestartBlock {
    /// Goes on with the call.
    pub resume: fn(&Thread, &[u64; 6]) -> Result<usize>,
    /// What it needs to know: remaining deadline, addresses.
    pub args: [u64; 6],
}

/// What to do with an interrupted call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// The result stands.
    Keep,
    /// The guest sees EINTR.
    Interrupted,
    /// The same call again.
    Again,
    /// restart_syscall(2) instead.
    Resume,
}

/// Bytes of the `syscall` instruction.
const SYSCALL_LENGTH: u64 = 2;

/// Decides. `handler` is `None` if no handler runs, else whether it has SA_RESTART.
pub fn decide(result: u64, handler: Option<bool>) -> Decision {
    let Some(errno) = errno_of(result) else { return Decision::Keep };
    match (errno, handler) {
        (Errno::ERESTARTNOINTR, _) | (Errno::ERESTARTSYS, None | Some(true)) | (Errno::ERESTARTNOHAND, None) => {
            Decision::Again
        }
        (Errno::ERESTART_RESTARTBLOCK, None) => Decision::Resume,
        _ => Decision::Interrupted,
    }
}

fn errno_of(result: u64) -> Option<Errno> {
    let negated = (result as i64).wrapping_neg();
    let errno = Errno::from_raw(i32::try_from(negated).ok().filter(|n| (512..=516).contains(n))?);
    errno.is_restart().then_some(errno)
}

/// Applies the decision to the registers of a thread that comes from a system call.
pub fn apply(frame: &mut TrapFrame, handler: Option<bool>) {
    if frame.orig_rax == u64::MAX {
        return;
    }
    match decide(frame.rax, handler) {
        Decision::Keep => {}
        Decision::Interrupted => frame.rax = (-i64::from(Errno::EINTR.raw())) as u64,
        Decision::Again => rewind(frame, frame.orig_rax),
        Decision::Resume => rewind(frame, u64::from(__NR_restart_syscall)),
    }
}

/// Makes the guest execute its `syscall` instruction again, with this number. The instruction may have become a jump to
/// a stub, but its two bytes still lead into the kernel: patched sites keep them, or trap.
fn rewind(frame: &mut TrapFrame, nr: u64) {
    frame.rax = nr;
    frame.rip = frame.rip.wrapping_sub(SYSCALL_LENGTH);
    frame.orig_rax = u64::MAX;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minus(e: Errno) -> u64 {
        (-i64::from(e.raw())) as u64
    }

    #[test]
    fn the_table_of_signal_7_holds() {
        use Decision::*;
        let rows = [
            (Errno::ERESTARTSYS, [Again, Again, Interrupted]),
            (Errno::ERESTARTNOINTR, [Again, Again, Again]),
            (Errno::ERESTARTNOHAND, [Again, Interrupted, Interrupted]),
            (Errno::ERESTART_RESTARTBLOCK, [Resume, Interrupted, Interrupted]),
            (Errno::EINTR, [Keep, Keep, Keep]),
        ];
        for (errno, expected) in rows {
            let got = [None, Some(true), Some(false)].map(|h| decide(minus(errno), h));
            assert_eq!(got, expected, "{errno:?}");
        }
        assert_eq!(decide(512, None), Keep);
        assert_eq!(decide(u64::MAX, None), Keep);
    }

    #[test]
    fn starting_again_restores_number_and_place() {
        let mut frame = TrapFrame::start(0x1002, 0x8000);
        frame.orig_rax = 35;
        frame.rax = minus(Errno::ERESTART_RESTARTBLOCK);
        apply(&mut frame, None);
        assert_eq!((frame.rax, frame.rip, frame.orig_rax), (219, 0x1000, u64::MAX));
        frame.rax = minus(Errno::ERESTARTSYS);
        apply(&mut frame, None);
        assert_eq!(frame.rip, 0x1000, "a frame that does not come from a call is left alone");
    }
}
