//! The device's side of one ring.

use super::Violation;
use super::link::Scratch;
use crate::vring::RingSize;
use crate::vring::index::{Indices, RingWords, Side, Word};
use crate::vring::lent::{BrokenChain, DeviceTables, LentMemory};
use crate::vring::prefetch::Guess;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use std::fs::File;
use std::io::Write;

/// Largest ring.
pub(super) const MAX_RING: u16 = 1024;
/// Chains that are given back at a time while frames keep coming, at most.
const RETURNED_AT_A_TIME: u16 = 32;
/// Bytes in them, at most: the driver uses those again that came back last, while they are in its cache.
const RETURNED_BYTES: usize = 32 * 1024;

/// One ring, set up message by message.
#[derive(Debug)]
pub(super) struct DeviceRing {
    size: RingSize,
    /// Front-end addresses of descriptor table, available and used ring.
    pub(super) addresses: Option<[u64; 3]>,
    pub(super) base: u16,
    pub(super) kick: Option<File>,
    /// It starts with the message that brings (or denies) a kick descriptor.
    pub(super) started: bool,
    pub(super) call: Option<File>,
    pub(super) enabled: bool,
    /// Where its tables are, while it runs.
    tables: Option<DeviceTables>,
    indices: Indices,
    /// Available entries that are known to wait.
    waiting: u16,
    /// Bytes in chains that were given back and not shown yet.
    unshown_bytes: usize,
    /// Head and first address of the next chain to read.
    guesses: [Guess; 2],
    /// Buffers collected for one frame: heads with their capacities, and pieces.
    heads: Vec<(u16, u32)>,
    pieces: Vec<(u64, usize)>,
}

impl DeviceRing {
    pub(super) fn new() -> DeviceRing {
        DeviceRing {
            size: const { RingSize::new(MAX_RING).unwrap() },
            addresses: None,
            base: 0,
            kick: None,
            started: false,
            call: None,
            enabled: false,
            tables: None,
            indices: Indices::new(Side::DEVICE, false, 0),
            waiting: 0,
            unshown_bytes: 0,
            guesses: [Guess::default(); 2],
            heads: Vec::new(),
            pieces: Vec::new(),
        }
    }

    /// Sets the number of entries; false if there is no such ring.
    pub(super) fn set_size(&mut self, size: u32) -> bool {
        let size = u16::try_from(size).ok().filter(|&size| size <= MAX_RING).and_then(RingSize::new);
        self.size = size.unwrap_or(self.size);
        size.is_some()
    }

    pub(super) fn is_running(&self) -> bool {
        self.tables.is_some()
    }

    /// Starts the ring if all is there, with addresses that lie in `memory`. Says whether it could, or had no need to.
    pub(super) fn start(&mut self, memory: Option<&Arc<LentMemory>>, event_idx: bool) -> bool {
        if self.is_running() || !self.started || !self.enabled {
            return true;
        }
        let (Some(memory), Some(addresses)) = (memory, self.addresses) else { return true };
        let tables = match addresses.map(|address| memory.guest_address(address)) {
            [Some(descriptors), Some(available), Some(used)] => {
                DeviceTables::new(memory.clone(), self.size, descriptors, available, used)
            }
            _ => None,
        };
        let Some(tables) = tables else { return false };
        // What was used before is what was made available before: nothing is in flight while a ring is stopped.
        let used = tables.load(Word::UsedIdx, Ordering::Acquire);
        self.indices = Indices::new(Side::DEVICE, event_idx, used);
        self.indices.set_next_taken(self.base);
        self.waiting = 0;
        self.tables = Some(tables);
        // The caller may sleep, and does not know this ring yet.
        self.arm();
        true
    }

    /// Stops the ring; returns the index of the next available entry.
    pub(super) fn stop(&mut self) -> u16 {
        self.publish();
        if self.tables.take().is_some() {
            self.base = self.indices.next_taken();
        }
        self.base
    }

    /// Looks whether the driver has made chains available that nobody knew of.
    #[inline]
    fn look(&mut self) -> Result<bool, Violation> {
        let Some(tables) = &self.tables else { return Ok(false) };
        self.waiting = self.indices.waiting(tables, self.size.get()).map_err(|_| Violation::AvailIndex)?;
        Ok(self.waiting > 0)
    }

    /// Whether the driver has made a chain available, or its index is wrong.
    pub(super) fn may_receive(&self) -> bool {
        let look = |tables| self.indices.waiting(tables, self.size.get()) != Ok(0);
        self.waiting > 0 || self.tables.as_ref().is_some_and(look)
    }

    /// The head of the next chain that the driver has made available.
    #[inline]
    fn next_head(&mut self) -> Result<Option<u16>, Violation> {
        if self.waiting == 0 && !self.look()? {
            return Ok(None);
        }
        let Some(tables) = &self.tables else { return Ok(None) };
        let head = tables.available(self.indices.next_taken());
        self.indices.took_entry();
        self.waiting -= 1;
        Ok(Some(head))
    }

    /// Leaves the last `count` chains that were taken to be taken again.
    fn put_back(&mut self, count: u16) {
        self.indices.set_next_taken(self.indices.next_taken().wrapping_sub(count));
        self.waiting += count;
    }

