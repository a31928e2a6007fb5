//! System V IPC (sysvipc(7)): shared memory, semaphores, messages.
//!
//! The three families are alike in how their objects are named and guarded, which is here: a key that programs agree on,
//! an identifier that the kernel gives out, an owner and permissions. What an object does is in a file of its own.
//!
//! Locks: one for each family's registry, rank `SysvIpc`. Guest memory is never touched under it; threads are woken
//! under it. An object is looked up by its identifier whenever it is needed: one that was removed is not found, and an
//! identifier does not come again for a long time, because it has a sequence number in its upper half.

pub mod messages;
pub mod segments;
pub mod semaphores;

use crate::error::{Errno, Result};
use crate::fs::inode::Timestamp;
use crate::task::{Capability, Credentials, Gid, Uid};
use alloc::collections::BTreeMap;

/// The key that names nothing (`IPC_PRIVATE`).
const PRIVATE: i32 = 0;
/// `IPC_CREAT`, `IPC_EXCL`, `IPC_NOWAIT`.
pub const CREAT: i32 = 0o1000;
const EXCL: i32 = 0o2000;
/// Do not wait (semop(2), msgop(2)).
pub const NOWAIT: i32 = 0o4000;

/// May read.
pub const READ: i32 = 0o444;
/// May write, or alter.
pub const WRITE: i32 = 0o222;

/// Bits of an identifier that are its object's index.
const INDEX_BITS: u32 = 15;
/// Indices that are used before the first one is used again.
const LEAST_CYCLE: u32 = 64;

/// The present time in seconds, as `*_ctime` and their like count it.
fn now() -> i64 {
    Timestamp::now().seconds
}

/// Who an object belongs to, and what others may do (`struct ipc_perm`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Permissions {
    pub key: i32,
    pub uid: Uid,
    pub gid: Gid,
    pub creator_uid: Uid,
    pub creator_gid: Gid,
    /// Permission bits, and flags of the family's own above them.
    pub mode: u32,
}

impl Permissions {
    fn new(key: i32, mode: i32, who: &Credentials) -> Self {
        Permissions {
            key,
            uid: who.euid,
            gid: who.egid,
            creator_uid: who.euid,
            creator_gid: who.egid,
            mode: mode as u32 & 0o777,
        }
    }

    /// EACCES unless `who` may do what the bits of `want` say, in any of their three classes (sysvipc(7)).
    pub fn check(&self, who: &Credentials, want: i32) -> Result<()> {
        let want = (want >> 6 | want >> 3 | want) as u32 & 7;
        let granted = if who.euid == self.creator_uid || who.euid == self.uid {
            self.mode >> 6
        } else if who.in_group(self.creator_gid) || who.in_group(self.gid) {
            self.mode >> 3
        } else {
            self.mode
        };
        if want & !granted & 7 == 0 || who.capable(Capability::IpcOwner) {
            return Ok(());
        }
        Err(Errno::EACCES.because("the object's permissions"))
    }

    /// EPERM unless `who` may change or remove the object.
    pub fn check_owner(&self, who: &Credentials) -> Result<()> {
        if who.euid == self.creator_uid || who.euid == self.uid || who.capable(Capability::SysAdmin) {
            return Ok(());
        }
        Err(Errno::EPERM.because("neither owner nor creator of the object"))
    }

    /// Takes what IPC_SET may change: owner, group and permission bits.
    pub fn change(&mut self, uid: Uid, gid: Gid, mode: u32) -> Result<()> {
        if uid.0 == u32::MAX || gid.0 == u32::MAX {
            return Err(Errno::EINVAL.because("no such owner"));
        }
        (self.uid, self.gid) = (uid, gid);
        self.mode = self.mode & !0o777 | mode & 0o777;
        Ok(())
    }
}

/// What all objects have.
trait Object {
    fn permissions(&self) -> &Permissions;
}

/// The objects of one family.
struct Registry<T> {
    objects: BTreeMap<u32, (i32, T)>,
    last_index: Option<u32>,
    sequence: u32,
}

impl<T: Object> Registry<T> {
    const fn new() -> Self {
        Registry { objects: BTreeMap::new(), last_index: None, sequence: 0 }
    }

    fn len(&self) -> usize {
        self.objects.len()
    }

    /// The highest index in use; 0 if there is none, as IPC_INFO reports it.
    fn highest_index(&self) -> u32 {
        self.objects.last_key_value().map_or(0, |(&index, _)| index)
    }

    fn index_of(&self, id: i32) -> Result<u32> {
        let index = id as u32 & ((1 << INDEX_BITS) - 1);
        match self.objects.get(&index) {
            Some(&(known, _)) if id >= 0 && known == id => Ok(index),
            _ => Err(Errno::EINVAL.because("no object has this identifier")),
        }
    }

    /// The object with this identifier. EINVAL if there is none.
    fn get(&mut self, id: i32) -> Result<&mut T> {
        let index = self.index_of(id)?;
        self.objects.get_mut(&index).map(|(_, object)| object).ok_or(Errno::EINVAL.into())
    }

    /// The identifier of the object at an index (the `*_STAT` commands). EINVAL if there is none.
    fn id_at(&self, index: i32) -> Result<i32> {
        let slot = u32::try_from(index).ok().and_then(|i| self.objects.get(&i));
        slot.map(|&(id, _)| id).ok_or(Errno::EINVAL.because("no object has this index"))
    }

