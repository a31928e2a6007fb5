//! The unsafe fence: the host calls whose arguments the compiler cannot check.
//!
//! What leaves this folder is safe: typed requests go in, typed answers or the host's errno come out. Every descriptor
//! is close-on-exec and non-blocking.

#![allow(unsafe_code)]

#[cfg(feature = "backend")]
pub mod fault;
#[cfg(feature = "backend")]
pub(crate) mod favored;
mod ifreq;
pub(crate) mod netif;
#[cfg(test)]
pub(crate) mod netns;
pub(crate) mod packet;
#[cfg(feature = "backend")]
pub(crate) mod thread;
pub(crate) mod tun;

pub(crate) use ifreq::IfName;
