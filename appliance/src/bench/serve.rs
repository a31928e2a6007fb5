//! The server of a run: on the host's side, or in a guest of the system's own kind, with what joins the two guests.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail};

use super::chroot;
use super::raw_files::RawFiles;
use super::round::Site;
use super::systems::{Job, Role, SWITCH_READY, System};
use super::workloads::Server;
use crate::process::Process;

/// How long a server may take until it listens: the slowest guest boots in a second and a half.
const LIMIT: Duration = Duration::from_secs(15);
/// Between a guest server's greeting and its listening.
const SETTLE: Duration = Duration::from_millis(100);

/// A server that listens. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Serving {
    server: Process,
    switch: Option<Process>,
}

impl Serving {
    /// CPU time of the server, or of its whole guest, and of the switch.
    pub fn cpu_time(&self) -> Option<Duration> {
        let switch = self.switch.as_ref().and_then(Process::cpu_time).unwrap_or_default();
        Some(self.server.cpu_time()? + switch)
    }

    /// The processes that serve.
    pub fn ids(&self) -> Vec<u32> {
        std::iter::once(&self.server).chain(&self.switch).map(Process::id).collect()
    }
}

/// Starts `server` for clients of `system` and waits until it listens.
pub(super) fn start(server: &Server, system: &dyn System, site: &Site, files: &RawFiles) -> Result<Serving> {
    let switch = system.switch(site)?.map(|command| start_switch(command, site, files)).transpose()?;
    Ok(Serving { server: start_server(server, system, site, files)?, switch })
}

fn start_switch(mut command: Command, site: &Site, files: &RawFiles) -> Result<Process> {
    let log = File::create(files.switch())?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let process = Process::spawn("appliance switch", command)?;
    let ready = site.interrupt.wait_for(LIMIT, || !process.is_running() || says(&files.switch(), SWITCH_READY))?;
    if !ready || !process.is_running() {
        bail!("the switch did not start: {}", fs::read_to_string(files.switch()).unwrap_or_default().trim());
    }
    Ok(process)
}

fn start_server(server: &Server, system: &dyn System, site: &Site, files: &RawFiles) -> Result<Process> {
    let name = server.argv.first().map_or("server", String::as_str);
    let in_guest = system.serves_in_guest();
    let mut command = if in_guest {
        system.command(site, &Job { argv: &server.argv, network: true, init: false, role: Role::Server })?
    } else {
        chroot::command(site.wiring.host(), site.cpu(Role::Server), &site.rootfs.dir, &server.argv)
    };
    let log = File::create(files.server())?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let process = Process::spawn(name, command)?;
    let pid = process.id();
    let listening = || if in_guest { says(&files.server(), server.greeting) } else { listens(pid, server.port) };
    let ready = site.interrupt.wait_for(LIMIT, || !process.is_running() || listening())?;
    if !ready || !process.is_running() {
        let said = fs::read_to_string(files.server()).unwrap_or_default();
        let place = if in_guest { "in a guest" } else { "on the host's side" };
        bail!("{name} {place} does not listen on port {}: {}", server.port, said.trim());
    }
    if in_guest {
        std::thread::sleep(SETTLE);
    }
    Ok(process)
}

fn says(log: &Path, greeting: &str) -> bool {
    fs::read(log).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(greeting))
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
