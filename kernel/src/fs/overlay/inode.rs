//! Objects of an overlay: which half counts, and copying up.

use super::Shared;
use super::file::OverlayFile;
use crate::error::{Errno, Result};
use crate::fs::file::{FileOps, OpenFile, OpenFlags};
use crate::fs::inode::{
    DeviceNumber, FallocateMode, FileKind, Inode, InodeId, LinkTarget, Metadata, NewInode, NewKind, RenameMode,
    SeekTarget, SetAttributes, XattrMode,
};
use crate::mm::{IovDest, IovSource};
use crate::sync::{Rank, SpinLock};
use crate::task::{Gid, Uid};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Marks an upper directory that hides the lower one.
const OPAQUE: &[u8] = b"trusted.overlay.opaque";
/// Bytes that copying up moves in one step.
const CHUNK: usize = 256 * 1024;

/// The upper and the lower half of an object, as far as they are there.
type Halves = (Option<Arc<dyn Inode>>, Option<Arc<dyn Inode>>);

/// What a directory shows: name, number, kind.
pub(super) type Listing = Vec<(Box<[u8]>, u64, FileKind)>;

/// Where an object is, and its halves.
struct State {
    parent: Option<Arc<OverlayInode>>,
    name: Box<[u8]>,
    upper: Option<Arc<dyn Inode>>,
    lower: Option<Arc<dyn Inode>>,
}

/// An object.
pub(super) struct OverlayInode {
    shared: Arc<Shared>,
    kind: FileKind,
    id: InodeId,
    state: SpinLock<State>,
}

/// Whether an upper object says that there is nothing.
fn is_whiteout(inode: &Arc<dyn Inode>) -> bool {
    inode.kind() == FileKind::CharDevice && inode.metadata().is_ok_and(|m| m.rdev == DeviceNumber::new(0, 0))
}

fn is_opaque(dir: &Arc<dyn Inode>) -> bool {
    dir.get_xattr(OPAQUE).is_ok_and(|v| v == b"y")
}

/// Gives `to` owner, mode, times and attributes of `from`.
pub(super) fn copy_attributes(from: &Arc<dyn Inode>, to: &Arc<dyn Inode>) -> Result<()> {
    let m = from.metadata()?;
    for name in from.list_xattrs()?.split(|&c| c == 0).filter(|n| !n.is_empty()) {
        if let Ok(value) = from.get_xattr(name) {
            to.set_xattr(name, &value, XattrMode::Set)?;
        }
    }
    to.set_attributes(&SetAttributes {
        mode: Some(m.mode),
        uid: Some(m.uid),
        gid: Some(m.gid),
        atime: Some(m.atime),
        mtime: Some(m.mtime),
        size: None,
    })
}

fn copy_contents(from: &Arc<dyn Inode>, to: &Arc<dyn Inode>) -> Result<()> {
    let open =
        |i: &Arc<dyn Inode>, flags| Ok::<_, crate::error::Error>(OpenFile::anonymous(i.clone().open(flags)?, flags));
    let (source, target) = (open(from, OpenFlags::empty())?, open(to, OpenFlags::WRONLY)?);
    let mut chunk = alloc::vec![0u8; CHUNK];
    let mut at = 0;
    loop {
        let n = source.ops().read(&source, &mut IovDest::kernel(&mut chunk), Some(at))?;
        if n == 0 {
            return Ok(());
        }
        let mut bytes = IovSource::kernel(&chunk[..n]);
        let mut done = 0;
        while done < n {
            done += match target.ops().write(&target, &mut bytes, Some(at + done as u64))? {
                0 => return Err(Errno::ENOSPC.into()),
                k => k,
            };
        }
        at += n as u64;
    }
}

impl OverlayInode {
    /// The object with these halves; the one that is in use already, if there is one.
    pub fn new(
        shared: Arc<Shared>,
        parent: Option<Arc<OverlayInode>>,
        name: &[u8],
        upper: Option<Arc<dyn Inode>>,
        lower: Option<Arc<dyn Inode>>,
    ) -> Result<Arc<Self>> {
        let main = upper.as_ref().or(lower.as_ref()).ok_or(Errno::ENOENT)?;
        let half = main.id();
        if let Some(known) = shared.known(half) {
            return Ok(known);
        }
        let kind = main.kind();
        // The two halves' numbers must not meet: those of the upper tree become odd, of the lower even.
        let ino = half.ino << 1 | u64::from(upper.is_some());
        let id = InodeId { dev: shared.device, ino };
        let state = SpinLock::new(Rank::FileLocks, State { parent, name: name.into(), upper, lower });
        let inode = Arc::new(OverlayInode { shared, kind, id, state });
        inode.shared.enter(half, &inode);
        Ok(inode)
    }

