//! Extended attributes (xattr(7)): setxattr(2), getxattr(2), listxattr(2), removexattr(2).

use super::at::{self, NameAt};
use crate::abi::general::{XATTR_CREATE, XATTR_NAME_MAX, XATTR_REPLACE, XATTR_SIZE_MAX};
use crate::error::{Errno, Result};
use crate::fs::inode::{FileKind, Inode, XattrMode};
use crate::fs::lookup::Resolve;
use crate::fs::permission::{self, Access};
use crate::fs::{Actor, Path, notify};
use crate::mm::{UserPtr, UserSlice};
use crate::task::{Capability, Credentials, Fd, Thread};
use alloc::vec::Vec;

type Text = UserPtr<u8>;

/// Which file a call is about.
enum Target {
    Name(Text, Resolve),
    Fd(Fd),
}

impl Target {
    fn path(&self, t: &Thread) -> Result<Path> {
        match self {
            Target::Name(name, how) => NameAt::read(t, Fd::CWD, *name)?.resolve(&Actor::of(t), *how),
            Target::Fd(fd) => {
                at::file(t, *fd)?.path().cloned().ok_or_else(|| Errno::EOPNOTSUPP.because("an anonymous file"))
            }
        }
    }
}

fn followed(name: Text) -> Target {
    Target::Name(name, Resolve::empty())
}

fn itself(name: Text) -> Target {
    Target::Name(name, Resolve::NO_FOLLOW)
}

fn read_name(name: Text) -> Result<Vec<u8>> {
    let name = name.read_cstr(XATTR_NAME_MAX as usize + 1, Errno::ERANGE)?;
    if name.is_empty() {
        return Err(Errno::ERANGE.because("an empty attribute name"));
    }
    Ok(name)
}

/// Who may do what with attributes of this name (xattr(7)).
fn check(inode: &dyn Inode, name: &[u8], writes: bool, who: &Credentials) -> Result<()> {
    let want = if writes { Access::WRITE } else { Access::READ };
    if name.starts_with(b"user.") {
        if !matches!(inode.kind(), FileKind::Regular | FileKind::Directory) {
            return Err(if writes { Errno::EPERM } else { Errno::ENODATA }.because("user attributes of a special file"));
        }
        return permission::check(inode, want, who);
    }
    if name.starts_with(b"trusted.") {
        if who.capable(Capability::SysAdmin) {
            return Ok(());
        }
        return Err(if writes { Errno::EPERM } else { Errno::ENODATA }.because("trusted attributes need CAP_SYS_ADMIN"));
    }
    if name.starts_with(b"security.") {
        if !writes || who.capable(Capability::SysAdmin) {
            return Ok(());
        }
        return Err(Errno::EPERM.because("security attributes need CAP_SYS_ADMIN"));
    }
    Err(Errno::EOPNOTSUPP.because("no such attribute name space"))
}

fn set(t: &Thread, target: &Target, name: Text, value: usize, size: usize, flags: u32) -> Result<usize> {
    let mode = match flags {
        0 => XattrMode::Set,
        XATTR_CREATE => XattrMode::Create,
        XATTR_REPLACE => XattrMode::Replace,
        _ => return Err(Errno::EINVAL.because("unknown xattr flags")),
    };
    let name = read_name(name)?;
    if size > XATTR_SIZE_MAX as usize {
        return Err(Errno::E2BIG.into());
    }
    // They would be kept and have no effect; who installs a program then falls back to the set-user-ID bit.
    if name == b"security.capability" {
        return Err(Errno::EOPNOTSUPP.because("files have no capabilities"));
    }
    let value = UserSlice::new(value, size).read_vec(XATTR_SIZE_MAX as usize)?;
    let path = target.path(t)?;
    path.mount().check_writable()?;
    check(&**path.inode(), &name, true, &t.credentials())?;
    path.inode().set_xattr(&name, &value, mode)?;
    notify::xattr_changed(&path);
    Ok(0)
}

