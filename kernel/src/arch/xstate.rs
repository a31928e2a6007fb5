//! Vector and floating-point state: all XSAVE components that the host enables but AMX, which is never granted.

use super::frame::TrapFrame;
use crate::host::AlignedBuffer;
use crate::sync::Once;
use core::arch::asm;
use core::arch::x86_64::{__cpuid_count, _xgetbv};

/// XSAVE components that a guest never gets: AMX tile configuration and data.
const AMX: u64 = 3 << 17;
/// The SSE component (xmm0–15 and MXCSR).
const SSE: u64 = 1 << 1;
/// Where xmm0–15 stand in an XSAVE area (Intel SDM vol. 1, 13.4.2).
const XMM_OFFSET: usize = 160;
/// Where the XSAVE header stands.
const HEADER_OFFSET: usize = 512;
/// Bit of XCOMP_BV that marks the compacted format.
const COMPACTED: u64 = 1 << 63;
/// Where MXCSR stands.
const MXCSR_OFFSET: usize = 24;
/// Bits of MXCSR that every processor since SSE2 has.
const MXCSR_MASK: u32 = 0xffff;

/// The layout that this processor uses.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Components that are saved and restored.
    pub mask: u64,
    /// Bytes of a standard-format area of these components, as a signal frame holds it.
    pub size: usize,
}

static LAYOUT: Once<Layout> = Once::new();

/// The components in use and the size of their save area.
pub fn layout() -> Layout {
    *LAYOUT.call_once(|| {
        // SAFETY: every x86-64 host that has FSGSBASE (checked at boot) has XSAVE, and Linux enables it.
        let enabled = unsafe { _xgetbv(0) };
        let mask = enabled & !AMX;
        let mut size = HEADER_OFFSET + 64;
        for component in 2..63u32 {
            if mask & (1 << component) != 0 {
                let leaf = __cpuid_count(0xd, component);
                size = size.max((leaf.ebx + leaf.eax) as usize);
            }
        }
        Layout { mask, size }
    })
}

/// Least size of a signal stack that takes a frame with all components (AT_MINSIGSTKSZ).
pub fn min_signal_stack() -> usize {
    // The frame beside the vector state, alignment, the red zone and the return address, rounded up as Linux does.
    (layout().size + 1024).next_multiple_of(64)
}

/// A save area in compacted format.
pub struct VectorState {
    area: AlignedBuffer,
}

impl VectorState {
    /// The state after a reset: all components in their initial configuration.
    pub fn initial() -> Self {
        let layout = layout();
        let mut area = AlignedBuffer::zeroed(layout.size, 64);
        area.bytes_mut()[HEADER_OFFSET + 8..HEADER_OFFSET + 16]
            .copy_from_slice(&(layout.mask | COMPACTED).to_le_bytes());
        VectorState { area }
    }

    /// Saves what is in the registers.
    pub fn save(&mut self) {
        let mask = layout().mask;
        // SAFETY: the area is 64-byte aligned and as large as the components of the mask need.
        unsafe {
            asm!("xsavec64 [{}]", in(reg) self.area.bytes_mut().as_mut_ptr(),
                in("eax") mask as u32, in("edx") (mask >> 32) as u32, options(nostack));
        }
    }

    /// Loads the registers.
    pub fn load(&self) {
        let mask = layout().mask;
        // SAFETY: the area was made by `initial` or `save`, so its header is valid for the mask.
        unsafe {
            asm!("xrstor64 [{}]", in(reg) self.area.bytes().as_ptr(),
                in("eax") mask as u32, in("edx") (mask >> 32) as u32, options(nostack));
        }
    }
}

/// The running thread's whole vector state in standard format, as a signal frame shows it. xmm0–15 come from `frame`.
pub fn capture(frame: &TrapFrame) -> AlignedBuffer {
    let layout = layout();
    let mut area = AlignedBuffer::zeroed(layout.size, 64);
    // SAFETY: the area is 64-byte aligned and as large as the components of the mask need.
    unsafe {
        asm!("xsave64 [{}]", in(reg) area.bytes_mut().as_mut_ptr(),
            in("eax") layout.mask as u32, in("edx") (layout.mask >> 32) as u32, options(nostack));
    }
    let bytes = area.bytes_mut();
    for (i, xmm) in frame.xmm.iter().enumerate() {
        bytes[XMM_OFFSET + 16 * i..XMM_OFFSET + 16 * (i + 1)].copy_from_slice(&xmm.to_le_bytes());
    }
    let mut in_use = u64::from_le_bytes(bytes[HEADER_OFFSET..HEADER_OFFSET + 8].try_into().unwrap_or_default());
    in_use |= SSE;
    bytes[HEADER_OFFSET..HEADER_OFFSET + 8].copy_from_slice(&in_use.to_le_bytes());
    area
}

/// Loads the running thread's vector state from a standard-format area that a guest may have written: what would fault
/// is cut off. `present` limits the components that the area holds; the others are reset.
pub fn restore(area: &mut AlignedBuffer, present: u64, frame: &mut TrapFrame) {
    let layout = layout();
    let bytes = area.bytes_mut();
    if bytes.len() < layout.size {
        return;
    }
    let field = |b: &[u8], at: usize| u64::from_le_bytes(b[at..at + 8].try_into().unwrap_or_default());
    let in_use = field(bytes, HEADER_OFFSET) & layout.mask & present;
    bytes[HEADER_OFFSET..HEADER_OFFSET + 64].fill(0);
    bytes[HEADER_OFFSET..HEADER_OFFSET + 8].copy_from_slice(&in_use.to_le_bytes());
    let mut mxcsr = u32::from_le_bytes(bytes[MXCSR_OFFSET..MXCSR_OFFSET + 4].try_into().unwrap_or_default());
    mxcsr &= MXCSR_MASK;
    bytes[MXCSR_OFFSET..MXCSR_OFFSET + 4].copy_from_slice(&mxcsr.to_le_bytes());
    for (i, xmm) in frame.xmm.iter_mut().enumerate() {
        let at = XMM_OFFSET + 16 * i;
        let value = u128::from_le_bytes(bytes[at..at + 16].try_into().unwrap_or_default());
        *xmm = if in_use & SSE != 0 { value } else { 0 };
    }
    // SAFETY: the header now names known components only, its reserved bytes are zero and MXCSR has no reserved bit.
    unsafe {
        asm!("xrstor64 [{}]", in(reg) bytes.as_ptr(),
            in("eax") layout.mask as u32, in("edx") (layout.mask >> 32) as u32, options(nostack));
    }
}

/// Resets the running thread's vector state (execve(2)).
pub fn reset(frame: &mut TrapFrame) {
    frame.xmm = [0; 16];
    VectorState::initial().load();
}
