//! Back-ends that lie: on the socket, in the used rings, in the frames that they write.

use super::open;
use crate::device::{DeviceError, EthernetDevice, FrameSink, Offloads, TxFrame};
use crate::frame::FrameMeta;
use crate::vhost_user::backend;
use crate::vhost_user::frontend::VhostUserDevice;
use crate::vhost_user::message::Features;
use crate::vhost_user::options::VhostUserOptions;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use rustix::io::IoSliceMut;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

const LIMIT: Duration = Duration::from_secs(10);
/// Messages that the tests look at.
const GET_FEATURES: u32 = 1;
const SET_MEM_TABLE: u32 = 5;
const SET_VRING_ADDR: u32 = 9;
const SET_VRING_CALL: u32 = 13;

#[derive(Default)]
struct Count(usize);

impl FrameSink for Count {
    fn frame(&mut self, _: FrameMeta, bytes: &mut [u8]) {
        assert!(bytes.len() >= 14);
        self.0 += 1;
    }
}

/// A front-end that listens, so that the next peer need not wait for its next attempt.
fn listening() -> (PathBuf, VhostUserDevice) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(alloc::format!("flatland-lies-{}-{number}.sock", std::process::id()));
    let options = VhostUserOptions { server: true, ..VhostUserOptions::new(path.to_str().unwrap()) };
    let front = open("eth0", &options, [1; 6], Offloads::all()).unwrap();
    (path, front)
}

/// A back-end that agreed on everything as it should.
struct Liar {
    _stream: UnixStream,
    memory: File,
    /// Descriptor table, used ring and available ring of both rings, as offsets in the memory.
    rings: [[u64; 3]; 2],
}

impl Liar {
    fn connect(path: &Path, front: &mut VhostUserDevice) -> Liar {
        let path = path.to_path_buf();
        let agreed = thread::spawn(move || Liar::agree(&path));
        until("agreeing", || {
            front.prepare_sleep();
            let _ = front.receive(1, &mut Count::default());
            front.is_up()
        });
        agreed.join().unwrap()
    }

    fn agree(path: &Path) -> Liar {
        let mut stream = UnixStream::connect(path).unwrap();
        let (mut memory, mut base, mut rings) = (None, 0, [[0; 3]; 2]);
        loop {
            let (request, payload, file) = read_message(&stream);
            let word = |at: usize| u64::from_ne_bytes(payload[at..at + 8].try_into().unwrap());
            match request {
                GET_FEATURES => {
                    let ours = Features::VERSION_1 | Features::MRG_RXBUF;
                    stream.write_all(&message(GET_FEATURES, 5, &ours.bits().to_ne_bytes())).unwrap();
                }
                SET_MEM_TABLE => (memory, base) = (file, word(8)),
                SET_VRING_ADDR => rings[payload[0] as usize] = [8, 16, 24].map(|at| word(at) - base),
                SET_VRING_CALL if payload[0] == 1 => break,
                _ => {}
            }
        }
        Liar { _stream: stream, memory: memory.unwrap(), rings }
    }

    fn set_used(&self, ring: usize, slot: u64, id: u32, len: u32) {
        let entry = [id.to_le_bytes(), len.to_le_bytes()].concat();
        self.memory.write_all_at(&entry, self.rings[ring][1] + 4 + 8 * slot).unwrap();
    }

    fn set_used_index(&self, ring: usize, index: u16) {
        self.memory.write_all_at(&index.to_le_bytes(), self.rings[ring][1] + 2).unwrap();
    }

    /// Heads that the driver has made available.
    fn heads(&self, ring: usize, count: usize) -> Vec<u16> {
        let mut bytes = alloc::vec![0; 2 * count];
        self.memory.read_exact_at(&mut bytes, self.rings[ring][2] + 4).unwrap();
        bytes.chunks(2).map(|head| u16::from_le_bytes([head[0], head[1]])).collect()
    }

    /// Where a receive buffer starts.
    fn buffer(&self, head: u16) -> u64 {
        let mut descriptor = [0; 8];
        self.memory.read_exact_at(&mut descriptor, self.rings[0][0] + 16 * u64::from(head)).unwrap();
        u64::from_le_bytes(descriptor) - crate::vhost_user::frontend::link::GUEST_BASE
    }

    /// Writes to the start of a receive buffer.
    fn write_buffer(&self, head: u16, bytes: &[u8]) {
        self.memory.write_all_at(bytes, self.buffer(head)).unwrap();
    }
}

