//! The report: every run, folded into medians, ratios to native, intervals and verdicts. The schema is in
//! docs/benchmarking.md.

pub mod comparison;
mod flent;
mod gzip;
pub mod html;
pub mod json;
pub mod machine;
pub mod markdown;
mod method;
mod overview;
mod plot;
mod series;
pub mod timestamp;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::bench::pace::Pace;
use crate::bench::pinning::Pinning;
use crate::bench::plan::Plan;
use crate::bench::round::Outcome;
use crate::bench::stats::verdict::{Pair, judge};
use crate::bench::workloads::iperf3;
use crate::rootfs::Rootfs;
use comparison::Comparison;
use machine::Machine;
pub use series::{CpuSeconds, Ratio, Run, Series};
use timestamp::Timestamp;

/// Goes up when a reader of `report.json` would have to change.
pub const SCHEMA_VERSION: u32 = 2;
/// The system that ratios refer to.
pub(crate) const BASE: &str = "native";

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
    /// What went on around the runs, round by round.
    #[serde(default)]
    pub rounds: Vec<RoundState>,
    /// Per system, workload, case and metric.
    pub results: Vec<Series>,
    /// Null unless an earlier report was named.
    #[serde(default)]
    pub baseline: Option<Comparison>,
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
    /// The pace that counts as 1, in turns of each loop per nanosecond; null where nobody looked.
    #[serde(default)]
    pub full_pace: Option<Pace>,
    /// Seconds between the points of a run's course.
    #[serde(default = "one_second")]
    pub course_seconds: f64,
    /// Who was slowed down on purpose, as `SYSTEM=PERCENT`; null for an honest report.
    #[serde(default)]
    pub slowed: Option<String>,
    pub rootfs: RootfsState,
    /// The kernel that the nommu systems booted; null without one.
    pub vmlinux: Option<json::FileState>,
    /// What was run.
    #[serde(default)]
    pub cases: Vec<CaseState>,
}

/// What reports had before they said so.
fn one_second() -> f64 {
    1.0
}

/// The command lines of a case; `SERVER` stands for the server's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseState {
    pub workload: String,
    pub case: String,
    pub client: Vec<String>,
    /// Null for a case without a server.
    pub server: Option<Vec<String>>,
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
    /// Of what was downloaded; null for the host's kernel and for vmlinux, which stand elsewhere.
    #[serde(default)]
    pub version: Option<String>,
    pub ran: bool,
    /// Why it did not.
    pub reason: Option<String>,
    /// What it is if an earlier report's kernel was measured again in it.
    #[serde(default)]
    pub earlier: Option<Earlier>,
}

/// An earlier report's kernel, measured again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// The system that it was measured in, then and now.
    pub of: String,
    /// When the earlier report was started.
    pub started: String,
    /// The kernel's, in hex.
    pub sha256: String,
}

/// The surroundings of a round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundState {
    pub round: u32,
    pub runs: usize,
    /// How many of them may not be trusted.
    pub noisy_runs: usize,
    /// At most, over the runs, as are the next two.
    pub load: f64,
    pub stolen_cpus: f64,
    pub foreign_cpus: f64,
    /// The lowest; `None` in reports of versions that did not look.
    #[serde(default)]
    pub pace: Option<f64>,
}

impl RoundState {
    /// A round is noisy when a tenth of its runs are.
    pub fn is_noisy(&self) -> bool {
        self.noisy_runs * 10 > self.runs
    }

    fn of(round: u32, outcomes: &[Outcome]) -> Option<Self> {
        let runs: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.round == round).collect();
        let most = |value: fn(&Outcome) -> f64| runs.iter().map(|run| value(run)).fold(0.0, f64::max);
        (!runs.is_empty()).then(|| Self {
            round,
            runs: runs.len(),
            noisy_runs: runs.iter().filter(|run| run.around.noise().is_some()).count(),
            load: most(|run| run.around.load),
            stolen_cpus: most(|run| run.around.stolen_cpus),
            foreign_cpus: most(|run| run.around.foreign_cpus),
            pace: runs.iter().filter_map(|run| run.around.pace()).reduce(f64::min),
        })
    }
}

