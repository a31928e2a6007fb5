//! `appliance shell`: a guest with eth0 up and a shell, or another command, on this terminal.

use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};

use crate::guest::{self, Boot, Hook};
use crate::interrupt::{Interrupt, Interrupted};
use crate::privilege;
use crate::process::Ending;
use crate::rootfs::{self, Rootfs, recipe::Recipe};
use crate::wiring::{TAP_GUEST, TAP_HOST, Wiring};

const RECIPE: &str = "netbench";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Between SIGTERM and SIGKILL when we are told to go while the guest runs.
const TERM_GRACE: Duration = Duration::from_secs(1);

/// What `appliance shell` was asked for.
#[derive(Debug)]
pub struct Options {
    pub rootfs: Option<PathBuf>,
    pub vmlinux: Option<PathBuf>,
    pub hook: Option<Hook>,
    pub memory: String,
    pub writable: bool,
    /// Empty: a shell.
    pub command: Vec<String>,
}

/// Boots the guest, waits for it and takes its exit status over.
pub fn run(options: Options) -> Result<ExitCode> {
    let vmlinux = guest::find_vmlinux(options.vmlinux.as_deref())?;
    let interrupt = Interrupt::install()?;
    let rootfs = match &options.rootfs {
        Some(dir) => Rootfs::open(dir)?,
        None => rootfs::ensure(&Recipe::load(RECIPE)?, None, false, &interrupt)?,
    };
    let mut init = resolve(&rootfs, &options.command)?;
    if isatty(io::stdin()) {
        init = with_terminal(&rootfs, init);
    }
    let mut boot = Boot::new(&rootfs.dir, init);
    boot.hook = options.hook;
    boot.memory = options.memory;
    boot.writable = options.writable;
    boot.environment = environment();

    let wiring = wire(&rootfs);
    let mut command = match &wiring {
        Some(wiring) => {
            boot.nic = Some(wiring.nic());
            let mut command = wiring.host().command();
            command.arg(&vmlinux);
            command
        }
        None => Command::new(&vmlinux),
    };
    command.args(boot.arguments());

    let _terminal = TerminalMode::keep();
    let child = command.spawn().with_context(|| format!("cannot start {}", vmlinux.display()))?;
    let ending = wait(child, &interrupt)?;
    Ok(match ending {
        Ending::Exited(status) => ExitCode::from(u8::try_from(status & 0xff).unwrap_or(u8::MAX)),
        Ending::Signalled(signal) => {
            eprintln!("appliance: vmlinux was ended by signal {signal}");
            ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX))
        }
        Ending::TimedOut(_) => ExitCode::FAILURE,
    })
}

/// The private network, or a line that says why there is none.
fn wire(rootfs: &Rootfs) -> Option<Wiring> {
    if !privilege::is_root() {
        eprintln!("not root, so the guest has no eth0: run it with sudo for a network");
        return None;
    }
    match Wiring::set_up(&rootfs.dir) {
        Ok(wiring) => {
            let host = wiring.host().name();
            eprintln!("guest {TAP_GUEST}, host {TAP_HOST} in namespace {host} (`ip netns exec {host} …` runs there)");
            Some(wiring)
        }
        Err(error) => {
            eprintln!("the guest has no eth0: {error:#}");
            None
        }
    }
}

/// init and its arguments: what was asked for, or the best shell of the root.
fn resolve(rootfs: &Rootfs, command: &[String]) -> Result<Vec<String>> {
    let Some((program, arguments)) = command.split_first() else {
        let shells = [["/bin/bash", "-l"], ["/bin/busybox", "sh"]];
        let shell = shells.iter().find(|shell| rootfs.find_program(shell[0]).is_some());
        return match shell {
            Some(shell) => Ok(shell.map(str::to_owned).to_vec()),
            None => bail!("no /bin/bash nor /bin/busybox in {}: name a command after --", rootfs.dir.display()),
        };
    };
    let path = rootfs
        .find_program(program)
        .with_context(|| format!("no program '{program}' in the root directory {}", rootfs.dir.display()))?;
    Ok(std::iter::once(path).chain(arguments.iter().cloned()).collect())
}

/// `command` with the console as its controlling terminal, as a getty would start it: without one, Ctrl-C reaches
/// nobody. It is no init itself, because init's children are never stopped by Ctrl-Z (their process groups count as
/// orphaned, setpgid(2)). A root without setsid(1) has to do without.
fn with_terminal(rootfs: &Rootfs, command: Vec<String>) -> Vec<String> {
    let (Some(sh), Some(setsid)) = (rootfs.find_program("sh"), rootfs.find_program("setsid")) else {
        return command;
    };
    let script = format!("{setsid} -c \"$@\"; exit $?");
    [sh, "-c".into(), script, "init".into()].into_iter().chain(command).collect()
}

fn environment() -> Vec<(String, String)> {
    let (name, value) = PATH.split_once('=').unwrap_or((PATH, ""));
    let term = std::env::var("TERM").unwrap_or_else(|_| "linux".into());
    let pairs = [(name, value), ("HOME", "/root"), ("TERM", term.as_str())];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

fn wait(mut child: Child, interrupt: &Interrupt) -> Result<Ending> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.into());
        }
        // A Ctrl-C is the guest's: it reached vmlinux on the terminal, and is no reason for us to go.
        if interrupt.told_to_end() {
            if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
                _ = kill_process(pid, Signal::TERM);
            }
            std::thread::sleep(TERM_GRACE);
            _ = child.kill();
            _ = child.wait();
            return Err(Interrupted.into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The terminal's mode from before, put back when dropped: a killed guest cannot do it.
struct TerminalMode(Option<Termios>);

impl TerminalMode {
    fn keep() -> Self {
        let stdin = io::stdin();
        Self(if isatty(&stdin) { tcgetattr(&stdin).ok() } else { None })
    }
}

impl Drop for TerminalMode {
    fn drop(&mut self) {
        if let Some(mode) = &self.0 {
            _ = tcsetattr(io::stdin(), OptionalActions::Now, mode);
        }
    }
}
