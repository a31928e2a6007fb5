//! Recipes: which packages make a root directory, and what is done to them. TOML, in `configs/rootfs/`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Goes up whenever this program writes a tree differently from the same recipe.
const LAYOUT: u32 = 1;

/// The recipes that are compiled in, by name.
const BUILT_IN: [(&str, &str); 6] = [
    ("netbench", include_str!("../../../configs/rootfs/netbench.toml")),
    ("minimal", include_str!("../../../configs/rootfs/minimal.toml")),
    ("debian", include_str!("../../../configs/rootfs/debian.toml")),
    ("um", include_str!("../../../configs/bench/um.toml")),
    ("um-legacy", include_str!("../../../configs/bench/um-legacy.toml")),
    ("gvisor", include_str!("../../../configs/bench/gvisor.toml")),
];

/// The program sources that built-in recipes name.
const BUILT_IN_SOURCES: [(&str, &str); 7] = [
    ("getpid.c", include_str!("../../../benches/guest/getpid.c")),
    ("process.c", include_str!("../../../benches/guest/process.c")),
    ("soak_process.c", include_str!("../../../benches/guest/soak_process.c")),
    ("storage.c", include_str!("../../../benches/guest/storage.c")),
    ("mark.c", include_str!("../../../benches/guest/mark.c")),
    ("stopwatch.c", include_str!("../../../benches/guest/stopwatch.c")),
    ("guest-init.c", include_str!("../../../benches/guest/guest-init.c")),
];

/// A parsed and checked recipe with the sources of its programs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Names the directory in the cache.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Debian suite, such as `bookworm`.
    pub suite: String,
    /// Archive components, such as `main` and `non-free`.
    pub components: Vec<String>,
    /// Packages asked for; what they depend on comes along.
    pub packages: Vec<String>,
    /// Dependencies to leave out, as if they were there.
    #[serde(default)]
    pub assume_installed: Vec<String>,
    /// Patterns of tar's `--exclude`, from `./`.
    #[serde(default)]
    pub leave_out: Vec<String>,
    /// Link every busybox applet whose name is free.
    #[serde(default)]
    pub applets: bool,
    /// Path in the root to the target of a symbolic link there.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
    /// Path in the root to the path in the root that is copied there.
    #[serde(default)]
    pub copies: BTreeMap<String, String>,
    /// Run the packages' maintainer scripts, in a guest, and write the package database.
    #[serde(default)]
    pub configure: bool,
    /// C programs that the host's compiler builds.
    #[serde(default)]
    pub programs: Vec<Program>,
    #[serde(skip)]
    text: String,
}

/// A C program of one file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// File name: of a built-in source, or relative to the recipe file.
    pub source: String,
    /// Where the executable goes in the root.
    pub path: String,
    #[serde(skip)]
    pub(super) text: String,
}

impl Recipe {
    /// The built-in recipe `name`, or the recipe in the file `name`.
    pub fn load(name: &str) -> Result<Self> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
            return Self::parse(text, built_in_source).with_context(|| format!("in the built-in recipe '{name}'"));
        }
        let path = Path::new(name);
        if !name.contains('/') && !name.ends_with(".toml") {
            bail!("no recipe '{name}': {}, or the path of a TOML file", names());
        }
        let text = fs::read_to_string(path).with_context(|| format!("cannot read the recipe '{name}'"))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let source = |file: &str| {
            let path = folder.join(file);
            fs::read_to_string(&path).with_context(|| format!("cannot read the source '{}'", path.display()))
        };
        Self::parse(&text, source).with_context(|| format!("in the recipe '{name}'"))
    }

    fn parse(text: &str, source: impl Fn(&str) -> Result<String>) -> Result<Self> {
        let mut recipe: Recipe = toml::from_str(text)?;
        recipe.text = text.to_owned();
        recipe.check()?;
        for program in &mut recipe.programs {
            program.text = source(&program.source)?;
        }
        Ok(recipe)
    }

    /// The recipe with further packages, under a name of its own.
    ///
    /// # Errors
    /// A word that is no package name.
    pub fn with_packages(mut self, more: &[String]) -> Result<Self> {
        if more.is_empty() {
            return Ok(self);
        }
        let mut more = more.to_vec();
        more.sort_unstable();
        more.dedup();
        // The hash follows from the text.
        self.text += &format!("# and {}\n", more.join(" "));
        self.packages.extend(more);
        self.name = format!("{}-{}", self.name, &self.hash()[..8]);
        self.check()?;
        Ok(self)
    }

    /// Hex SHA-256 of everything that decides what the tree looks like, package versions apart.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(LAYOUT.to_le_bytes());
        for text in std::iter::once(&self.text).chain(self.programs.iter().map(|program| &program.text)) {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        hash.finalize().iter().fold(String::new(), |mut hex, byte| {
            _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    fn check(&self) -> Result<()> {
        // The name becomes a folder, the words end up in apt's files and command line.
        let word = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_alphanumeric())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-._:".contains(c))
        };
        let words = [("name", std::slice::from_ref(&self.name)), ("suite", std::slice::from_ref(&self.suite))];
        let lists = [
            ("components", &self.components),
            ("packages", &self.packages),
            ("assume_installed", &self.assume_installed),
        ];
        for (key, values) in words.into_iter().chain(lists.map(|(key, list)| (key, list.as_slice()))) {
            if let Some(bad) = values.iter().find(|value| !word(value)) {
                bail!("`{key}` holds '{bad}': letters, digits and + - . _ : are accepted");
            }
        }
        if self.packages.is_empty() || self.components.is_empty() {
            bail!("`packages` and `components` must each name at least one");
        }
        let inside = |path: &str| {
            !path.is_empty() && !path.starts_with('/') && Path::new(path).components().all(|c| c.as_os_str() != "..")
        };
        let paths = self.links.keys().chain(self.copies.keys()).chain(self.copies.values());
        if let Some(bad) = paths.chain(self.programs.iter().map(|program| &program.path)).find(|path| !inside(path)) {
            bail!("'{bad}' is not a path inside the root: write it without a leading / and without ..");
        }
        Ok(())
    }
}

