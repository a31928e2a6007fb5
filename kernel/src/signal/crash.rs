//! The report of a crash: what a core dump would be opened for, in the kernel log.
//!
//! A process that dies of a signal which dumps core gets one line: name, numbers, signal and code, address, instruction.
//! For faults and aborts more follows: all general registers, the mapping of the instruction with its file and offset and
//! a few bytes of code, the mapping of the address or the one nearest to it, and the top of the stack. Memory is read
//! as it stands: what is not there is left out, and nothing is populated for the report.
//!
//! Reports are limited as Linux limits such lines: ten in five seconds; how many were left out is said afterwards.

use super::info::SigInfo;
use super::number::Signal;
use crate::arch::TrapFrame;
use crate::klog;
use crate::mm::{self, Mm, VmArea};
use crate::sync::{Rank, SpinLock};
use crate::task::{self, Thread};
use crate::time::{self, Duration, Instant};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

/// Reports that are shown at once...
const BURST: u32 = 10;
/// ...in this time (`printk_ratelimit`).
const INTERVAL: Duration = Duration::from_secs(5);
/// Bytes of code before and from the instruction on.
const CODE_BEFORE: usize = 16;
const CODE_AFTER: usize = 24;
/// Words of the stack that are shown.
const STACK_WORDS: usize = 16;

struct RateLimit {
    since: Option<Instant>,
    shown: u32,
    left_out: u32,
}

impl RateLimit {
    /// Whether a report may be shown at `now`, and how many were left out before it.
    fn admit(&mut self, now: Instant) -> Option<u32> {
        if self.since.is_none_or(|since| since + INTERVAL <= now) {
            self.since = Some(now);
            self.shown = 0;
        }
        if self.shown == BURST {
            self.left_out += 1;
            return None;
        }
        self.shown += 1;
        Some(core::mem::take(&mut self.left_out))
    }
}

static LIMIT: SpinLock<RateLimit> = SpinLock::new(Rank::Log, RateLimit { since: None, shown: 0, left_out: 0 });

/// Signals whose report has details.
const DETAILED: [Signal; 6] = [Signal::SEGV, Signal::BUS, Signal::FPE, Signal::ILL, Signal::TRAP, Signal::ABRT];

/// What `si_code` says (sigaction(2)).
fn describe_code(signal: Signal, info: &SigInfo) -> String {
    let text = match (signal, info.code) {
        (_, super::SI_KERNEL) => "from the kernel",
        (Signal::SEGV, 1) => "nothing is mapped there (SEGV_MAPERR)",
        (Signal::SEGV, 2) => "the mapping forbids it (SEGV_ACCERR)",
        (Signal::BUS, 1) => "misaligned (BUS_ADRALN)",
        (Signal::BUS, 2) => "beyond the end of the file (BUS_ADRERR)",
        (Signal::FPE, 1) => "integer division by zero (FPE_INTDIV)",
        (Signal::FPE, 2) => "integer overflow (FPE_INTOVF)",
        (Signal::FPE, 3) => "floating-point division by zero (FPE_FLTDIV)",
        (Signal::FPE, 4) => "floating-point overflow (FPE_FLTOVF)",
        (Signal::FPE, 5) => "floating-point underflow (FPE_FLTUND)",
        (Signal::FPE, 6) => "inexact floating-point result (FPE_FLTRES)",
        (Signal::FPE, 7) => "invalid floating-point operation (FPE_FLTINV)",
        (Signal::ILL, 1 | 2) => "illegal instruction (ILL_ILLOPN)",
        (Signal::TRAP, 1) => "breakpoint (TRAP_BRKPT)",
        (Signal::TRAP, 2) => "single step (TRAP_TRACE)",
        (_, code) if code <= 0 => return format!("sent by process {} (code {code})", info.pid()),
        (_, code) => return format!("code {code}"),
    };
    text.into()
}

/// A mapping and where in it `addr` lies.
fn place(area: &VmArea, addr: usize) -> String {
    let name = area.name();
    let name = if name.is_empty() { "anonymous memory" } else { &name };
    let bits = area.prot_text();
    let offset = area.file_offset().map(|start| start + (addr - area.start) as u64);
    let offset = offset.map_or_else(String::new, |o| format!(", offset {o:#x}"));
    format!("{name} ({:x}-{:x} {bits}){offset}", area.start, area.end)
}

/// Where `addr` lies, or what lies nearest.
fn locate(areas: &[VmArea], addr: usize) -> String {
    if let Some(area) = areas.iter().find(|a| a.range().contains(&addr)) {
        return place(area, addr);
    }
    let distance = |a: &VmArea| if addr < a.start { a.start - addr } else { addr - (a.end - 1) };
    let Some(nearest) = areas.iter().min_by_key(|a| distance(a)) else { return "no mapping at all".into() };
    let (side, edge) = if addr < nearest.start { ("below", nearest.start) } else { ("above", nearest.end - 1) };
    format!("not mapped; {:#x} {side} {}", distance(nearest), place(nearest, edge))
}

