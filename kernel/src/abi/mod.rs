//! Linux constants and structures as the guest sees them (x86-64), from `linux-raw-sys`, and the few that it lacks.

mod signal_context;

pub use signal_context::SigContext;

pub use linux_raw_sys::{auxvec, elf, general, if_arp, if_ether, if_packet, ioctl, net, netlink, prctl, system};

/// Bytes in a page.
pub const PAGE_SIZE: usize = 4096;

/// The first address that a 47-bit user address space does not have (`TASK_SIZE_MAX` rounded up).
pub const USER_ADDRESS_END: usize = 1 << 47;
