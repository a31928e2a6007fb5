//! A guest thread: what the scheduler runs. Processes group them (`process`).
//!
//! What clone(2) lets threads share stands behind an `Arc` in a slot of the thread: descriptor table, file-system
//! context, address space, credentials. Unsharing replaces the slot's content. Slots are read through a short lock and
//! the `Arc` is cloned out, so that no lock is held while the object is used; but a descriptor, which nearly every system
//! call begins with, is looked up under the slot's own lock ([`Thread::file`]).

use super::attributes::Attributes;
use super::credentials::Credentials;
use super::ids::{Fd, Tid};
use super::process::{CpuTimes, Process};
use crate::arch;
use crate::error::{Errno, Result};
use crate::fs::file::OpenFile;
use crate::fs::{FdTable, FsContext};
use crate::ipc::sysv::semaphores::UndoOwner;
use crate::mm::Mm;
use crate::sched::{self, WaitQueue};
use crate::sync::{Rank, SpinLock};
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicUsize, Ordering};

/// Bytes in a thread's name with its NUL (prctl(2), PR_SET_NAME).
pub const COMM_LEN: usize = 16;

/// What clone(2) may share, one slot each.
struct Slots {
    fs: Arc<FsContext>,
    mm: Arc<Mm>,
    credentials: Arc<Credentials>,
    undo: Option<Arc<UndoOwner>>,
}

/// What a new thread starts with.
pub struct ThreadParts {
    /// Descriptor table.
    pub files: Arc<FdTable>,
    /// Root, working directory, umask.
    pub fs: Arc<FsContext>,
    /// Address space.
    pub mm: Arc<Mm>,
    /// Identity.
    pub credentials: Arc<Credentials>,
    /// Name, at most 15 bytes and a NUL.
    pub comm: [u8; COMM_LEN],
    /// Kernel stack and registers.
    pub context: arch::Context,
}

/// Something that happens once, and that one thread waits for.
#[derive(Default)]
pub struct Completion {
    done: AtomicBool,
    queue: WaitQueue,
}

impl Completion {
    /// It has happened.
    pub fn complete(&self) {
        self.done.store(true, Ordering::SeqCst);
        self.queue.wake(crate::fs::poll::PollEvents::all());
    }

    /// Sleeps until it has happened or the thread is asked to end; returns whether it has.
    pub fn wait_killable(&self, thread: &Thread) -> bool {
        self.queue.wait_uninterruptible(&thread.arc(), || {
            (self.done.load(Ordering::SeqCst) || thread.signals.is_ending()).then_some(())
        });
        self.done.load(Ordering::SeqCst)
    }
}

/// A guest thread.
pub struct Thread {
    me: Weak<Thread>,
    tid: AtomicI32,
    process: Arc<Process>,
    /// The scheduler's part.
    pub(crate) entity: sched::Entity,
    /// Kernel stack and saved registers.
    pub(crate) context: arch::Context,
    /// Signal mask, private queue, alternate stack.
    pub(crate) signals: crate::signal::ThreadSignals,
    slots: SpinLock<Slots>,
    files: SpinLock<Option<Arc<FdTable>>>,
    comm: SpinLock<[u8; COMM_LEN]>,
    /// set_tid_address(2): cleared and woken when the thread ends.
    pub(crate) clear_child_tid: AtomicUsize,
    /// set_robust_list(2).
    pub(crate) robust_list: AtomicUsize,
    /// The owner of the PI futex that it waits for; 0 if it waits for none.
    pub(crate) pi_blocked_by: AtomicI32,
    attributes: SpinLock<Attributes>,
    /// Whoever waits for this thread to give up the memory it shares with its parent (vfork(2)).
    vfork_parent: SpinLock<Option<Arc<Completion>>>,
    /// What exit(2) was called with.
    exit_code: AtomicU8,
}

impl Thread {
    /// A thread that is not yet known to anybody nor scheduled.
    pub fn new(tid: Tid, process: Arc<Process>, parts: ThreadParts, blocked_signals: u64) -> Arc<Self> {
        Arc::new_cyclic(|me| Thread {
            me: me.clone(),
            tid: AtomicI32::new(tid.0),
            process,
            entity: sched::Entity::new(),
            context: parts.context,
            signals: crate::signal::ThreadSignals::new(blocked_signals),
            slots: SpinLock::new(
                Rank::Thread,
                Slots { fs: parts.fs, mm: parts.mm, credentials: parts.credentials, undo: None },
            ),
            files: SpinLock::new(Rank::ThreadFiles, Some(parts.files)),
            comm: SpinLock::new(Rank::Thread, parts.comm),
            clear_child_tid: AtomicUsize::new(0),
            robust_list: AtomicUsize::new(0),
            pi_blocked_by: AtomicI32::new(0),
            attributes: SpinLock::new(Rank::Thread, Attributes::default()),
            vfork_parent: SpinLock::new(Rank::Thread, None),
            exit_code: AtomicU8::new(0),
        })
    }

    /// A counted reference to this thread.
    pub fn arc(&self) -> Arc<Thread> {
        // A thread is only ever made inside an Arc, and `&self` shows that it lives.
        self.me.upgrade().expect("a live thread has a counted owner")
    }

