//! Hints to the processor about the lines that a frame will need.
//!
//! What crosses from one processor to the other is a line at a time, 40 to 150 ns each, and a short frame is five of them, one
//! behind the other: the index says that there is an entry, the entry names a descriptor, the descriptor a buffer. Lines that can
//! be guessed are asked for while the ones before them are under way; those that will be written next are asked for when there is time.
//! A hint changes nothing, whatever it names: guesses come from what was seen before, and may be wrong.

use core::arch::asm;
use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

/// Bytes of a cache line.
const LINE: usize = 64;
/// Lines of a buffer that are asked for: a header and a short frame. The processor finds the rest of a long one itself.
const BUFFER_LINES: usize = 2;

/// Asks for the line of `byte`.
#[inline]
pub(super) fn line(byte: *const u8) {
    // SAFETY: a hint does not access memory as the program sees it, and never faults.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(byte.cast()) }
}

/// Asks for the line of `byte` to write it.
#[inline]
pub(super) fn line_to_write(byte: *const u8) {
    // SAFETY: as in `line`; processors that do not know the instruction take it as doing nothing.
    unsafe { asm!("prefetchw [{0}]", in(reg) byte, options(nostack, preserves_flags, readonly)) }
}

/// Asks for the beginning of a buffer.
#[inline]
pub(super) fn buffer(start: *const u8) {
    (0..BUFFER_LINES).for_each(|i| line(start.wrapping_add(i * LINE)));
}

/// Asks for the beginning of a buffer to write it.
#[inline]
pub(super) fn buffer_to_write(start: *const u8) {
    (0..BUFFER_LINES).for_each(|i| line_to_write(start.wrapping_add(i * LINE)));
}

/// A number that follows the last one as that followed the one before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Guess {
    last: u64,
    step: u64,
}

impl Guess {
    /// Takes the next number in.
    #[inline]
    pub(crate) fn note(&mut self, number: u64) {
        *self = Guess { last: number, step: number.wrapping_sub(self.last) };
    }

    /// What comes next.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.last.wrapping_add(self.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_goes_on_as_before() {
        let mut guess = Guess::default();
        guess.note(40);
        guess.note(39);
        assert_eq!(guess.next(), 38);
        guess.note(255);
        assert_eq!(guess.next(), 471);
        guess.note(255);
        assert_eq!(guess.next(), 255);
    }

    #[test]
    fn a_hint_may_name_anything() {
        for address in [0, 1, usize::MAX, 0x8000_0000_0000] {
            buffer(core::ptr::without_provenance(address));
            buffer_to_write(core::ptr::without_provenance(address));
        }
    }
}
