//! epoll_create(2), epoll_ctl(2), epoll_wait(2).

use super::at;
use crate::abi::general::{__kernel_timespec, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD};
use crate::error::{Errno, Result};
use crate::fs::epoll::{Epoll, Event};
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::poll::Patience;
use crate::mm::UserPtr;
use crate::signal::TemporaryMask;
use crate::task::{Fd, Thread};
use crate::time::timespec::duration_of;
use crate::time::{self, Duration, Instant};
use alloc::vec::Vec;

/// `struct epoll_event`, packed on x86-64: events, data low, data high.
type PackedEvent = [u32; 3];

/// Most events in one call (`EP_MAX_EVENTS`).
const MAX_EVENTS: usize = i32::MAX as usize / size_of::<PackedEvent>();
/// Most events that are gathered at once; more are left for the next call.
const BATCH: usize = 4096;

/// epoll_create1(2).
pub fn sys_epoll_create1(t: &Thread, flags: u32) -> Result<usize> {
    if flags & !OpenFlags::CLOEXEC.bits() != 0 {
        return Err(Errno::EINVAL.because("epoll_create1 knows EPOLL_CLOEXEC"));
    }
    at::install(t, OpenFile::anonymous(Epoll::new(), OpenFlags::RDWR), flags != 0)
}

/// epoll_create(2); the size only has to be positive.
pub fn sys_epoll_create(t: &Thread, size: i32) -> Result<usize> {
    if size <= 0 {
        return Err(Errno::EINVAL.because("the size must be positive"));
    }
    sys_epoll_create1(t, 0)
}

fn instance(file: &OpenFile) -> Result<&Epoll> {
    file.ops().downcast_ref::<Epoll>().ok_or_else(|| Errno::EINVAL.because("not an epoll instance"))
}

/// epoll_ctl(2).
pub fn sys_epoll_ctl(t: &Thread, epfd: Fd, op: u32, fd: Fd, event: UserPtr<PackedEvent>) -> Result<usize> {
    let wanted = match op {
        EPOLL_CTL_DEL => Event { events: 0, data: 0 },
        _ => {
            let [events, low, high] = event.read()?;
            Event { events, data: u64::from(low) | u64::from(high) << 32 }
        }
    };
    let file = at::file(t, epfd)?;
    let target = at::file(t, fd)?;
    if alloc::sync::Arc::ptr_eq(&file, &target) {
        return Err(Errno::EINVAL.because("an instance does not watch itself"));
    }
    let epoll = instance(&file)?;
    match op {
        EPOLL_CTL_ADD => epoll.add(fd, &target, wanted)?,
        EPOLL_CTL_MOD => epoll.modify(fd, &target, wanted)?,
        EPOLL_CTL_DEL => epoll.remove(fd, &target)?,
        _ => return Err(Errno::EINVAL.because("unknown epoll operation")),
    }
    Ok(0)
}

fn do_epoll_wait(
    t: &Thread,
    epfd: Fd,
    out: UserPtr<PackedEvent>,
    max: i32,
    deadline: Option<Instant>,
) -> Result<usize> {
    let max = usize::try_from(max).ok().filter(|n| (1..=MAX_EVENTS).contains(n));
    let max = max.ok_or_else(|| Errno::EINVAL.because("maxevents must be positive"))?;
    crate::mm::check_user_range(out.addr(), max * size_of::<PackedEvent>())?;
    let file = at::file(t, epfd)?;
    let found = instance(&file)?.wait(t, max.min(BATCH), Patience::until(deadline))?;
    let packed: Vec<PackedEvent> = found.iter().map(|e| [e.events, e.data as u32, (e.data >> 32) as u32]).collect();
    out.write_many(&packed)?;
    Ok(packed.len())
}

/// A timeout in milliseconds; negative is none.
fn deadline_in_ms(timeout: i32) -> Option<Instant> {
    u64::try_from(timeout).ok().map(|ms| time::now() + Duration::from_millis(ms))
}

/// epoll_wait(2).
pub fn sys_epoll_wait(t: &Thread, epfd: Fd, out: UserPtr<PackedEvent>, max: i32, timeout: i32) -> Result<usize> {
    do_epoll_wait(t, epfd, out, max, deadline_in_ms(timeout))
}

fn wait_with_mask(
    t: &Thread,
    mask: UserPtr<u64>,
    mask_size: usize,
    wait: impl FnOnce() -> Result<usize>,
) -> Result<usize> {
    let mask = TemporaryMask::set(t, TemporaryMask::read(mask, mask_size)?);
    let result = wait();
    mask.end(result.is_err_and(|e| e.errno() == Errno::EINTR));
    result
}

/// epoll_pwait(2).
pub fn sys_epoll_pwait(
    t: &Thread,
    epfd: Fd,
    out: UserPtr<PackedEvent>,
    max: i32,
    timeout: i32,
    mask: UserPtr<u64>,
    mask_size: usize,
) -> Result<usize> {
    let deadline = deadline_in_ms(timeout);
    wait_with_mask(t, mask, mask_size, || do_epoll_wait(t, epfd, out, max, deadline))
}

/// epoll_pwait2(2).
pub fn sys_epoll_pwait2(
    t: &Thread,
    epfd: Fd,
    out: UserPtr<PackedEvent>,
    max: i32,
    timeout: UserPtr<__kernel_timespec>,
    mask: UserPtr<u64>,
    mask_size: usize,
) -> Result<usize> {
    let deadline = match timeout.non_null() {
        Some(p) => Some(time::now() + duration_of(p.read()?)?),
        None => None,
    };
    wait_with_mask(t, mask, mask_size, || do_epoll_wait(t, epfd, out, max, deadline))
}
