//! Boots `vmlinux` with good and bad command lines and looks at what a user sees.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A scratch directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("boot-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a scratch directory");
        Scratch(dir)
    }

    fn compile(&self, name: &str, source: &str, flags: &[&str]) {
        let c = self.0.join(format!("{name}.c"));
        fs::write(&c, source).expect("a source file");
        let done = Command::new("gcc")
            .args(["-O2", "-o"])
            .arg(self.0.join(name))
            .arg(&c)
            .args(flags)
            .status()
            .expect("gcc is installed (scripts/prepare)");
        assert!(done.success(), "{name}.c does not compile");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn vmlinux(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vmlinux")).args(words).stdin(Stdio::null()).output().expect("vmlinux starts")
}

/// Expects exit status 2 and one line on stderr that starts with the option and holds all of `words`.
fn expect_refusal(line: &[&str], option: &str, words: &[&str]) {
    let out = vmlinux(line);
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{line:?}: {stderr}");
    let last = stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with(&format!("vmlinux: {option}")), "{line:?}: {stderr}");
    for word in words {
        assert!(last.contains(word), "{line:?}: no {word:?} in {stderr}");
    }
    assert_eq!(stderr.lines().count(), 1, "{line:?}: {stderr}");
}

const STATIC_PIE: &[&str] = &["-static-pie"];

#[test]
fn bad_options_are_refused_in_one_line() {
    let root = Scratch::new("options");
    let flags = format!("rootflags={}", root.0.display());
    for (word, option) in [
        ("eth0=tuntap,tap0,zz:fd:0:0:0:1,10.0.0.1", "eth0"),
        ("eth0=tuntap,tap0,0e:fd:0:0:0:1,10.0.0", "eth0"),
        ("eth0=pigeon", "eth0"),
        ("vec0:transport=tap,ifname=tap0,depth=many", "vec0"),
        ("mem=1m", "mem="),
        ("mem=lots", "mem="),
        ("hook=zpoline", "hook="),
        ("ip=10.0.0", "ip="),
        ("loglevel=99", "loglevel="),
    ] {
        expect_refusal(&["rootfstype=hostfs", &flags, word], option, &["accepted"]);
    }
}

