//! Frames of every shape into the guest's tap, while a transfer runs: the guest survives, and the bytes are right.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use appliance::guest::Hook;
use sha2::{Digest, Sha256};

use crate::lab::{Lab, Running};
use crate::transfer::{Noise, hex};

const SENDER: &str = include_str!("noise.py");
const FRAMES: &str = "20000";
const SEED: &str = "4242";
const CHUNK: usize = 1 << 16;
const STALL: Duration = Duration::from_secs(30);
const LIMIT: u64 = 90;

/// Sends until `enough`, at least `least` bytes; returns their digest.
fn feed(stream: &mut TcpStream, guest: &Running, least: usize, mut enough: impl FnMut() -> bool) -> String {
    stream.set_write_timeout(Some(STALL)).unwrap();
    let (mut noise, mut buffer, mut hash, mut sent) = (Noise(0x5eed), vec![0; CHUNK], Sha256::new(), 0);
    while sent < least || !enough() {
        noise.fill(&mut buffer);
        hash.update(&buffer);
        stream.write_all(&buffer).unwrap_or_else(|error| panic!("{error} after {sent} bytes; {}", guest.said()));
        sent += CHUNK;
    }
    hex(hash)
}

#[test]
fn a_transfer_survives_frames_of_every_shape() {
    let lab = Lab::new();
    let guest = lab.guest_script(Hook::Patch, "nc -l -p 5000 | sha256sum; nc -l -p 5001 | sha256sum");
    let mut stream = lab.connect(5000, &guest);
    let client = stream.local_addr().unwrap().port().to_string();
    let sender = lab.host(&["/usr/bin/python3", "-c", SENDER, SEED, FRAMES, &client, "5000"]);
    sender.expect("begins");
    // As long as the frames come, and then some.
    let first = feed(&mut stream, &guest, 4 << 20, || !sender.is_running());
    drop(stream);
    let said = sender.succeed(LIMIT);
    assert!(said.contains(&format!("sent {FRAMES}, connection seen")), "{said}; {}", guest.said());
    // Nothing of it has stayed behind.
    let mut stream = lab.connect(5001, &guest);
    let second = feed(&mut stream, &guest, 8 << 20, || true);
    drop(stream);
    let sums = guest.succeed(LIMIT);
    let sums: Vec<&str> = sums.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(sums, [first, second]);
}
