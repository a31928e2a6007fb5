//! From a block device to a volume: what the image is, recovery of its journal, and the marks of a mount.

use super::buffer::Buffers;
use super::extent::Extent;
use super::group::Group;
use super::journal::Journal;
use super::node::Node;
use super::recovery;
use super::superblock::{self, Compat, Incompat, STATE_ERROR, STATE_VALID, Superblock};
use super::volume::{Core, Mode, ROOT_INODE, Transaction};
use super::{Clock, Ext4, Volume};
use crate::block::{BlockDevice, Disk, Waits};
use crate::fs::inode::{FileKind, FileSystem, Timestamp};
use crate::sync::{Rank, SpinLock};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use hashbrown::HashMap;

/// What is mounted: a device is mounted once, and shown as often as it is mounted again.
static MOUNTED: SpinLock<Vec<Weak<Ext4>>> = SpinLock::new(Rank::BlockDevice, Vec::new());

/// Opens the file system on a disk. The error is one line for the user, without the disk's name.
pub fn open(disk: &Disk, writable: bool) -> Result<Arc<Ext4>, String> {
    let open: Vec<Arc<Ext4>> = MOUNTED.lock().iter().filter_map(Weak::upgrade).collect();
    for fs in open {
        let (mode, number) = (fs.volume.core.lock().mode, fs.volume.number);
        if number == disk.number && mode != Mode::Closed {
            if writable && mode == Mode::ReadOnly {
                return Err("already mounted read-only".into());
            }
            return Ok(fs);
        }
    }
    let fs = open_device(disk, writable)?;
    let mut mounted = MOUNTED.lock();
    mounted.retain(|m| m.strong_count() > 0);
    mounted.push(Arc::downgrade(&fs));
    Ok(fs)
}

fn open_device(disk: &Disk, writable: bool) -> Result<Arc<Ext4>, String> {
    let name = disk.name.as_str();
    let device = disk.device.clone();
    let mut core = read_core(name, &device, Buffers::new(device.clone(), 1024), true)?;
    let journal = open_journal(&mut core)?;
    let pending = core.sb.incompat.contains(Incompat::RECOVER);
    let journal = match journal {
        Some(mut journal) if pending && journal.start() != 0 => {
            let found = recovery::recover(&journal, &*device, core.sb.blocks)?;
            crate::klog!(Info, "ext4 ({name}): {} transactions recovered from the journal", found.transactions);
            journal.sequence = found.next_sequence;
            core = apply(name, &device, core.sb.block_size, found)?;
            Some(journal)
        }
        other => other,
    };
    core.journal = journal;
    if pending && core.journal.is_none() {
        return Err("needs recovery, but has no journal; run e2fsck on the image".into());
    }
    if core.sb.state & STATE_ERROR != 0 {
        crate::klog!(Warning, "ext4 ({name}): the image is marked as damaged; run e2fsck on it");
    } else if core.sb.state & STATE_VALID == 0 {
        crate::klog!(Warning, "ext4 ({name}): not cleanly unmounted and no journal; run e2fsck on the image");
    }
    if writable && !device.read_only() {
        match core.sb.not_writable() {
            Some(why) => crate::klog!(Warning, "ext4 ({name}): {why}; mounted read-only"),
            None => begin_writing(&mut core)?,
        }
    }
    check_root(&mut core)?;
    let clock = Clock { timer: None, callback: None, ticks: 0 };
    let volume = Arc::new(Volume {
        core: SpinLock::new(Rank::Inode, core),
        number: disk.number,
        released: SpinLock::new(Rank::Timer, Vec::new()),
        clock: SpinLock::new(Rank::FileLocks, clock),
    });
    let root = Node::of(&volume, &mut volume.core.lock(), ROOT_INODE).map_err(|e| e.to_string())?;
    let fs = Arc::new(Ext4 { volume, root });
    crate::klog!(Info, "ext4 ({name}): mounted{}", if fs.read_only() { ", read-only" } else { "" });
    Ok(fs)
}

/// Reads superblock and descriptors through the cache, which may hold images of a journal that cannot be written.
fn read_core(name: &str, device: &Arc<dyn BlockDevice>, cache: Buffers, fresh: bool) -> Result<Core, String> {
    let mut raw = alloc::vec![0u8; superblock::LEN];
    device
        .read_at(&mut raw, superblock::OFFSET)
        .map_err(|_| "not an ext4 file system (too small for a superblock)".to_string())?;
    let on_disk = Superblock::parse(&raw)?;
    let (block, at) = on_disk.place();
    // Where the journal has a newer superblock, that is the one that counts.
    let (sb, cache) = if fresh {
        let bs = on_disk.block_size;
        (on_disk, Buffers::new(device.clone(), bs))
    } else {
        let image = cache.read(block).map_err(|e| e.to_string())?;
        (Superblock::parse(&image[at..at + superblock::LEN])?, cache)
    };
    let needed = sb.blocks.checked_mul(sb.block_size as u64).ok_or("a size beyond all devices")?;
    if device.size() < needed {
        return Err(format!("the image is cut short: {} bytes, but the file system has {needed}", device.size()));
    }
    let mut groups = Vec::new();
    let per_block = sb.block_size / sb.descriptor_size;
    let mut table: (u64, alloc::boxed::Box<[u8]>) = (0, alloc::boxed::Box::default());
    for number in 0..sb.groups {
        let block = u64::from(sb.first_data_block) + 1 + number as u64 / per_block as u64;
        if table.0 != block {
            table = (block, cache.read(block).map_err(|e| e.to_string())?);
        }
        let at = number as usize % per_block * sb.descriptor_size;
        let group = Group::parse(&table.1[at..at + sb.descriptor_size]);
        group.check(number, &sb).map_err(|what| format!("{what}; run e2fsck on the image"))?;
        groups.push(group);
    }
    let system = system_zone(&sb, &groups);
    let mut seed = [0u8; 4];
    crate::host::random(&mut seed);
    Ok(Core {
        name: name.into(),
        device: device.clone(),
        sb,
        groups,
        cache,
        journal: None,
        files: HashMap::new(),
        nodes: HashMap::new(),
        tx: Transaction::default(),
        in_flight: None,
        waits: Waits::Current,
        commits: 0,
        dirty_data: BTreeSet::new(),
        mode: Mode::ReadOnly,
        orphans: Vec::new(),
        system,
        tick: 0,
        next_generation: u32::from_le_bytes(seed),
    })
}

