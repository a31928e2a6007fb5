//! What maintainer scripts and an installer would have written: accounts, names, profile, links.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};

use super::recipe::Recipe;

const FILES: [(&str, &str); 8] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    ("etc/group", "root:x:0:\ndaemon:x:1:\ntty:x:5:\nnogroup:x:65534:\n"),
    ("etc/hostname", "flatland\n"),
    ("etc/hosts", "127.0.0.1\tlocalhost flatland\n::1\tlocalhost ip6-localhost\n10.77.0.1\thost\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nprotocols: files\nservices: files\n"),
    ("etc/resolv.conf", "# the guest's link leads to the host's namespace only; name a server here to use one\n"),
    ("etc/shells", "/bin/sh\n/bin/bash\n/bin/dash\n"),
    (
        "etc/profile",
        "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
         PS1='\\u@\\h:\\w\\$ '\n",
    ),
];

/// Writes the configuration files that no package brings.
pub(super) fn write_etc(root: &Path) -> Result<()> {
    for (place, text) in FILES {
        let path = root.join(place);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    symlink_anew("/proc/self/mounts", &root.join("etc/mtab"))
}

/// Makes the recipe's links and copies.
pub(super) fn links_and_copies(root: &Path, recipe: &Recipe) -> Result<()> {
    for (place, target) in &recipe.links {
        let path = root.join(place);
        make_parent(&path)?;
        symlink_anew(target, &path)?;
    }
    for (place, from) in &recipe.copies {
        let path = root.join(place);
        make_parent(&path)?;
        let from = root.join(from);
        fs::copy(&from, &path).with_context(|| format!("cannot copy {} to {}", from.display(), path.display()))?;
    }
    Ok(())
}

pub(super) fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))
}

fn symlink_anew(target: &str, path: &Path) -> Result<()> {
    _ = fs::remove_file(path);
    symlink(target, path).with_context(|| format!("cannot link {}", path.display()))
}
