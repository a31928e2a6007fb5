//! The control thread: connects, and serves a front-end's messages by way of rust-vmm's `vhost`.

use super::device::Shared;
use super::enable::SetVringEnable;
use super::link::Link;
use crate::frame::Mtu;
use crate::vhost_user::message::{Features, ProtocolFeatures};
use crate::vhost_user::options::VhostUserOptions;
use crate::vhost_user::socket::{Listener, Stream};
use crate::vring::lent::{LentMemory, LentRegion};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use vhost::VhostUserMemoryRegionBase;
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight, VhostUserLog,
    VhostUserMemoryRegion, VhostUserShMemConfig, VhostUserSharedMsg, VhostUserSingleMemoryRegion,
    VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{
    BackendReqHandler, Error, GpuBackend, Result, VhostUserBackendReqHandlerMut, VhostUserProtocolFeatures,
};

/// Between two attempts to reach a front-end that listens.
const RETRY: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Connects, serves, and begins anew, until the device is dropped.
pub(super) fn run(options: &VhostUserOptions, listener: Option<&Listener>, shared: &Arc<Shared>) {
    while !shared.is_stopping() {
        let socket = match listener {
            Some(listener) => {
                shared.wait_for(Some(listener.as_fd()), None);
                listener.accept()
            }
            None => match Stream::connect(&options.socket) {
                Ok(stream) => Some(stream),
                Err(_) => {
                    shared.wait_for(None, Some(&RETRY));
                    None
                }
            },
        };
        if let Some(socket) = socket.filter(|_| !shared.is_stopping()) {
            let reason = serve(options, socket.into_fd(), shared);
            shared.link().reset();
            shared.disconnected(reason);
        }
    }
}

/// Serves one front-end to its end; says why it ended.
fn serve(options: &VhostUserOptions, socket: OwnedFd, shared: &Arc<Shared>) -> String {
    let stream = UnixStream::from(socket);
    let held = match stream.set_nonblocking(false).and_then(|()| stream.try_clone()) {
        Ok(held) => held,
        Err(e) => return format!("preparing the connection: {e}"),
    };
    shared.connected(held);
    if let Err(e) = shared.watch_connection() {
        return format!("preparing the connection: {e}");
    }
    let watched = match stream.try_clone() {
        Ok(watched) => watched,
        Err(e) => return format!("preparing the connection: {e}"),
    };
    let handler = Arc::new(Mutex::new(Handler {
        shared: shared.clone(),
        offered: offered(options, shared),
        mtu: options.mtu,
        pairs: options.queues,
        off: options.off_protocol,
        acknowledges: false,
    }));
    let mut requests = BackendReqHandler::from_stream(stream, handler.clone());
    loop {
        shared.wait_for(Some(watched.as_fd()), None);
        if shared.is_stopping() {
            return String::from("the device is closed");
        }
        let served = match SetVringEnable::take(&watched) {
            Ok(Some(message)) => handler
                .lock()
                .map_or(Err(Error::BackendInternalError), |mut handler| handler.serve_enable(&watched, message)),
            _ => requests.handle_request(),
        };
        match served {
            Ok(()) => {}
            // The refusal of one message was told where the front-end wants to hear it.
            Err(Error::ReqHandlerError(e)) => return e.to_string(),
            Err(Error::Disconnected) => return String::from("the peer closed the connection"),
            Err(e) => return e.to_string(),
        }
    }
}

/// What we offer a driver.
fn offered(options: &VhostUserOptions, shared: &Shared) -> Features {
    let mut features = Features::VERSION_1
        | Features::PROTOCOL_FEATURES
        | Features::MAC
        | Features::MTU
        | Features::STATUS
        | Features::GUEST_CSUM
        | Features::GUEST_TSO4
        | Features::GUEST_TSO6
        | Features::GUEST_ECN
        | Features::GUEST_USO4
        | Features::GUEST_USO6
        | Features::MRG_RXBUF
        | Features::INDIRECT_DESC
        | Features::EVENT_IDX;
    features |= shared.accepted();
    if options.queues > 1 {
        features |= Features::MQ | Features::CTRL_VQ;
    }
    features - options.off
}

struct Handler {
    shared: Arc<Shared>,
    offered: Features,
    mtu: Mtu,
    pairs: u16,
    /// Protocol features that are not offered.
    off: ProtocolFeatures,
    /// Whether the front-end hears of the fate of its messages (REPLY_ACK).
    acknowledges: bool,
}

impl Handler {
    /// Enables or disables a ring; an answer goes to `stream`.
    fn serve_enable(&mut self, stream: &UnixStream, message: SetVringEnable) -> Result<()> {
        let result = self.set_vring_enable(message.ring, message.enable);
        if self.acknowledges {
            message.acknowledge(stream, result.is_ok()).map_err(Error::SocketError)?;
        }
        result
    }

