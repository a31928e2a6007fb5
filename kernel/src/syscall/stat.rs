//! stat(2), statx(2), access(2), statfs(2).

use super::at::{self, NameAt};
use crate::abi::general::{self, stat, statfs64, statx, statx_timestamp};
use crate::error::{Errno, Result};
use crate::fs::file::OpenFile;
use crate::fs::inode::{FileKind, FsStat, Metadata, Timestamp};
use crate::fs::lookup::Resolve;
use crate::fs::mount::{Mount, MountFlags};
use crate::fs::permission::{self, Access};
use crate::fs::{Actor, Path};
use crate::mm::UserPtr;
use crate::task::{Credentials, Fd, Thread};
use alloc::sync::Arc;

fn stat_of(m: &Metadata) -> stat {
    stat {
        st_dev: m.id.dev.0,
        st_ino: m.id.ino,
        st_nlink: m.nlink,
        st_mode: m.mode_word(),
        st_uid: m.uid.0,
        st_gid: m.gid.0,
        __pad0: 0,
        st_rdev: m.rdev.0,
        st_size: m.size as i64,
        st_blksize: i64::from(m.block_size),
        st_blocks: m.blocks as i64,
        st_atime: m.atime.seconds as u64,
        st_atime_nsec: u64::from(m.atime.nanos),
        st_mtime: m.mtime.seconds as u64,
        st_mtime_nsec: u64::from(m.mtime.nanos),
        st_ctime: m.ctime.seconds as u64,
        st_ctime_nsec: u64::from(m.ctime.nanos),
        __unused: [0; 3],
    }
}

/// What `*at` calls look at: a name, or the descriptor itself (`AT_EMPTY_PATH` with an empty name or NULL).
fn metadata_at(t: &Thread, dir: Fd, name: UserPtr<u8>, how: Resolve) -> Result<(Metadata, Option<Path>)> {
    let empty = how.contains(Resolve::EMPTY_PATH) && (name.is_null() || name.read()? == 0);
    if empty && dir != Fd::CWD {
        let file = t.file(dir)?;
        return Ok((file.metadata()?, file.path().cloned()));
    }
    let at = if empty { NameAt { base: None, name: alloc::vec::Vec::new() } } else { NameAt::read(t, dir, name)? };
    let path = at.resolve(&Actor::of(t), how)?;
    Ok((path.inode().metadata()?, Some(path)))
}

/// newfstatat(2).
pub fn sys_newfstatat(t: &Thread, dir: Fd, name: UserPtr<u8>, out: UserPtr<stat>, flags: u32) -> Result<usize> {
    let how = at::resolve_flags(flags, at::SYMLINK_NOFOLLOW | at::NO_AUTOMOUNT | at::EMPTY_PATH)?;
    let (meta, _) = metadata_at(t, dir, name, how)?;
    out.write(stat_of(&meta))?;
    Ok(0)
}

/// stat(2).
pub fn sys_stat(t: &Thread, name: UserPtr<u8>, out: UserPtr<stat>) -> Result<usize> {
    sys_newfstatat(t, Fd::CWD, name, out, 0)
}

/// lstat(2).
pub fn sys_lstat(t: &Thread, name: UserPtr<u8>, out: UserPtr<stat>) -> Result<usize> {
    sys_newfstatat(t, Fd::CWD, name, out, at::SYMLINK_NOFOLLOW)
}

/// fstat(2).
pub fn sys_fstat(t: &Thread, fd: Fd, out: UserPtr<stat>) -> Result<usize> {
    let file: Arc<OpenFile> = t.file(fd)?;
    out.write(stat_of(&file.metadata()?))?;
    Ok(0)
}

fn statx_time(t: Timestamp) -> statx_timestamp {
    statx_timestamp { tv_sec: t.seconds, tv_nsec: t.nanos, __reserved: 0 }
}

fn statx_of(m: &Metadata, path: Option<&Path>) -> statx {
    let mut mask = general::STATX_BASIC_STATS | general::STATX_MNT_ID;
    if m.btime.is_some() {
        mask |= general::STATX_BTIME;
    }
    let mount_root = u64::from(general::STATX_ATTR_MOUNT_ROOT);
    let is_root = path.is_some_and(Path::is_mount_root);
    statx {
        stx_mask: mask,
        stx_blksize: m.block_size,
        stx_attributes: if is_root { mount_root } else { 0 },
        stx_nlink: m.nlink as u32,
        stx_uid: m.uid.0,
        stx_gid: m.gid.0,
        stx_mode: m.mode_word() as u16,
        __spare0: [0; 1],
        stx_ino: m.id.ino,
        stx_size: m.size,
        stx_blocks: m.blocks,
        stx_attributes_mask: mount_root,
        stx_atime: statx_time(m.atime),
        stx_btime: statx_time(m.btime.unwrap_or_default()),
        stx_ctime: statx_time(m.ctime),
        stx_mtime: statx_time(m.mtime),
        stx_rdev_major: m.rdev.major(),
        stx_rdev_minor: m.rdev.minor(),
        stx_dev_major: m.id.dev.major(),
        stx_dev_minor: m.id.dev.minor(),
        stx_mnt_id: path.map_or(0, |p| p.mount().id()),
        stx_dio_mem_align: 0,
        stx_dio_offset_align: 0,
        stx_subvol: 0,
        stx_atomic_write_unit_min: 0,
        stx_atomic_write_unit_max: 0,
        stx_atomic_write_segments_max: 0,
        stx_dio_read_offset_align: 0,
        stx_atomic_write_unit_max_opt: 0,
        __spare2: [0; 1],
        __spare3: [0; 8],
    }
}