/// Blocks of descriptors, bitmaps and inode tables, as sorted ranges that do not touch.
fn system_zone(sb: &Superblock, groups: &[Group]) -> Vec<(u64, u64)> {
    let table = (u64::from(sb.inodes_per_group) * sb.inode_size as u64).div_ceil(sb.block_size as u64);
    let mut zone = Vec::new();
    for (number, g) in (0..).zip(groups) {
        if sb.group_has_super(number) {
            let start = sb.group_start(number);
            zone.push((start, start + 1 + sb.descriptor_blocks() + u64::from(sb.reserved_gdt)));
        }
        zone.extend([(g.block_bitmap, 1), (g.inode_bitmap, 1), (g.inode_table, table)].map(|(at, n)| (at, at + n)));
    }
    zone.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (from, to) in zone {
        match merged.last_mut() {
            Some(last) if last.1 >= from => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

fn open_journal(core: &mut Core) -> Result<Option<Journal>, String> {
    if !core.sb.compat.contains(Compat::HAS_JOURNAL) {
        return Ok(None);
    }
    let advice = "run e2fsck on the image";
    if core.sb.journal_inode == 0 {
        return Err("the journal is on another device; accepted: an internal journal (tune2fs -J)".into());
    }
    let file = core.file(core.sb.journal_inode).map_err(|e| format!("the journal's inode: {e}; {advice}"))?;
    if file.kind != FileKind::Regular || !file.has_extents() {
        return Err(format!("the journal is no file with extents; {advice}"));
    }
    let map: Vec<Extent> = file.extents.all().to_vec();
    let bs = core.sb.block_size;
    Journal::open(&*core.device, map, bs).map(Some).map_err(|what| format!("{what}; {advice}"))
}

/// Puts recovered images in place, or before a device that cannot be written, and reads the state anew.
fn apply(
    name: &str,
    device: &Arc<dyn BlockDevice>,
    block_size: usize,
    found: recovery::Recovered,
) -> Result<Core, String> {
    let mut cache = Buffers::new(device.clone(), block_size);
    let transactions = found.transactions;
    for (block, image) in found.images {
        cache.add_checkpoint(block, image);
    }
    if !device.read_only() {
        let written = cache.write_checkpoint().and_then(|()| device.flush());
        written.map_err(|e| format!("recovering {transactions} transactions: {e}"))?;
    }
    read_core(name, device, cache, false)
}

/// Begins to write what was mounted read-only.
pub(super) fn make_writable(core: &mut Core) -> Result<(), String> {
    if core.mode != Mode::ReadOnly || core.device.read_only() {
        return Err("the block device is read-only".into());
    }
    match core.sb.not_writable() {
        Some(why) => Err(why),
        None => begin_writing(core),
    }
}

/// Marks the image as mounted, starts the log, and deletes what the last machine left to delete.
fn begin_writing(core: &mut Core) -> Result<(), String> {
    let failed = |e: crate::error::Error| format!("cannot be written: {e}");
    let device = core.device.clone();
    match core.journal.take() {
        Some(mut journal) => {
            let bit64 = core.sb.incompat.contains(Incompat::BIT64);
            let sequence = journal.sequence;
            journal.start_log(&*device, sequence, bit64, core.sb.metadata_csum()).map_err(failed)?;
            core.journal = Some(journal);
            core.sb.incompat |= Incompat::RECOVER;
        }
        None => core.sb.state &= !STATE_VALID,
    }
    core.sb.note_mount(Timestamp::now().seconds as u32);
    core.write_superblock_now().map_err(failed)?;
    device.flush().map_err(failed)?;
    core.mode = Mode::Writable;
    core.recover_orphans().map_err(|e| format!("{e}; run e2fsck on the image"))
}

fn check_root(core: &mut Core) -> Result<(), String> {
    let file = core.file(ROOT_INODE).map_err(|e| format!("the top directory: {e}; run e2fsck on the image"))?;
    if file.kind != FileKind::Directory || file.inode.links == 0 {
        return Err("the top directory is none; run e2fsck on the image".into());
    }
    Ok(())
}