    /// Changes ring `index`, then starts what has become complete.
    fn with_ring(&self, index: u32, change: impl FnOnce(&mut super::ring::DeviceRing) -> Result<()>) -> Result<()> {
        let mut link = self.shared.link();
        let ring = link.rings.get_mut(index as usize).ok_or(Error::InvalidParam)?;
        change(ring)?;
        self.start(&mut link)
    }

    fn start(&self, link: &mut Link) -> Result<()> {
        let started = link.start();
        self.shared.wake();
        if started {
            Ok(())
        } else {
            Err(refuse("the addresses of a ring lie outside of the memory, or are not aligned"))
        }
    }
}

fn refuse(why: &str) -> Error {
    Error::ReqHandlerError(io::Error::new(io::ErrorKind::InvalidInput, why))
}

/// Whether a descriptor is one of these kinds, as /proc names them, and makes it non-blocking: reading or writing anything
/// else could make us wait.
fn check_kind(file: &File, kinds: &[&str]) -> Result<()> {
    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
    let name = std::fs::read_link(link).map_err(Error::ReqHandlerError)?;
    if !kinds.iter().any(|kind| name.to_str().is_some_and(|name| name.starts_with(kind))) {
        return Err(refuse("a descriptor for notifications is neither an eventfd nor a socket nor a pipe"));
    }
    rustix::io::ioctl_fionbio(file, true).map_err(|e| Error::ReqHandlerError(e.into()))
}

const EVENTFD: &str = "anon_inode:[eventfd]";
/// What User-Mode Linux is called by is a pair of sockets; a pipe would do.
const CALLS: [&str; 3] = [EVENTFD, "socket:[", "pipe:["];

