//! What the calls on names have in common: the directory descriptor, the path, the actor.

use crate::error::{Errno, Result};
use crate::fs::file::OpenFile;
use crate::fs::lookup::Resolve;
use crate::fs::{Actor, Path};
use crate::mm::UserPtr;
use crate::task::{Fd, Resource, Thread};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// `AT_SYMLINK_NOFOLLOW`.
pub(super) const SYMLINK_NOFOLLOW: u32 = 0x100;
/// `AT_EACCESS`, and `AT_REMOVEDIR` for unlinkat.
pub(super) const EACCESS: u32 = 0x200;
/// `AT_SYMLINK_FOLLOW`.
pub(super) const SYMLINK_FOLLOW: u32 = 0x400;
/// `AT_NO_AUTOMOUNT`; nothing is mounted of itself here.
pub(super) const NO_AUTOMOUNT: u32 = 0x800;
/// `AT_EMPTY_PATH`.
pub(super) const EMPTY_PATH: u32 = 0x1000;

/// A name as a call gives it: relative to a directory descriptor.
pub(super) struct NameAt {
    /// Where a relative name begins; `None` for the working directory.
    pub base: Option<Path>,
    /// The name.
    pub name: Vec<u8>,
}

impl NameAt {
    /// Reads the name, and looks at the descriptor if the name needs it.
    pub fn read(t: &Thread, dir: Fd, name: UserPtr<u8>) -> Result<Self> {
        let name = name.read_path()?;
        let base = if name.first() == Some(&b'/') { None } else { base(t, dir)? };
        Ok(NameAt { base, name })
    }

    /// Where a relative name begins.
    pub fn base(&self) -> Option<&Path> {
        self.base.as_ref()
    }

    /// The place it names.
    pub fn resolve(&self, actor: &Actor, how: Resolve) -> Result<Path> {
        actor.resolve(self.base(), &self.name, how)
    }
}

/// The place that a directory descriptor stands for; `None` for AT_FDCWD.
pub(super) fn base(t: &Thread, dir: Fd) -> Result<Option<Path>> {
    if dir == Fd::CWD {
        return Ok(None);
    }
    let file = t.file(dir)?;
    match file.path() {
        Some(path) => Ok(Some(path.clone())),
        None => Err(Errno::ENOTDIR.because("the descriptor has no place in the tree")),
    }
}

/// How `AT_*` flags ask for a name to be resolved. EINVAL for flags outside `known`.
pub(super) fn resolve_flags(flags: u32, known: u32) -> Result<Resolve> {
    if flags & !known != 0 {
        return Err(Errno::EINVAL.because("unknown AT_ flags"));
    }
    let mut how = Resolve::empty();
    how.set(Resolve::NO_FOLLOW, flags & SYMLINK_NOFOLLOW != 0);
    how.set(Resolve::EMPTY_PATH, flags & EMPTY_PATH != 0);
    Ok(how)
}

/// The description of `fd`, for a call that an `O_PATH` descriptor does not serve.
pub(super) fn file(t: &Thread, fd: Fd) -> Result<Arc<OpenFile>> {
    let file = t.file(fd)?;
    if file.is_path_only() {
        return Err(Errno::EBADF.because("an O_PATH descriptor"));
    }
    Ok(file)
}

/// How many descriptors the process may have.
pub(super) fn open_limit(t: &Thread) -> u64 {
    t.process().rlimits().get(Resource::OpenFiles).rlim_cur
}

/// Gives a description a number.
pub(crate) fn install(t: &Thread, file: Arc<OpenFile>, cloexec: bool) -> Result<usize> {
    Ok(t.files().add(file, cloexec, open_limit(t))?.0 as usize)
}
