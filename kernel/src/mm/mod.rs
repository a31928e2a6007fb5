//! Guest memory: the window, address spaces, and access to them from the kernel.

#[allow(unsafe_code)]
pub mod alloc;
mod areas;
mod contents;
mod faults;
mod frames;
mod mapping;
mod page_map;
mod parked;
mod program_break;
mod remap;
pub mod residency;
mod shared_memory;
mod sites;
mod space;
pub mod spare;
pub mod texts;
#[allow(unsafe_code)]
pub mod user;
mod vm_area;
pub mod window;

pub use faults::{Access, FaultError};
pub use mapping::{MapRequest, Placement};
pub use shared_memory::SharedMemory;
pub use space::{Mm, ProgramLayout, Shared, page_align_up};
pub use texts::Version as FileVersion;
pub use user::{IovDest, IovSource, MAX_IOVECS, Pod, UserPtr, UserSlice};
pub use vm_area::{Backing, FileBacking, MemoryBacking, VmArea, VmFlags};
pub use window::Zone;

use crate::abi::PAGE_SIZE;
use crate::error::{Errno, Result};
use crate::sched;

/// Checks that a range lies where guest memory can be. EFAULT if not.
#[inline]
pub fn check_user_range(addr: usize, len: usize) -> Result<()> {
    if len == 0 || window::get().is_some_and(|w| w.contains(addr, len)) {
        Ok(())
    } else {
        Err(Errno::EFAULT.because("the address lies outside guest memory"))
    }
}

/// Reads guest memory as it stands, for reports; returns how many bytes could be read. Nothing is populated.
pub fn peek(dst: &mut [u8], addr: usize) -> usize {
    dst.len() - user::read_raw(dst, addr)
}

/// Gives up what is kept for later programs; returns whether there was anything.
fn reclaim() -> bool {
    let spares = spare::drop_all();
    texts::drop_unused() || spares
}

/// Gives the current address space the chance to resolve a fault of the kernel's at `addr`.
pub fn resolve_user_fault(addr: usize, write: bool) -> bool {
    let access = if write { Access::Write } else { Access::Read };
    sched::current().is_some_and(|t| t.mm().fault(addr, access).is_ok())
}

/// Resolves the first page of the range that needs it; returns whether one did. EFAULT if the guest has nothing there.
pub fn fault_in_range(addr: usize, len: usize, write: bool) -> Result<bool> {
    let Some(t) = sched::current() else { return Err(Errno::EFAULT.into()) };
    let mm = t.mm();
    let access = if write { Access::Write } else { Access::Read };
    let mut at = addr & !(PAGE_SIZE - 1);
    let end = addr.checked_add(len).ok_or(Errno::EFAULT)?;
    let w = window::get().ok_or(Errno::EFAULT)?;
    while at < end {
        let by_us = mm.area_at(at).is_some_and(|a| !matches!(a.backing, Backing::File(_)));
        if !by_us || !w.is_populated(at) || (write && w.is_tracked(at)) {
            return match mm.fault(at, access) {
                Ok(()) => Ok(true),
                Err(FaultError::BeyondEnd) => Ok(false),
                Err(_) => Err(Errno::EFAULT.into()),
            };
        }
        at += PAGE_SIZE;
    }
    Ok(false)
}
