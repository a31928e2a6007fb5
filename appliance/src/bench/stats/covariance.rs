//! Values at a common pace: an analysis of covariance (Fisher 1932).
//!
//! What a run measures depends on how fast its CPUs were meanwhile, and the runs of two reports seldom saw the same. How much
//! it depends, the runs tell themselves: within each group, whatever its level, `value = level · product of pace^exponent` over
//! the four paces of [`Paces`] is fitted by least squares of the logarithms, the exponents being common to the groups. Dividing
//! by the powers leaves what the values would have been at a pace of 1.
//!
//! An exponent is kept from telling more than the runs do: it is zero where its sign would say that a slower CPU did the
//! work faster, it has a limit, and where the paces hardly differ it shrinks to zero (ridge regression), so that the
//! values of a quiet machine stay what they are.
//!
//! The exponents are known as well as scattered runs tell them. Where two groups ran at different paces on the whole, that doubt
//! is in the difference of what they would have been, and in all runs of a group alike, so that no test of the runs can see
//! it: [`Fit::doubt`] is its size.

use std::array;

use serde::{Deserialize, Serialize};

use crate::bench::pace::{Pace, Paces};
use crate::bench::workloads::Better;

/// The standard deviation of a pace, as a share of it, at which an exponent shrinks by half.
const HARDLY: f64 = 0.02;
/// Above one, since the loops that take the pace need not be what suffers most.
const LARGEST: f64 = 1.25;
/// Times that each exponent is brought in line with the others; they settle in a few, unless paces go together.
const STEPS: u32 = 2000;

/// A value and the paces that it was measured at.
pub type Observation = (f64, Paces);

/// Two groups' common exponents.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fit {
    pub exponents: Exponents,
    /// The standard error, in logarithms, of the difference between the groups at one pace, as far as the exponents are the
    /// reason: zero where both had the same pace on the whole, or where one is empty.
    pub doubt: f64,
}

/// The exponents of the paces, at their places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Exponents(pub Paces);

impl Fit {
    /// Fits exponents to groups that may differ in level. Values or paces of zero or less, which have no logarithm, give none.
    pub fn of(groups: [&[Observation]; 2], better: Better) -> Self {
        let sign = if better == Better::Higher { 1.0 } else { -1.0 };
        let mut sums = Sums::default();
        for group in groups.into_iter().filter(|group| !group.is_empty()) {
            let logs = |(value, paces): &Observation| (sign * value.ln(), numbers(*paces).map(f64::ln));
            let points: Vec<(f64, [f64; 4])> = group.iter().map(logs).collect();
            if points.iter().any(|(value, paces)| !value.is_finite() || !paces.iter().all(|pace| pace.is_finite())) {
                return Self::default();
            }
            sums.add(&points);
        }
        let slopes = sums.slopes();
        let [a, b, c, d] = slopes.map(|slope| sign * slope);
        let exponents =
            Exponents(Paces { host_side: Pace { core: a, memory: b }, guest_side: Pace { core: c, memory: d } });
        Self { exponents, doubt: sums.doubt(slopes) }
    }
}

impl Exponents {
    /// What `value`, measured at `paces`, would have been at a pace of 1.
    pub fn level(self, (value, paces): Observation) -> f64 {
        let powers = numbers(paces).into_iter().zip(numbers(self.0)).map(|(pace, exponent)| pace.powf(exponent));
        value / powers.product::<f64>()
    }
}

fn numbers(Paces { host_side, guest_side }: Paces) -> [f64; 4] {
    [host_side.core, host_side.memory, guest_side.core, guest_side.memory]
}

/// Sums of products of deviations from the groups' means.
#[derive(Default)]
struct Sums {
    points: f64,
    /// Of the paces with each other.
    paces: [[f64; 4]; 4],
    /// Of the paces with the value.
    value: [f64; 4],
    /// Of the value with itself.
    square: f64,
    /// The groups' mean paces.
    means: Vec<[f64; 4]>,
}

