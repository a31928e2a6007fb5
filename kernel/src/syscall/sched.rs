//! Scheduling: yielding, and the policies, priorities and affinities that are kept and told.
//!
//! The scheduler treats all threads alike (`docs/limits.md`): what is set here is checked, kept, inherited and read
//! back, but has no effect on who runs.

use super::process::thread_named;
use crate::abi::general::__kernel_timespec;
use crate::arch;
use crate::error::{Errno, Result};
use crate::mm::{UserPtr, UserSlice};
use crate::sched;
use crate::task::{self, Attributes, Capability, Pid, Process, Resource, Thread, Tid, policy};
use crate::time::Duration;
use crate::time::timespec::timespec_of;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Bits of the affinity mask that stand for a vCPU.
const VCPUS: u64 = 1;
/// SCHED_DEADLINE: known by number only.
const DEADLINE: u32 = 6;
/// SCHED_RESET_ON_FORK, or-ed to the policy of sched_setscheduler(2).
const RESET_ON_FORK: u32 = 0x4000_0000;
const MAX_RT_PRIORITY: u32 = 99;
/// Size of the first version of `struct sched_attr`.
const SCHED_ATTR_SIZE_VER0: u32 = 48;

/// sched_yield(2)
pub fn sys_sched_yield(_t: &Thread) -> Result<usize> {
    sched::yield_now();
    Ok(0)
}

/// getcpu(2): there is one memory node.
pub fn sys_getcpu(_t: &Thread, cpu: UserPtr<u32>, node: UserPtr<u32>) -> Result<usize> {
    cpu.write_if_given(arch::current_vcpu_index().unwrap_or(0) as u32)?;
    node.write_if_given(0)?;
    Ok(0)
}

fn thread_by_tid(t: &Thread, tid: Tid) -> Result<Arc<Thread>> {
    if tid.0 < 0 {
        return Err(Errno::EINVAL.because("a negative thread number"));
    }
    thread_named(t, tid)
}

/// Whether `t` may change how `target` is scheduled. EPERM if not.
fn check_owner(t: &Thread, target: &Thread) -> Result<()> {
    let (mine, theirs) = (t.credentials(), target.credentials());
    if mine.euid == theirs.euid || mine.euid == theirs.ruid || mine.capable(Capability::SysNice) {
        return Ok(());
    }
    Err(Errno::EPERM.because("neither the same user nor CAP_SYS_NICE"))
}

/// The wish of a sched_set* call.
struct Wish {
    policy: u32,
    rt_priority: u32,
    reset_on_fork: bool,
    nice: Option<i32>,
}

fn is_realtime(policy: u32) -> bool {
    matches!(policy, policy::FIFO | policy::RR)
}

/// Checks a wish against sched_setscheduler(2) and the limits, and keeps it.
fn set_scheduling(t: &Thread, target: &Thread, wish: &Wish) -> Result<()> {
    let known = [policy::OTHER, policy::FIFO, policy::RR, policy::BATCH, policy::IDLE];
    if !known.contains(&wish.policy) {
        return Err(Errno::EINVAL.because("no such scheduling policy here"));
    }
    if wish.rt_priority > MAX_RT_PRIORITY || is_realtime(wish.policy) != (wish.rt_priority > 0) {
        return Err(Errno::EINVAL.because("real-time policies have priorities from 1 to 99, the others 0"));
    }
    check_owner(t, target)?;
    let now = target.attributes();
    if !t.credentials().capable(Capability::SysNice) {
        let limits = target.process().rlimits();
        let allowed = limits.get(Resource::RtPriority).rlim_cur;
        if is_realtime(wish.policy) {
            let same_policy = wish.policy == now.policy;
            let raises = u64::from(wish.rt_priority) > u64::from(now.rt_priority).max(allowed);
            if (!same_policy && allowed == 0) || raises {
                return Err(Errno::EPERM.because("RLIMIT_RTPRIO"));
            }
        }
        if wish.nice.is_some_and(|n| n < now.nice && !may_lower_nice_to(target, n)) {
            return Err(Errno::EPERM.because("RLIMIT_NICE"));
        }
        if now.reset_on_fork && !wish.reset_on_fork {
            return Err(Errno::EPERM.because("SCHED_RESET_ON_FORK can only be set"));
        }
    }
    target.update_attributes(|a| {
        a.policy = wish.policy;
        a.rt_priority = wish.rt_priority;
        a.reset_on_fork = wish.reset_on_fork;
        a.nice = wish.nice.unwrap_or(a.nice);
    });
    Ok(())
}

