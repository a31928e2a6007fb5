//! The kernel heap.
//!
//! The C library's allocator keeps per-thread caches in TLS and clears memory with vector registers that belong to the
//! guest; the kernel has its own. Small blocks come in size classes, four to each doubling, from free lists that are
//! refilled by cutting host chunks; a freed block goes back to its class for ever. Large blocks are host mappings of
//! their own, so that freeing them gives memory back and growing them moves pages instead of bytes.
//!
//! One spin lock of rank `Heap`, taken raw: the lock checker itself must not recurse into it. Nothing allocates in a
//! signal handler.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use rustix::mm::{MapFlags, MremapFlags, ProtFlags, mmap_anonymous, mremap, munmap};

/// Largest block that comes from a class.
const SMALL_MAX: usize = 128 * 1024;
/// What is taken from the host at a time for the classes.
const CHUNK: usize = 1 << 20;
/// Least block size and alignment.
const GRANULE: usize = 16;
const PAGE: usize = 4096;
const CLASSES: usize = 64;

/// The class of a size: 16-byte steps up to 64, then four classes to each doubling.
const fn class_of(size: usize) -> usize {
    if size <= 64 {
        return size.div_ceil(GRANULE).saturating_sub(1);
    }
    let top = usize::BITS as usize - 1 - (size - 1).leading_zeros() as usize;
    // 65..=128 has top 6: quarters of 16 bytes.
    let quarter = (size - 1 - (1 << top)) >> (top - 2);
    4 + (top - 6) * 4 + quarter
}

/// The block size of a class.
const fn size_of_class(class: usize) -> usize {
    if class < 4 {
        return (class + 1) * GRANULE;
    }
    let top = (class - 4) / 4 + 6;
    (1 << top) + ((class - 4) % 4 + 1) * (1 << (top - 2))
}

struct Free {
    next: *mut Free,
}

struct Lists {
    heads: [*mut Free; CLASSES],
    bump: usize,
    bump_end: usize,
}

/// The allocator.
pub struct KernelHeap {
    locked: AtomicBool,
    lists: UnsafeCell<Lists>,
    large: AtomicUsize,
}

// SAFETY: the lists are touched under the lock only.
unsafe impl Sync for KernelHeap {}

impl Default for KernelHeap {
    fn default() -> Self {
        Self::new()
    }
}

impl KernelHeap {
    /// An empty heap.
    pub const fn new() -> Self {
        KernelHeap {
            locked: AtomicBool::new(false),
            lists: UnsafeCell::new(Lists { heads: [ptr::null_mut(); CLASSES], bump: 0, bump_end: 0 }),
            large: AtomicUsize::new(0),
        }
    }

    /// Bytes in large blocks.
    pub fn large_bytes(&self) -> usize {
        self.large.load(Ordering::Relaxed)
    }

    fn with_lists<R>(&self, f: impl FnOnce(&mut Lists) -> R) -> R {
        while self.locked.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            core::hint::spin_loop();
        }
        // SAFETY: the lock is held.
        let result = f(unsafe { &mut *self.lists.get() });
        self.locked.store(false, Ordering::Release);
        result
    }

    fn take(&self, class: usize) -> *mut u8 {
        self.with_lists(|lists| {
            let head = lists.heads[class];
            if !head.is_null() {
                // SAFETY: a block in the list is free and holds the link.
                lists.heads[class] = unsafe { (*head).next };
                return head.cast();
            }
            let size = size_of_class(class);
            if lists.bump_end - lists.bump < size {
                // What is left of the old chunk is at most one block of a large class: let go.
                let Some(chunk) = map(CHUNK) else { return ptr::null_mut() };
                lists.bump = chunk as usize;
                lists.bump_end = chunk as usize + CHUNK;
            }
            let block = lists.bump;
            lists.bump += size;
            block as *mut u8
        })
    }

    fn put(&self, class: usize, block: *mut u8) {
        self.with_lists(|lists| {
            let free = block.cast::<Free>();
            // SAFETY: the block is at least 16 bytes, aligned, and its owner has given it up.
            unsafe { (*free).next = lists.heads[class] };
            lists.heads[class] = free;
        });
    }
}

fn map(len: usize) -> Option<*mut u8> {
    // SAFETY: a fresh mapping at an address of the host's choice touches nothing that exists.
    unsafe { mmap_anonymous(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) }
        .ok()
        .map(<*mut core::ffi::c_void>::cast)
}

/// The class that serves a layout; `None` if it gets a mapping of its own. Blocks of a class lie at multiples of 16
/// only, so a larger alignment takes a power-of-two class from page-aligned memory, or a mapping.
fn small_class(layout: Layout) -> Option<usize> {
    if layout.align() > GRANULE || layout.size() > SMALL_MAX {
        return None;
    }
    Some(class_of(layout.size().max(1)))
}

