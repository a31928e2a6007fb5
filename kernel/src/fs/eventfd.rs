//! eventfd(2): a counter that can be waited for.

use super::file::{FileOps, OpenFile};
use super::poll::{PollEvents, PollWatch};
use crate::error::{Errno, Result};
use crate::mm::{IovDest, IovSource};
use crate::sched::WaitQueue;
use crate::sync::{Rank, SpinLock};
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

/// The largest value of the counter.
const MAX: u64 = u64::MAX - 1;

/// The file behind an eventfd.
pub struct EventFd {
    id: u64,
    count: SpinLock<u64>,
    /// Whether a read takes 1 instead of everything (`EFD_SEMAPHORE`).
    semaphore: bool,
    changed: Arc<WaitQueue>,
}

impl EventFd {
    /// A counter that starts at `count`.
    pub fn new(count: u64, semaphore: bool) -> Arc<Self> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        Arc::new(EventFd {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            count: SpinLock::new(Rank::Pipe, count),
            semaphore,
            changed: Arc::new(WaitQueue::new()),
        })
    }

    /// Adds to the counter. EAGAIN if that would take it beyond its maximum.
    pub fn add(&self, n: u64) -> Result<()> {
        {
            let mut count = self.count.lock();
            *count = count.checked_add(n).filter(|&sum| sum <= MAX).ok_or(Errno::EAGAIN)?;
        }
        if n > 0 {
            self.changed.wake(PollEvents::READABLE);
        }
        Ok(())
    }

    /// Takes from the counter. EAGAIN if it is 0.
    pub fn take(&self) -> Result<u64> {
        let taken = {
            let mut count = self.count.lock();
            if *count == 0 {
                return Err(Errno::EAGAIN.into());
            }
            let taken = if self.semaphore { 1 } else { *count };
            *count -= taken;
            taken
        };
        self.changed.wake(PollEvents::WRITABLE);
        Ok(taken)
    }
}

impl FileOps for EventFd {
    fn read(&self, _file: &OpenFile, dst: &mut IovDest<'_>, _offset: Option<u64>) -> Result<usize> {
        if dst.remaining() < 8 {
            return Err(Errno::EINVAL.because("an eventfd is read in 8 bytes"));
        }
        let value = self.take()?;
        dst.put(&value.to_ne_bytes())
    }

    fn write(&self, _file: &OpenFile, src: &mut IovSource<'_>, _offset: Option<u64>) -> Result<usize> {
        if src.remaining() < 8 {
            return Err(Errno::EINVAL.because("an eventfd is written in 8 bytes"));
        }
        let left = src.remaining();
        let mut value = [0; 8];
        // A write that has to wait comes again with the same bytes: look at a copy of the cursor's front.
        src.peek(&mut value)?;
        let value = u64::from_ne_bytes(value);
        if value == u64::MAX {
            return Err(Errno::EINVAL.because("an eventfd never holds 2^64-1"));
        }
        self.add(value)?;
        src.advance(left);
        Ok(8)
    }

    fn poll(&self, _file: &OpenFile, watch: &mut PollWatch<'_>) -> PollEvents {
        watch.watch(&self.changed);
        let count = *self.count.lock();
        let mut events = PollEvents::empty();
        if count > 0 {
            events |= PollEvents::READABLE;
        }
        if count < MAX {
            events |= PollEvents::WRITABLE;
        }
        events
    }

    fn label(&self) -> String {
        String::from("anon_inode:[eventfd]")
    }

    fn fd_info(&self) -> String {
        let semaphore = u32::from(self.semaphore);
        alloc::format!(
            "eventfd-count: {:16x}\neventfd-id: {}\neventfd-semaphore: {semaphore}\n",
            *self.count.lock(),
            self.id
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::file::OpenFlags;

    fn file(count: u64, semaphore: bool) -> Arc<OpenFile> {
        OpenFile::anonymous(EventFd::new(count, semaphore), OpenFlags::RDWR)
    }

    fn put(file: &OpenFile, value: u64) -> Result<usize> {
        file.ops().write(file, &mut IovSource::kernel(&value.to_ne_bytes()), None)
    }

    fn get(file: &OpenFile) -> Result<u64> {
        let mut value = [0; 8];
        file.ops().read(file, &mut IovDest::kernel(&mut value), None)?;
        Ok(u64::from_ne_bytes(value))
    }

    #[test]
    fn a_counter_is_read_whole_and_a_semaphore_one_by_one() {
        let counter = file(3, false);
        put(&counter, 4).unwrap();
        assert_eq!(get(&counter).unwrap(), 7);
        assert_eq!(get(&counter).unwrap_err().errno(), Errno::EAGAIN);
        let semaphore = file(2, true);
        assert_eq!((get(&semaphore).unwrap(), get(&semaphore).unwrap()), (1, 1));
        assert_eq!(get(&semaphore).unwrap_err().errno(), Errno::EAGAIN);
    }

    #[test]
    fn the_counter_stops_below_its_maximum() {
        let counter = file(MAX, false);
        assert_eq!(put(&counter, 1).unwrap_err().errno(), Errno::EAGAIN);
        assert_eq!(counter.poll(&mut PollWatch::look()), PollEvents::READABLE);
        assert_eq!(put(&counter, u64::MAX).unwrap_err().errno(), Errno::EINVAL);
        assert_eq!(get(&counter).unwrap(), MAX);
        assert_eq!(counter.poll(&mut PollWatch::look()), PollEvents::WRITABLE);
    }
}
