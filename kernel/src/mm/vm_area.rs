//! One mapping of an address space.

use super::texts::Text;
use crate::fs::Path;
use crate::host::{HostFd, Prot};
use alloc::sync::Arc;
use core::ops::Range;

bitflags::bitflags! {
    /// What a mapping is besides its access.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct VmFlags: u32 {
        /// Changes are seen by others (MAP_SHARED).
        const SHARED = 1 << 0;
        /// It is a thread's or the program's stack, as far as that is known.
        const STACK = 1 << 1;
        /// The program break's area.
        const HEAP = 1 << 2;
        /// The kernel's own (vDSO): the guest may unmap it, but not change it.
        const SPECIAL = 1 << 3;
        /// Not counted as a promise of memory (MAP_NORESERVE).
        const NORESERVE = 1 << 4;
        /// Locked in memory (mlock(2)): shown only; nothing is ever swapped out.
        const LOCKED = 1 << 5;
        /// Not copied on fork (MADV_DONTFORK).
        const DONTFORK = 1 << 6;
        /// It is or was writable, so that a private mapping may differ from its file.
        const WRITTEN = 1 << 7;
    }
}

/// A file that is mapped.
#[derive(Clone)]
pub struct FileBacking {
    /// The host file whose pages are used.
    pub host: Arc<HostFd>,
    /// Offset in the file of the mapping's first byte, a multiple of the page size.
    pub offset: u64,
    /// Its name, for `/proc/<pid>/maps`.
    pub path: Option<Path>,
    /// Whether a shared mapping of it may be made writable (the descriptor was open for writing).
    pub may_write: bool,
    /// What is known of the system call sites in it, if it is executable.
    pub text: Option<Arc<Text>>,
    /// Whether the window shows the image of `text` with its sites patched, in the file's place.
    pub patched: bool,
}

impl FileBacking {
    /// The file from `offset` on.
    pub fn new(host: Arc<HostFd>, offset: u64, path: Option<Path>, may_write: bool) -> Self {
        FileBacking { host, offset, path, may_write, text: None, patched: false }
    }
}

/// Where a mapping's contents come from.
#[derive(Clone)]
pub enum Backing {
    /// Zero pages of the window's own memory, populated on first touch.
    Anonymous,
    /// A host file, mapped by the host.
    File(FileBacking),
}

/// A mapping: its range is the key in the list that holds it, and `end`.
#[derive(Clone)]
pub struct VmArea {
    /// First address.
    pub start: usize,
    /// The address past the last.
    pub end: usize,
    /// What the guest may do.
    pub prot: Prot,
    /// What else it is.
    pub flags: VmFlags,
    /// Where its contents come from.
    pub backing: Backing,
    /// What `/proc/<pid>/maps` calls it if it has no file: `[stack]`, `[heap]`, `[vdso]`.
    pub name: &'static str,
}

impl VmArea {
    /// Its addresses.
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether it has no byte; a mapping in a list always has some.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The part of it inside `range`, with the file offset moved along.
    pub fn part(&self, range: &Range<usize>) -> VmArea {
        let start = self.start.max(range.start);
        let end = self.end.min(range.end);
        let mut part = VmArea { start, end, ..self.clone() };
        if let Backing::File(f) = &mut part.backing {
            f.offset += (start - self.start) as u64;
        }
        part
    }

    /// Whether `next`, which starts where this one ends, could be one mapping with it.
    pub fn continues_with(&self, next: &VmArea) -> bool {
        let same_backing = match (&self.backing, &next.backing) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (Backing::File(a), Backing::File(b)) => {
                Arc::ptr_eq(&a.host, &b.host)
                    && a.offset + self.len() as u64 == b.offset
                    && a.may_write == b.may_write
                    && a.patched == b.patched
                    && a.text.as_ref().map(Arc::as_ptr) == b.text.as_ref().map(Arc::as_ptr)
            }
            _ => false,
        };
        same_backing
            && self.end == next.start
            && self.prot == next.prot
            && self.flags == next.flags
            && self.name == next.name
    }
}
