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
}

/// Root, working directory, umask.
#[derive(Debug, Default)]
pub struct FsContext;
