//! The same program natively, then in the guest: both must print the same and end the same way.
//!
//! The corpus is `tests/guest/*.c`. Each program is compiled in the variants its first lines name (dynamic PIE,
//! static PIE, musl static PIE, fixed addresses, or freestanding) into one read-only root directory. The reference run happens there
//! through `chroot` in namespaces of its own; the guest run boots `vmlinux` on the same directory, once per system
//! call hook. Both start `/tests/runner`, which starts the program as its child, so that the program is an ordinary
//! process on either side.
//!
//! One line per case, `guest::NAME::VARIANT::HOOK`; the usual libtest arguments filter. With `FLATLAND_NATIVE_ONLY=1`
//! no guest is booted: each program runs natively twice and must agree with itself and with the exit status it
//! announces, which is how the corpus itself is checked. Root is needed for the namespaces.

mod harness;

use std::process::ExitCode;
use std::sync::Arc;

use harness::corpus::{Corpus, Program, Variant};
use harness::laboratory::Laboratory;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// The hooks that the guest must behave the same under.
const HOOKS: [&str; 2] = ["seccomp", "patch"];

/// Cases that run side by side unless `--test-threads` says otherwise: each boots a machine of its own.
const DEFAULT_THREADS: usize = 2;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(DEFAULT_THREADS);
    let native_only = std::env::var_os("FLATLAND_NATIVE_ONLY").is_some_and(|value| value == "1");

    let corpus = match Corpus::load() {
        Ok(corpus) => corpus,
        Err(reason) => return refuse(&reason),
    };
    let laboratory = if arguments.list {
        None
    } else {
        match Laboratory::prepare(&corpus) {
            Ok(laboratory) => Some(Arc::new(laboratory)),
            Err(reason) => return refuse(&reason),
        }
    };

    let mut trials = Vec::new();
    for program in &corpus.programs {
        for &variant in &program.variants {
            if native_only {
                trials.push(native_trial(program, variant, laboratory.clone()));
            } else {
                for hook in HOOKS {
                    trials.push(guest_trial(&corpus, program, variant, hook, laboratory.clone()));
                }
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A case that boots the guest, or that is ignored for the reason the skip list gives.
fn guest_trial(
    corpus: &Corpus,
    program: &Arc<Program>,
    variant: Variant,
    hook: &'static str,
    laboratory: Option<Arc<Laboratory>>,
) -> Trial {
    let name = format!("guest::{}::{variant}::{hook}", program.name);
    let program = Arc::clone(program);
    let skip = corpus.skip_reason(&name).map(str::to_owned);
    Trial::ignorable_test(name, move || {
        if let Some(reason) = skip {
            return Ok(Completion::ignored_with(reason));
        }
        let laboratory = laboratory.ok_or("the laboratory is prepared unless cases are only listed")?;
        laboratory.compare_with_guest(&program, variant, hook).map_err(Failed::from)?;
        Ok(Completion::Completed)
    })
}

/// A case that runs natively twice.
fn native_trial(program: &Arc<Program>, variant: Variant, laboratory: Option<Arc<Laboratory>>) -> Trial {
    let program = Arc::clone(program);
    Trial::test(format!("guest::{}::{variant}::native", program.name), move || {
        let laboratory = laboratory.ok_or("the laboratory is prepared unless cases are only listed")?;
        laboratory.compare_with_itself(&program, variant).map_err(Failed::from)
    })
}

fn refuse(reason: &str) -> ExitCode {
    eprintln!("differential: {reason}");
    ExitCode::FAILURE
}
