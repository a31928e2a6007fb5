//! `struct virtio_net_hdr` (virtio 1.2, section 5.1.6; `<linux/virtio_net.h>`): the offload state of a frame as bytes
//! in front of it.
//!
//! Decoding trusts nothing: every offset is checked against the frame that follows, so that the stack may index with
//! what it gets in [`FrameMeta`]. Fields are little-endian, as virtio 1 has them and as a tap on a little-endian host has
//! them by default.

use crate::frame::{Checksum, FrameMeta, Gso, GsoKind};
use core::num::NonZeroU16;

/// Bytes of the header without `num_buffers`.
pub const VNET_HEADER_LEN: usize = 10;

/// Bytes of an ethernet header without VLAN tag.
pub const ETHERNET_HEADER_LEN: usize = 14;

/// `flags`: sum from `csum_start`, store at `csum_start + csum_offset`.
const F_NEEDS_CSUM: u8 = 1;
/// `flags`: the checksum has been verified.
const F_DATA_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// Or'ed to the kinds for TCP.
const GSO_ECN: u8 = 0x80;

/// Where a TCP header keeps its own length, in 32-bit words, in the upper four bits.
const TCP_DATA_OFFSET: usize = 12;
const UDP_HEADER_LEN: usize = 8;

/// A header and a frame that do not fit each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MalformedFrame {
    /// Shorter than an ethernet header.
    #[error("the frame is shorter than an ethernet header")]
    Runt,
    /// The checksum field lies outside of the frame, or in the ethernet header.
    #[error("the checksum offsets point outside of the frame")]
    ChecksumRange,
    /// A kind of segmentation that was never agreed on.
    #[error("unknown segmentation type {0:#04x}")]
    GsoType(u8),
    /// Segments without payload, or headers outside of the frame.
    #[error("the segmentation sizes do not fit the frame")]
    GsoRange,
    /// Segmentation needs a partial checksum (virtio 1.2, section 5.1.6.2.1).
    #[error("segmentation was asked for without a partial checksum")]
    GsoWithoutChecksum,
}

/// Encodes the header for a frame of `frame_len` bytes that is about to be sent.
///
/// # Errors
/// When `meta` points outside of the frame, or asks for segmentation without a partial checksum.
#[inline]
pub fn encode(meta: &FrameMeta, frame_len: usize) -> Result<[u8; VNET_HEADER_LEN], MalformedFrame> {
    let mut header = [0; VNET_HEADER_LEN];
    if frame_len < ETHERNET_HEADER_LEN {
        return Err(MalformedFrame::Runt);
    }
    let partial = match meta.checksum {
        // A sender must not set F_DATA_VALID (virtio 1.2, section 5.1.6.2.1).
        Checksum::Unknown | Checksum::Valid => false,
        Checksum::Partial { start, offset } => {
            check_checksum_range(start, offset, frame_len)?;
            header[0] = F_NEEDS_CSUM;
            header[6..8].copy_from_slice(&start.to_le_bytes());
            header[8..10].copy_from_slice(&offset.to_le_bytes());
            true
        }
    };
    if let Some(gso) = meta.gso {
        if !partial {
            return Err(MalformedFrame::GsoWithoutChecksum);
        }
        if usize::from(gso.header_len) < ETHERNET_HEADER_LEN || usize::from(gso.header_len) > frame_len {
            return Err(MalformedFrame::GsoRange);
        }
        header[1] = match gso.kind {
            GsoKind::TcpV4 => GSO_TCPV4,
            GsoKind::TcpV6 => GSO_TCPV6,
            GsoKind::UdpL4 => GSO_UDP_L4,
        } | if gso.ecn { GSO_ECN } else { 0 };
        header[2..4].copy_from_slice(&gso.header_len.to_le_bytes());
        header[4..6].copy_from_slice(&gso.size.get().to_le_bytes());
    }
    Ok(header)
}

