//! Guest root directories from Debian packages, built without root.
//!
//! A [`recipe`] names packages and finishing touches. [`packages`] has apt resolve and download them with a
//! configuration, state and package status of its own (the host's package database is not touched), [`extract`] unpacks
//! them into a tree whose `/bin`, `/sbin`, `/lib` and `/lib64` already are links into `/usr`, [`configure`] writes what
//! maintainer scripts would have written, [`applets`] links busybox, [`programs`] compiles our own measuring programs.
//! Maintainer scripts run where a recipe says `configure = true`: in a guest ([`second_stage`]), with dpkg and a package
//! database ([`dpkg_database`]). The tree grows beside its final place and is renamed there when it is whole, with a stamp
//! inside that says which recipe it came from, so that a second call finds it and returns. [`image`] makes ext4 images and
//! cpio archives of a tree ([`tree`]), and trees of what others packed ([`import`]).

mod applets;
mod configure;
mod cpio;
mod dpkg_database;
pub mod ext4;
mod extract;
pub mod image;
mod import;
mod packages;
mod programs;
pub mod recipe;
mod second_stage;
mod stamp;
mod tar;
mod tree;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache;
use crate::interrupt::Interrupt;
use crate::process;
use crate::progress::Progress;
use dpkg_database::Database;
use packages::Apt;
use recipe::Recipe;
pub use stamp::Stamp;

/// A finished root directory.
#[derive(Clone, Debug)]
pub struct Rootfs {
    /// Absolute path.
    pub dir: PathBuf,
    /// What it was built from; `None` for a directory that somebody else made.
    pub stamp: Option<Stamp>,
}

impl Rootfs {
    /// An existing directory, ours or not.
    pub fn open(dir: &Path) -> Result<Self> {
        let absolute = fs::canonicalize(dir).with_context(|| {
            format!("no root directory at '{}': build one with `appliance rootfs build --dir DIR`", dir.display())
        })?;
        if !absolute.is_dir() {
            bail!("'{}' is not a directory: --rootfs wants a root directory", dir.display());
        }
        let stamp = Stamp::read(&absolute)?;
        Ok(Self { dir: absolute, stamp })
    }

    /// The host path of the guest's `path`, as far as links of the merged /usr go.
    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path.trim_start_matches('/'))
    }

    /// `NAME VERSION` of a package that was unpacked here.
    pub fn version_of(&self, package: &str) -> Option<String> {
        self.stamp.as_ref()?.version_of(package).map(|version| format!("{package} {version}"))
    }

    /// Finds a program in the usual folders of the root and returns its path as the guest sees it.
    pub fn find_program(&self, program: &str) -> Option<String> {
        if program.starts_with('/') {
            return self.path(program).symlink_metadata().is_ok().then(|| program.to_owned());
        }
        let folders = ["/usr/bin", "/usr/sbin", "/usr/local/bin"];
        folders.iter().map(|f| format!("{f}/{program}")).find(|path| self.path(path).symlink_metadata().is_ok())
    }
}

/// Where `recipe` is built when nobody names a directory.
pub fn default_dir(recipe: &Recipe) -> Result<PathBuf> {
    Ok(cache::folder()?.join("rootfs").join(&recipe.name))
}

/// Returns the root directory of `recipe`, building it when it is missing, was made from another recipe, or `force`.
pub fn ensure(recipe: &Recipe, dir: Option<&Path>, force: bool, interrupt: &Interrupt) -> Result<Rootfs> {
    let dir = match dir {
        Some(dir) => std::path::absolute(dir)?,
        None => default_dir(recipe)?,
    };
    let hash = recipe.hash();
    let current = |dir: &Path| -> Result<bool> { Ok(Stamp::read(dir)?.is_some_and(|stamp| stamp.recipe_hash == hash)) };
    if !force && current(&dir)? {
        return Rootfs::open(&dir);
    }
    refuse_foreign(&dir)?;

    let cache = cache::folder()?;
    fs::create_dir_all(&cache).with_context(|| format!("cannot make the cache folder {}", cache.display()))?;
    let lock = File::create(cache.join("lock"))?;
    lock.lock().context("cannot lock the cache folder")?;
    if force || !current(&dir)? {
        build(recipe, &cache, &dir, interrupt)?;
    }
    Rootfs::open(&dir)
}

fn refuse_foreign(dir: &Path) -> Result<()> {
    let Ok(mut entries) = fs::read_dir(dir) else { return Ok(()) };
    if entries.next().is_some() && Stamp::read(dir)?.is_none() {
        bail!(
            "'{}' is not empty and was not made by `rootfs build`: name another --dir, or remove it first",
            dir.display()
        );
    }
    Ok(())
}

