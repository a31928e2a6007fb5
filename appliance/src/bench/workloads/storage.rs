//! storage: what files on an ext4 image cost, by our own program (`benches/guest/storage.c`).
//!
//! The root directory goes into an image; each run has a copy of it. The host's kernel mounts it through a loop device
//! and runs the program in a chroot there; a guest has it as its root. So both sides have the same file system, on the
//! same host file.

use std::time::Duration;

use anyhow::{Context, bail};

use super::{Case, Metric, Values, all, words};
use crate::bench::observe::Observed;

/// The ways that the program knows, with what they measure.
const CASES: [Storage; 5] = [
    Storage { name: "read", metric: Metric::rate("cached read", "MB/s") },
    Storage { name: "write-fsync", metric: Metric::rate("write and fsync", "1/s") },
    Storage { name: "open-close", metric: Metric::cost("open/close", "µs") },
    Storage { name: "stat", metric: Metric::cost("stat", "µs") },
    Storage { name: "untar", metric: Metric::rate("untar", "files/s") },
];
/// The program's time budget: enough for a few archives and for thousands of passes of the others.
const MILLISECONDS: u32 = 3000;
/// What comes before it: files are made, and synced to a disk that others use, too.
const LIMIT: Duration = Duration::from_secs(90);

#[derive(Clone, Debug)]
struct Storage {
    name: &'static str,
    metric: Metric,
}

pub(super) fn case(name: &str) -> Option<Box<dyn Case>> {
    let case = CASES.into_iter().find(|case| case.name == name)?;
    Some(Box::new(case))
}

impl Case for Storage {
    fn workload(&self) -> &'static str {
        "storage"
    }

    fn name(&self) -> &str {
        self.name
    }

    fn metrics(&self) -> Vec<Metric> {
        vec![self.metric.clone()]
    }

    fn on_disk(&self) -> bool {
        true
    }

    fn client(&self, _server_address: &str, _seconds: u32) -> Vec<String> {
        words(&["/usr/lib/flatland/storage", self.name, "/var/tmp/storage", &MILLISECONDS.to_string()])
    }

    fn duration(&self, _seconds: u32) -> Duration {
        Duration::from_millis(u64::from(MILLISECONDS) + 1000)
    }

    fn limit(&self, _seconds: u32) -> Duration {
        LIMIT
    }

    fn values(&self, seen: &Observed) -> Values {
        let start = format!("storage case={} ", self.name);
        let line = seen.output.lines().find(|line| line.starts_with(&start)).context("storage printed no result")?;
        let value = line.split_ascii_whitespace().find_map(|word| word.strip_prefix("value="));
        match value.and_then(|text| text.parse::<f64>().ok()) {
            Some(value) if value.is_finite() && value > 0.0 => all(vec![value]),
            _ => bail!("storage printed a line without a usable value=: '{line}'"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_program_parses() {
        let stat = case("stat").unwrap();
        let seen = Observed::of_output("storage case=stat value=0.412 passes=97\r\n");
        assert_eq!(stat.values(&seen).unwrap()[0].as_ref().unwrap(), &0.412);
        assert!(case("read").unwrap().values(&seen).is_err());
        for bad in ["", "storage case=stat value=\n", "storage case=stat value=0.0\n", "storage: tar failed\n"] {
            assert!(stat.values(&Observed::of_output(bad)).is_err(), "{bad}");
        }
        assert!(case("write").is_none());
    }
}
