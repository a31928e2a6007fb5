//! `report.md`, and the table that is printed.

use std::fmt::Write;

use comfy_table::{Table, presets::ASCII_MARKDOWN};

use super::{Report, Series};
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
        "- {} to {}, by {}\n- {} ({} CPUs{virtualized}), {:.1} GiB, {}\n- preset {}: {} rounds, {} s a run; servers on \
         {}, guests and native clients on {}; {}; root directory {rootfs}\n",
        report.started,
        report.finished,
        report.generator,
        machine.cpu_model,
        machine.cpus,
        machine.memory_bytes as f64 / f64::from(1 << 30),
        machine.kernel,
        settings.preset,
        settings.rounds,
        settings.seconds,
        cpu(settings.host_side_cpu),
        cpu(settings.guest_side_cpu),
        settings.congestion_control,
    );
    if !report.complete {
        text += "- **interrupted**: the rounds are not complete\n";
    }
    text += "\n";
    text += &summary(report);
    text += "\nEach cell: median [min–max], and ×ratio to native (median over the rounds, 95 % interval). ";
    text += "Higher is better where a row says ↑, lower where it says ↓.\n\n## CPU seconds per run\n\n";
    text += &cpu_table(report);
    text
}

/// The table with what could not run and what failed below it.
pub fn summary(report: &Report) -> String {
    let mut table = new_table();
    let columns = report.systems.iter().map(|system| system.name.clone());
    table.set_header(std::iter::once("metric".to_owned()).chain(columns));
    for row in rows(report) {
        let arrow = if row.better == Better::Higher { "↑" } else { "↓" };
        let name = format!("{} {} {}, {} {arrow}", row.workload, row.case, row.metric, row.unit);
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
    if !remarks.is_empty() {
        text += "\n";
        text += &remarks.join("\n");
        text += "\n";
    }
    text
}

fn cpu_table(report: &Report) -> String {
    let mut table = new_table();
    table.set_header(["run", "system", "guest side", "host side"]);
    let seconds = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.2}"));
    let mut last = None;
    for series in &report.results {
        let key = (&series.workload, &series.case, &series.system);
        if last.replace(key) != Some(key) && series.median.is_some() {
            let cpu = series.cpu_seconds;
            let name = format!("{} {}", series.workload, series.case);
            table.add_row([name, series.system.clone(), seconds(cpu.guest_side), seconds(cpu.host_side)]);
        }
    }
    format!("{table}\n")
}

/// One series of each metric, in the order of the report.
fn rows(report: &Report) -> Vec<&Series> {
    report.results.iter().fold(Vec::new(), |mut rows: Vec<&Series>, series| {
        if !rows.iter().any(|row| row.is_same_metric(series)) {
            rows.push(series);
        }
        rows
    })
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
    if failed > 0 {
        _ = write!(text, ", {failed} of {} failed", series.runs.len());
    }
    text
}

/// Three significant digits; whole numbers from 1000 up.
fn figure(value: f64) -> String {
    let magnitude = value.abs();
    let decimals = match magnitude {
        m if m >= 99.95 => 0,
        m if m >= 9.995 => 1,
        m if m >= 0.9995 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// Reasons come from tools: kept to one line, and no cell borders.
fn one_line(text: &str) -> String {
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
        assert!(text.contains("- nommu-seccomp cannot run: no / vmlinux\n"));
        assert!(text.contains("- iperf3 tcp on nommu-patch, round 2: killed after 20 s without an end\n"));
        let columns = |line: &str| line.matches('|').count();
        let header = text.lines().find(|line| line.starts_with("| metric")).unwrap();
        assert_eq!(columns(header), columns(row));
    }
}
