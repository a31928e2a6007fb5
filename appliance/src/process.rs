//! Host processes under control: started in a group of their own, waited for with a deadline, their CPU time read
//! before they are reaped, killed with their group when their owner goes.

use std::fmt;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::interrupt::{Interrupt, Interrupted, POLL};
use crate::process_tree::Family;

/// How long a process may take to obey SIGTERM before SIGKILL follows.
const TERM_GRACE: Duration = Duration::from_secs(1);

/// A child process, the leader of its own process group. Dropping it kills the group and all that descends from it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    reaped: bool,
}

/// How a wait for a process came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this status.
    Exited(i32),
    /// This signal ended it.
    Signalled(i32),
    /// It was still running at the deadline and has been killed.
    TimedOut(Duration),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Exited(status) => write!(f, "exit status {status}"),
            Ending::Signalled(signal) => write!(f, "ended by signal {signal}"),
            Ending::TimedOut(limit) => write!(f, "killed after {:.0} s without an end", limit.as_secs_f64()),
        }
    }
}

impl Process {
    /// Starts `command` as the leader of a new process group, so that a Ctrl-C at the terminal reaches us alone.
    pub fn spawn(name: &str, mut command: Command) -> Result<Self> {
        let child = command.process_group(0).spawn().with_context(|| cannot_start(&command))?;
        Ok(Self { child, name: name.to_owned(), reaped: false })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The pipe on the process's standard output, when its command asked for one.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The pipe on the process's standard error, when its command asked for one.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// CPU time used so far by all threads of the process, in user and kernel mode, and by those of its descendants that
    /// have been waited for.
    pub fn cpu_time(&self) -> Option<Duration> {
        Stat::of(self.id()).map(|stat| stat.cpu_time)
    }

    /// True while the process has not ended.
    pub fn is_running(&self) -> bool {
        !self.reaped && !self.has_ended()
    }

    /// Waits for the end; past `limit` the group is killed. Returns the CPU time too, read before the process is
    /// reaped. An interrupt kills the group and is an error.
    pub fn wait(self, limit: Duration, interrupt: &Interrupt) -> Result<(Ending, Duration)> {
        self.watch(limit, interrupt, |_| ())
    }

    /// The same, calling `look` with the process id every few milliseconds meanwhile.
    pub fn watch(
        mut self,
        limit: Duration,
        interrupt: &Interrupt,
        mut look: impl FnMut(u32),
    ) -> Result<(Ending, Duration)> {
        let deadline = Instant::now() + limit;
        let mut timed_out = false;
        while !self.has_ended() {
            if interrupt.raised() {
                return Err(Interrupted.into());
            }
            if Instant::now() >= deadline {
                timed_out = true;
                break;
            }
            look(self.id());
            std::thread::sleep(POLL);
        }
        let cpu = self.cpu_time().unwrap_or_default();
        let status = self.stop();
        let ending = match status {
            _ if timed_out => Ending::TimedOut(limit),
            Some(status) => status.into(),
            None => bail!("{}: the exit status is lost", self.name),
        };
        Ok((ending, cpu))
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.id().cast_signed())
    }

    /// Looks without reaping, so that /proc/<pid>/stat can still be read afterwards.
    fn has_ended(&self) -> bool {
        let Some(pid) = self.pid() else { return true };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        !matches!(waitid(WaitId::Pid(pid), options), Ok(None))
    }

    /// Ends the group (SIGTERM, then SIGKILL) and reaps the leader.
    fn stop(&mut self) -> Option<ExitStatus> {
        if self.reaped {
            return None;
        }
        if let Some(pid) = self.pid() {
            // Some of them may be in groups of their own, and nobody's children once the leader is gone.
            let mut family = Family::default();
            if !self.has_ended() {
                family = Family::of(self.id());
                _ = kill_process_group(pid, Signal::TERM);
                let deadline = Instant::now() + TERM_GRACE;
                while !self.has_ended() && Instant::now() < deadline {
                    std::thread::sleep(POLL);
                }
            }
            // The leader may have left others of its group behind.
            _ = kill_process_group(pid, Signal::KILL);
            family.kill();
        }
        self.reaped = true;
        self.child.wait().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

impl From<ExitStatus> for Ending {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Ending::Exited(code),
            (None, Some(signal)) => Ending::Signalled(signal),
            (None, None) => Ending::Exited(-1),
        }
    }
}

