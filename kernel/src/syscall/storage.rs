//! Files and what is under them: fsync(2), fallocate(2), posix_fadvise(2), flock(2), memfd_create(2).

use super::at::{self, NameAt};
use crate::abi::general as abi;
use crate::error::{Errno, Result};
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::inode::{FallocateMode, FileKind, Inode};
use crate::fs::tmpfs::TmpFs;
use crate::fs::{Path, io, locks, mount};
use crate::mm::{UserPtr, window};
use crate::sync::Once;
use crate::task::{Fd, Thread};
use alloc::sync::Arc;

/// The inode of a file that storage lies behind. EINVAL for pipes, sockets and the like.
fn stored(file: &OpenFile) -> Result<&Arc<dyn Inode>> {
    let kept =
        |i: &&Arc<dyn Inode>| matches!(i.kind(), FileKind::Regular | FileKind::Directory | FileKind::BlockDevice);
    file.inode().filter(kept).ok_or_else(|| Errno::EINVAL.because("nothing is stored for this kind of file"))
}

/// fsync(2).
pub fn sys_fsync(t: &Thread, fd: Fd) -> Result<usize> {
    sync_one(&*at::file(t, fd)?, false)
}

/// fdatasync(2).
pub fn sys_fdatasync(t: &Thread, fd: Fd) -> Result<usize> {
    sync_one(&*at::file(t, fd)?, true)
}

fn sync_one(file: &OpenFile, data_only: bool) -> Result<usize> {
    let inode = stored(file)?;
    if inode.kind() == FileKind::BlockDevice {
        file.ops().sync_device()?;
    } else {
        inode.sync(data_only)?;
    }
    Ok(0)
}

/// sync(2): it reports nothing.
pub fn sys_sync(_t: &Thread) -> Result<usize> {
    for mount in mount::list() {
        if let Err(e) = mount.fs().sync() {
            crate::klog!(Warning, "sync: {}: {e}", mount.source());
        }
    }
    Ok(0)
}

/// syncfs(2).
pub fn sys_syncfs(t: &Thread, fd: Fd) -> Result<usize> {
    if let Some(path) = at::file(t, fd)?.path() {
        path.mount().fs().sync()?;
    }
    Ok(0)
}

/// sync_file_range(2): as much as fdatasync(2) does, if it is to write at all.
pub fn sys_sync_file_range(t: &Thread, fd: Fd, offset: i64, len: i64, flags: u32) -> Result<usize> {
    let known = abi::SYNC_FILE_RANGE_WAIT_BEFORE | abi::SYNC_FILE_RANGE_WRITE | abi::SYNC_FILE_RANGE_WAIT_AFTER;
    if flags & !known != 0 || offset < 0 || len < 0 || offset.checked_add(len).is_none() {
        return Err(Errno::EINVAL.into());
    }
    let file = at::file(t, fd)?;
    let inode = stored(&file).map_err(|_| Errno::ESPIPE)?;
    if flags & abi::SYNC_FILE_RANGE_WRITE != 0 {
        inode.sync(true)?;
    }
    Ok(0)
}

/// posix_fadvise(2): checked, of no effect. The host's page cache knows better.
pub fn sys_fadvise64(t: &Thread, fd: Fd, _offset: i64, len: i64, advice: u32) -> Result<usize> {
    let file = at::file(t, fd)?;
    if file.ops().pipe().is_some() {
        return Err(Errno::ESPIPE.into());
    }
    if len < 0 || advice > abi::POSIX_FADV_NOREUSE {
        return Err(Errno::EINVAL.into());
    }
    Ok(0)
}

/// readahead(2): checked, of no effect.
pub fn sys_readahead(t: &Thread, fd: Fd, _offset: i64, _len: usize) -> Result<usize> {
    let file = at::file(t, fd)?;
    if !file.flags().readable() {
        return Err(Errno::EBADF.into());
    }
    if file.inode().is_none_or(|i| i.kind() != FileKind::Regular) {
        return Err(Errno::EINVAL.because("not a regular file"));
    }
    Ok(0)
}

fn fallocate_mode(mode: u32) -> Result<FallocateMode> {
    let keep_size = mode & abi::FALLOC_FL_KEEP_SIZE != 0;
    match mode & !abi::FALLOC_FL_KEEP_SIZE {
        0 => Ok(FallocateMode::Allocate { keep_size }),
        abi::FALLOC_FL_ZERO_RANGE => Ok(FallocateMode::ZeroRange { keep_size }),
        abi::FALLOC_FL_PUNCH_HOLE if keep_size => Ok(FallocateMode::PunchHole),
        _ => Err(Errno::EOPNOTSUPP.because("fallocate allocates, zeroes, and punches holes with KEEP_SIZE")),
    }
}

