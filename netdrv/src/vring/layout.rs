//! Where the tables of a split ring lie (virtio 1.2, section 2.7).

/// Descriptors in a ring: a power of two up to 32768.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RingSize(u16);

impl RingSize {
    /// `None` unless it is a power of two up to 32768 (virtio 1.2, section 2.7.1).
    pub(crate) const fn new(entries: u16) -> Option<RingSize> {
        if entries.is_power_of_two() { Some(RingSize(entries)) } else { None }
    }

    /// The number.
    pub(crate) const fn get(self) -> u16 {
        self.0
    }

    /// The ring's entry for a free-running index.
    pub(crate) const fn slot(self, index: u16) -> usize {
        (index & (self.0 - 1)) as usize
    }
}

/// Bytes of a descriptor: address, length, flags, next.
pub(crate) const DESCRIPTOR_LEN: usize = 16;
/// Most segments of a chain that go into its indirect table.
pub(crate) const MAX_SEGMENTS: usize = 8;

/// Byte offsets of a ring's tables in a region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RingLayout {
    /// Entries.
    pub(crate) size: RingSize,
    /// The descriptor table, aligned to 16.
    pub(crate) descriptors: usize,
    /// The available ring, aligned to 2; here to a cache line, so that no line has two writers.
    pub(crate) available: usize,
    /// The used ring, aligned to 4; here to a cache line.
    pub(crate) used: usize,
    /// One indirect table of [`MAX_SEGMENTS`] for each descriptor.
    pub(crate) indirect: usize,
    /// First byte behind the ring.
    pub(crate) end: usize,
}

const CACHE_LINE: usize = 64;

impl RingLayout {
    /// Lays a ring out from `start` on.
    pub(crate) const fn at(start: usize, size: RingSize) -> RingLayout {
        let entries = size.get() as usize;
        let descriptors = start.next_multiple_of(4096);
        let available = descriptors + DESCRIPTOR_LEN * entries;
        // flags, idx, ring[], used_event
        let used = (available + 6 + 2 * entries).next_multiple_of(2 * CACHE_LINE);
        // flags, idx, ring[] of (id, len), avail_event
        let indirect = (used + 6 + 8 * entries).next_multiple_of(2 * CACHE_LINE);
        let end = indirect + DESCRIPTOR_LEN * MAX_SEGMENTS * entries;
        RingLayout { size, descriptors, available, used, indirect, end }
    }

    /// Offset of `avail.ring[slot]`.
    pub(crate) const fn available_entry(&self, index: u16) -> usize {
        self.available + 4 + 2 * self.size.slot(index)
    }

    /// Offset of `used.ring[slot]`.
    pub(crate) const fn used_entry(&self, index: u16) -> usize {
        self.used + 4 + 8 * self.size.slot(index)
    }

    /// Offset of `avail.used_event`, behind the ring.
    pub(crate) const fn used_event(&self) -> usize {
        self.available + 4 + 2 * self.size.get() as usize
    }

    /// Offset of `used.avail_event`, behind the ring.
    pub(crate) const fn avail_event(&self) -> usize {
        self.used + 4 + 8 * self.size.get() as usize
    }

    /// Offset of the indirect table that belongs to a descriptor.
    pub(crate) const fn indirect_table(&self, descriptor: u16) -> usize {
        self.indirect + DESCRIPTOR_LEN * MAX_SEGMENTS * descriptor as usize
    }
}
