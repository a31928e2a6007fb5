//! The tools that measure: how each is called, and what its output says.

pub mod getpid;
pub mod iperf3;
pub mod netperf;
pub mod process;

use std::fmt::Debug;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name in reports.
    pub name: &'static str,
    /// Its unit in reports.
    pub unit: &'static str,
    /// Which way it improves.
    pub better: Better,
}

/// The server that a case needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Program in the root directory with its arguments.
    pub argv: Vec<String>,
    /// TCP port that it listens on when it is ready.
    pub port: u16,
}

/// One way to run one tool.
pub trait Case: Debug {
    /// The workload's name.
    fn workload(&self) -> &'static str;

    /// The case's name within the workload.
    fn name(&self) -> &'static str;

    /// What it measures, in the order of [`Case::parse`]'s values.
    fn metrics(&self) -> &'static [Metric];

    /// The server on the host's side; without one the case needs no network.
    fn server(&self) -> Option<Server>;

    /// The client's command line for `seconds` of measuring.
    fn client(&self, server_address: &str, seconds: u32) -> Vec<String>;

    /// How long the client takes, warm-up included.
    fn duration(&self, seconds: u32) -> Duration;

    /// One value per metric out of the client's standard output. In a guest this is the console, which carries the
    /// tool's warnings too.
    fn parse(&self, output: &str) -> Result<Vec<f64>>;
}

/// The tools by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// TCP and UDP throughput.
    Iperf3,
    /// Throughput and transactions.
    Netperf,
    /// Cost of the cheapest system call.
    Getpid,
    /// Cost of making processes.
    Process,
}

impl Workload {
    /// Every workload.
    pub const ALL: [Workload; 4] = [Workload::Iperf3, Workload::Netperf, Workload::Getpid, Workload::Process];

    /// The name in options, presets and reports.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Iperf3 => "iperf3",
            Workload::Netperf => "netperf",
            Workload::Getpid => "getpid",
            Workload::Process => "process",
        }
    }

    /// The case of that name.
    pub fn case(self, name: &str) -> Option<Box<dyn Case>> {
        match self {
            Workload::Iperf3 => iperf3::case(name),
            Workload::Netperf => netperf::case(name),
            Workload::Getpid => getpid::case(name),
            Workload::Process => process::case(name),
        }
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
