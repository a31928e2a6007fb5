//! Facts about the host.

use alloc::vec::Vec;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::rand::{GetRandomFlags, getrandom};

/// Fills `buf` with the host's random bytes.
pub fn random(buf: &mut [u8]) {
    let mut done = 0;
    while done < buf.len() {
        match getrandom(&mut buf[done..], GetRandomFlags::empty()) {
            Ok(n) => done += n,
            // Interrupted; the host has no other reason to refuse once its pool is ready.
            Err(_) => continue,
        }
    }
}

/// Lets this process have as many descriptors as the host allows: hostfs holds one for each name it remembers.
pub fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // A refusal leaves the limit as it is; opening too many files then says EMFILE.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Whether the host's own clock runs on the time stamp counter, so that ours may.
pub fn clock_source_is_tsc() -> bool {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let Ok(fd) = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else { return false };
    let mut name = [0u8; 32];
    rustix::io::read(fd, &mut name).is_ok_and(|n| name[..n].trim_ascii() == b"tsc")
}

/// The whole contents of a small host file. `None` if it cannot be read.
pub fn read_file(path: &str) -> Option<Vec<u8>> {
    let fd = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut contents = Vec::new();
    let mut chunk = [0u8; 4096];
    loop {
        match rustix::io::read(&fd, &mut chunk).ok()? {
            0 => return Some(contents),
            n => contents.extend_from_slice(&chunk[..n]),
        }
    }
}
