//! Raw images: a host file or host block device, byte for byte.
//!
//! A writable image holds a POSIX record lock over the whole file, a read-only one a shared lock, as User-Mode Linux
//! does (fcntl(2), F_SETLK): two machines never write one image, and either kind of machine sees the other. POSIX locks
//! end when the process closes any descriptor of the file, so an image is opened once and never closed.

use super::{BlockDevice, Flush, ImageError, Waits, check_range, flush};
use crate::error::{Errno, Result};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, FlockOperation, Mode, OFlags, SeekFrom};
use rustix::io;
use rustix::process::{Flock, FlockType, fcntl_getlk};

/// An open image.
pub(super) struct ImageFile {
    fd: OwnedFd,
    size: u64,
    writable: bool,
}

/// How an image is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Access {
    pub writable: bool,
    /// Each write reaches the host's storage before it returns (`s`).
    pub synchronous: bool,
    /// No lock is taken (`c`): the file is shared on purpose, as cluster file systems do.
    pub shared: bool,
}

/// Device and inode number on the host: whether two names mean one image.
pub(super) type HostId = (u64, u64);

fn failed(path: &str, e: io::Errno) -> ImageError {
    let hint = match e {
        io::Errno::NOENT => "; make one with: appliance rootfs build --ext4 SIZE",
        io::Errno::ACCESS | io::Errno::PERM | io::Errno::ROFS => {
            "; give the r flag (ubd0r=) to open it for reading only"
        }
        _ => "",
    };
    ImageError(format!("{path}: {}{hint}", Errno::from(e)))
}

fn lock(fd: &OwnedFd, path: &str, writable: bool) -> Result<(), ImageError> {
    let (operation, kind) = match writable {
        true => (FlockOperation::NonBlockingLockExclusive, FlockType::WriteLock),
        false => (FlockOperation::NonBlockingLockShared, FlockType::ReadLock),
    };
    match rustix::fs::fcntl_lock(fd, operation) {
        Ok(()) => Ok(()),
        Err(io::Errno::ACCESS | io::Errno::AGAIN) => {
            let holder = fcntl_getlk(fd, &Flock::from(kind)).ok().flatten().and_then(|l| l.pid);
            let by = holder.map_or_else(|| "another process".into(), |p| format!("process {}", p.as_raw_nonzero()));
            Err(ImageError(format!("{path}: the image is in use by {by}; stop that, or put a COW file before it")))
        }
        // A file system without locks: the host's administrator looks after it.
        Err(io::Errno::NOLCK | io::Errno::INVAL | io::Errno::OPNOTSUPP) => Ok(()),
        Err(e) => Err(failed(path, e)),
    }
}

impl ImageFile {
    /// Opens and locks an image.
    pub(super) fn open(path: &str, access: Access) -> Result<(Self, HostId), ImageError> {
        let mut flags = if access.writable { OFlags::RDWR } else { OFlags::RDONLY };
        flags |= OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        flags.set(OFlags::DSYNC, access.synchronous);
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|e| failed(path, e))?;
        let stat = rustix::fs::fstat(&fd).map_err(|e| failed(path, e))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile | FileType::BlockDevice => {}
            FileType::Directory => {
                let use_it = format!("{path}: a directory is no image; accepted: rootfstype=hostfs rootflags={path}");
                return Err(ImageError(use_it));
            }
            _ => return Err(ImageError(format!("{path}: neither a file nor a block device"))),
        }
        if !access.shared {
            lock(&fd, path, access.writable)?;
        }
        let size = rustix::fs::seek(&fd, SeekFrom::End(0)).map_err(|e| failed(path, e))?;
        Ok((ImageFile { fd, size, writable: access.writable }, (stat.st_dev, stat.st_ino)))
    }

    /// Makes a file that must not exist yet, locked for writing.
    pub(super) fn create(path: &str, access: Access) -> Result<(Self, HostId), ImageError> {
        let mut flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        flags.set(OFlags::DSYNC, access.synchronous);
        let mode = Mode::from_raw_mode(0o644);
        let fd = rustix::fs::openat(CWD, path, flags, mode).map_err(|e| failed(path, e))?;
        let stat = rustix::fs::fstat(&fd).map_err(|e| failed(path, e))?;
        lock(&fd, path, true)?;
        Ok((ImageFile { fd, size: 0, writable: true }, (stat.st_dev, stat.st_ino)))
    }

    /// Makes the file at least `size` bytes long, by a hole.
    pub(super) fn extend(&mut self, size: u64) -> Result<()> {
        if size > self.size {
            rustix::fs::ftruncate(&self.fd, size)?;
            self.size = size;
        }
        Ok(())
    }

    /// Reads what there is at `offset`, up to `buf.len()` bytes.
    pub(super) fn read_some(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match io::pread(&self.fd, &mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(io::Errno::INTR) => continue,
                Err(e) => return Err(e.into()),
            }
        }
        Ok(done)
    }
}

impl BlockDevice for ImageFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_only(&self) -> bool {
        !self.writable
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        check_range(offset, buf.len(), self.size)?;
        if self.read_some(buf, offset)? < buf.len() {
            return Err(Errno::EIO.because("the host's image file became shorter"));
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        if !self.writable {
            return Err(Errno::EROFS.because("the block device is read-only"));
        }
        check_range(offset, buf.len(), self.size)?;
        let mut done = 0;
        while done < buf.len() {
            match io::pwrite(&self.fd, &buf[done..], offset + done as u64) {
                Ok(0) => return Err(Errno::EIO.because("the host takes no more of the image")),
                Ok(n) => done += n,
                Err(io::Errno::INTR) => continue,
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        if !self.writable {
            return Ok(());
        }
        Ok(rustix::fs::fdatasync(&self.fd)?)
    }

    fn begin_flush(&self, waits: Waits) -> Result<Option<Arc<Flush>>> {
        if !self.writable {
            return Ok(None);
        }
        match flush::start(self.fd.as_fd(), waits) {
            Some(begun) => Ok(Some(begun)),
            None => self.flush().map(|()| None),
        }
    }
}

/// Modification time of a host file in seconds, and its size: what a COW file remembers of its backing file.
pub(super) fn mtime_and_size(path: &str) -> Result<(i64, u64), ImageError> {
    let stat = rustix::fs::stat(path).map_err(|e| failed(path, e))?;
    let size = if FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|e| failed(path, e))?;
        rustix::fs::seek(&fd, SeekFrom::End(0)).map_err(|e| failed(path, e))?
    } else {
        stat.st_size as u64
    };
    Ok((stat.st_mtime, size))
}

/// Whether a host file is there.
pub(super) fn exists(path: &str) -> bool {
    rustix::fs::stat(path).is_ok()
}

/// The host's absolute name of a file that exists.
pub(super) fn absolute(path: &str) -> Result<String, ImageError> {
    if path.starts_with('/') {
        return Ok(path.into());
    }
    let mut buf: Vec<u8> = Vec::with_capacity(crate::fs::inode::PATH_MAX);
    let (here, _) =
        rustix::fs::readlinkat_raw(CWD, "/proc/self/cwd", buf.spare_capacity_mut()).map_err(|e| failed(path, e))?;
    let here = String::from_utf8_lossy(here);
    Ok(format!("{}/{path}", here.trim_end_matches('/')))
}
