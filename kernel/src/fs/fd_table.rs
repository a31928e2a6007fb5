//! Descriptor tables: small numbers for open file descriptions (open(2), fcntl(2)).

use super::file::OpenFile;
use super::locks;
use crate::error::{Errno, Result};
use crate::sync::{Rank, SpinGuard, SpinLock};
use crate::task::{Fd, Thread};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// The highest limit that RLIMIT_NOFILE can have any effect beyond (`/proc/sys/fs/nr_open`).
pub const NR_OPEN: u64 = 1 << 20;

#[derive(Clone)]
struct Slot {
    file: Arc<OpenFile>,
    cloexec: bool,
}

#[derive(Clone, Default)]
struct Slots {
    slots: Vec<Option<Slot>>,
    /// No free number is below this.
    lowest_free: usize,
}

impl Slots {
    fn find_free(&self, from: usize) -> usize {
        let start = from.max(self.lowest_free);
        (start..self.slots.len()).find(|&i| self.slots[i].is_none()).unwrap_or_else(|| start.max(self.slots.len()))
    }

    fn put(&mut self, index: usize, slot: Slot) -> Result<Option<Slot>> {
        if index >= self.slots.len() {
            let more = index + 1 - self.slots.len();
            self.slots.try_reserve(more).map_err(|_| Errno::ENOMEM)?;
            self.slots.resize(index + 1, None);
        }
        let old = self.slots[index].replace(slot);
        if index == self.lowest_free {
            self.lowest_free = index + 1;
        }
        Ok(old)
    }

    fn take(&mut self, index: usize) -> Option<Slot> {
        let slot = self.slots.get_mut(index)?.take()?;
        self.lowest_free = self.lowest_free.min(index);
        Some(slot)
    }
}

/// A descriptor table; shared by threads with CLONE_FILES.
///
/// Methods that remove a descriptor return the description, so that its end (which may take any lock) comes after the
/// table's lock is free.
pub struct FdTable {
    inner: SpinLock<Slots>,
}

/// A descriptor table that stays as it is meanwhile.
pub struct Lookup<'a>(SpinGuard<'a, Slots>);

impl Lookup<'_> {
    /// The description that `fd` refers to. EBADF if it is not open.
    pub fn get(&self, fd: Fd) -> Result<&Arc<OpenFile>> {
        match self.0.slots.get(index(fd)?) {
            Some(Some(slot)) => Ok(&slot.file),
            _ => Err(Errno::EBADF.into()),
        }
    }
}

impl fmt::Debug for FdTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.descriptors()).finish()
    }
}

impl Drop for FdTable {
    fn drop(&mut self) {
        super::locks::table_dropped(self);
    }
}

impl Default for FdTable {
    fn default() -> Self {
        Self::new()
    }
}

fn index(fd: Fd) -> Result<usize> {
    usize::try_from(fd.0).map_err(|_| Errno::EBADF.into())
}

impl FdTable {
    /// An empty table.
    pub const fn new() -> Self {
        FdTable { inner: SpinLock::new(Rank::FdTable, Slots { slots: Vec::new(), lowest_free: 0 }) }
    }

    /// A copy with the same descriptions (fork(2), unshare(2)).
    pub fn fork(&self) -> Self {
        let copy = self.inner.lock().clone();
        FdTable { inner: SpinLock::new(Rank::FdTable, copy) }
    }

    /// The description that `fd` refers to. EBADF if it is not open.
    pub fn get(&self, fd: Fd) -> Result<Arc<OpenFile>> {
        self.lookup().get(fd).cloned()
    }