/// Decodes the header of a received frame; `frame` starts at the ethernet header.
///
/// # Errors
/// When the header does not fit the frame, or names a kind of segmentation that this crate never agrees on.
#[inline]
pub fn decode(header: &[u8; VNET_HEADER_LEN], frame: &[u8]) -> Result<FrameMeta, MalformedFrame> {
    let [flags, gso_type, _, _, size0, size1, start0, start1, offset0, offset1] = *header;
    if frame.len() < ETHERNET_HEADER_LEN {
        return Err(MalformedFrame::Runt);
    }
    let checksum = if flags & F_NEEDS_CSUM != 0 {
        let start = u16::from_le_bytes([start0, start1]);
        let offset = u16::from_le_bytes([offset0, offset1]);
        check_checksum_range(start, offset, frame.len())?;
        Checksum::Partial { start, offset }
    } else if flags & F_DATA_VALID != 0 {
        Checksum::Valid
    } else {
        Checksum::Unknown
    };
    if gso_type == GSO_NONE {
        return Ok(FrameMeta { checksum, gso: None });
    }
    let kind = match gso_type & !GSO_ECN {
        GSO_TCPV4 => GsoKind::TcpV4,
        GSO_TCPV6 => GsoKind::TcpV6,
        GSO_UDP_L4 => GsoKind::UdpL4,
        _ => return Err(MalformedFrame::GsoType(gso_type)),
    };
    let Checksum::Partial { start, .. } = checksum else { return Err(MalformedFrame::GsoWithoutChecksum) };
    let size = NonZeroU16::new(u16::from_le_bytes([size0, size1])).ok_or(MalformedFrame::GsoRange)?;
    // hdr_len is a hint (the host puts the length of its linear buffer there); the frame itself knows better.
    let header_len = segment_header_len(kind, start, frame).ok_or(MalformedFrame::GsoRange)?;
    let gso = Gso { kind, size, header_len, ecn: gso_type & GSO_ECN != 0 };
    Ok(FrameMeta { checksum, gso: Some(gso) })
}

/// Bytes up to the payload, given where the transport header starts.
fn segment_header_len(kind: GsoKind, start: u16, frame: &[u8]) -> Option<u16> {
    let start = usize::from(start);
    let transport_len = match kind {
        GsoKind::TcpV4 | GsoKind::TcpV6 => usize::from(frame.get(start + TCP_DATA_OFFSET)? >> 4) * 4,
        GsoKind::UdpL4 => UDP_HEADER_LEN,
    };
    let shortest = if kind == GsoKind::UdpL4 { UDP_HEADER_LEN } else { 20 };
    let end = start + transport_len;
    if transport_len < shortest || end > frame.len() {
        return None;
    }
    u16::try_from(end).ok()
}

