//! What /proc/<pid> tells about memory: maps, smaps, statm, and the program's arguments.

use super::{Subject, put};
use crate::abi::PAGE_SIZE;
use crate::error::{Errno, Result};
use crate::mm::{Backing, UserSlice, VmArea, window};
use crate::task::Capability;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Column of the name in a line of maps, counted from 0.
const NAME_COLUMN: usize = 73;

/// The kinds of mappings that core(5) knows.
const COREDUMP_KINDS: u32 = 0x1ff;

/// A name with its newlines as octal escapes.
fn name_of(area: &VmArea) -> String {
    area.name().replace('\n', "\\012")
}

fn line(area: &VmArea) -> String {
    let (offset, dev, ino) = match &area.backing {
        Backing::File(f) => {
            let id = f.path.as_ref().map(|p| p.inode().id());
            (f.offset, id.map_or((0, 0), |i| (i.dev.major(), i.dev.minor())), id.map_or(0, |i| i.ino))
        }
        // The device of the kernel's own shared memory.
        Backing::Memory(m) => (m.offset as u64, (0, 1), m.object.ino()),
        Backing::Anonymous => (0, (0, 0), 0),
    };
    let mut text = format!(
        "{:08x}-{:08x} {} {offset:08x} {:02x}:{:02x} {ino} ",
        area.start,
        area.end,
        area.prot_text(),
        dev.0,
        dev.1
    );
    let name = name_of(area);
    if !name.is_empty() {
        while text.len() < NAME_COLUMN {
            text.push(' ');
        }
        text.push_str(&name);
    }
    text.push('\n');
    text
}

pub(super) fn maps(s: &Subject, out: &mut Vec<u8>) -> Result<()> {
    let Ok(thread) = s.thread() else { return Ok(()) };
    thread.mm().for_each_area(|a| out.extend_from_slice(line(a).as_bytes()));
    Ok(())
}

/// Memory of its own that a mapping has, in bytes. File mappings are taken as resident as a whole.
pub(super) fn resident(area: &VmArea) -> usize {
    match (&area.backing, window::get()) {
        (Backing::Anonymous, Some(w)) => w.populated_runs(&area.range()).iter().map(|r| r.len()).sum(),
        (Backing::Memory(_), Some(w)) => w.opened(&area.range()),
        (Backing::Anonymous | Backing::Memory(_), None) => 0,
        (Backing::File(_), _) => area.len(),
    }
}

