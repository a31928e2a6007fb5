//! A host file or directory as an inode.

use super::directory::HostDirectory;
use super::file::HostFile;
use super::ownership::{ATTRIBUTE, Owner};
use super::{Shared, TRUST};
use crate::error::{Errno, Result};
use crate::fs::file::{FileOps, OpenFlags};
use crate::fs::inode::{
    DeviceNumber, FallocateMode, FileKind, FsStat, Inode, InodeId, LinkTarget, Metadata, NewInode, NewKind, RenameMode,
    SeekTarget, SetAttributes, Timestamp, XattrMode,
};
use crate::host::HostFd;
use crate::task::{Gid, Uid};
use crate::time;
use alloc::ffi::CString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{self, AtFlags, Mode, OFlags, Statx, StatxFlags};

/// A file or directory of the host.
pub(super) struct HostInode {
    shared: Arc<Shared>,
    fd: OwnedFd,
    kind: FileKind,
    id: InodeId,
    host_dev: (u32, u32),
    /// When the host last confirmed its name, in nanoseconds.
    confirmed: AtomicU64,
}

fn statx_of(fd: impl AsFd, name: &[u8], extra: AtFlags) -> Result<Statx> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | extra;
    Ok(fs::statx(fd, name, flags, StatxFlags::BASIC_STATS | StatxFlags::BTIME)?)
}

fn kind_of(stat: &Statx) -> Result<FileKind> {
    FileKind::from_mode(u32::from(stat.stx_mode))
        .ok_or_else(|| Errno::EIO.because("the host shows an unknown file type"))
}

fn timestamp(t: rustix::fs::StatxTimestamp) -> Timestamp {
    Timestamp { seconds: t.tv_sec, nanos: t.tv_nsec }
}

/// A name as the host takes it. Names come from the VFS as single components; this is the last look.
fn component(name: &[u8]) -> Result<&[u8]> {
    if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0) {
        return Err(Errno::EINVAL.because("not a single path component"));
    }
    Ok(name)
}

impl HostInode {
    /// The inode that an `O_PATH` descriptor stands for.
    pub(super) fn from_fd(shared: Arc<Shared>, fd: OwnedFd) -> Result<Arc<Self>> {
        let stat = statx_of(&fd, b"", AtFlags::EMPTY_PATH)?;
        let host_dev = (stat.stx_dev_major, stat.stx_dev_minor);
        let id = InodeId { dev: shared.device_for(host_dev), ino: stat.stx_ino };
        let kind = kind_of(&stat)?;
        let confirmed = AtomicU64::new(time::now().as_nanos());
        Ok(Arc::new(HostInode { shared, fd, kind, id, host_dev, confirmed }))
    }

