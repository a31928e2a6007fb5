//! Shell scripts in the guest, and programs that crash under a shell.

use std::fs;
use std::process::Command;

use appliance::guest::{Boot, Hook};

use crate::lab::{Scratch, isolated, netbench, start_guest, vmlinux, words};

const LIMIT: u64 = 30;

/// What every shell of the root directory understands, and what it prints.
const SCRIPT: &str = r#"
printf 'c\na\nb\n' | sort | tr '\n' ' '; echo
echo "$(echo inner $(echo innermost) | sed 's/in/IN/') and $((3 * 14))"
cat <<END | while read -r first rest; do echo "<$first> <$rest>"; done
here $((1 + 1)) documents
'quoted' \$HOME
END
(exit 3); echo "status $?"
false || echo "or $?"
true && ! false && echo and
/nonexistent/program 2>/dev/null; echo "status $?"
/etc/passwd 2>/dev/null; echo "status $?"
(sh -c 'kill -TERM $$'; echo "status $?") 2>/dev/null
(sleep 0.3; echo background) &
echo foreground
wait $!; echo "waited $?"
(exit 7) & wait $!; echo "waited $?"
sleep 60 & kill $!; wait $! 2>/dev/null; echo "killed $?"
trap 'echo trapped' USR1
kill -USR1 $$; echo after
(trap 'echo bye; exit 4' EXIT; true); echo "status $?"
f() { local x=$1; [ "$x" -gt 0 ] && { echo "f $x"; f $((x - 1)); }; }
f 3
mkdir -p /tmp/a/b && cd /tmp/a && echo text >b/file && cat <b/file >>b/copy && ls -1 b && cd / && rm -r /tmp/a
echo to-stderr 2>&1 >/dev/null | cat; { echo one; echo two >&2; } 2>&1 | sort
set -- x 'y z'; for word; do echo "[$word]"; done
case abc in a*) echo matched;; esac
seq 1 2000 | while read -r n; do echo "$n"; done | tail -n 1
yes | head -n 3 | wc -l | tr -d ' '
i=0; while [ $i -lt 50 ]; do /bin/true || echo failed; i=$((i + 1)); done; echo "$i spawned"
exit 5
"#;

const EXPECTED: &str = "\
a b c 
INner innermost and 42
<here> <2 documents>
<'quoted'> <$HOME>
status 3
or 1
and
status 127
status 126
status 143
foreground
background
waited 0
waited 7
killed 143
trapped
after
bye
status 4
f 3
f 2
f 1
copy
file
one
two
[x]
[y z]
matched
2000
3
50 spawned
";

fn run_script(shell: &[&str], hook: Hook) {
    let mut argv = shell.to_vec();
    argv.extend(["-c", SCRIPT]);
    let ended = isolated(hook, &argv).finish(LIMIT);
    assert_eq!(ended.stdout, EXPECTED, "{shell:?} {}; stderr: {}", hook.name(), ended.stderr);
    assert_eq!(ended.ending, appliance::process::Ending::Exited(5), "{shell:?}");
}

#[test]
fn scripts_of_busybox_sh() {
    run_script(&["/bin/busybox", "sh"], Hook::Seccomp);
    run_script(&["/bin/busybox", "sh"], Hook::Patch);
}

#[test]
fn scripts_of_dash() {
    run_script(&["/bin/dash"], Hook::Seccomp);
    run_script(&["/bin/dash"], Hook::Patch);
}

#[test]
fn scripts_of_bash() {
    run_script(&["/bin/bash"], Hook::Seccomp);
    run_script(&["/bin/bash"], Hook::Patch);
}

