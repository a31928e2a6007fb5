//! What to measure: a preset from `configs/bench/`, changed by the options.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::Deserialize;

use super::brake::SlowDown;
use super::pinning::{Pinning, Wish};
use super::systems::{Choice, Kind, Link};
use super::workloads::command::UserCommand;
use super::workloads::{Case, Workload};

/// A named set of cases with rounds and seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// The rows that people compare first, about six minutes with the default systems
    Quick,
    /// Every row, with rounds enough for verdicts, in about an hour
    Full,
}

impl Preset {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Quick => "quick",
            Preset::Full => "full",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Preset::Quick => include_str!("../../../configs/bench/quick.toml"),
            Preset::Full => include_str!("../../../configs/bench/full.toml"),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PresetFile {
    rounds: u32,
    seconds: u32,
    cases: BTreeMap<String, Vec<String>>,
}

impl PresetFile {
    /// The cases of the workloads; those of a workload that this preset leaves out come from `others`.
    fn cases_of(&self, workloads: &[Workload], others: Option<&PresetFile>) -> Result<Vec<Box<dyn Case>>> {
        let mut cases = Vec::new();
        for workload in workloads {
            let names = |preset: &'_ PresetFile| preset.cases.get(workload.name()).cloned();
            for name in &names(self).or_else(|| others.and_then(names)).unwrap_or_default() {
                let case = workload.case(name);
                cases.push(case.with_context(|| format!("{} has no case '{name}'", workload.name()))?);
            }
        }
        Ok(cases)
    }
}

/// The cases of those names, in the order of the workloads.
fn named(workloads: &[Workload], names: &[String]) -> Result<Vec<Box<dyn Case>>> {
    let names = distinct(names.to_vec());
    for name in &names {
        if !workloads.iter().any(|workload| workload.case(name).is_some()) {
            bail!("--cases: no case '{name}' in the chosen workloads (docs/benchmarking.md has them all)");
        }
    }
    let of = |workload: &Workload| names.iter().filter_map(|name| workload.case(name)).collect::<Vec<_>>();
    Ok(workloads.iter().flat_map(of).collect())
}

/// The options as they were typed; `None` and empty leave a thing to the preset.
#[derive(Debug)]
pub struct Wishes {
    pub preset: Preset,
    pub workloads: Vec<Workload>,
    /// Names of cases, of the workloads that were named, in place of the preset's.
    pub cases: Vec<String>,
    pub systems: Vec<Choice>,
    /// The user's own, run besides the workloads that were named, or alone when none was.
    pub command: Option<UserCommand>,
    /// A `report.json` to compare with.
    pub baseline: Option<PathBuf>,
    /// Whether noisy runs can make a verdict against it.
    pub trust_noisy: bool,
    /// Who is to be slowed down on purpose.
    pub slow: Option<SlowDown>,
    pub rounds: Option<u32>,
    pub seconds: Option<u32>,
    /// No round begins that would last longer than until then.
    pub limit: Option<Duration>,
    pub pinning: Wish,
    pub out: Option<PathBuf>,
    pub rootfs: Option<PathBuf>,
    pub vmlinux: Option<PathBuf>,
}

/// A settled plan.
#[derive(Debug)]
pub struct Plan {
    /// The preset it started from.
    pub preset: Preset,
    /// Each case once per round and system.
    pub cases: Vec<Box<dyn Case>>,
    /// In the order of the table's columns.
    pub systems: Vec<Choice>,
    /// A `report.json` to compare with.
    pub baseline: Option<PathBuf>,
    /// Whether noisy runs can make a verdict against it.
    pub trust_noisy: bool,
    /// Who is slowed down on purpose.
    pub slow: Option<SlowDown>,
    /// How often everything is run.
    pub rounds: u32,
    /// Measured seconds of a run.
    pub seconds: u32,
    /// No round begins, but for the first, that would likely last until later than that, counted from the first.
    pub limit: Option<Duration>,
    /// CPUs of both sides.
    pub pinning: Pinning,
    /// Where the report goes; `None`: a folder named after the time.
    pub out: Option<PathBuf>,
    /// A root directory with the tools; `None`: built when it is missing.
    pub rootfs: Option<PathBuf>,
    /// The vmlinux to boot; `None`: the one beside this program.
    pub vmlinux: Option<PathBuf>,
}

impl Plan {
    /// Settles `wishes` against their preset.
    pub fn new(wishes: Wishes) -> Result<Self> {
        let file: PresetFile = toml::from_str(wishes.preset.text())
            .with_context(|| format!("the preset '{}' is damaged", wishes.preset.name()))?;
        // What was asked for by name and is not in the preset is taken from the full one.
        let full: PresetFile = toml::from_str(Preset::Full.text()).context("the preset 'full' is damaged")?;
        let others = (!wishes.workloads.is_empty()).then_some(&full);
        let workloads = match (wishes.workloads.is_empty(), &wishes.command) {
            (true, None) => Workload::ALL.to_vec(),
            _ => distinct(wishes.workloads),
        };
        let mut cases = match wishes.cases.is_empty() {
            true => file.cases_of(&workloads, others)?,
            false => named(&workloads, &wishes.cases)?,
        };
        cases.extend(wishes.command.map(|command| Box::new(command) as Box<dyn Case>));
        let systems = if wishes.systems.is_empty() { default_systems() } else { distinct(wishes.systems) };
        let runs = |choice: &Choice| cases.iter().any(|case| takes(*choice, case.as_ref()));
        if let Some(idle) = systems.iter().find(|choice| !runs(choice)) {
            bail!(
                "{} runs cases that use the network only, and none was chosen: the others are {}'s",
                idle.name(),
                idle.kind.name()
            );
        }
        let rounds = wishes.rounds.unwrap_or(file.rounds);
        let seconds = wishes.seconds.unwrap_or(file.seconds);
        if let Some(slow) =
            wishes.slow.as_ref().filter(|slow| !systems.iter().any(|choice| choice.name() == slow.system))
        {
            bail!("--slow names {}, which is not among the systems", slow.system);
        }
        if rounds == 0 || seconds == 0 || cases.is_empty() {
            bail!("nothing to measure: --runs, --seconds and the cases of the workloads must be at least 1");
        }
        Ok(Self {
            preset: wishes.preset,
            cases,
            systems,
            baseline: wishes.baseline,
            trust_noisy: wishes.trust_noisy,
            slow: wishes.slow,
            rounds,
            seconds,
            limit: wishes.limit,
            pinning: Pinning::choose(wishes.pinning)?,
            out: wishes.out,
            rootfs: wishes.rootfs,
            vmlinux: wishes.vmlinux,
        })
    }

