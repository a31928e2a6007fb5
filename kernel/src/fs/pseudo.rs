//! File systems whose contents are computed: the building blocks of procfs and sysfs.
//!
//! A directory is a table of fixed entries ([`FixedDir`]) or a [`DirProvider`] that is asked each time. A file is a
//! function that writes its text; it runs at the first read of an open file and whenever reading begins at offset 0
//! again, so that one pass over the file sees one state. Providers run without any lock held.

use super::file::{FileOps, OpenFile, OpenFlags};
use super::inode::{
    DeviceNumber, DirEntry, DirSink, FileKind, FileSystem, FsStat, Inode, InodeId, LinkTarget, Metadata, SetAttributes,
    list_dots,
};
use crate::error::{Errno, Result};
use crate::mm::{IovDest, IovSource};
use crate::sync::{Rank, SpinLock};
use crate::task::{Gid, Uid};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};

/// Writes a file's text.
pub type Generate = Box<dyn Fn(&mut Vec<u8>) -> Result<()> + Send + Sync>;
/// Takes what was written to a file, one call at a time.
pub type Accept = Box<dyn Fn(&[u8]) -> Result<()> + Send + Sync>;
/// Says where a link leads.
pub type Lead = Box<dyn Fn() -> Result<LinkTarget> + Send + Sync>;

/// The most that one write to such a file may hold, in bytes.
const MAX_WRITE: usize = 4096;

/// An inode number that no other object of these file systems has.
pub fn new_ino() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// What all these objects have.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Its name for life.
    pub id: InodeId,
    /// Permissions.
    pub mode: u32,
    /// Owner.
    pub owner: (Uid, Gid),
}

impl Identity {
    /// Root's, with a number of its own.
    pub fn new(dev: DeviceNumber, mode: u32) -> Self {
        Identity { id: InodeId { dev, ino: new_ino() }, mode, owner: (Uid(0), Gid(0)) }
    }

    fn metadata(&self, kind: FileKind) -> Metadata {
        let (uid, gid) = self.owner;
        Metadata { uid, gid, block_size: 1024, ..Metadata::new(self.id, kind, self.mode) }
    }
}

/// A name that a provider lists.
pub struct Listed {
    /// The name.
    pub name: Vec<u8>,
    /// Its inode number.
    pub ino: u64,
    /// What it is.
    pub kind: FileKind,
    /// Where it stands in the directory: a reader goes on behind it, whatever has come or gone meanwhile.
    pub position: u64,
}

/// A directory whose entries are computed.
pub trait DirProvider: Any + Send + Sync {
    /// What has this name. ENOENT if nothing has.
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>>;

    /// All names, by rising positions.
    fn list(&self) -> Result<Vec<Listed>>;

    /// Whether a name that was found stays valid for ever.
    fn is_fixed(&self) -> bool {
        false
    }
}

/// A directory with computed entries. As an open file it is its own [`FileOps`].
pub struct PseudoDir {
    identity: Identity,
    provider: Box<dyn DirProvider>,
}

impl PseudoDir {
    /// A directory.
    pub fn new(identity: Identity, provider: impl DirProvider) -> Arc<Self> {
        Arc::new(PseudoDir { identity, provider: Box::new(provider) })
    }

    /// Who computes the entries, if it is a `T`.
    pub fn provider<T: DirProvider>(&self) -> Option<&T> {
        let any: &dyn Any = &*self.provider;
        any.downcast_ref()
    }
}

impl Inode for PseudoDir {
    fn kind(&self) -> FileKind {
        FileKind::Directory
    }

    fn id(&self) -> InodeId {
        self.identity.id
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(self.identity.metadata(FileKind::Directory))
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        self.provider.lookup(name)
    }

    fn revalidate(&self, _name: &[u8], _child: &Arc<dyn Inode>) -> bool {
        self.provider.is_fixed()
    }

    fn open(self: Arc<Self>, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(self)
    }
}

impl FileOps for PseudoDir {
    fn read(&self, _file: &OpenFile, _dst: &mut IovDest<'_>, _offset: Option<u64>) -> Result<usize> {
        Err(Errno::EISDIR.into())
    }

    fn seekable(&self) -> bool {
        true
    }

    fn read_dir(&self, file: &OpenFile, cookie: u64, sink: DirSink<'_>) -> Result<()> {
        if !list_dots(file, cookie, sink) {
            return Ok(());
        }
        // The dots have the first two places.
        let first = cookie.saturating_sub(2);
        for e in self.provider.list()?.iter().filter(|e| e.position >= first) {
            if !sink(&DirEntry { name: &e.name, ino: e.ino, kind: Some(e.kind), next: e.position + 3 }) {
                break;
            }
        }
        Ok(())
    }
}

/// Fixed entries, by name.
#[derive(Default)]
pub struct FixedDir {
    entries: BTreeMap<&'static [u8], Arc<dyn Inode>>,
}

impl FixedDir {
    /// Adds an entry.
    pub fn with(mut self, name: &'static str, inode: Arc<dyn Inode>) -> Self {
        self.entries.insert(name.as_bytes(), inode);
        self
    }
}

