//! The systems that are compared. Each says how a tool of the root directory is started in it.

mod native;
mod nommu;

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use clap::ValueEnum;

use super::round::Site;
use crate::guest::Hook;

/// A place where clients run.
pub trait System {
    /// Its name in options and reports.
    fn name(&self) -> &'static str;

    /// The server's address as seen from there.
    fn server_address(&self) -> &'static str;

    /// A command that runs `argv` there, with a network when the tool needs one. An error says why the system cannot
    /// run on this host.
    fn command(&self, site: &Site, network: bool, argv: &[String]) -> Result<Command>;
}

/// The systems by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The host's own kernel, over a veth pair.
    Native,
    /// vmlinux with every system call trapped, over a tap.
    NommuSeccomp,
    /// vmlinux with patched system call sites, over a tap.
    NommuPatch,
}

impl Kind {
    /// What `appliance bench` compares when nobody chooses.
    pub const ALL: [Kind; 3] = [Kind::Native, Kind::NommuSeccomp, Kind::NommuPatch];

    /// The name in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Native => "native",
            Kind::NommuSeccomp => "nommu-seccomp",
            Kind::NommuPatch => "nommu-patch",
        }
    }

    /// The system, given the kernel to boot or the reason why there is none.
    pub(super) fn build(self, vmlinux: Result<PathBuf, String>) -> Box<dyn System> {
        match self {
            Kind::Native => Box::new(native::Native),
            Kind::NommuSeccomp => Box::new(nommu::Nommu { kind: self, hook: Hook::Seccomp, vmlinux }),
            Kind::NommuPatch => Box::new(nommu::Nommu { kind: self, hook: Hook::Patch, vmlinux }),
        }
    }
}
