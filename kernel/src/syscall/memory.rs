//! Memory: mmap(2), munmap(2), mprotect(2), mremap(2), brk(2), madvise(2), msync(2), mincore(2), mlock(2).

use crate::abi::PAGE_SIZE;
use crate::error::{Errno, Result};
use crate::fs::file::MapSource;
use crate::host::Prot;
use crate::mm::{Backing, FileBacking, MapRequest, Placement, UserPtr, VmFlags, Zone, page_align_up, window};
use crate::task::{Fd, Resource, Thread};
use core::ops::Range;

const MAP_SHARED: u32 = 1;
const MAP_PRIVATE: u32 = 2;
const MAP_SHARED_VALIDATE: u32 = 3;
const MAP_TYPE: u32 = 0xf;
const MAP_FIXED: u32 = 0x10;
const MAP_ANONYMOUS: u32 = 0x20;
const MAP_32BIT: u32 = 0x40;
const MAP_GROWSDOWN: u32 = 0x100;
const MAP_DENYWRITE: u32 = 0x800;
const MAP_EXECUTABLE: u32 = 0x1000;
const MAP_LOCKED: u32 = 0x2000;
const MAP_NORESERVE: u32 = 0x4000;
const MAP_POPULATE: u32 = 0x8000;
const MAP_NONBLOCK: u32 = 0x10000;
const MAP_STACK: u32 = 0x20000;
const MAP_HUGETLB: u32 = 0x40000;
const MAP_FIXED_NOREPLACE: u32 = 0x10_0000;

const MREMAP_MAYMOVE: u32 = 1;
const MREMAP_FIXED: u32 = 2;
const MREMAP_DONTUNMAP: u32 = 4;

/// For atomic operations, on processors that need to know.
const PROT_SEM: u32 = 8;
const PROT_GROWSDOWN: u32 = 0x0100_0000;
const PROT_GROWSUP: u32 = 0x0200_0000;

/// Flags that MAP_SHARED_VALIDATE accepts beside those that are served here (mmap(2)).
const LEGACY_FLAGS: u32 = MAP_TYPE
    | MAP_FIXED
    | MAP_ANONYMOUS
    | MAP_32BIT
    | MAP_GROWSDOWN
    | MAP_DENYWRITE
    | MAP_EXECUTABLE
    | MAP_LOCKED
    | MAP_NORESERVE
    | MAP_POPULATE
    | MAP_NONBLOCK
    | MAP_STACK
    | MAP_HUGETLB
    | MAP_FIXED_NOREPLACE;

/// A page-aligned range from an address and a length; EINVAL if the address is not aligned or the range wraps.
fn range_from(addr: usize, len: usize) -> Result<Range<usize>> {
    if !addr.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL.because("the address is not a multiple of the page size"));
    }
    let end = page_align_up(len).and_then(|l| addr.checked_add(l)).ok_or(Errno::EINVAL.because("the range wraps"))?;
    Ok(addr..end)
}

/// Seals that forbid new writable mappings (fcntl(2)).
const WRITE_SEALS: u32 = crate::abi::general::F_SEAL_WRITE | crate::abi::general::F_SEAL_FUTURE_WRITE;

