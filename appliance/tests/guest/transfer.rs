//! A gigabyte each way through netcat, unharmed.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::time::Duration;

use appliance::guest::Hook;
use sha2::{Digest, Sha256};

use crate::lab::Lab;

const SIZE: usize = 1 << 30;
const CHUNK: usize = 1 << 18;
/// No step of a transfer is silent for this long, however busy the machine.
const STALL: Duration = Duration::from_secs(20);
const LIMIT: u64 = 90;
const PORT: u16 = 5000;

pub fn hex(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::new(), |mut hex, byte| {
        _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Numbers without a period in any size that matters (xorshift64, Marsaglia 2003).
pub struct Noise(pub u64);

impl Noise {
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for word in buffer.chunks_exact_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            word.copy_from_slice(&self.0.to_le_bytes());
        }
    }
}

#[test]
fn a_gigabyte_reaches_the_guest() {
    let lab = Lab::new();
    let guest = lab.guest_script(Hook::Patch, "nc -l -p 5000 | sha256sum");
    let mut stream = lab.connect(PORT, &guest);
    stream.set_write_timeout(Some(STALL)).unwrap();
    let (mut noise, mut buffer, mut hash) = (Noise(0x5eed), vec![0; CHUNK], Sha256::new());
    for _ in 0..SIZE / CHUNK {
        noise.fill(&mut buffer);
        hash.update(&buffer);
        stream.write_all(&buffer).unwrap_or_else(|error| panic!("{error}; {}", guest.said()));
    }
    drop(stream);
    assert_eq!(guest.succeed(LIMIT).split_whitespace().next(), Some(hex(hash).as_str()));
}

#[test]
fn a_gigabyte_leaves_the_guest() {
    let lab = Lab::new();
    let listener = lab.listen(PORT);
    let script = format!(
        "mkfifo /tmp/copy && sha256sum </tmp/copy >/tmp/sum &
         until [ -p /tmp/copy ]; do :; done
         head -c {SIZE} /dev/urandom | tee /tmp/copy | nc -N 10.77.0.1 {PORT} || exit
         wait && cat /tmp/sum"
    );
    let guest = lab.guest_script(Hook::Seccomp, &script);
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(STALL)).unwrap();
    let (mut buffer, mut hash, mut total) = (vec![0; CHUNK], Sha256::new(), 0);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                hash.update(&buffer[..count]);
                total += count;
            }
            Err(error) => panic!("{error} after {total} bytes; {}", guest.said()),
        }
    }
    drop(stream);
    assert_eq!(total, SIZE);
    assert_eq!(guest.succeed(LIMIT).split_whitespace().next(), Some(hex(hash).as_str()));
}