/// The bytes around the instruction, itself in angle brackets.
fn code(ip: usize) -> Option<String> {
    let mut bytes = [0; CODE_AFTER];
    let after = mm::peek(&mut bytes, ip);
    if after == 0 {
        return None;
    }
    let mut before = [0; CODE_BEFORE];
    let shown_before =
        if mm::peek(&mut before, ip.wrapping_sub(CODE_BEFORE)) == CODE_BEFORE { &before[..] } else { &[] };
    let mut text = String::new();
    for byte in shown_before {
        let _ = write!(text, "{byte:02x} ");
    }
    for (i, byte) in bytes[..after].iter().enumerate() {
        let _ = if i == 0 { write!(text, "<{byte:02x}>") } else { write!(text, " {byte:02x}") };
    }
    Some(text)
}

fn registers(who: &str, f: &TrapFrame, trap: (u64, u64, u64)) {
    let rows = [
        [("rax", f.rax), ("rbx", f.rbx), ("rcx", f.rcx), ("rdx", f.rdx)],
        [("rsi", f.rsi), ("rdi", f.rdi), ("rbp", f.rbp), ("rsp", f.rsp)],
        [("r8 ", f.r8), ("r9 ", f.r9), ("r10", f.r10), ("r11", f.r11)],
        [("r12", f.r12), ("r13", f.r13), ("r14", f.r14), ("r15", f.r15)],
        [("rip", f.rip), ("efl", f.rflags), ("fs ", f.fs_base), ("cr2", trap.2)],
    ];
    for row in rows {
        let row: Vec<String> = row.iter().map(|(name, value)| format!("{name} {value:016x}")).collect();
        klog!(Warning, "{who}: {}", row.join("  "));
    }
    if trap.0 != 0 {
        klog!(Warning, "{who}: trap {}, error {:#x}", trap.0, trap.1);
    }
}

fn stack(who: &str, sp: usize) {
    let start = sp & !7;
    let mut bytes = [0; STACK_WORDS * 8];
    let words = mm::peek(&mut bytes, start) / 8;
    for (i, line) in bytes[..words * 8].chunks(32).enumerate() {
        let line: Vec<String> = line
            .chunks_exact(8)
            .map(|w| format!("{:016x}", u64::from_ne_bytes(w.first_chunk().copied().unwrap_or_default())))
            .collect();
        klog!(Warning, "{who}: stack {:x}: {}", start + i * 32, line.join(" "));
    }
}

/// The process and thread as the lines name them.
fn name_of(t: &Thread) -> String {
    let comm = t.comm();
    let comm = comm.split(|&b| b == 0).next().unwrap_or_default();
    format!("{}[{}/{}]", comm.escape_ascii(), t.process().pid(), t.tid())
}

/// Reports that `t`, the running thread, dies of `signal`.
pub(super) fn report(t: &Thread, signal: Signal, info: &SigInfo, frame: &TrapFrame) {
    let Some(left_out) = LIMIT.lock().admit(time::now()) else { return };
    if left_out > 0 {
        klog!(Warning, "{left_out} crash reports were left out");
    }
    let who = name_of(t);
    let (ip, sp) = (frame.rip, frame.rsp);
    let why = describe_code(signal, info);
    let at = if info.code > 0 { format!(" at {:#x}", info.addr()) } else { String::new() };
    klog!(Warning, "{who}: {}: {why}{at}, ip {ip:#x}, sp {sp:#x}", signal.name());
    if DETAILED.contains(&signal) {
        details(t, &t.mm(), info, frame, &who);
    }
}

fn details(t: &Thread, mm: &Mm, info: &SigInfo, frame: &TrapFrame, who: &str) {
    let mut areas = Vec::new();
    mm.for_each_area(|a| areas.push(a.clone()));
    let ip = frame.rip as usize;
    klog!(Warning, "{who}: ip in {}", locate(&areas, ip));
    if info.code > 0 && info.code != super::SI_KERNEL && info.addr() != frame.rip {
        klog!(Warning, "{who}: address in {}", locate(&areas, info.addr() as usize));
    }
    if let Some(code) = code(ip) {
        klog!(Warning, "{who}: code {code}");
    }
    let trap = t.signals.private.lock().trap;
    registers(who, frame, if info.code > 0 { trap } else { (0, 0, 0) });
    stack(who, frame.rsp as usize);
    if task::Pid(t.tid().0) != t.process().pid() {
        klog!(Warning, "{who}: one of {} threads", t.process().threads().len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_are_cut_and_what_is_left_out_is_counted() {
        let mut limit = RateLimit { since: None, shown: 0, left_out: 0 };
        let start = Instant(1_000_000_000);
        for _ in 0..BURST {
            assert_eq!(limit.admit(start), Some(0));
        }
        assert_eq!(limit.admit(start), None);
        assert_eq!(limit.admit(start + Duration::from_secs(4)), None);
        assert_eq!(limit.admit(start + INTERVAL), Some(2));
        assert_eq!(limit.admit(start + INTERVAL), Some(0));
    }

    #[test]
    fn codes_are_told_in_words() {
        let segv = SigInfo::fault(Signal::SEGV, 2, 0x10);
        assert!(describe_code(Signal::SEGV, &segv).contains("SEGV_ACCERR"));
        let sent = SigInfo::from_sender(Signal::ABRT, super::super::SI_TKILL, task::Pid(7), task::Uid(0));
        assert_eq!(describe_code(Signal::ABRT, &sent), "sent by process 7 (code -6)");
    }
}