#[test]
fn missing_and_foreign_files_are_refused() {
    let root = Scratch::new("files");
    let dir = root.0.display().to_string();
    let flags = format!("rootflags={dir}");
    fs::write(root.0.join("text"), "hello").unwrap();
    fs::write(root.0.join("noexec"), "hello").unwrap();
    let mut foreign = b"\x7fELF\x02\x01\x01".to_vec();
    foreign.resize(64, 0);
    foreign[16] = 3;
    foreign[18] = 183;
    fs::write(root.0.join("arm"), &foreign).unwrap();
    for name in ["text", "arm"] {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(root.0.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let boot = |init: &str| ["rootfstype=hostfs".to_owned(), flags.clone(), format!("init={init}")];
    let refusal = |init: &str, words: &[&str]| {
        let line = boot(init);
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        expect_refusal(&line, &format!("init={init}"), words);
    };
    refusal("/missing", &["no such file"]);
    refusal("/text", &["not an ELF file"]);
    refusal("/arm", &["not an x86-64 ELF file"]);
    refusal("/noexec", &["EACCES"]);
    expect_refusal(&["rootfstype=hostfs", "rootflags=/no/such/dir"], "rootflags=/no/such/dir", &["ENOENT"]);
    expect_refusal(&["rw"], "root=", &["rootfstype=hostfs"]);
    expect_refusal(&["rootfstype=hostfs", &flags], "init=", &["/sbin/init"]);
}

#[test]
fn exit_status_output_arguments_and_environment_are_inits() {
    let root = Scratch::new("status");
    let source = r#"
        #include <stdio.h>
        #include <stdlib.h>
        int main(int argc, char **argv) {
            for (int i = 1; i < argc; i++) printf("%s\n", argv[i]);
            printf("%s\n", getenv("COLOUR"));
            return 42;
        }"#;
    root.compile("init", source, STATIC_PIE);
    let flags = format!("rootflags={}", root.0.display());
    for hook in ["hook=seccomp", "hook=patch", "hook=auto"] {
        let line = ["rootfstype=hostfs", &flags, "init=/init", "COLOUR=blue", "quiet", hook, "--", "a", "b=c"];
        let out = vmlinux(&line);
        assert_eq!(String::from_utf8_lossy(&out.stdout), "a\nb=c\nblue\n", "{hook}: {out:?}");
        assert_eq!(out.status.code(), Some(42), "{hook}");
    }
}

#[test]
fn a_signal_that_ends_init_shows_in_the_status() {
    let root = Scratch::new("signal");
    root.compile("init", "int main(void) { volatile int *p = 0; return *p; }", STATIC_PIE);
    let flags = format!("rootflags={}", root.0.display());
    let out = vmlinux(&["rootfstype=hostfs", &flags, "init=/init", "loglevel=8"]);
    assert_eq!(out.status.code(), Some(128 + 11), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("SIGSEGV"), "{out:?}");
}

/// Lines of the kernel log without their time, up to the power-off.
fn log_of(out: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    text.lines().filter_map(|l| l.split_once("] ").map(|(_, line)| line.to_owned())).collect()
}

#[test]
fn a_crash_is_reported_with_registers_mappings_code_and_stack() {
    let root = Scratch::new("crash");
    let source = r#"
        #include <fcntl.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/mman.h>
        #include <sys/wait.h>
        #include <unistd.h>
        static int crash(int how) {
            volatile int ten = 10, zero = 0;
            char *p;
            switch (how) {
            case 0:
                __asm__ volatile("mov $0x1111222233334444, %%r13; mov $0x10, %%eax; movb $1, (%%rax)" ::: "rax", "r13");
                break;
            case 1: return ten / zero;
            case 2: __asm__ volatile("ud2");
            case 3: abort();
            case 4:
                p = mmap(NULL, 8192, PROT_READ, MAP_SHARED, open("/init.c", O_RDONLY), 0);
                return p[4096];
            default:
                __asm__ volatile("jmp *%0" :: "r"(0x123000L));
            }
            return 0;
        }
        int main(void) {
            for (int how = 0; how < 6; how++) {
                if (fork() == 0) _exit(crash(how));
                wait(NULL);
            }
            return 0;
        }"#;
    root.compile("init", source, STATIC_PIE);
    let flags = format!("rootflags={}", root.0.display());
    let out = vmlinux(&["rootfstype=hostfs", &flags, "init=/init"]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let log = log_of(&out);
    let report = |pid: u32| -> Vec<&str> {
        let who = format!("init[{pid}/{pid}]: ");
        log.iter().filter_map(|l| l.strip_prefix(&who)).collect()
    };
    let expect = |pid: u32, parts: &[&str]| {
        let lines = report(pid);
        for part in parts {
            assert!(lines.iter().any(|l| l.contains(part)), "no {part:?} in {lines:#?}");
        }
    };
    expect(
        2,
        &[
            "SIGSEGV: nothing is mapped there (SEGV_MAPERR) at 0x10, ip 0x",
            "ip in /init (",
            " r-xp), offset 0x",
            "address in not mapped; ",
            "code ",
            "<c6> 00 01",
            "rax 0000000000000010",
            "r13 1111222233334444",
            "cr2 0000000000000010",
            "trap 14, error 0x6",
            "stack ",
        ],
    );
    expect(3, &["SIGFPE: integer division by zero (FPE_INTDIV) at 0x", "<f7>"]);
    expect(4, &["SIGILL: illegal instruction (ILL_ILLOPN) at 0x", "<0f> 0b"]);
    expect(5, &["SIGABRT: sent by process 5 (code -6), ip 0x", "ip in /init ("]);
    expect(
        6,
        &["SIGBUS: beyond the end of the file (BUS_ADRERR) at 0x", "address in /init.c (", "r--s), offset 0x1000"],
    );
    expect(7, &["SIGSEGV: nothing is mapped there (SEGV_MAPERR) at 0x123000", "ip in not mapped; "]);
    assert!(!report(7).iter().any(|l| l.starts_with("code ")), "code where none can be: {log:#?}");
}

#[test]
fn reports_of_many_crashes_are_limited() {
    let root = Scratch::new("crashes");
    let source = r#"
        #include <sys/wait.h>
        #include <unistd.h>
        int main(void) {
            for (int i = 0; i < 30; i++) {
                if (fork() == 0) __builtin_trap();
                wait(0);
            }
            return 0;
        }"#;
    root.compile("init", source, STATIC_PIE);
    let flags = format!("rootflags={}", root.0.display());
    let out = vmlinux(&["rootfstype=hostfs", &flags, "init=/init"]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let shown = log_of(&out).iter().filter(|l| l.contains(": SIGILL: ")).count();
    assert!((1..=20).contains(&shown), "{shown} of 30 reports, {out:?}");
}

#[test]
fn an_idle_small_guest_is_small() {
    let root = Scratch::new("idle");
    root.compile(
        "init",
        "#include <unistd.h>\nint main(void) { write(1, \"up\\n\", 3); sleep(30); return 0; }",
        STATIC_PIE,
    );
    let mut guest = Command::new(env!("CARGO_BIN_EXE_vmlinux"))
        .args(["rootfstype=hostfs", &format!("rootflags={}", root.0.display()), "init=/init", "mem=64m", "quiet"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("vmlinux starts");
    let mut up = [0u8; 3];
    std::io::Read::read_exact(guest.stdout.as_mut().unwrap(), &mut up).expect("the guest comes up");
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", guest.id())).unwrap();
    let pss = rollup.lines().find_map(|l| l.strip_prefix("Pss:")).unwrap();
    let kilobytes: u64 = pss.trim().trim_end_matches(" kB").parse().unwrap();
    guest.kill().unwrap();
    guest.wait().unwrap();
    assert!(kilobytes < 40 * 1024, "{kilobytes} kB");
}

#[test]
fn a_signal_from_outside_stops_the_machine() {
    let root = Scratch::new("term");
    root.compile("init", "#include <unistd.h>\nint main(void) { write(1, \"up\\n\", 3); for (;;) ; }", STATIC_PIE);
    let mut guest = Command::new(env!("CARGO_BIN_EXE_vmlinux"))
        .args(["rootfstype=hostfs", &format!("rootflags={}", root.0.display()), "init=/init", "quiet"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("vmlinux starts");
    let mut up = [0u8; 3];
    std::io::Read::read_exact(guest.stdout.as_mut().unwrap(), &mut up).expect("the guest comes up");
    let killed = Command::new("kill").args(["-TERM", &guest.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(guest.wait().unwrap().code(), Some(128 + 15));
}

#[test]
fn programs_mount_what_is_shared_and_nothing_else() {
    let root = Scratch::new("shared");
    let source = r#"
        #include <errno.h>
        #include <stdio.h>
        #include <sys/mount.h>
        static void show(const char *directory, unsigned long flags) {
            char line[100] = "nothing";
            if (mount("none", "/mnt", "hostfs", flags, directory) != 0) { printf("%s: %s\n", directory, strerrorname_np(errno)); return; }
            FILE *f = fopen("/mnt/file", "r");
            if (f) { fgets(line, sizeof line, f); fclose(f); }
            errno = 0;
            f = fopen("/mnt/new", "w");
            printf("%s: %s, writing: %s\n", directory, line, strerrorname_np(errno));
            if (f) { fputs("from the guest", f); fclose(f); }
            umount("/mnt");
        }
        int main(void) {
            show("/sub", 0);
            show("sub", MS_RDONLY);
            show("/", MS_RDONLY);
            show("../outside", 0);
            show("link", 0);
            show("none", 0);
            return 0;
        }"#;
    root.compile("init", source, &["-static-pie", "-D_GNU_SOURCE"]);
    let host = Scratch::new("shared-host");
    for dir in ["top/sub", "outside"] {
        fs::create_dir_all(host.0.join(dir)).unwrap();
        fs::write(host.0.join(dir).join("file"), dir).unwrap();
    }
    fs::create_dir(root.0.join("mnt")).unwrap();
    std::os::unix::fs::symlink(host.0.join("outside"), host.0.join("top/link")).unwrap();
    let flags = format!("rootflags={}", root.0.display());
    let shared = format!("hostfs={}", host.0.join("top").display());
    let out = vmlinux(&["rootfstype=hostfs", &flags, "quiet", &shared, "init=/init"]);
    let said = String::from_utf8_lossy(&out.stdout);
    let expected = "/sub: top/sub, writing: 0\nsub: top/sub, writing: EROFS\n/: nothing, writing: EROFS\n\
        ../outside: ENOENT\nlink: ENOENT\nnone: ENOENT\n";
    assert_eq!(said, expected, "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(fs::read_to_string(host.0.join("top/sub/new")).unwrap(), "from the guest");
    let out = vmlinux(&["rootfstype=hostfs", &flags, "quiet", "init=/init"]);
    assert!(String::from_utf8_lossy(&out.stdout).starts_with("/sub: EPERM\n"));
    expect_refusal(&["rootfstype=hostfs", &flags, "hostfs=relative"], "hostfs=", &["accepted"]);
    expect_refusal(&["rootfstype=hostfs", &flags, "hostfs=/no/such"], "hostfs=/no/such", &["ENOENT"]);
}
