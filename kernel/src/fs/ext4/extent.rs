//! Extents: which blocks of a file lie where. The list in memory, and its nodes on disk.
//!
//! A file's whole list is in memory while the file is, sorted by logical block, neighbours merged. The tree on disk is
//! written from the list (`extent_tree`): leaf n holds the n-th slice of it, so that appending changes the last leaf only.

use super::bytes::{le16, le32, put16, put32};
use alloc::vec::Vec;

/// Longest written extent, in blocks; one more bit says that an extent is unwritten.
const MAX_WRITTEN: u32 = 32768;
const MAX_UNWRITTEN: u32 = 32767;

const MAGIC: u16 = 0xf30a;
/// Bytes of a node's header and of each entry.
pub(super) const HEADER: usize = 12;
pub(super) const ENTRY: usize = 12;
/// Entries of the root, which lies in the inode.
pub(super) const ROOT_ENTRIES: usize = 4;
/// Deepest tree that the format needs.
pub(super) const MAX_DEPTH: u16 = 5;

/// A run of blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Extent {
    /// First block in the file.
    pub logical: u32,
    /// In blocks, never 0.
    pub len: u32,
    /// First block on disk.
    pub physical: u64,
    /// Reserved, reads as zeros.
    pub unwritten: bool,
}

impl Extent {
    fn end(&self) -> u64 {
        u64::from(self.logical) + u64::from(self.len)
    }

    fn joins(&self, next: &Extent) -> bool {
        let max = if self.unwritten { MAX_UNWRITTEN } else { MAX_WRITTEN };
        self.unwritten == next.unwritten
            && self.end() == u64::from(next.logical)
            && self.physical + u64::from(self.len) == next.physical
            && self.len + next.len <= max
    }

    /// The part of it in `from..to`.
    fn part(&self, from: u64, to: u64) -> Option<Extent> {
        let (a, b) = (from.max(self.logical.into()), to.min(self.end()));
        (a < b).then(|| Extent {
            logical: a as u32,
            len: (b - a) as u32,
            physical: self.physical + (a - u64::from(self.logical)),
            unwritten: self.unwritten,
        })
    }
}

/// What a block of a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mapping {
    /// This and the following `run` blocks lie on disk from here on.
    Mapped { physical: u64, run: u64, unwritten: bool },
    /// Nothing, for so many blocks.
    Hole { run: u64 },
}

/// The list of a file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct ExtentList {
    list: Vec<Extent>,
    /// Entries before this one are on disk as they are here.
    pub clean: usize,
}

impl ExtentList {
    /// From a tree. `None` if the extents overlap or are out of order.
    pub fn from_sorted(list: Vec<Extent>) -> Option<Self> {
        let ordered = list.windows(2).all(|w| w[0].end() <= u64::from(w[1].logical));
        let sane = list.iter().all(|e| e.len > 0 && e.end() <= 1 << 32);
        let clean = list.len();
        (ordered && sane).then_some(ExtentList { list, clean })
    }

    /// All of them.
    pub fn all(&self) -> &[Extent] {
        &self.list
    }

    /// Blocks on disk.
    pub fn blocks(&self) -> u64 {
        self.list.iter().map(|e| u64::from(e.len)).sum()
    }

    /// Index of the first extent that ends after `logical`.
    fn position(&self, logical: u64) -> usize {
        self.list.partition_point(|e| e.end() <= logical)
    }

    /// What lies at `logical`.
    pub fn look(&self, logical: u64) -> Mapping {
        match self.list.get(self.position(logical)) {
            Some(e) if u64::from(e.logical) <= logical => {
                let skip = logical - u64::from(e.logical);
                Mapping::Mapped { physical: e.physical + skip, run: e.end() - logical, unwritten: e.unwritten }
            }
            Some(e) => Mapping::Hole { run: u64::from(e.logical) - logical },
            None => Mapping::Hole { run: u64::MAX - logical },
        }
    }

    fn touched(&mut self, index: usize) {
        self.clean = self.clean.min(index);
    }

    /// Adds an extent where there was a hole.
    pub fn insert(&mut self, new: Extent) {
        let mut at = self.position(new.logical.into());
        self.list.insert(at, new);
        if at > 0 && self.list[at - 1].joins(&self.list[at]) {
            self.list[at - 1].len += new.len;
            self.list.remove(at);
            at -= 1;
        }
        if at + 1 < self.list.len() && self.list[at].joins(&self.list[at + 1]) {
            self.list[at].len += self.list[at + 1].len;
            self.list.remove(at + 1);
        }
        self.touched(at);
    }

    /// Takes `from..to` out; returns what was there.
    pub fn remove(&mut self, from: u64, to: u64) -> Vec<Extent> {
        let start = self.position(from);
        let mut end = start;
        let mut gone = Vec::new();
        let mut kept = Vec::new();
        while let Some(e) = self.list.get(end).filter(|e| u64::from(e.logical) < to) {
            gone.extend(e.part(from, to));
            kept.extend(e.part(0, from));
            kept.extend(e.part(to, u64::MAX));
            end += 1;
        }
        if end > start {
            self.list.splice(start..end, kept);
            self.touched(start);
        }
        gone
    }

    /// Makes the unwritten blocks of `from..to` written ones; returns whether there were any.
    pub fn mark_written(&mut self, from: u64, to: u64) -> bool {
        let start = self.position(from);
        let any = self.list[start..].iter().take_while(|e| u64::from(e.logical) < to).any(|e| e.unwritten);
        if any {
            for e in self.remove(from, to) {
                self.insert(Extent { unwritten: false, ..e });
            }
        }
        any
    }

