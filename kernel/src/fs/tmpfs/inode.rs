//! Files, directories and the rest of a tmpfs.

use super::Shared;
use super::contents::Contents;
use super::directory::Entries;
use crate::abi::{PAGE_SIZE, general as abi};
use crate::error::{Errno, Result};
use crate::fs::file::{FileOps, MapSource, OpenFile, OpenFlags};
use crate::fs::inode::{
    DirSink, FallocateMode, FileKind, Inode, InodeId, LinkTarget, Metadata, NewInode, NewKind, RenameMode, SeekTarget,
    SetAttributes, Timestamp, XattrMode, list_dots,
};
use crate::fs::permission;
use crate::mm::{IovDest, IovSource};
use crate::sync::{Rank, SpinGuard, SpinLock};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

/// The largest size of a file, in bytes.
const MAX_SIZE: u64 = i64::MAX as u64;
/// The largest value of an extended attribute (`XATTR_SIZE_MAX`).
const MAX_XATTR: usize = 65_536;

struct State {
    meta: Metadata,
    contents: Contents,
    xattrs: BTreeMap<Box<[u8]>, Vec<u8>>,
    seals: u32,
}

impl State {
    fn changed(&mut self) {
        let now = Timestamp::now();
        self.meta.mtime = now;
        self.meta.ctime = now;
    }

    /// What the extended attributes are charged as.
    fn xattr_pages(&self) -> u64 {
        let bytes: usize = self.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        bytes.div_ceil(PAGE_SIZE) as u64
    }

    fn check_seals(&self, refuses: u32) -> Result<()> {
        if self.seals & refuses != 0 {
            return Err(Errno::EPERM.because("the file is sealed"));
        }
        Ok(())
    }

    fn resize(&mut self, size: u64, shared: &Shared) -> Result<()> {
        if size > MAX_SIZE {
            return Err(Errno::EFBIG.into());
        }
        if size > self.meta.size {
            self.check_seals(abi::F_SEAL_GROW)?;
        } else if size < self.meta.size {
            self.check_seals(abi::F_SEAL_SHRINK)?;
        }
        self.contents.resize(size, shared)?;
        self.meta.size = size;
        Ok(())
    }
}

/// An object of a tmpfs. As an open file it is its own [`FileOps`].
pub struct TmpInode {
    me: Weak<TmpInode>,
    shared: Arc<Shared>,
    id: InodeId,
    kind: FileKind,
    target: Box<[u8]>,
    entries: SpinLock<Entries>,
    state: SpinLock<State>,
}

impl Drop for TmpInode {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        self.shared.uncharge(state.contents.charged() + state.xattr_pages());
        self.shared.inodes.fetch_sub(1, Ordering::Relaxed);
    }
}

impl TmpInode {
    pub(super) fn new(shared: Arc<Shared>, new: &NewInode<'_>) -> Arc<Self> {
        let id = shared.new_id();
        shared.inodes.fetch_add(1, Ordering::Relaxed);
        let kind = new.kind.kind();
        let mut meta = Metadata { uid: new.uid, gid: new.gid, ..Metadata::new(id, kind, new.mode) };
        let mut target: Box<[u8]> = Box::default();
        match new.kind {
            NewKind::CharDevice(number) | NewKind::BlockDevice(number) => meta.rdev = number,
            NewKind::Symlink(text) => {
                target = text.into();
                meta.size = text.len() as u64;
            }
            _ => {}
        }
        let state = State { meta, contents: Contents::new(), xattrs: BTreeMap::new(), seals: abi::F_SEAL_SEAL };
        Arc::new_cyclic(|me| TmpInode {
            me: me.clone(),
            shared,
            id,
            kind,
            target,
            entries: SpinLock::new(Rank::Directory, Entries::new()),
            state: SpinLock::new(Rank::Inode, state),
        })
    }

    pub(super) fn begin_unnamed(&self, seals: u32) {
        let mut state = self.state.lock();
        state.meta.nlink = 0;
        state.seals = seals;
    }

