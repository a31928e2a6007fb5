//! What is known of the system call sites in files, and images of text with those sites patched (`hook=patch`).
//!
//! Theory of operation. A trapped call proves that its address is a system call instruction. What is proven is kept for
//! the executable segment of the file that it lies in, a [`Text`], so that every process that maps the segment profits.
//! When the traps of a text have cost about as much as it costs, an *image* is made: a memory file with a copy of the
//! segment, patched, and behind the copy its stubs, page for page. From then on the image is mapped in the file's place
//! and its second half at the stubs' distance; a site that is proven later is patched in the image, and so in all
//! processes at once. The file itself never sees a patch. Text and stubs are position-independent together.
//!
//! A text belongs to one version of a file: inode, size and times of change. The version is asked for at each mapping; a
//! file that changed less than [`SETTLED`] ago gets no image, because another change may not show in its times. Where a
//! site is patched, the bytes in the image are looked at first.
//!
//! Images are charged against `mem=`, and may take an eighth of it; those that nobody has mapped make room.
//!
//! Locks: the list of texts, rank `Texts`; each text's state, same rank, never both; the window inside.

use super::vm_area::VmArea;
use super::window::window;
use crate::abi::PAGE_SIZE;
use crate::arch::stub::{self, JUMP_LEN, SITE_LEN, SLOT};
use crate::error::{Errno, Result};
use crate::fs::Path;
use crate::fs::inode::{FileKind, InodeId, Timestamp};
use crate::host::{HostFd, TextImage};
use crate::sync::{Rank, SpinLock};
use crate::time::{self, Duration};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};
use hashbrown::HashMap;

/// A file must have been left alone for so long to get an image: the coarsest times of change that hosts keep.
const SETTLED: Duration = Duration::from_secs(2);
/// Making an image costs as much as so many traps, and one more for each [`BYTES_PER_TRAP`].
const BASE_TRAPS: usize = 32;
/// Bytes of text whose copying costs as much as a trap.
const BYTES_PER_TRAP: usize = 10 << 10;
/// Texts that are remembered.
const TEXTS_MAX: usize = 256;
/// The part of `mem=` that images may take.
const SHARE: usize = 8;

static ENABLED: AtomicBool = AtomicBool::new(false);
static TEXTS: SpinLock<Vec<Arc<Text>>> = SpinLock::new(Rank::Texts, Vec::new());

/// Turns patching on (`hook=patch`).
pub fn enable() {
    ENABLED.store(true, Ordering::Relaxed);
}

/// Whether sites are patched at all.
pub fn enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

/// A version of a file: another one has been written to since.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    inode: InodeId,
    size: u64,
    mtime: Timestamp,
    ctime: Timestamp,
}

impl Version {
    /// The version that a regular file has now.
    pub fn of(path: &Path) -> Option<Self> {
        let m = path.inode().metadata().ok().filter(|m| m.kind == FileKind::Regular)?;
        Some(Version { inode: m.id, size: m.size, mtime: m.mtime, ctime: m.ctime })
    }

    /// Whether it is a version of this file.
    pub fn is_of(&self, inode: InodeId) -> bool {
        self.inode == inode
    }

    /// Whether the file has been left alone for long enough that another change will show as another version.
    pub fn is_settled(&self) -> bool {
        let now = time::realtime();
        [self.mtime, self.ctime].iter().all(|t| {
            let changed = Duration::from_secs(u64::try_from(t.seconds).unwrap_or(0));
            now.saturating_sub(changed) >= SETTLED
        })
    }
}

/// An executable segment of a file.
pub struct Text {
    version: Version,
    /// Where in the file it lies, in whole pages.
    offset: u64,
    len: usize,
    known: SpinLock<Known>,
}

/// What is known of a text.
#[derive(Default)]
struct Known {
    /// Calls that trapped at sites that can be patched, until there is an image.
    traps: usize,
    /// Proven sites by offset in the text, with the number that they load.
    sites: HashMap<u32, u32>,
    image: Option<Image>,
    /// There will be none.
    refused: bool,
}

