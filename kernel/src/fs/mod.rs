//! Files: the virtual file system, its file systems, and the files that live outside any tree.

pub mod file;
pub mod poll;

/// A place in the tree: a mount and a name in it.
#[derive(Clone, Debug)]
pub struct Path;

/// A descriptor table.
#[derive(Debug, Default)]
pub struct FdTable;

impl FdTable {
    /// An empty table.
    pub fn new() -> Self {
        FdTable
    }

    /// A copy with the same descriptions (fork(2), unshare(2)).
    pub fn fork(&self) -> Self {
        FdTable
    }

    /// The description that `fd` refers to. EBADF if it is not open.
    pub fn get(&self, _fd: crate::task::Fd) -> crate::error::Result<alloc::sync::Arc<file::OpenFile>> {
        Err(crate::error::Errno::EBADF.into())
    }

    /// Gives `file` the lowest free number.
    pub fn add(
        &self,
        _file: alloc::sync::Arc<file::OpenFile>,
        _cloexec: bool,
        _limit: u64,
    ) -> crate::error::Result<crate::task::Fd> {
        Err(crate::error::Errno::EMFILE.into())
    }

    /// Frees the number; returns what it referred to.
    pub fn remove(&self, _fd: crate::task::Fd) -> crate::error::Result<alloc::sync::Arc<file::OpenFile>> {
        Err(crate::error::Errno::EBADF.into())
    }
}

/// Root, working directory, umask.
#[derive(Debug, Default)]
pub struct FsContext;

impl FsContext {
    /// A copy that is shared with nobody (fork(2), unshare(2)).
    pub fn fork(&self) -> Self {
        FsContext
    }
}
