//! Notes under /run/flatland about what a running appliance has made, for `appliance down` to clear after a kill -9.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::process::Stat;

const FOLDER: &str = "/run/flatland";
/// How often to make the folder anew while others remove it.
const ATTEMPTS: u32 = 100;

/// What one appliance process has made, and which process that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The process id of the owner.
    pub pid: u32,
    /// When it started, in clock ticks since boot: tells it from a later process with the same id.
    pub start_time: u64,
    /// The host's boot that both count from.
    pub boot_id: String,
    /// Names of its network namespaces.
    pub namespaces: Vec<String>,
    /// Its folder for files of a run.
    #[serde(default)]
    pub scratch: Option<PathBuf>,
}

impl State {
    /// What stands in the command lines of the owner's helpers and in nobody else's. The note may be anybody's work: only
    /// names that this program gives count.
    pub fn marks(&self) -> Vec<String> {
        let scratch = self.scratch.as_ref().map(|path| path.display().to_string());
        let ours = [format!("flatland-{}-", self.pid), format!("{FOLDER}/{}.d", self.pid)];
        let all = self.namespaces.iter().cloned().chain(scratch);
        all.filter(|text| ours.iter().any(|start| text.starts_with(start))).collect()
    }

    /// True while the very process that wrote the note runs.
    pub fn owner_is_alive(&self) -> bool {
        self.boot_id == boot_id() && Stat::of(self.pid).is_some_and(|stat| stat.start_time == self.start_time)
    }
}

/// A note on disk; dropping it removes it.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    scratch: PathBuf,
}

impl StateFile {
    /// Writes the note before the things it names are made.
    pub(super) fn create(namespaces: &[String]) -> Result<Self> {
        let pid = std::process::id();
        let start_time = Stat::of(pid).context("cannot read /proc/self/stat: is /proc mounted?")?.start_time;
        let path = Path::new(FOLDER).join(format!("{pid}.json"));
        let scratch = path.with_extension("d");
        let namespaces = namespaces.to_vec();
        let state = State { pid, start_time, boot_id: boot_id(), namespaces, scratch: Some(scratch.clone()) };
        let text = serde_json::to_string(&state)?;
        for _ in 0..ATTEMPTS {
            fs::create_dir_all(FOLDER).with_context(|| format!("cannot make {FOLDER}"))?;
            match write_whole(&path, &text) {
                Ok(()) => {
                    let note = Self { path, scratch };
                    fs::create_dir_all(&note.scratch)
                        .with_context(|| format!("cannot make {}", note.scratch.display()))?;
                    return Ok(note);
                }
                // Another appliance went just now, and the folder with it.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("cannot write {}", path.display())),
            }
        }
        bail!("{FOLDER} keeps vanishing")
    }

    pub(super) fn scratch(&self) -> &Path {
        &self.scratch
    }
}

impl Drop for StateFile {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.scratch);
        _ = fs::remove_file(&self.path);
        // Only the last one out can remove the folder.
        _ = fs::remove_dir(FOLDER);
    }
}

/// Nobody ever reads half a note: it gets its name when it is whole.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let unnamed = path.with_extension("new");
    fs::write(&unnamed, text)?;
    fs::rename(&unnamed, path)
}

/// All notes with their files; a note that cannot be read comes as an error with its file named.
pub fn all() -> Vec<(PathBuf, Result<State>)> {
    let read = |path: &Path| -> Option<Result<State>> {
        match fs::read_to_string(path) {
            Ok(text) => {
                Some(serde_json::from_str(&text).with_context(|| format!("{} is no note of ours", path.display())))
            }
            // Its owner ended since the folder was listed.
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => Some(Err(error).with_context(|| format!("cannot read {}", path.display()))),
        }
    };
    let mut paths: Vec<PathBuf> = fs::read_dir(FOLDER)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    paths.into_iter().filter_map(|path| Some((path.clone(), read(&path)?))).collect()
}

/// Removes the note at `path` with the scratch folder that it names, and the notes' folder when it was the last. Returns
/// whether it was there: its owner's end, or another `appliance down`, may have been quicker.
pub fn forget(path: &Path, state: &State) -> Result<bool> {
    // Only a folder that this program would have made: the note may be anybody's work.
    if let Some(scratch) = state.scratch.as_deref().filter(|scratch| *scratch == path.with_extension("d")) {
        match fs::remove_dir_all(scratch) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", scratch.display()));
            }
            _ => {}
        }
    }
    let found = remove_if_there(path).with_context(|| format!("cannot remove {}", path.display()))?;
    _ = fs::remove_dir(FOLDER);
    Ok(found)
}

/// Removes a file; returns whether it was there.
pub(super) fn remove_if_there(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_known_by_pid_start_time_and_boot() {
        let pid = std::process::id();
        let start_time = Stat::of(pid).unwrap().start_time;
        let own = State { pid, start_time, boot_id: boot_id(), namespaces: vec![], scratch: None };
        assert!(own.owner_is_alive());
        assert!(!State { start_time: start_time + 1, ..own.clone() }.owner_is_alive(), "a reused pid");
        assert!(!State { boot_id: "another boot".into(), ..own.clone() }.owner_is_alive());
        assert!(!State { pid: u32::MAX, ..own }.owner_is_alive());
    }

    #[test]
    fn a_note_that_another_removed_is_no_error() {
        let path = Path::new(FOLDER).join("no-such-note.json");
        let scratch = Some(path.with_extension("d"));
        let state = State { pid: u32::MAX, start_time: 1, boot_id: String::new(), namespaces: vec![], scratch };
        assert!(!forget(&path, &state).unwrap());
    }

    #[test]
    fn marks_are_our_own_names() {
        let namespaces = vec![String::new(), "a".into(), "flatland-77-host".into(), "flatland-7-host".into()];
        let scratch = Some(PathBuf::from("/"));
        let note = State { pid: 77, start_time: 1, boot_id: String::new(), namespaces, scratch };
        assert_eq!(note.marks(), ["flatland-77-host"]);
    }
}
