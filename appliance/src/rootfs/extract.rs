//! Unpacking package archives into a tree with a merged /usr.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::tar::{self, Member};

/// Makes the folders that every root has, and the links of the merged /usr.
pub(super) fn lay_out(root: &Path) -> Result<()> {
    for folder in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(root.join("usr").join(folder))?;
        symlink(format!("usr/{folder}"), root.join(folder))?;
    }
    for folder in ["dev", "etc", "proc", "root", "run", "sys", "tmp", "var/tmp"] {
        fs::create_dir_all(root.join(folder))?;
    }
    for shared in ["tmp", "var/tmp"] {
        fs::set_permissions(root.join(shared), fs::Permissions::from_mode(0o1777))?;
    }
    // mkdir's mode went through the caller's umask.
    fs::set_permissions(root, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Unpacks one archive; returns what was in it. tar, not `dpkg-deb -x`: that one replaces our links by the package's
/// directories.
pub(super) fn unpack(archive: &Path, root: &Path, leave_out: &[String]) -> Result<Vec<Member>> {
    let mut dpkg = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(archive)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb (package dpkg)")?;
    let stream = dpkg.stdout.take().context("dpkg-deb has no output")?;
    let mut tar = tar::unpacking(root);
    tar.args(leave_out.iter().map(|pattern| format!("--exclude={pattern}"))).args(["-f", "-"]);
    let outcome = tar.stdin(stream).output().context("cannot start tar");
    let dpkg = dpkg.wait_with_output()?;
    let tar = outcome?;
    if !tar.status.success() || !dpkg.status.success() {
        // A damaged archive makes both complain; dpkg-deb knows why.
        let said = String::from_utf8_lossy(if dpkg.status.success() { &tar.stderr } else { &dpkg.stderr });
        bail!(
            "cannot unpack {}: {} (a damaged download? remove the file and try again)",
            archive.display(),
            said.trim()
        );
    }
    let members = tar::members(&tar.stdout);
    tar::keep_owners(root, &members)?;
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;

    /// A package with a file under /bin, as packages from before the merged /usr have it.
    fn package(folder: &Path) -> std::path::PathBuf {
        let tree = folder.join("tree");
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        fs::create_dir_all(tree.join("bin")).unwrap();
        fs::create_dir_all(tree.join("usr/share/man")).unwrap();
        fs::write(tree.join("bin/tool"), "tool").unwrap();
        fs::write(tree.join("usr/share/man/tool.1"), "manual").unwrap();
        let control =
            "Package: tool\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: x\n";
        fs::write(tree.join("DEBIAN/control"), control).unwrap();
        fs::set_permissions(tree.join("DEBIAN"), fs::Permissions::from_mode(0o755)).unwrap();
        let archive = folder.join("tool.deb");
        process::run(Command::new("dpkg-deb").args(["--root-owner-group", "-b"]).arg(&tree).arg(&archive)).unwrap();
        archive
    }

    #[test]
    fn files_under_bin_land_in_usr_and_the_link_stays() {
        let folder = std::env::temp_dir().join(format!("flatland-unpack-{}", std::process::id()));
        let root = folder.join("root");
        fs::create_dir_all(&root).unwrap();
        let archive = package(&folder);
        lay_out(&root).unwrap();
        unpack(&archive, &root, &["./usr/share/man/*".into()]).unwrap();
        let link = fs::read_link(root.join("bin"));
        let tool = fs::read_to_string(root.join("usr/bin/tool"));
        let manual = root.join("usr/share/man/tool.1").exists();
        fs::write(&archive, "damaged").unwrap();
        let error = unpack(&archive, &root, &[]).unwrap_err().to_string();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(link.unwrap(), Path::new("usr/bin"));
        assert_eq!(tool.unwrap(), "tool");
        assert!(!manual);
        assert!(error.contains("tool.deb"), "{error}");
    }
}
