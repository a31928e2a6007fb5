//! ELF images: headers checked, segments mapped (elf(5), System V ABI).
//!
//! An image is mapped as ld.so would: one reservation for all its segments, then each segment over it, private. The part
//! of the last page beyond a segment's file bytes is zeroed, the pages after it up to the memory size are anonymous.

use crate::abi::PAGE_SIZE;
use crate::error::{Errno, Error, Result};
use crate::fs::file::{MapSource, OpenFile};
use crate::host::Prot;
use crate::mm::spare::Key;
use crate::mm::{
    Backing, FileBacking, FileVersion, IovDest, MapRequest, Mm, Placement, VmFlags, Zone, page_align_up, user,
};
use alloc::sync::Arc;
use alloc::vec::Vec;

const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const EM_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_PHDR: u32 = 6;
const PT_GNU_STACK: u32 = 0x6474_e551;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;

/// Bytes of an ELF-64 header and of a program header.
const EHDR_SIZE: usize = 64;
const PHDR_SIZE: usize = 56;
/// Most bytes of program headers (Linux: 64 KB).
const PHDRS_MAX: usize = 65536;
/// Longest interpreter path with its NUL.
const PATH_MAX: usize = 4096;

/// Reads exactly `buf.len()` bytes at `offset`; ENOEXEC if the file is shorter.
pub(super) fn read_exact(file: &OpenFile, buf: &mut [u8], offset: u64) -> Result<()> {
    if read_at(file, buf, offset)? < buf.len() {
        return Err(Errno::ENOEXEC.because("the file is cut short"));
    }
    Ok(())
}

/// Reads up to `buf.len()` bytes at `offset`.
pub(super) fn read_at(file: &OpenFile, buf: &mut [u8], offset: u64) -> Result<usize> {
    let mut dst = IovDest::kernel(buf);
    let mut done = 0;
    while !dst.is_empty() {
        match file.read(&mut dst, Some(offset + done as u64))? {
            0 => break,
            n => done += n,
        }
    }
    Ok(done)
}

fn u16_at(b: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([b[at], b[at + 1]])
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

fn u64_at(b: &[u8], at: usize) -> u64 {
    u64::from(u32_at(b, at)) | u64::from(u32_at(b, at + 4)) << 32
}

/// A loadable segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Segment {
    prot: Prot,
    offset: u64,
    vaddr: usize,
    file_size: usize,
    mem_size: usize,
}

/// What the headers say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Headers {
    entry: usize,
    segments: Vec<Segment>,
    interpreter: Option<(u64, usize)>,
    /// Address of the program headers in the image, and their number.
    phdrs: (Option<usize>, usize),
    align: usize,
    /// Lowest page and end of the image.
    span: (usize, usize),
    /// Whether it may lie at any address.
    relocatable: bool,
}

const fn bad(reason: &'static str) -> Error {
    Errno::ENOEXEC.because(reason)
}

impl Headers {
    /// Reads and checks the headers of `file`.
    pub fn read(file: &OpenFile) -> Result<Self> {
        let mut ehdr = [0u8; EHDR_SIZE];
        // A file too short for a header shows zeros in its place: not an ELF file, rather than one cut short.
        read_at(file, &mut ehdr, 0)?;
        let count = Self::check(&ehdr)?;
        let mut phdrs = alloc::vec![0u8; count * PHDR_SIZE];
        read_exact(file, &mut phdrs, u64_at(&ehdr, 32))?;
        Self::parse(&ehdr, &phdrs)
    }

    /// Checks the ELF header; returns the number of program headers.
    fn check(ehdr: &[u8; EHDR_SIZE]) -> Result<usize> {
        if ehdr[..4] != *b"\x7fELF" {
            return Err(bad("not an ELF file"));
        }
        if ehdr[4] != 2 || ehdr[5] != 1 || u16_at(ehdr, 18) != EM_X86_64 {
            return Err(bad("not an x86-64 ELF file"));
        }
        if !matches!(u16_at(ehdr, 16), ET_EXEC | ET_DYN) {
            return Err(bad("neither an executable nor a shared object"));
        }
        let count = usize::from(u16_at(ehdr, 56));
        if usize::from(u16_at(ehdr, 54)) != PHDR_SIZE || count == 0 || count * PHDR_SIZE > PHDRS_MAX {
            return Err(bad("bad program header table"));
        }
        Ok(count)
    }

