//! Waiting for several files: poll(2), ppoll(2), select(2), pselect(2).
//!
//! All of them register the thread with every file's queues once, and look again at each wake-up. Interrupted by a
//! signal, poll(2) goes on through a restart block with its deadline kept; the others start again only if no handler
//! ran (signal(7)).

use super::at;
use crate::abi::general::{__kernel_old_timeval, __kernel_timespec};
use crate::error::{Errno, Result};
use crate::fs::file::OpenFile;
use crate::fs::poll::{Patience, PollEvents, PollWatch};
use crate::mm::UserPtr;
use crate::sched::{self, WaitEnd};
use crate::signal::{RestartBlock, TemporaryMask};
use crate::task::{Fd, Thread};
use crate::time::timespec::{duration_of, timespec_of, timeval_of};
use crate::time::{self, Duration, Instant};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What a descriptor of interest stands for.
enum Subject {
    /// Nothing: it is not open.
    Closed,
    /// A file that is always ready: it need not be held on to.
    Ready,
    File(Arc<OpenFile>),
}

/// A descriptor of interest.
struct Wanted {
    subject: Subject,
    /// What ends the wait.
    interest: PollEvents,
}

impl Wanted {
    fn new(file: &Arc<OpenFile>, interest: PollEvents) -> Self {
        let subject = if file.has_readiness() { Subject::File(file.clone()) } else { Subject::Ready };
        Wanted { subject, interest }
    }

    fn look(&self, watch: &mut PollWatch<'_>) -> PollEvents {
        match &self.subject {
            Subject::File(file) => file.poll(watch) & self.interest,
            Subject::Ready => (PollEvents::READABLE | PollEvents::WRITABLE) & self.interest,
            Subject::Closed => PollEvents::NVAL,
        }
    }
}

/// The present events of each file; waits until some file has any. Also says whether a signal ended the wait.
fn wait_for_any(t: &Thread, wanted: &[Wanted], patience: Patience) -> (Vec<PollEvents>, bool) {
    let found: Vec<PollEvents> = wanted.iter().map(|w| w.look(&mut PollWatch::look())).collect();
    let any = |found: &[PollEvents]| found.iter().any(|e| !e.is_empty());
    if any(&found) {
        return (found, false);
    }
    // As Linux: a pending signal ends even a call that does not wait, so that a mask can let signals in for a moment.
    let Some(deadline) = patience.deadline() else { return (found, t.signal_pending()) };
    let mut watches: Vec<PollWatch<'_>> = wanted.iter().map(|w| PollWatch::for_thread(t, w.interest)).collect();
    let mut first = true;
    let mut found = found;
    let end = sched::block_on(t, deadline, || {
        for ((w, watch), events) in wanted.iter().zip(&mut watches).zip(&mut found) {
            *events = w.look(watch);
            if first {
                watch.only_look();
            }
        }
        first = false;
        any(&found).then_some(())
    });
    (found, end == Err(WaitEnd::Interrupted) || (end == Err(WaitEnd::TimedOut) && t.signal_pending()))
}

/// The instant that a relative timeout ends.
fn deadline_after(timeout: Option<Duration>) -> Option<Instant> {
    timeout.map(|d| time::now() + d)
}

/// `struct pollfd`: descriptor (two halves), events, revents.
type PollFd = [u16; 4];

fn do_poll(t: &Thread, fds: UserPtr<PollFd>, count: u32, patience: Patience) -> Result<(usize, bool)> {
    if u64::from(count) > at::open_limit(t) {
        return Err(Errno::EINVAL.because("more descriptors than RLIMIT_NOFILE"));
    }
    let entries = fds.read_many(count as usize)?;
    let mut wanted = Vec::with_capacity(entries.len());
    // Negative descriptors are passed over: they take part with no file and no events.
    let mut indices = Vec::with_capacity(entries.len());
    let files = t.files();
    let table = files.lookup();
    for (i, &[low, high, events, _]) in entries.iter().enumerate() {
        let fd = Fd((u32::from(low) | u32::from(high) << 16) as i32);
        if fd.0 >= 0 {
            // Errors and hang-ups are reported unasked; select(2) does not.
            let interest = PollEvents::from_bits_truncate(u32::from(events)) | PollEvents::ALWAYS;
            let file = table.get(fd).ok().filter(|f| !f.is_path_only());
            wanted.push(file.map_or(Wanted { subject: Subject::Closed, interest }, |f| Wanted::new(f, interest)));
            indices.push(i);
        }
    }
    drop(table);
    drop(files);
    let (found, interrupted) = wait_for_any(t, &wanted, patience);
    let mut revents = alloc::vec![0u16; entries.len()];
    for (i, events) in indices.iter().zip(&found) {
        revents[*i] = events.bits() as u16;
    }
    for (i, events) in revents.iter().enumerate() {
        UserPtr::<u16>::new(fds.add(i).addr() + 6).write(*events)?;
    }
    let ready = found.iter().filter(|e| !e.is_empty()).count();
    Ok((ready, interrupted && ready == 0))
}

