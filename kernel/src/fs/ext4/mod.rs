//! ext4, for reading and writing.
//!
//! Written for this kernel rather than taken from the rsext4 crate, in which a trial had found wrong block counts and bitmap
//! padding: there, everything goes through one `&mut`, and the page cache, ordered data and the moment of a commit, on which
//! the promise "a killed machine loses only what was not synced" rests, had to be ours in any case.
//!
//! Theory of operation. `volume` has the state and the transactions; an operation of the VFS comes in at `node`, changes
//! memory, and is durable with the next commit: on fsync(2), O_SYNC, sync(2), every [`PERIOD`], or when the transaction has
//! grown large. What is where:
//!
//! | file | what |
//! | --- | --- |
//! | `superblock`, `group`, `disk_inode`, `bytes`, `checksum` | structures on disk |
//! | `buffer` | cached blocks of metadata, and images on their way to their places |
//! | `journal`, `recovery` | the log, written and replayed |
//! | `alloc` | bitmaps: blocks and inodes |
//! | `extent`, `extent_tree` | which blocks a file has |
//! | `data` | contents of files, over `fs/page_cache` |
//! | `directory`, `hash_tree`, `name_hash` | names in blocks; large directories |
//! | `namespace`, `xattr` | links, orphans; attributes |
//! | `mount` | from a device to a volume: checks, recovery |
//!
//! After a kill, the journal brings the metadata to the last commit; data of files that got blocks in it is on disk before.
//! After an unmount (or the machine's orderly end) nothing is left to recover.
//!
//! Limits: block sizes of 1, 2 and 4 KB; files need extents (ext4's default); no inline_data, bigalloc, encryption,
//! case-folding, quota or external journal, each refused by its name; blocks reserved for root are anybody's; POSIX ACLs
//! are kept but not looked at. A hash tree has two levels of tables at most (three are the feature large_dir).

mod alloc;
mod buffer;
mod bytes;
mod checksum;
mod data;
mod directory;
mod disk_inode;
mod extent;
mod extent_tree;
mod group;
mod hash_tree;
mod journal;
mod mount;
mod name_hash;
mod namespace;
mod node;
mod recovery;
mod superblock;
mod volume;
mod xattr;

use crate::block::{Flush, Waits};
use crate::error::{Errno, Result};
use crate::fs::inode::{DeviceNumber, FileSystem, FsStat, Inode};
use crate::sync::SpinLock;
use crate::time::timer::{Timer, TimerCallback};
use crate::time::{Duration, Instant};
use ::alloc::collections::BTreeSet;
use ::alloc::sync::{Arc, Weak};
use ::alloc::vec::Vec;
pub use mount::open;
use node::Node;
use volume::Core;

/// How old changes may become before they are committed.
pub const PERIOD: Duration = Duration::from_secs(5);

/// When a commit in flight is looked after by the clock.
const SOON: Duration = Duration::from_millis(20);

/// Of how many periods a file that is mapped writable is written back once.
const MAPPED_EVERY: u32 = 6;

const MAGIC: u64 = 0xef53;

/// A mounted file system.
struct Volume {
    core: SpinLock<Core>,
    number: DeviceNumber,
    /// Inodes whose last user went. Nodes are dropped under all kinds of locks: the rest happens at the next operation.
    released: SpinLock<Vec<u32>>,
    clock: SpinLock<Clock>,
}

/// The timer of the periodic commit; none is set while nothing is to be written.
struct Clock {
    timer: Option<Timer>,
    callback: Option<Arc<Committer>>,
    ticks: u32,
}

struct Committer(Weak<Volume>);

impl TimerCallback for Committer {
    fn expired(&self, _now: Instant) {
        if let Some(volume) = self.0.upgrade() {
            volume.tick();
        }
    }
}

impl Volume {
    /// The same as [`Volume::sync_file`] with the whole machine waiting: for writes with O_SYNC, under their file's lock.
    fn sync_file_at_once(&self, ino: u32, data_only: bool) -> Result<()> {
        let mut core = self.core.lock();
        if !core.check_durable()? {
            return Ok(());
        }
        let result = core.finish_commit().and_then(|()| core.begin_sync_file(ino, data_only));
        let result = result.and_then(|flush| flush.map_or(Ok(()), |f| f.finish())).and_then(|()| core.finish_commit());
        if let Err(e) = result {
            core.fail(e);
        }
        result
    }

