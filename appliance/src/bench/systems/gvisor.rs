//! gVisor: the tool in a sandbox of runsc on the systrap platform, its network stack on a veth pair of its own.
//!
//! runsc takes the address and the routes away from the interface that it finds in the namespace, so both are set
//! again before each run. It decides whether it is in the host's own namespace by a file under /proc/sys/net/core
//! that older kernels show only there and newer ones show everywhere; the folder is covered with an empty one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use super::{Job, System};
use crate::bench::pinning;
use crate::bench::round::Site;
use crate::interrupt::Interrupt;
use crate::rootfs::{self, Rootfs, recipe::Recipe};
use crate::wiring::{SANDBOX_GUEST, SANDBOX_HOST, SANDBOX_VETH, Segment};

const RUNSC: &str = "/usr/bin/runsc";
/// What the tools may do; a subset of what they may natively.
const CAPABILITIES: [&str; 7] = [
    "CAP_NET_RAW",
    "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_ADMIN",
    "CAP_SYS_NICE",
    "CAP_DAC_OVERRIDE",
    "CAP_KILL",
];
/// Arguments: address, device, gateway, the program and its arguments. `ip` is a function that runs ip(8).
const SCRIPT: &str = "address=$1 device=$2 gateway=$3; shift 3; mount -t tmpfs tmpfs /proc/sys/net/core && \
                      ip addr replace \"$address\" dev \"$device\" && ip route replace default via \"$gateway\" && \
                      exec \"$@\"";

#[derive(Debug)]
pub(super) struct Gvisor {
    name: String,
    /// runsc's own tree, once fetched.
    tree: Option<Rootfs>,
}

impl Gvisor {
    pub fn new(name: String) -> Self {
        Self { name, tree: None }
    }
}

impl System for Gvisor {
    fn name(&self) -> &str {
        &self.name
    }

    fn fetch(&mut self, interrupt: &Interrupt) -> Result<()> {
        self.tree = Some(rootfs::ensure(&Recipe::load("gvisor")?, None, false, interrupt)?);
        Ok(())
    }

    fn segment(&self) -> Segment {
        Segment::Sandbox
    }

    fn version(&self) -> Option<String> {
        self.tree.as_ref()?.version_of("runsc")
    }

    fn server_address(&self) -> &'static str {
        SANDBOX_HOST
    }

    fn loses_cpu_time(&self) -> bool {
        true
    }

    fn command(&self, site: &Site, job: &Job) -> Result<Command> {
        let runsc = self.tree.as_ref().context("not downloaded")?.path(RUNSC);
        let sandbox = site.wiring.sandbox().context("its namespace was not made")?;
        let id = site.unique("sandbox");
        let bundle = prepare_bundle(site.scratch(), &id, &site.rootfs.dir, job.argv, sandbox.path())?;
        let mut command = sandbox.command();
        pinning::pin(&mut command, site.cpu(job.role));
        let script = format!("ip() {{ {} \"$@\"; }}; {SCRIPT}", site.wiring.ip_words());
        command.args(["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
        command.args([&format!("{SANDBOX_GUEST}/24"), SANDBOX_VETH, SANDBOX_HOST]);
        command.arg(runsc).arg("--root").arg(site.scratch().join("runsc"));
        // The root is read-only, so nothing needs the overlay, which would put a file into it.
        let options = ["--platform=systrap", "--network=sandbox", "--ignore-cgroups", "--net-raw", "--overlay2=none"];
        command.args(options).arg("run").arg("--bundle").arg(bundle).arg(id);
        Ok(command)
    }
}

/// Writes the OCI configuration of a run and returns its folder.
fn prepare_bundle(scratch: &Path, id: &str, root: &Path, argv: &[String], netns: PathBuf) -> Result<PathBuf> {
    let bundle = scratch.join(id);
    fs::create_dir_all(&bundle).with_context(|| format!("cannot make {}", bundle.display()))?;
    let text = serde_json::to_string(&configuration(root, argv, &netns))?;
    fs::write(bundle.join("config.json"), text).with_context(|| format!("cannot write into {}", bundle.display()))?;
    Ok(bundle)
}

/// config.json of the OCI runtime specification.
fn configuration(root: &Path, argv: &[String], netns: &Path) -> serde_json::Value {
    let tmpfs = |place: &str| json!({"destination": place, "type": "tmpfs", "source": "tmpfs"});
    json!({
        "ociVersion": "1.0.2",
        "hostname": "guest",
        "root": {"path": root, "readonly": true},
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "cwd": "/",
            "args": argv,
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"],
            "capabilities": {"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 65536, "soft": 65536}],
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            tmpfs("/tmp"),
            tmpfs("/run"),
            tmpfs("/dev"),
        ],
        "linux": {
            "namespaces": [
                {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
                {"type": "network", "path": netns},
            ],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_has_what_a_run_needs() {
        let argv = ["/bin/sh".to_owned(), "-c".into(), "echo \"x\"".into()];
        let config = configuration(Path::new("/r"), &argv, Path::new("/run/netns/x"));
        assert_eq!(config["process"]["args"][2], "echo \"x\"");
        assert_eq!((&config["root"]["path"], &config["root"]["readonly"]), (&"/r".into(), &true.into()));
        let namespaces = config["linux"]["namespaces"].as_array().unwrap();
        assert!(namespaces.iter().any(|ns| ns["type"] == "network" && ns["path"] == "/run/netns/x"));
    }
}
