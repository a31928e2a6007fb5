//! Signal actions (sigaction(2)), and the table of them that threads and CLONE_SIGHAND share.

use super::number::{DefaultAction, SIGNALS, SigSet, Signal};
use crate::sync::{Rank, SpinLock};

/// Handler address that means the default action.
pub const SIG_DFL: u64 = 0;
/// Handler address that means "ignore".
pub const SIG_IGN: u64 = 1;

bitflags::bitflags! {
    /// `sa_flags`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    #[allow(missing_docs)]
    pub struct ActionFlags: u64 {
        const NOCLDSTOP = 1;
        const NOCLDWAIT = 2;
        const SIGINFO = 4;
        const EXPOSE_TAGBITS = 0x800;
        const RESTORER = 0x0400_0000;
        const ONSTACK = 0x0800_0000;
        const RESTART = 0x1000_0000;
        const NODEFER = 0x4000_0000;
        const RESETHAND = 0x8000_0000;
    }
}

/// `struct sigaction` as the system call has it on x86-64.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SigAction {
    /// Handler address, [`SIG_DFL`] or [`SIG_IGN`].
    pub handler: u64,
    /// `sa_flags`.
    pub flags: u64,
    /// Where the handler returns to.
    pub restorer: u64,
    /// Signals blocked while the handler runs.
    pub mask: u64,
}

impl SigAction {
    /// The flags that Linux knows.
    pub fn flags(&self) -> ActionFlags {
        ActionFlags::from_bits_truncate(self.flags)
    }

    /// Signals blocked while the handler runs.
    pub fn mask(&self) -> SigSet {
        SigSet(self.mask).minus(SigSet::UNSTOPPABLE)
    }

    /// Whether `signal` has no effect with this action.
    pub fn ignores(&self, signal: Signal) -> bool {
        self.handler == SIG_IGN
            || (self.handler == SIG_DFL
                && matches!(signal.default_action(), DefaultAction::Ignore | DefaultAction::Continue))
    }
}

/// The actions of all signals. Its lock also orders the sending of signals against changes of masks and actions.
pub struct SigHand {
    pub(crate) actions: SpinLock<[SigAction; SIGNALS]>,
}

impl SigHand {
    /// A table with these actions.
    pub fn new(actions: [SigAction; SIGNALS]) -> Self {
        SigHand { actions: SpinLock::new(Rank::Signal, actions) }
    }

    /// A copy that is shared with nobody.
    pub fn fork(&self) -> Self {
        let actions = *self.actions.lock();
        Self::new(actions)
    }

    /// The action of one signal.
    pub fn get(&self, signal: Signal) -> SigAction {
        self.actions.lock()[signal.index()]
    }

    /// What execve(2) and CLONE_CLEAR_SIGHAND leave: handlers become the default, "ignore" stays.
    pub fn after_exec(&self) -> Self {
        let mut actions = *self.actions.lock();
        for a in &mut actions {
            let handler = if a.handler == SIG_IGN { SIG_IGN } else { SIG_DFL };
            *a = SigAction { handler, ..SigAction::default() };
        }
        Self::new(actions)
    }
}

impl Default for SigHand {
    fn default() -> Self {
        Self::new([SigAction::default(); SIGNALS])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exec_resets_handlers_and_keeps_ignored_signals() {
        let hand = SigHand::default();
        hand.actions.lock()[Signal::INT.index()].handler = 0x1000;
        hand.actions.lock()[Signal::HUP.index()].handler = SIG_IGN;
        let after = hand.after_exec();
        assert_eq!(after.get(Signal::INT), SigAction::default());
        assert_eq!(after.get(Signal::HUP).handler, SIG_IGN);
    }

    #[test]
    fn ignoring_is_explicit_or_the_default() {
        let dfl = SigAction::default();
        assert!(dfl.ignores(Signal::CHLD) && dfl.ignores(Signal::CONT) && !dfl.ignores(Signal::TERM));
        assert!(SigAction { handler: SIG_IGN, ..dfl }.ignores(Signal::TERM));
        assert!(!SigAction { handler: 0x1000, ..dfl }.ignores(Signal::CHLD));
    }
}
