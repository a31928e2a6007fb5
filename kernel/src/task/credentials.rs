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
    Setpcap = 8,
    NetBindService = 10,
    NetAdmin = 12,
    NetRaw = 13,
    IpcLock = 14,
    IpcOwner = 15,
    SysChroot = 18,
    SysPtrace = 19,
    SysPacct = 20,
    SysAdmin = 21,
    SysBoot = 22,
    SysNice = 23,
    SysResource = 24,
    SysTime = 25,
    SysTtyConfig = 26,
    Mknod = 27,
    Syslog = 34,
}

/// Securebit: user id changes do not touch capabilities.
pub const SECBIT_NO_SETUID_FIXUP: u32 = 1 << 2;
/// Securebit: capabilities survive a change away from user 0 (PR_SET_KEEPCAPS).
pub const SECBIT_KEEP_CAPS: u32 = 1 << 4;
/// CAP_CHOWN, _DAC_OVERRIDE, _DAC_READ_SEARCH, _FOWNER, _FSETID, _LINUX_IMMUTABLE, _MKNOD, _MAC_OVERRIDE.
const FILE_CAPABILITIES: u64 = 0x1f | 1 << 9 | 1 << 27 | 1 << 32;

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
    /// SECBIT_* (capabilities(7)); bit 4 is PR_SET_KEEPCAPS.
    pub securebits: u32,
    /// PR_SET_NO_NEW_PRIVS: execve(2) grants nothing.
    pub no_new_privs: bool,
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
            securebits: 0,
            no_new_privs: false,
        }
    }

    /// Adjusts the capabilities after the user ids changed from `old` (capabilities(7), "Effect of user ID changes").
    pub fn user_ids_changed(&mut self, old: &Credentials) {
        let had_root = [old.ruid, old.euid, old.suid].contains(&Uid(0));
        let has_root = [self.ruid, self.euid, self.suid].contains(&Uid(0));
        if self.securebits & SECBIT_NO_SETUID_FIXUP == 0 {
            if had_root && !has_root {
                if self.securebits & SECBIT_KEEP_CAPS == 0 {
                    self.permitted = 0;
                    self.effective = 0;
                }
                self.ambient = 0;
            }
            if old.euid == Uid(0) && self.euid != Uid(0) {
                self.effective = 0;
            }
            if old.euid != Uid(0) && self.euid == Uid(0) {
                self.effective = self.permitted;
            }
        }
    }

    /// Adjusts the file capabilities after the file-system user changed from `old` (capabilities(7)).
    pub fn fsuid_changed(&mut self, old: Uid) {
        if self.securebits & SECBIT_NO_SETUID_FIXUP == 0 {
            if old == Uid(0) && self.fsuid != Uid(0) {
                self.effective &= !FILE_CAPABILITIES;
            }
            if old != Uid(0) && self.fsuid == Uid(0) {
                self.effective |= self.permitted & FILE_CAPABILITIES;
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_root_drops_capabilities_unless_kept() {
        let root = Credentials::root();
        let mut user = root.clone();
        (user.ruid, user.euid, user.suid) = (Uid(1000), Uid(1000), Uid(1000));
        user.user_ids_changed(&root);
        assert_eq!((user.permitted, user.effective), (0, 0));
        let mut keeper = root.clone();
        keeper.securebits = SECBIT_KEEP_CAPS;
        let before = keeper.clone();
        (keeper.ruid, keeper.euid, keeper.suid) = (Uid(1000), Uid(1000), Uid(1000));
        keeper.user_ids_changed(&before);
        assert_eq!((keeper.permitted, keeper.effective), (ALL_CAPABILITIES, 0));
    }

    #[test]
    fn a_temporary_change_of_the_effective_user_keeps_the_permitted_set() {
        let root = Credentials::root();
        let mut user = root.clone();
        user.euid = Uid(1000);
        user.user_ids_changed(&root);
        assert_eq!((user.permitted, user.effective), (ALL_CAPABILITIES, 0));
        let mut back = user.clone();
        back.euid = Uid(0);
        back.user_ids_changed(&user);
        assert_eq!(back.effective, ALL_CAPABILITIES);
    }
}
