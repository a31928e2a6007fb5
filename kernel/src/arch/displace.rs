//! Room for a jump: which instructions in front of a site may move into its stub.
//!
//! A *site* is a `syscall` or `cpuid`, two bytes. Its jump takes five, and stands in front of it, so that the site's own
//! instruction stays: who jumps straight to it, returns behind it or starts over at it finds what the compiler put there.
//! What the jump covers, and what lies between it and the site, are the *leads*: they run in the stub instead, byte for byte
//! as they were, but for operands that are relative to the instruction pointer. Three kinds of leads give room:
//!
//! - *long*: the jump covers the start of one instruction of five bytes or more, as `mov $nr, %eax` mostly is. Nothing can
//!   jump to what it covers.
//! - *punned*: `xor %eax, %eax; syscall; cmp $-4096, %rax` and its like. The jump covers an instruction of two bytes; the
//!   upper three of its displacement are the bytes that follow anyway, `0f 05 48`, and stay as they are. Stubs lie where such
//!   a jump leads ([`PUNNED`]). Again nothing can jump to what it covers.
//! - *several*: the jump covers the starts of several instructions. That is right only if nothing jumps to one behind the
//!   first: no branch of the function or number in the text leads there ([`is_referred_to`]), and the function has no jump
//!   table. A context that stood there when the site was patched goes on in the stub; see `crate::arch::stub`.
//!
//! Where an instruction begins is known from a sweep of the function around the site, from its first byte to its last, as the
//! unwind table or the symbols of the file tell them (`crate::mm::functions`). Each instruction must be valid, the sweep must come
//! to the site and to the end exactly, and the leads must be one straight line to the site. Without a function around
//! it, only the shape `mov $nr, %eax; syscall` is taken whose number the trapped call proves ([`plain`]).
//!
//! All of it reads bytes that anybody may have made. A function that is not what its file says costs that file's programs
//! their sense and nobody else's: it runs there as it would natively, only elsewhere.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

/// Bytes of a site's instruction.
pub const SITE_LEN: usize = 2;
/// Bytes of the jump.
pub const JUMP_LEN: usize = 5;
/// Most bytes of leads.
pub const LEADS_MAX: usize = 48;
/// Most bytes of a function that is looked through.
pub const FUNCTION_MAX: usize = 128 << 10;
/// What follows a punned jump's opcode and lowest displacement byte: `syscall` and the REX prefix of the next instruction.
const PUN: [u8; 3] = [0x0f, 0x05, 0x48];
/// The least distance that a punned jump goes, from its end; it can go up to 255 bytes further.
pub const PUNNED: usize = 0x4805_0f00;

/// What a site does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SiteKind {
    /// A system call.
    Syscall,
    /// `cpuid`.
    Cpuid,
}

impl SiteKind {
    /// The site's instruction.
    pub const fn bytes(self) -> [u8; SITE_LEN] {
        match self {
            SiteKind::Syscall => [0x0f, 0x05],
            SiteKind::Cpuid => [0x0f, 0xa2],
        }
    }

    fn of(instruction: &Instruction) -> Option<Self> {
        match instruction.mnemonic() {
            Mnemonic::Syscall if instruction.len() == SITE_LEN => Some(SiteKind::Syscall),
            Mnemonic::Cpuid if instruction.len() == SITE_LEN => Some(SiteKind::Cpuid),
            _ => None,
        }
    }
}

/// How the leads give room for the jump.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// In one instruction.
    Long,
    /// In two bytes, with a displacement that ends in the bytes that follow.
    Punned,
    /// In several instructions.
    Several,
}

/// A site and the leads that make room for its jump. Places are offsets in a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Displacement {
    /// What the site does.
    pub kind: SiteKind,
    /// How there is room.
    pub room: Room,
    /// Where the jump goes: the first lead.
    pub at: usize,
    /// Bytes of all leads: the site's instruction follows them.
    pub leads: usize,
    /// What is there, from `at` to behind the site's instruction.
    pub original: Box<[u8]>,
    /// The function around it, whose own branches are known not to be in the way.
    pub function: Range<usize>,
}

