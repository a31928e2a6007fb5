//! futex(2), robust lists, futex_waitv(2).

use crate::abi::general as c;
use crate::abi::general::__kernel_timespec;
use crate::error::{Errno, Result};
use crate::ipc::futex::{self, ANY, Expectation, Key, WakeOp};
use crate::mm::UserPtr;
use crate::signal::RestartBlock;
use crate::task::{Capability, Thread, Tid};
use crate::time::guest_clock::Clock;
use crate::time::{self, Instant, timespec};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

/// Bytes of `struct robust_list_head`.
const ROBUST_LIST_HEAD_SIZE: usize = 24;
/// `struct futex_waitv`: value, address, flags, reserved.
type FutexWaitv = [u64; 3];
const FUTEX2_SIZE_MASK: u32 = 3;
const FUTEX2_SIZE_U32: u32 = 2;
const FUTEX2_PRIVATE: u32 = 128;

/// The clock of an absolute timeout.
fn clock(realtime: bool) -> Clock {
    if realtime { Clock::Realtime } else { Clock::Monotonic }
}

fn absolute(timeout: UserPtr<__kernel_timespec>, realtime: bool) -> Result<Option<Instant>> {
    match timeout.non_null() {
        Some(p) => Ok(Some(clock(realtime).instant_of(timespec::duration_of(p.read()?)?))),
        None => Ok(None),
    }
}

fn relative(timeout: UserPtr<__kernel_timespec>) -> Result<Option<Instant>> {
    match timeout.non_null() {
        Some(p) => Ok(Some(time::now() + timespec::duration_of(p.read()?)?)),
        None => Ok(None),
    }
}

/// How many waiters FUTEX_WAKE is to wake: Linux wakes one even if asked for none or fewer.
fn at_least_one(n: u32) -> usize {
    (n as i32).max(1) as usize
}

/// A count of waiters where none may be meant; negative ones are none.
fn count(n: u32) -> usize {
    (n as i32).max(0) as usize
}

/// futex(2)
pub fn sys_futex(
    t: &Thread,
    at: UserPtr<u32>,
    op: u32,
    value: u32,
    timeout: UserPtr<__kernel_timespec>,
    second: UserPtr<u32>,
    value3: u32,
) -> Result<usize> {
    let private = op & c::FUTEX_PRIVATE_FLAG != 0;
    let realtime = op & c::FUTEX_CLOCK_REALTIME != 0;
    let command = op & !(c::FUTEX_PRIVATE_FLAG | c::FUTEX_CLOCK_REALTIME);
    let may_have_clock = [c::FUTEX_WAIT_BITSET, c::FUTEX_WAIT_REQUEUE_PI, c::FUTEX_LOCK_PI2];
    if realtime && !may_have_clock.contains(&command) {
        return Err(Errno::ENOSYS.because("FUTEX_CLOCK_REALTIME does not go with this operation"));
    }
    let key = Key::new(t, at.addr(), private);
    let other = || Key::new(t, second.addr(), private);
    let value2 = count(timeout.addr() as u32);
    match command {
        c::FUTEX_WAIT => wait(t, at, private, value, ANY, relative(timeout)?),
        c::FUTEX_WAIT_BITSET if value3 == 0 => Err(Errno::EINVAL.because("an empty bitset")),
        c::FUTEX_WAIT_BITSET => wait(t, at, private, value, value3, absolute(timeout, realtime)?),
        c::FUTEX_WAKE => futex::wake(key?, at_least_one(value), ANY),
        c::FUTEX_WAKE_BITSET if value3 == 0 => Err(Errno::EINVAL.because("an empty bitset")),
        c::FUTEX_WAKE_BITSET => futex::wake(key?, at_least_one(value), value3),
        c::FUTEX_REQUEUE | c::FUTEX_CMP_REQUEUE => {
            if (value as i32) < 0 || (timeout.addr() as i32) < 0 {
                return Err(Errno::EINVAL.because("a negative count"));
            }
            let expected = (command == c::FUTEX_CMP_REQUEUE).then_some(value3);
            let (woken, moved) = futex::requeue(key?, other()?, count(value), value2, expected)?;
            Ok(woken + moved)
        }
        c::FUTEX_WAKE_OP => futex::wake_op(key?, other()?, at_least_one(value), value2.max(1), WakeOp::decode(value3)?),
        c::FUTEX_LOCK_PI => futex::lock_pi(t, key?, absolute(timeout, true)?, false).map(|()| 0),
        c::FUTEX_LOCK_PI2 => futex::lock_pi(t, key?, absolute(timeout, realtime)?, false).map(|()| 0),
        c::FUTEX_TRYLOCK_PI => futex::lock_pi(t, key?, None, true).map(|()| 0),
        c::FUTEX_UNLOCK_PI => futex::unlock_pi(t, key?).map(|()| 0),
        c::FUTEX_WAIT_REQUEUE_PI => {
            let on = Expectation { key: key?, value, bitset: ANY };
            futex::wait_requeue_pi(t, on, other()?, absolute(timeout, realtime)?).map(|()| 0)
        }
        c::FUTEX_CMP_REQUEUE_PI => {
            if value != 1 || (timeout.addr() as i32) < 0 {
                return Err(Errno::EINVAL.because("FUTEX_CMP_REQUEUE_PI wakes one"));
            }
            futex::cmp_requeue_pi(key?, other()?, value2, value3)
        }
        _ => Err(Errno::ENOSYS.because("no such futex operation here")),
    }
}