/// fallocate(2).
pub fn sys_fallocate(t: &Thread, fd: Fd, mode: u32, offset: i64, len: i64) -> Result<usize> {
    let file = at::file(t, fd)?;
    let (offset, len) = match (u64::try_from(offset), u64::try_from(len)) {
        (Ok(o), Ok(l)) if l > 0 => (o, l),
        _ => return Err(Errno::EINVAL.because("a negative offset or an empty range")),
    };
    let mode = fallocate_mode(mode)?;
    if !file.flags().writable() {
        return Err(Errno::EBADF.because("not open for writing"));
    }
    let inode = match file.inode() {
        Some(i) if i.kind() == FileKind::Regular => i,
        Some(i) if i.kind() == FileKind::Directory => return Err(Errno::EISDIR.into()),
        Some(i) if i.kind() == FileKind::Fifo => return Err(Errno::ESPIPE.into()),
        _ => return Err(Errno::ENODEV.into()),
    };
    let end = offset.checked_add(len).filter(|&e| e <= i64::MAX as u64).ok_or(Errno::EFBIG)?;
    let keep_size = matches!(
        mode,
        FallocateMode::PunchHole
            | FallocateMode::Allocate { keep_size: true }
            | FallocateMode::ZeroRange { keep_size: true }
    );
    if !keep_size {
        io::check_growth(t, &**inode, end)?;
    }
    file.fallocate(mode, offset, len)?;
    Ok(0)
}

/// flock(2).
pub fn sys_flock(t: &Thread, fd: Fd, operation: u32) -> Result<usize> {
    locks::flock(t, &at::file(t, fd)?, operation)
}

const MFD_CLOEXEC: u32 = 1;
const MFD_ALLOW_SEALING: u32 = 2;
const MFD_NOEXEC_SEAL: u32 = 8;
const MFD_EXEC: u32 = 0x10;
/// The longest name of a memory file: `NAME_MAX` without "memfd:".
const MEMFD_NAME_MAX: usize = 249;

/// The tmpfs that memory files lie in; they count against the guest's memory as others do.
fn memory_files() -> &'static Arc<TmpFs> {
    static FILES: Once<Arc<TmpFs>> = Once::new();
    FILES.call_once(|| TmpFs::new("tmpfs", window::get().map_or(0, |w| w.usage().1 as u64), 0o777))
}

/// memfd_create(2).
pub fn sys_memfd_create(t: &Thread, name: UserPtr<u8>, flags: u32) -> Result<usize> {
    let known = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC;
    if flags & !known != 0 || flags & (MFD_EXEC | MFD_NOEXEC_SEAL) == MFD_EXEC | MFD_NOEXEC_SEAL {
        return Err(Errno::EINVAL.because("unknown or contradictory memfd flags"));
    }
    let name = name.read_cstr(MEMFD_NAME_MAX + 1, Errno::EINVAL)?;
    let label = [b"/memfd:", name.as_slice(), b" (deleted)"].concat();
    let who = t.credentials();
    let sealable = flags & (MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL) != 0;
    let seals = if sealable { 0 } else { abi::F_SEAL_SEAL };
    let (mode, seals) = match flags & MFD_NOEXEC_SEAL {
        0 => (0o777, seals),
        _ => (0o666, seals | abi::F_SEAL_EXEC),
    };
    let inode = memory_files().unnamed_file(mode, who.fsuid, who.fsgid, seals);
    let ops = Inode::open(inode.clone(), OpenFlags::RDWR)?;
    let file = OpenFile::opened(ops, OpenFlags::RDWR | OpenFlags::LARGEFILE, Path::detached(inode, &label));
    at::install(t, file, flags & MFD_CLOEXEC != 0)
}

/// name_to_handle_at(2): files have no handles here; the name is still looked at.
pub fn sys_name_to_handle_at(
    t: &Thread,
    dir: Fd,
    name: UserPtr<u8>,
    _handle: usize,
    _mount_id: usize,
    flags: u32,
) -> Result<usize> {
    if flags & !(at::EMPTY_PATH | at::SYMLINK_FOLLOW) != 0 {
        return Err(Errno::EINVAL.because("unknown flags"));
    }
    NameAt::read(t, dir, name)?;
    Err(Errno::EOPNOTSUPP.because("files have no handles"))
}
