//! Our own measuring programs, compiled static-pie with the host's C compiler: they run in any root, loader or not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::configure::make_parent;
use super::recipe::Recipe;
use crate::process;

/// The host's C compiler.
#[derive(Debug)]
pub(super) struct Compiler(PathBuf);

impl Compiler {
    /// The compiler if `recipe` has programs; an error, before any download, if it has and there is none.
    pub fn for_recipe(recipe: &Recipe) -> Result<Option<Self>> {
        if recipe.programs.is_empty() {
            return Ok(None);
        }
        match ["gcc", "cc"].iter().find_map(|name| process::find_program(name)) {
            Some(path) => Ok(Some(Self(path))),
            None => bail!("the recipe '{}' has C programs and there is no gcc: install gcc and libc6-dev", recipe.name),
        }
    }

    /// Compiles every program of `recipe` into `root`.
    pub fn build_all(&self, recipe: &Recipe, root: &Path) -> Result<()> {
        for program in &recipe.programs {
            let path = root.join(&program.path);
            make_parent(&path)?;
            let source = path.with_extension("c");
            fs::write(&source, &program.text)?;
            let mut gcc = Command::new(&self.0);
            gcc.args(["-O2", "-static-pie", "-pthread", "-o"]).arg(&path).arg(&source);
            process::run(&mut gcc)
                .with_context(|| format!("cannot compile {} (gcc and libc6-dev are needed)", program.source))?;
            fs::remove_file(&source)?;
        }
        Ok(())
    }
}
