//! Tools of the root directory run natively: chroot in a mount namespace of their own, with /proc, /dev and a /tmp.

use std::path::Path;
use std::process::Command;

use super::pinning;
use crate::wiring::NetNs;

/// The mounts vanish with the namespace, which ends with the tool.
const SCRIPT: &str = "root=$1; shift; mount -t proc proc \"$root/proc\" && mount -t tmpfs tmpfs \"$root/tmp\" && \
                      mount --rbind /dev \"$root/dev\" && exec chroot \"$root\" \"$@\"";

/// The search path of tools, on the host and in the root.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// `argv` in `root` and in the network namespace `ns`. Every program on the way execs the next one, so the process id
/// is the tool's own in the end.
pub fn command(ns: &NetNs, cpu: Option<usize>, root: &Path, argv: &[String]) -> Command {
    let mut command = ns.command();
    pinning::pin(&mut command, cpu);
    command.args(["unshare", "--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"]);
    command.arg(root).args(argv);
    command.env_clear().env("PATH", PATH).env("HOME", "/root");
    command
}