impl Displacement {
    /// Where the site's instruction stands.
    pub fn site(&self) -> usize {
        self.at + self.leads
    }

    /// The places that the jump covers and at which an instruction may begin: none may be jumped to.
    pub fn covered(&self) -> Range<usize> {
        match self.room {
            Room::Several => self.at + 1..self.at + JUMP_LEN,
            Room::Long | Room::Punned => 0..0,
        }
    }

    /// The first bytes, which the jump replaces. All shapes have at least as many: two of leads, two of the site, and one that
    /// a punned jump leaves as it is.
    pub fn replaced(&self) -> [u8; JUMP_LEN] {
        let mut bytes = [PUN[2]; JUMP_LEN];
        for (to, from) in bytes.iter_mut().zip(&self.original) {
            *to = *from;
        }
        bytes
    }
}

/// The site `mov $nr, %eax; syscall` before `end` in `code`, which begins at the offset `start` of a text: what a trapped call of
/// number `nr` proves by itself. `None` if something else stands there; a prefix in front would make the `mov` another
/// instruction.
pub fn plain(code: &[u8], start: usize, end: usize, nr: u32) -> Option<Displacement> {
    let last = end.checked_sub(start)?;
    let first = last.checked_sub(JUMP_LEN + SITE_LEN)?;
    let before = *code.get(first.checked_sub(1)?)?;
    let bytes = code.get(first..last)?;
    let prefix = matches!(before, 0x40..=0x4f | 0x66 | 0x67 | 0xf0 | 0xf2 | 0xf3 | 0x0f);
    let is_it = bytes[0] == 0xb8 && bytes[1..5] == nr.to_le_bytes() && bytes[5..] == SiteKind::Syscall.bytes();
    (is_it && !prefix).then(|| Displacement {
        kind: SiteKind::Syscall,
        room: Room::Long,
        at: start + first,
        leads: JUMP_LEN,
        original: bytes.into(),
        function: start + first..end,
    })
}

/// An instruction of a swept function.
struct Step {
    at: usize,
    len: usize,
    kind: Option<SiteKind>,
    can_move: bool,
}

/// A function from its first byte to its last.
pub struct Sweep<'a> {
    code: &'a [u8],
    start: usize,
    steps: Vec<Step>,
    /// Where branches and relative operands of the function lead, sorted.
    targets: Vec<usize>,
    has_jump_table: bool,
}

/// Whether an instruction does the same at another place, once an operand relative to its own is set right.
fn can_move(i: &Instruction) -> bool {
    let by_eip = (0..i.op_count()).any(|op| i.op_kind(op) == OpKind::Memory) && i.memory_base() == Register::EIP;
    i.flow_control() == FlowControl::Next && SiteKind::of(i).is_none() && !by_eip
}

impl<'a> Sweep<'a> {
    /// Looks through the function whose bytes are `code`, at the offset `start` of its text. `None` if it is too large, has an
    /// invalid instruction, or does not end with an instruction's last byte.
    pub fn of(code: &'a [u8], start: usize) -> Option<Self> {
        if code.len() > FUNCTION_MAX {
            return None;
        }
        let mut sweep = Sweep { code, start, steps: Vec::new(), targets: Vec::new(), has_jump_table: false };
        let mut decoder = Decoder::with_ip(64, code, start as u64, DecoderOptions::NONE);
        let mut i = Instruction::default();
        while decoder.can_decode() {
            decoder.decode_out(&mut i);
            if i.is_invalid() {
                return None;
            }
            match i.flow_control() {
                FlowControl::IndirectBranch => sweep.has_jump_table = true,
                FlowControl::ConditionalBranch
                | FlowControl::UnconditionalBranch
                | FlowControl::Call
                | FlowControl::XbeginXabortXend => sweep.targets.push(i.near_branch_target() as usize),
                _ if i.is_ip_rel_memory_operand() => sweep.targets.push(i.ip_rel_memory_address() as usize),
                _ => {}
            }
            let (at, kind) = (i.ip() as usize, SiteKind::of(&i));
            sweep.steps.push(Step { at, len: i.len(), kind, can_move: can_move(&i) });
        }
        sweep.targets.sort_unstable();
        (decoder.position() == code.len()).then_some(sweep)
    }

