//! Pipes (pipe(7)): a bounded queue of bytes with a reading and a writing side.
//!
//! Bytes stand in pages; a page is allocated when it is written and kept for reuse while the pipe lives. Writes of up
//! to PIPE_BUF bytes are atomic: they wait until all of them fit. The ends count their openers; the last writer's close
//! is the reader's end of file, the last reader's makes writers fail with EPIPE. A FIFO (fifo(7)) is a pipe found by
//! its inode (`fifo`).

use super::dentry::Path;
use super::file::{FileOps, OpenFile, OpenFlags};
use super::inode::{FileKind, Inode, InodeId, Metadata, SetAttributes};
use super::mount;
use super::poll::{PollEvents, PollWatch};
use crate::abi::PAGE_SIZE;
use crate::error::{Errno, Result};
use crate::mm::{IovDest, IovSource, UserPtr};
use crate::sched::WaitQueue;
use crate::sync::{Rank, SpinLock};
use crate::task::Thread;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

/// A write of at most this many bytes is not split (pipe(7)).
pub const PIPE_BUF: usize = 4096;
/// Bytes in a new pipe.
pub const DEFAULT_CAPACITY: usize = 16 * PAGE_SIZE;
/// The most that an unprivileged F_SETPIPE_SZ gives (`/proc/sys/fs/pipe-max-size`).
pub const MAX_CAPACITY: usize = 1 << 20;

struct Page {
    bytes: Box<[u8; PAGE_SIZE]>,
    start: usize,
    end: usize,
    /// Whether later writes may fill it up; false for a packet (`O_DIRECT`).
    mergeable: bool,
}

struct Ring {
    pages: VecDeque<Page>,
    spare: Option<Box<[u8; PAGE_SIZE]>>,
    bytes: usize,
    /// In pages.
    capacity: usize,
    readers: usize,
    writers: usize,
}

impl Ring {
    fn page(&mut self) -> Box<[u8; PAGE_SIZE]> {
        self.spare.take().unwrap_or_else(|| Box::new([0; PAGE_SIZE]))
    }

    /// Bytes that a write can add.
    fn room(&self, packet: bool) -> usize {
        let fresh = self.capacity.saturating_sub(self.pages.len()) * PAGE_SIZE;
        let tail = match self.pages.back() {
            Some(p) if !packet && p.mergeable => PAGE_SIZE - p.end,
            _ => 0,
        };
        fresh + tail
    }

