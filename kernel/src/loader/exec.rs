//! execve(2): the running process becomes another program.

use super::{Program, Request, load, open_executable};
use crate::arch;
use crate::arch::TrapFrame;
use crate::error::Result;
use crate::fs::{Actor, FdTable, Path, Resolve};
use crate::ipc::futex;
use crate::mm::residency;
use crate::task::{self, Thread};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Replaces the calling thread's program. On success the thread's registers are the new program's, and the other
/// threads of the process are gone; on failure nothing has changed.
pub fn do_execve(
    t: &Thread,
    base: Option<&Path>,
    name: &[u8],
    resolve: Resolve,
    shown_name: Vec<u8>,
    argv: Vec<Vec<u8>>,
    envp: Vec<Vec<u8>>,
) -> Result<()> {
    let actor = Actor::of(t);
    let file = open_executable(&actor, base, name, resolve)?;
    // While the caller's memory is in the window for sure: loading may bring another space there.
    let owes = task::owes_memory(t);
    let request = Request { actor: &actor, file, name: shown_name, argv, envp, rlimits: t.process().rlimits() };
    let loaded = load(request).and_then(|program| task::kill_other_threads(t).map(|()| program));
    match loaded {
        Ok(program) => {
            if owes {
                residency::ensure(&t.mm());
                task::leave_memory(t);
                residency::ensure(&program.mm);
            }
            futex::release_owned(t);
            install(t, program);
        }
        Err(e) => {
            // A program at fixed addresses that could not be loaded may have taken the window from the caller.
            residency::ensure(&t.mm());
            return Err(e);
        }
    }
    task::exec_done(t);
    Ok(())
}

/// Makes `program` what the thread runs.
fn install(t: &Thread, program: Program) {
    let Program { mm, entry, sp, exe, comm, credentials } = program;
    let old = t.set_mm(mm);
    t.process().set_exe(exe);
    t.set_comm(&comm);
    t.set_credentials(Arc::new(credentials));
    old.drop_user();
    let files = own_files(t);
    for file in files.close_on_exec() {
        files.finish_close(t, &file);
    }
    t.context.with_frame(|frame| {
        *frame = TrapFrame::start(entry as u64, sp as u64);
        arch::xstate::reset(frame);
    });
    t.context.set_guest_gs(None);
}

/// The descriptor table, which a process that shares it with another (CLONE_FILES) does no longer.
fn own_files(t: &Thread) -> Arc<FdTable> {
    let files = t.files();
    // One count is the thread's, one is here.
    if Arc::strong_count(&files) > 2 {
        t.set_files(Some(Arc::new(files.fork())));
        return t.files();
    }
    files
}
