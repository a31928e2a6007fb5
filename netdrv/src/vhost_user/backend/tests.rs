//! Our front-end against our back-end (whose control side is rust-vmm's), over a real socket.

use super::{BackendDevice, open as open_backend};
use crate::device::{DeviceError, EthernetDevice, FrameSink, Offloads, TxFrame};
use crate::frame::{Checksum, FrameMeta, Gso, GsoKind};
use crate::segment::{fold, sum};
use crate::vhost_user::options::{VhostUserOptions, optional_features};
use crate::vhost_user::{VhostUserDevice, open as open_frontend};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::path::PathBuf;
use std::time::Instant;
use std::{fs, thread};

const LIMIT: Duration = Duration::from_secs(10);
const ACCEPT: Offloads = Offloads::all().difference(Offloads::RX_USO);

/// A socket path of its own, removed at the end.
struct Path(PathBuf);

impl Path {
    fn new() -> Path {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("flatland-netdrv-{}-{}.sock", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Path(std::env::temp_dir().join(name))
    }

    fn options(&self) -> VhostUserOptions {
        VhostUserOptions::new(self.0.to_str().unwrap())
    }

    fn frontend(&self, change: impl FnOnce(&mut VhostUserOptions)) -> VhostUserDevice {
        let mut options = self.options();
        change(&mut options);
        open_frontend("eth0", &options, [1; 6], ACCEPT).unwrap()
    }

    fn backend(&self, change: impl FnOnce(&mut VhostUserOptions)) -> BackendDevice {
        let mut options = self.options();
        change(&mut options);
        open_backend("eth0", &options, [3; 6], ACCEPT).unwrap()
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Received frames.
#[derive(Default)]
struct Frames(Vec<(FrameMeta, Vec<u8>)>);

impl FrameSink for Frames {
    fn frame(&mut self, meta: FrameMeta, bytes: &mut [u8]) {
        assert_eq!((bytes.as_ptr() as usize + 14) % 16, 0, "the IP header is aligned");
        self.0.push((meta, bytes.to_vec()));
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LIMIT, "{what} takes too long");
        thread::sleep(Duration::from_micros(100));
    }
}

/// Polls both ends until frames flow.
fn connect(front: &mut VhostUserDevice, back: &mut BackendDevice) {
    until("connecting", || {
        let _ = front.receive(1, &mut Frames::default());
        let _ = back.receive(1, &mut Frames::default());
        front.is_up() && back.is_up()
    });
}

fn linked(change: impl Fn(&mut VhostUserOptions)) -> (Path, VhostUserDevice, BackendDevice) {
    let path = Path::new();
    let mut back = path.backend(|o| o.server = true);
    let mut front = path.frontend(&change);
    connect(&mut front, &mut back);
    (path, front, back)
}

/// Runs a test from the front-end to the back-end, then the other way.
fn both_ways(
    front: &mut VhostUserDevice,
    back: &mut BackendDevice,
    mut test: impl FnMut(&mut dyn EthernetDevice, &mut dyn EthernetDevice),
) {
    test(front, back);
    test(back, front);
}

fn pattern(len: usize, seed: u32) -> Vec<u8> {
    (0..len as u32).map(|i| ((i ^ seed).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn receive(device: &mut dyn EthernetDevice, count: usize) -> Vec<(FrameMeta, Vec<u8>)> {
    let mut frames = Frames::default();
    until("receiving", || {
        device.receive(64, &mut frames).unwrap();
        frames.0.len() >= count
    });
    frames.0
}

/// A TCP/IPv4 segment of `len` bytes in all with a partial checksum.
fn segment(len: usize, size: u16) -> (FrameMeta, Vec<u8>) {
    let mut f = pattern(len, 5);
    f[..14].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
    f[14..34].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    f[16..18].copy_from_slice(&((len - 14) as u16).to_be_bytes());
    let ip = !fold(sum(0, &f[14..34]));
    f[24..26].copy_from_slice(&ip.to_be_bytes());
    f[46] = 0x50;
    f[47] = 0x10;
    let pseudo = fold(sum(6 + (len - 34) as u64, &f[26..34]));
    f[50..52].copy_from_slice(&pseudo.to_be_bytes());
    let gso = Gso { kind: GsoKind::TcpV4, size: NonZeroU16::new(size).unwrap(), header_len: 54, ecn: false };
    (FrameMeta { checksum: Checksum::Partial { start: 34, offset: 16 }, gso: Some(gso) }, f)
}

/// The payload of a segment, in one frame or in several; checks each checksum that claims to be finished.
fn payload(frames: &[(FrameMeta, Vec<u8>)]) -> Vec<u8> {
    let mut all = Vec::new();
    for (meta, f) in frames {
        if !matches!(meta.checksum, Checksum::Partial { .. }) {
            let pseudo = sum(6 + (f.len() - 34) as u64, &f[26..34]);
            assert_eq!(fold(sum(pseudo, &f[34..])), 0xffff, "TCP checksum");
        }
        all.extend_from_slice(&f[54..]);
    }
    all
}

#[test]
fn frames_of_every_length_pass_both_ways() {
    let (_path, mut front, mut back) = linked(|_| {});
    for len in [14, 60, 1514, 4096, 8243, 8244, 8245, 16_500, 16_501, 40_000, 65_553] {
        let bytes = pattern(len, len as u32);
        let (head, tail) = bytes.split_at(14);
        let frame = TxFrame { meta: FrameMeta::default(), parts: &[head, tail] };
        both_ways(&mut front, &mut back, |from, to| {
            assert_eq!(from.transmit(&[frame]), Ok(1));
            assert_eq!(receive(to, 1), [(FrameMeta::default(), bytes.clone())], "{len}");
        });
    }
    let too_long = vec![0; 65_554];
    for device in [&mut front as &mut dyn EthernetDevice, &mut back] {
        assert_eq!(device.transmit(&[TxFrame { meta: FrameMeta::default(), parts: &[&too_long] }]), Ok(1));
        assert_eq!((device.stats().tx_errors, device.stats().tx_packets), (1, 11));
    }
}

#[test]
fn a_look_tells_what_waits() {
    let (_path, mut front, mut back) = linked(|_| {});
    both_ways(&mut front, &mut back, |from, to| {
        assert!(!to.may_receive());
        for seed in 0..3 {
            assert_eq!(from.transmit(&[TxFrame { meta: FrameMeta::default(), parts: &[&pattern(60, seed)] }]), Ok(1));
        }
        // After one was taken, the others are known to wait.
        for budget in [1, 2] {
            assert!(to.may_receive());
            assert_eq!(to.receive(budget, &mut Frames::default()), Ok(budget));
        }
        assert!(!to.may_receive());
    });
}

#[test]
fn offload_state_passes_as_it_is() {
    let (_path, mut front, mut back) = linked(|_| {});
    let (meta, bytes) = segment(60_000, 1448);
    let frame = TxFrame { meta, parts: &[&bytes] };
    assert_eq!(front.transmit(&[frame]), Ok(1));
    assert_eq!(receive(&mut back, 1), [(meta, bytes.clone())]);
    assert_eq!(back.transmit(&[frame]), Ok(1));
    assert_eq!(receive(&mut front, 1), [(meta, bytes.clone())]);
}

#[test]
fn every_optional_feature_can_be_left_out() {
    let (meta, bytes) = segment(60_000, 1448);
    let frame = TxFrame { meta, parts: &[&bytes] };
    let names: Vec<String> = optional_features().map(ToString::to_string).collect();
    let all = names.join("+");
    for off in names.iter().chain([&all]) {
        let (_path, mut front, mut back) = linked(|o| o.set_off(off).unwrap());
        both_ways(&mut front, &mut back, |from, to| {
            for _ in 0..20 {
                assert_eq!(from.transmit(&[frame]), Ok(1));
                let mut frames = receive(to, 1);
                while payload(&frames).len() < bytes.len() - 54 {
                    frames.extend(receive(to, 1));
                }
                assert_eq!(payload(&frames), bytes[54..], "{off}");
            }
        });
    }
}

#[test]
fn a_full_ring_holds_frames_back_and_goes_on() {
    let (_path, mut front, mut back) = linked(|_| {});
    let bytes = pattern(1000, 1);
    let frame = TxFrame { meta: FrameMeta::default(), parts: &[&bytes] };
    both_ways(&mut front, &mut back, |from, to| {
        let taken = from.transmit(&[frame; 300]).unwrap();
        assert_eq!(taken, 256, "the ring's size");
        assert_eq!(from.transmit(&[frame]), Ok(0));
        assert_eq!(receive(to, 256).len(), 256);
        assert_eq!(from.transmit(&[frame]), Ok(1));
        assert_eq!(receive(to, 1).len(), 1);
    });
}

/// Sleeps as the kernel's idle loop does.
fn sleep_until_notified(device: &mut dyn EthernetDevice) -> bool {
    if device.prepare_sleep() {
        return true;
    }
    let mut fds = Vec::new();
    device.poll_fds(&mut |fd| fds.push(fd.try_clone_to_owned().unwrap()));
    let mut set: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
    poll(&mut set, Some(&limit)).unwrap() > 0
}

/// Sends numbered frames from one thread to another, both asleep whenever there is nothing to do.
fn sleepers(mut from: Box<dyn EthernetDevice>, mut to: Box<dyn EthernetDevice>, count: u32) {
    let receiver = thread::spawn(move || {
        let mut next = 0u32;
        while next < count {
            let mut frames = Frames::default();
            if to.receive(64, &mut frames).unwrap() == 0 {
                assert!(sleep_until_notified(&mut *to), "nothing came after frame {next}");
            }
            for (_, bytes) in frames.0 {
                assert_eq!(bytes[14..18], next.to_be_bytes());
                next += 1;
            }
        }
        to
    });
    for number in 0..count {
        let bytes = [&[0u8; 14][..], &number.to_be_bytes(), &[0; 1500][..(number % 1500) as usize]].concat();
        while from.transmit(&[TxFrame { meta: FrameMeta::default(), parts: &[&bytes] }]).unwrap() == 0 {
            assert!(sleep_until_notified(&mut *from), "no room came at frame {number}");
            let _ = from.receive(64, &mut Frames::default());
        }
        if number % 97 == 0 {
            thread::sleep(Duration::from_micros(50));
        }
    }
    receiver.join().unwrap();
}

#[test]
fn room_that_came_before_a_sleep_keeps_from_it() {
    for off in [None, Some("event_idx")] {
        let (_path, mut front, mut back) = linked(|o| off.map_or((), |off| o.set_off(off).unwrap()));
        let frame = TxFrame { meta: FrameMeta::default(), parts: &[&[7; 60]] };
        let mut sent = 0;
        while back.transmit(&[frame]).unwrap() > 0 {
            sent += 1;
        }
        receive(&mut front, sent);
        assert!(back.prepare_sleep(), "without {off:?}, {sent} frames");
        assert_eq!(back.transmit(&[frame]).unwrap(), 1);
    }
}

#[test]
fn whoever_sleeps_is_woken() {
    for off in [None, Some("event_idx"), Some("mrg_rxbuf+indirect")] {
        for forward in [true, false] {
            let (_path, front, back) = linked(|o| off.map_or((), |off| o.set_off(off).unwrap()));
            let (front, back): (Box<dyn EthernetDevice>, Box<dyn EthernetDevice>) = (Box::new(front), Box::new(back));
            let (from, to) = if forward { (front, back) } else { (back, front) };
            sleepers(from, to, 20_000);
        }
    }
}

#[test]
fn either_side_may_start_first_and_listen() {
    for front_listens in [true, false] {
        for front_first in [true, false] {
            let path = Path::new();
            let wait = || thread::sleep(Duration::from_millis(120));
            let front = || path.frontend(|o| o.server = front_listens);
            let back = || path.backend(|o| o.server = !front_listens);
            let (mut front, mut back) = if front_first {
                let front = front();
                wait();
                (front, back())
            } else {
                let back = back();
                wait();
                (front(), back)
            };
            connect(&mut front, &mut back);
            let frame = TxFrame { meta: FrameMeta::default(), parts: &[&[7; 60]] };
            assert_eq!(front.transmit(&[frame]), Ok(1));
            assert_eq!(receive(&mut back, 1).len(), 1);
        }
    }
}

#[test]
fn a_peer_that_goes_is_told_and_one_that_comes_back_is_served() {
    let path = Path::new();
    let mut back = path.backend(|o| o.server = true);
    let frame = TxFrame { meta: FrameMeta::default(), parts: &[&[7; 60]] };
    for _ in 0..5 {
        let mut front = path.frontend(|_| {});
        connect(&mut front, &mut back);
        assert_eq!(front.transmit(&[frame]), Ok(1));
        assert_eq!(receive(&mut back, 1).len(), 1);
        drop(front);
        let mut told = None;
        until("noticing", || {
            back.prepare_sleep();
            told = back.receive(1, &mut Frames::default()).err();
            told.is_some()
        });
        assert_eq!(told, Some(DeviceError::Peer("the peer closed the connection".into())));
        assert_eq!(back.transmit(&[frame]), Err(DeviceError::LinkDown));
    }
    let mut front = path.frontend(|_| {});
    for _ in 0..5 {
        connect(&mut front, &mut back);
        assert_eq!(back.transmit(&[frame]), Ok(1));
        assert_eq!(receive(&mut front, 1).len(), 1);
        drop(back);
        let mut told = None;
        until("noticing", || {
            told = front.receive(1, &mut Frames::default()).err();
            told.is_some()
        });
        let text = told.unwrap().to_string();
        assert!(text.starts_with("the link is down: the peer closed the connection"), "{text}");
        assert_eq!(front.transmit(&[frame]), Err(DeviceError::LinkDown));
        back = path.backend(|o| o.server = true);
    }
}

#[test]
fn several_queue_pairs_are_agreed_on() {
    let path = Path::new();
    let mut back = path.backend(|o| (o.server, o.queues) = (true, 2));
    let mut front = path.frontend(|o| o.queues = 4);
    connect(&mut front, &mut back);
    let frame = TxFrame { meta: FrameMeta::default(), parts: &[&[7; 60]] };
    assert_eq!((front.transmit(&[frame]), back.transmit(&[frame])), (Ok(1), Ok(1)));
    assert_eq!((receive(&mut back, 1).len(), receive(&mut front, 1).len()), (1, 1));
}

#[test]
fn a_socket_that_is_taken_or_cannot_be_made_is_an_error_of_one_line() {
    let path = Path::new();
    let _back = path.backend(|o| o.server = true);
    let options = VhostUserOptions { server: true, ..path.options() };
    let line = open_backend("eth7", &options, [1; 6], ACCEPT).map(drop).unwrap_err().to_string();
    assert!(line.starts_with("eth7: cannot open ") && line.contains("it is in use"), "{line}");
    let line = open_frontend("eth7", &options, [1; 6], ACCEPT).map(drop).unwrap_err().to_string();
    assert!(line.contains("it is in use"), "{line}");
    let options = VhostUserOptions { server: true, ..VhostUserOptions::new("/nonexistent/v.sock") };
    let line: String = open_backend("eth7", &options, [1; 6], ACCEPT).map(drop).unwrap_err().to_string();
    assert!(line.contains("its directory does not exist"), "{line}");
}
