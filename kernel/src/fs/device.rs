//! Devices by number: the memory devices, and registries for what other subsystems bring.

use super::file::{FileOps, MapSource, OpenFile, OpenFlags};
use super::inode::{DeviceNumber, FileKind};
use crate::error::{Errno, Result};
use crate::mm::{IovDest, IovSource};
use crate::sync::{Rank, SpinLock};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

/// Opens a device.
pub type DeviceOpen = fn(DeviceNumber, OpenFlags) -> Result<Arc<dyn FileOps>>;

static CHAR_DEVICES: SpinLock<BTreeMap<u32, DeviceOpen>> = SpinLock::new(Rank::PageCache, BTreeMap::new());
static BLOCK_DEVICES: SpinLock<BTreeMap<u32, DeviceOpen>> = SpinLock::new(Rank::PageCache, BTreeMap::new());

/// Sets what opens the character devices with this major number.
pub fn register_char(major: u32, open: DeviceOpen) {
    CHAR_DEVICES.lock().insert(major, open);
}

/// Sets what opens the block devices with this major number.
pub fn register_block(major: u32, open: DeviceOpen) {
    BLOCK_DEVICES.lock().insert(major, open);
}

/// The major number of the memory devices (devices.txt).
const MEM_MAJOR: u32 = 1;

/// Opens a device. ENXIO if the number stands for nothing.
pub fn open(kind: FileKind, number: DeviceNumber, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    if kind == FileKind::CharDevice {
        if number.major() == MEM_MAJOR {
            return MemoryDevice::open(number.minor());
        }
        let open = CHAR_DEVICES.lock().get(&number.major()).copied();
        if let Some(open) = open {
            return open(number, flags);
        }
    } else {
        let open = BLOCK_DEVICES.lock().get(&number.major()).copied();
        if let Some(open) = open {
            return open(number, flags);
        }
    }
    Err(Errno::ENXIO.because("no driver for this device number"))
}

/// The devices with major number 1, by their minor numbers (null(4), full(4), random(4)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum MemoryDevice {
    Null,
    Zero,
    Full,
    Random,
    KernelLog,
}

impl MemoryDevice {
    fn open(minor: u32) -> Result<Arc<dyn FileOps>> {
        Ok(Arc::new(match minor {
            3 => MemoryDevice::Null,
            5 => MemoryDevice::Zero,
            7 => MemoryDevice::Full,
            8 | 9 => MemoryDevice::Random,
            11 => MemoryDevice::KernelLog,
            _ => return Err(Errno::ENXIO.because("no such memory device")),
        }))
    }
}

/// Fills `dst` with random bytes from the host.
pub fn read_random(dst: &mut IovDest<'_>) -> Result<usize> {
    let mut done = 0;
    let mut chunk = [0u8; 256];
    while !dst.is_empty() {
        let want = chunk.len().min(dst.remaining());
        let got = match rustix::rand::getrandom(&mut chunk[..want], rustix::rand::GetRandomFlags::empty()) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        match dst.put(&chunk[..got]) {
            Ok(n) => done += n,
            Err(_) if done > 0 => break,
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

impl FileOps for MemoryDevice {
    fn read(&self, _file: &OpenFile, dst: &mut IovDest<'_>, offset: Option<u64>) -> Result<usize> {
        match self {
            MemoryDevice::Null => Ok(0),
            MemoryDevice::Zero | MemoryDevice::Full => dst.put_zeros(dst.remaining()),
            MemoryDevice::Random => read_random(dst),
            MemoryDevice::KernelLog => {
                let log = crate::klog::read_all();
                let at = usize::try_from(offset.unwrap_or(0)).unwrap_or(usize::MAX);
                dst.put(log.as_bytes().get(at..).unwrap_or_default())
            }
        }
    }

    fn write(&self, _file: &OpenFile, src: &mut IovSource<'_>, _offset: Option<u64>) -> Result<usize> {
        let n = src.remaining();
        match self {
            MemoryDevice::Full => return Err(Errno::ENOSPC.into()),
            MemoryDevice::KernelLog => {
                let mut line = [0u8; 976];
                let got = src.take(&mut line)?;
                let text = alloc::string::String::from_utf8_lossy(&line[..got]);
                crate::klog!(Info, "{}", text.trim_end());
            }
            _ => {}
        }
        src.advance(src.remaining());
        Ok(n)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn locks_offset(&self) -> bool {
        false
    }

    fn stays_at_start(&self) -> bool {
        matches!(self, MemoryDevice::Null | MemoryDevice::Zero | MemoryDevice::Full)
    }

    fn has_readiness(&self) -> Option<bool> {
        Some(matches!(self, MemoryDevice::Random | MemoryDevice::KernelLog))
    }

    fn map_source(&self, _file: &OpenFile) -> Result<MapSource> {
        match self {
            MemoryDevice::Zero => Ok(MapSource::Zero),
            _ => Err(Errno::ENODEV.into()),
        }
    }
}
