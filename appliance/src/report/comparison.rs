//! What changed since an earlier report, beyond noise.
//!
//! Runs of the same system, case and metric are judged against each other, all rows of a system together. Two reports are
//! of two times, and what the host did differently then is in all of a report's runs: interleaving helps within one
//! report only. Hence three rules. Where native itself changed in a row, the host did, and the row's other systems are
//! judged by their ratios to native instead. A change that native shares by half or more, significant there or not, is
//! the host's, and no verdict. And a row has none when half of its runs or of native's, then or now, were noisy.

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
    /// Whether half of the runs or more were noisy, so that there is no verdict.
    #[serde(default)]
    pub disturbed: bool,
    #[serde(flatten)]
    pub judged: Judged,
}

struct Row<'a> {
    series: &'a Series,
    before: Vec<f64>,
    now: Vec<f64>,
    by_ratio: bool,
    disturbed: bool,
    /// What native's median became of 1.
    native: Option<f64>,
}

impl Comparison {
    /// Compares `report` with `earlier`, which was read from `path`. With `trust_noisy`, noisy runs are as good as others.
    pub fn new(report: &Report, earlier: &Report, path: &str, trust_noisy: bool) -> Self {
        let disturbed = |series: &Series, then: &Series| {
            let bases = [report.sibling(series, BASE), earlier.sibling(series, BASE)];
            !trust_noisy && [series, then].into_iter().chain(bases.into_iter().flatten()).any(Series::is_disturbed)
        };
        let mut rows: Vec<Row> = report
            .results
            .iter()
            .filter_map(|series| {
                let then = earlier.sibling(series, &series.system)?;
                let base = report.sibling(series, BASE).and_then(|now| now.median);
                let base_then = earlier.sibling(series, BASE).and_then(|then| then.median);
                Some(Row {
                    series,
                    before: then.values(),
                    now: series.values(),
                    by_ratio: false,
                    disturbed: disturbed(series, then),
                    native: base.zip(base_then).map(|(now, then)| now / then),
                })
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

    /// How many rows could have had a verdict.
    pub fn told(&self) -> usize {
        self.changes.iter().filter(|change| change.judged.verdict != Verdict::Unknown).count()
    }

    /// What to say about the rows that could not.
    pub fn remarks(&self) -> Vec<String> {
        let count = |disturbed: bool| {
            let silent = |change: &&Change| change.judged.verdict == Verdict::Unknown && change.disturbed == disturbed;
            self.changes.iter().filter(silent).count()
        };
        let remark = |rows: usize, why: &str| (rows > 0).then(|| format!("{rows} rows {why}"));
        [
            remark(count(false), "have too few rounds to tell: no difference could have shown"),
            remark(count(true), "were too disturbed to tell: half of their runs or more are noisy (--trust-noisy)"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Row<'_> {
    fn change(&self, mut judged: Judged) -> Option<Change> {
        let series = self.series;
        let (before, now) = (median(&self.before)?, median(&self.now)?);
        if self.disturbed {
            judged.verdict = Verdict::Unknown;
        } else if changed(judged.verdict) && self.is_shared_by_native(before, now) {
            judged.verdict = Verdict::Same;
        }
        Some(Change {
            system: series.system.clone(),
            workload: series.workload.clone(),
            case: series.case.clone(),
            metric: series.metric.clone(),
            unit: series.unit.clone(),
            before,
            now,
            by_ratio: self.by_ratio,
            disturbed: self.disturbed,
            judged,
        })
    }

    /// Whether native went at least half as far in the same direction.
    fn is_shared_by_native(&self, before: f64, now: f64) -> bool {
        let Some(native) = self.native.filter(|_| self.series.system != BASE && !self.by_ratio) else { return false };
        let (change, native) = ((now / before).ln(), native.ln());
        change * native > 0.0 && native.abs() >= change.abs() / 2.0
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
        let comparison = Comparison::new(&b, &a, "a.json", false);
        assert_eq!((comparison.verdicts().count(), comparison.changes.len(), comparison.told()), (0, 2, 2));
        assert!(comparison.caveats.is_empty());
    }

    #[test]
    fn ten_percent_less_is_found_and_named() {
        let (a, b) = (with_values(&NATIVE, &guest(1.0)), with_values(&NATIVE, &guest(0.9)));
        let comparison = Comparison::new(&b, &a, "a.json", false);
        let found: Vec<&Change> = comparison.verdicts().collect();
        assert_eq!((found.len(), found[0].system.as_str()), (1, "nommu-patch"));
        assert_eq!((found[0].judged.verdict, found[0].by_ratio), (Verdict::Worse, false));
        assert!((found[0].now / found[0].before - 0.9).abs() < 1e-9);
    }

    #[test]
    fn a_slower_host_is_not_held_against_the_guest() {
        let slow = |values: &[f64]| values.iter().map(|value| value * 0.8).collect::<Vec<_>>();
        let (a, b) = (with_values(&NATIVE, &guest(1.0)), with_values(&slow(&NATIVE), &slow(&guest(1.0))));
        let comparison = Comparison::new(&b, &a, "a.json", false);
        let found: Vec<&str> = comparison.verdicts().map(|change| change.system.as_str()).collect();
        assert_eq!(found, ["native"]);
        assert!(comparison.changes.iter().any(|change| change.system == "nommu-patch" && change.by_ratio));
    }

    #[test]
    fn half_of_a_change_by_native_takes_the_blame() {
        let scaled = |factor: f64| NATIVE.map(|value| value * factor);
        let before = with_values(&NATIVE, &guest(1.0));
        // Four percent of native's are no verdict of their own, and yet most of the guest's seven.
        let found = |native: f64, ours: f64| {
            let now = with_values(&scaled(native), &guest(ours));
            Comparison::new(&now, &before, "a.json", false).verdicts().count()
        };
        assert_eq!([found(0.96, 0.93), found(1.04, 0.93), found(0.98, 0.9)], [0, 1, 1]);
    }

    #[test]
    fn disturbed_rows_have_no_verdict_unless_they_are_trusted() {
        let (before, mut now) = (with_values(&NATIVE, &guest(1.0)), with_values(&NATIVE, &guest(0.9)));
        let native = now.results.iter_mut().find(|series| series.system == BASE).unwrap();
        native.runs.iter_mut().take(4).for_each(|run| run.noise = Some("others used 40 % of a CPU".into()));
        let comparison = Comparison::new(&now, &before, "a.json", false);
        assert_eq!((comparison.verdicts().count(), comparison.told()), (0, 0));
        assert!(comparison.remarks()[0].starts_with("2 rows were too disturbed"), "{:?}", comparison.remarks());
        assert_eq!(Comparison::new(&now, &before, "a.json", true).verdicts().count(), 1);
    }

    #[test]
    fn few_rounds_and_other_settings_are_told() {
        let (a, mut b) = (with_values(&NATIVE[..3], &guest(1.0)[..3]), with_values(&NATIVE[..3], &guest(0.5)[..3]));
        b.settings.seconds = 10;
        b.settings.guest_side_cpu = None;
        let comparison = Comparison::new(&b, &a, "a.json", false);
        assert_eq!((comparison.verdicts().count(), comparison.told()), (0, 0));
        assert!(comparison.remarks()[0].starts_with("2 rows have too few"));
        assert_eq!(comparison.caveats.len(), 2, "{:?}", comparison.caveats);
    }
}