/// A patched copy. Its pages are charged against `mem=`.
struct Image {
    memory: TextImage,
}

impl Drop for Image {
    fn drop(&mut self) {
        window().uncharge(self.memory.bytes().len() / 2 / PAGE_SIZE);
    }
}

/// The text that a private, executable mapping of a file shows; `None` if nothing is to be kept of it.
pub(super) fn find(path: &Path, offset: u64, len: usize) -> Option<Arc<Text>> {
    if !enabled() {
        return None;
    }
    let version = Version::of(path)?;
    let mut texts = TEXTS.lock();
    let is_it = |t: &Arc<Text>| t.version == version && t.offset == offset && t.len == len;
    if let Some(at) = texts.iter().position(is_it) {
        return Some(texts[at].clone());
    }
    // An older version of the file is not mapped again.
    texts.retain(|t| t.version.inode != version.inode || t.version == version || Arc::strong_count(t) > 1);
    if texts.len() >= TEXTS_MAX {
        let unused = texts.iter().position(|t| Arc::strong_count(t) == 1)?;
        texts.remove(unused);
    }
    let text = Arc::new(Text { version, offset, len, known: SpinLock::new(Rank::Texts, Known::default()) });
    texts.push(text.clone());
    Some(text)
}

/// Drops images that nobody has mapped; returns whether there were any.
pub(super) fn drop_unused() -> bool {
    let mut texts = TEXTS.lock();
    let before = texts.len();
    let mut kept = Vec::with_capacity(before);
    let mut dropped = Vec::new();
    for text in texts.drain(..) {
        if Arc::strong_count(&text) == 1 { dropped.push(text) } else { kept.push(text) }
    }
    *texts = kept;
    drop(texts);
    !dropped.is_empty()
}

/// Pages that images take.
fn pages_in_images() -> usize {
    let texts: Vec<Arc<Text>> = TEXTS.lock().clone();
    texts.iter().filter(|t| t.known.lock().image.is_some()).map(|t| t.len / PAGE_SIZE).sum()
}

impl Text {
    /// Whether there is an image to be mapped.
    pub(super) fn has_image(&self) -> bool {
        self.known.lock().image.is_some()
    }

    /// The image's memory file, and where in it the text at `offset` of the file lies, and its stubs.
    pub(super) fn image(&self, offset: u64) -> Option<(Arc<HostFd>, u64, u64)> {
        let known = self.known.lock();
        let image = known.image.as_ref()?;
        let at = offset.checked_sub(self.offset)?;
        Some((image.memory.file().clone(), at, at + self.len as u64))
    }

    /// Notes that the call before `ret`, in the mapping `area` of this text, has trapped with number `nr`. Returns
    /// whether the mapping should show the image, because the site is patched there.
    pub(super) fn note_trap(&self, area: &VmArea, source: &HostFd, ret: usize, nr: u32) -> bool {
        let Some(site) = ret.checked_sub(SITE_LEN).filter(|&s| s > area.start) else { return false };
        let Some(offset) = self.offset_of(area, site) else { return false };
        let mut known = self.known.lock();
        if known.refused {
            return false;
        }
        if known.sites.get(&offset) != Some(&nr) {
            let mut bytes = [0u8; SITE_LEN + 1];
            if super::user::read_raw(&mut bytes, site - 1) != 0 {
                return false;
            }
            let mut at_site = [0u8; SITE_LEN];
            at_site.copy_from_slice(&bytes[1..]);
            if !stub::is_site(&at_site, bytes[0], nr) {
                return false;
            }
            known.sites.insert(offset, nr);
            if let Some(image) = &mut known.image {
                return image.patch(offset, nr);
            }
        }
        if known.image.is_some() {
            return true;
        }
        known.traps += 1;
        if known.traps < BASE_TRAPS + self.len / BYTES_PER_TRAP {
            return false;
        }
        drop(known);
        let made = self.make_image(source);
        let mut known = self.known.lock();
        match made {
            Ok(mut image) => {
                for (&offset, &nr) in &known.sites {
                    image.patch(offset, nr);
                }
                known.image = Some(image);
                true
            }
            Err(e) => {
                crate::klog!(Debug, "system calls of a file stay on the net: {e}");
                known.refused = true;
                false
            }
        }
    }

