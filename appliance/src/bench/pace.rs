//! How fast the CPUs are while a run lasts.
//!
//! A virtual CPU is often one of two threads of a core, and whoever has the other one takes up to half of it away, and more of
//! the caches and memory that they share: in no counter of ours, neither as stolen time nor as anybody's CPU time. It shows in how
//! long two short loops take: one keeps all of the core's units busy, the other reads memory that is in no near cache. While
//! a run lasts, a thread on each of its CPUs wakes every few milliseconds for both, 70 to 85 us together where neighbours are busy: 2 % of the
//! CPU, from all systems alike. The best pace that a loop ever had is the measure; a run's pace is the mean of its loops',
//! which is what a rate that depends on that alone would have made of it.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};

use super::pinning::Pinning;

/// Iterations of the loop that keeps the core busy: some 20 us.
const ITERATIONS: u64 = 8_000;
/// Cache lines that the other loop reads, one behind the other.
const LINES: usize = 2048;
/// Numbers in a cache line.
const LINE: usize = 8;
/// Numbers that it goes round in, each time where it left off: more than a core's own caches hold.
const FIELD: usize = 8 << 20;
/// Between two loops.
const PAUSE: Duration = Duration::from_millis(4);
/// A loop that took so many times the best loop's time was interrupted, and says nothing about the pace. The best loop over
/// memory may have found some of it in a cache.
const INTERRUPTED: Pace = Pace { core: 3.0, memory: 50.0 };
/// How long the first look takes, so that one of its loops is a good one.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// Looks at the pace of the CPUs that runs use.
#[derive(Debug)]
pub struct Pacer {
    pinning: Pinning,
    /// What the loops that read memory go round in.
    field: Arc<[u64]>,
    best: Cell<Pace>,
}

/// How fast a CPU is: in turns of each loop per nanosecond, or in shares of the best that was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// The core's units.
    pub core: f64,
    /// Memory beyond the core's own caches.
    pub memory: f64,
}

impl Pace {
    /// Both functions of both.
    fn with(self, other: Self, of: impl Fn(f64, f64) -> f64) -> Self {
        Self { core: of(self.core, other.core), memory: of(self.memory, other.memory) }
    }

    /// In units of `full`.
    fn share_of(self, full: Self) -> Self {
        self.with(full, |this, full| this / full)
    }
}

/// The pace of both sides' CPUs during a run, 1 being the best that any of them ever had in this bench.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Paces {
    pub host_side: Pace,
    pub guest_side: Pace,
}

impl Paces {
    /// That of the slower core.
    pub fn least(self) -> f64 {
        self.host_side.core.min(self.guest_side.core)
    }

    /// These, in units of `full` instead of `before`.
    pub fn rescaled(self, before: Pace, full: Pace) -> Self {
        let rescaled = |pace: Pace| pace.with(before, |pace, before| pace * before).share_of(full);
        Self { host_side: rescaled(self.host_side), guest_side: rescaled(self.guest_side) }
    }
}

impl Pacer {
    /// Takes about a second to learn what a good pace is.
    pub fn new(pinning: Pinning) -> Self {
        let pacer = Self { pinning, field: vec![1; FIELD].into(), best: Cell::default() };
        let watch = pacer.watch();
        thread::sleep(FIRST_LOOK);
        pacer.paces(watch);
        pacer
    }

    /// The best pace so far, which counts as 1, in turns per nanosecond.
    pub fn full(&self) -> Pace {
        self.best.get()
    }

    /// Looks from now on.
    pub fn watch(&self) -> PaceWatch {
        let ended = Arc::new(AtomicBool::new(false));
        let start = |cpu| {
            let (field, ended) = (self.field.clone(), ended.clone());
            thread::spawn(move || loops_on(cpu, &field, &ended))
        };
        // Where nothing is pinned one thread, wherever the scheduler puts it, speaks for both sides.
        let host_side = start(self.pinning.host_side);
        let guest_side = self.pinning.guest_side.map(|cpu| start(Some(cpu)));
        PaceWatch { end: End(ended), host_side, guest_side }
    }

    /// Ends the looks; `None` when a side had none.
    pub fn paces(&self, watch: PaceWatch) -> Option<Paces> {
        drop(watch.end);
        let host_side = watch.host_side.join().ok()?;
        let guest_side = watch.guest_side.map_or_else(|| Some(host_side.clone()), |thread| thread.join().ok())?;
        let best = host_side.iter().chain(&guest_side).fold(self.best.get(), |best, pace| best.with(*pace, f64::max));
        self.best.set(best);
        Some(Paces { host_side: mean(&host_side, best)?, guest_side: mean(&guest_side, best)? })
    }
}

/// Threads that look at the pace until they are asked for it.
#[derive(Debug)]
pub struct PaceWatch {
    end: End,
    host_side: JoinHandle<Vec<Pace>>,
    guest_side: Option<JoinHandle<Vec<Pace>>>,
}

/// Ends the threads when it is dropped.
#[derive(Debug)]
struct End(Arc<AtomicBool>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The mean of these paces in shares of the best; `None` when all of them were interrupted.
fn mean(paces: &[Pace], best: Pace) -> Option<Pace> {
    let mean = |loop_: fn(&Pace) -> f64| {
        let (best, limit) = (loop_(&best), loop_(&INTERRUPTED));
        let whole: Vec<f64> = paces.iter().map(loop_).filter(|pace| *pace * limit > best).collect();
        (!whole.is_empty()).then(|| whole.iter().sum::<f64>() / whole.len() as f64 / best)
    };
    Some(Pace { core: mean(|pace| pace.core)?, memory: mean(|pace| pace.memory)? })
}

/// The pace of both loops every few milliseconds until the end.
fn loops_on(cpu: Option<usize>, field: &[u64], ended: &AtomicBool) -> Vec<Pace> {
    if let Some(cpu) = cpu {
        let mut set = CpuSet::new();
        set.set(cpu);
        // Where it is refused, the scheduler chooses.
        _ = sched_setaffinity(None, &set);
    }
    let per_nanosecond = |turns: f64, since: Instant| turns / since.elapsed().as_nanos().max(1) as f64;
    let mut paces = Vec::new();
    for lines in field.chunks_exact(LINES * LINE).cycle() {
        if ended.load(Ordering::Relaxed) {
            break;
        }
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
        let core = per_nanosecond(ITERATIONS as f64, started);
        let started = Instant::now();
        black_box(lines.iter().step_by(LINE).fold(0_u64, |sum, number| sum.wrapping_add(*number)));
        paces.push(Pace { core, memory: per_nanosecond(LINES as f64, started) });
    }
    paces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_a_share_of_the_best() {
        let pacer = Pacer::new(Pinning::default());
        let look = || {
            let watch = pacer.watch();
            thread::sleep(Duration::from_millis(50));
            pacer.paces(watch)
        };
        let paces = look().unwrap();
        assert!(paces.least() > 0.0 && paces.least() <= 1.0, "{paces:?}");
        // A loop that needs a hundred times as long as another is no measure of anything.
        pacer.best.set(Pace { core: pacer.full().core * 100.0, ..pacer.full() });
        assert_eq!(look(), None);
    }

    #[test]
    fn interrupted_loops_do_not_count() {
        let of = |core, memory| Pace { core, memory };
        assert_eq!(mean(&[of(1.0, 1.0), of(0.5, 0.5), of(0.1, 3.0)], of(1.0, 4.0)), Some(of(0.75, 0.375)));
        assert_eq!(mean(&[of(1.0, 0.01)], of(1.0, 1.0)), None);
        assert_eq!(mean(&[], of(1.0, 1.0)), None);
    }
}
