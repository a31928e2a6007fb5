//! Open file descriptions: what a descriptor refers to (open(2), "Open file descriptions").
//!
//! [`OpenFile`] holds what every description has: status flags, offset, the path it was opened by. What a kind of file
//! does is behind [`FileOps`]. No operation of `FileOps` but
//! [`FileOps::read_patiently`] blocks: it answers EAGAIN, and `fs::io` registers with the
//! file's wait queues, looks again and sleeps. Blocking, timeouts, signals and SA_RESTART are thus in one place for all
//! kinds of files.

use super::epoll::{Epoll, Watchers};
use super::inode::{DirSink, FallocateMode, FileKind, Inode, Metadata};
use super::notify;
use super::poll::{PollEvents, PollWatch};
use super::signal_io::SignalIo;
use crate::error::{Errno, Result};
use crate::mm::{IovDest, IovSource};
use crate::sync::{Rank, SpinGuard, SpinLock};
use crate::task::{Fd, Thread};
use crate::time::Duration;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use core::any::Any;
use core::sync::atomic::{AtomicU32, Ordering};

bitflags::bitflags! {
    /// `O_*` flags of open(2), as x86-64 numbers them.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    #[allow(missing_docs)]
    pub struct OpenFlags: u32 {
        const WRONLY = 0o1;
        const RDWR = 0o2;
        const ACCMODE = 0o3;
        const CREAT = 0o100;
        const EXCL = 0o200;
        const NOCTTY = 0o400;
        const TRUNC = 0o1000;
        const APPEND = 0o2000;
        const NONBLOCK = 0o4000;
        const DSYNC = 0o10000;
        const ASYNC = 0o20000;
        const DIRECT = 0o40000;
        const LARGEFILE = 0o100000;
        const DIRECTORY = 0o200000;
        const NOFOLLOW = 0o400000;
        const NOATIME = 0o1000000;
        const CLOEXEC = 0o2000000;
        const SYNC = 0o4010000;
        const PATH = 0o10000000;
        const TMPFILE = 0o20200000;
        const _ = !0;
    }
}

impl OpenFlags {
    /// Whether the access mode allows reading.
    pub fn readable(self) -> bool {
        !self.contains(OpenFlags::PATH) && (self & OpenFlags::ACCMODE) != OpenFlags::WRONLY
    }

    /// Whether the access mode allows writing.
    pub fn writable(self) -> bool {
        !self.contains(OpenFlags::PATH) && self.intersects(OpenFlags::WRONLY | OpenFlags::RDWR)
    }

    /// The flags that fcntl(F_SETFL) may change, but for O_ASYNC ([`OpenFile::set_async`]).
    pub const SETTABLE: OpenFlags =
        OpenFlags::APPEND.union(OpenFlags::NONBLOCK).union(OpenFlags::DIRECT).union(OpenFlags::NOATIME);
}

/// Which way a blocking transfer goes, for timeouts (`SO_RCVTIMEO`, `SO_SNDTIMEO`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Direction {
    Read,
    Write,
}

/// What memory a file's contents can be mapped from (mmap(2)).
pub enum MapSource {
    /// A host file: the window maps it directly; offsets are the file's own.
    Host(Arc<crate::host::HostFd>),
    /// Fresh zero pages (`/dev/zero`).
    Zero,
}

/// What a kind of file does. Offsets are `None` for files without one (pipes, sockets, terminals).
pub trait FileOps: Any + Send + Sync {
    /// Moves bytes to `dst`; 0 is the end of the file. EAGAIN if it would block.
    fn read(&self, file: &OpenFile, dst: &mut IovDest<'_>, offset: Option<u64>) -> Result<usize> {
        let _ = (file, dst, offset);
        Err(Errno::EINVAL.because("this file cannot be read"))
    }

    /// Takes bytes from `src`; may take fewer than there are. EAGAIN if it would block.
    fn write(&self, file: &OpenFile, src: &mut IovSource<'_>, offset: Option<u64>) -> Result<usize> {
        let _ = (file, src, offset);
        Err(Errno::EINVAL.because("this file cannot be written"))
    }

    /// Whether the file has an offset that reads and writes move.
    fn seekable(&self) -> bool {
        false
    }

    /// Whether lseek(2) always leaves the offset at 0 (null(4)).
    fn stays_at_start(&self) -> bool {
        false
    }

    /// Whether the offset stays locked while a transfer runs. Files whose contents are computed from processes, mounts or
    /// the network say no: what computes them takes locks of lower rank.
    fn locks_offset(&self) -> bool {
        true
    }

    /// What fstat(2) reports of a file without a path; others are asked through their inode.
    fn metadata(&self) -> Result<Metadata> {
        Ok(Metadata { nlink: 1, ..Metadata::new(super::mount::internal_id(), FileKind::Regular, 0o600) })
    }

    /// What `/proc/self/fd/N` shows of a file without a path.
    fn label(&self) -> String {
        String::from("anon_inode:[file]")
    }

