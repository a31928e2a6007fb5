//! Guest memory as the kernel sees it: allegations until checked.
//!
//! A system call brings addresses. [`UserPtr`] and [`UserSlice`] name them without trusting them: each access checks
//! that the range lies in guest memory ([`crate::mm::window`]) and copies through one routine
//! ([`crate::arch::uaccess`]) that survives a fault. On a fault the copy stops, the address space gets the chance to
//! resolve it (a first touch populates memory), and the copy goes on; what cannot be resolved is EFAULT.
//!
//! The whole guest shares one address space, so a pointer into another process's memory is not an error: `docs/limits.md`
//! says so.

mod host_io;
mod iov;
mod pod;

pub use iov::{IovDest, IovSource, MAX_IOVECS};
pub use pod::Pod;

use crate::arch::uaccess;
use crate::error::{Errno, Result};
use crate::mm;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

/// Copies `dst.len()` bytes from the guest address `src`.
pub fn copy_from_user(dst: &mut [u8], src: usize) -> Result<()> {
    whole(copy_some_from_user(dst, src)?, dst.len())
}

/// As [`copy_from_user`], but stops at the first byte that is not there; returns how many came before it.
pub fn copy_some_from_user(dst: &mut [u8], src: usize) -> Result<usize> {
    mm::check_user_range(src, dst.len())?;
    // SAFETY: `dst` is ours to write; `src` was checked to lie in guest memory, and faults there are caught.
    Ok(unsafe { transfer(dst.as_mut_ptr() as usize, src, dst.len(), src, false) })
}

/// Copies `src` to the guest address `dst`.
pub fn copy_to_user(dst: usize, src: &[u8]) -> Result<()> {
    whole(copy_some_to_user(dst, src)?, src.len())
}

/// As [`copy_to_user`], but stops at the first byte that is not there; returns how many came before it.
pub fn copy_some_to_user(dst: usize, src: &[u8]) -> Result<usize> {
    mm::check_user_range(dst, src.len())?;
    // SAFETY: `src` is ours to read; `dst` was checked to lie in guest memory, and faults there are caught.
    Ok(unsafe { transfer(dst, src.as_ptr() as usize, src.len(), dst, true) })
}

/// EFAULT unless all was copied.
fn whole(done: usize, len: usize) -> Result<()> {
    if done == len { Ok(()) } else { Err(Errno::EFAULT.into()) }
}

/// Copies between two addresses of which `user` is the one in guest memory; resolves faults on the way. Returns how far
/// it came.
///
/// # Safety
/// The kernel side must be valid for `len` bytes; the user side must have passed `mm::check_user_range`.
unsafe fn transfer(dst: usize, src: usize, len: usize, user: usize, write: bool) -> usize {
    let mut done = 0;
    while done < len {
        // SAFETY: the caller vouches for the kernel side; the user side may fault, which `copy` reports.
        let left = unsafe { uaccess::copy((dst + done) as *mut u8, (src + done) as *const u8, len - done) };
        done = len - left;
        if left > 0 && !mm::resolve_user_fault(user + done, write) {
            break;
        }
    }
    done
}

/// Sets `len` bytes at the guest address `dst` to zero.
pub fn clear_user(dst: usize, len: usize) -> Result<()> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut done = 0;
    while done < len {
        let n = (len - done).min(ZEROS.len());
        copy_to_user(dst.wrapping_add(done), &ZEROS[..n])?;
        done += n;
    }
    Ok(())
}

/// A guest address that is said to hold a `T`.
pub struct UserPtr<T> {
    addr: usize,
    of: PhantomData<*mut T>,
}

impl<T> Clone for UserPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for UserPtr<T> {}

impl<T> fmt::Debug for UserPtr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.addr)
    }
}

impl<T> UserPtr<T> {
    /// Names an address; nothing is checked yet.
    pub const fn new(addr: usize) -> Self {
        UserPtr { addr, of: PhantomData }
    }

