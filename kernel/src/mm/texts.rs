//! What is known of the sites in files, system calls and `cpuid`, and images of text with those sites patched (`hook=patch`).
//!
//! Theory of operation. A trapped call proves that its address is a system call instruction. What is proven is kept for
//! the executable segment of the file that it lies in, a [`Text`], so that every process that maps the segment profits.
//! Whether there is room for a jump is found out once a site, from the file's bytes (`crate::arch::displace`).
//! When the traps of a text have cost about as much as it costs, an *image* is made: a memory file with a copy of the
//! segment, patched, and behind the copy its stubs, page for page. From then on the image is mapped in the file's place
//! and its second half at the stubs' distance; a site that is proven later is patched in the image, and so in all
//! processes at once. The file itself never sees a patch. Text and stubs are position-independent together.
//!
//! `cpuid` does not trap to the kernel, so its sites are looked for when the image is made, in the functions in which its two
//! bytes occur; that they are an instruction there is for the sweep of the function to say. A text that has several
//! gets its image early, because each start of a program runs them all.
//!
//! A text belongs to one version of a file: inode, size and times of change. The version is asked for at each mapping; a
//! file that changed less than [`SETTLED`] ago gets no image, because another change may not show in its times. Where a
//! site is patched, the bytes in the image are looked at first.
//!
//! Images are charged against `mem=`, and may take an eighth of it; those that nobody has mapped make room.
//!
//! Locks: the list of texts, rank `Texts`; each text's state, same rank, never both; the window inside.

use super::functions::Functions;
use super::vm_area::VmArea;
use super::window::window;
use crate::abi::PAGE_SIZE;
use crate::arch::displace::{self, Displacement, FUNCTION_MAX, JUMP_LEN, Room, SITE_LEN, SiteKind, Sweep};
use crate::arch::stub;
use crate::error::{Errno, Result};
use crate::fs::Path;
use crate::fs::inode::{FileKind, InodeId, Timestamp};
use crate::host::{HostFd, TextImage};
use crate::sync::{Rank, SpinLock};
use crate::time::{self, Duration};
use alloc::sync::Arc;
use alloc::vec;
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
/// After so many traps a text of up to [`CPUID_TEXT`] bytes is searched for `cpuid`; with [`CPUID_MANY`] of them it gets its
/// image at once.
const CPUID_TRAPS: usize = 8;
const CPUID_TEXT: usize = 1 << 20;
const CPUID_MANY: usize = 8;
/// Most bytes of functions that are looked through for `cpuid`.
const CPUID_SWEPT: usize = 4 << 20;
/// Largest text in which jumps may cover several instructions: all of it is searched for references to each.
const SEVERAL_TEXT: usize = 16 << 20;
/// Texts that are remembered.
const TEXTS_MAX: usize = 256;
/// The part of `mem=` that images may take.
const SHARE: usize = 8;

static ENABLED: AtomicBool = AtomicBool::new(false);
/// Whether the jump of any site covers the start of an instruction behind its first.
static SEVERAL: AtomicBool = AtomicBool::new(false);
static TEXTS: SpinLock<Vec<Arc<Text>>> = SpinLock::new(Rank::Texts, Vec::new());

/// Turns patching on (`hook=patch`).
pub fn enable() {
    ENABLED.store(true, Ordering::Relaxed);
}

/// Whether sites are patched at all.
pub fn enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

/// Whether [`Text::resume`] can say anything at all.
pub(super) fn any_several() -> bool {
    SEVERAL.load(Ordering::Relaxed)
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
    /// Sites by offset in the text, with what makes room for a jump, if anything does.
    sites: HashMap<u32, Option<Displacement>>,
    /// Where the functions are, once that was asked for.
    functions: Option<Arc<Functions>>,
    image: Option<Image>,
    /// There will be none.
    refused: bool,
}

