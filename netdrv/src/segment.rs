//! Offloads in software: cutting segments and finishing checksums for a receiver that cannot (generic segmentation offload;
//! TCP: RFC 9293, IPv4 header checksum: RFC 791, UDP: RFC 768 and RFC 8200 section 8.1).
//!
//! A stack is promised all offloads whatever the other end of a link turns out to be able to; between the two, each frame
//! is brought down to what the receiver takes ([`Capabilities`]).

use crate::frame::{Checksum, FrameMeta, Gso, GsoKind};
use crate::vnet_header::ETHERNET_HEADER_LEN;

bitflags::bitflags! {
    /// What the receiver of a frame takes.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Capabilities: u32 {
        /// Partial checksums.
        const CSUM = 1 << 0;
        /// TCP/IPv4 segments larger than the MTU.
        const TSO4 = 1 << 1;
        /// TCP/IPv6 segments larger than the MTU.
        const TSO6 = 1 << 2;
        /// UDP segments.
        const USO = 1 << 3;
        /// TCP segments with CWR on the first of them only.
        const ECN = 1 << 4;
    }
}

impl Capabilities {
    /// Whether a frame of this kind can be handed over as it is.
    pub fn take(self, meta: &FrameMeta) -> bool {
        let mut needed = Capabilities::empty();
        if matches!(meta.checksum, Checksum::Partial { .. }) {
            needed |= Capabilities::CSUM;
        }
        if let Some(gso) = meta.gso {
            needed |= match gso.kind {
                GsoKind::TcpV4 => Capabilities::TSO4,
                GsoKind::TcpV6 => Capabilities::TSO6,
                GsoKind::UdpL4 => Capabilities::USO,
            };
            needed.set(Capabilities::ECN, gso.ecn && gso.kind != GsoKind::UdpL4);
        }
        self.contains(needed)
    }
}

/// A frame that cannot be cut: its headers do not say what its offload state says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the headers of the frame do not fit its offload state")]
pub struct BadSegment;

/// How many frames [`split`] makes of one of `len` bytes.
pub fn count(meta: &FrameMeta, len: usize, takes: Capabilities) -> usize {
    match meta.gso {
        Some(gso) if !takes.take(meta) => {
            len.saturating_sub(usize::from(gso.header_len)).div_ceil(usize::from(gso.size.get())).max(1)
        }
        _ => 1,
    }
}

/// Longest headers of a segment: ethernet with a VLAN tag, IPv6 with some extensions, TCP with options.
const MAX_HEADER: usize = 256;

const TCP_FIN: u8 = 0x01;
const TCP_PSH: u8 = 0x08;
const TCP_CWR: u8 = 0x80;

/// Calls `emit` with each frame that stands for `frame`, brought down to `takes`; each comes as its headers and a part of
/// `frame`. Returns how many there were.
///
/// # Errors
/// Nothing was emitted.
pub fn split(
    meta: &FrameMeta,
    frame: &[u8],
    takes: Capabilities,
    mut emit: impl FnMut(FrameMeta, [&[u8]; 2]),
) -> Result<usize, BadSegment> {
    if takes.take(meta) {
        emit(*meta, [frame, &[]]);
        return Ok(1);
    }
    let Checksum::Partial { start, offset } = meta.checksum else { return Err(BadSegment) };
    let (start, field) = (usize::from(start), usize::from(start) + usize::from(offset));
    let gso = match meta.gso {
        None => {
            // The header part ends behind the checksum field, so that only that much is copied.
            let mut header = [0; MAX_HEADER];
            let head = header.get_mut(..field + 2).ok_or(BadSegment)?;
            head.copy_from_slice(frame.get(..field + 2).ok_or(BadSegment)?);
            let rest = &frame[field + 2..];
            let partial = sum(sum(0, &head[start..]), rest_at(head.len() - start, rest)?);
            store_checksum(head, field, partial, is_udp(frame, start, offset));
            emit(FrameMeta { checksum: Checksum::Valid, gso: None }, [head, rest]);
            return Ok(1);
        }
        Some(gso) => gso,
    };
    let cut = Cut::new(frame, start, &gso)?;
    let pieces = frame[cut.header_len..].chunks(usize::from(gso.size.get()));
    let total = pieces.len();
    for (i, payload) in pieces.enumerate() {
        let mut header = [0; MAX_HEADER];
        let head = &mut header[..cut.header_len];
        head.copy_from_slice(&frame[..cut.header_len]);
        cut.write(head, i, i + 1 == total, payload.len(), gso.size.get());
        let finished = if takes.contains(Capabilities::CSUM) {
            let pseudo = fold(cut.pseudo_sum(head, payload.len()));
            head[field..field + 2].copy_from_slice(&pseudo.to_be_bytes());
            meta.checksum
        } else {
            head[field..field + 2].fill(0);
            let pseudo = cut.pseudo_sum(head, payload.len());
            let all = sum(sum(pseudo, &head[start..]), rest_at(cut.header_len - start, payload)?);
            store_checksum(head, field, all, gso.kind == GsoKind::UdpL4);
            Checksum::Valid
        };
        emit(FrameMeta { checksum: finished, gso: None }, [head, payload]);
    }
    Ok(total)
}

