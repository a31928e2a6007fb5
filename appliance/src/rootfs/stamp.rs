//! The note inside a root directory that says what it was built from.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::packages::Package;
use super::recipe::Recipe;

const PLACE: &str = "etc/flatland-rootfs.json";

/// Recipe and package versions of a root directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The recipe's name.
    pub recipe: String,
    /// SHA-256 over the recipe, its programs' sources and the layout that this program writes.
    pub recipe_hash: String,
    /// The Debian suite.
    pub suite: String,
    /// Every unpacked package with its version.
    pub packages: Vec<Package>,
}

impl Stamp {
    /// The version of the unpacked package `name`.
    pub fn version_of(&self, name: &str) -> Option<&str> {
        self.packages.iter().find(|package| package.name == name).map(|package| package.version.as_str())
    }

    pub(super) fn new(recipe: &Recipe, packages: Vec<Package>) -> Self {
        Self { recipe: recipe.name.clone(), recipe_hash: recipe.hash(), suite: recipe.suite.clone(), packages }
    }

    /// The stamp of the root directory `root`, if it has one.
    pub fn read(root: &Path) -> Result<Option<Self>> {
        let path = root.join(PLACE);
        match fs::read_to_string(&path) {
            // A stamp of another layout is as good as none: the tree gets built anew.
            Ok(text) => Ok(Some(serde_json::from_str(&text).unwrap_or_else(|_| Self::unknown()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(super) fn write(&self, root: &Path) -> Result<()> {
        let path = root.join(PLACE);
        fs::write(&path, serde_json::to_string_pretty(self)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn unknown() -> Self {
        Self { recipe: "unknown".into(), recipe_hash: String::new(), suite: String::new(), packages: Vec::new() }
    }
}
