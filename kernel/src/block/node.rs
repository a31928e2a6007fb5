//! An open `/dev/ubd*`: bytes by offset, and the ioctls that mkfs and fsck ask.
//!
//! Reads and writes go straight to the device, past the cache of a file system that is mounted from it: as on Linux,
//! who writes to a mounted device is on his own.

use super::registry::{MAJOR, by_number};
use super::{BlockDevice, SECTOR};
use crate::error::{Errno, Result};
use crate::fs::device;
use crate::fs::file::{FileOps, OpenFile, OpenFlags};
use crate::fs::inode::DeviceNumber;
use crate::mm::{IovDest, IovSource, UserPtr};
use crate::task::Thread;
use alloc::sync::Arc;

/// Bytes that are moved in one step.
const CHUNK: usize = 64 * 1024;

/// `BLKGETSIZE`, `BLKSSZGET`, `BLKBSZGET`, `BLKGETSIZE64`, `BLKROGET`, `BLKFLSBUF` (linux/fs.h).
const BLKROGET: u32 = 0x125e;
const BLKGETSIZE: u32 = 0x1260;
const BLKFLSBUF: u32 = 0x1261;
const BLKSSZGET: u32 = 0x1268;
const BLKBSZGET: u32 = 0x8008_1270;
const BLKGETSIZE64: u32 = 0x8008_1272;

struct Node {
    device: Arc<dyn BlockDevice>,
}

/// Makes device nodes with our major number lead here.
pub fn register_driver() {
    device::register_block(MAJOR, open);
}

fn open(number: DeviceNumber, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    let disk = by_number(number).ok_or_else(|| Errno::ENXIO.because("no such block device; see ubd<n>="))?;
    if flags.writable() && disk.device.read_only() {
        return Err(Errno::EROFS.because("the block device is read-only"));
    }
    Ok(Arc::new(Node { device: disk.device }))
}

impl Node {
    /// Moves up to `len` bytes from `offset` on, chunk by chunk: `step` gets a buffer and its place on the device, and
    /// tells how many bytes it moved. What was moved before an error counts.
    fn in_chunks(
        &self,
        offset: u64,
        len: usize,
        mut step: impl FnMut(&mut [u8], u64) -> Result<usize>,
    ) -> Result<usize> {
        let len = len.min(usize::try_from(self.device.size().saturating_sub(offset)).unwrap_or(usize::MAX));
        let mut chunk = alloc::vec![0u8; CHUNK.min(len)];
        let mut done = 0;
        while done < len {
            let n = chunk.len().min(len - done);
            match step(&mut chunk[..n], offset + done as u64) {
                Ok(k) => {
                    done += k;
                    if k < n {
                        break;
                    }
                }
                Err(_) if done > 0 => break,
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }
}

impl FileOps for Node {
    fn read(&self, _file: &OpenFile, dst: &mut IovDest<'_>, offset: Option<u64>) -> Result<usize> {
        self.in_chunks(offset.unwrap_or(0), dst.remaining(), |chunk, at| {
            self.device.read_at(chunk, at)?;
            dst.put(chunk)
        })
    }

    fn write(&self, file: &OpenFile, src: &mut IovSource<'_>, offset: Option<u64>) -> Result<usize> {
        let offset = offset.unwrap_or(0);
        if !src.is_empty() && offset >= self.device.size() {
            return Err(Errno::ENOSPC.because("the end of the block device"));
        }
        let done = self.in_chunks(offset, src.remaining(), |chunk, at| {
            let n = src.take(chunk)?;
            self.device.write_at(&chunk[..n], at)?;
            Ok(n)
        })?;
        if file.flags().intersects(OpenFlags::DSYNC) {
            self.device.flush()?;
        }
        Ok(done)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn device_size(&self) -> Option<u64> {
        Some(self.device.size())
    }

    fn sync_device(&self) -> Result<()> {
        self.device.flush()
    }

    fn ioctl(&self, _thread: &Thread, _file: &OpenFile, request: u32, arg: usize) -> Result<usize> {
        let size = self.device.size();
        match request {
            BLKGETSIZE64 => UserPtr::<u64>::new(arg).write(size)?,
            BLKGETSIZE => UserPtr::<u64>::new(arg).write(size / SECTOR)?,
            BLKSSZGET => UserPtr::<u32>::new(arg).write(SECTOR as u32)?,
            BLKBSZGET => UserPtr::<u32>::new(arg).write(4096)?,
            BLKROGET => UserPtr::<u32>::new(arg).write(self.device.read_only().into())?,
            BLKFLSBUF => self.device.flush()?,
            _ => return Err(Errno::ENOTTY.into()),
        }
        Ok(0)
    }
}
