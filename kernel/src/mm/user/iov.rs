//! Scatter/gather buffers of one read or write: the guest's iovecs, or a buffer of the kernel's own.

use super::{UserPtr, copy_some_from_user, copy_some_to_user};
use crate::error::{Errno, Result};
use crate::mm;
use alloc::vec::Vec;
use core::marker::PhantomData;

/// Most iovecs in one call (`UIO_MAXIOV`, readv(2)).
pub const MAX_IOVECS: usize = 1024;

/// Most bytes that one call moves (`MAX_RW_COUNT`: INT_MAX cut to a page, read(2)).
const MAX_RW_COUNT: usize = 0x7fff_f000;

#[derive(Clone, Debug)]
enum Segments {
    One(usize, usize),
    Many(Vec<(usize, usize)>),
}

/// A cursor over segments; `kernel` says whether they are the kernel's own memory, valid for the cursor's life.
#[derive(Clone, Debug)]
struct Cursor {
    segments: Segments,
    index: usize,
    offset: usize,
    remaining: usize,
    kernel: bool,
}

impl Cursor {
    fn user(addr: usize, len: usize) -> Result<Self> {
        let len = len.min(MAX_RW_COUNT);
        mm::check_user_range(addr, len)?;
        Ok(Cursor { segments: Segments::One(addr, len), index: 0, offset: 0, remaining: len, kernel: false })
    }

    fn iovecs(iov: UserPtr<[usize; 2]>, count: usize) -> Result<Self> {
        if count > MAX_IOVECS {
            return Err(Errno::EINVAL.because("more than UIO_MAXIOV iovecs"));
        }
        let mut segments = Vec::with_capacity(count);
        let mut remaining = 0usize;
        for [addr, len] in iov.read_many(count)? {
            if len > isize::MAX as usize {
                return Err(Errno::EINVAL.because("an iovec's length is negative"));
            }
            let len = len.min(MAX_RW_COUNT - remaining);
            mm::check_user_range(addr, len)?;
            remaining += len;
            if len > 0 {
                segments.push((addr, len));
            }
        }
        Ok(Cursor { segments: Segments::Many(segments), index: 0, offset: 0, remaining, kernel: false })
    }

    fn kernel(addr: usize, len: usize) -> Self {
        Cursor { segments: Segments::One(addr, len), index: 0, offset: 0, remaining: len, kernel: true }
    }

    fn segment(&self, index: usize) -> Option<(usize, usize)> {
        match &self.segments {
            Segments::One(addr, len) => (index == 0).then_some((*addr, *len)),
            Segments::Many(list) => list.get(index).copied(),
        }
    }

    /// The next contiguous piece: address and length.
    fn piece(&self) -> Option<(usize, usize)> {
        if self.remaining == 0 {
            return None;
        }
        let (addr, len) = self.segment(self.index)?;
        Some((addr + self.offset, (len - self.offset).min(self.remaining)))
    }

    fn advance(&mut self, mut n: usize) {
        while n > 0 {
            let Some((_, len)) = self.piece() else { return };
            let step = n.min(len);
            n -= step;
            self.offset += step;
            self.remaining -= step;
            if self.segment(self.index).is_some_and(|(_, whole)| self.offset == whole) {
                self.index += 1;
                self.offset = 0;
            }
        }
    }

    /// The pieces from here on, at most `max`, for a host call that takes iovecs.
    fn pieces(&self, max: usize) -> Vec<(usize, usize)> {
        let mut copy = self.clone();
        let mut out = Vec::new();
        while let Some((addr, len)) = copy.piece() {
            if out.len() == max {
                break;
            }
            out.push((addr, len));
            copy.advance(len);
        }
        out
    }
}