/// What smaps says of mappings beside their size, in KiB.
fn smaps_rows(rss: usize, anonymous: usize) -> [(&'static str, usize); 12] {
    [
        ("Rss", rss),
        ("Pss", rss),
        ("Shared_Clean", 0),
        ("Shared_Dirty", 0),
        ("Private_Clean", rss - anonymous),
        ("Private_Dirty", anonymous),
        ("Referenced", rss),
        ("Anonymous", anonymous),
        ("AnonHugePages", 0),
        ("Swap", 0),
        ("SwapPss", 0),
        ("Locked", 0),
    ]
}

fn put_rows(out: &mut Vec<u8>, rows: &[(&str, usize)]) {
    for (name, kib) in rows {
        out.extend_from_slice(format!("{:<16}{kib:>8} kB\n", format!("{name}:")).as_bytes());
    }
}

/// Memory of a mapping in KiB: all, and what is anonymous.
fn memory_of(area: &VmArea) -> (usize, usize) {
    let rss = resident(area) / 1024;
    (rss, if matches!(area.backing, Backing::Anonymous) { rss } else { 0 })
}

pub(super) fn smaps(s: &Subject, out: &mut Vec<u8>) -> Result<()> {
    let Ok(thread) = s.thread() else { return Ok(()) };
    thread.mm().for_each_area(|a| {
        let (rss, anonymous) = memory_of(a);
        out.extend_from_slice(line(a).as_bytes());
        put_rows(out, &[("Size", a.len() / 1024), ("KernelPageSize", 4), ("MMUPageSize", 4)]);
        put_rows(out, &smaps_rows(rss, anonymous));
    });
    Ok(())
}

/// The sums of smaps (proc_pid_smaps(5)).
pub(super) fn smaps_rollup(s: &Subject, out: &mut Vec<u8>) -> Result<()> {
    let thread = s.thread()?;
    let (mut rss, mut anonymous) = (0, 0);
    let mut span: Option<(usize, usize)> = None;
    thread.mm().for_each_area(|a| {
        let (all, own) = memory_of(a);
        (rss, anonymous) = (rss + all, anonymous + own);
        span = Some((span.map_or(a.start, |(start, _)| start), a.end));
    });
    let (start, end) = span.unwrap_or((0, 0));
    put(out, &format!("{start:08x}-{end:08x} ---p 00000000 00:00 0 [rollup]\n"))?;
    put_rows(out, &smaps_rows(rss, anonymous));
    Ok(())
}

/// How likely the process is to be killed for want of memory, 0 to 2000 (proc_pid_oom_score(5)): its badness in thousandths of
/// `mem=`, as Linux scales it.
pub(super) fn oom_score(s: &Subject, out: &mut Vec<u8>) -> Result<()> {
    let all = window::get().map_or(1, |w| w.usage().1.max(1)) as i64;
    let score = s.process.badness().map_or(0, |badness| ((1000 + badness * 1000 / all) * 2 / 3).max(0));
    put(out, &format!("{score}\n"))
}

pub(super) fn oom_score_adj(s: &Subject, out: &mut Vec<u8>) -> Result<()> {
    put(out, &format!("{}\n", s.process.oom_score_adj()))
}

/// EINVAL beyond -1000 to 1000; EACCES for less than was last set with CAP_SYS_RESOURCE.
pub(super) fn set_oom_score_adj(s: &Subject, bytes: &[u8]) -> Result<()> {
    let number = core::str::from_utf8(bytes).ok().and_then(|text| text.trim().parse::<i16>().ok());
    let value = number.filter(|n| (-1000..=1000).contains(n));
    let value = value.ok_or_else(|| Errno::EINVAL.because("a number from -1000 to 1000 is wanted"))?;
    let privileged = crate::sched::current().is_some_and(|t| t.credentials().capable(Capability::SysResource));
    s.process.set_oom_score_adj(value, privileged)
}

pub(super) fn coredump_filter(s: &Subject, out: &mut Vec<u8>) -> Result<()> {
    put(out, &format!("{:08x}\n", s.process.coredump_filter()))
}

/// A number as C writes it: `0x` for sixteen as its base, `0` for eight.
pub(super) fn set_coredump_filter(s: &Subject, bytes: &[u8]) -> Result<()> {
    let text = core::str::from_utf8(bytes).unwrap_or_default().trim();
    let number = match (text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")), text.strip_prefix('0')) {
        (Some(hex), _) => u32::from_str_radix(hex, 16),
        (None, Some(octal)) if !octal.is_empty() => u32::from_str_radix(octal, 8),
        _ => text.parse(),
    };
    let kinds = number.map_err(|_| Errno::EINVAL.because("a number is wanted"))?;
    s.process.set_coredump_filter(kinds & COREDUMP_KINDS);
    Ok(())
}

/// Pages: size, resident, from files, of code, of libraries (0), of data and stack, dirty (0).
pub(super) fn statm(s: &Subject, out: &mut Vec<u8>) -> Result<()> {
    let Ok(thread) = s.thread() else { return put(out, "0 0 0 0 0 0 0\n") };
    let mm = thread.mm();
    let (total, rss) = mm.usage();
    let (mut file, mut data) = (0, 0);
    mm.for_each_area(|a| match a.backing {
        Backing::File(_) | Backing::Memory(_) => file += a.len(),
        Backing::Anonymous => data += a.len(),
    });
    let layout = mm.layout();
    let code = layout.end_code.saturating_sub(layout.start_code);
    let [total, rss, file, code, data] = [total, rss, file, code, data].map(|n| n / PAGE_SIZE);
    put(out, &format!("{total} {rss} {file} {code} 0 {data} 0\n"))
}

/// The most of arguments or environment that is shown, as execve(2) limits them.
const STRINGS_MAX: usize = 2 << 20;

/// A piece of the process's memory. What the program has unmapped meanwhile reads as nothing.
fn strings(s: &Subject, range: impl FnOnce(crate::mm::ProgramLayout) -> (usize, usize)) -> Vec<u8> {
    let Ok(thread) = s.thread() else { return Vec::new() };
    let mm = thread.mm();
    let (start, end) = range(mm.layout());
    let len = end.saturating_sub(start).min(STRINGS_MAX);
    if len == 0 || !mm.covers(&(start..start + len)) {
        return Vec::new();
    }
    UserSlice::new(start, len).read_vec(STRINGS_MAX).unwrap_or_default()
}

pub(super) fn cmdline(s: &Subject, out: &mut Vec<u8>) -> Result<()> {
    out.extend(strings(s, |l| (l.arg_start, l.arg_end)));
    Ok(())
}

pub(super) fn environ(s: &Subject, out: &mut Vec<u8>) -> Result<()> {
    out.extend(strings(s, |l| (l.env_start, l.env_end)));
    Ok(())
}

pub(super) fn auxv(s: &Subject, out: &mut Vec<u8>) -> Result<()> {
    let Ok(thread) = s.thread() else { return Ok(()) };
    out.extend(thread.mm().auxv().iter().flat_map(|w| w.to_ne_bytes()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Prot;
    use crate::mm::VmFlags;

    #[test]
    fn lines_have_the_columns_of_linux() {
        let mut area = VmArea {
            start: 0x40_0000,
            end: 0x40_1000,
            prot: Prot::READ | Prot::EXEC,
            flags: VmFlags::empty(),
            backing: Backing::Anonymous,
            name: "[heap]",
        };
        let expected = "00400000-00401000 r-xp 00000000 00:00 0                                  [heap]\n";
        assert_eq!(line(&area), expected);
        area.name = "";
        assert_eq!(line(&area), "00400000-00401000 r-xp 00000000 00:00 0 \n");
    }
}
