//! The package database of a tree, as dpkg has it when it has unpacked everything and configured nothing (dpkg(1),
//! "package states"): `status`, and lists, scripts and checksums in `info`.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::tar::Member;
use crate::process;

/// The database under construction.
#[derive(Debug)]
pub(super) struct Database {
    folder: PathBuf,
    /// Package name and stanza.
    status: Vec<(String, String)>,
}

impl Database {
    pub fn new(root: &Path) -> Result<Self> {
        let folder = root.join("var/lib/dpkg");
        fs::create_dir_all(folder.join("info"))?;
        fs::create_dir_all(folder.join("updates"))?;
        Ok(Self { folder, status: Vec::new() })
    }

    /// Notes a package of which tar unpacked `members`.
    pub fn add(&mut self, archive: &Path, members: &[Member]) -> Result<()> {
        let info = self.folder.join("info");
        let scratch = self.folder.join("control");
        process::run(Command::new("dpkg-deb").arg("-e").arg(archive).arg(&scratch))?;
        let control = fs::read_to_string(scratch.join("control"))
            .with_context(|| format!("{} has no control file that is text", archive.display()))?;
        let field = |name: &str| {
            let value = control.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.unwrap_or_default().trim()
        };
        let name = field("Package");
        // Packages of several architectures can be there side by side only with `same`.
        let stem = match field("Multi-Arch") {
            "same" => format!("{name}:{}", field("Architecture")),
            _ => name.to_owned(),
        };
        let (first, rest) = control.trim_end().split_once('\n').unwrap_or((control.trim_end(), ""));
        let mut stanza = format!("{first}\nStatus: install ok unpacked\n{rest}\n");
        if let Ok(text) = fs::read_to_string(scratch.join("conffiles")) {
            stanza += "Conffiles:\n";
            for path in text.lines().filter(|line| line.starts_with('/')) {
                _ = writeln!(stanza, " {path} newconffile");
            }
        }
        self.status.push((name.to_owned(), stanza));
        for entry in fs::read_dir(&scratch)? {
            let entry = entry?;
            let what = entry.file_name().to_string_lossy().into_owned();
            if what != "control" {
                fs::rename(entry.path(), info.join(format!("{stem}.{what}")))?;
            }
        }
        fs::remove_dir_all(&scratch)?;
        let list = members.iter().fold(String::new(), |mut list, member| {
            let path = member.name.trim_start_matches('.').trim_end_matches('/');
            _ = writeln!(list, "{}", if path.is_empty() { "/." } else { path });
            list
        });
        Ok(fs::write(info.join(format!("{stem}.list")), list)?)
    }

    /// Writes what is left to write.
    pub fn write(mut self) -> Result<()> {
        self.status.sort_unstable();
        let text: Vec<_> = self.status.into_iter().map(|(_, stanza)| stanza).collect();
        fs::write(self.folder.join("status"), text.join("\n") + "\n")?;
        fs::write(self.folder.join("available"), "")?;
        Ok(fs::write(self.folder.join("info/format"), "1\n")?)
    }
}
