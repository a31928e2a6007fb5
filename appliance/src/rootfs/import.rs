//! Root directories that others made: a tar archive of a tree, or an OCI image layout.
//!
//! An OCI layout (image-spec, image-layout.md) is a folder with `index.json` and blobs by digest; the image for
//! linux/amd64 is taken, every blob is checked against its digest, and the layers are unpacked one over the other, with
//! their whiteouts. Devices are left out, as a guest has its own `/dev`.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::tar;
use crate::interrupt::Interrupt;
use crate::process;
use crate::progress::Progress;

/// Folders that a guest mounts on, made where an archive lacks them.
const FOLDERS: [&str; 6] = ["dev", "proc", "sys", "run", "tmp", "root"];

/// Unpacks `source` into the empty directory `root`.
///
/// # Errors
/// A source that is neither, a damaged blob, and what tar says.
pub(super) fn unpack(source: &Path, root: &Path, interrupt: &Interrupt) -> Result<()> {
    if source.is_dir() {
        if !source.join("oci-layout").exists() {
            bail!(
                "'{}' is no OCI image layout (it has no file oci-layout): a tar archive or a layout is accepted",
                source.display()
            );
        }
        let layers = layers(source)?;
        let mut progress = Progress::new(layers.len(), 1);
        for layer in &layers {
            interrupt.check()?;
            progress.begin(&format!("unpacking layer {}", layer.file_name().unwrap_or_default().to_string_lossy()));
            apply_whiteouts(layer, root)?;
            untar(layer, root, &["--exclude=.wh.*", "--exclude=*/.wh.*"])?;
            progress.end();
        }
        progress.finish(&format!("unpacked {} layers", layers.len()));
    } else {
        untar(source, root, &[])?;
    }
    for folder in FOLDERS {
        let path = root.join(folder);
        if path.symlink_metadata().is_err() {
            fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
    }
    Ok(())
}

/// tar finds out by itself how the archive is compressed.
fn untar(archive: &Path, root: &Path, more: &[&str]) -> Result<()> {
    let mut command = tar::unpacking(root);
    command.args(["--exclude=./dev/*", "--exclude=dev/*"]).args(more).arg("-f").arg(archive);
    let output = process::run(&mut command).with_context(|| format!("cannot unpack {}", archive.display()))?;
    tar::keep_owners(root, &tar::members(&output.stdout))
}

fn parse(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is no JSON", path.display()))
}

/// The file of a blob, whose digest has been checked.
fn blob(layout: &Path, descriptor: &Value) -> Result<PathBuf> {
    let digest = descriptor["digest"].as_str().context("a descriptor without a digest")?;
    let hex = digest.strip_prefix("sha256:").filter(|h| h.len() == 64 && h.bytes().all(|b| b.is_ascii_hexdigit()));
    let hex = hex.with_context(|| format!("the digest '{digest}': sha256 is accepted"))?;
    let path = layout.join("blobs/sha256").join(hex);
    let mut file = fs::File::open(&path).with_context(|| format!("cannot read the blob {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0u8; 1 << 20];
    loop {
        match std::io::Read::read(&mut file, &mut chunk)? {
            0 => break,
            n => hash.update(&chunk[..n]),
        }
    }
    let found = hash.finalize().iter().fold(String::new(), |text, b| text + &format!("{b:02x}"));
    if found != hex {
        bail!("the blob {} is damaged: its SHA-256 is {found}", path.display());
    }
    Ok(path)
}

/// The layers of the image for this machine, the lowest first.
fn layers(layout: &Path) -> Result<Vec<PathBuf>> {
    let mut document = parse(&layout.join("index.json"))?;
    // An index may lead to another, as registries have it for several machines.
    for _ in 0..4 {
        if let Some(list) = document["layers"].as_array() {
            return list.iter().map(|layer| blob(layout, layer)).collect();
        }
        let list = document["manifests"].as_array().context("index.json names no manifests")?;
        let fits = |m: &&Value| match m["platform"].as_object() {
            Some(p) => p.get("os").is_some_and(|v| v == "linux") && p.get("architecture").is_some_and(|v| v == "amd64"),
            None => true,
        };
        let chosen = list.iter().find(fits).context("the layout has no image for linux/amd64")?;
        document = parse(&blob(layout, chosen)?)?;
    }
    bail!("the layout's indexes lead nowhere")
}

/// Removes what a layer says is gone: `.wh.NAME`, and everything of a folder with `.wh..wh..opq`.
fn apply_whiteouts(layer: &Path, root: &Path) -> Result<()> {
    let output = process::run(Command::new("tar").arg("-t").arg("-f").arg(layer))?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let path = Path::new(line);
        let Some(gone) = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_prefix(".wh.")) else {
            continue;
        };
        let Some(folder) = inside(root, path.parent().unwrap_or(Path::new(""))) else { continue };
        if gone == ".wh..opq" {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                remove(&entry.path())?;
            }
        } else if gone != "." && gone != ".." {
            remove(&folder.join(gone))?;
        }
    }
    Ok(())
}

