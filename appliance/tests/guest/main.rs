//! Unmodified Debian programs in guests that `vmlinux` boots, over a real TAP where they talk to the host. Needs root,
//! /dev/net/tun, a Debian mirror (or a filled cache) and a `vmlinux` beside the appliance (`cargo build -p kernel`).
//!
//! [`lab`] has what all of these share. Tests that use the tap take turns, the others run beside them: nothing here
//! asserts a throughput.

mod alpine_like;
mod boot;
mod cpython;
mod debian;
mod distribution;
mod everyday;
mod go;
mod iperf3;
mod lab;
mod netperf;
mod noise;
mod peers;
mod programs;
mod shell;
mod soak;
mod terminal;
mod transfer;
mod vhost_user;
