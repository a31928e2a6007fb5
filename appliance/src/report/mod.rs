//! The report: every run, folded into medians, ratios to native and intervals. The schema is in docs/benchmarking.md.

pub mod json;
pub mod machine;
pub mod markdown;
pub mod timestamp;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::bench::pinning::Pinning;
use crate::bench::plan::Plan;
use crate::bench::round::Outcome;
use crate::bench::stats;
use crate::bench::workloads::{Better, Metric};
use crate::rootfs::Rootfs;
use machine::Machine;
use timestamp::Timestamp;

/// Goes up when a reader of `report.json` would have to change.
pub const SCHEMA_VERSION: u32 = 1;
/// The system that ratios refer to.
const BASE: &str = "native";

/// `report.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub schema_version: u32,
    /// Name and version of the program that measured.
    pub generator: String,
    /// RFC 3339, UTC.
    pub started: String,
    /// RFC 3339, UTC.
    pub finished: String,
    /// False when an interrupt cut the rounds short.
    pub complete: bool,
    pub machine: Machine,
    pub settings: Settings,
    /// In the order of the table's columns.
    pub systems: Vec<SystemState>,
    /// Per system, workload, case and metric.
    pub results: Vec<Series>,
}

/// How it was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    pub preset: String,
    pub rounds: u32,
    /// Measured seconds of a network run.
    pub seconds: u32,
    /// CPUs of both sides; null: the host's scheduler decided.
    pub host_side_cpu: Option<usize>,
    pub guest_side_cpu: Option<usize>,
    pub congestion_control: String,
    pub rootfs: RootfsState,
    /// The kernel that the nommu systems booted; null without one.
    pub vmlinux: Option<json::FileState>,
}

/// The root directory of both sides.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RootfsState {
    pub path: String,
    /// Null for a directory that `rootfs build` did not make.
    pub recipe: Option<String>,
    pub recipe_hash: Option<String>,
}

/// Whether a system took part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemState {
    pub name: String,
    pub ran: bool,
    /// Why it did not.
    pub reason: Option<String>,
}

/// All runs of one metric in one system.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Series {
    pub system: String,
    pub workload: String,
    pub case: String,
    pub metric: String,
    pub unit: String,
    pub better: Better,
    pub runs: Vec<Run>,
    /// Of the runs that gave a value; null when none did.
    pub median: Option<f64>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub ratio_to_native: Option<Ratio>,
    /// Medians over the runs that gave a value.
    pub cpu_seconds: CpuSeconds,
}

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    pub round: u32,
    /// Null when the run failed.
    pub value: Option<f64>,
    /// Why it failed.
    pub failure: Option<String>,
    pub wall_seconds: f64,
    pub cpu_seconds: CpuSeconds,
    /// The tool's output, relative to the report.
    pub raw: String,
}

/// CPU time by side; null when it could not be read or there was no such side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CpuSeconds {
    /// vmlinux with its guest, or the native client.
    pub guest_side: Option<f64>,
    /// The server.
    pub host_side: Option<f64>,
}

/// Value divided by native's value of the same round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Over the rounds in which both have a value.
    pub median: f64,
    /// Bootstrap interval of the median; null with a single round.
    pub interval_95: Option<(f64, f64)>,
    pub rounds: usize,
}

/// What a bench hands over.
#[derive(Debug)]
pub struct Measured<'a> {
    pub plan: &'a Plan,
    pub started: Timestamp,
    pub complete: bool,
    /// Every asked-for system with the reason why it cannot run, if so.
    pub systems: Vec<(&'static str, Option<String>)>,
    pub outcomes: &'a [Outcome],
    pub rootfs: &'a Rootfs,
    pub vmlinux: Option<&'a Path>,
    pub congestion_control: String,
}

