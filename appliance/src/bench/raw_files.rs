//! The files that keep what the tools of one run said.

use std::fs;
use std::path::{Path, PathBuf};

/// How much of a failed tool's own words goes into a reason.
const QUOTE: usize = 300;

/// Output, errors and the server's log of a run, in one folder under a common stem.
#[derive(Debug)]
pub(super) struct RawFiles<'a> {
    folder: &'a Path,
    stem: String,
}

impl<'a> RawFiles<'a> {
    pub fn new(folder: &'a Path, stem: &str) -> Self {
        // Case and system names may hold what no file name should.
        Self { folder, stem: stem.replace(['/', ' '], "-") }
    }

    /// The output's path, relative to the report.
    pub fn relative(&self) -> String {
        format!("raw/{}.out", self.stem)
    }

    pub fn out(&self) -> PathBuf {
        self.place("out")
    }

    pub fn err(&self) -> PathBuf {
        self.place("err")
    }

    pub fn server(&self) -> PathBuf {
        self.place("server")
    }

    pub fn switch(&self) -> PathBuf {
        self.place("switch")
    }

    /// The client's output.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.out()).unwrap_or_default()).into_owned()
    }

    /// The end of what the client said, on stderr if it did there, as the tail of a message.
    pub fn quote(&self) -> String {
        let said = [self.err(), self.out()].map(|path| fs::read(path).unwrap_or_default());
        let said = said.iter().map(|bytes| String::from_utf8_lossy(bytes)).find(|text| !text.trim().is_empty());
        let said = said.unwrap_or_default();
        let line = said.trim().lines().next_back().unwrap_or_default().trim();
        let cut: String = line.chars().take(QUOTE).collect();
        if cut.is_empty() { String::new() } else { format!(" ({cut})") }
    }

    fn place(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.stem))
    }
}
