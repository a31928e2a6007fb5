//! mount(2), umount2(2), pivot_root(2).

use super::at::NameAt;
use crate::abi::general as abi;
use crate::block;
use crate::error::{Errno, Result};
use crate::fs::hostfs::HostFs;
use crate::fs::inode::{FileKind, FileSystem};
use crate::fs::lookup::Resolve;
use crate::fs::mount::{self, MountFlags};
use crate::fs::tmpfs::TmpFs;
use crate::fs::{Actor, Path, devpts, devtmpfs, ext4, mqueue, procfs, sysfs};
use crate::mm::{UserPtr, window};
use crate::task::{self, Capability, Fd, Thread};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Flags that are one mount's own.
const MOUNT_FLAGS: u32 = MountFlags::RDONLY.bits()
    | MountFlags::NOSUID.bits()
    | MountFlags::NODEV.bits()
    | MountFlags::NOEXEC.bits()
    | MountFlags::SYNCHRONOUS.bits()
    | MountFlags::NOATIME.bits()
    | MountFlags::NODIRATIME.bits()
    | MountFlags::RELATIME.bits()
    | MountFlags::STRICTATIME.bits();

/// Changes of propagation: there is one mount name space, and no mount in it is anybody's peer.
const PROPAGATION: u32 = abi::MS_SHARED | abi::MS_PRIVATE | abi::MS_SLAVE | abi::MS_UNBINDABLE;

/// Old callers put this into the flags' high half.
const MAGIC: u64 = 0xc0ed_0000;

fn check_admin(t: &Thread) -> Result<()> {
    if t.credentials().capable(Capability::SysAdmin) {
        return Ok(());
    }
    Err(Errno::EPERM.because("mounting needs CAP_SYS_ADMIN"))
}

fn place(t: &Thread, name: UserPtr<u8>, how: Resolve) -> Result<Path> {
    NameAt::read(t, Fd::CWD, name)?.resolve(&Actor::of(t), how)
}

/// A size as tmpfs options spell it: bytes, or with k, m, g; or a percentage of the guest's memory (tmpfs(5)).
fn parse_size(text: &str, memory: u64) -> Option<u64> {
    if let Some(percent) = text.strip_suffix('%') {
        return (memory / 100).checked_mul(percent.parse().ok()?);
    }
    let (digits, shift) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 10),
        b'm' | b'M' => (&text[..text.len() - 1], 20),
        b'g' | b'G' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// tmpfs(5): `size` and `mode` count, the other options that it knows are of no effect here.
fn new_tmpfs(options: &str) -> Result<Arc<dyn FileSystem>> {
    let memory = window::get().map_or(0, |w| w.usage().1 as u64);
    let (mut size, mut mode) = (memory / 2, 0o1777);
    for option in options.split(',').filter(|o| !o.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let wrong = || Errno::EINVAL.because("a bad value of a tmpfs option");
        match key {
            "size" => size = parse_size(value, memory).ok_or_else(wrong)?,
            "mode" => mode = u32::from_str_radix(value, 8).map_err(|_| wrong())? & 0o7777,
            "nr_inodes" | "nr_blocks" | "uid" | "gid" | "huge" | "mpol" | "inode32" | "inode64" => {}
            _ => return Err(Errno::EINVAL.because("unknown tmpfs option")),
        }
    }
    Ok(TmpFs::new("tmpfs", size, mode))
}

/// ext4 from a block device: options are taken as they come, but for those that change what is on disk.
fn open_ext4(t: &Thread, source: &[u8], flags: MountFlags) -> Result<Arc<dyn FileSystem>> {
    let path = Actor::of(t).resolve(None, source, Resolve::empty())?;
    if path.inode().kind() != FileKind::BlockDevice {
        return Err(Errno::ENOTBLK.into());
    }
    let number = path.inode().metadata()?.rdev;
    let disk = block::by_number(number).ok_or_else(|| Errno::ENXIO.because("no such block device; see ubd<n>="))?;
    match ext4::open(&disk, !flags.contains(MountFlags::RDONLY)) {
        Ok(fs) => Ok(fs),
        Err(why) => {
            crate::klog!(Error, "ext4 ({}): {why}", disk.name);
            Err(Errno::EINVAL.because("ext4 cannot mount this image; dmesg says why"))
        }
    }
}

