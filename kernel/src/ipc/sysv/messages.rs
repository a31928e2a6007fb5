//! Message queues (msgget(2), msgop(2), msgctl(2)).
//!
//! A queue is a list of typed messages. Senders wait for room and receivers for a message that they want, both on the
//! queue's wait queue: each change wakes all of them to look again. A queue that is removed is not found any more
//! (EIDRM).

use super::{NOWAIT, Object, Permissions, READ, Registry, WRITE, now};
use crate::error::{Errno, Result};
use crate::fs::poll::PollEvents;
use crate::sched::{WaitEnd, WaitQueue};
use crate::sync::{Rank, SpinLock};
use crate::task::{Capability, Credentials, Gid, Pid, Thread, Uid};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// `MSG_NOERROR`: a message that is too long is cut.
pub const NOERROR: i32 = 0o10000;
/// `MSG_EXCEPT`: any type but this.
pub const EXCEPT: i32 = 0o20000;
/// `MSG_COPY`: the message at an index, which stays.
pub const COPY: i32 = 0o40000;

/// The longest message, in bytes (`/proc/sys/kernel/msgmax`).
pub static MAX: AtomicU64 = AtomicU64::new(8192);
/// Bytes that a new queue takes (`/proc/sys/kernel/msgmnb`).
pub static QUEUE_BYTES: AtomicU64 = AtomicU64::new(16384);
/// Most queues (`/proc/sys/kernel/msgmni`).
pub static MOST: AtomicU64 = AtomicU64::new(32000);

/// A message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Above 0.
    pub kind: i64,
    /// Its text.
    pub text: Vec<u8>,
}

struct Queue {
    permissions: Permissions,
    messages: VecDeque<Message>,
    bytes: u64,
    /// `msg_qbytes`.
    limit: u64,
    /// Seconds of the wall clock; 0 for never.
    sent: i64,
    received: i64,
    changed: i64,
    last_sender: Pid,
    last_receiver: Pid,
    changes: Arc<WaitQueue>,
}

impl Object for Queue {
    fn permissions(&self) -> &Permissions {
        &self.permissions
    }
}

static QUEUES: SpinLock<Registry<Queue>> = SpinLock::new(Rank::SysvIpc, Registry::new());

/// What msgctl(2) tells of a queue (`struct msqid_ds`).
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Status {
    pub id: i32,
    pub permissions: Permissions,
    pub sent: i64,
    pub received: i64,
    pub changed: i64,
    pub bytes: u64,
    pub messages: usize,
    pub limit: u64,
    pub last_sender: Pid,
    pub last_receiver: Pid,
}

/// Which message a receiver wants (msgrcv(2)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// The first.
    Any,
    /// The first of this type.
    Kind(i64),
    /// The first of any other type.
    NotKind(i64),
    /// The first of the lowest type that is not above this.
    Lowest(i64),
    /// A copy of the one at this index.
    CopyOf(usize),
}

impl Want {
    /// From the type and flags of msgrcv(2).
    pub fn new(kind: i64, flags: i32) -> Self {
        match kind {
            _ if flags & COPY != 0 => Want::CopyOf(usize::try_from(kind).unwrap_or(usize::MAX)),
            0 => Want::Any,
            n if n < 0 => Want::Lowest(n.checked_neg().unwrap_or(i64::MAX)),
            n if flags & EXCEPT != 0 => Want::NotKind(n),
            n => Want::Kind(n),
        }
    }

    fn position(self, messages: &VecDeque<Message>) -> Option<usize> {
        let kinds = || messages.iter().map(|m| m.kind);
        match self {
            Want::Any => (!messages.is_empty()).then_some(0),
            Want::Kind(k) => kinds().position(|m| m == k),
            Want::NotKind(k) => kinds().position(|m| m != k),
            Want::Lowest(most) => {
                let lowest = kinds().filter(|&m| m <= most).min()?;
                kinds().position(|m| m == lowest)
            }
            Want::CopyOf(index) => (index < messages.len()).then_some(index),
        }
    }
}

