//! TCP segments as the stack looks at them: enough of the header to find the flow, keep books and answer for
//! connections that no engine runs (RFC 9293, section 3.1).

use crate::net::checksum;
use crate::net::ipv4::{HEADER_LEN, Ipv4Header, protocol};
use core::net::SocketAddrV4;
use core::num::NonZeroU16;
use netdrv::{Checksum, FrameMeta, Gso, GsoKind, Offloads};

/// Bytes of a TCP header without options.
pub const TCP_HEADER: usize = 20;

bitflags::bitflags! {
    /// Control bits.
    #[derive(Copy, Clone, PartialEq, Eq, Debug)]
    pub struct TcpFlags: u8 {
        /// No more data.
        const FIN = 0x01;
        /// Synchronize.
        const SYN = 0x02;
        /// Reset.
        const RST = 0x04;
        /// Push.
        const PSH = 0x08;
        /// The acknowledgement number counts.
        const ACK = 0x10;
        /// Urgent data.
        const URG = 0x20;
    }
}

/// What the options of a SYN say.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct SynOptions {
    /// Largest segment the sender takes.
    pub mss: Option<u16>,
    /// Its window scale.
    pub window_scale: Option<u8>,
    /// It understands selective acknowledgements.
    pub sack: bool,
}

/// A segment's header.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct TcpSegment {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number of the first byte.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Control bits.
    pub flags: TcpFlags,
    /// Window, as in the header.
    pub window: u16,
    /// Bytes of the header with its options.
    pub header_len: usize,
    /// Bytes after it.
    pub payload_len: usize,
}

impl TcpSegment {
    /// Reads the header at the front of an IP payload; `None` when it is no TCP segment.
    pub fn parse(bytes: &[u8]) -> Option<TcpSegment> {
        let h = bytes.first_chunk::<TCP_HEADER>()?;
        let header_len = usize::from(h[12] >> 4) * 4;
        if header_len < TCP_HEADER || header_len > bytes.len() {
            return None;
        }
        Some(TcpSegment {
            src_port: u16::from_be_bytes([h[0], h[1]]),
            dst_port: u16::from_be_bytes([h[2], h[3]]),
            seq: u32::from_be_bytes([h[4], h[5], h[6], h[7]]),
            ack: u32::from_be_bytes([h[8], h[9], h[10], h[11]]),
            flags: TcpFlags::from_bits_truncate(h[13]),
            window: u16::from_be_bytes([h[14], h[15]]),
            header_len,
            payload_len: bytes.len() - header_len,
        })
    }

    /// Sequence numbers that the segment takes up.
    pub fn sequence_len(&self) -> u32 {
        self.payload_len as u32
            + u32::from(self.flags.contains(TcpFlags::SYN))
            + u32::from(self.flags.contains(TcpFlags::FIN))
    }

    /// The sequence number after the segment.
    pub fn end(&self) -> u32 {
        self.seq.wrapping_add(self.sequence_len())
    }
}

impl SynOptions {
    /// Reads the options of a segment whose header is `header_len` bytes long.
    pub fn parse(segment: &[u8], header_len: usize) -> SynOptions {
        let mut found = SynOptions::default();
        let mut rest = segment.get(TCP_HEADER..header_len).unwrap_or(&[]);
        while let Some((&kind, after)) = rest.split_first() {
            let len = match kind {
                0 => break,
                1 => {
                    rest = after;
                    continue;
                }
                _ => usize::from(*after.first().unwrap_or(&0)),
            };
            let Some(option) = rest.get(2..len).filter(|_| len >= 2) else { break };
            match (kind, option) {
                (2, [a, b]) => found.mss = Some(u16::from_be_bytes([*a, *b])),
                (3, [shift]) => found.window_scale = Some((*shift).min(14)),
                (4, []) => found.sack = true,
                _ => {}
            }
            rest = &rest[len..];
        }
        found
    }
}

/// `a` comes before `b` in sequence space (RFC 9293, section 3.4).
pub fn seq_before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// Whether the checksum of a received segment is right.
pub fn checksum_is_valid(ip: &Ipv4Header, segment: &[u8]) -> bool {
    let pseudo = checksum::pseudo_header(ip.src, ip.dst, protocol::TCP, segment.len());
    checksum::fold(pseudo + checksum::sum(segment)) == 0xffff
}

/// Finishes an IP packet with a TCP segment: time to live, type of service, IP checksum, and as much of the TCP
/// checksum as the device leaves to us.
pub fn finish(packet: &mut [u8], ttl: u8, tos: u8, offloads: Offloads, cut: Option<NonZeroU16>) -> FrameMeta {
    let len = packet.len();
    let Some((ip, tcp)) = packet.split_first_chunk_mut::<HEADER_LEN>() else { return FrameMeta::default() };
    let Some(header_len) = tcp.get(12).map(|b| usize::from(b >> 4) * 4) else { return FrameMeta::default() };
    (ip[1], ip[8]) = (tos, ttl);
    ip[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    crate::net::ipv4::fill_checksum(ip);
    let src = [ip[12], ip[13], ip[14], ip[15]].into();
    let dst = [ip[16], ip[17], ip[18], ip[19]].into();
    let pseudo = checksum::pseudo_header(src, dst, protocol::TCP, tcp.len());
    tcp[16..18].fill(0);
    let partial = offloads.contains(Offloads::TX_CSUM);
    let sum = if partial { checksum::fold(pseudo) } else { !checksum::fold(pseudo + checksum::sum(tcp)) };
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    let checksum = match partial {
        true => Checksum::Partial { start: HEADER_LEN as u16, offset: 16 },
        false => Checksum::Unknown,
    };
    let header_len = (HEADER_LEN + header_len) as u16;
    let gso = cut.map(|size| Gso { kind: GsoKind::TcpV4, size, header_len, ecn: false });
    FrameMeta { checksum, gso }
}

/// A segment without data that the stack sends by itself.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct ControlSegment {
    /// From whom.
    pub local: SocketAddrV4,
    /// To whom.
    pub remote: SocketAddrV4,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Control bits.
    pub flags: TcpFlags,
    /// Window, as in the header.
    pub window: u16,
}

