//! lmbench 3: one group of its programs per run, each program a row of the report.
//!
//! A shell starts the programs of a group one after another in one boot, with a mark before each, so that one that
//! hangs or prints nothing costs its own row only. `ENOUGH` is the time in microseconds that lmbench wants a
//! measurement to take; `TIMING_O` and `LOOP_O` are its own overheads for reading the clock and for looping, a nanosecond
//! or so. Without these every program would first spend seconds on finding them out.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Case, Metric, Values, words};
use crate::bench::observe::Observed;

/// Where Debian puts the programs.
const FOLDER: &str = "/usr/lib/lmbench/bin/x86_64-linux-gnu";
/// Begins the line before each program's output.
const MARK: &str = "flatland-row";
/// Microseconds per measurement.
const ENOUGH: u32 = 50_000;
/// Measurements whose median lmbench prints, in a process of their own, after no warm-up.
const EFFORT: &str = "-W 0 -N 3";
/// Seconds after which a program is given up.
const ROW_LIMIT: u64 = 10;

/// How a program's result reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// `…: 0.0937 microseconds`
    Microseconds,
    /// `…: 8478.11 MB/sec`
    Megabytes,
    /// `2 0.74`: processes and microseconds
    ContextSwitch,
}

/// One row: its name and the command line after the program's folder.
type Row = (&'static str, &'static str, Reading);

/// The rows of the table that nommu User-Mode Linux publishes, cheap enough for one boot.
const TABLE: &[Row] = &[
    ("syscall", "lat_syscall {effort} null", Reading::Microseconds),
    ("read", "lat_syscall {effort} read", Reading::Microseconds),
    ("write", "lat_syscall {effort} write", Reading::Microseconds),
    ("stat", "lat_syscall {effort} stat {file}", Reading::Microseconds),
    ("open/close", "lat_syscall {effort} open {file}", Reading::Microseconds),
    ("select-10", "lat_select {effort} -n 10 file", Reading::Microseconds),
    ("select-100", "lat_select {effort} -n 100 file", Reading::Microseconds),
    ("select-1000", "lat_select {effort} -n 1000 file", Reading::Microseconds),
    ("fork+execve", "lat_proc {effort} exec", Reading::Microseconds),
    ("fork+sh", "lat_proc {effort} shell", Reading::Microseconds),
];
const FORK: &[Row] = &[("fork", "lat_proc {effort} fork", Reading::Microseconds)];
const SIGNAL: &[Row] = &[
    ("install", "lat_sig {effort} install", Reading::Microseconds),
    ("catch", "lat_sig {effort} catch", Reading::Microseconds),
    ("protection fault", "lat_sig {effort} prot {file}", Reading::Microseconds),
];
const IPC: &[Row] = &[
    ("pipe", "lat_pipe {effort}", Reading::Microseconds),
    ("unix socket", "lat_unix {effort}", Reading::Microseconds),
    ("context switch, 2", "lat_ctx {effort} -s 0 2", Reading::ContextSwitch),
    ("context switch, 8", "lat_ctx {effort} -s 0 8", Reading::ContextSwitch),
];
const BANDWIDTH: &[Row] =
    &[("pipe", "bw_pipe {effort}", Reading::Megabytes), ("unix socket", "bw_unix {effort}", Reading::Megabytes)];

const CASES: [Lmbench; 5] = [
    Lmbench { name: "lmbench", rows: TABLE },
    Lmbench { name: "fork", rows: FORK },
    Lmbench { name: "signal", rows: SIGNAL },
    Lmbench { name: "ipc", rows: IPC },
    Lmbench { name: "bandwidth", rows: BANDWIDTH },
];

#[derive(Clone, Copy, Debug)]
struct Lmbench {
    name: &'static str,
    rows: &'static [Row],
}

pub(super) fn case(name: &str) -> Option<Box<dyn Case>> {
    CASES.iter().find(|case| case.name == name).map(|case| Box::new(*case) as Box<dyn Case>)
}

impl Case for Lmbench {
    fn workload(&self) -> &'static str {
        "lmbench"
    }

    fn name(&self) -> &str {
        self.name
    }

    fn metrics(&self) -> Vec<Metric> {
        let metric = |(name, _, reading): &Row| match reading {
            Reading::Megabytes => Metric::rate(name, "MB/s"),
            Reading::Microseconds | Reading::ContextSwitch => Metric::cost(name, "µs"),
        };
        self.rows.iter().map(metric).collect()
    }

    fn client(&self, _server_address: &str, _seconds: u32) -> Vec<String> {
        // /tmp is a tmpfs everywhere, the native chroot's too, so that no row measures the host's disk in one system
        // and memory in another.
        let mut script = format!(
            "cd /tmp; export ENOUGH={ENOUGH} TIMING_O=0 LOOP_O=0; echo x >file; \
             row() {{ echo {MARK} $1; shift; timeout {ROW_LIMIT} {FOLDER}/$@ 2>&1; }};"
        );
        for (number, (_, line, _)) in self.rows.iter().enumerate() {
            let line = line.replace("{effort}", EFFORT).replace("{file}", "/tmp/file");
            script += &format!(" row {number} {line};");
        }
        script += &format!(" echo {MARK} {}", self.rows.len());
        words(&["/bin/sh", "-c", &script])
    }

    fn duration(&self, _seconds: u32) -> Duration {
        // Calibration takes about as long as the measurements.
        Duration::from_micros(u64::from(ENOUGH) * 6) * self.rows.len() as u32
    }

    fn limit(&self, _seconds: u32) -> Duration {
        Duration::from_secs(ROW_LIMIT) * self.rows.len() as u32
    }

    fn values(&self, seen: &Observed) -> Values {
        let said: Vec<&str> = seen.output.split(MARK).skip(1).collect();
        if said.len() <= self.rows.len() && said.is_empty() {
            bail!("the shell that starts lmbench's programs printed nothing");
        }
        Ok(self.rows.iter().enumerate().map(|(number, row)| value(row, said.get(number).copied())).collect())
    }
}

