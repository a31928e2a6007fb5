//! How `vmlinux` is found and what is put on its command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::process;

/// How the guest's system calls reach the kernel (`hook=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Hook {
    /// Every call traps.
    Seccomp,
    /// Every call traps, by syscall user dispatch.
    Sud,
    /// Call sites become jumps after they have trapped a few times.
    Patch,
    /// Page 0 holds a trampoline.
    Zpoline,
}

impl Hook {
    /// The word after `hook=`.
    pub fn name(self) -> &'static str {
        match self {
            Hook::Seccomp => "seccomp",
            Hook::Sud => "sud",
            Hook::Patch => "patch",
            Hook::Zpoline => "zpoline",
        }
    }
}

/// The guest's network interface, on a tap that exists already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    /// Name of the tap in the namespace where vmlinux runs.
    pub tap: String,
    /// The guest's MAC address.
    pub mac: String,
    /// IPv4 address of the host's side.
    pub host: String,
    /// IPv4 address of the guest.
    pub guest: String,
    /// Netmask of the subnet that both are in.
    pub netmask: String,
}

/// One boot of a guest.
#[derive(Clone, Debug)]
pub struct Boot {
    /// The root directory, absolute.
    pub rootfs: PathBuf,
    /// An ext4 image that is the root in the directory's place.
    pub disk: Option<PathBuf>,
    /// Whether the guest may write there.
    pub writable: bool,
    /// Guest memory, as in `mem=`.
    pub memory: String,
    /// `None` leaves the choice to vmlinux.
    pub hook: Option<Hook>,
    /// Without one the guest has only `lo`.
    pub nic: Option<Nic>,
    /// Environment of init.
    pub environment: Vec<(String, String)>,
    /// init, as the guest sees it, and its arguments.
    pub command: Vec<String>,
}

impl Boot {
    /// A quiet boot of `command` from a read-only `rootfs`.
    pub fn new(rootfs: &Path, command: Vec<String>) -> Self {
        Self {
            rootfs: rootfs.to_owned(),
            disk: None,
            writable: false,
            memory: "512m".into(),
            hook: None,
            nic: None,
            environment: Vec::new(),
            command,
        }
    }

    /// The words after `vmlinux`.
    pub fn arguments(&self) -> Vec<OsString> {
        let word = |name: &str, path: &Path| {
            let mut word = OsString::from(name);
            word.push(path);
            word
        };
        let mut words: Vec<OsString> = match &self.disk {
            Some(image) => vec![word("ubd0=", image)],
            None => vec!["rootfstype=hostfs".into(), word("rootflags=", &self.rootfs)],
        };
        words.push(if self.writable { "rw" } else { "ro" }.into());
        words.push(format!("mem={}", self.memory).into());
        words.push("quiet".into());
        words.extend(self.hook.map(|hook| format!("hook={}", hook.name()).into()));
        if let Some(nic) = &self.nic {
            words.push(format!("eth0=tuntap,{},{},{}", nic.tap, nic.mac, nic.host).into());
            words.push(format!("ip={}::{}:{}:guest:eth0:off", nic.guest, nic.host, nic.netmask).into());
        }
        words.extend(self.environment.iter().map(|(name, value)| format!("{name}={value}").into()));
        if let Some((init, arguments)) = self.command.split_first() {
            words.push(format!("init={init}").into());
            if !arguments.is_empty() {
                words.push("--".into());
                words.extend(arguments.iter().map(OsString::from));
            }
        }
        words
    }
}

/// The `vmlinux` to boot: the named one, else the one beside this program.
pub fn find_vmlinux(named: Option<&Path>) -> Result<PathBuf> {
    let path = match named {
        Some(path) => std::path::absolute(path)?,
        None => {
            let own = std::env::current_exe().context("cannot tell where this program lies")?;
            own.with_file_name("vmlinux")
        }
    };
    if !process::is_executable(&path) {
        bail!("no vmlinux at {}: build it with `cargo build --release`, or name one with --vmlinux", path.display());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_of_a_networked_boot() {
        let mut boot = Boot::new(Path::new("/r o"), ["/usr/bin/iperf3", "-c", "10.77.0.1"].map(String::from).to_vec());
        boot.hook = Some(Hook::Seccomp);
        boot.environment.push(("TERM".into(), "vt100".into()));
        boot.nic = Some(Nic {
            tap: "tap0".into(),
            mac: "02:00:00:00:77:02".into(),
            host: "10.77.0.1".into(),
            guest: "10.77.0.2".into(),
            netmask: "255.255.255.0".into(),
        });
        let words: Vec<String> = boot.arguments().into_iter().map(|word| word.into_string().unwrap()).collect();
        assert_eq!(
            words,
            [
                "rootfstype=hostfs",
                "rootflags=/r o",
                "ro",
                "mem=512m",
                "quiet",
                "hook=seccomp",
                "eth0=tuntap,tap0,02:00:00:00:77:02,10.77.0.1",
                "ip=10.77.0.2::10.77.0.1:255.255.255.0:guest:eth0:off",
                "TERM=vt100",
                "init=/usr/bin/iperf3",
                "--",
                "-c",
                "10.77.0.1",
            ]
        );
    }

    #[test]
    fn a_plain_boot_names_neither_hook_nor_network() {
        let words = Boot::new(Path::new("/r"), vec!["/bin/true".into()]).arguments();
        assert_eq!(words, ["rootfstype=hostfs", "rootflags=/r", "ro", "mem=512m", "quiet", "init=/bin/true"]);
    }

    #[test]
    fn a_missing_vmlinux_is_named() {
        let error = find_vmlinux(Some(Path::new("/nowhere/vmlinux"))).unwrap_err().to_string();
        assert!(error.contains("/nowhere/vmlinux") && error.contains("--vmlinux"), "{error}");
    }
}
