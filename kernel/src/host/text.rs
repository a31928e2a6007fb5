//! Where the host's own code lies: the only place whose system calls reach the host.
//!
//! The executable mappings that exist before the guest window is made are vmlinux's text, its C library's, and the
//! host's vDSO. Nothing is loaded later. Adjacent ranges are merged, so that the filter stays short.

use crate::error::{Errno, Result};
use crate::sync::Once;
use alloc::vec::Vec;
use rustix::fs::{Mode, OFlags, open};

static RANGES: Once<Vec<(u64, u64)>> = Once::new();

/// Records the executable mappings of this process. To be called once, before guest memory exists.
pub fn record() -> Result<()> {
    let fd = open("/proc/self/maps", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::new();
    let mut chunk = [0u8; 4096];
    loop {
        let n = rustix::io::read(&fd, &mut chunk)?;
        if n == 0 {
            break;
        }
        text.extend_from_slice(&chunk[..n]);
    }
    let text = alloc::string::String::from_utf8_lossy(&text);
    let ranges = executable_ranges(&text);
    if ranges.is_empty() {
        return Err(Errno::EIO.because("the host's /proc/self/maps shows no executable mapping"));
    }
    RANGES.call_once(|| ranges);
    Ok(())
}

fn executable_ranges(maps: &str) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(range), Some(perms)) = (words.next(), words.next()) else { continue };
        // The vsyscall page lies in the kernel's half; its entries trap to the host by themselves.
        if !perms.contains('x') || line.ends_with("[vsyscall]") {
            continue;
        }
        let Some((start, end)) = range.split_once('-') else { continue };
        let (Ok(start), Ok(end)) = (u64::from_str_radix(start, 16), u64::from_str_radix(end, 16)) else { continue };
        match ranges.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => ranges.push((start, end)),
        }
    }
    ranges
}

/// The recorded ranges: first address and the address past the last.
pub fn ranges() -> &'static [(u64, u64)] {
    RANGES.get().map_or(&[], Vec::as_slice)
}

/// Where vmlinux itself was loaded: addresses of a backtrace minus this are those in its file.
pub fn load_base() -> u64 {
    // The lowest executable range is vmlinux's; its file starts a little below, at a page that `nm` calls 0.
    ranges().first().map_or(0, |r| r.0)
}

/// Whether `address` lies in the host's own code.
pub fn contains(address: u64) -> bool {
    ranges().iter().any(|&(start, end)| (start..end).contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_executable_ranges_count_and_neighbours_merge() {
        let maps = "1000-2000 r--p 0 0:0 0 /a\n2000-3000 r-xp 0 0:0 0 /a\n3000-5000 r-xp 0 0:0 0 /a\n\
                    7f00-8000 rwxp 0 0:0 0\nffffffffff600000-ffffffffff601000 --xp 0 0:0 0 [vsyscall]\n";
        assert_eq!(executable_ranges(maps), [(0x2000, 0x5000), (0x7f00, 0x8000)]);
    }
}