    /// What `/proc/self/fdinfo/N` shows beyond offset and flags, in lines.
    fn fd_info(&self) -> String {
        String::new()
    }

    /// Lists the entries of an open directory from `cookie` on (getdents64(2)).
    fn read_dir(&self, file: &OpenFile, cookie: u64, sink: DirSink<'_>) -> Result<()> {
        let _ = (file, cookie, sink);
        Err(Errno::ENOTDIR.into())
    }

    /// The pipe behind this file, for splice(2) and F_SETPIPE_SZ.
    fn pipe(&self) -> Option<&Arc<super::pipe::Pipe>> {
        None
    }

    /// The present readiness, after showing `watch` the queues that may change it. The default, always ready, is that
    /// of regular files.
    fn poll(&self, file: &OpenFile, watch: &mut PollWatch<'_>) -> PollEvents {
        let _ = (file, watch);
        PollEvents::READABLE | PollEvents::WRITABLE
    }

    /// Whether readiness means anything here: epoll(7) refuses files that are always ready. `None` if the file's kind says
    /// it: regular files and directories are always ready.
    fn has_readiness(&self) -> Option<bool> {
        None
    }

    /// How long a blocking transfer may wait (socket timeouts); `None` is for ever.
    fn timeout(&self, direction: Direction) -> Option<Duration> {
        let _ = direction;
        None
    }

    /// A blocking read that waits for something else than poll(2) does (VMIN and VTIME of a terminal), and so waits by
    /// itself. `None`: `fs::io` waits, as for nearly all files.
    fn read_patiently(&self, thread: &Thread, dst: &mut IovDest<'_>) -> Option<Result<usize>> {
        let _ = (thread, dst);
        None
    }

    /// Whether a write that fails with EPIPE raises SIGPIPE: pipes and streams, but no sockets with messages.
    fn raises_sigpipe(&self) -> bool {
        true
    }

    /// A device's own call (ioctl(2)); ENOTTY for what it does not know. FIONBIO, FIOCLEX and their like are dealt with
    /// before this.
    fn ioctl(&self, thread: &Thread, file: &OpenFile, request: u32, arg: usize) -> Result<usize> {
        let _ = (thread, file, request, arg);
        Err(Errno::ENOTTY.into())
    }

    /// What an mmap(2) of this file maps. ENODEV if it cannot be mapped.
    fn map_source(&self, file: &OpenFile) -> Result<MapSource> {
        let _ = file;
        Err(Errno::ENODEV.because("this file cannot be mapped"))
    }

    /// Takes a message of the kernel's own (mq_notify(2), SIGEV_THREAD). EINVAL where none is taken.
    fn deliver(&self, message: &[u8]) -> Result<()> {
        let _ = message;
        Err(Errno::EINVAL.because("this file takes no messages from the kernel"))
    }

    /// Of a block device: its size in bytes, where lseek(2) with SEEK_END goes.
    fn device_size(&self) -> Option<u64> {
        None
    }

    /// Of a block device: brings what was written to stable storage (fsync(2)).
    fn sync_device(&self) -> Result<()> {
        Ok(())
    }

    /// Told when fcntl(F_SETFL) changed the status flags.
    fn flags_changed(&self, file: &OpenFile) {
        let _ = file;
    }

    /// Told on the close(2) of the last descriptor of this description; may wait, as SO_LINGER asks.
    fn linger(&self, thread: &Thread) {
        let _ = thread;
    }

    /// Told on every close(2) of a descriptor of this description, which may not be the last (POSIX locks, `flush`).
    fn closed_by(&self, thread: &Thread, file: &OpenFile) {
        let _ = (thread, file);
    }
}

impl dyn FileOps {
    /// This file as the concrete kind `T`, if that is what it is.
    pub fn downcast_ref<T: FileOps>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

/// An open file description.
pub struct OpenFile {
    ops: Arc<dyn FileOps>,
    flags: AtomicU32,
    offset: SpinLock<u64>,
    path: Option<super::Path>,
    has_readiness: bool,
    /// The epoll instances that watch it.
    watchers: SpinLock<Watchers>,
    /// Whom to signal when it becomes ready.
    signal_io: SpinLock<SignalIo>,
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        notify::closed(self);
        super::locks::description_dropped(self);
        let watchers = core::mem::take(self.watchers.get_mut());
        if !watchers.is_empty() {
            super::epoll::description_dropped(self, watchers);
        }
    }
}

impl OpenFile {
    /// A description of a file that has no name in any tree: a pipe, a socket, an eventfd.
    pub fn anonymous(ops: Arc<dyn FileOps>, flags: OpenFlags) -> Arc<Self> {
        Self::build(ops, flags, None)
    }

    /// A description of what `path` names. CREAT, EXCL, NOCTTY and TRUNC have had their effect and are dropped.
    pub fn opened(ops: Arc<dyn FileOps>, flags: OpenFlags, path: super::Path) -> Arc<Self> {
        Self::build(ops, flags, Some(path))
    }

