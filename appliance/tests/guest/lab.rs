//! Guests and host programs for a test: started, read, waited for, and gone with the test.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use appliance::bench::chroot;
use appliance::guest::{self, Boot, Hook, Nic};
use appliance::interrupt::Interrupt;
use appliance::process::{self, Ending, Process};
use appliance::rootfs::{self, Rootfs, recipe::Recipe};
use appliance::wiring::{TAP_GUEST, TAP_HOST, Wiring};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The program under test.
pub const APPLIANCE: &str = env!("CARGO_BIN_EXE_appliance");

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);

/// The tun device is a node of the test's own, for the host's may have any mode.
const UNPRIVILEGED: &str = "mount -t tmpfs -o mode=755 tmpfs /dev/net && mknod /dev/net/tun c 10 200 && \
                            chmod \"$1\" /dev/net/tun && shift && \
                            exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all -- \"$@\"";

/// There is one tap per process, and one root directory to build.
static TURN: Mutex<()> = Mutex::new(());

/// The kernel to boot.
pub fn vmlinux() -> PathBuf {
    guest::find_vmlinux(Some(&Path::new(APPLIANCE).with_file_name("vmlinux")))
        .unwrap_or_else(|error| panic!("{error:#} (`cargo build -p kernel` before `cargo test`, as scripts/test does)"))
}

/// The root directory of Debian's network tools.
pub fn netbench() -> Rootfs {
    let recipe = Recipe::load("netbench").unwrap();
    rootfs::ensure(&recipe, None, false, &Interrupt::default()).unwrap_or_else(|error| panic!("{error:#}"))
}

/// A guest without a network.
pub fn isolated(hook: Hook, argv: &[&str]) -> Running {
    let mut boot = Boot::new(&netbench().dir, words(argv));
    boot.hook = Some(hook);
    start_guest(Command::new(vmlinux()), &boot)
}

/// Boots `boot` with the `command` that runs vmlinux.
pub fn start_guest(mut command: Command, boot: &Boot) -> Running {
    command.args(boot.arguments());
    Running::start("guest", command)
}

/// Strings of a command line.
pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A host network of the test's own with the guest's tap in it. Whoever has one has it alone.
pub struct Lab {
    wiring: Wiring,
    rootfs: Rootfs,
    _turn: MutexGuard<'static, ()>,
}

