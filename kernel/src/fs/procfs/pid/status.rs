//! /proc/<pid>/stat, status, comm and limits.

use super::super::machine::ticks;
use super::{Subject, put};
use crate::error::{Errno, Result};
use crate::mm::Backing;
use crate::signal::{SIG_DFL, SIG_IGN, SIGNALS, SigSet, Signal};
use crate::task::{self, COMM_LEN, INFINITY, Process};
use crate::time;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

fn trimmed(comm: &[u8; COMM_LEN]) -> String {
    String::from_utf8_lossy(comm.split(|&b| b == 0).next().unwrap_or_default()).into_owned()
}

fn name(s: &Subject) -> String {
    trimmed(&s.thread.as_ref().map_or_else(|| s.process.comm(), |t| t.comm()))
}

pub(super) fn comm(s: &Subject, out: &mut Vec<u8>) -> Result<()> {
    put(out, &format!("{}\n", name(s)))
}

/// Only threads of the process itself may rename it (proc_pid_comm(5)).
pub(super) fn set_comm(s: &Subject, bytes: &[u8]) -> Result<()> {
    let caller = crate::sched::current().ok_or(Errno::EINVAL)?;
    if !Arc::ptr_eq(caller.process(), &s.process) {
        return Err(Errno::EINVAL.because("another process's name"));
    }
    s.thread()?.set_comm(bytes.strip_suffix(b"\n").unwrap_or(bytes));
    Ok(())
}

/// The execution domain (personality(2)).
pub(super) fn personality(s: &Subject, out: &mut Vec<u8>) -> Result<()> {
    put(out, &format!("{:08x}\n", s.thread()?.attributes().personality))
}

/// The state letter and its word.
fn state(s: &Subject) -> (char, &'static str) {
    if s.process.exited().is_some() {
        ('Z', "zombie")
    } else if s.process.is_stopped() {
        ('T', "stopped")
    } else if s.threads().iter().any(|t| t.entity.is_runnable()) {
        ('R', "running")
    } else {
        ('S', "sleeping")
    }
}

fn parent(p: &Process) -> i32 {
    p.parent().map_or(0, |p| p.pid().0)
}

/// Pending for the thread and the process, blocked, ignored, caught.
struct Sets {
    private: SigSet,
    shared: SigSet,
    blocked: SigSet,
    ignored: SigSet,
    caught: SigSet,
}

fn signals(s: &Subject) -> Sets {
    let hand = s.process.signals.hand();
    let mut sets = Sets {
        private: SigSet::EMPTY,
        shared: s.process.signals.queued(),
        blocked: SigSet::EMPTY,
        ignored: SigSet::EMPTY,
        caught: SigSet::EMPTY,
    };
    if let Ok(t) = s.thread() {
        sets.private = t.signals.queued();
        sets.blocked = t.signals.blocked();
    }
    for signal in (1..=SIGNALS as i32).filter_map(Signal::new) {
        match hand.get(signal).handler {
            SIG_DFL => {}
            SIG_IGN => sets.ignored = sets.ignored.with(signal),
            _ => sets.caught = sets.caught.with(signal),
        }
    }
    sets
}

/// proc_pid_stat(5): 52 fields.
pub(super) fn stat(s: &Subject, out: &mut Vec<u8>) -> Result<()> {
    let p = &s.process;
    let times = s.thread.as_ref().map_or_else(|| p.cpu_times(), |t| t.cpu_times());
    let waited = p.children_cpu_times();
    let sets = signals(s);
    let thread = s.thread().ok();
    let (mut vsize, mut rss, mut layout) = (0, 0, crate::mm::ProgramLayout::default());
    let mut nice = 0;
    let mut policy = (0, 0);
    if let Some(t) = &thread {
        let mm = t.mm();
        (vsize, rss) = mm.usage();
        layout = mm.layout();
        let a = t.attributes();
        nice = a.nice;
        policy = (a.rt_priority, a.policy);
    }
    // Ticks since boot, on the clock that /proc/uptime shows.
    let age = time::now().saturating_since(p.started());
    let start = ticks(time::since_boot().saturating_sub(age));
    let priority = if policy.0 > 0 { -1 - policy.0 as i32 } else { 20 + nice };
    let exit_signal = 17;
    let tty = crate::tty::number_of_session(p.session());
    let text = format!(
        "{} ({}) {} {} {} {} {} {} 0 0 0 0 0 {} {} {} {} {priority} {nice} {} 0 {start} {vsize} {} {} {} {} {} 0 0 {} {} {} {} \
         0 0 0 {exit_signal} 0 {} {} 0 0 0 0 0 0 {} {} {} {} {}\n",
        s.number(),
        name(s),
        state(s).0,
        parent(p),
        p.group().0,
        p.session().0,
        tty.0,
        tty.1,
        ticks(times.user),
        ticks(times.system),
        ticks(waited.user),
        ticks(waited.system),
        p.threads().len(),
        rss / crate::abi::PAGE_SIZE,
        p.rlimits().get(task::Resource::Rss).rlim_cur,
        layout.start_code,
        layout.end_code,
        layout.start_stack,
        sets.shared.or(sets.private).0 & 0x7fff_ffff,
        sets.blocked.0 & 0x7fff_ffff,
        sets.ignored.0 & 0x7fff_ffff,
        sets.caught.0 & 0x7fff_ffff,
        policy.0,
        policy.1,
        layout.arg_start,
        layout.arg_end,
        layout.env_start,
        layout.env_end,
        p.exited().map_or(0, |e| e.wait_word())
    );
    put(out, &text)
}