/// The fields of `/proc/<pid>/stat` that matter here (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// utime + stime + cutime + cstime.
    pub cpu_time: Duration,
    /// utime + stime alone.
    pub own_cpu_time: Duration,
    /// Clock ticks between boot and the start of the process: with the pid, names a process for good.
    pub start_time: u64,
}

impl Stat {
    /// Reads the entry of `pid`, a zombie's too; `None` when there is no such process.
    pub fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(line: &str) -> Option<Self> {
        // The command name in parentheses may hold spaces and parentheses; fields count from after the last one.
        let fields: Vec<&str> = line[line.rfind(')')? + 1..].split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let per_second = rustix::param::clock_ticks_per_second();
        let time = |ticks: u64| Duration::from_secs_f64(ticks as f64 / per_second as f64);
        let (own, children) = (number(14)? + number(15)?, number(16)? + number(17)?);
        Some(Self { cpu_time: time(own + children), own_cpu_time: time(own), start_time: number(22)? })
    }
}

/// Runs a short command to its end and returns its output; anything but exit status 0 is an error that quotes the
/// command's own words.
pub fn run(command: &mut Command) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output().with_context(|| cannot_start(command))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let ending = Ending::from(output.status);
        bail!("`{}` failed ({ending}): {}", describe(command), said.trim());
    }
    Ok(output)
}

/// The command line as one would type it, for messages.
pub fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn cannot_start(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    format!("cannot start `{program}` (is it installed? `appliance doctor` lists what is needed)")
}

/// The path of `program` in `$PATH` or the folders where system tools live.
pub fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|folder| folder.join(program)).find(|path| is_executable(path))
}

/// True for a regular file with an execute bit.
pub fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::spawn("sh", command).unwrap()
    }

    #[test]
    fn endings_are_told_apart() {
        let interrupt = Interrupt::default();
        let limit = Duration::from_secs(10);
        assert_eq!(shell("exit 3").wait(limit, &interrupt).unwrap().0, Ending::Exited(3));
        assert_eq!(shell("kill -9 $$").wait(limit, &interrupt).unwrap().0, Ending::Signalled(9));
        let short = Duration::from_millis(50);
        assert_eq!(shell("sleep 60").wait(short, &interrupt).unwrap().0, Ending::TimedOut(short));
    }

    #[test]
    fn cpu_time_of_an_ended_process_is_read() {
        let busy = shell("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done");
        let (_, cpu) = busy.wait(Duration::from_secs(60), &Interrupt::default()).unwrap();
        assert!(cpu >= Duration::from_millis(20), "{cpu:?}");
    }

    /// Zombies that nobody has reaped yet do not count.
    fn alive_in_group(group: u32) -> bool {
        fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let after_name = stat.rsplit(')').next().unwrap_or_default();
            let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
            matches!(fields.as_slice(), [state, _, pgrp, ..] if *state != "Z" && *pgrp == group.to_string())
        })
    }

    #[test]
    fn dropping_kills_the_whole_group() {
        let process = shell("sleep 60 & wait");
        let group = process.id();
        assert!(alive_in_group(group));
        drop(process);
        std::thread::sleep(Duration::from_millis(50));
        assert!(!alive_in_group(group));
    }

    #[test]
    fn stat_line_with_an_awkward_name() {
        let mut line = String::from("42 (a ) b) S");
        for field in 4..=22 {
            line += &format!(" {field}");
        }
        let stat = Stat::parse(&line).unwrap();
        assert_eq!((stat.cpu_time, stat.start_time), (Duration::from_millis(620), 22));
        assert_eq!(stat.own_cpu_time, Duration::from_millis(290));
        assert_eq!(Stat::parse("42 no parentheses"), None);
    }

    #[test]
    fn a_failing_command_is_quoted() {
        let error = run(Command::new("sh").args(["-c", "echo wrong >&2; exit 4"])).unwrap_err().to_string();
        assert!(error.contains("exit status 4") && error.contains("wrong"), "{error}");
        let error = run(&mut Command::new("/nonexistent/tool")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/tool") && error.contains("doctor"), "{error}");
    }
}
