//! How fast the CPUs are at the moment.
//!
//! A virtual CPU is often one of two threads of a core, and whoever has the other one takes up to half of it away: in no counter
//! of ours, neither as stolen time nor as anybody's CPU time. It shows in how long a short loop takes that keeps all of the
//! core's units busy. Such loops run before and after each run, on the CPUs that it uses, all at the same time. The best
//! pace that one ever had is the measure.

use std::cell::Cell;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};

use super::pinning::Pinning;

/// Loops of one look.
const LOOPS: u32 = 12;
/// Iterations of a loop: a fraction of a millisecond.
const ITERATIONS: u64 = 200_000;
/// Between two loops.
const PAUSE: Duration = Duration::from_millis(2);
/// How many looks are taken to begin with, so that one of their loops is a good one.
const FIRST_LOOKS: u32 = 30;

/// Looks at the pace of the CPUs that runs use.
#[derive(Debug)]
pub struct Pacer {
    /// `None` for one that the scheduler chooses.
    cpus: Vec<Option<usize>>,
    /// Iterations per nanosecond in the best loop.
    best: Cell<f64>,
}

impl Pacer {
    /// Takes about a second to learn what a good pace is.
    pub fn new(pinning: Pinning) -> Self {
        let cpus = match (pinning.host_side, pinning.guest_side) {
            (Some(host), Some(guest)) => vec![Some(host), Some(guest)],
            _ => vec![None],
        };
        let pacer = Self { cpus, best: Cell::new(0.0) };
        for _ in 0..FIRST_LOOKS {
            pacer.look();
        }
        pacer
    }

    /// The pace of the slowest of the CPUs, 1 being the best that any of them ever had.
    pub fn look(&self) -> f64 {
        let paces: Vec<Vec<f64>> = thread::scope(|scope| {
            let loops: Vec<_> = self.cpus.iter().map(|cpu| scope.spawn(move || loops_on(*cpu))).collect();
            loops.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        let best = paces.iter().flatten().copied().fold(self.best.get(), f64::max);
        self.best.set(best);
        let means = paces.iter().map(|paces| paces.iter().sum::<f64>() / paces.len().max(1) as f64);
        means.fold(best, f64::min) / best.max(f64::MIN_POSITIVE)
    }
}

/// Iterations per nanosecond of each loop of a look.
fn loops_on(cpu: Option<usize>) -> Vec<f64> {
    if let Some(cpu) = cpu {
        let mut set = CpuSet::new();
        set.set(cpu);
        // Where it is refused, the scheduler chooses.
        _ = sched_setaffinity(None, &set);
    }
    let mut paces = Vec::new();
    for _ in 0..LOOPS {
        thread::sleep(PAUSE);
        let started = Instant::now();
        // Eight chains that do not wait for each other: as much at a time as a core can do.
        let mut chains: [u64; 8] = black_box([1, 2, 3, 4, 5, 6, 7, 8]);
        for i in 0..black_box(ITERATIONS) {
            for chain in &mut chains {
                *chain = (chain.rotate_left(7) ^ i).wrapping_add(i);
            }
        }
        black_box(chains);
        paces.push(ITERATIONS as f64 / started.elapsed().as_nanos().max(1) as f64);
    }
    paces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_a_share_of_the_best() {
        let pacer = Pacer::new(Pinning::default());
        let pace = pacer.look();
        assert!(pace > 0.0 && pace <= 1.0, "{pace}");
        // More than a neighbour that leaves in between could make up for.
        pacer.best.set(pacer.best.get() * 100.0);
        assert!(pacer.look() <= 0.1, "a hundredth of what was possible once");
    }
}
