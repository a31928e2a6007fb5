//! User and group ids, supplementary groups, capabilities (credentials(7), capabilities(7)).
//!
//! Credentials belong to a thread, as in Linux; C libraries change those of all threads by signals.

use crate::error::{Errno, Result};
use crate::mm::UserPtr;
use crate::task::{ALL_CAPABILITIES, Capability, Credentials, Gid, Thread, Tid, Uid};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Most supplementary groups (`NGROUPS_MAX`).
const GROUPS_MAX: usize = 65536;
/// "Leave as it is" in the set*id calls.
const KEEP: u32 = u32::MAX;
/// Versions of the capability interface: the first has 32 bits, the others 64.
const CAPABILITY_VERSION_1: u32 = 0x1998_0330;
const CAPABILITY_VERSION_2: u32 = 0x2007_1026;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// Changes a copy of the thread's credentials and installs it.
fn change(t: &Thread, f: impl FnOnce(&Credentials, &mut Credentials) -> Result<()>) -> Result<usize> {
    let old = t.credentials();
    let mut new = (*old).clone();
    f(&old, &mut new)?;
    if (new.ruid, new.euid, new.suid) != (old.ruid, old.euid, old.suid) {
        new.user_ids_changed(&old);
    }
    if new.fsuid != old.fsuid {
        new.fsuid_changed(old.fsuid);
    }
    if new.euid != old.euid || new.egid != old.egid {
        t.process().set_dumpable(0);
    }
    t.set_credentials(Arc::new(new));
    Ok(0)
}

fn eperm<T>() -> Result<T> {
    Err(Errno::EPERM.because("not one of the own ids, and no CAP_SETUID or CAP_SETGID"))
}

fn check_id(id: u32) -> Result<()> {
    if id == KEEP { Err(Errno::EINVAL.because("-1 is no id")) } else { Ok(()) }
}

/// getuid(2)
pub fn sys_getuid(t: &Thread) -> Result<usize> {
    Ok(t.credentials().ruid.0 as usize)
}

/// geteuid(2)
pub fn sys_geteuid(t: &Thread) -> Result<usize> {
    Ok(t.credentials().euid.0 as usize)
}

/// getgid(2)
pub fn sys_getgid(t: &Thread) -> Result<usize> {
    Ok(t.credentials().rgid.0 as usize)
}

/// getegid(2)
pub fn sys_getegid(t: &Thread) -> Result<usize> {
    Ok(t.credentials().egid.0 as usize)
}

/// setuid(2)
pub fn sys_setuid(t: &Thread, uid: Uid) -> Result<usize> {
    check_id(uid.0)?;
    change(t, |old, new| {
        if old.capable(Capability::Setuid) {
            (new.ruid, new.suid) = (uid, uid);
        } else if uid != old.ruid && uid != old.suid {
            return eperm();
        }
        (new.euid, new.fsuid) = (uid, uid);
        Ok(())
    })
}

/// setgid(2)
pub fn sys_setgid(t: &Thread, gid: Gid) -> Result<usize> {
    check_id(gid.0)?;
    change(t, |old, new| {
        if old.capable(Capability::Setgid) {
            (new.rgid, new.sgid) = (gid, gid);
        } else if gid != old.rgid && gid != old.sgid {
            return eperm();
        }
        (new.egid, new.fsgid) = (gid, gid);
        Ok(())
    })
}

/// setreuid(2)
pub fn sys_setreuid(t: &Thread, ruid: Uid, euid: Uid) -> Result<usize> {
    change(t, |old, new| {
        let privileged = old.capable(Capability::Setuid);
        if ruid.0 != KEEP {
            if !privileged && ruid != old.ruid && ruid != old.euid {
                return eperm();
            }
            new.ruid = ruid;
        }
        if euid.0 != KEEP {
            if !privileged && ![old.ruid, old.euid, old.suid].contains(&euid) {
                return eperm();
            }
            new.euid = euid;
        }
        if ruid.0 != KEEP || (euid.0 != KEEP && euid != old.ruid) {
            new.suid = new.euid;
        }
        new.fsuid = new.euid;
        Ok(())
    })
}

