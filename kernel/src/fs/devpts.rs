//! devpts: the nodes of the pseudo-terminals (pts(4)).
//!
//! There is one instance, however often it is mounted: a mount sets the options of all. The terminals add and remove
//! their nodes; the numbers are theirs.

use super::file::{FileOps, OpenFlags};
use super::inode::{
    DeviceNumber, FileKind, FileSystem, FsStat, Inode, InodeId, Metadata, NewInode, NewKind, SetAttributes,
};
use super::tmpfs::TmpFs;
use crate::error::{Errno, Result};
use crate::sync::{Once, Rank, SpinLock};
use crate::task::{Gid, Uid};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

/// Its type.
pub const TYPE_NAME: &str = "devpts";

/// Major number of the slaves (devices.txt).
pub const SLAVE_MAJOR: u32 = 136;

/// `DEVPTS_SUPER_MAGIC` of statfs(2).
const MAGIC: u64 = 0x1cd1;

/// The options of mount(8).
#[derive(Clone, Copy)]
struct Options {
    /// Owner of new nodes, where it is not whoever opens the master.
    uid: Option<Uid>,
    gid: Option<Gid>,
    /// Permissions of new nodes.
    mode: u32,
    /// Permissions of the node `ptmx`.
    ptmx_mode: u32,
    /// How many terminals there may be.
    max: u32,
}

/// As distributions mount it: group `tty` may write to terminals, /dev/ptmx is the one to open.
static OPTIONS: SpinLock<Options> =
    SpinLock::new(Rank::PageCache, Options { uid: None, gid: Some(Gid(5)), mode: 0o620, ptmx_mode: 0, max: 4096 });

/// The instance.
struct DevPts(Arc<TmpFs>);

/// Its directory: programs make, move and remove no names there; the kernel does, past the names that are cached.
struct Root(Arc<dyn Inode>);

impl Inode for Root {
    fn kind(&self) -> FileKind {
        self.0.kind()
    }

    fn id(&self) -> InodeId {
        self.0.id()
    }

    fn metadata(&self) -> Result<Metadata> {
        self.0.metadata()
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        self.0.set_attributes(change)
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        self.0.lookup(name)
    }

    fn revalidate(&self, name: &[u8], child: &Arc<dyn Inode>) -> bool {
        self.0.lookup(name).is_ok_and(|found| found.id() == child.id())
    }

    fn open(self: Arc<Self>, flags: OpenFlags) -> Result<Arc<dyn FileOps>> {
        self.0.clone().open(flags)
    }
}

impl FileSystem for DevPts {
    fn type_name(&self) -> &'static str {
        TYPE_NAME
    }

    fn root(&self) -> Arc<dyn Inode> {
        Arc::new(Root(self.0.root()))
    }

    fn device(&self) -> DeviceNumber {
        self.0.device()
    }

    fn stat_fs(&self) -> Result<FsStat> {
        Ok(FsStat::empty(MAGIC))
    }

    fn options(&self) -> String {
        let o = *OPTIONS.lock();
        let uid = o.uid.map_or(String::new(), |u| format!(",uid={}", u.0));
        let gid = o.gid.map_or(String::new(), |g| format!(",gid={}", g.0));
        format!("{uid}{gid},mode={:03o},ptmxmode={:03o}", o.mode, o.ptmx_mode)
    }
}

fn instance() -> &'static Arc<DevPts> {
    static INSTANCE: Once<Arc<DevPts>> = Once::new();
    INSTANCE.call_once(|| {
        let fs = TmpFs::new(TYPE_NAME, 0, 0o755);
        let kind = NewKind::CharDevice(DeviceNumber::new(5, 2));
        // An empty file system has room for a name.
        let _ = fs.root().create(b"ptmx", &NewInode { kind, mode: 0, uid: Uid(0), gid: Gid(0) });
        Arc::new(DevPts(fs))
    })
}

/// The file system.
pub fn file_system() -> Arc<dyn FileSystem> {
    instance().clone()
}

/// Takes mount options: what they do not name is as Linux has it without options. EINVAL for what devpts does not know.
pub fn set_options(text: &str) -> Result<()> {
    let mut new = Options { uid: None, gid: None, mode: 0o600, ptmx_mode: 0, max: 4096 };
    for option in text.split(',').filter(|o| !o.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let decimal = || value.parse().map_err(|_| Errno::EINVAL.because("a bad value of a devpts option"));
        let octal = || match u32::from_str_radix(value, 8) {
            Ok(mode) => Ok(mode & 0o7777),
            Err(_) => Err(Errno::EINVAL.because("a bad value of a devpts option")),
        };
        match key {
            "uid" => new.uid = Some(Uid(decimal()?)),
            "gid" => new.gid = Some(Gid(decimal()?)),
            "mode" => new.mode = octal()?,
            "ptmxmode" => new.ptmx_mode = octal()?,
            "max" => new.max = decimal()?,
            "newinstance" => {}
            _ => return Err(Errno::EINVAL.because("unknown devpts option")),
        }
    }
    let ptmx = instance().0.root().lookup(b"ptmx")?;
    ptmx.set_attributes(&SetAttributes { mode: Some(new.ptmx_mode), ..SetAttributes::default() })?;
    *OPTIONS.lock() = new;
    Ok(())
}

/// How many pseudo-terminals there may be (`kernel.pty.max`).
pub fn max() -> u32 {
    OPTIONS.lock().max
}

/// Adds the node of slave `index`, which belongs to whoever opened the master unless the mount options say otherwise.
pub(crate) fn add(index: u32, uid: Uid, gid: Gid) -> Result<()> {
    let kind = NewKind::CharDevice(DeviceNumber::new(SLAVE_MAJOR, index));
    let o = *OPTIONS.lock();
    let new = NewInode { kind, mode: o.mode, uid: o.uid.unwrap_or(uid), gid: o.gid.unwrap_or(gid) };
    instance().0.root().create(format!("{index}").as_bytes(), &new).map(drop)
}

/// Removes the node of slave `index`.
pub(crate) fn remove(index: u32) -> Result<()> {
    instance().0.root().unlink(format!("{index}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_shown() {
        set_options("gid=5,mode=620,ptmxmode=666").unwrap();
        assert_eq!(file_system().options(), ",gid=5,mode=620,ptmxmode=666");
        assert_eq!(set_options("mode=9").unwrap_err().errno(), Errno::EINVAL);
        assert_eq!(set_options("colour=red").unwrap_err().errno(), Errno::EINVAL);
        assert_eq!(file_system().options(), ",gid=5,mode=620,ptmxmode=666");
    }
}
