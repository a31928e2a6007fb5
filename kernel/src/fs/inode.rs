//! Inodes: what a name in a tree stands for (inode(7)), and file systems, which bring them.
//!
//! A file system implements [`Inode`] for its objects. The VFS above has looked at permissions, read-only mounts, name
//! lengths and the sticky bit before it calls; an implementation looks after its own consistency only. No method
//! blocks in the scheduler, and none is called with a lock of the VFS held, so that an implementation may ask any
//! other subsystem (procfs asks for processes).

use super::dentry::Path;
use super::file::{FileOps, OpenFile, OpenFlags};
use crate::error::{Errno, Result};
use crate::task::{Gid, Uid};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU32, Ordering};

/// Longest name of one component, in bytes (`NAME_MAX`, limits.h).
pub const NAME_MAX: usize = 255;

/// Longest path name with its NUL, in bytes (`PATH_MAX`, limits.h).
pub const PATH_MAX: usize = 4096;

/// The kinds of files (inode(7), "The file type and mode").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum FileKind {
    Fifo,
    CharDevice,
    Directory,
    BlockDevice,
    Regular,
    Symlink,
    Socket,
}

impl FileKind {
    /// The `S_IFMT` bits of `st_mode`.
    pub const fn mode_bits(self) -> u32 {
        match self {
            FileKind::Fifo => 0o010000,
            FileKind::CharDevice => 0o020000,
            FileKind::Directory => 0o040000,
            FileKind::BlockDevice => 0o060000,
            FileKind::Regular => 0o100000,
            FileKind::Symlink => 0o120000,
            FileKind::Socket => 0o140000,
        }
    }

    /// The kind that `st_mode` names; `None` if its type bits are none that Linux defines.
    pub const fn from_mode(mode: u32) -> Option<FileKind> {
        Some(match mode & 0o170000 {
            0o010000 => FileKind::Fifo,
            0o020000 => FileKind::CharDevice,
            0o040000 => FileKind::Directory,
            0o060000 => FileKind::BlockDevice,
            0o100000 => FileKind::Regular,
            0o120000 => FileKind::Symlink,
            0o140000 => FileKind::Socket,
            _ => return None,
        })
    }

    /// The `DT_*` number of a directory entry (readdir(3)).
    pub const fn dirent_type(self) -> u8 {
        (self.mode_bits() >> 12) as u8
    }

    /// Whether it is a character or block device.
    pub const fn is_device(self) -> bool {
        matches!(self, FileKind::CharDevice | FileKind::BlockDevice)
    }
}

/// A device number as the kernel hands it to programs in `st_dev` and `st_rdev` (makedev(3), the kernel's encoding).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct DeviceNumber(pub u64);

impl DeviceNumber {
    /// From major and minor number.
    pub const fn new(major: u32, minor: u32) -> Self {
        let (major, minor) = (major as u64, minor as u64);
        DeviceNumber((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12))
    }

    /// The major number.
    pub const fn major(self) -> u32 {
        ((self.0 >> 8) & 0xfff) as u32
    }

    /// The minor number.
    pub const fn minor(self) -> u32 {
        ((self.0 & 0xff) | ((self.0 >> 12) & 0xf_ff00)) as u32
    }

    /// A number of its own for a file system that has no device (major 0).
    pub fn anonymous() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        DeviceNumber::new(0, NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What names a file for as long as it exists: device and inode number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InodeId {
    /// The file system.
    pub dev: DeviceNumber,
    /// The number in it.
    pub ino: u64,
}

/// A point in time, counted from 1970-01-01 00:00:00 UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Timestamp {
    /// Whole seconds; negative before 1970.
    pub seconds: i64,
    /// Nanoseconds on top, below 10^9.
    pub nanos: u32,
}

impl Timestamp {
    /// The present time.
    pub fn now() -> Self {
        let t = crate::time::realtime();
        Timestamp { seconds: t.as_secs() as i64, nanos: t.subsec_nanos() }
    }
}

/// What stat(2) reports.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Metadata {
    pub id: InodeId,
    pub kind: FileKind,
    /// Permission bits with set-user-ID, set-group-ID and sticky: 0o7777 at most.
    pub mode: u32,
    pub nlink: u64,
    pub uid: Uid,
    pub gid: Gid,
    /// Of a device: which one.
    pub rdev: DeviceNumber,
    /// In bytes.
    pub size: u64,
    /// Preferred transfer size, in bytes.
    pub block_size: u32,
    /// In units of 512 bytes.
    pub blocks: u64,
    pub atime: Timestamp,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    pub btime: Option<Timestamp>,
}

