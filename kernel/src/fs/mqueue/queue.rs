//! A queue: messages by priority, who waits for them, and who wants to be told.
//!
//! Senders and receivers look at the queue under its lock and wait on one wait queue, as poll(2) does. A notification
//! (mq_notify(2)) is for a message that comes into the empty queue while nobody waits to receive one; it is used up by
//! that, and goes when its process closes the queue or ends.

use crate::error::{Errno, Result};
use crate::fs::file::{FileOps, OpenFile, OpenFlags};
use crate::fs::inode::{FileKind, Inode, InodeId, Metadata, SetAttributes, Timestamp};
use crate::fs::poll::{PollEvents, PollWatch};
use crate::mm::{IovDest, IovSource};
use crate::sched::{WaitEnd, WaitQueue};
use crate::signal::{self, SI_MESGQ, SigInfo, Signal};
use crate::sync::{Rank, SpinLock};
use crate::task::{Process, Thread, Uid};
use crate::time::Instant;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

/// Size that stat(2) shows (`FILENT_SIZE`).
const SHOWN_SIZE: u64 = 80;
/// Bytes of the cookie with which SIGEV_THREAD is told (`NOTIFY_COOKIE_LEN`).
pub const COOKIE_LEN: usize = 32;
/// Last byte of the cookie: a message came.
const WOKEN_UP: u8 = 1;
/// Last byte of the cookie: the notification was removed.
const REMOVED: u8 = 2;

/// What a queue is made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attributes {
    /// Most messages (`mq_maxmsg`).
    pub max_messages: u64,
    /// The longest message, in bytes (`mq_msgsize`).
    pub message_size: u64,
}

/// How somebody wants to be told (`sigev_notify`).
#[derive(Clone)]
pub enum Notify {
    /// Not at all, but nobody else is to be, either (SIGEV_NONE).
    Nothing,
    /// By a signal with this value (SIGEV_SIGNAL).
    Signal(Signal, u64),
    /// By a datagram to a netlink socket of the C library's (SIGEV_THREAD).
    Socket(Arc<OpenFile>, [u8; COOKIE_LEN]),
}

/// A registered wish to be told.
pub struct Notification {
    owner: Weak<Process>,
    how: Notify,
}

impl Notification {
    fn is_of(&self, process: &Arc<Process>) -> bool {
        core::ptr::eq(self.owner.as_ptr(), Arc::as_ptr(process))
    }

    fn tell(&self, sender: &Thread) {
        let Some(owner) = self.owner.upgrade() else { return };
        match &self.how {
            Notify::Nothing => {}
            Notify::Signal(signal, value) => {
                let (pid, uid) = signal::sender(sender);
                // A full queue loses the signal, as it does on Linux.
                let info = SigInfo::queued(*signal, SI_MESGQ, pid, uid, *value);
                let _ = signal::send_to_process(&owner, *signal, info);
            }
            Notify::Socket(..) => self.tell_socket(WOKEN_UP),
        }
    }

    fn tell_socket(&self, code: u8) {
        if let Notify::Socket(socket, cookie) = &self.how {
            let mut bytes = *cookie;
            bytes[COOKIE_LEN - 1] = code;
            // A socket that takes nothing any more has nobody behind it.
            let _ = socket.ops().deliver(&bytes);
        }
    }
}

struct State {
    meta: Metadata,
    /// By falling priority, then by arrival.
    messages: BTreeMap<(u32, u64), Vec<u8>>,
    arrivals: u64,
    bytes: u64,
    /// Threads that wait to receive.
    receivers: usize,
    notification: Option<Notification>,
}

/// A queue. As an open file it is its own [`FileOps`].
pub struct MessageQueue {
    id: InodeId,
    attributes: Attributes,
    maker: Uid,
    state: SpinLock<State>,
    changed: Arc<WaitQueue>,
}

/// Changes what chmod(2), chown(2) and utimensat(2) change. A size has no meaning here.
pub(super) fn apply(meta: &mut Metadata, change: &SetAttributes) {
    meta.mode = change.mode.unwrap_or(meta.mode);
    meta.uid = change.uid.unwrap_or(meta.uid);
    meta.gid = change.gid.unwrap_or(meta.gid);
    meta.atime = change.atime.unwrap_or(meta.atime);
    meta.mtime = change.mtime.unwrap_or(meta.mtime);
    meta.ctime = Timestamp::now();
}

/// Whether a process that registered is still there. Not to be asked under a queue's lock, which comes after processes'.
fn is_alive(owner: &Weak<Process>) -> bool {
    owner.upgrade().is_some_and(|p| p.exited().is_none())
}

