//! Block devices: what `ubd<n>=` gives the guest.
//!
//! Theory of operation. A [`BlockDevice`] moves bytes between memory and a place on the host, at any byte offset, and
//! keeps nothing back: when `write_at` has returned, the bytes are with the host's kernel, so that a killed `vmlinux`
//! loses none of them, and after `flush` they are on the host's storage. There is therefore no request queue: caching,
//! ordering and write-back belong to the file systems above (`fs/ext4`), which know what must come before what.
//!
//! ```text
//! fs/ext4, /dev/ubd*  ->  Partition  ->  CowFile  ->  ImageFile  ->  host file or host block device
//! ```
//!
//! - `image`: a host file or block device, locked against other writers (the holder's pid is named).
//! - `cow`: User-Mode Linux's copy-on-write files, version 3: a bitmap and the changed sectors over a read-only image.
//! - `partition`: MBR and GPT tables, and the window that a partition is.
//! - `registry`: the devices of this machine by number and name, `/dev/ubda`, `/dev/ubda1`.
//! - `node`: an open device node.
//! - `flush`: flushes that run while the machine goes on.
//! - `option`: `ubd<n>[flags]=[cow,]image`.
//!
//! Devices have no locks of their own but the COW bitmap's ([`crate::sync::Rank::BlockDevice`]), below the file systems'.

mod cow;
mod flush;
mod image;
mod node;
pub mod option;
mod partition;
mod registry;

use crate::error::Result;
use alloc::string::String;
use alloc::sync::Arc;

pub use flush::{Flush, Waits};
pub use node::register_driver;
pub use option::UbdSpec;
pub use registry::{Disk, attach, by_name, by_number, list};

/// The unit of device sizes and partition tables, in bytes.
pub const SECTOR: u64 = 512;

/// A device that stores bytes. Offsets and lengths need no alignment.
pub trait BlockDevice: Send + Sync {
    /// Size in bytes.
    fn size(&self) -> u64;

    /// Whether writes are refused with EROFS.
    fn read_only(&self) -> bool;

    /// Fills `buf` from `offset`. EIO if the range ends beyond the device or the host's file is shorter than it was.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()>;

    /// Stores `buf` at `offset`; the host's kernel has it when this returns. EIO beyond the end.
    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()>;

    /// Brings everything written so far to the host's storage (fdatasync(2)).
    fn flush(&self) -> Result<()>;

    /// Begins the same; `None` if it is done when this returns. Counts for what was written before the call.
    fn begin_flush(&self, _waits: Waits) -> Result<Option<Arc<Flush>>> {
        self.flush().map(|()| None)
    }
}

/// Why an image cannot be used, in one line for the user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageError(pub String);

impl core::fmt::Display for ImageError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

/// EIO unless `len` bytes at `offset` lie inside a device of `size` bytes.
fn check_range(offset: u64, len: usize, size: u64) -> Result<()> {
    match offset.checked_add(len as u64) {
        Some(end) if end <= size => Ok(()),
        _ => Err(crate::error::Errno::EIO.because("beyond the end of the device")),
    }
}
