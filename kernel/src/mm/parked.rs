//! What a space that is not resident has otherwise than the window shows.
//!
//! Only differences are kept: a private page that has no entry here is as the window shows it, without memory if the
//! window has none there. The charge against `mem=` covers every page that may come to differ, so that saving one never
//! fails for want of memory.

use super::frames::Frame;
use super::window::window;
use crate::abi::PAGE_SIZE;
use crate::error::Result;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

/// The contents of a page.
#[derive(Clone, Debug)]
pub(super) enum Saved {
    /// These bytes.
    Page(Frame),
    /// It has no memory: zeros.
    Nothing,
}

/// The pages of one space that differ, by address.
#[derive(Default)]
pub(super) struct Parked {
    pages: BTreeMap<usize, Saved>,
    /// Pages charged against `mem=`.
    charged: usize,
}

impl Parked {
    pub(super) fn has(&self, page: usize) -> bool {
        self.pages.contains_key(&page)
    }

    /// Keeps a page's contents, unless some are kept already.
    pub(super) fn keep(&mut self, page: usize, contents: Saved) {
        self.pages.entry(page).or_insert(contents);
    }

    /// The runs of pages that differ.
    pub(super) fn ranges(&self) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for &page in self.pages.keys() {
            match runs.last_mut().filter(|last| last.end == page) {
                Some(last) => last.end += PAGE_SIZE,
                None => runs.push(page..page + PAGE_SIZE),
            }
        }
        runs
    }

    /// Takes all pages, in order.
    pub(super) fn take_pages(&mut self) -> BTreeMap<usize, Saved> {
        core::mem::take(&mut self.pages)
    }

    /// Charges `pages` instead of what was charged before. With `strict`, ENOMEM if `mem=` has no room for more.
    pub(super) fn charge(&mut self, pages: usize, strict: bool) -> Result<()> {
        let w = window();
        if pages > self.charged {
            w.charge(pages - self.charged, strict)?;
        } else {
            w.uncharge(self.charged - pages);
        }
        self.charged = pages;
        Ok(())
    }
}

impl Parked {
    /// Charges `pages` more, whether `mem=` has room or not.
    pub(super) fn charge_more(&mut self, pages: usize) {
        let _ = self.charge(self.charged + pages, false);
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        if self.charged > 0 {
            window().uncharge(self.charged);
        }
    }
}
