//! CPython's own tests of what lies next to the kernel, in the guest and natively in a chroot of the same root directory.
//!
//! What the guest may not pass is what the host does not pass either: a test that fails or is skipped there must fail
//! or be skipped here, too, by name. Tests that need a kind of socket which a kernel may be built without
//! ([`FAMILIES`]) are left out on both sides.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use appliance::guest::{Boot, Hook};
use appliance::interrupt::Interrupt;
use appliance::rootfs::{self, Rootfs, recipe::Recipe};

use crate::lab::{Running, start_guest, vmlinux, words};

/// The files of tests, each run by a python3 of its own, all at once: most of their time they wait.
const FILES: [&str; 6] = ["os", "select", "signal", "socket", "subprocess", "threading"];

/// Sockets that are not among what a machine must have.
const FAMILIES: &str =
    "-i *VSOCK* -i *CAN* -i *RDS* -i *Qipcrtr* -i *AlgKernelCrypto* -i *TIPC* -i *Bluetooth* -i *HyperV*";

/// Seconds for all of them.
const LIMIT: u64 = 240;

/// Runs files of tests beside each other, then shows what each said; `only` are patterns of tests, or none for all. A
/// shell starts background jobs with SIGINT ignored, which the tests of signals would inherit; python sets it right.
fn script(files: &[&str], only: &str) -> String {
    let start: String = files
        .iter()
        .map(|file| {
            format!(
                "python3 -c \"import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); \
                 os.execvp('python3', ['python3', '-m', 'test', '-v'] + sys.argv[1:])\" {FAMILIES} {only} test_{file} \
                 >{file}.out 2>&1 </dev/null &\n"
            )
        })
        .collect();
    let show: String = files.iter().map(|file| format!("echo '{FILE_MARK}{file}'; cat {file}.out\n")).collect();
    // Globbing is off for the patterns; a bound on descriptors, since one test opens all that it may.
    format!("set -f; ulimit -n 1024; mkdir /tmp/cpython && cd /tmp/cpython || exit\n{start}wait\n{show}")
}

/// Stands before the name of a file of tests in the output.
const FILE_MARK: &str = "=== file ";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Passed,
    Skipped,
    Failed,
}

/// The outcome of each test by its full name. A test's own output may stand between its name and how it went, so the
/// word is looked for up to the next name.
fn outcomes(output: &str) -> BTreeMap<String, Outcome> {
    let mut outcomes = BTreeMap::new();
    let mut running: Option<String> = None;
    for line in output.lines() {
        if let Some(name) = test_name(line.strip_prefix("ERROR: ").or(line.strip_prefix("FAIL: ")).unwrap_or_default())
        {
            outcomes.insert(name, Outcome::Failed);
            running = None;
            continue;
        }
        if let Some(name) = test_name(line) {
            running = Some(name);
        }
        let Some(name) = &running else { continue };
        let outcome = match line.rsplit_once("... ").map_or(line, |(_, word)| word) {
            word if word == "ok" || word.ends_with(" ok") || word.starts_with("expected failure") => Outcome::Passed,
            word if word.starts_with("skipped ") => Outcome::Skipped,
            word if word.ends_with("FAIL") || word.ends_with("ERROR") => Outcome::Failed,
            _ => continue,
        };
        outcomes.insert(name.clone(), outcome);
        running = None;
    }
    outcomes
}

/// `test_fork (test.test_os.ForkTests.test_fork) ... `
fn test_name(line: &str) -> Option<String> {
    let (method, rest) = line.split_once(" (")?;
    let (full, _) = rest.split_once(')')?;
    (full.starts_with("test.") && full.ends_with(method)).then(|| full.to_owned())
}

fn cpython() -> Rootfs {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest/cpython.toml");
    let recipe = Recipe::load(file.to_str().unwrap()).unwrap();
    rootfs::ensure(&recipe, None, false, &Interrupt::default()).unwrap_or_else(|error| panic!("{error:#}"))
}

/// The same programs on the host: namespaces of their own, so that process numbers, mounts and `lo` are as fresh as in
/// a machine that has just booted.
fn native(root: &Path, script: &str) -> Running {
    const SET_UP: &str = "root=$1; mount -t proc proc \"$root/proc\" && mount -t tmpfs -o mode=1777 tmpfs \"$root/tmp\" && \
                          mount --rbind /dev \"$root/dev\" && mount -t tmpfs -o mode=1777 tmpfs \"$root/dev/shm\" && \
                          ip link set lo up && exec chroot \"$root\" /bin/sh -c \"$2\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--net", "--uts", "--ipc"]);
    command.args(["/bin/sh", "-c", SET_UP, "sh"]).arg(root).arg(script);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root").env("LANG", "C.UTF-8");
    Running::start("native", command)
}

/// A guest that runs a script.
fn guest(root: &Path, script: &str) -> Running {
    let mut boot = Boot::new(root, words(&["/bin/sh", "-c", script]));
    boot.hook = Some(Hook::Patch);
    boot.environment = vec![("LANG".into(), "C.UTF-8".into()), ("HOME".into(), "/root".into())];
    start_guest(Command::new(vmlinux()), &boot)
}

#[test]
fn cpython_tests_go_as_they_go_natively() {
    let root = cpython().dir;
    let script_of_all = script(&FILES, "");
    let (here, host) = (guest(&root, &script_of_all), native(&root, &script_of_all));
    let (said, expected) = (here.succeed(LIMIT), host.succeed(LIMIT));

    let (mut outcome, native) = (outcomes(&said), outcomes(&expected));
    for file in FILES {
        let ran = native.keys().filter(|name| name.starts_with(&format!("test.test_{file}."))).count();
        assert!(ran >= 6, "the host ran {ran} tests of test_{file}:\n{expected}");
    }
    let wrong = |outcome: &BTreeMap<String, Outcome>| -> Vec<String> {
        let differs = |name: &&String| {
            let here = outcome.get(*name);
            here != Some(&Outcome::Passed) && here != native.get(*name)
        };
        native.keys().filter(differs).cloned().collect()
    };
    // Some tests measure time, which six pythons on one busy vCPU do not always have: such a test may have another try
    // without the others beside it.
    let mut again = String::new();
    for name in wrong(&outcome) {
        let file = name.split('.').nth(1).and_then(|module| module.strip_prefix("test_")).unwrap_or_default();
        again = guest(&root, &script(&[file], &format!("-m {name}"))).succeed(LIMIT);
        outcome.extend(outcomes(&again));
    }
    let wrong: Vec<String> = wrong(&outcome)
        .iter()
        .map(|name| format!("{name}: {:?}, natively {:?}", outcome.get(name), native[name]))
        .collect();
    assert!(wrong.is_empty(), "{}\n{again}\n{said}", wrong.join("\n"));
}

#[test]
fn outcomes_are_read() {
    let output = "test_a (test.test_os.T.test_a)\nWhat it does. ... ok\ntest_b (test.test_os.T.test_b) ... noise\nok\n\
                  test_c (test.test_os.T.test_c) ... skipped 'no'\ntest_d (test.test_os.T.test_d) ... \nERROR\n\
                  FAIL: test_e (test.test_os.T.test_e) (x=1)\n";
    let expected = [
        ("a", Outcome::Passed),
        ("b", Outcome::Passed),
        ("c", Outcome::Skipped),
        ("d", Outcome::Failed),
        ("e", Outcome::Failed),
    ];
    let expected: Vec<_> = expected.map(|(n, o)| (format!("test.test_os.T.test_{n}"), o)).into();
    assert_eq!(outcomes(output).into_iter().collect::<Vec<_>>(), expected);
}