fn built_in_source(file: &str) -> Result<String> {
    match BUILT_IN_SOURCES.iter().find(|(name, _)| *name == file) {
        Some((_, text)) => Ok((*text).to_owned()),
        None => bail!("no built-in source '{file}'"),
    }
}

/// The built-in recipes, for messages.
pub fn names() -> String {
    format!("built in are {}", BUILT_IN.map(|(name, _)| name).join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "name='x'\ndescription='d'\nsuite='bookworm'\ncomponents=['main']\npackages=['dash']\n";

    fn parse(text: &str) -> Result<Recipe> {
        Recipe::parse(text, |file| Ok(format!("source of {file}")))
    }

    #[test]
    fn the_built_in_recipes_are_sound() {
        for (name, _) in BUILT_IN {
            assert_eq!(Recipe::load(name).unwrap().name, name);
        }
        let netbench = Recipe::load("netbench").unwrap();
        assert!(netbench.components.contains(&"non-free".to_owned()), "netperf lives in non-free");
        assert!(netbench.programs[0].text.contains("syscall"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |text: &str| format!("{:#}", parse(text).unwrap_err());
        assert!(message("").contains("name"));
        assert!(message(&format!("{SMALL}colour='red'")).contains("colour"));
        assert!(message(&SMALL.replace("dash", "da sh")).contains("'da sh'"));
        assert!(message(&SMALL.replace("'dash'", "")).contains("packages"));
        assert!(message(&SMALL.replace("'x'", "'../x'")).contains("../x"));
        assert!(message(&format!("{SMALL}[links]\n'/etc/x'='y'")).contains("/etc/x"));
        assert!(message(&format!("{SMALL}[copies]\n'a'='../../etc/shadow'")).contains("../../etc/shadow"));
        let unknown = Recipe::load("nosuch").unwrap_err().to_string();
        assert!(unknown.contains("netbench") && unknown.contains("minimal"), "{unknown}");
    }

    #[test]
    fn further_packages_make_another_recipe() {
        let plain = parse(SMALL).unwrap();
        let more = plain.clone().with_packages(&["vim".into(), "git".into()]).unwrap();
        assert_eq!(more.packages, ["dash", "git", "vim"]);
        assert!(more.name.starts_with("x-") && more.hash() != plain.hash());
        assert!(plain.with_packages(&["--evil".into()]).is_err());
    }

    #[test]
    fn the_hash_follows_recipe_and_sources() {
        let program = format!("{SMALL}[[programs]]\nsource='a.c'\npath='bin/a'\n");
        let one = parse(&program).unwrap();
        let other_source = Recipe::parse(&program, |_| Ok("changed".into())).unwrap();
        assert_eq!(one.hash(), parse(&program).unwrap().hash());
        assert_ne!(one.hash(), other_source.hash());
        assert_ne!(one.hash(), parse(SMALL).unwrap().hash());
        assert_eq!(one.hash().len(), 64);
    }
}
