//! Who a thread acts as (credentials(7)). Shared and immutable: a change makes a new one.

use super::ids::{Gid, Uid};
use alloc::vec::Vec;

/// Capability numbers of capabilities(7) that the kernel checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
#[repr(u8)]
pub enum Capability {
    Chown = 0,
    DacOverride = 1,
    DacReadSearch = 2,
    Fowner = 3,
    Fsetid = 4,
    Kill = 5,
    Setgid = 6,
    Setuid = 7,
    NetBindService = 10,
    NetAdmin = 12,
    NetRaw = 13,
    SysChroot = 18,
    SysPtrace = 19,
    SysAdmin = 21,
    SysBoot = 22,
    SysNice = 23,
    SysResource = 24,
    SysTime = 25,
    Mknod = 27,
}

/// The capabilities that Linux 6.x defines, all set.
pub const ALL_CAPABILITIES: u64 = (1 << 41) - 1;

/// User and group ids, and capabilities.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Credentials {
    pub ruid: Uid,
    pub euid: Uid,
    pub suid: Uid,
    pub fsuid: Uid,
    pub rgid: Gid,
    pub egid: Gid,
    pub sgid: Gid,
    pub fsgid: Gid,
    pub groups: Vec<Gid>,
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub bounding: u64,
    pub ambient: u64,
}

impl Credentials {
    /// The superuser with every capability, as init starts.
    pub fn root() -> Self {
        Credentials {
            ruid: Uid(0),
            euid: Uid(0),
            suid: Uid(0),
            fsuid: Uid(0),
            rgid: Gid(0),
            egid: Gid(0),
            sgid: Gid(0),
            fsgid: Gid(0),
            groups: Vec::new(),
            effective: ALL_CAPABILITIES,
            permitted: ALL_CAPABILITIES,
            inheritable: 0,
            bounding: ALL_CAPABILITIES,
            ambient: 0,
        }
    }

    /// Whether the effective set has `capability`.
    pub fn capable(&self, capability: Capability) -> bool {
        self.effective & (1 << capability as u8) != 0
    }

    /// Whether the file-system group or a supplementary group is `gid`.
    pub fn in_group(&self, gid: Gid) -> bool {
        self.fsgid == gid || self.groups.contains(&gid)
    }
}
