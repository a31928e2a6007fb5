//! The device's side of one ring.

use super::Violation;
use super::memory::PeerMemory;
use crate::vring::index::{Indices, RingWords, Side, Word};
use alloc::vec::Vec;
use core::num::Wrapping;
use core::sync::atomic::{Ordering, fence};
use std::fs::File;
use std::io::Write;
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Largest ring.
pub(super) const MAX_RING: u16 = 1024;

/// A ring's words in the front-end's memory. Its addresses were checked when the ring started, and its memory does not change
/// while it runs, so that no access fails.
struct Words<'a> {
    memory: &'a GuestMemoryMmap,
    avail: u64,
    used: u64,
    size: u64,
}

impl Words<'_> {
    fn address(&self, word: Word) -> GuestAddress {
        GuestAddress(match word {
            Word::AvailFlags => self.avail,
            Word::AvailIdx => self.avail + 2,
            Word::UsedEvent => self.avail + 4 + 2 * self.size,
            Word::UsedFlags => self.used,
            Word::UsedIdx => self.used + 2,
            Word::AvailEvent => self.used + 4 + 8 * self.size,
        })
    }
}

impl RingWords for Words<'_> {
    fn load(&self, word: Word, order: Ordering) -> u16 {
        self.memory.load::<u16>(self.address(word), order).map_or(0, u16::from_le)
    }

    fn store(&self, word: Word, value: u16, order: Ordering) {
        let stored = self.memory.store(value.to_le(), self.address(word), order);
        debug_assert!(stored.is_ok());
    }

    fn fence(&self) {
        fence(Ordering::SeqCst);
    }
}

/// A piece of a buffer in the front-end's memory.
type Piece = (GuestAddress, usize);

/// One ring, set up message by message.
#[derive(Debug)]
pub(super) struct DeviceRing {
    queue: Queue,
    indices: Indices,
    event_idx: bool,
    /// Front-end addresses of descriptor table, available and used ring.
    pub(super) addresses: Option<[u64; 3]>,
    pub(super) base: u16,
    pub(super) kick: Option<File>,
    /// It starts with the message that brings (or denies) a kick descriptor.
    pub(super) started: bool,
    pub(super) call: Option<File>,
    pub(super) enabled: bool,
    running: bool,
    /// Buffers collected for one frame: heads with their capacities, and pieces.
    heads: Vec<(u16, usize)>,
    pieces: Vec<Piece>,
}

impl DeviceRing {
    pub(super) fn new() -> DeviceRing {
        let queue = Queue::new(MAX_RING).expect("a power of two");
        DeviceRing {
            queue,
            indices: Indices::new(Side::DEVICE, false, 0),
            event_idx: false,
            addresses: None,
            base: 0,
            kick: None,
            started: false,
            call: None,
            enabled: false,
            running: false,
            heads: Vec::new(),
            pieces: Vec::new(),
        }
    }

    /// Sets the number of entries.
    pub(super) fn set_size(&mut self, size: u32) -> bool {
        u16::try_from(size).is_ok_and(|size| self.queue.try_set_size(size).is_ok())
    }

    pub(super) fn is_running(&self) -> bool {
        self.running
    }

    /// Starts the ring if all is there, with addresses that lie in `memory`. Says whether it could, or had no need to.
    pub(super) fn start(&mut self, memory: Option<&PeerMemory>, event_idx: bool) -> bool {
        if self.running || !self.started || !self.enabled {
            return true;
        }
        let (Some(memory), Some(addresses)) = (memory, self.addresses) else { return true };
        let Some([descriptors, available, used]) = translate(memory, addresses) else { return false };
        let aligned = self.queue.try_set_desc_table_address(GuestAddress(descriptors)).is_ok()
            && self.queue.try_set_avail_ring_address(GuestAddress(available)).is_ok()
            && self.queue.try_set_used_ring_address(GuestAddress(used)).is_ok();
        self.queue.set_ready(true);
        self.queue.set_next_avail(self.base);
        if !aligned || !self.queue.is_valid(memory.memory()) {
            self.queue.set_ready(false);
            return false;
        }
        // What was used before is what was made available before: nothing is in flight while a ring is stopped.
        let used = self.queue.used_idx(memory.memory(), Ordering::Acquire).unwrap_or(Wrapping(self.base)).0;
        self.indices = Indices::new(Side::DEVICE, event_idx, used);
        self.indices.set_next_taken(self.base);
        self.event_idx = event_idx;
        self.running = true;
        // The caller may sleep, and does not know this ring yet.
        self.arm(memory.memory());
        true
    }

    /// Stops the ring; returns the index of the next available entry.
    pub(super) fn stop(&mut self) -> u16 {
        if self.running {
            self.base = self.queue.next_avail();
            self.running = false;
            self.queue.set_ready(false);
        }
        self.base
    }

