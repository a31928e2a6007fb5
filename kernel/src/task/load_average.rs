//! The load averages of proc(5), `/proc/loadavg`, and sysinfo(2).
//!
//! Every five seconds the threads that run or could run are counted, and each average moves towards that number, by as
//! much that a constant load reaches it within its minute, five or fifteen to all but 1/e. Fixed point with eleven bits,
//! as Linux counts.

use super::table;
use crate::time::timer::{self, TimerCallback};
use crate::time::{self, Duration, Instant};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

/// Bits behind the point.
pub const FRACTION_BITS: u32 = 11;
const ONE: u64 = 1 << FRACTION_BITS;
/// Between two counts.
const PERIOD: Duration = Duration::from_secs(5);
/// e^(-5s/1min), e^(-5s/5min), e^(-5s/15min).
const DECAYS: [u64; 3] = [1884, 2014, 2037];

static AVERAGES: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// Threads that run or wait for the vCPU.
pub fn running_threads() -> usize {
    let running = |p: &Arc<super::Process>| p.threads().iter().filter(|t| t.entity.is_runnable()).count();
    table::all_processes().iter().map(running).sum()
}

/// The averages over one, five and fifteen minutes, with [`FRACTION_BITS`].
pub fn load_averages() -> [u64; 3] {
    AVERAGES.each_ref().map(|a| a.load(Ordering::Relaxed))
}

fn next(average: u64, active: u64, decay: u64) -> u64 {
    let sum = average * decay + active * (ONE - decay);
    // A rising average is rounded up, so that it arrives.
    (sum + if active >= average { ONE - 1 } else { 0 }) / ONE
}

struct Sampler;

impl TimerCallback for Sampler {
    fn expired(&self, now: Instant) {
        let active = running_threads() as u64 * ONE;
        for (average, decay) in AVERAGES.iter().zip(DECAYS) {
            average.store(next(average.load(Ordering::Relaxed), active, decay), Ordering::Relaxed);
        }
        core::mem::forget(timer::call_at(now + PERIOD, Arc::new(Sampler)));
    }
}

/// Begins to count. Done once, at boot.
pub fn start_load_averages() {
    core::mem::forget(timer::call_at(time::now() + PERIOD, Arc::new(Sampler)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64, start: u64, threads: u64, decay: u64) -> f64 {
        let end = (0..seconds / 5).fold(start, |average, _| next(average, threads * ONE, decay));
        end as f64 / ONE as f64
    }

    #[test]
    fn a_constant_load_is_reached_and_forgotten() {
        // 1 - 1/e after the average's own span.
        for (decay, span) in DECAYS.into_iter().zip([60, 300, 900]) {
            let load = after(span, 0, 1, decay);
            assert!((load - 0.632).abs() < 0.02, "{load}");
        }
        assert_eq!(after(3600, 0, 4, DECAYS[0]), 4.0);
        assert_eq!(after(7200, 4 * ONE, 0, DECAYS[0]), 0.0);
    }
}
