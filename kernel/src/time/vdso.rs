//! The guest's vDSO: an ELF image around the code of [`crate::host::vdso`] (vdso(7)).
//!
//! Layout: data page, page of ELF headers and tables, code. C libraries look the functions up by name and version
//! `LINUX_2.6` through DT_HASH, DT_VERSYM and DT_VERDEF.

use crate::abi::PAGE_SIZE;
use crate::error::Result;
use crate::host::Prot;
use crate::host::vdso::{Image, Parameters, code};
use crate::mm::spare::Key;
use crate::mm::{Backing, FileBacking, MapRequest, Mm, Placement, VmFlags, Zone};
use crate::sync::Once;
use alloc::format;
use alloc::vec::Vec;

static IMAGE: Once<Image> = Once::new();

const SONAME: &str = "linux-vdso.so.1";
const VERSION: &str = "LINUX_2.6";

/// The System V hash of a symbol name (gABI, "Hash Table").
fn elf_hash(name: &str) -> u32 {
    name.bytes().fold(0u32, |h, b| {
        let h = (h << 4).wrapping_add(u32::from(b));
        let high = h & 0xf000_0000;
        (h ^ (high >> 24)) & !high
    })
}

/// Bytes that are being laid out.
#[derive(Default)]
struct Section(Vec<u8>);

impl Section {
    fn u16(&mut self, v: u16) {
        self.0.extend(v.to_le_bytes());
    }
    fn u32(&mut self, v: u32) {
        self.0.extend(v.to_le_bytes());
    }
    fn u64(&mut self, v: u64) {
        self.0.extend(v.to_le_bytes());
    }
    fn align(&mut self, to: usize) -> u64 {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
        self.0.len() as u64
    }
}

/// Builds the image: one page of headers and tables, then the code.
fn build_elf() -> Vec<u8> {
    let code = code();
    let mut strings = Section(alloc::vec![0]);
    let mut string = |s: &str| {
        let at = strings.0.len() as u32;
        strings.0.extend(s.as_bytes());
        strings.0.push(0);
        at
    };
    let soname = string(SONAME);
    let version = string(VERSION);
    let symbols: Vec<(u32, u32, usize)> = code
        .functions
        .iter()
        .flat_map(|&(name, at)| [(format!("__vdso_{name}"), at), (name.into(), at)])
        .map(|(name, at)| (string(&name), elf_hash(&name), PAGE_SIZE + at))
        .collect();
    let total = (PAGE_SIZE + code.bytes.len()) as u64;

    let mut out = Section::default();
    // ELF header.
    out.0.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    out.u16(3);
    out.u16(62);
    out.u32(1);
    out.u64(0);
    out.u64(64);
    out.u64(0);
    out.u32(0);
    for half in [64u16, 56, 2, 64, 0, 0] {
        out.u16(half);
    }
    // Program headers; the dynamic section's place is filled in below.
    let phdrs = out.0.len();
    out.0.resize(phdrs + 2 * 56, 0);

    let hash = out.align(8);
    out.u32(1);
    out.u32(symbols.len() as u32 + 1);
    out.u32(1);
    out.u32(0);
    for i in 1..=symbols.len() as u32 {
        out.u32(if i as usize == symbols.len() { 0 } else { i + 1 });
    }
    let symtab = out.align(8);
    out.0.resize(out.0.len() + 24, 0);
    for &(name, _, at) in &symbols {
        out.u32(name);
        out.0.extend([0x12, 0]); // STB_GLOBAL, STT_FUNC
        out.u16(1); // any section: defined here
        out.u64(at as u64);
        out.u64(16);
    }
    let versym = out.align(2);
    out.u16(0);
    for _ in &symbols {
        out.u16(2);
    }
    let verdef = out.align(8);
    for (flags, index, name, at, next) in [(1u16, 1u16, SONAME, soname, 28u32), (0, 2, VERSION, version, 0)] {
        out.u16(1);
        out.u16(flags);
        out.u16(index);
        out.u16(1);
        out.u32(elf_hash(name));
        out.u32(20);
        out.u32(next);
        out.u32(at);
        out.u32(0);
    }
    let strtab = out.align(8);
    let strsz = strings.0.len() as u64;
    out.0.extend(&strings.0);
    let dynamic = out.align(8);
    let entries: [(u64, u64); 10] = [
        (14, u64::from(soname)),
        (4, hash),
        (5, strtab),
        (6, symtab),
        (10, strsz),
        (11, 24),
        (0x6fff_fff0, versym),
        (0x6fff_fffc, verdef),
        (0x6fff_fffd, 2),
        (0, 0),
    ];
    for (tag, value) in entries {
        out.u64(tag);
        out.u64(value);
    }
    let dynamic_size = 16 * entries.len() as u64;

    let mut headers = Section::default();
    for (kind, flags, at, size) in [(1u32, 5u32, 0, total), (2, 4, dynamic, dynamic_size)] {
        headers.u32(kind);
        headers.u32(flags);
        headers.u64(at);
        headers.u64(at);
        headers.u64(at);
        headers.u64(size);
        headers.u64(size);
        headers.u64(PAGE_SIZE as u64);
    }
    out.0[phdrs..phdrs + headers.0.len()].copy_from_slice(&headers.0);
    assert!(out.0.len() <= PAGE_SIZE, "the vDSO's tables fit a page");
    out.0.resize(PAGE_SIZE, 0);
    out.0.extend(code.bytes);
    out.0
}

/// Makes the image, once, at boot.
pub fn init() -> Result<()> {
    let image = Image::new(&build_elf())?;
    image.publish(None);
    IMAGE.call_once(|| image);
    Ok(())
}

/// Publishes clock parameters to every program.
pub(super) fn publish(parameters: Option<Parameters>) {
    if let Some(image) = IMAGE.get() {
        image.publish(parameters);
    }
}

/// Maps the image into an address space; returns the address of its ELF header, for AT_SYSINFO_EHDR. 0 without an image.
pub fn map(mm: &Mm) -> Result<usize> {
    let Some(image) = IMAGE.get() else { return Ok(0) };
    if let Some(range) = mm.adopt(&Key::Vdso) {
        return Ok(range.start + PAGE_SIZE);
    }
    let request = |len, placement, prot, offset, name| MapRequest {
        len,
        placement,
        prot,
        flags: VmFlags::SHARED | VmFlags::SPECIAL,
        backing: Backing::File(FileBacking::new(image.file(), offset, None, false)),
        name,
        zone: Zone::Image,
    };
    let data = mm.map(request(image.len(), Placement::Hint(0), Prot::READ, 0, "[vvar]"))?;
    let at = data + PAGE_SIZE;
    let code_len = image.len() - PAGE_SIZE;
    mm.map(request(code_len, Placement::Fixed(at), Prot::READ | Prot::EXEC, PAGE_SIZE as u64, "[vdso]"))?;
    mm.note_part(Key::Vdso, data..data + image.len());
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_of_the_version_name_is_the_known_one() {
        assert_eq!(elf_hash(VERSION), 0x3ae75f6);
    }

    #[test]
    fn the_image_has_code_behind_its_first_page() {
        let elf = build_elf();
        assert_eq!(&elf[..4], b"\x7fELF");
        assert_eq!(&elf[PAGE_SIZE..], code().bytes);
        assert!(code().bytes.len() < PAGE_SIZE);
    }
}
