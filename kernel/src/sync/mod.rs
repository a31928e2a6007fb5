//! Locks of the kernel core.
//!
//! A [`SpinLock`] protects data between vCPUs. The kernel is not preemptible and no lock is held across a context
//! switch, so a lock is only ever contended by another vCPU, for a short time. Every lock has a [`Rank`]; locks are
//! taken in rising rank only, which debug builds check on each acquisition.

mod current;
mod rank;
mod spin;

pub use current::PerVcpu;
pub use rank::{Rank, assert_none_held};
pub use spin::{SpinGuard, SpinLock, only_one_vcpu};

/// A value computed once at boot and read ever after.
pub type Once<T> = ::spin::Once<T>;
