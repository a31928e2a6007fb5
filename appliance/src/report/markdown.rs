//! `report.md`, and the table that is printed.

use std::fmt::Write;

use comfy_table::{Table, presets::ASCII_MARKDOWN};

use super::comparison::{Change, Comparison};
use super::{Report, RoundState, Series, method, overview};
use crate::bench::stats::verdict::Verdict;
use crate::bench::workloads::Better;

/// The whole of `report.md`.
pub fn document(report: &Report) -> String {
    let machine = &report.machine;
    let settings = &report.settings;
    let mut text = String::from("# Benchmark report\n\n");
    let cpu = |cpu: Option<usize>| cpu.map_or("the scheduler's choice".into(), |cpu| format!("CPU {cpu}"));
    let rootfs = settings.rootfs.recipe.as_ref().unwrap_or(&settings.rootfs.path);
    let virtualized = if machine.virtualized { ", virtual" } else { "" };
    _ = write!(
        text,
        "- {} to {}, by {}\n- {} ({} CPUs{virtualized}), {:.1} GiB, {}\n- preset {}: {}, {} s a run; servers on \
         {}, guests and native clients on {}; {}; root directory {rootfs}\n",
        report.started,
        report.finished,
        report.generator,
        machine.cpu_model,
        machine.cpus,
        machine.memory_bytes as f64 / f64::from(1 << 30),
        machine.kernel,
        settings.preset,
        count(settings.rounds as usize, "round"),
        settings.seconds,
        cpu(settings.host_side_cpu),
        cpu(settings.guest_side_cpu),
        settings.congestion_control,
    );
    if let Some(slowed) = &settings.slowed {
        _ = writeln!(text, "- **slowed down on purpose**: {slowed} percent");
    }
    if !report.complete {
        text += "- **interrupted**: the rounds are not complete\n";
    }
    text += "\n";
    text += &summary(report);
    text += "\nEach cell: median [min–max], and ×ratio to native (median over the rounds, 95 % interval). Higher is ";
    text +=
        "better where a row says ↑, lower where it says ↓; ≈: no difference from native beyond noise and 5 %; ?: too ";
    text += "few rounds to tell.\n\n";
    text += &glance(report);
    text += "## CPU seconds per run\n\n";
    text += &cpu_table(report);
    text += "\n## Surroundings\n\n";
    text += &surroundings(report);
    text += "\n## Method\n\n";
    for paragraph in method::paragraphs(report) {
        text += &format!("{paragraph}\n\n");
    }
    text += "Command lines, SERVER being the other end's address:\n\n";
    for (name, server, client) in method::command_lines(report) {
        let server = server.map(|line| format!(" with `{line}`")).unwrap_or_default();
        text += &format!("- {name}: `{client}`{server}\n");
    }
    let versions = report.systems.iter().filter_map(|system| Some((&system.name, system.version.as_ref()?)));
    for (name, version) in versions {
        text += &format!("- {name} is {version}\n");
    }
    text
}

/// A line per workload: how many times as good as native each system is.
fn glance(report: &Report) -> String {
    let summaries = overview::summaries(report);
    let Some(first) = summaries.first() else { return String::new() };
    let mut table = new_table();
    let names = first.figures.iter().map(|(name, _)| name.clone());
    table.set_header(std::iter::once("times as good as native".to_owned()).chain(names));
    for summary in &summaries {
        let figures = summary.figures.iter().map(|(_, value)| value.map_or("–".into(), figure));
        table.add_row(std::iter::once(format!("{} ({})", summary.workload, count(summary.rows, "row"))).chain(figures));
    }
    format!("## At a glance\n\n{table}\n\nGeometric means over a workload's rows: above 1 is better than native.\n\n")
}

fn surroundings(report: &Report) -> String {
    let mut table = new_table();
    table.set_header(["round", "noisy runs", "load", "stolen, CPUs", "others, CPUs", "pace"]);
    for round in &report.rounds {
        let mark = if round.is_noisy() { " **noisy**" } else { "" };
        table.add_row([
            format!("{}{mark}", round.round),
            format!("{} of {}", round.noisy_runs, round.runs),
            format!("{:.2}", round.load),
            format!("{:.3}", round.stolen_cpus),
            format!("{:.3}", round.foreign_cpus),
            round.pace.map_or_else(String::new, |pace| format!("{pace:.2}")),
        ]);
    }
    format!(
        "{table}\n\nThe largest values of each round's runs, and the lowest pace; the clock source is {}.\n",
        report.machine.clock_source
    )
}

