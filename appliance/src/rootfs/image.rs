//! What a root directory is turned into: an ext4 image or a cpio archive.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::tree::Tree;
use super::{Growing, Rootfs, cpio, ext4, import};
use crate::cache;
use crate::interrupt::Interrupt;

/// The form that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// With its size in bytes.
    Ext4(u64),
    Cpio,
}

impl Form {
    fn suffix(self) -> &'static str {
        match self {
            Form::Ext4(_) => "ext4",
            Form::Cpio => "cpio",
        }
    }
}

/// Writes a root directory as a file, `NAME.ext4` or `NAME.cpio` here unless `out` says otherwise; returns where.
pub fn write(root: &Path, name: &str, form: Form, out: Option<&Path>) -> Result<PathBuf> {
    let out =
        std::path::absolute(out.map_or_else(|| PathBuf::from(format!("{name}.{}", form.suffix())), Path::to_owned))?;
    let tree = Tree::read(root)?;
    eprintln!("writing {} objects, {} MB, to {}", tree.objects.len(), tree.size() >> 20, out.display());
    match form {
        Form::Ext4(size) => ext4::write(&tree, size, &out)?,
        Form::Cpio => cpio::write(&tree, &out)?,
    }
    Ok(out)
}

/// Unpacks a tar archive or an OCI layout: into `dir`, or into a folder of the cache that `form` is written from and
/// that goes afterwards. Returns what was made.
pub fn import(
    source: &Path,
    dir: Option<&Path>,
    form: Option<Form>,
    out: Option<&Path>,
    interrupt: &Interrupt,
) -> Result<PathBuf> {
    if source.symlink_metadata().is_err() {
        bail!("no '{}': a tar archive or an OCI image layout is accepted", source.display());
    }
    let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.split(".tar").next().unwrap_or_default().trim_end_matches(".tgz").to_owned();
    let target = match dir {
        Some(dir) => std::path::absolute(dir)?,
        None => cache::folder()?.join("import").join(&name),
    };
    if fs::read_dir(&target).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("'{}' is not empty: name another --dir, or remove it first", target.display());
    }
    let parent = target.parent().context("the root directory cannot be /")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let tree = Growing::beside(&target)?;
    import::unpack(source, &tree.path, interrupt)?;
    match form {
        // The tree goes with `tree`.
        Some(form) => write(&tree.path, &name, form, out),
        None => {
            tree.settle(&target)?;
            Ok(Rootfs::open(&target)?.dir)
        }
    }
}