    /// The identifier of the object with this key.
    fn find_key(&self, key: i32) -> Option<i32> {
        let named = |&(_, object): &&(i32, T)| key != PRIVATE && object.permissions().key == key;
        self.objects.values().find(named).map(|&(id, _)| id)
    }

    /// Gives an object that `make` builds an identifier. ENOSPC if there are `limit` objects.
    fn add(&mut self, limit: u64, make: impl FnOnce(i32) -> Result<T>) -> Result<i32> {
        if self.len() as u64 >= limit.min(1 << INDEX_BITS) {
            return Err(Errno::ENOSPC.because("as many objects as there may be"));
        }
        // Indices go round, so that an identifier stays unused for a while after its object is gone.
        let cycle = LEAST_CYCLE.max(self.len() as u32 * 3 / 2).min(1 << INDEX_BITS);
        let from = self.last_index.map_or(0, |i| (i + 1) % cycle);
        let mut candidates = (from..cycle).chain(0..from).chain(cycle..1 << INDEX_BITS);
        let index = candidates.find(|i| !self.objects.contains_key(i)).ok_or(Errno::ENOSPC)?;
        let sequence = if self.last_index.is_some_and(|last| index <= last) {
            (self.sequence + 1) & 0xffff
        } else {
            self.sequence
        };
        let id = (sequence << INDEX_BITS | index) as i32;
        let object = make(id)?;
        (self.sequence, self.last_index) = (sequence, Some(index));
        self.objects.insert(index, (id, object));
        Ok(id)
    }

    /// Finds or makes the object of a key (shmget(2) and its like). `fits` looks at one that exists.
    fn get_or_add(
        &mut self,
        key: i32,
        flags: i32,
        who: &Credentials,
        limit: u64,
        fits: impl FnOnce(&T) -> Result<()>,
        make: impl FnOnce(i32) -> Result<T>,
    ) -> Result<i32> {
        if let Some(id) = self.find_key(key) {
            if flags & CREAT != 0 && flags & EXCL != 0 {
                return Err(Errno::EEXIST.because("the key has an object"));
            }
            let object = self.get(id)?;
            fits(object)?;
            object.permissions().check(who, flags)?;
            return Ok(id);
        }
        if key != PRIVATE && flags & CREAT == 0 {
            return Err(Errno::ENOENT.because("no object has this key"));
        }
        self.add(limit, make)
    }

    /// Takes an object away; it is returned so that it is dropped without the lock.
    fn remove(&mut self, id: i32) -> Option<T> {
        let index = self.index_of(id).ok()?;
        self.objects.remove(&index).map(|(_, object)| object)
    }

    fn iter(&self) -> impl Iterator<Item = (i32, &T)> {
        self.objects.values().map(|(id, object)| (*id, object))
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.objects.values_mut().map(|(_, object)| object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Named(Permissions);

    impl Object for Named {
        fn permissions(&self) -> &Permissions {
            &self.0
        }
    }

    fn user(uid: u32, gid: u32) -> Credentials {
        Credentials { euid: Uid(uid), egid: Gid(gid), fsgid: Gid(gid), effective: 0, ..Credentials::root() }
    }

    fn add(r: &mut Registry<Named>, key: i32, flags: i32) -> Result<i32> {
        let who = user(1, 1);
        r.get_or_add(key, flags, &who, 100, |_| Ok(()), |_| Ok(Named(Permissions::new(key, flags, &who))))
    }

    #[test]
    fn keys_and_identifiers_name_objects() {
        let mut r = Registry::new();
        assert_eq!(add(&mut r, 5, 0o600).unwrap_err().errno(), Errno::ENOENT);
        let id = add(&mut r, 5, CREAT | 0o600).unwrap();
        assert_eq!(add(&mut r, 5, 0o600).unwrap(), id);
        assert_eq!(add(&mut r, 5, CREAT | EXCL | 0o600).unwrap_err().errno(), Errno::EEXIST);
        assert_ne!(add(&mut r, PRIVATE, 0o600).unwrap(), add(&mut r, PRIVATE, 0o600).unwrap());
        assert!(r.remove(id).is_some());
        assert!(r.get(id).is_err());
        let again: alloc::vec::Vec<i32> = (0..80).map(|k| add(&mut r, 100 + k, CREAT).unwrap()).collect();
        assert!(!again.contains(&id), "an identifier does not come again at once");
        assert!(r.get(-1).is_err() && r.id_at(-1).is_err());
    }

    #[test]
    fn the_limit_of_objects_is_kept() {
        let mut r = Registry::new();
        for _ in 0..100 {
            add(&mut r, PRIVATE, 0).unwrap();
        }
        assert_eq!(add(&mut r, PRIVATE, 0).unwrap_err().errno(), Errno::ENOSPC);
    }

    #[test]
    fn the_first_class_that_fits_decides() {
        let p = Permissions { key: 1, uid: Uid(2), gid: Gid(3), creator_uid: Uid(4), creator_gid: Gid(5), mode: 0o640 };
        assert!(p.check(&user(2, 0), READ | WRITE).is_ok());
        assert!(p.check(&user(4, 0), WRITE).is_ok());
        assert!(p.check(&user(9, 3), READ).is_ok() && p.check(&user(9, 3), WRITE).is_err());
        assert!(p.check(&user(9, 9), READ).is_err());
        assert!(p.check_owner(&user(4, 9)).is_ok() && p.check_owner(&user(9, 3)).is_err());
    }
}