/// A wait that starts again by itself if it has no deadline, and through a restart block if it has one.
fn wait(
    t: &Thread,
    at: UserPtr<u32>,
    private: bool,
    value: u32,
    bitset: u32,
    deadline: Option<Instant>,
) -> Result<usize> {
    let key = Key::new(t, at.addr(), private)?;
    match futex::wait_any(t, &[Expectation { key, value, bitset }], deadline) {
        Ok(_) => Ok(0),
        Err(e) if e.errno() == Errno::ERESTARTSYS => match deadline {
            None => Err(e),
            Some(until) => {
                let (value, bitset) = (u64::from(value), u64::from(bitset));
                let args = [at.addr() as u64, u64::from(private), value, bitset, until.as_nanos(), 0];
                t.signals.set_restart(RestartBlock { resume: resume_wait, args });
                Err(Errno::ERESTART_RESTARTBLOCK.into())
            }
        },
        Err(e) => Err(e),
    }
}

fn resume_wait(t: &Thread, args: &[u64; 6]) -> Result<usize> {
    let [addr, private, value, bitset, until, _] = *args;
    wait(t, UserPtr::new(addr as usize), private != 0, value as u32, bitset as u32, Some(Instant(until)))
}

/// set_robust_list(2)
pub fn sys_set_robust_list(t: &Thread, head: usize, size: usize) -> Result<usize> {
    if size != ROBUST_LIST_HEAD_SIZE {
        return Err(Errno::EINVAL.because("struct robust_list_head has 24 bytes"));
    }
    t.robust_list.store(head, Ordering::Relaxed);
    Ok(0)
}

/// get_robust_list(2)
pub fn sys_get_robust_list(t: &Thread, tid: Tid, head: UserPtr<usize>, size: UserPtr<usize>) -> Result<usize> {
    let target = super::process::thread_named(t, tid)?;
    let (mine, theirs) = (t.credentials(), target.credentials());
    if mine.euid != theirs.euid && !mine.capable(Capability::SysPtrace) {
        return Err(Errno::EPERM.because("another user's thread"));
    }
    size.write(ROBUST_LIST_HEAD_SIZE)?;
    head.write(target.robust_list.load(Ordering::Relaxed))?;
    Ok(0)
}

/// futex_waitv(2)
pub fn sys_futex_waitv(
    t: &Thread,
    waiters: UserPtr<FutexWaitv>,
    n: u32,
    flags: u32,
    timeout: UserPtr<__kernel_timespec>,
    clock_id: i32,
) -> Result<usize> {
    if flags != 0 || n == 0 || n > c::FUTEX_WAITV_MAX {
        return Err(Errno::EINVAL.because("futex_waitv takes 1 to 128 futexes and no flags"));
    }
    let deadline = match (timeout.non_null(), clock_id) {
        (None, _) => None,
        (Some(_), 0) => absolute(timeout, true)?,
        (Some(_), 1) => absolute(timeout, false)?,
        _ => return Err(Errno::EINVAL.because("futex_waitv knows CLOCK_REALTIME and CLOCK_MONOTONIC")),
    };
    let mut futexes = Vec::with_capacity(n as usize);
    for [value, addr, flags_and_reserved] in waiters.read_many(n as usize)? {
        let (flags, reserved) = (flags_and_reserved as u32, flags_and_reserved >> 32);
        if reserved != 0 || flags & !FUTEX2_PRIVATE != FUTEX2_SIZE_U32 || flags & FUTEX2_SIZE_MASK != FUTEX2_SIZE_U32 {
            return Err(Errno::EINVAL.because("futex_waitv knows 32-bit futexes, private or shared"));
        }
        let key = Key::new(t, addr as usize, flags & FUTEX2_PRIVATE != 0)?;
        futexes.push(Expectation { key, value: value as u32, bitset: ANY });
    }
    futex::wait_any(t, &futexes, deadline)
}