/// statx(2). All that is known is returned, whatever the mask asks for.
pub fn sys_statx(t: &Thread, dir: Fd, name: UserPtr<u8>, flags: u32, mask: u32, out: UserPtr<statx>) -> Result<usize> {
    /// `AT_STATX_FORCE_SYNC` and `AT_STATX_DONT_SYNC`.
    const SYNC_FLAGS: u32 = 0x6000;
    if mask & general::STATX__RESERVED != 0 || flags & SYNC_FLAGS == SYNC_FLAGS {
        return Err(Errno::EINVAL.into());
    }
    let known = at::SYMLINK_NOFOLLOW | at::NO_AUTOMOUNT | at::EMPTY_PATH | SYNC_FLAGS;
    let (meta, path) = metadata_at(t, dir, name, at::resolve_flags(flags, known)?)?;
    out.write(statx_of(&meta, path.as_ref()))?;
    Ok(0)
}

/// The caller with its real ids in place of the effective ones, as access(2) wants.
fn with_real_ids(who: &Credentials) -> Credentials {
    let effective = if who.ruid.0 == 0 { who.permitted } else { 0 };
    Credentials { fsuid: who.ruid, fsgid: who.rgid, effective, ..who.clone() }
}

/// faccessat2(2).
pub fn sys_faccessat2(t: &Thread, dir: Fd, name: UserPtr<u8>, mode: u32, flags: u32) -> Result<usize> {
    let how = at::resolve_flags(flags, at::SYMLINK_NOFOLLOW | at::EACCESS | at::EMPTY_PATH)?;
    let Some(want) = Access::from_bits(mode) else { return Err(Errno::EINVAL.because("unknown access mode")) };
    let mut actor = Actor::of(t);
    if flags & at::EACCESS == 0 && (actor.who.ruid != actor.who.fsuid || actor.who.rgid != actor.who.fsgid) {
        actor.who = Arc::new(with_real_ids(&actor.who));
    }
    let path = NameAt::read(t, dir, name)?.resolve(&actor, how)?;
    let kind = path.inode().kind();
    if want.contains(Access::WRITE) && matches!(kind, FileKind::Regular | FileKind::Directory | FileKind::Symlink) {
        path.mount().check_writable()?;
    }
    if want.contains(Access::EXEC) && kind == FileKind::Regular && path.mount().flags().contains(MountFlags::NOEXEC) {
        return Err(Errno::EACCES.because("the mount is noexec"));
    }
    permission::check(&**path.inode(), want, &actor.who)?;
    Ok(0)
}

/// faccessat(2) as the kernel has it, without flags.
pub fn sys_faccessat(t: &Thread, dir: Fd, name: UserPtr<u8>, mode: u32) -> Result<usize> {
    sys_faccessat2(t, dir, name, mode, 0)
}

/// access(2).
pub fn sys_access(t: &Thread, name: UserPtr<u8>, mode: u32) -> Result<usize> {
    sys_faccessat2(t, Fd::CWD, name, mode, 0)
}

fn statfs_of(mount: &Mount) -> Result<statfs64> {
    /// `ST_VALID`: the flags are there.
    const ST_VALID: i64 = 0x20;
    let FsStat { magic, block_size, blocks, blocks_free, blocks_available, files, files_free, name_max } =
        mount.fs().stat_fs()?;
    let flags = mount.flags();
    let mut st_flags = ST_VALID | i64::from((flags & MountFlags::from_bits_retain(0x1f)).bits());
    if mount.fs().read_only() {
        st_flags |= i64::from(MountFlags::RDONLY.bits());
    }
    st_flags |= i64::from((flags & (MountFlags::NOATIME | MountFlags::NODIRATIME)).bits());
    if flags.contains(MountFlags::RELATIME) {
        st_flags |= 0x1000;
    }
    Ok(statfs64 {
        f_type: magic as i64,
        f_bsize: block_size as i64,
        f_blocks: blocks,
        f_bfree: blocks_free,
        f_bavail: blocks_available,
        f_files: files,
        f_ffree: files_free,
        f_fsid: general::__kernel_fsid_t { val: [mount.fs().device().0 as i32, 0] },
        f_namelen: name_max as i64,
        f_frsize: block_size as i64,
        f_flags: st_flags,
        f_spare: [0; 4],
    })
}

/// statfs(2).
pub fn sys_statfs(t: &Thread, name: UserPtr<u8>, out: UserPtr<statfs64>) -> Result<usize> {
    let path = NameAt::read(t, Fd::CWD, name)?.resolve(&Actor::of(t), Resolve::empty())?;
    out.write(statfs_of(path.mount())?)?;
    Ok(0)
}

/// fstatfs(2).
pub fn sys_fstatfs(t: &Thread, fd: Fd, out: UserPtr<statfs64>) -> Result<usize> {
    let file = t.file(fd)?;
    let stat = match file.path() {
        Some(path) => statfs_of(path.mount())?,
        None => statfs_of(Path::detached_mount())?,
    };
    out.write(stat)?;
    Ok(0)
}