/// Transport headers have an even length, so that a payload's sum needs no shift.
fn rest_at(before: usize, rest: &[u8]) -> Result<&[u8], BadSegment> {
    if before.is_multiple_of(2) { Ok(rest) } else { Err(BadSegment) }
}

/// UDP alone has its checksum at offset 6.
fn is_udp(frame: &[u8], start: usize, offset: u16) -> bool {
    offset == 6 && frame.len() >= start + 8
}

/// Where the headers of a frame that is to be cut are.
struct Cut {
    kind: GsoKind,
    /// The IP header.
    ip: usize,
    is_v6: bool,
    /// The transport header.
    transport: usize,
    header_len: usize,
}

impl Cut {
    fn new(frame: &[u8], transport: usize, gso: &Gso) -> Result<Cut, BadSegment> {
        let header_len = usize::from(gso.header_len);
        let mut ip = ETHERNET_HEADER_LEN;
        let mut ethertype = frame.get(12..14).ok_or(BadSegment)?;
        if ethertype == [0x81, 0x00] {
            ethertype = frame.get(16..18).ok_or(BadSegment)?;
            ip += 4;
        }
        let is_v6 = match ethertype {
            [0x08, 0x00] => false,
            [0x86, 0xdd] => true,
            _ => return Err(BadSegment),
        };
        let fits = match gso.kind {
            GsoKind::TcpV4 => !is_v6,
            GsoKind::TcpV6 => is_v6,
            GsoKind::UdpL4 => true,
        };
        let (ip_len, transport_len) = (if is_v6 { 40 } else { 20 }, if gso.kind == GsoKind::UdpL4 { 8 } else { 20 });
        if !fits
            || transport < ip + ip_len
            || header_len < transport + transport_len
            || header_len >= frame.len()
            || header_len > MAX_HEADER
            || !(header_len - transport).is_multiple_of(2)
        {
            return Err(BadSegment);
        }
        Ok(Cut { kind: gso.kind, ip, is_v6, transport, header_len })
    }

