//! The first process, and the hooks that the entry code calls.

use super::BootError;
use super::cmdline::Options;
use crate::arch::{Context, Hooks, Trap, TrapFrame};
use crate::error::Errno;
use crate::fs::file::OpenFile;
use crate::fs::{Actor, FdTable, Resolve};
use crate::loader::{self, Program, Request};
use crate::mm::{Access, FaultError, texts, window};
use crate::sched;
use crate::signal;
use crate::task::{self, Rlimits, Thread, ThreadParts};
use crate::{host, syscall, time};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What Linux tries where `init=` is not given.
const DEFAULT_INITS: [&str; 4] = ["/sbin/init", "/etc/init", "/bin/init", "/bin/sh"];

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Loads init and makes its process; nothing runs yet.
pub(super) fn prepare(o: &Options) -> Result<Arc<Thread>, BootError> {
    let program = match &o.init {
        Some(path) => load(o, path).map_err(|e| {
            BootError::new(format!("init={path}: {}; accepted: an x86-64 program in the root", explain(e)))
        })?,
        None => load_default(o)?,
    };
    let Program { mm, entry, sp, exe, comm, credentials } = program;
    let frame = TrapFrame::start(entry as u64, sp as u64);
    let process = task::new_init_process()?;
    process.set_exe(exe);
    let files = Arc::new(FdTable::new());
    open_console(&files)?;
    let parts = ThreadParts {
        files,
        fs: Actor::kernel().fs,
        mm,
        credentials: Arc::new(credentials),
        comm: [0; task::COMM_LEN],
        context: Context::new(&frame)?,
    };
    let thread = Thread::new(process.pid().into(), process, parts, 0);
    thread.set_comm(&comm);
    task::register(&thread);
    Ok(thread)
}

fn load_default(o: &Options) -> Result<Program, BootError> {
    let initrd = matches!(o.root, super::cmdline::Root::Initrd(_));
    for path in ["/init"].into_iter().filter(|_| initrd).chain(DEFAULT_INITS) {
        match load(o, path) {
            Ok(program) => return Ok(program),
            Err(e) if e.errno() == Errno::ENOENT => {}
            Err(e) => return Err(BootError::new(format!("init={path} (the default): {}", explain(e)))),
        }
    }
    Err(BootError::new(
        "init=: the root has no /sbin/init, /etc/init, /bin/init or /bin/sh; accepted: init=/path/to/program",
    ))
}

fn explain(e: crate::error::Error) -> String {
    match (e.errno(), e.reason()) {
        (Errno::ENOENT, "") => "no such file in the root file system".into(),
        (errno, "") => format!("{errno}"),
        (_, reason) => reason.into(),
    }
}

fn load(o: &Options, path: &str) -> crate::error::Result<Program> {
    let actor = Actor::kernel();
    let name = path.as_bytes();
    let file = loader::open_executable(&actor, None, name, Resolve::empty())?;
    let mut argv: Vec<Vec<u8>> = alloc::vec![name.to_vec()];
    argv.extend(o.init_args.iter().map(|a| a.as_bytes().to_vec()));
    let mut envp: Vec<Vec<u8>> = Vec::new();
    for default in ["HOME=/", "TERM=linux", PATH] {
        let key = &default[..=default.find('=').unwrap_or(0)];
        if !o.init_env.iter().any(|e| e.starts_with(key)) {
            envp.push(default.as_bytes().to_vec());
        }
    }
    envp.extend(o.init_env.iter().map(|e| e.as_bytes().to_vec()));
    loader::load(Request { actor: &actor, file, name: name.to_vec(), argv, envp, rlimits: Rlimits::default() })
}

/// Opens the console as descriptors 0, 1 and 2. A root without /dev/console still has one.
fn open_console(files: &FdTable) -> Result<(), BootError> {
    let file: Arc<OpenFile> = crate::tty::open_console();
    for _ in 0..3 {
        files.add(file.clone(), false, 3)?;
    }
    Ok(())
}

/// What the entry code calls.
pub(super) fn hooks() -> Hooks {
    Hooks {
        syscall: serve_syscall,
        fault: guest_fault,
        thread_started: sched::finish_switch,
        prepare_exit,
        resume_address,
        kernel_fault: super::panic::kernel_fault,
    }
}

fn resume_address(rip: u64) -> u64 {
    sched::current().map_or(rip, |t| t.mm().resume_address(rip))
}

fn serve_syscall(frame: &mut TrapFrame) {
    if let Some(t) = sched::current() {
        if frame.trapped != 0 && texts::enabled() {
            t.mm().note_trapped_call(frame.rip as usize, frame.orig_rax);
        }
        syscall::dispatch(t, frame);
    }
}

/// A fault of guest code: memory that is populated on first touch, or the guest's signal.
fn guest_fault(_frame: &mut TrapFrame, trap: &Trap) {
    let Some(t) = sched::current() else { return };
    let addr = trap.addr as usize;
    let in_window = window::get().is_some_and(|w| w.contains(addr, 1));
    if trap.number == Trap::PAGE_FAULT && in_window {
        let access = if trap.is_fetch() {
            Access::Execute
        } else if trap.is_write() {
            Access::Write
        } else {
            Access::Read
        };
        match t.mm().fault(addr, access) {
            Ok(()) => return,
            Err(FaultError::OutOfMemory) => {
                if signal::out_of_memory(t) {
                    sched::yield_now();
                }
                return;
            }
            Err(FaultError::BeyondEnd) => return signal::force_bus(t, trap),
            Err(end) => return signal::force_segv(t, end == FaultError::Denied, trap),
        }
    }
    signal::force_trap(t, trap);
}

/// The way back to guest code, with work pending.
fn prepare_exit(frame: &mut TrapFrame, events: bool, signals: bool) {
    let Some(t) = sched::current() else { return };
    let mut now = time::now();
    if events {
        time::clock::steer(now);
        sched::poll_devices(now);
    }
    sched::on_tick(now);
    task::end_if_asked(t);
    if signals {
        signal::deliver(t, frame);
        task::end_if_asked(t);
    }
    now = time::now();
    if let Some(at) = sched::next_interruption(now) {
        host::arm_preemption(at, now);
    }
}
