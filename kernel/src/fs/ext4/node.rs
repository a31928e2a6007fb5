//! Inodes as the VFS sees them. The state is in the volume; a node is a number and a claim that somebody uses it.

use super::volume::{Core, damaged};
use super::{Volume, data};
use crate::error::{Errno, Result};
use crate::fs::file::{FileOps, MapSource, OpenFile, OpenFlags};
use crate::fs::inode::{
    DirSink, FallocateMode, FileKind, Inode, InodeId, LinkTarget, Metadata, NewInode, RenameMode, SeekTarget,
    SetAttributes, Timestamp, XattrMode, list_dots,
};
use crate::mm::{IovDest, IovSource};
use crate::task::{Gid, Uid};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// An inode in use.
pub(super) struct Node {
    volume: Arc<Volume>,
    ino: u32,
    kind: FileKind,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.volume.released(self.ino);
    }
}

impl Node {
    /// The node of an inode, which all its users share.
    pub fn of(volume: &Arc<Volume>, core: &mut Core, ino: u32) -> Result<Arc<Node>> {
        if let Some(node) = core.known_node(ino) {
            return Ok(node);
        }
        let kind = core.file(ino)?.kind;
        let node = Arc::new(Node { volume: volume.clone(), ino, kind });
        core.nodes.insert(ino, Arc::downgrade(&node));
        Ok(node)
    }

    fn same_volume<'a>(&self, other: &'a Arc<dyn Inode>) -> Result<&'a Node> {
        match other.downcast_ref::<Node>() {
            Some(o) if Arc::ptr_eq(&o.volume, &self.volume) => Ok(o),
            _ => Err(Errno::EXDEV.into()),
        }
    }

    /// Looks at the volume.
    fn look<T>(&self, work: impl FnOnce(&mut Core) -> Result<T>) -> Result<T> {
        self.volume.look(work)
    }

    /// Changes the volume: one operation of a transaction.
    fn change<T>(&self, work: impl FnOnce(&mut Core) -> Result<T>) -> Result<T> {
        self.volume.change(work)
    }

    fn note_read(&self, core: &mut Core, file: &OpenFile) {
        if file.flags().contains(OpenFlags::NOATIME) || core.check_writable().is_err() {
            return;
        }
        // relatime (mount(8)): only if the file was changed since it was last read.
        let Ok(f) = core.file(self.ino) else { return };
        if f.inode.atime <= f.inode.mtime.max(f.inode.ctime) {
            let _ = core.with(self.ino, |core, f| {
                f.inode.atime = Timestamp::now();
                core.note_inode(f);
                Ok(())
            });
        }
    }

    fn regular(&self) -> Result<()> {
        match self.kind {
            FileKind::Regular => Ok(()),
            FileKind::Directory => Err(Errno::EISDIR.into()),
            _ => Err(Errno::EINVAL.into()),
        }
    }
}

impl Inode for Node {
    fn kind(&self) -> FileKind {
        self.kind
    }

    fn id(&self) -> InodeId {
        InodeId { dev: self.volume.number(), ino: self.ino.into() }
    }

    fn metadata(&self) -> Result<Metadata> {
        self.look(|core| {
            let f = core.file(self.ino)?;
            let i = &f.inode;
            let device = self.kind.is_device();
            Ok(Metadata {
                id: self.id(),
                kind: self.kind,
                mode: u32::from(i.mode) & 0o7777,
                nlink: i.links.into(),
                uid: Uid(i.uid),
                gid: Gid(i.gid),
                rdev: if device { i.device() } else { Default::default() },
                size: i.size,
                block_size: 4096,
                blocks: i.sectors,
                atime: i.atime,
                mtime: i.mtime,
                ctime: i.ctime,
                btime: i.btime,
            })
        })
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        self.change(|core| {
            core.with(self.ino, |core, f| {
                if f.inode.flags & super::disk_inode::FLAG_IMMUTABLE != 0 {
                    return Err(Errno::EPERM.because("chattr made it immutable"));
                }
                let now = Timestamp::now();
                if let Some(size) = change.size {
                    self.regular()?;
                    core.resize_file(f, size)?;
                    f.inode.mtime = now;
                }
                let i = &mut f.inode;
                if let Some(mode) = change.mode {
                    i.mode = (u32::from(i.mode) & 0o170000 | mode & 0o7777) as u16;
                }
                i.uid = change.uid.map_or(i.uid, |u| u.0);
                i.gid = change.gid.map_or(i.gid, |g| g.0);
                i.atime = change.atime.unwrap_or(i.atime);
                i.mtime = change.mtime.unwrap_or(i.mtime);
                i.ctime = now;
                core.note_inode(f);
                Ok(())
            })
        })
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        self.look(|core| {
            let ino = core.lookup(self.ino, name)?;
            Ok(Node::of(&self.volume, core, ino)? as Arc<dyn Inode>)
        })
    }

    fn create(&self, name: &[u8], new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        self.change(|core| {
            let ino = core.create(self.ino, name, new)?;
            core.tx.ordered.insert(ino);
            Ok(Node::of(&self.volume, core, ino)? as Arc<dyn Inode>)
        })
    }

