//! MMU User-Mode Linux, booted for each run from the same root directory, which it mounts through its own hostfs.
//!
//! The kernel is one of Debian's, unpacked into a tree of its own with the C library that it wants, and runs in a chroot
//! of that tree: it executes itself anew through /proc/self/exe, so it cannot be started through another loader. Its
//! first program is `guest-init` of the root directory (`benches/guest/guest-init.c`), which mounts, brings the interface
//! up, runs the tool and powers off; the tool's exit status comes on the console. Guest memory is an unlinked file
//! in a tmpfs that only this run sees.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Job, Link, Role, System};
use crate::bench::chroot;
use crate::bench::round::Site;
use crate::guest::Nic;
use crate::interrupt::Interrupt;
use crate::process::Ending;
use crate::rootfs::{self, Rootfs, recipe::Recipe};
use crate::wiring::{BRIDGE_HOST, BRIDGE_SERVER, PLAIN_TAP_HOST, Port, Segment, TAP_HOST};

/// Where the kernel's tree shows the root directory.
const GUEST_ROOT: &str = "/tmp/guest";
const KERNEL: &str = "/usr/bin/linux.uml";
const INIT: &str = "/usr/lib/flatland/guest-init";
/// `guest-init`'s last line.
const EXIT: &str = "flatland-exit ";
/// As much as vmlinux gets.
const MEMORY: &str = "mem=512M";
/// The kernel's limit (COMMAND_LINE_SIZE), less what stands there besides the tool's own words.
const MAX_ARGUMENTS: usize = 3500;

/// Which kernel, and how it catches system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    /// 7.x, by ptrace.
    Ptrace,
    /// 7.x, by seccomp.
    Seccomp,
    /// 6.1, by ptrace, with its old network device.
    Legacy,
}

#[derive(Debug)]
pub(super) struct Uml {
    name: String,
    variant: Variant,
    link: Link,
    /// The kernel's own tree, once fetched.
    tree: Option<Rootfs>,
}

impl Uml {
    pub fn new(name: String, variant: Variant, link: Link) -> Self {
        Self { name, variant, link, tree: None }
    }

    fn nic(&self, role: Role, site: &Site) -> Nic {
        match (self.link, self.variant, role) {
            (Link::Tap, Variant::Legacy, _) => site.wiring.plain_nic(),
            (Link::Tap, _, _) => site.wiring.nic(),
            (_, Variant::Legacy, Role::Client) => Port::PlainClient.nic(),
            (_, Variant::Legacy, Role::Server) => Port::PlainServer.nic(),
            (_, _, Role::Client) => Port::Client.nic(),
            (_, _, Role::Server) => Port::Server.nic(),
        }
    }

    /// The words that give the guest its interface.
    fn network(&self, nic: &Nic) -> [String; 2] {
        let Nic { tap, mac, guest, netmask, .. } = nic;
        let (device, option) = match self.variant {
            Variant::Legacy => ("eth0", format!("eth0=tuntap,{tap},{mac}")),
            Variant::Ptrace | Variant::Seccomp => {
                ("vec0", format!("vec0:transport=tap,ifname={tap},depth=128,gro=1,mac={mac}"))
            }
        };
        [option, format!("FLATLAND_NIC={device},{guest},{netmask}")]
    }

    fn arguments(&self, job: &Job, nic: Option<&Nic>) -> Result<Vec<String>> {
        let mut words: Vec<String> =
            [MEMORY, "root=/dev/root", "rootfstype=hostfs", "ro", "quiet"].map(Into::into).into();
        words.push(format!("rootflags={GUEST_ROOT}"));
        words.extend(["con=null", "con0=null,fd:1", "uml_dir=/tmp/"].map(Into::into));
        match self.variant {
            Variant::Ptrace => words.push("seccomp=off".into()),
            Variant::Seccomp => words.push("seccomp=on".into()),
            Variant::Legacy => {}
        }
        if let Some(nic) = nic {
            words.extend(self.network(nic));
        }
        match (job.init, job.argv) {
            (true, [program]) => words.push(format!("init={program}")),
            _ => {
                words.push(format!("init={INIT}"));
                words.push(format!("FLATLAND_ARGV={}", hexadecimal(job.argv)));
            }
        }
        if words.iter().map(|word| word.len() + 1).sum::<usize>() > MAX_ARGUMENTS {
            bail!("the command is too long for User-Mode Linux's command line of 4096 bytes");
        }
        Ok(words)
    }
}

impl System for Uml {
    fn name(&self) -> &str {
        &self.name
    }

    fn fetch(&mut self, interrupt: &Interrupt) -> Result<()> {
        if self.variant == Variant::Legacy && has_amx(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()) {
            bail!("User-Mode Linux 6.1 cannot hold the registers of a CPU with AMX and panics when it starts init");
        }
        let recipe = if self.variant == Variant::Legacy { "um-legacy" } else { "um" };
        self.tree = Some(rootfs::ensure(&Recipe::load(recipe)?, None, false, interrupt)?);
        Ok(())
    }