impl Report {
    /// Folds the runs.
    pub fn new(measured: Measured) -> Self {
        let plan = measured.plan;
        let Pinning { host_side, guest_side } = plan.pinning;
        let stamp = measured.rootfs.stamp.as_ref();
        let settings = Settings {
            preset: plan.preset.name().into(),
            rounds: plan.rounds,
            seconds: plan.seconds,
            host_side_cpu: host_side,
            guest_side_cpu: guest_side,
            congestion_control: measured.congestion_control,
            rootfs: RootfsState {
                path: measured.rootfs.dir.display().to_string(),
                recipe: stamp.map(|stamp| stamp.recipe.clone()),
                recipe_hash: stamp.map(|stamp| stamp.recipe_hash.clone()),
            },
            vmlinux: measured.vmlinux.and_then(json::FileState::of),
        };
        let mut results = Vec::new();
        for case in &plan.cases {
            for (index, metric) in case.metrics().iter().enumerate() {
                for (system, _) in &measured.systems {
                    let of = |name: &'static str| {
                        let ours = move |o: &&Outcome| {
                            o.system == name && o.workload == case.workload() && o.case == case.name()
                        };
                        measured.outcomes.iter().filter(ours).collect::<Vec<_>>()
                    };
                    let runs = of(system);
                    if !runs.is_empty() {
                        let base = if *system == BASE { Vec::new() } else { of(BASE) };
                        results.push(Series::fold(metric, index, &runs, &base));
                    }
                }
            }
        }
        Self {
            schema_version: SCHEMA_VERSION,
            generator: concat!("appliance ", env!("CARGO_PKG_VERSION")).into(),
            started: measured.started.rfc3339(),
            finished: Timestamp::now().rfc3339(),
            complete: measured.complete,
            machine: Machine::read(),
            settings,
            systems: measured
                .systems
                .into_iter()
                .map(|(name, reason)| SystemState { name: name.into(), ran: reason.is_none(), reason })
                .collect(),
            results,
        }
    }

    /// Writes `report.json` and `report.md` into `folder`.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let files = [("report.json", json::document(self)?), ("report.md", markdown::document(self))];
        for (name, text) in files {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// True when every system ran and no run failed.
    pub fn all_ran(&self) -> bool {
        self.systems.iter().all(|system| system.ran)
            && self.results.iter().all(|series| series.runs.iter().all(|run| run.value.is_some()))
    }

    /// The series of a system for the same case and metric as `like`.
    pub fn sibling<'a>(&'a self, like: &Series, system: &str) -> Option<&'a Series> {
        self.results.iter().find(|series| series.system == system && series.is_same_metric(like))
    }
}

impl Series {
    fn fold(metric: &Metric, index: usize, outcomes: &[&Outcome], base: &[&Outcome]) -> Self {
        let value = |outcome: &Outcome| outcome.values.as_ref().ok().and_then(|values| values.get(index).copied());
        let good: Vec<&Outcome> = outcomes.iter().copied().filter(|outcome| value(outcome).is_some()).collect();
        let values: Vec<f64> = good.iter().filter_map(|outcome| value(outcome)).collect();
        let ratios: Vec<f64> = good
            .iter()
            .filter_map(|outcome| {
                let native = base.iter().find(|native| native.round == outcome.round)?;
                let ratio = value(outcome)? / value(native)?;
                ratio.is_finite().then_some(ratio)
            })
            .collect();
        let cpu_median = |side: fn(&Outcome) -> Option<std::time::Duration>| {
            let seconds: Vec<f64> =
                good.iter().filter_map(|outcome| side(outcome)).map(|cpu| cpu.as_secs_f64()).collect();
            stats::median(&seconds)
        };
        let first = outcomes[0];
        Self {
            system: first.system.into(),
            workload: first.workload.into(),
            case: first.case.into(),
            metric: metric.name.into(),
            unit: metric.unit.into(),
            better: metric.better,
            median: stats::median(&values),
            min: values.iter().copied().reduce(f64::min),
            max: values.iter().copied().reduce(f64::max),
            ratio_to_native: stats::median(&ratios).map(|median| Ratio {
                median,
                interval_95: stats::bootstrap_interval(&ratios),
                rounds: ratios.len(),
            }),
            cpu_seconds: CpuSeconds {
                guest_side: cpu_median(|outcome| outcome.guest_side),
                host_side: cpu_median(|outcome| outcome.host_side),
            },
            runs: outcomes.iter().map(|outcome| Run::of(outcome, value(outcome))).collect(),
        }
    }

    fn is_same_metric(&self, other: &Series) -> bool {
        (&self.workload, &self.case, &self.metric) == (&other.workload, &other.case, &other.metric)
    }
}