    /// Writes what differs between segments into the headers of number `i`.
    fn write(&self, head: &mut [u8], i: usize, last: bool, payload: usize, size: u16) {
        let l4_len = self.header_len - self.transport + payload;
        let ip = &mut head[self.ip..];
        if self.is_v6 {
            let len = (self.transport - self.ip - 40 + l4_len) as u16;
            ip[4..6].copy_from_slice(&len.to_be_bytes());
        } else {
            let ihl = self.transport - self.ip;
            ip[2..4].copy_from_slice(&((ihl + l4_len) as u16).to_be_bytes());
            let id = u16::from_be_bytes([ip[4], ip[5]]).wrapping_add(i as u16);
            ip[4..6].copy_from_slice(&id.to_be_bytes());
            ip[10..12].fill(0);
            let checksum = !fold(sum(0, &ip[..ihl]));
            ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        let l4 = &mut head[self.transport..];
        if self.kind == GsoKind::UdpL4 {
            l4[4..6].copy_from_slice(&(l4_len as u16).to_be_bytes());
            return;
        }
        let sequence = u32::from_be_bytes([l4[4], l4[5], l4[6], l4[7]]);
        let sequence = sequence.wrapping_add((i * usize::from(size)) as u32);
        l4[4..8].copy_from_slice(&sequence.to_be_bytes());
        if !last {
            l4[13] &= !(TCP_FIN | TCP_PSH);
        }
        if i > 0 {
            l4[13] &= !TCP_CWR;
        }
    }

    /// The pseudo-header's sum for a segment with so many bytes of payload.
    fn pseudo_sum(&self, head: &[u8], payload: usize) -> u64 {
        let l4_len = self.header_len - self.transport + payload;
        let protocol: u64 = if self.kind == GsoKind::UdpL4 { 17 } else { 6 };
        let addresses = if self.is_v6 { &head[self.ip + 8..self.ip + 40] } else { &head[self.ip + 12..self.ip + 20] };
        sum(protocol + l4_len as u64, addresses)
    }
}

/// How a frame gets through a link of a smaller MTU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fit {
    /// It is short enough.
    AsIs,
    /// With this offload state, by which whoever sends it cuts it.
    Cut(FrameMeta),
    /// Not at all: only TCP, which is a stream of bytes, may be cut on the way.
    TooLong,
}

/// Says how a frame gets through a link whose IP packets have at most `mtu` bytes. One that is to be cut, and has its
/// checksum finished, gets a partial one.
pub fn fit(meta: FrameMeta, frame: &mut [u8], mtu: usize) -> Fit {
    let link_len = match frame.get(12..14) {
        Some([0x81, 0x00]) => ETHERNET_HEADER_LEN + 4,
        _ => ETHERNET_HEADER_LEN,
    };
    match meta.gso {
        None if frame.len() <= link_len + mtu => return Fit::AsIs,
        Some(gso) if usize::from(gso.header_len) + usize::from(gso.size.get()) <= link_len + mtu => return Fit::AsIs,
        Some(Gso { kind: GsoKind::UdpL4, .. }) => return Fit::TooLong,
        _ => {}
    }
    let Some((transport, kind)) = tcp_header(frame, link_len) else { return Fit::TooLong };
    let words = frame.get(transport + 12).map_or(0, |b| usize::from(b >> 4));
    let header_len = transport + 4 * words;
    let room = (link_len + mtu).checked_sub(header_len).and_then(|room| u16::try_from(room).ok());
    let size = room.and_then(core::num::NonZeroU16::new).filter(|_| words >= 5 && header_len < frame.len());
    let (Some(size), Ok(start)) = (size, u16::try_from(transport)) else { return Fit::TooLong };
    let gso = Gso { kind, size, header_len: header_len as u16, ecn: meta.gso.is_some_and(|gso| gso.ecn) };
    let checksum = Checksum::Partial { start, offset: 16 };
    if meta.checksum != checksum {
        let addresses = if kind == GsoKind::TcpV6 {
            &frame[link_len + 8..link_len + 40]
        } else {
            &frame[link_len + 12..link_len + 20]
        };
        let pseudo = fold(sum(6 + (frame.len() - transport) as u64, addresses));
        frame[transport + 16..transport + 18].copy_from_slice(&pseudo.to_be_bytes());
    }
    Fit::Cut(FrameMeta { checksum, gso: Some(gso) })
}