    fn entries(&self) -> Result<SpinGuard<'_, Entries>> {
        if self.kind != FileKind::Directory {
            return Err(Errno::ENOTDIR.into());
        }
        Ok(self.entries.lock())
    }

    fn add_links(&self, change: i64) {
        let mut state = self.state.lock();
        state.meta.nlink = state.meta.nlink.saturating_add_signed(change);
        state.meta.ctime = Timestamp::now();
    }

    fn touch(&self) {
        self.state.lock().changed();
    }

    fn same_fs<'a>(&self, other: &'a Arc<dyn Inode>) -> Result<&'a TmpInode> {
        match other.downcast_ref::<TmpInode>() {
            Some(o) if Arc::ptr_eq(&o.shared, &self.shared) => Ok(o),
            _ => Err(Errno::EXDEV.into()),
        }
    }

    /// The last name of `gone` in `self` was removed.
    fn after_removal(&self, gone: &TmpInode) {
        if gone.kind == FileKind::Directory {
            gone.add_links(-2);
            self.add_links(-1);
        } else {
            gone.add_links(-1);
        }
        self.touch();
    }

    /// Marks an empty directory as one that is about to lose its name. ENOTEMPTY if it is not empty.
    fn bury(&self) -> Result<()> {
        let mut entries = self.entries()?;
        if !entries.is_empty() {
            return Err(Errno::ENOTEMPTY.into());
        }
        entries.dead = true;
        Ok(())
    }
}

/// What rename does about an existing target: swaps with it (then it is returned), refuses, or makes it ready to go.
fn exchange_or_bury(target: &Option<Arc<TmpInode>>, mode: RenameMode) -> Result<Option<&Arc<TmpInode>>> {
    match (mode, target) {
        (RenameMode::NoReplace, Some(_)) => Err(Errno::EEXIST.into()),
        (RenameMode::Exchange, None) => Err(Errno::ENOENT.into()),
        (RenameMode::Exchange, Some(t)) => Ok(Some(t)),
        (RenameMode::Replace, Some(t)) if t.kind == FileKind::Directory => t.bury().map(|()| None),
        _ => Ok(None),
    }
}

impl Inode for TmpInode {
    fn kind(&self) -> FileKind {
        self.kind
    }

    fn id(&self) -> InodeId {
        self.id
    }

    fn metadata(&self) -> Result<Metadata> {
        let state = self.state.lock();
        Ok(Metadata { blocks: state.contents.charged() * 8, ..state.meta })
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        let mut state = self.state.lock();
        if let Some(size) = change.size {
            state.resize(size, &self.shared)?;
            state.changed();
        }
        let meta = &mut state.meta;
        meta.mode = change.mode.unwrap_or(meta.mode);
        meta.uid = change.uid.unwrap_or(meta.uid);
        meta.gid = change.gid.unwrap_or(meta.gid);
        meta.atime = change.atime.unwrap_or(meta.atime);
        meta.mtime = change.mtime.unwrap_or(meta.mtime);
        meta.ctime = Timestamp::now();
        Ok(())
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        Ok(self.entries()?.get(name)?)
    }

    fn create(&self, name: &[u8], new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        self.shared.check_inodes()?;
        let child = TmpInode::new(self.shared.clone(), new);
        let tree = self.shared.tree.lock();
        self.entries()?.add(name, child.clone())?;
        drop(tree);
        if child.kind == FileKind::Directory {
            self.add_links(1);
        }
        self.touch();
        Ok(child)
    }

