//! `report.html`: one file, nothing fetched, readable in light and dark, on a phone and on paper.

use std::fmt::Write;

use anyhow::Result;

use super::comparison::Comparison;
use super::markdown::{count, cpu_rows, describe, figure};
use super::plot::{self, Bar, Line, Marks, Scale};
use super::{BASE, Report, Series, method, overview};
use crate::bench::stats;
use crate::bench::stats::verdict::{LEAST_EFFECT, Verdict};
use crate::bench::workloads::Better;

const STYLE: &str = include_str!("report.css");

/// The page.
pub fn document(report: &Report) -> Result<String> {
    let machine = &report.machine;
    let mut page = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    _ = writeln!(
        page,
        "<title>Benchmark report, {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>",
        report.started
    );
    _ = writeln!(
        page,
        "<header>\n<h1>Benchmark report</h1>\n<p>{}: {} CPUs, {:.0} GiB{}, {}</p>\n<p>{} to {}, by {}; preset {}, {}</p>\n</header>\n<main>",
        escape(&machine.cpu_model),
        machine.cpus,
        machine.memory_bytes as f64 / f64::from(1 << 30),
        if machine.virtualized { ", virtual" } else { "" },
        escape(&machine.kernel),
        report.started,
        report.finished,
        escape(&report.generator),
        escape(&report.settings.preset),
        count(report.settings.rounds as usize, "round"),
    );
    page += &remarks(report);
    if let Some(comparison) = &report.baseline {
        page += &changes(comparison);
    }
    page += &glance(report);
    page += &legend(report);
    page += &bar_plots(report)?;
    page += &curves(report)?;
    page += "<h2>All figures</h2>\n";
    page += &table(report);
    page += &surroundings(report);
    page += &method_section(report);
    page += "</main>\n</body>\n</html>\n";
    Ok(page)
}

/// What a reader has to know before looking at a figure.
fn remarks(report: &Report) -> String {
    let mut items = Vec::new();
    if !report.complete {
        items.push("<li><strong>Interrupted</strong>: the rounds are not complete.</li>\n".to_owned());
    }
    if let Some(slowed) = &report.settings.slowed {
        items.push(format!("<li><strong>Slowed down on purpose</strong>: {} percent.</li>\n", escape(slowed)));
    }
    for round in report.rounds.iter().filter(|round| round.is_noisy()) {
        items.push(format!(
            "<li><strong>Noisy</strong>: in round {}, {} of {} runs were disturbed (load {:.1}, {:.0} % of a CPU \
             stolen, others used {:.0} % of one, at most).</li>\n",
            round.round,
            round.noisy_runs,
            round.runs,
            round.load,
            round.stolen_cpus * 100.0,
            round.foreign_cpus * 100.0
        ));
    }
    for system in report.systems.iter().filter(|system| !system.ran) {
        let reason = system.reason.as_deref().unwrap_or("unknown");
        items.push(format!("<li><strong>{}</strong> cannot run: {}</li>\n", escape(&system.name), escape(reason)));
    }
    let mut failures: Vec<String> = Vec::new();
    for series in &report.results {
        for run in &series.runs {
            if let Some(failure) = &run.failure {
                let place = format!("{} {} on {}, round {}", series.workload, series.case, series.system, run.round);
                let item = format!("<li>{}: {}</li>\n", escape(&place), escape(failure));
                if !failures.contains(&item) {
                    failures.push(item);
                }
            }
        }
    }
    let mut text = String::new();
    if !items.is_empty() {
        _ = write!(text, "<ul class=\"remarks\">\n{}</ul>\n", items.concat());
    }
    if !failures.is_empty() {
        let (failed, list) = (count(failures.len(), "failure"), failures.concat());
        _ = write!(text, "<details class=\"remarks\"><summary>{failed}</summary><ul>\n{list}</ul></details>\n");
    }
    text
}