    /// The half that counts.
    pub fn current(&self) -> Result<Arc<dyn Inode>> {
        let state = self.state.lock();
        state.upper.as_ref().or(state.lower.as_ref()).cloned().ok_or_else(|| Errno::ENOENT.into())
    }

    fn halves(&self) -> Halves {
        let state = self.state.lock();
        (state.upper.clone(), state.lower.clone())
    }

    /// The upper half; made if there is none.
    pub fn copy_up(self: &Arc<Self>) -> Result<Arc<dyn Inode>> {
        let (parent, name, upper, lower) = {
            let s = self.state.lock();
            (s.parent.clone(), s.name.clone(), s.upper.clone(), s.lower.clone())
        };
        if let Some(upper) = upper {
            return Ok(upper);
        }
        let (Some(parent), Some(lower)) = (parent, lower) else { return Err(Errno::ENOENT.into()) };
        let dir = parent.copy_up()?;
        let meta = lower.metadata()?;
        let text = match self.kind {
            FileKind::Symlink => match lower.read_link()? {
                LinkTarget::Text(text) => text,
                LinkTarget::Magic(_, text) => text,
            },
            _ => Vec::new(),
        };
        let kind = match self.kind {
            FileKind::Regular => NewKind::Regular,
            FileKind::Directory => NewKind::Directory,
            FileKind::Symlink => NewKind::Symlink(&text),
            FileKind::Fifo => NewKind::Fifo,
            FileKind::Socket => NewKind::Socket,
            FileKind::CharDevice => NewKind::CharDevice(meta.rdev),
            FileKind::BlockDevice => NewKind::BlockDevice(meta.rdev),
        };
        let new = NewInode { kind, mode: meta.mode, uid: meta.uid, gid: meta.gid };
        let made = dir.create(&name, &new)?;
        let filled = match self.kind {
            FileKind::Regular => copy_contents(&lower, &made),
            _ => Ok(()),
        };
        if let Err(e) = filled.and_then(|()| copy_attributes(&lower, &made)) {
            let _ = if self.kind == FileKind::Directory { dir.rmdir(&name) } else { dir.unlink(&name) };
            return Err(e);
        }
        self.adopt(&made);
        Ok(made)
    }

    fn adopt(self: &Arc<Self>, upper: &Arc<dyn Inode>) {
        self.shared.enter(upper.id(), self);
        self.state.lock().upper = Some(upper.clone());
    }

    fn me(&self) -> Result<Arc<OverlayInode>> {
        // Whoever calls holds an Arc of this object, and the table knows it by its halves.
        let half = self.current()?.id();
        self.shared.known(half).ok_or_else(|| Errno::EIO.into())
    }

    fn child(self: &Arc<Self>, name: &[u8]) -> Result<Arc<OverlayInode>> {
        let (upper_dir, lower_dir) = self.halves();
        let in_upper = match upper_dir.as_ref().map(|d| d.lookup(name)) {
            Some(Ok(found)) if is_whiteout(&found) => return Err(Errno::ENOENT.into()),
            Some(Ok(found)) => Some(found),
            Some(Err(e)) if e.errno() != Errno::ENOENT => return Err(e),
            _ => None,
        };
        let hidden = upper_dir.as_ref().is_some_and(is_opaque)
            || in_upper.as_ref().is_some_and(|u| u.kind() != FileKind::Directory || is_opaque(u));
        let in_lower = match lower_dir.as_ref().filter(|_| !hidden).map(|d| d.lookup(name)) {
            Some(Ok(found)) => Some(found),
            Some(Err(e)) if e.errno() != Errno::ENOENT => return Err(e),
            _ => None,
        };
        let in_lower = in_lower.filter(|l| in_upper.is_none() || l.kind() == FileKind::Directory);
        Self::new(self.shared.clone(), Some(self.clone()), name, in_upper, in_lower)
    }

    /// Whether the lower tree has something of this name that must be hidden.
    fn lower_has(&self, name: &[u8]) -> bool {
        let (upper, lower) = self.halves();
        !upper.as_ref().is_some_and(is_opaque) && lower.is_some_and(|d| d.lookup(name).is_ok())
    }