    fn create_unnamed(&self, new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        self.shared.check_inodes()?;
        let child = TmpInode::new(self.shared.clone(), new);
        child.begin_unnamed(abi::F_SEAL_SEAL);
        Ok(child)
    }

    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        let target = self.same_fs(target)?;
        let inode = target.me.upgrade().ok_or(Errno::ENOENT)?;
        let tree = self.shared.tree.lock();
        self.entries()?.add(name, inode)?;
        drop(tree);
        target.add_links(1);
        self.touch();
        Ok(())
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        let gone = {
            let _tree = self.shared.tree.lock();
            let mut entries = self.entries()?;
            if entries.get(name)?.kind == FileKind::Directory {
                return Err(Errno::EISDIR.into());
            }
            entries.remove(name)
        };
        if let Some(gone) = gone {
            self.after_removal(&gone);
        }
        Ok(())
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        let gone = {
            let _tree = self.shared.tree.lock();
            let victim = self.entries()?.get(name)?;
            victim.bury()?;
            self.entries()?.remove(name)
        };
        if let Some(gone) = gone {
            self.after_removal(&gone);
        }
        Ok(())
    }

    fn rename(&self, name: &[u8], new_dir: &Arc<dyn Inode>, new_name: &[u8], mode: RenameMode) -> Result<()> {
        let to = self.same_fs(new_dir)?;
        let tree = self.shared.tree.lock();
        let moved = self.entries()?.get(name)?;
        let target = to.entries()?.get(new_name).ok();
        if let Some(t) = exchange_or_bury(&target, mode)? {
            self.entries()?.replace(name, t.clone());
            to.entries()?.replace(new_name, moved.clone());
        } else {
            // The new name comes before the old one goes: at no time has the object none.
            let replaced = to.entries()?.replace(new_name, moved.clone());
            if replaced.is_none() {
                to.entries()?.add(new_name, moved.clone())?;
            }
            let old = self.entries()?.remove(name);
            drop((replaced, old));
        }
        drop(tree);
        if moved.kind == FileKind::Directory {
            self.add_links(-1);
            to.add_links(1);
        }
        if let Some(t) = target {
            if mode != RenameMode::Exchange {
                to.after_removal(&t);
            } else if t.kind == FileKind::Directory {
                self.add_links(1);
                to.add_links(-1);
            }
        }
        self.touch();
        to.touch();
        Ok(())
    }

    fn read_link(&self) -> Result<LinkTarget> {
        if self.kind != FileKind::Symlink {
            return Err(Errno::EINVAL.into());
        }
        Ok(LinkTarget::Text(self.target.to_vec()))
    }

    fn open(self: Arc<Self>, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(self)
    }

    fn fallocate(&self, mode: FallocateMode, offset: u64, len: u64) -> Result<()> {
        let end = offset.checked_add(len).filter(|&e| e <= MAX_SIZE).ok_or(Errno::EFBIG)?;
        let mut state = self.state.lock();
        let state = &mut *state;
        let grows = |keep_size: bool| !keep_size && end > state.meta.size;
        match mode {
            FallocateMode::PunchHole => {
                state.check_seals(abi::F_SEAL_WRITE | abi::F_SEAL_FUTURE_WRITE)?;
                state.contents.punch(offset, len, &self.shared)?;
            }
            FallocateMode::Allocate { keep_size } => {
                let grows = grows(keep_size);
                if grows {
                    state.check_seals(abi::F_SEAL_GROW)?;
                }
                state.contents.allocate(offset, len, &self.shared)?;
                if grows {
                    state.resize(end, &self.shared)?;
                }
            }
            FallocateMode::ZeroRange { keep_size } => {
                let grows = grows(keep_size);
                state.check_seals(abi::F_SEAL_WRITE | abi::F_SEAL_FUTURE_WRITE)?;
                state.contents.punch(offset, len, &self.shared)?;
                if grows {
                    state.resize(end, &self.shared)?;
                }
            }
        }
        state.changed();
        Ok(())
    }

    fn seek_extent(&self, offset: u64, target: SeekTarget) -> Result<u64> {
        let state = self.state.lock();
        state.contents.seek(offset, target, state.meta.size)
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        self.state.lock().xattrs.get(name).cloned().ok_or_else(|| Errno::ENODATA.into())
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        if value.len() > MAX_XATTR {
            return Err(Errno::E2BIG.into());
        }
        let mut state = self.state.lock();
        match (mode, state.xattrs.contains_key(name)) {
            (XattrMode::Create, true) => return Err(Errno::EEXIST.into()),
            (XattrMode::Replace, false) => return Err(Errno::ENODATA.into()),
            _ => {}
        }
        let before = state.xattr_pages();
        let old = state.xattrs.insert(name.into(), value.to_vec());
        let after = state.xattr_pages();
        if let Err(e) = self.shared.charge(after.saturating_sub(before)) {
            match old {
                Some(old) => drop(state.xattrs.insert(name.into(), old)),
                None => drop(state.xattrs.remove(name)),
            }
            return Err(e);
        }
        self.shared.uncharge(before.saturating_sub(after));
        state.meta.ctime = Timestamp::now();
        Ok(())
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        let mut state = self.state.lock();
        let before = state.xattr_pages();
        state.xattrs.remove(name).ok_or(Errno::ENODATA)?;
        self.shared.uncharge(before.saturating_sub(state.xattr_pages()));
        state.meta.ctime = Timestamp::now();
        Ok(())
    }

    fn list_xattrs(&self) -> Result<Vec<u8>> {
        let state = self.state.lock();
        Ok(state.xattrs.keys().flat_map(|name| name.iter().copied().chain([0])).collect())
    }

    fn seals(&self) -> Result<u32> {
        if self.kind != FileKind::Regular {
            return Err(Errno::EINVAL.into());
        }
        Ok(self.state.lock().seals)
    }

    fn add_seals(&self, seals: u32) -> Result<()> {
        let known = abi::F_SEAL_SEAL
            | abi::F_SEAL_SHRINK
            | abi::F_SEAL_GROW
            | abi::F_SEAL_WRITE
            | abi::F_SEAL_FUTURE_WRITE
            | abi::F_SEAL_EXEC;
        if self.kind != FileKind::Regular || seals & !known != 0 {
            return Err(Errno::EINVAL.because("no such seal"));
        }
        let mut state = self.state.lock();
        state.check_seals(abi::F_SEAL_SEAL)?;
        if let (Contents::Host(fd, _), true) = (&state.contents, seals & abi::F_SEAL_WRITE != 0) {
            // The host knows whether a writable mapping exists: EBUSY then. Our own writes are refused above it.
            rustix::fs::fcntl_add_seals(&**fd, rustix::fs::SealFlags::WRITE)?;
        }
        state.seals |= seals;
        Ok(())
    }
}