impl Sums {
    fn add(&mut self, points: &[(f64, [f64; 4])]) {
        let count = points.len() as f64;
        let mean = points.iter().map(|(value, _)| value).sum::<f64>() / count;
        let means: [f64; 4] = array::from_fn(|at| points.iter().map(|(_, paces)| paces[at]).sum::<f64>() / count);
        for (value, paces) in points {
            self.square += (value - mean) * (value - mean);
            for (at, pace) in paces.iter().enumerate() {
                let deviation = pace - means[at];
                self.value[at] += deviation * (value - mean);
                for (other, sum) in self.paces[at].iter_mut().enumerate() {
                    *sum += deviation * (paces[other] - means[other]);
                }
            }
        }
        self.points += count;
        self.means.push(means);
    }

    /// Of the paces with each other, and what shrinks the slopes.
    fn ridged(&self) -> [[f64; 4]; 4] {
        let mut ridged = self.paces;
        ridged.iter_mut().enumerate().for_each(|(at, row)| row[at] += self.points * HARDLY * HARDLY);
        ridged
    }

    /// The slopes of least squares between their limits.
    fn slopes(&self) -> [f64; 4] {
        settled(&self.ridged(), &self.value, |slope| if slope > 0.0 { slope.min(LARGEST) } else { 0.0 })
    }

    /// See [`Fit::doubt`]. A slope at its limit is in as much doubt as others.
    fn doubt(&self, slopes: [f64; 4]) -> f64 {
        let [one, other] = self.means[..] else { return 0.0 };
        let apart: [f64; 4] = array::from_fn(|at| other[at] - one[at]);
        let told: f64 = dot(&slopes, &self.value);
        let through: f64 = (0..4).map(|at| slopes[at] * dot(&self.paces[at], &slopes)).sum();
        let free = (self.points - (self.means.len() + slopes.len()) as f64).max(1.0);
        let variance = (self.square - 2.0 * told + through).max(0.0) / free;
        let spread = dot(&apart, &settled(&self.ridged(), &apart, |part| part));
        (variance * spread.max(0.0)).sqrt()
    }
}

/// The solution of `matrix · x = right`, each number of it kept between limits, by going round the coordinates.
fn settled(matrix: &[[f64; 4]; 4], right: &[f64; 4], within: impl Fn(f64) -> f64) -> [f64; 4] {
    let mut solution = [0.0; 4];
    for _ in 0..STEPS {
        for at in 0..4 {
            let others = dot(&matrix[at], &solution) - matrix[at][at] * solution[at];
            solution[at] = within((right[at] - others) / matrix[at][at]);
        }
    }
    solution
}

