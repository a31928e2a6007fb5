//! execve(2), execveat(2).

use super::at::NameAt;
use crate::abi::general::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW};
use crate::error::{Errno, Result};
use crate::fs::Resolve;
use crate::loader::{ARG_MAX, exec::do_execve};
use crate::mm::UserPtr;
use crate::task::{Fd, Thread};
use alloc::format;
use alloc::vec::Vec;

/// Most strings in one vector: far more than fit on any stack.
const STRINGS_MAX: usize = 1 << 20;
/// Most bytes of strings in one vector (a quarter of the largest stack).
const BYTES_MAX: usize = 16 << 20;

/// Reads a NULL-terminated vector of strings; a NULL vector is an empty one.
fn read_strings(vector: UserPtr<usize>) -> Result<Vec<Vec<u8>>> {
    let mut strings = Vec::new();
    let mut bytes = 0;
    if vector.is_null() {
        return Ok(strings);
    }
    for i in 0..STRINGS_MAX {
        let at = vector.add(i).read()?;
        if at == 0 {
            return Ok(strings);
        }
        let s = UserPtr::<u8>::new(at).read_cstr(ARG_MAX, Errno::E2BIG)?;
        bytes += s.len() + 1;
        if bytes > BYTES_MAX {
            break;
        }
        strings.push(s);
    }
    Err(Errno::E2BIG.because("the strings do not fit on any stack"))
}

/// execve(2).
pub fn sys_execve(t: &Thread, path: UserPtr<u8>, argv: UserPtr<usize>, envp: UserPtr<usize>) -> Result<usize> {
    sys_execveat(t, Fd::CWD, path, argv, envp, 0)
}

/// execveat(2).
pub fn sys_execveat(
    t: &Thread,
    dir: Fd,
    path: UserPtr<u8>,
    argv: UserPtr<usize>,
    envp: UserPtr<usize>,
    flags: u32,
) -> Result<usize> {
    if flags & !(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL.because("unknown flags"));
    }
    let NameAt { base, name } = NameAt::read(t, dir, path)?;
    let mut resolve = Resolve::empty();
    resolve.set(Resolve::EMPTY_PATH, flags & AT_EMPTY_PATH != 0);
    resolve.set(Resolve::NO_FOLLOW, flags & AT_SYMLINK_NOFOLLOW != 0);
    let mut argv = read_strings(argv)?;
    let envp = read_strings(envp)?;
    if argv.is_empty() {
        // As Linux since 5.18: a program never sees argc == 0.
        argv.push(Vec::new());
    }
    let shown = match (dir == Fd::CWD || name.starts_with(b"/"), name.is_empty()) {
        (true, _) => name.clone(),
        (false, true) => format!("/dev/fd/{dir}").into_bytes(),
        (false, false) => [format!("/dev/fd/{dir}/").as_bytes(), &name].concat(),
    };
    do_execve(t, base.as_ref(), &name, resolve, shown, argv, envp)?;
    Ok(0)
}
