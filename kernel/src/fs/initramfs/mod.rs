//! `initrd=`: an initial file system from cpio archives, unpacked into a tmpfs that becomes the root.
//!
//! As in Linux, the file is a sequence of archives in the "newc" format, each plain or compressed (gzip, zstd), with zeros
//! between them; later entries replace earlier ones. Names are resolved inside the tree, links followed, so that an
//! archive cannot reach anything else. The archives come from the user's own command line, but a damaged one ends in a
//! message, not in a panic.

mod cpio;
mod decompress;

use super::context::{Actor, FsContext};
use super::dentry::Path;
use super::file::{OpenFile, OpenFlags};
use super::inode::{DeviceNumber, FileKind, Inode, NewInode, NewKind, SetAttributes, Timestamp};
use super::lookup::Resolve;
use super::mount::{Mount, MountFlags};
use super::tmpfs::TmpFs;
use crate::error::{Errno, Result};
use crate::mm::IovSource;
use crate::task::{Credentials, Gid, Uid};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use cpio::Entry;

/// What is in the middle of being unpacked.
struct Unpacker {
    actor: Actor,
    /// Files with several names: the first that came, by device and inode in the archive.
    links: BTreeMap<(u32, u32, u32), Arc<dyn Inode>>,
}

/// Unpacks an image into a tmpfs of at most `limit` bytes. The error is one line for the user.
pub fn unpack(image: &[u8], limit: u64) -> Result<Arc<TmpFs>, String> {
    let fs = TmpFs::new("tmpfs", limit, 0o755);
    let root = Path::mount_root(&Mount::unattached(fs.clone(), "rootfs", MountFlags::empty()));
    let actor = Actor { fs: Arc::new(FsContext::at(root.clone(), root, 0)), who: Arc::new(Credentials::root()) };
    let mut unpacker = Unpacker { actor, links: BTreeMap::new() };
    let mut rest = image;
    let mut archives = 0;
    loop {
        while let Some(tail) = rest.strip_prefix(&[0]) {
            rest = tail;
        }
        if rest.is_empty() {
            break;
        }
        rest = if cpio::is_archive(rest) {
            unpacker.archive(rest)?
        } else {
            let (plain, used) = decompress::decompress(rest, limit as usize)?;
            unpacker.archives_of(&plain)?;
            &rest[used..]
        };
        archives += 1;
    }
    if archives == 0 {
        return Err("the file is empty; accepted: cpio archives (newc), plain or compressed with gzip or zstd".into());
    }
    Ok(fs)
}

impl Unpacker {
    fn archives_of(&mut self, mut rest: &[u8]) -> Result<(), String> {
        loop {
            while let Some(tail) = rest.strip_prefix(&[0]) {
                rest = tail;
            }
            if rest.is_empty() {
                return Ok(());
            }
            rest = self.archive(rest)?;
        }
    }

    /// Unpacks one archive; returns what follows it.
    fn archive<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], String> {
        self.links.clear();
        let mut reader = cpio::Reader::new(bytes);
        while let Some(entry) = reader.next()? {
            let name = String::from_utf8_lossy(entry.name).to_string();
            self.entry(&entry).map_err(|e| match e.errno() {
                Errno::ENOSPC => format!("{name}: more than half of mem= holds; accepted: a larger mem="),
                _ => format!("{name}: {e}"),
            })?;
        }
        Ok(reader.rest())
    }

    fn entry(&mut self, e: &Entry<'_>) -> Result<()> {
        let parts: Vec<&[u8]> = e.name.split(|&c| c == b'/').filter(|p| !p.is_empty() && *p != b".").collect();
        let kind = FileKind::from_mode(e.mode).ok_or(Errno::EINVAL.because("an entry of no known type"))?;
        let (Some((name, above)), false) = (parts.split_last(), parts.contains(&&b".."[..])) else {
            if parts.is_empty() && kind == FileKind::Directory {
                return self.finish(&self.directory(&[])?, e);
            }
            return Err(Errno::EINVAL.because("a name that leads out of the archive"));
        };
        let dir = self.directory(above)?;
        let there = dir.lookup(name).ok();
        if kind == FileKind::Directory
            && let Some(old) = there.as_ref().filter(|i| i.kind() == FileKind::Directory)
        {
            return self.finish(old, e);
        }
        if let Some(old) = there {
            match old.kind() {
                FileKind::Directory => dir.rmdir(name)?,
                _ => dir.unlink(name)?,
            }
        }
        let key = (e.device.0, e.device.1, e.ino);
        if kind != FileKind::Directory
            && e.links > 1
            && let Some(first) = self.links.get(&key)
        {
            dir.link(name, first)?;
            return if e.data.is_empty() { Ok(()) } else { write(first, e.data) };
        }
        let number = DeviceNumber::new(e.special.0, e.special.1);
        let new = match kind {
            FileKind::Regular => NewKind::Regular,
            FileKind::Directory => NewKind::Directory,
            FileKind::Symlink => NewKind::Symlink(e.data),
            FileKind::Fifo => NewKind::Fifo,
            FileKind::Socket => NewKind::Socket,
            FileKind::CharDevice => NewKind::CharDevice(number),
            FileKind::BlockDevice => NewKind::BlockDevice(number),
        };
        let mode = e.mode & 0o7777;
        let made = dir.create(name, &NewInode { kind: new, mode, uid: Uid(e.uid), gid: Gid(e.gid) })?;
        if kind == FileKind::Regular {
            write(&made, e.data)?;
        }
        if e.links > 1 {
            self.links.insert(key, made.clone());
        }
        self.finish(&made, e)
    }

    /// The directory with this name; what is missing of it is made.
    fn directory(&self, parts: &[&[u8]]) -> Result<Arc<dyn Inode>> {
        let name = [b"/", parts.join(&b'/').as_slice()].concat();
        match self.actor.resolve(None, &name, Resolve::DIRECTORY) {
            Ok(path) => Ok(path.inode().clone()),
            Err(e) if e.errno() == Errno::ENOENT => {
                let (last, above) = parts.split_last().ok_or(e)?;
                let kind = NewKind::Directory;
                let new = NewInode { kind, mode: 0o755, uid: Uid(0), gid: Gid(0) };
                self.directory(above)?.create(last, &new)
            }
            Err(e) => Err(e),
        }
    }

    fn finish(&self, inode: &Arc<dyn Inode>, e: &Entry<'_>) -> Result<()> {
        let time = Timestamp { seconds: e.mtime.into(), nanos: 0 };
        inode.set_attributes(&SetAttributes {
            mode: Some(e.mode & 0o7777),
            uid: Some(Uid(e.uid)),
            gid: Some(Gid(e.gid)),
            atime: Some(time),
            mtime: Some(time),
            size: None,
        })
    }
}

fn write(inode: &Arc<dyn Inode>, mut data: &[u8]) -> Result<()> {
    let file = OpenFile::anonymous(inode.clone().open(OpenFlags::WRONLY)?, OpenFlags::WRONLY);
    let mut at = 0;
    while !data.is_empty() {
        let n = file.ops().write(&file, &mut IovSource::kernel(data), Some(at))?;
        if n == 0 {
            return Err(Errno::ENOSPC.into());
        }
        data = &data[n..];
        at += n as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
