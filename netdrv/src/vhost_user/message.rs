//! The vhost-user protocol's messages (QEMU's docs/interop/vhost-user.rst), as far as an ethernet front-end needs them:
//! a header of three 32-bit words, then a payload of at most [`MAX_PAYLOAD`] bytes. All fields are in host byte order, as
//! both ends are on one host.

use alloc::vec::Vec;

/// Bytes of the header: request, flags, size.
pub(crate) const HEADER_LEN: usize = 12;
/// Longest payload that either side may send us: more is an attack, or another protocol.
pub(crate) const MAX_PAYLOAD: usize = 1024;

const VERSION: u32 = 1;
const VERSION_MASK: u32 = 3;
const FLAG_REPLY: u32 = 1 << 2;
const FLAG_NEED_REPLY: u32 = 1 << 3;

/// What a front-end asks (`enum VhostUserRequest`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Request {
    GetFeatures = 1,
    SetFeatures = 2,
    SetOwner = 3,
    SetMemTable = 5,
    SetVringNum = 8,
    SetVringAddr = 9,
    SetVringBase = 10,
    SetVringKick = 12,
    SetVringCall = 13,
    GetProtocolFeatures = 15,
    SetProtocolFeatures = 16,
    GetQueueNum = 17,
    SetVringEnable = 18,
    NetSetMtu = 20,
    GetConfig = 24,
    SetStatus = 39,
}

bitflags::bitflags! {
    /// Protocol features (`VHOST_USER_PROTOCOL_F_*`).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub(crate) struct ProtocolFeatures: u64 {
        /// Several queue pairs.
        const MQ = 1 << 0;
        /// Messages without an answer of their own are acknowledged.
        const REPLY_ACK = 1 << 3;
        /// The front-end tells its MTU.
        const NET_MTU = 1 << 4;
        /// The back-end has the device's configuration space.
        const CONFIG = 1 << 9;
        /// The device status is passed on.
        const STATUS = 1 << 16;
    }

    /// Virtio and virtio-net feature bits (virtio 1.2, sections 5.1.3 and 6), and vhost-user's own bit 30.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub(crate) struct Features: u64 {
        /// The device finishes partial checksums.
        const CSUM = 1 << 0;
        /// The driver takes partial checksums.
        const GUEST_CSUM = 1 << 1;
        /// The device reports an MTU.
        const MTU = 1 << 3;
        /// The device has an address.
        const MAC = 1 << 5;
        /// The driver takes TCP/IPv4 segments.
        const GUEST_TSO4 = 1 << 7;
        /// The driver takes TCP/IPv6 segments.
        const GUEST_TSO6 = 1 << 8;
        /// The driver takes TCP segments with CWR on the first of them only.
        const GUEST_ECN = 1 << 9;
        /// The device takes TCP/IPv4 segments.
        const HOST_TSO4 = 1 << 11;
        /// The device takes TCP/IPv6 segments.
        const HOST_TSO6 = 1 << 12;
        /// The device takes TCP segments with CWR on the first of them only.
        const HOST_ECN = 1 << 13;
        /// A frame may take several receive buffers.
        const MRG_RXBUF = 1 << 15;
        /// The link's status is in the configuration space.
        const STATUS = 1 << 16;
        /// There is a control queue.
        const CTRL_VQ = 1 << 17;
        /// There are several queue pairs.
        const MQ = 1 << 22;
        /// Chains may lie in tables of their own.
        const INDIRECT_DESC = 1 << 28;
        /// Notifications are asked for by index.
        const EVENT_IDX = 1 << 29;
        /// The back-end has protocol features.
        const PROTOCOL_FEATURES = 1 << 30;
        /// Not a legacy device.
        const VERSION_1 = 1 << 32;
        /// The driver takes UDP/IPv4 segments.
        const GUEST_USO4 = 1 << 54;
        /// The driver takes UDP/IPv6 segments.
        const GUEST_USO6 = 1 << 55;
        /// The device takes UDP segments.
        const HOST_USO = 1 << 56;
    }
}

/// Which of the front-end's descriptors goes with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FdRole {
    /// The shared region.
    Memory,
    /// The eventfd by which the driver notifies the device of a ring's buffers.
    Kick(u8),
    /// The eventfd by which the device notifies the driver.
    Call,
}

/// A message on its way out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Outgoing {
    pub(crate) request: Request,
    /// Header and payload.
    pub(crate) bytes: Vec<u8>,
    pub(crate) fd: Option<FdRole>,
}

