//! What changed since an earlier report, beyond noise.
//!
//! Runs of the same system, case and metric are judged against each other, all rows of a system together. Two reports are
//! of two times, and what the host did differently then is in all of a report's runs: interleaving helps within one
//! report only. So where the earlier kernel was measured again (`bench::again`), today's runs are judged against those, and
//! nothing of the host needs to be allowed for. For other rows there are five rules.
//!
//! - Values are brought to one pace of the CPUs first ([`Exponents`]): a neighbour on the same core is what differs most
//!   between two times.
//! - A difference counts from [`ALLOWANCE`] on, and from twice the doubt that the exponents leave ([`Fit::doubt`]) beyond it:
//!   the more the paces of the two times differed, the less can be said.
//! - Native is the host. Where it changed in a row the host did, which is said, and is no verdict; the row's other systems
//!   are judged by their ratios to native instead.
//! - A change that native shares by half or more, significant there or not, is the host's, too.
//! - A row has no verdict when others took CPU time from half of its runs or of native's, then or now.

use serde::{Deserialize, Serialize};

use super::{BASE, Report, Series};
use crate::bench::stats::covariance::{Exponents, Fit};
use crate::bench::stats::median;
use crate::bench::stats::verdict::{Judged, Pair, Verdict, judge};

/// What two times differ by, in a row whose paces were allowed for, by the host's doing: what no loop feels.
const ALLOWANCE: f64 = 0.02;
/// Standard errors of the exponents' doubt that are allowed besides.
const DOUBTS: f64 = 2.0;

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
    /// Medians: of the values, or of the ratios to native where `by_ratio`; both at the paces of the later runs, as far as
    /// `pace_exponents` tell.
    pub before: f64,
    pub now: f64,
    pub by_ratio: bool,
    /// How the values depend on the paces of the CPUs; null where a run or a report does not know its pace, and for
    /// reports of different CPUs.
    #[serde(default)]
    pub pace_exponents: Option<Exponents>,
    /// Whether `before` is the earlier kernel's, measured again in turns with today's.
    #[serde(default)]
    pub measured_again: bool,
    /// By what quotient, less one, the row may differ by the host's doing: the test is whether it differs by more.
    #[serde(default)]
    pub allowance: f64,
    /// Whether it is the host that changed: in native's own rows, and where native shares half of the change or more. There is
    /// no verdict then.
    #[serde(default)]
    pub by_host: bool,
    /// Whether others took CPU time from half of the runs or more, so that there is no verdict.
    #[serde(default)]
    pub disturbed: bool,
    #[serde(flatten)]
    pub judged: Judged,
}

/// A system's series in both reports, at one pace.
struct Pairing {
    then: Series,
    now: Series,
    fit: Option<Fit>,
    /// Whether `then` is of the same rounds.
    again: bool,
}

struct Row<'a> {
    pairing: &'a Pairing,
    before: Vec<f64>,
    now: Vec<f64>,
    by_ratio: bool,
    disturbed: bool,
    /// Of the exponents, in logarithms.
    doubt: f64,
    /// What native's median became of 1.
    native: Option<f64>,
}

