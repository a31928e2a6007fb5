//! Unpacking with tar, and what it says of the objects that it unpacked.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use rustix::fs::{XattrFlags, lsetxattr};
use rustix::process::geteuid;

/// Where a machine without privilege on the host looks for a file's owner (`kernel/src/fs/hostfs/ownership.rs`).
pub(super) const OWNER: &str = "user.flatland.owner";

/// An object of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// As the archive has it, without the target of a link.
    pub name: String,
    /// As ls(1) shows it: kind and permissions.
    mode: String,
    uid: u32,
    gid: u32,
}

/// tar, about to unpack into `root`; it says what it unpacks.
pub(super) fn unpacking(root: &Path) -> Command {
    let mut tar = Command::new("tar");
    tar.env("LC_ALL", "C").stdin(Stdio::null());
    tar.args(["-x", "-p", "-v", "-v", "--numeric-owner", "--quoting-style=literal", "--keep-directory-symlink", "-C"]);
    tar.arg(root);
    tar
}

/// The objects that tar's output names.
pub(super) fn members(output: &[u8]) -> Vec<Member> {
    String::from_utf8_lossy(output).lines().filter_map(parse).collect()
}

/// `-rwxr-sr-x 0/42 72184 2023-03-23 12:40 ./usr/bin/chage`
fn parse(line: &str) -> Option<Member> {
    let mut rest = line;
    let mut word = || {
        let (word, after) = rest.trim_start().split_once(' ')?;
        rest = after;
        Some(word)
    };
    let (mode, owner) = (word()?.to_owned(), word()?);
    let (uid, gid) = owner.split_once('/')?;
    let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
    let (_size, _day, _time) = (word()?, word()?, word()?);
    let end = match mode.as_bytes().first()? {
        b'l' => rest.find(" -> "),
        b'h' => rest.find(" link to "),
        _ => None,
    };
    Some(Member { name: rest[..end.unwrap_or(rest.len())].to_owned(), mode, uid, gid })
}

/// Keeps the owners that an unprivileged tar cannot give: as a machine of the same user keeps them.
///
/// # Errors
/// A file system without attributes.
pub(super) fn keep_owners(root: &Path, members: &[Member]) -> Result<()> {
    if geteuid().is_root() {
        return Ok(());
    }
    for member in members.iter().filter(|m| (m.uid, m.gid) != (0, 0) && m.mode.starts_with(['-', 'd'])) {
        let path = root.join(member.name.trim_start_matches(['.', '/']));
        let value = format!("{} {} {:o}", member.uid, member.gid, bits(&member.mode));
        // A later layer may have put something else there.
        if path.symlink_metadata().is_ok_and(|meta| meta.is_file() || meta.is_dir()) {
            lsetxattr(&path, OWNER, value.as_bytes(), XattrFlags::empty())
                .with_context(|| format!("cannot keep the owner of {}", path.display()))?;
        }
    }
    Ok(())
}

/// The permission bits of `drwxr-sr-t`.
fn bits(mode: &str) -> u32 {
    mode.bytes().skip(1).zip(0u32..9).fold(0, |bits, (letter, at)| {
        let own = if matches!(letter, b'-' | b'S' | b'T') { 0 } else { 0o400 >> at };
        let special = if matches!(letter, b's' | b'S' | b't' | b'T') { 0o4000 >> (at / 3) } else { 0 };
        bits | own | special
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_tar_are_understood() {
        let text = "drwxrwxrwt 0/0               0 2023-01-01 00:00 ./tmp/\n\
                    -rwxr-sr-x 0/42          72184 2023-03-23 12:40 ./usr/bin/chage\n\
                    lrwxrwxrwx 0/0               0 2023-03-23 12:40 ./usr/bin/a b -> chage\n\
                    hrw-r--r-- 1/2               0 2023-03-23 12:40 ./two link to ./one\n\
                    nonsense\n";
        let found = members(text.as_bytes());
        let names: Vec<_> = found.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["./tmp/", "./usr/bin/chage", "./usr/bin/a b", "./two"]);
        assert_eq!((found[1].uid, found[1].gid, bits(&found[1].mode)), (0, 42, 0o2755));
        assert_eq!(bits(&found[0].mode), 0o1777);
        assert_eq!(bits("-rwSr-Sr-T"), 0o7644);
    }
}