impl DirProvider for FixedDir {
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        self.entries.get(name).cloned().ok_or_else(|| Errno::ENOENT.into())
    }

    fn list(&self) -> Result<Vec<Listed>> {
        let listed = |(position, (name, inode)): (u64, (&&[u8], &Arc<dyn Inode>))| Listed {
            name: name.to_vec(),
            ino: inode.id().ino,
            kind: inode.kind(),
            position,
        };
        Ok((0..).zip(&self.entries).map(listed).collect())
    }

    fn is_fixed(&self) -> bool {
        true
    }
}

/// A file with computed text.
pub struct PseudoFile {
    identity: Identity,
    generate: Generate,
    accept: Option<Accept>,
}

impl PseudoFile {
    /// A file that can be read.
    pub fn new(identity: Identity, generate: impl Fn(&mut Vec<u8>) -> Result<()> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(PseudoFile { identity, generate: Box::new(generate), accept: None })
    }

    /// A file that can be read and written.
    pub fn writable(
        identity: Identity,
        generate: impl Fn(&mut Vec<u8>) -> Result<()> + Send + Sync + 'static,
        accept: impl Fn(&[u8]) -> Result<()> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(PseudoFile { identity, generate: Box::new(generate), accept: Some(Box::new(accept)) })
    }
}

impl Inode for PseudoFile {
    fn kind(&self) -> FileKind {
        FileKind::Regular
    }

    fn id(&self) -> InodeId {
        self.identity.id
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(self.identity.metadata(FileKind::Regular))
    }

    /// Truncation has no meaning here, but shells ask for it when they write (`>`).
    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        if *change == (SetAttributes { size: change.size, ..SetAttributes::default() }) {
            return Ok(());
        }
        Err(Errno::EPERM.into())
    }

    fn open(self: Arc<Self>, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(Arc::new(OpenPseudo { file: self, text: SpinLock::new(Rank::Inode, None) }))
    }
}

/// An open file, with the text of the present pass over it.
struct OpenPseudo {
    file: Arc<PseudoFile>,
    text: SpinLock<Option<Arc<Vec<u8>>>>,
}

impl FileOps for OpenPseudo {
    fn read(&self, _file: &OpenFile, dst: &mut IovDest<'_>, offset: Option<u64>) -> Result<usize> {
        let at = usize::try_from(offset.unwrap_or(0)).unwrap_or(usize::MAX);
        let known = if at == 0 { None } else { self.text.lock().clone() };
        let text = match known {
            Some(text) => text,
            None => {
                let mut text = Vec::new();
                (self.file.generate)(&mut text)?;
                let text = Arc::new(text);
                *self.text.lock() = Some(text.clone());
                text
            }
        };
        dst.put(text.get(at..).unwrap_or_default())
    }

    fn write(&self, _file: &OpenFile, src: &mut IovSource<'_>, _offset: Option<u64>) -> Result<usize> {
        let Some(accept) = &self.file.accept else {
            return Err(Errno::EACCES.because("this file cannot be written"));
        };
        if src.remaining() > MAX_WRITE {
            return Err(Errno::EINVAL.because("more than such a file takes at once"));
        }
        let mut bytes = alloc::vec![0; src.remaining()];
        let n = src.take(&mut bytes)?;
        accept(&bytes[..n])?;
        Ok(n)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn locks_offset(&self) -> bool {
        false
    }
}

/// A symbolic link with a computed target.
pub struct PseudoLink {
    identity: Identity,
    lead: Lead,
}

impl PseudoLink {
    /// A link.
    pub fn new(identity: Identity, lead: impl Fn() -> Result<LinkTarget> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(PseudoLink { identity, lead: Box::new(lead) })
    }

    /// A link with a fixed text.
    pub fn fixed(dev: DeviceNumber, text: &'static str) -> Arc<Self> {
        Self::new(Identity::new(dev, 0o777), move || Ok(LinkTarget::Text(text.as_bytes().to_vec())))
    }
}

impl Inode for PseudoLink {
    fn kind(&self) -> FileKind {
        FileKind::Symlink
    }

    fn id(&self) -> InodeId {
        self.identity.id
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(self.identity.metadata(FileKind::Symlink))
    }

    fn read_link(&self) -> Result<LinkTarget> {
        (self.lead)()
    }
}

/// A file system over a computed directory.
pub struct PseudoFs {
    type_name: &'static str,
    magic: u64,
    root: Arc<PseudoDir>,
}

impl PseudoFs {
    /// A file system; `magic` is for statfs(2).
    pub fn new(type_name: &'static str, magic: u64, root: Arc<PseudoDir>) -> Arc<Self> {
        Arc::new(PseudoFs { type_name, magic, root })
    }
}

impl FileSystem for PseudoFs {
    fn type_name(&self) -> &'static str {
        self.type_name
    }

    fn root(&self) -> Arc<dyn Inode> {
        self.root.clone()
    }

    fn device(&self) -> DeviceNumber {
        self.root.identity.id.dev
    }

    fn stat_fs(&self) -> Result<FsStat> {
        Ok(FsStat::empty(self.magic))
    }
}
