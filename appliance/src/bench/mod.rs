//! `appliance bench`: the same tools, from the same root directory, natively and in guests, in turns.
//!
//! Round by round and case by case every system gets its turn, the first one rotating, so that a drift of the host hits
//! all alike; ratios are taken within a round. Each run is one tool run: a fresh server in the host namespace, the
//! client natively in the other namespace or as init of a guest that is booted for it. Runs that fail stay in the
//! report with their reason, and so do systems that cannot run at all. What a system is made of is downloaded before
//! anything is wired.

mod again;
pub mod brake;
pub mod chroot;
mod disk;
pub mod noise;
pub mod observe;
pub mod pace;
pub mod pinning;
pub mod plan;
mod raw_files;
pub mod round;
mod serve;
pub mod stats;
pub mod systems;
pub mod workloads;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::guest;
use crate::interrupt::Interrupt;
use crate::privilege;
use crate::progress::Progress;
use crate::report::{self, Earlier, Report, SystemState, timestamp::Timestamp};
use crate::rootfs::{self, Rootfs, recipe::Recipe};
use crate::unprivileged;
use crate::wiring::Wiring;
use pace::Pacer;
use plan::Plan;
use round::{Outcome, Site};
use systems::{Choice, System};

/// The recipe whose root directory has the tools.
const RECIPE: &str = "netbench";