fn dot(one: &[f64; 4], other: &[f64; 4]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::super::SplitMix64;
    use super::*;

    /// Runs at paces from `slowest` to 1, each value being `level · (core · memory)^exponent` of the guest side, give or
    /// take 2 %.
    fn runs(level: f64, exponent: f64, slowest: f64, seed: u64) -> Vec<Observation> {
        let mut random = SplitMix64::new(seed);
        let mut uniform = || random.below(1_000_000) as f64 / 1e6;
        let mut run = || {
            let mut pace = || slowest + (1.0 - slowest) * uniform();
            let [host_side, guest_side] = [0; 2].map(|_| Pace { core: pace(), memory: pace() });
            let value = level * (guest_side.core * guest_side.memory).powf(exponent) * (0.98 + 0.04 * uniform());
            (value, Paces { host_side, guest_side })
        };
        (0..20).map(|_| run()).collect()
    }

    fn fit(one: &[Observation], other: &[Observation], better: Better) -> Exponents {
        Fit::of([one, other], better).exponents
    }

    fn mean(runs: &[Observation], exponents: Exponents) -> f64 {
        runs.iter().map(|run| exponents.level(*run)).sum::<f64>() / runs.len() as f64
    }

    /// Whether they are `exponent` on the guest side, nearly, and none on the host side.
    fn are_near(exponents: Exponents, exponent: f64) -> bool {
        let [a, b, c, d] = numbers(exponents.0);
        a.abs().max(b.abs()) < 0.1 && (c - exponent).abs().max((d - exponent).abs()) < 0.1
    }

    #[test]
    fn values_at_different_paces_become_comparable() {
        // The same cost at a slow time and at a quick one, and one that is a tenth higher.
        let (slow, quick, dearer) = (runs(30.0, -0.6, 0.4, 1), runs(30.0, -0.6, 0.8, 2), runs(33.0, -0.6, 0.8, 3));
        let exponents = fit(&slow, &quick, Better::Lower);
        assert!(are_near(exponents, -0.6), "{exponents:?}");
        assert!(mean(&slow, Exponents::default()) > 1.3 * mean(&quick, Exponents::default()), "as they were measured");
        assert!((mean(&slow, exponents) / mean(&quick, exponents) - 1.0).abs() < 0.03, "at one pace");
        let exponents = fit(&slow, &dearer, Better::Lower);
        assert!((mean(&dearer, exponents) / mean(&slow, exponents) - 1.1).abs() < 0.03, "a difference stays");
    }

    #[test]
    fn a_difference_of_level_is_no_dependence_on_the_pace() {
        // Every run of the slower group is at a slower pace, too: only within the groups does it show that this is chance.
        let (low, high) = (runs(20.0, 0.0, 0.5, 4), runs(40.0, 0.0, 0.9, 5));
        let exponents = fit(&low, &high, Better::Higher);
        assert!(are_near(exponents, 0.0), "{exponents:?}");
    }

    #[test]
    fn a_quiet_machine_changes_nothing() {
        let quiet = runs(30.0, -0.8, 0.99, 6);
        let exponents = fit(&quiet, &[], Better::Lower);
        assert!(numbers(exponents.0).iter().all(|exponent| exponent.abs() < 0.2), "{exponents:?}");
        assert_eq!(fit(&[], &[], Better::Lower), Exponents::default());
    }

    #[test]
    fn what_the_exponents_leave_in_doubt_is_as_large_as_it_says() {
        let pairs = (0..200).map(|seed| [runs(30.0, 0.6, 0.4, 2 * seed), runs(30.0, 0.6, 0.8, 2 * seed + 1)]);
        // A run's own 2 %, evenly spread, in the means of twenty.
        let of_runs = 2.0 * (0.02_f64.powi(2) / 3.0) / 20.0;
        let wrong_by = |[slow, quick]: [Vec<Observation>; 2]| {
            let Fit { exponents, doubt } = Fit::of([&slow, &quick], Better::Higher);
            let difference = (mean(&quick, exponents) / mean(&slow, exponents)).ln();
            difference / doubt.hypot(of_runs.sqrt())
        };
        let squares = pairs.map(wrong_by).map(|errors| errors * errors).sum::<f64>() / 200.0;
        assert!((0.6..1.6).contains(&squares), "{squares}");
        let doubt =
            |slowest: f64| Fit::of([&runs(30.0, 0.6, 0.8, 1), &runs(30.0, 0.6, slowest, 2)], Better::Higher).doubt;
        assert!(doubt(0.3) > 2.0 * doubt(0.8), "{} {}", doubt(0.3), doubt(0.8));
        assert_eq!(Fit::of([&runs(30.0, 0.6, 0.4, 1), &[]], Better::Higher).doubt, 0.0);
    }

    #[test]
    fn exponents_have_a_sign_and_a_limit() {
        let odd = fit(&runs(30.0, 0.8, 0.5, 7), &[], Better::Lower);
        assert_eq!(numbers(odd.0)[2..], [0.0, 0.0], "no cost falls on a slower CPU");
        assert_eq!(fit(&runs(30.0, -3.0, 0.5, 8), &[], Better::Lower).0.guest_side.core, -LARGEST);
        let mut nothing = runs(30.0, -0.8, 0.5, 9);
        nothing[3].0 = 0.0;
        assert_eq!(fit(&nothing, &[], Better::Lower), Exponents::default());
    }
}
