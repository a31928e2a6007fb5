//! The signal frame on the guest's stack, as x86-64 Linux lays it out (`struct rt_sigframe`).
//!
//! From high addresses to low: the interrupted stack and its red zone (or the top of the alternate stack), the vector
//! state in standard XSAVE format (64-byte aligned, followed by a magic word), then the frame itself: return address
//! (`sa_restorer`), `ucontext`, `siginfo`. At the handler's entry the stack pointer is 8 below a multiple of 16, as after
//! a call. The handler starts with initial vector state, as on Linux: what was there is in the frame.

use super::action::{ActionFlags, SigAction};
use super::altstack::{AltStack, StackT};
use super::info::SigInfo;
use super::number::{SigSet, Signal};
use super::send;
use crate::abi::{SigContext, USER_ADDRESS_END};
use crate::arch::frame::{FLAG_DF, FLAG_RF, FLAG_TF, FLAGS_SETTABLE, TrapFrame, USER_CS, USER_SS};
use crate::arch::xstate;
use crate::error::{Errno, Result};
use crate::host::AlignedBuffer;
use crate::mm::{UserPtr, UserSlice};
use crate::task::Thread;
use core::mem::offset_of;

/// Bytes below the stack pointer that a function may use without moving it (x86-64 psABI 3.2.2).
const RED_ZONE: u64 = 128;
/// `uc_flags`: the frame has XSAVE state.
const UC_FP_XSTATE: u64 = 1;
/// `uc_flags`: `ss` is saved, and restored strictly.
const UC_SIGCONTEXT_SS: u64 = 2;
const UC_STRICT_RESTORE_SS: u64 = 4;
const FP_XSTATE_MAGIC1: u32 = 0x4650_5853;
const FP_XSTATE_MAGIC2: u32 = 0x4650_5845;
/// Bytes of the legacy (FXSAVE) area, and where its software-reserved part starts.
const LEGACY_SIZE: usize = 512;
const SW_RESERVED: usize = 464;
const XSAVE_HEADER: usize = 64;
/// XSAVE components of the legacy area: x87 and SSE.
const LEGACY_COMPONENTS: u64 = 3;

/// `struct rt_sigframe`: return address, `ucontext`, `siginfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RtSigFrame {
    pretcode: u64,
    uc_flags: u64,
    uc_link: u64,
    uc_stack: StackT,
    uc_mcontext: SigContext,
    uc_sigmask: u64,
    info: SigInfo,
}

/// Where `ucontext` starts.
const UC_OFFSET: u64 = offset_of!(RtSigFrame, uc_flags) as u64;

/// `struct _fpx_sw_bytes`: tells that XSAVE state follows the legacy area.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct FpxSwBytes {
    magic1: u32,
    extended_size: u32,
    xfeatures: u64,
    xstate_size: u32,
    padding: [u32; 7],
}

/// Most bytes that a frame takes, for AT_MINSIGSTKSZ and sigaltstack(2).
pub fn max_frame_size() -> u64 {
    (size_of::<RtSigFrame>() + xstate::layout().size + 4 + 64 + 16) as u64
}

/// Where the parts of a frame go: the vector state, and the frame. `None` if an alternate stack is too small for them.
fn place(sp: u64, altstack: &AltStack, use_altstack: bool, xstate_size: u64) -> Option<(u64, u64)> {
    let mut top = sp.wrapping_sub(RED_ZONE);
    let nested = altstack.in_use(top);
    let mut entering = false;
    if use_altstack && altstack.exists() && !altstack.in_use(sp) {
        top = altstack.top();
        entering = true;
    }
    let fpstate = top.wrapping_sub(xstate_size + 4) & !63;
    let frame = (fpstate.wrapping_sub(size_of::<RtSigFrame>() as u64) & !15).wrapping_sub(8);
    if (nested || entering) && !altstack.contains(frame) {
        return None;
    }
    Some((fpstate, frame))
}

