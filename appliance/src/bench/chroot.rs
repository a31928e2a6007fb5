//! Programs in a root directory other than the host's: chroot in a mount namespace of their own, with /proc, /dev and
//! a /tmp.

use std::path::Path;
use std::process::Command;

use super::pinning;
use crate::wiring::NetNs;

/// Arguments: the root, a folder to show in it or nothing, the place where, the program and its arguments. The mounts
/// vanish with the namespace, which ends with the program.
const SCRIPT: &str = "root=$1 from=$2 to=$3; shift 3; mount -t proc proc \"$root/proc\" && \
                      mount -t tmpfs tmpfs \"$root/tmp\" && mount --rbind /dev \"$root/dev\" || exit; \
                      if [ -n \"$from\" ]; then mkdir \"$root$to\" && mount --bind \"$from\" \"$root$to\" || exit; fi; \
                      exec chroot \"$root\" \"$@\"";

/// The search path of tools, on the host and in the root.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// `argv` in `root` and in the network namespace `ns`. Every program on the way execs the next one, so the process id
/// is the tool's own in the end.
pub fn command(ns: &NetNs, cpu: Option<usize>, root: &Path, argv: &[String]) -> Command {
    command_with(ns, cpu, root, None, argv)
}

/// The same with a folder of the host shown in the root, below /tmp.
pub fn command_with(
    ns: &NetNs,
    cpu: Option<usize>,
    root: &Path,
    bind: Option<(&Path, &str)>,
    argv: &[String],
) -> Command {
    let mut command = ns.command();
    pinning::pin(&mut command, cpu);
    command.args(["unshare", "--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"]);
    let (from, to) = bind.unwrap_or((Path::new(""), ""));
    command.arg(root).arg(from).arg(to).args(argv);
    command.env_clear().env("PATH", PATH).env("HOME", "/root");
    command
}
