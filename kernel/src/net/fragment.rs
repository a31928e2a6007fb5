//! IPv4 reassembly (RFC 791, RFC 815), bounded in memory, pieces and time.
//!
//! Fragments that overlap are an attack or a fault: the whole datagram is dropped (as RFC 5722 demands of IPv6 and
//! Linux does for IPv4). An exact duplicate of a fragment is only ignored.

use super::buffer::{BufferPool, MAX_PACKET, PacketBuf};
use super::ipv4::{HEADER_LEN, Ipv4Header};
use crate::time::Instant;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;
use hashbrown::HashMap;

/// How long a datagram may take to arrive (`ipfrag_time`).
const TIMEOUT: Duration = Duration::from_secs(30);
/// Datagrams in the making; each holds a buffer of 64 KB, so this bounds memory to 4 MB (`ipfrag_high_thresh`).
const MAX_DATAGRAMS: usize = 64;
/// Pieces of one datagram: 64 KB in fragments of 576 bytes, and some.
const MAX_PIECES: usize = 128;

#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
struct Key {
    src: Ipv4Addr,
    dst: Ipv4Addr,
    protocol: u8,
    ident: u16,
}

struct Datagram {
    buf: PacketBuf,
    /// Byte ranges present, in order, none adjacent to the next.
    pieces: Vec<(usize, usize)>,
    /// Payload length, once the last fragment has come.
    total: Option<usize>,
    received: usize,
    first: Option<Ipv4Header>,
    expires: Instant,
}

/// A datagram that was given up, for the ICMP message about it.
pub(super) struct Expired {
    /// Its first fragment's header and the start of the payload.
    pub(super) start: PacketBuf,
}

/// Why a fragment was thrown away together with its datagram.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct BadFragment;

/// The datagrams whose fragments are arriving.
#[derive(Default)]
pub(super) struct Reassembly {
    datagrams: HashMap<Key, Datagram>,
    /// In order of arrival, hence of expiry; may name datagrams that are complete already.
    order: VecDeque<(Instant, Key)>,
}

impl Reassembly {
    /// Takes a fragment; returns the whole packet, header first, when it was the last piece.
    ///
    /// # Errors
    /// [`BadFragment`] when the fragment overlaps, contradicts or exceeds what is allowed.
    pub(super) fn insert(
        &mut self,
        header: &Ipv4Header,
        packet: &[u8],
        pool: &mut BufferPool,
        now: Instant,
    ) -> Result<Option<PacketBuf>, BadFragment> {
        let payload = &packet[header.header_len..header.total_len];
        let key = Key { src: header.src, dst: header.dst, protocol: header.protocol, ident: header.ident };
        let (start, end) = (header.fragment_offset, header.fragment_offset + payload.len());
        // All but the last carry a multiple of 8 bytes (RFC 791, section 3.2).
        let bad = payload.is_empty()
            || (header.more_fragments && !payload.len().is_multiple_of(8))
            || end > MAX_PACKET - HEADER_LEN;
        if bad {
            self.remove(&key, pool);
            return Err(BadFragment);
        }
        if !self.datagrams.contains_key(&key) {
            self.make_room(pool);
            let expires = now + TIMEOUT;
            self.order.push_back((expires, key));
            let buf = pool.get(MAX_PACKET);
            let fresh = Datagram { buf, pieces: Vec::new(), total: None, received: 0, first: None, expires };
            self.datagrams.insert(key, fresh);
        }
        let Some(datagram) = self.datagrams.get_mut(&key) else { return Err(BadFragment) };
        match datagram.place(start, end, header.more_fragments) {
            Err(BadFragment) => {
                self.remove(&key, pool);
                return Err(BadFragment);
            }
            Ok(false) => return Ok(None),
            Ok(true) => {}
        }
        datagram.buf.bytes_mut()[HEADER_LEN + start..HEADER_LEN + end].copy_from_slice(payload);
        datagram.received += payload.len();
        if start == 0 {
            datagram.first = Some(*header);
        }
        let complete = datagram.total.is_some_and(|total| total == datagram.received);
        if !complete {
            return Ok(None);
        }
        let Some(mut datagram) = self.datagrams.remove(&key) else { return Ok(None) };
        datagram.finish_header();
        Ok(Some(datagram.buf))
    }

    /// Gives up what has waited too long; what the ICMP message needs goes to `expired`.
    pub(super) fn expire(&mut self, now: Instant, pool: &mut BufferPool, expired: &mut Vec<Expired>) {
        while let Some(&(at, key)) = self.order.front()
            && at <= now
        {
            self.order.pop_front();
            if self.datagrams.get(&key).is_none_or(|d| d.expires != at) {
                continue;
            }
            let Some(mut datagram) = self.datagrams.remove(&key) else { continue };
            if datagram.first.is_some() {
                // Only what the first fragments brought: the rest of the buffer is some older packet.
                datagram.total = datagram.pieces.first().map(|p| p.1);
                datagram.finish_header();
                expired.push(Expired { start: datagram.buf });
            } else {
                pool.put(datagram.buf);
            }
        }
    }

    /// When [`Reassembly::expire`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.order.front().map(|(at, _)| *at)
    }

    fn remove(&mut self, key: &Key, pool: &mut BufferPool) {
        if let Some(datagram) = self.datagrams.remove(key) {
            pool.put(datagram.buf);
        }
    }

    fn make_room(&mut self, pool: &mut BufferPool) {
        while self.datagrams.len() >= MAX_DATAGRAMS || self.order.len() >= 64 * MAX_DATAGRAMS {
            let Some((at, key)) = self.order.pop_front() else { return };
            if self.datagrams.get(&key).is_some_and(|d| d.expires == at) {
                self.remove(&key, pool);
            }
        }
    }
}