    /// Takes the next chain that the driver wants read, and copies it to `scratch`. Returns head and length.
    #[inline]
    pub(super) fn read_next(
        &mut self,
        header_len: usize,
        scratch: &mut Scratch,
    ) -> Result<Option<(u16, usize)>, Violation> {
        if self.waiting == 0 {
            if !self.look()? {
                return Ok(None);
            }
            if let Some(tables) = &self.tables {
                tables.expect_head(self.size.slot(self.guesses[0].next() as u16) as u16);
                tables.memory().expect(self.guesses[1].next());
            }
        }
        let Some(head) = self.next_head()? else { return Ok(None) };
        let Some(tables) = &self.tables else { return Ok(None) };
        if self.waiting > 0 {
            tables.expect_entry(self.indices.next_taken(), false);
        }
        self.guesses[0].note(head.into());
        let mut len = 0;
        tables.walk::<Violation>(head, |piece| {
            if !piece.writable {
                if len == 0 {
                    self.guesses[1].note(piece.addr);
                }
                let bytes = scratch.gather(header_len, len, piece.len as usize).ok_or(Violation::Length)?;
                tables.memory().read(piece.addr, bytes).map_err(|_| Violation::Address)?;
                len += piece.len as usize;
            }
            Ok(())
        })?;
        self.unshown_bytes += len;
        Ok(Some((head, len)))
    }

    /// Collects buffers for `len` bytes: several if `mergeable`, else one. Returns how many buffers; `None`, and nothing is
    /// taken, while there are too few. A single buffer that is too small is an `Ok(Some(0))`: it stays, and the frame will
    /// never fit.
    pub(super) fn collect_writable(&mut self, len: usize, mergeable: bool) -> Result<Option<usize>, Violation> {
        self.heads.clear();
        self.pieces.clear();
        let mut room = 0;
        while room < len {
            let Some(head) = self.next_head()? else {
                self.put_back(self.heads.len() as u16);
                return Ok(None);
            };
            let Some(tables) = &self.tables else { return Ok(None) };
            let mut capacity = 0_u32;
            let pieces = &mut self.pieces;
            tables
                .walk(head, |piece| {
                    if piece.writable {
                        // A chain is at most 2^32 bytes long (virtio 1.2, section 2.7.5.2).
                        capacity = capacity.checked_add(piece.len).ok_or(BrokenChain)?;
                        pieces.push((piece.addr, piece.len as usize));
                    }
                    Ok(())
                })
                .map_err(|BrokenChain| Violation::Chain)?;
            if capacity == 0 {
                return Err(Violation::Chain);
            }
            self.heads.push((head, capacity));
            room += capacity as usize;
            if !mergeable && room < len {
                self.put_back(1);
                return Ok(Some(0));
            }
        }
        Ok(Some(self.heads.len()))
    }

    /// Writes the parts into what was collected, and the used entries; they show at the next [`DeviceRing::publish`].
    pub(super) fn fill(&mut self, parts: &[&[u8]], len: usize) -> Result<(), Violation> {
        let Some(tables) = &self.tables else { return Ok(()) };
        let mut pieces = self.pieces.iter();
        let (mut at, mut room) = (0_u64, 0);
        for part in parts {
            let mut part = *part;
            while !part.is_empty() {
                if room == 0 {
                    let Some(next) = pieces.next() else { return Err(Violation::Chain) };
                    (at, room) = *next;
                    continue;
                }
                let (now, later) = part.split_at(part.len().min(room));
                tables.memory().write(at, now).map_err(|_| Violation::Address)?;
                at = at.wrapping_add(now.len() as u64);
                room -= now.len();
                part = later;
            }
        }
        let mut left = len;
        for &(head, capacity) in &self.heads {
            let used = left.min(capacity as usize);
            left -= used;
            tables.set_used(self.indices.next_entry(), head, used as u32);
            self.indices.wrote_entry();
        }
        Ok(())
    }

    /// Gives a chain back of which nothing was written.
    #[inline]
    pub(super) fn give_back(&mut self, head: u16) {
        let Some(tables) = &self.tables else { return };
        tables.set_used(self.indices.next_entry(), head, 0);
        self.indices.wrote_entry();
    }

    /// Shows the chains that were given back to the driver if they are many. For a few it can wait, until a look finds nothing
    /// ([`DeviceRing::publish`]): to show them is a wait for the other processor, and the frame that has just come would wait with us.
    #[inline]
    pub(super) fn publish_if_many(&mut self) {
        let most = RETURNED_AT_A_TIME.min(self.size.get() / 4);
        if self.indices.unpublished() >= most || self.unshown_bytes >= RETURNED_BYTES {
            self.publish();
        }
    }

    /// Shows used entries to the driver, and calls it if it wants.
    pub(super) fn publish(&mut self) {
        self.unshown_bytes = 0;
        let Some(tables) = &self.tables else { return };
        if self.indices.publish(tables)
            && let Some(mut call) = self.call.as_ref()
        {
            // A full counter is a pending call, too.
            let _ = call.write(&1u64.to_ne_bytes());
        }
    }

    /// Says that a frame may be put into the next buffer: its lines have time to come.
    pub(super) fn expect_frame(&self) {
        if let Some(tables) = self.tables.as_ref().filter(|_| self.waiting > 0) {
            tables.expect_entry(self.indices.next_taken(), true);
        }
    }

    /// Asks for kicks; returns whether something is available already.
    pub(super) fn arm(&mut self) -> bool {
        self.tables.as_ref().is_some_and(|tables| self.indices.arm(tables))
    }

    /// As [`DeviceRing::arm`], for who found too few chains: those that were there do not count.
    pub(super) fn arm_for_more(&mut self) -> bool {
        self.tables.as_ref().is_some_and(|tables| self.indices.arm_behind(tables, self.waiting))
    }

    /// Asks for silence.
    pub(super) fn disarm(&mut self) {
        if let Some(tables) = &self.tables {
            self.indices.disarm(tables);
        }
    }
}
