//! FIFOs (fifo(7)): pipes that are found by an inode.
//!
//! A FIFO's pipe exists while somebody has it open. Opening waits for the other side, unless O_NONBLOCK or O_RDWR is
//! given; [`wait_for_peer`] does that after the description was made, since opening itself never blocks.

use super::file::{FileOps, OpenFile, OpenFlags};
use super::inode::{FileKind, Inode, InodeId};
use super::pipe::{Pipe, PipeEnd, PipeInode};
use super::poll::PollEvents;
use crate::error::{Errno, Result};
use crate::sched;
use crate::sync::{Rank, SpinLock};
use crate::task::Thread;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};

static OPEN_FIFOS: SpinLock<BTreeMap<InodeId, Weak<Pipe>>> = SpinLock::new(Rank::FileLocks, BTreeMap::new());

fn pipe_of(inode: &Arc<dyn Inode>) -> Arc<Pipe> {
    if let Some(unnamed) = inode.downcast_ref::<PipeInode>() {
        return unnamed.pipe().clone();
    }
    let mut open = OPEN_FIFOS.lock();
    if let Some(pipe) = open.get(&inode.id()).and_then(Weak::upgrade) {
        return pipe;
    }
    open.retain(|_, pipe| pipe.strong_count() > 0);
    let pipe = Pipe::new(inode.id());
    open.insert(inode.id(), Arc::downgrade(&pipe));
    pipe
}

/// Opens a FIFO. ENXIO for a writer with O_NONBLOCK while nobody reads.
pub fn open(inode: &Arc<dyn Inode>, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
    let pipe = pipe_of(inode);
    let (reads, writes) = (flags.readable(), flags.writable());
    if writes && !reads && flags.contains(OpenFlags::NONBLOCK) && pipe.openers().0 == 0 {
        return Err(Errno::ENXIO.because("nobody reads the FIFO"));
    }
    Ok(PipeEnd::open(&pipe, reads, writes))
}

/// After an open: waits for the other side of a FIFO to be opened. EINTR-like for a signal.
pub fn wait_for_peer(t: &Thread, file: &OpenFile) -> Result<()> {
    let Some(end) = file.ops().downcast_ref::<PipeEnd>() else { return Ok(()) };
    let named = file.inode().is_some_and(|i| i.kind() == FileKind::Fifo && i.downcast_ref::<PipeInode>().is_none());
    let (reads, writes) = end.sides();
    let (Some(pipe), true) = (end.pipe(), named && reads != writes && !file.nonblocking()) else { return Ok(()) };
    let before = pipe.openings();
    let peer_came = || {
        let (readers, writers) = pipe.openers();
        let (reader_openings, writer_openings) = pipe.openings();
        // A peer that came and went at once counts, too.
        if reads { writers > 0 || writer_openings > before.1 } else { readers > 0 || reader_openings > before.0 }
    };
    let queue = if reads { pipe.readable() } else { pipe.writable() };
    let id = queue.add_thread(t.arc(), PollEvents::all());
    let end = sched::block_on(t, None, || peer_came().then_some(()));
    queue.remove(id);
    end.map_err(Into::into)
}