    /// The cases that `choice` runs, in order.
    pub fn cases_of(&self, choice: Choice) -> impl Iterator<Item = &dyn Case> {
        self.cases.iter().map(AsRef::as_ref).filter(move |case| takes(choice, *case))
    }

    /// Whether another round after `done` fits into the limit, if it takes as long as those did on average: `elapsed` is
    /// the time since the first one's start. The first always does.
    pub fn has_time_for_another(&self, done: u32, elapsed: Duration) -> bool {
        done == 0 || self.limit.is_none_or(|limit| elapsed / done * (done + 1) <= limit)
    }

    /// About how long the rounds take, as far as the cases and the systems know.
    pub fn estimate(&self) -> Duration {
        let guests =
            |choice: Choice, case: &dyn Case| 1 + u32::from(choice.link.joins_guests() && case.server().is_some());
        let of = |choice: Choice| -> Duration {
            let run = |case: &dyn Case| case.duration(self.seconds) + choice.kind.start() * guests(choice, case);
            self.cases_of(choice).map(run).sum()
        };
        let round: Duration = self.systems.iter().map(|choice| of(*choice)).sum();
        let all = round * self.rounds;
        // The first round is always made whole.
        self.limit.map_or(all, |limit| all.min(limit.max(round)))
    }
}

/// Whether the case is run in that system.
pub(super) fn takes(choice: Choice, case: &dyn Case) -> bool {
    (choice.is_whole() || case.server().is_some()) && (!case.on_disk() || choice.kind.takes_disks())
}

fn default_systems() -> Vec<Choice> {
    Kind::PEERS.map(|kind| Choice { kind, link: Link::Tap }).to_vec()
}

/// The list without repetitions, in its order.
fn distinct<T: PartialEq>(list: Vec<T>) -> Vec<T> {
    list.into_iter().fold(Vec::new(), |mut seen, item| {
        if !seen.contains(&item) {
            seen.push(item);
        }
        seen
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(preset: Preset) -> Wishes {
        Wishes {
            preset,
            workloads: Vec::new(),
            cases: Vec::new(),
            systems: Vec::new(),
            command: None,
            baseline: None,
            trust_noisy: false,
            slow: None,
            rounds: None,
            seconds: None,
            limit: None,
            pinning: Wish::Free,
            out: None,
            rootfs: None,
            vmlinux: None,
        }
    }

    #[test]
    fn presets_name_cases_that_exist() {
        for preset in [Preset::Quick, Preset::Full] {
            let plan = Plan::new(wishes(preset)).unwrap();
            // Disks take long: the quick preset goes without.
            let all = Workload::ALL.into_iter().filter(|w| preset == Preset::Full || *w != Workload::Storage);
            for workload in all {
                assert!(plan.cases.iter().any(|case| case.workload() == workload.name()), "{}", workload.name());
            }
            assert_eq!(plan.systems, default_systems());
        }
    }

    #[test]
    fn the_quick_preset_takes_about_six_minutes_and_the_full_one_an_hour() {
        let minutes = |preset| Plan::new(wishes(preset)).unwrap().estimate().as_secs_f64() / 60.0;
        // What tools take beyond their time, connecting and ending, comes on top: a fifth, where it was measured.
        assert!((4.0..7.0).contains(&minutes(Preset::Quick)), "{}", minutes(Preset::Quick));
        assert!((35.0..75.0).contains(&minutes(Preset::Full)), "{}", minutes(Preset::Full));
    }

    #[test]
    fn a_limit_shortens_the_estimate_but_not_below_a_round() {
        let limited = |minutes: u64| {
            let limit = Some(Duration::from_secs(60 * minutes));
            Plan::new(Wishes { limit, ..wishes(Preset::Full) }).unwrap().estimate()
        };
        assert_eq!(limited(20), Duration::from_secs(1200));
        let round = Plan::new(Wishes { rounds: Some(1), ..wishes(Preset::Full) }).unwrap().estimate();
        assert_eq!(limited(1), round);
    }

    #[test]
    fn no_round_begins_that_would_not_end_in_time() {
        let with = |limit| Plan::new(Wishes { limit, ..wishes(Preset::Quick) }).unwrap();
        let (free, limited) = (with(None), with(Some(Duration::from_secs(100))));
        let elapsed = Duration::from_secs;
        assert!(free.has_time_for_another(9, elapsed(1_000_000)));
        assert!(limited.has_time_for_another(0, elapsed(0)) && limited.has_time_for_another(1, elapsed(50)));
        assert!(!limited.has_time_for_another(1, elapsed(51)) && !limited.has_time_for_another(3, elapsed(76)));
    }

    #[test]
    fn guests_in_pairs_boot_twice() {
        let of = |word: &str| {
            let systems = Choice::expand(word).unwrap();
            let workloads = vec![Workload::Iperf3];
            Plan::new(Wishes { systems, workloads, rounds: Some(1), ..wishes(Preset::Quick) }).unwrap().estimate()
        };
        assert_eq!(of("um@guests") - of("um"), Kind::Um.start() * 3);
    }

    #[test]
    fn what_differs_by_its_link_alone_runs_over_it_only() {
        let with = |word: &str, workloads: Vec<Workload>| {
            Plan::new(Wishes { systems: Choice::expand(word).unwrap(), workloads, ..wishes(Preset::Quick) })
        };
        let count = |word: &str| {
            let plan = with(word, vec![Workload::Iperf3, Workload::Getpid]).unwrap();
            plan.cases_of(plan.systems[0]).count()
        };
        assert_eq!([count("native"), count("native-lo"), count("nommu-patch@vhost")], [4, 3, 3]);
        assert!(with("native-lo", vec![Workload::Getpid]).unwrap_err().to_string().contains("the network"));
        assert!(with("native-lo", Vec::new()).is_ok());
    }

    #[test]
    fn the_quick_preset_has_no_more_rows_than_promised() {
        let plan = Plan::new(wishes(Preset::Quick)).unwrap();
        let rows = |workloads: &[&str]| -> usize {
            let cases = plan.cases.iter().filter(|case| workloads.contains(&case.workload()));
            cases.map(|case| case.metrics().len()).sum()
        };
        assert!(rows(&["iperf3", "netperf"]) <= 12 && rows(&["lmbench"]) <= 10);
    }

    #[test]
    fn a_command_of_the_users_comes_alone_or_besides() {
        let command = || UserCommand::new("make", Vec::new(), Duration::from_secs(1)).unwrap();
        let with = |workloads| Wishes { workloads, command: Some(command()), ..wishes(Preset::Quick) };
        assert_eq!(Plan::new(with(Vec::new())).unwrap().cases.len(), 1);
        assert_eq!(Plan::new(with(vec![Workload::Getpid])).unwrap().cases.len(), 2);
    }

    #[test]
    fn cases_are_picked_by_name_beyond_the_preset() {
        let with = |workloads, names: &[&str]| {
            let cases = names.iter().map(|name| (*name).to_owned()).collect();
            Plan::new(Wishes { workloads, cases, ..wishes(Preset::Quick) })
        };
        let names = |plan: Plan| plan.cases.iter().map(|case| case.name().to_owned()).collect::<Vec<_>>();
        assert_eq!(
            names(with(Vec::new(), &["getpid", "tcp-4", "TCP_STREAM-64"]).unwrap()),
            ["tcp-4", "TCP_STREAM-64", "getpid"]
        );
        assert!(with(vec![Workload::Getpid], &["tcp"]).unwrap_err().to_string().contains("'tcp'"));
    }

    #[test]
    fn only_a_system_that_runs_is_slowed_down() {
        let with = |system: &str| {
            Plan::new(Wishes { slow: Some(SlowDown { system: system.into(), percent: 10 }), ..wishes(Preset::Quick) })
        };
        assert!(with("nommu-patch").is_ok() && with("nommu-sud").is_err());
    }

    #[test]
    fn options_win_over_the_preset() {
        let plan = Plan::new(Wishes {
            workloads: vec![Workload::Getpid, Workload::Getpid],
            systems: [Kind::Native; 2].map(|kind| Choice { kind, link: Link::Tap }).to_vec(),
            rounds: Some(7),
            seconds: Some(1),
            ..wishes(Preset::Full)
        })
        .unwrap();
        assert_eq!((plan.cases.len(), plan.systems.len(), plan.rounds, plan.seconds), (1, 1, 7, 1));
    }
}