    fn make_image(&self, source: &HostFd) -> Result<Image> {
        if !self.version.is_settled() {
            return Err(Errno::EAGAIN.because("the file has just been changed"));
        }
        let w = window();
        let (pages, limit) = (self.len / PAGE_SIZE, w.usage().1 / PAGE_SIZE / SHARE);
        if pages_in_images() + pages > limit && (!drop_unused() || pages_in_images() + pages > limit) {
            return Err(Errno::ENOMEM.because("patched text takes its share of memory already"));
        }
        w.charge(pages, true)?;
        match TextImage::copy(source, self.offset, self.len) {
            Ok(memory) => Ok(Image { memory }),
            Err(e) => {
                w.uncharge(pages);
                Err(e)
            }
        }
    }

    /// The proven sites inside a mapping of this text, by address, with the number that they load.
    pub(super) fn sites_in(&self, area: &VmArea) -> Vec<(usize, u32)> {
        let super::Backing::File(f) = &area.backing else { return Vec::new() };
        let start = area.start.wrapping_sub((f.offset - self.offset) as usize);
        let inside = |site: &usize| *site >= area.start && site + SITE_LEN <= area.end;
        let known = self.known.lock();
        known.sites.iter().map(|(&o, &nr)| (start.wrapping_add(o as usize), nr)).filter(|(s, _)| inside(s)).collect()
    }

    /// Where in this text `addr` lies.
    fn offset_of(&self, area: &VmArea, addr: usize) -> Option<u32> {
        let super::Backing::File(f) = &area.backing else { return None };
        let offset = (f.offset + (addr - area.start) as u64).checked_sub(self.offset)?;
        u32::try_from(offset).ok().filter(|&o| (o as usize) + SITE_LEN <= self.len)
    }
}

impl Image {
    /// Patches the site at `offset`; false if it is no site or its page has no room for another stub.
    fn patch(&mut self, offset: u32, nr: u32) -> bool {
        let site = offset as usize;
        let bytes = self.memory.bytes_mut();
        let (text, stubs) = bytes.split_at_mut(bytes.len() / 2);
        let mut at_site = [0u8; SITE_LEN];
        at_site.copy_from_slice(&text[site..site + SITE_LEN]);
        if site == 0 || !stub::is_site(&at_site, text[site - 1], nr) {
            return false;
        }
        let page = site & !(PAGE_SIZE - 1);
        let header: &mut [u8] = &mut stubs[page..page + SLOT];
        let mut old = [0u8; SLOT];
        old.copy_from_slice(header);
        let used = stub::slots_used(&old);
        if used >= stub::SLOTS {
            return false;
        }
        let at = page + SLOT * (used as usize + 1);
        // Both addresses as if the image were mapped at 0: only distances count.
        let (site_addr, stub_addr) = (site, at + super::window::STUB_DISTANCE);
        let (Some(code), Some(jump)) = (stub::stub(stub_addr, site_addr, nr), stub::jump(site_addr, stub_addr)) else {
            return false;
        };
        header.copy_from_slice(&stub::header(used + 1));
        stubs[at..at + SLOT].copy_from_slice(&code);
        let place: Range<usize> = site..site + JUMP_LEN;
        text[place].copy_from_slice(&jump);
        // The bytes were written through another mapping than the one they run from.
        crate::arch::serialize();
        true
    }
}

impl core::fmt::Debug for Text {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Text({:?} {:#x}+{:#x})", self.version.inode, self.offset, self.len)
    }
}
