//! The driver's side against rust-vmm's device side, and against devices that lie.

use super::*;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use rustix::fd::AsFd;
use std::fs::File;
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryMmap};

const BASE: u64 = 1 << 32;
const BUFFERS: usize = 0x8000;

/// What the device sees of a piece: offset, length, and whether it is to be written.
type Buffer = (u64, u32, bool);

/// A driver's ring and a device of rust-vmm's on the same memory, mapped twice.
struct Bench {
    region: SharedRegion,
    ring: DriverRing,
    memory: GuestMemoryMmap,
    queue: Queue,
}

impl Bench {
    fn new(size: u16, direction: Direction, indirect: bool, event_idx: bool) -> Bench {
        let layout = RingLayout::at(0, RingSize::new(size).unwrap());
        assert!(layout.end <= BUFFERS);
        let region = SharedRegion::new(1 << 20).unwrap();
        let file = File::from(region.as_fd().try_clone_to_owned().unwrap());
        let range = (GuestAddress(BASE), region.len(), Some(FileOffset::new(file, 0)));
        let memory = GuestMemoryMmap::from_ranges_with_files([range]).unwrap();
        let mut queue = Queue::new(size).unwrap();
        queue.try_set_desc_table_address(GuestAddress(BASE + layout.descriptors as u64)).unwrap();
        queue.try_set_avail_ring_address(GuestAddress(BASE + layout.available as u64)).unwrap();
        queue.try_set_used_ring_address(GuestAddress(BASE + layout.used as u64)).unwrap();
        queue.set_event_idx(event_idx);
        queue.set_ready(true);
        assert!(queue.is_valid(&memory));
        let ring = DriverRing::new(&region, layout, BASE, direction, indirect, event_idx);
        Bench { region, ring, memory, queue }
    }

    fn send(&mut self, segments: &[Segment], token: u16) -> bool {
        self.ring.add(&self.region, segments, token)
    }

    /// The device takes one chain: its head, and address, length and direction of each buffer.
    fn take(&mut self) -> Option<(u16, Vec<Buffer>)> {
        let chain = self.queue.pop_descriptor_chain(&self.memory)?;
        let head = chain.head_index();
        Some((head, chain.map(|d| (d.addr().0 - BASE, d.len(), d.is_write_only())).collect()))
    }

    fn use_one(&mut self, head: u16, len: u32) {
        self.queue.add_used(&self.memory, head, len).unwrap();
    }

    fn back(&mut self) -> Vec<Used> {
        let waiting = self.ring.waiting(&self.region).unwrap();
        (0..waiting).map(|_| self.ring.take(&self.region).unwrap()).collect()
    }

    /// Overwrites a used entry and the used index, as a device that lies does.
    fn forge(&self, slot: u64, id: u32, len: u32, index: u16) {
        let used = BASE + self.ring.layout().used as u64;
        self.memory.write_obj(u64::from(id) | u64::from(len) << 32, GuestAddress(used + 4 + 8 * slot)).unwrap();
        self.memory.store(index, GuestAddress(used + 2), Ordering::Release).unwrap();
    }
}

fn segments(lens: &[u32]) -> Vec<Segment> {
    let mut offset = BUFFERS;
    let segment = |&len: &u32| {
        let at = offset;
        offset += len as usize;
        Segment { offset: at, len }
    };
    lens.iter().map(segment).collect()
}

#[test]
fn chains_reach_the_device_and_come_back() {
    for (indirect, event_idx) in [(false, false), (false, true), (true, false), (true, true)] {
        for (direction, writable) in [(Direction::ToDevice, false), (Direction::FromDevice, true)] {
            let mut bench = Bench::new(8, direction, indirect, event_idx);
            assert!(bench.send(&segments(&[100]), 7) && bench.send(&segments(&[16, 32, 64]), 9));
            assert!(bench.take().is_none(), "nothing shows before it is published");
            bench.ring.publish(&bench.region);
            let start = BUFFERS as u64;
            let (first, buffers) = bench.take().unwrap();
            assert_eq!(buffers, [(start, 100, writable)]);
            let (second, buffers) = bench.take().unwrap();
            let expected = [(start, 16, writable), (start + 16, 32, writable), (start + 48, 64, writable)];
            assert_eq!(buffers, expected, "indirect {indirect}");
            assert!(bench.take().is_none());
            // Out of order, which a device may.
            bench.use_one(second, 50);
            bench.use_one(first, 60);
            let len = |n| if writable { n } else { 0 };
            assert_eq!(bench.back(), [Used { token: 9, len: len(50) }, Used { token: 7, len: len(60) }]);
            assert_eq!(bench.ring.in_flight(), 0);
        }
    }
}

#[test]
fn a_ring_goes_round_past_the_wrap_of_its_indices() {
    for indirect in [false, true] {
        let mut bench = Bench::new(4, Direction::ToDevice, indirect, true);
        let mut next = 0u16;
        for round in 0..70_000u32 {
            let pieces = (round % 2 + 1) as usize;
            assert!(bench.send(&segments(&[64, 64][..pieces]), next));
            bench.ring.publish(&bench.region);
            let (head, buffers) = bench.take().unwrap();
            assert_eq!(buffers.len(), pieces);
            bench.use_one(head, 0);
            assert_eq!(bench.back(), [Used { token: next, len: 0 }]);
            next = next.wrapping_add(1);
        }
    }
}