fn build(recipe: &Recipe, cache: &Path, dir: &Path, interrupt: &Interrupt) -> Result<()> {
    eprintln!("building the root directory '{}' in {}", recipe.name, dir.display());
    let compilers = programs::Compiler::for_recipe(recipe)?;

    let apt = Apt::prepare(recipe, cache)?;
    apt.update(interrupt)?;
    let chosen = apt.resolve()?;
    apt.download(&chosen, interrupt)?;

    let parent = dir.parent().context("the root directory cannot be /")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let tree = Growing::beside(dir)?;
    let root = tree.path.as_path();
    extract::lay_out(root)?;
    let mut database = if recipe.configure { Some(Database::new(root)?) } else { None };
    let mut progress = Progress::new(chosen.len(), 20);
    for package in &chosen {
        interrupt.check()?;
        progress.begin(&format!("unpacking {}", package.name));
        let members = extract::unpack(&apt.archive(package), root, &recipe.leave_out)?;
        if let Some(database) = &mut database {
            database.add(&apt.archive(package), &members)?;
        }
        progress.end();
    }
    progress.finish(&format!("unpacked {} packages", chosen.len()));

    match database {
        Some(database) => {
            database.write()?;
            second_stage::run(root, &recipe.suite, chosen.len(), interrupt)?;
        }
        None => configure::write_etc(root)?,
    }
    configure::links_and_copies(root, recipe)?;
    if let Some(compiler) = compilers {
        compiler.build_all(recipe, root)?;
    }
    if recipe.applets {
        applets::link(root)?;
    }
    // The maintainer scripts have done it, and without root, too.
    if !recipe.configure {
        cache_libraries(root);
    }
    Stamp::new(recipe, chosen).write(root)?;
    interrupt.check()?;
    tree.settle(dir)?;
    eprintln!("root directory ready: {}", dir.display());
    Ok(())
}

/// ld.so.cache spares the guest's loader a search. ldconfig needs chroot(2); without root the loader searches its
/// default folders, which are the ones Debian uses, so failing is no loss.
fn cache_libraries(root: &Path) {
    if let Some(ldconfig) = process::find_program("ldconfig") {
        _ = process::run(Command::new(ldconfig).arg("-r").arg(root));
        // It holds inode numbers and times, which are others in each build.
        _ = fs::remove_file(root.join("var/cache/ldconfig/aux-cache"));
    }
}

/// A directory under construction beside its final place; removed unless it settles.
#[derive(Debug)]
struct Growing {
    path: PathBuf,
}

impl Growing {
    const MARK: &str = ".building-";

    fn beside(target: &Path) -> Result<Self> {
        let name = target.file_name().context("the root directory needs a name")?.to_string_lossy().into_owned();
        let parent = target.parent().context("the root directory cannot be /")?;
        remove_abandoned(parent, &format!(".{name}{}", Self::MARK));
        let path = parent.join(format!(".{name}{}{}", Self::MARK, std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path })
    }

    /// Takes the place of `target`; what was there before goes.
    fn settle(self, target: &Path) -> Result<()> {
        // Under the abandoned trees' prefix, should we be killed between the two renames.
        let old = PathBuf::from(format!("{}.old", self.path.display()));
        let had_old = fs::rename(target, &old).is_ok();
        fs::rename(&self.path, target)
            .with_context(|| format!("cannot move the finished tree to {}", target.display()))?;
        if had_old {
            fs::remove_dir_all(&old).with_context(|| format!("cannot remove the old tree {}", old.display()))?;
        }
        Ok(())
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        if self.path.exists() {
            _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Trees that a killed build left behind. The cache lock is held, so nobody else is building one here.
fn remove_abandoned(parent: &Path, prefix: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_directory_is_refused_and_an_empty_one_is_not() {
        let dir = std::env::temp_dir().join(format!("flatland-foreign-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        refuse_foreign(&dir).unwrap();
        fs::write(dir.join("precious"), "x").unwrap();
        let error = refuse_foreign(&dir).unwrap_err().to_string();
        fs::remove_dir_all(&dir).unwrap();
        assert!(error.contains("--dir"), "{error}");
        refuse_foreign(&dir).unwrap();
    }

    #[test]
    fn a_growing_tree_replaces_the_old_one_or_vanishes() {
        let parent = std::env::temp_dir().join(format!("flatland-grow-{}", std::process::id()));
        let target = parent.join("root");
        fs::create_dir_all(&target).unwrap();
        fs::write(target.join("old"), "").unwrap();

        let abandoned = Growing::beside(&target).unwrap();
        let path = abandoned.path.clone();
        drop(abandoned);
        assert!(!path.exists());

        let tree = Growing::beside(&target).unwrap();
        fs::write(tree.path.join("new"), "").unwrap();
        tree.settle(&target).unwrap();
        assert!(target.join("new").exists() && !target.join("old").exists());
        let left: Vec<_> = fs::read_dir(&parent).unwrap().flatten().map(|e| e.file_name()).collect();
        fs::remove_dir_all(&parent).unwrap();
        assert_eq!(left, ["root"]);
    }
}
