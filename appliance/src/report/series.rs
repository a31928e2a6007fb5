//! All runs of one metric in one system, folded.

use serde::{Deserialize, Serialize};

use crate::bench::noise::Surroundings;
use crate::bench::pace::Pace;
use crate::bench::round::Outcome;
use crate::bench::stats::covariance::{Exponents, Observation};
use crate::bench::stats::{self, verdict::Judged};
use crate::bench::workloads::{Better, Metric};

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
    /// Bootstrap interval of the median; null with a single value.
    #[serde(default)]
    pub interval_95: Option<(f64, f64)>,
    pub ratio_to_native: Option<Ratio>,
    /// The runs against native's, judged together with all other series of the report; null where there is no native.
    #[serde(default)]
    pub against_native: Option<Judged>,
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
    /// Why it may not be trusted; null for a quiet run.
    #[serde(default)]
    pub noise: Option<String>,
    #[serde(default)]
    pub surroundings: Surroundings,
    /// The metric over time, every `settings.course_seconds`, where the tool tells.
    #[serde(default)]
    pub course: Vec<f64>,
    pub wall_seconds: f64,
    pub cpu_seconds: CpuSeconds,
    /// The tool's output, relative to the report.
    pub raw: String,
}

/// CPU time by side; null when it could not be read or there was no such side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CpuSeconds {
    /// The system with its guest, or the native client.
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

impl Series {
    /// The `index`-th metric of `outcomes`, with ratios to those of `base` round by round.
    pub(super) fn fold(metric: &Metric, index: usize, outcomes: &[&Outcome], base: &[&Outcome]) -> Self {
        let (system, workload, case) =
            outcomes.first().map_or(("", "", ""), |o| (o.system.as_str(), o.workload, o.case.as_str()));
        let runs: Vec<Run> = outcomes.iter().map(|outcome| Run::of(outcome, index)).collect();
        let values: Vec<f64> = runs.iter().filter_map(|run| run.value).collect();
        let base: Vec<Run> = base.iter().map(|outcome| Run::of(outcome, index)).collect();
        let ratios = ratios(&runs, &base);
        let cpu_median = |side: fn(&CpuSeconds) -> Option<f64>| {
            let good = runs.iter().filter(|run| run.value.is_some());
            stats::median(&good.filter_map(|run| side(&run.cpu_seconds)).collect::<Vec<_>>())
        };
        Self {
            system: system.to_owned(),
            workload: workload.to_owned(),
            case: case.to_owned(),
            metric: metric.name.clone().into_owned(),
            unit: metric.unit.to_owned(),
            better: metric.better,
            median: stats::median(&values),
            min: values.iter().copied().reduce(f64::min),
            max: values.iter().copied().reduce(f64::max),
            interval_95: stats::bootstrap_interval(&values),
            ratio_to_native: stats::median(&ratios).map(|median| Ratio {
                median,
                interval_95: stats::bootstrap_interval(&ratios),
                rounds: ratios.len(),
            }),
            against_native: None,
            cpu_seconds: CpuSeconds {
                guest_side: cpu_median(|cpu| cpu.guest_side),
                host_side: cpu_median(|cpu| cpu.host_side),
            },
            runs,
        }
    }

    /// The values that there are, in the order of the rounds.
    pub fn values(&self) -> Vec<f64> {
        self.runs.iter().filter_map(|run| run.value).collect()
    }

    /// These runs with their paces in units of `full` instead of `before`.
    pub(super) fn at_full_pace(mut self, before: Pace, full: Pace) -> Self {
        for paces in self.runs.iter_mut().filter_map(|run| run.surroundings.paces.as_mut()) {
            *paces = paces.rescaled(before, full);
        }
        self
    }

    /// Values with their paces, or `None` when one has none.
    pub(super) fn observations(&self) -> Option<Vec<Observation>> {
        let good = self.runs.iter().filter_map(|run| Some((run.value?, run.surroundings.paces)));
        good.map(|(value, paces)| Some((value, paces?))).collect()
    }

    /// These runs with their values at a pace of 1.
    pub(super) fn leveled(mut self, exponents: Exponents) -> Self {
        for run in &mut self.runs {
            let observation = run.value.zip(run.surroundings.paces);
            run.value = observation.map(|observation| exponents.level(observation)).or(run.value);
        }
        self.median = stats::median(&self.values());
        self
    }

    /// These runs with their values times `factor`.
    pub(super) fn scaled(mut self, factor: f64) -> Self {
        self.runs.iter_mut().for_each(|run| run.value = run.value.map(|value| value * factor));
        self.median = stats::median(&self.values());
        self
    }

    /// Whether half of the runs or more are of no use to a comparison.
    pub(super) fn is_disturbed(&self) -> bool {
        let disturbed = self.runs.iter().filter(|run| run.is_disturbed()).count();
        disturbed > 0 && disturbed * 2 >= self.runs.len()
    }

    /// Values divided by those of `base` in the same round.
    pub(super) fn ratios_to(&self, base: &Series) -> Vec<f64> {
        ratios(&self.runs, &base.runs)
    }

    pub(super) fn is_same_metric(&self, other: &Series) -> bool {
        (&self.workload, &self.case, &self.metric) == (&other.workload, &other.case, &other.metric)
    }

    /// `workload case metric`, without what repeats.
    pub fn label(&self) -> String {
        if self.workload == self.case || self.metric.starts_with(&self.case) {
            return format!("{} {}", self.workload, self.metric);
        }
        format!("{} {} {}", self.workload, self.case, self.metric)
    }
}

fn ratios(runs: &[Run], base: &[Run]) -> Vec<f64> {
    let in_round = |round: u32| base.iter().find(|run| run.round == round).and_then(|run| run.value);
    let ratio = |run: &Run| Some(run.value? / in_round(run.round).filter(|base| *base != 0.0)?);
    runs.iter().filter_map(ratio).collect()
}

impl Run {
    /// Whether others were at work; of a run that knows its paces, a slow pace is not meant, for comparisons allow for it.
    fn is_disturbed(&self) -> bool {
        match self.surroundings.paces {
            Some(_) => !self.surroundings.intrusions().is_empty(),
            None => self.noise.is_some(),
        }
    }

    fn of(outcome: &Outcome, index: usize) -> Self {
        let value = outcome.values.get(index);
        Self {
            round: outcome.round,
            value: value.and_then(|value| value.as_ref().ok().copied()),
            failure: value.and_then(|value| value.as_ref().err().cloned()),
            noise: outcome.around.noise(),
            surroundings: outcome.around.clone(),
            course: if index == 0 { outcome.course.clone() } else { Vec::new() },
            wall_seconds: outcome.wall.as_secs_f64(),
            cpu_seconds: CpuSeconds {
                guest_side: outcome.guest_side.map(|cpu| cpu.as_secs_f64()),
                host_side: outcome.host_side.map(|cpu| cpu.as_secs_f64()),
            },
            raw: outcome.raw.clone(),
        }
    }
}