macro_rules! shared_methods {
    () => {
        /// Bytes left.
        pub fn remaining(&self) -> usize {
            self.cursor.remaining
        }

        /// Whether no byte is left.
        pub fn is_empty(&self) -> bool {
            self.cursor.remaining == 0
        }

        /// Lowers the number of bytes left to at most `n`.
        pub fn truncate(&mut self, n: usize) {
            self.cursor.remaining = self.cursor.remaining.min(n);
        }

        /// Skips `n` bytes, which the host or another path has already moved.
        pub fn advance(&mut self, n: usize) {
            self.cursor.advance(n);
        }

        /// Address and length of the next pieces, at most `max` of them, for a vectored host call. The addresses may
        /// fault: the host then says EFAULT, and [`Self::fault_in`] is the remedy.
        pub fn pieces(&self, max: usize) -> Vec<(usize, usize)> {
            self.cursor.pieces(max)
        }
    };
}

/// Where a read puts its bytes.
#[derive(Debug)]
pub struct IovDest<'a> {
    cursor: Cursor,
    of: PhantomData<&'a mut [u8]>,
}

impl<'a> IovDest<'a> {
    /// One guest buffer. EFAULT if it lies outside guest memory.
    pub fn user(addr: usize, len: usize) -> Result<IovDest<'static>> {
        Ok(IovDest { cursor: Cursor::user(addr, len)?, of: PhantomData })
    }

    /// The guest's `struct iovec` array (readv(2)).
    pub fn iovecs(iov: UserPtr<[usize; 2]>, count: usize) -> Result<IovDest<'static>> {
        Ok(IovDest { cursor: Cursor::iovecs(iov, count)?, of: PhantomData })
    }

    /// A buffer of the kernel's.
    pub fn kernel(buf: &'a mut [u8]) -> Self {
        IovDest { cursor: Cursor::kernel(buf.as_mut_ptr() as usize, buf.len()), of: PhantomData }
    }

    shared_methods!();

    /// Copies from `src` until it or the room ends; returns how much. EFAULT only if nothing could be copied.
    pub fn put(&mut self, src: &[u8]) -> Result<usize> {
        let mut done = 0;
        while done < src.len() {
            let Some((addr, len)) = self.cursor.piece() else { break };
            let n = len.min(src.len() - done);
            let copied = if self.cursor.kernel {
                // SAFETY: a kernel cursor borrows its buffer for 'a, and the piece lies inside it.
                unsafe { core::ptr::copy_nonoverlapping(src[done..].as_ptr(), addr as *mut u8, n) };
                n
            } else {
                copy_some_to_user(addr, &src[done..done + n])?
            };
            self.cursor.advance(copied);
            done += copied;
            if copied < n {
                return if done > 0 { Ok(done) } else { Err(Errno::EFAULT.into()) };
            }
        }
        Ok(done)
    }

    /// Writes `n` zero bytes (or as many as there is room for); returns how many.
    pub fn put_zeros(&mut self, n: usize) -> Result<usize> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut done = 0;
        while done < n {
            match self.put(&ZEROS[..ZEROS.len().min(n - done)]) {
                Ok(k) => {
                    done += k;
                    if k < ZEROS.len() {
                        break;
                    }
                }
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Makes the next piece's first page writable after the host said EFAULT; EFAULT if the guest has nothing there.
    pub fn fault_in(&self) -> Result<()> {
        fault_in(&self.cursor, true)
    }

    /// After the host stopped short: whether it was for want of the next page, which is there now.
    pub(super) fn was_missing(&self) -> bool {
        was_missing(&self.cursor, true)
    }
}

/// Where a write takes its bytes from.
#[derive(Debug)]
pub struct IovSource<'a> {
    cursor: Cursor,
    of: PhantomData<&'a [u8]>,
}

