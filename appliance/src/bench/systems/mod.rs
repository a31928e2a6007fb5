//! The systems that are compared. Each says how a tool of the root directory is started in it.

mod choice;
mod gvisor;
mod native;
mod nommu;
mod uml;

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::round::Site;
use crate::interrupt::Interrupt;
use crate::process::Ending;
use crate::wiring::Segment;
pub use choice::{Choice, Idle, Kind, Link};

/// Which end of a connection a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The system under test.
    Client,
    /// Its peer in a guest of the same kind ([`Link::joins_guests`]).
    Server,
}

/// Begins what a switch says once guests can connect.
pub const SWITCH_READY: &str = "ready:";

/// One program to start in a system.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The program, as the root directory has it, and its arguments.
    pub argv: &'a [String],
    /// Whether it talks to the other end.
    pub network: bool,
    /// Whether it is to be the first program, with nothing set up around it.
    pub init: bool,
    pub role: Role,
}

/// A place where clients run.
pub trait System: Debug {
    /// Its name in options and reports.
    fn name(&self) -> &str;

    /// Downloads and unpacks what the system is made of, if that is not ours or the host's.
    fn fetch(&mut self, _interrupt: &Interrupt) -> Result<()> {
        Ok(())
    }

    /// The part of the wiring that it needs.
    fn segment(&self) -> Segment;

    /// What exactly is measured, such as a version.
    fn version(&self) -> Option<String> {
        None
    }

    /// The server's address as seen from there.
    fn server_address(&self) -> &'static str;

    /// Whether servers run in a guest of the system, too, and not on the host.
    fn serves_in_guest(&self) -> bool {
        false
    }

    /// What joins the guests of a client and a server, when that is a process; it says [`SWITCH_READY`] when both may come.
    fn switch(&self, _site: &Site) -> Result<Option<Command>> {
        Ok(None)
    }

    /// A command that runs `job` there. An error says why the system cannot run on this host.
    fn command(&self, site: &Site, job: &Job) -> Result<Command>;

    /// The same with an ext4 image of the root directory, to write to, in the directory's place.
    fn command_on_disk(&self, _site: &Site, _job: &Job, _image: &Path) -> Result<Command> {
        bail!("measured with a root directory only: no way to give it an ext4 image is known here")
    }

    /// Whether it is made of processes that nobody waits for, whose CPU time is lost unless somebody looks.
    fn loses_cpu_time(&self) -> bool {
        false
    }

    /// How the job ended, given how the command did.
    fn ending(&self, ending: Ending, _output: &str) -> Ending {
        ending
    }
}

/// The system of `choice` under a name, given the kernel to boot or the reason why there is none.
pub(super) fn build(choice: Choice, name: String, vmlinux: Result<PathBuf, String>) -> Box<dyn System> {
    match choice.kind {
        Kind::Native => Box::new(native::Native { name, path: native::Path::Veth }),
        Kind::NativeLo => Box::new(native::Native { name, path: native::Path::Loopback }),
        Kind::NativeNooff => Box::new(native::Native { name, path: native::Path::VethWithoutOffloads }),
        Kind::Um => Box::new(uml::Uml::new(name, uml::Variant::Ptrace, choice.link)),
        Kind::UmSeccomp => Box::new(uml::Uml::new(name, uml::Variant::Seccomp, choice.link)),
        Kind::UmLegacy => Box::new(uml::Uml::new(name, uml::Variant::Legacy, choice.link)),
        Kind::Gvisor => Box::new(gvisor::Gvisor::new(name)),
        kind @ (Kind::NommuSeccomp | Kind::NommuSud | Kind::NommuPatch | Kind::NommuZpoline) => {
            Box::new(nommu::Nommu { name, hook: kind.hook(), link: choice.link, vmlinux })
        }
    }
}