    /// Removes a whiteout of this name; says whether there was one.
    fn lift_whiteout(dir: &Arc<dyn Inode>, name: &[u8]) -> Result<bool> {
        match dir.lookup(name) {
            Ok(found) if is_whiteout(&found) => dir.unlink(name).map(|()| true),
            _ => Ok(false),
        }
    }

    fn put_whiteout(dir: &Arc<dyn Inode>, name: &[u8]) -> Result<()> {
        let kind = NewKind::CharDevice(DeviceNumber::new(0, 0));
        dir.create(name, &NewInode { kind, mode: 0, uid: Uid(0), gid: Gid(0) }).map(drop)
    }

    /// The names of both halves: each once, whiteouts left out. Kinds and numbers are those of the objects.
    pub fn entries(self: &Arc<Self>) -> Result<Listing> {
        let (upper, lower) = self.halves();
        let opaque = upper.as_ref().is_some_and(is_opaque);
        let mut names: alloc::collections::BTreeSet<Box<[u8]>> = alloc::collections::BTreeSet::new();
        for dir in upper.iter().chain(lower.iter().filter(|_| !opaque)) {
            let file = OpenFile::anonymous(dir.clone().open(OpenFlags::DIRECTORY)?, OpenFlags::DIRECTORY);
            let mut cookie = 2;
            file.ops().read_dir(&file, cookie, &mut |e| {
                cookie = e.next;
                if e.name != b"." && e.name != b".." {
                    names.insert(e.name.into());
                }
                true
            })?;
        }
        let mut out = Vec::new();
        for name in names {
            // What went meanwhile, and whiteouts, are ENOENT.
            if let Ok(child) = self.child(&name) {
                out.push((name, child.id.ino, child.kind));
            }
        }
        Ok(out)
    }

    fn overlay_of<'a>(&self, other: &'a Arc<dyn Inode>) -> Result<&'a OverlayInode> {
        match other.downcast_ref::<OverlayInode>() {
            Some(o) if Arc::ptr_eq(&o.shared, &self.shared) => Ok(o),
            _ => Err(Errno::EXDEV.into()),
        }
    }

    /// Takes the object `name` away from this directory, and hides what the lower tree has of it.
    fn remove(self: &Arc<Self>, name: &[u8], child: &Arc<OverlayInode>) -> Result<()> {
        let hide = self.lower_has(name);
        let dir = self.copy_up()?;
        if let Some(upper) = child.halves().0 {
            if child.kind == FileKind::Directory {
                // What is left in it are whiteouts.
                let file = OpenFile::anonymous(upper.clone().open(OpenFlags::DIRECTORY)?, OpenFlags::DIRECTORY);
                let mut left: Vec<Box<[u8]>> = Vec::new();
                file.ops().read_dir(&file, 2, &mut |e| {
                    left.push(e.name.into());
                    true
                })?;
                for whiteout in left.iter().filter(|n| &***n != b"." && &***n != b"..") {
                    upper.unlink(whiteout)?;
                }
                dir.rmdir(name)?;
            } else {
                dir.unlink(name)?;
            }
        }
        if hide {
            Self::put_whiteout(&dir, name)?;
        }
        Ok(())
    }
}

impl Inode for OverlayInode {
    fn kind(&self) -> FileKind {
        self.kind
    }

    fn id(&self) -> InodeId {
        self.id
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(Metadata { id: self.id, ..self.current()?.metadata()? })
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        self.me()?.copy_up()?.set_attributes(change)
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        Ok(self.me()?.child(name)?)
    }

    fn create(&self, name: &[u8], new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        let me = self.me()?;
        if me.child(name).is_ok() {
            return Err(Errno::EEXIST.into());
        }
        let dir = me.copy_up()?;
        let whiteout = Self::lift_whiteout(&dir, name)?;
        let made = match dir.create(name, new) {
            Ok(made) => made,
            Err(e) => {
                if whiteout {
                    Self::put_whiteout(&dir, name)?;
                }
                return Err(e);
            }
        };
        if whiteout && new.kind == NewKind::Directory {
            made.set_xattr(OPAQUE, b"y", XattrMode::Set)?;
        }
        Ok(Self::new(self.shared.clone(), Some(me), name, Some(made), None)?)
    }

