//! Where the functions of an executable file begin and end.
//!
//! A sweep over instructions (`crate::arch::displace`) needs a first byte that is surely one, and an end. Three tables of ELF
//! files tell, and are found by the section headers: the unwind table `.eh_frame`, which all C and C++ has by default; the
//! symbols that a file still has, which for musl are those it exports; and Go's `.gopclntab`. A file without any of them has no
//! functions here.
//!
//! The file may be anything. Every number in it is checked against the file's or the table's end before it is used, tables
//! beyond [`TABLE_MAX`] are not looked at, and no more than [`FUNCTIONS_MAX`] functions are kept. What lies about a function hits the file's
//! own programs only.
//!
//! Formats: System V ABI (ELF-64); Linux Standard Base Core 5.0, 10.6 (`.eh_frame`); DWARF 4, 7.6 (LEB128); Go 1.16 to 1.25, `runtime/symtab.go`
//! (`pcHeader`).

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Largest table that is read.
const TABLE_MAX: usize = 16 << 20;
/// Most functions that are kept.
const FUNCTIONS_MAX: usize = 1 << 17;
/// Most headers of a kind that are looked at.
const HEADERS_MAX: usize = 256;

const PT_LOAD: u32 = 1;
const PF_X: u32 = 1;
const SHT_NOBITS: u32 = 8;
const SHT_SYMTAB: u32 = 2;
const SHT_DYNSYM: u32 = 11;
const STT_FUNC: u8 = 2;
const STT_GNU_IFUNC: u8 = 10;

/// Reads bytes of a file at an offset; how many there were.
pub type Read<'a> = &'a dyn Fn(&mut [u8], u64) -> usize;

/// The functions of one executable segment, by their place in it.
#[derive(Debug, Default)]
pub struct Functions(Vec<(u32, u32)>);

/// Little-endian numbers of a table, or nothing where it has ended.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    fn u8(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    fn u16(self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32(self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn u64(self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    /// Where the number in LEB128 at `at` ends.
    fn behind_leb(self, at: usize) -> Option<usize> {
        let rest = self.0.get(at..)?;
        rest.iter().take(10).position(|b| b & 0x80 == 0).map(|n| at + n + 1)
    }
}

/// A section that may tell of functions.
struct Section {
    name: u32,
    kind: u32,
    addr: u64,
    offset: u64,
    size: u64,
}

/// The segment that functions are looked for in.
#[derive(Clone)]
struct Segment {
    /// Addresses as the file has them.
    addrs: Range<u64>,
    found: Vec<(u32, u32)>,
}

impl Segment {
    /// Notes a function, if it lies in the segment.
    fn add(&mut self, start: u64, len: u64) {
        let inside = |end: &u64| self.addrs.contains(&start) && *end <= self.addrs.end;
        let Some(end) = start.checked_add(len).filter(inside).filter(|_| len > 0) else { return };
        if self.found.len() < FUNCTIONS_MAX {
            self.found.push(((start - self.addrs.start) as u32, (end - self.addrs.start) as u32));
        }
    }
}

fn read_table(read: Read<'_>, offset: u64, size: u64) -> Option<Vec<u8>> {
    let len = usize::try_from(size).ok().filter(|&l| l <= TABLE_MAX)?;
    let mut table = vec![0u8; len];
    let got = read(&mut table, offset);
    table.truncate(got);
    Some(table)
}

impl Functions {
    /// The functions in the bytes `text` of a file, offsets in it.
    pub fn of(read: Read<'_>, text: Range<u64>) -> Self {
        Self::find(read, text).unwrap_or_default()
    }

    fn find(read: Read<'_>, text: Range<u64>) -> Option<Self> {
        let header = read_table(read, 0, 64)?;
        let h = Bytes(&header);
        if header.get(..6)? != b"\x7fELF\x02\x01" || u32::try_from(text.end - text.start).is_err() {
            return None;
        }
        let mut segment = Segment { addrs: segment_of(read, h, &text)?, found: Vec::new() };
        let sections = sections_of(read, h)?;
        let names = sections.get(usize::from(h.u16(62)?)).and_then(|s| read_table(read, s.offset, s.size))?;
        let is_named = |s: &Section, name: &[u8]| {
            names.get(s.name as usize..).is_some_and(|n| n.starts_with(name) && n.get(name.len()) == Some(&0))
        };
        let tables = |segment: &mut Segment, wanted: &dyn Fn(&Section) -> bool, parse: Parse| {
            for s in sections.iter().filter(|s| s.kind != SHT_NOBITS && wanted(s)) {
                if let Some(table) = read_table(read, s.offset, s.size) {
                    parse(Bytes(&table), s.addr, segment);
                }
            }
        };
        tables(&mut segment, &|s| is_named(s, b".eh_frame"), unwind_table);
        tables(&mut segment, &|s| matches!(s.kind, SHT_SYMTAB | SHT_DYNSYM), symbols);
        tables(&mut segment, &|s| is_named(s, b".gopclntab") || is_named(s, b".data.rel.ro.gopclntab"), go_table);
        let mut found = segment.found;
        found.sort_unstable();
        found.dedup();
        found.shrink_to_fit();
        Some(Functions(found))
    }

