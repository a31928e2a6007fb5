//! Why a tap could not be opened, and what to do about it.

use crate::reason::Reason;
use alloc::string::String;
use core::fmt;
use rustix::io::Errno;

/// A tap that could not be opened. Displays as one line that ends in the remedy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenError {
    /// The guest's interface, such as `eth0`.
    pub interface: String,
    /// The host's interface; `None` when the host was to choose it.
    pub tap: Option<String>,
    /// What went wrong.
    pub failure: OpenFailure,
}

/// What went wrong in opening a tap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenFailure {
    /// `/dev/net/tun` is not there, or has no driver behind it.
    NoTunDriver,
    /// `/dev/net/tun` is not ours to open.
    TunNodePermission,
    /// The tap does not exist, and we may not make it.
    MayNotCreate,
    /// The tap exists, and is another user's.
    NotOwner,
    /// The tap is held by another process.
    Busy,
    /// The interface exists, and is something else.
    NotATap,
    /// The host's driver cannot put a `virtio_net_hdr` in front of frames.
    NoVnetHeader,
    /// The guest was given the address that the host's side of the link has.
    SameMac,
    /// Any other refusal of the host's.
    Host {
        /// The step that failed, in words.
        op: &'static str,
        /// The host's reason.
        errno: Errno,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tap = self.tap.as_deref().unwrap_or("a new tap");
        write!(f, "{}: cannot open {tap}: ", self.interface)?;
        // A command line that can be typed as it stands needs some name.
        let example = self.tap.as_deref().unwrap_or("tap0");
        match self.failure {
            OpenFailure::NoTunDriver => f.write_str(
                "/dev/net/tun is missing: load the host's driver (modprobe tun); in a container, pass the device in (--device /dev/net/tun)",
            ),
            OpenFailure::TunNodePermission => {
                f.write_str("no permission to open /dev/net/tun: run as root, or: chmod 0666 /dev/net/tun")
            }
            OpenFailure::MayNotCreate => write!(
                f,
                "permission denied: run as root, or have it made for you: ip tuntap add {example} mode tap user $USER vnet_hdr"
            ),
            OpenFailure::NotOwner => write!(
                f,
                "permission denied, it belongs to another user: run as its owner or as root, or have it made anew: \
                 ip tuntap del {example} mode tap; ip tuntap add {example} mode tap user $USER vnet_hdr"
            ),
            OpenFailure::Busy => f.write_str("it is held by another process: stop that one, or name another tap"),
            OpenFailure::NotATap => {
                f.write_str("this interface of the host is not a tap: name another one, or leave the name empty")
            }
            OpenFailure::NoVnetHeader => f.write_str("the host's tun driver lacks IFF_VNET_HDR: Linux 2.6.27 has it"),
            OpenFailure::SameMac => {
                f.write_str("the guest's MAC address is the one of the host's side: name another, or leave it empty")
            }
            OpenFailure::Host { op, errno } => write!(f, "{op}: {}", Reason(errno)),
        }
    }
}

impl core::error::Error for OpenError {}

/// `map_err(host("..."))`: names the step that failed.
pub(super) fn host(op: &'static str) -> impl Fn(Errno) -> OpenFailure {
    move |errno| OpenFailure::Host { op, errno }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn every_failure_is_one_line_that_names_both_interfaces() {
        for failure in [
            OpenFailure::NoTunDriver,
            OpenFailure::TunNodePermission,
            OpenFailure::MayNotCreate,
            OpenFailure::NotOwner,
            OpenFailure::Busy,
            OpenFailure::NotATap,
            OpenFailure::NoVnetHeader,
            OpenFailure::SameMac,
            OpenFailure::Host { op: "reading the MTU", errno: Errno::NODEV },
        ] {
            for (tap, named) in [(Some("tap7".into()), "tap7"), (None, "a new tap")] {
                let line = OpenError { interface: "eth3".into(), tap, failure }.to_string();
                assert!(line.starts_with(&alloc::format!("eth3: cannot open {named}: ")), "{line}");
                assert!(!line.contains('\n') && !line.contains("  "), "{line}");
            }
        }
    }

    #[test]
    fn other_refusals_show_step_and_reason() {
        let failure = OpenFailure::Host { op: "reading the MTU", errno: Errno::NODEV };
        let line = OpenError { interface: "eth0".into(), tap: Some("tap0".into()), failure }.to_string();
        assert_eq!(line, "eth0: cannot open tap0: reading the MTU: no such device (ENODEV)");
    }
}