/// mmap(2).
pub fn sys_mmap(t: &Thread, addr: usize, len: usize, prot: u32, flags: u32, fd: Fd, offset: u64) -> Result<usize> {
    if !offset.is_multiple_of(PAGE_SIZE as u64) {
        return Err(Errno::EINVAL.because("the offset is not a multiple of the page size"));
    }
    // As Linux: bits that mean nothing are passed over here, but not by mprotect(2).
    let prot = Prot::from_bits_truncate(prot);
    if len == 0 {
        return Err(Errno::EINVAL.because("the length is zero"));
    }
    let shared = match flags & MAP_TYPE {
        MAP_SHARED => true,
        MAP_SHARED_VALIDATE if flags & MAP_ANONYMOUS == 0 => {
            if flags & !LEGACY_FLAGS != 0 {
                return Err(Errno::EOPNOTSUPP.because("flags that MAP_SHARED_VALIDATE does not know"));
            }
            true
        }
        MAP_PRIVATE => false,
        _ => return Err(Errno::EINVAL.because("neither MAP_SHARED nor MAP_PRIVATE")),
    };
    if flags & MAP_HUGETLB != 0 {
        return Err(Errno::ENOMEM.because("there are no huge pages"));
    }
    let mut vm_flags = VmFlags::empty();
    vm_flags.set(VmFlags::SHARED, shared);
    vm_flags.set(VmFlags::NORESERVE, flags & MAP_NORESERVE != 0);
    vm_flags.set(VmFlags::LOCKED, flags & MAP_LOCKED != 0);
    vm_flags.set(VmFlags::STACK, flags & (MAP_STACK | MAP_GROWSDOWN) != 0);
    let mut zone = if prot.contains(Prot::EXEC) { Zone::Image } else { Zone::Data };
    let backing = if flags & MAP_ANONYMOUS != 0 {
        Backing::Anonymous
    } else {
        let file = super::at::file(t, fd)?;
        if !file.flags().readable() {
            return Err(Errno::EACCES.because("the file is not open for reading"));
        }
        let sealed = file.inode().and_then(|i| i.seals().ok()).unwrap_or(0) & WRITE_SEALS != 0;
        let may_write = file.flags().writable() && !(shared && sealed);
        if shared && prot.contains(Prot::WRITE) && sealed {
            return Err(Errno::EPERM.because("a writable shared mapping of a file that is sealed against writing"));
        }
        if shared && prot.contains(Prot::WRITE) && !may_write {
            return Err(Errno::EACCES.because("a writable shared mapping of a file that is not open for writing"));
        }
        match file.ops().map_source(&file)? {
            MapSource::Host(host) => {
                zone = Zone::Image;
                let path = file.path().cloned();
                Backing::File(FileBacking::new(host, offset, path, may_write || !shared))
            }
            MapSource::Zero => Backing::Anonymous,
        }
    };
    if flags & MAP_32BIT != 0 {
        zone = Zone::Low;
    }
    let placement = if flags & MAP_FIXED_NOREPLACE != 0 {
        Placement::FixedNoReplace(addr)
    } else if flags & MAP_FIXED != 0 {
        Placement::Fixed(addr)
    } else {
        Placement::Hint(addr)
    };
    if !matches!(placement, Placement::Hint(_)) && !addr.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL.because("the address is not a multiple of the page size"));
    }
    let mm = t.mm();
    let limit = t.process().rlimits().get(Resource::AddressSpace).rlim_cur;
    if limit != crate::task::INFINITY && mm.usage().0.saturating_add(len) as u64 > limit {
        return Err(Errno::ENOMEM.because("RLIMIT_AS"));
    }
    let at = mm.map(MapRequest { len, placement, prot, flags: vm_flags, backing, name: "", zone })?;
    if flags & (MAP_POPULATE | MAP_LOCKED) != 0 {
        // As Linux: a failure to populate does not undo the mapping.
        let _ = mm.populate(at..at + page_align_up(len).unwrap_or(len));
    }
    Ok(at)
}

/// munmap(2).
pub fn sys_munmap(t: &Thread, addr: usize, len: usize) -> Result<usize> {
    let range = range_from(addr, len)?;
    if range.is_empty() {
        return Err(Errno::EINVAL.because("the length is zero"));
    }
    t.mm().unmap(range)?;
    Ok(0)
}

/// mprotect(2).
pub fn sys_mprotect(t: &Thread, addr: usize, len: usize, prot: u32) -> Result<usize> {
    if prot & (PROT_GROWSDOWN | PROT_GROWSUP) == PROT_GROWSDOWN | PROT_GROWSUP {
        return Err(Errno::EINVAL.because("PROT_GROWSDOWN and PROT_GROWSUP exclude each other"));
    }
    if !addr.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL.because("the address is not a multiple of the page size"));
    }
    if len == 0 {
        return Ok(0);
    }
    let end = page_align_up(len).filter(|&l| l > 0).and_then(|l| addr.checked_add(l));
    let range = addr..end.ok_or(Errno::ENOMEM.because("the range wraps"))?;
    let prot = Prot::from_bits(prot & !(PROT_GROWSDOWN | PROT_GROWSUP | PROT_SEM));
    let prot = prot.ok_or(Errno::EINVAL.because("unknown protection bits"))?;
    t.mm().protect(range, prot)?;
    Ok(0)
}

/// mremap(2). MREMAP_DONTUNMAP is refused.
pub fn sys_mremap(t: &Thread, old: usize, old_len: usize, new_len: usize, flags: u32, new: usize) -> Result<usize> {
    if flags & !(MREMAP_MAYMOVE | MREMAP_FIXED) != 0 {
        let reason = if flags & MREMAP_DONTUNMAP != 0 { "MREMAP_DONTUNMAP is not supported" } else { "unknown flags" };
        return Err(Errno::EINVAL.because(reason));
    }
    if flags & MREMAP_FIXED != 0 && flags & MREMAP_MAYMOVE == 0 {
        return Err(Errno::EINVAL.because("MREMAP_FIXED without MREMAP_MAYMOVE"));
    }
    let old = range_from(old, old_len)?;
    let new_len = page_align_up(new_len).filter(|&l| l > 0).ok_or(Errno::EINVAL.because("the new length is zero"))?;
    let to = if flags & MREMAP_FIXED != 0 {
        let new = range_from(new, new_len)?;
        if new.start < old.end && old.start < new.end {
            return Err(Errno::EINVAL.because("the old and new ranges overlap"));
        }
        Some(Placement::Fixed(new.start))
    } else if flags & MREMAP_MAYMOVE != 0 {
        Some(Placement::Hint(0))
    } else {
        None
    };
    let mm = t.mm();
    mm.remap(old, new_len, to)
}

/// brk(2): the system call returns the new break, or the old one if it cannot move.
pub fn sys_brk(t: &Thread, to: usize) -> Result<usize> {
    Ok(t.mm().set_break(to))
}

