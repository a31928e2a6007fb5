//! `appliance bench`: the same tools, from the same root directory, natively and in guests, in turns.
//!
//! Round by round and case by case every system gets its turn, the first one rotating, so that a drift of the host hits
//! all alike; ratios are taken within a round. Each run is one tool run: a fresh server in the host namespace, the
//! client natively in the other namespace or as init of a guest that is booted for it. Runs that fail stay in the
//! report with their reason, and so do systems that cannot run at all.

pub mod chroot;
pub mod pinning;
pub mod plan;
pub mod round;
pub mod stats;
pub mod systems;
pub mod workloads;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::guest;
use crate::interrupt::Interrupt;
use crate::privilege;
use crate::progress::Progress;
use crate::report::{self, Report, timestamp::Timestamp};
use crate::rootfs::{self, Rootfs, recipe::Recipe};
use crate::wiring::Wiring;
use plan::Plan;
use round::{Outcome, Site};
use systems::System;

/// The recipe whose root directory has the tools.
const RECIPE: &str = "netbench";

/// Runs the plan and writes the report; the exit status is 1 when a run failed or a system could not run.
pub fn run(plan: Plan) -> Result<ExitCode> {
    privilege::require_root("`appliance bench`")?;
    let interrupt = Interrupt::install()?;
    let started = Timestamp::now();
    let rootfs = match &plan.rootfs {
        Some(dir) => Rootfs::open(dir)?,
        None => rootfs::ensure(&Recipe::load(RECIPE)?, None, false, &interrupt)?,
    };
    let out = plan.out.clone().unwrap_or_else(|| PathBuf::from(format!("bench-results/{}", started.compact())));
    let raw = prepare_output(&out)?;

    let vmlinux = guest::find_vmlinux(plan.vmlinux.as_deref()).map_err(|error| format!("{error:#}"));
    let systems: Vec<Box<dyn System>> = plan.systems.iter().map(|kind| kind.build(vmlinux.clone())).collect();

    let wiring = Wiring::set_up(&rootfs.dir)?;
    let site = Site { wiring: &wiring, rootfs: &rootfs, pinning: plan.pinning, raw: &raw, interrupt: &interrupt };
    let unable = probe(&systems, &site)?;
    let able: Vec<&dyn System> =
        systems.iter().zip(&unable).filter(|(_, reason)| reason.is_none()).map(|(system, _)| system.as_ref()).collect();
    let (outcomes, complete) = all_rounds(&plan, &able, &site)?;
    let congestion_control = wiring.congestion_control().to_owned();
    drop(wiring);

    let report = Report::new(report::Measured {
        plan: &plan,
        started,
        complete,
        systems: systems.iter().map(|system| system.name()).zip(unable).collect(),
        outcomes: &outcomes,
        rootfs: &rootfs,
        vmlinux: vmlinux.as_deref().ok(),
        congestion_control,
    });
    report.write(&out)?;
    println!("{}", report::markdown::summary(&report));
    eprintln!("report: {}", out.join("report.md").display());
    if !complete {
        return Ok(ExitCode::from(130));
    }
    Ok(if report.all_ran() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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

/// One trial per system; the reason of each that cannot run.
fn probe(systems: &[Box<dyn System>], site: &Site) -> Result<Vec<Option<String>>> {
    let mut reasons = Vec::new();
    for system in systems {
        let reason = round::probe(system.as_ref(), site)?;
        if let Some(reason) = &reason {
            eprintln!("{} cannot run: {reason}", system.name());
        }
        reasons.push(reason);
    }
    Ok(reasons)
}

/// Every round; false when an interrupt cut them short, with the runs until then.
fn all_rounds(plan: &Plan, systems: &[&dyn System], site: &Site) -> Result<(Vec<Outcome>, bool)> {
    let mut outcomes = Vec::new();
    let mut progress = Progress::new(plan.rounds as usize * plan.cases.len() * systems.len(), 1);
    for round in 1..=plan.rounds {
        for case in &plan.cases {
            for turn in 0..systems.len() {
                let system = systems[(turn + round as usize - 1) % systems.len()];
                let label = format!("round {round}: {} {} on {}", case.workload(), case.name(), system.name());
                progress.begin(&label);
                match round::run(system, case.as_ref(), round, plan.seconds, site) {
                    Ok(outcome) => {
                        if let Err(reason) = &outcome.values {
                            progress.note(&format!("{label}: {reason}"));
                        }
                        outcomes.push(outcome);
                    }
                    Err(_) if site.interrupt.raised() => {
                        progress.finish("interrupted: reporting the runs until here");
                        return Ok((outcomes, false));
                    }
                    Err(error) => return Err(error.context(label)),
                }
                progress.end();
            }
        }
    }
    progress.finish(&format!("{} runs", outcomes.len()));
    Ok((outcomes, true))
}
