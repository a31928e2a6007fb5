//! Packet sockets (packet(7)).

use rustix::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::{Errno, IoSlice};

/// A packet socket on one interface, with a `struct virtio_net_hdr` in front of each frame in both directions.
#[derive(Debug)]
pub(crate) struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens a socket for all protocols of interface `index`, without what the host itself sends there, and takes the
    /// interface promiscuous for as long as it is open.
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW; ENODEV, ENXIO (no such interface), ENETDOWN; ENOPROTOOPT on hosts before Linux 4.20.
    pub(crate) fn open(index: u32) -> Result<PacketSocket, Errno> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // Protocol 0 receives nothing: frames of other interfaces do not slip in before bind(2).
        // SAFETY: no pointers.
        let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
        // SAFETY: a fresh descriptor that nobody else owns.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let fd = socket.as_raw_fd();
        set(fd, libc::PACKET_VNET_HDR, &1i32)?;
        set(fd, libc::PACKET_IGNORE_OUTGOING, &1i32)?;
        let promiscuous = libc::packet_mreq {
            mr_ifindex: index as i32,
            mr_type: libc::PACKET_MR_PROMISC as u16,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        set(fd, libc::PACKET_ADD_MEMBERSHIP, &promiscuous)?;
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
            sll_ifindex: index as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        // SAFETY: the address is a sockaddr_ll of the length given, and lives across the call.
        check(unsafe {
            libc::bind(fd, (&raw const address).cast(), size_of::<libc::sockaddr_ll>() as libc::socklen_t)
        })?;
        Ok(PacketSocket(socket))
    }

    /// Reads one frame with its header; what does not fit `buffer` is lost.
    ///
    /// # Errors
    /// EAGAIN when none waits, ENETDOWN (once) when the interface went down, ENXIO when it is gone.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut *buffer))
    }

    /// Sends one frame, header first.
    ///
    /// # Errors
    /// EAGAIN, ENOBUFS, ENETDOWN, ENXIO, EMSGSIZE, EINVAL when header and frame disagree.
    pub(crate) fn write(&self, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        rustix::io::retry_on_intr(|| rustix::io::writev(&self.0, parts))
    }
}

impl rustix::fd::AsFd for PacketSocket {
    fn as_fd(&self) -> rustix::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sets an option of level SOL_PACKET. Private: `T` is the type that each option above takes.
fn set<T>(fd: RawFd, option: i32, value: &T) -> Result<(), Errno> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value lives across the call and is as long as is said.
    check(unsafe { libc::setsockopt(fd, libc::SOL_PACKET, option, core::ptr::from_ref(value).cast(), len) }).map(drop)
}

/// The C library's way of telling errors; only used while a device is opened, where its TLS is there.
fn check(result: i32) -> Result<i32, Errno> {
    if result >= 0 {
        return Ok(result);
    }
    // SAFETY: the calling thread's own errno.
    Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() }))
}
