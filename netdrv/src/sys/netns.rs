//! What tests do to the host: namespaces, privileges, deleting an interface.

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::{CapabilitySet, UnshareFlags};

/// Moves the calling thread, and no other, into a new network namespace; it goes with the last thread and socket in it.
pub(crate) fn enter_new() -> Result<(), Errno> {
    // SAFETY: CLONE_NEWNET alone splits neither the descriptor table nor the address space from other threads.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
}

/// Gives up a capability for the calling thread.
pub(crate) fn drop_capability(capability: CapabilitySet) -> Result<(), Errno> {
    let mut sets = rustix::thread::capabilities(None)?;
    sets.effective -= capability;
    sets.permitted -= capability;
    rustix::thread::set_capabilities(None, sets)
}

/// `ip link del <name>` (rtnetlink(7)).
pub(crate) fn delete_link(name: &str) -> Result<(), Errno> {
    const RTM_DELLINK: u16 = 17;
    const NLM_F_REQUEST_ACK: u16 = 1 | 4;
    const LEN: usize = 32;
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let index = rustix::net::netdevice::name_to_index(&socket, name)?;
    // struct nlmsghdr (length, type, flags, sequence, port), then struct ifinfomsg with its index at offset 4.
    let mut message = [0u8; LEN];
    message[..4].copy_from_slice(&(LEN as u32).to_ne_bytes());
    message[4..6].copy_from_slice(&RTM_DELLINK.to_ne_bytes());
    message[6..8].copy_from_slice(&NLM_F_REQUEST_ACK.to_ne_bytes());
    message[20..24].copy_from_slice(&index.to_ne_bytes());
    rustix::io::write(&socket, &message)?;
    let mut answer = [0u8; 64];
    rustix::io::read(&socket, &mut answer)?;
    // struct nlmsgerr follows the header; 0 is success.
    match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
        0 => Ok(()),
        error => Err(Errno::from_raw_os_error(-error)),
    }
}
