//! From a path name to a place in the tree (path_resolution(7), openat2(2)).
//!
//! A [`Walker`] holds where it is and what is left of the name. A symbolic link's text is put in front of the rest. It
//! stops at the end ([`Walker::finish`]) or at the last component ([`Walker::parent`]), for calls that make, move or
//! remove a name; a caller that finds a symbolic link there can have it followed and go on.

use super::context::Actor;
use super::dentry::{Dentry, Path};
use super::inode::{FileKind, LinkTarget, PATH_MAX};
use super::permission::{self, Access};
use crate::error::{Errno, Result};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Most symbolic links in one resolution (path_resolution(7)).
const MAX_LINKS: u32 = 40;

bitflags::bitflags! {
    /// How a name is resolved. The low bits are the `RESOLVE_*` flags of openat2(2).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Resolve: u32 {
        /// No mount is crossed.
        const NO_XDEV = 0x01;
        /// No magic link is followed.
        const NO_MAGICLINKS = 0x02;
        /// No symbolic link is followed.
        const NO_SYMLINKS = 0x04;
        /// Nothing outside the starting directory is reached.
        const BENEATH = 0x08;
        /// The starting directory is the root.
        const IN_ROOT = 0x10;
        /// Only what is cached: never the case here, so EAGAIN.
        const CACHED = 0x20;
        /// The last component is not followed if it is a symbolic link (`AT_SYMLINK_NOFOLLOW`, `O_NOFOLLOW`).
        const NO_FOLLOW = 0x1_0000;
        /// The result must be a directory (`O_DIRECTORY`).
        const DIRECTORY = 0x2_0000;
        /// An empty name means the starting place itself (`AT_EMPTY_PATH`).
        const EMPTY_PATH = 0x4_0000;
    }
}

impl Resolve {
    /// The flags that openat2(2) may be given.
    pub const OPENAT2: Resolve = Resolve::from_bits_retain(0x3f);
}

/// The last component of a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Last {
    /// A plain name; `directory` if slashes follow it.
    Name {
        /// The component.
        name: Vec<u8>,
        /// Whether a slash follows.
        directory: bool,
    },
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// Nothing but slashes.
    Root,
}

/// A resolution under way.
pub struct Walker<'a> {
    actor: &'a Actor,
    root: Path,
    at: Path,
    rest: Vec<u8>,
    pos: usize,
    flags: Resolve,
    links: u32,
}

