//! The initial stack of a program: arguments, environment, auxiliary vector (System V ABI, "Process Initialization").

use crate::abi::PAGE_SIZE;
use crate::abi::auxvec as at;
use crate::error::{Errno, Result};
use crate::host::Prot;
use crate::mm::spare::Key;
use crate::mm::{Backing, MapRequest, Mm, Placement, ProgramLayout, UserPtr, VmFlags, Zone, user, window};
use alloc::vec::Vec;

/// Longest single argument or environment string (MAX_ARG_STRLEN).
pub const ARG_MAX: usize = 32 * PAGE_SIZE;
/// Bytes below the stack that stay inaccessible.
const STACK_GUARD: usize = 1 << 20;
/// Stack where RLIMIT_STACK is unlimited or silly.
const STACK_MAX: usize = 64 << 20;
/// What is populated below the strings: programs start with about so much.
const FIRST_USE: usize = 8 * PAGE_SIZE;
const STACK_MIN: usize = 128 << 10;

/// What the auxiliary vector tells the program besides addresses on the stack.
pub struct AuxInfo {
    /// Program headers: address, number.
    pub phdr: (usize, usize),
    /// Where the interpreter lies; 0 without one.
    pub base: usize,
    /// The program's own entry.
    pub entry: usize,
    /// Real and effective user, real and effective group.
    pub ids: [u32; 4],
    /// AT_HWCAP, AT_HWCAP2.
    pub hwcaps: (usize, usize),
    /// Where the vDSO lies; 0 without one.
    pub vdso: usize,
    /// Least size of an alternate signal stack.
    pub min_signal_stack: usize,
    /// 16 random bytes.
    pub random: [u8; 16],
    /// Whether the program runs with more rights than its starter (AT_SECURE).
    pub secure: bool,
}

/// The stack as it was built.
pub struct Built {
    /// Initial stack pointer.
    pub sp: usize,
    /// Where arguments and environment lie.
    pub layout: ProgramLayout,
    /// The auxiliary vector.
    pub auxv: Vec<u64>,
}

/// Maps a stack of `size` bytes, or takes one that another program has left; returns its top.
fn map_stack(mm: &Mm, size: usize) -> Result<usize> {
    let key = Key::Stack(size);
    if let Some(range) = mm.adopt(&key) {
        return Ok(range.end);
    }
    let low = mm.map(MapRequest {
        len: size + STACK_GUARD,
        placement: Placement::Hint(0),
        prot: Prot::empty(),
        flags: VmFlags::NORESERVE,
        backing: Backing::Anonymous,
        name: "",
        zone: Zone::Data,
    })?;
    let bottom = low + STACK_GUARD;
    mm.map(MapRequest {
        len: size,
        placement: Placement::Fixed(bottom),
        prot: Prot::READ | Prot::WRITE,
        flags: VmFlags::STACK | VmFlags::NORESERVE,
        backing: Backing::Anonymous,
        name: "[stack]",
        zone: Zone::Data,
    })?;
    mm.note_part(key, low..bottom + size);
    Ok(bottom + size)
}

/// Maps a stack of `limit` bytes (RLIMIT_STACK) into `mm` and fills it. E2BIG if the strings take more than a quarter of
/// it.
pub fn build(mm: &Mm, argv: &[Vec<u8>], envp: &[Vec<u8>], name: &[u8], limit: u64, aux: &AuxInfo) -> Result<Built> {
    let size = usize::try_from(limit).unwrap_or(STACK_MAX).clamp(STACK_MIN, STACK_MAX) & !(PAGE_SIZE - 1);
    let strings: usize = argv.iter().chain(envp).map(|s| s.len() + 1 + 8).sum();
    if strings > (size / 4).max(ARG_MAX) {
        return Err(Errno::E2BIG.because("arguments and environment are larger than a quarter of the stack"));
    }
    let top = map_stack(mm, size)?;
    let words = argv.len() + envp.len() + 64;
    let used = (strings + name.len() + 8 * words + 4096).next_multiple_of(PAGE_SIZE);
    let first = top - (used + FIRST_USE).min(size)..top;
    // A stack that another program has used has memory already.
    if !window::get().is_some_and(|w| w.is_populated(first.start)) {
        mm.populate(first)?;
    }

    let mut sp = top - 8;
    let mut push_bytes = |bytes: &[u8]| -> Result<usize> {
        sp -= bytes.len() + 1;
        user::copy_to_user(sp, bytes)?;
        user::copy_to_user(sp + bytes.len(), &[0])?;
        Ok(sp)
    };
    let execfn = push_bytes(name)?;
    let env_end = execfn;
    // Pushed from the last to the first, so that they lie in order, as /proc/<pid>/cmdline wants them.
    let mut env_at = envp.iter().rev().map(|s| push_bytes(s)).collect::<Result<Vec<_>>>()?;
    env_at.reverse();
    let env_start = env_at.first().copied().unwrap_or(env_end);
    let mut arg_at = argv.iter().rev().map(|s| push_bytes(s)).collect::<Result<Vec<_>>>()?;
    arg_at.reverse();
    let arg_start = arg_at.first().copied().unwrap_or(env_start);
    let platform = push_bytes(b"x86_64")?;
    sp = (sp - 16) & !15;
    let random = sp;
    user::copy_to_user(random, &aux.random)?;

    let auxv: Vec<u64> = [
        (at::AT_SYSINFO_EHDR, aux.vdso),
        (at::AT_HWCAP, aux.hwcaps.0),
        (at::AT_PAGESZ, PAGE_SIZE),
        (at::AT_CLKTCK, 100),
        (at::AT_PHDR, aux.phdr.0),
        (at::AT_PHENT, 56),
        (at::AT_PHNUM, aux.phdr.1),
        (at::AT_BASE, aux.base),
        (at::AT_FLAGS, 0),
        (at::AT_ENTRY, aux.entry),
        (at::AT_UID, aux.ids[0] as usize),
        (at::AT_EUID, aux.ids[1] as usize),
        (at::AT_GID, aux.ids[2] as usize),
        (at::AT_EGID, aux.ids[3] as usize),
        (at::AT_SECURE, usize::from(aux.secure)),
        (at::AT_RANDOM, random),
        (at::AT_HWCAP2, aux.hwcaps.1),
        (at::AT_EXECFN, execfn),
        (at::AT_PLATFORM, platform),
        (at::AT_MINSIGSTKSZ, aux.min_signal_stack),
        (at::AT_NULL, 0),
    ]
    .into_iter()
    .filter(|&(key, value)| key != at::AT_SYSINFO_EHDR || value != 0)
    .flat_map(|(key, value)| [u64::from(key), value as u64])
    .collect();

    let mut block: Vec<u64> = Vec::with_capacity(words);
    block.push(argv.len() as u64);
    block.extend(arg_at.iter().map(|&a| a as u64));
    block.push(0);
    block.extend(env_at.iter().map(|&a| a as u64));
    block.push(0);
    block.extend(&auxv);
    sp = (sp - 8 * block.len()) & !15;
    UserPtr::<u64>::new(sp).write_many(&block)?;
    let layout = ProgramLayout {
        arg_start,
        arg_end: env_start,
        env_start,
        env_end,
        start_stack: sp,
        ..ProgramLayout::default()
    };
    Ok(Built { sp, layout, auxv })
}
