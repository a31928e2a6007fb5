//! Transfers between host files and guest memory without a copy in between.
//!
//! The host's kernel reads and writes guest pages directly. Where it meets a page that is not there yet it stops, with
//! EFAULT if nothing was moved; the page is then faulted in and the call repeated. So a transfer ends short only where
//! the file does, as programs expect of regular files.

use super::{IovDest, IovSource};
use crate::error::{Errno, Result};
use alloc::vec::Vec;
use rustix::fd::AsFd;
use rustix::io::{self, IoSlice, IoSliceMut};

/// Most pieces that are handed to the host in one call.
const BATCH: usize = 64;

fn retry(mut transfer: impl FnMut() -> io::Result<usize>, fault_in: impl Fn() -> Result<()>) -> Result<usize> {
    loop {
        match transfer() {
            Err(io::Errno::INTR) => continue,
            Err(io::Errno::FAULT) => fault_in()?,
            other => return other.map_err(|e| Errno::from(e).into()),
        }
    }
}

/// Repeats `once` until it says that the transfer is over; it is told the file's offset and answers how many bytes it moved
/// and whether it may go on. An error counts only if nothing was moved.
fn in_full(offset: Option<u64>, mut once: impl FnMut(Option<u64>) -> Result<(usize, bool)>) -> Result<usize> {
    let mut done = 0;
    loop {
        match once(offset.map(|start| start + done as u64)) {
            Ok((n, more)) => {
                done += n;
                // What has no offset may wait for more: one call is all it gets.
                if n == 0 || !more || offset.is_none() {
                    return Ok(done);
                }
            }
            Err(e) if done == 0 => return Err(e),
            Err(_) => return Ok(done),
        }
    }
}

fn total(pieces: &[(usize, usize)]) -> usize {
    pieces.iter().map(|(_, len)| len).sum()
}

impl IovDest<'_> {
    /// Reads from a host file at `offset` into these buffers until they are full or the file ends; with `None`, once from
    /// its own position. Returns how much.
    pub fn fill_from(&mut self, fd: impl AsFd, offset: Option<u64>) -> Result<usize> {
        in_full(offset, |at| {
            let pieces = self.pieces(BATCH);
            let mut slices: Vec<IoSliceMut<'_>> = pieces
                .iter()
                .map(|&(addr, len)| {
                    // SAFETY: the cursor's pieces are guest memory, or a kernel buffer that is borrowed for its life. The
                    // slices are never read or written by Rust code: only the host's kernel looks through them, which
                    // reports addresses that are not mapped.
                    IoSliceMut::new(unsafe { core::slice::from_raw_parts_mut(addr as *mut u8, len) })
                })
                .collect();
            if slices.is_empty() {
                return Ok((0, false));
            }
            let n = retry(
                || match at {
                    Some(at) => io::preadv(&fd, &mut slices, at),
                    None => io::readv(&fd, &mut slices),
                },
                || self.fault_in(),
            )?;
            self.advance(n);
            Ok((n, n == total(&pieces) || self.was_missing()))
        })
    }
}

impl IovSource<'_> {
    /// Writes from these buffers to a host file at `offset` until nothing is left or the host takes no more; with `None`,
    /// once at its own position. Returns how much.
    pub fn drain_to(&mut self, fd: impl AsFd, offset: Option<u64>) -> Result<usize> {
        in_full(offset, |at| {
            let pieces = self.pieces(BATCH);
            let slices: Vec<IoSlice<'_>> = pieces
                .iter()
                .map(|&(addr, len)| {
                    // SAFETY: as in `fill_from`; the host's kernel alone reads through the slices.
                    IoSlice::new(unsafe { core::slice::from_raw_parts(addr as *const u8, len) })
                })
                .collect();
            if slices.is_empty() {
                return Ok((0, false));
            }
            let n = retry(
                || match at {
                    Some(at) => io::pwritev(&fd, &slices, at),
                    None => io::writev(&fd, &slices),
                },
                || self.fault_in(),
            )?;
            self.advance(n);
            Ok((n, n == total(&pieces) || self.was_missing()))
        })
    }
}
