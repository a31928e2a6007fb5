//! `appliance doctor`: what this host has, what it lacks, and how to mend it.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::{cache, guest, privilege, process, unprivileged};

/// How much a missing thing matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Nothing boots without it.
    Guest,
    /// The bench or a guest's network needs it.
    Network,
    /// Building root directories needs it.
    Build,
    /// Good to know.
    Information,
}

struct Check {
    what: &'static str,
    need: Need,
    /// What was found, or what is missing.
    found: Result<String, String>,
    remedy: &'static str,
}

/// Prints a line per check; the exit status is 1 when something is missing that a guest or the bench needs.
pub fn run() -> ExitCode {
    let checks = checks();
    for check in &checks {
        match (&check.found, check.need) {
            (Ok(found), _) => println!("ok       {}: {found}", check.what),
            (Err(missing), Need::Information) => println!("note     {}: {missing}. {}", check.what, check.remedy),
            (Err(missing), need) => {
                println!("missing  {}: {missing}. {} ({})", check.what, check.remedy, consequence(need));
            }
        }
    }
    let healthy = checks.iter().all(|check| check.found.is_ok() || check.need == Need::Information);
    if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn consequence(need: Need) -> &'static str {
    match need {
        Need::Guest => "no guest boots",
        Need::Network => "no bench, and guests without eth0",
        Need::Build => "no `rootfs build`",
        Need::Information => "",
    }
}

fn checks() -> Vec<Check> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let status = read("/proc/self/status");
    vec![
        Check {
            what: "processor",
            need: Need::Guest,
            found: processor(&read("/proc/cpuinfo")),
            remedy: "Run it on an x86-64 CPU with FSGSBASE (Intel since 2012, AMD since 2017) and a host kernel since 5.9",
        },
        Check {
            what: "seccomp filters",
            need: Need::Guest,
            found: if status.lines().any(|line| line.starts_with("Seccomp_filters:") || line.starts_with("Seccomp:")) {
                Ok("the host kernel has them".into())
            } else {
                Err("the host kernel was built without CONFIG_SECCOMP_FILTER".into())
            },
            remedy: "Use a distribution's kernel",
        },
        Check {
            what: "vmlinux",
            need: Need::Guest,
            found: guest::find_vmlinux(None)
                .map(|path| path.display().to_string())
                .map_err(|_| "not beside this program".into()),
            remedy: "Build it with `cargo build --release`, or name one with --vmlinux",
        },
        Check {
            what: "root",
            need: Need::Network,
            found: if privilege::is_root() {
                Ok("yes".into())
            } else {
                let permitted = unprivileged::permitted();
                let namespaces = permitted.map(|()| "no, and a user namespace does for the bench".into());
                namespaces.map_err(|error| format!("no, and {error:#}"))
            },
            remedy: "Use sudo, or allow user namespaces: `sysctl kernel.unprivileged_userns_clone=1`",
        },
        Check {
            what: "a guest without root and network",
            need: Need::Guest,
            found: boot_bare_guest(),
            remedy: "Its message says what is missing; `trace=syscalls` on vmlinux's command line shows more",
        },
        Check {
            what: "/dev/net/tun",
            need: Need::Network,
            found: openable("/dev/net/tun"),
            remedy: "Load the module with `modprobe tun`, or give the container the device and CAP_NET_ADMIN",
        },
        programs(
            "namespace tools",
            Need::Network,
            &["nsenter", "unshare", "setpriv", "taskset", "mount", "chroot"],
            "Install the packages util-linux, mount and coreutils",
        ),
        Check {
            what: "ip",
            need: Need::Information,
            found: process::find_program("ip").map(|path| path.display().to_string()).ok_or("not installed".into()),
            remedy: "The one in the root directory is used",
        },
        Check {
            what: "user namespaces",
            need: Need::Information,
            found: match read("/proc/sys/user/max_user_namespaces").trim() {
                "" | "0" => Err("off".into()),
                number => Ok(format!("up to {number}")),
            },
            remedy: "The bench needs root then; `sysctl user.max_user_namespaces=10000` turns them on",
        },
        programs(
            "package tools",
            Need::Build,
            &["apt-get", "dpkg-deb", "tar"],
            "Build the root directory on Debian or Ubuntu and name it with --rootfs",
        ),
        Check {
            what: "Debian's archive keys",
            need: Need::Build,
            found: openable("/usr/share/keyrings/debian-archive-keyring.gpg"),
            remedy: "Install the package debian-archive-keyring",
        },
        programs("C compiler", Need::Build, &["gcc"], "Install the packages gcc and libc6-dev"),
        Check {
            what: "cache folder",
            need: Need::Build,
            found: cache::folder().map(|folder| folder.display().to_string()).map_err(|error| error.to_string()),
            remedy: "Set FLATLAND_CACHE",
        },
        Check {
            what: "vm.mmap_min_addr",
            need: Need::Information,
            found: match read("/proc/sys/vm/mmap_min_addr").trim() {
                "0" => Err("0: NULL pointers of every process can be mapped".into()),
                "" => Err("unreadable".into()),
                value => Ok(format!("{value}, and it stays so")),
            },
            remedy: "Flatland does not need it lowered: `sysctl vm.mmap_min_addr=65536` is Debian's default",
        },
    ]
}

/// Boots a guest on the host's own root, read-only, without any capability and without a tap.
fn boot_bare_guest() -> Result<String, String> {
    let vmlinux = guest::find_vmlinux(None).map_err(|_| "no vmlinux to try it with".to_owned())?;
    let mut boot = guest::Boot::new(Path::new("/"), vec!["/bin/true".into()]);
    boot.memory = "64m".into();
    let mut command = if privilege::is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]).arg(vmlinux);
        command
    } else {
        Command::new(vmlinux)
    };
    let started = Instant::now();
    process::run(command.args(boot.arguments())).map_err(|error| format!("{error:#}"))?;
    Ok(format!("boots and ends within {} ms", started.elapsed().as_millis() + 1))
}

fn processor(cpuinfo: &str) -> Result<String, String> {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has = |wanted: &str| flags.split_ascii_whitespace().any(|flag| flag == wanted);
    let missing: Vec<&str> = ["lm", "fsgsbase", "xsave"].into_iter().filter(|flag| !has(flag)).collect();
    if missing.is_empty() {
        Ok("x86-64 with FSGSBASE and XSAVE".into())
    } else {
        Err(format!("without {}", missing.join(", ")))
    }
}

fn programs(what: &'static str, need: Need, names: &[&str], remedy: &'static str) -> Check {
    let missing: Vec<&str> = names.iter().copied().filter(|name| process::find_program(name).is_none()).collect();
    let found = if missing.is_empty() { Ok(names.join(", ")) } else { Err(format!("no {}", missing.join(", "))) };
    Check { what, need, found, remedy }
}

fn openable(path: &str) -> Result<String, String> {
    match fs::File::open(Path::new(path)) {
        Ok(_) => Ok(path.to_owned()),
        Err(error) => Err(format!("{path}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_check_names_what_is_missing() {
        assert!(processor("flags\t\t: lm fsgsbase xsave\n").is_ok());
        assert_eq!(processor("flags\t\t: lm xsave xfsgsbase\n").unwrap_err(), "without fsgsbase");
        assert_eq!(processor("").unwrap_err(), "without lm, fsgsbase, xsave");
    }
}