    fn child(&self, name: &[u8]) -> Result<Arc<HostInode>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match fs::openat(&self.fd, component(name)?, flags, Mode::empty()) {
            // The guest's own descriptors are not the limit that was reached.
            Err(rustix::io::Errno::MFILE) => return Err(Errno::ENFILE.because("out of host descriptors")),
            other => other?,
        };
        Self::from_fd(self.shared.clone(), fd)
    }

    /// The name by which the host's kernel reaches this very inode again.
    fn proc_name(&self) -> CString {
        let text = alloc::format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        // Digits and slashes only: there is no NUL.
        CString::new(text).unwrap_or_default()
    }

    fn reopen(&self, flags: OFlags) -> Result<OwnedFd> {
        let name = self.proc_name();
        Ok(fs::openat(fs::CWD, name.as_c_str(), flags | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?)
    }

    pub(super) fn stat_fs(&self) -> Result<FsStat> {
        let s = fs::fstatfs(&self.fd)?;
        Ok(FsStat {
            magic: s.f_type as u64,
            block_size: s.f_bsize as u64,
            blocks: s.f_blocks,
            blocks_free: s.f_bfree,
            blocks_available: s.f_bavail,
            files: s.f_files,
            files_free: s.f_ffree,
            name_max: s.f_namelen as u64,
        })
    }

    pub(super) fn sync_file_system(&self) -> Result<()> {
        let fd = self.reopen(OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(fs::syncfs(fd)?)
    }

    /// Owner and mode as the guest sees them.
    fn owner(&self, s: &Statx) -> Owner {
        let host = Owner { uid: s.stx_uid, gid: s.stx_gid, mode: u32::from(s.stx_mode) & 0o7777 };
        match self.shared.ownership {
            Some(mapping) => mapping.seen(&self.proc_name(), self.kind, host),
            None => host,
        }
    }

    /// The attribute with the owner is ours.
    fn check_attribute(&self, name: &[u8]) -> Result<()> {
        if self.shared.ownership.is_some() && name == ATTRIBUTE {
            return Err(Errno::ENODATA.into());
        }
        Ok(())
    }

    fn check_writable(&self) -> Result<()> {
        if self.shared.writable { Ok(()) } else { Err(Errno::EROFS.into()) }
    }

    fn same_fs<'a>(&self, other: &'a Arc<dyn Inode>) -> Result<&'a HostInode> {
        match other.downcast_ref::<HostInode>() {
            Some(o) if Arc::ptr_eq(&o.shared, &self.shared) => Ok(o),
            _ => Err(Errno::EXDEV.into()),
        }
    }

    /// Gives a new object the owner and mode that the guest chose. Where the host refuses another owner (we are not
    /// root there), the object stays ours, as with any host program.
    fn finish_new(&self, name: &[u8], new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        let child = self.child(name)?;
        if self.shared.ownership.is_some() && matches!(child.kind, FileKind::Regular | FileKind::Directory) {
            let (mode, uid, gid) = (Some(new.mode), Some(new.uid), Some(new.gid));
            child.set_attributes(&SetAttributes { mode, uid, gid, ..SetAttributes::default() })?;
            return Ok(child);
        }
        let owner = (fs::Uid::from_raw(new.uid.0), fs::Gid::from_raw(new.gid.0));
        let _ = fs::chownat(&child.fd, "", Some(owner.0), Some(owner.1), AtFlags::EMPTY_PATH);
        if child.kind != FileKind::Symlink {
            fs::chmodat(fs::CWD, child.proc_name().as_c_str(), Mode::from_raw_mode(new.mode), AtFlags::empty())?;
        }
        Ok(child)
    }
}

impl Inode for HostInode {
    fn kind(&self) -> FileKind {
        self.kind
    }

    fn id(&self) -> InodeId {
        self.id
    }

    fn metadata(&self) -> Result<Metadata> {
        let s = statx_of(&self.fd, b"", AtFlags::EMPTY_PATH)?;
        let owner = self.owner(&s);
        Ok(Metadata {
            id: self.id,
            kind: self.kind,
            mode: owner.mode,
            nlink: u64::from(s.stx_nlink),
            uid: Uid(owner.uid),
            gid: Gid(owner.gid),
            rdev: DeviceNumber::new(s.stx_rdev_major, s.stx_rdev_minor),
            size: s.stx_size,
            block_size: s.stx_blksize,
            blocks: s.stx_blocks,
            atime: timestamp(s.stx_atime),
            mtime: timestamp(s.stx_mtime),
            ctime: timestamp(s.stx_ctime),
            btime: (s.stx_mask & StatxFlags::BTIME.bits() != 0).then(|| timestamp(s.stx_btime)),
        })
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        self.check_writable()?;
        if let Some(size) = change.size {
            fs::ftruncate(self.reopen(OFlags::WRONLY)?, size)?;
        }
        if let Some(mapping) = self.shared.ownership {
            let now = self.owner(&statx_of(&self.fd, b"", AtFlags::EMPTY_PATH)?);
            mapping.change(&self.proc_name(), self.kind, now, change)?;
        } else if change.uid.is_some() || change.gid.is_some() {
            let uid = change.uid.map(|u| fs::Uid::from_raw(u.0));
            let gid = change.gid.map(|g| fs::Gid::from_raw(g.0));
            fs::chownat(&self.fd, "", uid, gid, AtFlags::EMPTY_PATH)?;
        }
        if let Some(mode) = change.mode.filter(|_| self.shared.ownership.is_none()) {
            fs::chmodat(fs::CWD, self.proc_name().as_c_str(), Mode::from_raw_mode(mode), AtFlags::empty())?;
        }
        if change.atime.is_some() || change.mtime.is_some() {
            let time = |t: Option<Timestamp>| match t {
                Some(t) => fs::Timespec { tv_sec: t.seconds, tv_nsec: t.nanos.into() },
                None => fs::Timespec { tv_sec: 0, tv_nsec: fs::UTIME_OMIT },
            };
            let times = fs::Timestamps { last_access: time(change.atime), last_modification: time(change.mtime) };
            fs::utimensat(&self.fd, "", &times, AtFlags::EMPTY_PATH)?;
        }
        Ok(())
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        Ok(self.child(name)?)
    }

