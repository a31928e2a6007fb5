//! What needs root, for users who are not: the same command again, as root of a user namespace of its own.
//!
//! The inner program has its own network, mount and process id namespaces, an empty /run, and no more rights on the host
//! than the user has; taps work where /dev/net/tun may be opened. It dies with the outer one, and with it everything
//! that it started or made, so that nothing can be left over: there is no note for `appliance down`.

use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::interrupt::Interrupt;
use crate::process_tree;

/// Arguments: the program and its arguments.
const SCRIPT: &str = "mount -t tmpfs tmpfs /run && exec \"$@\"";
const UNSHARE: [&str; 9] =
    ["unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
/// Between looks at the inner program.
const POLL: Duration = Duration::from_millis(20);

/// Runs this program with its own arguments again and takes its exit status over.
pub fn run_again(what: &str, interrupt: &Interrupt) -> Result<ExitCode> {
    permitted().with_context(|| {
        format!("{what} makes network namespaces and taps, which needs root or a user namespace: run it with sudo")
    })?;
    let mut command = in_namespaces();
    command.arg(std::env::current_exe().context("cannot tell where this program lies")?);
    let mut child = command.args(std::env::args_os().skip(1)).spawn().context("cannot start unshare(1)")?;
    let mut told = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(code(status));
        }
        // A Ctrl-C reaches the inner program at the terminal; what is meant for us alone has to be passed on.
        if interrupt.told_to_end() && !told {
            told = true;
            let inner = process_tree::descendants(child.id()).get(1).and_then(|pid| Pid::from_raw(pid.cast_signed()));
            if let Some(pid) = inner {
                _ = kill_process(pid, Signal::TERM);
            }
        }
        std::thread::sleep(POLL);
    }
}

/// Whether the host lets this user have the namespaces.
pub fn permitted() -> Result<()> {
    let output = in_namespaces().arg("true").output().context("cannot start unshare(1) or setpriv(1)")?;
    if !output.status.success() {
        bail!("user namespaces are not to be had: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// A command that runs its arguments there.
fn in_namespaces() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).args(UNSHARE).args(["sh", "-c", SCRIPT, "sh"]);
    command
}

fn code(status: ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}