impl Metadata {
    /// Of an object that was made now, is empty and belongs to root.
    pub fn new(id: InodeId, kind: FileKind, mode: u32) -> Self {
        let now = Timestamp::now();
        Metadata {
            id,
            kind,
            mode,
            nlink: if kind == FileKind::Directory { 2 } else { 1 },
            uid: Uid(0),
            gid: Gid(0),
            rdev: DeviceNumber::default(),
            size: 0,
            block_size: 4096,
            blocks: 0,
            atime: now,
            mtime: now,
            ctime: now,
            btime: Some(now),
        }
    }

    /// `st_mode`: type and permissions.
    pub fn mode_word(&self) -> u32 {
        self.kind.mode_bits() | self.mode
    }
}

/// Changes that chmod(2), chown(2), utimensat(2) and truncate(2) make. The change time follows of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct SetAttributes {
    pub mode: Option<u32>,
    pub uid: Option<Uid>,
    pub gid: Option<Gid>,
    pub size: Option<u64>,
    pub atime: Option<Timestamp>,
    pub mtime: Option<Timestamp>,
}

/// What kind of object to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum NewKind<'a> {
    Regular,
    Directory,
    Symlink(&'a [u8]),
    Fifo,
    Socket,
    CharDevice(DeviceNumber),
    BlockDevice(DeviceNumber),
}

impl NewKind<'_> {
    /// As a file kind.
    pub const fn kind(&self) -> FileKind {
        match self {
            NewKind::Regular => FileKind::Regular,
            NewKind::Directory => FileKind::Directory,
            NewKind::Symlink(_) => FileKind::Symlink,
            NewKind::Fifo => FileKind::Fifo,
            NewKind::Socket => FileKind::Socket,
            NewKind::CharDevice(_) => FileKind::CharDevice,
            NewKind::BlockDevice(_) => FileKind::BlockDevice,
        }
    }
}

/// An object to make: the umask has been applied, the group chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct NewInode<'a> {
    pub kind: NewKind<'a>,
    pub mode: u32,
    pub uid: Uid,
    pub gid: Gid,
}

/// How rename(2) treats an existing target (renameat2(2)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RenameMode {
    /// The target is replaced.
    Replace,
    /// The target must not exist (`RENAME_NOREPLACE`).
    NoReplace,
    /// Both exist and swap names (`RENAME_EXCHANGE`).
    Exchange,
}

/// Where a symbolic link leads.
pub enum LinkTarget {
    /// A path name, to be resolved from the link's directory.
    Text(Vec<u8>),
    /// An object itself, whatever its name (`/proc/self/fd/3`, `/proc/self/exe`); the bytes are for readlink(2).
    Magic(Path, Vec<u8>),
}

/// One entry that a directory lists.
#[derive(Clone, Copy, Debug)]
pub struct DirEntry<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its inode number.
    pub ino: u64,
    /// What it is, if the directory knows without looking at the object.
    pub kind: Option<FileKind>,
    /// The cookie with which listing goes on after this entry.
    pub next: u64,
}

/// Takes entries; false when it has no room for this one (nor for more).
pub type DirSink<'a> = &'a mut dyn FnMut(&DirEntry<'_>) -> bool;

/// Why an xattr is set (setxattr(2)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum XattrMode {
    /// Create or replace.
    Set,
    /// It must not exist (`XATTR_CREATE`).
    Create,
    /// It must exist (`XATTR_REPLACE`).
    Replace,
}