    fn words<'a>(&self, memory: &'a GuestMemoryMmap) -> Words<'a> {
        let (avail, used, size) = (self.queue.avail_ring(), self.queue.used_ring(), u64::from(self.queue.size()));
        Words { memory, avail, used, size }
    }

    /// Takes the next chain that the driver wants read; calls `piece` with each of its pieces. Returns its head.
    pub(super) fn take_readable(
        &mut self,
        memory: &GuestMemoryMmap,
        mut piece: impl FnMut(GuestAddress, usize) -> Result<(), Violation>,
    ) -> Result<Option<u16>, Violation> {
        let mut available = self.queue.iter(memory).map_err(|_| Violation::AvailIndex)?;
        let Some(chain) = available.next() else { return Ok(None) };
        let head = chain.head_index();
        let mut more = None;
        for descriptor in chain {
            more = Some(descriptor.has_next());
            if !descriptor.is_write_only() {
                piece(descriptor.addr(), descriptor.len() as usize)?;
            }
        }
        // A chain that ended while it said that more follows went out of range, or round.
        if more != Some(false) || head >= self.queue.size() { Err(Violation::Chain) } else { Ok(Some(head)) }
    }

    /// Collects buffers for `len` bytes: several if `mergeable`, else one. Returns how many buffers; `None`, and nothing is
    /// taken, while there are too few. A single buffer that is too small is an `Ok(Some(0))`: it stays, and the frame will
    /// never fit.
    pub(super) fn collect_writable(
        &mut self,
        memory: &GuestMemoryMmap,
        len: usize,
        mergeable: bool,
    ) -> Result<Option<usize>, Violation> {
        self.heads.clear();
        self.pieces.clear();
        let before = self.queue.next_avail();
        let size = self.queue.size();
        let mut room = 0;
        let mut available = self.queue.iter(memory).map_err(|_| Violation::AvailIndex)?;
        while room < len {
            let Some(chain) = available.next() else {
                self.queue.set_next_avail(before);
                return Ok(None);
            };
            let head = chain.head_index();
            let (mut more, mut capacity) = (None, 0);
            for descriptor in chain {
                more = Some(descriptor.has_next());
                if descriptor.is_write_only() {
                    self.pieces.push((descriptor.addr(), descriptor.len() as usize));
                    capacity += descriptor.len() as usize;
                }
            }
            if more != Some(false) || capacity == 0 || head >= size {
                return Err(Violation::Chain);
            }
            self.heads.push((head, capacity));
            room += capacity;
            if !mergeable && room < len {
                self.queue.set_next_avail(before);
                return Ok(Some(0));
            }
        }
        Ok(Some(self.heads.len()))
    }

    /// Writes the parts into what was collected, and the used entries; they show at the next [`DeviceRing::publish`].
    pub(super) fn fill(&mut self, memory: &GuestMemoryMmap, parts: &[&[u8]], len: usize) -> Result<(), Violation> {
        let mut pieces = self.pieces.iter();
        let (mut at, mut room) = (GuestAddress(0), 0);
        for part in parts {
            let mut part = *part;
            while !part.is_empty() {
                if room == 0 {
                    let Some(next) = pieces.next() else { return Err(Violation::Chain) };
                    (at, room) = *next;
                    continue;
                }
                let (now, later) = part.split_at(part.len().min(room));
                memory.write_slice(now, at).map_err(|_| Violation::Address)?;
                at = GuestAddress(at.0.wrapping_add(now.len() as u64));
                room -= now.len();
                part = later;
            }
        }
        let mut left = len;
        for i in 0..self.heads.len() {
            let (head, capacity) = self.heads[i];
            let used = left.min(capacity);
            left -= used;
            self.write_used(memory, head, used as u32)?;
        }
        Ok(())
    }

    /// Writes a used entry.
    pub(super) fn write_used(&mut self, memory: &GuestMemoryMmap, head: u16, len: u32) -> Result<(), Violation> {
        let slot = u64::from(self.indices.next_entry() & (self.queue.size() - 1));
        let entry = u64::from(head) | u64::from(len) << 32;
        // Aligned to 4 only.
        let at = GuestAddress(self.queue.used_ring() + 4 + 8 * slot);
        memory.write_slice(&entry.to_le_bytes(), at).map_err(|_| Violation::Address)?;
        self.indices.wrote_entry();
        Ok(())
    }

    /// Shows used entries to the driver, and calls it if it wants.
    pub(super) fn publish(&mut self, memory: &GuestMemoryMmap) {
        let words = self.words(memory);
        if self.indices.publish(&words)
            && let Some(mut call) = self.call.as_ref()
        {
            // A full counter is a pending call, too.
            let _ = call.write(&1u64.to_ne_bytes());
        }
    }

    /// Asks for kicks; returns whether something is available already.
    pub(super) fn arm(&mut self, memory: &GuestMemoryMmap) -> bool {
        self.indices.set_next_taken(self.queue.next_avail());
        let words = self.words(memory);
        self.indices.arm(&words)
    }

    /// Asks for silence.
    pub(super) fn disarm(&mut self, memory: &GuestMemoryMmap) {
        self.indices.set_next_taken(self.queue.next_avail());
        let words = self.words(memory);
        self.indices.disarm(&words);
    }
}

fn translate(memory: &PeerMemory, addresses: [u64; 3]) -> Option<[u64; 3]> {
    let [descriptors, available, used] = addresses.map(|a| memory.guest_address(a));
    Some([descriptors?, available?, used?])
}
