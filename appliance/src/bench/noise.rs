//! What else went on at the host while a run lasted: load, stolen time, CPU time of strangers, the CPUs' pace, the clock.

use std::fs;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::pace::{Pace, PaceWatch, Pacer, Paces};

/// Stolen share of a CPU from which a run counts as noisy.
const STEAL_LIMIT: f64 = 0.02;
/// CPUs' worth of others' work from which a run counts as noisy.
const FOREIGN_LIMIT: f64 = 0.10;
/// Pace below which a run counts as noisy.
const PACE_LIMIT: f64 = 0.90;

/// The surroundings of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Surroundings {
    /// Load average of the last minute when the run ended.
    pub load: f64,
    /// Time that the hypervisor gave to others while we wanted to run, in CPUs.
    pub stolen_cpus: f64,
    /// User and system time of processes that are not the run's, in CPUs. Interrupt work is nobody's and not in it.
    pub foreign_cpus: f64,
    /// How fast the CPUs were, 1 being the best that was seen; `None` where nobody looked. What shares a core with us from
    /// outside of the virtual machine shows here only.
    #[serde(default)]
    pub paces: Option<Paces>,
    /// The pace that was 1 then ([`Pacer::full`]).
    #[serde(skip)]
    pub full_pace: Pace,
    /// The host's clock source (`/sys/devices/system/clocksource`).
    pub clock_source: String,
}

impl Surroundings {
    /// The pace of the slower core.
    pub fn pace(&self) -> Option<f64> {
        self.paces.map(Paces::least)
    }

    /// Takes `full` for a pace of 1: later runs may have seen a better one than was known during this.
    pub fn settle_pace(&mut self, full: Pace) {
        self.paces = self.paces.map(|paces| paces.rescaled(self.full_pace, full));
        self.full_pace = full;
    }

    /// Why the run may not be trusted, if so.
    pub fn noise(&self) -> Option<String> {
        let mut reasons = self.intrusions();
        if let Some(pace) = self.pace().filter(|pace| *pace < PACE_LIMIT) {
            reasons.push(format!("a CPU at {:.0} % of its pace", pace * 100.0));
        }
        (!reasons.is_empty()).then(|| reasons.join(", "))
    }

    /// What took CPU time that the run wanted. A slow pace is not among it: its effect is known.
    pub fn intrusions(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.stolen_cpus > STEAL_LIMIT {
            reasons.push(format!("{:.0} % of a CPU stolen", self.stolen_cpus * 100.0));
        }
        if self.foreign_cpus > FOREIGN_LIMIT {
            reasons.push(format!("others used {:.0} % of a CPU", self.foreign_cpus * 100.0));
        }
        reasons
    }
}

/// The counters when a run began.
#[derive(Debug)]
pub(super) struct Before {
    at: Instant,
    times: CpuTimes,
    watch: PaceWatch,
}

impl Before {
    pub fn read(pacer: &Pacer) -> Self {
        Self { at: Instant::now(), times: CpuTimes::read(), watch: pacer.watch() }
    }

    /// Compares with now; `own` of the CPU time is the run's, and up to `unsure` more may be.
    pub fn until_now(self, own: Duration, unsure: Duration, pacer: &Pacer) -> Surroundings {
        let (times, seconds) = (CpuTimes::read(), self.at.elapsed().as_secs_f64());
        let paces = pacer.paces(self.watch);
        let around = self.times.compare(&times, seconds, (own + unsure).as_secs_f64());
        Surroundings { paces, full_pace: pacer.full(), ..around }
    }
}

/// Ticks of all CPUs together (proc_stat(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct CpuTimes {
    /// user + nice + system
    busy: u64,
    stolen: u64,
}

impl CpuTimes {
    /// What went on in `seconds` from these counters to those, `own` seconds of CPU time being the run's.
    fn compare(&self, after: &CpuTimes, seconds: f64, own: f64) -> Surroundings {
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        let cpus = |before: u64, after: u64| after.saturating_sub(before) as f64 / per_second / seconds.max(0.001);
        let busy = cpus(self.busy, after.busy);
        Surroundings {
            load: load_average(),
            stolen_cpus: cpus(self.stolen, after.stolen),
            // Both sides are counted in ticks, and a short run has few: what is below a tick or two is no stranger.
            foreign_cpus: (busy - (own + 2.0 / per_second) / seconds.max(0.001)).max(0.0),
            clock_source: clock_source(),
            ..Surroundings::default()
        }
    }

    fn read() -> Self {
        Self::parse(&fs::read_to_string("/proc/stat").unwrap_or_default()).unwrap_or_default()
    }

    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> = line.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect();
        let busy = ticks.get(..3)?.iter().sum();
        Some(Self { busy, stolen: ticks.get(7).copied().unwrap_or(0) })
    }
}

fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

/// The clock that the host's kernel reads.
pub fn clock_source() -> String {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let text = fs::read_to_string(path).unwrap_or_default();
    if text.trim().is_empty() { "unknown".into() } else { text.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_become_cpus() {
        let stat = "cpu  100 10 40 5000 3 2 8 20 0 0\ncpu0 1 1 1 1\n";
        let times = CpuTimes::parse(stat).unwrap();
        assert_eq!(times, CpuTimes { busy: 150, stolen: 20 });
        let hz = rustix::param::clock_ticks_per_second();
        let after = CpuTimes { busy: 150 + 3 * hz, stolen: 20 + hz };
        // Three CPU seconds in two seconds of time, one of them ours.
        let mut around = times.compare(&after, 2.0, 1.0);
        assert!((around.foreign_cpus - 1.0).abs() < 0.02 && (around.stolen_cpus - 0.5).abs() < 1e-9, "{around:?}");
        assert!(around.noise().unwrap().contains("50 % of a CPU stolen"));
        let of = |core| Pace { core, memory: 1.0 };
        (around.paces, around.full_pace) = (Some(Paces { host_side: of(1.0), guest_side: of(0.5) }), of(4.0));
        around.settle_pace(of(5.0));
        assert_eq!((around.pace(), around.full_pace), (Some(0.4), of(5.0)));
        assert!(around.noise().unwrap().contains("a CPU at 40 % of its pace"));
        assert_eq!(CpuTimes::parse("intr 5"), None);
    }

    #[test]
    fn a_quiet_run_is_no_noise() {
        let quiet = Surroundings {
            load: 1.0,
            stolen_cpus: 0.001,
            foreign_cpus: 0.02,
            paces: Some(Paces {
                host_side: Pace { core: 0.95, memory: 0.5 },
                guest_side: Pace { core: 1.0, memory: 1.0 },
            }),
            clock_source: "tsc".into(),
            ..Surroundings::default()
        };
        assert_eq!(quiet.noise(), None);
        assert!(Surroundings { foreign_cpus: 0.4, ..quiet }.noise().unwrap().contains("40 %"));
    }
}
