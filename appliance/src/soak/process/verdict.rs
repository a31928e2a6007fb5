//! Whether a machine has grown.

use serde::{Deserialize, Serialize};

use super::Sample;
use crate::bench::stats::median;

/// What may be more at a phase's end than early in it, in kilobytes of host memory: caches that fill slowly.
const PSS_GROWTH_KB: f64 = 2048.0;
/// The same for what the guest has free.
const GUEST_GROWTH_KB: f64 = 1024.0;
/// The same for descriptors.
const DESCRIPTOR_GROWTH: f64 = 2.0;
/// Samples that an end of a phase must have to be compared.
const LEAST: usize = 3;

/// One quantity in one phase, early and at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    pub phase: String,
    pub quantity: String,
    /// Median over the second tenth of the phase's samples.
    pub early: f64,
    /// Median over the last tenth.
    pub late: f64,
    /// How much more is allowed at the end.
    pub allowed: f64,
}

impl Growth {
    fn is_allowed(&self) -> bool {
        self.late - self.early <= self.allowed
    }
}

/// The judgement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub passed: bool,
    /// Why not.
    pub reasons: Vec<String>,
    pub growth: Vec<Growth>,
}

/// Judges the samples; `failure` is what went wrong with the run itself.
pub fn judge(samples: &[Sample], failure: Option<String>) -> Verdict {
    let mut reasons: Vec<String> = failure.into_iter().collect();
    let mut growth = Vec::new();
    for phase in ["processes", "threads"] {
        let of_phase: Vec<&Sample> = samples.iter().filter(|sample| sample.phase == phase).collect();
        if of_phase.is_empty() {
            continue;
        }
        let tenth = (of_phase.len() / 10).max(LEAST);
        if of_phase.len() < 3 * tenth {
            reasons.push(format!("{phase}: {} samples are too few to compare", of_phase.len()));
            continue;
        }
        let early = &of_phase[tenth..2 * tenth];
        let late = &of_phase[of_phase.len() - tenth..];
        type Quantity = (&'static str, f64, fn(&Sample) -> f64);
        let quantities: [Quantity; 3] = [
            ("host memory (Pss), KB", PSS_GROWTH_KB, |s| s.pss_kb as f64),
            ("host descriptors", DESCRIPTOR_GROWTH, |s| s.descriptors as f64),
            ("guest memory in use, KB", GUEST_GROWTH_KB, |s| -(s.guest_free_kb as f64)),
        ];
        for (quantity, allowed, of) in quantities {
            let middle = |part: &[&Sample]| median(&part.iter().map(|s| of(s)).collect::<Vec<_>>()).unwrap_or(0.0);
            let grown = Growth {
                phase: phase.into(),
                quantity: quantity.into(),
                early: middle(early),
                late: middle(late),
                allowed,
            };
            if !grown.is_allowed() {
                let more = grown.late - grown.early;
                reasons.push(format!("{phase}: {quantity} grew by {more:.0}, more than {allowed:.0}"));
            }
            growth.push(grown);
        }
    }
    if growth.is_empty() && reasons.is_empty() {
        reasons.push("nothing was sampled".into());
    }
    Verdict { passed: reasons.is_empty(), reasons, growth }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(of: impl Fn(u64) -> (i64, i64, i64)) -> Vec<Sample> {
        let sample = |done| {
            let (pss_kb, descriptors, guest_free_kb) = of(done);
            Sample { seconds: done as f64, phase: "processes".into(), done, guest_free_kb, pss_kb, descriptors }
        };
        (1..=100).map(sample).collect()
    }

    #[test]
    fn a_machine_that_stays_as_it_is_passes() {
        let verdict = judge(&samples(|i| (30_000 + i as i64 % 7, 40, 500_000 - i as i64 % 5)), None);
        assert!(verdict.passed, "{verdict:?}");
        assert_eq!(verdict.growth.len(), 3);
        // What fills at the start does not count.
        let verdict = judge(&samples(|i| (if i < 8 { 1000 } else { 30_000 }, 40, 500_000)), None);
        assert!(verdict.passed, "{verdict:?}");
    }

    #[test]
    fn growth_and_failure_are_told() {
        for (leak, words) in [
            (judge(&samples(|i| (30_000 + 100 * i as i64, 40, 500_000)), None), "Pss"),
            (judge(&samples(|i| (30_000, 40 + i as i64, 500_000)), None), "descriptors"),
            (judge(&samples(|i| (30_000, 40, 500_000 - 50 * i as i64)), None), "guest memory"),
            (judge(&samples(|_| (30_000, 40, 500_000)), Some("the guest ended with 1".into())), "ended with 1"),
            (judge(&[], None), "nothing"),
            (judge(&samples(|_| (1, 1, 1))[..5], None), "too few"),
        ] {
            assert!(!leak.passed && leak.reasons.len() == 1 && leak.reasons[0].contains(words), "{leak:?}");
        }
    }
}
