//! What two samples say about each other, given that many pairs are looked at together.

use serde::{Deserialize, Serialize};

use super::mann_whitney;
use super::median;
use crate::bench::workloads::Better;

/// Share of false discoveries among the differences that are told (Benjamini and Hochberg 1995).
pub const FALSE_DISCOVERY_RATE: f64 = 0.05;
/// The least quotient of two samples, less one, that counts.
pub const LEAST_EFFECT: f64 = 0.05;

/// The outcome of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Beyond noise, and by 5 % or more, in the direction in which the metric improves.
    Better,
    /// The same in the other direction.
    Worse,
    /// Runs enough to tell, and nothing to tell.
    Same,
    /// Too few runs to tell, whatever they had shown.
    Unknown,
}

/// One pair of samples.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// The pairs of one family share their false discovery rate: a system's rows.
    pub family: &'a str,
    pub these: &'a [f64],
    pub those: &'a [f64],
    pub better: Better,
    /// By what quotient, less one, they may differ for reasons that are not the system's: the test is whether they differ by
    /// more (a minimum-effect test, Murphy and Myors 1999).
    pub allowance: f64,
}

impl Pair<'_> {
    /// That of the Mann-Whitney test, after `these` came nearer to `those` by the allowance.
    fn p_value(&self, quotient: Option<f64>) -> f64 {
        let Some(quotient) = quotient else { return 1.0 };
        let allowed = 1.0 + self.allowance;
        if quotient.max(1.0 / quotient) < allowed {
            return 1.0;
        }
        let factor = if quotient > 1.0 { 1.0 / allowed } else { allowed };
        let nearer: Vec<f64> = self.these.iter().map(|value| value * factor).collect();
        mann_whitney::p_value(&nearer, self.those)
    }
}

/// A pair's p-value and its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// These values are so many times those: the median of the quotients of all pairs (Hodges and Lehmann 1963), which
    /// wanders less than the quotient of the medians; null without values, or of zero.
    #[serde(default)]
    pub quotient: Option<f64>,
    /// Two-sided, of the Mann-Whitney U test of what is beyond the allowance, not corrected.
    pub p_value: f64,
    pub verdict: Verdict,
}

/// Judges `these` against `those`, each family of `pairs` together.
pub fn judge(pairs: &[Pair]) -> Vec<Judged> {
    let quotients: Vec<Option<f64>> = pairs.iter().map(|pair| quotient(pair.these, pair.those)).collect();
    let p_values: Vec<f64> = pairs.iter().zip(&quotients).map(|(pair, quotient)| pair.p_value(*quotient)).collect();
    let family = |of: usize| (0..pairs.len()).filter(move |other| pairs[*other].family == pairs[of].family);
    let judged = |index: usize| {
        let family_p: Vec<f64> = family(index).map(|other| p_values[other]).collect();
        let place = family(index).take_while(|other| *other < index).count();
        let quotient = quotients[index];
        Judged { quotient, p_value: p_values[index], verdict: verdict(&pairs[index], quotient, &family_p, place) }
    };
    (0..pairs.len()).map(judged).collect()
}

fn quotient(these: &[f64], those: &[f64]) -> Option<f64> {
    let quotients: Vec<f64> = these.iter().flat_map(|this| those.iter().map(move |that| this / that)).collect();
    median(&quotients).filter(|quotient| quotient.is_finite() && *quotient > 0.0)
}

/// The verdict on `pair`, whose p-value stands at `place` among its family's.
fn verdict(pair: &Pair, quotient: Option<f64>, family: &[f64], place: usize) -> Verdict {
    let Some(quotient) = quotient else { return Verdict::Unknown };
    // Had the samples been as far apart as can be, would that have passed? If not, they say nothing.
    let mut best = family.to_vec();
    best[place] = mann_whitney::least_p_value(pair.these.len(), pair.those.len());
    if best[place] > threshold(&best) {
        return Verdict::Unknown;
    }
    let large = quotient.max(1.0 / quotient) > 1.0 + LEAST_EFFECT;
    if family[place] > threshold(family) || !large {
        return Verdict::Same;
    }
    if (quotient > 1.0) == (pair.better == Better::Higher) { Verdict::Better } else { Verdict::Worse }
}

