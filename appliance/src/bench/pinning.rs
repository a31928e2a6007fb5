//! Which CPU each side runs on.

use std::process::Command;

use anyhow::{Result, bail};
use rustix::thread::{CpuSet, sched_getaffinity};
use serde::Serialize;

/// The CPUs of both sides; `None` leaves the choice to the host's scheduler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pinning {
    /// Where the servers run.
    pub host_side: Option<usize>,
    /// Where vmlinux or the native client runs.
    pub guest_side: Option<usize>,
}

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Pinned when there are two CPUs.
    Whatever,
    /// Pinned, or an error.
    Pin,
    /// Not pinned.
    Free,
}

impl Pinning {
    /// Picks the first two CPUs that this process may use.
    pub fn choose(wish: Wish) -> Result<Self> {
        let allowed = allowed_cpus();
        match (wish, allowed.as_slice()) {
            (Wish::Free, _) => Ok(Self::default()),
            (_, [first, second, ..]) => Ok(Self { host_side: Some(*first), guest_side: Some(*second) }),
            (Wish::Whatever, _) => Ok(Self::default()),
            (Wish::Pin, _) => bail!("--pin needs two CPUs and this process may use {}: try --free", allowed.len()),
        }
    }
}

/// Lets the program that follows on `command` run on `cpu`. taskset(1) execs, so the process id stays.
pub(super) fn pin(command: &mut Command, cpu: Option<usize>) {
    if let Some(cpu) = cpu {
        command.args(["taskset", "-c", &cpu.to_string()]);
    }
}

fn allowed_cpus() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
}
