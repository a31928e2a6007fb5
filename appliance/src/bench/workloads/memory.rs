//! Host memory: what all processes of a system hold (Pss), at rest and at most while it works.

use std::time::Duration;

use anyhow::Context;

use super::{Case, Metric, Server, Values, all, iperf3, words};
use crate::bench::observe::{MARK, Observed, Watch};
use crate::bench::stats;

/// How long a system stays at rest.
const REST: u32 = 1;

#[derive(Debug)]
enum Memory {
    /// A shell that says so and then sleeps.
    Idle,
    /// One TCP stream of iperf3.
    Busy(Box<dyn Case>),
}

pub(super) fn case(name: &str) -> Option<Box<dyn Case>> {
    let case = match name {
        "idle" => Memory::Idle,
        "busy" => Memory::Busy(iperf3::case("tcp")?),
        _ => return None,
    };
    Some(Box::new(case))
}

impl Case for Memory {
    fn workload(&self) -> &'static str {
        "memory"
    }

    fn name(&self) -> &str {
        match self {
            Memory::Idle => "idle",
            Memory::Busy(_) => "busy",
        }
    }

    fn metrics(&self) -> Vec<Metric> {
        match self {
            Memory::Idle => vec![Metric::cost("resident", "MB")],
            Memory::Busy(_) => vec![Metric::cost("peak", "MB")],
        }
    }

    fn server(&self) -> Option<Server> {
        match self {
            Memory::Idle => None,
            Memory::Busy(work) => work.server(),
        }
    }

    fn watch(&self) -> Watch {
        Watch::Memory
    }

    fn client(&self, server_address: &str, seconds: u32) -> Vec<String> {
        match self {
            Memory::Idle => words(&["/bin/sh", "-c", &format!("echo {MARK}; sleep {REST}; :")]),
            Memory::Busy(work) => work.client(server_address, seconds.min(2)),
        }
    }

    fn duration(&self, seconds: u32) -> Duration {
        match self {
            Memory::Idle => Duration::from_secs(REST.into()),
            Memory::Busy(work) => work.duration(seconds.min(2)),
        }
    }

    fn values(&self, seen: &Observed) -> Values {
        let sizes: Vec<f64> = seen.memory.iter().map(|(_, bytes)| *bytes as f64 / 1e6).collect();
        let value = match self {
            // The system is at rest for most of the time behind its start: the samples of the last half second.
            Memory::Idle => {
                let end = seen.memory.last().map_or(Duration::ZERO, |(at, _)| *at);
                let late = seen.memory.iter().zip(&sizes).filter(|((at, _), _)| *at + Duration::from_millis(600) > end);
                stats::median(&late.map(|(_, size)| *size).collect::<Vec<_>>())
            }
            Memory::Busy(_) => sizes.iter().copied().reduce(f64::max),
        };
        all(vec![value.context("no memory was seen: it ended before the first sample")?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(sizes: &[u64]) -> Observed {
        let memory =
            sizes.iter().zip(0..).map(|(size, n)| (Duration::from_millis(200 * n), size * 1_000_000)).collect();
        Observed { memory, ..Observed::default() }
    }

    #[test]
    fn rest_is_late_and_the_peak_is_anywhere() {
        let seen = seen(&[10, 90, 80, 20, 20, 21]);
        assert_eq!(case("idle").unwrap().values(&seen).unwrap().remove(0).unwrap(), 20.0);
        assert_eq!(case("busy").unwrap().values(&seen).unwrap().remove(0).unwrap(), 90.0);
        assert!(case("idle").unwrap().values(&Observed::default()).is_err());
    }
}
