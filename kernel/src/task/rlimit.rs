//! Resource limits (getrlimit(2)).

use crate::abi::general;

/// Number of resources.
pub const RESOURCES: usize = 16;

/// A resource, by the number Linux gives it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
#[repr(u8)]
pub enum Resource {
    Cpu = 0,
    FileSize = 1,
    Data = 2,
    Stack = 3,
    Core = 4,
    Rss = 5,
    Processes = 6,
    OpenFiles = 7,
    Memlock = 8,
    AddressSpace = 9,
    Locks = 10,
    PendingSignals = 11,
    MsgQueue = 12,
    Nice = 13,
    RtPriority = 14,
    RtTime = 15,
}

/// No limit.
pub const INFINITY: u64 = u64::MAX;

/// Soft and hard limit of every resource.
#[derive(Clone, Copy, Debug)]
pub struct Rlimits([general::rlimit64; RESOURCES]);

const fn limit(soft: u64, hard: u64) -> general::rlimit64 {
    general::rlimit64 { rlim_cur: soft, rlim_max: hard }
}

impl Default for Rlimits {
    /// What Linux gives init, with room for many open files, as distributions raise it.
    fn default() -> Self {
        let unlimited = limit(INFINITY, INFINITY);
        let mut all = [unlimited; RESOURCES];
        all[Resource::Stack as usize] = limit(8 << 20, INFINITY);
        all[Resource::Core as usize] = limit(0, INFINITY);
        all[Resource::Processes as usize] = limit(4096, 4096);
        all[Resource::OpenFiles as usize] = limit(1024, 524_288);
        all[Resource::Memlock as usize] = limit(8 << 20, 8 << 20);
        all[Resource::PendingSignals as usize] = limit(4096, 4096);
        all[Resource::MsgQueue as usize] = limit(819_200, 819_200);
        all[Resource::Nice as usize] = limit(0, 0);
        all[Resource::RtPriority as usize] = limit(0, 0);
        Rlimits(all)
    }
}

impl Rlimits {
    /// Both limits of `resource`.
    pub fn get(&self, resource: Resource) -> general::rlimit64 {
        self.0[resource as usize]
    }

    /// Both limits by number, as the system call names it.
    pub fn by_number(&self, number: usize) -> Option<general::rlimit64> {
        self.0.get(number).copied()
    }

    /// Sets both limits by number. The caller has checked that the number exists and the change is allowed.
    pub fn set_by_number(&mut self, number: usize, value: general::rlimit64) {
        if let Some(slot) = self.0.get_mut(number) {
            *slot = value;
        }
    }
}
