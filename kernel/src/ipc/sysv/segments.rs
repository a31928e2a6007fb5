//! Shared memory segments (shmget(2), shmat(2), shmctl(2)).
//!
//! A segment is a shared memory object (`mm::SharedMemory`) with a key and an owner. The registry holds the object until
//! IPC_RMID; from then on the mappings alone do, and the entry that is left goes when the object has gone. How often a
//! segment is attached is counted when somebody asks, from the address spaces themselves.

use super::{Object, PRIVATE, Permissions, READ, Registry, now};
use crate::abi::PAGE_SIZE;
use crate::error::{Errno, Result};
use crate::mm::residency::count_mappings;
use crate::mm::{SharedMemory, page_align_up, window};
use crate::sync::{Rank, SpinLock};
use crate::task::{Capability, Credentials, Gid, Pid, Uid};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// `SHM_DEST`: to be destroyed once nobody has it attached.
const DEST: u32 = 0o1000;
/// `SHM_LOCKED`.
const LOCKED: u32 = 0o2000;
/// `SHM_HUGETLB`.
const HUGETLB: i32 = 0o4000;

/// The largest segment, in bytes (`/proc/sys/kernel/shmmax`).
pub static MAX: AtomicU64 = AtomicU64::new(u64::MAX - (1 << 24));
/// The largest sum of all segments, in pages (`/proc/sys/kernel/shmall`).
pub static ALL: AtomicU64 = AtomicU64::new(u64::MAX - (1 << 24));
/// Most segments (`/proc/sys/kernel/shmmni`).
pub static MOST: AtomicU64 = AtomicU64::new(4096);

struct Segment {
    permissions: Permissions,
    /// As asked for; the object has whole pages.
    size: u64,
    object: Weak<SharedMemory>,
    /// Until it is removed.
    held: Option<Arc<SharedMemory>>,
    created_by: Pid,
    changed: i64,
}

impl Object for Segment {
    fn permissions(&self) -> &Permissions {
        &self.permissions
    }
}

static SEGMENTS: SpinLock<Registry<Segment>> = SpinLock::new(Rank::SysvIpc, Registry::new());

/// What shmctl(2) tells of a segment (`struct shmid_ds`).
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Status {
    pub id: i32,
    pub permissions: Permissions,
    /// In bytes.
    pub size: u64,
    /// Seconds of the wall clock; 0 for never.
    pub attached: i64,
    pub detached: i64,
    pub changed: i64,
    pub created_by: Pid,
    pub last_used_by: Pid,
    pub attachments: usize,
    /// Bytes that have memory.
    pub resident: usize,
}

/// What SHM_INFO tells of all segments.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Usage {
    pub segments: usize,
    /// In pages.
    pub total: u64,
    pub resident: u64,
    pub highest_index: u32,
}

/// Forgets segments that were removed and are attached nowhere any more.
fn sweep(segments: &mut Registry<Segment>) {
    let gone: Vec<i32> = segments.iter().filter(|(_, s)| s.object.strong_count() == 0).map(|(id, _)| id).collect();
    for id in gone {
        segments.remove(id);
    }
}

fn pages(segments: &Registry<Segment>) -> u64 {
    segments.iter().map(|(_, s)| s.size.div_ceil(PAGE_SIZE as u64)).sum()
}

/// shmget(2)
pub fn get(key: i32, size: usize, flags: i32, who: &Credentials, pid: Pid) -> Result<i32> {
    let mut segments = SEGMENTS.lock();
    sweep(&mut segments);
    let total = pages(&segments);
    let fits = |s: &Segment| {
        if size as u64 <= s.size { Ok(()) } else { Err(Errno::EINVAL.because("larger than the segment is")) }
    };
    let make = |id: i32| {
        if size == 0 || size as u64 > MAX.load(Ordering::Relaxed) {
            return Err(Errno::EINVAL.because("the size is 0 or above shmmax"));
        }
        let len = page_align_up(size).ok_or(Errno::EINVAL.because("the size overflows"))?;
        if total.saturating_add((len / PAGE_SIZE) as u64) > ALL.load(Ordering::Relaxed) {
            return Err(Errno::ENOSPC.because("shmall"));
        }
        if flags & HUGETLB != 0 {
            return Err(Errno::ENOMEM.because("there are no huge pages"));
        }
        if window::get().is_none_or(|w| len > w.usage().1) {
            return Err(Errno::ENOMEM.because("larger than the guest's memory (mem=)"));
        }
        let object = SharedMemory::segment(len, key, id)?;
        Ok(Segment {
            permissions: Permissions::new(key, flags, who),
            size: size as u64,
            object: Arc::downgrade(&object),
            held: Some(object),
            created_by: pid,
            changed: now(),
        })
    };
    segments.get_or_add(key, flags, who, MOST.load(Ordering::Relaxed), fits, make)
}

