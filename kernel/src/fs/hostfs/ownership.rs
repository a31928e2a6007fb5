//! Owners and modes for a machine that is not root on the host.
//!
//! Such a machine can neither give files away on the host nor read what it has no permission for, but its guest's root
//! expects to. So the user it runs as stands for the guest's root, and what the host cannot keep is kept beside the file, in
//! the attribute `user.flatland.owner`: owner, group and mode as the guest sees them. On the host, the files stay the
//! user's, and stay readable and writable for him. Symbolic links and FIFOs cannot have such attributes: they belong to
//! root. Where the host's file system has no attributes, giving away is EPERM.
//!
//! A machine that is root needs none of this: owners are the host's own.

use crate::error::{Errno, Result};
use crate::fs::inode::{FileKind, SetAttributes};
use core::ffi::CStr;
use rustix::fs::{self, AtFlags, CWD, Mode, XattrFlags};

/// Where it is kept. Hidden from the guest.
pub(super) const ATTRIBUTE: &[u8] = b"user.flatland.owner";

/// Who we are on the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ownership {
    pub uid: u32,
    pub gid: u32,
}

/// Owner, group and permission bits as the guest sees them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Owner {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
}

impl Owner {
    fn encode(self) -> alloc::string::String {
        alloc::format!("{} {} {:o}", self.uid, self.gid, self.mode)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let mut words = core::str::from_utf8(text).ok()?.split(' ');
        let (uid, gid) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let mode = u32::from_str_radix(words.next()?, 8).ok()?;
        Some(Owner { uid, gid, mode: mode & 0o7777 })
    }
}

impl Ownership {
    /// The mapping that this process needs; `None` for root.
    pub fn of_process() -> Option<Self> {
        let uid = rustix::process::geteuid();
        (!uid.is_root()).then(|| Ownership { uid: uid.as_raw(), gid: rustix::process::getegid().as_raw() })
    }

    /// What the guest sees of a file that the host shows as `host`. `name` leads to the file itself.
    pub fn seen(&self, name: &CStr, kind: FileKind, host: Owner) -> Owner {
        if matches!(kind, FileKind::Regular | FileKind::Directory) {
            let mut buf = [0u8; 64];
            let kept = fs::getxattr(name, ATTRIBUTE, &mut buf[..]).ok().and_then(|n| Owner::parse(&buf[..n]));
            if let Some(owner) = kept {
                return owner;
            }
        }
        Owner {
            uid: if host.uid == self.uid { 0 } else { host.uid },
            gid: if host.gid == self.gid { 0 } else { host.gid },
            mode: host.mode,
        }
    }

    /// Changes owner, group and mode of a file that the guest sees as `now`.
    pub fn change(&self, name: &CStr, kind: FileKind, now: Owner, change: &SetAttributes) -> Result<()> {
        let new = Owner {
            uid: change.uid.map_or(now.uid, |u| u.0),
            gid: change.gid.map_or(now.gid, |g| g.0),
            mode: change.mode.unwrap_or(now.mode),
        };
        if new == now || !matches!(kind, FileKind::Regular | FileKind::Directory) {
            return Ok(());
        }
        // What we need of it ourselves.
        let own = if kind == FileKind::Directory { 0o700 } else { 0o600 };
        let plain = new.uid == 0 && new.gid == 0 && new.mode & own == own;
        let host_mode = if plain { new.mode } else { new.mode & 0o777 | own };
        if plain {
            match fs::removexattr(name, ATTRIBUTE) {
                Ok(()) | Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => {}
                Err(e) => return Err(e.into()),
            }
        } else {
            match fs::setxattr(name, ATTRIBUTE, new.encode().as_bytes(), XattrFlags::empty()) {
                Ok(()) => {}
                Err(rustix::io::Errno::OPNOTSUPP) if (new.uid, new.gid) == (now.uid, now.gid) => {}
                Err(rustix::io::Errno::OPNOTSUPP) => {
                    return Err(Errno::EPERM.because("the host's file system keeps no attributes for other owners"));
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok(fs::chmodat(CWD, name, Mode::from_raw_mode(host_mode), AtFlags::empty())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_read_as_written() {
        let owner = Owner { uid: 33, gid: 1000, mode: 0o4755 };
        assert_eq!(Owner::parse(owner.encode().as_bytes()), Some(owner));
        assert_eq!(Owner::parse(b"33 x 644"), None);
        assert_eq!(Owner::parse(b""), None);
    }
}
