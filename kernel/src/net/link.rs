//! Ethernet frames (RFC 894) and ARP packets (RFC 826).

use core::net::Ipv4Addr;
use netdrv::MacAddr;

/// Bytes of an ethernet header.
pub const ETHERNET_HEADER: usize = 14;
/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// Bytes of an ARP packet for IPv4 over ethernet.
pub const ARP_LEN: usize = 28;

/// An ethernet header.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct EthernetHeader {
    /// To whom.
    pub dst: MacAddr,
    /// From whom.
    pub src: MacAddr,
    /// What follows.
    pub ethertype: u16,
}

impl EthernetHeader {
    /// Reads the header at the front of `frame`; `None` when the frame is shorter than that.
    pub fn parse(frame: &[u8]) -> Option<EthernetHeader> {
        let h = frame.first_chunk::<ETHERNET_HEADER>()?;
        Some(EthernetHeader {
            dst: MacAddr([h[0], h[1], h[2], h[3], h[4], h[5]]),
            src: MacAddr([h[6], h[7], h[8], h[9], h[10], h[11]]),
            ethertype: u16::from_be_bytes([h[12], h[13]]),
        })
    }

    /// The header's bytes.
    pub fn to_bytes(self) -> [u8; ETHERNET_HEADER] {
        let mut h = [0; ETHERNET_HEADER];
        h[0..6].copy_from_slice(&self.dst.0);
        h[6..12].copy_from_slice(&self.src.0);
        h[12..14].copy_from_slice(&self.ethertype.to_be_bytes());
        h
    }
}

/// Whether an ARP packet asks or answers.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum ArpOperation {
    /// Who has the target address?
    Request,
    /// The sender has it.
    Reply,
}

/// An ARP packet for IPv4 over ethernet.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct ArpPacket {
    /// Question or answer.
    pub operation: ArpOperation,
    /// The sender's hardware address.
    pub sender_mac: MacAddr,
    /// The sender's IPv4 address.
    pub sender: Ipv4Addr,
    /// The target's hardware address; zero in a request.
    pub target_mac: MacAddr,
    /// The target's IPv4 address.
    pub target: Ipv4Addr,
}

impl ArpPacket {
    /// Reads an ARP packet; `None` for anything but IPv4 over ethernet.
    pub fn parse(bytes: &[u8]) -> Option<ArpPacket> {
        let p = bytes.first_chunk::<ARP_LEN>()?;
        if p[0..6] != [0, 1, 8, 0, 6, 4] {
            return None;
        }
        let operation = match u16::from_be_bytes([p[6], p[7]]) {
            1 => ArpOperation::Request,
            2 => ArpOperation::Reply,
            _ => return None,
        };
        Some(ArpPacket {
            operation,
            sender_mac: MacAddr([p[8], p[9], p[10], p[11], p[12], p[13]]),
            sender: Ipv4Addr::new(p[14], p[15], p[16], p[17]),
            target_mac: MacAddr([p[18], p[19], p[20], p[21], p[22], p[23]]),
            target: Ipv4Addr::new(p[24], p[25], p[26], p[27]),
        })
    }

    /// The packet's bytes.
    pub fn to_bytes(self) -> [u8; ARP_LEN] {
        let mut p = [0; ARP_LEN];
        p[0..6].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
        p[7] = match self.operation {
            ArpOperation::Request => 1,
            ArpOperation::Reply => 2,
        };
        p[8..14].copy_from_slice(&self.sender_mac.0);
        p[14..18].copy_from_slice(&self.sender.octets());
        p[18..24].copy_from_slice(&self.target_mac.0);
        p[24..28].copy_from_slice(&self.target.octets());
        p
    }
}

/// The group address that IPv4 multicast uses (RFC 1112, section 6.4).
pub fn multicast_mac(group: Ipv4Addr) -> MacAddr {
    let [_, b, c, d] = group.octets();
    MacAddr([0x01, 0x00, 0x5e, b & 0x7f, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arp_packets_read_back_and_others_are_refused() {
        let packet = ArpPacket {
            operation: ArpOperation::Reply,
            sender_mac: MacAddr([2, 0, 0, 0, 0, 1]),
            sender: [10, 0, 0, 1].into(),
            target_mac: MacAddr([2, 0, 0, 0, 0, 2]),
            target: [10, 0, 0, 2].into(),
        };
        let bytes = packet.to_bytes();
        assert_eq!(ArpPacket::parse(&bytes), Some(packet));
        assert_eq!(ArpPacket::parse(&bytes[..27]), None);
        let mut wrong = bytes;
        wrong[4] = 8;
        assert_eq!(ArpPacket::parse(&wrong), None);
    }

    #[test]
    fn multicast_groups_map_to_their_low_23_bits() {
        assert_eq!(multicast_mac([224, 128, 1, 2].into()), MacAddr([1, 0, 0x5e, 0, 1, 2]));
    }
}