/// The object of a segment that `who` is about to attach (shmat(2)), for what the bits of `want` say.
pub fn object(id: i32, want: i32, who: &Credentials) -> Result<Arc<SharedMemory>> {
    let mut segments = SEGMENTS.lock();
    sweep(&mut segments);
    let segment = segments.get(id)?;
    segment.permissions.check(who, want)?;
    segment.object.upgrade().ok_or(Errno::EIDRM.because("the segment is gone"))
}

impl Segment {
    fn status(&self, id: i32, object: &Arc<SharedMemory>) -> Status {
        let (attached, detached, last) = object.attachments();
        Status {
            id,
            permissions: self.permissions,
            size: self.size,
            attached,
            detached,
            changed: self.changed,
            created_by: self.created_by,
            last_used_by: Pid(last),
            attachments: count_mappings(object),
            resident: object.populated(),
        }
    }
}

/// IPC_STAT.
pub fn status(id: i32, who: &Credentials) -> Result<Status> {
    status_of(id, Some(who))
}

/// SHM_STAT, and SHM_STAT_ANY if `who` is not given: by index.
pub fn status_at(index: i32, who: Option<&Credentials>) -> Result<Status> {
    let id = {
        let mut segments = SEGMENTS.lock();
        sweep(&mut segments);
        segments.id_at(index)?
    };
    status_of(id, who)
}

fn status_of(id: i32, who: Option<&Credentials>) -> Result<Status> {
    // The object is let go of after the lock: it may be the last reference.
    let object;
    let mut segments = SEGMENTS.lock();
    sweep(&mut segments);
    let segment = segments.get(id)?;
    if let Some(who) = who {
        segment.permissions.check(who, READ)?;
    }
    object = segment.object.upgrade().ok_or(Errno::EINVAL)?;
    let status = segment.status(id, &object);
    drop(segments);
    drop(object);
    Ok(status)
}

/// All segments, for `/proc/sysvipc/shm`.
pub fn list() -> Vec<Status> {
    let ids: Vec<i32> = SEGMENTS.lock().iter().map(|(id, _)| id).collect();
    ids.into_iter().filter_map(|id| status_of(id, None).ok()).collect()
}

/// SHM_INFO.
pub fn usage() -> Usage {
    let all = list();
    let resident: usize = all.iter().map(|s| s.resident).sum();
    let segments = SEGMENTS.lock();
    Usage {
        segments: segments.len(),
        total: pages(&segments),
        resident: (resident / PAGE_SIZE) as u64,
        highest_index: segments.highest_index(),
    }
}

/// IPC_RMID: the key is free at once, the memory when the last mapping goes.
pub fn remove(id: i32, who: &Credentials) -> Result<()> {
    let held = {
        let mut segments = SEGMENTS.lock();
        sweep(&mut segments);
        let segment = segments.get(id)?;
        segment.permissions.check_owner(who)?;
        segment.permissions.key = PRIVATE;
        segment.permissions.mode |= DEST;
        segment.held.take()
    };
    drop(held);
    sweep(&mut SEGMENTS.lock());
    Ok(())
}

/// IPC_SET.
pub fn change(id: i32, uid: Uid, gid: Gid, mode: u32, who: &Credentials) -> Result<()> {
    let mut segments = SEGMENTS.lock();
    sweep(&mut segments);
    let segment = segments.get(id)?;
    segment.permissions.check_owner(who)?;
    segment.permissions.change(uid, gid, mode)?;
    segment.changed = now();
    Ok(())
}

/// SHM_LOCK and SHM_UNLOCK: nothing is ever swapped out by the guest, so the mark is all there is to it.
pub fn lock(id: i32, locked: bool, who: &Credentials) -> Result<()> {
    let mut segments = SEGMENTS.lock();
    sweep(&mut segments);
    let p = &mut segments.get(id)?.permissions;
    if !who.capable(Capability::IpcLock) && who.euid != p.creator_uid && who.euid != p.uid {
        return Err(Errno::EPERM.because("neither owner nor creator of the segment"));
    }
    p.mode = p.mode & !LOCKED | if locked { LOCKED } else { 0 };
    Ok(())
}
