//! Packet buffers that are used again: no allocation and no clearing per packet.
//!
//! A buffer leaves room for an ethernet header in front of the IP header, so that a packet is never moved to gain one.
//! What a fresh buffer holds is whatever the last packet left; every producer overwrites what it hands on.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Bytes in front of the IP header: an ethernet header and two bytes that align the IP header to 16.
pub const HEADROOM: usize = 16;

/// Largest IPv4 packet.
pub const MAX_PACKET: usize = 65535;

/// Room for packets of each class, without the headroom.
const CLASSES: [usize; 3] = [2048 - HEADROOM, 16384 - HEADROOM, MAX_PACKET + 1];

/// Free buffers kept of each class; the rest goes back to the allocator.
const KEEP: [usize; 3] = [1024, 128, 64];

/// One packet's bytes; `bytes()` is the packet from its IP header on, unless a header was pushed.
pub struct PacketBuf {
    data: Box<[u8]>,
    start: usize,
    end: usize,
}

impl PacketBuf {
    /// The packet.
    pub fn bytes(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// The packet, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.data[self.start..self.end]
    }

    /// Bytes in the packet.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Shortens or (within the room that [`BufferPool::get`] was asked for) lengthens the packet at its end.
    pub fn set_len(&mut self, len: usize) {
        self.end = (self.start + len).min(self.data.len());
    }

    /// Grows the packet by `header.len()` bytes at the front, at most [`HEADROOM`].
    pub fn push(&mut self, header: &[u8]) {
        let start = self.start.saturating_sub(header.len());
        let room = self.start - start;
        self.data[start..self.start].copy_from_slice(&header[header.len() - room..]);
        self.start = start;
    }
}

/// The free buffers, by size class.
#[derive(Default)]
pub struct BufferPool {
    free: [Vec<Box<[u8]>>; 3],
}

impl BufferPool {
    /// A buffer with room for `len` bytes (at most [`MAX_PACKET`] + 1) and [`HEADROOM`]; contents unspecified.
    pub fn get(&mut self, len: usize) -> PacketBuf {
        let class = CLASSES.iter().position(|room| len <= *room).unwrap_or(CLASSES.len() - 1);
        let data = self.free[class].pop().unwrap_or_else(|| vec![0; HEADROOM + CLASSES[class]].into_boxed_slice());
        let end = (HEADROOM + len).min(data.len());
        PacketBuf { data, start: HEADROOM, end }
    }

    /// A buffer that holds a copy of `bytes`.
    pub fn copy(&mut self, bytes: &[u8]) -> PacketBuf {
        let mut buf = self.get(bytes.len());
        buf.bytes_mut().copy_from_slice(bytes);
        buf
    }

    /// Moves a packet that has to wait to a small buffer, if it is in a larger one than it needs.
    pub fn compact(&mut self, buf: &mut PacketBuf) {
        if buf.len() <= CLASSES[0] && buf.data.len() > HEADROOM + CLASSES[0] {
            let small = self.copy(buf.bytes());
            self.put(core::mem::replace(buf, small));
        }
    }

    /// Gives a buffer back.
    pub fn put(&mut self, buf: PacketBuf) {
        let class = CLASSES.iter().position(|room| buf.data.len() == HEADROOM + *room);
        if let Some(class) = class
            && self.free[class].len() < KEEP[class]
        {
            self.free[class].push(buf.data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_and_is_used_again() {
        let mut pool = BufferPool::default();
        let mut buf = pool.get(100);
        buf.bytes_mut().fill(7);
        pool.put(buf);
        assert_eq!(pool.get(50).bytes(), &[7; 50]);
        assert_eq!(pool.get(MAX_PACKET).len(), MAX_PACKET);
        assert_eq!(pool.get(2048).len(), 2048);
    }

    #[test]
    fn a_packet_that_waits_takes_no_more_than_it_needs() {
        let mut pool = BufferPool::default();
        let mut buf = pool.get(MAX_PACKET);
        buf.bytes_mut()[..3].copy_from_slice(b"abc");
        buf.set_len(3);
        pool.compact(&mut buf);
        assert_eq!((buf.bytes(), buf.data.len()), (&b"abc"[..], HEADROOM + CLASSES[0]));
        assert_eq!(pool.free.each_ref().map(Vec::len), [0, 0, 1]);
    }

    #[test]
    fn headers_are_pushed_in_front() {
        let mut buf = BufferPool::default().copy(b"payload");
        buf.push(b"ethernet header");
        assert_eq!(buf.bytes(), b"ethernet headerpayload");
    }
}