    /// fsync(2) and fdatasync(2).
    fn sync_file(&self, ino: u32, data_only: bool) -> Result<()> {
        let durable = self.core.lock().check_durable()?;
        if durable { self.settle(|core| core.begin_sync_file(ino, data_only)) } else { Ok(()) }
    }

    fn number(&self) -> DeviceNumber {
        self.number
    }

    fn released(&self, ino: u32) {
        self.released.lock().push(ino);
    }

    /// Deletes orphans whose last user has gone.
    fn reap(&self, core: &mut Core) -> Result<()> {
        let gone = core::mem::take(&mut *self.released.lock());
        for ino in gone {
            if core.nodes.get(&ino).is_none_or(|n| n.strong_count() == 0) {
                core.nodes.remove(&ino);
                if core.orphans.contains(&ino) && core.check_writable().is_ok() {
                    core.begin()?;
                    core.delete_orphan(ino)?;
                }
            }
        }
        Ok(())
    }

    fn look<T>(&self, work: impl FnOnce(&mut Core) -> Result<T>) -> Result<T> {
        work(&mut self.core.lock())
    }

    fn change<T>(self: &Arc<Self>, work: impl FnOnce(&mut Core) -> Result<T>) -> Result<T> {
        let result = {
            let mut core = self.core.lock();
            core.check_writable()?;
            let begun = self.reap(&mut core).and_then(|()| core.begin());
            let result = begun.and_then(|()| work(&mut core));
            if let Err(e) = &result
                && matches!(e.errno(), Errno::EUCLEAN | Errno::EIO)
            {
                core.fail(*e);
            }
            core.shrink();
            result
        };
        self.wind();
        result
    }

    /// Sets the timer, unless it is set.
    fn wind(self: &Arc<Self>) {
        // Without a running vCPU (tests, boot) nothing ever expires.
        if crate::sched::current().is_some() {
            self.call_in(PERIOD);
        }
    }

    fn call_in(self: &Arc<Self>, time: Duration) {
        let mut clock = self.clock.lock();
        if clock.timer.is_none() {
            crate::block::Flush::may_run_beside();
            let callback = clock.callback.get_or_insert_with(|| Arc::new(Committer(Arc::downgrade(self)))).clone();
            clock.timer = Some(crate::time::timer::call_at(crate::time::now() + time, callback));
        }
    }

    /// Begins something durable with `begin`, and waits until it is: asleep, while others run, if a thread asks.
    fn settle(&self, begin: impl FnOnce(&mut Core) -> Result<Option<Arc<Flush>>>) -> Result<()> {
        let (goal, flush) = loop {
            let waits = {
                let mut core = self.core.lock();
                let Some(flush) = core.advance()? else {
                    core.check_writable()?;
                    let begun = begin(&mut core);
                    if let Err(e) = begun {
                        core.fail(e);
                    }
                    break (core.commits + u64::from(core.in_flight.is_some()), begun?);
                };
                flush
            };
            let _ = waits.wait();
        };
        if let Some(flush) = flush {
            return flush.wait().inspect_err(|e| self.core.lock().fail(*e));
        }
        loop {
            let waits = {
                let mut core = self.core.lock();
                if core.commits >= goal {
                    return Ok(());
                }
                // Another may have seen the error.
                core.check_writable().map_err(|_| Errno::EIO.because("an error stopped all writing; see dmesg"))?;
                core.advance()?
            };
            if let Some(flush) = waits {
                let _ = flush.wait();
            }
        }
    }

    /// The periodic commit.
    fn tick(self: &Arc<Self>) {
        let mapped = {
            let mut clock = self.clock.lock();
            clock.timer = None;
            clock.ticks = clock.ticks.wrapping_add(1);
            clock.ticks.is_multiple_of(MAPPED_EVERY)
        };
        let again = {
            let mut core = self.core.lock();
            if core.check_writable().is_err() {
                return;
            }
            // A timer does not wait: a commit in flight is looked after again soon.
            core.waits = Waits::Nobody;
            let result = match core.advance() {
                Ok(None) => self.reap(&mut core).and_then(|()| core.begin_period(mapped)),
                other => other.map(drop),
            };
            let result = result.and_then(|()| core.advance());
            core.waits = Waits::Current;
            match result {
                Ok(Some(_)) => Some(SOON),
                Ok(None) => (!core.dirty_data.is_empty() || core.has_changes()).then_some(PERIOD),
                Err(e) => {
                    core.fail(e);
                    None
                }
            }
        };
        if let Some(time) = again {
            self.call_in(time);
        }
    }
}