/// What a bench hands over.
#[derive(Debug)]
pub struct Measured<'a> {
    pub plan: &'a Plan,
    pub started: Timestamp,
    pub complete: bool,
    /// How many were begun.
    pub rounds: u32,
    /// Every system that was asked for.
    pub systems: Vec<SystemState>,
    pub outcomes: &'a [Outcome],
    pub rootfs: &'a Rootfs,
    pub vmlinux: Option<&'a Path>,
    pub congestion_control: String,
    /// The pace that counts as 1.
    pub full_pace: Pace,
    /// An earlier report with its path.
    pub baseline: Option<&'a (String, Report)>,
}

impl Report {
    /// Folds the runs.
    pub fn new(measured: Measured) -> Self {
        let plan = measured.plan;
        let mut report = Self {
            schema_version: SCHEMA_VERSION,
            generator: concat!("appliance ", env!("CARGO_PKG_VERSION")).into(),
            started: measured.started.rfc3339(),
            finished: Timestamp::now().rfc3339(),
            complete: measured.complete,
            machine: Machine::read(),
            settings: Settings::of(&measured),
            rounds: (1..=measured.rounds).filter_map(|round| RoundState::of(round, measured.outcomes)).collect(),
            results: fold_all(plan, &measured.systems, measured.outcomes),
            systems: measured.systems,
            baseline: None,
        };
        report.judge_against_native();
        report.baseline =
            measured.baseline.map(|(path, earlier)| Comparison::new(&report, earlier, path, plan.trust_noisy));
        report
    }

    /// Reads a `report.json`, this program's or one of an earlier version, and returns it with its path.
    pub fn read(path: &Path) -> Result<(String, Self)> {
        let named = || format!("cannot read the report {}", path.display());
        let text = fs::read_to_string(path).with_context(named)?;
        let report: Self = serde_json::from_str(&text).with_context(named)?;
        if report.schema_version > SCHEMA_VERSION {
            bail!("{} has schema_version {}: up to {SCHEMA_VERSION} is known", path.display(), report.schema_version);
        }
        Ok((path.display().to_string(), report))
    }

    /// Writes `report.json`, `report.md`, `report.html` and the data for flent into `folder`.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let mut files = vec![
            ("report.json".to_owned(), json::document(self)?.into_bytes()),
            ("report.md".to_owned(), markdown::document(self).into_bytes()),
            ("report.html".to_owned(), html::document(self)?.into_bytes()),
        ];
        files.extend(flent::documents(self)?);
        let data = folder.join("flent");
        fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
        for (name, bytes) in files {
            let path = folder.join(name);
            fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
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

    /// Under which name the kernel of `earlier` was measured again in `system`, if it was.
    fn again(&self, system: &str, earlier: &Report) -> Option<&str> {
        let is_it = |again: &Earlier| again.of == system && again.started == earlier.started;
        let state = self.systems.iter().find(|state| state.ran && state.earlier.as_ref().is_some_and(is_it));
        state.map(|state| state.name.as_str())
    }

    /// One series of each metric, in the order of the report.
    pub(crate) fn rows(&self) -> Vec<&Series> {
        self.results.iter().fold(Vec::new(), |mut rows: Vec<&Series>, series| {
            if !rows.iter().any(|row| row.is_same_metric(series)) {
                rows.push(series);
            }
            rows
        })
    }

    fn judge_against_native(&mut self) {
        let values: Vec<Option<Samples>> = self
            .results
            .iter()
            .map(|series| {
                let base = self.sibling(series, BASE).filter(|_| series.system != BASE)?;
                Some((series.values(), base.values()))
            })
            .collect();
        let judged = judge(&pairs(&self.results, &values));
        let with_base = self.results.iter_mut().zip(&values).filter(|(_, values)| values.is_some());
        for ((series, _), judged) in with_base.zip(judged) {
            series.against_native = Some(judged);
        }
    }
}

