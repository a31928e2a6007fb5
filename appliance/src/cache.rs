//! Where downloads and built root directories live between runs.

use std::env;
use std::path::PathBuf;

use anyhow::{Result, bail};

/// `$FLATLAND_CACHE`, else `$XDG_CACHE_HOME/flatland`, else `~/.cache/flatland`; absolute, not created here.
pub fn folder() -> Result<PathBuf> {
    choose(|name| env::var_os(name).map(PathBuf::from).filter(|path| !path.as_os_str().is_empty()))
}

fn choose(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf> {
    let folder = if let Some(path) = variable("FLATLAND_CACHE") {
        path
    } else if let Some(path) = variable("XDG_CACHE_HOME") {
        path.join("flatland")
    } else if let Some(home) = variable("HOME") {
        home.join(".cache/flatland")
    } else {
        bail!("no place for the cache: set FLATLAND_CACHE to an absolute path (HOME and XDG_CACHE_HOME are unset)");
    };
    if !folder.is_absolute() {
        bail!("the cache folder '{}' is not an absolute path: set FLATLAND_CACHE to one", folder.display());
    }
    // apt's configuration files cannot quote these.
    if folder.to_str().is_none_or(|text| text.contains(['"', '\\', '\n', ';'])) {
        bail!("the cache folder {folder:?} has characters that apt cannot quote: set FLATLAND_CACHE to a plain path");
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(set: &[(&str, &str)]) -> Result<PathBuf> {
        choose(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value)))
    }

    #[test]
    fn the_most_specific_variable_wins() {
        let all = [("HOME", "/home/user"), ("XDG_CACHE_HOME", "/x"), ("FLATLAND_CACHE", "/f")];
        assert_eq!(with(&all).unwrap(), PathBuf::from("/f"));
        assert_eq!(with(&all[..2]).unwrap(), PathBuf::from("/x/flatland"));
        assert_eq!(with(&all[..1]).unwrap(), PathBuf::from("/home/user/.cache/flatland"));
    }

    #[test]
    fn unusable_folders_are_named() {
        assert!(with(&[]).unwrap_err().to_string().contains("FLATLAND_CACHE"));
        assert!(with(&[("FLATLAND_CACHE", "relative")]).unwrap_err().to_string().contains("relative"));
        assert!(with(&[("FLATLAND_CACHE", "/a\"b")]).is_err());
    }
}
