//! One tool run: server up, client through its system, output kept and read, CPU time of both sides.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::chroot;
use super::pinning::Pinning;
use super::systems::System;
use super::workloads::{Case, Server};
use crate::interrupt::Interrupt;
use crate::process::{Ending, Process};
use crate::rootfs::Rootfs;
use crate::wiring::Wiring;

/// How long a server may take until it listens.
const SERVER_LIMIT: Duration = Duration::from_secs(5);
/// What a client may take beyond its own duration: boot, connecting, the exchange of results.
const GRACE: Duration = Duration::from_secs(15);
/// How long the trial of a system may take.
const PROBE_LIMIT: Duration = Duration::from_secs(10);
/// How much of a failed tool's own words goes into the reason.
const QUOTE: usize = 300;

/// Where runs happen.
#[derive(Debug)]
pub struct Site<'a> {
    pub wiring: &'a Wiring,
    pub rootfs: &'a Rootfs,
    pub pinning: Pinning,
    /// Folder for the tools' output.
    pub raw: &'a Path,
    pub interrupt: &'a Interrupt,
}

/// What came of one tool run.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub system: &'static str,
    pub workload: &'static str,
    pub case: &'static str,
    /// From 1.
    pub round: u32,
    /// One value per metric of the case, or why there is none.
    pub values: Result<Vec<f64>, String>,
    pub wall: Duration,
    /// CPU time of vmlinux or the native client.
    pub guest_side: Option<Duration>,
    /// CPU time of the server, from when it listened.
    pub host_side: Option<Duration>,
    /// The client's output, relative to the report.
    pub raw: String,
}

/// Boots or starts `/usr/bin/true` in `system`; the reason when that does not work. Errors are interrupts.
pub fn probe(system: &dyn System, site: &Site) -> Result<Option<String>> {
    let files = RawFiles::new(site.raw, &format!("{}.probe", system.name()));
    let trial = || -> Result<()> {
        let (ending, _) =
            start(system, site, true, &["/usr/bin/true".into()], &files)?.wait(PROBE_LIMIT, site.interrupt)?;
        match ending {
            Ending::Exited(0) => Ok(()),
            ending => bail!("a trial of /usr/bin/true came to: {ending}{}", files.quote()),
        }
    };
    let outcome = trial();
    site.interrupt.check()?;
    Ok(outcome.err().map(|error| format!("{error:#}")))
}

/// Runs `case` once in `system`. Failures of the tool are part of the outcome; errors are interrupts.
pub fn run(system: &dyn System, case: &dyn Case, round: u32, seconds: u32, site: &Site) -> Result<Outcome> {
    let files = RawFiles::new(site.raw, &format!("{}.{}.{}.{round}", system.name(), case.workload(), case.name()));
    let mut outcome = Outcome {
        system: system.name(),
        workload: case.workload(),
        case: case.name(),
        round,
        values: Err(String::new()),
        wall: Duration::ZERO,
        guest_side: None,
        host_side: None,
        raw: format!("raw/{}.out", files.stem),
    };
    let values = measure(system, case, seconds, site, &files, &mut outcome);
    site.interrupt.check()?;
    outcome.values = values.map_err(|error| format!("{error:#}"));
    Ok(outcome)
}

fn measure(
    system: &dyn System,
    case: &dyn Case,
    seconds: u32,
    site: &Site,
    files: &RawFiles,
    outcome: &mut Outcome,
) -> Result<Vec<f64>> {
    let server = case.server().map(|server| serve(&server, site, files)).transpose()?;
    let server_before = server.as_ref().and_then(Process::cpu_time);

    let argv = case.client(system.server_address(), seconds);
    let started = Instant::now();
    let client = start(system, site, server.is_some(), &argv, files)?;
    let (ending, client_cpu) = client.wait(case.duration(seconds) + GRACE, site.interrupt)?;
    outcome.wall = started.elapsed();
    outcome.guest_side = Some(client_cpu);
    let server_after = server.as_ref().and_then(Process::cpu_time);
    outcome.host_side = server_after.zip(server_before).map(|(after, before)| after.saturating_sub(before));
    drop(server);

    let output = String::from_utf8_lossy(&fs::read(files.out())?).into_owned();
    match ending {
        Ending::Exited(0) => case.parse(&output),
        // The tool's own reason, where it gives one, says more than its exit status.
        Ending::Exited(_) => match case.parse(&output) {
            Err(reason) => Err(reason.context(format!("{ending}{}", files.quote()))),
            Ok(_) => bail!("{ending} in spite of a result{}", files.quote()),
        },
        _ => bail!("{ending}{}", files.quote()),
    }
}

