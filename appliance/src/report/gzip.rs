//! gzip (RFC 1952) without compression: the members that flent's files want are small.

/// Longest stored block (RFC 1951, 3.2.4).
const BLOCK: usize = 65535;

/// `data` as a gzip file of stored blocks.
pub(super) fn stored(data: &[u8]) -> Vec<u8> {
    // Magic, deflate, no flags, no time, no hint, unknown system.
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut blocks = data.chunks(BLOCK).peekable();
    if blocks.peek().is_none() {
        out.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    out.extend(crc32(data).to_le_bytes());
    out.extend((data.len() as u32).to_le_bytes());
    out
}

/// The CRC of RFC 1952, section 8.
fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_check_value_of_the_crc() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn gzip_reads_it() {
        for size in [0, 5, BLOCK, 2 * BLOCK + 77] {
            let data: Vec<u8> = (0..size).map(|n| (n * 31 % 251) as u8).collect();
            let mut gzip =
                Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let mut stdin = gzip.stdin.take().unwrap();
            let file = stored(&data);
            let feeder = std::thread::spawn(move || stdin.write_all(&file));
            let output = gzip.wait_with_output().unwrap();
            feeder.join().unwrap().unwrap();
            assert!(output.status.success() && output.stdout == data, "{size}");
        }
    }
}
