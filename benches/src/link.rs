//! Two network stacks joined in memory: no device, no clock, no system call, so that what is measured is the stack.
//!
//! Each frame is copied once, as a driver would copy it; buffers are used again. Time stands still during an exchange and
//! goes to the next deadline when nothing else is left to do.

use kernel::net::{
    Family, FrameOut, IfIndex, LinkInfo, LinkKind, NetConfig, NetError, NetStack, Readiness, SocketId, SocketKind,
};
use kernel::time::Instant;
use netdrv::{FrameMeta, MacAddr, Offloads, TxFrame};
use std::net::{Ipv4Addr, SocketAddr};

/// The end that connects and sends.
pub const CLIENT: usize = 0;
/// The end that listens and receives.
pub const SERVER: usize = 1;

const ETH: IfIndex = IfIndex(2);
const PORT: u16 = 5201;
/// Nanoseconds that pass with each exchange: a short link's delay.
const DELAY: u64 = 20_000;

/// Frames under way in one direction.
#[derive(Default)]
struct Wire {
    frames: Vec<(FrameMeta, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
}

impl FrameOut for Wire {
    fn transmit(&mut self, _: IfIndex, frame: TxFrame<'_>) -> bool {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        frame.parts.iter().for_each(|part| bytes.extend_from_slice(part));
        self.frames.push((frame.meta, bytes));
        true
    }
}

/// Two stacks and the link between them.
pub struct Link {
    stacks: [NetStack; 2],
    wires: [Wire; 2],
    now: Instant,
}

fn address(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 1 + host as u8)
}

fn stack(host: usize) -> NetStack {
    let offloads = Offloads::TX_CSUM | Offloads::TX_TSO4 | Offloads::RX_CSUM | Offloads::RX_TSO4;
    let mac = MacAddr([2, 0, 0, 0, 0, 1 + host as u8]);
    let mut stack = NetStack::new(NetConfig { seed: [1 + host as u8; 16] });
    let link = LinkInfo { kind: LinkKind::Ethernet, mac, mtu: 1500, offloads };
    let eth = stack.add_interface("eth0", &link).expect("the name is free");
    assert_eq!(eth, ETH);
    stack.add_address(ETH, address(host), 24, None, None).expect("the address is a host's");
    stack.set_interface_up(ETH, true).expect("the interface exists");
    stack
}

impl Default for Link {
    fn default() -> Self {
        Link { stacks: [stack(CLIENT), stack(SERVER)], wires: Default::default(), now: Instant(1_000_000_000) }
    }
}

impl Link {
    /// Polls both stacks and carries what they send across, until neither sends anything; returns how many frames went.
    pub fn exchange(&mut self) -> usize {
        let mut carried = 0;
        loop {
            self.now = Instant(self.now.0 + DELAY);
            let before = carried;
            for from in [CLIENT, SERVER] {
                carried += self.carry(from);
            }
            if carried == before {
                return carried;
            }
        }
    }

    /// Polls a stack and carries what it sends across; returns how many frames went.
    fn carry(&mut self, from: usize) -> usize {
        self.stacks[from].poll(self.now, &mut self.wires[from]);
        let mut frames = std::mem::take(&mut self.wires[from].frames);
        let count = frames.len();
        for (meta, mut bytes) in frames.drain(..) {
            self.stacks[1 - from].handle_frame(ETH, meta, &mut bytes, self.now);
            self.wires[from].spare.push(bytes);
        }
        self.wires[from].frames = frames;
        count
    }

    /// Goes to the next deadline of either stack.
    fn wait(&mut self) {
        let deadlines = self.stacks.iter().filter_map(|s| s.next_deadline(self.now));
        self.now = deadlines.min().expect("something must be due").max(self.now);
    }

    /// `count` established connections from client to server, each with buffers of `buffer` bytes.
    pub fn connections(&mut self, count: usize, buffer: usize) -> Vec<(SocketId, SocketId)> {
        let listener = self.stacks[SERVER].socket(SocketKind::Tcp, Family::Inet);
        self.set_buffers(SERVER, listener, buffer);
        let at = SocketAddr::new(address(SERVER).into(), PORT);
        self.stacks[SERVER].bind(listener, at).expect("the port is free");
        self.stacks[SERVER].listen(listener, 16).expect("a bound socket can listen");
        (0..count).map(|_| self.connection(listener, at, buffer)).collect()
    }

