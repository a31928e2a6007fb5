//! `report.json`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::ser::{Formatter, Serializer};
use sha2::{Digest, Sha256};

use super::Report;

/// A file that the measurement depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    pub path: String,
    /// Hex.
    pub sha256: String,
}

impl FileState {
    /// `None` when the file cannot be read.
    pub fn of(path: &Path) -> Option<Self> {
        let digest = Sha256::digest(fs::read(path).ok()?);
        let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self { path: path.display().to_string(), sha256 })
    }
}

/// Depth to which values have lines of their own: a run of a series is one line.
const DEPTH: usize = 4;

/// The report as indented JSON, a line to a run: a full report has thousands.
pub fn document(report: &Report) -> Result<String> {
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, Lines::default());
    report.serialize(&mut serializer).context("the report does not serialize")?;
    text.push(b'\n');
    String::from_utf8(text).context("JSON is UTF-8")
}

/// Indents what lies up to [`DEPTH`] deep and leaves the rest on its line.
#[derive(Debug, Default)]
struct Lines {
    depth: usize,
    /// Whether the innermost array or object has a value.
    filled: bool,
}

impl Lines {
    fn open<W: Write + ?Sized>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.filled = false;
        writer.write_all(bracket)
    }

    fn close<W: Write + ?Sized>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if self.filled && self.depth < DEPTH {
            self.line(writer)?;
        }
        self.filled = true;
        writer.write_all(bracket)
    }

    fn value<W: Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        match (self.depth <= DEPTH, first) {
            (true, _) => self.line(writer),
            (false, true) => Ok(()),
            (false, false) => writer.write_all(b" "),
        }
    }

    fn line<W: Write + ?Sized>(&self, writer: &mut W) -> io::Result<()> {
        write!(writer, "\n{:1$}", "", self.depth)
    }
}

impl Formatter for Lines {
    fn begin_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"[")
    }

    fn end_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"]")
    }

    fn begin_array_value<W: Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.value(writer, first)
    }

    fn end_array_value<W: Write + ?Sized>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }

    fn begin_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"{")
    }

    fn end_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"}")
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.value(writer, first)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn end_object_value<W: Write + ?Sized>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn the_documented_schema() {
        let text = document(&sample()).unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(json["schema_version"], 2);
        let top = "baseline complete finished generator machine results rounds schema_version settings started systems";
        assert_eq!(keys(&json), top);
        assert_eq!(keys(&json["machine"]), "clock_source cpu_model cpus kernel memory_bytes virtualized");
        let settings = "cases congestion_control course_seconds full_pace guest_side_cpu host_side_cpu preset rootfs rounds seconds slowed \
                        vmlinux";
        assert_eq!(keys(&json["settings"]), settings);
        assert_eq!(keys(&json["systems"][2]), "earlier name ran reason version");
        let series = &json["results"][1];
        let fields = "against_native better case cpu_seconds interval_95 max median metric min ratio_to_native runs system \
                      unit workload";
        assert_eq!(keys(series), fields);
        assert_eq!(
            keys(&series["runs"][0]),
            "course cpu_seconds failure noise raw round surroundings value wall_seconds"
        );
        assert_eq!(keys(&series["runs"][0]["surroundings"]), "clock_source foreign_cpus load paces stolen_cpus");
        assert_eq!(keys(&json["rounds"][0]), "foreign_cpus load noisy_runs pace round runs stolen_cpus");
        assert_eq!(keys(&json["settings"]["cases"][0]), "case client server workload");
        assert_eq!(keys(&series["ratio_to_native"]), "interval_95 median rounds");
        assert_eq!(series["better"], "higher");
        assert_eq!(series["runs"][1]["value"], Value::Null);
        assert_eq!(series["cpu_seconds"]["host_side"], Value::Null);
        assert!(series["ratio_to_native"]["interval_95"].as_array().is_some_and(|pair| pair.len() == 2));
    }

    #[test]
    fn a_run_is_a_line() {
        let text = document(&sample()).unwrap();
        let run = text.lines().find(|line| line.contains("\"raw\": \"raw/nommu-patch.iperf3.tcp.2.out\"")).unwrap();
        assert!(
            run.starts_with("    {\"round\": 2, \"value\": null,") && run.trim_end_matches(',').ends_with('}'),
            "{run}"
        );
        assert!(text.starts_with("{\n \"schema_version\": 2,\n") && text.ends_with("\n}\n"), "{text}");
    }

    #[test]
    fn a_report_reads_back() {
        let text = document(&sample()).unwrap();
        let again: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(document(&again).unwrap(), text);
    }
}