    fn build(ops: Arc<dyn FileOps>, flags: OpenFlags, path: Option<super::Path>) -> Arc<Self> {
        // O_ASYNC cannot be set by open(2): it is set through a descriptor.
        let spent = OpenFlags::CREAT
            | OpenFlags::EXCL
            | OpenFlags::NOCTTY
            | OpenFlags::TRUNC
            | OpenFlags::CLOEXEC
            | OpenFlags::ASYNC;
        let kind = path.as_ref().map(|p| p.inode().kind());
        let by_kind = || !matches!(kind, Some(FileKind::Regular | FileKind::Directory | FileKind::BlockDevice));
        Arc::new(OpenFile {
            has_readiness: ops.has_readiness().unwrap_or_else(by_kind),
            ops,
            flags: AtomicU32::new((flags & !spent).bits()),
            offset: SpinLock::new(Rank::OpenFile, 0),
            path,
            watchers: SpinLock::new(Rank::OpenFile, Watchers::default()),
            signal_io: SpinLock::new(Rank::OpenFile, SignalIo::default()),
        })
    }

    pub(super) fn add_watcher(&self, epoll: Weak<Epoll>, fd: Fd) {
        self.watchers.lock().add(epoll, fd);
    }

    pub(super) fn remove_watcher(&self, epoll: &Weak<Epoll>, fd: Fd) {
        self.watchers.lock().remove(epoll, fd);
    }

    /// What the file does.
    pub fn ops(&self) -> &Arc<dyn FileOps> {
        &self.ops
    }

    /// Access mode and status flags.
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// Replaces the status flags that F_SETFL may change.
    pub fn set_status_flags(&self, new: OpenFlags) {
        let keep = self.flags() & !OpenFlags::SETTABLE;
        self.flags.store((keep | (new & OpenFlags::SETTABLE)).bits(), Ordering::Relaxed);
        self.ops.flags_changed(self);
    }

    pub(super) fn signal_io(&self) -> &SpinLock<SignalIo> {
        &self.signal_io
    }

    pub(super) fn store_async_flag(&self, on: bool) {
        let bit = OpenFlags::ASYNC.bits();
        if on {
            self.flags.fetch_or(bit, Ordering::Relaxed)
        } else {
            self.flags.fetch_and(!bit, Ordering::Relaxed)
        };
    }

    /// Whether O_NONBLOCK is set.
    pub fn nonblocking(&self) -> bool {
        self.flags().contains(OpenFlags::NONBLOCK)
    }

    /// The name it was opened by, if it has one.
    pub fn path(&self) -> Option<&super::Path> {
        self.path.as_ref()
    }

    /// The inode it was opened from, if it has one.
    pub fn inode(&self) -> Option<&Arc<dyn Inode>> {
        self.path.as_ref().map(|p| p.inode())
    }

    /// What fstat(2) reports.
    pub fn metadata(&self) -> Result<Metadata> {
        match self.inode() {
            Some(inode) => inode.metadata(),
            None => self.ops.metadata(),
        }
    }

    /// Whether it was opened with `O_PATH`.
    pub fn is_path_only(&self) -> bool {
        self.flags().contains(OpenFlags::PATH)
    }

    /// The offset, held for the length of one transfer, so that two transfers through one description do not interleave.
    pub fn offset(&self) -> SpinGuard<'_, u64> {
        self.offset.lock()
    }

    /// Reads once, without waiting; who watches the file hears of it.
    pub fn read(&self, dst: &mut IovDest<'_>, offset: Option<u64>) -> Result<usize> {
        let n = self.ops.read(self, dst, offset)?;
        if n > 0 {
            notify::accessed(self);
        }
        Ok(n)
    }

    /// Writes once, without waiting; who watches the file hears of it.
    pub fn write(&self, src: &mut IovSource<'_>, offset: Option<u64>) -> Result<usize> {
        let n = self.ops.write(self, src, offset)?;
        if n > 0 {
            notify::modified(self);
        }
        Ok(n)
    }

    /// Lists entries of an open directory from `cookie` on.
    pub fn list(&self, cookie: u64, sink: DirSink<'_>) -> Result<()> {
        self.ops.read_dir(self, cookie, sink)?;
        notify::accessed(self);
        Ok(())
    }

    /// Changes the allocation of a range (fallocate(2)).
    pub fn fallocate(&self, mode: FallocateMode, offset: u64, len: u64) -> Result<()> {
        self.inode().ok_or(Errno::ENODEV)?.fallocate(mode, offset, len)?;
        notify::modified(self);
        Ok(())
    }

    /// Whether it has any readiness to wait for: regular files are always ready.
    pub fn has_readiness(&self) -> bool {
        self.has_readiness
    }

    /// The present readiness.
    pub fn poll(&self, watch: &mut PollWatch<'_>) -> PollEvents {
        self.ops.poll(self, watch)
    }
}
