//! The report of a soak: `report.json` for programs, `report.md` for people.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Sample;
use super::verdict::Verdict;
use crate::report::machine::Machine;

/// Goes up when a reader would have to change.
pub const SCHEMA_VERSION: u32 = 1;

/// Everything that is known of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub schema_version: u32,
    pub generator: String,
    /// Of the source; with `+` if files differed from it.
    pub commit: String,
    pub started: String,
    pub finished: String,
    pub machine: Machine,
    pub hook: String,
    /// `mem=`.
    pub memory: String,
    pub cycles: u64,
    pub threads: u64,
    pub seed: u32,
    pub verdict: Verdict,
    pub samples: Vec<Sample>,
}

impl Report {
    /// Writes both files into `folder`, which is made.
    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for (name, text) in
            [("report.json", serde_json::to_string_pretty(self)? + "\n"), ("report.md", self.markdown())]
        {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// The report for people.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let result = if self.verdict.passed { "passed" } else { "FAILED" };
        // Writing to a string does not fail.
        _ = writeln!(text, "# Soak of processes and threads: {result}\n");
        for reason in &self.verdict.reasons {
            _ = writeln!(text, "- {reason}");
        }
        _ = writeln!(
            text,
            "{} fork+exec+wait cycles and {} threads, seed {}, hook={}, mem={}, commit {}, {} to {}, on {} ({}).\n",
            self.cycles,
            self.threads,
            self.seed,
            self.hook,
            self.memory,
            self.commit,
            self.started,
            self.finished,
            self.machine.cpu_model,
            self.machine.kernel
        );
        _ = writeln!(
            text,
            "| phase | quantity | early | at the end | allowed growth |\n| --- | --- | --- | --- | --- |"
        );
        for g in &self.verdict.growth {
            let (early, late) = (g.early.abs(), g.late.abs());
            let quantity = g.quantity.replace("guest memory in use", "guest memory free");
            _ = writeln!(text, "| {} | {quantity} | {early:.0} | {late:.0} | {:.0} |", g.phase, g.allowed);
        }
        if let (Some(first), Some(last)) = (self.samples.first(), self.samples.last()) {
            _ = writeln!(
                text,
                "\n{} samples over {:.0} s; at the start: Pss {} KB, {} descriptors; at the end: Pss {} KB, {} descriptors.",
                self.samples.len(),
                last.seconds,
                first.pss_kb,
                first.descriptors,
                last.pss_kb,
                last.descriptors
            );
        }
        text
    }
}
