//! Front-ends that lie, in their rings, in their memory and on the socket.

use super::link::{Link, Scratch, Sent};
use super::{Violation, open};
use crate::device::{DeviceStats, EthernetDevice, FrameSink, Offloads, TxFrame};
use crate::frame::FrameMeta;
use crate::sys::fault;
use crate::vhost_user::message::Features;
use crate::vhost_user::options::VhostUserOptions;
use crate::vring::lent::{LentMemory, LentRegion};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Instant;

const BASE: u64 = 0x10_0000;
const LEN: u64 = 0x10_0000;
const SIZE: u16 = 8;
/// Offsets of the tables of ring 0 (receive); ring 1 (transmit) lies 0x8000 behind.
const DESCRIPTORS: u64 = 0x1000;
const AVAILABLE: u64 = 0x2000;
const USED: u64 = 0x3000;
const BUFFER: u64 = 0x2_0000;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

struct Nobody(usize);

impl FrameSink for Nobody {
    fn frame(&mut self, _: FrameMeta, _: &mut [u8]) {
        self.0 += 1;
    }
}

/// A link whose front-end writes what a test tells it to.
struct Front {
    file: File,
    link: Link,
    frames: usize,
}

impl Front {
    fn new(features: Features) -> Front {
        let file = File::from(memfd_create("hostile", MemfdFlags::CLOEXEC).unwrap());
        ftruncate(&file, LEN).unwrap();
        let region = LentRegion { guest: BASE, user: 0x7000_0000, len: LEN, offset: 0 };
        let memory = LentMemory::map([(region, file.try_clone().unwrap())]).unwrap();
        let mut link = Link::new(1);
        link.memory = Some(Arc::new(memory));
        link.features = Features::VERSION_1 | features;
        for (i, ring) in link.rings.iter_mut().enumerate() {
            let shift = 0x7000_0000 + 0x8000 * i as u64;
            assert!(ring.set_size(SIZE.into()));
            ring.addresses = Some([shift + DESCRIPTORS, shift + AVAILABLE, shift + USED]);
            (ring.started, ring.enabled) = (true, true);
        }
        assert!(link.start() && link.is_up());
        Front { file, link, frames: 0 }
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, at).unwrap();
    }

    fn descriptor(&self, ring: u64, index: u64, addr: u64, len: u32, flags: u16, next: u16) {
        let at = 0x8000 * ring + DESCRIPTORS + 16 * index;
        self.write(
            at,
            &[&addr.to_le_bytes()[..], &len.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()].concat(),
        );
    }

    /// Makes heads available from entry 0 on, and says that there are `index` of them.
    fn available(&self, ring: u64, heads: &[u16], index: u16) {
        let entries: Vec<u8> = heads.iter().flat_map(|h| h.to_le_bytes()).collect();
        self.write(0x8000 * ring + AVAILABLE + 4, &entries);
        self.write(0x8000 * ring + AVAILABLE + 2, &index.to_le_bytes());
    }

    fn receive(&mut self) -> Result<usize, Violation> {
        let (mut stats, mut nobody) = (DeviceStats::default(), Nobody(0));
        let result = self.link.receive(64, &mut Scratch::new(), &mut stats, &|_| true, &mut nobody);
        self.frames += nobody.0;
        result
    }

    fn send(&mut self, len: usize) -> Result<Sent, Violation> {
        let (bytes, mut stats) = (alloc::vec![7; len], DeviceStats::default());
        let sent =
            self.link.send(&TxFrame { meta: FrameMeta::default(), parts: &[&bytes] }, &mut stats, &mut Vec::new())?;
        self.link.flush()?;
        Ok(sent)
    }
}

#[test]
fn an_honest_front_end_is_served() {
    let mut front = Front::new(Features::MRG_RXBUF);
    front.descriptor(1, 3, BASE + BUFFER, 12 + 60, 0, 0);
    front.available(1, &[3], 1);
    assert_eq!((front.receive(), front.frames), (Ok(1), 1));
    assert_eq!(front.send(60), Ok(Sent::Full), "no buffer yet");
    front.descriptor(0, 5, BASE + BUFFER, 40, WRITE, 0);
    front.descriptor(0, 6, BASE + BUFFER + 64, 40, WRITE, 0);
    front.available(0, &[5, 6], 2);
    assert_eq!(front.send(60), Ok(Sent::Done));
    let mut used = [0; 20];
    front.file.read_exact_at(&mut used, USED).unwrap();
    assert_eq!(used[2..], [2, 0, 5, 0, 0, 0, 40, 0, 0, 0, 6, 0, 0, 0, 32, 0, 0, 0], "both show at once");
}