    /// The sites of a kind in the function.
    pub fn sites(&self, kind: SiteKind) -> impl Iterator<Item = usize> {
        self.steps.iter().filter(move |s| s.kind == Some(kind)).map(|s| s.at)
    }

    /// How the site at the offset `site` of the text can be displaced, if it can.
    pub fn displacement(&self, site: usize) -> Option<Displacement> {
        let index = self.steps.binary_search_by_key(&site, |s| s.at).ok()?;
        let kind = self.steps[index].kind?;
        let line = self.steps[..index].iter().rev();
        let leads: Vec<&Step> = line.take_while(|s| s.can_move && site - s.at <= LEADS_MAX).collect();
        let safe = |s: &&&Step| self.safe_room(s, site).is_some();
        let all_come_by = |s: &&&Step| !self.is_target(s.at + 1..site + 1);
        let several =
            |s: &&&Step| site - s.at >= JUMP_LEN && !self.has_jump_table && !self.is_target(s.at + 1..s.at + JUMP_LEN);
        // Best is a jump that cannot be in anybody's way and that every call comes by.
        let (first, room) = (leads.iter().find(|s| safe(s) && all_come_by(s)).map(|s| (s, None)))
            .or_else(|| leads.iter().find(|s| several(s) && all_come_by(s)).map(|s| (s, Some(Room::Several))))
            .or_else(|| leads.iter().find(safe).map(|s| (s, None)))?;
        let room = room.or_else(|| self.safe_room(first, site))?;
        let at = first.at - self.start;
        let original = self.code.get(at..site - self.start + SITE_LEN)?;
        let function = self.start..self.start + self.code.len();
        Some(Displacement { kind, room, at: first.at, leads: site - first.at, original: original.into(), function })
    }

    /// How there is room at an instruction in front of `site` without covering the start of another.
    fn safe_room(&self, step: &Step, site: usize) -> Option<Room> {
        if step.len >= JUMP_LEN {
            return Some(Room::Long);
        }
        let behind = self.code.get(step.at - self.start + step.len..)?;
        (step.len == 2 && step.at + step.len == site && behind.starts_with(&PUN)).then_some(Room::Punned)
    }

    fn is_target(&self, places: Range<usize>) -> bool {
        let first = self.targets.partition_point(|&t| t < places.start);
        self.targets.get(first).is_some_and(|t| places.contains(t))
    }
}

/// Whether anything in a text but their function, which a sweep has seen, could be a branch to one of these places or take
/// its address: four bytes anywhere, or a short branch, whose displacement leads there. Says yes more often than is true.
pub fn is_referred_to(text: &[u8], places: &Range<usize>, function: &Range<usize>) -> bool {
    let long_leads_there = |start: usize, part: &[u8]| {
        part.windows(4).enumerate().any(|(at, bytes)| {
            let displacement = i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            places.contains(&(start + at + 4).wrapping_add_signed(displacement as isize))
        })
    };
    let is_short = |opcode: u8| matches!(opcode, 0x70..=0x7f | 0xe0..=0xe3 | 0xeb);
    let short_leads_there = |at: usize| {
        let target = |displacement: u8| (at + 2).wrapping_add_signed(displacement as i8 as isize);
        matches!(text.get(at..at + 2), Some(&[opcode, d]) if is_short(opcode) && places.contains(&target(d)))
    };
    let (before, behind) = (text.get(..function.start), text.get(function.end..));
    let near = places.start.saturating_sub(130)..places.end + 130;
    before.is_none_or(|part| long_leads_there(0, part))
        || behind.is_none_or(|part| long_leads_there(function.end, part))
        || near.filter(|at| !function.contains(at)).any(short_leads_there)
}

