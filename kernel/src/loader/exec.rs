//! execve(2): the running process becomes another program.

use super::{Program, Request, load, open_executable};
use crate::arch;
use crate::arch::TrapFrame;
use crate::error::Result;
use crate::fs::{Actor, Path, Resolve};
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
    let request = Request { actor: &actor, file, name: shown_name, argv, envp, rlimits: t.process().rlimits() };
    let loaded = load(request).and_then(|program| task::kill_other_threads(t).map(|()| program));
    match loaded {
        Ok(program) => install(t, program),
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
    let Program { mm, entry, sp, exe, comm } = program;
    // What the old program's memory says of the locks that the thread holds; the new one's may be in the window already.
    residency::ensure(&t.mm());
    futex::exit_robust_list(t);
    futex::release_owned(t);
    let old = t.set_mm(Arc::clone(&mm));
    t.process().set_exe(exe);
    t.set_comm(&comm);
    old.drop_user();
    residency::ensure(&mm);
    let files = t.files();
    for file in files.close_on_exec() {
        files.finish_close(t, &file);
    }
    t.context.with_frame(|frame| {
        *frame = TrapFrame::start(entry as u64, sp as u64);
        arch::xstate::reset(frame);
    });
    t.context.set_guest_gs(None);
}