fn check_checksum_range(start: u16, offset: u16, frame_len: usize) -> Result<(), MalformedFrame> {
    let end_of_field = usize::from(start) + usize::from(offset) + 2;
    if usize::from(start) < ETHERNET_HEADER_LEN || end_of_field > frame_len {
        return Err(MalformedFrame::ChecksumRange);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTIAL: Checksum = Checksum::Partial { start: 34, offset: 16 };

    /// 14 + 20 + 32 bytes of headers (TCP with timestamps), then payload.
    fn segment() -> [u8; 200] {
        let mut frame = [0; 200];
        frame[34 + TCP_DATA_OFFSET] = 8 << 4;
        frame
    }

    fn gso(kind: GsoKind, header_len: u16, ecn: bool) -> Option<Gso> {
        Some(Gso { kind, size: NonZeroU16::new(1448).unwrap(), header_len, ecn })
    }

    #[test]
    fn the_layout_is_the_one_of_the_specification() {
        let meta = FrameMeta { checksum: PARTIAL, gso: gso(GsoKind::TcpV4, 66, true) };
        // flags, gso_type, hdr_len, gso_size (1448 = 0x05a8), csum_start, csum_offset.
        assert_eq!(encode(&meta, 200), Ok([1, 0x81, 66, 0, 0xa8, 0x05, 34, 0, 16, 0]));
        assert_eq!(encode(&FrameMeta::default(), 60), Ok([0; 10]));
    }

    #[test]
    fn every_state_survives_the_way_there_and_back() {
        let frame = segment();
        let mut states = alloc::vec![FrameMeta::default(), FrameMeta { checksum: PARTIAL, gso: None }];
        for (kind, header_len) in [(GsoKind::TcpV4, 66), (GsoKind::TcpV6, 66), (GsoKind::UdpL4, 42)] {
            for ecn in [false, true] {
                states.push(FrameMeta { checksum: PARTIAL, gso: gso(kind, header_len, ecn) });
            }
        }
        for meta in states {
            assert_eq!(decode(&encode(&meta, frame.len()).unwrap(), &frame), Ok(meta));
        }
    }

    #[test]
    fn verified_is_received_but_never_sent() {
        let frame = segment();
        let meta = FrameMeta { checksum: Checksum::Valid, gso: None };
        assert_eq!(decode(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0], &frame), Ok(meta));
        assert_eq!(encode(&meta, frame.len()), Ok([0; 10]));
        let both = decode(&[3, 0, 0, 0, 0, 0, 34, 0, 16, 0], &frame);
        assert_eq!(both, Ok(FrameMeta { checksum: PARTIAL, gso: None }));
    }

    #[test]
    fn the_hosts_length_hint_is_replaced_by_the_true_header_length() {
        let header = [1, GSO_TCPV4, 0xff, 0xff, 0xa8, 0x05, 34, 0, 16, 0];
        assert_eq!(decode(&header, &segment()).unwrap().gso.unwrap().header_len, 66);
    }

    #[test]
    fn malformed_headers_are_told_apart() {
        let frame = segment();
        for (header, error) in [
            ([1, 0, 0, 0, 0, 0, 13, 0, 16, 0], MalformedFrame::ChecksumRange),
            ([1, 0, 0, 0, 0, 0, 34, 0, 165, 0], MalformedFrame::ChecksumRange),
            ([1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], MalformedFrame::ChecksumRange),
            ([1, 3, 0, 0, 1, 0, 34, 0, 6, 0], MalformedFrame::GsoType(3)),
            ([1, 0x80, 0, 0, 1, 0, 34, 0, 6, 0], MalformedFrame::GsoType(0x80)),
            ([1, 0x41, 0, 0, 1, 0, 34, 0, 6, 0], MalformedFrame::GsoType(0x41)),
            ([1, 1, 0, 0, 0, 0, 34, 0, 16, 0], MalformedFrame::GsoRange),
            ([0, 1, 0, 0, 1, 0, 34, 0, 16, 0], MalformedFrame::GsoWithoutChecksum),
            // A TCP header at 180 whose length field would lie at 192 (0 words), and one beyond the end.
            ([1, 1, 0, 0, 1, 0, 180, 0, 16, 0], MalformedFrame::GsoRange),
            ([1, 1, 0, 0, 1, 0, 190, 0, 6, 0], MalformedFrame::GsoRange),
        ] {
            assert_eq!(decode(&header, &frame), Err(error), "{header:?}");
        }
        assert_eq!(decode(&[0; 10], &frame[..13]), Err(MalformedFrame::Runt));
        assert_eq!(decode(&[1, 0, 0, 0, 0, 0, 34, 0, 164, 0], &frame).map(|_| ()), Ok(()), "the last possible field");
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let partial = |start, offset| FrameMeta { checksum: Checksum::Partial { start, offset }, gso: None };
        assert_eq!(encode(&FrameMeta::default(), 13), Err(MalformedFrame::Runt));
        assert_eq!(encode(&partial(34, 25), 60), Err(MalformedFrame::ChecksumRange));
        assert_eq!(encode(&partial(u16::MAX, u16::MAX), 60), Err(MalformedFrame::ChecksumRange));
        let unsummed = FrameMeta { checksum: Checksum::Unknown, gso: gso(GsoKind::TcpV4, 54, false) };
        assert_eq!(encode(&unsummed, 200), Err(MalformedFrame::GsoWithoutChecksum));
        let long = FrameMeta { checksum: PARTIAL, gso: gso(GsoKind::TcpV4, 201, false) };
        assert_eq!(encode(&long, 200), Err(MalformedFrame::GsoRange));
    }

    /// All offsets in what decode() returns lie in the frame, whatever the bytes.
    #[test]
    fn any_bytes_decode_to_offsets_within_the_frame_or_to_an_error() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut accepted = 0;
        for _ in 0..200_000 {
            let mut bytes = [0u8; 10 + 96];
            for chunk in bytes.chunks_mut(8) {
                let random = next().to_le_bytes();
                chunk.copy_from_slice(&random[..chunk.len()]);
            }
            // Small values in most fields, so that a good part is accepted.
            bytes[0] &= 3;
            bytes[1] &= 0x87;
            (bytes[7], bytes[9]) = (bytes[7] & 1, bytes[9] & 1);
            bytes[6] &= 0x7f;
            bytes[8] &= 0x3f;
            let len = (next() % 97) as usize;
            let (header, frame) = bytes.split_first_chunk().unwrap();
            let frame = &frame[..len];
            let Ok(meta) = decode(header, frame) else { continue };
            accepted += 1;
            if let Checksum::Partial { start, offset } = meta.checksum {
                assert!(usize::from(start) + usize::from(offset) + 2 <= len && start >= 14);
            }
            if let Some(gso) = meta.gso {
                assert!((14..=len).contains(&usize::from(gso.header_len)));
            }
        }
        assert!(accepted > 1000, "only {accepted} headers were accepted: the test tests nothing");
    }
}