impl State {
    fn put(&mut self, attributes: &Attributes, text: &[u8], priority: u32) -> bool {
        if self.messages.len() as u64 >= attributes.max_messages {
            return false;
        }
        self.messages.insert((u32::MAX - priority, self.arrivals), text.to_vec());
        self.arrivals += 1;
        self.bytes += text.len() as u64;
        self.meta.mtime = Timestamp::now();
        self.meta.ctime = self.meta.mtime;
        true
    }

    /// The oldest message of the highest priority, with that.
    fn take(&mut self) -> Option<(Vec<u8>, u32)> {
        let ((order, _), text) = self.messages.pop_first()?;
        self.bytes -= text.len() as u64;
        self.meta.atime = Timestamp::now();
        self.meta.ctime = self.meta.atime;
        Some((text, u32::MAX - order))
    }

    /// The notification if it is the process's, and removes it.
    fn remove_notification(&mut self, process: &Arc<Process>) -> Option<Notification> {
        if self.notification.as_ref().is_some_and(|n| n.is_of(process)) { self.notification.take() } else { None }
    }
}

/// How a wait for the queue ended without its wish (mq_send(3), mq_receive(3)).
fn refusal(end: WaitEnd) -> crate::error::Error {
    match end {
        WaitEnd::TimedOut => Errno::ETIMEDOUT.into(),
        WaitEnd::Interrupted => Errno::ERESTARTSYS.into(),
    }
}

impl MessageQueue {
    pub(super) fn new(meta: Metadata, attributes: Attributes, maker: Uid) -> Arc<Self> {
        let state = State {
            meta: Metadata { size: SHOWN_SIZE, ..meta },
            messages: BTreeMap::new(),
            arrivals: 0,
            bytes: 0,
            receivers: 0,
            notification: None,
        };
        let state = SpinLock::new(Rank::Pipe, state);
        Arc::new(MessageQueue { id: meta.id, attributes, maker, state, changed: Arc::new(WaitQueue::new()) })
    }

    /// Behind an open file. EBADF if that is something else.
    pub fn of(file: &OpenFile) -> Result<&MessageQueue> {
        file.ops().downcast_ref().ok_or_else(|| Errno::EBADF.because("not a message queue"))
    }

    /// What it was made with.
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// The user whose RLIMIT_MSGQUEUE it counts against.
    pub(super) fn maker(&self) -> Uid {
        self.maker
    }

    /// How many messages it has.
    pub fn len(&self) -> usize {
        self.state.lock().messages.len()
    }

    /// Whether it has no message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn unlinked(&self) {
        let mut state = self.state.lock();
        state.meta.nlink = 0;
        state.meta.ctime = Timestamp::now();
    }

    /// Sends a message, waiting for room. EMSGSIZE if it is too long, EAGAIN if it would wait and must not, ETIMEDOUT,
    /// ERESTARTSYS.
    pub fn send(&self, t: &Thread, text: &[u8], priority: u32, wait: Option<Option<Instant>>) -> Result<()> {
        if text.len() as u64 > self.attributes.message_size {
            return Err(Errno::EMSGSIZE.because("longer than mq_msgsize"));
        }
        if !self.try_put(t, text, priority) {
            let Some(deadline) = wait else { return Err(Errno::EAGAIN.because("the queue is full")) };
            self.changed.wait(&t.arc(), deadline, || self.try_put(t, text, priority).then_some(())).map_err(refusal)?;
        }
        self.changed.wake(PollEvents::READABLE);
        Ok(())
    }

    fn try_put(&self, t: &Thread, text: &[u8], priority: u32) -> bool {
        let notification = {
            let mut state = self.state.lock();
            let was_empty = state.messages.is_empty();
            if !state.put(&self.attributes, text, priority) {
                return false;
            }
            if was_empty && state.receivers == 0 { state.notification.take() } else { None }
        };
        if let Some(n) = notification {
            n.tell(t);
        }
        true
    }

    /// Receives the oldest message of the highest priority, waiting for one; returns it with its priority. EMSGSIZE if
    /// `room` is less than the longest message, EAGAIN, ETIMEDOUT, ERESTARTSYS.
    pub fn receive(&self, t: &Thread, room: usize, wait: Option<Option<Instant>>) -> Result<(Vec<u8>, u32)> {
        if (room as u64) < self.attributes.message_size {
            return Err(Errno::EMSGSIZE.because("the buffer is shorter than mq_msgsize"));
        }
        let at_once = self.state.lock().take();
        let taken = match (at_once, wait) {
            (Some(found), _) => found,
            (None, None) => return Err(Errno::EAGAIN.because("the queue is empty")),
            (None, Some(deadline)) => {
                self.state.lock().receivers += 1;
                let end = self.changed.wait(&t.arc(), deadline, || self.state.lock().take());
                self.state.lock().receivers -= 1;
                end.map_err(refusal)?
            }
        };
        self.changed.wake(PollEvents::WRITABLE);
        Ok(taken)
    }

    /// Registers the thread's process to be told. EBUSY if somebody is registered.
    pub fn notify(&self, t: &Thread, how: Notify) -> Result<()> {
        let registered = self.owner();
        if registered.as_ref().is_some_and(is_alive) {
            return Err(Errno::EBUSY.because("a process is registered already"));
        }
        let old = {
            let mut state = self.state.lock();
            // Somebody may have registered since the look.
            let present = state.notification.as_ref().map(|n| n.owner.clone());
            if present.is_some_and(|p| !registered.is_some_and(|r| r.ptr_eq(&p))) {
                return Err(Errno::EBUSY.because("a process is registered already"));
            }
            state.notification.replace(Notification { owner: Arc::downgrade(t.process()), how })
        };
        drop(old);
        Ok(())
    }

    /// Who is registered.
    fn owner(&self) -> Option<Weak<Process>> {
        self.state.lock().notification.as_ref().map(|n| n.owner.clone())
    }

    /// Ends the process's registration, if it has one.
    pub fn forget_notification(&self, t: &Thread) {
        let removed = self.state.lock().remove_notification(t.process());
        if let Some(n) = removed {
            n.tell_socket(REMOVED);
        }
    }
}

