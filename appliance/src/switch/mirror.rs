//! Every frame that the switch takes in, as pcapng (draft-ietf-opsawg-pcapng): one interface for each port.

use std::fs::File;
use std::io::{BufWriter, Result, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const LINKTYPE_ETHERNET: u32 = 1;
const OPTION_END: [u8; 4] = [0; 4];
const OPTION_IF_NAME: u16 = 2;
const OPTION_IF_TSRESOL: u16 = 9;
const OPTION_EPB_FLAGS: u16 = 2;
/// `epb_flags`: inbound.
const INBOUND: u32 = 1;
/// `if_tsresol`: nanoseconds.
const NANOSECONDS: u8 = 9;

/// A capture file.
#[derive(Debug)]
pub struct Mirror<W: Write = BufWriter<File>> {
    out: W,
}

impl Mirror {
    /// Makes the file, with an interface for each port.
    pub fn create(path: &Path, ports: &[String]) -> Result<Self> {
        Mirror::new(BufWriter::with_capacity(1 << 20, File::create(path)?), ports)
    }
}

impl<W: Write> Mirror<W> {
    fn new(out: W, ports: &[String]) -> Result<Self> {
        let mut mirror = Mirror { out };
        // Version 1.0, length unknown.
        let section = [&BYTE_ORDER_MAGIC.to_le_bytes()[..], &[1, 0, 0, 0], &u64::MAX.to_le_bytes()].concat();
        mirror.block(SECTION_HEADER, &[&section])?;
        for name in ports {
            let mut body = [&LINKTYPE_ETHERNET.to_le_bytes()[..], &0u32.to_le_bytes()].concat();
            body.extend(option(OPTION_IF_NAME, name.as_bytes()));
            body.extend(option(OPTION_IF_TSRESOL, &[NANOSECONDS]));
            body.extend(OPTION_END);
            mirror.block(INTERFACE_DESCRIPTION, &[&body])?;
        }
        Ok(mirror)
    }

    /// Records one frame that came in at `port`.
    pub fn record(&mut self, port: usize, time: SystemTime, frame: &[u8]) -> Result<()> {
        let nanos = time.duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos() as u64);
        let len = frame.len() as u32;
        let mut head = [0; 20];
        for (at, word) in [port as u32, (nanos >> 32) as u32, nanos as u32, len, len].into_iter().enumerate() {
            head[4 * at..4 * at + 4].copy_from_slice(&word.to_le_bytes());
        }
        let padding = &[0; 3][..frame.len().next_multiple_of(4) - frame.len()];
        let mut options = option(OPTION_EPB_FLAGS, &INBOUND.to_le_bytes());
        options.extend(OPTION_END);
        self.block(ENHANCED_PACKET, &[&head, frame, padding, &options])
    }

    /// Writes what is buffered.
    pub fn flush(&mut self) -> Result<()> {
        self.out.flush()
    }

    fn block(&mut self, kind: u32, parts: &[&[u8]]) -> Result<()> {
        let len = 12 + parts.iter().map(|p| p.len()).sum::<usize>() as u32;
        self.out.write_all(&kind.to_le_bytes())?;
        self.out.write_all(&len.to_le_bytes())?;
        for part in parts {
            self.out.write_all(part)?;
        }
        self.out.write_all(&len.to_le_bytes())
    }
}

fn option(code: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = [&code.to_le_bytes()[..], &(value.len() as u16).to_le_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn blocks_follow_each_other_with_their_lengths_at_both_ends() {
        let mut mirror = Mirror::new(Vec::new(), &["a".to_owned(), "port".to_owned()]).unwrap();
        let time = UNIX_EPOCH + Duration::new(1, 7);
        mirror.record(1, time, &[9; 61]).unwrap();
        let bytes = mirror.out;
        let (mut at, mut kinds) = (0, Vec::new());
        let mut packet = 0;
        while at < bytes.len() {
            let len = word(&bytes, at + 4) as usize;
            assert!(len.is_multiple_of(4) && word(&bytes, at + len - 4) as usize == len);
            kinds.push(word(&bytes, at));
            packet = at;
            at += len;
        }
        assert_eq!(kinds, [SECTION_HEADER, INTERFACE_DESCRIPTION, INTERFACE_DESCRIPTION, ENHANCED_PACKET]);
        assert_eq!(word(&bytes, packet + 8), 1);
        let nanos = u64::from(word(&bytes, packet + 12)) << 32 | u64::from(word(&bytes, packet + 16));
        assert_eq!(nanos, 1_000_000_007);
        assert_eq!((word(&bytes, packet + 20), word(&bytes, packet + 24)), (61, 61));
        assert_eq!(bytes[packet + 28..packet + 89], [9; 61]);
    }
}
