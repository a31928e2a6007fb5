//! One tool run: server up, client through its system, output kept and read, CPU time of both sides, noise.

use std::cell::Cell;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::brake::{Brake, SlowDown};
use super::disk::Disk;
use super::noise::{Before, Surroundings};
use super::observe::{CPU_PERIOD, CpuWatch, MemoryWatch, Observed, Reader, Watch};
use super::pace::Pacer;
use super::pinning::Pinning;
use super::raw_files::RawFiles;
use super::serve::{self, Serving};
use super::systems::{Job, Role, System};
use super::workloads::{Case, Values};
use crate::interrupt::Interrupt;
use crate::process::{Ending, Process};
use crate::rootfs::Rootfs;
use crate::wiring::Wiring;

/// What a client may take beyond its own limit: boot, connecting, the exchange of results.
const GRACE: Duration = Duration::from_secs(15);
/// How long the trial of a system may take.
const PROBE_LIMIT: Duration = Duration::from_secs(20);

/// Where runs happen.
#[derive(Debug)]
pub struct Site<'a> {
    pub wiring: &'a Wiring,
    pub rootfs: &'a Rootfs,
    pub pinning: Pinning,
    pub pacer: Pacer,
    /// Folder for the tools' output.
    pub raw: &'a Path,
    pub interrupt: &'a Interrupt,
    /// Who is slowed down on purpose.
    pub slow: Option<&'a SlowDown>,
    /// How many unique names were given out.
    pub names: Cell<u32>,
}

impl Site<'_> {
    /// The CPU of that end, when ends are pinned.
    pub fn cpu(&self, role: Role) -> Option<usize> {
        match role {
            Role::Client => self.pinning.guest_side,
            Role::Server => self.pinning.host_side,
        }
    }

    /// A name that nothing else of this host has.
    pub fn unique(&self, what: &str) -> String {
        self.names.set(self.names.get() + 1);
        format!("flatland-{}-{what}-{}", std::process::id(), self.names.get())
    }

    /// A folder for files of a run.
    pub fn scratch(&self) -> &Path {
        self.wiring.scratch()
    }
}

/// What came of one tool run.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub system: String,
    pub workload: &'static str,
    pub case: String,
    /// From 1.
    pub round: u32,
    /// Each metric's value, or why there is none.
    pub values: Vec<Result<f64, String>>,
    /// The first metric over time, every [`iperf3::STEP`](super::workloads::iperf3::STEP) seconds, where the tool tells.
    pub course: Vec<f64>,
    pub wall: Duration,
    /// CPU time of the system's process or the native client.
    pub guest_side: Option<Duration>,
    /// CPU time of the server, from when it listened.
    pub host_side: Option<Duration>,
    pub around: Surroundings,
    /// The client's output, relative to the report.
    pub raw: String,
}

impl Outcome {
    /// Why it has no value, if none of its metrics has.
    pub fn failure(&self) -> Option<&str> {
        match self.values.iter().any(Result::is_ok) {
            true => None,
            false => self.values.iter().find_map(|value| value.as_ref().err()).map(String::as_str),
        }
    }
}

