//! A tree as an ext4 image: mke2fs makes an empty file system, debugfs fills it from a script, e2fsck looks at the result.
//!
//! None of that needs root, and owners come out as the tree says. Identifiers are derived from the contents and times are
//! fixed, so that the same tree and size give the same bytes.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::tree::{Kind, Tree, epoch};
use crate::process;

/// A file that goes when this is dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.0);
    }
}

/// Parses a size as mke2fs does: a number with k, m or g; returns bytes.
///
/// # Errors
/// What is accepted.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, shift) = match lower.as_bytes().last() {
        Some(b'k') => (&lower[..lower.len() - 1], 10),
        Some(b'm') => (&lower[..lower.len() - 1], 20),
        Some(b'g') => (&lower[..lower.len() - 1], 30),
        _ => (lower.as_str(), 0),
    };
    let size = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift));
    size.filter(|&s| s >= 4 << 20)
        .ok_or_else(|| format!("'{text}' is no size: 4m or more is accepted, such as 512m or 2g"))
}

/// Writes the image; it appears at `out` when it is whole.
///
/// # Errors
/// A tree that does not fit, and what the tools say.
pub(super) fn write(tree: &Tree, size: u64, out: &Path) -> Result<()> {
    // Inode tables, journal and bitmaps take a part.
    let needed = tree.size() + tree.size() / 10 + (8 << 20);
    if needed > size {
        bail!("the tree needs about {} MB: --ext4 {}m or more", needed >> 20, (needed >> 20) + 1);
    }
    let script = script(tree)?;
    let growing = Scratch(beside(out, "image"));
    let commands = Scratch(beside(out, "script"));
    fs::write(&commands.0, &script).with_context(|| format!("cannot write {}", commands.0.display()))?;
    let uuid = uuid(tree, &script)?;
    let tool = |name: &str| {
        let path = process::find_program(name);
        let mut command = Command::new(path.unwrap_or_else(|| name.into()));
        command.env("E2FSPROGS_FAKE_TIME", epoch().to_string());
        command
    };
    let mut mke2fs = tool("mke2fs");
    mke2fs.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-U", &uuid]);
    mke2fs.args(["-E", &format!("hash_seed={uuid},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0")]);
    mke2fs.arg(&growing.0).arg(format!("{}k", size >> 10));
    process::run(&mut mke2fs).context("package e2fsprogs has mke2fs")?;
    let mut debugfs = tool("debugfs");
    let output = process::run(debugfs.arg("-w").arg("-f").arg(&commands.0).arg(&growing.0))?;
    // debugfs goes on after an error and ends with status 0: what it says behind its version counts.
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if let Some(error) = said.lines().find(|line| !line.starts_with("debugfs ") && !line.trim().is_empty()) {
        bail!("debugfs cannot write the image: {error}");
    }
    process::run(tool("e2fsck").arg("-fn").arg(&growing.0)).context("the image is not sound")?;
    fs::rename(&growing.0, out).with_context(|| format!("cannot move the image to {}", out.display()))
}

fn beside(out: &Path, what: &str) -> PathBuf {
    let name = out.file_name().unwrap_or_default().to_string_lossy().into_owned();
    out.with_file_name(format!(".{name}.{what}-{}", std::process::id()))
}

/// A UUID that names the contents.
fn uuid(tree: &Tree, script: &str) -> Result<String> {
    let mut hash = Sha256::new();
    // Host paths differ from build to build.
    hash.update(script.replace(&tree.root.display().to_string(), ""));
    for object in tree.objects.iter().filter(|o| matches!(o.kind, Kind::File(_))) {
        hash.update(fs::read(tree.host(object))?);
    }
    let h = hash.finalize();
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, b| text + &format!("{b:02x}"));
    let (version, variant) = (h[6] & 0x0f | 0x80, h[8] & 0x3f | 0x80);
    Ok(format!(
        "{}-{}-{version:02x}{}-{variant:02x}{}-{}",
        hex(&h[..4]),
        hex(&h[4..6]),
        hex(&h[7..8]),
        hex(&h[9..10]),
        hex(&h[10..16])
    ))
}

/// The commands for debugfs(8).
fn script(tree: &Tree) -> Result<String> {
    let host = tree.root.to_str().filter(|p| !p.contains(['"', '\n', '\\']));
    let host = host.context("the root directory's own path holds characters that debugfs cannot take")?;
    let mut s = String::new();
    for o in &tree.objects {
        let path = format!("/{}", o.path);
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let folder = if folder.is_empty() { "/" } else { folder };
        let kind = match &o.kind {
            Kind::Directory => {
                if !o.path.is_empty() {
                    // By its bare name: debugfs takes the folder of "/name" to be the one it is in.
                    writeln!(s, "cd \"{folder}\"\nmkdir \"{name}\"")?;
                }
                0o040000
            }
            Kind::File(_) => {
                writeln!(s, "cd \"{folder}\"\nwrite \"{host}/{}\" \"{name}\"", o.path)?;
                0o100000
            }
            Kind::Symlink(target) => {
                writeln!(s, "cd \"{folder}\"\nsymlink \"{name}\" \"{target}\"")?;
                0o120000
            }
            Kind::Fifo => {
                writeln!(s, "cd \"{folder}\"\nmknod \"{name}\" p")?;
                0o010000
            }
            Kind::Link(first) => {
                writeln!(s, "cd \"{folder}\"\nln \"/{first}\" \"{name}\"")?;
                continue;
            }
        };
        if !matches!(o.kind, Kind::Symlink(_)) {
            writeln!(s, "sif \"{path}\" mode 0{:o}", kind | o.mode)?;
        }
        for (field, value) in [("uid", o.uid), ("gid", o.gid)] {
            if value != 0 {
                writeln!(s, "sif \"{path}\" {field} {value}")?;
            }
        }
        if o.links > 1 && o.kind != Kind::Directory {
            writeln!(s, "sif \"{path}\" links_count {}", o.links)?;
        }
    }
    Ok(s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_nonsense_is_not() {
        assert_eq!(parse_size("512m"), Ok(512 << 20));
        assert_eq!(parse_size("2G"), Ok(2 << 30));
        assert!(parse_size("1k").is_err() && parse_size("big").unwrap_err().contains("accepted"));
    }

    #[test]
    fn the_same_tree_gives_the_same_image() {
        let dir = std::env::temp_dir().join(format!("flatland-image-{}", std::process::id()));
        _ = fs::remove_dir_all(&dir);
        let mut images = Vec::new();
        for round in ["one", "two"] {
            let root = dir.join(round);
            fs::create_dir_all(root.join("etc dir/sub")).unwrap();
            fs::write(root.join("etc dir/file"), "contents".repeat(9000)).unwrap();
            fs::hard_link(root.join("etc dir/file"), root.join("second")).unwrap();
            fs::create_dir_all(root.join("var/lib")).unwrap();
            std::os::unix::fs::symlink("etc dir/file", root.join("link")).unwrap();
            let image = dir.join(format!("{round}.ext4"));
            write(&Tree::read(&root).unwrap(), 16 << 20, &image).unwrap();
            images.push(fs::read(&image).unwrap());
            std::thread::sleep(std::time::Duration::from_millis(1100));
        }
        let too_small = write(&Tree::read(&dir).unwrap(), 4 << 20, &dir.join("x")).unwrap_err().to_string();
        fs::remove_dir_all(&dir).unwrap();
        assert!(images[0] == images[1], "the images differ");
        assert!(too_small.contains("--ext4"), "{too_small}");
    }
}