#[test]
fn a_full_ring_takes_nothing_more_and_loses_nothing() {
    let mut bench = Bench::new(4, Direction::ToDevice, false, false);
    assert!(bench.send(&segments(&[1, 2, 3]), 0));
    assert!(!bench.send(&segments(&[1, 2]), 1), "one descriptor is left");
    assert!(bench.send(&segments(&[1]), 2) && !bench.send(&segments(&[1]), 3));
    let mut bench = Bench::new(4, Direction::ToDevice, true, false);
    for token in 0..4 {
        assert!(bench.send(&segments(&[1, 2, 3, 4, 5, 6, 7, 8]), token));
    }
    assert!(!bench.send(&segments(&[1]), 4));
    bench.ring.publish(&bench.region);
    for _ in 0..4 {
        let (head, buffers) = bench.take().unwrap();
        assert_eq!(buffers.len(), 8);
        bench.use_one(head, 0);
    }
    assert_eq!(bench.back().iter().map(|u| u.token).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(!bench.send(&[], 5) && !bench.send(&segments(&[1; 9]), 5), "no buffer, and too many pieces for a table");
}

#[test]
fn a_device_that_sleeps_is_kicked_once() {
    for event_idx in [false, true] {
        let mut bench = Bench::new(8, Direction::ToDevice, false, event_idx);
        let one = segments(&[64]);
        assert!(!bench.queue.enable_notification(&bench.memory).unwrap());
        bench.send(&one, 0);
        assert!(bench.ring.publish(&bench.region), "it sleeps");
        assert!(!bench.ring.publish(&bench.region), "there is nothing new");
        bench.queue.disable_notification(&bench.memory).unwrap();
        bench.send(&one, 1);
        assert!(!bench.ring.publish(&bench.region), "it is awake");
        assert!(bench.queue.enable_notification(&bench.memory).unwrap(), "it finds what came meanwhile");
    }
}

#[test]
fn a_driver_that_sleeps_is_called_and_one_that_spins_is_not() {
    let mut bench = Bench::new(8, Direction::ToDevice, false, true);
    let one = segments(&[64]);
    bench.ring.disarm(&bench.region);
    for token in 0..3 {
        bench.send(&one, token);
    }
    bench.ring.publish(&bench.region);
    let (head, _) = bench.take().unwrap();
    bench.use_one(head, 0);
    assert!(!bench.queue.needs_notification(&bench.memory).unwrap(), "it spins");
    assert!(bench.ring.arm(&bench.region), "a buffer has come back already");
    assert_eq!(bench.back().len(), 1);
    assert!(!bench.ring.arm(&bench.region), "now it may sleep");
    let (head, _) = bench.take().unwrap();
    bench.use_one(head, 0);
    assert!(bench.queue.needs_notification(&bench.memory).unwrap());
}

#[test]
fn lies_are_found_out() {
    let published = || {
        let mut bench = Bench::new(4, Direction::FromDevice, false, false);
        assert!(bench.send(&segments(&[100, 28]), 5));
        bench.ring.publish(&bench.region);
        let head = bench.take().unwrap().0;
        (bench, u32::from(head))
    };
    let (bench, head) = published();
    bench.forge(0, head, 0, 2);
    assert_eq!(bench.ring.waiting(&bench.region), Err(RingError::Index), "two used of one");
    bench.forge(0, head, 0, 0xffff);
    assert_eq!(bench.ring.waiting(&bench.region), Err(RingError::Index), "backwards");
    for id in [4, 0xffff, u32::MAX] {
        let (mut bench, _) = published();
        bench.forge(0, id, 0, 1);
        assert_eq!(bench.ring.take(&bench.region), Err(RingError::Id(id)));
    }
    // The second descriptor of the chain, and one that is free.
    let (mut bench, head) = published();
    let others = (0..4).filter(|&id| id != head);
    for id in others {
        bench.forge(0, id, 0, 1);
        assert_eq!(bench.ring.take(&bench.region), Err(RingError::Id(id)));
    }
    let (mut bench, head) = published();
    bench.forge(0, head, 129, 1);
    assert_eq!(bench.ring.take(&bench.region), Err(RingError::Length(129)));
    let (mut bench, head) = published();
    bench.forge(0, head, 128, 1);
    assert_eq!(bench.ring.take(&bench.region), Ok(Used { token: 5, len: 128 }));
    bench.forge(1, head, 0, 2);
    assert_eq!(bench.ring.waiting(&bench.region), Err(RingError::Index), "the same twice");
}

/// Whatever a device writes to the tables that it can write, buffers are neither lost nor doubled nor is there a panic.
#[test]
fn garbage_in_every_table_is_an_error_or_nothing() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let (mut errors, mut taken) = (0, 0);
    for _ in 0..2000 {
        let mut bench = Bench::new(8, Direction::FromDevice, random() & 1 == 0, true);
        let mut out = [false; 8];
        for _ in 0..40 {
            let token = (random() % 8) as u16;
            if !out[usize::from(token)] && bench.send(&segments(&[64, 64]), token) {
                out[usize::from(token)] = true;
                bench.ring.publish(&bench.region);
            }
            let at = BASE + random() % bench.ring.layout().end as u64;
            bench.memory.write_obj(random() as u8, GuestAddress(at)).unwrap();
            if random() & 1 == 0 {
                let index = random() as u16 & 15;
                bench.forge(random() % 8, random() as u32 & 15, random() as u32 & 255, index);
            }
            let waiting = bench.ring.waiting(&bench.region);
            let Ok(waiting) = waiting else { break };
            let used: Result<Vec<Used>, RingError> = (0..waiting).map(|_| bench.ring.take(&bench.region)).collect();
            let Ok(used) = used else {
                errors += 1;
                break;
            };
            for Used { token, len } in used {
                assert!(core::mem::take(&mut out[usize::from(token)]), "token {token} came back without being out");
                assert!(len <= 128);
                taken += 1;
            }
        }
    }
    assert!(errors > 100 && taken > 100, "{errors} errors, {taken} buffers: the test tests nothing");
}
