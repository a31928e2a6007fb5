//! The device's side of a ring against rust-vmm's, on tables that make sense and tables that do not.

use super::lent::{BrokenChain, DeviceTables, LentMemory, LentRegion, OutsideOfMemory};
use super::{RingSize, SharedRegion};
use alloc::sync::Arc;
use alloc::vec::Vec;
use rustix::fd::AsFd;
use std::fs::File;
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap};

const BASE: u64 = 0x10_0000;
const USER: u64 = 0x7000_0000;
const LEN: usize = 0x1_0000;
const SIZE: u16 = 8;
const AVAILABLE: u64 = 0x1000;
const USED: u64 = 0x2000;
const TABLE: u64 = 0x3000;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

type Chain = Option<Vec<(u64, u32, bool)>>;

fn region(guest: u64, user: u64, len: usize) -> (LentRegion, SharedRegion, File) {
    let memory = SharedRegion::new(len).unwrap();
    let file = File::from(memory.as_fd().try_clone_to_owned().unwrap());
    (LentRegion { guest, user, len: len as u64, offset: 0 }, memory, file)
}

/// Both device sides on the same memory.
struct Both {
    region: SharedRegion,
    tables: DeviceTables,
    queue: Queue,
    memory: GuestMemoryMmap,
}

impl Both {
    fn new() -> Both {
        let (lent, region, file) = region(BASE, USER, LEN);
        let range = (GuestAddress(BASE), LEN, Some(FileOffset::new(file.try_clone().unwrap(), 0)));
        let memory = GuestMemoryMmap::from_ranges_with_files([range]).unwrap();
        let mut queue = Queue::new(SIZE).unwrap();
        queue.try_set_desc_table_address(GuestAddress(BASE)).unwrap();
        queue.try_set_avail_ring_address(GuestAddress(BASE + AVAILABLE)).unwrap();
        queue.try_set_used_ring_address(GuestAddress(BASE + USED)).unwrap();
        queue.set_ready(true);
        let lent = Arc::new(LentMemory::map([(lent, file)]).unwrap());
        let size = RingSize::new(SIZE).unwrap();
        let tables = DeviceTables::new(lent, size, BASE, BASE + AVAILABLE, BASE + USED).unwrap();
        Both { region, tables, queue, memory }
    }

    fn descriptor(&self, at: u64, addr: u64, len: u32, flags: u16, next: u16) {
        self.region.store_u64(at as usize, addr);
        self.region.store_u64(at as usize + 8, u64::from(len) | u64::from(flags) << 32 | u64::from(next) << 48);
    }

    fn ours(&self, head: u16) -> Chain {
        let mut pieces = Vec::new();
        let whole = self.tables.walk::<BrokenChain>(head, |piece| {
            pieces.push((piece.addr, piece.len, piece.writable));
            Ok(())
        });
        whole.ok().map(|()| pieces)
    }

    fn theirs(&mut self, head: u16) -> Chain {
        self.region.write(AVAILABLE as usize, &[0, 0, 1, 0, head as u8, (head >> 8) as u8]);
        self.queue.set_next_avail(0);
        let chain = self.queue.iter(&self.memory).unwrap().next().unwrap();
        let (mut pieces, mut more) = (Vec::new(), None);
        for d in chain {
            more = Some(d.has_next());
            pieces.push((d.addr().0, d.len(), d.is_write_only()));
        }
        (more == Some(false)).then_some(pieces)
    }
}

#[test]
fn chains_are_what_rust_vmm_takes_them_for() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    let mut both = Both::new();
    let (mut whole, mut broken, mut with_table) = (0, 0, 0);
    for _ in 0..50_000 {
        for (start, entries) in [(0, u64::from(SIZE)), (TABLE, 6)] {
            for i in 0..entries {
                let mut flags = random(4) as u16;
                let (mut addr, mut len) = (random(u64::from(u32::MAX)), random(5000) as u32);
                if random(8) == 0 {
                    // A table that ends the chain, near to where there is one.
                    flags = INDIRECT | flags & WRITE;
                    addr = BASE + TABLE + 16 * random(2) + if random(16) == 0 { LEN as u64 } else { 0 };
                    len = 16 * random(7) as u32 + u32::from(random(16) == 0);
                }
                both.descriptor(start + 16 * i, addr, len, flags, random(entries + 1) as u16);
            }
        }
        let head = random(u64::from(SIZE) + 1) as u16;
        let (ours, theirs) = (both.ours(head), both.theirs(head));
        assert_eq!(ours, theirs, "head {head}");
        whole += u32::from(ours.is_some());
        broken += u32::from(ours.is_none());
        with_table += u32::from(ours.is_some_and(|pieces| pieces.len() > usize::from(SIZE) - 4));
    }
    assert!(whole > 5000 && broken > 5000 && with_table > 50, "{whole} whole, {broken} broken, {with_table} long");
}