fn poll_until(t: &Thread, fds: UserPtr<PollFd>, count: u32, deadline: Option<Instant>) -> Result<usize> {
    let (ready, interrupted) = do_poll(t, fds, count, Patience::until(deadline))?;
    if !interrupted {
        return Ok(ready);
    }
    let at = deadline.unwrap_or(Instant::FAR_FUTURE);
    let args = [fds.addr() as u64, u64::from(count), at.as_nanos(), 0, 0, 0];
    t.signals.set_restart(RestartBlock { resume: resume_poll, args });
    Err(Errno::ERESTART_RESTARTBLOCK.into())
}

fn resume_poll(t: &Thread, args: &[u64; 6]) -> Result<usize> {
    let [fds, count, at, ..] = *args;
    let deadline = Some(Instant(at)).filter(|&at| at != Instant::FAR_FUTURE);
    poll_until(t, UserPtr::new(fds as usize), count as u32, deadline)
}

/// poll(2); the timeout is in milliseconds, negative for none.
pub fn sys_poll(t: &Thread, fds: UserPtr<PollFd>, count: u32, timeout: i32) -> Result<usize> {
    let timeout = u64::try_from(timeout).ok().map(Duration::from_millis);
    poll_until(t, fds, count, deadline_after(timeout))
}

/// ppoll(2) as the kernel has it: the time that was left is written back.
pub fn sys_ppoll(
    t: &Thread,
    fds: UserPtr<PollFd>,
    count: u32,
    timeout: UserPtr<__kernel_timespec>,
    mask: UserPtr<u64>,
    mask_size: usize,
) -> Result<usize> {
    let deadline = deadline_after(read_timespec(timeout)?);
    let mask = TemporaryMask::set(t, TemporaryMask::read(mask, mask_size)?);
    let result = do_poll(t, fds, count, Patience::until(deadline));
    mask.end(matches!(result, Ok((_, true))));
    let (ready, interrupted) = result?;
    let written = write_timespec(timeout, deadline);
    finish(ready, interrupted, written)
}

fn read_timespec(timeout: UserPtr<__kernel_timespec>) -> Result<Option<Duration>> {
    match timeout.non_null() {
        Some(p) => Ok(Some(duration_of(p.read()?)?)),
        None => Ok(None),
    }
}

fn time_left(deadline: Option<Instant>) -> Duration {
    deadline.map_or(Duration::ZERO, |at| at.saturating_since(time::now()))
}

fn write_timespec(timeout: UserPtr<__kernel_timespec>, deadline: Option<Instant>) -> Result<()> {
    timeout.write_if_given(timespec_of(time_left(deadline)))
}

/// The end of ppoll and select. Where the remaining time could not be written back, the call must not start again: it
/// would wait too long.
fn finish(ready: usize, interrupted: bool, written: Result<()>) -> Result<usize> {
    match (interrupted, written) {
        (false, _) => Ok(ready),
        (true, Ok(())) => Err(Errno::ERESTARTNOHAND.into()),
        (true, Err(_)) => Err(Errno::EINTR.into()),
    }
}

const READ_EVENTS: PollEvents =
    PollEvents::READABLE.union(PollEvents::RDBAND).union(PollEvents::HUP).union(PollEvents::ERR);
const WRITE_EVENTS: PollEvents = PollEvents::WRITABLE.union(PollEvents::WRBAND).union(PollEvents::ERR);
const EXCEPT_EVENTS: PollEvents = PollEvents::PRI;

/// A descriptor set in guest memory: one bit per descriptor, in 64-bit words.
struct FdSet {
    at: UserPtr<u64>,
    words: Vec<u64>,
    events: PollEvents,
}

impl FdSet {
    fn read(at: UserPtr<u64>, count: usize, events: PollEvents) -> Result<Self> {
        let words = match at.non_null() {
            Some(p) => p.read_many(count.div_ceil(64))?,
            None => Vec::new(),
        };
        Ok(FdSet { at, words, events })
    }

    /// The descriptors from `64 * index` on, a bit each.
    fn word(&self, index: usize) -> u64 {
        self.words.get(index).copied().unwrap_or(0)
    }