    /// The function that a place in the segment lies in: of several the one that begins last.
    pub fn around(&self, place: usize) -> Option<Range<usize>> {
        let behind = self.0.partition_point(|&(start, _)| start as usize <= place);
        let (start, end) = self.0[..behind].iter().rev().take(8).find(|&&(_, end)| place < end as usize)?;
        Some(*start as usize..*end as usize)
    }
}

/// What reads a table: its bytes, its address, where to put the functions.
type Parse = fn(Bytes<'_>, u64, &mut Segment);

/// The addresses of the bytes `text` of the file, if they belong to one executable segment.
fn segment_of(read: Read<'_>, h: Bytes<'_>, text: &Range<u64>) -> Option<Range<u64>> {
    let count = usize::from(h.u16(56)?).min(HEADERS_MAX);
    let table = read_table(read, h.u64(32)?, 56 * count as u64)?;
    table.chunks_exact(56).map(Bytes).find_map(|p| {
        let (kind, flags) = (p.u32(0)?, p.u32(4)?);
        let (offset, addr, size) = (p.u64(8)?, p.u64(16)?, p.u64(32)?);
        let overlaps = offset < text.end && text.start < offset.checked_add(size)?;
        // A mapping begins with the page that the segment begins in, and so may the text.
        let start = addr.wrapping_sub(offset.wrapping_sub(text.start));
        let end = start.checked_add(text.end - text.start)?;
        (kind == PT_LOAD && flags & PF_X != 0 && overlaps).then_some(start..end)
    })
}

fn sections_of(read: Read<'_>, h: Bytes<'_>) -> Option<Vec<Section>> {
    let count = usize::from(h.u16(60)?).min(HEADERS_MAX);
    let table = read_table(read, h.u64(40)?, 64 * count as u64)?;
    let section = |s: Bytes<'_>| {
        Some(Section { name: s.u32(0)?, kind: s.u32(4)?, addr: s.u64(16)?, offset: s.u64(24)?, size: s.u64(32)? })
    };
    table.chunks_exact(64).map(|s| section(Bytes(s))).collect()
}

/// Symbols of functions with a size.
fn symbols(table: Bytes<'_>, _addr: u64, segment: &mut Segment) {
    for s in table.0.chunks_exact(24).map(Bytes) {
        let (Some(info), Some(section), Some(addr), Some(size)) = (s.u8(4), s.u16(6), s.u64(8), s.u64(16)) else {
            return;
        };
        if matches!(info & 0xf, STT_FUNC | STT_GNU_IFUNC) && section != 0 {
            segment.add(addr, size);
        }
    }
}

/// The records of an unwind table that describe functions (FDEs).
fn unwind_table(table: Bytes<'_>, addr: u64, segment: &mut Segment) {
    // How the addresses are written that belong to a common record (CIE), by its place.
    let mut encodings: BTreeMap<usize, u8> = BTreeMap::new();
    let mut at = 0;
    while let Some(len) = table.u32(at).filter(|&len| len != 0 && len != u32::MAX) {
        let body = at + 4;
        let Some(end) = body.checked_add(len as usize).filter(|&e| e <= table.0.len()) else { return };
        let Some(id) = table.u32(body) else { return };
        let record = Bytes(&table.0[..end]);
        if id == 0 {
            if let Some(encoding) = encoding_of(record, body + 4).filter(|_| encodings.len() < HEADERS_MAX) {
                encodings.insert(at, encoding);
            }
        } else if let Some(&encoding) = body.checked_sub(id as usize).and_then(|cie| encodings.get(&cie))
            && let Some((start, len)) = extent(record, body + 4, encoding, addr)
        {
            segment.add(start, len);
        }
        at = end;
    }
}