/// setregid(2)
pub fn sys_setregid(t: &Thread, rgid: Gid, egid: Gid) -> Result<usize> {
    change(t, |old, new| {
        let privileged = old.capable(Capability::Setgid);
        if rgid.0 != KEEP {
            if !privileged && rgid != old.rgid && rgid != old.egid {
                return eperm();
            }
            new.rgid = rgid;
        }
        if egid.0 != KEEP {
            if !privileged && ![old.rgid, old.egid, old.sgid].contains(&egid) {
                return eperm();
            }
            new.egid = egid;
        }
        if rgid.0 != KEEP || (egid.0 != KEEP && egid != old.rgid) {
            new.sgid = new.egid;
        }
        new.fsgid = new.egid;
        Ok(())
    })
}

/// setresuid(2)
pub fn sys_setresuid(t: &Thread, ruid: Uid, euid: Uid, suid: Uid) -> Result<usize> {
    change(t, |old, new| {
        let own = [old.ruid, old.euid, old.suid];
        let allowed = |id: Uid| id.0 == KEEP || own.contains(&id) || old.capable(Capability::Setuid);
        if ![ruid, euid, suid].into_iter().all(allowed) {
            return eperm();
        }
        let pick = |id: Uid, current: Uid| if id.0 == KEEP { current } else { id };
        new.ruid = pick(ruid, old.ruid);
        new.euid = pick(euid, old.euid);
        new.suid = pick(suid, old.suid);
        new.fsuid = new.euid;
        Ok(())
    })
}

/// setresgid(2)
pub fn sys_setresgid(t: &Thread, rgid: Gid, egid: Gid, sgid: Gid) -> Result<usize> {
    change(t, |old, new| {
        let own = [old.rgid, old.egid, old.sgid];
        let allowed = |id: Gid| id.0 == KEEP || own.contains(&id) || old.capable(Capability::Setgid);
        if ![rgid, egid, sgid].into_iter().all(allowed) {
            return eperm();
        }
        let pick = |id: Gid, current: Gid| if id.0 == KEEP { current } else { id };
        new.rgid = pick(rgid, old.rgid);
        new.egid = pick(egid, old.egid);
        new.sgid = pick(sgid, old.sgid);
        new.fsgid = new.egid;
        Ok(())
    })
}

/// getresuid(2)
pub fn sys_getresuid(t: &Thread, ruid: UserPtr<u32>, euid: UserPtr<u32>, suid: UserPtr<u32>) -> Result<usize> {
    let c = t.credentials();
    ruid.write(c.ruid.0)?;
    euid.write(c.euid.0)?;
    suid.write(c.suid.0)?;
    Ok(0)
}

/// getresgid(2)
pub fn sys_getresgid(t: &Thread, rgid: UserPtr<u32>, egid: UserPtr<u32>, sgid: UserPtr<u32>) -> Result<usize> {
    let c = t.credentials();
    rgid.write(c.rgid.0)?;
    egid.write(c.egid.0)?;
    sgid.write(c.sgid.0)?;
    Ok(0)
}

/// setfsuid(2): returns the old id, whether it changed or not.
pub fn sys_setfsuid(t: &Thread, uid: Uid) -> Result<usize> {
    let old = t.credentials();
    let own = [old.ruid, old.euid, old.suid, old.fsuid].contains(&uid);
    if uid.0 != KEEP && (own || old.capable(Capability::Setuid)) {
        change(t, |_, new| {
            new.fsuid = uid;
            Ok(())
        })?;
    }
    Ok(old.fsuid.0 as usize)
}

/// setfsgid(2): returns the old id, whether it changed or not.
pub fn sys_setfsgid(t: &Thread, gid: Gid) -> Result<usize> {
    let old = t.credentials();
    let own = [old.rgid, old.egid, old.sgid, old.fsgid].contains(&gid);
    if gid.0 != KEEP && (own || old.capable(Capability::Setgid)) {
        change(t, |_, new| {
            new.fsgid = gid;
            Ok(())
        })?;
    }
    Ok(old.fsgid.0 as usize)
}

