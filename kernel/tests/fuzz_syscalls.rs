//! Random system calls must not bring the kernel down: `tests/fuzz/syscalls.c` as process 1, under both hooks.
//!
//! Seed and length are fixed; `FLATLAND_FUZZ_SEED` and `FLATLAND_FUZZ_SECONDS` (per hook) change them. A failure prints
//! the kernel's last words and the command line that does it again.

mod stress;

use kernel::syscall::{ArgKind, SYSCALLS};
use std::fmt::Write;
use std::time::Duration;
use stress::{Guest, HOOKS};

/// Exit status of a run that found nothing.
const SUCCESS: i32 = 42;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name}={value}: no number")))
}

fn kind(argument: ArgKind) -> &'static str {
    match argument {
        ArgKind::int | ArgKind::hex | ArgKind::futexop => "KIND_NUMBER",
        ArgKind::fd => "KIND_FD",
        ArgKind::ptr | ArgKind::buf | ArgKind::out | ArgKind::outstr | ArgKind::timespec => "KIND_PTR",
        ArgKind::size => "KIND_SIZE",
        ArgKind::path => "KIND_PATH",
        ArgKind::oflags => "KIND_OFLAGS",
        ArgKind::mode => "KIND_MODE",
        ArgKind::prot => "KIND_PROT",
        ArgKind::mapflags => "KIND_MAPFLAGS",
        ArgKind::signal => "KIND_SIGNAL",
    }
}

/// The kernel's table in C.
fn table() -> String {
    let mut text = String::from(
        "enum kind { KIND_NUMBER, KIND_FD, KIND_PTR, KIND_SIZE, KIND_PATH, KIND_OFLAGS, KIND_MODE, KIND_PROT,\n\
         KIND_MAPFLAGS, KIND_SIGNAL, KINDS };\n\
         static const struct call { const char *name; unsigned number, count; enum kind kinds[6]; } calls[] = {\n",
    );
    for call in SYSCALLS {
        let kinds: Vec<&str> = call.args.iter().map(|&argument| kind(argument)).collect();
        let count = kinds.len();
        let kinds = if count == 0 { "0".to_owned() } else { kinds.join(", ") };
        let _ = writeln!(text, "{{ \"{}\", {}, {count}, {{ {kinds} }} }},", call.name, call.nr);
    }
    text + "};\n"
}

fn fuzz(hook: &str) {
    let (seed, seconds) = (setting("FLATLAND_FUZZ_SEED", 1), setting("FLATLAND_FUZZ_SECONDS", 8));
    let guest = Guest::new(&format!("fuzz-syscalls-{hook}"));
    guest.write("calls.h", &table());
    guest.compile("fuzz", "syscalls.c", &["-static-pie", "-fPIE"]);
    let run = guest.run(hook, "/fuzz", &[&seed.to_string(), &seconds.to_string()], Duration::from_secs(seconds + 30));
    run.expect_survival(SUCCESS);
}

#[test]
fn random_calls_through_the_trap() {
    fuzz(HOOKS[0]);
}

#[test]
fn random_calls_through_patched_sites() {
    fuzz(HOOKS[1]);
}
