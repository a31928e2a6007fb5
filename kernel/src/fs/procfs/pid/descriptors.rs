//! /proc/<pid>/fd and /proc/<pid>/fdinfo.

use super::{Subject, ino};
use crate::error::{Errno, Result};
use crate::fs::Path;
use crate::fs::file::OpenFile;
use crate::fs::inode::{FileKind, Inode, InodeId, LinkTarget, Metadata};
use crate::fs::mount;
use crate::fs::procfs::number;
use crate::fs::pseudo::{DirProvider, Listed, PseudoDir, PseudoFile, PseudoLink};
use crate::task::Fd;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Entries of /proc/<pid>/fd and fdinfo are numbered from here, by descriptor.
const LINKS: usize = 1 << 22;
const INFOS: usize = 1 << 23;

pub(super) fn links(subject: &Subject, index: usize) -> Arc<dyn Inode> {
    PseudoDir::new(subject.identity(index, 0o500), Descriptors { subject: subject.clone(), info: false })
}

pub(super) fn infos(subject: &Subject, index: usize) -> Arc<dyn Inode> {
    PseudoDir::new(subject.identity(index, 0o555), Descriptors { subject: subject.clone(), info: true })
}

struct Descriptors {
    subject: Subject,
    info: bool,
}

impl DirProvider for Descriptors {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let n = number(name).ok_or(Errno::ENOENT)?;
        self.subject.check_access()?;
        let subject = self.subject.clone();
        let file = descriptor(&subject, n)?;
        if self.info {
            let identity = subject.identity(INFOS + n as usize, 0o400);
            return Ok(PseudoFile::new(identity, move |out| write_info(&subject, n, out)));
        }
        let mut mode = 0o100;
        mode |= if file.flags().readable() { 0o400 } else { 0 };
        mode |= if file.flags().writable() { 0o200 } else { 0 };
        let identity = subject.identity(LINKS + n as usize, mode);
        Ok(PseudoLink::new(identity, move || {
            let file = descriptor(&subject, n)?;
            let (path, text) = place(&file);
            Ok(LinkTarget::Magic(path, text))
        }))
    }

    fn list(&self) -> Result<Vec<Listed>> {
        self.subject.check_access()?;
        let Ok(thread) = self.subject.thread() else { return Ok(Vec::new()) };
        let (base, kind) = if self.info { (INFOS, FileKind::Regular) } else { (LINKS, FileKind::Symlink) };
        let owner = self.subject.number();
        let entry = |n: i32| Listed {
            name: format!("{n}").into_bytes(),
            ino: ino(owner, base + n as usize),
            kind,
            position: n as u64,
        };
        Ok(thread.files().descriptors().into_iter().map(entry).collect())
    }
}

fn descriptor(subject: &Subject, n: i32) -> Result<Arc<OpenFile>> {
    subject.thread().and_then(|t| t.file(Fd(n))).map_err(|_| Errno::ENOENT.into())
}

/// The place that a descriptor leads to, and its text.
fn place(file: &Arc<OpenFile>) -> (Path, Vec<u8>) {
    if let Some(path) = file.path() {
        return (path.clone(), path.display());
    }
    let label = file.ops().label().into_bytes();
    (Path::detached(Arc::new(Anonymous { file: file.clone(), id: mount::internal_id() }), &label), label)
}

/// What a link to a file without a name leads to: it can be looked at, not opened.
struct Anonymous {
    file: Arc<OpenFile>,
    id: InodeId,
}

impl Inode for Anonymous {
    fn kind(&self) -> FileKind {
        self.file.metadata().map_or(FileKind::Regular, |m| m.kind)
    }

    fn id(&self) -> InodeId {
        self.file.metadata().map_or(self.id, |m| m.id)
    }

    fn metadata(&self) -> Result<Metadata> {
        self.file.metadata()
    }
}

fn write_info(subject: &Subject, n: i32, out: &mut Vec<u8>) -> Result<()> {
    let file = descriptor(subject, n)?;
    let mut flags = file.flags().bits();
    if subject.thread()?.files().cloexec(Fd(n))? {
        flags |= crate::fs::file::OpenFlags::CLOEXEC.bits();
    }
    let position = if file.ops().seekable() { *file.offset() } else { 0 };
    let mount = file.path().map_or_else(|| mount::machine_root().mount().id(), |p| p.mount().id());
    let ino = file.metadata().map_or(0, |m| m.id.ino);
    let text = format!("pos:\t{position}\nflags:\t0{flags:o}\nmnt_id:\t{mount}\nino:\t{ino}\n{}", file.ops().fd_info());
    out.extend_from_slice(text.as_bytes());
    Ok(())
}