    fn segment(&self) -> Segment {
        match (self.link, self.variant) {
            (Link::Tap, Variant::Legacy) => Segment::PlainTap,
            (Link::Tap, _) => Segment::Tap,
            _ => Segment::Bridge,
        }
    }

    fn version(&self) -> Option<String> {
        self.tree.as_ref()?.version_of("user-mode-linux")
    }

    fn server_address(&self) -> &'static str {
        match (self.link, self.variant) {
            (Link::Tap, Variant::Legacy) => PLAIN_TAP_HOST,
            (Link::Tap, _) => TAP_HOST,
            (Link::Bridge, _) => BRIDGE_HOST,
            (_, Variant::Legacy) => Port::PlainServer.address(),
            (_, _) => BRIDGE_SERVER,
        }
    }

    fn serves_in_guest(&self) -> bool {
        self.link.joins_guests()
    }

    fn command(&self, site: &Site, job: &Job) -> Result<Command> {
        let tree = self.tree.as_ref().context("not downloaded")?;
        let nic = job.network.then(|| self.nic(job.role, site));
        let mut argv = vec![KERNEL.to_owned()];
        argv.extend(self.arguments(job, nic.as_ref())?);
        let bind = Some((site.rootfs.dir.as_path(), GUEST_ROOT));
        let mut command = chroot::command_with(site.wiring.host(), site.cpu(job.role), &tree.dir, bind, &argv);
        command.env("TMPDIR", "/tmp");
        Ok(command)
    }

    fn ending(&self, ending: Ending, output: &str) -> Ending {
        let status = output.lines().rev().find_map(|line| line.trim().strip_prefix(EXIT)?.parse::<i32>().ok());
        match (ending, status) {
            (Ending::Exited(_), Some(status)) => Ending::Exited(status),
            (ending, _) => ending,
        }
    }
}

/// The words, each ended by a zero byte: the kernel's own quoting has no way to write a quotation mark.
fn hexadecimal(argv: &[String]) -> String {
    argv.iter().flat_map(|word| word.bytes().chain([0])).fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether /proc/cpuinfo names the tile registers.
fn has_amx(cpuinfo: &str) -> bool {
    cpuinfo.split_ascii_whitespace().any(|word| word == "amx_tile")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(argv: &[String], init: bool) -> Job<'_> {
        Job { argv, network: true, init, role: Role::Client }
    }

    #[test]
    fn the_command_line() {
        let uml = Uml::new("um-seccomp".into(), Variant::Seccomp, Link::Tap);
        let argv = ["/bin/sh".to_owned(), "-c".into(), "echo \"a b\"".into()];
        let words = uml.arguments(&job(&argv, false), Some(&Port::Client.nic())).unwrap();
        assert!(words.contains(&"seccomp=on".to_owned()) && words.contains(&format!("init={INIT}")));
        let hex = words.iter().find_map(|word| word.strip_prefix("FLATLAND_ARGV=")).unwrap();
        assert_eq!(hex, "2f62696e2f7368002d63006563686f202261206222 00".replace(' ', ""));
        assert!(words.iter().all(|word| !word.contains([' ', '"'])), "{words:?}");
        assert!(words.iter().any(|word| word.starts_with("vec0:transport=tap,ifname=port0,depth=128,gro=1,mac=02:")));
        let long = ["x".repeat(2000)];
        assert!(uml.arguments(&job(&long, false), None).is_err());
    }

    #[test]
    fn tile_registers_are_seen() {
        assert!(has_amx("processor\t: 0\nflags\t\t: fpu avx512f amx_bf16 avx512_fp16 amx_tile amx_int8\n"));
        assert!(!has_amx("flags\t\t: fpu sse sse2 avx\n"));
    }

    #[test]
    fn the_first_program_stands_alone() {
        let uml = Uml::new("um-legacy".into(), Variant::Legacy, Link::Tap);
        let argv = ["/usr/lib/flatland/mark".to_owned()];
        let words = uml.arguments(&job(&argv, true), None).unwrap();
        assert_eq!(words.last().unwrap(), "init=/usr/lib/flatland/mark");
        assert!(!words.iter().any(|word| word.starts_with("seccomp")));
    }

    #[test]
    fn the_tools_status_is_the_runs() {
        let uml = Uml::new("um".into(), Variant::Ptrace, Link::Tap);
        let ending = |output: &str| uml.ending(Ending::Exited(0), output);
        assert_eq!(ending("{}\r\nflatland-exit 3\r\nreboot: System halted\n"), Ending::Exited(3));
        assert_eq!(ending("no init found"), Ending::Exited(0));
        assert_eq!(uml.ending(Ending::Signalled(9), "flatland-exit 0\n"), Ending::Signalled(9));
    }
}
