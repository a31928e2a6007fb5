//! One figure per system and workload: how it compares with native, rows of rates and of costs alike.

use super::{BASE, Report, Series};
use crate::bench::workloads::Better;

/// A workload's line of the overview.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Summary {
    pub workload: String,
    /// How many rows of the report each figure sums up, at most.
    pub rows: usize,
    /// For each system that ran, native excepted, in the report's order: the geometric mean over the rows of how many
    /// times as good as native it is. `None` without a common row.
    pub figures: Vec<(String, Option<f64>)>,
}

/// All workloads in the order of the report; empty without native or without another system.
pub(super) fn summaries(report: &Report) -> Vec<Summary> {
    let systems: Vec<&String> =
        report.systems.iter().filter(|system| system.ran && system.name != BASE).map(|system| &system.name).collect();
    let workloads = report.rows().iter().fold(Vec::new(), |mut seen: Vec<&str>, row| {
        if !seen.contains(&row.workload.as_str()) {
            seen.push(&row.workload);
        }
        seen
    });
    let summary = |workload: &str| {
        let figures: Vec<(String, Vec<f64>)> = systems
            .iter()
            .map(|name| {
                let ours = report.results.iter().filter(|s| s.system == **name && s.workload == workload);
                ((*name).clone(), ours.filter_map(goodness).collect())
            })
            .collect();
        Summary {
            workload: workload.to_owned(),
            rows: figures.iter().map(|(_, values)| values.len()).max().unwrap_or(0),
            figures: figures.into_iter().map(|(name, values)| (name, geometric_mean(&values))).collect(),
        }
    };
    workloads.into_iter().map(summary).filter(|summary| summary.rows > 0).collect()
}

/// How many times as good as native: the ratio of a rate, the inverse ratio of a cost.
fn goodness(series: &Series) -> Option<f64> {
    let ratio = series.ratio_to_native.map(|ratio| ratio.median).filter(|ratio| *ratio > 0.0)?;
    Some(if series.better == Better::Higher { ratio } else { 1.0 / ratio })
}

fn geometric_mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn rates_and_costs_go_the_same_way() {
        let mut report = sample();
        let mut cost = report.results[1].clone();
        (cost.better, cost.metric) = (Better::Lower, "latency".into());
        cost.ratio_to_native = cost.ratio_to_native.map(|ratio| super::super::Ratio { median: 4.0, ..ratio });
        report.results.push(cost);
        // Half the rate and four times the cost: the square root of 0.5 × 0.25.
        let summaries = summaries(&report);
        assert_eq!((summaries.len(), summaries[0].rows), (1, 2));
        let (name, figure) = &summaries[0].figures[0];
        assert!(name == "nommu-patch" && (figure.unwrap() - 0.125_f64.sqrt()).abs() < 1e-9, "{summaries:?}");
    }

    #[test]
    fn nothing_to_compare_is_no_line() {
        let mut report = sample();
        report.results.truncate(1);
        assert!(summaries(&report).is_empty());
    }
}