#[test]
fn lies_about_indices_and_chains_end_the_link() {
    for index in [9, 0x7fff, 0xffff] {
        let mut front = Front::new(Features::empty());
        front.available(1, &[0; 8], index);
        assert!(front.link.may_receive(), "who only looks must not miss it");
        assert_eq!(front.receive(), Err(Violation::AvailIndex), "{index}");
        let mut front = Front::new(Features::empty());
        front.available(0, &[0; 8], index);
        assert_eq!(front.send(60), Err(Violation::AvailIndex), "{index}");
    }
    type Descriptor = (u64, u64, u32, u16, u16);
    let buffer = BASE + BUFFER;
    let cases: [(&str, u16, Vec<Descriptor>); 8] = [
        ("a head out of range", 8, alloc::vec![]),
        ("a head far out of range", 0xffff, alloc::vec![]),
        ("a loop of one", 0, alloc::vec![(0, buffer, 1, NEXT, 0)]),
        ("a loop of two", 0, alloc::vec![(0, buffer, 1, NEXT, 1), (1, buffer, 1, NEXT, 0)]),
        ("a next out of range", 0, alloc::vec![(0, buffer, 1, NEXT, 8)]),
        ("a table in a table", 0, alloc::vec![(0, BASE + DESCRIPTORS, 128, INDIRECT, 0)]),
        ("a table of half a descriptor", 0, alloc::vec![(0, buffer, 24, INDIRECT, 0)]),
        ("a table outside", 0, alloc::vec![(0, BASE + LEN, 32, INDIRECT, 0)]),
    ];
    for (what, head, descriptors) in cases {
        for ring in [0, 1] {
            let mut front = Front::new(Features::MRG_RXBUF);
            for &(index, addr, len, flags, next) in &descriptors {
                let flags = if ring == 0 && flags & INDIRECT == 0 { flags | WRITE } else { flags };
                let addr = if what == "a table in a table" { addr + 0x8000 * ring } else { addr };
                front.descriptor(ring, index, addr, len, flags, next);
            }
            front.available(ring, &[head], 1);
            let result = if ring == 1 { front.receive().map(drop) } else { front.send(60).map(drop) };
            assert_eq!(result, Err(Violation::Chain), "{what}, ring {ring}");
        }
    }
}

#[test]
fn addresses_and_lengths_are_checked_one_by_one() {
    for (addr, len) in [(0, 100), (BASE - 1, 100), (BASE + LEN - 1, 100), (BASE + LEN, 100), (u64::MAX - 50, 100)] {
        let mut front = Front::new(Features::MRG_RXBUF);
        front.descriptor(1, 0, addr, len, 0, 0);
        front.available(1, &[0], 1);
        assert_eq!(front.receive(), Err(Violation::Address), "{addr:#x}");
        front.descriptor(0, 0, addr, len, WRITE, 0);
        front.available(0, &[0], 1);
        assert_eq!(front.send(60), Err(Violation::Address), "{addr:#x}");
    }
    for len in [0, 11, 65_566, u32::MAX] {
        let mut front = Front::new(Features::empty());
        front.descriptor(1, 0, BASE + BUFFER, len, 0, 0);
        front.available(1, &[0], 1);
        assert_eq!(front.receive(), Err(Violation::Length), "{len}");
    }
    // Two pieces whose lengths together wrap 32 bits.
    let mut front = Front::new(Features::empty());
    front.descriptor(1, 0, BASE + BUFFER, 60_000, NEXT, 1);
    front.descriptor(1, 1, BASE + BUFFER, u32::MAX - 59_000, 0, 0);
    front.available(1, &[0], 1);
    assert!(front.receive().is_err());
    // A buffer that cannot take a frame by itself stays where it is.
    let mut front = Front::new(Features::empty());
    front.descriptor(0, 0, BASE + BUFFER, 71, WRITE, 0);
    front.available(0, &[0], 1);
    assert_eq!((front.send(60), front.send(59)), (Ok(Sent::Done), Ok(Sent::Done)));
}

