//! What execve(2) asks of processes: to be alone, and to be as new afterwards.

use super::process::Process;
use super::table;
use super::thread::Thread;
use crate::error::{Errno, Result};
use crate::signal::{self, AltStack, Signal};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// Ends all other threads of the process and waits until they are gone. The caller then has the process's number, as if
/// it had been the first thread. EAGAIN if the process is ending already, or is killed meanwhile.
pub fn kill_other_threads(t: &Thread) -> Result<()> {
    let process = t.process();
    let others = {
        let mut f = process.family.lock();
        if f.ending.is_some() || f.exec_survivor.is_some() {
            return Err(Errno::EAGAIN.because("another thread ends the process or calls execve"));
        }
        f.exec_survivor = Some(t.tid());
        f.threads.clone()
    };
    for o in others.iter().filter(|o| !core::ptr::eq(Arc::as_ptr(o), t)) {
        signal::ask_to_end(o);
    }
    drop(others);
    let alone = process.milestones.wait_uninterruptible(&t.arc(), || {
        let count = process.family.lock().threads.len();
        if count <= 1 { Some(true) } else { t.signals.is_ending().then_some(false) }
    });
    let mut f = process.family.lock();
    f.exec_survivor = None;
    if !alone {
        return Err(Errno::EAGAIN.because("killed while the other threads ended"));
    }
    f.leader_status = None;
    drop(f);
    if t.tid().0 != process.pid().0 {
        table::take_over_pid(t);
    }
    Ok(())
}

/// What changes once the new program is in place: handlers become the default and their table is no longer shared, the
/// alternate stack, robust list and clear-on-exit word are gone, a vfork(2) parent goes on. Descriptors are the loader's
/// business.
pub fn exec_done(t: &Thread) {
    let process = t.process();
    let hand = process.signals.hand();
    process.signals.set_hand(Arc::new(hand.after_exec()));
    drop(hand);
    t.signals.set_altstack(AltStack::NONE);
    t.clear_child_tid.store(0, Ordering::Relaxed);
    t.robust_list.store(0, Ordering::Relaxed);
    {
        let mut f = process.family.lock();
        f.has_execed = true;
        f.exit_signal = Signal::CHLD.number() as u8;
    }
    let set_id = t.credentials().is_set_id();
    process.set_dumpable(u8::from(!set_id));
    process.set_membarriers(0);
    if set_id {
        t.update_attributes(|a| a.parent_death_signal = None);
    }
    process.timers.exec();
    t.release_vfork_parent();
}

impl Process {
    /// Whether its threads have been asked to end.
    pub fn is_exiting(&self) -> bool {
        let f = self.family.lock();
        f.ending.is_some() || f.exec_survivor.is_some()
    }
}
