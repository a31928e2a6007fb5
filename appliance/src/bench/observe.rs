//! What is seen of a client while it runs: its output, when that began, and the memory that its processes hold.
//!
//! Output goes to a file that the client writes itself, so that nobody of ours runs beside a measurement. Only the
//! cases that ask for it are watched more closely: the first output comes through a pipe, whose reader notes the time
//! (its wake-up is part of it), and memory is sampled by reading `smaps_rollup` of every process of the client.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ChildStdout;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::process_tree;

/// Between two samples of memory.
pub(super) const MEMORY_PERIOD: Duration = Duration::from_millis(50);
/// Between two looks at the CPU time of processes.
pub(super) const CPU_PERIOD: Duration = Duration::from_millis(200);
/// What a client prints when the thing that is waited for has happened.
pub const MARK: &str = "flatland-mark";

/// What to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// The output, afterwards.
    Output,
    /// Also when [`MARK`] first appears in it.
    Mark,
    /// Also the memory of all its processes.
    Memory,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Standard output.
    pub output: String,
    /// From the start to [`MARK`].
    pub mark: Option<Duration>,
    /// Proportional set sizes of all processes together, in bytes, each with the time since the start.
    pub memory: Vec<(Duration, u64)>,
}

impl Observed {
    /// An output without anything else.
    #[cfg(test)]
    pub fn of_output(output: &str) -> Self {
        Self { output: output.to_owned(), ..Self::default() }
    }
}

/// Copies a pipe into a file and notes when the mark came.
#[derive(Debug)]
pub(super) struct Reader(JoinHandle<std::io::Result<Option<Instant>>>);

impl Reader {
    /// Starts to read.
    pub fn start(mut pipe: ChildStdout, into: &Path) -> Result<Self> {
        let mut file = File::create(into).with_context(|| format!("cannot write {}", into.display()))?;
        Ok(Self(std::thread::spawn(move || {
            let (mut seen, mut at, mut buffer) = (Vec::new(), None, [0; 4096]);
            loop {
                let length = pipe.read(&mut buffer)?;
                if length == 0 {
                    return Ok(at);
                }
                let now = Instant::now();
                if at.is_none() {
                    seen.extend_from_slice(&buffer[..length]);
                    at = contains(&seen, MARK.as_bytes()).then_some(now);
                }
                file.write_all(&buffer[..length])?;
            }
        })))
    }

    /// When the mark came, once everybody who had the pipe open is gone.
    pub fn finish(self) -> Option<Instant> {
        self.0.join().ok()?.ok()?
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Samples memory of a process and its descendants until it ends.
#[derive(Debug)]
pub(super) struct MemoryWatch {
    started: Instant,
    next: Instant,
    samples: Vec<(Duration, u64)>,
}

impl MemoryWatch {
    pub fn new() -> Self {
        let now = Instant::now();
        Self { started: now, next: now, samples: Vec::new() }
    }

    /// To be called often while the process runs.
    pub fn look(&mut self, pid: u32) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + MEMORY_PERIOD;
        let bytes = process_tree::proportional_set_size(pid);
        if bytes > 0 {
            self.samples.push((now - self.started, bytes));
        }
    }

    pub fn finish(self) -> Vec<(Duration, u64)> {
        self.samples
    }
}

/// Adds up the CPU time of processes that nobody waits for, by looking at them while they live.
#[derive(Debug)]
pub(super) struct CpuWatch {
    next: Instant,
    seen: BTreeMap<u32, Duration>,
}

impl CpuWatch {
    pub fn new() -> Self {
        Self { next: Instant::now(), seen: BTreeMap::new() }
    }

    /// To be called often while the process runs.
    pub fn look(&mut self, pid: u32) {
        let now = Instant::now();
        if now >= self.next {
            self.next = now + CPU_PERIOD;
            self.seen.extend(process_tree::cpu_times(pid));
        }
    }

    /// All that was seen; what came after the last look is missing.
    pub fn total(&self) -> Duration {
        self.seen.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_mark_is_timed_and_the_output_kept() {
        let script = format!("printf flat; sleep 0.2; printf 'land-mark\\n'; sleep 0.3; echo end {MARK}");
        let started = Instant::now();
        let mut child = Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
        let path = std::env::temp_dir().join(format!("flatland-reader-{}", std::process::id()));
        let reader = Reader::start(child.stdout.take().unwrap(), &path).unwrap();
        child.wait().unwrap();
        let at = reader.finish().unwrap() - started;
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(at >= Duration::from_millis(200) && started.elapsed() - at >= Duration::from_millis(200), "{at:?}");
        assert_eq!(text, format!("{MARK}\nend {MARK}\n"));
    }

    #[test]
    fn cpu_time_of_a_child_that_is_not_waited_for_counts() {
        let script = "sh -c 'while :; do :; done' & sleep 0.5; kill -9 $!; exec sleep 0.1";
        let mut child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let mut watch = CpuWatch::new();
        while child.try_wait().unwrap().is_none() {
            watch.look(child.id());
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(watch.total() >= Duration::from_millis(50), "{:?}", watch.total());
    }

    #[test]
    fn memory_of_a_child_of_the_child_counts() {
        let mut child = Command::new("sh").args(["-c", "sleep 5 & sleep 5; true"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        let mut watch = MemoryWatch::new();
        watch.look(child.id());
        watch.look(child.id());
        let sleepers = process_tree::descendants(child.id());
        process_tree::Family::of(child.id()).kill();
        child.wait().unwrap();
        let samples = watch.finish();
        assert_eq!((samples.len(), sleepers.len()), (1, 3), "one sample within the period; the shell and two sleeps");
        assert!(samples[0].1 > 50_000, "{samples:?}");
    }
}
