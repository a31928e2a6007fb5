//! The ring itself, without a TCP stack: this process is the driver, a second one the device, each spinning on a processor of
//! its own.
//!
//! Each end copies a frame once into the ring or once out of it. `sent` measures frames that the device has taken and given
//! back; `round trip` one frame there and one back.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use netdrv::vhost_user::{self, VhostUserDevice, VhostUserOptions, backend};
use netdrv::{EthernetDevice, FrameMeta, FrameSink, Offloads, TxFrame};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Tells the second process where the socket is.
const PEER: &str = "FLATLAND_RING_BENCH_SOCKET";
/// A frame whose type says: answer.
const ANSWER: [u8; 2] = [0x88, 0xb5];
const LIMIT: Duration = Duration::from_secs(10);

/// Keeps this thread on the `index`th processor that it may use; on a host with fewer, the two sides share.
fn pin(index: usize) {
    let allowed = sched_getaffinity(None).expect("this thread exists");
    let processors: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
    let mut one = CpuSet::new();
    one.set(processors[index % processors.len()]);
    sched_setaffinity(None, &one).expect("it was allowed before");
}

/// Counts frames, and those that want an answer.
#[derive(Default)]
struct Count {
    frames: usize,
    answers: usize,
}

impl FrameSink for Count {
    fn frame(&mut self, _: FrameMeta, bytes: &mut [u8]) {
        self.frames += 1;
        self.answers += usize::from(bytes[12..14] == ANSWER);
    }
}

/// The device: takes frames, and answers those that ask for it, for as long as its parent lives.
fn peer(socket: &str) -> ! {
    let mut options = VhostUserOptions::new(socket);
    options.server = true;
    let mut device = backend::open("bench", &options, [2; 6], Offloads::all()).expect("the socket is ours");
    // The control thread, which has begun already, stays free to go where there is room.
    pin(1);
    let mut frame = [0; 60];
    frame[12..14].copy_from_slice(&ANSWER);
    let mut seen_up = false;
    loop {
        let mut count = Count::default();
        match device.receive(64, &mut count) {
            Ok(_) => {}
            Err(_) if seen_up => std::process::exit(0),
            Err(_) => {}
        }
        seen_up |= count.frames > 0;
        for _ in 0..count.answers {
            let _ = device.transmit(&[TxFrame { meta: FrameMeta::default(), parts: &[&frame] }]);
        }
        if count.frames == 0 {
            if !seen_up {
                std::thread::sleep(Duration::from_micros(100));
                device.prepare_sleep();
            }
            std::hint::spin_loop();
        }
    }
}

struct Link {
    device: VhostUserDevice,
    child: Child,
    path: std::path::PathBuf,
}

impl Link {
    fn new() -> Link {
        let path = std::env::temp_dir().join(format!("flatland-ring-bench-{}.sock", std::process::id()));
        let program = std::env::current_exe().expect("this program has a path");
        let child = Command::new(program).env(PEER, &path).spawn().expect("this program runs twice");
        pin(0);
        let options = VhostUserOptions::new(path.to_str().expect("a plain path"));
        let mut device =
            vhost_user::open("bench", &options, [4; 6], Offloads::all()).expect("a client has nothing to refuse");
        let start = Instant::now();
        while !device.is_up() {
            assert!(start.elapsed() < LIMIT, "the peer does not come");
            let _ = device.receive(1, &mut Count::default());
        }
        Link { device, child, path }
    }

    fn send(&mut self, frame: &[u8], count: u64) {
        let parts = [frame];
        let batch = [TxFrame { meta: FrameMeta::default(), parts: &parts }; 32];
        let mut left = count as usize;
        while left > 0 {
            let sent = self.device.transmit(&batch[..left.min(32)]).expect("the peer lives");
            if sent == 0 {
                std::hint::spin_loop();
            }
            left -= sent;
        }
    }

    /// Sends a frame that asks for an answer, and waits for it: everything before has been taken then.
    fn ask(&mut self) {
        let mut frame = [0; 60];
        frame[12..14].copy_from_slice(&ANSWER);
        self.send(&frame, 1);
        let mut count = Count::default();
        while count.frames == 0 {
            self.device.receive(64, &mut count).expect("the peer lives");
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.path);
    }
}

fn ring(c: &mut Criterion) {
    if let Ok(socket) = std::env::var(PEER) {
        peer(&socket);
    }
    let mut link = Link::new();
    let mut group = c.benchmark_group("vhost_ring");
    for len in [64usize, 1514, 65_226] {
        group.throughput(if len == 64 { Throughput::Elements(1) } else { Throughput::Bytes(len as u64) });
        let frame = vec![0u8; len];
        group.bench_function(format!("sent {len}"), |b| {
            b.iter_custom(|frames| {
                let start = Instant::now();
                link.send(&frame, frames);
                link.ask();
                start.elapsed()
            });
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("round trip 60", |b| b.iter(|| link.ask()));
    group.finish();
}

criterion_group!(benches, ring);
criterion_main!(benches);