impl<'a> Walker<'a> {
    /// Begins at `base` (the working directory if there is none).
    pub fn new(actor: &'a Actor, base: Option<&Path>, name: &[u8], flags: Resolve) -> Result<Self> {
        if name.is_empty() && !flags.contains(Resolve::EMPTY_PATH) {
            return Err(Errno::ENOENT.because("an empty path name"));
        }
        if name.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG.into());
        }
        if flags.contains(Resolve::CACHED) {
            return Err(Errno::EAGAIN.because("RESOLVE_CACHED: the file system has to be asked"));
        }
        let confined = flags.intersects(Resolve::BENEATH | Resolve::IN_ROOT);
        let start = || base.cloned().unwrap_or_else(|| actor.fs.cwd());
        let root = if confined { start() } else { actor.fs.root() };
        let mut walker = Walker { actor, at: root.clone(), root, rest: name.to_vec(), pos: 0, flags, links: 0 };
        if name.first() == Some(&b'/') {
            walker.jump_to_root()?;
        } else if !confined {
            walker.at = start();
        }
        Ok(walker)
    }

    fn jump_to_root(&mut self) -> Result<()> {
        if self.flags.contains(Resolve::BENEATH) {
            return Err(Errno::EXDEV.because("RESOLVE_BENEATH: an absolute name"));
        }
        if self.flags.contains(Resolve::NO_XDEV) && !Arc::ptr_eq(self.at.mount(), self.root.mount()) {
            return Err(Errno::EXDEV.because("RESOLVE_NO_XDEV: the root is on another mount"));
        }
        self.at = self.root.clone();
        Ok(())
    }

    /// The next component and whether it is the last; `None` at the end.
    fn next_component(&mut self) -> Option<(core::ops::Range<usize>, bool)> {
        let rest = &self.rest;
        let skip_slashes = |mut p: usize| {
            while rest.get(p) == Some(&b'/') {
                p += 1;
            }
            p
        };
        let start = skip_slashes(self.pos);
        if start == rest.len() {
            self.pos = start;
            return None;
        }
        let end = rest[start..].iter().position(|&b| b == b'/').map_or(rest.len(), |n| start + n);
        self.pos = end;
        Some((start..end, skip_slashes(end) == rest.len()))
    }

    fn check_search(&self) -> Result<()> {
        if self.at.inode().kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR.into());
        }
        permission::check(&**self.at.inode(), Access::EXEC, &self.actor.who)
    }

    fn step_up(&mut self) -> Result<()> {
        if self.at == self.root && self.flags.contains(Resolve::BENEATH) {
            return Err(Errno::EXDEV.because("RESOLVE_BENEATH: .. leaves the starting directory"));
        }
        let parent = self.at.parent_below(&self.root);
        self.check_same_mount(&parent)?;
        self.at = parent;
        Ok(())
    }

    fn check_same_mount(&self, next: &Path) -> Result<()> {
        if self.flags.contains(Resolve::NO_XDEV) && !Arc::ptr_eq(next.mount(), self.at.mount()) {
            return Err(Errno::EXDEV.because("RESOLVE_NO_XDEV: a mount is crossed"));
        }
        Ok(())
    }

    /// Looks a plain name up in the directory where the walker is, and crosses mounts.
    fn child(&self, name: &[u8]) -> Result<Path> {
        let dentry = self.at.dentry().lookup(name)?;
        let path = self.at.with_dentry(dentry).top_mount();
        self.check_same_mount(&path)?;
        Ok(path)
    }

    /// Follows `link`, a symbolic link in the directory where the walker is. Returns whether it was a magic link, which
    /// leads to its target at once.
    pub fn follow(&mut self, link: &Path) -> Result<bool> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::ELOOP.because("more than 40 symbolic links"));
        }
        if self.flags.contains(Resolve::NO_SYMLINKS) {
            return Err(Errno::ELOOP.because("RESOLVE_NO_SYMLINKS"));
        }
        match link.inode().read_link()? {
            LinkTarget::Text(text) => {
                if text.is_empty() {
                    return Err(Errno::ENOENT.because("an empty symbolic link"));
                }
                let absolute = text[0] == b'/';
                let mut rest = text;
                rest.extend_from_slice(&self.rest[self.pos..]);
                self.rest = rest;
                self.pos = 0;
                if absolute {
                    self.jump_to_root()?;
                }
                Ok(false)
            }
            LinkTarget::Magic(target, _) => {
                if self.flags.intersects(Resolve::NO_MAGICLINKS) {
                    return Err(Errno::ELOOP.because("RESOLVE_NO_MAGICLINKS"));
                }
                if self.flags.intersects(Resolve::BENEATH | Resolve::IN_ROOT) {
                    return Err(Errno::EXDEV.because("a magic link leaves the starting directory"));
                }
                self.check_same_mount(&target)?;
                self.at = target;
                Ok(true)
            }
        }
    }

    /// Goes to the end and returns where that is.
    pub fn finish(mut self) -> Result<Path> {
        while let Some((range, last)) = self.next_component() {
            self.check_search()?;
            match &self.rest[range.clone()] {
                b"." => continue,
                b".." => self.step_up()?,
                name => {
                    let child = self.child(name)?;
                    let directory = self.rest.len() > range.end;
                    let follow = !last || directory || !self.flags.contains(Resolve::NO_FOLLOW);
                    if follow && child.inode().kind() == FileKind::Symlink {
                        self.follow(&child)?;
                    } else {
                        self.at = child;
                    }
                }
            }
        }
        let slash = self.rest.last() == Some(&b'/');
        if (slash || self.flags.contains(Resolve::DIRECTORY)) && self.at.inode().kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR.into());
        }
        Ok(self.at)
    }

    /// Goes to the directory of the last component; the caller deals with that. Can be called again after
    /// [`Walker::follow`].
    pub fn parent(&mut self) -> Result<Last> {
        while let Some((range, last)) = self.next_component() {
            self.check_search()?;
            let directory = self.rest.len() > range.end;
            match &self.rest[range] {
                b"." if last => return Ok(Last::Dot),
                b".." if last => return Ok(Last::DotDot),
                b"." => continue,
                b".." => self.step_up()?,
                name if last => return Ok(Last::Name { name: name.to_vec(), directory }),
                name => {
                    let child = self.child(name)?;
                    if child.inode().kind() == FileKind::Symlink {
                        self.follow(&child)?;
                    } else {
                        self.at = child;
                    }
                }
            }
        }
        Ok(Last::Root)
    }

    /// Where the walker is.
    pub fn at(&self) -> &Path {
        &self.at
    }

    /// The last component's place, without following it; `None` if there is nothing of that name.
    pub fn look(&self, name: &[u8]) -> Result<Option<Path>> {
        match self.child(name) {
            Ok(path) => Ok(Some(path)),
            Err(e) if e.errno() == Errno::ENOENT => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// A directory and a plain name in it.
pub struct ParentAndName {
    /// The directory; the caller may search it.
    pub dir: Path,
    /// The name.
    pub name: Vec<u8>,
    /// Whether a slash followed the name.
    pub directory: bool,
}

impl ParentAndName {
    /// What has this name now, without crossing mounts. ENOENT if nothing has.
    pub fn existing(&self) -> Result<Arc<Dentry>> {
        self.dir.dentry().lookup(&self.name)
    }
}

impl Actor {
    /// Resolves a name. `base` is where a relative name begins: the working directory if `None`.
    pub fn resolve(&self, base: Option<&Path>, name: &[u8], flags: Resolve) -> Result<Path> {
        Walker::new(self, base, name, flags)?.finish()
    }

    /// Resolves all but the last component, for a call that changes a name. `special` is the error for a name that ends
    /// in `.`, `..` or nothing.
    pub fn resolve_parent(&self, base: Option<&Path>, name: &[u8], special: Errno) -> Result<ParentAndName> {
        let mut walker = Walker::new(self, base, name, Resolve::empty())?;
        match walker.parent()? {
            Last::Name { name, directory } => Ok(ParentAndName { dir: walker.at, name, directory }),
            Last::Dot | Last::DotDot | Last::Root => Err(special.into()),
        }
    }
}
