//! The data path of a tap.

use super::TapOptions;
use super::host_setup::{HostLink, set_up};
use super::open_error::{OpenError, OpenFailure};
use crate::device::{DeviceError, DeviceStats, EthernetDevice, FrameSink, Offloads, TxFrame};
use crate::frame::{FrameMeta, GsoKind, MacAddr, Mtu};
use crate::per_frame;
use crate::sys::IfName;
use crate::sys::tun::TunQueue;
use crate::vnet_header::{self, VNET_HEADER_LEN};
use alloc::vec;
use alloc::vec::Vec;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;

/// Bytes of one read: an IPv6 packet of the largest payload (65,535 + 40), the ethernet header, a VLAN tag and the
/// `virtio_net_hdr`, rounded up.
const RX_BUFFER_LEN: usize = 65_536 + 128;
/// Alignment of the buffer, of which the IP header keeps 8 bytes (see the module's head).
const RX_BUFFER_ALIGN: usize = 64;

/// A tap of the host, attached to.
#[derive(Debug)]
pub struct TapDevice {
    queue: TunQueue,
    name: IfName,
    created: bool,
    mac: MacAddr,
    mtu: Mtu,
    depth: u16,
    offloads: Offloads,
    rx: RxBuffer,
    stats: DeviceStats,
}

/// Opens the tap that the options describe.
///
/// `random` becomes the guest's address where they name none. `accept` is what the caller's stack can take and wants to
/// use; the device grants a part of it ([`EthernetDevice::offloads`]). The network namespace is the calling thread's.
///
/// # Errors
/// See [`OpenFailure`]; nothing is left behind on the host.
pub fn open(interface: &str, options: &TapOptions, random: [u8; 6], accept: Offloads) -> Result<TapDevice, OpenError> {
    let fail = |failure| OpenError { interface: interface.into(), tap: options.ifname.clone(), failure };
    let HostLink { queue, name, created, host_mac, mtu, offloads } = set_up(options, accept).map_err(fail)?;
    let mac = options.mac.unwrap_or_else(|| MacAddr::local_from_random(random));
    if mac == host_mac {
        return Err(fail(OpenFailure::SameMac));
    }
    let (depth, rx, stats) = (options.depth, RxBuffer::new(), DeviceStats::default());
    Ok(TapDevice { queue, name, created, mac, mtu, depth, offloads, rx, stats })
}

impl TapDevice {
    /// The host's interface.
    pub fn ifname(&self) -> &str {
        self.name.as_str()
    }

    /// Whether the interface was made by us, and goes with this device.
    pub fn is_created(&self) -> bool {
        self.created
    }

    /// Frames that the caller should move in one call (`depth=`).
    pub fn depth(&self) -> u16 {
        self.depth
    }

    /// Whether frames of this kind were agreed on. A tap that was attached may have queued others for its last holder.
    fn takes(&self, meta: &FrameMeta) -> bool {
        self.offloads.contains(match meta.gso.map(|gso| gso.kind) {
            None => return true,
            Some(GsoKind::TcpV4) => Offloads::RX_TSO4,
            Some(GsoKind::TcpV6) => Offloads::RX_TSO6,
            Some(GsoKind::UdpL4) => Offloads::RX_USO,
        })
    }
}

impl EthernetDevice for TapDevice {
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
        self.offloads
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FrameSink) -> Result<usize, DeviceError> {
        let mut taken = 0;
        // A frame that is no good counts, too: however many of those come, the caller has its turn.
        while taken < budget {
            let len = match self.queue.read(self.rx.bytes_mut()) {
                Ok(len) => len,
                Err(Errno::AGAIN) => break,
                // The host could not express this frame as a header, and has dropped it.
                Err(Errno::INVAL) => {
                    self.stats.rx_errors += 1;
                    taken += 1;
                    continue;
                }
                Err(_) if taken > 0 => break,
                Err(errno) => return Err(failed("reading from the tap", errno)),
            };
            taken += 1;
            // A frame that fills the buffer was cut by the host.
            let cut = len >= RX_BUFFER_LEN;
            let split = self.rx.bytes_mut()[..len].split_first_chunk_mut::<VNET_HEADER_LEN>();
            let Some((header, frame)) = split.filter(|_| !cut) else {
                self.stats.rx_errors += 1;
                continue;
            };
            let Ok(meta) = vnet_header::decode(header, frame) else {
                self.stats.rx_errors += 1;
                continue;
            };
            let frame_len = frame.len();
            if !self.takes(&meta) {
                self.stats.rx_dropped += 1;
                continue;
            }
            self.stats.rx_packets += 1;
            self.stats.rx_bytes += frame_len as u64;
            sink.frame(meta, &mut self.rx.bytes_mut()[VNET_HEADER_LEN..len]);
        }
        Ok(taken)
    }

    fn transmit(&mut self, frames: &[TxFrame<'_>]) -> Result<usize, DeviceError> {
        let (queue, mtu) = (&self.queue, self.mtu);
        per_frame::transmit(
            frames,
            &mut self.stats,
            |errno| failed("writing to the tap", errno),
            |frame| per_frame::write_frame(mtu, &frame.meta, frame.parts, |slices| queue.write(slices)),
        )
    }

    fn poll_fds<'a>(&'a self, watch: &mut dyn FnMut(BorrowedFd<'a>)) {
        watch(self.queue.as_fd());
    }

    fn stats(&self) -> DeviceStats {
        self.stats
    }
}

/// EIO: the interface is not up; EBADFD, ENODEV, ENXIO, ENETDOWN: it was deleted.
fn failed(op: &'static str, errno: Errno) -> DeviceError {
    match errno {
        Errno::IO | Errno::BADFD | Errno::NODEV | Errno::NXIO | Errno::NETDOWN => DeviceError::LinkDown,
        errno => DeviceError::Host { op, errno },
    }
}

/// Where every frame is read to.
#[derive(Debug)]
struct RxBuffer {
    bytes: Vec<u8>,
    start: usize,
}

impl RxBuffer {
    fn new() -> RxBuffer {
        let bytes = vec![0; RX_BUFFER_LEN + RX_BUFFER_ALIGN];
        let start = bytes.as_ptr().align_offset(RX_BUFFER_ALIGN).min(RX_BUFFER_ALIGN);
        RxBuffer { bytes, start }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..][..RX_BUFFER_LEN]
    }
}
