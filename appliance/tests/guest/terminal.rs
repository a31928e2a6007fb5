//! A shell at a prompt, through a pseudoterminal, as somebody at `appliance shell` sees it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use crate::lab::{APPLIANCE, netbench};

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
const PROMPT: &str = "root@guest:";

/// A program on a pseudoterminal of its own.
pub struct Terminal {
    child: Child,
    master: File,
    slave: File,
    screen: Arc<Mutex<Vec<u8>>>,
    /// How much of the screen has been looked at.
    seen: usize,
}

impl Terminal {
    pub fn start(words: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).and_then(|()| unlockpt(&master)).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let path = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
        // setsid(1) makes the terminal the controlling one of its session.
        let open = || {
            use std::os::unix::fs::OpenOptionsExt;
            let no_control = OpenptFlags::NOCTTY.bits().cast_signed();
            OpenOptions::new().read(true).write(true).custom_flags(no_control).open(path).unwrap()
        };
        tcsetwinsize(&master, Winsize { ws_row: 33, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).args(words).env("TERM", "vt100");
        let child = command.stdin(open()).stdout(open()).stderr(open()).spawn().unwrap();
        let (master, screen) = (File::from(master), Arc::new(Mutex::new(Vec::new())));
        let (mut reader, writer) = (master.try_clone().unwrap(), screen.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                writer.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { child, master, slave: open(), screen, seen: 0 }
    }

    pub fn send(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until `text` appears after what was expected before, and returns how long that took.
    pub fn expect(&mut self, text: &str) -> Duration {
        let started = Instant::now();
        loop {
            let screen = self.screen.lock().unwrap().clone();
            let new = &screen[self.seen..];
            if let Some(at) = new.windows(text.len()).position(|window| window == text.as_bytes()) {
                self.seen += at + text.len();
                return started.elapsed();
            }
            assert!(started.elapsed() < PATIENCE, "no {text:?} in {:?}", String::from_utf8_lossy(new));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Types a command and waits for its `answer` and the next prompt.
    fn command(&mut self, line: &str, answer: &str) {
        self.send(&format!("{line}\r"));
        self.expect(answer);
        self.expect(PROMPT);
    }

    /// Waits for the program's end and returns its exit status.
    pub fn end(mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end: {:?}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A test that failed: the appliance removes what it made when it is told to end. setsid(1) has become it.
        if let Ok(None) = self.child.try_wait() {
            _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            _ = self.child.wait();
        }
    }
}

/// What the appliances that this test started have on the host.
fn traces(namespace: &str) -> bool {
    Path::new("/run/netns").join(namespace).symlink_metadata().is_ok()
}

/// The host's namespace from the line that `appliance shell` begins with.
fn namespace(screen: &str) -> String {
    let name = screen.split("namespace ").nth(1).and_then(|rest| rest.split_whitespace().next());
    name.unwrap_or_else(|| panic!("no namespace in {screen}")).to_owned()
}

fn at_a_prompt(hook: &str) {
    assert!(rustix::process::geteuid().is_root(), "`appliance shell` makes a tap here: run this test as root");
    netbench();
    let mut shell = Terminal::start(&[APPLIANCE, "shell", "--hook", hook]);
    let before = format!("{:?}", tcgetattr(shell.slave.as_fd()).unwrap());
    shell.expect("in namespace ");
    let wait = shell.expect(PROMPT);
    assert!(wait < Duration::from_secs(3), "the prompt took {wait:?}");
    let namespace = namespace(&shell.text());
    assert!(traces(&namespace));

    shell.command("echo $((40 + 2)) answers", "42 answers");
    shell.command("ls /", "proc");
    shell.command("stty size", "33 99");
    shell.command("tty; [ -t 0 ] && echo a-$((1))-terminal", "a-1-terminal");
    // The word erased, the character erased, the line killed.
    shell.command("echo wrong\x17right\x7ft $((1))", "right 1");
    shell.command("echo nothing\x15echo $((5 + 5))", "\n10");

    shell.send("sleep 100\r");
    std::thread::sleep(Duration::from_millis(300));
    let asked = Instant::now();
    shell.send("\x03");
    shell.expect(PROMPT);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    shell.command("echo status $?", "status 130");

    // What is typed before cat runs, readline still gets.
    shell.send("cat\r");
    std::thread::sleep(Duration::from_millis(300));
    shell.send("a line\r");
    shell.expect("a line\r\na line\r\n");
    shell.send("\x04");
    shell.expect(PROMPT);

    // Job control: stopped, listed, continued, ended.
    shell.send("sleep 100\r");
    std::thread::sleep(Duration::from_millis(300));
    shell.send("\x1a");
    shell.expect("Stopped");
    shell.expect(PROMPT);
    shell.command("jobs", "sleep 100");
    shell.command("bg; kill %1; wait %1; echo ended $?", "ended 143");
    shell.command("sleep 0.2 & wait; echo back$((0))", "back0");

    tcsetwinsize(&shell.master, Winsize { ws_row: 20, ws_col: 70, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    shell.command("stty size", "20 70");

    shell.send("(exit 6)\r");
    shell.expect(PROMPT);
    shell.send("\x04");
    let (slave, screen) = (shell.slave.try_clone().unwrap(), shell.screen.clone());
    assert_eq!(shell.end(), Some(6), "{}", String::from_utf8_lossy(&screen.lock().unwrap()));
    assert!(!traces(&namespace), "{namespace} was left behind");
    assert_eq!(format!("{:?}", tcgetattr(slave.as_fd()).unwrap()), before, "the terminal's mode was left changed");
}

#[test]
fn a_prompt_under_seccomp() {
    at_a_prompt("seccomp");
}

#[test]
fn a_prompt_under_patch() {
    at_a_prompt("patch");
}

#[test]
fn busybox_at_a_prompt() {
    let mut shell = Terminal::start(&[APPLIANCE, "shell", "--", "busybox", "ash"]);
    shell.expect("# ");
    shell.send("echo $((6 * 7))\r");
    shell.expect("42");
    shell.expect("# ");
    shell.send("sleep 100\r");
    std::thread::sleep(Duration::from_millis(300));
    shell.send("\x03");
    shell.expect("# ");
    shell.send("echo status $?\r");
    shell.expect("status 130");
    shell.expect("# ");
    shell.send("\x04");
    assert_eq!(shell.end(), Some(0));
}