/// sched_setscheduler(2)
pub fn sys_sched_setscheduler(t: &Thread, tid: Tid, policy: u32, param: UserPtr<i32>) -> Result<usize> {
    if (policy as i32) < 0 || param.is_null() {
        return Err(Errno::EINVAL.because("a negative policy, or no parameters"));
    }
    let priority = param.read()?;
    let target = thread_by_tid(t, tid)?;
    let wish = Wish {
        policy: policy & !RESET_ON_FORK,
        rt_priority: u32::try_from(priority).unwrap_or(u32::MAX),
        reset_on_fork: policy & RESET_ON_FORK != 0,
        nice: None,
    };
    set_scheduling(t, &target, &wish).map(|()| 0)
}

/// sched_getscheduler(2)
pub fn sys_sched_getscheduler(t: &Thread, tid: Tid) -> Result<usize> {
    let a = thread_by_tid(t, tid)?.attributes();
    Ok((a.policy | if a.reset_on_fork { RESET_ON_FORK } else { 0 }) as usize)
}

/// sched_setparam(2)
pub fn sys_sched_setparam(t: &Thread, tid: Tid, param: UserPtr<i32>) -> Result<usize> {
    if param.is_null() {
        return Err(Errno::EINVAL.because("no parameters"));
    }
    let priority = param.read()?;
    let target = thread_by_tid(t, tid)?;
    let now = target.attributes();
    let wish = Wish {
        policy: now.policy,
        rt_priority: u32::try_from(priority).unwrap_or(u32::MAX),
        reset_on_fork: now.reset_on_fork,
        nice: None,
    };
    set_scheduling(t, &target, &wish).map(|()| 0)
}

/// sched_getparam(2)
pub fn sys_sched_getparam(t: &Thread, tid: Tid, param: UserPtr<i32>) -> Result<usize> {
    if param.is_null() {
        return Err(Errno::EINVAL.because("no room for the parameters"));
    }
    param.write(thread_by_tid(t, tid)?.attributes().rt_priority as i32)?;
    Ok(0)
}

/// sched_setattr(2)
pub fn sys_sched_setattr(t: &Thread, tid: Tid, attr: UserPtr<u32>, flags: u32) -> Result<usize> {
    const FLAG_RESET_ON_FORK: u64 = 1;
    const FLAG_KEEP_POLICY: u64 = 8;
    const FLAG_KEEP_PARAMS: u64 = 0x10;
    if attr.is_null() || flags != 0 || tid.0 < 0 {
        return Err(Errno::EINVAL.because("sched_setattr takes attributes and no flags"));
    }
    let size = match attr.read()? {
        0 => SCHED_ATTR_SIZE_VER0,
        n => n,
    };
    if size < SCHED_ATTR_SIZE_VER0 || size as usize > crate::abi::PAGE_SIZE {
        attr.write(SCHED_ATTR_SIZE_VER0)?;
        return Err(Errno::E2BIG.because("not a size of struct sched_attr"));
    }
    let given = UserSlice::new(attr.addr(), size as usize).read_vec(size as usize)?;
    // Utilization clamps (bytes 48 to 56) may be given and are of no effect; what lies beyond must be zero.
    if given.iter().skip(56).any(|&b| b != 0) {
        attr.write(SCHED_ATTR_SIZE_VER0)?;
        return Err(Errno::E2BIG.because("sched_attr has fields that are not known here"));
    }
    let word = |at: usize| given.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let attr_flags = u64::from(word(8)) | u64::from(word(12)) << 32;
    let target = thread_by_tid(t, tid)?;
    let now = target.attributes();
    let keep_policy = attr_flags & FLAG_KEEP_POLICY != 0;
    let policy = if keep_policy { now.policy } else { word(4) };
    let keep_params = attr_flags & FLAG_KEEP_PARAMS != 0;
    let wish = Wish {
        policy,
        rt_priority: if keep_params { now.rt_priority } else { word(20) },
        reset_on_fork: attr_flags & FLAG_RESET_ON_FORK != 0,
        nice: (!keep_params && !is_realtime(policy)).then(|| (word(16) as i32).clamp(-20, 19)),
    };
    set_scheduling(t, &target, &wish).map(|()| 0)
}