/// `kind` with its options. A hostfs shows a directory below the one that the command line shares (`hostfs=DIR`), whose
/// name is all that its options say, as User-Mode Linux has it.
fn new_file_system(
    t: &Thread,
    kind: &[u8],
    source: &[u8],
    flags: MountFlags,
    options: &str,
) -> Result<Arc<dyn FileSystem>> {
    Ok(match kind {
        b"ext4" => open_ext4(t, source, flags)?,
        b"tmpfs" | b"ramfs" => new_tmpfs(options)?,
        b"proc" => procfs::file_system(),
        b"sysfs" => sysfs::file_system(),
        b"mqueue" => mqueue::file_system(),
        b"devtmpfs" => devtmpfs::new()?,
        b"hostfs" => HostFs::open_shared(options)?,
        b"devpts" => {
            devpts::set_options(options)?;
            devpts::file_system()
        }
        _ => return Err(Errno::ENODEV.because("no such file system type here")),
    })
}

fn text(p: UserPtr<u8>) -> Result<Vec<u8>> {
    match p.non_null() {
        Some(p) => p.read_cstr(crate::abi::PAGE_SIZE, Errno::EINVAL),
        None => Ok(Vec::new()),
    }
}

/// mount(2).
pub fn sys_mount(
    t: &Thread,
    source: UserPtr<u8>,
    target: UserPtr<u8>,
    kind: UserPtr<u8>,
    flags: u64,
    data: UserPtr<u8>,
) -> Result<usize> {
    let flags = if flags & 0xffff_0000 == MAGIC { flags & 0xffff } else { flags } as u32;
    let on = place(t, target, Resolve::empty())?;
    check_admin(t)?;
    let own = MountFlags::from_bits_retain(flags & MOUNT_FLAGS);
    if flags & abi::MS_REMOUNT != 0 {
        mount::remount(&on, own)?;
    } else if flags & abi::MS_BIND != 0 {
        let what = place(t, source, Resolve::empty())?;
        mount::bind(&what, &on, flags & abi::MS_REC != 0)?;
    } else if flags & PROPAGATION != 0 {
        if !on.is_mount_root() {
            return Err(Errno::EINVAL.because("nothing is mounted there"));
        }
    } else if flags & abi::MS_MOVE != 0 {
        mount::move_mount(&place(t, source, Resolve::empty())?, &on)?;
    } else {
        let options = String::from_utf8(text(data)?).map_err(|_| Errno::EINVAL)?;
        let source = text(source)?;
        let fs = new_file_system(t, &text(kind)?, &source, own, &options)?;
        mount::mount(fs, &String::from_utf8_lossy(&source), own, &on)?;
    }
    Ok(0)
}

const MNT_FORCE: u32 = 1;
const MNT_DETACH: u32 = 2;
const MNT_EXPIRE: u32 = 4;
const UMOUNT_NOFOLLOW: u32 = 8;

/// umount2(2).
pub fn sys_umount2(t: &Thread, target: UserPtr<u8>, flags: u32) -> Result<usize> {
    // Images that are kept for later programs hold their files.
    crate::mm::spare::drop_all();
    if flags & !(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL.because("unknown umount flags"));
    }
    if flags & MNT_EXPIRE != 0 {
        return Err(Errno::EINVAL.because("mounts do not expire here"));
    }
    let how = if flags & UMOUNT_NOFOLLOW != 0 { Resolve::NO_FOLLOW } else { Resolve::empty() };
    let at = place(t, target, how)?;
    check_admin(t)?;
    mount::unmount(&at, flags & MNT_DETACH != 0)?;
    Ok(0)
}

/// pivot_root(2). Threads whose root or working directory is the old root go to the new one.
pub fn sys_pivot_root(t: &Thread, new_root: UserPtr<u8>, put_old: UserPtr<u8>) -> Result<usize> {
    check_admin(t)?;
    let new = place(t, new_root, Resolve::DIRECTORY)?;
    let put_old = place(t, put_old, Resolve::DIRECTORY)?;
    let root = t.fs().root();
    mount::pivot_root(&root, &new, &put_old)?;
    for thread in task::all_processes().iter().flat_map(|p| p.threads()) {
        let fs = thread.fs();
        if fs.root() == root {
            fs.set_root(new.clone());
        }
        if fs.cwd() == root {
            fs.set_cwd(new.clone());
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_tmpfs_5_says() {
        assert_eq!(parse_size("4096", 0), Some(4096));
        assert_eq!(parse_size("10m", 0), Some(10 << 20));
        assert_eq!(parse_size("50%", 1000), Some(500));
        assert_eq!(parse_size("18446744073709551615%", 1000), None);
        assert_eq!(parse_size("", 0), None);
        assert_eq!(parse_size("99999999999g", 0), None);
    }
}
