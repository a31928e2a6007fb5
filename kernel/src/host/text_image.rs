//! A memory file with a copy of a piece of a file, and a writable view of it that is the kernel's alone.

use super::HostFd;
use super::memory::Mapping;
use crate::abi::PAGE_SIZE;
use crate::error::{Errno, Result};
use alloc::sync::Arc;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

/// The memory file: the copy, then as many zero bytes.
#[derive(Debug)]
pub struct TextImage {
    file: Arc<HostFd>,
    view: Mapping,
}

impl TextImage {
    /// A copy of `len` bytes, a multiple of the page size, of `source` from `offset` on; zeros beyond the file's end.
    /// ENOMEM if the host has no memory or descriptor for it.
    pub fn copy(source: &HostFd, offset: u64, len: usize) -> Result<Self> {
        assert!(len > 0 && len.is_multiple_of(PAGE_SIZE), "an image of whole pages");
        let memory = memfd_create("flatland-text", MemfdFlags::CLOEXEC).map_err(|_| Errno::ENOMEM)?;
        ftruncate(&memory, 2 * len as u64).map_err(|_| Errno::ENOMEM)?;
        let file = Arc::new(HostFd::from(memory));
        let view = Mapping::shared(&*file, 2 * len)?;
        let mut image = TextImage { file, view };
        source.read_at(&mut image.bytes_mut()[..len], offset)?;
        Ok(image)
    }

    /// The memory file, to be mapped.
    pub fn file(&self) -> &Arc<HostFd> {
        &self.file
    }

    /// All its bytes, as mappings of it show them.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the view is this long; guests map the file privately, so only this value changes it.
        unsafe { core::slice::from_raw_parts(self.view.start() as *const u8, self.view.end() - self.view.start()) }
    }

    /// All its bytes, writable: changes show at once in mappings of the file.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(self.view.start() as *mut u8, self.view.end() - self.view.start()) }
    }
}
