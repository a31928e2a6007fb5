//! `appliance soak process`: processes and threads made and ended for long in one guest, whose host process must not grow.
//!
//! The guest program (`benches/guest/soak_process.c`) says every hundredth part how far it is and how much memory it has
//! free. At each such line the host's side of the machine is sampled: proportional memory and descriptors of `vmlinux`.
//! [`verdict`] compares the samples of an early part of each phase with those of its end; [`report`] writes all of it.

mod report;
mod verdict;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::guest::{self, Boot, Hook};
use crate::interrupt::Interrupt;
use crate::process::{Ending, Process};
use crate::report::machine::Machine;
use crate::report::timestamp::Timestamp;
use crate::rootfs::{self, Rootfs, recipe::Recipe};

const RECIPE: &str = "netbench";
const PROGRAM: &str = "/usr/lib/flatland/soak_process";
/// The guest ends within this after its last line.
const END: Duration = Duration::from_secs(10);

/// What `appliance soak process` was asked for.
#[derive(Debug)]
pub struct Options {
    /// Processes to fork, execute and wait for.
    pub cycles: u64,
    /// Threads to make and join.
    pub threads: u64,
    /// Decides how they are batched and how they end.
    pub seed: u32,
    pub hook: Hook,
    pub memory: String,
    pub rootfs: Option<PathBuf>,
    pub vmlinux: Option<PathBuf>,
    /// Folder of the report.
    pub out: PathBuf,
}

/// The machine at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since the guest was started.
    pub seconds: f64,
    /// `start`, `processes` or `threads`.
    pub phase: String,
    /// Cycles or threads of the phase so far.
    pub done: u64,
    /// The guest's MemAvailable.
    pub guest_free_kb: i64,
    /// Proportional set size of vmlinux.
    pub pss_kb: i64,
    /// Open descriptors of vmlinux.
    pub descriptors: i64,
}

/// Runs the guest, samples it, judges and reports. Status 1 if it grew or failed.
pub fn run(options: &Options) -> Result<ExitCode> {
    let vmlinux = guest::find_vmlinux(options.vmlinux.as_deref())?;
    let interrupt = Interrupt::install()?;
    let rootfs = match &options.rootfs {
        Some(dir) => Rootfs::open(dir)?,
        None => rootfs::ensure(&Recipe::load(RECIPE)?, None, false, &interrupt)?,
    };
    let words = [PROGRAM.to_owned(), options.cycles.to_string(), options.threads.to_string(), options.seed.to_string()];
    let mut boot = Boot::new(&rootfs.dir, words.to_vec());
    boot.hook = Some(options.hook);
    boot.memory.clone_from(&options.memory);
    let started = Timestamp::now();
    let (samples, failure) = watch(&vmlinux, &boot, &interrupt)?;
    let verdict = verdict::judge(&samples, failure);
    let report = report::Report {
        schema_version: report::SCHEMA_VERSION,
        generator: format!("appliance {}", env!("CARGO_PKG_VERSION")),
        commit: super::commit(),
        started: started.rfc3339(),
        finished: Timestamp::now().rfc3339(),
        machine: Machine::read(),
        hook: options.hook.name().to_owned(),
        memory: options.memory.clone(),
        cycles: options.cycles,
        threads: options.threads,
        seed: options.seed,
        verdict,
        samples,
    };
    report.write(&options.out)?;
    print!("{}", report.markdown());
    println!("report in {}", options.out.display());
    Ok(if report.verdict.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Boots the guest and samples it at each of its lines. Returns the samples, and what went wrong.
fn watch(vmlinux: &std::path::Path, boot: &Boot, interrupt: &Interrupt) -> Result<(Vec<Sample>, Option<String>)> {
    let mut command = Command::new(vmlinux);
    command.args(boot.arguments()).stdin(Stdio::null()).stdout(Stdio::piped());
    let begun = Instant::now();
    let mut process = Process::spawn("guest", command)?;
    let output = process.take_stdout().context("the guest's output is not a pipe")?;
    let (mut samples, mut ended) = (Vec::new(), false);
    for line in BufReader::new(output).lines() {
        interrupt.check()?;
        let line = line.context("the guest's output cannot be read")?;
        let line = line.trim_end();
        if line == "soak end" {
            ended = true;
        } else if let Some((phase, done, guest_free_kb)) = parse(line) {
            // The guest pauses after each line, so that only its own sudden end comes before a sample.
            let (Ok(pss_kb), Ok(descriptors)) = (pss_kb(process.id()), descriptors(process.id())) else { continue };
            samples.push(Sample {
                seconds: (begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
                phase,
                done,
                guest_free_kb,
                pss_kb,
                descriptors,
            });
        }
    }
    let (ending, _) = process.wait(END, interrupt)?;
    let failure = match (ended, ending) {
        (true, Ending::Exited(0)) => None,
        (true, other) => Some(format!("the guest ended with {other}")),
        (false, other) => Some(format!("the guest stopped half-way: {other}")),
    };
    Ok((samples, failure))
}

/// The words of a line of the guest program: phase, done, free kilobytes.
fn parse(line: &str) -> Option<(String, u64, i64)> {
    let mut words = line.strip_prefix("soak ")?.split(' ');
    let mut value = |key: &str| words.next()?.strip_prefix(key).map(str::to_owned);
    Some((value("phase=")?, value("done=")?.parse().ok()?, value("free_kb=")?.parse().ok()?))
}

/// `Pss` of /proc/<pid>/smaps_rollup (proc_pid_smaps(5)).
fn pss_kb(pid: u32) -> Result<i64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix("Pss:")).map(|rest| rest.trim().trim_end_matches(" kB"));
    match value.map(str::parse) {
        Some(Ok(kb)) => Ok(kb),
        _ => bail!("{path} has no Pss"),
    }
}

fn descriptors(pid: u32) -> Result<i64> {
    let path = format!("/proc/{pid}/fd");
    let count = fs::read_dir(&path).with_context(|| format!("cannot read {path}"))?.count();
    Ok(i64::try_from(count)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_guest_program_parse() {
        assert_eq!(parse("soak phase=threads done=10 free_kb=500"), Some(("threads".into(), 10, 500)));
        for bad in ["soak end", "", "soak phase=x done=y free_kb=1", "phase=a done=1 free_kb=2"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn this_process_can_be_sampled() {
        assert!(pss_kb(std::process::id()).unwrap() > 0);
        assert!(descriptors(std::process::id()).unwrap() >= 3);
    }
}
