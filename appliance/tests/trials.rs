//! Do comparisons of reports find what is there, and nothing else? Reports of one build are compared with each other and
//! with reports in which Flatland was slowed down by a tenth (`--slow`), each with its baseline's kernel measured again. Takes
//! fifty minutes of a machine that does nothing else:
//!
//! ```text
//! cargo test --release -p appliance --test trials -- --ignored --nocapture
//! ```
//!
//! `FLATLAND_TRIALS` sets how many, `FLATLAND_TRIALS_NOISY=1` lets a busy machine have verdicts, too.
//! `FLATLAND_TRIALS_DIR` names a folder in which the reports stay; one that is there is judged again, and not measured. Needs
//! root, a `vmlinux` beside the appliance, and a Debian mirror or a filled cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const APPLIANCE: &str = env!("CARGO_BIN_EXE_appliance");
const SYSTEM: &str = "nommu-patch";
const SLOWED: &str = "nommu-patch=10";
/// Rounds of each report, and seconds of each run: with two rows to a system, five rounds could pass on a quiet machine.
/// Beside busy neighbours the difference of two kernels in so many rounds has a standard error of some 2 % for TCP.
const ROUNDS: &str = "16";
const SECONDS: &str = "2";

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn trust_noisy() -> bool {
    std::env::var_os("FLATLAND_TRIALS_NOISY").is_some()
}

/// Measures into `out`, unless there is a report.
fn bench(out: &Path, baseline: Option<&Path>, slow: bool) {
    if out.join("report.json").is_file() {
        return;
    }
    let mut command = Command::new(APPLIANCE);
    command.args(["bench", "--systems", SYSTEM, "--cases", "getpid,tcp"]);
    command.args(["--runs", ROUNDS, "--seconds", SECONDS]);
    command.arg("--out").arg(out);
    if slow {
        command.args(["--slow", SLOWED]);
    }
    if let Some(baseline) = baseline {
        command.arg("--baseline").arg(baseline.join("report.json"));
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What changed between the reports in two folders.
fn compare(earlier: &Path, later: &Path) -> Value {
    let mut command = Command::new(APPLIANCE);
    command.arg("compare").args([earlier, later].map(|folder| folder.join("report.json"))).arg("--json");
    let output = command.args(trust_noisy().then_some("--trust-noisy")).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// What the comparison says about `case`: verdict, and the change in percent.
fn verdict(comparison: &Value, case: &str) -> (String, f64) {
    let changes = comparison["changes"].as_array().unwrap();
    let change = changes.iter().find(|change| change["case"] == case).unwrap();
    (change["verdict"].as_str().unwrap().to_owned(), (change["quotient"].as_f64().unwrap() - 1.0) * 100.0)
}

/// Verdicts of one kind of trial.
#[derive(Default)]
struct Tally {
    found: u32,
    none: u32,
    /// Too noisy to tell.
    silent: u32,
    wrong: u32,
}

impl Tally {
    fn count(&mut self, verdict: &str) {
        match verdict {
            "worse" => self.found += 1,
            "same" => self.none += 1,
            "unknown" => self.silent += 1,
            _ => self.wrong += 1,
        }
    }
}

#[test]
#[ignore = "fifty minutes of a machine that does nothing else"]
fn a_tenth_is_found_in_nine_of_ten_trials_and_nothing_between_equals() {
    let trials = std::env::var("FLATLAND_TRIALS").map_or(10, |text| text.parse::<u32>().unwrap());
    let kept = std::env::var_os("FLATLAND_TRIALS_DIR").map(PathBuf::from);
    let temporary = || std::env::temp_dir().join(format!("flatland-trials-{}", std::process::id()));
    let scratch = kept.is_none().then(|| Scratch(temporary()));
    let folder = kept.or_else(|| Some(scratch.as_ref()?.0.clone())).unwrap();
    let place = |name: &str, trial: u32| folder.join(format!("{name}-{trial}"));
    let (mut getpid, mut tcp, mut equals) = (Tally::default(), Tally::default(), Tally::default());
    bench(&place("plain", 0), None, false);
    for trial in 1..=trials {
        let (before, slowed, plain) = (place("plain", trial - 1), place("slowed", trial), place("plain", trial));
        bench(&slowed, Some(&before), true);
        bench(&plain, Some(&before), false);
        let (slowed, plain) = (compare(&before, &slowed), compare(&before, &plain));
        let mut line = format!("trial {trial}:");
        for (case, tally) in [("getpid", &mut getpid), ("tcp", &mut tcp)] {
            let (verdict, percent) = verdict(&slowed, case);
            line += &format!(" {case} slowed {verdict} ({percent:+.1} %)");
            tally.count(&verdict);
        }
        for case in ["getpid", "tcp"] {
            let (verdict, percent) = verdict(&plain, case);
            line += &format!("; {case} {verdict} ({percent:+.1} %)");
            equals.count(&verdict);
        }
        eprintln!("{line}");
    }
    let told = |name: &str, tally: &Tally| {
        let Tally { found, none, silent, wrong } = tally;
        eprintln!("{name}: worse {found}, better {wrong}, no difference {none}, too noisy to tell {silent}");
    };
    told("getpid slowed by a tenth", &getpid);
    told("tcp slowed by a tenth", &tcp);
    told("equals", &equals);
    assert_eq!(equals.found + equals.wrong + getpid.wrong + tcp.wrong, 0, "a difference where there is none");
    if getpid.silent + tcp.silent > 0 {
        panic!("the machine is too busy: no verdict in {} trials", getpid.silent + tcp.silent);
    }
    assert!(10 * getpid.found >= 9 * trials && 10 * tcp.found >= 9 * trials, "a slow-down of a tenth was missed");
}
