//! The data path of a host interface.

use super::open_error::{OpenError, OpenFailure};
use super::options::RawOptions;
use crate::device::{DeviceError, DeviceStats, EthernetDevice, FrameSink, Offloads, TxFrame};
use crate::frame::{FrameMeta, GsoKind, MacAddr, Mtu};
use crate::per_frame::{self, TxRefusal};
use crate::segment::{self, Capabilities};
use crate::sys::IfName;
use crate::sys::netif::NetIf;
use crate::sys::packet::PacketSocket;
use crate::vnet_header::{self, VNET_HEADER_LEN};
use alloc::vec;
use alloc::vec::Vec;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;

/// Bytes of one read, as on a TAP.
const RX_BUFFER_LEN: usize = 65_536 + 128;
/// Alignment of the buffer, of which the IP header keeps 8 bytes.
const RX_BUFFER_ALIGN: usize = 64;

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

impl RawDevice {
    /// The host's interface.
    pub fn ifname(&self) -> &str {
        self.ifname.as_str()
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
                Err(errno) => return Err(failed("reading from the interface", errno)),
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
        let (socket, scratch, mtu) = (&self.socket, &mut self.scratch, self.mtu);
        per_frame::transmit(
            frames,
            &mut self.stats,
            |errno| failed("sending on the interface", errno),
            |frame| {
                if frame.meta.gso.is_some_and(|gso| gso.kind == GsoKind::UdpL4) {
                    write_split(socket, mtu, frame, scratch)
                } else {
                    write_frame(socket, mtu, &frame.meta, frame.parts)
                }
            },
        )
    }

    fn poll_fds<'a>(&'a self, watch: &mut dyn FnMut(BorrowedFd<'a>)) {
        watch(self.socket.as_fd());
    }

    fn stats(&self) -> DeviceStats {
        self.stats
    }
}

fn write_frame(socket: &PacketSocket, mtu: Mtu, meta: &FrameMeta, parts: &[&[u8]]) -> Result<(), TxRefusal> {
    per_frame::write_frame(mtu, meta, parts, |slices| socket.write(slices))
}

/// Sends a frame whose kind this host may not know: UDP segments came with Linux 6.2, and nothing tells beforehand.
fn write_split(socket: &PacketSocket, mtu: Mtu, frame: &TxFrame<'_>, scratch: &mut Vec<u8>) -> Result<(), TxRefusal> {
    scratch.clear();
    frame.parts.iter().for_each(|part| scratch.extend_from_slice(part));
    let mut result = Ok(());
    let cut = segment::split(&frame.meta, scratch, Capabilities::CSUM, |meta, parts| {
        if result.is_ok() {
            result = write_frame(socket, mtu, &meta, &parts);
        }
    });
    match (cut, result) {
        (Err(_), _) => Err(TxRefusal::BadFrame),
        // Part of it may be out: it cannot be offered again.
        (_, Err(TxRefusal::QueueFull)) => Err(TxRefusal::NoMemory),
        (_, result) => result,
    }
}

/// ENETDOWN, ENODEV, ENXIO: the interface is down, or gone.
fn failed(op: &'static str, errno: Errno) -> DeviceError {
    match errno {
        Errno::NETDOWN | Errno::NODEV | Errno::NXIO => DeviceError::LinkDown,
        errno => DeviceError::Host { op, errno },
    }
}