fn changes(comparison: &Comparison) -> String {
    let mut text = format!(
        "<h2>Since {}</h2>\n<p class=\"faint\">Compared with {}.</p>\n<ul>\n",
        comparison.started,
        escape(&comparison.path)
    );
    for caveat in &comparison.caveats {
        _ = writeln!(text, "<li>Mind that {}.</li>", escape(caveat));
    }
    for change in comparison.verdicts() {
        let class = if change.judged.verdict == Verdict::Better { "better" } else { "worse" };
        _ = writeln!(text, "<li class=\"{class}\">{}</li>", escape(&describe(change)));
    }
    if comparison.verdicts().next().is_none() {
        _ = writeln!(text, "<li>No change beyond noise in {} rows.</li>", comparison.told());
    }
    for remark in comparison.remarks() {
        _ = writeln!(text, "<li>{}</li>", escape(&remark));
    }
    text + "</ul>\n"
}

/// A line per workload: how many times as good as native each system is.
fn glance(report: &Report) -> String {
    let summaries = overview::summaries(report);
    let Some(first) = summaries.first() else { return String::new() };
    let heads: String = first.figures.iter().map(|(name, _)| format!("<th>{}</th>", escape(name))).collect();
    let mut text = format!(
        "<h2>At a glance: times as good as native</h2>\n<div class=\"wide\"><table class=\"glance\">\n<thead><tr><th></th>\
         {heads}</tr></thead>\n<tbody>\n"
    );
    for summary in &summaries {
        let rows = count(summary.rows, "row");
        _ = write!(text, "<tr><th>{} <small>{rows}</small></th>", escape(&summary.workload));
        for (_, value) in &summary.figures {
            text += &value.map_or("<td>–</td>".into(), |value| {
                // What differs by less is no verdict anywhere.
                let class = match value {
                    v if v >= 1.0 + LEAST_EFFECT => "better",
                    v if v * (1.0 + LEAST_EFFECT) <= 1.0 => "worse",
                    _ => "",
                };
                format!("<td class=\"{class}\">{}</td>", figure(value))
            });
        }
        text += "</tr>\n";
    }
    text += "</tbody>\n</table></div>\n<p class=\"faint\">Geometric means over a workload's rows, of the rate over native's ";
    text + "or of native's cost over the cost: above 1 is better than native in every line.</p>\n"
}

/// The colour of a system is that of its place in the report.
fn colour(report: &Report, system: &str) -> usize {
    report.systems.iter().position(|state| state.name == system).unwrap_or(0)
}

fn legend(report: &Report) -> String {
    let entry = |(place, name): (usize, &String)| {
        format!("<li><i style=\"background:var(--series-{})\"></i>{}</li>\n", place % plot::COLOURS, escape(name))
    };
    let ran = report.systems.iter().enumerate().filter(|(_, system)| system.ran);
    let entries: String = ran.map(|(place, system)| entry((place, &system.name))).collect();
    format!("<ul class=\"legend\">\n{entries}</ul>\n")
}

fn card(title: &str, hint: &str, plot: &str) -> String {
    format!("<figure>\n<figcaption>{} <span>{}</span></figcaption>\n{plot}</figure>\n", escape(title), escape(hint))
}

fn siblings<'a>(report: &'a Report, row: &Series) -> Vec<&'a Series> {
    report.systems.iter().filter_map(|system| report.sibling(row, &system.name)).collect()
}

/// A card of bars for each metric, under a heading for each workload.
fn bar_plots(report: &Report) -> Result<String> {
    let mut text = String::new();
    let mut workload = "";
    for row in report.rows() {
        let bars: Vec<Bar> = siblings(report, row).into_iter().filter_map(|series| bar(report, series)).collect();
        if bars.is_empty() {
            continue;
        }
        if row.workload != workload {
            if !workload.is_empty() {
                text += "</div>\n";
            }
            workload = &row.workload;
            _ = writeln!(text, "<h2>{}</h2>\n<div class=\"cards\">", escape(workload));
        }
        let title = row.label();
        let title = title.strip_prefix(&format!("{workload} ")).unwrap_or(&title);
        let better = if row.better == Better::Higher { "more is better" } else { "less is better" };
        text += &card(title, &format!("{}, {better}", row.unit), &plot::bars(&bars)?);
    }
    if !workload.is_empty() {
        text += "</div>\n";
    }
    Ok(text)
}

