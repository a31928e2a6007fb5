//! Allocation of process and thread numbers.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;

/// Numbers stay below this (`/proc/sys/kernel/pid_max` of a default Linux).
pub const PID_MAX: i32 = 32768;
/// After the first round, numbers start here (`RESERVED_PIDS` of Linux).
const RESERVED: i32 = 300;

/// Numbers in use, each with its number of holders: a process, its first thread, and the members of the group and
/// session of that name hold one number together.
#[derive(Debug)]
pub struct IdSpace {
    next: i32,
    holders: BTreeMap<i32, u32>,
}

impl IdSpace {
    /// All numbers free.
    pub const fn new() -> Self {
        IdSpace { next: 1, holders: BTreeMap::new() }
    }

    /// The next free number after the one given out last, held once. `None` if all are in use.
    pub fn allocate(&mut self) -> Option<i32> {
        let start = self.next;
        let mut candidate = start;
        loop {
            if candidate >= PID_MAX {
                candidate = RESERVED;
            }
            if let Entry::Vacant(free) = self.holders.entry(candidate) {
                free.insert(1);
                self.next = candidate + 1;
                return Some(candidate);
            }
            candidate += 1;
            if candidate == start || (candidate >= PID_MAX && start <= RESERVED) {
                return None;
            }
        }
    }

    /// This very number, held once; `None` if it is in use or out of range (clone3(2), `set_tid`).
    pub fn allocate_exactly(&mut self, id: i32) -> Option<i32> {
        if !(1..PID_MAX).contains(&id) || self.holders.contains_key(&id) {
            return None;
        }
        self.holders.insert(id, 1);
        Some(id)
    }

    /// One more holder.
    pub fn hold(&mut self, id: i32) {
        *self.holders.entry(id).or_insert(0) += 1;
    }

    /// One holder less; the last one frees the number.
    pub fn release(&mut self, id: i32) {
        if let Some(n) = self.holders.get_mut(&id) {
            *n -= 1;
            if *n == 0 {
                self.holders.remove(&id);
            }
        }
    }

    /// The number given out last (`/proc/loadavg`).
    pub fn last(&self) -> i32 {
        self.next - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_are_reused_only_after_the_highest() {
        let mut ids = IdSpace::new();
        assert_eq!(ids.allocate(), Some(1));
        assert_eq!(ids.allocate(), Some(2));
        ids.release(2);
        assert_eq!(ids.allocate(), Some(3));
        ids.next = PID_MAX;
        assert_eq!(ids.allocate(), Some(RESERVED));
    }

    #[test]
    fn a_number_is_free_when_its_last_holder_is_gone() {
        let mut ids = IdSpace::new();
        let id = ids.allocate().unwrap();
        ids.hold(id);
        ids.release(id);
        assert_eq!(ids.allocate_exactly(id), None);
        ids.release(id);
        assert_eq!(ids.allocate_exactly(id), Some(id));
        assert_eq!(ids.allocate_exactly(PID_MAX), None);
    }

    #[test]
    fn a_full_space_gives_none_and_recovers() {
        let mut ids = IdSpace::new();
        let mut count = 0;
        while ids.allocate().is_some() {
            count += 1;
        }
        assert_eq!(count, PID_MAX - 1);
        ids.release(5000);
        assert_eq!(ids.allocate(), Some(5000));
        assert_eq!(ids.allocate(), None);
    }
}