/// sched_getattr(2)
pub fn sys_sched_getattr(t: &Thread, tid: Tid, attr: UserPtr<u8>, size: u32, flags: u32) -> Result<usize> {
    if attr.is_null() || flags != 0 || size < SCHED_ATTR_SIZE_VER0 || size as usize > crate::abi::PAGE_SIZE {
        return Err(Errno::EINVAL.because("sched_getattr needs room of 48 bytes to a page, and no flags"));
    }
    let a = thread_by_tid(t, tid)?.attributes();
    let nice = if is_realtime(a.policy) { 0 } else { a.nice };
    let words = [SCHED_ATTR_SIZE_VER0, a.policy, u32::from(a.reset_on_fork), 0, nice as u32, a.rt_priority];
    let mut out = [0u8; SCHED_ATTR_SIZE_VER0 as usize];
    for (slot, word) in out.chunks_mut(4).zip(words) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    UserSlice::new(attr.addr(), out.len()).write(&out)?;
    Ok(0)
}

/// sched_get_priority_max(2)
pub fn sys_sched_get_priority_max(_t: &Thread, policy: u32) -> Result<usize> {
    priority_limit(policy, MAX_RT_PRIORITY as usize)
}

/// sched_get_priority_min(2)
pub fn sys_sched_get_priority_min(_t: &Thread, policy: u32) -> Result<usize> {
    priority_limit(policy, 1)
}

fn priority_limit(policy: u32, realtime: usize) -> Result<usize> {
    match policy {
        policy::FIFO | policy::RR => Ok(realtime),
        policy::OTHER | policy::BATCH | policy::IDLE | DEADLINE => Ok(0),
        _ => Err(Errno::EINVAL.because("no such scheduling policy")),
    }
}

/// sched_rr_get_interval(2): the slice that all threads have; none under SCHED_FIFO, as on Linux.
pub fn sys_sched_rr_get_interval(t: &Thread, tid: Tid, at: UserPtr<__kernel_timespec>) -> Result<usize> {
    let policy = thread_by_tid(t, tid)?.attributes().policy;
    let slice = if policy == policy::FIFO { Duration::ZERO } else { sched::TIME_SLICE };
    at.write(timespec_of(slice))?;
    Ok(0)
}

/// sched_setaffinity(2)
pub fn sys_sched_setaffinity(t: &Thread, tid: Tid, size: usize, mask: UserPtr<u8>) -> Result<usize> {
    let mut bytes = [0u8; 8];
    UserSlice::new(mask.addr(), size).read(&mut bytes)?;
    let target = thread_by_tid(t, tid)?;
    check_owner(t, &target)?;
    let wanted = u64::from_le_bytes(bytes) & VCPUS;
    if wanted == 0 {
        return Err(Errno::EINVAL.because("no vCPU of this machine is in the mask"));
    }
    target.update_attributes(|a| a.affinity = wanted);
    Ok(0)
}

/// sched_getaffinity(2): the result is the number of bytes written.
pub fn sys_sched_getaffinity(t: &Thread, tid: Tid, size: usize, mask: UserPtr<u64>) -> Result<usize> {
    if size < size_of::<u64>() || !size.is_multiple_of(size_of::<u64>()) {
        return Err(Errno::EINVAL.because("the mask is too small, or no whole number of words"));
    }
    mask.write(thread_by_tid(t, tid)?.attributes().affinity & VCPUS)?;
    Ok(size_of::<u64>())
}

/// The threads that getpriority(2) and ioprio_get(2) mean. ESRCH if there are none.
fn threads_of(t: &Thread, kind: Whose, id: i32) -> Result<Vec<Arc<Thread>>> {
    let all = |matches: &dyn Fn(&Process) -> bool| -> Vec<Arc<Thread>> {
        task::all_processes().iter().filter(|p| matches(p)).flat_map(|p| p.threads()).collect()
    };
    let found = match kind {
        Whose::Thread if id < 0 => Vec::new(),
        Whose::Thread => alloc::vec![thread_named(t, Tid(id))?],
        Whose::Group => {
            let group = if id == 0 { t.process().group() } else { Pid(id) };
            all(&|p| p.group() == group)
        }
        Whose::User => {
            let uid = if id == 0 { t.credentials().ruid.0 } else { id as u32 };
            all(&|p| p.credentials().is_some_and(|c| c.ruid.0 == uid))
        }
    };
    if found.is_empty() { Err(Errno::ESRCH.into()) } else { Ok(found) }
}

