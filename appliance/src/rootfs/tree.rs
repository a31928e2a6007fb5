//! A root directory as a list of objects, in an order and with times that depend on its contents only: what images are
//! written from, so that the same tree gives the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;

use super::tar;

/// The time that every object of an image has, in seconds since 1970, unless `SOURCE_DATE_EPOCH` names another:
/// 2024-01-01 00:00:00 UTC.
const EPOCH: u32 = 1_704_067_200;

/// What an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    /// With its size in bytes.
    File(u64),
    /// With its target.
    Symlink(String),
    Fifo,
    /// Another name of the object with this path.
    Link(String),
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    /// From the root, without a leading slash; empty for the root itself.
    pub path: String,
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// How many names it has in the tree.
    pub links: u32,
}

/// All objects below a directory, parents before children, names in byte order.
#[derive(Debug)]
pub(super) struct Tree {
    pub root: PathBuf,
    pub objects: Vec<Object>,
}

/// The time of all objects of an image.
pub(super) fn epoch() -> u32 {
    std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok()).unwrap_or(EPOCH)
}

impl Tree {
    /// Reads a directory tree. Devices and sockets are left out: a guest has its own `/dev`.
    ///
    /// # Errors
    /// What cannot be read, and names that no image can hold.
    pub fn read(root: &Path) -> Result<Self> {
        let mut tree = Tree { root: root.to_owned(), objects: Vec::new() };
        let mut names = BTreeMap::new();
        tree.walk("", &mut names)?;
        for object in &mut tree.objects {
            let first = if let Kind::Link(first) = &object.kind { first.clone() } else { object.path.clone() };
            object.links = names.get(&first).copied().unwrap_or(1);
        }
        Ok(tree)
    }

    /// The host path of an object.
    pub fn host(&self, object: &Object) -> PathBuf {
        self.root.join(&object.path)
    }

    /// Bytes of all files, each rounded up to 4 KB.
    pub fn size(&self) -> u64 {
        let of = |o: &Object| if let Kind::File(size) = o.kind { size.next_multiple_of(4096) } else { 0 };
        self.objects.iter().map(of).sum()
    }

    fn walk(&mut self, path: &str, names: &mut BTreeMap<String, u32>) -> Result<()> {
        let mut seen: BTreeMap<(u64, u64), String> = BTreeMap::new();
        let mut stack = vec![path.to_owned()];
        while let Some(path) = stack.pop() {
            let host = self.root.join(&path);
            let meta = host.symlink_metadata().with_context(|| format!("cannot read {}", host.display()))?;
            let kind = meta.file_type();
            let kind = if kind.is_dir() {
                stack.extend(self.children(&path)?);
                Kind::Directory
            } else if let Some(first) = seen.get(&(meta.dev(), meta.ino())).filter(|_| meta.nlink() > 1) {
                *names.entry(first.clone()).or_insert(1) += 1;
                Kind::Link(first.clone())
            } else if kind.is_symlink() {
                let target = fs::read_link(&host)?;
                Kind::Symlink(target.to_str().with_context(|| format!("{}: no text", host.display()))?.to_owned())
            } else if kind.is_fifo() {
                Kind::Fifo
            } else if kind.is_file() {
                Kind::File(meta.len())
            } else {
                continue;
            };
            if !matches!(kind, Kind::Directory | Kind::Link(_)) {
                seen.insert((meta.dev(), meta.ino()), path.clone());
            }
            let (uid, gid, mode) = owner(&host, &meta);
            self.objects.push(Object { path, kind, mode, uid, gid, links: 1 });
        }
        Ok(())
    }

    /// The children of a directory, the last first, as a stack wants them.
    fn children(&self, path: &str) -> Result<Vec<String>> {
        let host = self.root.join(path);
        let mut names = Vec::new();
        for entry in fs::read_dir(&host).with_context(|| format!("cannot read {}", host.display()))? {
            let name = entry?.file_name();
            match name.to_str().filter(|n| !n.contains(['\n', '"', '\\'])) {
                Some(name) => names.push(if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }),
                None => bail!("{}: a name that images cannot hold here: {name:?}", host.display()),
            }
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(names)
    }
}

/// Owner, group and permissions in the guest: whoever built the tree without privilege stands for root, and what he could
/// not give away is noted beside the file.
fn owner(host: &Path, meta: &fs::Metadata) -> (u32, u32, u32) {
    let mode = meta.mode() & 0o7777;
    if geteuid().is_root() {
        return (meta.uid(), meta.gid(), mode);
    }
    let mut buffer = [0; 64];
    let kept = rustix::fs::lgetxattr(host, tar::OWNER, &mut buffer[..]).ok().and_then(|n| noted(&buffer[..n]));
    let own = (geteuid().as_raw(), rustix::process::getegid().as_raw());
    let or_root = |id: u32, own: u32| if id == own { 0 } else { id };
    kept.unwrap_or_else(|| (or_root(meta.uid(), own.0), or_root(meta.gid(), own.1), mode))
}

/// `0 42 2755`
fn noted(text: &[u8]) -> Option<(u32, u32, u32)> {
    let mut words = std::str::from_utf8(text).ok()?.split(' ');
    let (uid, gid) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some((uid, gid, u32::from_str_radix(words.next()?, 8).ok()? & 0o7777))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn order_and_links_follow_from_the_contents() {
        let root = std::env::temp_dir().join(format!("flatland-tree-{}", std::process::id()));
        _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("b/deep")).unwrap();
        fs::write(root.join("b/file"), "12345").unwrap();
        fs::hard_link(root.join("b/file"), root.join("c")).unwrap();
        symlink("b/file", root.join("a")).unwrap();
        let tree = Tree::read(&root).unwrap();
        let (size, paths): (_, Vec<_>) = (tree.size(), tree.objects.iter().map(|o| o.path.as_str()).collect());
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(paths, ["", "a", "b", "b/deep", "b/file", "c"]);
        assert_eq!(size, 4096);
        assert_eq!(tree.objects[5].kind, Kind::Link("b/file".into()));
        assert_eq!((tree.objects[4].links, tree.objects[5].links, tree.objects[1].links), (2, 2, 1));
    }
}