impl FileOps for TmpInode {
    fn read(&self, file: &OpenFile, dst: &mut IovDest<'_>, offset: Option<u64>) -> Result<usize> {
        if self.kind == FileKind::Directory {
            return Err(Errno::EISDIR.into());
        }
        let mut state = self.state.lock();
        let n = state.contents.read(dst, offset.unwrap_or(0), state.meta.size)?;
        let meta = &mut state.meta;
        // relatime (mount(8)): only if the file was changed since it was last read.
        if meta.atime <= meta.mtime.max(meta.ctime) && !file.flags().contains(OpenFlags::NOATIME) {
            meta.atime = Timestamp::now();
        }
        Ok(n)
    }

    fn write(&self, file: &OpenFile, src: &mut IovSource<'_>, offset: Option<u64>) -> Result<usize> {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.check_seals(abi::F_SEAL_WRITE | abi::F_SEAL_FUTURE_WRITE)?;
        let at = if file.flags().contains(OpenFlags::APPEND) { state.meta.size } else { offset.unwrap_or(0) };
        let room = MAX_SIZE.checked_sub(at).filter(|&n| n > 0).ok_or(Errno::EFBIG)?;
        src.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        if state.seals & abi::F_SEAL_GROW != 0 && at + src.remaining() as u64 > state.meta.size {
            let inside = state.meta.size.saturating_sub(at);
            if inside == 0 {
                return Err(Errno::EPERM.because("the file is sealed against growing"));
            }
            src.truncate(inside as usize);
        }
        let n = state.contents.write(src, at, &self.shared)?;
        state.meta.size = state.meta.size.max(at + n as u64);
        if n > 0 {
            state.changed();
            state.meta.mode = permission::mode_after_write(state.meta.mode);
        }
        Ok(n)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn map_source(&self, file: &OpenFile) -> Result<MapSource> {
        if self.kind != FileKind::Regular {
            return Err(Errno::ENODEV.into());
        }
        if !file.flags().readable() {
            return Err(Errno::EACCES.because("a file that is not open for reading cannot be mapped"));
        }
        let mut state = self.state.lock();
        let size = state.meta.size;
        let fd = state.contents.host_file(size)?;
        if state.seals & (abi::F_SEAL_WRITE | abi::F_SEAL_FUTURE_WRITE) != 0 || !file.flags().writable() {
            return Ok(MapSource::Host(Contents::read_only(&fd)?));
        }
        Ok(MapSource::Host(fd))
    }

    fn read_dir(&self, file: &OpenFile, cookie: u64, sink: DirSink<'_>) -> Result<()> {
        if self.kind != FileKind::Directory {
            return Err(Errno::ENOTDIR.into());
        }
        if list_dots(file, cookie, sink) {
            self.entries()?.list(cookie, sink);
        }
        Ok(())
    }
}