/// What changed since the baseline, as a list.
pub fn changes(comparison: &Comparison) -> String {
    let mut text = format!("\nCompared with {} ({}):\n\n", comparison.path, comparison.started);
    for caveat in &comparison.caveats {
        _ = writeln!(text, "- mind that {caveat}");
    }
    for change in comparison.verdicts() {
        _ = writeln!(text, "- {}", describe(change));
    }
    if comparison.verdicts().next().is_none() {
        _ = writeln!(text, "- no change beyond noise in {} rows", comparison.told());
    }
    for remark in comparison.remarks() {
        _ = writeln!(text, "- {remark}");
    }
    text
}

/// One change in a sentence.
pub(super) fn describe(change: &Change) -> String {
    let Change { system, workload, case, metric, before, now, .. } = change;
    let direction = if change.judged.verdict == Verdict::Better { "better" } else { "worse" };
    let unit = if change.by_ratio { "× native's" } else { &change.unit };
    format!(
        "{system}: {workload} {case} {metric} is {direction}, {} → {} {unit} ({:+.1} %, p = {:.4})",
        figure(*before),
        figure(*now),
        (change.judged.quotient.unwrap_or(now / before) - 1.0) * 100.0,
        change.judged.p_value
    )
}

/// The table with what could not run and what failed below it.
pub fn summary(report: &Report) -> String {
    let mut table = new_table();
    let columns = report.systems.iter().map(|system| system.name.clone());
    table.set_header(std::iter::once("metric".to_owned()).chain(columns));
    for row in report.rows() {
        let arrow = if row.better == Better::Higher { "↑" } else { "↓" };
        let name = format!("{}, {} {arrow}", row.label(), row.unit);
        let cells = report.systems.iter().map(|system| report.sibling(row, &system.name).map_or("–".into(), cell));
        table.add_row(std::iter::once(name).chain(cells));
    }
    let mut text = format!("{table}\n");
    let mut remarks: Vec<String> = Vec::new();
    for system in report.systems.iter().filter(|system| !system.ran) {
        remarks.push(format!("- {} cannot run: {}", system.name, one_line(system.reason.as_deref().unwrap_or("?"))));
    }
    for series in &report.results {
        for run in &series.runs {
            if let Some(failure) = &run.failure {
                let label = format!("{} {} on {}, round {}", series.workload, series.case, series.system, run.round);
                let remark = format!("- {label}: {}", one_line(failure));
                // A run with several metrics fails once.
                if !remarks.contains(&remark) {
                    remarks.push(remark);
                }
            }
        }
    }
    let noisy: Vec<String> =
        report.rounds.iter().filter(|round| round.is_noisy()).map(|round| round.round.to_string()).collect();
    if !noisy.is_empty() {
        let runs: usize = report.rounds.iter().map(|round: &RoundState| round.noisy_runs).sum();
        remarks.push(format!("- **noisy**: round {}; {runs} runs in all (\"Surroundings\")", noisy.join(", ")));
    }
    if !remarks.is_empty() {
        text += "\n";
        text += &remarks.join("\n");
        text += "\n";
    }
    if let Some(comparison) = &report.baseline {
        text += &changes(comparison);
    }
    text
}

fn cpu_table(report: &Report) -> String {
    let mut table = new_table();
    let systems = report.systems.iter().filter(|system| system.ran).map(|system| system.name.clone());
    table.set_header(std::iter::once("run".to_owned()).chain(systems));
    for (run, cells) in cpu_rows(report) {
        table.add_row(std::iter::once(run).chain(cells));
    }
    format!("{table}\n\nGuest side + host side, which are the client or its guest and the server or its guest.\n")
}

