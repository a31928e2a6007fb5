//! The host's own kernel: the tool in a chroot, in the namespace at the other end of a veth pair, or beside the server.

use std::path::Path as FilePath;
use std::process::Command;

use anyhow::Result;

use super::{Job, System};
use crate::bench::round::Site;
use crate::bench::{chroot, disk};
use crate::wiring::{LOOPBACK, PLAIN_VETH_HOST, Segment, VETH_HOST};

/// How packets get to the server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Path {
    Veth,
    VethWithoutOffloads,
    Loopback,
}

#[derive(Debug)]
pub(super) struct Native {
    pub name: String,
    pub path: Path,
}

impl System for Native {
    fn name(&self) -> &str {
        &self.name
    }

    fn segment(&self) -> Segment {
        match self.path {
            Path::Veth => Segment::Veth,
            Path::VethWithoutOffloads => Segment::PlainVeth,
            Path::Loopback => Segment::Loopback,
        }
    }

    fn server_address(&self) -> &'static str {
        match self.path {
            Path::Veth => VETH_HOST,
            Path::VethWithoutOffloads => PLAIN_VETH_HOST,
            Path::Loopback => LOOPBACK,
        }
    }

    fn command(&self, site: &Site, job: &Job) -> Result<Command> {
        let ns = match self.path {
            Path::Loopback => site.wiring.host(),
            Path::Veth | Path::VethWithoutOffloads => site.wiring.guest(),
        };
        Ok(chroot::command(ns, site.pinning.guest_side, &site.rootfs.dir, job.argv))
    }

    fn command_on_disk(&self, site: &Site, job: &Job, image: &FilePath) -> Result<Command> {
        let at = disk::mount_point(site)?;
        let inner = chroot::command(site.wiring.host(), site.pinning.guest_side, &at, job.argv);
        Ok(disk::on_loop(image, &at, &inner))
    }
}
