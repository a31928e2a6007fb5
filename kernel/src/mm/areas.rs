//! The ordered list of an address space's mappings: what is where, split and merged as ranges come and go.

use super::vm_area::VmArea;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

/// Mappings that do not overlap, by their start.
#[derive(Default)]
pub(super) struct Areas {
    pub(super) by_start: BTreeMap<usize, VmArea>,
}

impl Areas {
    /// The mapping at `addr`.
    pub(super) fn find(&self, addr: usize) -> Option<&VmArea> {
        self.by_start.range(..=addr).next_back().map(|(_, a)| a).filter(|a| addr < a.end)
    }

    /// The first mapping that ends above `addr`.
    pub(super) fn first_above(&self, addr: usize) -> Option<&VmArea> {
        self.find(addr).or_else(|| self.by_start.range(addr..).next().map(|(_, a)| a))
    }

    /// The mappings with a part between the lowest and the highest address of `ranges`.
    pub(super) fn overlapping(&self, ranges: &[Range<usize>]) -> impl Iterator<Item = &VmArea> {
        let start = ranges.iter().map(|r| r.start).min().unwrap_or(0);
        let end = ranges.iter().map(|r| r.end).max().unwrap_or(0);
        let first = self.find(start).map_or(start, |a| a.start);
        self.by_start.range(first..end.max(first)).map(|(_, a)| a)
    }

    /// The parts of the mappings inside `range`, lowest address first.
    pub(super) fn parts(&self, range: &Range<usize>) -> impl Iterator<Item = VmArea> {
        self.overlapping(core::slice::from_ref(range)).filter(|a| a.end > range.start).map(|a| a.part(range))
    }

    /// Takes the parts inside `range` out of the list, splitting mappings at its ends.
    pub(super) fn carve(&mut self, range: &Range<usize>) -> Vec<VmArea> {
        let mut touched = Vec::new();
        let mut at = range.start;
        while let Some(area) = self.first_above(at).filter(|a| a.start < range.end) {
            touched.push(area.start);
            at = area.end;
        }
        let mut parts = Vec::with_capacity(touched.len());
        for start in touched {
            let Some(area) = self.by_start.remove(&start) else { continue };
            if area.start < range.start {
                let left = area.part(&(area.start..range.start));
                self.by_start.insert(left.start, left);
            }
            if area.end > range.end {
                let right = area.part(&(range.end..area.end));
                self.by_start.insert(right.start, right);
            }
            parts.push(area.part(range));
        }
        parts
    }

    /// Puts a mapping into the list, as one with its neighbours where that is the same.
    pub(super) fn insert(&mut self, mut area: VmArea) {
        if let Some((&start, left)) = self.by_start.range(..area.start).next_back()
            && left.continues_with(&area)
        {
            let merged = VmArea { end: area.end, ..left.clone() };
            self.by_start.remove(&start);
            area = merged;
        }
        if let Some(right) = self.by_start.get(&area.end)
            && area.continues_with(right)
        {
            let (key, end) = (right.start, right.end);
            self.by_start.remove(&key);
            area.end = end;
        }
        self.by_start.insert(area.start, area);
    }

    /// The parts of `range` that no mapping covers.
    pub(super) fn gaps(&self, range: &Range<usize>) -> Vec<Range<usize>> {
        let mut gaps = Vec::new();
        let mut at = range.start;
        while at < range.end {
            match self.first_above(at).filter(|a| a.start < range.end) {
                Some(a) => {
                    if a.start > at {
                        gaps.push(at..a.start);
                    }
                    at = a.end;
                }
                None => {
                    gaps.push(at..range.end);
                    break;
                }
            }
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::super::vm_area::{Backing, VmFlags};
    use super::*;
    use crate::host::Prot;

    fn anon(start: usize, end: usize, prot: Prot) -> VmArea {
        VmArea { start, end, prot, flags: VmFlags::empty(), backing: Backing::Anonymous, name: "" }
    }

    fn ranges(a: &Areas) -> Vec<Range<usize>> {
        a.by_start.values().map(VmArea::range).collect()
    }

    #[test]
    fn mappings_split_and_merge() {
        let mut a = Areas::default();
        a.insert(anon(0x1000, 0x5000, Prot::READ));
        a.insert(anon(0x5000, 0x9000, Prot::READ));
        assert_eq!(ranges(&a), alloc::vec![0x1000..0x9000]);
        let parts = a.carve(&(0x3000..0x4000));
        assert_eq!(parts.len(), 1);
        assert_eq!(ranges(&a), [0x1000..0x3000, 0x4000..0x9000]);
        a.insert(anon(0x3000, 0x4000, Prot::WRITE));
        assert_eq!(ranges(&a), [0x1000..0x3000, 0x3000..0x4000, 0x4000..0x9000]);
        assert_eq!(a.gaps(&(0..0xa000)), [0..0x1000, 0x9000..0xa000]);
        let parts = a.carve(&(0x2000..0x6000));
        assert_eq!(
            parts.iter().map(VmArea::range).collect::<Vec<_>>(),
            [0x2000..0x3000, 0x3000..0x4000, 0x4000..0x6000]
        );
        assert!(a.find(0x5fff).is_none());
        assert!(a.find(0x6000).is_some());
    }
}