/// For each run, by workload and case, the CPU seconds of both sides in every system that ran.
pub(super) fn cpu_rows(report: &Report) -> Vec<(String, Vec<String>)> {
    let mut runs: Vec<(&str, &str)> = Vec::new();
    for series in &report.results {
        let run = (series.workload.as_str(), series.case.as_str());
        if !runs.contains(&run) {
            runs.push(run);
        }
    }
    let of = |(workload, case): (&str, &str), system: &str| -> String {
        let ours = |series: &&Series| {
            (series.workload.as_str(), series.case.as_str(), series.system.as_str()) == (workload, case, system)
        };
        let cpu = report.results.iter().filter(ours).find(|series| series.median.is_some()).map(|s| s.cpu_seconds);
        match cpu.map(|cpu| (cpu.guest_side, cpu.host_side)) {
            Some((Some(guest), Some(host))) => format!("{guest:.2} + {host:.2}"),
            Some((Some(guest), None)) => format!("{guest:.2}"),
            _ => "–".into(),
        }
    };
    let systems: Vec<&str> = report.systems.iter().filter(|s| s.ran).map(|s| s.name.as_str()).collect();
    let row = |run: (&str, &str)| {
        let name = if run.0 == run.1 { run.0.to_owned() } else { format!("{} {}", run.0, run.1) };
        (name, systems.iter().map(|system| of(run, system)).collect())
    };
    runs.into_iter().map(row).collect()
}

fn cell(series: &Series) -> String {
    let failed = series.runs.iter().filter(|run| run.value.is_none()).count();
    let mut text = match (series.median, series.min, series.max) {
        (Some(median), Some(min), Some(max)) => format!("{} [{}–{}]", figure(median), figure(min), figure(max)),
        _ => return "failed".into(),
    };
    if let Some(ratio) = &series.ratio_to_native {
        _ = write!(text, " ×{}", figure(ratio.median));
        if let Some((low, high)) = ratio.interval_95 {
            _ = write!(text, " ({}–{})", figure(low), figure(high));
        }
    }
    text += match series.against_native.map(|judged| judged.verdict) {
        Some(Verdict::Same) => " ≈",
        Some(Verdict::Unknown) => " ?",
        _ => "",
    };
    if failed > 0 {
        _ = write!(text, ", {failed} of {} failed", series.runs.len());
    }
    text
}

/// Three significant digits; whole numbers from 1000 up.
pub(super) fn figure(value: f64) -> String {
    let magnitude = value.abs();
    let decimals = match magnitude {
        m if m >= 99.95 => 0,
        m if m >= 9.995 => 1,
        m if m >= 0.9995 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// `1 round`, `2 rounds`.
pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Reasons come from tools: kept to one line, and no cell borders.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "/")
}

fn new_table() -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn figures_keep_three_digits() {
        for (value, text) in
            [(0.0123, "0.012"), (0.35, "0.350"), (1.0, "1.00"), (9.996, "10.0"), (52.34, "52.3"), (14099.4, "14099")]
        {
            assert_eq!(figure(value), text);
        }
    }

    #[test]
    fn the_table_shows_ratios_failures_and_absent_systems() {
        let text = document(&sample());
        let row = text.lines().find(|line| line.starts_with("| iperf3 tcp throughput")).unwrap();
        assert!(row.contains("50.0 [50.0–50.0]") && row.contains("25.0 [20.0–30.0] ×0.500"), "{row}");
        assert!(row.contains("1 of 3 failed") && row.contains("| –"), "{row}");
        assert!(text.contains("- **noisy**: round 2;"), "{text}");
        assert!(text.contains("- iperf3 tcp: `/usr/bin/iperf3 -c SERVER` with `/usr/bin/iperf3 -s`"), "{text}");
        assert!(text.contains("- nommu-seccomp cannot run: no / vmlinux\n"));
        assert!(text.contains("- iperf3 tcp on nommu-patch, round 2: killed after 20 s without an end\n"));
        let columns = |line: &str| line.matches('|').count();
        assert!(text.lines().any(|line| line.starts_with("| iperf3 tcp ") && line.contains("| 3.90 ")), "CPU: {text}");
        let header = text.lines().find(|line| line.starts_with("| metric")).unwrap();
        assert_eq!(columns(header), columns(row));
    }

    #[test]
    fn changes_since_the_baseline_are_told() {
        let native = [50.0, 51.0, 52.0, 50.5, 51.5, 50.2];
        let guest = [20.0, 20.4, 20.2, 20.1, 20.3, 20.5];
        let slower = guest.map(|value| value * 0.9);
        let before = crate::report::tests::with_values(&native, &guest);
        let mut now = crate::report::tests::with_values(&native, &slower);
        now.baseline = Some(Comparison::new(&now, &before, "old/report.json", false));
        let text = summary(&now);
        assert!(text.contains("- nommu-patch: iperf3 tcp throughput is worse, 20.2 → 18.2 Gbit/s (-10.0 %"), "{text}");
        now.baseline = Some(Comparison::new(&before, &before, "old/report.json", false));
        assert!(summary(&now).contains("no change beyond noise in 2 rows"));
    }
}