    fn revalidate(&self, name: &[u8], child: &Arc<dyn Inode>) -> bool {
        let Some(child) = child.downcast_ref::<HostInode>() else { return false };
        let now = time::now();
        let age = now.saturating_since(time::Instant(child.confirmed.load(Ordering::Relaxed)));
        if age < TRUST {
            return true;
        }
        let same = statx_of(&self.fd, name, AtFlags::empty()).is_ok_and(|s| {
            s.stx_ino == child.id.ino
                && (s.stx_dev_major, s.stx_dev_minor) == child.host_dev
                && kind_of(&s).is_ok_and(|k| k == child.kind)
        });
        if same {
            child.confirmed.store(now.as_nanos(), Ordering::Relaxed);
        }
        same
    }

    fn create(&self, name: &[u8], new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        self.check_writable()?;
        let name = component(name)?;
        // What cannot be read or written by us gets its mode afterwards, as an attribute: who owns it needs access for that.
        let own = match (self.shared.ownership, &new.kind) {
            (Some(_), NewKind::Regular) => 0o600,
            (Some(_), NewKind::Directory) => 0o700,
            _ => 0,
        };
        let mode = Mode::from_raw_mode(new.mode & 0o777 | own);
        match new.kind {
            NewKind::Regular => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                fs::openat(&self.fd, name, flags, mode)?;
            }
            NewKind::Directory => fs::mkdirat(&self.fd, name, mode)?,
            NewKind::Symlink(target) => {
                let target = CString::new(target).map_err(|_| Errno::EINVAL)?;
                fs::symlinkat(target.as_c_str(), &self.fd, name)?;
            }
            NewKind::Fifo => fs::mknodat(&self.fd, name, fs::FileType::Fifo, mode, 0)?,
            NewKind::Socket => fs::mknodat(&self.fd, name, fs::FileType::Socket, mode, 0)?,
            NewKind::CharDevice(_) | NewKind::BlockDevice(_) => {
                return Err(Errno::EPERM.because("no device nodes are made on the host"));
            }
        }
        self.finish_new(name, new)
    }

    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        self.check_writable()?;
        let target = self.same_fs(target)?;
        let from = target.proc_name();
        Ok(fs::linkat(fs::CWD, from.as_c_str(), &self.fd, component(name)?, AtFlags::SYMLINK_FOLLOW)?)
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        self.check_writable()?;
        Ok(fs::unlinkat(&self.fd, component(name)?, AtFlags::empty())?)
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        self.check_writable()?;
        Ok(fs::unlinkat(&self.fd, component(name)?, AtFlags::REMOVEDIR)?)
    }

    fn rename(&self, name: &[u8], new_dir: &Arc<dyn Inode>, new_name: &[u8], mode: RenameMode) -> Result<()> {
        self.check_writable()?;
        let to = self.same_fs(new_dir)?;
        let flags = match mode {
            RenameMode::Replace => fs::RenameFlags::empty(),
            RenameMode::NoReplace => fs::RenameFlags::NOREPLACE,
            RenameMode::Exchange => fs::RenameFlags::EXCHANGE,
        };
        Ok(fs::renameat_with(&self.fd, component(name)?, &to.fd, component(new_name)?, flags)?)
    }

    fn read_link(&self) -> Result<LinkTarget> {
        let mut text: Vec<u8> = Vec::with_capacity(crate::fs::inode::PATH_MAX);
        let (read, _) = fs::readlinkat_raw(&self.fd, "", text.spare_capacity_mut())?;
        Ok(LinkTarget::Text(read.to_vec()))
    }

    fn open(self: Arc<Self>, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        if self.kind == FileKind::Directory {
            let fd = self.reopen(OFlags::RDONLY | OFlags::DIRECTORY)?;
            return Ok(Arc::new(HostDirectory::new(fd)));
        }
        let mut how = match (flags.readable(), flags.writable()) {
            (true, true) => OFlags::RDWR,
            (false, true) => OFlags::WRONLY,
            _ => OFlags::RDONLY,
        };
        if flags.writable() {
            self.check_writable()?;
        }
        for (guest, host) in
            [(OpenFlags::APPEND, OFlags::APPEND), (OpenFlags::SYNC, OFlags::SYNC), (OpenFlags::DSYNC, OFlags::DSYNC)]
        {
            how.set(host, flags.contains(guest));
        }
        Ok(Arc::new(HostFile::new(HostFd::from(self.reopen(how)?), flags.readable())))
    }

    fn fallocate(&self, mode: FallocateMode, offset: u64, len: u64) -> Result<()> {
        self.check_writable()?;
        let keep = |k: bool| if k { fs::FallocateFlags::KEEP_SIZE } else { fs::FallocateFlags::empty() };
        let flags = match mode {
            FallocateMode::Allocate { keep_size } => keep(keep_size),
            FallocateMode::PunchHole => fs::FallocateFlags::PUNCH_HOLE | fs::FallocateFlags::KEEP_SIZE,
            FallocateMode::ZeroRange { keep_size } => fs::FallocateFlags::ZERO_RANGE | keep(keep_size),
        };
        Ok(fs::fallocate(self.reopen(OFlags::RDWR)?, flags, offset, len)?)
    }

    fn seek_extent(&self, offset: u64, target: SeekTarget) -> Result<u64> {
        let from = match target {
            SeekTarget::Data => fs::SeekFrom::Data(offset),
            SeekTarget::Hole => fs::SeekFrom::Hole(offset),
        };
        Ok(fs::seek(self.reopen(OFlags::RDONLY)?, from)?)
    }

    fn sync(&self, data_only: bool) -> Result<()> {
        if !self.shared.writable || !matches!(self.kind, FileKind::Regular | FileKind::Directory) {
            return Ok(());
        }
        let fd = self.reopen(OFlags::RDONLY)?;
        Ok(if data_only { fs::fdatasync(fd) } else { fs::fsync(fd) }?)
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        if self.kind == FileKind::Symlink {
            return Err(Errno::ENODATA.into());
        }
        self.check_attribute(name)?;
        let mut value: Vec<u8> = Vec::with_capacity(64 * 1024);
        let at = self.proc_name();
        let (read, _) = fs::getxattr(at.as_c_str(), name, value.spare_capacity_mut())?;
        Ok(read.to_vec())
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        self.check_writable()?;
        if self.kind == FileKind::Symlink {
            return Err(Errno::EPERM.into());
        }
        self.check_attribute(name)?;
        let flags = match mode {
            XattrMode::Set => fs::XattrFlags::empty(),
            XattrMode::Create => fs::XattrFlags::CREATE,
            XattrMode::Replace => fs::XattrFlags::REPLACE,
        };
        Ok(fs::setxattr(self.proc_name().as_c_str(), name, value, flags)?)
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        self.check_writable()?;
        if self.kind == FileKind::Symlink {
            return Err(Errno::ENODATA.into());
        }
        self.check_attribute(name)?;
        Ok(fs::removexattr(self.proc_name().as_c_str(), name)?)
    }

    fn list_xattrs(&self) -> Result<Vec<u8>> {
        if self.kind == FileKind::Symlink {
            return Ok(Vec::new());
        }
        let mut names: Vec<u8> = Vec::with_capacity(64 * 1024);
        let at = self.proc_name();
        let (read, _) = fs::listxattr(at.as_c_str(), names.spare_capacity_mut())?;
        let guests = |n: &&[u8]| !n.is_empty() && self.check_attribute(n).is_ok();
        Ok(read.split(|&c| c == 0).filter(guests).flat_map(|n| n.iter().copied().chain([0])).collect())
    }
}
