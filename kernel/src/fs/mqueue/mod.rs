//! POSIX message queues (mq_overview(7)): a file system whose files are queues.
//!
//! There is one such file system, whether or not it is mounted: mq_open(2) looks names up in its root directory, and a
//! mount of type `mqueue` shows the same directory. A queue lives as long as it has a name or an open description. What
//! a queue does is in `queue`.

mod queue;

pub use queue::{Attributes, MessageQueue, Notification, Notify};

use super::file::{FileOps, OpenFile, OpenFlags};
use super::inode::{
    DeviceNumber, DirEntry, DirSink, FileKind, FileSystem, FsStat, Inode, InodeId, Metadata, NewInode, NewKind,
    SetAttributes, Timestamp, list_dots,
};
use crate::error::{Errno, Result};
use crate::sync::{Once, Rank, SpinLock};
use crate::task::{Capability, Credentials, INFINITY, Uid};
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// `MQUEUE_MAGIC` of statfs(2).
const MAGIC: u64 = 0x1980_0202;
/// The directory's inode number; queues have higher ones, which are also their cookies.
const ROOT_INO: u64 = 16;

/// Most queues (`/proc/sys/fs/mqueue/queues_max`).
pub static QUEUES_MAX: AtomicU64 = AtomicU64::new(256);
/// Most messages in a queue that an ordinary user makes, and in one that is made without attributes.
pub static MSG_MAX: AtomicU64 = AtomicU64::new(10);
/// As above, if nothing is asked for.
pub static MSG_DEFAULT: AtomicU64 = AtomicU64::new(10);
/// The longest message in a queue that an ordinary user makes, in bytes.
pub static MSGSIZE_MAX: AtomicU64 = AtomicU64::new(8192);
/// As above, if nothing is asked for.
pub static MSGSIZE_DEFAULT: AtomicU64 = AtomicU64::new(8192);
/// Limits for the privileged (`HARD_MSGMAX`, `HARD_MSGSIZEMAX`).
const HARD_MSG_MAX: u64 = 65536;
const HARD_MSGSIZE_MAX: u64 = 16 << 20;

/// What Linux counts against RLIMIT_MSGQUEUE for each message beside its text, in bytes.
const MESSAGE_OVERHEAD: u64 = 48 + 48;

/// A queue that has a name.
struct Named {
    name: Vec<u8>,
    queue: Arc<MessageQueue>,
}

/// The root directory. As an open file it is its own [`FileOps`].
struct Root {
    meta: SpinLock<Metadata>,
    queues: SpinLock<BTreeMap<u64, Named>>,
    /// All queues that live, named or not.
    all: SpinLock<Vec<Weak<MessageQueue>>>,
    next_ino: AtomicU64,
}

/// The file system.
struct MqueueFs {
    root: Arc<Root>,
}

fn instance() -> &'static Arc<MqueueFs> {
    static FS: Once<Arc<MqueueFs>> = Once::new();
    FS.call_once(|| {
        let id = InodeId { dev: DeviceNumber::anonymous(), ino: ROOT_INO };
        let root = Root {
            meta: SpinLock::new(Rank::Inode, Metadata::new(id, FileKind::Directory, 0o1777)),
            queues: SpinLock::new(Rank::Directory, BTreeMap::new()),
            all: SpinLock::new(Rank::Directory, Vec::new()),
            next_ino: AtomicU64::new(ROOT_INO + 1),
        };
        Arc::new(MqueueFs { root: Arc::new(root) })
    })
}

/// The file system; there is one, in as many places as it is mounted.
pub fn file_system() -> Arc<dyn FileSystem> {
    instance().clone()
}

/// The queue with this name.
pub fn find(name: &[u8]) -> Option<Arc<MessageQueue>> {
    instance().root.find(name)
}

/// Makes a queue. `memory_limit` is RLIMIT_MSGQUEUE. EEXIST if the name is taken, EINVAL for attributes that are not
/// allowed, ENOSPC if there are as many queues as there may be, EMFILE if the user's queues would take too much.
pub fn create(
    name: &[u8],
    mode: u32,
    attributes: Option<Attributes>,
    who: &Credentials,
    memory_limit: u64,
) -> Result<Arc<MessageQueue>> {
    let new = NewInode { kind: NewKind::Regular, mode, uid: who.fsuid, gid: who.fsgid };
    instance().root.make(name, &new, attributes, who, memory_limit)
}