impl VhostUserBackendReqHandlerMut for Handler {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        self.shared.link().reset_device();
        Ok(())
    }

    fn reset_device(&mut self) -> Result<()> {
        self.reset_owner()
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok(self.offered.bits())
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        if features & !self.offered.bits() != 0 {
            return Err(refuse("features were acknowledged that were not offered"));
        }
        let mut link = self.shared.link();
        link.features = Features::from_bits_truncate(features);
        // Without protocol features there is no message that enables a ring.
        if !link.features.contains(Features::PROTOCOL_FEATURES) {
            link.rings.iter_mut().for_each(|ring| ring.enabled = true);
        }
        Ok(())
    }

    fn set_mem_table(
        &mut self,
        table: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _: Option<bool>,
    ) -> Result<Option<Vec<VhostUserMemoryRegionBase>>> {
        let regions = table.iter().map(|region| LentRegion {
            guest: region.guest_phys_addr,
            user: region.user_addr,
            len: region.memory_size,
            offset: region.mmap_offset,
        });
        let memory = LentMemory::map(regions.zip(files)).map_err(Error::ReqHandlerError)?;
        let mut link = self.shared.link();
        // Rings that run go on where they are, in the new memory.
        for ring in &mut link.rings {
            ring.stop();
        }
        let old = link.memory.replace(Arc::new(memory));
        let started = self.start(&mut link);
        drop(link);
        drop(old);
        started.map(|()| None)
    }

    fn set_vring_num(&mut self, index: u32, num: u32) -> Result<()> {
        self.with_ring(index, |ring| if ring.set_size(num) { Ok(()) } else { Err(Error::InvalidParam) })
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        _: VhostUserVringAddrFlags,
        descriptor: u64,
        used: u64,
        available: u64,
        _: u64,
    ) -> Result<()> {
        self.with_ring(index, |ring| {
            ring.stop();
            ring.addresses = Some([descriptor, available, used]);
            Ok(())
        })
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        let base = u16::try_from(base).map_err(|_| Error::InvalidParam)?;
        self.with_ring(index, |ring| {
            ring.stop();
            ring.base = base;
            Ok(())
        })
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        let mut link = self.shared.link();
        let ring = link.rings.get_mut(index as usize).ok_or(Error::InvalidParam)?;
        let base = ring.stop();
        // It starts again with the next kick descriptor.
        ring.started = false;
        ring.kick = None;
        ring.call = None;
        Ok(VhostUserVringState::new(index, base.into()))
    }

    fn set_vring_kick(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        if let Some(fd) = &fd {
            check_kind(fd, &[EVENTFD])?;
            self.shared.watch_kick(fd)?;
        }
        self.with_ring(index.into(), |ring| {
            ring.kick = fd;
            ring.started = true;
            Ok(())
        })
    }

    fn set_vring_call(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        fd.as_ref().map_or(Ok(()), |fd| check_kind(fd, &CALLS))?;
        let mut link = self.shared.link();
        link.rings.get_mut(usize::from(index)).ok_or(Error::InvalidParam)?.call = fd;
        Ok(())
    }

    fn set_vring_err(&mut self, index: u8, _: Option<File>) -> Result<()> {
        if index < 2 * self.pairs as u8 { Ok(()) } else { Err(Error::InvalidParam) }
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        // The crate adds REPLY_ACK, which it serves by itself.
        let mut features = VhostUserProtocolFeatures::empty();
        features.set(VhostUserProtocolFeatures::CONFIG, !self.off.contains(ProtocolFeatures::CONFIG));
        features.set(VhostUserProtocolFeatures::MQ, self.pairs > 1);
        Ok(features)
    }

    fn set_protocol_features(&mut self, features: u64) -> Result<()> {
        self.acknowledges = features & VhostUserProtocolFeatures::REPLY_ACK.bits() != 0;
        Ok(())
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(u64::from(self.pairs))
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        self.with_ring(index, |ring| {
            ring.enabled = enable;
            if !enable {
                ring.stop();
            }
            Ok(())
        })
    }

    fn get_config(&mut self, offset: u32, size: u32, _: VhostUserConfigFlags) -> Result<Vec<u8>> {
        // struct virtio_net_config: address, status, queue pairs, MTU.
        let mut config = vec![0u8; 12];
        config[..6].copy_from_slice(&self.shared.peer_mac());
        config[6..8].copy_from_slice(&1u16.to_le_bytes());
        config[8..10].copy_from_slice(&self.pairs.to_le_bytes());
        config[10..12].copy_from_slice(&self.mtu.0.to_le_bytes());
        let end = (offset as usize).checked_add(size as usize).ok_or(Error::InvalidParam)?;
        // The driver's idea of the structure may be longer, with fields of features that are not offered.
        if end > 256 {
            return Err(Error::InvalidParam);
        }
        config.resize(256, 0);
        Ok(config[offset as usize..end].to_vec())
    }

    fn set_config(&mut self, _: u32, _: &[u8], _: VhostUserConfigFlags) -> Result<()> {
        Err(Error::InvalidOperation("the configuration is read-only"))
    }

    fn set_gpu_socket(&mut self, _: GpuBackend) -> Result<()> {
        Err(Error::InvalidOperation("no GPU"))
    }

    fn get_shared_object(&mut self, _: VhostUserSharedMsg) -> Result<File> {
        Err(Error::InvalidOperation("no shared objects"))
    }

    fn get_inflight_fd(&mut self, _: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        Err(Error::InvalidOperation("no in-flight tracking"))
    }

    fn set_inflight_fd(&mut self, _: &VhostUserInflight, _: File) -> Result<()> {
        Err(Error::InvalidOperation("no in-flight tracking"))
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        Err(Error::InvalidOperation("no memory slots"))
    }

    fn add_mem_region(
        &mut self,
        _: &VhostUserSingleMemoryRegion,
        _: File,
        _: Option<bool>,
    ) -> Result<Option<VhostUserMemoryRegionBase>> {
        Err(Error::InvalidOperation("no memory slots"))
    }

    fn remove_mem_region(&mut self, _: &VhostUserSingleMemoryRegion) -> Result<()> {
        Err(Error::InvalidOperation("no memory slots"))
    }

    fn set_device_state_fd(
        &mut self,
        _: VhostTransferStateDirection,
        _: VhostTransferStatePhase,
        _: File,
    ) -> Result<Option<File>> {
        Err(Error::InvalidOperation("no migration"))
    }

    fn check_device_state(&mut self) -> Result<()> {
        Err(Error::InvalidOperation("no migration"))
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        Err(Error::InvalidOperation("no shared memory of the device's"))
    }

    fn set_log_base(&mut self, _: &VhostUserLog, _: File) -> Result<()> {
        Err(Error::InvalidOperation("no migration"))
    }
}

impl Shared {
    /// Waits for a descriptor, the timeout, or the end of the device.
    fn wait_for(&self, fd: Option<BorrowedFd<'_>>, timeout: Option<&Timespec>) {
        let mut set = vec![PollFd::from_borrowed_fd(self.stop_fd(), PollFlags::IN)];
        set.extend(fd.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        // Interrupted or refused: the caller looks, and waits again.
        let _ = poll(&mut set, timeout);
    }

    /// Makes the set of kicks of a new connection.
    fn watch_connection(&self) -> io::Result<()> {
        let kicks = epoll::create(CreateFlags::CLOEXEC)?;
        self.link().kicks = Some(Arc::new(kicks));
        // The caller may sleep on those of the last one.
        self.wake();
        Ok(())
    }

    /// Adds a kick to what ends the caller's sleep. Each kick is an edge: nothing needs reading.
    fn watch_kick(&self, kick: &File) -> Result<()> {
        let link = self.link();
        let Some(kicks) = &link.kicks else { return Ok(()) };
        epoll::add(kicks, kick, EventData::new_u64(0), EventFlags::IN | EventFlags::ET)
            .map_err(|e| Error::ReqHandlerError(e.into()))
    }
}
