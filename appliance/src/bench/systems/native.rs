//! The host's own kernel: the tool in a chroot, in the namespace at the other end of the veth pair.

use std::process::Command;

use anyhow::Result;

use super::{Kind, System};
use crate::bench::chroot;
use crate::bench::round::Site;
use crate::wiring::VETH_HOST;

#[derive(Debug)]
pub(super) struct Native;

impl System for Native {
    fn name(&self) -> &'static str {
        Kind::Native.name()
    }

    fn server_address(&self) -> &'static str {
        VETH_HOST
    }

    fn command(&self, site: &Site, _network: bool, argv: &[String]) -> Result<Command> {
        Ok(chroot::command(site.wiring.guest(), site.pinning.guest_side, &site.rootfs.dir, argv))
    }
}