/// The largest p-value that still counts: the k-th smallest of m that is at most k/m of the rate; below every p-value
/// when there is none.
fn threshold(p_values: &[f64]) -> f64 {
    let mut sorted = p_values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let m = sorted.len() as f64;
    let passing = sorted.iter().zip(1..).filter(|(p, k)| **p <= f64::from(*k) / m * FALSE_DISCOVERY_RATE);
    passing.map(|(p, _)| *p).fold(-1.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair<'a>(these: &'a [f64], those: &'a [f64], better: Better) -> Pair<'a> {
        Pair { family: "one", these, those, better, allowance: 0.0 }
    }

    fn verdicts(pairs: &[Pair]) -> Vec<Verdict> {
        judge(pairs).into_iter().map(|judged| judged.verdict).collect()
    }

    const SLOW: [f64; 6] = [110.0, 111.0, 112.0, 110.5, 111.5, 112.5];
    const FAST: [f64; 6] = [100.0, 101.0, 102.0, 100.5, 101.5, 102.5];
    const NEAR: [f64; 6] = [103.0, 103.1, 103.2, 103.3, 103.4, 103.5];

    #[test]
    fn direction_follows_the_metric() {
        assert_eq!(verdicts(&[pair(&SLOW, &FAST, Better::Lower)]), [Verdict::Worse]);
        assert_eq!(verdicts(&[pair(&SLOW, &FAST, Better::Higher)]), [Verdict::Better]);
        assert_eq!(verdicts(&[pair(&FAST, &FAST, Better::Lower)]), [Verdict::Same]);
    }

    #[test]
    fn a_small_effect_is_none_and_three_runs_say_nothing() {
        assert_eq!(verdicts(&[pair(&NEAR, &FAST, Better::Lower)]), [Verdict::Same]);
        assert_eq!(verdicts(&[pair(&SLOW[..3], &FAST[..3], Better::Lower)]), [Verdict::Unknown]);
        assert_eq!(verdicts(&[pair(&SLOW, &[], Better::Lower)]), [Verdict::Unknown]);
        assert_eq!(verdicts(&[]), []);
    }

    #[test]
    fn the_quotient_is_that_of_all_pairs() {
        assert_eq!(quotient(&[2.0, 4.0, 8.0], &[1.0, 2.0]), Some(3.0), "of 1, 2, 2, 4, 4 and 8");
        assert_eq!([quotient(&[], &[1.0]), quotient(&[1.0], &[0.0]), quotient(&[0.0], &[1.0])], [None; 3]);
    }

    #[test]
    fn an_allowance_is_no_difference() {
        let (these, those) = ([107.0, 107.1, 107.2, 107.3, 107.4], [100.0, 100.1, 100.2, 100.3, 100.4]);
        let verdict = |allowance| judge(&[Pair { allowance, ..pair(&these, &those, Better::Lower) }])[0];
        assert_eq!([verdict(0.0), verdict(0.06)].map(|judged| judged.verdict), [Verdict::Worse; 2]);
        let more = verdict(0.08);
        assert_eq!((more.verdict, more.p_value), (Verdict::Same, 1.0));
        assert!(verdict(0.069).p_value > verdict(0.06).p_value, "what is left is less than clear");
    }

    #[test]
    fn families_do_not_raise_each_others_bar() {
        // Five runs of each can have 0.008 at best: enough alone, not as one row of twenty alike.
        let (slow, fast) = (&SLOW[..5], &FAST[..5]);
        let mut pairs = vec![pair(slow, fast, Better::Lower)];
        pairs.extend([pair(fast, fast, Better::Lower); 19]);
        assert!(verdicts(&pairs).iter().all(|verdict| *verdict == Verdict::Unknown));
        pairs[0].family = "another";
        assert_eq!(verdicts(&pairs)[..2], [Verdict::Worse, Verdict::Unknown]);
    }

    #[test]
    fn many_comparisons_raise_the_bar() {
        // The example of Benjamini and Hochberg 1995, section 4.1: four of fifteen are rejected.
        let p = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528,
            0.7590, 1.0,
        ];
        assert_eq!(threshold(&p), 0.0095);
        assert!(threshold(&[0.2, 0.9]) < 0.0);
        assert_eq!(threshold(&[0.04]), 0.04);
    }

    /// Normal noise of 2 %, by the sum of uniform numbers.
    fn runs(mean: f64, seed: u64) -> Vec<f64> {
        let mut random = super::super::SplitMix64::new(seed);
        let mut uniform = || random.below(1_000_000) as f64 / 1e6;
        (0..7).map(|_| mean * (1.0 + 0.02 * ((0..12).map(|_| uniform()).sum::<f64>() - 6.0))).collect()
    }

    #[test]
    fn ten_percent_are_found_among_many_rows_and_noise_is_not() {
        let mut found = 0;
        for trial in 0..10 {
            let before: Vec<Vec<f64>> = (0..40).map(|row| runs(100.0, trial * 1000 + row)).collect();
            let mut after: Vec<Vec<f64>> = (0..40).map(|row| runs(100.0, trial * 1000 + 500 + row)).collect();
            let alike: Vec<Pair> = after.iter().zip(&before).map(|(a, b)| pair(a, b, Better::Lower)).collect();
            assert!(verdicts(&alike).iter().all(|verdict| *verdict == Verdict::Same), "trial {trial}");
            for row in [3, 17] {
                after[row] = after[row].iter().map(|value| value * 1.1).collect();
            }
            let pairs: Vec<Pair> = after.iter().zip(&before).map(|(a, b)| pair(a, b, Better::Lower)).collect();
            let verdicts = verdicts(&pairs);
            found += u32::from(verdicts[3] == Verdict::Worse && verdicts[17] == Verdict::Worse);
        }
        assert!(found >= 9, "found in {found} of 10 trials");
    }
}
