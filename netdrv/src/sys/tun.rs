//! `/dev/net/tun` (the host's Documentation/networking/tuntap.rst, `<linux/if_tun.h>`).

use super::ifreq::{IfName, Ifreq};
use linux_raw_sys::if_tun::{IFF_MULTI_QUEUE, IFF_NO_PI, IFF_TAP, IFF_TUN_EXCL, IFF_VNET_HDR};
use linux_raw_sys::if_tun::{TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_USO4, TUN_F_USO6};
use linux_raw_sys::ioctl::{TUNGETFEATURES, TUNSETIFF, TUNSETOFFLOAD, TUNSETVNETHDRSZ};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, IoSlice};
use rustix::ioctl::{Getter, IntegerSetter, Setter, Updater, ioctl};

bitflags::bitflags! {
    /// `ifr_flags` of `TUNSETIFF`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct TunFlags: u16 {
        /// Ethernet frames, not IP packets.
        const TAP = IFF_TAP as u16;
        /// No `struct tun_pi` in front of each frame.
        const NO_PI = IFF_NO_PI as u16;
        /// A `struct virtio_net_hdr` in front of each frame.
        const VNET_HDR = IFF_VNET_HDR as u16;
        /// The interface was made for several queues; whoever attaches must say so.
        const MULTI_QUEUE = IFF_MULTI_QUEUE as u16;
        /// Make the interface, fail with EBUSY when it exists.
        const EXCL = IFF_TUN_EXCL as u16;
    }

    /// Argument of `TUNSETOFFLOAD`: what the reader of the descriptor can take.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct TunOffloads: u32 {
        /// Partial checksums.
        const CSUM = TUN_F_CSUM;
        /// Coalesced TCP/IPv4.
        const TSO4 = TUN_F_TSO4;
        /// Coalesced TCP/IPv6.
        const TSO6 = TUN_F_TSO6;
        /// Coalesced UDP/IPv4 (Linux 6.2).
        const USO4 = TUN_F_USO4;
        /// Coalesced UDP/IPv6 (Linux 6.2).
        const USO6 = TUN_F_USO6;
    }
}

/// One queue of a tap.
#[derive(Debug)]
pub(crate) struct TunQueue(OwnedFd);

impl TunQueue {
    /// Opens `/dev/net/tun`, not yet attached to an interface.
    ///
    /// # Errors
    /// As open(2): ENOENT (no such node), ENODEV or ENXIO (no driver behind it), EACCES.
    pub(crate) fn open() -> Result<TunQueue, Errno> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        rustix::fs::open(c"/dev/net/tun", flags, Mode::empty()).map(TunQueue)
    }

    /// What this host's driver knows of [`TunFlags`].
    pub(crate) fn features(&self) -> Result<TunFlags, Errno> {
        // SAFETY: TUNGETFEATURES writes one unsigned int to the pointer it is given.
        let bits: u32 = unsafe { ioctl(&self.0, Getter::<TUNGETFEATURES, u32>::new())? };
        Ok(TunFlags::from_bits_truncate(bits as u16))
    }

    /// Attaches to the interface, or makes it; returns its name, which the host chooses when `name` is empty.
    ///
    /// # Errors
    /// EPERM (no CAP_NET_ADMIN, and not the owner of an existing tap), EBUSY (held by another descriptor, or exists and
    /// [`TunFlags::EXCL`] is set), EINVAL (exists, but is no tap or has another queue mode; or a bad name).
    pub(crate) fn set_iff(&self, name: IfName, flags: TunFlags) -> Result<IfName, Errno> {
        let mut req = Ifreq::with_flags(name, flags.bits());
        // SAFETY: TUNSETIFF reads and writes one struct ifreq, whose size and layout `Ifreq` has.
        unsafe { ioctl(&self.0, Updater::<TUNSETIFF, Ifreq>::new(&mut req))? };
        Ok(req.name())
    }

    /// Sets the length of the header in front of each frame, in bytes.
    pub(crate) fn set_vnet_header_len(&self, len: usize) -> Result<(), Errno> {
        // SAFETY: TUNSETVNETHDRSZ reads one int from the pointer it is given.
        unsafe { ioctl(&self.0, Setter::<TUNSETVNETHDRSZ, i32>::new(len as i32)) }
    }

    /// Says which unfinished frames we take from the host.
    ///
    /// # Errors
    /// EINVAL when the host does not know one of the bits; nothing is changed then.
    pub(crate) fn set_offload(&self, offloads: TunOffloads) -> Result<(), Errno> {
        // SAFETY: TUNSETOFFLOAD takes its argument by value and touches no memory of ours.
        unsafe { ioctl(&self.0, IntegerSetter::<TUNSETOFFLOAD>::new_usize(offloads.bits() as usize)) }
    }

    /// Lets the interface outlive this descriptor.
    #[cfg(test)]
    pub(crate) fn set_persistent(&self) -> Result<(), Errno> {
        // SAFETY: TUNSETPERSIST takes its argument by value and touches no memory of ours.
        unsafe { ioctl(&self.0, IntegerSetter::<{ linux_raw_sys::ioctl::TUNSETPERSIST }>::new_usize(1)) }
    }

    /// Lets a user without privilege attach.
    #[cfg(test)]
    pub(crate) fn set_owner(&self, uid: u32) -> Result<(), Errno> {
        // SAFETY: TUNSETOWNER takes its argument by value and touches no memory of ours.
        unsafe { ioctl(&self.0, IntegerSetter::<{ linux_raw_sys::ioctl::TUNSETOWNER }>::new_usize(uid as usize)) }
    }

    /// Reads one frame with its header; what does not fit `buffer` is lost.
    ///
    /// # Errors
    /// EAGAIN when none waits, EBADFD when the interface is gone.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut *buffer))
    }

    /// Writes one frame, header first.
    ///
    /// # Errors
    /// EAGAIN, EIO when the interface is not up, EBADFD when it is gone, EINVAL when header and frame disagree.
    pub(crate) fn write(&self, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        rustix::io::retry_on_intr(|| rustix::io::writev(&self.0, parts))
    }
}

impl rustix::fd::AsFd for TunQueue {
    fn as_fd(&self) -> rustix::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}
