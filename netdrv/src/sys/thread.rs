//! Threads that serve control messages.

/// Blocks every signal for the calling thread: handlers of the process belong on its other threads.
pub(crate) fn block_signals() {
    // SAFETY: the set is initialised before it is used, and lives across the calls.
    unsafe {
        let mut set = core::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut set);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, core::ptr::null_mut());
    }
}