fn bar(report: &Report, series: &Series) -> Option<Bar> {
    let value = series.median?;
    let (low, high) = series.interval_95.unwrap_or((value, value));
    let note = series.ratio_to_native.map_or(String::new(), |ratio| format!("×{}", figure(ratio.median)));
    Some(Bar { label: series.system.clone(), colour: colour(report, &series.system), value, low, high, note })
}

/// Throughput over time, throughput by send size, latency by percentile: what there is of them.
fn curves(report: &Report) -> Result<String> {
    let mut cards = String::new();
    for test in ["TCP_STREAM", "TCP_MAERTS"] {
        let (lines, marks) = by_size(report, test);
        if lines.iter().any(|line| line.points.len() > 1) {
            let plot = plot::lines(&lines, &marks, ["bytes a send", "Gbit/s"], Scale::Logarithmic)?;
            cards += &card(&format!("{test} by send size"), "more is better", &plot);
        }
    }
    for case in ["TCP_RR-latency", "UDP_RR-latency"] {
        let (lines, marks) = percentiles(report, case);
        if lines.iter().any(|line| line.points.len() > 1) {
            let plot = plot::lines(&lines, &marks, ["percentile", "µs"], Scale::Logarithmic)?;
            cards += &card(&format!("{} by percentile", case.trim_end_matches("-latency")), "less is better", &plot);
        }
    }
    for row in report.rows() {
        let lines = over_time(report, row);
        let steps = lines.iter().map(|line| line.points.len()).max().unwrap_or(0);
        if steps > 1 {
            let marks = time_marks(steps as f64 * report.settings.course_seconds);
            let plot = plot::lines(&lines, &marks, ["seconds", &row.unit], Scale::Linear)?;
            cards += &card(&format!("{} {} over time", row.workload, row.case), "median and range of rounds", &plot);
        }
    }
    Ok(if cards.is_empty() { cards } else { format!("<h2>Curves</h2>\n<div class=\"cards\">\n{cards}</div>\n") })
}

/// Five to ten marks at round times within `seconds`.
fn time_marks(seconds: f64) -> Marks {
    let step = [0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0].into_iter().find(|step| seconds / step <= 10.0);
    let step = step.unwrap_or(300.0);
    let mark = |n: u32| {
        let place = f64::from(n) * step;
        (place, format!("{place:.1}").trim_end_matches(".0").to_owned())
    };
    (1..=(seconds / step).round() as u32).map(mark).collect()
}

/// One line per system, of the points that `place` gives its series.
fn lines_of(report: &Report, mut place: impl FnMut(&Series) -> Option<f64>) -> Vec<Line> {
    let line = |name: &String| {
        let mut points: Vec<(f64, f64, f64, f64)> = report
            .results
            .iter()
            .filter(|series| series.system == *name)
            .filter_map(|series| Some((place(series)?, series.min?, series.median?, series.max?)))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Line { colour: colour(report, name), points }
    };
    report.systems.iter().map(|system| &system.name).map(line).filter(|line| !line.points.is_empty()).collect()
}