impl Comparison {
    /// Compares `report` with `earlier`, which was read from `path`. With `trust_noisy`, noisy runs are as good as others.
    pub fn new(report: &Report, earlier: &Report, path: &str, trust_noisy: bool) -> Self {
        let pairings: Vec<Pairing> = report
            .results
            .iter()
            .filter(|series| !report.systems.iter().any(|state| state.name == series.system && state.earlier.is_some()))
            .filter_map(|series| match report.again(&series.system, earlier) {
                Some(name) => Some(Pairing::again(report.sibling(series, name)?, series, report)),
                None => Some(Pairing::new(earlier.sibling(series, &series.system)?, series, earlier, report)),
            })
            .collect();
        // What was measured in the same rounds needs no native to tell what the host did.
        let base = |of: &Pairing| {
            pairings.iter().find(|other| !of.again && other.now.system == BASE && other.now.is_same_metric(&of.now))
        };
        let mut rows: Vec<Row> = pairings
            .iter()
            .map(|pairing| Row::new(pairing, base(pairing), trust_noisy))
            .filter(|row| !row.before.is_empty() && !row.now.is_empty())
            .collect();
        let moved: Vec<&Series> = rows
            .iter()
            .zip(judge_rows(&rows))
            .filter(|(row, judged)| row.is_base() && changed(judged.verdict))
            .map(|(row, _)| &row.pairing.now)
            .collect();
        for row in rows.iter_mut().filter(|row| !row.is_base()) {
            let Pairing { then, now, .. } = row.pairing;
            if let Some(base) = base(row.pairing).filter(|_| moved.iter().any(|series| series.is_same_metric(now))) {
                (row.before, row.now) = (then.ratios_to(&base.then), now.ratios_to(&base.now));
                row.by_ratio = true;
                row.doubt = row.doubt.hypot(base.doubt());
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

    /// What to say about the rows that could not, and about the host.
    pub fn remarks(&self) -> Vec<String> {
        let host: Vec<String> = self.changes.iter().filter(|change| change.by_host).map(Change::name).collect();
        let host = (!host.is_empty()).then(|| format!("the host differs, and not the systems, in {}", host.join("; ")));
        let count = |disturbed: bool| {
            let silent = |change: &&Change| change.judged.verdict == Verdict::Unknown && change.disturbed == disturbed;
            self.changes.iter().filter(silent).count()
        };
        let remark = |rows: usize, why: &str| (rows > 0).then(|| format!("{rows} rows {why}"));
        let again = self.changes.iter().filter(|change| change.measured_again).count();
        [
            remark(again, "are compared with the earlier kernel as it was measured again, in turns with this one"),
            remark(count(false), "have too few rounds to tell: no difference could have shown"),
            remark(
                count(true),
                "were too disturbed to tell: others took CPU time from half of their runs or more (--trust-noisy)",
            ),
            host,
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Change {
    /// System and row, and by how much it differs.
    fn name(&self) -> String {
        let Self { system, workload, case, metric, .. } = self;
        let percent = (self.judged.quotient.unwrap_or(1.0) - 1.0) * 100.0;
        format!("{system}: {workload} {case} {metric} ({percent:+.1} %)")
    }
}

impl Pairing {
    /// Brings both series to the pace that is 1 in `report`, where all that takes is known.
    fn new(then: &Series, now: &Series, earlier: &Report, report: &Report) -> Self {
        let (mut then, mut now) = (then.clone(), now.clone());
        let mut fit = None;
        let same_cpu = earlier.machine.cpu_model == report.machine.cpu_model;
        if let Some((before, full)) = earlier.settings.full_pace.zip(report.settings.full_pace).filter(|_| same_cpu) {
            then = then.at_full_pace(before, full);
            let observations = then.observations().zip(now.observations());
            fit = observations.map(|(before, after)| Fit::of([&before, &after], now.better));
        }
        if let Some(Fit { exponents, .. }) = fit {
            let median = now.median;
            (then, now) = (then.leveled(exponents), now.leveled(exponents));
            // To show what was measured: a pace of 1 may be far from what the runs had, and the values there are nobody's.
            if let Some((seen, leveled)) = median.zip(now.median).filter(|(_, leveled)| *leveled > 0.0) {
                (then, now) = (then.scaled(seen / leveled), now.scaled(seen / leveled));
            }
        }
        Self { then, now, fit, again: false }
    }

    /// Of series that `report` has both.
    fn again(then: &Series, now: &Series, report: &Report) -> Self {
        Self { again: true, ..Self::new(then, now, report, report) }
    }

    fn doubt(&self) -> f64 {
        self.fit.map_or(0.0, |fit| fit.doubt)
    }

    fn is_disturbed(&self) -> bool {
        self.then.is_disturbed() || self.now.is_disturbed()
    }
}

impl<'a> Row<'a> {
    /// A row and the pairing of native's for the same metric.
    fn new(pairing: &'a Pairing, base: Option<&Pairing>, trust_noisy: bool) -> Self {
        Self {
            pairing,
            before: pairing.then.values(),
            now: pairing.now.values(),
            by_ratio: false,
            disturbed: !trust_noisy && (pairing.is_disturbed() || base.is_some_and(Pairing::is_disturbed)),
            doubt: pairing.doubt(),
            native: base.and_then(|base| Some(base.now.median? / base.then.median?)),
        }
    }

    fn is_base(&self) -> bool {
        self.pairing.now.system == BASE
    }

    fn change(&self, mut judged: Judged) -> Option<Change> {
        let series = &self.pairing.now;
        let (before, now) = (median(&self.before)?, median(&self.now)?);
        if self.disturbed {
            judged.verdict = Verdict::Unknown;
        }
        let by_host = changed(judged.verdict) && (self.is_base() || self.is_shared_by_native(judged.quotient?));
        if by_host {
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
            pace_exponents: self.pairing.fit.map(|fit| fit.exponents),
            measured_again: self.pairing.again,
            allowance: self.allowance(),
            by_host,
            disturbed: self.disturbed,
            judged,
        })
    }

    /// Nothing in the same rounds: what the paces of both columns differ by there is chance from run to run, which the test sees.
    fn allowance(&self) -> f64 {
        if self.pairing.again { 0.0 } else { (1.0 + ALLOWANCE) * (DOUBTS * self.doubt).exp() - 1.0 }
    }

    /// Whether native went at least half as far in the same direction.
    fn is_shared_by_native(&self, quotient: f64) -> bool {
        let Some(native) = self.native.filter(|_| !self.by_ratio) else { return false };
        let (change, native) = (quotient.ln(), native.ln());
        change * native > 0.0 && native.abs() >= change.abs() / 2.0
    }
}

fn changed(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Better | Verdict::Worse)
}

fn judge_rows(rows: &[Row]) -> Vec<Judged> {
    let pairs = rows.iter().map(|row| Pair {
        family: &row.pairing.now.system,
        these: &row.now,
        those: &row.before,
        better: row.pairing.now.better,
        allowance: row.allowance(),
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
    use crate::bench::pace::{Pace, Paces};
    use crate::report::Earlier;
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
        assert_eq!(comparison.verdicts().count(), 0);
        assert!(comparison.changes.iter().all(|change| change.by_host == (change.system == BASE)));
        let told = &comparison.remarks()[0];
        assert!(
            told.contains("the host differs") && told.contains("native: iperf3 tcp throughput (-20.0 %)"),
            "{told}"
        );
        assert!(comparison.changes.iter().any(|change| change.system == "nommu-patch" && change.by_ratio));
    }

    #[test]
    fn an_earlier_kernel_that_was_measured_again_is_the_measure() {
        // At this time everything takes longer; the two kernels differ by nothing, or by a tenth.
        let earlier = with_values(&NATIVE, &guest(1.0));
        let compare = |then: f64, now: f64, started: &str| {
            let slow = NATIVE.map(|value| value * 0.8);
            let mut report = with_values(&slow, &guest(now));
            let mut again = with_values(&slow, &guest(then)).results.remove(1);
            again.system = "nommu-patch-earlier".into();
            report.results.push(again);
            let of = Earlier { of: "nommu-patch".into(), started: started.into(), sha256: "0".into() };
            let mut state = report.systems[1].clone();
            (state.name, state.earlier) = ("nommu-patch-earlier".into(), Some(of));
            report.systems.push(state);
            Comparison::new(&report, &earlier, "a.json", false)
        };
        let started = &earlier.started;
        let same = compare(0.7, 0.7, started);
        assert_eq!((same.verdicts().count(), same.changes.len()), (0, 2), "{:?}", same.changes);
        assert!(same.changes[1].measured_again && !same.changes[0].measured_again);
        assert!(same.changes[1].allowance == 0.0 && same.changes[0].allowance > 0.01);
        assert!(same.remarks()[0].starts_with("1 rows are compared with the earlier kernel"), "{:?}", same.remarks());
        let worse = compare(0.7, 0.63, started);
        let found: Vec<&Change> = worse.verdicts().collect();
        assert_eq!((found.len(), found[0].judged.verdict, found[0].by_ratio), (1, Verdict::Worse, false));
        // That of another report says nothing about this one.
        assert!(compare(0.7, 0.63, "another time").changes.iter().all(|change| !change.measured_again));
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
    fn values_are_compared_at_one_pace() {
        // A neighbour takes a third of the CPU in one report and now and then in the other.
        let at_paces = |factor: f64, paces: [f64; 7]| {
            let beside =
                |values: &[f64]| values.iter().zip(paces).map(|(value, pace)| value * pace).collect::<Vec<_>>();
            let mut report = with_values(&beside(&NATIVE), &beside(&guest(factor)));
            let runs = report.results.iter_mut().flat_map(|series| series.runs.iter_mut().zip(paces));
            let of = |core| Pace { core, memory: 0.8 };
            runs.for_each(|(run, pace)| {
                run.surroundings.paces = Some(Paces { host_side: of(1.0), guest_side: of(pace) });
            });
            report
        };
        let quick = at_paces(1.0, [1.0, 0.7, 0.95, 1.0, 0.6, 0.9, 1.0]);
        let slow = |factor: f64| at_paces(factor, [0.65, 0.7, 0.6, 0.66, 0.9, 0.6, 0.7]);
        let compare = |now: &Report| Comparison::new(now, &quick, "a.json", false);
        let same = compare(&slow(1.0));
        assert_eq!((same.verdicts().count(), same.told()), (0, 2), "{:?}", same.changes);
        let exponents = same.changes[1].pace_exponents.unwrap().0;
        assert!((exponents.guest_side.core - 1.0).abs() < 0.1 && exponents.host_side.core == 0.0, "{exponents:?}");
        let worse = compare(&slow(0.9));
        let found: Vec<&Change> = worse.verdicts().collect();
        assert_eq!((found.len(), found[0].judged.verdict, found[0].by_ratio), (1, Verdict::Worse, false));
        let today = slow(0.9).results[1].median.unwrap();
        assert!((found[0].now / today - 1.0).abs() < 1e-9, "{} is shown, {today} was measured", found[0].now);
        // A pace of 1 is not the same in both: this report's best loop was slower than the earlier one's.
        let mut shifted = slow(0.9);
        shifted.settings.full_pace = shifted.settings.full_pace.map(|pace| Pace { core: pace.core * 0.9, ..pace });
        let native = compare(&shifted).changes[0].judged.quotient.unwrap();
        assert!((native - 1.0 / 0.9).abs() < 0.03, "as much on a CPU that is slower by a tenth: {native}");
        shifted.settings.full_pace = None;
        assert!(compare(&shifted).changes.iter().all(|change| change.pace_exponents.is_none()));
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
