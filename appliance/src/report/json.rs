//! `report.json`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
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

/// The report as indented JSON.
pub fn document(report: &Report) -> Result<String> {
    let mut text = serde_json::to_string_pretty(report).context("the report does not serialize")?;
    text.push('\n');
    Ok(text)
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
        let settings = "cases congestion_control course_seconds guest_side_cpu host_side_cpu preset rootfs rounds seconds slowed \
                        vmlinux";
        assert_eq!(keys(&json["settings"]), settings);
        assert_eq!(keys(&json["systems"][2]), "name ran reason version");
        let series = &json["results"][1];
        let fields = "against_native better case cpu_seconds interval_95 max median metric min ratio_to_native runs system \
                      unit workload";
        assert_eq!(keys(series), fields);
        assert_eq!(
            keys(&series["runs"][0]),
            "course cpu_seconds failure noise raw round surroundings value wall_seconds"
        );
        assert_eq!(keys(&series["runs"][0]["surroundings"]), "clock_source foreign_cpus load stolen_cpus");
        assert_eq!(keys(&json["rounds"][0]), "foreign_cpus load noisy_runs round runs stolen_cpus");
        assert_eq!(keys(&json["settings"]["cases"][0]), "case client server workload");
        assert_eq!(keys(&series["ratio_to_native"]), "interval_95 median rounds");
        assert_eq!(series["better"], "higher");
        assert_eq!(series["runs"][1]["value"], Value::Null);
        assert_eq!(series["cpu_seconds"]["host_side"], Value::Null);
        assert!(series["ratio_to_native"]["interval_95"].as_array().is_some_and(|pair| pair.len() == 2));
    }

    #[test]
    fn a_report_reads_back() {
        let text = document(&sample()).unwrap();
        let again: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(document(&again).unwrap(), text);
    }
}