impl Run {
    fn of(outcome: &Outcome, value: Option<f64>) -> Self {
        Self {
            round: outcome.round,
            value,
            failure: outcome.values.as_ref().err().cloned(),
            wall_seconds: outcome.wall.as_secs_f64(),
            cpu_seconds: CpuSeconds {
                guest_side: outcome.guest_side.map(|cpu| cpu.as_secs_f64()),
                host_side: outcome.host_side.map(|cpu| cpu.as_secs_f64()),
            },
            raw: outcome.raw.clone(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;

    const RATE: Metric = Metric { name: "throughput", unit: "Gbit/s", better: Better::Higher };

    fn outcome(system: &'static str, round: u32, value: Option<f64>) -> Outcome {
        Outcome {
            system,
            workload: "iperf3",
            case: "tcp",
            round,
            values: value.map(|value| vec![value]).ok_or_else(|| "killed after 20 s without an end".to_owned()),
            wall: Duration::from_millis(4100),
            guest_side: Some(Duration::from_millis(3900)),
            host_side: None,
            raw: format!("raw/{system}.iperf3.tcp.{round}.out"),
        }
    }

    fn fold(guest: &[Option<f64>], native: &[Option<f64>]) -> Series {
        let runs = |system: &'static str, values: &[Option<f64>]| -> Vec<Outcome> {
            values.iter().zip(1..).map(|(value, round)| outcome(system, round, *value)).collect()
        };
        let (guest, native) = (runs("nommu-patch", guest), runs("native", native));
        Series::fold(&RATE, 0, &guest.iter().collect::<Vec<_>>(), &native.iter().collect::<Vec<_>>())
    }

    /// A report of two systems that ran, with a failed run, and one that could not.
    pub(crate) fn sample() -> Report {
        let native: Vec<Outcome> = (1..=3).map(|round| outcome("native", round, Some(50.0))).collect();
        let native = Series::fold(&RATE, 0, &native.iter().collect::<Vec<_>>(), &[]);
        let guest = fold(&[Some(20.0), None, Some(30.0)], &[Some(50.0); 3]);
        let state = |name: &str, reason: Option<&str>| SystemState {
            name: name.into(),
            ran: reason.is_none(),
            reason: reason.map(str::to_owned),
        };
        Report {
            schema_version: SCHEMA_VERSION,
            generator: "appliance 0".into(),
            started: "2026-01-02T03:04:05Z".into(),
            finished: "2026-01-02T03:05:05Z".into(),
            complete: true,
            machine: Machine::read(),
            settings: Settings {
                preset: "quick".into(),
                rounds: 3,
                seconds: 3,
                host_side_cpu: Some(0),
                guest_side_cpu: Some(1),
                congestion_control: "cubic".into(),
                rootfs: RootfsState { path: "/r".into(), recipe: None, recipe_hash: None },
                vmlinux: None,
            },
            systems: vec![
                state("native", None),
                state("nommu-patch", None),
                state("nommu-seccomp", Some("no | vmlinux")),
            ],
            results: vec![native, guest],
        }
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        // Round for round 0.5, 0.1, 0.9; the quotient of the medians would be 0.25.
        let series = fold(&[Some(10.0), Some(4.0), Some(9.0)], &[Some(20.0), Some(40.0), Some(10.0)]);
        let ratio = series.ratio_to_native.unwrap();
        assert_eq!((ratio.median, ratio.rounds), (0.5, 3));
        let (low, high) = ratio.interval_95.unwrap();
        assert!(low <= 0.5 && high >= 0.5 && low >= 0.1 && high <= 0.9);
        assert_eq!((series.median, series.min, series.max), (Some(9.0), Some(4.0), Some(10.0)));
    }

    #[test]
    fn failed_runs_stay_and_do_not_count() {
        let series = fold(&[Some(10.0), None, Some(30.0)], &[Some(20.0), Some(20.0), None]);
        assert_eq!(series.runs.len(), 3);
        assert_eq!(series.runs[1].value, None);
        assert!(series.runs[1].failure.as_ref().unwrap().contains("killed"));
        assert_eq!(series.median, Some(20.0));
        let ratio = series.ratio_to_native.unwrap();
        assert_eq!((ratio.median, ratio.rounds, ratio.interval_95), (0.5, 1, None));

        let nothing = fold(&[None, None], &[Some(1.0), Some(1.0)]);
        assert_eq!((nothing.median, nothing.ratio_to_native, nothing.runs.len()), (None, None, 2));
    }

    #[test]
    fn a_report_with_gaps_is_not_all_well() {
        let mut report = sample();
        assert!(!report.all_ran());
        report.systems.pop();
        assert!(!report.all_ran(), "a run failed");
        report.results.pop();
        assert!(report.all_ran());
    }
}
