//! Debian's perl and stress-ng in the guest.

use std::path::Path;
use std::process::Command;

use appliance::guest::{Boot, Hook};
use appliance::interrupt::Interrupt;
use appliance::rootfs::{self, Rootfs, recipe::Recipe};

use crate::lab::{Running, start_guest, vmlinux, words};

/// What the perl script prints natively.
const PERL_SAYS: &str = "\
1000 line 1000
8893
2 files
FROM A SHELL
7
through a pipe
alarm
usr1
you said hello
b
a
385 1,2,3,4,5
2
9dd4e461268c8034f5c8564e155c67a6
locked
quick The brown fox
match value
shared
sem
5050
1970-01-01 2
\u{e9}
100
42
3
five=4 one=3 three=5
done
";

/// Stressors that check what they do, with sizes for a small guest.
const STRESSORS: [&str; 21] = [
    "--fork 2",
    "--vfork 2",
    "--clone 2",
    "--pthread 1 --pthread-max 32",
    "--pipe 2",
    "--futex 2",
    "--sem 2",
    "--sem-sysv 2",
    "--shm 1 --shm-bytes 4m",
    "--shm-sysv 1 --shm-sysv-bytes 4m",
    "--msg 2",
    "--mq 2",
    "--sigq 2",
    "--signal 2",
    "--sigfpe 1",
    "--sigsegv 1",
    "--timer 2",
    "--timerfd 2",
    "--mmap 1 --mmap-bytes 8m",
    "--mremap 1 --mremap-bytes 4m",
    "--vm 1 --vm-bytes 16m",
];

fn everyday() -> Rootfs {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest/everyday.toml");
    let recipe = Recipe::load(file.to_str().unwrap()).unwrap();
    rootfs::ensure(&recipe, None, false, &Interrupt::default()).unwrap_or_else(|error| panic!("{error:#}"))
}

fn guest(hook: Hook, argv: &[&str]) -> Running {
    let mut boot = Boot::new(&everyday().dir, words(argv));
    boot.hook = Some(hook);
    start_guest(Command::new(vmlinux()), &boot)
}

#[test]
fn perl_every_day() {
    let script = include_str!("everyday.pl");
    for hook in [Hook::Seccomp, Hook::Patch] {
        assert_eq!(guest(hook, &["/usr/bin/perl", "-e", script]).succeed(60), PERL_SAYS, "{hook:?}");
    }
}

#[test]
fn stress_ng_finds_no_fault() {
    for stressor in STRESSORS {
        let script = format!("cd /tmp && exec stress-ng --temp-path /tmp --timeout 1 --verify {stressor} 2>&1");
        let said = guest(Hook::Patch, &["/bin/sh", "-c", &script]).succeed(60);
        assert!(said.contains("successful run completed"), "{stressor}: {said}");
        assert!(!said.contains("fail:"), "{stressor}: {said}");
    }
}
