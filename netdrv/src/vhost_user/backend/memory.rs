//! The memory that a front-end has lent.

use crate::vring::foreign::ForeignMapping;
use alloc::vec::Vec;
use std::fs::File;
use std::io;
use vhost::vhost_user::message::VhostUserMemoryRegion;
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap, MmapRegion};

/// The regions of a memory table, mapped.
#[derive(Debug)]
pub(super) struct PeerMemory {
    // Before the memory: a mapping is registered only while it exists.
    guards: Vec<ForeignMapping>,
    memory: GuestMemoryMmap,
    /// By the front-end's own addresses: start, length, guest address.
    translations: Vec<(u64, u64, u64)>,
}

impl PeerMemory {
    /// Maps a memory table, whose entries were checked for overflow.
    ///
    /// # Errors
    /// A region larger than its file; regions that overlap; the host's refusal.
    pub(super) fn map(table: &[VhostUserMemoryRegion], files: Vec<File>) -> io::Result<PeerMemory> {
        let mut regions = Vec::new();
        let (mut guards, mut translations) = (Vec::new(), Vec::new());
        let mut order: Vec<(&VhostUserMemoryRegion, File)> = table.iter().zip(files).collect();
        order.sort_by_key(|(region, _)| region.guest_phys_addr);
        for (region, file) in order {
            let size = usize::try_from(region.memory_size).map_err(io::Error::other)?;
            let mapping = MmapRegion::<()>::from_file(FileOffset::new(file, region.mmap_offset), size)
                .map_err(io::Error::other)?;
            let guest = GuestAddress(region.guest_phys_addr);
            let mapped = GuestRegionMmap::new(mapping, guest).ok_or(io::ErrorKind::InvalidInput)?;
            let guard = ForeignMapping::register(mapped.as_ptr(), mapped.len() as usize);
            guards.push(guard.ok_or_else(|| io::Error::other("too many regions"))?);
            translations.push((region.user_addr, region.memory_size, region.guest_phys_addr));
            regions.push(mapped);
        }
        // Moves the regions; their mappings stay where they are.
        let memory = GuestMemoryMmap::from_regions(regions).map_err(io::Error::other)?;
        Ok(PeerMemory { guards, memory, translations })
    }

    /// What the regions hold.
    pub(super) fn memory(&self) -> &GuestMemoryMmap {
        &self.memory
    }

    /// The guest address of an address of the front-end's.
    pub(super) fn guest_address(&self, user: u64) -> Option<u64> {
        let inside = |&&(start, len, _): &&(u64, u64, u64)| user >= start && user - start < len;
        self.translations.iter().find(inside).map(|(start, _, guest)| guest + (user - start))
    }

    /// Whether the front-end has cut one of the files.
    pub(super) fn is_broken(&self) -> bool {
        self.guards.iter().any(ForeignMapping::is_broken)
    }
}
