//! What a thread keeps for calls that set a value and read it back: scheduling, personality, death signal.

use crate::signal::Signal;

/// Scheduling policy numbers of sched(7).
pub mod policy {
    #![allow(missing_docs)]
    pub const OTHER: u32 = 0;
    pub const FIFO: u32 = 1;
    pub const RR: u32 = 2;
    pub const BATCH: u32 = 3;
    pub const IDLE: u32 = 5;
}

/// Per-thread attributes; copied by clone(2). The scheduler treats all threads alike: policy, priority and nice value
/// are kept and reported, nothing more (`docs/limits.md`).
#[derive(Clone, Debug)]
pub struct Attributes {
    /// −20 to 19 (setpriority(2)).
    pub nice: i32,
    /// SCHED_* (sched(7)).
    pub policy: u32,
    /// 1 to 99 for SCHED_FIFO and SCHED_RR, else 0.
    pub rt_priority: u32,
    /// SCHED_RESET_ON_FORK.
    pub reset_on_fork: bool,
    /// One bit per vCPU (sched_setaffinity(2)).
    pub affinity: u64,
    /// ioprio_set(2).
    pub ioprio: u32,
    /// Nanoseconds (PR_SET_TIMERSLACK).
    pub timer_slack: u64,
    /// personality(2).
    pub personality: u32,
    /// The signal for when the parent ends (PR_SET_PDEATHSIG).
    pub parent_death_signal: Option<Signal>,
}

/// PR_GET_TIMERSLACK where nobody set one.
pub const DEFAULT_TIMER_SLACK: u64 = 50_000;

impl Default for Attributes {
    fn default() -> Self {
        Attributes {
            nice: 0,
            policy: policy::OTHER,
            rt_priority: 0,
            reset_on_fork: false,
            affinity: u64::MAX,
            ioprio: 0,
            timer_slack: DEFAULT_TIMER_SLACK,
            personality: 0,
            parent_death_signal: None,
        }
    }
}

impl Attributes {
    /// What clone(2) gives the new thread. The death signal belongs to threads of a new process not at all.
    pub fn for_child(&self, same_process: bool) -> Self {
        let mut child = self.clone();
        if !same_process {
            child.parent_death_signal = None;
        }
        if self.reset_on_fork {
            child.reset_on_fork = false;
            if matches!(self.policy, policy::FIFO | policy::RR) {
                (child.policy, child.rt_priority) = (policy::OTHER, 0);
            }
            child.nice = child.nice.max(0);
        }
        child
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reset_on_fork_drops_privileged_scheduling() {
        let parent = Attributes {
            policy: policy::FIFO,
            rt_priority: 5,
            nice: -5,
            reset_on_fork: true,
            parent_death_signal: Some(Signal::TERM),
            ..Attributes::default()
        };
        let child = parent.for_child(false);
        assert_eq!((child.policy, child.rt_priority, child.nice), (policy::OTHER, 0, 0));
        assert!(!child.reset_on_fork && child.parent_death_signal.is_none());
        assert_eq!(parent.for_child(true).parent_death_signal, Some(Signal::TERM));
    }
}