impl Queue {
    fn status(&self, id: i32) -> Status {
        Status {
            id,
            permissions: self.permissions,
            sent: self.sent,
            received: self.received,
            changed: self.changed,
            bytes: self.bytes,
            messages: self.messages.len(),
            limit: self.limit,
            last_sender: self.last_sender,
            last_receiver: self.last_receiver,
        }
    }

    /// Appends a message if there is room.
    fn put(&mut self, message: &Message, pid: Pid) -> bool {
        let len = message.text.len() as u64;
        if self.bytes + len > self.limit || self.messages.len() as u64 + 1 > self.limit {
            return false;
        }
        self.messages.push_back(message.clone());
        self.bytes += len;
        (self.last_sender, self.sent) = (pid, now());
        self.changes.wake(PollEvents::all());
        true
    }

    /// Takes the message that is wanted, cut to `max` bytes with `cut`. `None` if there is none; E2BIG if it is longer.
    fn take(&mut self, want: Want, max: usize, cut: bool, pid: Pid) -> Option<Result<Message>> {
        let at = want.position(&self.messages)?;
        if self.messages[at].text.len() > max && !cut {
            return Some(Err(Errno::E2BIG.because("the message is longer than the buffer")));
        }
        let mut message = match want {
            Want::CopyOf(_) => self.messages[at].clone(),
            _ => {
                let message = self.messages.remove(at)?;
                self.bytes -= message.text.len() as u64;
                (self.last_receiver, self.received) = (pid, now());
                self.changes.wake(PollEvents::all());
                message
            }
        };
        message.text.truncate(max);
        Some(Ok(message))
    }
}

/// msgget(2)
pub fn get(key: i32, flags: i32, who: &Credentials) -> Result<i32> {
    let make = |_| {
        Ok(Queue {
            permissions: Permissions::new(key, flags, who),
            messages: VecDeque::new(),
            bytes: 0,
            limit: QUEUE_BYTES.load(Ordering::Relaxed),
            sent: 0,
            received: 0,
            changed: now(),
            last_sender: Pid(0),
            last_receiver: Pid(0),
            changes: Arc::new(WaitQueue::new()),
        })
    };
    QUEUES.lock().get_or_add(key, flags, who, MOST.load(Ordering::Relaxed), |_| Ok(()), make)
}

/// The queue's changes, after a look at whether `who` may do what `want` says.
fn admit(id: i32, who: &Credentials, want: i32) -> Result<Arc<WaitQueue>> {
    let mut queues = QUEUES.lock();
    let queue = queues.get(id)?;
    queue.permissions.check(who, want)?;
    Ok(queue.changes.clone())
}

/// Repeats `attempt` on a queue until it gives something. EIDRM if the queue is removed meanwhile, `empty` at once with
/// IPC_NOWAIT, and ERESTARTNOHAND for a signal.
fn wait_for<R>(
    t: &Thread,
    id: i32,
    want: i32,
    nowait: Option<Errno>,
    mut attempt: impl FnMut(&mut Queue) -> Option<Result<R>>,
) -> Result<R> {
    let who = t.credentials();
    let changes = admit(id, &who, want)?;
    let mut look = || match QUEUES.lock().get(id) {
        Ok(queue) => match queue.permissions.check(&who, want) {
            Ok(()) => attempt(queue),
            Err(e) => Some(Err(e)),
        },
        Err(_) => Some(Err(Errno::EIDRM.because("the queue was removed"))),
    };
    if let Some(errno) = nowait {
        return look().unwrap_or(Err(errno.into()));
    }
    match changes.wait(&t.arc(), None, look) {
        Ok(found) => found,
        Err(WaitEnd::Interrupted | WaitEnd::TimedOut) => Err(Errno::ERESTARTNOHAND.into()),
    }
}