#[test]
fn a_table_neither_goes_on_nor_is_longer_than_any_frame_needs() {
    let both = Both::new();
    both.descriptor(TABLE, BASE, 1, 0, 0);
    both.descriptor(0, BASE + TABLE, 16, INDIRECT, 1);
    assert_eq!(both.ours(0), Some(alloc::vec![(BASE, 1, false)]));
    both.descriptor(0, BASE + TABLE, 16, INDIRECT | NEXT, 1);
    assert_eq!(both.ours(0), None, "virtio 1.2, section 2.7.5.3.1");
    both.descriptor(0, BASE + TABLE, 16 * 1025, INDIRECT, 0);
    assert_eq!(both.ours(0), None);
}

#[test]
fn buffers_go_over_from_one_region_to_the_next_and_not_beyond() {
    let (low, low_memory, low_file) = region(BASE, USER, 0x2000);
    let (high, high_memory, high_file) = region(BASE + 0x2000, USER + 0x10_0000, 0x1000);
    let memory = LentMemory::map([(high, high_file), (low, low_file)]).unwrap();
    memory.write(BASE + 0x1ffe, &[1, 2, 3, 4]).unwrap();
    let (mut end, mut start) = ([0; 2], [0; 2]);
    low_memory.read(0x1ffe, &mut end);
    high_memory.read(0, &mut start);
    assert_eq!((end, start), ([1, 2], [3, 4]));
    let mut bytes = [0; 4];
    memory.read(BASE + 0x1ffe, &mut bytes).unwrap();
    assert_eq!(bytes, [1, 2, 3, 4]);
    for addr in [0, BASE - 1, BASE + 0x2ffd, BASE + 0x3000, u64::MAX - 1] {
        assert_eq!(memory.read(addr, &mut bytes), Err(OutsideOfMemory), "{addr:#x}");
        assert_eq!(memory.write(addr, &bytes), Err(OutsideOfMemory), "{addr:#x}");
    }
    assert_eq!(memory.guest_address(USER + 0x1fff), Some(BASE + 0x1fff));
    assert_eq!(memory.guest_address(USER + 0x2000), None);
    assert_eq!(memory.guest_address(USER + 0x10_0fff), Some(BASE + 0x2fff));
}

#[test]
fn regions_that_cannot_be_are_refused() {
    let map = |regions: &[(u64, u64, u64, u64)]| {
        let made = regions.iter().map(|&(guest, user, len, offset)| {
            let (_, _, file) = region(0, 0, 0x1000);
            (LentRegion { guest, user, len, offset }, file)
        });
        LentMemory::map(made).is_ok()
    };
    assert!(map(&[(BASE, USER, 0x1000, 0)]));
    let lent = LentRegion { guest: BASE, user: USER, len: 0x1000, offset: 0 };
    for device in ["/dev/zero", "/"] {
        assert!(LentMemory::map([(lent, File::open(device).unwrap())]).is_err(), "{device}");
    }
    for bad in [
        &[][..],
        &[(BASE, USER, 0, 0)],
        &[(BASE, USER, 0x1001, 0)],
        &[(BASE, USER, 0x1000, 0x1000)],
        &[(BASE, USER, 0x1000, u64::MAX)],
        &[(u64::MAX - 0xfff, USER, 0x1000, 0)],
        &[(BASE, u64::MAX - 0xfff, 0x1000, 0)],
        &[(BASE, USER, 0x1000, 0), (BASE + 0xfff, USER + 0x10_0000, 0x1000, 0)],
    ] {
        assert!(!map(bad), "{bad:x?}");
    }
}

#[test]
fn tables_of_a_ring_lie_in_one_region_and_are_aligned() {
    let (lent, _, file) = region(BASE, USER, LEN);
    let lent = Arc::new(LentMemory::map([(lent, file)]).unwrap());
    let make = |d: u64, a: u64, u: u64| {
        DeviceTables::new(lent.clone(), RingSize::new(SIZE).unwrap(), BASE + d, BASE + a, BASE + u).is_some()
    };
    let end = LEN as u64;
    assert!(make(0, AVAILABLE, USED) && make(end - 128, end - 22, end - 72));
    assert!(!make(8, AVAILABLE, USED) && !make(0, AVAILABLE + 1, USED) && !make(0, AVAILABLE, USED + 2));
    assert!(!make(end - 112, AVAILABLE, USED) && !make(0, end - 20, USED) && !make(0, AVAILABLE, end - 68));
}