/// A patched copy. Its pages are charged against `mem=`.
struct Image {
    memory: TextImage,
    /// Jumps that cover the starts of several instructions: their places, and their stubs'.
    several: Vec<(usize, usize)>,
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
        let Some(site) = ret.checked_sub(SITE_LEN).filter(|&s| s >= area.start) else { return false };
        let Some(offset) = self.offset_of(area, site) else { return false };
        let known_site = {
            let known = self.known.lock();
            if known.refused {
                return false;
            }
            known.sites.get(&offset).map(Option::is_some)
        };
        let has_room = known_site.unwrap_or_else(|| {
            let found = self.look_at(source, offset as usize, nr);
            let mut known = self.known.lock();
            let Known { image, sites, .. } = &mut *known;
            let has_room = found.as_ref().is_some_and(|d| image.as_mut().is_none_or(|i| i.patch(d)));
            sites.insert(offset, found.filter(|_| has_room));
            has_room
        });
        if !has_room {
            return false;
        }
        let traps = {
            let mut known = self.known.lock();
            if known.image.is_some() {
                return true;
            }
            known.traps += 1;
            known.traps
        };
        let is_time = traps >= BASE_TRAPS + self.len / BYTES_PER_TRAP
            || (traps == CPUID_TRAPS && self.len <= CPUID_TEXT && self.count_cpuid(source) >= CPUID_MANY);
        is_time && self.get_image(source)
    }

    /// Makes the image and patches what is known; whether that could be done.
    fn get_image(&self, source: &HostFd) -> bool {
        let made = self.make_image(source).map(|image| {
            let cpuids = self.find_cpuid(source, &image);
            (image, cpuids)
        });
        let mut known = self.known.lock();
        match made {
            Ok((mut image, cpuids)) => {
                for d in cpuids {
                    known.sites.entry(d.site() as u32).or_insert(Some(d));
                }
                for found in known.sites.values_mut() {
                    if found.as_ref().is_some_and(|d| !image.patch(d)) {
                        *found = None;
                    }
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

    /// How the system call at a place could be displaced whose number a trap has shown.
    fn look_at(&self, source: &HostFd, site: usize, nr: u32) -> Option<Displacement> {
        let mut bytes = [0u8; SITE_LEN + JUMP_LEN + 1];
        let end = site + SITE_LEN;
        let start = end.checked_sub(bytes.len());
        if let Some(start) = start
            && source.read_at(&mut bytes, self.offset + start as u64).is_ok_and(|n| n == bytes.len())
            && let Some(plain) = displace::plain(&bytes, start, end, nr)
        {
            return Some(plain);
        }
        let function = self.functions(source).around(site).filter(|f| f.len() <= FUNCTION_MAX)?;
        let mut code = vec![0u8; function.len()];
        source.read_at(&mut code, self.offset + function.start as u64).ok().filter(|&n| n == code.len())?;
        Sweep::of(&code, function.start)?.displacement(site).filter(|d| d.kind == SiteKind::Syscall)
    }

    /// Where the functions of this text are, from the file's tables.
    fn functions(&self, source: &HostFd) -> Arc<Functions> {
        if let Some(functions) = &self.known.lock().functions {
            return functions.clone();
        }
        let read = |buffer: &mut [u8], offset: u64| source.read_at(buffer, offset).unwrap_or(0);
        let functions = Arc::new(Functions::of(&read, self.offset..self.offset + self.len as u64));
        self.known.lock().functions.insert(functions).clone()
    }

    /// How often the bytes of `cpuid` stand in the text.
    fn count_cpuid(&self, source: &HostFd) -> usize {
        let mut piece = vec![0u8; 64 << 10];
        let starts = (0..self.len).step_by(piece.len());
        starts
            .map(|start| {
                let n = source.read_at(&mut piece, self.offset + start as u64).unwrap_or(0).min(self.len - start);
                cpuid_bytes(&piece[..n]).count()
            })
            .sum()
    }

    /// The `cpuid` instructions of an image's text that there is room at.
    fn find_cpuid(&self, source: &HostFd, image: &Image) -> Vec<Displacement> {
        let text = &image.memory.bytes()[..self.len];
        let mut found = Vec::new();
        let mut swept = 0..0;
        let mut budget = CPUID_SWEPT;
        for at in cpuid_bytes(text) {
            let Some(function) = self.functions(source).around(at).filter(|f| *f != swept && f.end <= text.len())
            else {
                continue;
            };
            budget = budget.saturating_sub(function.len());
            if budget == 0 {
                break;
            }
            swept = function.clone();
            if let Some(sweep) = Sweep::of(&text[function.clone()], function.start) {
                found.extend(sweep.sites(SiteKind::Cpuid).filter_map(|site| sweep.displacement(site)));
            }
        }
        found
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
            Ok(memory) => Ok(Image { memory, several: Vec::new() }),
            Err(e) => {
                w.uncharge(pages);
                Err(e)
            }
        }
    }

    /// The patched sites inside a mapping of this text: where their jumps are, and what was there before.
    pub(super) fn sites_in(&self, area: &VmArea) -> Vec<(usize, [u8; JUMP_LEN])> {
        let Some(start) = self.start_in(area) else { return Vec::new() };
        let inside = |at: &usize| *at >= area.start && at + JUMP_LEN <= area.end;
        let known = self.known.lock();
        let patched = known.sites.values().flatten().map(|d| (start.wrapping_add(d.at), d.replaced()));
        patched.filter(|(at, _)| inside(at)).collect()
    }

    /// Where a context goes on that is to go on at `addr`, in the mapping `area` of this text, which shows the image: in a stub,
    /// if the jump to it covers the place.
    pub(super) fn resume(&self, area: &VmArea, addr: usize) -> Option<usize> {
        let start = self.start_in(area)?;
        let known = self.known.lock();
        let several = known.image.as_ref()?.several.iter();
        let offset = addr.wrapping_sub(start);
        let (at, stub) = several.copied().find(|(at, _)| (at + 1..at + JUMP_LEN).contains(&offset))?;
        Some(start + stub + (offset - at))
    }

    /// The address that the text would begin at, as a mapping of it shows it.
    fn start_in(&self, area: &VmArea) -> Option<usize> {
        let super::Backing::File(f) = &area.backing else { return None };
        Some(area.start.wrapping_sub((f.offset - self.offset) as usize))
    }

    /// Where in this text `addr` lies.
    fn offset_of(&self, area: &VmArea, addr: usize) -> Option<u32> {
        let super::Backing::File(f) = &area.backing else { return None };
        let offset = (f.offset + (addr - area.start) as u64).checked_sub(self.offset)?;
        u32::try_from(offset).ok().filter(|&o| (o as usize) + SITE_LEN <= self.len)
    }
}

/// Where the bytes of `cpuid` stand.
fn cpuid_bytes(code: &[u8]) -> impl Iterator<Item = usize> {
    code.windows(SITE_LEN).enumerate().filter(|(_, bytes)| **bytes == SiteKind::Cpuid.bytes()).map(|(at, _)| at)
}

impl Image {
    /// Patches a site; false if something else is there, or no stub has a place that its jump leads to.
    fn patch(&mut self, d: &Displacement) -> bool {
        let bytes = self.memory.bytes_mut();
        let (text, stubs) = bytes.split_at_mut(bytes.len() / 2);
        if text.get(d.at..d.site() + SITE_LEN) != Some(&d.original[..]) {
            return false;
        }
        let covered = d.covered();
        if d.room == Room::Several
            && (text.len() > SEVERAL_TEXT || displace::is_referred_to(text, &covered, &d.function))
        {
            return false;
        }
        // Addresses as if the image were mapped at 0: only distances count.
        let Some((jump, stub)) = stub::place(stubs, d) else { return false };
        let place: Range<usize> = d.at..d.at + JUMP_LEN;
        if d.room == Room::Punned && text[place.clone()][SITE_LEN..] != jump[SITE_LEN..] {
            return false;
        }
        text[place].copy_from_slice(&jump);
        if d.room == Room::Several {
            self.several.push((d.at, stub));
            SEVERAL.store(true, Ordering::Relaxed);
        }
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
