//! A tree as a cpio archive (newc), for `initrd=`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};

use super::tree::{Kind, Object, Tree, epoch};

/// Writes the archive.
///
/// # Errors
/// What cannot be read or written.
pub(super) fn write(tree: &Tree, out: &Path) -> Result<()> {
    let file = File::create(out).with_context(|| format!("cannot write {}", out.display()))?;
    let mut archive = Archive { out: BufWriter::new(file), at: 0, time: epoch() };
    let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
    for (number, object) in (1..).zip(&tree.objects) {
        let (mode, data) = match &object.kind {
            Kind::Directory => (0o040000, Vec::new()),
            Kind::Symlink(target) => (0o120000, target.clone().into_bytes()),
            Kind::Fifo => (0o010000, Vec::new()),
            Kind::File(_) => (0o100000, fs::read(tree.host(object))?),
            // The first name brought the contents.
            Kind::Link(first) => {
                let first = tree.objects.iter().find(|o| o.path == *first);
                let kind = if matches!(first.map(|o| &o.kind), Some(Kind::Fifo)) { 0o010000 } else { 0o100000 };
                (kind, Vec::new())
            }
        };
        let number = match &object.kind {
            Kind::Link(first) => numbers.get(first.as_str()).copied().unwrap_or(number),
            _ => number,
        };
        numbers.insert(&object.path, number);
        archive.entry(if object.path.is_empty() { "." } else { &object.path }, number, mode, object, &data)?;
    }
    let end = Object { path: String::new(), kind: Kind::Directory, mode: 0, uid: 0, gid: 0, links: 1 };
    archive.time = 0;
    archive.entry("TRAILER!!!", 0, 0, &end, &[])?;
    archive.out.flush().with_context(|| format!("cannot write {}", out.display()))
}

struct Archive<W: Write> {
    out: W,
    at: usize,
    time: u32,
}

impl<W: Write> Archive<W> {
    fn entry(&mut self, name: &str, ino: u32, kind: u32, o: &Object, data: &[u8]) -> Result<()> {
        let size = u32::try_from(data.len()).with_context(|| format!("{name}: too large for a cpio archive"))?;
        let fields = [ino, kind | o.mode, o.uid, o.gid, o.links, self.time, size, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        let mut header = String::from("070701");
        for field in fields {
            header += &format!("{field:08x}");
        }
        self.put(header.as_bytes())?;
        self.put(name.as_bytes())?;
        self.put(&[0])?;
        self.pad()?;
        self.put(data)?;
        self.pad()
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.at += bytes.len();
        Ok(self.out.write_all(bytes)?)
    }

    fn pad(&mut self) -> Result<()> {
        let zeros = self.at.next_multiple_of(4) - self.at;
        self.put(&[0; 3][..zeros])
    }
}