/// How a common record, whose version stands at `at`, says that addresses are written.
fn encoding_of(record: Bytes<'_>, at: usize) -> Option<u8> {
    let version = record.u8(at)?;
    let name = record.0.get(at + 1..)?;
    let name = &name[..name.iter().position(|&b| b == 0)?];
    let mut at = record.behind_leb(record.behind_leb(at + 1 + name.len() + 1)?)?;
    at = if version == 1 { at + 1 } else { record.behind_leb(at)? };
    let Some((b'z', letters)) = name.split_first() else { return name.is_empty().then_some(0) };
    // The record of a signal trampoline begins a byte before its first instruction, by convention.
    if letters.contains(&b'S') {
        return None;
    }
    at = record.behind_leb(at)?;
    for letter in letters {
        match letter {
            b'R' => return record.u8(at),
            b'L' => at += 1,
            b'P' => at += 1 + width(record.u8(at)?)?,
            b'B' => {}
            _ => return None,
        }
    }
    Some(0)
}

/// Bytes of a number that is written so.
fn width(encoding: u8) -> Option<usize> {
    match encoding & 0x0f {
        0x00 | 0x04 | 0x0c => Some(8),
        0x03 | 0x0b => Some(4),
        0x02 | 0x0a => Some(2),
        _ => None,
    }
}

/// Start and length of a function, which stand at `at` of a table at the address `addr`.
fn extent(record: Bytes<'_>, at: usize, encoding: u8, addr: u64) -> Option<(u64, u64)> {
    let number = |at: usize| match encoding & 0x0f {
        0x00 | 0x04 | 0x0c => record.u64(at),
        0x0b => record.u32(at).map(|n| n as i32 as u64),
        0x03 => record.u32(at).map(u64::from),
        _ => None,
    };
    let start = match encoding & 0xf0 {
        0x00 => number(at)?,
        0x10 => number(at)?.wrapping_add(addr).wrapping_add(at as u64),
        _ => return None,
    };
    let len = number(at + width(encoding)?)?;
    Some((start, len))
}

