//! Medians, intervals, and whether two samples differ.

pub mod covariance;
pub mod mann_whitney;
pub mod verdict;

/// Resamples behind an interval.
const RESAMPLES: usize = 2000;
/// Seed of the resampling: the same runs give the same interval.
const SEED: u64 = 0x5eed_f1a7_1a2d_0001;

/// The middle of `values`: the mean of the two middle ones when their number is even; `None` without values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The 95 % percentile-bootstrap interval of the median of `values` (Efron 1979): resampled with replacement, the
/// medians' 2.5th and 97.5th percentile. `None` below two values, which say nothing about their spread.
pub fn bootstrap_interval(values: &[f64]) -> Option<(f64, f64)> {
    if values.len() < 2 {
        return None;
    }
    let mut random = SplitMix64(SEED);
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let resample: Vec<f64> = values.iter().map(|_| values[random.below(values.len())]).collect();
            median(&resample)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    let at = |share: f64| medians[((RESAMPLES - 1) as f64 * share).round() as usize];
    Some((at(0.025), at(0.975)))
}

/// The share of a standard normal distribution beyond `z` standard deviations on one side, by Abramowitz and Stegun's
/// formula 26.2.17 (error below 7.5e-8).
fn normal_tail(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let sum = [1.330_274_429, -1.821_255_978, 1.781_477_937, -0.356_563_782, 0.319_381_530];
    let tail = density * sum.iter().fold(0.0, |sum, factor| (sum + factor) * t);
    if z >= 0.0 { tail } else { 1.0 - tail }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to draw indices.
struct SplitMix64(u64);

impl SplitMix64 {
    #[cfg(test)]
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, by the multiply-shift method.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn the_generator_is_splitmix64() {
        // The first outputs for seed 1234567, as published with the reference code.
        let mut random = SplitMix64(1_234_567);
        assert_eq!([random.next(), random.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
        assert!((0..1000).all(|_| random.below(3) < 3));
    }

    #[test]
    fn tails_of_the_normal_distribution() {
        for (z, tail) in [(0.0, 0.5), (1.0, 0.158_655_3), (1.959_964, 0.025), (3.0, 0.001_349_9), (-1.0, 0.841_344_7)] {
            assert!((normal_tail(z) - tail).abs() < 1e-6, "{z}: {}", normal_tail(z));
        }
    }

    #[test]
    fn an_interval_is_repeatable_and_holds_the_median() {
        let values = [0.31, 0.35, 0.33, 0.36, 0.30, 0.34, 0.37];
        let (low, high) = bootstrap_interval(&values).unwrap();
        assert_eq!(bootstrap_interval(&values), Some((low, high)));
        let middle = median(&values).unwrap();
        assert!(low >= 0.30 && low < middle && middle < high && high <= 0.37, "{low} {high}");
        assert_eq!(bootstrap_interval(&[2.0, 2.0, 2.0]), Some((2.0, 2.0)));
        assert_eq!(bootstrap_interval(&[1.0]), None);
    }

    #[test]
    fn more_runs_narrow_the_interval() {
        let few: Vec<f64> = (0..5).map(f64::from).collect();
        let many: Vec<f64> = (0..200).map(|i| f64::from(i % 5)).collect();
        let width = |values: &[f64]| bootstrap_interval(values).map(|(low, high)| high - low).unwrap();
        assert!(width(&many) < width(&few));
    }
}
