//! One mapping of an address space.

use super::shared_memory::SharedMemory;
use super::texts::Text;
use super::window::window;
use crate::error::Result;
use crate::fs::Path;
use crate::host::{HostFd, Prot};
use alloc::string::String;
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
        /// Zeros for the child of fork (MADV_WIPEONFORK); private anonymous memory only.
        const WIPEONFORK = 1 << 8;
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

/// A shared memory object that is mapped.
#[derive(Clone)]
pub struct MemoryBacking {
    /// The object.
    pub object: Arc<SharedMemory>,
    /// Offset in the object of the mapping's first byte, a multiple of the page size; may lie beyond its end.
    pub offset: usize,
    /// Whether the mapping may be made writable (shmat(2), SHM_RDONLY).
    pub may_write: bool,
}

impl MemoryBacking {
    /// The home of the first `len` bytes of the mapping, as far as the object goes.
    pub(super) fn home(&self, len: usize) -> Range<usize> {
        self.object.home_part(self.offset, len)
    }

    /// Shows the object at `range`, which has as many bytes as the mapping. What lies beyond the object's end stays
    /// inaccessible.
    pub(super) fn show(&self, range: &Range<usize>, prot: Prot) -> Result<()> {
        let home = self.home(range.len());
        if home.is_empty() {
            return Ok(());
        }
        let shown = window().map_shared(range.start..range.start + home.len(), home.start, prot);
        if shown.is_err() {
            // Part of it may be there: the range is to be as it was.
            window().unmap_shared(range.clone())?;
        }
        shown
    }

    /// Changes the access to the object at `range`, where it is shown.
    pub(super) fn protect(&self, range: &Range<usize>, prot: Prot) -> Result<()> {
        let home = self.home(range.len());
        if home.is_empty() {
            return Ok(());
        }
        window().protect_shared(range.start..range.start + home.len(), home.start, prot)
    }
}

/// Where a mapping's contents come from.
#[derive(Clone)]
pub enum Backing {
    /// Zero pages of the window's own memory, populated on first touch; private to the address space.
    Anonymous,
    /// A shared memory object, populated on first touch.
    Memory(MemoryBacking),
    /// A host file, mapped by the host.
    File(FileBacking),
}

impl Backing {
    /// Moves the beginning on by `bytes`.
    pub(super) fn advance(&mut self, bytes: usize) {
        match self {
            Backing::Anonymous => {}
            Backing::Memory(m) => m.offset = m.offset.saturating_add(bytes),
            Backing::File(f) => f.offset += bytes as u64,
        }
    }
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

    /// What `/proc/<pid>/maps` calls it; empty for anonymous memory.
    pub fn name(&self) -> String {
        match &self.backing {
            Backing::File(FileBacking { path: Some(path), .. }) => String::from_utf8_lossy(&path.display()).into(),
            Backing::Memory(m) => m.object.name().into(),
            _ => self.name.into(),
        }
    }

    /// The offset of its first byte in the file or object that it shows.
    pub fn file_offset(&self) -> Option<u64> {
        match &self.backing {
            Backing::File(f) => Some(f.offset),
            Backing::Memory(m) => Some(m.offset as u64),
            Backing::Anonymous => None,
        }
    }

    /// Access and sharing as `/proc/<pid>/maps` shows them: `rw-p`.
    pub fn prot_text(&self) -> String {
        let flag = |p: Prot, c: char| if self.prot.contains(p) { c } else { '-' };
        let share = if self.flags.contains(VmFlags::SHARED) { 's' } else { 'p' };
        [flag(Prot::READ, 'r'), flag(Prot::WRITE, 'w'), flag(Prot::EXEC, 'x'), share].into_iter().collect()
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
        part.backing.advance(start - self.start);
        part
    }

    /// Whether `next`, which starts where this one ends, could be one mapping with it.
    pub fn continues_with(&self, next: &VmArea) -> bool {
        let same_backing = match (&self.backing, &next.backing) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (Backing::Memory(a), Backing::Memory(b)) => {
                // Linux keeps parts of an attached segment apart for good, which shm_nattch shows.
                Arc::ptr_eq(&a.object, &b.object)
                    && !a.object.is_segment()
                    && a.offset.checked_add(self.len()) == Some(b.offset)
                    && a.may_write == b.may_write
            }
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