fn start(system: &dyn System, site: &Site, network: bool, argv: &[String], files: &RawFiles) -> Result<Process> {
    let mut command = system.command(site, network, argv)?;
    command.stdin(Stdio::null()).stdout(File::create(files.out())?).stderr(File::create(files.err())?);
    Process::spawn(system.name(), command)
}

/// Starts the server in the host's namespace and waits until it listens.
fn serve(server: &Server, site: &Site, files: &RawFiles) -> Result<Process> {
    let name = server.argv.first().map_or("server", String::as_str);
    let mut command = chroot::command(site.wiring.host(), site.pinning.host_side, &site.rootfs.dir, &server.argv);
    let log = File::create(files.server())?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let process = Process::spawn(name, command)?;
    let pid = process.id();
    let ready = site.interrupt.wait_for(SERVER_LIMIT, || !process.is_running() || listens(pid, server.port))?;
    if !ready || !process.is_running() {
        let said = fs::read_to_string(files.server()).unwrap_or_default();
        bail!("{name} on the host's side does not listen on port {}: {}", server.port, said.trim());
    }
    Ok(process)
}

/// Whether a TCP socket listens on `port` in the network namespace of `pid` (proc_pid_net(5)).
fn listens(pid: u32, port: u16) -> bool {
    ["tcp", "tcp6"].iter().any(|table| {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        text.lines().skip(1).any(|line| listening_port(line) == Some(port))
    })
}

/// `  0: 00000000:1451 00000000:0000 0A …`: the local port of a line in state LISTEN (0A).
fn listening_port(line: &str) -> Option<u16> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
    (state == "0A").then(|| u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()).flatten()
}

/// The files that keep what the tools of one run said.
#[derive(Debug)]
struct RawFiles<'a> {
    folder: &'a Path,
    stem: String,
}

impl<'a> RawFiles<'a> {
    fn new(folder: &'a Path, stem: &str) -> Self {
        Self { folder, stem: stem.to_owned() }
    }

    fn place(&self, kind: &str) -> std::path::PathBuf {
        self.folder.join(format!("{}.{kind}", self.stem))
    }

    fn out(&self) -> std::path::PathBuf {
        self.place("out")
    }

    fn err(&self) -> std::path::PathBuf {
        self.place("err")
    }

    fn server(&self) -> std::path::PathBuf {
        self.place("server")
    }

    /// The end of what the client wrote to stderr, as the tail of a message.
    fn quote(&self) -> String {
        let said = fs::read(self.err()).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let line = said.trim().lines().next_back().unwrap_or_default();
        let cut: String = line.chars().take(QUOTE).collect();
        if cut.is_empty() { String::new() } else { format!(" ({cut})") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets_are_told_from_others() {
        let listen = "   0: 00000000:1451 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1";
        let six = "   1: 00000000000000000000000000000000:3241 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0";
        assert_eq!(listening_port(listen), Some(5201));
        assert_eq!(listening_port(six), Some(12865));
        assert_eq!(listening_port(&listen.replace(" 0A ", " 06 ")), None);
        assert_eq!(listening_port("garbage"), None);
    }

    #[test]
    fn a_listening_socket_of_this_process_is_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(listens(std::process::id(), port));
        drop(socket);
        assert!(!listens(std::process::id(), port));
    }
}