impl Lab {
    pub fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test makes network namespaces and a tap: run it as root");
        // A test that failed while it had its turn leaves nothing that another would trip over.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let rootfs = netbench();
        let wiring = Wiring::set_up(&rootfs.dir).unwrap_or_else(|error| panic!("{error:#}"));
        Self { wiring, rootfs, _turn: turn }
    }

    /// A guest with eth0 on the tap and `argv` as init.
    pub fn guest(&self, hook: Hook, argv: &[&str]) -> Running {
        let mut boot = Boot::new(&self.rootfs.dir, words(argv));
        boot.hook = Some(hook);
        boot.nic = Some(self.wiring.nic());
        let mut command = self.wiring.host().command();
        command.arg(vmlinux());
        start_guest(command, &boot)
    }

    /// The same with a shell script as init.
    pub fn guest_script(&self, hook: Hook, script: &str) -> Running {
        self.guest(hook, &["/bin/bash", "-c", script])
    }

    /// A program of the same root directory on the host, at the other end of the tap.
    pub fn host(&self, argv: &[&str]) -> Running {
        let command = chroot::command(self.wiring.host(), None, &self.rootfs.dir, &words(argv));
        Running::start(argv[0], command)
    }

    /// A command that runs `vmlinux` in the host's namespace.
    pub fn vmlinux_command(&self) -> Command {
        let mut command = self.wiring.host().command();
        command.arg(vmlinux());
        command
    }

    /// A command that runs its arguments in the host's namespace without any privilege, and with a /dev/net/tun of
    /// that `mode`.
    pub fn nobody(&self, mode: &str) -> Command {
        let mut command = self.wiring.host().command();
        command.args(["unshare", "--mount", "--propagation", "private", "sh", "-c", UNPRIVILEGED, "sh", mode]);
        command
    }

    /// The guest's interface.
    pub fn nic(&self) -> Nic {
        self.wiring.nic()
    }

    pub fn rootfs(&self) -> &Rootfs {
        &self.rootfs
    }

    /// Runs `work` on a thread that is in the host's namespace, so that its sockets are. A thread of its own, since
    /// the namespace's removal kills processes whose main thread is inside, and tests may run on that.
    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(Path::new("/run/netns").join(self.wiring.host().name())).unwrap();
        let enter = || {
            use std::os::fd::AsFd;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        };
        std::thread::scope(|scope| scope.spawn(enter).join().unwrap())
    }

    /// Listens on the host's end of the tap.
    pub fn listen(&self, port: u16) -> TcpListener {
        self.inside(|| TcpListener::bind((TAP_HOST, port)).unwrap())
    }

    /// Waits until `server`, a program on the host, listens on `port`.
    pub fn wait_for_listener(&self, server: &Running, port: u16) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.inside(|| TcpStream::connect((TAP_HOST, port))).is_err() {
            assert!(server.is_running() && Instant::now() < deadline, "nobody on port {port}; {}", server.said());
            std::thread::sleep(POLL);
        }
    }

    /// Connects to the guest, who may still be about to boot and listen.
    pub fn connect(&self, port: u16, guest: &Running) -> TcpStream {
        let address = SocketAddrV4::new(TAP_GUEST.parse::<Ipv4Addr>().unwrap(), port).into();
        let deadline = Instant::now() + Duration::from_secs(20);
        self.inside(|| {
            loop {
                match TcpStream::connect_timeout(&address, Duration::from_secs(2)) {
                    Ok(stream) => return stream,
                    Err(error) if Instant::now() >= deadline || !guest.is_running() => {
                        panic!("cannot connect to the guest's port {port}: {error}; {}", guest.said())
                    }
                    Err(_) => std::thread::sleep(POLL),
                }
            }
        })
    }
}

/// A started program whose output goes to files; dropping it ends it.
pub struct Running {
    /// As one would type it, for messages.
    line: String,
    process: Process,
    scratch: Scratch,
}

/// An ended program.
pub struct Ended {
    pub ending: Ending,
    pub stdout: String,
    pub stderr: String,
}

impl Running {
    pub fn start(name: &str, mut command: Command) -> Self {
        let scratch = Scratch::new("output");
        let file = |name: &str| File::create(scratch.path().join(name)).unwrap();
        command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
        let line = process::describe(&command);
        let process = Process::spawn(name, command).unwrap_or_else(|error| panic!("{error:#}"));
        Self { line, process, scratch }
    }

    pub fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(self.process.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    pub fn stdout(&self) -> String {
        self.scratch.read("stdout")
    }

    /// Everything so far, for messages.
    pub fn said(&self) -> String {
        format!("{}\nstdout: {}\nstderr: {}", self.line, self.stdout(), self.scratch.read("stderr"))
    }

    /// Waits until stdout holds `text`.
    pub fn expect(&self, text: &str) -> &Self {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.stdout().contains(text) {
            assert!(self.is_running(), "ended without {text:?}; {}", self.said());
            assert!(Instant::now() < deadline, "no {text:?} within 20 s; {}", self.said());
            std::thread::sleep(POLL);
        }
        self
    }

    /// Waits for the end, which is a kill when it takes longer than `seconds`.
    pub fn finish(self, seconds: u64) -> Ended {
        let (ending, _) = self.process.wait(Duration::from_secs(seconds), &Interrupt::default()).unwrap();
        Ended { ending, stdout: self.scratch.read("stdout"), stderr: self.scratch.read("stderr") }
    }

    /// The output of a program that ends well in that time.
    pub fn succeed(self, seconds: u64) -> String {
        let line = self.line.clone();
        let ended = self.finish(seconds);
        assert_eq!(ended.ending, Ending::Exited(0), "{line}\nstdout: {}\nstderr: {}", ended.stdout, ended.stderr);
        ended.stdout
    }
}

/// A folder of the test's own, removed with it.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(purpose: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("guest-{purpose}-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The text of a file; a terminal's line ends are the same as a pipe's.
    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.0.join(name)).unwrap_or_default()).replace("\r\n", "\n")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}
