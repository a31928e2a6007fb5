//! Shared-memory ethernet: virtio-net between processes, by the vhost-user protocol.
//!
//! | module | what |
//! | --- | --- |
//! | `frontend` | this machine is the driver: its memory holds the rings |
//! | `backend` | this machine is the device: it works in the driver's memory |
//! | `options` | `eth<n>=vhost-user,…` and `vec<n>:transport=vhost-user,…` |
//! | `message`, `socket` | the control messages and the Unix socket that carries them |
//!
//! `docs/drivers.md` walks a buffer through the ring and says what each peer agrees on.

#[cfg(feature = "backend")]
pub mod backend;
pub(crate) mod frontend;
pub(crate) mod message;
mod open_error;
pub(crate) mod options;
mod socket;

#[cfg(feature = "backend")]
pub use crate::{sys::fault::install_handler as install_fault_handler, vring::foreign::absorb_fault};
pub use frontend::{VhostUserDevice, open};
pub use open_error::{OpenError, OpenFailure};
pub use options::{VhostUserOptions, optional_features};

/// Bytes of `struct virtio_net_hdr_v1` in front of each frame.
pub(crate) const NET_HEADER_LEN: usize = 12;
