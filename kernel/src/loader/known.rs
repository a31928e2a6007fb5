//! Executables that were started before: their headers and interpreter, by version of the file.
//!
//! A file that has changed has another version ([`FileVersion`]) and is read again. The list is short and keeps what was
//! used last.

use super::elf::Headers;
use crate::mm::FileVersion;
use crate::sync::{Rank, SpinLock};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// How many are remembered.
const MAX: usize = 64;

/// What starting a file takes.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) headers: Headers,
    pub(super) interpreter: Option<Vec<u8>>,
}

/// The latest used last.
static KNOWN: SpinLock<Vec<(FileVersion, Arc<Known>)>> = SpinLock::new(Rank::Spares, Vec::new());

/// What is known of this version of a file.
pub(super) fn find(version: &FileVersion) -> Option<Arc<Known>> {
    let mut list = KNOWN.lock();
    let at = list.iter().rposition(|(v, _)| v == version)?;
    let entry = list.remove(at);
    let known = entry.1.clone();
    list.push(entry);
    Some(known)
}

/// Remembers a file, unless it has changed so lately that its next change might not show.
pub(super) fn remember(version: FileVersion, known: Arc<Known>) {
    if !version.is_settled() {
        return;
    }
    let mut list = KNOWN.lock();
    let oldest = if list.len() >= MAX { Some(list.remove(0)) } else { None };
    list.push((version, known));
    drop(list);
    drop(oldest);
}
