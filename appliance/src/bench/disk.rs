//! Disks for the systems that are measured with one: the root directory as an ext4 image, a copy for each run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::round::Site;
use crate::process;

/// Room for the root directory and for what programs write.
const SIZE: &str = "1G";
/// Arguments: the image, the place where it is mounted, and the command that runs behind it.
const LOOP: &str = "mount -t ext4 -o loop \"$1\" \"$2\" || exit; shift 2; exec \"$@\"";

/// The copy of a run; gone with it.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
}

impl Disk {
    /// A fresh copy. The image that is copied is made for the first run and stays as long as the measuring lasts.
    pub fn new(site: &Site) -> Result<Self> {
        let base = site.scratch().join("disk.ext4");
        if !base.exists() {
            let tool = process::find_program("mke2fs").context("mke2fs is missing (package e2fsprogs)")?;
            let mut command = Command::new(tool);
            command.args(["-q", "-F", "-t", "ext4", "-d"]).arg(&site.rootfs.dir).arg(&base).arg(SIZE);
            process::run(&mut command).context("cannot make a disk image of the root directory")?;
        }
        // Beside the report, because a run is to be on the disk that the user chose, and not in memory.
        let image = site.raw.join(format!(".{}.ext4", site.unique("disk")));
        let disk = Disk { image };
        process::run(Command::new("cp").arg("--sparse=always").arg(&base).arg(&disk.image)).context("a run's disk")?;
        Ok(disk)
    }

    /// Where it lies on the host.
    pub fn path(&self) -> &Path {
        &self.image
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.image);
    }
}

/// Where the host's kernel shows a disk, in a mount namespace of the run's own.
pub fn mount_point(site: &Site) -> Result<PathBuf> {
    let at = site.scratch().join("disk");
    fs::create_dir_all(&at).with_context(|| format!("cannot make {}", at.display()))?;
    Ok(at)
}

/// `inner` behind a loop mount of the image at `at`. Where that is not permitted, mount(8) says so and nothing runs.
pub fn on_loop(image: &Path, at: &Path, inner: &Command) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", LOOP, "sh"]).arg(image).arg(at);
    command.arg(inner.get_program()).args(inner.get_args()).env_clear();
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command
}