/// Hands a value or a list out: its length if the guest only asks for that, ERANGE if its buffer is too small.
fn hand_out(bytes: &[u8], out: usize, size: usize) -> Result<usize> {
    if size == 0 {
        return Ok(bytes.len());
    }
    if bytes.len() > size {
        return Err(Errno::ERANGE.into());
    }
    UserSlice::new(out, size).write(bytes)
}

fn get(t: &Thread, target: &Target, name: Text, out: usize, size: usize) -> Result<usize> {
    let name = read_name(name)?;
    let path = target.path(t)?;
    check(&**path.inode(), &name, false, &t.credentials())?;
    hand_out(&path.inode().get_xattr(&name)?, out, size)
}

fn list(t: &Thread, target: &Target, out: usize, size: usize) -> Result<usize> {
    let path = target.path(t)?;
    let mut names = path.inode().list_xattrs()?;
    if !t.credentials().capable(Capability::SysAdmin) {
        let visible = |n: &&[u8]| !n.starts_with(b"trusted.");
        names = names.split_inclusive(|&b| b == 0).filter(visible).flatten().copied().collect();
    }
    hand_out(&names, out, size)
}

fn remove(t: &Thread, target: &Target, name: Text) -> Result<usize> {
    let name = read_name(name)?;
    let path = target.path(t)?;
    path.mount().check_writable()?;
    check(&**path.inode(), &name, true, &t.credentials())?;
    path.inode().remove_xattr(&name)?;
    notify::xattr_changed(&path);
    Ok(0)
}

/// setxattr(2).
pub fn sys_setxattr(t: &Thread, file: Text, name: Text, value: usize, size: usize, flags: u32) -> Result<usize> {
    set(t, &followed(file), name, value, size, flags)
}

/// lsetxattr(2).
pub fn sys_lsetxattr(t: &Thread, file: Text, name: Text, value: usize, size: usize, flags: u32) -> Result<usize> {
    set(t, &itself(file), name, value, size, flags)
}

/// fsetxattr(2).
pub fn sys_fsetxattr(t: &Thread, fd: Fd, name: Text, value: usize, size: usize, flags: u32) -> Result<usize> {
    set(t, &Target::Fd(fd), name, value, size, flags)
}

/// getxattr(2).
pub fn sys_getxattr(t: &Thread, file: Text, name: Text, out: usize, size: usize) -> Result<usize> {
    get(t, &followed(file), name, out, size)
}

/// lgetxattr(2).
pub fn sys_lgetxattr(t: &Thread, file: Text, name: Text, out: usize, size: usize) -> Result<usize> {
    get(t, &itself(file), name, out, size)
}

/// fgetxattr(2).
pub fn sys_fgetxattr(t: &Thread, fd: Fd, name: Text, out: usize, size: usize) -> Result<usize> {
    get(t, &Target::Fd(fd), name, out, size)
}

/// listxattr(2).
pub fn sys_listxattr(t: &Thread, file: Text, out: usize, size: usize) -> Result<usize> {
    list(t, &followed(file), out, size)
}

/// llistxattr(2).
pub fn sys_llistxattr(t: &Thread, file: Text, out: usize, size: usize) -> Result<usize> {
    list(t, &itself(file), out, size)
}

/// flistxattr(2).
pub fn sys_flistxattr(t: &Thread, fd: Fd, out: usize, size: usize) -> Result<usize> {
    list(t, &Target::Fd(fd), out, size)
}

/// removexattr(2).
pub fn sys_removexattr(t: &Thread, file: Text, name: Text) -> Result<usize> {
    remove(t, &followed(file), name)
}

/// lremovexattr(2).
pub fn sys_lremovexattr(t: &Thread, file: Text, name: Text) -> Result<usize> {
    remove(t, &itself(file), name)
}

/// fremovexattr(2).
pub fn sys_fremovexattr(t: &Thread, fd: Fd, name: Text) -> Result<usize> {
    remove(t, &Target::Fd(fd), name)
}
