//! Alternate signal stacks (sigaltstack(2)).

use crate::error::{Errno, Result};

/// `ss_flags`: the thread runs on it.
pub const SS_ONSTACK: u32 = 1;
/// `ss_flags`: there is none.
pub const SS_DISABLE: u32 = 2;
/// `ss_flags`: disabled while a handler runs on it, so that the handler may leave by swapcontext(3).
pub const SS_AUTODISARM: u32 = 1 << 31;
/// Least size that Linux ever accepted (`MINSIGSTKSZ`).
const MINSIGSTKSZ: u64 = 2048;

/// `stack_t`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StackT {
    /// Lowest address.
    pub sp: u64,
    /// `SS_*`.
    pub flags: u32,
    pub(super) pad: u32,
    /// Bytes.
    pub size: u64,
}

/// A thread's alternate stack; size 0 means none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AltStack {
    base: u64,
    size: u64,
    autodisarm: bool,
}

impl AltStack {
    /// No alternate stack.
    pub const NONE: AltStack = AltStack { base: 0, size: 0, autodisarm: false };

    /// What the guest asks for. ENOMEM if it is smaller than MINSIGSTKSZ, EINVAL for unknown flags. Whether a frame fits
    /// shows when a signal comes, as on Linux: programs of old have stacks for smaller processors.
    pub fn from_request(request: StackT) -> Result<Self> {
        let mode = request.flags & !SS_AUTODISARM;
        match mode {
            SS_DISABLE => Ok(AltStack { autodisarm: request.flags & SS_AUTODISARM != 0, ..AltStack::NONE }),
            0 | SS_ONSTACK => {
                if request.size < MINSIGSTKSZ {
                    return Err(Errno::ENOMEM.because("the alternate stack is smaller than MINSIGSTKSZ"));
                }
                Ok(AltStack { base: request.sp, size: request.size, autodisarm: request.flags & SS_AUTODISARM != 0 })
            }
            _ => Err(Errno::EINVAL.because("sigaltstack knows SS_ONSTACK, SS_DISABLE and SS_AUTODISARM")),
        }
    }

    /// Whether `sp` lies in it, whatever the flags.
    pub fn contains(&self, sp: u64) -> bool {
        sp > self.base && sp - self.base <= self.size
    }

    /// Whether a thread with this stack pointer runs on it. With SS_AUTODISARM never: it is disarmed while in use.
    pub fn in_use(&self, sp: u64) -> bool {
        !self.autodisarm && self.contains(sp)
    }

    /// Whether there is one.
    pub fn exists(&self) -> bool {
        self.size != 0
    }

    /// Where a handler's stack starts.
    pub fn top(&self) -> u64 {
        self.base.wrapping_add(self.size)
    }

    /// Whether delivery disarms it.
    pub fn autodisarm(&self) -> bool {
        self.autodisarm
    }

    /// As sigaltstack(2) and `uc_stack` report it to a thread with this stack pointer.
    pub fn report(&self, sp: u64) -> StackT {
        let mode = if !self.exists() {
            SS_DISABLE
        } else if self.in_use(sp) {
            SS_ONSTACK
        } else {
            0
        };
        let flags = mode | if self.autodisarm { SS_AUTODISARM } else { 0 };
        StackT { sp: self.base, flags, pad: 0, size: self.size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(flags: u32, size: u64) -> StackT {
        StackT { sp: 0x1000, flags, pad: 0, size }
    }

    #[test]
    fn too_small_or_unknown_is_refused() {
        assert_eq!(AltStack::from_request(request(0, 2047)).unwrap_err().errno(), Errno::ENOMEM);
        assert_eq!(AltStack::from_request(request(4, 8192)).unwrap_err().errno(), Errno::EINVAL);
        assert!(!AltStack::from_request(request(SS_DISABLE, 0)).unwrap().exists());
    }

    #[test]
    fn the_stack_is_in_use_from_its_base_exclusive_to_its_top_inclusive() {
        let s = AltStack::from_request(request(0, 8192)).unwrap();
        assert!(!s.in_use(0x1000) && s.in_use(0x1001) && s.in_use(0x3000) && !s.in_use(0x3001));
        assert_eq!(s.report(0x2000).flags, SS_ONSTACK);
        assert_eq!(s.report(0x9000).flags, 0);
        let auto = AltStack::from_request(request(SS_AUTODISARM, 8192)).unwrap();
        assert_eq!(auto.report(0x2000).flags, SS_AUTODISARM);
    }
}