/// A folder of the tree, if it is one: no link on the way, nothing outside.
fn inside(root: &Path, folder: &Path) -> Option<PathBuf> {
    let mut at = root.to_owned();
    for part in folder.components() {
        match part {
            Component::CurDir | Component::RootDir => {}
            Component::Normal(name) => at.push(name),
            _ => return None,
        }
        if !at.symlink_metadata().ok()?.is_dir() {
            return None;
        }
    }
    Some(at)
}

fn remove(path: &Path) -> Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => return Ok(()),
    };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(layout: &Path, bytes: &[u8]) -> String {
        let hex = Sha256::digest(bytes).iter().fold(String::new(), |t, b| t + &format!("{b:02x}"));
        fs::write(layout.join("blobs/sha256").join(&hex), bytes).unwrap();
        format!("{{\"digest\":\"sha256:{hex}\",\"size\":{}}}", bytes.len())
    }

    fn layer(folder: &Path, files: &[(&str, &str)]) -> Vec<u8> {
        _ = fs::remove_dir_all(folder);
        for (path, text) in files {
            fs::create_dir_all(folder.join(path).parent().unwrap()).unwrap();
            fs::write(folder.join(path), text).unwrap();
        }
        process::run(Command::new("tar").args(["-cz", "-C"]).arg(folder).arg(".")).unwrap().stdout
    }

    #[test]
    fn layers_are_stacked_with_their_whiteouts_and_checked() {
        let dir = std::env::temp_dir().join(format!("flatland-oci-{}", std::process::id()));
        _ = fs::remove_dir_all(&dir);
        let (layout, root) = (dir.join("layout"), dir.join("root"));
        fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
        fs::create_dir_all(&root).unwrap();
        let one = layer(&dir.join("l1"), &[("etc/keep", "1"), ("etc/drop", "1"), ("var/old/x", "1"), ("bin/sh", "1")]);
        let two = layer(
            &dir.join("l2"),
            &[("etc/.wh.drop", ""), ("var/.wh..wh..opq", ""), ("var/new", "2"), ("bin/sh", "2")],
        );
        let (first, second) = (store(&layout, &one), store(&layout, &two));
        let manifest = store(&layout, format!("{{\"layers\":[{first},{second}]}}").as_bytes());
        fs::write(layout.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
        fs::write(layout.join("index.json"), format!("{{\"manifests\":[{manifest}]}}")).unwrap();
        unpack(&layout, &root, &Interrupt::default()).unwrap();
        let there = |p: &str| root.join(p).exists();
        let found = ["etc/keep", "var/new", "proc", "etc/drop", "var/old", "etc/.wh.drop"].map(there);
        let shell = fs::read_to_string(root.join("bin/sh")).unwrap();
        for blob in fs::read_dir(layout.join("blobs/sha256")).unwrap().flatten() {
            fs::write(blob.path(), "damaged").unwrap();
        }
        let error = unpack(&layout, &root, &Interrupt::default()).unwrap_err().to_string();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(found, [true, true, true, false, false, false]);
        assert_eq!(shell, "2");
        assert!(error.contains("damaged"), "{error}");
    }
}
