//! The programs under `tests/guest`, what their first lines ask for, and the list of cases that are not run yet.
//!
//! A program's leading `//` comment says in words what it is about and may hold two keys, each on its own line:
//! `variants:` names how it is compiled (default `dynamic static-pie`), `exits:` the status it ends with (default 0).

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a program is compiled and linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Position-independent glibc executable with an interpreter.
    Dynamic,
    /// Self-relocating glibc executable without an interpreter.
    StaticPie,
    /// Self-relocating musl executable without an interpreter.
    Musl,
    /// glibc executable linked to fixed addresses (ET_EXEC), without an interpreter: all of them contest the same ones.
    Fixed,
    /// No C library at all: the program brings its own `_start`.
    Raw,
}

impl Variant {
    pub const ALL: [Variant; 5] = [Variant::Dynamic, Variant::StaticPie, Variant::Musl, Variant::Fixed, Variant::Raw];

    /// The word used in headers, in test names and as the folder under `/tests`.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Dynamic => "dynamic",
            Variant::StaticPie => "static-pie",
            Variant::Musl => "musl",
            Variant::Fixed => "fixed",
            Variant::Raw => "raw",
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// One C file of the corpus.
#[derive(Debug)]
pub struct Program {
    /// File name without `.c`.
    pub name: String,
    pub source: PathBuf,
    pub variants: Vec<Variant>,
    /// The status the runner passes on: the program's own, or 128 + signal.
    pub exits: i32,
}

/// Every program, and the reasons for which some of them are not run in the guest.
pub struct Corpus {
    pub directory: PathBuf,
    pub programs: Vec<Arc<Program>>,
    skips: Vec<Skip>,
}

struct Skip {
    pattern: String,
    reason: String,
}

impl Corpus {
    /// Reads the folder; `runner.c` is part of the harness and is no case.
    ///
    /// # Errors
    /// A folder or file that cannot be read, an unknown key value, or a skip line that fits no case.
    pub fn load() -> Result<Corpus, String> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest");
        let mut programs = Vec::new();
        let entries = fs::read_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        for entry in entries {
            let source = entry.map_err(|error| format!("{}: {error}", directory.display()))?.path();
            let is_c = source.extension().is_some_and(|extension| extension == "c");
            let Some(name) = source.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned) else { continue };
            if !is_c || name == "runner" {
                continue;
            }
            let text = fs::read_to_string(&source).map_err(|error| format!("{}: {error}", source.display()))?;
            let program = parse_header(name, source.clone(), &text);
            programs.push(Arc::new(program.map_err(|error| format!("{}: {error}", source.display()))?));
        }
        programs.sort_by(|left, right| left.name.cmp(&right.name));
        let skips = load_skips(&directory.join("skip.toml"))?;
        for skip in &skips {
            let used = programs.iter().any(|program| program.case_names().any(|name| skip.covers(&name)));
            if !used {
                return Err(format!("skip.toml: `{}` fits no case: remove the line", skip.pattern));
            }
        }
        Ok(Corpus { directory, programs, skips })
    }

    /// Why the case of this name is not run in the guest, if it is not.
    pub fn skip_reason(&self, case: &str) -> Option<&str> {
        self.skips.iter().find(|skip| skip.covers(case)).map(|skip| skip.reason.as_str())
    }
}

impl Program {
    fn case_names(&self) -> impl Iterator<Item = String> {
        self.variants
            .iter()
            .flat_map(move |variant| super::super::HOOKS.map(|hook| format!("guest::{}::{variant}::{hook}", self.name)))
    }
}

impl Skip {
    /// A pattern is matched against `NAME::VARIANT::HOOK`, or against `NAME` alone when it has no `::`.
    fn covers(&self, case: &str) -> bool {
        let case = case.strip_prefix("guest::").unwrap_or(case);
        if self.pattern.contains("::") {
            glob(&self.pattern, case)
        } else {
            glob(&self.pattern, case.split("::").next().unwrap_or(case))
        }
    }
}

/// Shell-like match where `*` stands for any run of characters.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|text| {
            (0..=text.len()).filter(|&at| text.is_char_boundary(at)).any(|at| glob(rest, &text[at..]))
        }),
    }
}

fn parse_header(name: String, source: PathBuf, text: &str) -> Result<Program, String> {
    let mut program = Program { name, source, variants: vec![Variant::Dynamic, Variant::StaticPie], exits: 0 };
    for line in text.lines().map_while(|line| line.strip_prefix("//")) {
        let Some((key, value)) = line.split_once(':') else { continue };
        match key.trim() {
            "variants" => program.variants = value.split_whitespace().map(parse_variant).collect::<Result<_, _>>()?,
            "exits" => {
                program.exits = value.trim().parse().map_err(|_| format!("exits: `{}` is no number", value.trim()))?;
            }
            _ => {}
        }
    }
    Ok(program)
}

fn parse_variant(word: &str) -> Result<Variant, String> {
    Variant::ALL.into_iter().find(|variant| variant.name() == word).ok_or_else(|| format!("unknown variant `{word}`"))
}

/// `skip.toml` is one table of `"pattern" = "reason"`.
fn load_skips(path: &Path) -> Result<Vec<Skip>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let table: toml::Table = text.parse().map_err(|error| format!("{}: {error}", path.display()))?;
    table
        .into_iter()
        .map(|(pattern, reason)| match reason {
            toml::Value::String(reason) if !reason.trim().is_empty() => Ok(Skip { pattern, reason }),
            _ => Err(format!("{}: `{pattern}` needs a reason in words", path.display())),
        })
        .collect()
}
