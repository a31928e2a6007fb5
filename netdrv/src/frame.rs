//! What travels beside a frame: addresses, sizes, and the offload state of `struct virtio_net_hdr`
//! (virtio 1.2, section 5.1.6).

use core::fmt;
use core::num::NonZeroU16;
use core::str::FromStr;

/// A 48-bit IEEE 802 address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: MacAddr = MacAddr([0xff; 6]);

    /// Whether the group bit (multicast or broadcast) is set.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether all octets are 0, which no station may have.
    pub const fn is_zero(self) -> bool {
        matches!(self.0, [0, 0, 0, 0, 0, 0])
    }

    /// A locally administered station address from six random octets (IEEE 802, 8.4: U/L bit set, group bit clear).
    pub const fn local_from_random(random: [u8; 6]) -> MacAddr {
        let [first, b, c, d, e, g] = random;
        MacAddr([first & 0xfc | 0x02, b, c, d, e, g])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A string that is not six hexadecimal octets separated by colons.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseMacError;

impl fmt::Display for ParseMacError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a MAC address is six hexadecimal octets separated by colons, such as 0e:fd:00:00:00:01")
    }
}

impl core::error::Error for ParseMacError {}

impl FromStr for MacAddr {
    type Err = ParseMacError;

    /// Accepts one or two digits an octet (`0e:fd:0:0:0:1`), as User-Mode Linux does.
    fn from_str(s: &str) -> Result<Self, ParseMacError> {
        let mut octets = [0u8; 6];
        let mut parts = s.split(':');
        for octet in &mut octets {
            let part = parts.next().ok_or(ParseMacError)?;
            if part.is_empty() || part.len() > 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(ParseMacError);
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| ParseMacError)?;
        }
        match parts.next() {
            None => Ok(MacAddr(octets)),
            Some(_) => Err(ParseMacError),
        }
    }
}

/// Largest IP packet that a link carries in one frame, in bytes, without the ethernet header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mtu(pub u16);

/// How far the transport checksum of a frame has been dealt with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Checksum {
    /// Nothing is known: the receiver verifies it, the sender has filled it in.
    #[default]
    Unknown,
    /// Verified by the device or the host (`VIRTIO_NET_HDR_F_DATA_VALID`); never set on transmission.
    Valid,
    /// The field holds the pseudo-header sum only (`VIRTIO_NET_HDR_F_NEEDS_CSUM`): whoever puts the frame on a
    /// real wire sums from `start` to the end and stores at `start + offset`. Both count bytes; `start` counts from
    /// the first byte of the ethernet header. On reception, such a frame never left the machine: it counts as valid.
    Partial {
        /// Where summing starts: the first byte of the transport header.
        start: u16,
        /// Where the sum goes, from `start`.
        offset: u16,
    },
}

/// Which protocol a segment larger than the MTU is to be cut by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GsoKind {
    /// TCP over IPv4 (`VIRTIO_NET_HDR_GSO_TCPV4`).
    TcpV4,
    /// TCP over IPv6 (`VIRTIO_NET_HDR_GSO_TCPV6`).
    TcpV6,
    /// UDP datagrams of one flow (`VIRTIO_NET_HDR_GSO_UDP_L4`).
    UdpL4,
}

/// A frame that stands for several: generic segmentation (transmit) or receive offload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gso {
    /// The protocol to cut by.
    pub kind: GsoKind,
    /// Payload bytes of each resulting segment (the last may be shorter).
    pub size: NonZeroU16,
    /// Bytes of ethernet, IP and transport headers at the front of the frame.
    pub header_len: u16,
    /// TCP's CWR is set on the first segment only (`VIRTIO_NET_HDR_GSO_ECN`).
    pub ecn: bool,
}

/// The offload state of one frame; all-default for a plain frame with finished checksums.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FrameMeta {
    /// State of the transport checksum.
    pub checksum: Checksum,
    /// Set where the frame is to be cut, or was put together.
    pub gso: Option<Gso>,
}
