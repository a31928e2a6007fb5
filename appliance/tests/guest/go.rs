//! A static Go program in the guest: goroutines, the garbage collector, nil checks, signals, sockets, children.

use std::fs;
use std::path::Path;
use std::process::Command;

use appliance::guest::{Boot, Hook};
use appliance::interrupt::Interrupt;
use appliance::rootfs::{self, recipe::Recipe};

use crate::lab::{Scratch, start_guest, vmlinux, words};

/// What the program prints natively.
const SAYS: &str = "\
goroutines 499500
collected true
recovered: runtime error: invalid memory address or nil pointer dereference
recovered: runtime error: integer divide by zero
deep 100001
signal user defined signal 1
20 POST /p00 0 POST /p19 190000
true
timeout true
through a child exit status 3
fork/exec /no/such/program: no such file or directory
from the shell
signal: killed
a busy loop is preempted
done
";

/// Compiles `everyday.go` with Debian's Go to `to`.
fn compile(scratch: &Scratch, to: &Path) {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest");
    let recipe = Recipe::load(tests.join("go.toml").to_str().unwrap()).unwrap();
    let tools = rootfs::ensure(&recipe, None, false, &Interrupt::default()).unwrap_or_else(|error| panic!("{error:#}"));
    let root = tools.path("usr/lib/go-1.19");
    let done = Command::new(root.join("bin/go"))
        .args(["build", "-o"])
        .arg(to)
        .arg(tests.join("everyday.go"))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("GOROOT", &root)
        .env("GOCACHE", scratch.path().join("cache"))
        .env("HOME", scratch.path())
        .env("GO111MODULE", "off")
        .env("CGO_ENABLED", "0")
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn a_static_go_program_every_day() {
    let scratch = Scratch::new("go");
    let dir = scratch.path().join("root");
    let recipe = Recipe::load("minimal").unwrap();
    rootfs::ensure(&recipe, Some(&dir), false, &Interrupt::default()).unwrap_or_else(|error| panic!("{error:#}"));
    fs::create_dir_all(dir.join("root")).unwrap();
    compile(&scratch, &dir.join("root/everyday"));
    for hook in [Hook::Seccomp, Hook::Patch] {
        let mut boot = Boot::new(&dir, words(&["/root/everyday"]));
        boot.hook = Some(hook);
        assert_eq!(start_guest(Command::new(vmlinux()), &boot).succeed(60), SAYS, "{hook:?}");
    }
}
