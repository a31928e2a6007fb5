//! The data path of a host interface.

use super::open_error::{OpenError, OpenFailure};
use super::options::RawOptions;
use crate::device::{DeviceError, DeviceStats, EthernetDevice, FrameSink, Offloads, TxFrame};
use crate::frame::{FrameMeta, GsoKind, MacAddr, Mtu};
use crate::segment::{self, Capabilities};
use crate::sys::IfName;
use crate::sys::netif::NetIf;
use crate::sys::packet::PacketSocket;
use crate::vnet_header::{self, ETHERNET_HEADER_LEN, VNET_HEADER_LEN};
use alloc::vec;
use alloc::vec::Vec;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::{Errno, IoSlice};

/// Bytes of one read, as on a TAP.
const RX_BUFFER_LEN: usize = 65_536 + 128;
/// Alignment of the buffer, of which the IP header keeps 8 bytes.
const RX_BUFFER_ALIGN: usize = 64;
/// Bytes of an 802.1Q tag, which a frame may carry on top of the MTU.
const VLAN_TAG_LEN: usize = 4;

/// An interface of the host's.
#[derive(Debug)]
pub struct RawDevice {
    socket: PacketSocket,
    ifname: IfName,
    mac: MacAddr,
    mtu: Mtu,
    accept: Offloads,
    /// What is read, and where in it frames start being aligned.
    rx: Vec<u8>,
    rx_start: usize,
    /// A frame that was taken apart, or is to be.
    scratch: Vec<u8>,
    stats: DeviceStats,
}

/// Opens the interface that the options describe.
///
/// `random` becomes the guest's address where none is named. `accept` is what the caller's stack can take and wants to
/// use. The network namespace is the calling thread's.
///
/// # Errors
/// See [`OpenFailure`].
pub fn open(interface: &str, options: &RawOptions, random: [u8; 6], accept: Offloads) -> Result<RawDevice, OpenError> {
    let fail = |failure| OpenError { interface: interface.into(), host_interface: options.ifname.clone(), failure };
    let host = |op| move |errno| fail(OpenFailure::Host { op, errno });
    let ifname = IfName::new(&options.ifname).ok_or_else(|| fail(OpenFailure::NoSuchInterface))?;
    let netif = NetIf::new(ifname).map_err(host("opening a socket for interface requests"))?;
    let index = netif.index().map_err(|_| fail(OpenFailure::NoSuchInterface))?;
    if !netif.is_ethernet().map_err(host("reading the kind of the interface"))? {
        return Err(fail(OpenFailure::NotEthernet));
    }
    let mtu = netif.mtu().map_err(host("reading the MTU"))?;
    let socket = PacketSocket::open(index).map_err(|errno| match errno {
        Errno::PERM | Errno::ACCESS => fail(OpenFailure::Permission),
        Errno::NODEV | Errno::NXIO => fail(OpenFailure::NoSuchInterface),
        errno => fail(OpenFailure::Host { op: "opening a packet socket", errno }),
    })?;
    let rx = vec![0; RX_BUFFER_LEN + RX_BUFFER_ALIGN];
    let rx_start = rx.as_ptr().align_offset(RX_BUFFER_ALIGN).min(RX_BUFFER_ALIGN);
    Ok(RawDevice {
        socket,
        ifname,
        mac: options.mac.unwrap_or_else(|| MacAddr::local_from_random(random)),
        mtu: Mtu(u16::try_from(mtu.max(0)).unwrap_or(u16::MAX)),
        accept,
        rx,
        rx_start,
        scratch: Vec::new(),
        stats: DeviceStats::default(),
    })
}

/// Why one frame was not sent.
enum TxRefusal {
    /// It stays with the caller, to be offered again.
    QueueFull,
    /// It is lost; the next one may do better.
    NoMemory,
    /// It can never be sent.
    BadFrame,
    /// Nothing can be sent.
    Device(DeviceError),
}

impl RawDevice {
    /// The host's interface.
    pub fn ifname(&self) -> &str {
        self.ifname.as_str()
    }