#[test]
fn rings_outside_of_the_memory_do_not_start() {
    for at in [0x7000_0000 + LEN - 16, 0x6fff_f000, 0x7000_0000 + LEN, u64::MAX - 15] {
        for table in 0..3 {
            let mut front = Front::new(Features::empty());
            let ring = &mut front.link.rings[1];
            ring.stop();
            let mut addresses = ring.addresses.unwrap();
            addresses[table] = at;
            ring.addresses = Some(addresses);
            assert!(!front.link.start(), "{at:#x}, table {table}");
            assert_eq!(front.receive(), Ok(0));
        }
    }
}

#[test]
fn memory_that_is_cut_away_ends_the_link_and_nothing_else() {
    fault::install_handler().unwrap();
    let mut front = Front::new(Features::MRG_RXBUF);
    front.descriptor(1, 0, BASE + BUFFER, 12 + 60, 0, 0);
    front.available(1, &[0], 1);
    ftruncate(&front.file, 0).unwrap();
    assert_eq!(front.receive(), Err(Violation::MemoryCut));
    let mut front = Front::new(Features::MRG_RXBUF);
    front.descriptor(0, 0, BASE + BUFFER, 100, WRITE, 0);
    front.available(0, &[0], 1);
    ftruncate(&front.file, BUFFER).unwrap();
    assert_eq!(front.send(60), Err(Violation::MemoryCut), "the rings are there, the buffer is not");
}

/// Random bytes over the rings: no panic, no endless loop, and at most an error.
#[test]
fn garbage_in_the_rings_is_an_error_or_a_frame() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let (mut errors, mut frames) = (0, 0);
    for _ in 0..3000 {
        let mut front = Front::new(Features::from_bits_truncate(random()) - Features::PROTOCOL_FEATURES);
        for ring in 0..2 {
            for index in 0..SIZE.into() {
                let addr = BASE + if random() & 15 == 0 { random() } else { BUFFER + random() % 0x4000 };
                let len = if random() & 7 == 0 { random() as u32 } else { 12 + random() as u32 % 2000 };
                front.descriptor(
                    ring,
                    index,
                    addr,
                    len,
                    random() as u16 & 7 & (random() as u16 | WRITE),
                    random() as u16 % 9,
                );
            }
            let heads: Vec<u16> = (0..8).map(|_| random() as u16 % 9).collect();
            front.available(ring, &heads, random() as u16 % 10);
        }
        errors += u32::from(front.receive().is_err()) + u32::from(front.send(1 + random() as usize % 5000).is_err());
        frames += front.frames;
    }
    assert!(errors > 500 && frames > 500, "{errors} errors, {frames} frames: the test tests nothing");
}

#[test]
fn whatever_comes_on_the_socket_the_next_front_end_is_served() {
    let path = std::env::temp_dir().join(alloc::format!("flatland-hostile-{}.sock", std::process::id()));
    let options = VhostUserOptions { server: true, ..VhostUserOptions::new(path.to_str().unwrap()) };
    let mut back = open("eth0", &options, [3; 6], Offloads::all()).unwrap();
    let message = |request: u32, flags: u32, payload: &[u8]| {
        let words = [request, flags, payload.len() as u32];
        [&words.map(u32::to_ne_bytes).concat()[..], payload].concat()
    };
    let garbage = [
        Vec::new(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        alloc::vec![0xff; 4096],
        message(1, 1, &[0; 100]),
        message(2, 1, &u64::MAX.to_ne_bytes()),
        message(5, 1, &[0xff; 40]),
        message(5, 1, &[&1u64.to_ne_bytes()[..], &[0xff; 32]].concat()),
        message(8, 1, &[0xff; 8]),
        message(9, 1, &[0xff; 40]),
        message(11, 1, &[0xff; 8]),
        message(12, 1, &[0; 8]),
        message(18, 1, &[0, 0, 0, 0, 2, 0, 0, 0]),
        message(99, 1, &[]),
    ];
    for bytes in garbage {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let _ = stream.write_all(&bytes);
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        // The end of the connection, with or without an answer before it.
        let _ = stream.read_to_end(&mut answer);
        let _ = back.receive(1, &mut Nobody(0));
    }
    let client = VhostUserOptions::new(path.to_str().unwrap());
    let mut front = crate::vhost_user::open("eth0", &client, [1; 6], Offloads::all()).unwrap();
    let start = Instant::now();
    while !(front.is_up() && back.is_up()) {
        assert!(start.elapsed() < Duration::from_secs(10));
        let _ = front.receive(1, &mut Nobody(0));
        let _ = back.receive(1, &mut Nobody(0));
        thread::sleep(Duration::from_micros(100));
    }
    let _ = std::fs::remove_file(&path);
}