/// What fallocate(2) is to do with a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FallocateMode {
    /// Reserve it; `keep_size` leaves the size alone.
    Allocate {
        /// FALLOC_FL_KEEP_SIZE.
        keep_size: bool,
    },
    /// Take its memory away; it reads as zeros.
    PunchHole,
    /// Make it read as zeros.
    ZeroRange {
        /// FALLOC_FL_KEEP_SIZE.
        keep_size: bool,
    },
}

/// What lseek(2) looks for with SEEK_DATA and SEEK_HOLE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum SeekTarget {
    Data,
    Hole,
}

/// An object of a file system.
pub trait Inode: Any + Send + Sync {
    /// What it is; never changes.
    fn kind(&self) -> FileKind;

    /// Its name for life.
    fn id(&self) -> InodeId;

    /// What stat(2) reports.
    fn metadata(&self) -> Result<Metadata>;

    /// Changes attributes. EPERM where the file system keeps none.
    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        let _ = change;
        Err(Errno::EPERM.because("this file system keeps no attributes"))
    }

    /// Looks a name up in this directory. ENOENT if there is none.
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let _ = name;
        Err(Errno::ENOTDIR.into())
    }

    /// Whether a name that was looked up earlier still stands for `child`.
    fn revalidate(&self, name: &[u8], child: &Arc<dyn Inode>) -> bool {
        let _ = (name, child);
        true
    }

    /// Makes an object with a name in this directory. EEXIST if the name is taken. The default refuses as Linux does.
    fn create(&self, name: &[u8], new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        let _ = name;
        let errno = if new.kind == NewKind::Regular { Errno::EACCES } else { Errno::EPERM };
        Err(errno.because("this file system makes no files"))
    }

    /// Makes a regular file without a name (`O_TMPFILE`).
    fn create_unnamed(&self, new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        let _ = new;
        Err(Errno::EOPNOTSUPP.into())
    }

    /// Gives `target`, an object of the same file system, another name here.
    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        let _ = (name, target);
        Err(Errno::EPERM.into())
    }

    /// Removes the name of something that is no directory. EISDIR if it is one.
    fn unlink(&self, name: &[u8]) -> Result<()> {
        let _ = name;
        Err(Errno::EPERM.into())
    }

    /// Removes an empty directory.
    fn rmdir(&self, name: &[u8]) -> Result<()> {
        let _ = name;
        Err(Errno::EPERM.into())
    }

    /// Moves a name to `new_dir`, a directory of the same file system.
    fn rename(&self, name: &[u8], new_dir: &Arc<dyn Inode>, new_name: &[u8], mode: RenameMode) -> Result<()> {
        let _ = (name, new_dir, new_name, mode);
        Err(Errno::EPERM.into())
    }

    /// Where this symbolic link leads. EINVAL if it is none.
    fn read_link(&self) -> Result<LinkTarget> {
        Err(Errno::EINVAL.because("not a symbolic link"))
    }

    /// Opens a regular file or directory; the VFS opens devices and FIFOs itself.
    fn open(self: Arc<Self>, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        let _ = flags;
        Err(Errno::ENXIO.into())
    }

    /// Changes the allocation of a range (fallocate(2)).
    fn fallocate(&self, mode: FallocateMode, offset: u64, len: u64) -> Result<()> {
        let _ = (mode, offset, len);
        Err(Errno::EOPNOTSUPP.into())
    }

    /// The next data or hole at or after `offset`. The default has one piece of data and the hole at the end.
    fn seek_extent(&self, offset: u64, target: SeekTarget) -> Result<u64> {
        let size = self.metadata()?.size;
        if offset >= size {
            return Err(Errno::ENXIO.into());
        }
        Ok(if target == SeekTarget::Data { offset } else { size })
    }

    /// Brings contents (and metadata, unless `data_only`) to stable storage.
    fn sync(&self, data_only: bool) -> Result<()> {
        let _ = data_only;
        Ok(())
    }

    /// The value of an extended attribute. ENODATA if it is not set, EOPNOTSUPP if there are none here.
    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        let _ = name;
        Err(Errno::EOPNOTSUPP.into())
    }

    /// Sets an extended attribute.
    fn set_xattr(&self, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        let _ = (name, value, mode);
        Err(Errno::EOPNOTSUPP.into())
    }

    /// Removes an extended attribute.
    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        let _ = name;
        Err(Errno::EOPNOTSUPP.into())
    }

    /// The names of all extended attributes, each with a NUL.
    fn list_xattrs(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    /// File seals (fcntl(2), F_GET_SEALS). EINVAL where there are none.
    fn seals(&self) -> Result<u32> {
        Err(Errno::EINVAL.because("this file cannot be sealed"))
    }

    /// Adds file seals (F_ADD_SEALS).
    fn add_seals(&self, seals: u32) -> Result<()> {
        let _ = seals;
        Err(Errno::EINVAL.because("this file cannot be sealed"))
    }
}

