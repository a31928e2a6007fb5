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

/// Securebit: execve(2) gives user 0 no capabilities.
pub const SECBIT_NOROOT: u32 = 1 << 0;
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

    /// What execve(2) makes of them; `owner` and `group` are those of a program with the set-user-ID or set-group-ID bit
    /// (credentials(7); capabilities(7), "Transformation of capabilities during execve()"). Files have no capabilities here.
    pub fn after_exec(&self, owner: Option<Uid>, group: Option<Gid>) -> Credentials {
        let mut new = self.clone();
        (new.euid, new.egid) = (owner.unwrap_or(self.euid), group.unwrap_or(self.egid));
        (new.suid, new.fsuid, new.sgid, new.fsgid) = (new.euid, new.euid, new.egid, new.egid);
        if new.is_set_id() {
            new.ambient = 0;
        }
        let root = Uid(0);
        let as_root = self.securebits & SECBIT_NOROOT == 0 && (new.euid == root || new.ruid == root);
        let granted = if as_root { self.bounding | self.inheritable } else { 0 };
        // No new privileges: not even those that root would get back.
        let granted = if self.no_new_privs { granted & self.permitted } else { granted };
        new.permitted = granted | new.ambient;
        new.effective = if as_root && new.euid == root { new.permitted } else { new.ambient };
        new.securebits &= !SECBIT_KEEP_CAPS;
        new
    }

    /// Whether the effective user or group is another than the real one.
    pub fn is_set_id(&self) -> bool {
        self.ruid != self.euid || self.rgid != self.egid
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
    fn a_new_program_gets_what_capabilities_7_says() {
        let root = Credentials::root();
        assert_eq!(root.after_exec(None, None), root);
        let mut dropped = root.clone();
        (dropped.permitted, dropped.effective) = (0, 0);
        assert_eq!(dropped.after_exec(None, None), root, "root gets the bounding set back");
        dropped.no_new_privs = true;
        assert_eq!(dropped.after_exec(None, None).permitted, 0);

        let mut user = root.clone();
        (user.ruid, user.euid, user.suid, user.fsuid) = (Uid(7), Uid(7), Uid(0), Uid(9));
        user.securebits = SECBIT_KEEP_CAPS;
        let plain = user.after_exec(None, None);
        assert_eq!((plain.suid, plain.fsuid, plain.permitted, plain.securebits), (Uid(7), Uid(7), 0, 0));
        (user.ambient, user.inheritable) = (1, 1);
        assert_eq!(user.after_exec(None, None).effective, 1);

        let raised = user.after_exec(Some(Uid(0)), Some(Gid(5)));
        assert_eq!((raised.ruid, raised.euid, raised.suid, raised.egid), (Uid(7), Uid(0), Uid(0), Gid(5)));
        assert_eq!((raised.effective, raised.ambient), (ALL_CAPABILITIES, 0));
        assert!(raised.is_set_id() && !plain.is_set_id());
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
