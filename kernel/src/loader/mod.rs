//! Programs: from a file to an address space that is ready to run (execve(2)).
//!
//! [`load`] follows `#!` lines, maps the image and its interpreter into a fresh address space and builds the stack.
//! Nothing of the caller changes until all of it has worked; [`exec`] then replaces the caller.

mod elf;
pub mod exec;
mod known;
mod script;
mod stack;

pub use stack::ARG_MAX;

use crate::arch;
use crate::error::{Errno, Result};
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::mount::MountFlags;
use crate::fs::{Actor, FileKind, Path, Resolve, permission};
use crate::mm::{FileVersion, Mm, ProgramLayout};
use crate::task::{Credentials, Resource, Rlimits};
use alloc::sync::Arc;
use alloc::vec::Vec;
use known::Known;

/// A program to be started.
pub struct Request<'a> {
    /// On whose behalf files are opened.
    pub actor: &'a Actor,
    /// The file, opened by [`open_executable`].
    pub file: Arc<OpenFile>,
    /// The name it was started by, for AT_EXECFN and scripts.
    pub name: Vec<u8>,
    /// Arguments, with the program's name first.
    pub argv: Vec<Vec<u8>>,
    /// Environment.
    pub envp: Vec<Vec<u8>>,
    /// Limits: the stack's size.
    pub rlimits: Rlimits,
}

/// A program ready to run.
pub struct Program {
    /// Its address space.
    pub mm: Arc<Mm>,
    /// First instruction: the interpreter's, if there is one.
    pub entry: usize,
    /// Initial stack pointer.
    pub sp: usize,
    /// The executable file.
    pub exe: Option<Path>,
    /// The last component of the name it was started by.
    pub comm: Vec<u8>,
    /// Who it runs as.
    pub credentials: Credentials,
}

/// Opens a file for execution: a regular file with an execute permission, on a mount that allows it. It need not be
/// readable; what is no regular file is not opened, which could wait or have effects.
pub fn open_executable(actor: &Actor, base: Option<&Path>, name: &[u8], resolve: Resolve) -> Result<Arc<OpenFile>> {
    let path = actor.resolve(base, name, resolve)?;
    let inode = path.inode().clone();
    match inode.kind() {
        FileKind::Regular => {}
        FileKind::Symlink => return Err(Errno::ELOOP.because("AT_SYMLINK_NOFOLLOW on a symbolic link")),
        _ => return Err(Errno::EACCES.because("not a regular file")),
    }
    if path.mount().flags().contains(MountFlags::NOEXEC) {
        return Err(Errno::EACCES.because("the mount is noexec"));
    }
    permission::check(&*inode, permission::Access::EXEC, &actor.who)?;
    Ok(OpenFile::opened(inode.open(OpenFlags::empty())?, OpenFlags::empty(), path))
}

/// Who a program runs as: its starter, or whom the set-user-ID and set-group-ID bits of `file` name (execve(2)).
fn credentials_for(who: &Credentials, file: &OpenFile) -> Result<Credentials> {
    let honoured = |p: &&Path| !who.no_new_privs && !p.mount().flags().contains(MountFlags::NOSUID);
    let Some(path) = file.path().filter(honoured) else { return Ok(who.after_exec(None, None)) };
    let metadata = path.inode().metadata()?;
    let uid = (metadata.mode & 0o4000 != 0).then_some(metadata.uid);
    // Without the execute bit the group's bit means something else.
    let gid = (metadata.mode & 0o2010 == 0o2010).then_some(metadata.gid);
    Ok(who.after_exec(uid, gid))
}

fn version_of(file: &OpenFile) -> Option<FileVersion> {
    file.path().and_then(FileVersion::of)
}

/// An executable file as the loader wants it.
struct Executable {
    file: Arc<OpenFile>,
    version: Option<FileVersion>,
    known: Arc<Known>,
}

impl Executable {
    /// A file that was started before.
    fn known(file: &Arc<OpenFile>, version: Option<FileVersion>) -> Option<Self> {
        let known = known::find(&version?)?;
        Some(Executable { file: file.clone(), version, known })
    }

    /// Reads what must be known of a file.
    fn read(file: &Arc<OpenFile>, version: Option<FileVersion>) -> Result<Self> {
        let headers = elf::Headers::read(file)?;
        let interpreter = headers.interpreter(file)?;
        let known = Arc::new(Known { headers, interpreter });
        if let Some(version) = version {
            known::remember(version, known.clone());
        }
        Ok(Executable { file: file.clone(), version, known })
    }

    fn map(&self, mm: &Arc<Mm>) -> Result<elf::Image> {
        elf::map_image(mm, &self.file, &self.known.headers, self.version)
    }
}

/// Loads a program into a fresh address space.
pub fn load(mut request: Request<'_>) -> Result<Program> {
    let exe_name = request.name.clone();
    let mut scripts = 0;
    let program = loop {
        let version = version_of(&request.file);
        if let Some(program) = Executable::known(&request.file, version) {
            break program;
        }
        let Some(line) = script::read(&request.file)? else { break Executable::read(&request.file, version)? };
        scripts += 1;
        if scripts > script::MAX_DEPTH {
            return Err(Errno::ELOOP.because("too many interpreters one inside the other"));
        }
        line.apply(&mut request)?;
        request.file = open_executable(request.actor, None, &line.interpreter, Resolve::empty())?;
    };
    let mm = Mm::new();
    let image = program.map(&mm)?;
    let mut base = 0;
    let mut entry = image.entry;
    if let Some(path) = &program.known.interpreter {
        let file = open_executable(request.actor, None, path, Resolve::empty())?;
        let version = version_of(&file);
        let interpreter = match Executable::known(&file, version) {
            Some(interpreter) => interpreter,
            None => Executable::read(&file, version).map_err(|e| match e.errno() {
                Errno::ENOEXEC => Errno::ELIBBAD.because(e.reason()),
                _ => e,
            })?,
        };
        let interpreter = interpreter.map(&mm)?;
        base = interpreter.bias;
        entry = interpreter.entry;
    }
    mm.set_up_break()?;
    let vdso = crate::time::vdso::map(&mm)?;
    let who = credentials_for(&request.actor.who, &request.file)?;
    let mut random = [0u8; 16];
    crate::host::random(&mut random);
    let aux = stack::AuxInfo {
        phdr: (image.phdr, image.phnum),
        base,
        entry: image.entry,
        ids: [who.ruid.0, who.euid.0, who.rgid.0, who.egid.0],
        hwcaps: arch::cpu::hwcaps(),
        vdso,
        min_signal_stack: arch::xstate::min_signal_stack(),
        random,
        secure: who.is_set_id(),
    };
    let limit = request.rlimits.get(Resource::Stack).rlim_cur;
    let built = stack::build(&mm, &request.argv, &request.envp, &exe_name, limit, &aux)?;
    let layout = ProgramLayout { start_code: image.code.0, end_code: image.code.1, ..built.layout };
    mm.set_layout(layout, built.auxv);
    let comm = exe_name.rsplit(|&b| b == b'/').next().unwrap_or_default().to_vec();
    Ok(Program { mm, entry, sp: built.sp, exe: request.file.path().cloned(), comm, credentials: who })
}
