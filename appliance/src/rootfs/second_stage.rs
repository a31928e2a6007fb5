//! The second stage of a Debian root: maintainer scripts, run by dpkg in a guest that has the tree as its root.
//!
//! What debootstrap does in a chroot, as root, happens in `vmlinux` here, as anybody. Services are not started
//! (`policy-rc.d`). What depends on the moment goes afterwards (logs, backups, caches with inode numbers), so that the same
//! packages give the same tree.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::tree::epoch;
use crate::guest::{self, Boot};
use crate::interrupt::Interrupt;
use crate::process::{Ending, Process};
use crate::progress::Progress;

/// The longest that the scripts may take.
const LIMIT: Duration = Duration::from_secs(1800);
/// Lines that are quoted when they fail.
const QUOTED: usize = 15;

const POLICY: &str = "usr/sbin/policy-rc.d";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Accounts and the like before the scripts, some of which count on them.
const FILES: [(&str, &str); 6] = [
    ("etc/hostname", "flatland\n"),
    ("etc/hosts", "127.0.0.1\tlocalhost flatland\n::1\tlocalhost ip6-localhost\n"),
    ("etc/fstab", "# The kernel mounts the root, /dev, /proc and the like itself.\n"),
    ("etc/resolv.conf", "# name a server here\n"),
    ("etc/apt/sources.list", "deb http://deb.debian.org/debian bookworm main\n"),
    (POLICY, "#!/bin/sh\nexit 101\n"),
];

/// What is different each time, or of use only to the scripts. A folder loses what is in it.
const PASSING: [&str; 22] = [
    POLICY,
    "etc/.pwd.lock",
    "etc/group-",
    "etc/gshadow-",
    "etc/passwd-",
    "etc/shadow-",
    "etc/subgid-",
    "etc/subuid-",
    "root/.bash_history",
    "run/",
    "tmp/",
    "var/cache/apt/",
    "var/cache/debconf/config.dat-old",
    "var/cache/debconf/passwords.dat-old",
    "var/cache/debconf/templates.dat-old",
    "var/cache/ldconfig/",
    "var/lib/dpkg/available-old",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/triggers/Lock",
    "var/log/",
];

/// Configures the `packages` packages of `root`, whose database says that they are unpacked.
///
/// # Errors
/// No `vmlinux`, and scripts that fail, with what they said.
pub(super) fn run(root: &Path, suite: &str, packages: usize, interrupt: &Interrupt) -> Result<()> {
    prepare(root, suite)?;
    let mut boot = Boot::new(
        root,
        ["/bin/sh", "-c", "exec 2>&1; dpkg --configure -a && passwd -q -d root"].map(str::to_owned).to_vec(),
    );
    boot.writable = true;
    let environment = [("PATH", PATH), ("HOME", "/root"), ("DEBIAN_FRONTEND", "noninteractive"), ("LC_ALL", "C.UTF-8")];
    boot.environment.extend(environment.map(|(name, value)| (name.to_owned(), value.to_owned())));
    boot.environment.push(("DEBCONF_NONINTERACTIVE_SEEN".into(), "true".into()));
    boot.environment.push(("SOURCE_DATE_EPOCH".into(), epoch().to_string()));
    let vmlinux = guest::find_vmlinux(None).context("maintainer scripts run in a guest")?;
    let mut command = Command::new(vmlinux);
    command.args(boot.arguments());
    let said = root.with_extension("log");
    follow(command, &said, packages, interrupt)?;
    _ = fs::remove_file(&said);
    clear(root)?;
    give_console_a_login(root)
}

fn prepare(root: &Path, suite: &str) -> Result<()> {
    for (master, place) in [("passwd.master", "etc/passwd"), ("group.master", "etc/group")] {
        let from = root.join("usr/share/base-passwd").join(master);
        fs::copy(&from, root.join(place))
            .with_context(|| format!("no {}: `configure` needs the package base-passwd", from.display()))?;
    }
    for (place, text) in FILES {
        let path = root.join(place);
        super::configure::make_parent(&path)?;
        fs::write(&path, text.replace("bookworm", suite))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(root.join(POLICY), fs::Permissions::from_mode(0o755))?)
}

