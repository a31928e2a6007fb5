//! process: what it costs to make a process, by our own program (`benches/guest/process.c`).

use std::time::Duration;

use anyhow::{Context, bail};

use super::{Case, Metric, Values, all, words};
use crate::bench::observe::Observed;

/// The ways that the program knows.
const CASES: [&str; 8] = ["fork", "vfork", "exec-static", "vfork-exec", "spawn", "exec-dynamic", "shell", "fork-large"];
/// The program's time budget: medians settle long before a network test's seconds are over.
const MILLISECONDS: u32 = 1000;

#[derive(Clone, Copy, Debug)]
struct Process {
    case: &'static str,
}

pub(super) fn case(name: &str) -> Option<Box<dyn Case>> {
    let case = *CASES.iter().find(|case| **case == name)?;
    Some(Box::new(Process { case }))
}

impl Case for Process {
    fn workload(&self) -> &'static str {
        "process"
    }

    fn name(&self) -> &str {
        self.case
    }

    fn metrics(&self) -> Vec<Metric> {
        vec![Metric::cost("cycle", "µs")]
    }

    fn client(&self, _server_address: &str, _seconds: u32) -> Vec<String> {
        words(&["/usr/lib/flatland/process", self.case, &MILLISECONDS.to_string()])
    }

    fn duration(&self, _seconds: u32) -> Duration {
        Duration::from_millis(MILLISECONDS.into())
    }

    fn values(&self, seen: &Observed) -> Values {
        let start = format!("process case={} ", self.case);
        let line = seen.output.lines().find(|line| line.starts_with(&start)).context("process printed no result")?;
        let value = line.split_ascii_whitespace().find_map(|word| word.strip_prefix("us="));
        match value.and_then(|text| text.parse::<f64>().ok()) {
            Some(us) if us.is_finite() && us > 0.0 => all(vec![us]),
            _ => bail!("process printed a line without a usable us=: '{line}'"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_program_parses() {
        let fork = case("fork").unwrap();
        let line = "process case=fork us=31.20 min=29.77 max=120.44 cycles=31400\r\n";
        let seen = Observed::of_output(line);
        assert_eq!(fork.values(&seen).unwrap()[0].as_ref().unwrap(), &31.2);
        assert!(case("shell").unwrap().values(&seen).is_err());
        for bad in ["", "process case=fork us=\n", "process case=fork us=0.00\n", "process: 'x' is no case\n"] {
            assert!(fork.values(&Observed::of_output(bad)).is_err(), "{bad}");
        }
        assert!(case("forks").is_none());
    }
}