impl Core {
    /// fsync(2) and fdatasync(2): begins a commit, or a flush where none is needed. None may be in flight.
    fn begin_sync_file(&mut self, ino: u32, data_only: bool) -> Result<Option<Arc<Flush>>> {
        self.with(ino, |core, f| core.write_back(f))?;
        let needs = self.tx.ordered.contains(&ino) || (!data_only && self.tx.inodes.contains(&ino));
        let directory = self.files.get(&ino).is_some_and(|f| f.kind == crate::fs::inode::FileKind::Directory);
        if needs || (directory && self.has_changes()) {
            self.begin_commit().map(|()| None)
        } else {
            self.device.begin_flush(self.waits)
        }
    }

    /// Why nothing can be made durable: an error stopped all writing. Where nothing was ever written, that is no error.
    fn check_durable(&self) -> Result<bool> {
        match self.mode {
            volume::Mode::Writable => Ok(true),
            volume::Mode::ReadOnly => Ok(false),
            _ => Err(Errno::EIO.because("an error stopped all writing; see dmesg")),
        }
    }

    /// What the clock asks for: all dirty data, and a commit. Files that are mapped writable only now and then.
    fn begin_period(&mut self, mapped: bool) -> Result<()> {
        let all: BTreeSet<u32> = core::mem::take(&mut self.dirty_data);
        for ino in all {
            let Some(file) = self.files.get(&ino) else { continue };
            if file.pages.mapped_writable() && !mapped {
                self.dirty_data.insert(ino);
                continue;
            }
            self.with(ino, |core, f| core.write_back(f))?;
        }
        if self.has_changes() { self.begin_commit() } else { Ok(()) }
    }
}

/// ext4 on a block device.
pub struct Ext4 {
    volume: Arc<Volume>,
    root: Arc<Node>,
}

impl FileSystem for Ext4 {
    fn type_name(&self) -> &'static str {
        "ext4"
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn device(&self) -> DeviceNumber {
        self.volume.number
    }

    fn stat_fs(&self) -> Result<FsStat> {
        self.volume.look(|core| {
            let sb = &core.sb;
            let overhead: u64 = core.system.iter().map(|(a, b)| b - a).sum();
            Ok(FsStat {
                magic: MAGIC,
                block_size: sb.block_size as u64,
                blocks: sb.blocks.saturating_sub(overhead),
                blocks_free: sb.free_blocks,
                blocks_available: sb.free_blocks.saturating_sub(sb.reserved_blocks()),
                files: sb.inodes.into(),
                files_free: sb.free_inodes.into(),
                name_max: 255,
            })
        })
    }

    fn read_only(&self) -> bool {
        self.volume.core.lock().mode == volume::Mode::ReadOnly
    }

    fn make_writable(&self) -> Result<()> {
        let mut core = self.volume.core.lock();
        mount::make_writable(&mut core).map_err(|why| {
            crate::klog!(Error, "ext4 ({}): {why}", core.name);
            Errno::EROFS.because("ext4 cannot write this image; dmesg says why")
        })
    }

    fn sync(&self) -> Result<()> {
        let durable = {
            let mut core = self.volume.core.lock();
            if core.check_writable().is_ok() {
                self.volume.reap(&mut core)?;
            }
            core.check_durable()?
        };
        if durable { self.volume.settle(Core::begin_sync) } else { Ok(()) }
    }

    fn shut_down(&self) -> Result<()> {
        let mut core = self.volume.core.lock();
        if core.check_writable().is_ok() {
            self.volume.reap(&mut core)?;
        }
        core.close()
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        if let Err(e) = self.shut_down() {
            crate::klog!(Error, "ext4: unmounting: {e}");
        }
    }
}

#[cfg(test)]
mod tests;