impl Datagram {
    /// Notes that `start..end` has come; `false` for a duplicate.
    fn place(&mut self, start: usize, end: usize, more: bool) -> Result<bool, BadFragment> {
        let at = self.pieces.partition_point(|&(_, e)| e <= start);
        if let Some(&(s, e)) = self.pieces.get(at)
            && s < end
        {
            return if s <= start && end <= e { Ok(false) } else { Err(BadFragment) };
        }
        match (self.total, more) {
            (Some(total), true) if end > total => return Err(BadFragment),
            (Some(total), false) if end != total => return Err(BadFragment),
            (None, false) => {
                if self.pieces.last().is_some_and(|&(_, e)| e > end) {
                    return Err(BadFragment);
                }
                self.total = Some(end);
            }
            _ => {}
        }
        self.pieces.insert(at, (start, end));
        if at + 1 < self.pieces.len() && self.pieces[at + 1].0 == end {
            self.pieces[at].1 = self.pieces[at + 1].1;
            self.pieces.remove(at + 1);
        }
        if at > 0 && self.pieces[at - 1].1 == start {
            self.pieces[at - 1].1 = self.pieces[at].1;
            self.pieces.remove(at);
        }
        if self.pieces.len() > MAX_PIECES { Err(BadFragment) } else { Ok(true) }
    }

    /// Writes the header of the whole packet in front of the payload.
    fn finish_header(&mut self) {
        let Some(first) = self.first else { return };
        let len = HEADER_LEN + self.total.unwrap_or(0);
        let whole =
            Ipv4Header { more_fragments: false, fragment_offset: 0, header_len: HEADER_LEN, total_len: len, ..first };
        whole.write(self.buf.bytes_mut());
        self.buf.set_len(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ipv4::protocol;
    use alloc::vec;

    fn fragment(ident: u16, offset: usize, payload: &[u8], more: bool) -> Vec<u8> {
        let mut h = Ipv4Header::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), protocol::UDP, payload.len());
        (h.ident, h.fragment_offset, h.more_fragments) = (ident, offset, more);
        let mut bytes = vec![0; HEADER_LEN + payload.len()];
        h.write(&mut bytes);
        bytes[HEADER_LEN..].copy_from_slice(payload);
        bytes
    }

    struct Rig(Reassembly, BufferPool);

    impl Rig {
        fn new() -> Rig {
            Rig(Reassembly::default(), BufferPool::default())
        }

        fn feed(&mut self, packet: &[u8]) -> Result<Option<Vec<u8>>, BadFragment> {
            let header = Ipv4Header::parse(packet).unwrap();
            let whole = self.0.insert(&header, packet, &mut self.1, Instant(0))?;
            Ok(whole.map(|w| w.bytes()[HEADER_LEN..].to_vec()))
        }
    }

    #[test]
    fn pieces_in_any_order_make_the_datagram() {
        let data: Vec<u8> = (0..=255).cycle().take(4000).collect();
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
            let mut rig = Rig::new();
            let cuts = [(0, 1480), (1480, 2960), (2960, 4000)];
            let mut done = None;
            for i in order {
                let (s, e) = cuts[i];
                done = rig.feed(&fragment(1, s, &data[s..e], e < 4000)).unwrap();
            }
            assert_eq!(done.as_deref(), Some(&data[..]));
            assert!(rig.0.datagrams.is_empty());
        }
    }

    #[test]
    fn an_overlap_drops_the_datagram_and_a_duplicate_does_not() {
        let mut rig = Rig::new();
        assert_eq!(rig.feed(&fragment(1, 0, &[1; 16], true)), Ok(None));
        assert_eq!(rig.feed(&fragment(1, 0, &[1; 16], true)), Ok(None));
        assert_eq!(rig.feed(&fragment(1, 8, &[2; 16], true)), Err(BadFragment));
        assert!(rig.0.datagrams.is_empty());
        assert_eq!(rig.feed(&fragment(1, 16, &[3; 5], false)), Ok(None), "what was dropped cannot be completed");
    }

    #[test]
    fn impossible_pieces_are_refused() {
        let mut rig = Rig::new();
        assert_eq!(rig.feed(&fragment(1, 65528, &[0; 100], false)), Err(BadFragment));
        assert_eq!(rig.feed(&fragment(1, 0, &[0; 9], true)), Err(BadFragment));
        assert_eq!(rig.feed(&fragment(2, 16, &[0; 8], false)), Ok(None));
        assert_eq!(rig.feed(&fragment(2, 24, &[0; 8], true)), Err(BadFragment), "beyond the end");
        assert_eq!(rig.feed(&fragment(3, 32, &[0; 8], true)), Ok(None));
        assert_eq!(rig.feed(&fragment(3, 8, &[0; 8], false)), Err(BadFragment), "an end before a piece");
    }

    #[test]
    fn memory_and_time_are_bounded() {
        let mut rig = Rig::new();
        for ident in 0..1000 {
            rig.feed(&fragment(ident, 0, &[0; 8], true)).unwrap();
        }
        assert!(rig.0.datagrams.len() <= MAX_DATAGRAMS);
        let mut expired = Vec::new();
        rig.0.expire(Instant(0) + TIMEOUT, &mut rig.1, &mut expired);
        assert_eq!(expired.len(), MAX_DATAGRAMS);
        assert_eq!(expired[0].start.len(), HEADER_LEN + 8);
        assert!(rig.0.datagrams.is_empty() && rig.0.next_deadline().is_none());
    }
}
