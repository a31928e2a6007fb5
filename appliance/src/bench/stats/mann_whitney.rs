//! The Mann-Whitney U test: do two samples come from one distribution?
//!
//! Exact for the few runs that a bench makes, ties included: of all ways to deal the pooled midranks to the two
//! samples, the share whose rank sum lies at least as far from its mean as the one that was seen. Past
//! [`EXACT_LIMIT`] values the normal approximation with correction for ties and continuity serves.

use super::normal_tail;

/// Pooled values up to which the permutation distribution is counted out.
const EXACT_LIMIT: usize = 40;

/// Two-sided p-value for `a` and `b` being alike; 1 when either is empty.
pub fn p_value(a: &[f64], b: &[f64]) -> f64 {
    if a.is_empty() || b.is_empty() {
        return 1.0;
    }
    let ranks = doubled_midranks(a, b);
    let sum: u64 = ranks[..a.len()].iter().sum();
    if ranks.len() <= EXACT_LIMIT { exact(&ranks, a.len(), sum) } else { approximate(&ranks, a.len(), sum) }
}

/// The least p-value that samples of these sizes can have: that of a clean separation.
pub fn least_p_value(a: usize, b: usize) -> f64 {
    let values = |count: usize, from: usize| (from..from + count).map(|n| n as f64).collect::<Vec<_>>();
    p_value(&values(a, 0), &values(b, a))
}

/// Twice the midrank of each value of `a`, then of `b`, in the pool of both: integers, ties or not.
fn doubled_midranks(a: &[f64], b: &[f64]) -> Vec<u64> {
    let pool: Vec<f64> = a.iter().chain(b).copied().collect();
    let rank = |value: &f64| {
        let below = pool.iter().filter(|other| *other < value).count();
        let equal = pool.iter().filter(|other| *other == value).count();
        (2 * below + equal + 1) as u64
    };
    pool.iter().map(rank).collect()
}

/// Counts subsets of `size` ranks by their sum.
fn exact(ranks: &[u64], size: usize, seen: u64) -> f64 {
    let total: u64 = ranks.iter().sum();
    let width = total as usize + 1;
    // ways[k][s]: in how many ways k of the ranks so far add up to s.
    let mut ways = vec![vec![0.0_f64; width]; size + 1];
    ways[0][0] = 1.0;
    for rank in ranks {
        let rank = *rank as usize;
        for count in (1..=size).rev() {
            for sum in (rank..width).rev() {
                ways[count][sum] += ways[count - 1][sum - rank];
            }
        }
    }
    // Distances from the mean, all doubled by the number of ranks so that they stay integers.
    let n = ranks.len() as i128;
    let distance = |sum: u64| (i128::from(sum) * n - i128::from(total) * size as i128).abs();
    let limit = distance(seen);
    let all: f64 = ways[size].iter().sum();
    let far: f64 = ways[size].iter().zip(0..).filter(|(_, sum)| distance(*sum) >= limit).map(|(ways, _)| ways).sum();
    (far / all).min(1.0)
}

fn approximate(ranks: &[u64], size: usize, seen: u64) -> f64 {
    let n = ranks.len() as f64;
    let (a, b) = (size as f64, n - size as f64);
    let mut sorted = ranks.to_vec();
    sorted.sort_unstable();
    let ties: f64 = sorted.chunk_by(|x, y| x == y).map(|group| (group.len() as f64).powi(3) - group.len() as f64).sum();
    let variance = a * b / 12.0 * (n + 1.0 - ties / (n * (n - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let mean = a * (n + 1.0) / 2.0;
    let distance = ((seen as f64 / 2.0 - mean).abs() - 0.5).max(0.0);
    (2.0 * normal_tail(distance / variance.sqrt())).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(p: f64, expected: f64) {
        assert!((p - expected).abs() < 1e-9, "{p} {expected}");
    }

    #[test]
    fn small_samples_are_exact() {
        // Of the 20 ways to choose 3 of 6, two are separated: published tables have 0.1 for n = 3, 3 and U = 0.
        close(p_value(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]), 0.1);
        close(p_value(&[4.0, 5.0, 6.0], &[1.0, 2.0, 3.0]), 0.1);
        // 2/252 and 2/3432.
        close(least_p_value(5, 5), 2.0 / 252.0);
        close(least_p_value(7, 7), 2.0 / 3432.0);
        // U = 3 of n = 4, 4: 0.2 (table: P(U <= 3) = 7/70).
        close(p_value(&[1.0, 2.0, 3.0, 7.0], &[4.0, 5.0, 6.0, 8.0]), 0.2);
    }

    #[test]
    fn ties_count_as_what_they_are() {
        close(p_value(&[1.0, 1.0, 1.0], &[1.0, 1.0, 1.0]), 1.0);
        // Ranks 1, 2.5, 2.5, 4: sums for two of four are 3.5, 3.5, 5, 5, 6.5, 6.5; |3.5 - 5| is reached by four of six.
        close(p_value(&[1.0, 2.0], &[2.0, 3.0]), 4.0 / 6.0);
        close(p_value(&[], &[1.0]), 1.0);
    }

    #[test]
    fn many_values_agree_with_the_exact_count() {
        let a: Vec<f64> = (0..18).map(|n| f64::from(n * 7 % 18)).collect();
        let b: Vec<f64> = (0..18).map(|n| f64::from(n * 5 % 18) + 4.3).collect();
        let ranks = doubled_midranks(&a, &b);
        let sum = ranks[..18].iter().sum();
        let (exact, approximate) = (exact(&ranks, 18, sum), approximate(&ranks, 18, sum));
        assert!((exact - approximate).abs() < 0.005 && exact < 0.05, "{exact} {approximate}");
        let many: Vec<f64> = (0..60).map(f64::from).collect();
        let more: Vec<f64> = many.iter().map(|value| value + 30.0).collect();
        assert!(p_value(&many, &more) < 1e-6);
    }
}
