//! Links to busybox for each of its applets whose name no package took.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// Asks the root's own busybox, which is static and so runs anywhere, for its applets and links them.
pub(super) fn link(root: &Path) -> Result<()> {
    let busybox = root.join("usr/bin/busybox");
    let output = process::run(Command::new(&busybox).arg("--list-full"))
        .context("the recipe says `applets = true`, which needs the package busybox-static")?;
    for applet in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some((folder, target)) = place(applet) {
            let name = applet.rsplit('/').next().unwrap_or(applet);
            let taken = ["usr/bin", "usr/sbin"].iter().any(|f| fs::symlink_metadata(root.join(f).join(name)).is_ok());
            if !taken {
                symlink(target, root.join(folder).join(name)).with_context(|| format!("cannot link {name}"))?;
            }
        }
    }
    Ok(())
}

/// The merged-/usr folder of an applet's path (`sbin/ip`, `linuxrc`) and the link's target from there.
fn place(applet: &str) -> Option<(&'static str, &'static str)> {
    let (folder, _) = applet.rsplit_once('/')?;
    match folder.trim_start_matches('/') {
        "bin" | "usr/bin" => Some(("usr/bin", "busybox")),
        "sbin" | "usr/sbin" => Some(("usr/sbin", "../bin/busybox")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applets_go_where_the_merged_usr_has_them() {
        assert_eq!(place("bin/ash"), Some(("usr/bin", "busybox")));
        assert_eq!(place("usr/sbin/arping"), Some(("usr/sbin", "../bin/busybox")));
        assert_eq!(place("linuxrc"), None);
        assert_eq!(place("opt/x"), None);
    }
}
