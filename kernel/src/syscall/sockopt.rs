//! Socket options: setsockopt(2), getsockopt(2).

use super::socket::socket_file;
use crate::error::{Errno, Result};
use crate::mm::{UserPtr, UserSlice};
use crate::net::file::{OptionValue, SocketFile};
use crate::task::{Fd, Thread};

/// The most of an option's value that anything looks at.
const VALUE_MAX: usize = 256;

/// setsockopt(2).
pub fn sys_setsockopt(t: &Thread, fd: Fd, level: i32, name: i32, value: usize, len: i32) -> Result<usize> {
    let file = socket_file(t, fd)?;
    let len = usize::try_from(len).map_err(|_| Errno::EINVAL.because("a negative option length"))?;
    let mut bytes = [0; VALUE_MAX];
    let len = len.min(VALUE_MAX);
    UserSlice::new(value, len).read(&mut bytes[..len])?;
    SocketFile::of(&file)?.set_option(t, level, name, &OptionValue(&bytes[..len]))?;
    Ok(0)
}

/// getsockopt(2): what does not fit is cut.
pub fn sys_getsockopt(t: &Thread, fd: Fd, level: i32, name: i32, value: usize, len: UserPtr<i32>) -> Result<usize> {
    let file = socket_file(t, fd)?;
    let room = usize::try_from(len.read()?).map_err(|_| Errno::EINVAL.because("a negative option length"))?;
    let bytes = SocketFile::of(&file)?.option(level, name)?;
    let written = UserSlice::new(value, room).write(&bytes)?;
    len.write(written as i32)?;
    Ok(0)
}