/// Sizes on a scale of powers of two.
fn by_size(report: &Report, test: &str) -> (Vec<Line>, Marks) {
    let size = |series: &Series| -> Option<u32> { series.case.strip_prefix(test)?.strip_prefix('-')?.parse().ok() };
    let lines = lines_of(report, |series| {
        (series.workload == "netperf").then(|| size(series)).flatten().map(|size| f64::from(size).log2())
    });
    let mut sizes: Vec<u32> = report.results.iter().filter_map(size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    // 1500 would stand on top of 1024.
    let marks = sizes.iter().filter(|size| **size != 1500).map(|size| (f64::from(*size).log2(), size.to_string()));
    (lines, marks.collect())
}

fn percentiles(report: &Report, case: &str) -> (Vec<Line>, Marks) {
    const PLACES: [(&str, &str); 3] = [("p50", "50 %"), ("p90", "90 %"), ("p99", "99 %")];
    let lines = lines_of(report, |series| {
        let place = PLACES.iter().position(|(metric, _)| *metric == series.metric)?;
        (series.workload == "netperf" && series.case == case).then_some(place as f64)
    });
    (lines, PLACES.iter().zip(0..).map(|((_, text), place)| (f64::from(place), (*text).to_owned())).collect())
}

/// Step by step, the median of the rounds with their range.
fn over_time(report: &Report, row: &Series) -> Vec<Line> {
    let line = |series: &Series| {
        let longest = series.runs.iter().map(|run| run.course.len()).max().unwrap_or(0);
        let points = (0..longest).filter_map(|step| {
            let values: Vec<f64> = series.runs.iter().filter_map(|run| run.course.get(step).copied()).collect();
            let (low, high) = (values.iter().copied().reduce(f64::min)?, values.iter().copied().reduce(f64::max)?);
            Some(((step as f64 + 1.0) * report.settings.course_seconds, low, stats::median(&values)?, high))
        });
        Line { colour: colour(report, &series.system), points: points.collect() }
    };
    siblings(report, row).into_iter().map(line).filter(|line| !line.points.is_empty()).collect()
}

fn table(report: &Report) -> String {
    let systems: Vec<&String> = report.systems.iter().filter(|s| s.ran).map(|s| &s.name).collect();
    let heads: String = systems.iter().map(|name| format!("<th>{}</th>", escape(name))).collect();
    let mut text = format!("<div class=\"wide\"><table>\n<thead><tr><th>metric</th>{heads}</tr></thead>\n<tbody>\n");
    for row in report.rows() {
        let arrow = if row.better == Better::Higher { "↑" } else { "↓" };
        _ = write!(text, "<tr><th>{}, {} {arrow}</th>", escape(&row.label()), escape(&row.unit));
        for name in &systems {
            text += &report.sibling(row, name).map_or("<td>–</td>".into(), cell);
        }
        text += "</tr>\n";
    }
    text += "</tbody>\n</table></div>\n<p class=\"faint\">Median, range over the rounds, and ratio to native with its ";
    text +=
        "95 % interval. ↑: higher is better. ↓: lower is better. ≈: no difference from native beyond noise and 5 %. ";
    text + "?: too few rounds to tell.</p>\n"
}

fn cell(series: &Series) -> String {
    let failed = series.runs.iter().filter(|run| run.value.is_none()).count();
    let (Some(median), Some(min), Some(max)) = (series.median, series.min, series.max) else {
        return "<td class=\"worse\">failed</td>".into();
    };
    let mut text = format!("<td><b>{}</b>", figure(median));
    if series.values().len() > 1 {
        _ = write!(text, " <small>{}–{}</small>", figure(min), figure(max));
    }
    if let Some(ratio) = &series.ratio_to_native {
        let verdict = series.against_native.map(|judged| judged.verdict);
        let (class, mark) = match verdict {
            Some(Verdict::Better) => ("better", ""),
            Some(Verdict::Worse) => ("worse", ""),
            Some(Verdict::Same) => ("", " ≈"),
            Some(Verdict::Unknown) | None => ("", " ?"),
        };
        _ = write!(text, "<br><span class=\"{class}\">×{}{mark}</span>", figure(ratio.median));
        if let Some((low, high)) = ratio.interval_95 {
            _ = write!(text, " <small>{}–{}</small>", figure(low), figure(high));
        }
    }
    if failed > 0 {
        _ = write!(text, "<br><span class=\"worse\">{failed} of {} failed</span>", series.runs.len());
    }
    text + "</td>"
}

fn surroundings(report: &Report) -> String {
    let systems = report.systems.iter().filter(|system| system.ran);
    let heads: String = systems.map(|system| format!("<th>{}</th>", escape(&system.name))).collect();
    let mut text = format!(
        "<h2>CPU seconds and surroundings</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>guest side + host side</th>\
         {heads}</tr></thead>\n<tbody>\n"
    );
    for (run, cells) in cpu_rows(report) {
        let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
        _ = writeln!(text, "<tr><th>{}</th>{cells}</tr>", escape(&run));
    }
    text += "</tbody>\n</table></div>\n<div class=\"wide\"><table>\n<thead><tr><th>round</th><th>noisy runs</th>";
    text += "<th>load</th><th>stolen, CPUs</th><th>others, CPUs</th><th>pace</th></tr></thead>\n<tbody>\n";
    for round in &report.rounds {
        _ = writeln!(
            text,
            "<tr><th>{}{}</th><td>{} of {}</td><td>{:.2}</td><td>{:.3}</td><td>{:.3}</td><td>{}</td></tr>",
            round.round,
            if round.is_noisy() { " <span class=\"worse\">noisy</span>" } else { "" },
            round.noisy_runs,
            round.runs,
            round.load,
            round.stolen_cpus,
            round.foreign_cpus,
            round.pace.map_or_else(String::new, |pace| format!("{pace:.2}"))
        );
    }
    text + "</tbody>\n</table></div>\n"
}

fn method_section(report: &Report) -> String {
    let mut text = String::from("<h2>Method</h2>\n");
    for paragraph in method::paragraphs(report) {
        _ = writeln!(text, "<p>{}</p>", escape(&paragraph));
    }
    let versions: Vec<String> = report
        .systems
        .iter()
        .filter_map(|system| Some(format!("{} is {}", escape(&system.name), escape(system.version.as_ref()?))))
        .collect();
    if !versions.is_empty() {
        _ = writeln!(text, "<p>{}.</p>", versions.join("; "));
    }
    text += "<details><summary>Command lines</summary>\n<dl>\n";
    for (name, server, client) in method::command_lines(report) {
        _ = writeln!(text, "<dt>{}</dt><dd><code>{}</code>", escape(&name), escape(&client));
        if let Some(server) = server {
            _ = write!(text, "<br>with <code>{}</code>", escape(&server));
        }
        text += "</dd>\n";
    }
    _ = write!(
        text,
        "</dl>\n</details>\n<p class=\"faint\">Ratios refer to {BASE}. Raw output is in <code>raw/</code>, "
    );
    text + "everything else in <code>report.json</code>.</p>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{sample, with_values};

    #[test]
    fn one_file_with_everything_in_it() {
        let page = document(&sample()).unwrap();
        for part in ["<svg", "Noisy", "nommu-seccomp</strong> cannot run", "1 failure<", "over time", "Mann-Whitney"] {
            assert!(page.contains(part), "no {part}");
        }
        // Nothing to fetch: no script, no link, no address but the SVG name space.
        for part in ["<script", "<link", "src=", "@import", "url("] {
            assert!(!page.contains(part), "{part}");
        }
        assert_eq!(page.matches("http").count(), page.matches("http://www.w3.org/2000/svg").count());
        assert!(page.contains("prefers-color-scheme: dark") && page.contains("@media print"));
    }

    #[test]
    fn what_tools_say_cannot_break_the_page() {
        let mut report = sample();
        report.systems[2].reason = Some("<script>alert(1)</script> & \"more\"".into());
        let page = document(&report).unwrap();
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;more&quot;"));
    }

    #[test]
    fn tags_are_closed() {
        let page = document(&with_values(&[50.0, 51.0, 52.0, 53.0], &[20.0, 21.0, 22.0, 23.0])).unwrap();
        for tag in ["div", "ul", "li", "table", "tr", "td", "th", "figure", "details", "svg", "p", "span", "main"] {
            let open = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(open, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }
}