/// Builds the frame and points the registers at the handler. `mask` is what the handler's return restores; `trap` is
/// trap number, error code and address of the last fault. EFAULT if the stack is not there.
pub(super) fn build(
    t: &Thread,
    regs: &mut TrapFrame,
    signal: Signal,
    info: &SigInfo,
    action: &SigAction,
    mask: SigSet,
    trap: (u64, u64, u64),
) -> Result<()> {
    if !action.flags().contains(ActionFlags::RESTORER) {
        return Err(Errno::EFAULT.because("x86-64 needs SA_RESTORER"));
    }
    let altstack = t.signals.altstack();
    let layout = xstate::layout();
    let use_altstack = action.flags().contains(ActionFlags::ONSTACK);
    let (fpstate, at) = place(regs.rsp, &altstack, use_altstack, layout.size as u64)
        .ok_or_else(|| Errno::EFAULT.because("the alternate stack is full"))?;
    write_vectors(regs, fpstate)?;
    let frame = RtSigFrame {
        pretcode: action.restorer,
        uc_flags: UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
        uc_link: 0,
        uc_stack: altstack.report(regs.rsp),
        uc_mcontext: context_of(regs, mask, trap, fpstate),
        uc_sigmask: mask.0,
        info: *info,
    };
    UserPtr::<RtSigFrame>::new(at as usize).write(frame)?;
    if altstack.autodisarm() {
        t.signals.set_altstack(AltStack::NONE);
    }
    regs.rdi = signal.number() as u64;
    regs.rsi = at + offset_of!(RtSigFrame, info) as u64;
    regs.rdx = at + UC_OFFSET;
    regs.rax = 0;
    regs.rip = action.handler;
    regs.rsp = at;
    regs.cs = USER_CS;
    regs.ss = USER_SS;
    regs.rflags &= !(FLAG_DF | FLAG_RF | FLAG_TF);
    regs.orig_rax = u64::MAX;
    regs.full = 1;
    xstate::reset(regs);
    Ok(())
}

fn write_vectors(regs: &TrapFrame, fpstate: u64) -> Result<()> {
    let layout = xstate::layout();
    let mut area = xstate::capture(regs);
    let sw = FpxSwBytes {
        magic1: FP_XSTATE_MAGIC1,
        extended_size: layout.size as u32 + 4,
        xfeatures: layout.mask,
        xstate_size: layout.size as u32,
        padding: [0; 7],
    };
    area.bytes_mut()[SW_RESERVED..LEGACY_SIZE].fill(0);
    UserSlice::new(fpstate as usize, layout.size).write(area.bytes())?;
    UserPtr::<FpxSwBytes>::new(fpstate as usize + SW_RESERVED).write(sw)?;
    UserPtr::<u32>::new(fpstate as usize + layout.size).write(FP_XSTATE_MAGIC2)
}

fn context_of(regs: &TrapFrame, mask: SigSet, trap: (u64, u64, u64), fpstate: u64) -> SigContext {
    SigContext { trapno: trap.0, err: trap.1, oldmask: mask.0, cr2: trap.2, fpstate, ..regs.to_context() }
}

/// rt_sigreturn(2): takes mask, registers, vector state and alternate stack from the frame that the handler leaves.
/// Returns rax, which the caller leaves in place. EFAULT if the frame is not there or cannot be used.
pub(crate) fn restore(t: &Thread) -> Result<usize> {
    let at = t.context.with_frame(|f| f.rsp).wrapping_sub(8) as usize;
    let frame = UserPtr::<RtSigFrame>::new(at).read()?;
    let cx = frame.uc_mcontext;
    if cx.rip as usize >= USER_ADDRESS_END {
        return Err(Errno::EFAULT.because("the frame's instruction pointer is no user address"));
    }
    let vectors = read_vectors(cx.fpstate)?;
    send::set_blocked(t, SigSet(frame.uc_sigmask));
    t.context.with_frame(|regs| {
        match vectors {
            Some((mut area, present)) => xstate::restore(&mut area, present, regs),
            None => xstate::reset(regs),
        }
        load(regs, &cx);
    });
    // As Linux, which takes any error but a fault for "leave it as it is".
    if let Ok(stack) = AltStack::from_request(frame.uc_stack, 0)
        && !t.signals.altstack().in_use(cx.rsp)
    {
        t.signals.set_altstack(stack);
    }
    Ok(cx.rax as usize)
}