impl ControlSegment {
    /// Bytes of the IP packet.
    pub const LEN: usize = HEADER_LEN + TCP_HEADER;

    /// The reset that answers a segment to a connection that does not exist (RFC 9293, section 3.10.7.1).
    pub fn reset_for(ip: &Ipv4Header, segment: &TcpSegment) -> ControlSegment {
        let local = SocketAddrV4::new(ip.dst, segment.dst_port);
        let remote = SocketAddrV4::new(ip.src, segment.src_port);
        let (seq, ack, flags) = match segment.flags.contains(TcpFlags::ACK) {
            true => (segment.ack, 0, TcpFlags::RST),
            false => (0, segment.end(), TcpFlags::RST | TcpFlags::ACK),
        };
        ControlSegment { local, remote, seq, ack, flags, window: 0 }
    }

    /// Writes the IP packet, checksums left out, to `packet`, which is [`ControlSegment::LEN`] bytes long.
    pub fn write(&self, packet: &mut [u8]) {
        let mut ip = Ipv4Header::new(*self.local.ip(), *self.remote.ip(), protocol::TCP, TCP_HEADER);
        ip.dont_fragment = true;
        ip.write(packet);
        let Some(tcp) = packet.get_mut(HEADER_LEN..Self::LEN) else { return };
        tcp[0..2].copy_from_slice(&self.local.port().to_be_bytes());
        tcp[2..4].copy_from_slice(&self.remote.port().to_be_bytes());
        tcp[4..8].copy_from_slice(&self.seq.to_be_bytes());
        tcp[8..12].copy_from_slice(&self.ack.to_be_bytes());
        tcp[12] = 5 << 4;
        tcp[13] = self.flags.bits();
        tcp[14..16].copy_from_slice(&self.window.to_be_bytes());
        tcp[16..20].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(data: &[u8]) -> alloc::vec::Vec<u8> {
        let segment = ControlSegment {
            local: "10.0.0.1:1000".parse().unwrap(),
            remote: "10.0.0.2:80".parse().unwrap(),
            seq: u32::MAX - 1,
            ack: 7,
            flags: TcpFlags::ACK | TcpFlags::FIN,
            window: 512,
        };
        let mut bytes = alloc::vec![0; ControlSegment::LEN];
        segment.write(&mut bytes);
        bytes.extend_from_slice(data);
        bytes
    }

    #[test]
    fn software_checksums_verify_and_partial_ones_hold_the_pseudo_sum() {
        let mut bytes = packet(b"odd");
        assert_eq!(finish(&mut bytes, 64, 0, Offloads::empty(), None), FrameMeta::default());
        let ip = Ipv4Header::parse(&bytes).unwrap();
        assert!(checksum_is_valid(&ip, &bytes[20..]));
        bytes[42] ^= 1;
        assert!(!checksum_is_valid(&ip, &bytes[20..]));

        let mut bytes = packet(b"odd");
        let meta = finish(&mut bytes, 64, 0, Offloads::TX_CSUM, NonZeroU16::new(2));
        assert_eq!(meta.checksum, Checksum::Partial { start: 20, offset: 16 });
        assert_eq!(meta.gso.map(|g| (g.size.get(), g.header_len)), Some((2, 40)));
        // What the device does: sum from `start` to the end, complemented, into the field.
        let sum = checksum::of(&bytes[20..]).to_be_bytes();
        bytes[36..38].copy_from_slice(&sum);
        assert!(checksum_is_valid(&ip, &bytes[20..]));
    }

    #[test]
    fn sequence_numbers_wrap() {
        let bytes = packet(b"odd");
        let segment = TcpSegment::parse(&bytes[20..]).unwrap();
        assert_eq!((segment.payload_len, segment.sequence_len(), segment.end()), (3, 4, 2));
        assert!(seq_before(u32::MAX, 0) && !seq_before(0, u32::MAX) && !seq_before(5, 5));
    }

    #[test]
    fn syn_options_are_found_and_nonsense_ends_the_search() {
        let mut segment = [0u8; 32];
        segment[20..32].copy_from_slice(&[2, 4, 5, 0xb4, 1, 3, 3, 9, 4, 2, 0, 0]);
        let expected = SynOptions { mss: Some(1460), window_scale: Some(9), sack: true };
        assert_eq!(SynOptions::parse(&segment, 32), expected);
        segment[21] = 0;
        assert_eq!(SynOptions::parse(&segment, 32), SynOptions::default());
        segment[21] = 200;
        assert_eq!(SynOptions::parse(&segment, 32), SynOptions::default());
    }
}