    fn create_unnamed(&self, new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        self.change(|core| {
            let ino = core.create_unnamed(self.ino, new)?;
            Ok(Node::of(&self.volume, core, ino)? as Arc<dyn Inode>)
        })
    }

    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        let target = self.same_volume(target)?;
        self.change(|core| core.link(self.ino, name, target.ino))
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        self.change(|core| {
            let ino = core.lookup(self.ino, name)?;
            // Held over the removal, so that letting go of it is what deletes the inode.
            let user = Node::of(&self.volume, core, ino)?;
            let result = core.unlink(self.ino, name);
            drop(user);
            result
        })
    }

    fn rmdir(&self, name: &[u8]) -> Result<()> {
        self.change(|core| {
            let ino = core.lookup(self.ino, name)?;
            let user = Node::of(&self.volume, core, ino)?;
            let result = core.rmdir(self.ino, name);
            drop(user);
            result
        })
    }

    fn rename(&self, name: &[u8], new_dir: &Arc<dyn Inode>, new_name: &[u8], mode: RenameMode) -> Result<()> {
        let to = self.same_volume(new_dir)?;
        self.change(|core| {
            let user = match core.lookup(to.ino, new_name) {
                Ok(ino) => Some(Node::of(&self.volume, core, ino)?),
                Err(_) => None,
            };
            let result = core.rename(self.ino, name, to.ino, new_name, mode);
            drop(user);
            result
        })
    }

    fn read_link(&self) -> Result<LinkTarget> {
        if self.kind != FileKind::Symlink {
            return Err(Errno::EINVAL.because("not a symbolic link"));
        }
        self.look(|core| {
            core.with(self.ino, |core, f| {
                let size = f.inode.size as usize;
                let text = if size < 60 { f.inode.block()[..size].to_vec() } else { core.read_small(f)? };
                if text.is_empty() || text.contains(&0) {
                    return Err(damaged("a symbolic link with an impossible text"));
                }
                Ok(LinkTarget::Text(text))
            })
        })
    }

    fn open(self: Arc<Self>, _flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        Ok(self)
    }

    fn fallocate(&self, mode: FallocateMode, offset: u64, len: u64) -> Result<()> {
        self.regular()?;
        self.change(|core| core.with(self.ino, |core, f| core.allocate_range(f, mode, offset, len)))
    }

    fn seek_extent(&self, offset: u64, target: SeekTarget) -> Result<u64> {
        self.regular()?;
        self.look(|core| core.with(self.ino, |core, f| core.seek_file(f, offset, target)))
    }

    fn sync(&self, data_only: bool) -> Result<()> {
        self.volume.sync_file(self.ino, data_only)
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        self.look(|core| core.with(self.ino, |core, f| core.get_xattr(f, name)))
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        self.change(|core| core.with(self.ino, |core, f| core.change_xattr(f, name, Some(value), mode)))
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        self.change(|core| core.with(self.ino, |core, f| core.change_xattr(f, name, None, XattrMode::Replace)))
    }

    fn list_xattrs(&self) -> Result<Vec<u8>> {
        self.look(|core| core.with(self.ino, |core, f| core.list_xattrs(f)))
    }
}

impl FileOps for Node {
    fn read(&self, file: &OpenFile, dst: &mut IovDest<'_>, offset: Option<u64>) -> Result<usize> {
        self.regular()?;
        self.look(|core| {
            let n = core.with(self.ino, |core, f| core.read_file(f, dst, offset.unwrap_or(0)))?;
            self.note_read(core, file);
            core.shrink();
            Ok(n)
        })
    }

    /// Long writes are many operations: a commit may fall between them.
    fn write(&self, file: &OpenFile, src: &mut IovSource<'_>, offset: Option<u64>) -> Result<usize> {
        self.regular()?;
        let mut done = 0usize;
        let mut at = if file.flags().contains(OpenFlags::APPEND) { None } else { Some(offset.unwrap_or(0)) };
        while !src.is_empty() {
            let step = self.change(|core| {
                core.with(self.ino, |core, f| {
                    let start = *at.get_or_insert(f.inode.size);
                    let n = core.write_file(f, src, start)?;
                    core.throttle(f)?;
                    Ok(n)
                })
            });
            match step {
                Ok(n) => {
                    done += n;
                    at = at.map(|a| a + n as u64);
                    if n < data::WRITE_STEP {
                        break;
                    }
                }
                Err(_) if done > 0 => break,
                Err(e) => return Err(e),
            }
        }
        if file.flags().contains(OpenFlags::DSYNC) && done > 0 {
            self.volume.sync_file_at_once(self.ino, !file.flags().contains(OpenFlags::SYNC))?;
        }
        Ok(done)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn has_readiness(&self) -> Option<bool> {
        Some(false)
    }

    fn map_source(&self, file: &OpenFile) -> Result<MapSource> {
        if self.kind != FileKind::Regular {
            return Err(Errno::ENODEV.into());
        }
        if !file.flags().readable() {
            return Err(Errno::EACCES.because("a file that is not open for reading cannot be mapped"));
        }
        let fd = self.look(|core| {
            let writable = file.flags().writable() && core.check_writable().is_ok();
            core.with(self.ino, |core, f| core.map_file(f, writable))
        })?;
        Ok(MapSource::Host(fd))
    }

    fn read_dir(&self, file: &OpenFile, cookie: u64, sink: DirSink<'_>) -> Result<()> {
        if self.kind != FileKind::Directory {
            return Err(Errno::ENOTDIR.into());
        }
        if !list_dots(file, cookie, sink) {
            return Ok(());
        }
        self.look(|core| {
            core.with(self.ino, |core, d| core.list_directory(d, cookie, sink))?;
            self.note_read(core, file);
            Ok(())
        })
    }
}
