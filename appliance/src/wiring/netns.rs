//! Named network namespaces, as ip-netns(8) keeps them under /run/netns.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

use super::ip_tool::IpTool;
use super::state::remove_if_there;

/// How long processes in a namespace may take to vanish after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// A network namespace of ours; dropping it kills what runs there and removes it.
#[derive(Debug)]
pub struct NetNs {
    name: String,
}

impl NetNs {
    pub(super) fn create(ip: &IpTool, name: String) -> Result<Self> {
        // The name holds our process id: one that exists was left by a killed process that had the id before us.
        remove(&name)?;
        ip.run(&["netns", "add", &name])
            .with_context(|| format!("cannot make the network namespace {name} (needs CAP_SYS_ADMIN)"))?;
        Ok(Self { name })
    }

    /// The name, as in `ip netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        place(&self.name)
    }

    /// A command that runs its arguments in the namespace. nsenter(1) execs, so the process id is the program's.
    pub fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", place(&self.name).display()));
        command
    }
}

impl Drop for NetNs {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.name) {
            eprintln!("appliance: {error:#}");
        }
    }
}

fn place(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// Ends every process in the namespace `name` and removes it; its interfaces go with it. Returns whether it existed.
pub fn remove(name: &str) -> Result<bool> {
    let path = place(name);
    if path.symlink_metadata().is_err() {
        return Ok(false);
    }
    let deadline = Instant::now() + KILL_LIMIT;
    loop {
        let inside = processes_in(&path);
        if inside.is_empty() || Instant::now() >= deadline {
            break;
        }
        for pid in inside {
            _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // Fails when the mount is gone already, as after a restart of the host.
    _ = unmount(&path, UnmountFlags::DETACH);
    remove_if_there(&path).with_context(|| format!("cannot remove the network namespace {name}"))
}

/// The live processes whose network namespace is mounted at `path`. Zombies have none.
fn processes_in(path: &Path) -> Vec<Pid> {
    let Ok(wanted) = fs::metadata(path) else { return Vec::new() };
    let inside = |pid: &Pid| {
        fs::metadata(format!("/proc/{}/ns/net", pid.as_raw_nonzero()))
            .is_ok_and(|meta| (meta.dev(), meta.ino()) == (wanted.dev(), wanted.ino()))
    };
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        .filter(inside)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_is_not_there_is_no_error() {
        assert!(!remove("flatland-no-such-namespace").unwrap());
    }

    #[test]
    fn processes_are_found_by_their_namespace() {
        let own = processes_in(Path::new("/proc/self/ns/net"));
        assert!(own.contains(&rustix::process::getpid()));
    }
}
