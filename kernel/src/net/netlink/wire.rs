//! Messages of netlink(7): headers and attributes, taken apart and put together.

use crate::error::{Errno, Result};
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// Bytes of `struct nlmsghdr`.
pub const HEADER_LEN: usize = 16;
/// Bytes of `struct rtattr`.
const ATTRIBUTE_HEADER: usize = 4;
/// The bits of an attribute's type that are no flags.
const ATTRIBUTE_TYPE: u16 = 0x3fff;

/// `NLM_F_*`: this is a request.
pub const REQUEST: u16 = 0x1;
/// One of several messages, ended by `NLMSG_DONE`.
pub const MULTI: u16 = 0x2;
/// The sender wants an acknowledgement.
pub const ACK: u16 = 0x4;
/// The request's payload is left out of the error.
pub const CAPPED: u16 = 0x100;
/// Attributes follow the error.
pub const ACK_TLVS: u16 = 0x200;
/// Of a read: all of them.
pub const DUMP: u16 = 0x300;
/// Of a write: replace what is there.
pub const REPLACE: u16 = 0x100;
/// Of a write: fail if it is there.
pub const EXCL: u16 = 0x200;
/// Of a write: make it if it is not there.
pub const CREATE: u16 = 0x400;

/// `NLMSG_ERROR`.
pub const ERROR: u16 = 2;
/// `NLMSG_DONE`.
pub const DONE: u16 = 3;

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u16::from_ne_bytes(*b))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_ne_bytes(*b))
}

/// A message that a program sent.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`.
    pub seq: u32,
    /// The header's bytes.
    pub header: &'a [u8],
    /// What follows the header.
    pub payload: &'a [u8],
}

impl<'a> Request<'a> {
    /// The first message of `bytes`, and what follows it; `None` at the end or at what is no message.
    pub fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, _) = bytes.split_at_checked(HEADER_LEN)?;
        let len = u32_at(header, 0) as usize;
        let payload = bytes.get(HEADER_LEN..len)?;
        let rest = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        let request =
            Request { kind: u16_at(header, 4), flags: u16_at(header, 6), seq: u32_at(header, 8), header, payload };
        Some((request, rest))
    }

    /// Whether everything is asked for.
    pub fn is_dump(&self) -> bool {
        self.flags & DUMP == DUMP
    }

    /// Whether all of `flags` are set.
    pub fn has(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }

    /// The fixed part, of `len` bytes, and the attributes. EINVAL if not even the fixed part is there.
    pub fn parts(&self, len: usize) -> Result<(Fixed<'a>, Attributes<'a>)> {
        if self.payload.len() < len {
            return Err(Errno::EINVAL.because("the message is too short for its type"));
        }
        let (fixed, rest) = self.payload.split_at(len);
        Ok((Fixed(fixed), Attributes(rest)))
    }

    /// The fixed part of a dump request, which old programs cut down to the family; `None` if it is not whole.
    pub fn filter(&self, len: usize) -> Option<(Fixed<'a>, Attributes<'a>)> {
        self.parts(len).ok()
    }

    /// The address family that every message of rtnetlink(7) begins with.
    pub fn family(&self) -> u8 {
        self.payload.first().copied().unwrap_or(0)
    }
}

/// The fixed part of a message.
#[derive(Clone, Copy, Debug)]
pub struct Fixed<'a>(&'a [u8]);

impl Fixed<'_> {
    /// The byte at an offset.
    pub fn u8(&self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }

    /// The two bytes at an offset.
    pub fn u16(&self, at: usize) -> u16 {
        u16_at(self.0, at)
    }

    /// The four bytes at an offset.
    pub fn u32(&self, at: usize) -> u32 {
        u32_at(self.0, at)
    }
}