/// Where the TCP header of an unfragmented packet that fills the frame starts.
fn tcp_header(frame: &[u8], ip: usize) -> Option<(usize, GsoKind)> {
    let ethertype = frame.get(ip - 2..ip)?;
    let packet = frame.get(ip..)?;
    let (header, len, kind) = match ethertype {
        [0x08, 0x00] => {
            let h = packet.first_chunk::<20>()?;
            let is_whole = u16::from_be_bytes([h[6], h[7]]) & 0x3fff == 0;
            if h[9] != 6 || !is_whole || h[0] & 0x0f < 5 {
                return None;
            }
            (4 * usize::from(h[0] & 0x0f), usize::from(u16::from_be_bytes([h[2], h[3]])), GsoKind::TcpV4)
        }
        [0x86, 0xdd] => {
            let h = packet.first_chunk::<40>()?;
            if h[6] != 6 {
                return None;
            }
            (40, 40 + usize::from(u16::from_be_bytes([h[4], h[5]])), GsoKind::TcpV6)
        }
        _ => return None,
    };
    (packet.len() == len && packet.len() >= header + 20).then_some((ip + header, kind))
}

/// Adds 16-bit big-endian words; an odd last byte counts as the upper half of one (RFC 1071).
pub(crate) fn sum(start: u64, bytes: &[u8]) -> u64 {
    // 32 bits at a time: ones' complement sums of wider words fold to the same (RFC 1071, section 2).
    let (words, rest) = bytes.as_chunks::<4>();
    let mut total = start;
    for word in words {
        total += u64::from(u32::from_be_bytes(*word));
    }
    let (pairs, odd) = rest.as_chunks::<2>();
    for pair in pairs {
        total += u64::from(u16::from_be_bytes(*pair));
    }
    if let [byte] = odd {
        total += u64::from(*byte) << 8;
    }
    total
}

