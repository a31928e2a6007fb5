//! Two guests on a shared-memory cable: how each is booted, and what it says.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::guest::Boot;
use crate::interrupt::Interrupt;
use crate::process::{Ending, Process};

/// What runs in both guests.
const PEER: &str = include_str!("peer.py");
/// Between two looks at the interrupt.
const LOOK: Duration = Duration::from_millis(100);

/// Which end of the cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Serves, at 10.66.0.1.
    Server,
    /// Connects, from 10.66.0.2.
    Client,
}

/// How a guest is on the cable.
#[derive(Clone, Debug)]
pub struct Port<'a> {
    pub end: End,
    /// Fields of `eth0=vhost-user,<socket>,<mac>,…`, such as `server,backend`.
    pub fields: &'a str,
    /// The value of `idle=`.
    pub idle: &'a str,
}

/// What both guests have in common.
#[derive(Debug)]
pub struct Cable {
    pub vmlinux: PathBuf,
    pub rootfs: PathBuf,
    /// A folder of our own for sockets; gone with this value.
    folder: PathBuf,
}

impl Cable {
    /// Makes the folder for sockets, whose path is short enough for one.
    pub fn new(vmlinux: PathBuf, rootfs: PathBuf) -> Result<Cable> {
        let folder = std::env::temp_dir().join(format!("flatland-soak-vhost-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Cable { vmlinux, rootfs, folder })
    }

    /// Boots a guest at one end of the cable `name`, with `words` for the program in it.
    pub fn boot(&self, name: &str, port: &Port<'_>, words: &[&str]) -> Result<Guest> {
        let (number, role) = match port.end {
            End::Server => (1, "serve"),
            End::Client => (2, "connect"),
        };
        let (what, rest) = words.split_first().context("no words for the program")?;
        let mut argv = vec!["/usr/bin/python3", "-c", PEER, what, role, "10.66.0.1"];
        argv.extend(rest);
        let boot = Boot::new(&self.rootfs, argv.into_iter().map(str::to_owned).collect());

        let mut command = Command::new(&self.vmlinux);
        let socket = self.folder.join(name);
        let mut link = format!("eth0=vhost-user,{},02:00:00:00:66:0{number}", socket.display());
        if !port.fields.is_empty() {
            link = link + "," + port.fields;
        }
        command.arg(link).arg(format!("ip=10.66.0.{number}:::255.255.255.0::eth0:off"));
        command.arg(format!("idle={}", port.idle)).args(boot.arguments());
        Guest::start(command)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.folder);
    }
}

/// A booted guest.
#[derive(Debug)]
pub struct Guest {
    process: Process,
    lines: Receiver<String>,
    errors: JoinHandle<String>,
}

impl Guest {
    fn start(mut command: Command) -> Result<Guest> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process::spawn("vmlinux", command)?;
        let stdout = process.take_stdout().context("vmlinux has no output")?;
        let mut stderr = process.take_stderr().context("vmlinux has no log")?;
        let (send, lines) = channel();
        std::thread::spawn(move || {
            // Ends with the guest, or with whom it tells.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line.trim_end().to_owned()).is_err() {
                    break;
                }
            }
        });
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            _ = stderr.read_to_string(&mut text);
            text
        });
        Ok(Guest { process, lines, errors })
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// Its next line; `None` when it has ended.
    ///
    /// # Errors
    /// Nothing came within `limit`; the interrupt.
    pub fn line(&self, limit: Duration, interrupt: &Interrupt) -> Result<Option<String>> {
        let deadline = Instant::now() + limit;
        loop {
            interrupt.check()?;
            match self.lines.recv_timeout(LOOK) {
                Ok(line) => return Ok(Some(line)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                    bail!("a guest said nothing for {} s", limit.as_secs())
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// All lines to its end, which is to be a good one.
    ///
    /// # Errors
    /// Another end, with what it wrote to its log; not within `limit`.
    pub fn finish(self, limit: Duration, interrupt: &Interrupt) -> Result<Vec<String>> {
        let (ending, _) = self.process.wait(limit, interrupt)?;
        let lines = self.lines.iter().collect();
        if ending == Ending::Exited(0) {
            return Ok(lines);
        }
        let log = self.errors.join().unwrap_or_default();
        bail!("a guest ended with {ending}: {}\n{}", lines.join("\n"), log.trim())
    }

    /// Kills it without warning; returns its log.
    pub fn kill(self, interrupt: &Interrupt) -> Result<String> {
        let pid = rustix::process::Pid::from_raw(self.id().cast_signed()).context("no pid")?;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
        self.process.wait(Duration::from_secs(10), interrupt)?;
        Ok(self.errors.join().unwrap_or_default())
    }
}

/// Open descriptors of a process.
pub fn descriptors(pid: u32) -> Result<usize> {
    let path = Path::new("/proc").join(pid.to_string()).join("fd");
    Ok(fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))?.count())
}