#[test]
fn what_only_bash_has() {
    let script = r#"
        cmp -s <(echo same) <(echo same); echo "same $?"; cmp -s <(echo one) <(echo two); echo "differ $?"
        false | true; echo "${PIPESTATUS[*]}"; set -o pipefail; false | true; echo "$?"
        coproc { while read -r line; do echo "got $line"; done; }
        echo hello >&"${COPROC[1]}"; read -r answer <&"${COPROC[0]}"; echo "$answer"
        eval "exec ${COPROC[1]}>&-"; wait
        read -r -t 0.1 nothing < <(sleep 1); echo "timed out $(( $? > 128 ))"
        declare -A map=([k]=v); echo "${map[k]} ${#map[@]} {a,b}{1,2}" ; echo {a,b}{1,2}
        exec 3<<<"a here string"; cat <&3; exec 3<&-
        [[ abc =~ ^a(.)c$ ]] && echo "${BASH_REMATCH[1]}"
        for i in 1 2 3; do (exit $i) & done; wait; echo done
    "#;
    let expected = "same 0\ndiffer 1\n1 0\n1\ngot hello\ntimed out 1\nv 1 {a,b}{1,2}\na1 a2 b1 b2\n\
                    a here string\nb\ndone\n";
    assert_eq!(isolated(Hook::Patch, &["/bin/bash", "-c", script]).succeed(LIMIT), expected);
}

/// Each ends by the signal that it is named after, from a fault of its own.
const CRASHES: &str = r#"
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <fcntl.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
    volatile int zero = 0, ten = 10, *null = 0;
    void (*volatile nothing)(void) = 0;
    if (!strcmp(argv[1], "SEGV")) *null = 1;
    if (!strcmp(argv[1], "CALL")) nothing();
    if (!strcmp(argv[1], "FPE")) return ten / zero;
    if (!strcmp(argv[1], "ILL")) __asm__("ud2");
    if (!strcmp(argv[1], "ABRT")) abort();
    int fd = open("/tmp/empty", O_RDWR | O_CREAT, 0600);
    return *(volatile char *)mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0);
}
"#;

/// A root directory with `programs` of the big one, the libraries they want, and the crashing program as /crash.
fn root_with_crash(scratch: &Scratch, programs: &[&str]) {
    let (from, to) = (netbench(), scratch.path());
    let copy = |path: &str| {
        let place = to.join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(from.path(path), place).unwrap_or_else(|error| panic!("{path}: {error}"));
    };
    programs.iter().for_each(|program| copy(&format!("usr/bin/{program}")));
    for library in ["ld-linux-x86-64.so.2", "libc.so.6", "libtinfo.so.6"] {
        copy(&format!("usr/lib/x86_64-linux-gnu/{library}"));
    }
    copy("usr/lib64/ld-linux-x86-64.so.2");
    for (link, target) in [("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")] {
        std::os::unix::fs::symlink(target, to.join(link)).unwrap();
    }
    for mount in ["dev", "proc", "sys", "tmp", "run"] {
        fs::create_dir(to.join(mount)).unwrap();
    }
    fs::write(to.join("crash.c"), CRASHES).unwrap();
    let compiled = Command::new("gcc")
        .args(["-O1", "-fno-delete-null-pointer-checks", "-static-pie", "-o", "crash", "crash.c"])
        .current_dir(to)
        .status()
        .expect("gcc is installed (scripts/prepare)");
    assert!(compiled.success());
}

#[test]
fn a_crash_is_the_programs_own() {
    let scratch = Scratch::new("crash");
    root_with_crash(&scratch, &["bash", "dash", "busybox"]);
    let script = r#"
        for signal in SEGV CALL FPE ILL ABRT BUS; do /crash $signal; echo "$signal $?"; done
        /crash SEGV | busybox cat; echo "after a pipeline ${PIPESTATUS[0]}"
        (/crash ILL; echo "inside a subshell $?"); /crash FPE & wait $!; echo "in the background $?"
        busybox echo alive
    "#;
    for hook in [Hook::Seccomp, Hook::Patch] {
        let mut boot = Boot::new(scratch.path(), words(&["/bin/bash", "-c", script]));
        boot.hook = Some(hook);
        let said = start_guest(Command::new(vmlinux()), &boot).succeed(LIMIT);
        for text in [
            "Segmentation fault",
            "Floating point exception",
            "Illegal instruction",
            "Aborted",
            "Bus error",
            "\nSEGV 139\n",
            "\nCALL 139\n",
            "\nFPE 136\n",
            "\nILL 132\n",
            "\nABRT 134\n",
            "\nBUS 135\n",
            "after a pipeline 139\n",
            "inside a subshell 132\n",
            "in the background 136\n",
            "alive\n",
        ] {
            assert!(said.contains(text), "no {text:?} in {said}");
        }
    }
}
