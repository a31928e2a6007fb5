//! What changed since an earlier report, beyond noise.
//!
//! Runs of the same system, case and metric are judged against each other, all rows of a system together. Where native itself
//! changed in a row, the host did, and the row's other systems are judged by their ratios to native instead.

use serde::{Deserialize, Serialize};

use super::{BASE, Report, Series};
use crate::bench::stats::median;
use crate::bench::stats::verdict::{Judged, Pair, Verdict, judge};

/// All rows that both reports have.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// Path of the earlier report.
    pub path: String,
    /// When it was started.
    pub started: String,
    /// Differences of the hosts or settings that make the figures hard to compare.
    pub caveats: Vec<String>,
    pub changes: Vec<Change>,
}

/// One row then and now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Change {
    pub system: String,
    pub workload: String,
    pub case: String,
    pub metric: String,
    pub unit: String,
    /// Medians: of the values, or of the ratios to native where `by_ratio`.
    pub before: f64,
    pub now: f64,
    pub by_ratio: bool,
    #[serde(flatten)]
    pub judged: Judged,
}

struct Row<'a> {
    series: &'a Series,
    before: Vec<f64>,
    now: Vec<f64>,
    by_ratio: bool,
}

impl Comparison {
    /// Compares `report` with `earlier`, which was read from `path`.
    pub fn new(report: &Report, earlier: &Report, path: &str) -> Self {
        let mut rows: Vec<Row> = report
            .results
            .iter()
            .filter_map(|series| {
                let then = earlier.sibling(series, &series.system)?;
                Some(Row { series, before: then.values(), now: series.values(), by_ratio: false })
            })
            .filter(|row| !row.before.is_empty() && !row.now.is_empty())
            .collect();
        let moved: Vec<&Series> = rows
            .iter()
            .zip(judge_rows(&rows))
            .filter(|(row, judged)| row.series.system == BASE && changed(judged.verdict))
            .map(|(row, _)| row.series)
            .collect();
        for row in rows.iter_mut().filter(|row| row.series.system != BASE) {
            let then = earlier.sibling(row.series, &row.series.system).zip(earlier.sibling(row.series, BASE));
            let base = moved.iter().find(|series| series.is_same_metric(row.series));
            if let (Some((then, then_base)), Some(base)) = (then, base) {
                row.before = then.ratios_to(then_base);
                row.now = row.series.ratios_to(base);
                row.by_ratio = true;
            }
        }
        let judged = judge_rows(&rows);
        let changes = rows.iter().zip(judged).filter_map(|(row, judged)| row.change(judged)).collect();
        let caveats = caveats(report, earlier);
        Self { path: path.to_owned(), started: earlier.started.clone(), caveats, changes }
    }

    /// The rows that got a verdict.
    pub fn verdicts(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| changed(change.judged.verdict))
    }

    /// How many rows had too few runs for any verdict.
    pub fn unknown(&self) -> usize {
        self.changes.iter().filter(|change| change.judged.verdict == Verdict::Unknown).count()
    }
}

impl Row<'_> {
    fn change(&self, judged: Judged) -> Option<Change> {
        let series = self.series;
        Some(Change {
            system: series.system.clone(),
            workload: series.workload.clone(),
            case: series.case.clone(),
            metric: series.metric.clone(),
            unit: series.unit.clone(),
            before: median(&self.before)?,
            now: median(&self.now)?,
            by_ratio: self.by_ratio,
            judged,
        })
    }
}

fn changed(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Better | Verdict::Worse)
}

fn judge_rows(rows: &[Row]) -> Vec<Judged> {
    let pairs = rows.iter().map(|row| Pair {
        family: &row.series.system,
        these: &row.now,
        those: &row.before,
        better: row.series.better,
    });
    let pairs: Vec<Pair> = pairs.collect();
    judge(&pairs)
}

/// What differs besides the system under test.
fn caveats(report: &Report, earlier: &Report) -> Vec<String> {
    let (now, then) = (&report.settings, &earlier.settings);
    let differing = |what: &str, then: String, now: String| {
        (then != now).then(|| format!("{what} differs: {then} then, {now} now"))
    };
    let pinned = |settings: &super::Settings| match (settings.host_side_cpu, settings.guest_side_cpu) {
        (Some(host), Some(guest)) => format!("{host} and {guest}"),
        _ => "not pinned".into(),
    };
    [
        differing("the CPU", earlier.machine.cpu_model.clone(), report.machine.cpu_model.clone()),
        differing("the host's kernel", earlier.machine.kernel.clone(), report.machine.kernel.clone()),
        differing("the seconds of a run", then.seconds.to_string(), now.seconds.to_string()),
        differing("the pinning", pinned(then), pinned(now)),
        differing("congestion control", then.congestion_control.clone(), now.congestion_control.clone()),
        differing(
            "the root directory's recipe",
            then.rootfs.recipe_hash.clone().unwrap_or_default(),
            now.rootfs.recipe_hash.clone().unwrap_or_default(),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::with_values;

    const NATIVE: [f64; 7] = [50.0, 51.0, 52.0, 50.5, 51.5, 50.2, 51.2];

    fn guest(factor: f64) -> Vec<f64> {
        [20.0, 20.4, 20.2, 20.1, 20.3, 20.5, 20.6].iter().map(|value| value * factor).collect()
    }

    #[test]
    fn one_build_does_not_differ_from_itself() {
        let (a, b) = (with_values(&NATIVE, &guest(1.0)), with_values(&NATIVE, &guest(1.004)));
        let comparison = Comparison::new(&b, &a, "a.json");
        assert_eq!((comparison.verdicts().count(), comparison.changes.len(), comparison.unknown()), (0, 2, 0));
        assert!(comparison.caveats.is_empty());
    }

    #[test]
    fn ten_percent_less_is_found_and_named() {
        let (a, b) = (with_values(&NATIVE, &guest(1.0)), with_values(&NATIVE, &guest(0.9)));
        let comparison = Comparison::new(&b, &a, "a.json");
        let found: Vec<&Change> = comparison.verdicts().collect();
        assert_eq!((found.len(), found[0].system.as_str()), (1, "nommu-patch"));
        assert_eq!((found[0].judged.verdict, found[0].by_ratio), (Verdict::Worse, false));
        assert!((found[0].now / found[0].before - 0.9).abs() < 1e-9);
    }

    #[test]
    fn a_slower_host_is_not_held_against_the_guest() {
        let slow = |values: &[f64]| values.iter().map(|value| value * 0.8).collect::<Vec<_>>();
        let (a, b) = (with_values(&NATIVE, &guest(1.0)), with_values(&slow(&NATIVE), &slow(&guest(1.0))));
        let comparison = Comparison::new(&b, &a, "a.json");
        let found: Vec<&str> = comparison.verdicts().map(|change| change.system.as_str()).collect();
        assert_eq!(found, ["native"]);
        assert!(comparison.changes.iter().any(|change| change.system == "nommu-patch" && change.by_ratio));
    }

    #[test]
    fn few_rounds_and_other_settings_are_told() {
        let (a, mut b) = (with_values(&NATIVE[..3], &guest(1.0)[..3]), with_values(&NATIVE[..3], &guest(0.5)[..3]));
        b.settings.seconds = 10;
        b.settings.guest_side_cpu = None;
        let comparison = Comparison::new(&b, &a, "a.json");
        assert_eq!((comparison.verdicts().count(), comparison.unknown()), (0, 2));
        assert_eq!(comparison.caveats.len(), 2, "{:?}", comparison.caveats);
    }
}
