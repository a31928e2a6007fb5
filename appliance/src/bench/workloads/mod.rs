//! What is measured: how each tool is called, and what its output says.

pub mod boot;
pub mod command;
pub mod getpid;
pub mod iperf3;
pub mod lmbench;
pub mod memory;
pub mod netperf;
pub mod process;
pub mod storage;

use std::borrow::Cow;
use std::fmt::Debug;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::observe::{Observed, Watch};

/// Which way a metric improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Throughput and rates.
    Higher,
    /// Latency, cost and loss.
    Lower,
}

/// One number that a case yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name in reports.
    pub name: Cow<'static, str>,
    /// Its unit in reports.
    pub unit: &'static str,
    /// Which way it improves.
    pub better: Better,
}

impl Metric {
    /// A rate: more is better.
    pub const fn rate(name: &'static str, unit: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), unit, better: Better::Higher }
    }

    /// A cost: less is better.
    pub const fn cost(name: &'static str, unit: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), unit, better: Better::Lower }
    }
}

/// The server that a case needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Program in the root directory with its arguments.
    pub argv: Vec<String>,
    /// TCP port that it listens on when it is ready.
    pub port: u16,
    /// What it prints when it is about to listen: a guest's sockets cannot be seen from outside.
    pub greeting: &'static str,
}

/// The value of each metric, or why it has none. The outer error is one that concerns all of them.
pub type Values = Result<Vec<Result<f64>>>;

/// One way to run one tool.
pub trait Case: Debug {
    /// The workload's name.
    fn workload(&self) -> &'static str;

    /// The case's name within the workload.
    fn name(&self) -> &str;

    /// What it measures, in the order of [`Case::values`].
    fn metrics(&self) -> Vec<Metric>;

    /// The server on the other side of the link.
    fn server(&self) -> Option<Server> {
        None
    }

    /// What is looked at while the client runs.
    fn watch(&self) -> Watch {
        Watch::Output
    }

    /// True when the client is to be the guest's first program, with nothing set up around it.
    fn is_init(&self) -> bool {
        false
    }

    /// True when the system is to have the root directory as an ext4 image, to write to.
    fn on_disk(&self) -> bool {
        false
    }

    /// The client's command line for `seconds` of measuring.
    fn client(&self, server_address: &str, seconds: u32) -> Vec<String>;

    /// The same with the work made so many percent slower, where stopping the client now and then would not do: a
    /// result that is a median over short batches does not see the stops.
    fn slowed_client(&self, _percent: u32, _seconds: u32) -> Option<Vec<String>> {
        None
    }

    /// How long the client takes, warm-up included and start excluded; many systems take longer.
    fn duration(&self, seconds: u32) -> Duration;

    /// How long a client of that duration may take in the slowest system before it is killed.
    fn limit(&self, seconds: u32) -> Duration {
        self.duration(seconds)
    }

    /// One value per metric. The output is standard output; in a guest this is the console, which carries the tool's
    /// warnings too.
    fn values(&self, seen: &Observed) -> Values;

    /// The first metric over time, every [`iperf3::STEP`] seconds, for those tools that tell.
    fn course(&self, _output: &str) -> Vec<f64> {
        Vec::new()
    }
}

/// The tools by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// TCP and UDP throughput
    Iperf3,
    /// Throughput by send size, transactions and their latency
    Netperf,
    /// Cost of the cheapest system call
    Getpid,
    /// Cost of system calls, processes, signals and pipes
    Lmbench,
    /// Cost of making processes, each way by itself
    Process,
    /// Files on an ext4 image
    Storage,
    /// From the start of a system to its first program
    Boot,
    /// Memory that the host gives to a system
    Memory,
}

impl Workload {
    /// Every workload.
    pub const ALL: [Workload; 8] = [
        Workload::Iperf3,
        Workload::Netperf,
        Workload::Getpid,
        Workload::Lmbench,
        Workload::Process,
        Workload::Storage,
        Workload::Boot,
        Workload::Memory,
    ];

    /// The name in options, presets and reports.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Iperf3 => "iperf3",
            Workload::Netperf => "netperf",
            Workload::Getpid => "getpid",
            Workload::Lmbench => "lmbench",
            Workload::Process => "process",
            Workload::Storage => "storage",
            Workload::Boot => "boot",
            Workload::Memory => "memory",
        }
    }

    /// The case of that name.
    pub fn case(self, name: &str) -> Option<Box<dyn Case>> {
        match self {
            Workload::Iperf3 => iperf3::case(name),
            Workload::Netperf => netperf::case(name),
            Workload::Getpid => getpid::case(name),
            Workload::Lmbench => lmbench::case(name),
            Workload::Process => process::case(name),
            Workload::Storage => storage::case(name),
            Workload::Boot => boot::case(name),
            Workload::Memory => memory::case(name),
        }
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// All metrics have values.
fn all(values: Vec<f64>) -> Values {
    Ok(values.into_iter().map(Ok).collect())
}
