//! The user's own command (`--cmd`): its wall time inside the system, and numbers that it prints.
//!
//! `benches/guest/stopwatch.c` starts the command and tells the time, so that neither the boot nor the wiring counts.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Better, Case, Metric, Values, words};
use crate::bench::observe::Observed;

/// A number in the command's output: the first after `text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    /// What stands before it, and its name in the report.
    pub text: String,
    /// Which way it improves.
    pub better: Better,
}

/// A command of the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCommand {
    /// Its name in the report.
    name: String,
    /// For the shell of the root directory.
    line: String,
    numbers: Vec<Number>,
    limit: Duration,
}

impl UserCommand {
    /// A command for /bin/sh whose output holds `numbers` and which ends within `limit` everywhere.
    pub fn new(line: &str, numbers: Vec<Number>, limit: Duration) -> Result<Self> {
        if line.trim().is_empty() {
            bail!("--cmd is empty: a command line for the root directory's shell is accepted");
        }
        Ok(Self { name: name(line), line: line.to_owned(), numbers, limit })
    }
}

/// The command's first words as far as they go into a file's name.
fn name(line: &str) -> String {
    let plain: String = line.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let short: Vec<&str> = plain.split('-').filter(|part| !part.is_empty()).take(4).collect();
    if short.is_empty() { "command".into() } else { short.join("-").chars().take(40).collect() }
}

impl Case for UserCommand {
    fn workload(&self) -> &'static str {
        "cmd"
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn metrics(&self) -> Vec<Metric> {
        let printed = |number: &Number| Metric {
            name: Cow::Owned(number.text.trim_matches([' ', ':', '=']).to_owned()),
            unit: "as printed",
            better: number.better,
        };
        std::iter::once(Metric::cost("wall time", "s")).chain(self.numbers.iter().map(printed)).collect()
    }

    fn client(&self, _server_address: &str, _seconds: u32) -> Vec<String> {
        words(&["/usr/lib/flatland/stopwatch", "/bin/sh", "-c", &self.line])
    }

    fn duration(&self, seconds: u32) -> Duration {
        Duration::from_secs(seconds.into())
    }

    fn limit(&self, _seconds: u32) -> Duration {
        self.limit
    }

    fn values(&self, seen: &Observed) -> Values {
        let output = &seen.output;
        let last = output.lines().rev().find_map(|line| line.trim().strip_prefix("stopwatch "));
        let last = last.context("the command did not come to its end")?;
        let field = |key: &str| last.split_ascii_whitespace().find_map(|word| word.strip_prefix(key));
        match field("status=") {
            Some("0") => {}
            status => bail!("the command's exit status is {}", status.unwrap_or("lost")),
        }
        let wall = field("wall=").and_then(|text| text.parse().ok()).context("the stopwatch told no time");
        let printed = self.numbers.iter().map(|number| {
            number_after(output, &number.text).with_context(|| format!("it printed no number after '{}'", number.text))
        });
        Ok(std::iter::once(wall).chain(printed).collect())
    }
}

/// The first number behind the first occurrence of `text`.
fn number_after(output: &str, text: &str) -> Option<f64> {
    let rest = &output[output.find(text)? + text.len()..];
    let start = rest.find(|c: char| c.is_ascii_digit())?;
    let sign = if rest[..start].ends_with('-') { -1.0 } else { 1.0 };
    let digits = &rest[start..];
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(digits.len());
    digits[..end].trim_end_matches('.').parse::<f64>().ok().map(|number| sign * number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(numbers: &[(&str, Better)]) -> UserCommand {
        let numbers = numbers.iter().map(|(text, better)| Number { text: (*text).into(), better: *better }).collect();
        UserCommand::new("sysbench --test=cpu run", numbers, Duration::from_secs(60)).unwrap()
    }

    #[test]
    fn wall_time_and_numbers() {
        let case = command(&[("events per second:", Better::Higher), ("avg =", Better::Lower)]);
        let output =
            "events per second:  1432.5/s\navg = 0.7.\r\nstopwatch wall=2.004500 status=0\r\nflatland-exit 0\n";
        let values = case.values(&Observed::of_output(output)).unwrap();
        assert_eq!(values.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [2.0045, 1432.5, 0.7]);
        let names: Vec<_> = case.metrics().into_iter().map(|metric| (metric.name, metric.better)).collect();
        assert_eq!(names[1], ("events per second".into(), Better::Higher));
        assert_eq!(names[2], ("avg".into(), Better::Lower));
        assert_eq!(case.name(), "sysbench-test-cpu-run");
    }

    #[test]
    fn what_went_wrong_is_told() {
        let case = command(&[("score", Better::Higher)]);
        let error = |output: &str| case.values(&Observed::of_output(output)).unwrap_err().to_string();
        assert!(error("sh: 1: sysbench: not found\nstopwatch wall=0.01 status=127\n").contains("127"));
        assert!(error("").contains("did not come to its end"));
        let values = case.values(&Observed::of_output("stopwatch wall=1.0 status=0\n")).unwrap();
        assert!(values[0].is_ok() && values[1].as_ref().unwrap_err().to_string().contains("'score'"));
        assert!(UserCommand::new(" ", vec![], Duration::ZERO).is_err());
    }

    #[test]
    fn numbers_with_sign_and_unit() {
        assert_eq!(number_after("a: -12.5ms", "a:"), Some(-12.5));
        assert_eq!(number_after("a: none", "a:"), None);
        assert_eq!(number_after("b: 1", "a:"), None);
    }
}
