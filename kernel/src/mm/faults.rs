//! Touches of memory that is not there yet, or not writable yet.
//!
//! Anonymous and shared memory is populated in chunks around the address, larger ones where memory is touched in order.
//! Relatives are asked first, outside the lock of the list, so the chunk is looked up twice.

use super::space::{Inner, Mm};
use super::vm_area::{Backing, MemoryBacking};
use super::window::window;
use crate::abi::PAGE_SIZE;
use crate::error::Result;
use crate::host::Prot;
use core::ops::Range;

/// Least number of bytes that a first touch populates.
const CHUNK: usize = 64 * 1024;
/// What a touch populates where memory is being touched in order.
const LARGE_CHUNK: usize = 512 * 1024;

/// How a page was touched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Access {
    Read,
    Write,
    Execute,
}

impl Access {
    fn allowed_by(self, prot: Prot) -> bool {
        match self {
            // On x86-64 what may be written or executed may be read.
            Access::Read => !prot.is_empty(),
            Access::Write => prot.contains(Prot::WRITE),
            Access::Execute => prot.contains(Prot::EXEC),
        }
    }
}

/// Why a fault stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultError {
    /// Nothing is mapped there (SEGV_MAPERR).
    NotMapped,
    /// The mapping does not allow it (SEGV_ACCERR).
    Denied,
    /// A file mapping beyond the file's end (SIGBUS, BUS_ADRERR).
    BeyondEnd,
    /// The guest's memory is used up.
    OutOfMemory,
}

/// What a touch resolves at a time.
struct Chunk {
    range: Range<usize>,
    prot: Prot,
    source: Source,
}

/// Where a chunk's memory comes from.
enum Source {
    /// The window.
    Anonymous,
    /// A shared object, whose mapping begins at the address.
    Memory(MemoryBacking, usize),
    /// A file: it is only to be made writable.
    File,
}

impl Mm {
    /// Resolves a touch of `addr` by populating memory, or by letting relatives keep theirs before it is written, or says
    /// why it cannot.
    pub fn fault(&self, addr: usize, access: Access) -> Result<(), FaultError> {
        let chunk = find_chunk(&self.lock_inner(), addr, access)?;
        if !matches!(chunk.source, Source::Memory(..)) {
            self.unshare(&chunk.range, true).map_err(|_| FaultError::OutOfMemory)?;
        }
        let inner = self.lock_inner();
        let Chunk { range, prot, source } = match find_chunk(&inner, addr, access) {
            Ok(found) => found,
            // A tracked page of a file is as it should be by now.
            Err(FaultError::BeyondEnd) if self.has_relatives() => return Ok(()),
            Err(e) => return Err(e),
        };
        let w = window();
        if matches!(source, Source::File) {
            return w.untrack(range, prot).map_err(|_| FaultError::OutOfMemory);
        }
        let page = addr & !(PAGE_SIZE - 1);
        drop(inner);
        let populate = |range: Range<usize>| match &source {
            Source::Memory(m, start) => {
                w.populate_shared(range.clone(), m.home(range.len()).start + (range.start - start), prot)
            }
            _ => w.populate(range, prot),
        };
        populate(range)
            .or_else(|_| populate(page..page + PAGE_SIZE))
            .or_else(|e| if super::reclaim() { populate(page..page + PAGE_SIZE) } else { Err(e) })
            .map_err(|_| FaultError::OutOfMemory)
    }

    /// Gives memory to the whole range now, as far as it is mapped anonymously (MAP_POPULATE, MADV_POPULATE_WRITE).
    pub fn populate(&self, range: Range<usize>) -> Result<()> {
        self.unshare(&range, true)?;
        let inner = self.lock_inner();
        for part in inner.areas.parts(&range).filter(|p| !p.prot.is_empty()) {
            match &part.backing {
                Backing::Anonymous => window().populate(part.range(), part.prot)?,
                Backing::Memory(m) => {
                    let home = m.home(part.len());
                    let within = part.start..part.start + home.len();
                    if !within.is_empty() {
                        window().populate_shared(within, home.start, part.prot)?;
                    }
                }
                Backing::File(_) => {}
            }
        }
        Ok(())
    }
}

/// The chunk around `addr` that a touch gives memory to, or makes writable.
fn find_chunk(inner: &Inner, addr: usize, access: Access) -> Result<Chunk, FaultError> {
    let area = inner.areas.find(addr).ok_or(FaultError::NotMapped)?;
    if !access.allowed_by(area.prot) {
        return Err(FaultError::Denied);
    }
    let w = window();
    let (source, end) = match &area.backing {
        Backing::Anonymous => (Source::Anonymous, area.end),
        Backing::Memory(m) => {
            let end = area.start + m.home(area.len()).len();
            (Source::Memory(m.clone(), area.start), end)
        }
        Backing::File(_) if access == Access::Write && w.is_tracked(addr) => (Source::File, area.end),
        // The host resolves these by itself; what reaches us lies beyond the file's end.
        Backing::File(_) => return Err(FaultError::BeyondEnd),
    };
    if addr >= end {
        return Err(FaultError::BeyondEnd);
    }
    let small = addr & !(CHUNK - 1);
    let before = small.wrapping_sub(PAGE_SIZE);
    let in_order = small > area.start && w.is_populated(before) && !w.is_tracked(before);
    let len = if in_order { LARGE_CHUNK } else { CHUNK };
    Ok(Chunk { range: small.max(area.start)..(small + len).min(end), prot: area.prot, source })
}