/// Extra room that lets a block of larger alignment than 16 be cut from a class: it is found again from the address.
fn aligned_class(layout: Layout) -> Option<(usize, usize)> {
    let room = layout.size() + layout.align();
    (layout.align() > GRANULE && layout.align() <= PAGE && room <= SMALL_MAX).then(|| (class_of(room), layout.align()))
}

// SAFETY: blocks of a class do not overlap and are handed out once until freed; mappings are fresh.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(class) = small_class(layout) {
            return self.take(class);
        }
        if let Some((class, align)) = aligned_class(layout) {
            let raw = self.take(class) as usize;
            if raw == 0 {
                return ptr::null_mut();
            }
            // At least 16 bytes before the block, where its origin is kept.
            let block = (raw + GRANULE).next_multiple_of(align);
            // SAFETY: `align` is at least 32 and the class has `align` bytes to spare, so the word lies in the block.
            unsafe { ((block - 8) as *mut usize).write(raw) };
            return block as *mut u8;
        }
        if layout.align() > PAGE {
            return ptr::null_mut();
        }
        let len = layout.size().next_multiple_of(PAGE);
        self.large.fetch_add(len, Ordering::Relaxed);
        map(len).unwrap_or(ptr::null_mut())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout is passed on.
        let block = unsafe { self.alloc(layout) };
        let fresh = small_class(layout).is_none() && aligned_class(layout).is_none();
        if !block.is_null() && !fresh {
            // SAFETY: the block is this long.
            unsafe { ptr::write_bytes(block, 0, layout.size()) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(class) = small_class(layout) {
            return self.put(class, block);
        }
        if let Some((class, _)) = aligned_class(layout) {
            // SAFETY: `alloc` wrote the origin there.
            let raw = unsafe { ((block as usize - 8) as *const usize).read() };
            return self.put(class, raw as *mut u8);
        }
        let len = layout.size().next_multiple_of(PAGE);
        self.large.fetch_sub(len, Ordering::Relaxed);
        // SAFETY: the block is a mapping of this length that its owner has given up.
        let _ = unsafe { munmap(block.cast(), len) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller vouches for the size; alignment is unchanged.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        let (old_class, new_class) = (small_class(layout), small_class(new_layout));
        if old_class.is_some() && old_class == new_class {
            return block;
        }
        let large = |l: Layout| small_class(l).is_none() && aligned_class(l).is_none();
        if large(layout) && large(new_layout) {
            let (old, new) = (layout.size().next_multiple_of(PAGE), new_size.next_multiple_of(PAGE));
            // SAFETY: the block is a mapping of the old length.
            let moved = unsafe { mremap(block.cast(), old, new, MremapFlags::MAYMOVE) };
            if moved.is_ok() {
                self.large.fetch_add(new, Ordering::Relaxed);
                self.large.fetch_sub(old, Ordering::Relaxed);
            }
            return moved.map_or(ptr::null_mut(), <*mut core::ffi::c_void>::cast);
        }
        // SAFETY: a fresh block of the new layout; the old one is given up after its bytes are copied.
        unsafe {
            let fresh = self.alloc(new_layout);
            if !fresh.is_null() {
                ptr::copy_nonoverlapping(block, fresh, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            fresh
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_dense_and_rising() {
        let mut last = 0;
        for size in 1..=SMALL_MAX {
            let class = class_of(size);
            assert!(class == last || class == last + 1, "{size}");
            assert!(size_of_class(class) >= size, "{size}");
            assert!(class == 0 || size_of_class(class - 1) < size, "{size}");
            last = class;
        }
        assert!(last < CLASSES);
    }

    #[test]
    fn blocks_keep_their_bytes_and_alignment() {
        let heap = KernelHeap::new();
        for (size, align) in [(1, 1), (24, 8), (64, 64), (2700, 64), (4096, 4096), (100_000, 32), (300_000, 4096)] {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: plain use of the allocator with matching layouts.
            unsafe {
                let a = heap.alloc(layout);
                let b = heap.alloc_zeroed(layout);
                assert!(!a.is_null() && !b.is_null() && a != b);
                assert_eq!((a as usize % align, b as usize % align), (0, 0));
                a.write_bytes(0x5a, size);
                assert!((0..size).all(|i| *b.add(i) == 0));
                let grown = heap.realloc(a, layout, size * 3);
                assert!((0..size).all(|i| *grown.add(i) == 0x5a));
                heap.dealloc(grown, Layout::from_size_align(size * 3, align).unwrap());
                heap.dealloc(b, layout);
            }
        }
        assert_eq!(heap.large_bytes(), 0);
    }
}
