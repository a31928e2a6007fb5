//! What /proc/<pid> tells about memory: maps, smaps, statm, and the program's arguments.

use super::{Subject, put};
use crate::abi::PAGE_SIZE;
use crate::error::Result;
use crate::mm::{Backing, UserSlice, VmArea, window};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Column of the name in a line of maps, counted from 0.
const NAME_COLUMN: usize = 73;

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

pub(super) fn smaps(s: &Subject, out: &mut Vec<u8>) -> Result<()> {
    let Ok(thread) = s.thread() else { return Ok(()) };
    thread.mm().for_each_area(|a| {
        let (size, rss) = (a.len() / 1024, resident(a) / 1024);
        let anonymous = if matches!(a.backing, Backing::Anonymous) { rss } else { 0 };
        let rows = [
            ("Size", size),
            ("KernelPageSize", 4),
            ("MMUPageSize", 4),
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
        ];
        out.extend_from_slice(line(a).as_bytes());
        for (name, kib) in rows {
            out.extend_from_slice(format!("{:<16}{kib:>8} kB\n", format!("{name}:")).as_bytes());
        }
    });
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
