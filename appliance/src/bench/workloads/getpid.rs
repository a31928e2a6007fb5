//! getpid: the cost of the cheapest system call, by our own program (`benches/guest/getpid.c`).

use std::time::Duration;

use anyhow::{Context, bail};

use super::{Case, Metric, Values, all, words};
use crate::bench::observe::Observed;

/// The program's time budget for each second of a network test.
const MILLISECONDS: u32 = 500;

#[derive(Clone, Copy, Debug)]
struct Getpid;

pub(super) fn case(name: &str) -> Option<Box<dyn Case>> {
    (name == "getpid").then(|| Box::new(Getpid) as Box<dyn Case>)
}

impl Case for Getpid {
    fn workload(&self) -> &'static str {
        "getpid"
    }

    fn name(&self) -> &str {
        "getpid"
    }

    fn metrics(&self) -> Vec<Metric> {
        vec![Metric::cost("call", "ns")]
    }

    fn client(&self, _server_address: &str, seconds: u32) -> Vec<String> {
        words(&["/usr/lib/flatland/getpid", &MILLISECONDS.saturating_mul(seconds).to_string()])
    }

    fn slowed_client(&self, percent: u32, seconds: u32) -> Option<Vec<String>> {
        let mut argv = self.client("", seconds);
        argv.push(percent.to_string());
        Some(argv)
    }

    fn duration(&self, seconds: u32) -> Duration {
        Duration::from_millis(MILLISECONDS.saturating_mul(seconds).into())
    }

    fn values(&self, seen: &Observed) -> Values {
        let line = seen.output.lines().find(|line| line.starts_with("getpid ")).context("getpid printed no result")?;
        let value = line.split_ascii_whitespace().find_map(|word| word.strip_prefix("ns="));
        match value.and_then(|text| text.parse::<f64>().ok()) {
            Some(ns) if ns.is_finite() && ns > 0.0 => all(vec![ns]),
            _ => bail!("getpid printed a line without a usable ns=: '{line}'"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_program_parses() {
        let case = case("getpid").unwrap();
        let line = "getpid ns=92.41 min=87.03 max=110.39 batches=269 calls=20000\r\n";
        let values = case.values(&Observed::of_output(line)).unwrap();
        assert_eq!(values[0].as_ref().unwrap(), &92.41);
        for bad in ["", "getpid: the system call returned -38\n", "getpid ns=\n", "getpid ns=0.00\n", "getpid ns=nan\n"]
        {
            assert!(case.values(&Observed::of_output(bad)).is_err(), "{bad}");
        }
    }
}