impl Inode for MessageQueue {
    fn kind(&self) -> FileKind {
        FileKind::Regular
    }

    fn id(&self) -> InodeId {
        self.id
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(self.state.lock().meta)
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        apply(&mut self.state.lock().meta, change);
        Ok(())
    }

    fn open(self: Arc<Self>, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(self)
    }
}

impl FileOps for MessageQueue {
    /// The queue's state as text (mq_overview(7)).
    fn read(&self, _file: &OpenFile, dst: &mut IovDest<'_>, offset: Option<u64>) -> Result<usize> {
        let (bytes, owner, how) = {
            let state = self.state.lock();
            let how = match state.notification.as_ref().map(|n| &n.how) {
                Some(Notify::Signal(signal, _)) => (0, signal.number()),
                Some(Notify::Nothing) => (1, 0),
                Some(Notify::Socket(..)) => (2, 0),
                None => (0, 0),
            };
            (state.bytes, state.notification.as_ref().map(|n| n.owner.clone()), how)
        };
        let pid = owner.filter(is_alive).and_then(|o| o.upgrade()).map(|p| p.pid().0);
        let (notify, signo) = if pid.is_some() { how } else { (0, 0) };
        let pid = pid.unwrap_or(0);
        let text = alloc::format!("QSIZE:{bytes:<10} NOTIFY:{notify:<5} SIGNO:{signo:<5} NOTIFY_PID:{pid:<6}\n");
        let at = usize::try_from(offset.unwrap_or(0)).unwrap_or(usize::MAX);
        dst.put(text.as_bytes().get(at..).unwrap_or_default())
    }

    fn write(&self, _file: &OpenFile, _src: &mut IovSource<'_>, _offset: Option<u64>) -> Result<usize> {
        Err(Errno::EINVAL.because("a message queue is written by mq_send"))
    }

    fn seekable(&self) -> bool {
        true
    }

    fn locks_offset(&self) -> bool {
        false
    }

    fn has_readiness(&self) -> Option<bool> {
        Some(true)
    }

    fn poll(&self, _file: &OpenFile, watch: &mut PollWatch<'_>) -> PollEvents {
        watch.watch(&self.changed);
        let count = self.len() as u64;
        let mut events = PollEvents::empty();
        events.set(PollEvents::READABLE, count > 0);
        events.set(PollEvents::WRITABLE, count < self.attributes.max_messages);
        events
    }

    fn closed_by(&self, thread: &Thread, _file: &OpenFile) {
        self.forget_notification(thread);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::inode::DeviceNumber;

    #[test]
    fn the_oldest_of_the_highest_priority_comes_first() {
        let id = InodeId { dev: DeviceNumber::new(0, 1), ino: 1 };
        let attributes = Attributes { max_messages: 3, message_size: 10 };
        let q = MessageQueue::new(Metadata::new(id, FileKind::Regular, 0o600), attributes, Uid(0));
        let mut s = q.state.lock();
        assert!(s.put(&attributes, b"a", 1) && s.put(&attributes, b"b", 5) && s.put(&attributes, b"c", 5));
        assert!(!s.put(&attributes, b"d", 9), "the queue is full");
        assert_eq!(s.bytes, 3);
        assert_eq!(s.take().unwrap(), (b"b".to_vec(), 5));
        assert_eq!(s.take().unwrap(), (b"c".to_vec(), 5));
        assert_eq!(s.take().unwrap(), (b"a".to_vec(), 1));
        assert!(s.take().is_none() && s.bytes == 0);
    }
}
