//! Times as the guest writes them: `timespec`, `timeval`, `itimerspec`.

use super::Duration;
use crate::abi::general::{__kernel_old_timeval, __kernel_timespec};
use crate::error::{Errno, Result};

const NANOS: i64 = 1_000_000_000;
const MICROS: i64 = 1_000_000;

/// A `timespec` as a span or a point since an epoch. EINVAL if it is negative or `tv_nsec` is no fraction of a second.
pub fn duration_of(ts: __kernel_timespec) -> Result<Duration> {
    if ts.tv_sec < 0 || !(0..NANOS).contains(&ts.tv_nsec) {
        return Err(Errno::EINVAL.because("tv_sec is negative or tv_nsec is not in 0..1000000000"));
    }
    Ok(Duration::new(ts.tv_sec as u64, ts.tv_nsec as u32))
}

/// A `timeval` as a span or a point since an epoch. EINVAL if it is negative or `tv_usec` is no fraction of a second.
pub fn duration_of_timeval(tv: __kernel_old_timeval) -> Result<Duration> {
    if tv.tv_sec < 0 || !(0..MICROS).contains(&tv.tv_usec) {
        return Err(Errno::EINVAL.because("tv_sec is negative or tv_usec is not in 0..1000000"));
    }
    Ok(Duration::new(tv.tv_sec as u64, tv.tv_usec as u32 * 1000))
}

/// As a `timespec`.
pub fn timespec_of(d: Duration) -> __kernel_timespec {
    __kernel_timespec { tv_sec: i64::try_from(d.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(d.subsec_nanos()) }
}

/// As a `timeval`, cut to microseconds.
pub fn timeval_of(d: Duration) -> __kernel_old_timeval {
    __kernel_old_timeval {
        tv_sec: i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
        tv_usec: i64::from(d.subsec_micros()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_and_signs_are_checked() {
        let ts = |tv_sec, tv_nsec| __kernel_timespec { tv_sec, tv_nsec };
        assert_eq!(duration_of(ts(1, 999_999_999)).unwrap(), Duration::new(1, 999_999_999));
        for bad in [ts(-1, 0), ts(0, -1), ts(0, NANOS)] {
            assert_eq!(duration_of(bad).unwrap_err().errno(), Errno::EINVAL);
        }
        let tv = |tv_sec, tv_usec| __kernel_old_timeval { tv_sec, tv_usec };
        assert_eq!(duration_of_timeval(tv(0, 999_999)).unwrap(), Duration::from_micros(999_999));
        assert!(duration_of_timeval(tv(0, MICROS)).is_err());
    }

    #[test]
    fn spans_survive_the_round_trip_and_never_overflow() {
        let d = Duration::new(5, 7);
        assert_eq!(duration_of(timespec_of(d)).unwrap(), d);
        assert_eq!(timespec_of(Duration::MAX).tv_sec, i64::MAX);
    }
}