const MADV_NORMAL: i32 = 0;
const MADV_DONTNEED: i32 = 4;
const MADV_FREE: i32 = 8;
const MADV_REMOVE: i32 = 9;
const MADV_DONTFORK: i32 = 10;
const MADV_DOFORK: i32 = 11;
const MADV_WIPEONFORK: i32 = 18;
const MADV_KEEPONFORK: i32 = 19;
const MADV_POPULATE_READ: i32 = 22;
const MADV_POPULATE_WRITE: i32 = 23;

/// madvise(2): advice about access order and merging is taken and has no effect.
pub fn sys_madvise(t: &Thread, addr: usize, len: usize, advice: i32) -> Result<usize> {
    let range = range_from(addr, len)?;
    if range.is_empty() {
        return Ok(0);
    }
    let mm = t.mm();
    match advice {
        MADV_DONTNEED | MADV_FREE => mm.discard(range)?,
        MADV_REMOVE => mm.remove(range)?,
        MADV_POPULATE_READ | MADV_POPULATE_WRITE => mm.populate(range)?,
        MADV_DONTFORK => mm.mark(range, VmFlags::DONTFORK, VmFlags::empty())?,
        MADV_DOFORK => mm.mark(range, VmFlags::empty(), VmFlags::DONTFORK)?,
        MADV_WIPEONFORK => mm.mark(range, VmFlags::WIPEONFORK, VmFlags::empty())?,
        MADV_KEEPONFORK => mm.mark(range, VmFlags::empty(), VmFlags::WIPEONFORK)?,
        // RANDOM to WILLNEED, MERGEABLE to DODUMP, COLD, PAGEOUT, COLLAPSE.
        MADV_NORMAL..=3 | 12..=17 | 20..=21 | 25 => {
            if !mm.covers(&range) {
                return Err(Errno::ENOMEM.because("part of the range is not mapped"));
            }
        }
        _ => return Err(Errno::EINVAL.because("unknown advice")),
    }
    Ok(0)
}

/// msync(2).
pub fn sys_msync(t: &Thread, addr: usize, len: usize, flags: i32) -> Result<usize> {
    const MS_ASYNC: i32 = 1;
    const MS_INVALIDATE: i32 = 2;
    const MS_SYNC: i32 = 4;
    if flags & !(MS_ASYNC | MS_INVALIDATE | MS_SYNC) != 0 || flags & (MS_ASYNC | MS_SYNC) == MS_ASYNC | MS_SYNC {
        return Err(Errno::EINVAL.because("bad flags"));
    }
    let range = range_from(addr, len)?;
    if !range.is_empty() {
        let files = t.mm().sync(range)?;
        if flags & MS_SYNC != 0 {
            for file in files {
                file.inode().sync(true)?;
            }
        }
    }
    Ok(0)
}

/// mincore(2): a page of a file mapping counts as resident.
pub fn sys_mincore(t: &Thread, addr: usize, len: usize, vec: UserPtr<u8>) -> Result<usize> {
    let range = range_from(addr, len)?;
    let mm = t.mm();
    if !mm.covers(&range) {
        return Err(Errno::ENOMEM.because("part of the range is not mapped"));
    }
    let w = window::get().ok_or(Errno::ENOMEM)?;
    for (i, page) in range.step_by(PAGE_SIZE).enumerate() {
        let by_us = mm.area_at(page).is_some_and(|a| !matches!(a.backing, Backing::File(_)));
        vec.add(i).write(u8::from(!by_us || w.is_populated(page)))?;
    }
    Ok(0)
}

/// mlock(2), mlock2(2): nothing is ever swapped out by the guest; the range is populated.
pub fn sys_mlock(t: &Thread, addr: usize, len: usize) -> Result<usize> {
    let start = addr & !(PAGE_SIZE - 1);
    let end = page_align_up(addr.checked_add(len).ok_or(Errno::EINVAL)?).ok_or(Errno::EINVAL)?;
    let mm = t.mm();
    if !mm.covers(&(start..end)) {
        return Err(Errno::ENOMEM.because("part of the range is not mapped"));
    }
    mm.populate(start..end)?;
    Ok(0)
}

/// mlock2(2).
pub fn sys_mlock2(t: &Thread, addr: usize, len: usize, flags: i32) -> Result<usize> {
    if flags & !1 != 0 {
        return Err(Errno::EINVAL.because("unknown flags"));
    }
    sys_mlock(t, addr, len)
}

/// munlock(2).
pub fn sys_munlock(t: &Thread, addr: usize, len: usize) -> Result<usize> {
    let start = addr & !(PAGE_SIZE - 1);
    let end = page_align_up(addr.checked_add(len).ok_or(Errno::EINVAL)?).ok_or(Errno::EINVAL)?;
    if t.mm().covers(&(start..end)) { Ok(0) } else { Err(Errno::ENOMEM.because("part of the range is not mapped")) }
}

/// mlockall(2).
pub fn sys_mlockall(_t: &Thread, flags: i32) -> Result<usize> {
    if flags == 0 || flags & !7 != 0 {
        return Err(Errno::EINVAL.because("unknown flags"));
    }
    Ok(0)
}

/// munlockall(2).
pub fn sys_munlockall(_t: &Thread) -> Result<usize> {
    Ok(0)
}
