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

impl FileOps for Node {
    fn read(&self, _file: &OpenFile, dst: &mut IovDest<'_>, offset: Option<u64>) -> Result<usize> {
        let mut at = offset.unwrap_or(0);
        let mut chunk = alloc::vec![0u8; CHUNK.min(dst.remaining().max(1))];
        let mut done = 0;
        while !dst.is_empty() {
            let left = usize::try_from(self.device.size().saturating_sub(at)).unwrap_or(usize::MAX);
            let n = chunk.len().min(dst.remaining()).min(left);
            if n == 0 {
                break;
            }
            let step = self.device.read_at(&mut chunk[..n], at).and_then(|()| dst.put(&chunk[..n]));
            match step {
                Ok(k) => {
                    done += k;
                    at += k as u64;
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

    fn write(&self, file: &OpenFile, src: &mut IovSource<'_>, offset: Option<u64>) -> Result<usize> {
        let mut at = offset.unwrap_or(0);
        let mut chunk = alloc::vec![0u8; CHUNK.min(src.remaining().max(1))];
        let mut done = 0;
        while !src.is_empty() {
            let left = usize::try_from(self.device.size().saturating_sub(at)).unwrap_or(usize::MAX);
            let n = chunk.len().min(src.remaining()).min(left);
            if n == 0 {
                if done == 0 {
                    return Err(Errno::ENOSPC.because("the end of the block device"));
                }
                break;
            }
            let step = src.take(&mut chunk[..n]).and_then(|k| self.device.write_at(&chunk[..k], at).map(|()| k));
            match step {
                Ok(k) => {
                    done += k;
                    at += k as u64;
                    if k < n {
                        break;
                    }
                }
                Err(_) if done > 0 => break,
                Err(e) => return Err(e),
            }
        }
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