/// Go's table of functions.
fn go_table(table: Bytes<'_>, _addr: u64, segment: &mut Segment) {
    let read = || -> Option<(u64, usize, usize, bool)> {
        let word = |n: usize| table.u64(8 + 8 * n);
        let count = usize::try_from(word(0)?).ok()?;
        if (table.u8(6)?, table.u8(7)?) != (1, 8) {
            return None;
        }
        match table.u32(0)? {
            // 1.18 and 1.20: the start of the text, and places in it in four bytes.
            0xffff_fff0 | 0xffff_fff1 => Some((word(2)?, usize::try_from(word(7)?).ok()?, count, true)),
            // 1.16: addresses in eight.
            0xffff_fffa => Some((0, usize::try_from(word(6)?).ok()?, count, false)),
            _ => None,
        }
    };
    let Some((base, list, count, short)) = read() else { return };
    let entry = |n: usize| {
        let at = list.checked_add(n.checked_mul(if short { 8 } else { 16 })?)?;
        if short { table.u32(at).map(|o| base.wrapping_add(o.into())) } else { table.u64(at) }
    };
    for n in 0..count.min(FUNCTIONS_MAX) {
        let (Some(start), Some(end)) = (entry(n), entry(n + 1)) else { return };
        segment.add(start, end.saturating_sub(start));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::displace::{Room, SiteKind, Sweep};

    fn reader(file: &[u8]) -> impl Fn(&mut [u8], u64) -> usize {
        move |buffer, offset| {
            let rest = file.get(offset as usize..).unwrap_or_default();
            let n = rest.len().min(buffer.len());
            buffer[..n].copy_from_slice(&rest[..n]);
            n
        }
    }

    /// The executable segment of a host file, its functions and its bytes.
    fn host_file(path: &str) -> Option<(Functions, Vec<u8>)> {
        let file = std::fs::read(path).ok()?;
        let h = Bytes(&file);
        let programs = h.u64(32)? as usize;
        let p = (0..usize::from(h.u16(56)?))
            .map(|n| programs + 56 * n)
            .find(|&p| h.u32(p) == Some(PT_LOAD) && h.u32(p + 4).is_some_and(|f| f & PF_X != 0))?;
        let (offset, len) = (h.u64(p + 8)?, h.u64(p + 32)?);
        let text = offset & !0xfff..(offset + len).next_multiple_of(4096);
        let functions = Functions::of(&reader(&file), text.clone());
        let mut bytes = file[text.start as usize..(text.end as usize).min(file.len())].to_vec();
        bytes.resize((text.end - text.start) as usize, 0);
        Some((functions, bytes))
    }

    /// Sites of a kind in the functions of a file: all, those with room, those with room for several.
    fn count(path: &str, kind: SiteKind) -> Option<(usize, usize, usize)> {
        let (functions, text) = host_file(path)?;
        let (mut all, mut with_room, mut several) = (0, 0, 0);
        let mut last = 0;
        for &(start, end) in &functions.0 {
            if (start as usize) < last {
                continue;
            }
            last = end as usize;
            let Some(sweep) = Sweep::of(&text[start as usize..end as usize], start as usize) else { continue };
            for site in sweep.sites(kind).collect::<Vec<_>>() {
                all += 1;
                let Some(d) = sweep.displacement(site) else { continue };
                assert_eq!(text[d.at..d.site() + 2], d.original[..]);
                with_room += 1;
                several += usize::from(d.room == Room::Several);
            }
        }
        Some((all, with_room, several))
    }

    #[test]
    fn the_c_library_of_the_host_can_be_patched_nearly_everywhere() {
        for (path, least) in [("/lib/x86_64-linux-gnu/libc.so.6", 400), ("/lib64/ld-linux-x86-64.so.2", 30)] {
            let Some((all, with_room, several)) = count(path, SiteKind::Syscall) else { continue };
            std::println!("{path}: {all} system calls, {with_room} with room, {several} of them for several");
            assert!(all >= least && with_room * 100 >= all * 95, "{path}: {with_room} of {all}");
        }
        if let Some((all, with_room, several)) = count("/lib64/ld-linux-x86-64.so.2", SiteKind::Cpuid) {
            std::println!("{all} cpuid, {with_room} with room, {several} of them for several");
            assert!(all > 10 && with_room * 100 >= all * 95, "{with_room} of {all}");
        }
    }

    #[test]
    fn a_place_is_in_the_function_that_begins_last_before_it() {
        let f = Functions(vec![(0, 100), (10, 20), (30, 40)]);
        assert_eq!(f.around(15), Some(10..20));
        assert_eq!(f.around(25), Some(0..100));
        assert_eq!(f.around(40), Some(0..100));
        assert_eq!(f.around(100), None);
    }

    #[test]
    fn damaged_files_end_in_no_panic() {
        let Some(path) = std::env::current_exe().ok() else { return };
        let Ok(whole) = std::fs::read("/lib64/ld-linux-x86-64.so.2").or_else(|_| std::fs::read(path)) else { return };
        let mut seed = 1u64;
        let mut next = || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) as usize
        };
        let tables = Bytes(&whole).u64(40).unwrap() as usize;
        for round in 0..300 {
            let mut file = whole.clone();
            for _ in 0..40 {
                let at = match round % 3 {
                    0 => next() % 512,
                    1 => tables + next() % (file.len() - tables),
                    _ => next() % file.len(),
                };
                file[at] = next() as u8;
            }
            file.truncate(file.len() - next() % (file.len() / 2) * usize::from(round % 5 == 0));
            let functions = Functions::of(&reader(&file), 0x1000..0x27000);
            assert!(functions.0.iter().all(|&(start, end)| start < end && end <= 0x26000));
        }
    }

    #[test]
    fn the_record_of_a_signal_trampoline_is_left_out() {
        let common = |name: &[u8]| [&[1], name, &[0, 1, 0x78, 16, 1, 0x1b]].concat();
        assert_eq!(encoding_of(Bytes(&common(b"zR")), 0), Some(0x1b));
        assert_eq!(encoding_of(Bytes(&common(b"zRS")), 0), None);
    }

    #[test]
    fn a_go_table_has_the_functions_of_its_text() {
        let mut table = vec![0u8; 8 + 8 * 8];
        table[..8].copy_from_slice(&[0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8]);
        table[8..16].copy_from_slice(&2u64.to_le_bytes());
        table[24..32].copy_from_slice(&0x40_1000u64.to_le_bytes());
        table[64..72].copy_from_slice(&72u64.to_le_bytes());
        for word in [0u32, 0, 0x40, 0, 0x90, 0] {
            table.extend(word.to_le_bytes());
        }
        let mut segment = Segment { addrs: 0x40_1000..0x40_2000, found: Vec::new() };
        go_table(Bytes(&table), 0, &mut segment);
        assert_eq!(segment.found, [(0, 0x40), (0x40, 0x90)]);
        table[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        go_table(Bytes(&table), 0, &mut segment);
        assert_eq!(segment.found.len(), 4, "a count that is too high ends with the table");
    }
}