fn message(request: u32, flags: u32, payload: &[u8]) -> Vec<u8> {
    let words = [request, flags, payload.len() as u32];
    [&words.map(u32::to_ne_bytes).concat()[..], payload].concat()
}

/// The next message: request, payload, and the descriptor that came along.
fn read_message(stream: &UnixStream) -> (u32, Vec<u8>, Option<File>) {
    let (mut header, mut file) = ([0; 12], None);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(stream, &mut [IoSliceMut::new(&mut header)], &mut control, RecvFlags::WAITALL).unwrap();
    assert_eq!(got.bytes, header.len());
    for ancillary in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = ancillary {
            file = fds.next().map(File::from);
        }
    }
    let word = |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().unwrap());
    let mut payload = alloc::vec![0; word(8) as usize];
    (&mut &*stream).read_exact(&mut payload).unwrap();
    (word(0), payload, file)
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LIMIT, "{what} takes too long");
        thread::sleep(Duration::from_micros(50));
    }
}

/// Polls until something happens: a number of frames, or the reason for which the link was dropped.
fn outcome(front: &mut VhostUserDevice) -> Result<usize, DeviceError> {
    let start = Instant::now();
    loop {
        match front.receive(64, &mut Count::default()) {
            Ok(0) => assert!(start.elapsed() < LIMIT, "nothing happens"),
            other => return other,
        }
    }
}

#[test]
fn each_lie_about_a_received_frame_is_named_and_the_next_peer_is_served() {
    type Lie = fn(&Liar);
    let lies: [(&str, Lie); 8] = [
        ("moved its used index past", |liar| liar.set_used_index(0, 257)),
        ("moved its used index past", |liar| liar.set_used_index(0, 0xffff)),
        ("returned descriptor 256", |liar| {
            liar.set_used(0, 0, 256, 100);
            liar.set_used_index(0, 1);
        }),
        ("a buffer that has not so many", |liar| {
            liar.set_used(0, 0, liar.heads(0, 1)[0].into(), 8257);
            liar.set_used_index(0, 1);
        }),
        ("without a header", |liar| {
            liar.set_used(0, 0, liar.heads(0, 1)[0].into(), 11);
            liar.set_used_index(0, 1);
        }),
        ("receive buffers that it did not return", |liar| {
            let head = liar.heads(0, 1)[0];
            liar.set_used(0, 0, head.into(), 100);
            liar.write_buffer(head, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
            liar.set_used_index(0, 1);
        }),
        ("receive buffers that it did not return", |liar| {
            let head = liar.heads(0, 1)[0];
            liar.set_used(0, 0, head.into(), 100);
            liar.write_buffer(head, &[0; 12]);
            liar.set_used_index(0, 1);
        }),
        ("a frame of more than 64 KB", |liar| {
            let heads = liar.heads(0, 8);
            heads.iter().zip(0..).for_each(|(head, slot)| liar.set_used(0, slot, (*head).into(), 8256));
            liar.write_buffer(heads[0], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0]);
            liar.set_used_index(0, 8);
        }),
    ];
    let (path, mut front) = listening();
    for (reason, lie) in lies {
        let liar = Liar::connect(&path, &mut front);
        lie(&liar);
        assert!(front.may_receive(), "who only looks must not miss it");
        let mut told = outcome(&mut front);
        // A frame that came before the lie is a frame.
        while told.is_ok() {
            told = outcome(&mut front);
        }
        let told = told.unwrap_err().to_string();
        assert!(told.contains(reason), "{told}, not {reason}");
        let frame = TxFrame { meta: FrameMeta::default(), parts: &[&[7; 60]] };
        assert_eq!(front.transmit(&[frame]), Err(DeviceError::LinkDown));
    }
    serves_an_honest_peer(&path, &mut front);
}

fn serves_an_honest_peer(path: &Path, front: &mut VhostUserDevice) {
    let options = VhostUserOptions::new(path.to_str().unwrap());
    let mut back = backend::open("eth0", &options, [3; 6], Offloads::all()).unwrap();
    let frame = TxFrame { meta: FrameMeta::default(), parts: &[&[7; 60]] };
    until("serving an honest peer", || {
        front.prepare_sleep();
        let _ = front.receive(1, &mut Count::default());
        let _ = back.receive(1, &mut Count::default());
        front.is_up() && back.is_up()
    });
    assert_eq!(front.transmit(&[frame]), Ok(1));
    let mut count = Count::default();
    until("a frame", || back.receive(1, &mut count) == Ok(1));
    drop(back);
    let _ = std::fs::remove_file(path);
}