/// Removes a name (mq_unlink(2)). ENOENT if there is none, EPERM if the queue is another's.
pub fn unlink(name: &[u8], who: &Credentials) -> Result<()> {
    let root = &instance().root;
    let queue = root.find(name).ok_or(Errno::ENOENT)?;
    super::permission::check_sticky(&**root, &*queue, who)?;
    root.unlink(name)
}

/// The bytes that a queue counts as, for RLIMIT_MSGQUEUE. `None` on overflow.
fn size_of_queue(attributes: &Attributes) -> Option<u64> {
    attributes.max_messages.checked_mul(attributes.message_size.checked_add(MESSAGE_OVERHEAD)?)
}

fn check_attributes(attributes: &Attributes, who: &Credentials) -> Result<()> {
    let privileged = who.capable(Capability::SysResource);
    let limit = |value: &AtomicU64, hard: u64| if privileged { hard } else { value.load(Ordering::Relaxed) };
    let (count, size) = (attributes.max_messages, attributes.message_size);
    if count == 0 || size == 0 {
        return Err(Errno::EINVAL.because("a queue holds at least one message of one byte"));
    }
    if count > limit(&MSG_MAX, HARD_MSG_MAX) || size > limit(&MSGSIZE_MAX, HARD_MSGSIZE_MAX) {
        return Err(Errno::EINVAL.because("msg_max or msgsize_max"));
    }
    if size_of_queue(attributes).is_none() {
        return Err(Errno::EOVERFLOW.into());
    }
    Ok(())
}

impl Root {
    fn find(&self, name: &[u8]) -> Option<Arc<MessageQueue>> {
        self.queues.lock().values().find(|n| n.name == name).map(|n| n.queue.clone())
    }

    /// How many queues live, and what those of `user` count as.
    fn usage(&self, user: Uid) -> (u64, u64) {
        let all: Vec<Arc<MessageQueue>> = {
            let mut all = self.all.lock();
            all.retain(|q| q.strong_count() > 0);
            all.iter().filter_map(Weak::upgrade).collect()
        };
        let bytes = all.iter().filter(|q| q.maker() == user).filter_map(|q| size_of_queue(q.attributes())).sum();
        (all.len() as u64, bytes)
    }

    fn make(
        &self,
        name: &[u8],
        new: &NewInode<'_>,
        attributes: Option<Attributes>,
        who: &Credentials,
        memory_limit: u64,
    ) -> Result<Arc<MessageQueue>> {
        let attributes = match attributes {
            Some(given) => {
                check_attributes(&given, who)?;
                given
            }
            None => Attributes {
                max_messages: MSG_MAX.load(Ordering::Relaxed).min(MSG_DEFAULT.load(Ordering::Relaxed)).max(1),
                message_size: MSGSIZE_MAX.load(Ordering::Relaxed).min(MSGSIZE_DEFAULT.load(Ordering::Relaxed)).max(1),
            },
        };
        let (count, bytes) = self.usage(who.ruid);
        if count >= QUEUES_MAX.load(Ordering::Relaxed) && !who.capable(Capability::SysResource) {
            return Err(Errno::ENOSPC.because("queues_max"));
        }
        let size = size_of_queue(&attributes).ok_or(Errno::EOVERFLOW)?;
        if memory_limit != INFINITY && bytes.saturating_add(size) > memory_limit {
            return Err(Errno::EMFILE.because("RLIMIT_MSGQUEUE"));
        }
        let ino = self.next_ino.fetch_add(1, Ordering::Relaxed);
        let id = InodeId { dev: self.id().dev, ino };
        let meta = Metadata { uid: new.uid, gid: new.gid, ..Metadata::new(id, FileKind::Regular, new.mode) };
        let queue = MessageQueue::new(meta, attributes, who.ruid);
        {
            let mut queues = self.queues.lock();
            if queues.values().any(|n| n.name == name) {
                return Err(Errno::EEXIST.into());
            }
            queues.insert(ino, Named { name: name.to_vec(), queue: queue.clone() });
        }
        self.all.lock().push(Arc::downgrade(&queue));
        self.touch();
        Ok(queue)
    }

    fn touch(&self) {
        let mut meta = self.meta.lock();
        (meta.mtime, meta.ctime) = (Timestamp::now(), Timestamp::now());
    }
}

impl Inode for Root {
    fn kind(&self) -> FileKind {
        FileKind::Directory
    }