    fn parse(ehdr: &[u8; EHDR_SIZE], table: &[u8]) -> Result<Self> {
        let (phoff, count) = (u64_at(ehdr, 32), table.len() / PHDR_SIZE);
        let mut h = Headers {
            entry: u64_at(ehdr, 24) as usize,
            segments: Vec::new(),
            interpreter: None,
            phdrs: (None, count),
            align: PAGE_SIZE,
            span: (usize::MAX, 0),
            relocatable: u16_at(ehdr, 16) == ET_DYN,
        };
        for p in table.chunks_exact(PHDR_SIZE) {
            let (kind, flags) = (u32_at(p, 0), u32_at(p, 4));
            let (offset, vaddr) = (u64_at(p, 8), u64_at(p, 16) as usize);
            let (file_size, mem_size) = (u64_at(p, 32) as usize, u64_at(p, 40) as usize);
            match kind {
                PT_LOAD if mem_size == 0 => {}
                PT_LOAD => {
                    let end = vaddr.checked_add(mem_size).and_then(page_align_up).filter(|&e| e < 1 << 47);
                    let end = end.ok_or(bad("a segment's address range wraps"))?;
                    if file_size > mem_size || offset.checked_add(file_size as u64).is_none() {
                        return Err(bad("a segment's file part is larger than its memory"));
                    }
                    if (offset as usize).wrapping_sub(vaddr) % PAGE_SIZE != 0 {
                        return Err(bad("a segment's offset and address disagree within the page"));
                    }
                    if h.segments.last().is_some_and(|s| vaddr < s.vaddr + s.mem_size) {
                        return Err(bad("segments overlap or are out of order"));
                    }
                    let align = u64_at(p, 48) as usize;
                    if align.is_power_of_two() && align <= 1 << 30 {
                        h.align = h.align.max(align);
                    }
                    let mut prot = Prot::empty();
                    prot.set(Prot::READ, flags & PF_R != 0);
                    prot.set(Prot::WRITE, flags & PF_W != 0);
                    prot.set(Prot::EXEC, flags & PF_X != 0);
                    let table_end = phoff.checked_add(table.len() as u64);
                    let holds_table = phoff >= offset && table_end.is_some_and(|end| end <= offset + file_size as u64);
                    if h.phdrs.0.is_none() && holds_table {
                        h.phdrs.0 = Some(vaddr + (phoff - offset) as usize);
                    }
                    h.span = (h.span.0.min(vaddr & !(PAGE_SIZE - 1)), h.span.1.max(end));
                    h.segments.push(Segment { prot, offset, vaddr, file_size, mem_size });
                }
                PT_INTERP => h.interpreter = Some((offset, file_size)),
                PT_PHDR => h.phdrs.0 = Some(vaddr),
                PT_GNU_STACK => {}
                _ => {}
            }
        }
        if h.segments.is_empty() {
            return Err(bad("no loadable segment"));
        }
        if h.segments.iter().map(|s| s.mem_size).try_fold(0usize, usize::checked_add).is_none_or(|n| n > 1 << 40) {
            return Err(bad("the image is larger than any address range"));
        }
        Ok(h)
    }

    /// The interpreter's path, if the image names one.
    pub fn interpreter(&self, file: &OpenFile) -> Result<Option<Vec<u8>>> {
        let Some((offset, len)) = self.interpreter else { return Ok(None) };
        if !(2..=PATH_MAX).contains(&len) {
            return Err(bad("the interpreter's path has a bad length"));
        }
        let mut path = alloc::vec![0u8; len];
        read_exact(file, &mut path, offset)?;
        if path.pop() != Some(0) {
            return Err(bad("the interpreter's path does not end in NUL"));
        }
        Ok(Some(path))
    }
}

/// A mapped image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Image {
    /// Difference between addresses in the file and in memory.
    pub bias: usize,
    /// First instruction.
    pub entry: usize,
    /// Where the program headers lie in memory; 0 if they do not.
    pub phdr: usize,
    /// Number of program headers.
    pub phnum: usize,
    /// First byte and end of the executable segment.
    pub code: (usize, usize),
}