    fn set_buffers(&mut self, host: usize, id: SocketId, bytes: usize) {
        let set = self.stacks[host].set_options(id, |o| {
            o.send_buffer = Some(bytes);
            o.receive_buffer = Some(bytes);
        });
        set.expect("the socket exists");
    }

    fn connection(&mut self, listener: SocketId, at: SocketAddr, buffer: usize) -> (SocketId, SocketId) {
        let client = self.stacks[CLIENT].socket(SocketKind::Tcp, Family::Inet);
        self.set_buffers(CLIENT, client, buffer);
        let begun = self.stacks[CLIENT].connect(client, Some(at), self.now);
        assert_eq!(begun, Err(NetError::InProgress));
        loop {
            self.exchange();
            let connected = self.stacks[CLIENT].readiness(client).contains(Readiness::OUT);
            match self.stacks[SERVER].accept(listener) {
                Ok((server, _)) if connected => return (client, server),
                _ => self.wait(),
            }
        }
    }

    /// Puts `data` into a client's send buffer, as far as there is room; returns how much.
    pub fn send(&mut self, client: SocketId, data: &[u8]) -> usize {
        self.send_from(CLIENT, client, data)
    }

    fn send_from(&mut self, host: usize, id: SocketId, data: &[u8]) -> usize {
        let sent = self.stacks[host].send(id, false, self.now, &mut |room| {
            let n = room.len().min(data.len());
            room[..n].copy_from_slice(&data[..n]);
            n
        });
        match sent {
            Ok(n) => n,
            Err(NetError::WouldBlock) => 0,
            Err(e) => panic!("send: {e:?}"),
        }
    }

    /// Takes what has arrived at a server, up to `into`'s length; returns how much.
    pub fn receive(&mut self, server: SocketId, into: &mut [u8]) -> usize {
        self.receive_at(SERVER, server, into)
    }

    fn receive_at(&mut self, host: usize, id: SocketId, into: &mut [u8]) -> usize {
        let got = self.stacks[host].recv(id, false, &mut |bytes| {
            let n = bytes.len().min(into.len());
            into[..n].copy_from_slice(&bytes[..n]);
            n
        });
        match got {
            Ok(n) => n,
            Err(NetError::WouldBlock) => 0,
            Err(e) => panic!("recv: {e:?}"),
        }
    }

    /// One byte to the server, which reads it and sends one back, as netperf's TCP_RR does.
    pub fn request_and_response(&mut self, (client, server): (SocketId, SocketId)) {
        for (from, id, to, peer) in [(CLIENT, client, SERVER, server), (SERVER, server, CLIENT, client)] {
            assert_eq!(self.send_from(from, id, &[1]), 1);
            self.now = Instant(self.now.0 + DELAY);
            self.carry(from);
            // What a received frame makes due is done before its reader runs.
            if self.stacks[to].has_work(self.now) {
                self.stacks[to].poll(self.now, &mut self.wires[to]);
            }
            assert_eq!(self.receive_at(to, peer, &mut [0]), 1);
        }
    }

    /// Moves all of `data` over one connection.
    pub fn transfer(&mut self, (client, server): (SocketId, SocketId), data: &[u8], into: &mut [u8]) {
        let (mut sent, mut got) = (0, 0);
        while got < data.len() {
            if sent < data.len() {
                sent += self.send(client, &data[sent..]);
            }
            let carried = self.exchange();
            let n = self.receive(server, into);
            got += n;
            if carried == 0 && n == 0 {
                self.wait();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_arrives() {
        let mut link = Link::default();
        let connections = link.connections(3, 1 << 18);
        let data: Vec<u8> = (0..1 << 16).map(|i: u32| (i.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
        let mut into = vec![0; data.len()];
        for &(client, server) in &connections {
            assert_eq!(link.send(client, &data[..1000]), 1000);
            link.exchange();
            assert_eq!(link.receive(server, &mut into), 1000);
            assert_eq!(into[..1000], data[..1000]);
        }
        // One connection for many segments: sequence numbers and windows move on.
        for _ in 0..64 {
            link.transfer(connections[1], &data, &mut into);
        }
    }
}
