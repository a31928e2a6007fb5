//! What the machine is called (uname(2)) and was started with (`/proc/cmdline`).

use crate::sync::{Once, Rank, SpinLock};
use alloc::string::String;
use alloc::vec::Vec;

/// Longest host or domain name, in bytes (`__NEW_UTS_LEN`).
pub const NAME_MAX: usize = 64;
/// The kernel's release as uname(2) reports it: the Linux version that the interface follows.
pub const RELEASE: &str = "6.12.0-flatland";
/// The kernel's version string.
pub const VERSION: &str = "#1 SMP Flatland";

struct Names {
    host: Vec<u8>,
    domain: Vec<u8>,
}

static NAMES: SpinLock<Names> = SpinLock::new(Rank::Thread, Names { host: Vec::new(), domain: Vec::new() });
static COMMAND_LINE: Once<String> = Once::new();

fn cut(name: &[u8]) -> Vec<u8> {
    name[..name.len().min(NAME_MAX)].to_vec()
}

/// The host's name (`/proc/sys/kernel/hostname`); empty when it has none.
pub fn hostname() -> Vec<u8> {
    NAMES.lock().host.clone()
}

/// Sets the host's name; cut to [`NAME_MAX`].
pub fn set_hostname(name: &[u8]) {
    let name = cut(name);
    let old = core::mem::replace(&mut NAMES.lock().host, name);
    drop(old);
}

/// The NIS domain's name; empty when there is none.
pub fn domainname() -> Vec<u8> {
    NAMES.lock().domain.clone()
}

/// Sets the NIS domain's name; cut to [`NAME_MAX`].
pub fn set_domainname(name: &[u8]) {
    let name = cut(name);
    let old = core::mem::replace(&mut NAMES.lock().domain, name);
    drop(old);
}

/// The command line that the machine was started with (`/proc/cmdline`).
pub fn command_line() -> &'static str {
    COMMAND_LINE.get().map_or("", String::as_str)
}

/// Notes the command line, once.
pub fn set_command_line(text: &str) {
    COMMAND_LINE.call_once(|| text.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_to_what_uname_holds() {
        set_domainname(&[b'd'; NAME_MAX + 9]);
        assert_eq!(domainname(), [b'd'; NAME_MAX]);
        set_domainname(b"");
        assert!(domainname().is_empty());
    }
}