    /// The address.
    pub const fn addr(self) -> usize {
        self.addr
    }

    /// Whether the address is 0, which many calls take for "not given".
    pub const fn is_null(self) -> bool {
        self.addr == 0
    }

    /// The pointer, or `None` for NULL.
    pub fn non_null(self) -> Option<Self> {
        if self.is_null() { None } else { Some(self) }
    }

    /// The address of the `index`-th `T` from here.
    pub const fn add(self, index: usize) -> Self {
        UserPtr::new(self.addr.wrapping_add(index.wrapping_mul(size_of::<T>())))
    }

    /// The same address, said to hold something else.
    pub const fn cast<U>(self) -> UserPtr<U> {
        UserPtr::new(self.addr)
    }
}

impl<T: Pod> UserPtr<T> {
    /// Reads the value. EFAULT if the memory is not there.
    pub fn read(self) -> Result<T> {
        let mut value = MaybeUninit::<T>::uninit();
        mm::check_user_range(self.addr, size_of::<T>())?;
        // SAFETY: the kernel side is `value`, of T's size; the user side is checked. Once all bytes are written the
        // value is initialised, and any bytes make a valid Pod.
        unsafe {
            let done = transfer(value.as_mut_ptr() as usize, self.addr, size_of::<T>(), self.addr, false);
            whole(done, size_of::<T>())?;
            Ok(value.assume_init())
        }
    }

    /// Writes the value. EFAULT if the memory is not there or is read-only.
    pub fn write(self, value: T) -> Result<()> {
        mm::check_user_range(self.addr, size_of::<T>())?;
        // SAFETY: the kernel side is `value`, of T's size; the user side is checked.
        let done = unsafe { transfer(self.addr, &raw const value as usize, size_of::<T>(), self.addr, true) };
        whole(done, size_of::<T>())
    }

    /// Writes the value unless the pointer is NULL.
    pub fn write_if_given(self, value: T) -> Result<()> {
        if self.is_null() { Ok(()) } else { self.write(value) }
    }

    /// Reads `count` values that follow each other.
    pub fn read_many(self, count: usize) -> Result<Vec<T>> {
        let bytes = count.checked_mul(size_of::<T>()).ok_or(Errno::EFAULT)?;
        mm::check_user_range(self.addr, bytes)?;
        let mut values = Vec::new();
        values.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        // SAFETY: the kernel side is the vector's reserved room; after the copy `count` values are initialised.
        unsafe {
            whole(transfer(values.as_mut_ptr() as usize, self.addr, bytes, self.addr, false), bytes)?;
            values.set_len(count);
        }
        Ok(values)
    }

    /// Writes values that follow each other.
    pub fn write_many(self, values: &[T]) -> Result<()> {
        let bytes = size_of_val(values);
        mm::check_user_range(self.addr, bytes)?;
        // SAFETY: the kernel side is `values`; the user side is checked.
        whole(unsafe { transfer(self.addr, values.as_ptr() as usize, bytes, self.addr, true) }, bytes)
    }
}

impl UserPtr<u8> {
    /// Reads a string up to its NUL, of at most `max` bytes with the NUL. `too_long` is the error where no NUL comes.
    pub fn read_cstr(self, max: usize, too_long: Errno) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut chunk = [0u8; 256];
        while out.len() < max {
            let at = self.addr.wrapping_add(out.len());
            // Not past the page: what follows it may not be there, and the string may end before.
            let n = chunk.len().min(max - out.len()).min(crate::abi::PAGE_SIZE - at % crate::abi::PAGE_SIZE);
            copy_from_user(&mut chunk[..n], at)?;
            if let Some(end) = chunk[..n].iter().position(|&b| b == 0) {
                out.extend_from_slice(&chunk[..end]);
                return Ok(out);
            }
            out.extend_from_slice(&chunk[..n]);
        }
        Err(too_long.into())
    }

    /// Reads a path name: ENAMETOOLONG beyond PATH_MAX (4096 with the NUL), as path_resolution(7) says.
    pub fn read_path(self) -> Result<Vec<u8>> {
        self.read_cstr(4096, Errno::ENAMETOOLONG)
    }
}

