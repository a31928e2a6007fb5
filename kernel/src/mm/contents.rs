//! What programs do to the contents of their mappings: madvise(2) with MADV_DONTNEED and MADV_REMOVE, msync(2).

use super::space::{Inner, Mm};
use super::vm_area::{Backing, VmFlags};
use super::window::window;
use crate::error::{Errno, Result};
use crate::fs::Path;
use alloc::vec::Vec;
use core::ops::Range;

impl Mm {
    /// Forgets the contents of the range (MADV_DONTNEED): private anonymous memory reads as zeros, private file mappings
    /// as the file; what is shared keeps its contents. ENOMEM if a part is not mapped.
    pub fn discard(&self, range: Range<usize>) -> Result<()> {
        self.unshare(&range, false)?;
        let inner = self.lock_inner();
        for part in inner.areas.parts(&range) {
            match &part.backing {
                _ if part.flags.contains(VmFlags::SHARED) => {}
                Backing::Anonymous => {
                    window().discard(part.range())?;
                }
                Backing::Memory(_) => {}
                Backing::File(_) => window().drop_private(part.range())?,
            }
        }
        whole(&inner, &range)
    }

    /// Says what fork(2) does with the range: the mappings get the flags `set` and lose `clear`. ENOMEM if a part is not
    /// mapped, whatever lies around it is marked.
    pub fn mark(&self, range: Range<usize>, set: VmFlags, clear: VmFlags) -> Result<()> {
        let mut inner = self.lock_inner();
        if set.contains(VmFlags::WIPEONFORK)
            && inner.areas.parts(&range).any(|a| {
                !matches!(a.backing, Backing::Anonymous) || a.flags.intersects(VmFlags::SHARED | VmFlags::SPECIAL)
            })
        {
            return Err(Errno::EINVAL.because("MADV_WIPEONFORK is for private anonymous memory"));
        }
        for mut area in inner.areas.carve(&range) {
            area.flags = (area.flags - clear) | set;
            inner.areas.insert(area);
        }
        whole(&inner, &range)
    }

    /// Makes shared memory read as zeros for everybody (MADV_REMOVE). EINVAL if a mapping is private or of a file.
    pub fn remove(&self, range: Range<usize>) -> Result<()> {
        let inner = self.lock_inner();
        for part in inner.areas.parts(&range) {
            let Backing::Memory(m) = &part.backing else {
                return Err(Errno::EINVAL.because("MADV_REMOVE is for shared anonymous memory"));
            };
            let home = m.home(part.len());
            if !home.is_empty() {
                window().clear_shared(home)?;
            }
        }
        whole(&inner, &range)
    }

    /// Writes shared file mappings in the range back (msync(2)); returns the files, for their file systems to make what
    /// was written durable. ENOMEM if a part is not mapped.
    pub fn sync(&self, range: Range<usize>) -> Result<Vec<Path>> {
        let inner = self.lock_inner();
        let mut files: Vec<Path> = Vec::new();
        for part in inner.areas.parts(&range).filter(|p| p.flags.contains(VmFlags::SHARED)) {
            let Backing::File(file) = &part.backing else { continue };
            window().sync_file(part.range())?;
            if let Some(path) = file.path.as_ref().filter(|p| !files.contains(p)) {
                files.push(path.clone());
            }
        }
        whole(&inner, &range)?;
        Ok(files)
    }
}

/// ENOMEM if a part of the range is not mapped.
fn whole(inner: &Inner, range: &Range<usize>) -> Result<()> {
    if inner.areas.gaps(range).is_empty() {
        Ok(())
    } else {
        Err(Errno::ENOMEM.because("part of the range is not mapped"))
    }
}
