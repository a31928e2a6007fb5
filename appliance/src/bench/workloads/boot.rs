//! Boot time: from the start of the system's process on the host to the first thing that a program in it says.

use std::time::Duration;

use anyhow::Context;

use super::{Case, Metric, Values, all, words};
use crate::bench::observe::{MARK, Observed, Watch};

#[derive(Clone, Copy, Debug)]
enum Boot {
    /// A static program as the first process, whose first act is the mark (`benches/guest/mark.c`).
    Init,
    /// Debian's shell, dynamically linked, set up as for every other tool.
    Shell,
}

pub(super) fn case(name: &str) -> Option<Box<dyn Case>> {
    let case = match name {
        "init" => Boot::Init,
        "shell" => Boot::Shell,
        _ => return None,
    };
    Some(Box::new(case))
}

impl Case for Boot {
    fn workload(&self) -> &'static str {
        "boot"
    }

    fn name(&self) -> &str {
        match self {
            Boot::Init => "init",
            Boot::Shell => "shell",
        }
    }

    fn metrics(&self) -> Vec<Metric> {
        vec![Metric::cost("time", "ms")]
    }

    fn watch(&self) -> Watch {
        Watch::Mark
    }

    fn is_init(&self) -> bool {
        matches!(self, Boot::Init)
    }

    fn client(&self, _server_address: &str, _seconds: u32) -> Vec<String> {
        match self {
            Boot::Init => words(&["/usr/lib/flatland/mark"]),
            Boot::Shell => words(&["/bin/sh", "-c", &format!("echo {MARK}")]),
        }
    }

    fn duration(&self, _seconds: u32) -> Duration {
        Duration::ZERO
    }

    fn values(&self, seen: &Observed) -> Values {
        let time = seen.mark.context("its first program never said that it runs")?;
        all(vec![time.as_secs_f64() * 1e3])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_the_result() {
        let seen = Observed { mark: Some(Duration::from_micros(12_500)), ..Observed::default() };
        assert_eq!(case("init").unwrap().values(&seen).unwrap().remove(0).unwrap(), 12.5);
        assert!(case("shell").unwrap().values(&Observed::of_output("panic")).is_err());
    }
}
