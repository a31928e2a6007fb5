//! A process with everything that descends from it: what it holds, and its end. Systems such as MMU User-Mode Linux
//! and gVisor are several processes, some of which leave the process group.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::process::Stat;

/// `pid` and the live processes that descend from it, parents first.
pub fn descendants(pid: u32) -> Vec<u32> {
    let pairs: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, parent(&fs::read_to_string(entry.path().join("stat")).ok()?)?))
        })
        .collect();
    tree(pid, &pairs)
}

/// The parent's pid in a line of `/proc/<pid>/stat`, the fourth field; zombies count as gone.
fn parent(stat: &str) -> Option<u32> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let (state, parent) = (fields.next()?, fields.next()?);
    (state != "Z").then(|| parent.parse().ok()).flatten()
}

fn tree(root: u32, pairs: &[(u32, u32)]) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        let children = pairs.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid);
        let fresh: Vec<u32> = children.filter(|pid| !found.contains(pid)).collect();
        found.extend(fresh);
    }
    found
}

/// The CPU time of `pid` and of each live process that descends from it, for those who look often: only the tree itself is
/// read, and not at all where the kernel does not list children (CONFIG_PROC_CHILDREN).
pub fn cpu_times(pid: u32) -> Vec<(u32, Duration)> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        let fresh: Vec<u32> = children(parent).into_iter().filter(|pid| !found.contains(pid)).collect();
        found.extend(fresh);
    }
    found.into_iter().filter_map(|pid| Some((pid, Stat::of(pid)?.own_cpu_time))).collect()
}

fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Bytes of memory that `pid` and its descendants hold together; shared pages count once, divided among their users
/// (`Pss:` of proc_pid_smaps(5)).
pub fn proportional_set_size(pid: u32) -> u64 {
    descendants(pid)
        .iter()
        .filter_map(|pid| kilobytes(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?))
        .sum::<u64>()
        * 1024
}

fn kilobytes(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Kills every process, this one excepted, whose command line holds one of `texts`; returns how many there were.
pub fn kill_mentioning(texts: &[String]) -> usize {
    let own = std::process::id();
    let mentions = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        texts.iter().any(|text| line.contains(text.as_str()))
    };
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let found: Vec<Pid> =
        pids.filter(|pid| *pid != own && mentions(pid)).filter_map(|pid| Pid::from_raw(pid.cast_signed())).collect();
    for pid in &found {
        _ = kill_process(*pid, Signal::KILL);
    }
    found.len()
}

/// A process and its descendants as they were at one time, told by their start times from later ones with their ids.
#[derive(Debug, Default)]
pub struct Family(Vec<(Pid, u64)>);

impl Family {
    /// `pid` and everything that descends from it now.
    pub fn of(pid: u32) -> Self {
        let known = |pid: &u32| Some((Pid::from_raw(pid.cast_signed())?, Stat::of(*pid)?.start_time));
        Self(descendants(pid).iter().filter_map(known).collect())
    }

    /// Kills those that still run.
    pub fn kill(&self) {
        for (pid, start_time) in &self.0 {
            let number = pid.as_raw_nonzero().get().cast_unsigned();
            if Stat::of(number).is_some_and(|stat| stat.start_time == *start_time) {
                _ = kill_process(*pid, Signal::KILL);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_found_whatever_the_order() {
        let pairs = [(5, 4), (4, 2), (3, 2), (9, 1), (2, 1), (1, 0)];
        assert_eq!(tree(2, &pairs), [2, 4, 3, 5]);
        assert_eq!(tree(9, &pairs), [9]);
    }

    #[test]
    fn processes_are_found_by_what_they_were_told() {
        let mark = format!("flatland-mention-{}", std::process::id());
        let mut child = std::process::Command::new("sh").args(["-c", "sleep 60; true", &mark]).spawn().unwrap();
        while kill_mentioning(std::slice::from_ref(&mark)) == 0 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(!child.wait().unwrap().success());
        assert_eq!(kill_mentioning(&[mark]), 0);
    }

    #[test]
    fn lines_of_proc_files() {
        assert_eq!(parent("42 (a ) b) S 7 42 42"), Some(7));
        assert_eq!(parent("42 (gone) Z 7 42 42"), None);
        assert_eq!(kilobytes("7f00-7fff ---p\nRss:  12 kB\nPss:       9 kB\nPss_Dirty: 3 kB\n"), Some(9));
        assert!(proportional_set_size(std::process::id()) > 100_000);
    }
}