/// getgroups(2)
pub fn sys_getgroups(t: &Thread, size: i32, list: UserPtr<u32>) -> Result<usize> {
    let credentials = t.credentials();
    let count = credentials.groups.len();
    if size < 0 {
        return Err(Errno::EINVAL.because("a negative size"));
    }
    if size > 0 {
        if (size as usize) < count {
            return Err(Errno::EINVAL.because("there are more groups than that"));
        }
        let ids: Vec<u32> = credentials.groups.iter().map(|g| g.0).collect();
        list.write_many(&ids)?;
    }
    Ok(count)
}

/// setgroups(2)
pub fn sys_setgroups(t: &Thread, size: u32, list: UserPtr<u32>) -> Result<usize> {
    if !t.credentials().capable(Capability::Setgid) {
        return Err(Errno::EPERM.because("setgroups needs CAP_SETGID"));
    }
    let size = size as usize;
    if size > GROUPS_MAX {
        return Err(Errno::EINVAL.because("more than NGROUPS_MAX groups"));
    }
    let mut groups: Vec<Gid> = list.read_many(size)?.into_iter().map(Gid).collect();
    // As Linux, which looks groups up by bisection and shows them so.
    groups.sort_unstable();
    change(t, |_, new| {
        new.groups = groups;
        Ok(())
    })
}

/// Number of 32-bit words per set in this version of the interface; an unknown version is answered with the newest one.
fn words_of_version(header: UserPtr<[u32; 2]>) -> Result<(usize, Tid)> {
    let [version, pid] = header.read()?;
    match version {
        CAPABILITY_VERSION_1 => Ok((1, Tid(pid as i32))),
        CAPABILITY_VERSION_2 | CAPABILITY_VERSION_3 => Ok((2, Tid(pid as i32))),
        _ => {
            header.cast::<u32>().write(CAPABILITY_VERSION_3)?;
            Err(Errno::EINVAL.because("unknown version of the capability interface"))
        }
    }
}

/// capget(2)
pub fn sys_capget(t: &Thread, header: UserPtr<[u32; 2]>, data: UserPtr<[u32; 3]>) -> Result<usize> {
    let (words, tid) = match words_of_version(header) {
        // A look for the version: no data are wanted.
        Err(e) if e.errno() == Errno::EINVAL && data.is_null() => return Ok(0),
        other => other?,
    };
    if tid.0 < 0 {
        return Err(Errno::EINVAL.because("a negative thread number"));
    }
    if data.is_null() {
        return Ok(0);
    }
    let c = super::process::thread_named(t, tid)?.credentials();
    for word in 0..words {
        let half = |set: u64| (set >> (32 * word)) as u32;
        data.add(word).write([half(c.effective), half(c.permitted), half(c.inheritable)])?;
    }
    Ok(0)
}

/// capset(2)
pub fn sys_capset(t: &Thread, header: UserPtr<[u32; 2]>, data: UserPtr<[u32; 3]>) -> Result<usize> {
    let (words, tid) = words_of_version(header)?;
    if tid.0 != 0 && tid != t.tid() {
        return Err(Errno::EPERM.because("capset acts on the calling thread"));
    }
    let mut sets = [0u64; 3];
    for word in 0..words {
        for (set, half) in sets.iter_mut().zip(data.add(word).read()?) {
            *set |= u64::from(half) << (32 * word);
        }
    }
    let [effective, permitted, inheritable] = sets.map(|s| s & ALL_CAPABILITIES);
    change(t, |old, new| {
        let may_inherit = old.inheritable | if old.capable(Capability::Setpcap) { old.bounding } else { old.permitted };
        if inheritable & !may_inherit != 0 || inheritable & !(old.inheritable | old.bounding) != 0 {
            return Err(Errno::EPERM.because("more inheritable capabilities than permitted or bounding ones"));
        }
        if permitted & !old.permitted != 0 || effective & !permitted != 0 {
            return Err(Errno::EPERM.because("permitted may only shrink, effective must be permitted"));
        }
        (new.effective, new.permitted, new.inheritable) = (effective, permitted, inheritable);
        new.ambient &= permitted & inheritable;
        Ok(())
    })
}