    fn id(&self) -> InodeId {
        self.meta.lock().id
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(*self.meta.lock())
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        queue::apply(&mut self.meta.lock(), change);
        Ok(())
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        Ok(self.find(name).ok_or(Errno::ENOENT)?)
    }

    fn revalidate(&self, name: &[u8], child: &Arc<dyn Inode>) -> bool {
        self.find(name).is_some_and(|q| q.id() == child.id())
    }

    /// open(2) with O_CREAT in a mount makes a queue with the usual attributes.
    fn create(&self, name: &[u8], new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        if new.kind != NewKind::Regular {
            return Err(Errno::EPERM.because("there are only queues in this file system"));
        }
        let who = crate::sched::current().map_or_else(Credentials::root, |t| (*t.credentials()).clone());
        Ok(self.make(name, new, None, &who, INFINITY)?)
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        let gone = {
            let mut queues = self.queues.lock();
            let ino = queues.iter().find(|(_, n)| n.name == name).map(|(&ino, _)| ino).ok_or(Errno::ENOENT)?;
            queues.remove(&ino)
        };
        if let Some(named) = gone {
            named.queue.unlinked();
        }
        self.touch();
        Ok(())
    }

    fn open(self: Arc<Self>, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(self)
    }
}

impl FileOps for Root {
    fn seekable(&self) -> bool {
        true
    }

    fn read_dir(&self, file: &OpenFile, cookie: u64, sink: DirSink<'_>) -> Result<()> {
        if !list_dots(file, cookie, sink) {
            return Ok(());
        }
        let listed: Vec<(u64, Vec<u8>)> =
            self.queues.lock().range(cookie.max(ROOT_INO) + 1..).map(|(&ino, n)| (ino, n.name.clone())).collect();
        for (ino, name) in &listed {
            if !sink(&DirEntry { name, ino: *ino, kind: Some(FileKind::Regular), next: *ino }) {
                break;
            }
        }
        Ok(())
    }
}

impl FileSystem for MqueueFs {
    fn type_name(&self) -> &'static str {
        "mqueue"
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn device(&self) -> DeviceNumber {
        self.root.id().dev
    }

    fn stat_fs(&self) -> Result<FsStat> {
        Ok(FsStat::empty(MAGIC))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Gid;

    fn user(uid: u32) -> Credentials {
        let (u, g) = (Uid(uid), Gid(uid));
        Credentials { ruid: u, euid: u, fsuid: u, fsgid: g, effective: 0, ..Credentials::root() }
    }

    fn attributes(max_messages: u64, message_size: u64) -> Option<Attributes> {
        Some(Attributes { max_messages, message_size })
    }

    #[test]
    fn queues_are_found_by_name_until_unlinked() {
        let who = user(4001);
        let q = create(b"one", 0o600, None, &who, INFINITY).unwrap();
        assert_eq!(create(b"one", 0o600, None, &who, INFINITY).map(drop).unwrap_err().errno(), Errno::EEXIST);
        assert!(Arc::ptr_eq(&find(b"one").unwrap(), &q));
        assert_eq!(unlink(b"one", &user(4002)).unwrap_err().errno(), Errno::EPERM);
        unlink(b"one", &who).unwrap();
        assert!(find(b"one").is_none());
        assert_eq!(Inode::metadata(&*q).unwrap().nlink, 0);
        assert_eq!(unlink(b"one", &who).unwrap_err().errno(), Errno::ENOENT);
    }

    #[test]
    fn attributes_are_limited_for_users_and_for_root() {
        let make = |a, who: &Credentials, limit| {
            let made = create(b"limits", 0o600, a, who, limit).map(drop);
            let _ = unlink(b"limits", who);
            made.map_err(|e| e.errno())
        };
        let (root, who) = (Credentials::root(), user(4003));
        assert_eq!(make(attributes(11, 10), &who, INFINITY), Err(Errno::EINVAL));
        assert_eq!(make(attributes(11, 10), &root, INFINITY), Ok(()));
        assert_eq!(make(attributes(10, 8193), &who, INFINITY), Err(Errno::EINVAL));
        assert_eq!(make(attributes(0, 10), &root, INFINITY), Err(Errno::EINVAL));
        assert_eq!(make(attributes(u64::MAX, u64::MAX), &root, INFINITY), Err(Errno::EINVAL));
        assert_eq!(make(attributes(10, 1000), &who, 10_000), Err(Errno::EMFILE));
        assert_eq!(make(attributes(10, 1000), &who, 11_000), Ok(()));
    }
}