/// Runs of a series and of native's.
type Samples = (Vec<f64>, Vec<f64>);

fn pairs<'a>(results: &'a [Series], values: &'a [Option<Samples>]) -> Vec<Pair<'a>> {
    let pair = |(series, values): (&'a Series, &'a Option<Samples>)| {
        let (these, those) = values.as_ref()?;
        Some(Pair { family: &series.system, these, those, better: series.better, allowance: 0.0 })
    };
    results.iter().zip(values).filter_map(pair).collect()
}

fn fold_all(plan: &Plan, systems: &[SystemState], outcomes: &[Outcome]) -> Vec<Series> {
    let mut results = Vec::new();
    for case in &plan.cases {
        for (index, metric) in case.metrics().iter().enumerate() {
            for system in systems {
                let of = |name: &str| -> Vec<&Outcome> {
                    let ours =
                        |o: &&Outcome| o.system == name && o.workload == case.workload() && o.case == case.name();
                    outcomes.iter().filter(ours).collect()
                };
                let runs = of(&system.name);
                if !runs.is_empty() {
                    let base = if system.name == BASE { Vec::new() } else { of(BASE) };
                    results.push(Series::fold(metric, index, &runs, &base));
                }
            }
        }
    }
    results
}

impl Settings {
    fn of(measured: &Measured) -> Self {
        let plan = measured.plan;
        let Pinning { host_side, guest_side } = plan.pinning;
        let stamp = measured.rootfs.stamp.as_ref();
        let cases = plan.cases.iter().map(|case| CaseState {
            workload: case.workload().to_owned(),
            case: case.name().to_owned(),
            client: case.client("SERVER", plan.seconds),
            server: case.server().map(|server| server.argv),
        });
        Self {
            preset: plan.preset.name().into(),
            rounds: measured.rounds,
            seconds: plan.seconds,
            host_side_cpu: host_side,
            guest_side_cpu: guest_side,
            congestion_control: measured.congestion_control.clone(),
            full_pace: Some(measured.full_pace),
            course_seconds: iperf3::STEP,
            slowed: plan.slow.as_ref().map(|slow| format!("{}={}", slow.system, slow.percent)),
            rootfs: RootfsState {
                path: measured.rootfs.dir.display().to_string(),
                recipe: stamp.map(|stamp| stamp.recipe.clone()),
                recipe_hash: stamp.map(|stamp| stamp.recipe_hash.clone()),
            },
            vmlinux: measured.vmlinux.and_then(json::FileState::of),
            cases: cases.collect(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::noise::Surroundings;
    use crate::bench::stats::verdict::Verdict;
    use crate::bench::workloads::Metric;

    const RATE: Metric = Metric::rate("throughput", "Gbit/s");

    fn outcome(system: &str, round: u32, value: Option<f64>) -> Outcome {
        let quiet = Surroundings { clock_source: "tsc".into(), ..Surroundings::default() };
        Outcome {
            system: system.to_owned(),
            workload: "iperf3",
            case: "tcp".into(),
            round,
            values: vec![value.ok_or_else(|| "killed after 20 s without an end".to_owned())],
            course: value.map(|value| vec![value * 0.9, value * 1.1]).unwrap_or_default(),
            around: if round == 2 { Surroundings { stolen_cpus: 0.5, ..quiet } } else { quiet },
            wall: Duration::from_millis(4100),
            guest_side: Some(Duration::from_millis(3900)),
            host_side: None,
            raw: format!("raw/{system}.iperf3.tcp.{round}.out"),
        }
    }

    pub(crate) fn fold(guest: &[Option<f64>], native: &[Option<f64>]) -> Series {
        let runs = |system: &str, values: &[Option<f64>]| -> Vec<Outcome> {
            values.iter().zip(1..).map(|(value, round)| outcome(system, round, *value)).collect()
        };
        let (guest, native) = (runs("nommu-patch", guest), runs("native", native));
        Series::fold(&RATE, 0, &guest.iter().collect::<Vec<_>>(), &native.iter().collect::<Vec<_>>())
    }

    /// A report of two systems that ran, with a failed run, and one that could not.
    pub(crate) fn sample() -> Report {
        let outcomes: Vec<Outcome> = (1..=3).map(|round| outcome("native", round, Some(50.0))).collect();
        let native = Series::fold(&RATE, 0, &outcomes.iter().collect::<Vec<_>>(), &[]);
        let guest = fold(&[Some(20.0), None, Some(30.0)], &[Some(50.0); 3]);
        let state = |name: &str, reason: Option<&str>| SystemState {
            name: name.into(),
            version: None,
            ran: reason.is_none(),
            reason: reason.map(str::to_owned),
            earlier: None,
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
                full_pace: Some(Pace { core: 0.4, memory: 0.2 }),
                course_seconds: 0.2,
                slowed: None,
                rootfs: RootfsState { path: "/r".into(), recipe: None, recipe_hash: None },
                vmlinux: None,
                cases: vec![CaseState {
                    workload: "iperf3".into(),
                    case: "tcp".into(),
                    client: vec!["/usr/bin/iperf3".into(), "-c".into(), "SERVER".into()],
                    server: Some(vec!["/usr/bin/iperf3".into(), "-s".into()]),
                }],
            },
            systems: vec![
                state("native", None),
                state("nommu-patch", None),
                state("nommu-seccomp", Some("no | vmlinux")),
            ],
            rounds: (1..=3).filter_map(|round| RoundState::of(round, &outcomes)).collect(),
            results: vec![native, guest],
            baseline: None,
        }
    }

    /// A report of two systems whose runs of one metric have these values.
    pub(crate) fn with_values(native: &[f64], guest: &[f64]) -> Report {
        let some = |values: &[f64]| values.iter().map(|value| Some(*value)).collect::<Vec<_>>();
        let base: Vec<Outcome> =
            native.iter().zip(1..).map(|(value, round)| outcome("native", round, Some(*value))).collect();
        let base = Series::fold(&RATE, 0, &base.iter().collect::<Vec<_>>(), &[]);
        let mut report = Report { results: vec![base, fold(&some(guest), &some(native))], ..sample() };
        report.judge_against_native();
        report
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

    #[test]
    fn a_noisy_round_is_flagged() {
        let rounds = sample().rounds;
        assert_eq!(rounds.iter().map(RoundState::is_noisy).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(rounds[1].stolen_cpus, 0.5);
        assert!(sample().results[0].runs[1].noise.as_ref().unwrap().contains("stolen"));
    }

    #[test]
    fn series_are_judged_against_native() {
        let slow = with_values(&[50.0, 51.0, 52.0, 50.5, 51.5], &[20.0, 21.0, 22.0, 20.5, 21.5]);
        assert_eq!(slow.results[1].against_native.unwrap().verdict, Verdict::Worse);
        assert_eq!(slow.results[0].against_native, None);
        let few = with_values(&[50.0, 51.0], &[20.0, 21.0]);
        assert_eq!(few.results[1].against_native.unwrap().verdict, Verdict::Unknown);
    }

    #[test]
    fn a_report_of_the_future_is_refused() {
        let path = std::env::temp_dir().join(format!("flatland-report-{}.json", std::process::id()));
        let future = Report { schema_version: SCHEMA_VERSION + 1, ..sample() };
        fs::write(&path, json::document(&future).unwrap()).unwrap();
        let error = Report::read(&path).unwrap_err().to_string();
        fs::write(&path, json::document(&sample()).unwrap()).unwrap();
        let read = Report::read(&path);
        fs::remove_file(&path).unwrap();
        assert!(error.contains("schema_version"), "{error}");
        assert_eq!(read.unwrap().1.results.len(), 2);
    }
}