impl dyn Inode {
    /// This inode as the concrete type `T`, if that is what it is.
    pub fn downcast_ref<T: Inode>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

/// What statfs(2) reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct FsStat {
    /// The magic number (statfs(2) has the list).
    pub magic: u64,
    /// In bytes; the unit of the block counts.
    pub block_size: u64,
    pub blocks: u64,
    pub blocks_free: u64,
    pub blocks_available: u64,
    pub files: u64,
    pub files_free: u64,
    pub name_max: u64,
}

impl FsStat {
    /// Of a file system that stores nothing.
    pub const fn empty(magic: u64) -> Self {
        FsStat {
            magic,
            block_size: 4096,
            blocks: 0,
            blocks_free: 0,
            blocks_available: 0,
            files: 0,
            files_free: 0,
            name_max: NAME_MAX as u64,
        }
    }
}

/// A file system: one tree of inodes, which may be mounted in several places.
pub trait FileSystem: Send + Sync {
    /// Its type, as `/proc/filesystems` calls it.
    fn type_name(&self) -> &'static str;

    /// The top of its tree.
    fn root(&self) -> Arc<dyn Inode>;

    /// Its device number.
    fn device(&self) -> DeviceNumber;

    /// What statfs(2) reports.
    fn stat_fs(&self) -> Result<FsStat>;

    /// Its options as `/proc/mounts` shows them, beginning with a comma if there are any.
    fn options(&self) -> String {
        String::new()
    }

    /// Whether it can never be written.
    fn read_only(&self) -> bool {
        false
    }

    /// A file system that was mounted read-only is to be written from now on (`mount -o remount,rw`).
    fn make_writable(&self) -> Result<()> {
        Err(Errno::EROFS.because("the file system was given to us read-only"))
    }

    /// Brings everything to stable storage (sync(2)).
    fn sync(&self) -> Result<()> {
        Ok(())
    }

    /// Told when the last mount goes, or the machine stops: what is left to write is written, and nothing after it.
    fn shut_down(&self) -> Result<()> {
        Ok(())
    }
}

/// Lists `.` and `..` with the cookies 1 and 2; returns false if the sink is full. Later cookies are the caller's.
pub fn list_dots(file: &OpenFile, cookie: u64, sink: DirSink<'_>) -> bool {
    let own = file.path().map_or(0, |p| p.inode().id().ino);
    if cookie < 1 && !sink(&DirEntry { name: b".", ino: own, kind: Some(FileKind::Directory), next: 1 }) {
        return false;
    }
    if cookie < 2 {
        let parent = file.path().and_then(|p| p.dentry().parent()).map_or(own, |d| d.inode().id().ino);
        return sink(&DirEntry { name: b"..", ino: parent, kind: Some(FileKind::Directory), next: 2 });
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_are_encoded_as_the_kernel_does() {
        assert_eq!(DeviceNumber::new(1, 3).0, 0x103);
        let d = DeviceNumber::new(259, 0x12345);
        assert_eq!((d.major(), d.minor()), (259, 0x12345));
    }

    #[test]
    fn kinds_and_modes_agree() {
        for kind in [FileKind::Fifo, FileKind::Regular, FileKind::Socket, FileKind::Directory] {
            assert_eq!(FileKind::from_mode(kind.mode_bits() | 0o644), Some(kind));
        }
        assert_eq!(FileKind::from_mode(0o644), None);
        assert_eq!(FileKind::Directory.dirent_type(), 4);
    }
}