#[derive(Clone, Copy)]
enum Whose {
    Thread,
    Group,
    User,
}

fn priority_kind(which: i32) -> Result<Whose> {
    match which {
        0 => Ok(Whose::Thread),
        1 => Ok(Whose::Group),
        2 => Ok(Whose::User),
        _ => Err(Errno::EINVAL.because("getpriority knows PRIO_PROCESS, PRIO_PGRP and PRIO_USER")),
    }
}

/// getpriority(2). The kernel's answer is 20 minus the nice value, so that it is never negative.
pub fn sys_getpriority(t: &Thread, which: i32, id: i32) -> Result<usize> {
    let threads = threads_of(t, priority_kind(which)?, id)?;
    let nicest = threads.iter().map(|o| 20 - o.attributes().nice).max().unwrap_or(20);
    Ok(nicest as usize)
}

/// RLIMIT_NICE counts from 20 down: a limit of 25 allows a nice value of −5.
fn may_lower_nice_to(target: &Thread, nice: i32) -> bool {
    target.process().rlimits().get(Resource::Nice).rlim_cur >= (20 - nice) as u64
}

/// setpriority(2)
pub fn sys_setpriority(t: &Thread, which: i32, id: i32, nice: i32) -> Result<usize> {
    let nice = nice.clamp(-20, 19);
    let privileged = t.credentials().capable(Capability::SysNice);
    let mut result = Ok(0);
    for target in threads_of(t, priority_kind(which)?, id)? {
        let now = target.attributes().nice;
        if check_owner(t, &target).is_err() {
            result = Err(Errno::EPERM.because("neither the same user nor CAP_SYS_NICE"));
        } else if nice < now && !privileged && !may_lower_nice_to(&target, nice) {
            result = Err(Errno::EACCES.because("a lower nice value needs CAP_SYS_NICE or RLIMIT_NICE"));
        } else {
            target.update_attributes(|a| a.nice = nice);
        }
    }
    result
}

fn ioprio_kind(which: i32) -> Result<Whose> {
    match which {
        1 => Ok(Whose::Thread),
        2 => Ok(Whose::Group),
        3 => Ok(Whose::User),
        _ => Err(Errno::EINVAL.because("ioprio_get knows IOPRIO_WHO_PROCESS, _PGRP and _USER")),
    }
}

/// ioprio_get(2): the best of those meant; class 0 (none set) counts as the class in the middle, best effort.
pub fn sys_ioprio_get(t: &Thread, which: i32, id: i32) -> Result<usize> {
    let rank = |value: u32| if value >> IOPRIO_CLASS_SHIFT == 0 { IOPRIO_DEFAULT_RANK } else { value };
    let values = threads_of(t, ioprio_kind(which)?, id)?;
    Ok(values.iter().map(|o| o.attributes().ioprio).min_by_key(|v| rank(*v)).unwrap_or(0) as usize)
}

/// Bits below the class.
const IOPRIO_CLASS_SHIFT: u32 = 13;
/// Best effort, level 4.
const IOPRIO_DEFAULT_RANK: u32 = 2 << IOPRIO_CLASS_SHIFT | 4;

/// ioprio_set(2)
pub fn sys_ioprio_set(t: &Thread, which: i32, id: i32, value: u32) -> Result<usize> {
    // Between the level's three bits and the class stand hints for devices, which nobody here reads.
    const LEVEL_MASK: u32 = 7;
    const CLASS_MASK: u32 = 7;
    let (class, level) = (value >> IOPRIO_CLASS_SHIFT & CLASS_MASK, value & LEVEL_MASK);
    match class {
        0 if level == 0 => {}
        1 if !t.credentials().capable(Capability::SysNice) => {
            return Err(Errno::EPERM.because("the real-time class needs CAP_SYS_NICE"));
        }
        1..=3 => {}
        _ => return Err(Errno::EINVAL.because("no such I/O priority")),
    }
    let store = |a: &mut Attributes| a.ioprio = value & u32::from(u16::MAX);
    for target in threads_of(t, ioprio_kind(which)?, id)? {
        check_owner(t, &target)?;
        target.update_attributes(store);
    }
    Ok(0)
}