/// Maps the image into `mm`, or takes one that another program has left. `version` is the file's, if it has one.
pub fn map_image(mm: &Arc<Mm>, file: &Arc<OpenFile>, h: &Headers, version: Option<FileVersion>) -> Result<Image> {
    let key = version.filter(|v| h.relocatable && v.is_settled()).map(Key::Image);
    let spare = key.as_ref().and_then(|key| mm.adopt(key));
    let is_new = spare.is_none();
    let bias = match spare {
        Some(range) => range.start.wrapping_sub(h.span.0),
        None => map_afresh(mm, file, h)?,
    };
    let mut code = (0, 0);
    for s in &h.segments {
        let start = bias.wrapping_add(s.vaddr);
        clear_tail(s, start)?;
        if s.prot.contains(Prot::EXEC) && code == (0, 0) {
            code = (start, start + s.mem_size);
        }
    }
    if let (Some(key), true) = (key, is_new) {
        mm.note_part(key, bias.wrapping_add(h.span.0)..bias.wrapping_add(h.span.1));
    }
    Ok(Image {
        bias,
        entry: bias.wrapping_add(h.entry),
        phdr: h.phdrs.0.map_or(0, |p| bias.wrapping_add(p)),
        phnum: h.phdrs.1,
        code,
    })
}

/// Maps all segments; returns the bias.
fn map_afresh(mm: &Arc<Mm>, file: &Arc<OpenFile>, h: &Headers) -> Result<usize> {
    let MapSource::Host(host) = file.ops().map_source(file)? else {
        return Err(bad("the file system cannot map executables"));
    };
    let bias = if h.relocatable { reserve_anywhere(mm, h)? } else { reserve_fixed(mm, h)? };
    for s in &h.segments {
        map_segment(mm, file, &host, s, bias.wrapping_add(s.vaddr))?;
    }
    Ok(bias)
}

/// As Linux: a writable segment's last page is zeroed behind its file bytes; a read-only one shows the file.
fn clear_tail(s: &Segment, start: usize) -> Result<()> {
    let file_end = start + s.file_size;
    let tail = file_end.next_multiple_of(PAGE_SIZE) - file_end;
    if s.file_size > 0 && s.mem_size > s.file_size && s.prot.contains(Prot::WRITE) && tail > 0 {
        user::clear_user(file_end, tail).map_err(|_| bad("a segment reaches beyond the end of the file"))?;
    }
    Ok(())
}

/// Reserves the image's span at an address of the window's choice; returns the bias.
fn reserve_anywhere(mm: &Mm, h: &Headers) -> Result<usize> {
    let len = h.span.1 - h.span.0;
    let base = reserve(mm, len + h.align - PAGE_SIZE, Placement::Hint(0))?;
    let aligned = base.next_multiple_of(h.align);
    if aligned > base {
        mm.unmap(base..aligned)?;
    }
    let slack = aligned + len..base + len + h.align - PAGE_SIZE;
    if !slack.is_empty() {
        mm.unmap(slack)?;
    }
    Ok(aligned.wrapping_sub(h.span.0))
}

/// Reserves the addresses that a fixed-address image (ET_EXEC) is linked to.
fn reserve_fixed(mm: &Arc<Mm>, h: &Headers) -> Result<usize> {
    match reserve(mm, h.span.1 - h.span.0, Placement::FixedNoReplace(h.span.0)) {
        Ok(_) => Ok(0),
        // Another program is there: the two take turns.
        Err(e) if e.errno() == Errno::EEXIST => mm.claim(h.span.0..h.span.1).map(|()| 0),
        Err(_) => {
            Err(bad("linked to fixed addresses (ET_EXEC) that the guest does not have: only 64 KB to 1 GB can be used"))
        }
    }
}

fn reserve(mm: &Mm, len: usize, placement: Placement) -> Result<usize> {
    mm.map(MapRequest {
        len,
        placement,
        prot: Prot::empty(),
        flags: VmFlags::NORESERVE,
        backing: Backing::Anonymous,
        name: "",
        zone: Zone::Image,
    })
}

