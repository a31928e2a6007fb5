//! Binaries are built and reference runs made when the first case needs them, and shared by the cases that follow.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::corpus::{Corpus, Program, Variant};
use super::guest_root::GuestRoot;
use super::machine;
use super::outcome::{End, Outcome};
use super::toolchain::Toolchain;

/// A program ends by itself well within this on a busy host.
const NATIVE_LIMIT: Duration = Duration::from_secs(15);

/// Boot, run and power-off of a guest.
const GUEST_LIMIT: Duration = Duration::from_secs(20);

type Shared<T> = OnceLock<Result<T, String>>;

/// The root with its programs, and what is known of them.
pub struct Laboratory {
    root: GuestRoot,
    toolchain: Toolchain,
    specimens: Mutex<HashMap<(String, Variant), Arc<Specimen>>>,
}

/// One program in one variant.
#[derive(Default)]
struct Specimen {
    /// Its path inside the root.
    program: Shared<String>,
    reference: Shared<Outcome>,
}

impl Laboratory {
    /// Finds the compilers and lays out the root with the runner in it.
    ///
    /// # Errors
    /// What is missing, and the remedy.
    pub fn prepare(corpus: &Corpus) -> Result<Laboratory, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("needs root: native reference runs use mount, PID and network namespaces; run with sudo".into());
        }
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("differential");
        let headers: Vec<PathBuf> =
            ["report.h", "freestanding.h", "terminal.h"].iter().map(|name| corpus.directory.join(name)).collect();
        let toolchain = Toolchain::prepare(&headers, cache.join("stamps"))?;
        let root = GuestRoot::prepare(cache.join("root"))?;
        let runner = root.path().join("tests/runner");
        toolchain.compile(&corpus.directory.join("runner.c"), Variant::StaticPie, &runner)?;
        Ok(Laboratory { root, toolchain, specimens: Mutex::default() })
    }

    /// Runs natively once for all hooks, then in the guest.
    ///
    /// # Errors
    /// The unified diff and the kernel log's tail.
    pub fn compare_with_guest(&self, program: &Program, variant: Variant, hook: &str) -> Result<(), String> {
        let specimen = self.specimen(program, variant);
        let path = self.built(&specimen, program, variant)?;
        let reference = specimen.reference.get_or_init(|| self.run_natively(program, path)).as_ref()?;
        let mut command = machine::guest(self.root.path(), path, hook);
        let actual = Outcome::of(&mut command, GUEST_LIMIT)?;
        match reference.difference(&actual, ("native", "guest")) {
            None => Ok(()),
            Some(diff) => Err(format!(
                "{diff}\nkernel log (after {:.2?}):\n{}\nagain: {command:?}",
                actual.elapsed,
                actual.log_tail()
            )),
        }
    }

    /// Runs natively twice: a program that does not agree with itself is no reference.
    ///
    /// # Errors
    /// The unified diff, or the status that the program did not announce.
    pub fn compare_with_itself(&self, program: &Program, variant: Variant) -> Result<(), String> {
        let specimen = self.specimen(program, variant);
        let path = self.built(&specimen, program, variant)?;
        let first = self.run_natively(program, path)?;
        let second = self.run_natively(program, path)?;
        first.difference(&second, ("first", "second")).map_or(Ok(()), Err)
    }

    fn run_natively(&self, program: &Program, path: &str) -> Result<Outcome, String> {
        let outcome = Outcome::of(&mut machine::native(self.root.path(), path), NATIVE_LIMIT)?;
        if outcome.end == End::Exited(program.exits) && outcome.stderr.is_empty() {
            return Ok(outcome);
        }
        Err(format!(
            "native run ended with {:?} after {:.2?} instead of Exited({}):\n{}{}",
            outcome.end, outcome.elapsed, program.exits, outcome.stdout, outcome.stderr
        ))
    }

    fn built<'a>(&self, specimen: &'a Specimen, program: &Program, variant: Variant) -> Result<&'a str, String> {
        let built = specimen.program.get_or_init(|| {
            let binary = self.root.binary(variant, &program.name);
            self.toolchain.compile(&program.source, variant, &binary)?;
            if variant == Variant::Dynamic {
                self.root.provide_libraries(&binary)?;
            }
            Ok(format!("/tests/{variant}/{}", program.name))
        });
        built.as_deref().map_err(String::clone)
    }

    fn specimen(&self, program: &Program, variant: Variant) -> Arc<Specimen> {
        let mut specimens = self.specimens.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(specimens.entry((program.name.clone(), variant)).or_default())
    }
}
