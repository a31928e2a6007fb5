//! System V shared memory: shmget(2), shmat(2), shmdt(2), shmctl(2).

use super::sysv;
use crate::abi::PAGE_SIZE;
use crate::error::{Errno, Result};
use crate::host::Prot;
use crate::ipc::sysv::segments::{self, Status};
use crate::ipc::sysv::{READ, WRITE};
use crate::mm::{Backing, MapRequest, MemoryBacking, Placement, UserPtr, VmFlags, Zone};
use crate::task::{Gid, Thread, Uid};
use core::sync::atomic::Ordering;

const SHM_EXEC: i32 = 0o100000;
const SHM_RDONLY: i32 = 0o10000;
const SHM_RND: i32 = 0o20000;
const SHM_REMAP: i32 = 0o40000;
/// Segments are attached at multiples of this (shmop(2), SHMLBA).
const SHMLBA: usize = PAGE_SIZE;

const SHM_LOCK: i32 = 11;
const SHM_UNLOCK: i32 = 12;
const SHM_STAT: i32 = 13;
const SHM_INFO: i32 = 14;
const SHM_STAT_ANY: i32 = 15;

/// `struct shmid_ds`, in words.
type ShmidDs = [u64; 14];

/// shmget(2)
pub fn sys_shmget(t: &Thread, key: i32, size: usize, flags: i32) -> Result<usize> {
    segments::get(key, size, flags, &t.credentials(), t.process().pid()).map(|id| id as usize)
}

/// shmat(2)
pub fn sys_shmat(t: &Thread, id: i32, addr: usize, flags: i32) -> Result<usize> {
    let mut addr = addr;
    if id < 0 {
        return Err(Errno::EINVAL.because("a negative identifier"));
    }
    if !addr.is_multiple_of(SHMLBA) {
        if flags & SHM_RND == 0 {
            return Err(Errno::EINVAL.because("the address is not a multiple of SHMLBA"));
        }
        addr -= addr % SHMLBA;
    }
    if addr == 0 && flags & SHM_REMAP != 0 {
        return Err(Errno::EINVAL.because("SHM_REMAP without an address"));
    }
    let may_write = flags & SHM_RDONLY == 0;
    let mut prot = Prot::READ;
    let mut want = READ;
    if may_write {
        prot |= Prot::WRITE;
        want |= WRITE;
    }
    if flags & SHM_EXEC != 0 {
        prot |= Prot::EXEC;
        want |= 0o111;
    }
    let object = segments::object(id, want, &t.credentials())?;
    let placement = match addr {
        0 => Placement::Hint(0),
        _ if flags & SHM_REMAP != 0 => Placement::Fixed(addr),
        _ => Placement::FixedNoReplace(addr),
    };
    let zone = if prot.contains(Prot::EXEC) { Zone::Image } else { Zone::Data };
    let len = object.len();
    let backing = Backing::Memory(MemoryBacking { object, offset: 0, may_write });
    let flags = VmFlags::SHARED;
    let mm = t.mm();
    match mm.map(MapRequest { len, placement, prot, flags, backing, name: "", zone }) {
        Err(e) if e.errno() == Errno::EEXIST => Err(Errno::EINVAL.because("something is mapped there already")),
        other => other,
    }
}

/// shmdt(2)
pub fn sys_shmdt(t: &Thread, addr: usize) -> Result<usize> {
    if !addr.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL.because("the address is not a multiple of the page size"));
    }
    let mm = t.mm();
    // Parts of the attachment may have been unmapped or protected apart; the first that is left tells which segment it is.
    let mut object = None;
    let mut parts = alloc::vec::Vec::new();
    mm.for_each_area(|a| {
        let Backing::Memory(m) = &a.backing else { return };
        if !m.object.is_segment() || a.start.checked_sub(m.offset) != Some(addr) {
            return;
        }
        let first = object.get_or_insert_with(|| m.object.clone());
        if alloc::sync::Arc::ptr_eq(first, &m.object) {
            parts.push(a.range());
        }
    });
    if parts.is_empty() {
        return Err(Errno::EINVAL.because("no segment is attached there"));
    }
    parts.into_iter().try_for_each(|part| mm.unmap(part))?;
    Ok(0)
}

fn encode(s: &Status) -> ShmidDs {
    let p = sysv::encode_permissions(&s.permissions, s.id);
    let pids = u64::from(s.created_by.0 as u32) | u64::from(s.last_used_by.0 as u32) << 32;
    let (attached, detached, changed) = (s.attached as u64, s.detached as u64, s.changed as u64);
    let count = s.attachments as u64;
    [p[0], p[1], p[2], p[3], p[4], p[5], s.size, attached, detached, changed, pids, count, 0, 0]
}

/// shmctl(2)
pub fn sys_shmctl(t: &Thread, id: i32, command: i32, at: usize) -> Result<usize> {
    let who = t.credentials();
    let ds = UserPtr::<ShmidDs>::new(at);
    if id < 0 || command < 0 {
        return Err(Errno::EINVAL.because("a negative identifier or command"));
    }
    match command {
        sysv::IPC_INFO => {
            let value = |v: &core::sync::atomic::AtomicU64| v.load(Ordering::Relaxed);
            let most = value(&segments::MOST);
            let info: [u64; 9] = [value(&segments::MAX), 1, most, most, value(&segments::ALL), 0, 0, 0, 0];
            UserPtr::new(at).write(info)?;
            Ok(segments::usage().highest_index as usize)
        }
        SHM_INFO => {
            let u = segments::usage();
            UserPtr::new(at).write([u.segments as u64, u.total, u.resident, 0, 0, 0])?;
            Ok(u.highest_index as usize)
        }
        sysv::IPC_STAT => ds.write(encode(&segments::status(id, &who)?)).map(|()| 0),
        SHM_STAT | SHM_STAT_ANY => {
            let s = segments::status_at(id, (command == SHM_STAT).then_some(&*who))?;
            ds.write(encode(&s))?;
            Ok(s.id as usize)
        }
        sysv::IPC_SET => {
            let (uid, gid, mode) = sysv::decode_owner(&ds.read()?);
            segments::change(id, Uid(uid), Gid(gid), mode, &who).map(|()| 0)
        }
        sysv::IPC_RMID => segments::remove(id, &who).map(|()| 0),
        SHM_LOCK | SHM_UNLOCK => segments::lock(id, command == SHM_LOCK, &who).map(|()| 0),
        _ => Err(Errno::EINVAL.because("no such command")),
    }
}