    /// Leaves those descriptors in the set that `ready` names; returns how many.
    fn keep(&mut self, ready: &[(usize, PollEvents)]) -> usize {
        if self.words.is_empty() {
            return 0;
        }
        let mut out = alloc::vec![0u64; self.words.len()];
        for &(fd, _) in ready.iter().filter(|(_, events)| events.intersects(self.events)) {
            out[fd / 64] |= self.words[fd / 64] & (1 << (fd % 64));
        }
        self.words = out;
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    fn write(&self) -> Result<()> {
        if self.words.is_empty() { Ok(()) } else { self.at.write_many(&self.words) }
    }
}

/// The three sets of select(2).
#[derive(Clone, Copy)]
struct SetPointers([UserPtr<u64>; 3]);

fn do_select(t: &Thread, count: i32, sets: SetPointers, patience: Patience) -> Result<(usize, bool)> {
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL.because("a negative number of descriptors"))?;
    let files = t.files();
    // As Linux: what lies beyond the descriptor table's size is not looked at.
    let count = count.min(files.capacity().next_multiple_of(64).max(64));
    let [r, w, e] = sets.0;
    let mut sets = [
        FdSet::read(r, count, READ_EVENTS)?,
        FdSet::read(w, count, WRITE_EVENTS)?,
        FdSet::read(e, count, EXCEPT_EVENTS)?,
    ];
    let mut fds = Vec::new();
    let mut wanted = Vec::new();
    let table = files.lookup();
    for index in 0..count.div_ceil(64) {
        let words = [0, 1, 2].map(|set: usize| sets[set].word(index));
        let mut left = words[0] | words[1] | words[2];
        while left != 0 {
            let bit = left.trailing_zeros();
            left &= left - 1;
            let fd = index * 64 + bit as usize;
            if fd >= count {
                break;
            }
            let file = table.get(Fd(fd as i32))?;
            if file.is_path_only() {
                return Err(Errno::EBADF.because("an O_PATH descriptor"));
            }
            let asked = sets.iter().zip(words).filter(|(_, word)| word >> bit & 1 != 0);
            fds.push(fd);
            wanted.push(Wanted::new(file, asked.fold(PollEvents::empty(), |all, (set, _)| all | set.events)));
        }
    }
    drop(table);
    drop(files);
    let (found, interrupted) = wait_for_any(t, &wanted, patience);
    let ready: Vec<(usize, PollEvents)> = fds.into_iter().zip(found).filter(|(_, events)| !events.is_empty()).collect();
    let total = sets.iter_mut().map(|s| s.keep(&ready)).sum();
    if interrupted && total == 0 {
        return Ok((0, true));
    }
    for set in &sets {
        set.write()?;
    }
    Ok((total, false))
}

/// select(2) as the kernel has it: the time that was left is written back.
pub fn sys_select(
    t: &Thread,
    count: i32,
    read: UserPtr<u64>,
    write: UserPtr<u64>,
    except: UserPtr<u64>,
    timeout: UserPtr<__kernel_old_timeval>,
) -> Result<usize> {
    let span = match timeout.non_null() {
        Some(p) => Some(select_timeout(p.read()?)?),
        None => None,
    };
    let deadline = deadline_after(span);
    let (ready, interrupted) = do_select(t, count, SetPointers([read, write, except]), Patience::until(deadline))?;
    let written = timeout.write_if_given(timeval_of(time_left(deadline)));
    finish(ready, interrupted, written)
}

/// select(2) takes more than a second's worth of microseconds, other calls do not.
fn select_timeout(tv: __kernel_old_timeval) -> Result<Duration> {
    match (u64::try_from(tv.tv_sec), u64::try_from(tv.tv_usec)) {
        (Ok(s), Ok(us)) => Ok(Duration::from_secs(s).saturating_add(Duration::from_micros(us))),
        _ => Err(Errno::EINVAL.because("a negative timeout")),
    }
}

/// pselect(2) as the kernel has it: the sixth argument points to the signal mask and its size.
pub fn sys_pselect6(
    t: &Thread,
    count: i32,
    read: UserPtr<u64>,
    write: UserPtr<u64>,
    except: UserPtr<u64>,
    timeout: UserPtr<__kernel_timespec>,
    mask: UserPtr<[usize; 2]>,
) -> Result<usize> {
    let deadline = deadline_after(read_timespec(timeout)?);
    let mask = match mask.non_null() {
        Some(p) => {
            let [at, size] = p.read()?;
            TemporaryMask::read(UserPtr::new(at), size)?
        }
        None => None,
    };
    let mask = TemporaryMask::set(t, mask);
    let result = do_select(t, count, SetPointers([read, write, except]), Patience::until(deadline));
    mask.end(matches!(result, Ok((_, true))));
    let (ready, interrupted) = result?;
    let written = write_timespec(timeout, deadline);
    finish(ready, interrupted, written)
}
