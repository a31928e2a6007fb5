//! A signal mask for the length of one call: sigsuspend(2), ppoll(2), pselect(2), epoll_pwait(2).

use super::number::SigSet;
use super::send;
use crate::error::{Errno, Result};
use crate::mm::UserPtr;
use crate::task::Thread;

/// Bytes of `sigset_t` in the kernel's interface.
pub const SIGSET_SIZE: usize = 8;

/// Replaces the mask until it is dropped, or until the handler of the signal that ended the call has returned.
///
/// The rule (sigsuspend(2)): the handler runs with the temporary mask plus its own, and what it returns to is the mask
/// from before the call. So a call that a signal ended calls [`TemporaryMask::end`] with `true`, and the delivery puts
/// the old mask into the handler's frame, or restores it if no handler runs.
#[must_use]
pub struct TemporaryMask<'a> {
    thread: &'a Thread,
    active: bool,
}

impl<'a> TemporaryMask<'a> {
    /// Sets `mask`; `None` changes nothing.
    pub fn set(thread: &'a Thread, mask: Option<SigSet>) -> Self {
        if let Some(mask) = mask {
            let old = thread.signals.blocked();
            thread.signals.private.lock().saved_mask = Some(old);
            send::set_blocked(thread, mask);
        }
        TemporaryMask { thread, active: mask.is_some() }
    }

    /// Reads the mask that a system call was given. EINVAL if its size is not 8, EFAULT if it is not there.
    pub fn read(mask: UserPtr<u64>, size: usize) -> Result<Option<SigSet>> {
        match mask.non_null() {
            None => Ok(None),
            Some(_) if size != SIGSET_SIZE => Err(Errno::EINVAL.because("a signal set has 8 bytes")),
            Some(p) => Ok(Some(SigSet(p.read()?))),
        }
    }

    /// Ends the call; `interrupted` says that a signal ended it.
    pub fn end(mut self, interrupted: bool) {
        if interrupted {
            self.active = false;
        }
    }
}

impl Drop for TemporaryMask<'_> {
    fn drop(&mut self) {
        if self.active {
            restore_saved(self.thread);
        }
    }
}

/// Restores the mask that a temporary one replaced, if there is one.
pub(super) fn restore_saved(t: &Thread) {
    let saved = t.signals.private.lock().saved_mask.take();
    if let Some(mask) = saved {
        send::set_blocked(t, mask);
    }
}