    /// A reference that does not keep the thread.
    pub fn weak(&self) -> Weak<Thread> {
        self.me.clone()
    }

    /// Its number.
    pub fn tid(&self) -> Tid {
        Tid(self.tid.load(Ordering::Relaxed))
    }

    /// execve(2) gives the calling thread its process's number.
    pub(super) fn set_tid(&self, tid: Tid) {
        self.tid.store(tid.0, Ordering::Relaxed);
    }

    /// Its process.
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// Its descriptor table; an empty one when the thread has already given it up on its way out.
    pub fn files(&self) -> Arc<FdTable> {
        let files = self.files.lock().clone();
        files.unwrap_or_else(|| Arc::new(FdTable::new()))
    }

    /// The description that `fd` refers to. EBADF if it is not open.
    pub fn file(&self, fd: Fd) -> Result<Arc<OpenFile>> {
        match &*self.files.lock() {
            Some(table) => table.get(fd),
            None => Err(Errno::EBADF.into()),
        }
    }

    /// Replaces the descriptor table; `None` gives it up (exit).
    pub fn set_files(&self, files: Option<Arc<FdTable>>) {
        let old = core::mem::replace(&mut *self.files.lock(), files);
        drop(old);
    }

    /// Root, working directory and umask.
    pub fn fs(&self) -> Arc<FsContext> {
        self.slots.lock().fs.clone()
    }

    /// Replaces root, working directory and umask (unshare(2), CLONE_FS).
    pub fn set_fs(&self, fs: Arc<FsContext>) {
        let old = core::mem::replace(&mut self.slots.lock().fs, fs);
        drop(old);
    }

    /// Its address space.
    pub fn mm(&self) -> Arc<Mm> {
        self.slots.lock().mm.clone()
    }

    /// Replaces the address space (execve(2), exit); returns the old one.
    pub fn set_mm(&self, mm: Arc<Mm>) -> Arc<Mm> {
        core::mem::replace(&mut self.slots.lock().mm, mm)
    }

    /// Who it acts as.
    pub fn credentials(&self) -> Arc<Credentials> {
        self.slots.lock().credentials.clone()
    }

    /// Changes who it acts as.
    pub fn set_credentials(&self, credentials: Arc<Credentials>) {
        let old = core::mem::replace(&mut self.slots.lock().credentials, credentials);
        drop(old);
    }

    /// Whose semaphore adjustments at exit its operations count among (semop(2), SEM_UNDO).
    pub fn undo_owner(&self) -> Arc<UndoOwner> {
        self.slots.lock().undo.get_or_insert_with(UndoOwner::new).clone()
    }

    /// Replaces that; `None` gives it up (exit, unshare(2) with CLONE_SYSVSEM), and the last one's adjustments are made.
    pub fn set_undo_owner(&self, undo: Option<Arc<UndoOwner>>) {
        let old = core::mem::replace(&mut self.slots.lock().undo, undo);
        drop(old);
    }

    /// Its name, padded with NULs.
    pub fn comm(&self) -> [u8; COMM_LEN] {
        *self.comm.lock()
    }

    /// Renames it; cut to 15 bytes.
    pub fn set_comm(&self, name: &[u8]) {
        let mut comm = [0; COMM_LEN];
        let n = name.len().min(COMM_LEN - 1);
        comm[..n].copy_from_slice(&name[..n]);
        *self.comm.lock() = comm;
    }

    /// The address that is cleared and woken when the thread ends (set_tid_address(2)).
    pub fn set_clear_child_tid(&self, addr: usize) {
        self.clear_child_tid.store(addr, Ordering::Relaxed);
    }

    /// Whether a signal, a stop or an exit request waits, so that an interruptible wait must end.
    pub fn signal_pending(&self) -> bool {
        self.signals.is_pending()
    }

    /// Scheduling and other kept attributes.
    pub fn attributes(&self) -> Attributes {
        self.attributes.lock().clone()
    }

    /// Changes the kept attributes.
    pub fn update_attributes<R>(&self, f: impl FnOnce(&mut Attributes) -> R) -> R {
        f(&mut self.attributes.lock())
    }

    /// CPU time used. The scheduler counts time on a vCPU as a whole; it all counts as user time.
    pub fn cpu_times(&self) -> CpuTimes {
        CpuTimes { user: sched::cpu_time(self), ..CpuTimes::default() }
    }

    /// Asks the thread to end with this code once it is on its way to the guest (exit(2)).
    pub fn request_exit(&self, code: u8) {
        self.exit_code.store(code, Ordering::Relaxed);
        crate::signal::ask_to_end(&self.arc());
    }

    pub(super) fn exit_code(&self) -> u8 {
        self.exit_code.load(Ordering::Relaxed)
    }

    pub(super) fn set_vfork_parent(&self, completion: Arc<Completion>) {
        *self.vfork_parent.lock() = Some(completion);
    }

    /// Lets a vfork(2) parent go on: the memory it shares is no longer used by this thread.
    pub(super) fn release_vfork_parent(&self) {
        let completion = self.vfork_parent.lock().take();
        if let Some(c) = completion {
            c.complete();
        }
    }
}