/// Folds a sum to 16 bits.
pub(crate) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Stores a finished checksum; UDP says 0xffff where the sum is 0 (RFC 768).
fn store_checksum(head: &mut [u8], field: usize, sum: u64, udp: bool) {
    let checksum = match !fold(sum) {
        0 if udp => 0xffff,
        checksum => checksum,
    };
    head[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use core::num::NonZeroU16;

    const IP: usize = 14;

    /// A frame with a partial checksum: 5,000 bytes of payload, in segments of `size`.
    fn segment(kind: GsoKind, size: u16) -> (FrameMeta, Vec<u8>) {
        let v6 = kind == GsoKind::TcpV6;
        let (ip_len, l4_len, offset) =
            if kind == GsoKind::UdpL4 { (20, 8, 6) } else { (if v6 { 40 } else { 20 }, 32, 16) };
        let start = IP + ip_len;
        let header_len = start + l4_len;
        let mut f = vec![0u8; header_len];
        f[..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
        if v6 {
            f[12..14].copy_from_slice(&[0x86, 0xdd]);
            f[IP] = 0x60;
            f[IP + 6] = 6;
            f[IP + 8..IP + 40].copy_from_slice(&core::array::from_fn::<u8, 32, _>(|i| i as u8 * 7));
        } else {
            f[12..14].copy_from_slice(&[8, 0]);
            f[IP] = 0x45;
            f[IP + 4..IP + 6].copy_from_slice(&0xffffu16.to_be_bytes());
            f[IP + 8..IP + 10].copy_from_slice(&[64, if kind == GsoKind::UdpL4 { 17 } else { 6 }]);
            f[IP + 12..IP + 20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        }
        if kind != GsoKind::UdpL4 {
            f[start + 4..start + 8].copy_from_slice(&0xffff_fff0u32.to_be_bytes());
            f[start + 12..start + 14].copy_from_slice(&[0x80, 0x10 | TCP_FIN | TCP_PSH | TCP_CWR]);
        }
        f.extend((0..5000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8));
        let gso = Gso { kind, size: NonZeroU16::new(size).unwrap(), header_len: header_len as u16, ecn: true };
        (FrameMeta { checksum: Checksum::Partial { start: start as u16, offset }, gso: Some(gso) }, f)
    }

    fn split_all(meta: &FrameMeta, frame: &[u8], takes: Capabilities) -> Vec<(FrameMeta, Vec<u8>)> {
        let mut out = Vec::new();
        let total = split(meta, frame, takes, |meta, parts| out.push((meta, parts.concat()))).unwrap();
        assert_eq!(total, out.len());
        assert_eq!(total, count(meta, frame.len(), takes));
        out
    }

    /// Sums everything that a receiver sums.
    fn checksums_are_right(f: &[u8]) -> bool {
        let v6 = f[12..14] == [0x86, 0xdd];
        let (start, protocol, l4) = if v6 {
            (IP + 40, u64::from(f[IP + 6]), usize::from(u16::from_be_bytes([f[IP + 4], f[IP + 5]])))
        } else {
            (IP + 20, u64::from(f[IP + 9]), usize::from(u16::from_be_bytes([f[IP + 2], f[IP + 3]])) - 20)
        };
        let addresses = if v6 { &f[IP + 8..IP + 40] } else { &f[IP + 12..IP + 20] };
        let pseudo = sum(protocol + l4 as u64, addresses);
        let ip_is_right = v6 || fold(sum(0, &f[IP..start])) == 0xffff;
        ip_is_right && f.len() == start + l4 && fold(sum(pseudo, &f[start..])) == 0xffff
    }

    #[test]
    fn segments_are_cut_with_headers_of_their_own() {
        for (kind, header) in [(GsoKind::TcpV4, 66), (GsoKind::TcpV6, 86), (GsoKind::UdpL4, 42)] {
            let (meta, frame) = segment(kind, 1448);
            let out = split_all(&meta, &frame, Capabilities::empty());
            assert_eq!(out.len(), 4);
            let mut payload = Vec::new();
            for (i, (meta, f)) in out.iter().enumerate() {
                assert_eq!(*meta, FrameMeta { checksum: Checksum::Valid, gso: None });
                assert!(checksums_are_right(f), "{kind:?} {i}");
                payload.extend_from_slice(&f[header..]);
            }
            assert_eq!(payload, frame[header..]);
            if kind != GsoKind::UdpL4 {
                let l4 = header - 32;
                let flags: Vec<u8> = out.iter().map(|(_, f)| f[l4 + 13]).collect();
                assert_eq!(flags, [0x10 | TCP_CWR, 0x10, 0x10, 0x10 | TCP_FIN | TCP_PSH]);
                assert_eq!(out[1].1[l4 + 4..l4 + 8], 0xffff_fff0u32.wrapping_add(1448).to_be_bytes());
            }
            if kind != GsoKind::TcpV6 {
                assert_eq!(out[2].1[IP + 4..IP + 6], 1u16.to_be_bytes(), "the identification counts on");
            }
        }
    }

    #[test]
    fn partial_checksums_stay_for_who_takes_them() {
        let (meta, frame) = segment(GsoKind::TcpV4, 2000);
        for (partial, f) in split_all(&meta, &frame, Capabilities::CSUM) {
            assert_eq!(partial, FrameMeta { checksum: meta.checksum, gso: None });
            let finished = split_all(&partial, &f, Capabilities::empty());
            assert_eq!(finished[0].0.checksum, Checksum::Valid);
            assert!(checksums_are_right(&finished[0].1));
        }
    }

    #[test]
    fn what_the_receiver_takes_passes_as_it_is() {
        let (meta, frame) = segment(GsoKind::TcpV4, 1448);
        assert_eq!(split_all(&meta, &frame, Capabilities::all()), [(meta, frame.clone())]);
        let without_ecn = Capabilities::all() - Capabilities::ECN;
        assert_eq!(split_all(&meta, &frame, without_ecn).len(), 4);
        let plain = FrameMeta::default();
        assert_eq!(split_all(&plain, &frame, Capabilities::empty()), [(plain, frame)]);
    }

    #[test]
    fn a_smaller_mtu_cuts_tcp_and_refuses_the_rest() {
        for (kind, header) in [(GsoKind::TcpV4, 66), (GsoKind::TcpV6, 86)] {
            let (meta, mut frame) = segment(kind, 3000);
            let (whole, payload) = (frame.len(), frame[header..].to_vec());
            let len = (whole - IP) as u16;
            match kind {
                GsoKind::TcpV6 => frame[IP + 4..IP + 6].copy_from_slice(&(len - 40).to_be_bytes()),
                _ => frame[IP + 2..IP + 4].copy_from_slice(&len.to_be_bytes()),
            }
            assert_eq!(fit(meta, &mut frame, header - IP + 3000), Fit::AsIs);
            // Once with the offload state it has, once as a long frame whose checksum is finished.
            for plain in [false, true] {
                let (meta, mut frame) =
                    if plain { (FrameMeta::default(), frame.clone()) } else { (meta, frame.clone()) };
                assert_eq!(fit(FrameMeta { gso: None, ..meta }, &mut frame, whole - IP), Fit::AsIs);
                let Fit::Cut(cut) = fit(meta, &mut frame, 1500) else { panic!("{kind:?}") };
                let out = split_all(&cut, &frame, Capabilities::empty());
                assert!(out.iter().all(|(_, f)| f.len() <= IP + 1500 && checksums_are_right(f)));
                let joined: Vec<u8> = out.iter().flat_map(|(_, f)| f[header..].to_vec()).collect();
                assert_eq!(joined, payload);
            }
            assert_eq!(fit(meta, &mut frame, header - IP), Fit::TooLong, "no room for payload");
        }
        let (meta, mut frame) = segment(GsoKind::UdpL4, 3000);
        assert_eq!(fit(meta, &mut frame, 1500), Fit::TooLong);
        assert_eq!(fit(FrameMeta::default(), &mut frame, 1500), Fit::TooLong);
        assert_eq!(fit(FrameMeta::default(), &mut [0; 1515], 1500), Fit::TooLong);
        assert_eq!(fit(FrameMeta::default(), &mut [0; 1514], 1500), Fit::AsIs);
    }

    #[test]
    fn a_udp_sum_of_zero_is_sent_as_all_ones() {
        let (meta, frame) = segment(GsoKind::UdpL4, 60000);
        let cut = split_all(&meta, &frame, Capabilities::CSUM).pop().unwrap();
        // The payload's last word is chosen so that the sum comes out as 0.
        let (partial, mut f) = cut;
        let at = f.len() - 2;
        f[at..].fill(0);
        let rest = fold(sum(0, &f[IP + 20..]));
        f[at..].copy_from_slice(&(!rest).to_be_bytes());
        let (_, f) = split_all(&partial, &f, Capabilities::empty()).pop().unwrap();
        assert_eq!(f[IP + 26..IP + 28], [0xff, 0xff]);
    }

    #[test]
    fn headers_that_do_not_fit_are_refused_whatever_they_are() {
        let (meta, frame) = segment(GsoKind::TcpV4, 1448);
        let gso = meta.gso.unwrap();
        let with = |gso| FrameMeta { gso: Some(gso), ..meta };
        for bad in [
            with(Gso { kind: GsoKind::TcpV6, ..gso }),
            with(Gso { header_len: 53, ..gso }),
            with(Gso { header_len: 300, ..gso }),
            with(Gso { header_len: 67, ..gso }),
            FrameMeta { checksum: Checksum::Unknown, ..meta },
            FrameMeta { checksum: Checksum::Partial { start: 20, offset: 16 }, ..meta },
        ] {
            assert_eq!(split(&bad, &frame, Capabilities::empty(), |_, _| panic!()), Err(BadSegment), "{bad:?}");
        }
        assert_eq!(split(&meta, &frame[..66], Capabilities::empty(), |_, _| panic!()), Err(BadSegment));
        let late = FrameMeta { checksum: Checksum::Partial { start: 4000, offset: 16 }, gso: None };
        assert_eq!(split(&late, &frame, Capabilities::empty(), |_, _| panic!()), Err(BadSegment));
    }
}
