//! The machine's clock: the time stamp counter, steered to follow the host's CLOCK_MONOTONIC.
//!
//! Nanoseconds are a linear function of the counter. Once in a while the function is laid anew: it goes on from where it
//! stands, so that time never steps back, with a slope that reaches the host's clock by the next adjustment. The vDSO
//! has the same parameters, so that a program's clock and a system call's agree. Where the host itself does not use the
//! counter, every reading is a host call, and the vDSO makes a system call.

use super::{Duration, Instant};
use crate::arch::cpu::time_stamp;
use crate::host::{self, vdso::Parameters};
use crate::sync::{Rank, SpinLock};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

const SHIFT: u32 = 32;
/// How often the function is laid anew once the slope is well known.
const PERIOD: Duration = Duration::from_secs(1);
/// An error beyond this is a jump of the host's clock (it was suspended), not drift: followed at once.
const JUMP: u64 = 50_000_000;

/// The function, readable without a lock (a sequence lock, as in the vDSO).
struct Published {
    sequence: AtomicU32,
    base: AtomicU64,
    multiplier: AtomicU64,
    monotonic: AtomicU64,
}

static PUBLISHED: Published = Published {
    sequence: AtomicU32::new(0),
    base: AtomicU64::new(0),
    multiplier: AtomicU64::new(0),
    monotonic: AtomicU64::new(0),
};
static ACTIVE: AtomicBool = AtomicBool::new(false);
/// When the function is to be laid anew.
static NEXT: AtomicU64 = AtomicU64::new(0);

struct Calibration {
    /// Counter and host time at the first look: the longest baseline for the slope.
    first: (u64, u64),
    adjustments: u32,
}

static CALIBRATION: SpinLock<Calibration> = SpinLock::new(Rank::Timer, Calibration { first: (0, 0), adjustments: 0 });

/// The counter and the host's clock at the same moment: the closest of a few readings.
fn sample() -> (u64, u64) {
    let mut best = (u64::MAX, 0, 0);
    for _ in 0..5 {
        let before = time_stamp();
        let host = super::host_monotonic();
        let after = time_stamp();
        let width = after.wrapping_sub(before);
        if width < best.0 {
            best = (width, before + width / 2, host);
        }
    }
    (best.1, best.2)
}

fn evaluate(base: u64, multiplier: u64, monotonic: u64, tsc: u64) -> u64 {
    let ticks = tsc.saturating_sub(base);
    monotonic + ((u128::from(ticks) * u128::from(multiplier)) >> SHIFT) as u64
}

fn publish(base: u64, multiplier: u64, monotonic: u64) {
    let p = &PUBLISHED;
    let sequence = p.sequence.load(Ordering::Relaxed);
    p.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
    fence(Ordering::Release);
    p.base.store(base, Ordering::Relaxed);
    p.multiplier.store(multiplier, Ordering::Relaxed);
    p.monotonic.store(monotonic, Ordering::Relaxed);
    p.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    super::vdso::publish(Some(Parameters {
        tsc_base: base,
        multiplier,
        shift: SHIFT,
        monotonic_base: monotonic,
        realtime_offset: super::realtime_offset(),
        boottime_offset: super::boottime_offset(),
    }));
}

/// Publishes the function as it is, with the distances to the other clocks looked up anew.
pub(super) fn publish_anew() {
    if ACTIVE.load(Ordering::Relaxed) {
        let _steering = CALIBRATION.lock();
        let (base, multiplier, monotonic) = published();
        publish(base, multiplier, monotonic);
    }
}

fn published() -> (u64, u64, u64) {
    let p = &PUBLISHED;
    loop {
        let sequence = p.sequence.load(Ordering::Acquire);
        let values =
            (p.base.load(Ordering::Relaxed), p.multiplier.load(Ordering::Relaxed), p.monotonic.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        if sequence & 1 == 0 && p.sequence.load(Ordering::Relaxed) == sequence {
            return values;
        }
        core::hint::spin_loop();
    }
}

/// Starts the clock, if the host's own runs on the time stamp counter. Called twice at boot, as far apart as boot
/// allows: the first look and the first slope.
pub fn start() {
    if !host::clock_source_is_tsc() {
        return;
    }
    let now = sample();
    let mut c = CALIBRATION.lock();
    if c.first.0 == 0 {
        c.first = now;
        return;
    }
    // A baseline of at least a millisecond keeps the first slope's error to tens of ppm.
    drop(c);
    let mut now = now;
    let first = CALIBRATION.lock().first;
    while now.1 - first.1 < 1_000_000 {
        now = sample();
    }
    let multiplier = slope(first, now);
    publish(now.0, multiplier, now.1);
    ACTIVE.store(true, Ordering::Release);
    NEXT.store(now.1 + 10_000_000, Ordering::Relaxed);
}

fn slope(from: (u64, u64), to: (u64, u64)) -> u64 {
    let ticks = u128::from(to.0.wrapping_sub(from.0)).max(1);
    ((u128::from(to.1.wrapping_sub(from.1)) << SHIFT) / ticks) as u64
}

/// Whether time comes from the counter.
pub(super) fn is_active() -> bool {
    ACTIVE.load(Ordering::Relaxed)
}

/// The present instant.
#[inline]
pub fn now() -> Instant {
    if !ACTIVE.load(Ordering::Relaxed) {
        return by_the_host();
    }
    let (base, multiplier, monotonic) = published();
    Instant(evaluate(base, multiplier, monotonic, time_stamp()))
}

/// Out of the way of the many places that [`now`] is part of.
#[cold]
fn by_the_host() -> Instant {
    Instant(super::host_monotonic())
}

/// Lays the function anew if it is time.
pub fn steer(now: Instant) {
    if !ACTIVE.load(Ordering::Relaxed) || now.as_nanos() < NEXT.load(Ordering::Relaxed) {
        return;
    }
    let mut c = CALIBRATION.lock();
    let here = sample();
    let (base, multiplier, monotonic) = published();
    let ours = evaluate(base, multiplier, monotonic, here.0);
    let measured = slope(c.first, here);
    c.adjustments += 1;
    // Short periods first, while the slope is still rough.
    let period = PERIOD.as_nanos() as u64 / (100u64 >> c.adjustments.min(7)).max(1);
    let error = here.1 as i64 - ours as i64;
    if error > JUMP as i64 {
        c.first = here;
        publish(here.0, multiplier, here.1);
    } else {
        let correction = (i128::from(error) * i128::from(measured)) / i128::from(period.max(1));
        let limit = i128::from(measured / 100);
        let steered = i128::from(measured) + correction.clamp(-limit, limit);
        publish(here.0, steered as u64, ours);
    }
    NEXT.store(ours + period, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_goes_through_its_points() {
        let m = slope((1000, 500), (3_001_000, 1_000_500));
        let at_end = evaluate(1000, m, 500, 3_001_000);
        assert!(at_end.abs_diff(1_000_500) <= 1, "{at_end}");
        assert_eq!(evaluate(1000, m, 500, 10), 500);
    }
}