/// The value of `row` in what was said from its mark to the next.
fn value((name, _, reading): &Row, said: Option<&str>) -> Result<f64> {
    let said = said.with_context(|| format!("{name}: never began"))?;
    // Behind the mark stands the row's number.
    let said = said.split_once('\n').map_or("", |(_, rest)| rest);
    let number = match reading {
        Reading::Microseconds => before(said, "microseconds"),
        Reading::Megabytes => before(said, "MB/sec"),
        Reading::ContextSwitch => said.lines().find_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (processes, time) = (words.next()?.parse::<u32>().ok()?, words.next()?.parse::<f64>().ok()?);
            (processes > 0 && words.next().is_none()).then_some(time)
        }),
    };
    match number {
        Some(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => bail!("{name}: no result; it said: {}", said.trim().lines().next().unwrap_or("nothing")),
    }
}

/// The number in front of `unit`.
fn before(text: &str, unit: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains(unit))?;
    line.split(unit).next()?.split_ascii_whitespace().next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(name: &str, output: &str) -> Vec<Result<f64>> {
        case(name).unwrap().values(&Observed::of_output(output)).unwrap()
    }

    #[test]
    fn real_output_parses() {
        let mut output = String::new();
        let said = [
            "Simple syscall: 0.0937",
            "Simple read: 0.1205",
            "Simple write: 0.1010",
            "Simple stat: 0.3021",
            "Simple open/close: 0.5312",
            "Select on 10 fd's: 0.2011",
            "Select on 100 fd's: 0.5033",
            "Select on 1000 fd's: 3.8012",
            "Process fork+execve: 390.7692",
            "Process fork+/bin/sh -c: 811.0000",
        ];
        for (row, line) in said.iter().enumerate() {
            output += &format!("flatland-row {row}\r\n{line} microseconds\r\n");
        }
        output += "flatland-row 10\r\n";
        let values: Vec<f64> = values("lmbench", &output).into_iter().map(Result::unwrap).collect();
        assert_eq!(values, [0.0937, 0.1205, 0.1010, 0.3021, 0.5312, 0.2011, 0.5033, 3.8012, 390.7692, 811.0]);
        let names: Vec<_> = case("lmbench").unwrap().metrics().into_iter().map(|metric| metric.name).collect();
        assert_eq!((names[4].as_ref(), names[9].as_ref()), ("open/close", "fork+sh"));
    }

    #[test]
    fn bandwidths_and_context_switches_read_differently() {
        let output = "flatland-row 0\nPipe bandwidth: 8478.11 MB/sec\nflatland-row 1\nAF_UNIX sock stream bandwidth: \
                      11087.04 MB/sec\nflatland-row 2\n";
        assert_eq!(
            values("bandwidth", output).into_iter().map(Result::unwrap).collect::<Vec<_>>(),
            [8478.11, 11087.04]
        );
        let output = "flatland-row 0\nPipe latency: 2.0827 microseconds\nflatland-row 1\nAF_UNIX sock stream latency: \
                      3.7801 microseconds\nflatland-row 2\n\n\"size=0k ovr=0.35\n2 0.74\nflatland-row 3\n\
                      \"size=0k ovr=0.36\n8 1.76\nflatland-row 4\n";
        assert_eq!(
            values("ipc", output).into_iter().map(Result::unwrap).collect::<Vec<_>>(),
            [2.0827, 3.7801, 0.74, 1.76]
        );
    }

    #[test]
    fn a_row_that_hangs_fails_alone() {
        let output = "flatland-row 0\nflatland-row 1\nSignal handler overhead: 0.5033 microseconds\nflatland-row 2\n\
                      Terminated\n";
        let values = values("signal", output);
        assert_eq!(values.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, false]);
        let said = values[2].as_ref().unwrap_err().to_string();
        assert!(said.contains("protection fault") && said.contains("Terminated"), "{said}");
        assert!(case("signal").unwrap().values(&Observed::of_output("panic")).is_err());
    }

    #[test]
    fn the_script_names_every_program_once() {
        let argv = case("lmbench").unwrap().client("h", 1);
        assert_eq!((argv[0].as_str(), argv.len()), ("/bin/sh", 3));
        for part in ["row 8 lat_proc -W 0 -N 3 exec;", "row 9 lat_proc -W 0 -N 3 shell;", "timeout 10 /usr/lib/lmbench"]
        {
            assert_eq!(argv[2].matches(part).count(), 1, "{part} in {}", argv[2]);
        }
        assert!(!argv[2].contains("{e") && !argv[2].contains("{f"), "{}", argv[2]);
        // User-Mode Linux's command line has 4096 bytes, in which each of these takes two.
        assert!(argv[2].len() < 1500, "{}", argv[2].len());
    }
}
