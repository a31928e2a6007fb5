//! What needs root says so in one line before anything is touched.

use anyhow::{Result, bail};

/// True when the effective user is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// An error that says what needs root, and how to get it.
pub fn require_root(what: &str) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    bail!("{what} makes network namespaces and taps and needs root: run it again with sudo, or as root")
}