/// Copies leads from the offset `from` to `to`, so that they do there what they do here. `None` if an operand is out of reach.
pub fn move_leads(leads: &[u8], from: usize, to: usize, out: &mut [u8]) -> Option<()> {
    out.get_mut(..leads.len())?.copy_from_slice(leads);
    let mut decoder = Decoder::with_ip(64, leads, from as u64, DecoderOptions::NONE);
    let mut i = Instruction::default();
    while decoder.can_decode() {
        let at = decoder.position();
        decoder.decode_out(&mut i);
        if i.is_invalid() {
            return None;
        }
        if !i.is_ip_rel_memory_operand() {
            continue;
        }
        let field = decoder.get_constant_offsets(&i);
        if field.displacement_size() != 4 {
            return None;
        }
        let next = to + at + i.len();
        let distance = (i.ip_rel_memory_address() as i64).wrapping_sub(next as i64);
        let start = at + field.displacement_offset();
        out[start..start + 4].copy_from_slice(&i32::try_from(distance).ok()?.to_le_bytes());
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const SYSCALL: [u8; 2] = [0x0f, 0x05];

    fn only_site(code: &[u8]) -> Option<Displacement> {
        let sweep = Sweep::of(code, 0x1000)?;
        let site = sweep.sites(SiteKind::Syscall).chain(sweep.sites(SiteKind::Cpuid)).next()?;
        sweep.displacement(site)
    }

    fn shape(code: &[u8]) -> Option<(Room, usize, usize)> {
        only_site(code).map(|d| (d.room, d.at - 0x1000, d.leads))
    }

    #[test]
    fn a_trapped_number_proves_the_plain_shape() {
        let code = [0xc3, 0xb8, 39, 0, 0, 0, 0x0f, 0x05];
        let d = plain(&code, 100, 108, 39).unwrap();
        assert_eq!((d.at, d.leads, d.room), (101, 5, Room::Long));
        assert_eq!(d.replaced(), [0xb8, 39, 0, 0, 0]);
        assert_eq!(plain(&code, 100, 108, 40), None);
        assert_eq!(plain(&[0x41, 0xb8, 39, 0, 0, 0, 0x0f, 0x05], 100, 108, 39), None, "mov $39, %r8d");
        assert_eq!(plain(&code[1..], 101, 108, 39), None, "what is before it is not known");
        assert_eq!(plain(&code, 100, 7, 39), None);
    }

    #[test]
    fn one_long_instruction_makes_room() {
        // mov $4, %eax; xor %ecx, %ecx; cpuid; ret
        assert_eq!(shape(&[0xb8, 4, 0, 0, 0, 0x31, 0xc9, 0x0f, 0xa2, 0xc3]), Some((Room::Long, 0, 7)));
        // mov %r11, 8(%rsp); syscall; ret (musl)
        assert_eq!(shape(&[0x4c, 0x89, 0x5c, 0x24, 8, 0x0f, 0x05, 0xc3]), Some((Room::Long, 0, 5)));
    }

    #[test]
    fn two_bytes_make_room_before_a_wide_instruction() {
        let read = [0x31, 0xc0, 0x0f, 0x05, 0x48, 0x3d, 0, 0xf0, 0xff, 0xff, 0xc3];
        let d = only_site(&read).unwrap();
        assert_eq!((d.room, d.at, d.leads), (Room::Punned, 0x1000, 2));
        assert_eq!(d.replaced(), read[..5]);
        assert_eq!(shape(&[0x31, 0xc0, 0x0f, 0x05, 0xc3]), None);
        // The jump may be skipped by another branch: the site traps then, and is patched all the same.
        let skipped = [&read[..10], &[0xeb, 0xf6, 0xc3]].concat();
        assert_eq!(shape(&skipped), Some((Room::Punned, 0, 2)));
    }

    #[test]
    fn several_instructions_make_room_unless_one_is_jumped_to() {
        // mov %r12d, %eax; mov %esi, %ecx; cpuid; dec %edi
        let body = [0x44, 0x89, 0xe0, 0x89, 0xf1, 0x0f, 0xa2, 0xff, 0xcf];
        let with = |end: &[u8]| shape(&[&body, end].concat());
        assert_eq!(with(&[0xc3]), Some((Room::Several, 0, 5)));
        assert_eq!(with(&[0x75, 0xf5, 0xc3]), Some((Room::Several, 0, 5)), "back to the first");
        assert_eq!(with(&[0x75, 0xf8, 0xc3]), None, "back to the second");
        assert_eq!(with(&[0xff, 0xe0]), None, "a jump that may lead anywhere");
        assert_eq!(with(&[0x48, 0x8d, 0x05, 0xf3, 0xff, 0xff, 0xff, 0xc3]), None, "the second's address is taken");
    }

    #[test]
    fn leads_are_one_straight_line() {
        // mov $39, %eax; jc +0; syscall
        assert_eq!(shape(&[0xb8, 39, 0, 0, 0, 0x72, 0, 0x0f, 0x05, 0xc3]), None);
        // mov $39, %eax; syscall; syscall: the second has no leads.
        let code = [0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0x0f, 0x05, 0xc3];
        let sweep = Sweep::of(&code, 0).unwrap();
        assert_eq!(sweep.sites(SiteKind::Syscall).collect::<Vec<_>>(), [5, 7]);
        assert!(sweep.displacement(5).is_some() && sweep.displacement(7).is_none());
        assert!(sweep.displacement(6).is_none() && sweep.displacement(99).is_none());
    }

    #[test]
    fn what_is_no_function_is_refused() {
        assert!(Sweep::of(&[0x06, 0xc3], 0).is_none(), "no instruction of 64-bit code");
        assert!(Sweep::of(&[0xb8, 1, 0], 0).is_none(), "cut off");
        assert!(Sweep::of(&vec![0x90; FUNCTION_MAX + 1], 0).is_none());
        assert!(Sweep::of(&[], 0).is_some_and(|s| s.displacement(0).is_none()));
    }

    #[test]
    fn any_function_of_random_bytes_is_survived() {
        let mut seed = 7u64;
        for _ in 0..20_000 {
            let code: Vec<u8> = (0..24)
                .map(|_| {
                    seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    if seed >> 63 == 0 { SYSCALL[(seed >> 62 & 1) as usize] } else { (seed >> 40) as u8 }
                })
                .collect();
            let Some(sweep) = Sweep::of(&code, 0x1000) else { continue };
            for site in sweep.sites(SiteKind::Syscall).collect::<Vec<_>>() {
                let Some(d) = sweep.displacement(site) else { continue };
                assert_eq!(d.original[d.leads..], SYSCALL);
                assert!(d.leads >= 2 && d.site() == site);
            }
        }
    }

    #[test]
    fn references_of_every_kind_are_seen() {
        let text = |bytes: &[u8]| [&[0x90; 200], bytes, &[0x90; 200]].concat();
        let (places, function) = (150..154, 140..160);
        let is_referred_to = |text: &[u8], places| super::is_referred_to(text, places, &function);
        assert!(!is_referred_to(&text(&[]), &places));
        assert!(is_referred_to(&text(&[0xeb, (-50i8) as u8]), &places), "jmp to 152");
        assert!(!is_referred_to(&text(&[0xeb, (-53i8) as u8]), &places), "jmp to 149");
        let mut inside = text(&[]);
        inside[156..158].copy_from_slice(&[0xeb, (-6i8) as u8]);
        assert!(!is_referred_to(&inside, &places), "the sweep of the function sees its branches");
        let far = i32::to_le_bytes(152 - 207);
        assert!(is_referred_to(&text(&[&[0x48, 0x8d, 0x05], &far[..]].concat()), &places), "lea");
        assert!(is_referred_to(&[0x90; 20], &places), "no such function");
    }

    #[test]
    fn moved_leads_mean_the_same_place() {
        // mov %ebx, 0x100(%rip); mov %edi, %ecx
        let leads = [0x89, 0x1d, 0, 1, 0, 0, 0x89, 0xf9];
        let mut out = [0u8; 16];
        move_leads(&leads, 0x5000, 0x4800_0000, &mut out).unwrap();
        let displacement = i32::from_le_bytes(out[2..6].try_into().unwrap());
        assert_eq!(0x4800_0006i64 + i64::from(displacement), 0x5000 + 6 + 0x100);
        assert_eq!((&out[..2], &out[6..8]), (&leads[..2], &leads[6..]));
        assert_eq!(move_leads(&leads, 0x5000, 1 << 33, &mut out), None);
    }
}
