//! What a run leaves behind, how long it may take, and how two of them differ.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often a running child is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Lines of the kernel log that a failure shows.
const LOG_TAIL: usize = 60;

/// Lines of equal output around a difference.
const DIFF_CONTEXT: usize = 4;

/// One run: what was printed and how it ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub stdout: String,
    pub stderr: String,
    pub end: End,
    pub elapsed: Duration,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Exited(i32),
    Signalled(i32),
    TimedOut,
}

impl From<ExitStatus> for End {
    fn from(status: ExitStatus) -> End {
        match status.code() {
            Some(code) => End::Exited(code),
            None => End::Signalled(status.signal().unwrap_or_default()),
        }
    }
}

impl Outcome {
    /// Runs `command` with no input until it ends or `limit` has passed, when it is killed.
    ///
    /// # Errors
    /// A command that cannot be started or waited for.
    pub fn of(command: &mut Command, limit: Duration) -> Result<Outcome, String> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        let end = await_end(&mut child, started + limit).map_err(|error| format!("{command:?}: {error}"))?;
        let elapsed = started.elapsed();
        Ok(Outcome { stdout: finish(stdout), stderr: finish(stderr), end, elapsed })
    }

    /// The reference's and the other run's difference as a unified diff, or nothing when they agree.
    pub fn difference(&self, other: &Outcome, names: (&str, &str)) -> Option<String> {
        let (left, right) = (self.transcript(), other.transcript());
        (left != right).then(|| {
            let diff = similar::TextDiff::from_lines(&left, &right);
            diff.unified_diff().context_radius(DIFF_CONTEXT).header(names.0, names.1).to_string()
        })
    }

    /// The last lines of the kernel log.
    pub fn log_tail(&self) -> String {
        let lines: Vec<&str> = self.stderr.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
    }

    /// What is compared. The guest's console is a terminal, whose line discipline sends CR LF for LF; natively the
    /// program writes into a pipe.
    fn transcript(&self) -> String {
        let mut text = self.stdout.replace("\r\n", "\n");
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text + &format!("[end: {:?}]\n", self.end)
    }
}

fn await_end(child: &mut Child, deadline: Instant) -> std::io::Result<End> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.into());
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(End::TimedOut);
        }
        thread::sleep(POLL_INTERVAL);
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> Option<JoinHandle<Vec<u8>>> {
    let mut pipe = pipe?;
    Some(thread::spawn(move || {
        let mut bytes = Vec::new();
        // A broken pipe ends the text early; the comparison then shows what is missing.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    }))
}

fn finish(reader: Option<JoinHandle<Vec<u8>>>) -> String {
    let bytes = reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