    fn push(&mut self, src: &mut IovSource<'_>, packet: bool) -> Result<usize> {
        let mut done = 0;
        while !src.is_empty() && self.room(packet) > 0 {
            if packet || self.pages.back().is_none_or(|p| !p.mergeable || p.end == PAGE_SIZE) {
                let bytes = self.page();
                self.pages.push_back(Page { bytes, start: 0, end: 0, mergeable: !packet });
            }
            let Some(page) = self.pages.back_mut() else { break };
            let step = src.take(&mut page.bytes[page.end..]);
            if let Ok(n) = step {
                page.end += n;
                done += n;
                self.bytes += n;
            }
            if page.start == page.end
                && let Some(p) = self.pages.pop_back()
            {
                self.spare = Some(p.bytes);
            }
            match step {
                Ok(_) => {}
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn pop(&mut self, dst: &mut IovDest<'_>) -> Result<usize> {
        let mut done = 0;
        while !dst.is_empty() {
            let Some(page) = self.pages.front_mut() else { break };
            let n = match dst.put(&page.bytes[page.start..page.end]) {
                Ok(n) => n,
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
            };
            page.start += n;
            done += n;
            self.bytes -= n;
            // A packet that was not read whole loses its rest (pipe(2), O_DIRECT).
            let packet = !page.mergeable;
            if page.start == page.end || packet {
                self.bytes -= page.end - page.start;
                if let Some(p) = self.pages.pop_front() {
                    self.spare = Some(p.bytes);
                }
            }
            if packet {
                break;
            }
        }
        Ok(done)
    }
}

/// The queue between the two ends.
pub struct Pipe {
    id: InodeId,
    ring: SpinLock<Ring>,
    readable: Arc<WaitQueue>,
    writable: Arc<WaitQueue>,
    /// How often each side was opened, for FIFO openers that wait for the other side.
    reader_openings: AtomicU64,
    writer_openings: AtomicU64,
}

impl Pipe {
    /// An empty pipe that nobody has open.
    pub fn new(id: InodeId) -> Arc<Self> {
        let ring = Ring {
            pages: VecDeque::new(),
            spare: None,
            bytes: 0,
            capacity: DEFAULT_CAPACITY / PAGE_SIZE,
            readers: 0,
            writers: 0,
        };
        Arc::new(Pipe {
            id,
            ring: SpinLock::new(Rank::Pipe, ring),
            readable: Arc::new(WaitQueue::new()),
            writable: Arc::new(WaitQueue::new()),
            reader_openings: AtomicU64::new(0),
            writer_openings: AtomicU64::new(0),
        })
    }

    /// Bytes that wait to be read.
    pub fn len(&self) -> usize {
        self.ring.lock().bytes
    }

    /// Whether nothing waits to be read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// In bytes (F_GETPIPE_SZ).
    pub fn capacity(&self) -> usize {
        self.ring.lock().capacity * PAGE_SIZE
    }

    /// Changes the capacity (F_SETPIPE_SZ); returns what it became. EBUSY if more than that is in it.
    pub fn set_capacity(&self, bytes: usize) -> Result<usize> {
        let pages = bytes.max(1).div_ceil(PAGE_SIZE).next_power_of_two();
        let mut ring = self.ring.lock();
        if pages < ring.pages.len() {
            return Err(Errno::EBUSY.because("the pipe holds more than its new size"));
        }
        ring.capacity = pages;
        drop(ring);
        self.writable.wake(PollEvents::WRITABLE);
        Ok(pages * PAGE_SIZE)
    }

    /// Where readers wait.
    pub fn readable(&self) -> &Arc<WaitQueue> {
        &self.readable
    }

    /// Where writers wait.
    pub fn writable(&self) -> &Arc<WaitQueue> {
        &self.writable
    }

    /// How often the reading and the writing side have been opened, ever.
    pub(super) fn openings(&self) -> (u64, u64) {
        (self.reader_openings.load(Ordering::Relaxed), self.writer_openings.load(Ordering::Relaxed))
    }

    /// How many have the reading and the writing side open.
    pub(super) fn openers(&self) -> (usize, usize) {
        let ring = self.ring.lock();
        (ring.readers, ring.writers)
    }

    /// Takes bytes out. 0 if there are none and no writer is left; EAGAIN if there are none.
    pub fn read(&self, dst: &mut IovDest<'_>) -> Result<usize> {
        if dst.is_empty() {
            return Ok(0);
        }
        let mut ring = self.ring.lock();
        if ring.bytes == 0 {
            return if ring.writers == 0 { Ok(0) } else { Err(Errno::EAGAIN.into()) };
        }
        let n = ring.pop(dst)?;
        let space = ring.pages.len() < ring.capacity;
        drop(ring);
        if space {
            self.writable.wake(PollEvents::WRITABLE);
        }
        Ok(n)
    }

    /// Puts bytes in. EPIPE if no reader is left; EAGAIN if there is no room, or not for all of an atomic write.
    pub fn write(&self, src: &mut IovSource<'_>, packet: bool) -> Result<usize> {
        let len = src.remaining();
        // As Linux: writing nothing is fine even where nobody reads.
        if len == 0 {
            return Ok(0);
        }
        let mut ring = self.ring.lock();
        if ring.readers == 0 {
            return Err(Errno::EPIPE.into());
        }
        let room = ring.room(packet);
        if room == 0 || (len <= PIPE_BUF && room < len) {
            return Err(Errno::EAGAIN.into());
        }
        let n = ring.push(src, packet)?;
        drop(ring);
        self.readable.wake(PollEvents::READABLE);
        Ok(n)
    }

    /// A copy of the first bytes, at most `len`, which stay. Empty if there are none and no writer is left; EAGAIN if
    /// there are none.
    pub fn peek(&self, len: usize) -> Result<alloc::vec::Vec<u8>> {
        let ring = self.ring.lock();
        if ring.bytes == 0 {
            return if ring.writers == 0 { Ok(alloc::vec::Vec::new()) } else { Err(Errno::EAGAIN.into()) };
        }
        let mut copy = alloc::vec::Vec::with_capacity(len.min(ring.bytes));
        for page in &ring.pages {
            let n = (page.end - page.start).min(len - copy.len());
            copy.extend_from_slice(&page.bytes[page.start..page.start + n]);
        }
        Ok(copy)
    }

    /// Takes the first `n` bytes out, which were seen by [`Pipe::peek`].
    pub fn consume(&self, n: usize) {
        let mut ring = self.ring.lock();
        let mut left = n.min(ring.bytes);
        ring.bytes -= left;
        while let Some(page) = ring.pages.front_mut() {
            let step = left.min(page.end - page.start);
            page.start += step;
            left -= step;
            if page.start < page.end {
                break;
            }
            if let Some(p) = ring.pages.pop_front() {
                ring.spare = Some(p.bytes);
            }
        }
        drop(ring);
        self.writable.wake(PollEvents::WRITABLE);
    }

    /// Bytes that a write of any length can put in, not 0. EPIPE if no reader is left; EAGAIN if there is no room.
    pub fn room_for_splice(&self) -> Result<usize> {
        let ring = self.ring.lock();
        if ring.readers == 0 {
            return Err(Errno::EPIPE.into());
        }
        match ring.room(false) {
            0 => Err(Errno::EAGAIN.into()),
            room => Ok(room),
        }
    }

    /// Copies up to `len` bytes from this pipe to another (tee(2)), which keeps them here; EAGAIN as reads and writes.
    pub fn tee(&self, to: &Pipe, len: usize) -> Result<usize> {
        let room = to.room_for_splice()?;
        let copy = self.peek(len.min(room))?;
        to.write(&mut IovSource::kernel(&copy), false)
    }
}

/// One end of a pipe, or both (a FIFO opened with O_RDWR).
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
}

impl PipeEnd {
    /// Opens an end.
    pub(super) fn open(pipe: &Arc<Pipe>, reads: bool, writes: bool) -> Arc<Self> {
        {
            let mut ring = pipe.ring.lock();
            ring.readers += usize::from(reads);
            ring.writers += usize::from(writes);
        }
        pipe.reader_openings.fetch_add(u64::from(reads), Ordering::Relaxed);
        pipe.writer_openings.fetch_add(u64::from(writes), Ordering::Relaxed);
        // Whoever waits for the other side to be opened waits on these.
        pipe.readable.wake(PollEvents::READABLE | PollEvents::WRITABLE);
        pipe.writable.wake(PollEvents::READABLE | PollEvents::WRITABLE);
        Arc::new(PipeEnd { pipe: pipe.clone(), reads, writes })
    }

    /// Which sides this is: reading, writing.
    pub(super) fn sides(&self) -> (bool, bool) {
        (self.reads, self.writes)
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let (no_readers, no_writers) = {
            let mut ring = self.pipe.ring.lock();
            ring.readers -= usize::from(self.reads);
            ring.writers -= usize::from(self.writes);
            (self.reads && ring.readers == 0, self.writes && ring.writers == 0)
        };
        if no_writers {
            self.pipe.readable.wake(PollEvents::READABLE | PollEvents::HUP);
        }
        if no_readers {
            self.pipe.writable.wake(PollEvents::WRITABLE | PollEvents::ERR);
        }
    }
}

impl FileOps for PipeEnd {
    fn read(&self, _file: &OpenFile, dst: &mut IovDest<'_>, _offset: Option<u64>) -> Result<usize> {
        self.pipe.read(dst)
    }

    fn write(&self, file: &OpenFile, src: &mut IovSource<'_>, _offset: Option<u64>) -> Result<usize> {
        self.pipe.write(src, file.flags().contains(OpenFlags::DIRECT))
    }

    fn poll(&self, _file: &OpenFile, watch: &mut PollWatch<'_>) -> PollEvents {
        if self.reads {
            watch.watch(&self.pipe.readable);
        }
        if self.writes {
            watch.watch(&self.pipe.writable);
        }
        let ring = self.pipe.ring.lock();
        let mut events = PollEvents::empty();
        if self.reads {
            if ring.bytes > 0 {
                events |= PollEvents::READABLE;
            }
            if ring.writers == 0 && self.pipe.writer_openings.load(Ordering::Relaxed) > 0 {
                events |= PollEvents::HUP;
            }
        }
        if self.writes {
            if ring.readers == 0 {
                events |= PollEvents::ERR;
            }
            // As Linux: writable means that PIPE_BUF bytes fit.
            if ring.pages.len() < ring.capacity {
                events |= PollEvents::WRITABLE;
            }
        }
        events
    }

    fn ioctl(&self, _thread: &Thread, _file: &OpenFile, request: u32, arg: usize) -> Result<usize> {
        if request == crate::abi::ioctl::FIONREAD {
            UserPtr::<i32>::new(arg).write(i32::try_from(self.pipe.len()).unwrap_or(i32::MAX))?;
            return Ok(0);
        }
        Err(Errno::ENOTTY.into())
    }

    fn pipe(&self) -> Option<&Arc<Pipe>> {
        Some(&self.pipe)
    }

    fn label(&self) -> String {
        alloc::format!("pipe:[{}]", self.pipe.id.ino)
    }
}

/// The inode of a pipe that has no name, for fstat(2) and for `/proc/self/fd`.
pub struct PipeInode {
    pipe: Arc<Pipe>,
    meta: SpinLock<Metadata>,
}

impl PipeInode {
    /// The pipe.
    pub(super) fn pipe(&self) -> &Arc<Pipe> {
        &self.pipe
    }
}

impl Inode for PipeInode {
    fn kind(&self) -> FileKind {
        FileKind::Fifo
    }

    fn id(&self) -> InodeId {
        self.pipe.id
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(*self.meta.lock())
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        let mut meta = self.meta.lock();
        meta.mode = change.mode.unwrap_or(meta.mode);
        meta.uid = change.uid.unwrap_or(meta.uid);
        meta.gid = change.gid.unwrap_or(meta.gid);
        Ok(())
    }
}

/// Makes a pipe; returns the reading and the writing end (pipe2(2)). `flags` may hold NONBLOCK and DIRECT.
pub fn create(who: &crate::task::Credentials, flags: OpenFlags) -> (Arc<OpenFile>, Arc<OpenFile>) {
    let id = mount::internal_id();
    let pipe = Pipe::new(id);
    let meta = Metadata { uid: who.fsuid, gid: who.fsgid, ..Metadata::new(id, FileKind::Fifo, 0o600) };
    let inode = Arc::new(PipeInode { pipe: pipe.clone(), meta: SpinLock::new(Rank::Inode, meta) });
    let path = Path::detached(inode, alloc::format!("pipe:[{}]", id.ino).as_bytes());
    let status = flags & (OpenFlags::NONBLOCK | OpenFlags::DIRECT);
    let read = OpenFile::opened(PipeEnd::open(&pipe, true, false), status, path.clone());
    let write = OpenFile::opened(PipeEnd::open(&pipe, false, true), status | OpenFlags::WRONLY, path);
    (read, write)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Credentials;

    fn pair() -> (Arc<OpenFile>, Arc<OpenFile>) {
        create(&Credentials::root(), OpenFlags::NONBLOCK)
    }

    fn put(file: &OpenFile, bytes: &[u8]) -> Result<usize> {
        file.ops().write(file, &mut IovSource::kernel(bytes), None)
    }

    fn get(file: &OpenFile, n: usize) -> Result<alloc::vec::Vec<u8>> {
        let mut buf = alloc::vec![0; n];
        let got = file.ops().read(file, &mut IovDest::kernel(&mut buf), None)?;
        buf.truncate(got);
        Ok(buf)
    }

    #[test]
    fn bytes_come_out_in_order_across_pages() {
        let (r, w) = pair();
        let data: alloc::vec::Vec<u8> = (0..10_000u32).map(|i| i as u8).collect();
        assert_eq!(put(&w, &data[..3000]).unwrap(), 3000);
        assert_eq!(put(&w, &data[3000..]).unwrap(), 7000);
        let mut all = get(&r, 1234).unwrap();
        all.extend(get(&r, 99_999).unwrap());
        assert_eq!(all, data);
        assert_eq!(get(&r, 1).unwrap_err().errno(), Errno::EAGAIN);
    }

    #[test]
    fn small_writes_are_not_split_and_large_ones_fill_up() {
        let (r, w) = pair();
        assert_eq!(put(&w, &[1; DEFAULT_CAPACITY + 5]).unwrap(), DEFAULT_CAPACITY);
        assert_eq!(put(&w, &[2]).unwrap_err().errno(), Errno::EAGAIN);
        get(&r, 4096).unwrap();
        // One page is free: PIPE_BUF bytes fit, and then nothing more.
        assert_eq!(put(&w, &[3; PIPE_BUF]).unwrap(), PIPE_BUF);
        get(&r, 4000).unwrap();
        assert_eq!(put(&w, &[4; 10]).unwrap_err().errno(), Errno::EAGAIN);
    }

    #[test]
    fn the_ends_hear_of_each_others_close() {
        let (r, w) = pair();
        put(&w, b"last").unwrap();
        drop(w);
        assert_eq!(r.poll(&mut PollWatch::look()), PollEvents::READABLE | PollEvents::HUP);
        assert_eq!(get(&r, 10).unwrap(), b"last");
        assert_eq!(get(&r, 10).unwrap(), b"");
        let (r, w) = pair();
        drop(r);
        assert!(w.poll(&mut PollWatch::look()).contains(PollEvents::ERR));
        assert_eq!(put(&w, b"x").unwrap_err().errno(), Errno::EPIPE);
    }

    #[test]
    fn packets_keep_their_borders() {
        let (r, w) = create(&Credentials::root(), OpenFlags::NONBLOCK | OpenFlags::DIRECT);
        put(&w, b"one").unwrap();
        put(&w, b"three").unwrap();
        assert_eq!(get(&r, 100).unwrap(), b"one");
        assert_eq!(get(&r, 2).unwrap(), b"th");
        assert_eq!(get(&r, 100).unwrap_err().errno(), Errno::EAGAIN);
    }

    #[test]
    fn what_was_peeked_is_consumed_in_part() {
        let (r, w) = pair();
        let pipe = r.ops().pipe().unwrap();
        put(&w, &[1; 5000]).unwrap();
        put(&w, &[2; 10]).unwrap();
        assert_eq!(pipe.peek(9999).unwrap().len(), 5010);
        pipe.consume(4999);
        assert_eq!(get(&r, 99).unwrap(), [[1].as_slice(), &[2; 10]].concat());
        let (r2, w2) = pair();
        put(&w, b"both").unwrap();
        assert_eq!(pipe.tee(w2.ops().pipe().unwrap(), 3).unwrap(), 3);
        assert_eq!((get(&r2, 9).unwrap(), get(&r, 9).unwrap()), (b"bot".to_vec(), b"both".to_vec()));
    }

    #[test]
    fn the_size_changes_in_powers_of_two_pages() {
        let (_, w) = pair();
        let pipe = w.ops().pipe().unwrap();
        assert_eq!(pipe.set_capacity(5000).unwrap(), 8192);
        assert_eq!(pipe.capacity(), 8192);
    }
}