fn load(regs: &mut TrapFrame, cx: &SigContext) {
    regs.load_registers(cx);
    regs.rflags = (regs.rflags & !FLAGS_SETTABLE) | (cx.eflags & FLAGS_SETTABLE);
}

/// The vector state at `fpstate` and the components that it holds; `None` for a NULL pointer, which means initial state.
fn read_vectors(fpstate: u64) -> Result<Option<(AlignedBuffer, u64)>> {
    if fpstate == 0 {
        return Ok(None);
    }
    let layout = xstate::layout();
    let mut area = AlignedBuffer::zeroed(layout.size, 64);
    let sw = UserPtr::<FpxSwBytes>::new(fpstate as usize + SW_RESERVED).read()?;
    let size = sw.xstate_size as usize;
    let sensible = sw.magic1 == FP_XSTATE_MAGIC1
        && (LEGACY_SIZE + XSAVE_HEADER..=layout.size).contains(&size)
        && size <= sw.extended_size as usize
        && UserPtr::<u32>::new(fpstate as usize + size).read()? == FP_XSTATE_MAGIC2;
    if sensible {
        UserSlice::new(fpstate as usize, size).read(&mut area.bytes_mut()[..size])?;
        return Ok(Some((area, sw.xfeatures & layout.mask)));
    }
    UserSlice::new(fpstate as usize, LEGACY_SIZE).read(&mut area.bytes_mut()[..LEGACY_SIZE])?;
    area.bytes_mut()[LEGACY_SIZE..LEGACY_SIZE + 8].copy_from_slice(&LEGACY_COMPONENTS.to_le_bytes());
    Ok(Some((area, LEGACY_COMPONENTS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_that_of_linux() {
        // ucontext: flags, link, stack_t (24), sigcontext (256), sigset.
        assert_eq!(offset_of!(RtSigFrame, uc_mcontext) as u64 - UC_OFFSET, 40);
        assert_eq!(offset_of!(RtSigFrame, uc_sigmask) as u64 - UC_OFFSET, 296);
        assert_eq!(offset_of!(RtSigFrame, info), 312);
        assert_eq!(size_of::<RtSigFrame>(), 440);
        assert_eq!(size_of::<FpxSwBytes>(), LEGACY_SIZE - SW_RESERVED);
    }

    #[test]
    fn a_frame_skips_the_red_zone_and_is_aligned_as_after_a_call() {
        for sp in [0x7fff_0000u64, 0x7fff_0008, 0x7fff_0fff] {
            let (fpstate, frame) = place(sp, &AltStack::NONE, true, 2440).unwrap();
            assert_eq!(fpstate % 64, 0);
            assert_eq!((frame + 8) % 16, 0);
            assert!(fpstate + 2440 + 4 <= sp - 128 && frame + 440 <= fpstate);
        }
    }

    #[test]
    fn an_alternate_stack_is_used_once_and_never_overrun() {
        let request = StackT { sp: 0x10000, size: 0x4000, ..StackT::default() };
        let alt = AltStack::from_request(request, 0).unwrap();
        let (_, first) = place(0x7fff_0000, &alt, true, 2440).unwrap();
        assert!((0x10000..0x14000).contains(&first));
        let (_, nested) = place(first, &alt, true, 2440).unwrap();
        assert!(nested < first && nested > 0x10000);
        assert!(place(0x10400, &alt, true, 2440).is_none());
        let (_, plain) = place(0x7fff_0000, &alt, false, 2440).unwrap();
        assert!(plain > 0x14000);
    }
}
