//! Parts of address spaces that are kept for the next program when one ends.
//!
//! What every program needs (a stack, room for the break, the vDSO) and what many start from (the image of an executable
//! or interpreter) costs a dozen host calls to map, as many to unmap, and a host fault a page. When a space that has no
//! relatives ends, such *parts* of it are put back into the state that they had when they were made, with their mappings
//! and some of their memory in place: a few pages are cleared with less effort than they are given back and got again.
//! The next program takes a part whole, at the same addresses.
//!
//! A part is kept only if the program left its mappings as they were made, but for the access to what it may write. An
//! image belongs to one version of its file; the pages that its programs wrote are dropped, so that they show the file
//! again. Memory of spare parts stays charged against `mem=`, is a small share of it ([`SHARE`]), and is given up when
//! memory is short ([`drop_all`]). No thread runs in a spare part; what reads its addresses by mistake sees zeros or code.
//!
//! Locks: the list, rank `Spares`, taken inside the families' and outside the window's.

use super::texts::Version;
use super::vm_area::{Backing, VmArea, VmFlags};
use super::window::window;
use super::{residency, user};
use crate::abi::PAGE_SIZE;
use crate::error::{Errno, Result};
use crate::fs::inode::InodeId;
use crate::host::Prot;
use crate::sync::{Rank, SpinLock};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

/// Most spare parts, and of one kind.
const SPARES_MAX: usize = 48;
const OF_A_KIND: usize = 6;
/// Most pages that are cleared rather than given back, in one mapping.
const CLEARED_MAX: usize = 40;
/// The part of `mem=` that spare parts may hold.
const SHARE: usize = 32;

/// What a part is: parts of one key can stand for each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Key {
    /// The vDSO and its data.
    Vdso,
    /// A stack of so many bytes below its guard.
    Stack(usize),
    /// Room for the program break, all of it unused.
    Break,
    /// The image of an executable file.
    Image(Version),
}

/// A part of an address space as it was made.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) key: Key,
    pub(super) range: Range<usize>,
    pub(super) areas: Vec<VmArea>,
}

struct Spare {
    part: Part,
    /// Pages with memory of the window's.
    pages: usize,
}

static SPARES: SpinLock<Vec<Spare>> = SpinLock::new(Rank::Spares, Vec::new());

/// A spare part of this kind, the latest one.
pub(super) fn take(key: &Key) -> Option<Part> {
    let mut spares = SPARES.lock();
    let at = spares.iter().rposition(|s| s.part.key == *key)?;
    Some(spares.remove(at).part)
}

/// Keeps a part of a space that has ended, whose mappings in its range are `now`. False if it cannot be kept: then the
/// caller releases it.
pub(super) fn keep(mut part: Part, now: &[VmArea]) -> bool {
    let kept = match part.key {
        Key::Vdso => unchanged(&part.areas, now),
        Key::Stack(_) => unchanged(&part.areas, now) && now.iter().all(|a| clean(a, a.prot).is_ok()),
        Key::Break => now.iter().all(|a| is_heap(a) && clean(a, Prot::empty()).is_ok()),
        Key::Image(_) => keep_image(&mut part, now),
    };
    if !kept {
        return false;
    }
    let in_use = now.iter().flat_map(|a| window().populated_runs(&a.range()));
    let pages = in_use.map(|run| run.len()).sum::<usize>() / PAGE_SIZE;
    let mut surplus = Vec::new();
    {
        let mut spares = SPARES.lock();
        let limit = window().usage().1 / PAGE_SIZE / SHARE;
        if let Some(oldest) = of_a_kind(&spares, &part.key) {
            surplus.push(spares.remove(oldest));
        }
        while spares.len() >= SPARES_MAX || (!spares.is_empty() && total_pages(&spares) + pages > limit) {
            surplus.push(spares.remove(0));
        }
        spares.push(Spare { part, pages });
    }
    surplus.into_iter().for_each(discard);
    true
}

/// The oldest part of a kind of which there are enough.
fn of_a_kind(spares: &[Spare], key: &Key) -> Option<usize> {
    let mut same = spares.iter().enumerate().filter(|(_, s)| s.part.key == *key);
    let first = same.next()?.0;
    (same.count() + 1 >= OF_A_KIND).then_some(first)
}

fn total_pages(spares: &[Spare]) -> usize {
    spares.iter().map(|s| s.pages).sum()
}

/// Bytes of memory that spare parts hold: free at need.
pub fn held() -> usize {
    total_pages(&SPARES.lock()) * PAGE_SIZE
}

