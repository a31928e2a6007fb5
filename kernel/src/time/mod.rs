//! Clocks: the monotonic instant that timers and deadlines are counted in, and the wall clock's distance from it.

pub use core::time::Duration;

use core::ops::{Add, Sub};
use core::sync::atomic::{AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};

static BOOT: crate::sync::Once<Instant> = crate::sync::Once::new();

fn host_clock(id: ClockId) -> u64 {
    let t = clock_gettime(id);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

pub mod clock;
pub mod vdso;

pub use clock::now;

fn host_monotonic() -> u64 {
    host_clock(ClockId::Monotonic)
}

/// Distance from the monotonic to the host's wall clock, as last adopted.
static REALTIME_OFFSET: AtomicU64 = AtomicU64::new(0);
/// Distance from the host's wall clock to the guest's (clock_settime(2)), wrapping.
static REALTIME_STEP: AtomicU64 = AtomicU64::new(0);

/// Distance from the monotonic to the guest's wall clock. The two move together but for steps, so a small difference
/// between two looks is the looks' own.
fn realtime_offset() -> u64 {
    const NOISE: u64 = 5_000;
    let seen = host_clock(ClockId::Realtime).wrapping_sub(host_monotonic());
    let adopted = REALTIME_OFFSET.load(Ordering::Relaxed);
    if seen.abs_diff(adopted) > NOISE {
        REALTIME_OFFSET.store(seen, Ordering::Relaxed);
    }
    adopted_offset()
}

/// The distance that holds until the next look at the host's clocks.
fn adopted_offset() -> u64 {
    REALTIME_OFFSET.load(Ordering::Relaxed).wrapping_add(REALTIME_STEP.load(Ordering::Relaxed))
}

/// Distance from the monotonic clock to CLOCK_BOOTTIME.
fn boottime_offset() -> u64 {
    host_clock(ClockId::Boottime).saturating_sub(host_monotonic())
}

/// The wall clock: time since 1970-01-01 00:00:00 UTC.
pub fn realtime() -> Duration {
    let offset = if clock::is_active() { adopted_offset() } else { realtime_offset() };
    Duration::from_nanos(now().as_nanos().wrapping_add(offset))
}

/// Sets the guest's wall clock; the host's stays as it is. Dates beyond the year 2554 wrap.
pub fn set_realtime(wanted: Duration) {
    let step = (wanted.as_nanos() as u64).wrapping_sub(realtime().as_nanos() as u64);
    REALTIME_STEP.fetch_add(step, Ordering::Relaxed);
    clock::publish_anew();
}

/// Time since the machine was started (CLOCK_BOOTTIME of the guest).
pub fn since_boot() -> Duration {
    let now = now();
    now.saturating_since(*BOOT.call_once(|| now))
}

/// Nanoseconds on the host's CLOCK_MONOTONIC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(pub u64);

impl Instant {
    /// Later than every deadline.
    pub const FAR_FUTURE: Instant = Instant(u64::MAX);

    /// Nanoseconds since the clock's epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to here; zero if it is later.
    pub fn saturating_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This much later, at most [`Instant::FAR_FUTURE`].
    pub fn saturating_add(self, d: Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, d: Duration) -> Instant {
        self.saturating_add(d)
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, d: Duration) -> Instant {
        Instant(self.0.saturating_sub(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.saturating_since(earlier)
    }
}

pub mod guest_clock;
pub mod interval;
pub mod timer;
pub mod timespec;