/// A guest address range that is said to hold bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserSlice {
    /// First byte.
    pub addr: usize,
    /// Number of bytes.
    pub len: usize,
}

impl UserSlice {
    /// Names a range; nothing is checked yet.
    pub const fn new(addr: usize, len: usize) -> Self {
        UserSlice { addr, len }
    }

    /// Fills `dst` (at most the range's length) from the start of the range.
    pub fn read(self, dst: &mut [u8]) -> Result<usize> {
        let n = dst.len().min(self.len);
        copy_from_user(&mut dst[..n], self.addr)?;
        Ok(n)
    }

    /// The whole range as a vector of at most `max` bytes; EINVAL if it is longer.
    pub fn read_vec(self, max: usize) -> Result<Vec<u8>> {
        if self.len > max {
            return Err(Errno::EINVAL.because("the buffer is larger than the call takes"));
        }
        UserPtr::<u8>::new(self.addr).read_many(self.len)
    }

    /// Writes `src`, cut to the range's length; returns how much was written.
    pub fn write(self, src: &[u8]) -> Result<usize> {
        let n = src.len().min(self.len);
        copy_to_user(self.addr, &src[..n])?;
        Ok(n)
    }
}

/// Copies between two ranges of guest memory that are both populated and accessible.
pub(super) fn copy_populated(dst: usize, src: usize, len: usize) {
    // SAFETY: both ranges are guest memory; a fault would be caught and end the copy.
    let left = unsafe { uaccess::copy(dst as *mut u8, src as *const u8, len) };
    debug_assert_eq!(left, 0, "a populated page faulted");
}

/// Copies between two ranges of guest memory that the host backs; what cannot be read (beyond a file's end) stays as
/// it is.
pub(super) fn copy_between(dst: usize, src: usize, len: usize) -> Result<()> {
    let mut done = 0;
    while done < len {
        // SAFETY: both ranges are guest memory; faults are caught.
        let left = unsafe { uaccess::copy((dst + done) as *mut u8, (src + done) as *const u8, len - done) };
        let here = len - left;
        // Past a page that faults, the next one may be there.
        done = if left == 0 {
            len
        } else {
            (src + here).next_multiple_of(crate::abi::PAGE_SIZE).max(src + here + 1) - src
        };
    }
    Ok(())
}

/// Reads guest memory without resolving faults; returns how many bytes were *not* read.
pub(super) fn read_raw(dst: &mut [u8], src: usize) -> usize {
    if mm::check_user_range(src, dst.len()).is_err() {
        return dst.len();
    }
    // SAFETY: `dst` is ours to write; `src` lies in guest memory, and faults there are caught.
    unsafe { uaccess::copy(dst.as_mut_ptr(), src as *const u8, dst.len()) }
}

/// Sets guest memory to zero without resolving faults; returns how many bytes were *not* cleared.
pub(super) fn zero_raw(dst: usize, len: usize) -> usize {
    const ZEROS: [u8; 4096] = [0; 4096];
    for at in (0..len).step_by(ZEROS.len()) {
        let n = ZEROS.len().min(len - at);
        let left = write_raw(dst + at, &ZEROS[..n]);
        if left > 0 {
            return len - at - n + left;
        }
    }
    0
}

/// Writes guest memory without resolving faults; returns how many bytes were *not* written.
pub(super) fn write_raw(dst: usize, src: &[u8]) -> usize {
    if mm::check_user_range(dst, src.len()).is_err() {
        return src.len();
    }
    // SAFETY: `src` is ours to read; `dst` lies in guest memory, and faults there are caught.
    unsafe { uaccess::copy(dst as *mut u8, src.as_ptr(), src.len()) }
}