/// proc_pid_status(5).
pub(super) fn status(s: &Subject, out: &mut Vec<u8>) -> Result<()> {
    let p = &s.process;
    let (letter, word) = state(s);
    let mut text = format!("Name:\t{}\n", name(s));
    if let Ok(t) = s.thread() {
        text.push_str(&format!("Umask:\t{:04o}\n", t.fs().umask()));
    }
    text.push_str(&format!(
        "State:\t{letter} ({word})\nTgid:\t{}\nNgid:\t0\nPid:\t{}\nPPid:\t{}\nTracerPid:\t0\n",
        p.pid().0,
        s.number(),
        parent(p)
    ));
    let who = s.thread.as_ref().map(|t| t.credentials()).or_else(|| p.credentials());
    if let Some(c) = &who {
        let groups: String = c.groups.iter().map(|g| format!("{} ", g.0)).collect();
        text.push_str(&format!(
            "Uid:\t{}\t{}\t{}\t{}\nGid:\t{}\t{}\t{}\t{}\n",
            c.ruid.0, c.euid.0, c.suid.0, c.fsuid.0, c.rgid.0, c.egid.0, c.sgid.0, c.fsgid.0
        ));
        let size = s.thread().map_or(0, |t| t.files().capacity().next_multiple_of(64).max(64));
        text.push_str(&format!("FDSize:\t{size}\nGroups:\t{groups}\n"));
    }
    text.push_str(&format!(
        "NStgid:\t{}\nNSpid:\t{}\nNSpgid:\t{}\nNSsid:\t{}\n",
        p.pid().0,
        s.number(),
        p.group().0,
        p.session().0
    ));
    memory_rows(s, &mut text);
    let sets = signals(s);
    let limit = p.rlimits().get(task::Resource::PendingSignals).rlim_cur;
    text.push_str(&format!("Threads:\t{}\nSigQ:\t0/{limit}\n", p.threads().len()));
    let rows = [
        ("SigPnd", sets.private),
        ("ShdPnd", sets.shared),
        ("SigBlk", sets.blocked),
        ("SigIgn", sets.ignored),
        ("SigCgt", sets.caught),
    ];
    for (row, set) in rows {
        text.push_str(&format!("{row}:\t{:016x}\n", set.0));
    }
    if let Some(c) = &who {
        let caps = [
            ("CapInh", c.inheritable),
            ("CapPrm", c.permitted),
            ("CapEff", c.effective),
            ("CapBnd", c.bounding),
            ("CapAmb", c.ambient),
        ];
        for (row, set) in caps {
            text.push_str(&format!("{row}:\t{set:016x}\n"));
        }
        text.push_str(&format!("NoNewPrivs:\t{}\n", u32::from(c.no_new_privs)));
    }
    let switches: u64 = s.threads().iter().map(|t| t.entity.switches()).sum();
    text.push_str(&format!(
        "Seccomp:\t0\nSeccomp_filters:\t0\nCpus_allowed:\t1\nCpus_allowed_list:\t0\nMems_allowed:\t1\nMems_allowed_list:\t0\n\
         voluntary_ctxt_switches:\t{switches}\nnonvoluntary_ctxt_switches:\t0\n"
    ));
    put(out, &text)
}

fn memory_rows(s: &Subject, text: &mut String) {
    // As Linux, a zombie shows none of these.
    let Ok(t) = s.thread() else { return };
    let mm = t.mm();
    let (total, rss) = mm.usage();
    let (mut file, mut shared, mut stack, mut data) = (0, 0, 0, 0);
    mm.for_each_area(|a| match a.backing {
        crate::mm::Backing::Memory(_) => shared += super::memory::resident(a),
        Backing::File(_) => file += a.len(),
        Backing::Anonymous if a.flags.contains(crate::mm::VmFlags::STACK) => stack += a.len(),
        Backing::Anonymous => data += a.len(),
    });
    let layout = mm.layout();
    let code = layout.end_code.saturating_sub(layout.start_code);
    let rows = [
        ("VmPeak", total),
        ("VmSize", total),
        ("VmLck", 0),
        ("VmPin", 0),
        ("VmHWM", rss),
        ("VmRSS", rss),
        ("RssAnon", rss.saturating_sub(file + shared)),
        ("RssFile", file),
        ("RssShmem", shared),
        ("VmData", data),
        ("VmStk", stack),
        ("VmExe", code),
        ("VmLib", file.saturating_sub(code)),
        ("VmPTE", 0),
        ("VmSwap", 0),
    ];
    for (row, bytes) in rows {
        text.push_str(&format!("{row}:\t{:8} kB\n", bytes / 1024));
    }
}

/// Names and units in the order of their numbers.
const LIMITS: [(&str, &str); task::RESOURCES] = [
    ("Max cpu time", "seconds"),
    ("Max file size", "bytes"),
    ("Max data size", "bytes"),
    ("Max stack size", "bytes"),
    ("Max core file size", "bytes"),
    ("Max resident set", "bytes"),
    ("Max processes", "processes"),
    ("Max open files", "files"),
    ("Max locked memory", "bytes"),
    ("Max address space", "bytes"),
    ("Max file locks", "locks"),
    ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""),
    ("Max realtime priority", ""),
    ("Max realtime timeout", "us"),
];

pub(super) fn limits(s: &Subject, out: &mut Vec<u8>) -> Result<()> {
    let limits = s.process.rlimits();
    let show = |n: u64| if n == INFINITY { String::from("unlimited") } else { format!("{n}") };
    let mut text = format!("{:<25} {:<20} {:<20} {:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for (i, (name, unit)) in LIMITS.iter().enumerate() {
        let Some(l) = limits.by_number(i) else { continue };
        text.push_str(&format!("{name:<25} {:<20} {:<20} {unit:<10}\n", show(l.rlim_cur), show(l.rlim_max)));
    }
    put(out, &text)
}
