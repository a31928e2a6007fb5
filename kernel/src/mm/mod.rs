//! Guest memory: the window, address spaces, and access to them from the kernel.

#[allow(unsafe_code)]
pub mod user;

pub use user::{IovDest, IovSource, MAX_IOVECS, Pod, UserPtr, UserSlice};

use crate::error::{Errno, Result};

/// A process's address space.
#[derive(Debug)]
pub struct Mm;

impl Mm {
    /// An address space without memory, for a thread that gives its own up.
    pub fn new_empty() -> alloc::sync::Arc<Mm> {
        alloc::sync::Arc::new(Mm)
    }
}

/// Page-cache pages of a file, to be mapped into the window.
pub trait PageSource: Send + Sync {}

/// Checks that a range lies where guest memory can be. EFAULT if not.
pub fn check_user_range(addr: usize, len: usize) -> Result<()> {
    let _ = (addr, len);
    Err(Errno::EFAULT.into())
}

/// Gives the current address space the chance to resolve a fault of the kernel's at `addr`.
pub fn resolve_user_fault(addr: usize, write: bool) -> bool {
    let _ = (addr, write);
    false
}

/// Resolves the first page of the range that needs it; returns whether one did. EFAULT if the guest has nothing there.
pub fn fault_in_range(addr: usize, len: usize, write: bool) -> Result<bool> {
    let _ = (addr, len, write);
    Err(Errno::EFAULT.into())
}
