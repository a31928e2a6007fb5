//! The IPv4 header (RFC 791).

use super::checksum;
use core::net::Ipv4Addr;

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;

/// Protocol numbers (IANA).
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IGMP.
    pub const IGMP: u8 = 2;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// UDP-Lite (RFC 3828).
    pub const UDP_LITE: u8 = 136;
}

/// What a header says, checked against the bytes it came from.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Ipv4Header {
    /// Source.
    pub src: Ipv4Addr,
    /// Destination.
    pub dst: Ipv4Addr,
    /// Transport protocol.
    pub protocol: u8,
    /// Time to live.
    pub ttl: u8,
    /// Type of service (DSCP and ECN).
    pub tos: u8,
    /// Identification.
    pub ident: u16,
    /// Don't fragment.
    pub dont_fragment: bool,
    /// More fragments follow.
    pub more_fragments: bool,
    /// Where this fragment's payload belongs, in bytes.
    pub fragment_offset: usize,
    /// Bytes of the header with its options.
    pub header_len: usize,
    /// Bytes of header and payload.
    pub total_len: usize,
}

/// Why bytes are no IPv4 packet.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Ipv4Error {
    /// Shorter than its header says, or than a header is.
    Truncated,
    /// Not version 4, or an impossible header length.
    Malformed,
    /// The header checksum is wrong.
    Checksum,
}

impl Ipv4Header {
    /// Reads the header at the front of `bytes`; bytes after `total_len` (ethernet padding) are not looked at.
    ///
    /// # Errors
    /// See [`Ipv4Error`].
    pub fn parse(bytes: &[u8]) -> Result<Ipv4Header, Ipv4Error> {
        let h = bytes.first_chunk::<HEADER_LEN>().ok_or(Ipv4Error::Truncated)?;
        let header_len = usize::from(h[0] & 0x0f) * 4;
        if h[0] >> 4 != 4 || header_len < HEADER_LEN {
            return Err(Ipv4Error::Malformed);
        }
        let total_len = usize::from(u16::from_be_bytes([h[2], h[3]]));
        if total_len < header_len || total_len > bytes.len() {
            return Err(Ipv4Error::Truncated);
        }
        if checksum::of(&bytes[..header_len]) != 0 {
            return Err(Ipv4Error::Checksum);
        }
        let fragment = u16::from_be_bytes([h[6], h[7]]);
        Ok(Ipv4Header {
            src: Ipv4Addr::new(h[12], h[13], h[14], h[15]),
            dst: Ipv4Addr::new(h[16], h[17], h[18], h[19]),
            protocol: h[9],
            ttl: h[8],
            tos: h[1],
            ident: u16::from_be_bytes([h[4], h[5]]),
            dont_fragment: fragment & 0x4000 != 0,
            more_fragments: fragment & 0x2000 != 0,
            fragment_offset: usize::from(fragment & 0x1fff) * 8,
            header_len,
            total_len,
        })
    }

    /// Whether the packet is part of a larger one.
    pub fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }

    /// A header without options for `payload_len` bytes of `protocol`.
    pub fn new(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, payload_len: usize) -> Ipv4Header {
        Ipv4Header {
            src,
            dst,
            protocol,
            ttl: 64,
            tos: 0,
            ident: 0,
            dont_fragment: false,
            more_fragments: false,
            fragment_offset: 0,
            header_len: HEADER_LEN,
            total_len: HEADER_LEN + payload_len,
        }
    }

    /// Writes a header without options, checksum included, to the first [`HEADER_LEN`] bytes of `bytes`.
    pub fn write(&self, bytes: &mut [u8]) {
        let Some(h) = bytes.first_chunk_mut::<HEADER_LEN>() else { return };
        let fragment = (self.fragment_offset / 8) as u16
            | if self.dont_fragment { 0x4000 } else { 0 }
            | if self.more_fragments { 0x2000 } else { 0 };
        h[0] = 0x45;
        h[1] = self.tos;
        h[2..4].copy_from_slice(&(self.total_len as u16).to_be_bytes());
        h[4..6].copy_from_slice(&self.ident.to_be_bytes());
        h[6..8].copy_from_slice(&fragment.to_be_bytes());
        h[8] = self.ttl;
        h[9] = self.protocol;
        h[12..16].copy_from_slice(&self.src.octets());
        h[16..20].copy_from_slice(&self.dst.octets());
        fill_checksum(h);
    }
}

/// Recomputes the checksum of a header without options in place.
pub fn fill_checksum(header: &mut [u8; HEADER_LEN]) {
    header[10..12].fill(0);
    let sum = checksum::of(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Ipv4Header {
        let mut h = Ipv4Header::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), protocol::UDP, 12);
        (h.ident, h.more_fragments, h.fragment_offset, h.tos) = (77, true, 1480, 8);
        h
    }

    #[test]
    fn a_written_header_reads_back() {
        let mut bytes = [0; 40];
        sample().write(&mut bytes);
        assert_eq!(Ipv4Header::parse(&bytes), Ok(sample()));
    }

    #[test]
    fn bad_headers_are_refused() {
        let mut bytes = [0; 32];
        sample().write(&mut bytes);
        assert_eq!(Ipv4Header::parse(&bytes[..31]), Err(Ipv4Error::Truncated));
        assert_eq!(Ipv4Header::parse(&bytes[..19]), Err(Ipv4Error::Truncated));
        let mut flipped = bytes;
        flipped[8] ^= 1;
        assert_eq!(Ipv4Header::parse(&flipped), Err(Ipv4Error::Checksum));
        let mut short = bytes;
        short[0] = 0x44;
        assert_eq!(Ipv4Header::parse(&short), Err(Ipv4Error::Malformed));
    }
}