    /// For looking many numbers up at once.
    pub fn lookup(&self) -> Lookup<'_> {
        Lookup(self.inner.lock())
    }

    /// Gives `file` the lowest free number at or above `from`, below `limit` (RLIMIT_NOFILE). EMFILE if there is none.
    pub fn add_from(&self, file: Arc<OpenFile>, cloexec: bool, from: usize, limit: u64) -> Result<Fd> {
        let mut inner = self.inner.lock();
        let i = inner.find_free(from);
        if i as u64 >= limit.min(NR_OPEN) {
            return Err(Errno::EMFILE.into());
        }
        inner.put(i, Slot { file, cloexec })?;
        Ok(Fd(i as i32))
    }

    /// EMFILE if [`FdTable::add`] would find no number now: for calls that must not begin what they cannot finish.
    pub fn check_room(&self, limit: u64) -> Result<()> {
        match self.inner.lock().find_free(0) as u64 >= limit.min(NR_OPEN) {
            true => Err(Errno::EMFILE.into()),
            false => Ok(()),
        }
    }

    /// Gives `file` the lowest free number.
    pub fn add(&self, file: Arc<OpenFile>, cloexec: bool, limit: u64) -> Result<Fd> {
        self.add_from(file, cloexec, 0, limit)
    }

    /// Gives `file` this number; returns what it referred to before (dup2(2)).
    pub fn replace(&self, fd: Fd, file: Arc<OpenFile>, cloexec: bool, limit: u64) -> Result<Option<Arc<OpenFile>>> {
        let i = index(fd)?;
        if i as u64 >= limit.min(NR_OPEN) {
            return Err(Errno::EBADF.because("the new number is beyond RLIMIT_NOFILE"));
        }
        let old = self.inner.lock().put(i, Slot { file, cloexec })?;
        Ok(old.map(|s| s.file))
    }

    /// Frees the number; returns what it referred to.
    pub fn remove(&self, fd: Fd) -> Result<Arc<OpenFile>> {
        let i = index(fd)?;
        let slot = self.inner.lock().take(i);
        slot.map(|s| s.file).ok_or_else(|| Errno::EBADF.into())
    }

    /// Whether the descriptor is closed by execve(2).
    pub fn cloexec(&self, fd: Fd) -> Result<bool> {
        let i = index(fd)?;
        match self.inner.lock().slots.get(i) {
            Some(Some(slot)) => Ok(slot.cloexec),
            _ => Err(Errno::EBADF.into()),
        }
    }

    /// Sets whether the descriptor is closed by execve(2).
    pub fn set_cloexec(&self, fd: Fd, cloexec: bool) -> Result<()> {
        let i = index(fd)?;
        match self.inner.lock().slots.get_mut(i) {
            Some(Some(slot)) => {
                slot.cloexec = cloexec;
                Ok(())
            }
            _ => Err(Errno::EBADF.into()),
        }
    }

    fn remove_where(&self, range: core::ops::RangeInclusive<u32>, keep: impl Fn(&Slot) -> bool) -> Vec<Arc<OpenFile>> {
        let mut removed = Vec::new();
        let mut inner = self.inner.lock();
        let end = inner.slots.len().min((*range.end() as usize).saturating_add(1));
        for i in *range.start() as usize..end {
            if inner.slots[i].as_ref().is_some_and(|s| !keep(s)) {
                removed.extend(inner.take(i).map(|s| s.file));
            }
        }
        removed
    }

    /// Frees the numbers from `first` to `last`; returns what they referred to (close_range(2)).
    pub fn remove_range(&self, first: u32, last: u32) -> Vec<Arc<OpenFile>> {
        self.remove_where(first..=last, |_| false)
    }

    /// Marks the numbers from `first` to `last` to be closed by execve(2) (`CLOSE_RANGE_CLOEXEC`).
    pub fn set_cloexec_range(&self, first: u32, last: u32) {
        let mut inner = self.inner.lock();
        let end = inner.slots.len().min((last as usize).saturating_add(1));
        for slot in inner.slots.iter_mut().take(end).skip(first as usize).flatten() {
            slot.cloexec = true;
        }
    }

    /// Frees what execve(2) closes; returns what it referred to.
    pub fn close_on_exec(&self) -> Vec<Arc<OpenFile>> {
        self.remove_where(0..=u32::MAX, |slot| !slot.cloexec)
    }

    /// What ends with one descriptor of `file` that was in this table, which others may still refer to: record locks,
    /// and what the file itself wants to do.
    pub fn finish_close(&self, t: &Thread, file: &Arc<OpenFile>) {
        locks::descriptor_closed(file, self);
        file.ops().closed_by(t, file);
        if Arc::strong_count(file) == 1 {
            file.ops().linger(t);
        }
    }

    /// Frees all numbers; returns what they referred to (exit).
    pub fn remove_all(&self) -> Vec<Arc<OpenFile>> {
        self.remove_where(0..=u32::MAX, |_| false)
    }

    /// The numbers that are in use.
    pub fn descriptors(&self) -> Vec<i32> {
        let inner = self.inner.lock();
        inner.slots.iter().enumerate().filter(|(_, s)| s.is_some()).map(|(i, _)| i as i32).collect()
    }

    /// One more than the highest number ever used (`FDSize` of `/proc/<pid>/status`).
    pub fn capacity(&self) -> usize {
        self.inner.lock().slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::{FileOps, OpenFlags};
    use super::*;

    struct Nothing;
    impl FileOps for Nothing {}

    fn file() -> Arc<OpenFile> {
        OpenFile::anonymous(Arc::new(Nothing), OpenFlags::RDWR)
    }

    #[test]
    fn the_lowest_free_number_is_given() {
        let t = FdTable::new();
        for n in 0..4 {
            assert_eq!(t.add(file(), false, 1024).unwrap(), Fd(n));
        }
        t.remove(Fd(1)).unwrap();
        t.remove(Fd(2)).unwrap();
        assert_eq!(t.add_from(file(), false, 2, 1024).unwrap(), Fd(2));
        assert_eq!(t.add(file(), false, 1024).unwrap(), Fd(1));
        assert_eq!(t.add(file(), false, 1024).unwrap(), Fd(4));
        assert_eq!(t.add_from(file(), false, 10, 1024).unwrap(), Fd(10));
        assert_eq!(t.descriptors(), [0, 1, 2, 3, 4, 10]);
    }

    #[test]
    fn the_limit_holds_for_new_numbers_only() {
        let t = FdTable::new();
        t.add(file(), false, 2).unwrap();
        t.add(file(), false, 2).unwrap();
        assert_eq!(t.add(file(), false, 2).unwrap_err().errno(), Errno::EMFILE);
        assert_eq!(t.replace(Fd(2), file(), false, 2).map(|_| ()).unwrap_err().errno(), Errno::EBADF);
        assert!(t.replace(Fd(1), file(), false, 2).unwrap().is_some());
        assert!(t.get(Fd(-1)).is_err());
    }

    #[test]
    fn exec_closes_what_is_marked_and_a_fork_keeps_its_own() {
        let t = FdTable::new();
        t.add(file(), true, 9).unwrap();
        t.add(file(), false, 9).unwrap();
        let child = t.fork();
        assert_eq!(t.close_on_exec().len(), 1);
        assert_eq!(t.descriptors(), [1]);
        assert_eq!(child.descriptors(), [0, 1]);
        child.set_cloexec_range(1, u32::MAX);
        assert!(child.cloexec(Fd(1)).unwrap());
        assert_eq!(child.remove_range(0, 0).len(), 1);
    }
}