/// msgsnd(2)
pub fn send(t: &Thread, id: i32, message: &Message, flags: i32) -> Result<()> {
    let pid = t.process().pid();
    let nowait = (flags & NOWAIT != 0).then_some(Errno::EAGAIN);
    wait_for(t, id, WRITE, nowait, |queue| queue.put(message, pid).then_some(Ok(())))
}

/// msgrcv(2)
pub fn receive(t: &Thread, id: i32, want: Want, max: usize, flags: i32) -> Result<Message> {
    let pid = t.process().pid();
    let nowait = (flags & NOWAIT != 0).then_some(Errno::ENOMSG);
    wait_for(t, id, READ, nowait, |queue| queue.take(want, max, flags & NOERROR != 0, pid))
}

/// IPC_STAT.
pub fn status(id: i32, who: &Credentials) -> Result<Status> {
    let mut queues = QUEUES.lock();
    let queue = queues.get(id)?;
    queue.permissions.check(who, READ)?;
    Ok(queue.status(id))
}

/// MSG_STAT, and MSG_STAT_ANY if `who` is not given: by index.
pub fn status_at(index: i32, who: Option<&Credentials>) -> Result<Status> {
    let mut queues = QUEUES.lock();
    let id = queues.id_at(index)?;
    let queue = queues.get(id)?;
    if let Some(who) = who {
        queue.permissions.check(who, READ)?;
    }
    Ok(queue.status(id))
}

/// All queues, for `/proc/sysvipc/msg`.
pub fn list() -> Vec<Status> {
    QUEUES.lock().iter().map(|(id, q)| q.status(id)).collect()
}

/// The highest index in use (IPC_INFO, MSG_INFO).
pub fn highest_index() -> u32 {
    QUEUES.lock().highest_index()
}

/// IPC_RMID: whoever waits is told (EIDRM).
pub fn remove(id: i32, who: &Credentials) -> Result<()> {
    let removed = {
        let mut queues = QUEUES.lock();
        queues.get(id)?.permissions.check_owner(who)?;
        queues.remove(id)
    };
    if let Some(queue) = removed {
        queue.changes.wake(PollEvents::all());
    }
    Ok(())
}

/// IPC_SET. Above `msgmnb` a limit needs CAP_SYS_RESOURCE.
pub fn change(id: i32, uid: Uid, gid: Gid, mode: u32, limit: u64, who: &Credentials) -> Result<()> {
    let mut queues = QUEUES.lock();
    let queue = queues.get(id)?;
    queue.permissions.check_owner(who)?;
    if limit > QUEUE_BYTES.load(Ordering::Relaxed) && !who.capable(Capability::SysResource) {
        return Err(Errno::EPERM.because("msgmnb"));
    }
    queue.permissions.change(uid, gid, mode)?;
    queue.limit = limit;
    queue.changed = now();
    // There may be room now, and permissions may have gone.
    queue.changes.wake(PollEvents::all());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(kinds: &[i64]) -> VecDeque<Message> {
        kinds.iter().map(|&kind| Message { kind, text: Vec::new() }).collect()
    }

    #[test]
    fn the_wanted_message_is_found_as_msgrcv_2_says() {
        let q = messages(&[5, 3, 7, 3]);
        assert_eq!(Want::new(0, 0).position(&q), Some(0));
        assert_eq!(Want::new(7, 0).position(&q), Some(2));
        assert_eq!(Want::new(5, EXCEPT).position(&q), Some(1));
        assert_eq!(Want::new(-6, 0).position(&q), Some(1), "the lowest type, and of it the first");
        assert_eq!(Want::new(-2, 0).position(&q), None);
        assert_eq!(Want::new(i64::MIN, 0).position(&q), Some(1));
        assert_eq!(Want::new(3, COPY).position(&q), Some(3));
        assert_eq!(Want::new(4, COPY).position(&q), None);
        assert_eq!(Want::new(9, 0).position(&q), None);
    }
}
