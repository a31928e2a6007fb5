//! Guests that are made to suffer: one C program of `tests/fuzz` as process 1, and what the kernel said in the end.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The system call hooks, slow and fast.
pub const HOOKS: [&str; 2] = ["seccomp", "patch"];

/// What the kernel log must not hold, whatever the guest does.
const BROKEN: [&str; 4] = ["Kernel panic", "cannot be brought back", "cannot be released", "stays writable"];

/// A root directory of its own, gone with the value.
pub struct Guest {
    root: PathBuf,
    sources: PathBuf,
    /// What `mem=` says.
    pub memory: &'static str,
}

/// How a run ended.
pub struct Run {
    /// The exit status of vmlinux; `None` if it was killed or had to be.
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub command: String,
}

impl Guest {
    pub fn new(name: &str) -> Guest {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for directory in ["tmp", "dev", "proc", "sys", "run"] {
            fs::create_dir_all(root.join(directory)).expect("a root directory");
        }
        Guest { root, sources: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz"), memory: "256m" }
    }

    /// Puts a text into the root directory.
    #[allow(dead_code, reason = "each test takes what it needs of this module")]
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.root.join(name), text).expect("a file of the root directory");
    }

    /// Compiles `tests/fuzz/SOURCE` as `/NAME`; headers in the root directory are found.
    pub fn compile(&self, name: &str, source: &str, flags: &[&str]) {
        let done = Command::new("gcc")
            .args(["-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-Wno-unused-result"])
            .args(["-pthread", "-I"])
            .arg(&self.root)
            .args(flags)
            .arg("-o")
            .arg(self.root.join(name))
            .arg(self.sources.join(source))
            .status()
            .expect("gcc is installed (scripts/prepare)");
        assert!(done.success(), "{source} does not compile");
    }

    /// The command that boots this root with `init` as process 1.
    pub fn command(&self, hook: &str, init: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmlinux"));
        command.arg("rootfstype=hostfs").arg(format!("rootflags={}", self.root.display()));
        command
            .arg(format!("mem={}", self.memory))
            .arg("loglevel=5")
            .arg(format!("hook={hook}"))
            .arg(format!("init={init}"));
        command.arg("--").args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Boots it and waits for its end, at most `limit`.
    #[allow(dead_code, reason = "each test takes what it needs of this module")]
    pub fn run(&self, hook: &str, init: &str, arguments: &[&str], limit: Duration) -> Run {
        self.finish(self.command(hook, init, arguments), limit)
    }

    /// Starts a [`Guest::command`] and waits for its end, at most `limit`.
    pub fn finish(&self, mut command: Command, limit: Duration) -> Run {
        let child = command.spawn().expect("vmlinux starts");
        Run::of(child, format!("{command:?}"), limit)
    }

    /// The same, but nobody reads what it writes before `pause` is over.
    #[allow(dead_code, reason = "each test takes what it needs of this module")]
    pub fn finish_unread(&self, mut command: Command, pause: Duration, limit: Duration) -> Run {
        let child = command.spawn().expect("vmlinux starts");
        thread::sleep(pause);
        Run::of(child, format!("{command:?}"), limit)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // A failed run keeps its programs, so that it can be done again by hand.
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

impl Run {
    pub fn of(mut child: Child, command: String, limit: Duration) -> Run {
        let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
        let deadline = Instant::now() + limit;
        let status = loop {
            match child.try_wait().expect("a child can be waited for") {
                Some(status) => break status.code(),
                None if Instant::now() > deadline => {
                    let _ = child.kill();
                    let _ = child.wait();
                    break None;
                }
                None => thread::sleep(Duration::from_millis(20)),
            }
        };
        let text = |reader: thread::JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned()
        };
        Run { status, stdout: text(stdout), stderr: text(stderr), command }
    }

    /// Panics unless the guest ended with `status` and the kernel found nothing wrong with itself.
    pub fn expect_survival(&self, status: i32) {
        let complaint = BROKEN.iter().find(|words| self.stderr.contains(**words));
        if self.status == Some(status) && complaint.is_none() {
            return;
        }
        let tail = |text: &str| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(60)..].join("\n")
        };
        panic!(
            "status {:?} (None: hung or killed), expected {status}\n{}\n{}\nagain: {}",
            self.status,
            tail(&self.stdout),
            tail(&self.stderr),
            self.command
        );
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // A broken pipe ends the text early.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}
