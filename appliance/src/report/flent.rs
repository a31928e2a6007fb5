//! Data files that flent's plotter opens: one per system and iperf3 case with a course over time.
//!
//! flent's format version 4 is a gzipped JSON document: `x_values` in seconds, `results` by series name, and metadata that
//! names the test whose plots apply. Those plots know series by flent's own names, and tell files apart by their titles, so a
//! system is a file. Every round is put behind the one before, so that no run is hidden.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Report, Series, gzip};

/// File names, below the report's folder, and contents.
pub(super) fn documents(report: &Report) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for series in report.results.iter().filter(|series| series.runs.iter().any(|run| !run.course.is_empty())) {
        let text = serde_json::to_vec(&document(report, series)).context("flent's data does not serialize")?;
        files.push((file_name(series), gzip::stored(&text)));
    }
    Ok(files)
}

/// The test of flent whose plots have one TCP stream and no ping, and what it calls the stream.
const TEST: &str = "tcp_1up_noping";
const STREAM: &str = "TCP upload";

fn file_name(series: &Series) -> String {
    format!("flent/{}-{}.{}.flent.gz", series.workload, series.case, series.system)
}

fn document(report: &Report, series: &Series) -> Value {
    let steps = series.runs.iter().map(|run| run.course.len()).max().unwrap_or(0);
    let rounds = report.settings.rounds as usize;
    let mut values: Vec<Option<f64>> = vec![None; steps * rounds];
    for run in &series.runs {
        let start = (run.round as usize).saturating_sub(1) * steps;
        for (place, value) in values.iter_mut().skip(start).zip(&run.course) {
            *place = Some(megabits(*value, &series.unit));
        }
    }
    let step = report.settings.course_seconds;
    let times: Vec<f64> = (0..values.len()).map(|place| place as f64 * step).collect();
    let points = times.iter().zip(&values).filter_map(|(t, value)| Some(json!({"t": t, "val": (*value)?})));
    let points: Vec<Value> = points.collect();
    let started = format!("{}.000000Z", report.started.trim_end_matches('Z'));
    let mut kernel = report.machine.kernel.split(' ');
    json!({
        "version": 4,
        "metadata": {
            "NAME": TEST,
            "TITLE": format!("{} {}", series.system, series.case),
            "TIME": started,
            "T0": started,
            "LENGTH": values.len() as f64 * step,
            "TOTAL_LENGTH": values.len() as f64 * step,
            "STEP_SIZE": step,
            "HOST": "server",
            "HOSTS": ["server"],
            "LOCAL_HOST": series.system,
            "KERNEL_NAME": kernel.next(),
            "KERNEL_RELEASE": kernel.next(),
            "DATA_FILENAME": file_name(series).replace("flent/", ""),
            "NOTE": format!("{} {}, {}, {rounds} rounds one after another", series.workload, series.case, report.generator),
            "IP_VERSION": 4,
            "SERIES_META": {STREAM: {"UNITS": "Mbits/s", "RUNNER": "appliance"}},
            "TEST_PARAMETERS": {},
        },
        "x_values": times,
        "results": {STREAM: values},
        "raw_values": {STREAM: points},
    })
}

fn megabits(value: f64, unit: &str) -> f64 {
    if unit == "Gbit/s" { value * 1e3 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn rounds_follow_each_other_and_gaps_stay() {
        let report = sample();
        let native = document(&report, &report.results[0]);
        assert_eq!((native["x_values"].as_array().unwrap().len(), &native["metadata"]["NAME"]), (6, &json!(TEST)));
        assert!((native["results"]["TCP upload"][1].as_f64().unwrap() - 55_000.0).abs() < 1e-6);
        let guest = document(&report, &report.results[1]);
        let guest = guest["results"]["TCP upload"].as_array().unwrap();
        assert_eq!((guest.len(), &guest[2]), (6, &Value::Null));
        assert!((guest[4].as_f64().unwrap() - 27_000.0).abs() < 1e-6);
        let files: Vec<String> = documents(&report).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(files, ["flent/iperf3-tcp.native.flent.gz", "flent/iperf3-tcp.nommu-patch.flent.gz"]);
    }
}
