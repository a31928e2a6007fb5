//! One bit a page of the window: whether it has memory of its own.

use crate::error::Result;
use crate::host::LazyWords;
use core::ops::Range;

/// The bitmap; pages are counted from the window's base.
pub(super) struct PageMap {
    words: LazyWords,
}

impl PageMap {
    pub(super) fn new(pages: usize) -> Result<Self> {
        Ok(PageMap { words: LazyWords::new(pages.div_ceil(64))? })
    }

    pub(super) fn get(&self, page: usize) -> bool {
        self.words[page / 64] & (1 << (page % 64)) != 0
    }

    /// Sets or clears a range; returns how many bits changed.
    pub(super) fn set(&mut self, pages: Range<usize>, value: bool) -> usize {
        let mut changed = 0;
        let mut page = pages.start;
        while page < pages.end {
            let bit = page % 64;
            let n = (64 - bit).min(pages.end - page);
            let mask = if n == 64 { u64::MAX } else { ((1 << n) - 1) << bit };
            let word = &mut self.words[page / 64];
            let new = if value { *word | mask } else { *word & !mask };
            // An untouched word of a sparse table must stay untouched.
            if new != *word {
                changed += (*word ^ new).count_ones() as usize;
                *word = new;
            }
            page += n;
        }
        changed
    }

    pub(super) fn count(&self, pages: Range<usize>) -> usize {
        self.runs(pages, true).map(|r| r.len()).sum()
    }

    /// The maximal runs of pages in the range whose bit is `value`.
    pub(super) fn runs(&self, pages: Range<usize>, value: bool) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut at = pages.start;
        core::iter::from_fn(move || {
            at = self.find(at..pages.end, value)?;
            let start = at;
            at = self.find(at..pages.end, !value).unwrap_or(pages.end);
            Some(start..at)
        })
    }

    /// The first page of the range whose bit is `value`.
    fn find(&self, pages: Range<usize>, value: bool) -> Option<usize> {
        let mut page = pages.start;
        while page < pages.end {
            let word = self.words[page / 64];
            let looking = if value { word } else { !word } >> (page % 64);
            if looking != 0 {
                let found = page + looking.trailing_zeros() as usize;
                return (found < pages.end).then_some(found);
            }
            page = (page / 64 + 1) * 64;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn runs_and_counts() {
        let mut m = PageMap::new(1000).unwrap();
        assert_eq!(m.set(10..200, true), 190);
        assert_eq!(m.set(60..70, false), 10);
        assert_eq!(m.set(60..61, false), 0);
        assert_eq!(m.runs(0..1000, true).collect::<Vec<_>>(), [10..60, 70..200]);
        assert_eq!(m.runs(50..80, false).next(), Some(60..70));
        assert_eq!(m.runs(50..80, false).count(), 1);
        assert_eq!(m.runs(0..10, true).count(), 0);
        assert_eq!(m.count(0..1000), 180);
        assert!(m.get(199) && !m.get(200));
    }
}