fn map_segment(mm: &Mm, file: &OpenFile, host: &Arc<crate::host::HostFd>, s: &Segment, start: usize) -> Result<()> {
    let page_start = start & !(PAGE_SIZE - 1);
    let file_end = start + s.file_size;
    let mem_end = start + s.mem_size;
    let mut anonymous_from = page_start;
    if s.file_size > 0 {
        let file_pages_end = file_end.next_multiple_of(PAGE_SIZE);
        mm.map(MapRequest {
            len: file_pages_end - page_start,
            placement: Placement::Fixed(page_start),
            prot: s.prot,
            flags: VmFlags::empty(),
            backing: Backing::File(FileBacking::new(
                host.clone(),
                s.offset - (start - page_start) as u64,
                file.path().cloned(),
                true,
            )),
            name: "",
            zone: Zone::Image,
        })?;
        anonymous_from = file_pages_end;
    }
    if mem_end > anonymous_from {
        mm.map(MapRequest {
            len: mem_end - anonymous_from,
            placement: Placement::Fixed(anonymous_from),
            prot: s.prot,
            flags: VmFlags::empty(),
            backing: Backing::Anonymous,
            name: "",
            zone: Zone::Image,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ehdr(kind: u16, machine: u16, phnum: u16) -> [u8; EHDR_SIZE] {
        let mut e = [0u8; EHDR_SIZE];
        e[..4].copy_from_slice(b"\x7fELF");
        e[4] = 2;
        e[5] = 1;
        e[16..18].copy_from_slice(&kind.to_le_bytes());
        e[18..20].copy_from_slice(&machine.to_le_bytes());
        e[24..32].copy_from_slice(&0x1234u64.to_le_bytes());
        e[32..40].copy_from_slice(&64u64.to_le_bytes());
        e[54..56].copy_from_slice(&56u16.to_le_bytes());
        e[56..58].copy_from_slice(&phnum.to_le_bytes());
        e
    }

    fn phdr(kind: u32, flags: u32, offset: u64, vaddr: u64, file: u64, mem: u64) -> Vec<u8> {
        let mut p = Vec::new();
        p.extend(kind.to_le_bytes());
        p.extend(flags.to_le_bytes());
        for word in [offset, vaddr, vaddr, file, mem, 0x1000] {
            p.extend(word.to_le_bytes());
        }
        p
    }

    #[test]
    fn headers_are_checked() {
        assert_eq!(Headers::check(&ehdr(ET_DYN, EM_X86_64, 3)), Ok(3));
        assert_eq!(Headers::check(&ehdr(ET_DYN, 183, 3)).unwrap_err().reason(), "not an x86-64 ELF file");
        assert!(Headers::check(&ehdr(1, EM_X86_64, 3)).is_err());
        assert!(Headers::check(&ehdr(ET_DYN, EM_X86_64, 0)).is_err());
        assert!(Headers::check(&[0; EHDR_SIZE]).is_err());
    }

    #[test]
    fn segments_are_read_and_bad_ones_refused() {
        let e = ehdr(ET_DYN, EM_X86_64, 2);
        let mut table = phdr(PT_LOAD, PF_R | PF_X, 0, 0, 0x800, 0x800);
        table.extend(phdr(PT_LOAD, PF_R | PF_W, 0xe00, 0x1e00, 0x100, 0x3000));
        let h = Headers::parse(&e, &table).unwrap();
        assert_eq!(h.span, (0, 0x5000));
        assert_eq!(h.phdrs, (Some(64), 2));
        for broken in [
            phdr(PT_LOAD, PF_R, 0, 0x10, 0x100, 0x100),
            phdr(PT_LOAD, PF_R, 0, 0, 0x200, 0x100),
            phdr(PT_LOAD, PF_R, 0, !0xfff, 0, 0x2000),
            phdr(PT_INTERP, PF_R, 0, 0, 1, 1),
        ] {
            assert!(Headers::parse(&e, &broken).is_err());
        }
        let mut unordered = phdr(PT_LOAD, PF_R, 0x2000, 0x2000, 0x10, 0x10);
        unordered.extend(phdr(PT_LOAD, PF_R, 0, 0, 0x10, 0x10));
        assert!(Headers::parse(&e, &unordered).is_err());
    }
}