    /// The place after the last block before `logical`, where the next block would best go.
    pub fn goal(&self, logical: u64) -> Option<u64> {
        let at = self.position(logical);
        let before = self.list.get(at.checked_sub(1)?)?;
        Some(before.physical + u64::from(before.len))
    }
}

/// A node's entries.
pub(super) enum Node {
    Leaf(Vec<Extent>),
    /// Blocks of the nodes below, and the depth that they must have.
    Index(Vec<u64>, u16),
}

/// Parses a node (or the root in the inode). `None` if it makes no sense. `depth` is what the parent promised.
pub(super) fn parse_node(b: &[u8], depth: Option<u16>) -> Option<Node> {
    let (entries, max, own_depth) = (usize::from(le16(b, 2)), usize::from(le16(b, 4)), le16(b, 6));
    let room = b.len().checked_sub(HEADER)? / ENTRY;
    if le16(b, 0) != MAGIC
        || entries > max
        || max > room
        || own_depth > MAX_DEPTH
        || depth.is_some_and(|d| d != own_depth)
    {
        return None;
    }
    let each = (0..entries).map(|i| HEADER + i * ENTRY);
    if own_depth > 0 {
        let blocks = each.map(|at| u64::from(le32(b, at + 4)) | u64::from(le16(b, at + 8)) << 32).collect();
        return Some(Node::Index(blocks, own_depth - 1));
    }
    let extent = |at: usize| {
        let len = u32::from(le16(b, at + 4));
        let unwritten = len > MAX_WRITTEN;
        Extent {
            logical: le32(b, at),
            len: if unwritten { len - MAX_WRITTEN } else { len },
            physical: u64::from(le32(b, at + 8)) | u64::from(le16(b, at + 6)) << 32,
            unwritten,
        }
    };
    Some(Node::Leaf(each.map(extent).collect()))
}

fn put_header(b: &mut [u8], entries: usize, max: usize, depth: u16) {
    put16(b, 0, MAGIC);
    put16(b, 2, entries as u16);
    put16(b, 4, max as u16);
    put16(b, 6, depth);
    put32(b, 8, 0);
}

/// Writes a leaf with room for `max` entries; what follows the entries is zeroed.
pub(super) fn put_leaf(b: &mut [u8], extents: &[Extent], max: usize) {
    b.fill(0);
    put_header(b, extents.len(), max, 0);
    for (i, e) in extents.iter().enumerate() {
        let at = HEADER + i * ENTRY;
        put32(b, at, e.logical);
        put16(b, at + 4, (e.len + if e.unwritten { MAX_WRITTEN } else { 0 }) as u16);
        put16(b, at + 6, (e.physical >> 32) as u16);
        put32(b, at + 8, e.physical as u32);
    }
}

/// Writes an index node: first logical block and place of each node below.
pub(super) fn put_index(b: &mut [u8], below: &[(u32, u64)], max: usize, depth: u16) {
    b.fill(0);
    put_header(b, below.len(), max, depth);
    for (i, &(logical, block)) in below.iter().enumerate() {
        let at = HEADER + i * ENTRY;
        put32(b, at, logical);
        put32(b, at + 4, block as u32);
        put16(b, at + 8, (block >> 32) as u16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn e(logical: u32, len: u32, physical: u64) -> Extent {
        Extent { logical, len, physical, unwritten: false }
    }

    #[test]
    fn neighbours_merge_and_holes_stay() {
        let mut l = ExtentList::default();
        l.insert(e(0, 4, 100));
        l.insert(e(8, 4, 108));
        l.insert(e(4, 4, 104));
        assert_eq!(l.all(), [e(0, 12, 100)]);
        assert_eq!(l.look(11), Mapping::Mapped { physical: 111, run: 1, unwritten: false });
        assert!(matches!(l.look(12), Mapping::Hole { .. }));
        assert_eq!(l.goal(12), Some(112));
    }

    #[test]
    fn removing_the_middle_splits() {
        let mut l = ExtentList::default();
        l.insert(e(0, 10, 50));
        assert_eq!(l.remove(3, 6), [e(3, 3, 53)]);
        assert_eq!(l.all(), [e(0, 3, 50), e(6, 4, 56)]);
        assert_eq!(l.look(3), Mapping::Hole { run: 3 });
        assert!(l.remove(3, 6).is_empty());
    }

    #[test]
    fn unwritten_blocks_become_written_in_part() {
        let mut l = ExtentList::default();
        l.insert(Extent { unwritten: true, ..e(0, 10, 50) });
        assert!(l.mark_written(2, 4));
        assert!(!l.mark_written(2, 4));
        let states: Vec<_> = l.all().iter().map(|x| (x.logical, x.len, x.unwritten)).collect();
        assert_eq!(states, [(0, 2, true), (2, 2, false), (4, 6, true)]);
    }

    #[test]
    fn nodes_are_read_as_written() {
        let list = [e(1, 2, 3), Extent { unwritten: true, ..e(10, 32767, 1 << 40) }];
        let mut b = [0u8; 60];
        put_leaf(&mut b, &list, ROOT_ENTRIES);
        assert!(matches!(parse_node(&b, None), Some(Node::Leaf(l)) if l == list));
        put_index(&mut b, &[(0, 7), (9, 1 << 33)], ROOT_ENTRIES, 2);
        assert!(matches!(parse_node(&b, None), Some(Node::Index(l, 1)) if l == [7, 1 << 33]));
        assert!(parse_node(&b, Some(0)).is_none());
        assert!(parse_node(&[0; 60], None).is_none());
    }
}