/// Gives all spare parts up, with the files that they hold; returns whether there were any.
pub fn drop_all() -> bool {
    let spares = core::mem::take(&mut *SPARES.lock());
    let any = !spares.is_empty();
    spares.into_iter().for_each(discard);
    any
}

/// Gives up the images of a file that has lost a name: they would keep it from going.
pub fn drop_file(inode: InodeId) {
    let of_file = |s: &mut Spare| matches!(&s.part.key, Key::Image(version) if version.is_of(inode));
    let gone: Vec<Spare> = SPARES.lock().extract_if(.., of_file).collect();
    gone.into_iter().for_each(discard);
}

fn discard(spare: Spare) {
    let Spare { part, .. } = spare;
    if part.key == Key::Break
        && let Err(e) = window().discard(part.range.clone())
    {
        crate::klog!(Error, "memory of a spare part stays: {e}");
    }
    residency::release_all(&part.areas);
    window().give_back(part.range);
}

/// Whether the mappings are those that the part was made with.
fn unchanged(made: &[VmArea], now: &[VmArea]) -> bool {
    made.len() == now.len()
        && made.iter().zip(now).all(|(m, n)| m.range() == n.range() && m.prot == n.prot && same_backing(m, n))
}

fn same_backing(a: &VmArea, b: &VmArea) -> bool {
    let kind = VmFlags::SHARED;
    (a.flags & kind) == (b.flags & kind)
        && match (&a.backing, &b.backing) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (Backing::File(x), Backing::File(y)) => {
                Arc::ptr_eq(&x.host, &y.host)
                    && x.offset.wrapping_sub(a.start as u64) == y.offset.wrapping_sub(b.start as u64)
            }
            _ => false,
        }
}

fn is_heap(area: &VmArea) -> bool {
    area.flags.contains(VmFlags::HEAP) && matches!(area.backing, Backing::Anonymous)
}

/// Makes the memory of a private mapping zero again, as it was when nobody had touched it, and accessible as `prot` says.
fn clean(area: &VmArea, prot: Prot) -> Result<()> {
    let w = window();
    if !matches!(area.backing, Backing::Anonymous) {
        return Err(Errno::EINVAL.into());
    }
    let runs = w.populated_runs(&area.range());
    let pages = runs.iter().map(Range::len).sum::<usize>() / PAGE_SIZE;
    if pages == 0 {
        return Ok(());
    }
    if pages > CLEARED_MAX {
        w.discard(area.range())?;
        return Ok(());
    }
    let writable = Prot::READ | Prot::WRITE;
    for run in runs {
        w.make_writable(run.clone(), area.prot.contains(Prot::WRITE))?;
        if user::zero_raw(run.start, run.len()) > 0 {
            return Err(Errno::EFAULT.into());
        }
        if prot != writable {
            w.protect(run, prot)?;
        }
    }
    Ok(())
}

/// Puts an image back into its first state. Its text may show the patched image meanwhile, which is as good.
fn keep_image(part: &mut Part, now: &[VmArea]) -> bool {
    let mut restored = Vec::with_capacity(part.areas.len());
    for made in &part.areas {
        let pieces: Vec<&VmArea> = now.iter().filter(|n| n.start < made.end && made.start < n.end).collect();
        let whole = pieces.iter().map(|p| p.len()).sum::<usize>() == made.len()
            && pieces.iter().all(|p| p.start >= made.start && p.end <= made.end && same_backing(p, made));
        if !whole {
            return false;
        }
        if !made.prot.contains(Prot::WRITE) {
            let [piece] = pieces[..] else { return false };
            if piece.prot != made.prot || piece.flags != made.flags {
                return false;
            }
            restored.push(piece.clone());
            continue;
        }
        for piece in pieces {
            if restore(piece, made.prot).is_err() {
                return false;
            }
        }
        restored.push(made.clone());
    }
    part.areas = restored;
    true
}

/// Drops what a program wrote to a piece of its data.
fn restore(piece: &VmArea, prot: Prot) -> Result<()> {
    let w = window();
    match piece.backing {
        Backing::Anonymous => clean(piece, prot),
        Backing::Memory(_) => Err(Errno::EINVAL.into()),
        Backing::File(_) => {
            w.drop_private(piece.range())?;
            w.untrack(piece.range(), prot)?;
            if piece.prot != prot { w.protect_file(piece.range(), prot) } else { Ok(()) }
        }
    }
}
