//! What to measure: a preset from `configs/bench/`, changed by the options.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::Deserialize;

use super::pinning::{Pinning, Wish};
use super::systems::Kind;
use super::workloads::{Case, Workload};

/// A named set of cases with rounds and seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// Each workload once per round, under five minutes in all.
    Quick,
    /// Several streams, UDP and all of netperf's classic tests.
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
    pub systems: Vec<Kind>,
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
    pub systems: Vec<Kind>,
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
        let workloads = if wishes.workloads.is_empty() { Workload::ALL.to_vec() } else { distinct(wishes.workloads) };
        let mut cases = Vec::new();
        for workload in workloads {
            for name in file.cases.get(workload.name()).into_iter().flatten() {
                let case = workload.case(name);
                cases.push(case.with_context(|| format!("{} has no case '{name}'", workload.name()))?);
            }
        }
        let rounds = wishes.rounds.unwrap_or(file.rounds);
        let seconds = wishes.seconds.unwrap_or(file.seconds);
        if rounds == 0 || seconds == 0 || cases.is_empty() {
            bail!("nothing to measure: --runs, --seconds and the cases of the workloads must be at least 1");
        }
        Ok(Self {
            preset: wishes.preset,
            cases,
            systems: if wishes.systems.is_empty() { Kind::ALL.to_vec() } else { distinct(wishes.systems) },
            rounds,
            seconds,
            pinning: Pinning::choose(wishes.pinning)?,
            out: wishes.out,
            rootfs: wishes.rootfs,
            vmlinux: wishes.vmlinux,
        })
    }
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
            for workload in Workload::ALL {
                assert!(plan.cases.iter().any(|case| case.workload() == workload.name()), "{}", workload.name());
            }
            assert_eq!(plan.systems, Kind::ALL);
        }
    }

    #[test]
    fn the_quick_preset_takes_under_five_minutes() {
        let plan = Plan::new(wishes(Preset::Quick)).unwrap();
        let per_round: f64 = plan.cases.iter().map(|case| case.duration(plan.seconds).as_secs_f64() + 0.7).sum();
        assert!(per_round * f64::from(plan.rounds) * (plan.systems.len() as f64) < 240.0);
    }

    #[test]
    fn options_win_over_the_preset() {
        let plan = Plan::new(Wishes {
            workloads: vec![Workload::Getpid, Workload::Getpid],
            systems: vec![Kind::Native, Kind::Native],
            rounds: Some(7),
            seconds: Some(1),
            ..wishes(Preset::Full)
        })
        .unwrap();
        assert_eq!((plan.cases.len(), plan.systems.len(), plan.rounds, plan.seconds), (1, 1, 7, 1));
    }
}
