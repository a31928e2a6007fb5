//! Robust lists (get_robust_list(2)): futexes that a thread tells the kernel it holds.

use super::{ANY, Key, pi, wake};
use crate::abi::general::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};
use crate::error::Result;
use crate::mm::UserPtr;
use crate::task::Thread;
use core::sync::atomic::Ordering;

/// Longest robust list that is walked (ROBUST_LIST_LIMIT).
const ROBUST_LIST_LIMIT: usize = 2048;

/// Walks the robust list of a thread that ends (get_robust_list(2)): what it still owns is marked FUTEX_OWNER_DIED, and
/// one waiter of each is woken. A list that a guest has broken ends the walk.
pub fn exit_robust_list(t: &Thread) {
    let head = t.robust_list.swap(0, Ordering::Relaxed);
    if head != 0 {
        // EFAULT: the rest of the list cannot be found.
        let _ = walk_robust_list(t, head);
    }
}

fn walk_robust_list(t: &Thread, head: usize) -> Result<()> {
    let [first, offset, pending] = UserPtr::<[u64; 3]>::new(head).read()?;
    let futex_of = |entry: u64| (entry & !1).wrapping_add(offset) as usize;
    let mut entry = first;
    for _ in 0..ROBUST_LIST_LIMIT {
        if entry & !1 == head as u64 {
            break;
        }
        // The next one first: a woken thread may free this one.
        let next = UserPtr::<u64>::new((entry & !1) as usize).read();
        if entry & !1 != pending & !1 {
            owner_died(t, futex_of(entry), entry & 1 != 0, false)?;
        }
        entry = next?;
    }
    if pending & !1 != 0 {
        owner_died(t, futex_of(pending), pending & 1 != 0, true)?;
    }
    Ok(())
}

fn owner_died(t: &Thread, addr: usize, pi: bool, is_pending: bool) -> Result<()> {
    let key = Key::new(t, addr, false)?;
    let value = key.word().read()?;
    if is_pending && !pi && value & FUTEX_TID_MASK == 0 {
        // It died between unlocking and waking: the wake-up is made up for.
        return wake(key, 1, ANY).map(drop);
    }
    if value & FUTEX_TID_MASK != t.tid().0 as u32 {
        return Ok(());
    }
    if pi {
        return pi::hand_over(key, FUTEX_OWNER_DIED);
    }
    key.word().write(value & FUTEX_WAITERS | FUTEX_OWNER_DIED)?;
    if value & FUTEX_WAITERS != 0 {
        wake(key, 1, ANY)?;
    }
    Ok(())
}
