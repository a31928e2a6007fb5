//! What else went on at the host while a run lasted: load, stolen time, CPU time of strangers, the CPUs' pace, the clock.

use std::fs;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::pace::Pacer;

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
    /// How fast the slower of the CPUs was before and after the run, 1 being the best that was seen; `None` where nobody
    /// looked. What shares a core with us from outside of the virtual machine shows here only.
    #[serde(default)]
    pub pace: Option<f64>,
    /// The host's clock source (`/sys/devices/system/clocksource`).
    pub clock_source: String,
}

impl Surroundings {
    /// Why the run may not be trusted, if so.
    pub fn noise(&self) -> Option<String> {
        let mut reasons = Vec::new();
        if self.stolen_cpus > STEAL_LIMIT {
            reasons.push(format!("{:.0} % of a CPU stolen", self.stolen_cpus * 100.0));
        }
        if self.foreign_cpus > FOREIGN_LIMIT {
            reasons.push(format!("others used {:.0} % of a CPU", self.foreign_cpus * 100.0));
        }
        if let Some(pace) = self.pace.filter(|pace| *pace < PACE_LIMIT) {
            reasons.push(format!("a CPU at {:.0} % of its pace", pace * 100.0));
        }
        (!reasons.is_empty()).then(|| reasons.join(", "))
    }
}

/// The counters when a run began.
#[derive(Debug)]
pub(super) struct Before {
    at: Instant,
    times: CpuTimes,
    pace: f64,
}

impl Before {
    pub fn read(pacer: &Pacer) -> Self {
        let pace = pacer.look();
        Self { at: Instant::now(), times: CpuTimes::read(), pace }
    }

    /// Compares with now; `own` of the CPU time is the run's, and up to `unsure` more may be.
    pub fn until_now(&self, own: Duration, unsure: Duration, pacer: &Pacer) -> Surroundings {
        let (times, seconds) = (CpuTimes::read(), self.at.elapsed().as_secs_f64());
        self.compare(&times, seconds, (own + unsure).as_secs_f64(), pacer.look())
    }

    fn compare(&self, after: &CpuTimes, seconds: f64, own: f64, pace: f64) -> Surroundings {
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        let cpus = |before: u64, after: u64| after.saturating_sub(before) as f64 / per_second / seconds.max(0.001);
        let busy = cpus(self.times.busy, after.busy);
        Surroundings {
            load: load_average(),
            stolen_cpus: cpus(self.times.stolen, after.stolen),
            // Both sides are counted in ticks, and a short run has few: what is below a tick or two is no stranger.
            foreign_cpus: (busy - (own + 2.0 / per_second) / seconds.max(0.001)).max(0.0),
            pace: Some((self.pace + pace) / 2.0),
            clock_source: clock_source(),
        }
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
        let before = Before { at: Instant::now(), times, pace: 0.9 };
        let hz = rustix::param::clock_ticks_per_second();
        let after = CpuTimes { busy: 150 + 3 * hz, stolen: 20 + hz };
        // Three CPU seconds in two seconds of time, one of them ours.
        let around = before.compare(&after, 2.0, 1.0, 0.7);
        assert!((around.foreign_cpus - 1.0).abs() < 0.02 && (around.stolen_cpus - 0.5).abs() < 1e-9, "{around:?}");
        assert!(around.noise().unwrap().contains("50 % of a CPU stolen"));
        assert!(around.noise().unwrap().contains("a CPU at 80 % of its pace"));
        assert_eq!(CpuTimes::parse("intr 5"), None);
    }

    #[test]
    fn a_quiet_run_is_no_noise() {
        let quiet = Surroundings {
            load: 1.0,
            stolen_cpus: 0.001,
            foreign_cpus: 0.02,
            pace: Some(0.95),
            clock_source: "tsc".into(),
        };
        assert_eq!(quiet.noise(), None);
        assert!(Surroundings { foreign_cpus: 0.4, ..quiet }.noise().unwrap().contains("40 %"));
    }
}
