//! What datagram sockets speak, and who holds which port of it.

use super::port::{Binding, PortTable, Sharing};

/// What a datagram socket speaks.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum DatagramProtocol {
    Udp,
    UdpLite,
    Ping,
    Raw(u8),
}

impl DatagramProtocol {
    /// Whether it has UDP's ports and header.
    pub(super) fn is_udp(self) -> bool {
        matches!(self, DatagramProtocol::Udp | DatagramProtocol::UdpLite)
    }
}

/// The ports of each protocol, and the identifiers of ping sockets.
pub(super) struct DatagramPorts {
    udp: PortTable,
    lite: PortTable,
    ping: PortTable,
}

impl DatagramPorts {
    pub(super) fn new() -> DatagramPorts {
        let table = || PortTable::new(Sharing::Udp);
        let mut ping = table();
        ping.ephemeral = (1, u16::MAX);
        DatagramPorts { udp: table(), lite: table(), ping }
    }

    /// Who has claimed `port` of a protocol.
    pub(super) fn bindings(&self, protocol: DatagramProtocol, port: u16) -> &[Binding] {
        match protocol {
            DatagramProtocol::Udp => self.udp.bindings(port),
            DatagramProtocol::UdpLite => self.lite.bindings(port),
            DatagramProtocol::Ping => self.ping.bindings(port),
            DatagramProtocol::Raw(_) => &[],
        }
    }

    /// The table of a protocol; raw sockets have none.
    pub(super) fn of_mut(&mut self, protocol: DatagramProtocol) -> Option<&mut PortTable> {
        match protocol {
            DatagramProtocol::Udp => Some(&mut self.udp),
            DatagramProtocol::UdpLite => Some(&mut self.lite),
            DatagramProtocol::Ping => Some(&mut self.ping),
            DatagramProtocol::Raw(_) => None,
        }
    }

    /// Sets first and last ephemeral port.
    pub(super) fn set_ephemeral(&mut self, first: u16, last: u16) {
        for table in [&mut self.udp, &mut self.lite] {
            table.ephemeral = (first, last);
        }
    }
}