impl<'a> IovSource<'a> {
    /// One guest buffer. EFAULT if it lies outside guest memory.
    pub fn user(addr: usize, len: usize) -> Result<IovSource<'static>> {
        Ok(IovSource { cursor: Cursor::user(addr, len)?, of: PhantomData })
    }

    /// The guest's `struct iovec` array (writev(2)).
    pub fn iovecs(iov: UserPtr<[usize; 2]>, count: usize) -> Result<IovSource<'static>> {
        Ok(IovSource { cursor: Cursor::iovecs(iov, count)?, of: PhantomData })
    }

    /// A buffer of the kernel's.
    pub fn kernel(buf: &'a [u8]) -> Self {
        IovSource { cursor: Cursor::kernel(buf.as_ptr() as usize, buf.len()), of: PhantomData }
    }

    shared_methods!();

    /// Copies into `dst` until it is full or nothing is left; returns how much. EFAULT only if nothing could be copied.
    pub fn take(&mut self, dst: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while done < dst.len() {
            let Some((addr, len)) = self.cursor.piece() else { break };
            let n = len.min(dst.len() - done);
            let copied = if self.cursor.kernel {
                // SAFETY: a kernel cursor borrows its buffer for 'a, and the piece lies inside it.
                unsafe { core::ptr::copy_nonoverlapping(addr as *const u8, dst[done..].as_mut_ptr(), n) };
                n
            } else {
                copy_some_from_user(&mut dst[done..done + n], addr)?
            };
            self.cursor.advance(copied);
            done += copied;
            if copied < n {
                return if done > 0 { Ok(done) } else { Err(Errno::EFAULT.into()) };
            }
        }
        Ok(done)
    }

    /// As [`IovSource::take`], but the bytes stay to be taken again.
    pub fn peek(&self, dst: &mut [u8]) -> Result<usize> {
        IovSource { cursor: self.cursor.clone(), of: PhantomData }.take(dst)
    }

    /// Makes the next piece's first page readable after the host said EFAULT; EFAULT if the guest has nothing there.
    pub fn fault_in(&self) -> Result<()> {
        fault_in(&self.cursor, false)
    }

    /// After the host stopped short: whether it was for want of the next page, which is there now.
    pub(super) fn was_missing(&self) -> bool {
        was_missing(&self.cursor, false)
    }
}

fn was_missing(cursor: &Cursor, write: bool) -> bool {
    let next = cursor.piece().filter(|_| !cursor.kernel);
    next.is_some_and(|(addr, _)| mm::fault_in_range(addr, 1, write) == Ok(true))
}

/// Touches the pieces' pages up to the first that had to be resolved, so that a host call on them gets further.
fn fault_in(cursor: &Cursor, write: bool) -> Result<()> {
    if cursor.kernel {
        return Err(Errno::EFAULT.because("the host refuses a kernel buffer"));
    }
    for (addr, len) in cursor.pieces(MAX_IOVECS) {
        if mm::fault_in_range(addr, len, write)? {
            return Ok(());
        }
    }
    Err(Errno::EFAULT.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_buffers_are_filled_and_drained_in_steps() {
        let mut buf = [0u8; 8];
        let mut dest = IovDest::kernel(&mut buf);
        assert_eq!(dest.put(b"abc").unwrap(), 3);
        assert_eq!(dest.put(b"defghijkl").unwrap(), 5);
        assert_eq!(dest.remaining(), 0);
        assert_eq!(dest.put(b"x").unwrap(), 0);
        assert_eq!(&buf, b"abcdefgh");

        let mut source = IovSource::kernel(&buf);
        source.truncate(5);
        let mut out = [0u8; 4];
        assert_eq!(source.take(&mut out).unwrap(), 4);
        assert_eq!(source.take(&mut out).unwrap(), 1);
        assert_eq!(&out, b"ebcd");
    }

    #[test]
    fn many_segments_are_walked_in_order() {
        let mut c = Cursor {
            segments: Segments::Many(alloc::vec![(100, 3), (200, 2), (300, 9)]),
            index: 0,
            offset: 0,
            remaining: 14,
            kernel: true,
        };
        c.advance(4);
        assert_eq!(c.piece(), Some((201, 1)));
        assert_eq!(c.pieces(8), [(201, 1), (300, 9)]);
        c.advance(1);
        assert_eq!(c.piece(), Some((300, 9)));
        c.advance(100);
        assert_eq!(c.piece(), None);
    }
}