#[test]
fn what_is_lent_cannot_be_cut_and_holds_nothing_but_rings_and_frames() {
    let (path, mut front) = listening();
    let liar = Liar::connect(&path, &mut front);
    assert!(liar.memory.set_len(0).is_err() && liar.memory.set_len(1 << 40).is_err());
    let len = liar.memory.metadata().unwrap().len();
    assert!(len < 8 << 20, "{len} bytes");
    assert!(liar.memory.write_all_at(&[1], len).is_err());
    let _ = std::fs::remove_file(&path);
}

/// Random used entries, indices, headers and descriptors: a frame, a counted error or the end of the link, and never a panic.
#[test]
fn garbage_in_the_shared_memory_is_a_frame_or_an_error() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    let (path, mut front) = listening();
    let (mut links, mut frames) = (0, 0);
    let bytes = [7; 1500];
    for _ in 0..150 {
        let liar = Liar::connect(&path, &mut front);
        links += 1;
        let (heads, mut index) = (liar.heads(0, 256), 0);
        let buffers: Vec<u64> = heads.iter().map(|&head| liar.buffer(head)).collect();
        for _ in 0..100 {
            let honest = heads[usize::from(index) % 256];
            let buffer = buffers[usize::from(index) % 256];
            let id = if random(50) == 0 { random(300) as u32 } else { honest.into() };
            let len = if random(50) == 0 { random(20_000) } else { 26 + random(8000) };
            liar.set_used(0, u64::from(index) % 256, id, len as u32);
            let header: [u8; 12] =
                core::array::from_fn(|at| if random(12) == 0 { random(256) as u8 } else { u8::from(at == 10) });
            liar.memory.write_all_at(&header, buffer).unwrap();
            index = if random(200) == 0 { random(1 << 16) as u16 } else { index + 1 };
            liar.set_used_index(0, index);
            if random(10) == 0 {
                liar.set_used(1, random(256), random(300) as u32, random(1 << 32) as u32);
                liar.set_used_index(1, random(4) as u16);
            }
            if random(20) == 0 {
                // What the driver wrote for the device alone: it never looks at it again.
                liar.memory.write_all_at(&[random(256) as u8; 16], liar.rings[0][0] + 16 * random(256)).unwrap();
            }
            let mut count = Count::default();
            let received = front.receive(64, &mut count);
            frames += count.0;
            let sent = front.transmit(&[TxFrame { meta: FrameMeta::default(), parts: &[&bytes] }]);
            if received.is_err() || sent.is_err() {
                break;
            }
        }
        drop(liar);
        until("noticing the end", || {
            front.prepare_sleep();
            let _ = front.receive(1, &mut Count::default());
            !front.is_up()
        });
    }
    assert!(links == 150 && frames > 500, "{frames} frames on {links} links: the test tests nothing");
    serves_an_honest_peer(&path, &mut front);
}

#[test]
fn whatever_is_said_on_the_socket_the_next_peer_is_served() {
    let (path, mut front) = listening();
    let number = |value: u64| value.to_ne_bytes();
    let features = |bits: u64| message(GET_FEATURES, 5, &number(bits));
    let with_protocol = features((Features::VERSION_1 | Features::PROTOCOL_FEATURES).bits());
    let garbage = [
        Vec::new(),
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        alloc::vec![0xff; 4096],
        // Not an answer; too long; an answer to something else; of the wrong length; a legacy device.
        message(GET_FEATURES, 1, &number(0)),
        [&message(GET_FEATURES, 5, &[])[..8], &u32::MAX.to_ne_bytes()].concat(),
        message(15, 5, &number(0)),
        message(GET_FEATURES, 5, &[0; 4]),
        features(0),
        // Half a message, and answers beyond what was asked.
        features(u64::MAX)[..13].to_vec(),
        [features(Features::VERSION_1.bits()), features(0), features(0)].concat(),
        // The protocol's features, then a refusal or an odd length.
        [&with_protocol[..], &message(15, 5, &number(u64::MAX)), &message(16, 5, &number(1))].concat(),
        [&with_protocol[..], &message(15, 5, &number(u64::MAX)), &message(16, 5, &[0; 3])].concat(),
    ];
    for bytes in garbage {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let _ = stream.write_all(&bytes);
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        until("the end of the connection", || {
            front.prepare_sleep();
            front.receive(1, &mut Count::default()).is_err()
        });
        let _ = stream.read_to_end(&mut Vec::new());
    }
    serves_an_honest_peer(&path, &mut front);
}
