//! The SIGBUS handler of a process that works in its peers' memory (a switch; the kernel has a handler of its own).

use crate::vring::foreign::absorb_fault;
use std::io;

/// Installs the handler: an access to memory that a peer has cut away goes on, any other fault ends the process as without
/// it.
///
/// # Errors
/// As sigaction(2).
pub fn install_handler() -> io::Result<()> {
    // SAFETY: the structure is initialised as sigaction(2) wants it; the handler is safe to call in a signal handler, as it
    // makes one system call and touches atomics only.
    let done = unsafe {
        let mut action = core::mem::zeroed::<libc::sigaction>();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGBUS, &raw const action, core::ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

extern "C" fn handler(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the host passes a valid siginfo_t, whose si_addr a SIGBUS has.
    let addr = unsafe { (*info).si_addr() };
    if !absorb_fault(addr as usize) {
        // SAFETY: puts the default action back; the access is repeated and ends the process.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}
