//! What to measure: a preset from `configs/bench/`, changed by the options.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::Deserialize;

use super::pinning::{Pinning, Wish};
use super::systems::{Choice, Kind, Link};
use super::workloads::command::UserCommand;
use super::workloads::{Case, Workload};

/// A named set of cases with rounds and seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// The rows that people compare first, about four minutes with the default systems
    Quick,
    /// Every row, with rounds enough for verdicts
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

/// The options as they were typed; `None` and empty leave a thing to the preset.
#[derive(Debug)]
pub struct Wishes {
    pub preset: Preset,
    pub workloads: Vec<Workload>,
    pub systems: Vec<Choice>,
    /// The user's own, run besides the workloads that were named, or alone when none was.
    pub command: Option<UserCommand>,
    /// A `report.json` to compare with.
    pub baseline: Option<PathBuf>,
    pub rounds: Option<u32>,
    pub seconds: Option<u32>,
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
    /// How often everything is run.
    pub rounds: u32,
    /// Measured seconds of a run.
    pub seconds: u32,
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
        let named = !wishes.workloads.is_empty();
        let workloads = match (wishes.workloads.is_empty(), &wishes.command) {
            (true, None) => Workload::ALL.to_vec(),
            _ => distinct(wishes.workloads),
        };
        let mut cases: Vec<Box<dyn Case>> = Vec::new();
        let full: PresetFile = toml::from_str(Preset::Full.text()).context("the preset 'full' is damaged")?;
        for workload in workloads {
            // What was asked for by name and is not in the preset is taken from the full one.
            let full = named.then_some(&full).and_then(|full| full.cases.get(workload.name()));
            for name in file.cases.get(workload.name()).or(full).into_iter().flatten() {
                let case = workload.case(name);
                cases.push(case.with_context(|| format!("{} has no case '{name}'", workload.name()))?);
            }
        }
        cases.extend(wishes.command.map(|command| Box::new(command) as Box<dyn Case>));
        let rounds = wishes.rounds.unwrap_or(file.rounds);
        let seconds = wishes.seconds.unwrap_or(file.seconds);
        if rounds == 0 || seconds == 0 || cases.is_empty() {
            bail!("nothing to measure: --runs, --seconds and the cases of the workloads must be at least 1");
        }
        Ok(Self {
            preset: wishes.preset,
            cases,
            systems: if wishes.systems.is_empty() { default_systems() } else { distinct(wishes.systems) },
            baseline: wishes.baseline,
            rounds,
            seconds,
            pinning: Pinning::choose(wishes.pinning)?,
            out: wishes.out,
            rootfs: wishes.rootfs,
            vmlinux: wishes.vmlinux,
        })
    }

    /// How long the rounds take, as far as the cases know; booting comes on top.
    pub fn estimate(&self) -> Duration {
        let round: Duration = self.cases.iter().map(|case| case.duration(self.seconds)).sum();
        round * self.rounds * self.systems.len() as u32
    }
}

fn default_systems() -> Vec<Choice> {
    Kind::DEFAULT.map(|kind| Choice { kind, link: Link::Tap }).to_vec()
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
            systems: Vec::new(),
            command: None,
            baseline: None,
            rounds: None,
            seconds: None,
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
            // Disks take long, so that the quick preset goes without.
            let all = Workload::ALL.into_iter().filter(|w| preset == Preset::Full || *w != Workload::Storage);
            for workload in all {
                assert!(plan.cases.iter().any(|case| case.workload() == workload.name()), "{}", workload.name());
            }
            assert_eq!(plan.systems, default_systems());
        }
    }

    #[test]
    fn the_quick_preset_takes_about_four_minutes() {
        let plan = Plan::new(wishes(Preset::Quick)).unwrap();
        let starts = plan.cases.len() as f64 * f64::from(plan.rounds) * plan.systems.len() as f64;
        let seconds = plan.estimate().as_secs_f64() + 0.3 * starts;
        assert!(seconds < 270.0, "{seconds}");
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
