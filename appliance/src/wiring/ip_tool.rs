//! ip(8): the host's, or the one in the guest's root directory run by the loader there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Result, bail};

use super::netns::NetNs;
use crate::process;

/// A way to run ip(8).
#[derive(Debug)]
pub(super) struct IpTool {
    program: PathBuf,
    before: Vec<String>,
}

impl IpTool {
    /// Prefers the host's own.
    pub fn find(rootfs: &Path) -> Result<Self> {
        if let Some(program) = process::find_program("ip") {
            return Ok(Self { program, before: Vec::new() });
        }
        let libraries = rootfs.join("usr/lib/x86_64-linux-gnu");
        let (loader, ip) = (libraries.join("ld-linux-x86-64.so.2"), rootfs.join("usr/bin/ip"));
        if loader.exists() && ip.exists() {
            let before = ["--library-path".into(), libraries.display().to_string(), ip.display().to_string()];
            return Ok(Self { program: loader, before: before.into() });
        }
        bail!("no `ip` on this host nor in {}: install the package iproute2", rootfs.display());
    }

    /// The words to which a shell appends arguments.
    pub fn shell_words(&self) -> String {
        let program = self.program.display().to_string();
        let words = std::iter::once(&program).chain(&self.before);
        words.map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect::<Vec<_>>().join(" ")
    }

    pub fn run(&self, args: &[&str]) -> Result<Output> {
        process::run(Command::new(&self.program).args(&self.before).args(args))
    }

    /// Runs ip in the namespace `ns`.
    pub fn run_in(&self, ns: &NetNs, args: &[&str]) -> Result<Output> {
        let mut all = vec!["-n", ns.name()];
        all.extend(args);
        self.run(&all)
    }
}