/// Runs the guest; dpkg says one line for each package that it sets up.
fn follow(mut command: Command, errors: &Path, packages: usize, interrupt: &Interrupt) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(fs::File::create(errors)?);
    let mut guest = Process::spawn("guest", command)?;
    let output = guest.take_stdout().context("the guest has no output")?;
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for text in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&text).trim_end().to_owned()).is_err() {
                break;
            }
        }
    });
    let mut progress = Progress::new(packages, 20);
    let mut log = Vec::new();
    loop {
        interrupt.check()?;
        match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                if let Some(package) = line.strip_prefix("Setting up ") {
                    progress.begin(&format!("setting up {}", package.split(' ').next().unwrap_or_default()));
                    progress.end();
                }
                log.push(line);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    match guest.wait(LIMIT, interrupt)?.0 {
        Ending::Exited(0) => {
            progress.finish(&format!("set up {packages} packages"));
            Ok(())
        }
        ending => {
            log.extend(fs::read_to_string(errors).unwrap_or_default().lines().map(str::to_owned));
            fs::write(errors, log.join("\n"))?;
            let last = log[log.len().saturating_sub(QUOTED)..].join("\n  ");
            bail!(
                "maintainer scripts failed in the guest ({ending}); the last that was said, all of it in {}:\n  {last}",
                errors.display()
            )
        }
    }
}

fn clear(root: &Path) -> Result<()> {
    for place in PASSING {
        let path = root.join(place.trim_end_matches('/'));
        if !place.ends_with('/') {
            _ = fs::remove_file(path);
            continue;
        }
        for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
            let inner = entry.path();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            // Log folders belong to their packages.
            let gone = match is_folder {
                true if place == "var/log/" => continue,
                true => fs::remove_dir_all(&inner),
                false => fs::remove_file(&inner),
            };
            gone.with_context(|| format!("cannot remove {}", inner.display()))?;
        }
    }
    Ok(())
}

/// Debian's inittab has a getty for each of six virtual terminals. A guest has the console instead.
fn give_console_a_login(root: &Path) -> Result<()> {
    let path = root.join("etc/inittab");
    let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
    let virtual_terminal = |line: &&str| {
        let on = line.rsplit(' ').next().and_then(|word| word.strip_prefix("tty"));
        !line.starts_with('#') && line.contains("getty") && on.is_some_and(|n| n.parse::<u8>().is_ok())
    };
    let kept: Vec<&str> = text.lines().filter(|line| !virtual_terminal(line)).collect();
    let console = "co:2345:respawn:/sbin/getty --noclear --keep-baud 38400 console vt100";
    Ok(fs::write(&path, format!("{}\n{console}\n", kept.join("\n")))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_takes_the_place_of_virtual_terminals() {
        let root = std::env::temp_dir().join(format!("flatland-inittab-{}", std::process::id()));
        fs::create_dir_all(root.join("etc")).unwrap();
        let text = "id:2:initdefault:\n1:2345:respawn:/sbin/getty --noclear 38400 tty1\n\
                    2:23:respawn:/sbin/getty 38400 tty2\n#T0:23:respawn:/sbin/getty -L ttyS0 9600 vt100\n";
        fs::write(root.join("etc/inittab"), text).unwrap();
        give_console_a_login(&root).unwrap();
        let now = fs::read_to_string(root.join("etc/inittab")).unwrap();
        fs::remove_dir_all(&root).unwrap();
        let lines: Vec<_> = now.lines().collect();
        assert_eq!(lines.len(), 3, "{now}");
        assert!(lines[0] == "id:2:initdefault:" && lines[1].contains("ttyS0") && lines[2].contains("console"), "{now}");
    }
}
