//! process: what it costs to make a process, by our own program (`benches/guest/process.c`), several ways in one boot.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Case, Metric, Values, words};
use crate::bench::observe::Observed;

const PROGRAM: &str = "/usr/lib/flatland/process";
/// The ways that the program knows: those that people compare, and the rest.
const CASES: [Process; 2] = [
    Process { name: "process", ways: &["fork", "exec-static", "shell"] },
    Process { name: "other", ways: &["vfork", "vfork-exec", "spawn", "exec-dynamic", "fork-large"] },
];
/// The program's time budget for each way: a median over ten cycles of the slowest system.
const MILLISECONDS: u32 = 400;
/// Seconds after which a way is given up.
const WAY_LIMIT: u64 = 10;

#[derive(Clone, Copy, Debug)]
struct Process {
    name: &'static str,
    ways: &'static [&'static str],
}

pub(super) fn case(name: &str) -> Option<Box<dyn Case>> {
    let case = *CASES.iter().find(|case| case.name == name)?;
    Some(Box::new(case))
}

impl Case for Process {
    fn workload(&self) -> &'static str {
        "process"
    }

    fn name(&self) -> &str {
        self.name
    }

    fn metrics(&self) -> Vec<Metric> {
        self.ways.iter().map(|way| Metric::cost(way, "µs")).collect()
    }

    fn client(&self, _server_address: &str, _seconds: u32) -> Vec<String> {
        let ways = self.ways.join(" ");
        let script = format!("for way in {ways}; do timeout {WAY_LIMIT} {PROGRAM} $way {MILLISECONDS} 2>&1; done; :");
        words(&["/bin/sh", "-c", &script])
    }

    fn duration(&self, _seconds: u32) -> Duration {
        Duration::from_millis(MILLISECONDS.into()) * self.ways.len() as u32
    }

    fn limit(&self, _seconds: u32) -> Duration {
        Duration::from_secs(WAY_LIMIT) * self.ways.len() as u32
    }

    fn values(&self, seen: &Observed) -> Values {
        Ok(self.ways.iter().map(|way| value(way, &seen.output)).collect())
    }
}

/// The microseconds of the line that the program printed for `way`.
fn value(way: &str, output: &str) -> Result<f64> {
    let start = format!("process case={way} ");
    let line = output.lines().find(|line| line.starts_with(&start));
    let line = line.with_context(|| format!("{way}: no result; it said: {}", output.trim()))?;
    let value = line.split_ascii_whitespace().find_map(|word| word.strip_prefix("us="));
    match value.and_then(|text| text.parse::<f64>().ok()) {
        Some(us) if us.is_finite() && us > 0.0 => Ok(us),
        _ => bail!("{way}: a line without a usable us=: '{line}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_its_line() {
        let case = case("process").unwrap();
        let output = "process case=fork us=31.20 min=29.77 max=120.44 cycles=31400\r\n\
                      process case=exec-static us=410.00 min=1 max=2 cycles=900\r\nTerminated\r\n";
        let values = case.values(&Observed::of_output(output)).unwrap();
        assert_eq!((values[0].as_ref().unwrap(), values[1].as_ref().unwrap()), (&31.2, &410.0));
        assert!(values[2].as_ref().unwrap_err().to_string().contains("Terminated"));
        for bad in ["", "process case=fork us=\n", "process case=fork us=0.00\n", "process: 'x' is no case\n"] {
            assert!(case.values(&Observed::of_output(bad)).unwrap()[0].is_err(), "{bad}");
        }
    }

    #[test]
    fn every_way_is_run_once() {
        let ways: Vec<&str> = CASES.iter().flat_map(|case| case.ways).copied().collect();
        assert_eq!(ways.len(), 8);
        assert!(case("other").unwrap().client("h", 1)[2].contains("for way in vfork vfork-exec spawn"));
        assert!(case("forks").is_none());
    }
}