    fn write_frame(&self, meta: &FrameMeta, parts: &[&[u8]]) -> Result<(), TxRefusal> {
        let len: usize = parts.iter().map(|p| p.len()).sum();
        let longest = usize::from(self.mtu.0) + ETHERNET_HEADER_LEN + VLAN_TAG_LEN;
        if parts.len() > TxFrame::MAX_PARTS || (meta.gso.is_none() && len > longest) {
            return Err(TxRefusal::BadFrame);
        }
        let header = vnet_header::encode(meta, len).map_err(|_| TxRefusal::BadFrame)?;
        let mut slices = [IoSlice::new(&header); TxFrame::MAX_PARTS + 1];
        for (slice, part) in slices[1..].iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
        }
        self.socket.write(&slices[..=parts.len()]).map(drop).map_err(|errno| match errno {
            Errno::AGAIN => TxRefusal::QueueFull,
            Errno::NOMEM | Errno::NOBUFS => TxRefusal::NoMemory,
            Errno::INVAL | Errno::MSGSIZE | Errno::OPNOTSUPP => TxRefusal::BadFrame,
            errno if is_link_down(errno) => TxRefusal::Device(DeviceError::LinkDown),
            errno => TxRefusal::Device(DeviceError::Host { op: "sending on the interface", errno }),
        })
    }

    /// Sends a frame whose kind this host may not know: UDP segments came with Linux 6.2, and nothing tells beforehand.
    fn write_split(&mut self, frame: &TxFrame<'_>) -> Result<(), TxRefusal> {
        let mut whole = core::mem::take(&mut self.scratch);
        whole.clear();
        frame.parts.iter().for_each(|part| whole.extend_from_slice(part));
        let mut result = Ok(());
        let cut = segment::split(&frame.meta, &whole, Capabilities::CSUM, |meta, parts| {
            if result.is_ok() {
                result = self.write_frame(&meta, &parts);
            }
        });
        self.scratch = whole;
        match (cut, result) {
            (Err(_), _) => Err(TxRefusal::BadFrame),
            // Part of it may be out: it cannot be offered again.
            (_, Err(TxRefusal::QueueFull)) => Err(TxRefusal::NoMemory),
            (_, result) => result,
        }
    }

    /// What the caller takes of a frame that the host has put together.
    fn capabilities(&self) -> Capabilities {
        let pairs = [
            (Offloads::RX_CSUM, Capabilities::CSUM),
            (Offloads::RX_TSO4, Capabilities::TSO4 | Capabilities::ECN),
            (Offloads::RX_TSO6, Capabilities::TSO6 | Capabilities::ECN),
            (Offloads::RX_USO, Capabilities::USO),
        ];
        pairs.into_iter().filter(|(ours, _)| self.accept.contains(*ours)).map(|(_, theirs)| theirs).collect()
    }
}

impl EthernetDevice for RawDevice {
    fn mac(&self) -> MacAddr {
        self.mac
    }

    fn set_mac(&mut self, mac: MacAddr) {
        self.mac = mac;
    }

    fn mtu(&self) -> Mtu {
        self.mtu
    }

    fn offloads(&self) -> Offloads {
        self.accept
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FrameSink) -> Result<usize, DeviceError> {
        let takes = self.capabilities();
        let mut taken = 0;
        while taken < budget {
            let buffer = &mut self.rx[self.rx_start..][..RX_BUFFER_LEN];
            let len = match self.socket.read(buffer) {
                Ok(len) => len,
                Err(Errno::AGAIN) => break,
                // The host could not express this frame as a header, and has dropped it.
                Err(Errno::INVAL) => {
                    self.stats.rx_errors += 1;
                    continue;
                }
                Err(_) if taken > 0 => break,
                Err(errno) if is_link_down(errno) => return Err(DeviceError::LinkDown),
                Err(errno) => return Err(DeviceError::Host { op: "reading from the interface", errno }),
            };
            // A frame that fills the buffer was cut by the host.
            let split = buffer[..len].split_first_chunk_mut::<VNET_HEADER_LEN>().filter(|_| len < RX_BUFFER_LEN);
            let Some((Ok(meta), frame)) = split.map(|(header, frame)| (vnet_header::decode(header, frame), frame))
            else {
                self.stats.rx_errors += 1;
                continue;
            };
            self.stats.rx_packets += 1;
            self.stats.rx_bytes += frame.len() as u64;
            taken += 1;
            if takes.take(&meta) {
                sink.frame(meta, frame);
                continue;
            }
            let scratch = &mut self.scratch;
            let cut = segment::split(&meta, frame, takes, |meta, parts| {
                scratch.clear();
                parts.iter().for_each(|part| scratch.extend_from_slice(part));
                sink.frame(meta, scratch);
            });
            if cut.is_err() {
                self.stats.rx_errors += 1;
            }
        }
        Ok(taken)
    }

    fn transmit(&mut self, frames: &[TxFrame<'_>]) -> Result<usize, DeviceError> {
        for (taken, frame) in frames.iter().enumerate() {
            let is_udp = frame.meta.gso.is_some_and(|gso| gso.kind == GsoKind::UdpL4);
            let sent = if is_udp { self.write_split(frame) } else { self.write_frame(&frame.meta, frame.parts) };
            match sent {
                Ok(()) => {
                    self.stats.tx_packets += 1;
                    self.stats.tx_bytes += frame.len() as u64;
                }
                Err(TxRefusal::NoMemory) => self.stats.tx_dropped += 1,
                Err(TxRefusal::BadFrame) => self.stats.tx_errors += 1,
                Err(TxRefusal::QueueFull) => return Ok(taken),
                // What went out before is reported first; the next call finds the error again.
                Err(TxRefusal::Device(_)) if taken > 0 => return Ok(taken),
                Err(TxRefusal::Device(error)) => return Err(error),
            }
        }
        Ok(frames.len())
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn stats(&self) -> DeviceStats {
        self.stats
    }
}

/// The interface is down, or gone.
fn is_link_down(errno: Errno) -> bool {
    matches!(errno, Errno::NETDOWN | Errno::NODEV | Errno::NXIO)
}
