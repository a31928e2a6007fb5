//! process: what it costs to make a process, by our own program (`benches/guest/process.c`).

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Better, Case, Metric, Server, words};

const COST: [Metric; 1] = [Metric { name: "cycle", unit: "µs", better: Better::Lower }];
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

    fn name(&self) -> &'static str {
        self.case
    }

    fn metrics(&self) -> &'static [Metric] {
        &COST
    }

    fn server(&self) -> Option<Server> {
        None
    }

    fn client(&self, _server_address: &str, _seconds: u32) -> Vec<String> {
        words(&["/usr/lib/flatland/process", self.case, &MILLISECONDS.to_string()])
    }

    fn duration(&self, _seconds: u32) -> Duration {
        Duration::from_millis(MILLISECONDS.into())
    }

    fn parse(&self, output: &str) -> Result<Vec<f64>> {
        let start = format!("process case={} ", self.case);
        let line = output.lines().find(|line| line.starts_with(&start)).context("process printed no result")?;
        let value = line.split_ascii_whitespace().find_map(|word| word.strip_prefix("us="));
        match value.and_then(|text| text.parse::<f64>().ok()) {
            Some(us) if us.is_finite() && us > 0.0 => Ok(vec![us]),
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
        assert_eq!(fork.parse(line).unwrap(), [31.2]);
        assert!(case("shell").unwrap().parse(line).is_err());
        for bad in ["", "process case=fork us=\n", "process case=fork us=0.00\n", "process: 'x' is no case\n"] {
            assert!(fork.parse(bad).is_err(), "{bad}");
        }
        assert!(case("forks").is_none());
    }
}
