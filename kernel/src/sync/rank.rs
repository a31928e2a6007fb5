//! The lock order, in one place.
//!
//! A thread that holds a lock of rank R may take only locks of a higher rank. Two locks of one rank are never held at
//! once, except where [`Rank::may_nest`] says how they are ordered.

/// The rank of a lock: what it protects, from the outermost to the innermost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Rank {
    /// The list of processes, groups and sessions.
    ProcessTable,
    /// A process's threads, children and exit state.
    Process,
    /// Terminal state and line discipline.
    Tty,
    /// The table of mounts.
    Mounts,
    /// A process's root, working directory and umask.
    FsContext,
    /// Which descriptor table is a thread's.
    ThreadFiles,
    /// A descriptor table.
    FdTable,
    /// An epoll instance's interest list (ordered by nesting depth).
    Epoll,
    /// An open file description: offset and flags.
    OpenFile,
    /// A directory's entries (ordered from parent to child).
    Directory,
    /// An inode's metadata and contents.
    Inode,
    /// Block devices: their list, and the bitmap of a COW file.
    BlockDevice,
    /// Record locks of a file.
    FileLocks,
    /// A pipe, eventfd, timerfd, signalfd, inotify instance.
    Pipe,
    /// The objects of one family of System V IPC.
    SysvIpc,
    /// A unix socket (a pair is ordered by address).
    UnixSocket,
    /// A socket's options.
    Socket,
    /// The network stack.
    Net,
    /// An ethernet device.
    NetDevice,
    /// Futex hash buckets (a pair is ordered by index).
    Futex,
    /// Signal actions and queues of a process.
    Signal,
    /// A thread's own state.
    Thread,
    /// Which address spaces take turns in the window.
    Residency,
    /// An address space's list of mappings.
    Mm,
    /// Page-cache page lists.
    PageCache,
    /// Parts of address spaces that are kept for the next program.
    Spares,
    /// The texts whose system call sites are known, and each of them.
    Texts,
    /// The guest window: address ranges and page states.
    Window,
    /// Pages that are kept outside the window.
    Frames,
    /// Kernel timers.
    Timer,
    /// A wait queue.
    WaitQueue,
    /// The ready list of an epoll instance: wake-ups end here.
    Ready,
    /// Run queues.
    RunQueue,
    /// The console's output and the kernel log.
    Log,
    /// The kernel heap.
    Heap,
}

impl Rank {
    /// Ranks of which several locks may be held at once, ordered among themselves as the variant's comment says.
    pub const fn may_nest(self) -> bool {
        matches!(self, Rank::Epoll | Rank::Directory | Rank::UnixSocket | Rank::Futex)
    }
}

#[cfg(debug_assertions)]
mod check {
    use super::Rank;
    use core::sync::atomic::{AtomicU8, Ordering};

    const RANKS: usize = Rank::Heap as usize + 1;

    /// How many locks of each rank each vCPU holds. Threads that are no vCPU (helpers, unit tests) are not checked:
    /// they have no identity that needs no TLS.
    static HELD: [[AtomicU8; RANKS]; crate::arch::MAX_VCPUS] =
        [const { [const { AtomicU8::new(0) }; RANKS] }; crate::arch::MAX_VCPUS];

    pub(crate) fn acquire(rank: Rank) {
        let Some(cpu) = crate::arch::current_vcpu_index() else { return };
        let held = &HELD[cpu];
        let first = rank as usize + usize::from(rank.may_nest());
        for (r, count) in held.iter().enumerate().skip(first) {
            assert!(count.load(Ordering::Relaxed) == 0, "lock order: {rank:?} taken while rank {r} is held");
        }
        held[rank as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn release(rank: Rank) {
        let Some(cpu) = crate::arch::current_vcpu_index() else { return };
        // A lock taken before the vCPU started may be released after it: never count below zero.
        let _ = HELD[cpu][rank as usize].fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
    }

    pub(crate) fn assert_none() {
        let Some(cpu) = crate::arch::current_vcpu_index() else { return };
        for (r, count) in HELD[cpu].iter().enumerate() {
            assert!(count.load(Ordering::Relaxed) == 0, "a lock of rank {r} is held across a switch");
        }
    }
}

#[cfg(not(debug_assertions))]
mod check {
    pub(crate) fn acquire(_: super::Rank) {}
    pub(crate) fn release(_: super::Rank) {}
    pub(crate) fn assert_none() {}
}

pub(super) use check::{acquire, release};

/// Checks (debug builds) that this vCPU holds no lock, as it must at a context switch and on the way to the guest.
pub fn assert_none_held() {
    check::assert_none();
}