impl Outgoing {
    pub(crate) fn new(request: Request, need_reply: bool, payload: &[u8], fd: Option<FdRole>) -> Outgoing {
        let flags = VERSION | if need_reply { FLAG_NEED_REPLY } else { 0 };
        let mut bytes = Vec::with_capacity(HEADER_LEN + payload.len());
        for word in [request as u32, flags, payload.len() as u32] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.extend_from_slice(payload);
        Outgoing { request, bytes, fd }
    }
}

/// What is wrong with bytes that a back-end has sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum BadMessage {
    /// Not this protocol.
    #[error("the peer does not speak vhost-user version 1")]
    Version,
    /// A back-end only answers.
    #[error("the peer sent a message that is not an answer")]
    NotAReply,
    /// Longer than any answer.
    #[error("the peer sent a message of {0} bytes")]
    TooLong(u32),
}

/// An answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) request: u32,
    pub(crate) payload: &'a [u8],
}

/// The three words in front of every message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    request: u32,
    flags: u32,
    /// Bytes of the payload.
    pub(crate) size: u32,
}

impl Header {
    pub(crate) fn parse(bytes: &[u8; HEADER_LEN]) -> Header {
        let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Header { request: word(0), flags: word(4), size: word(8) }
    }

    /// Whether a front-end asks this.
    #[cfg(feature = "backend")]
    pub(crate) fn is_request(&self, request: Request) -> bool {
        self.request == request as u32 && self.flags & !FLAG_NEED_REPLY == VERSION
    }

    /// Whether it wants to hear how that went.
    #[cfg(feature = "backend")]
    pub(crate) fn needs_reply(&self) -> bool {
        self.flags & FLAG_NEED_REPLY != 0
    }

    /// The answer to a request that has none of its own: 0, or 1 for a failure.
    #[cfg(feature = "backend")]
    pub(crate) fn acknowledgement(request: Request, succeeded: bool) -> [u8; HEADER_LEN + 8] {
        let mut bytes = [0; HEADER_LEN + 8];
        for (at, word) in [request as u32, VERSION | FLAG_REPLY, 8, u32::from(!succeeded)].into_iter().enumerate() {
            bytes[4 * at..4 * at + 4].copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }
}

/// Splits the first answer off `bytes`; `Ok(None)` while it is not complete. The second part is its length in bytes.
pub(crate) fn parse_reply(bytes: &[u8]) -> Result<Option<(Reply<'_>, usize)>, BadMessage> {
    let Some(header) = bytes.first_chunk::<HEADER_LEN>() else { return Ok(None) };
    let Header { request, flags, size } = Header::parse(header);
    if flags & VERSION_MASK != VERSION {
        return Err(BadMessage::Version);
    }
    if flags & FLAG_REPLY == 0 {
        return Err(BadMessage::NotAReply);
    }
    if size as usize > MAX_PAYLOAD {
        return Err(BadMessage::TooLong(size));
    }
    let end = HEADER_LEN + size as usize;
    Ok(bytes.get(HEADER_LEN..end).map(|payload| (Reply { request, payload }, end)))
}

impl Reply<'_> {
    /// The payload as one 64-bit number.
    pub(crate) fn number(&self) -> Option<u64> {
        Some(u64::from_ne_bytes(self.payload.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(request: u32, flags: u32, size: u32, payload: &[u8]) -> Vec<u8> {
        [&request.to_ne_bytes()[..], &flags.to_ne_bytes(), &size.to_ne_bytes(), payload].concat()
    }

    #[test]
    fn answers_come_in_pieces_and_one_behind_the_other() {
        let first = reply(1, 5, 8, &7u64.to_ne_bytes());
        for len in 0..first.len() {
            assert_eq!(parse_reply(&first[..len]), Ok(None), "{len}");
        }
        let both = [&first[..], &reply(15, 5, 0, &[])].concat();
        let (message, len) = parse_reply(&both).unwrap().unwrap();
        assert_eq!((message.request, message.number(), len), (1, Some(7), 20));
        let (message, len) = parse_reply(&both[len..]).unwrap().unwrap();
        assert_eq!((message.request, message.number(), len), (15, None, 12));
    }

    #[test]
    fn what_no_back_end_says_is_told_apart() {
        assert_eq!(parse_reply(&reply(1, 4, 0, &[])), Err(BadMessage::Version));
        assert_eq!(parse_reply(&reply(1, 1, 0, &[])), Err(BadMessage::NotAReply));
        assert_eq!(parse_reply(&reply(1, 5, 1025, &[])), Err(BadMessage::TooLong(1025)));
        assert_eq!(parse_reply(b"GET / HTTP/1.1\r\n"), Err(BadMessage::Version));
    }
}