/// Boots or starts `/usr/bin/true` in `system`; the reason when that does not work. Errors are interrupts.
pub fn probe(system: &dyn System, site: &Site) -> Result<Option<String>> {
    let files = RawFiles::new(site.raw, &format!("{}.probe", system.name()));
    let trial = || -> Result<()> {
        let argv = ["/usr/bin/true".to_owned()];
        let job = Job { argv: &argv, network: true, init: false, role: Role::Client };
        let (process, _) = start(system.name(), system.command(site, &job)?, Watch::Output, &files)?;
        let (ending, _) = process.wait(PROBE_LIMIT, site.interrupt)?;
        match system.ending(ending, &files.output()) {
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
        system: system.name().to_owned(),
        workload: case.workload(),
        case: case.name().to_owned(),
        round,
        values: Vec::new(),
        course: Vec::new(),
        wall: Duration::ZERO,
        guest_side: None,
        host_side: None,
        around: Surroundings::default(),
        raw: files.relative(),
    };
    let metrics = case.metrics().len();
    let values = measure(system, case, seconds, site, &files, &mut outcome).and_then(|values| {
        if values.len() != metrics {
            bail!("{} values of {metrics}", values.len());
        }
        Ok(values)
    });
    site.interrupt.check()?;
    outcome.values = match values {
        Ok(values) => values.into_iter().map(|value| value.map_err(|error| format!("{error:#}"))).collect(),
        Err(error) => vec![Err(format!("{error:#}")); metrics],
    };
    Ok(outcome)
}

fn measure(
    system: &dyn System,
    case: &dyn Case,
    seconds: u32,
    site: &Site,
    files: &RawFiles,
    outcome: &mut Outcome,
) -> Values {
    let server = case.server().map(|server| serve::start(&server, system, site, files)).transpose()?;
    let server_before = server.as_ref().and_then(Serving::cpu_time);
    let before = Before::read(&site.pacer);

    let slow = site.slow.filter(|slow| slow.system == system.name());
    let slowed = slow.and_then(|slow| case.slowed_client(slow.percent, seconds));
    let brakes = slow.filter(|_| slowed.is_none());
    let argv = slowed.unwrap_or_else(|| case.client(system.server_address(), seconds));
    let job = Job { argv: &argv, network: server.is_some(), init: case.is_init(), role: Role::Client };
    let disk = case.on_disk().then(|| Disk::new(site)).transpose()?;
    let command = match &disk {
        Some(disk) => system.command_on_disk(site, &job, disk.path()),
        None => system.command(site, &job),
    }?;
    let started = Instant::now();
    let (client, reader) = start(system.name(), command, case.watch(), files)?;
    let groups = [server.as_ref().map(Serving::ids).unwrap_or_default(), vec![client.id()]].concat();
    let brake = brakes.map(|slow| Brake::pull(&groups, slow.percent));
    let mut memory = (case.watch() == Watch::Memory).then(MemoryWatch::new);
    let mut cpu = system.loses_cpu_time().then(CpuWatch::new);
    let limit = case.limit(seconds) + GRACE;
    let (ending, client_cpu) = client.watch(limit, site.interrupt, |pid| {
        if let Some(memory) = &mut memory {
            memory.look(pid);
        }
        if let Some(cpu) = &mut cpu {
            cpu.look(pid);
        }
    })?;
    drop(brake);
    let client_cpu = cpu.map_or(client_cpu, |cpu| cpu.total().max(client_cpu));
    outcome.wall = started.elapsed();
    outcome.guest_side = Some(client_cpu);
    let server_after = server.as_ref().and_then(Serving::cpu_time);
    outcome.host_side = server_after.zip(server_before).map(|(after, before)| after.saturating_sub(before));
    let own = client_cpu + outcome.host_side.unwrap_or_default();
    let unsure = if system.loses_cpu_time() { CPU_PERIOD } else { Duration::ZERO };
    outcome.around = before.until_now(own, unsure, &site.pacer);
    drop(server);

    let seen = Observed {
        mark: reader.and_then(Reader::finish).map(|at| at - started),
        output: files.output(),
        memory: memory.map(MemoryWatch::finish).unwrap_or_default(),
    };
    let ending = if case.is_init() { ending } else { system.ending(ending, &seen.output) };
    match ending {
        Ending::Exited(0) => {
            let values = case.values(&seen);
            outcome.course = case.course(&seen.output);
            values
        }
        // The tool's own reason, where it gives one, says more than its exit status.
        Ending::Exited(_) => match case.values(&seen) {
            Err(reason) => Err(reason.context(format!("{ending}{}", files.quote()))),
            Ok(_) => bail!("{ending} in spite of a result{}", files.quote()),
        },
        _ => bail!("{ending}{}", files.quote()),
    }
}

fn start(name: &str, mut command: Command, watch: Watch, files: &RawFiles) -> Result<(Process, Option<Reader>)> {
    command.stdin(Stdio::null()).stderr(File::create(files.err())?);
    if watch == Watch::Mark {
        command.stdout(Stdio::piped());
    } else {
        command.stdout(File::create(files.out())?);
    }
    let mut process = Process::spawn(name, command)?;
    let reader = match watch {
        Watch::Mark => Some(Reader::start(process.take_stdout().context("no pipe to read from")?, &files.out())?),
        Watch::Output | Watch::Memory => None,
    };
    Ok((process, reader))
}