/// Runs the plan and writes the report; the exit status is 1 when a run failed or a system could not run. A user who is
/// not root gets user and network namespaces for it, where the host permits.
pub fn run(plan: Plan) -> Result<ExitCode> {
    let interrupt = Interrupt::install()?;
    let started = Timestamp::now();
    let baseline = plan.baseline.as_deref().map(Report::read).transpose()?;
    let rootfs = match &plan.rootfs {
        Some(dir) => Rootfs::open(dir)?,
        None => rootfs::ensure(&Recipe::load(RECIPE)?, None, false, &interrupt)?,
    };
    let vmlinux = guest::find_vmlinux(plan.vmlinux.as_deref()).map_err(|error| format!("{error:#}"));
    let mut systems: Vec<Candidate> =
        plan.systems.iter().map(|choice| Candidate::new(*choice, vmlinux.clone())).collect();
    each(&mut systems, &interrupt, |system| system.fetch(&interrupt))?;
    if !privilege::is_root() {
        // Everything is in the cache now: the namespaces have no way out to a mirror.
        return unprivileged::run_again("`appliance bench`", &interrupt);
    }
    if let Some(baseline) = &baseline {
        again::add(&mut systems, baseline);
    }
    let out = plan.out.clone().unwrap_or_else(|| PathBuf::from(format!("bench-results/{}", started.compact())));
    let raw = prepare_output(&out)?;

    let mut wiring = Wiring::bare(&rootfs.dir)?;
    each(&mut systems, &interrupt, |system| wiring.add(system.segment(), &rootfs.dir))?;
    let names = Cell::new(0);
    let site = Site {
        wiring: &wiring,
        rootfs: &rootfs,
        pinning: plan.pinning,
        pacer: Pacer::new(plan.pinning),
        raw: &raw,
        interrupt: &interrupt,
        slow: plan.slow.as_ref(),
        names,
    };
    for candidate in systems.iter_mut().filter(|candidate| candidate.reason.is_none()) {
        candidate.reason = round::probe(candidate.system.as_ref(), &site)?;
    }
    for (name, reason) in systems.iter().filter_map(|c| Some((c.system.name(), c.reason.as_ref()?))) {
        eprintln!("{name} cannot run: {reason}");
    }
    let able: Vec<&Candidate> = systems.iter().filter(|candidate| candidate.reason.is_none()).collect();
    let measured = all_rounds(&plan, &able, &site)?;
    let (mut outcomes, complete) = (measured.outcomes, !measured.interrupted);
    outcomes.iter_mut().for_each(|outcome| outcome.around.settle_pace(site.pacer.full()));
    let full_pace = site.pacer.full();
    let congestion_control = wiring.congestion_control().to_owned();
    drop(wiring);

    let report = Report::new(report::Measured {
        plan: &plan,
        started,
        complete,
        rounds: measured.rounds,
        systems: systems.iter().map(Candidate::state).collect(),
        outcomes: &outcomes,
        rootfs: &rootfs,
        vmlinux: vmlinux.as_deref().ok(),
        congestion_control,
        full_pace,
        baseline: baseline.as_ref(),
    });
    report.write(&out)?;
    if let Some(vmlinux) = vmlinux.ok().filter(|_| systems.iter().any(Candidate::ran_vmlinux)) {
        again::keep(&vmlinux, &out)?;
    }
    println!("{}", report::markdown::summary(&report));
    eprintln!("report: {}", out.join("report.html").display());
    if !complete {
        return Ok(ExitCode::from(130));
    }
    Ok(if report.all_ran() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A system that was asked for, and why it cannot run, once that is known.
#[derive(Debug)]
struct Candidate {
    choice: Choice,
    system: Box<dyn System>,
    reason: Option<String>,
    /// What it is if it runs an earlier report's kernel.
    earlier: Option<Earlier>,
}

impl Candidate {
    fn new(choice: Choice, vmlinux: Result<PathBuf, String>) -> Self {
        Self { choice, system: systems::build(choice, choice.name(), vmlinux), reason: None, earlier: None }
    }

    /// Whether today's kernel ran in it.
    fn ran_vmlinux(&self) -> bool {
        self.choice.kind.boots_vmlinux() && self.reason.is_none() && self.earlier.is_none()
    }

    fn state(&self) -> SystemState {
        SystemState {
            name: self.system.name().to_owned(),
            version: self.system.version(),
            ran: self.reason.is_none(),
            reason: self.reason.clone(),
            earlier: self.earlier.clone(),
        }
    }
}

/// Takes a step of the preparation for every system; one that it fails for cannot run. Errors are interrupts.
fn each(
    systems: &mut [Candidate],
    interrupt: &Interrupt,
    mut step: impl FnMut(&mut dyn System) -> Result<()>,
) -> Result<()> {
    for candidate in systems.iter_mut().filter(|candidate| candidate.reason.is_none()) {
        let outcome = step(candidate.system.as_mut());
        interrupt.check()?;
        candidate.reason = outcome.err().map(|error| format!("{error:#}"));
    }
    Ok(())
}

/// The folder for raw output under `out`; that of an earlier report there goes, so that the two do not mix.
fn prepare_output(out: &Path) -> Result<PathBuf> {
    let raw = out.join("raw");
    if out.join("report.json").is_file() && raw.is_dir() {
        fs::remove_dir_all(&raw).with_context(|| format!("cannot replace the earlier output in {}", raw.display()))?;
    }
    fs::create_dir_all(&raw).with_context(|| format!("cannot make the output folder {}", raw.display()))?;
    Ok(raw)
}

/// What came of the rounds.
#[derive(Debug)]
struct Rounds {
    outcomes: Vec<Outcome>,
    /// How many were begun.
    rounds: u32,
    /// Whether an interrupt cut the last one short.
    interrupted: bool,
}

/// Every round that the limit has time for, and of an interrupted one the runs until then.
fn all_rounds(plan: &Plan, systems: &[&Candidate], site: &Site) -> Result<Rounds> {
    let started = Instant::now();
    let mut outcomes = Vec::new();
    let mut disturbed = false;
    let runs = systems.iter().map(|candidate| plan.cases_of(candidate.choice).count()).sum::<usize>();
    let mut progress = Progress::new(plan.rounds as usize * runs, 1);
    progress.expect_at_least(plan.estimate());
    for round in 1..=plan.rounds {
        let done = round - 1;
        if !plan.has_time_for_another(done, started.elapsed()) {
            progress.finish(&format!("{} runs in {done} rounds: another would last beyond the limit", outcomes.len()));
            return Ok(Rounds { outcomes, rounds: done, interrupted: false });
        }
        for case in &plan.cases {
            for turn in 0..systems.len() {
                let Candidate { choice, system, .. } = systems[(turn + round as usize - 1) % systems.len()];
                if !plan::takes(*choice, case.as_ref()) {
                    continue;
                }
                let label = format!("round {round}: {} {} on {}", case.workload(), case.name(), system.name());
                progress.begin(&label);
                match round::run(system.as_ref(), case.as_ref(), round, plan.seconds, site) {
                    Ok(outcome) => {
                        for reason in outcome.values.iter().filter_map(|value| value.as_ref().err()) {
                            progress.note(&format!("{label}: {reason}"));
                        }
                        let noise = outcome.around.noise();
                        outcomes.push(outcome);
                        // One word is enough on a host that is busy all the time.
                        if let Some(noise) = noise.filter(|_| !std::mem::replace(&mut disturbed, true)) {
                            progress.note(&format!("{label}: noisy, {noise}; the report has all noisy runs"));
                        }
                    }
                    Err(_) if site.interrupt.raised() => {
                        progress.finish("interrupted: reporting the runs until here");
                        return Ok(Rounds { outcomes, rounds: round, interrupted: true });
                    }
                    Err(error) => return Err(error.context(label)),
                }
                progress.end();
            }
        }
    }
    progress.finish(&format!("{} runs", outcomes.len()));
    Ok(Rounds { outcomes, rounds: plan.rounds, interrupted: false })
}