    fn create_unnamed(&self, new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        let me = self.me()?;
        let made = me.copy_up()?.create_unnamed(new)?;
        Ok(Self::new(self.shared.clone(), Some(me), b"", Some(made), None)?)
    }

    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        let me = self.me()?;
        if me.child(name).is_ok() {
            return Err(Errno::EEXIST.into());
        }
        let upper = self.overlay_of(target)?.me()?.copy_up()?;
        let dir = me.copy_up()?;
        Self::lift_whiteout(&dir, name)?;
        dir.link(name, &upper)
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        let me = self.me()?;
        let child = me.child(name)?;
        if child.kind == FileKind::Directory {
            return Err(Errno::EISDIR.into());
        }
        me.remove(name, &child)
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        let me = self.me()?;
        let child = me.child(name)?;
        if child.kind != FileKind::Directory {
            return Err(Errno::ENOTDIR.into());
        }
        if !child.entries()?.is_empty() {
            return Err(Errno::ENOTEMPTY.into());
        }
        me.remove(name, &child)
    }

    fn rename(&self, name: &[u8], new_dir: &Arc<dyn Inode>, new_name: &[u8], mode: RenameMode) -> Result<()> {
        let me = self.me()?;
        let to = self.overlay_of(new_dir)?.me()?;
        let moved = me.child(name)?;
        let target = to.child(new_name).ok();
        match (mode, &target) {
            (RenameMode::NoReplace, Some(_)) => return Err(Errno::EEXIST.into()),
            (RenameMode::Exchange, _) => return Err(Errno::EINVAL.because("an overlay does not exchange names")),
            (_, Some(t)) if Arc::ptr_eq(t, &moved) => return Ok(()),
            _ => {}
        }
        if moved.kind == FileKind::Directory && moved.halves().1.is_some() {
            return Err(Errno::EXDEV.because("a directory of an overlay's lower tree is copied, not moved"));
        }
        if let Some(t) = &target {
            if t.kind == FileKind::Directory && !t.entries()?.is_empty() {
                return Err(Errno::ENOTEMPTY.into());
            }
            to.remove(new_name, t)?;
        }
        moved.copy_up()?;
        let (hide, hides) = (me.lower_has(name), to.lower_has(new_name));
        let (from_dir, to_dir) = (me.copy_up()?, to.copy_up()?);
        Self::lift_whiteout(&to_dir, new_name)?;
        from_dir.rename(name, &to_dir, new_name, RenameMode::Replace)?;
        if hides && moved.kind == FileKind::Directory {
            moved.current()?.set_xattr(OPAQUE, b"y", XattrMode::Set)?;
        }
        if hide {
            Self::put_whiteout(&from_dir, name)?;
        }
        let old_parent = {
            let mut state = moved.state.lock();
            state.name = new_name.into();
            state.parent.replace(to)
        };
        drop(old_parent);
        Ok(())
    }

    fn read_link(&self) -> Result<LinkTarget> {
        self.current()?.read_link()
    }

    fn open(self: Arc<Self>, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        if flags.writable() || flags.contains(OpenFlags::TRUNC) {
            self.copy_up()?;
        }
        Ok(Arc::new(OverlayFile::new(self, flags)?))
    }

    fn fallocate(&self, mode: FallocateMode, offset: u64, len: u64) -> Result<()> {
        self.me()?.copy_up()?.fallocate(mode, offset, len)
    }

    fn seek_extent(&self, offset: u64, target: SeekTarget) -> Result<u64> {
        self.current()?.seek_extent(offset, target)
    }

    fn sync(&self, data_only: bool) -> Result<()> {
        self.current()?.sync(data_only)
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        if name == OPAQUE {
            return Err(Errno::ENODATA.into());
        }
        self.current()?.get_xattr(name)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        if name == OPAQUE {
            return Err(Errno::EPERM.because("this attribute is the overlay's own"));
        }
        self.me()?.copy_up()?.set_xattr(name, value, mode)
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        if name == OPAQUE {
            return Err(Errno::ENODATA.into());
        }
        self.me()?.copy_up()?.remove_xattr(name)
    }

    fn list_xattrs(&self) -> Result<Vec<u8>> {
        let all = self.current()?.list_xattrs()?;
        let own = |n: &&[u8]| !n.is_empty() && *n != OPAQUE;
        Ok(all.split(|&c| c == 0).filter(own).flat_map(|n| n.iter().copied().chain([0])).collect())
    }
}
