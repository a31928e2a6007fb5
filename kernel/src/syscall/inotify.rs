//! inotify(7): inotify_init1(2), inotify_add_watch(2), inotify_rm_watch(2).

use super::at::{self, NameAt};
use crate::error::{Errno, Result};
use crate::fs::Actor;
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::inotify::Inotify;
use crate::fs::lookup::Resolve;
use crate::fs::notify::Mask;
use crate::fs::permission::{self, Access};
use crate::mm::UserPtr;
use crate::task::{Fd, Thread};
use alloc::sync::Arc;

/// inotify_init1(2).
pub fn sys_inotify_init1(t: &Thread, flags: u32) -> Result<usize> {
    let flags = OpenFlags::from_bits_retain(flags);
    if !(OpenFlags::CLOEXEC | OpenFlags::NONBLOCK).contains(flags) {
        return Err(Errno::EINVAL.because("unknown inotify flags"));
    }
    let instance = Inotify::new(t.credentials().ruid)?;
    at::install(t, OpenFile::anonymous(instance, flags & OpenFlags::NONBLOCK), flags.contains(OpenFlags::CLOEXEC))
}

/// inotify_init(2).
pub fn sys_inotify_init(t: &Thread) -> Result<usize> {
    sys_inotify_init1(t, 0)
}

fn instance(file: &OpenFile) -> Result<Arc<Inotify>> {
    let found = file.ops().downcast_ref::<Inotify>().and_then(Inotify::arc);
    found.ok_or_else(|| Errno::EINVAL.because("not an inotify instance"))
}

/// inotify_add_watch(2).
pub fn sys_inotify_add_watch(t: &Thread, fd: Fd, name: UserPtr<u8>, mask: u32) -> Result<usize> {
    let mask =
        Mask::from_bits(mask).filter(|m| !m.is_empty()).ok_or(Errno::EINVAL.because("an empty or unknown mask"))?;
    let file = at::file(t, fd)?;
    if mask.contains(Mask::MASK_ADD | Mask::MASK_CREATE) {
        return Err(Errno::EINVAL.because("IN_MASK_ADD and IN_MASK_CREATE together"));
    }
    let instance = instance(&file)?;
    let mut how = Resolve::empty();
    how.set(Resolve::NO_FOLLOW, mask.contains(Mask::DONT_FOLLOW));
    how.set(Resolve::DIRECTORY, mask.contains(Mask::ONLYDIR));
    let actor = Actor::of(t);
    let path = NameAt::read(t, Fd::CWD, name)?.resolve(&actor, how)?;
    permission::check(&**path.inode(), Access::READ, &actor.who)?;
    Ok(instance.watch(path.inode(), mask)? as usize)
}

/// inotify_rm_watch(2).
pub fn sys_inotify_rm_watch(t: &Thread, fd: Fd, wd: i32) -> Result<usize> {
    instance(&*at::file(t, fd)?)?.unwatch(wd)?;
    Ok(0)
}