/// The attributes of a message.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Types and values, in order; what is cut short ends them.
    pub fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            if rest.len() < ATTRIBUTE_HEADER {
                return None;
            }
            let len = u16_at(rest, 0) as usize;
            let value = rest.get(ATTRIBUTE_HEADER..len)?;
            let kind = u16_at(rest, 2) & ATTRIBUTE_TYPE;
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
            Some((kind, value))
        })
    }

    /// The last value of a type, as Linux takes it.
    pub fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.iter().filter(|(k, _)| *k == kind).last().map(|(_, value)| value)
    }

    /// A number. EINVAL if it is not four bytes.
    pub fn u32(self, kind: u16) -> Result<Option<u32>> {
        let number = |v: &[u8]| {
            let bytes = v.first_chunk().ok_or(Errno::EINVAL.because("the attribute is a u32"))?;
            Ok(u32::from_ne_bytes(*bytes))
        };
        self.get(kind).map(number).transpose()
    }

    /// An IPv4 address. EINVAL if it is not four bytes.
    pub fn ipv4(self, kind: u16) -> Result<Option<Ipv4Addr>> {
        let address = |v: &[u8]| {
            let bytes: &[u8; 4] = v.first_chunk().ok_or(Errno::EINVAL.because("the attribute is an IPv4 address"))?;
            Ok(Ipv4Addr::from(*bytes))
        };
        self.get(kind).map(address).transpose()
    }

    /// A string without its NUL. EINVAL if it is no text.
    pub fn text(self, kind: u16) -> Result<Option<&'a str>> {
        let text = |v: &'a [u8]| {
            let text = v.split(|&b| b == 0).next().unwrap_or_default();
            core::str::from_utf8(text).map_err(|_| Errno::EINVAL.because("the attribute is no text"))
        };
        self.get(kind).map(text).transpose()
    }
}

/// A message that is being put together.
#[derive(Clone, Debug)]
pub struct Message(Vec<u8>);

impl Message {
    /// A message without a payload.
    pub fn new(kind: u16, flags: u16, seq: u32, port: u32) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&seq.to_ne_bytes());
        bytes.extend_from_slice(&port.to_ne_bytes());
        Message(bytes)
    }

    /// Appends bytes of the fixed part.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends a number to the fixed part.
    pub fn word(self, value: u32) -> Self {
        self.raw(&value.to_ne_bytes())
    }

    /// Appends an attribute.
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.align();
        let len = (ATTRIBUTE_HEADER + value.len()) as u16;
        self.0.extend_from_slice(&len.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.raw(value)
    }

    /// Appends a number.
    pub fn number(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// Appends an IPv4 address, if there is one.
    pub fn ipv4(self, kind: u16, address: Option<Ipv4Addr>) -> Self {
        match address {
            Some(a) => self.attribute(kind, &a.octets()),
            None => self,
        }
    }

    /// Appends a string with its NUL.
    pub fn text(self, kind: u16, text: &str) -> Self {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    fn align(&mut self) {
        let len = self.0.len().next_multiple_of(4);
        self.0.resize(len, 0);
    }

    /// The message's bytes, with padding and length.
    pub fn finish(mut self) -> Vec<u8> {
        // As on Linux, the last attribute's padding counts.
        self.align();
        let len = self.0.len() as u32;
        self.0[..4].copy_from_slice(&len.to_ne_bytes());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_together_comes_apart_again() {
        let bytes = Message::new(16, REQUEST, 7, 9)
            .raw(&[2, 24, 0, 0])
            .text(3, "eth0")
            .ipv4(1, Some(Ipv4Addr::LOCALHOST))
            .number(4, 1500)
            .finish();
        let two = [bytes.clone(), bytes].concat();
        let (first, rest) = Request::split(&two).unwrap();
        assert_eq!((first.kind, first.flags, first.seq, first.family()), (16, REQUEST, 7, 2));
        let (fixed, attributes) = first.parts(4).unwrap();
        assert_eq!(fixed.u8(1), 24);
        assert_eq!(attributes.text(3), Ok(Some("eth0")));
        assert_eq!(attributes.ipv4(1), Ok(Some(Ipv4Addr::LOCALHOST)));
        assert_eq!((attributes.u32(4), attributes.u32(5)), (Ok(Some(1500)), Ok(None)));
        assert!(Request::split(rest).unwrap().1.is_empty());
        assert!(first.parts(100).is_err());
    }

    #[test]
    fn broken_lengths_end_the_walk() {
        assert!(Request::split(&[0; 15]).is_none());
        assert!(Request::split(&[0; 16]).is_none());
        let mut long = [0; 16];
        long[0] = 17;
        assert!(Request::split(&long).is_none());
        for attributes in [&[3, 0, 1, 0][..], &[9, 0, 1, 0, 5], &[0, 0, 0, 0]] {
            assert_eq!(Attributes(attributes).iter().count(), 0);
        }
        assert!(Attributes(&[5, 0, 1, 0, 5]).u32(1).is_err());
    }
}
