//! A distribution of Alpine's kind, busybox with musl built from source (`scripts/alpine-like`), started by User-Mode
//! Linux's published command line: once as one static program in an image that `rootfs import` wrote, once with musl's
//! loader in an image made by dd, mkfs.ext4, mount and tar.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::lab::{APPLIANCE, Scratch, vmlinux};
use crate::terminal::Terminal;

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The tree as a tar archive; busybox is built by the first call on a machine.
fn archive(kind: &str, folder: &Path) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/alpine-like");
    let tar = folder.join("alpine.tar");
    run(Command::new(script).arg(kind).arg(&tar));
    tar
}

/// A host network of its own, in which the names and addresses of the published command line are free.
struct Host(String);

impl Host {
    fn new(kind: &str) -> Self {
        let name = format!("flatland-alpine-{kind}-{}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]));
        let host = Self(name);
        run(&mut host.command("ip", &["link", "set", "lo", "up"]));
        host
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, program]).args(arguments);
        command
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        _ = Command::new("ip").args(["netns", "del", &self.0]).output();
    }
}

/// As the documents of User-Mode Linux have it: an empty file, mkfs, a loop mount, tar.
const BY_HAND: &str = "set -e
dd if=/dev/zero of=alpine.ext4 bs=1M count=0 seek=64 status=none
mkfs.ext4 -q -F alpine.ext4
mkdir mnt
mount -o loop alpine.ext4 mnt
trap 'umount mnt' EXIT
tar -xpf alpine.tar -C mnt";

/// The same for a machine without loop devices: mke2fs fills the image itself.
const WITHOUT_LOOP: &str = "set -e
mkdir tree
tar -xpf alpine.tar -C tree
rm -f alpine.ext4
mke2fs -q -t ext4 -d tree alpine.ext4 64m";

fn sound(image: &Path) {
    let output = Command::new("/sbin/e2fsck").arg("-fn").arg(image).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Boots the image in `folder`, looks around, and powers off.
fn session(host: &Host, folder: &Path) {
    if !folder.join("vmlinux").exists() {
        symlink(vmlinux(), folder.join("vmlinux")).unwrap();
    }
    // As published, from the folder with the image.
    let line = "cd \"$0\" && exec ./vmlinux eth0=tuntap,tap100,0e:fd:0:0:0:1,172.17.0.1 ubd0=./alpine.ext4 rw mem=1024m \
                loglevel=8 init=/sbin/init";
    let folder = folder.to_str().unwrap();
    let mut console = Terminal::start(&["ip", "netns", "exec", &host.0, "sh", "-c", line, folder]);
    console.expect("run /sbin/init as init process");
    console.expect(" * networking: start [ ok ]");
    console.expect("A small Linux of busybox and musl");
    console.expect("alpine-like login: ");
    console.send("root\r");
    console.expect("This is a guest of Flatland");
    console.expect("alpine-like:~# ");
    for (command, answer) in [
        ("pwd; umask; tty; echo $LANG", "/root\r\n0022\r\n/dev/console\r\nC.UTF-8"),
        ("cat /proc/1/comm; readlink /proc/1/exe", "init\r\n/bin/busybox"),
        ("ifconfig eth0 | grep -o 'HWaddr.*'", "HWaddr 0E:FD:00:00:00:01"),
        ("ip route | head -1", "default via 172.17.0.1 dev eth0"),
        ("ping -c 1 -W 5 172.17.0.1 | grep -o '[0-9]*% packet loss'", "0% packet loss"),
        ("logger from-$((40 + 2)); sleep 0.2; grep -o from-42 /var/log/messages", "from-42"),
        ("mount | grep ' / '; df / | tail -1 | cut -d' ' -f1", "/dev/ubda on / type ext4 (rw"),
        ("ps | grep -c '[c]rond'; su nobody -s /bin/sh -c 'id -u'", "1\r\n65534"),
        ("for i in 1 2 3; do echo line $i; done | tac | sha256sum | cut -c1-8", "0920c992"),
    ] {
        console.send(&format!("{command}\r"));
        console.expect(answer);
        console.expect("alpine-like:~# ");
    }
    // A transfer each way: the host's sums must be the guest's.
    console.send("dd if=/dev/urandom of=/root/sent bs=64k count=128 status=none; nc -l -p 7000 < /root/sent > /root/got & sleep 0.3; echo listening-$((1))\r");
    console.expect("listening-1");
    console.expect("alpine-like:~# ");
    let transfer =
        "exec 3<>/dev/tcp/172.17.0.2/7000; head -c 8388608 /dev/zero >&3 & head -c 8388608 <&3 | sha256sum; wait";
    let received = run(&mut host.command("bash", &["-c", transfer]));
    let sum = String::from_utf8_lossy(&received.stdout)[..64].to_owned();
    console.send("wait; sha256sum < /root/sent; sha256sum < /root/got; wc -c < /root/got\r");
    console.expect(&sum);
    console.expect("2daeb1f36095b44b318410b3f4e8b5d989dcc7bb023d1426c492dab0a3053e74");
    console.expect("8388608");
    console.expect("alpine-like:~# ");
    console.send("poweroff\r");
    console.expect(" * mounts: stop [ ok ]");
    assert_eq!(console.end(), Some(0));
}

fn published_command_line(kind: &str, image: impl FnOnce(&Path)) {
    assert!(rustix::process::geteuid().is_root(), "this test makes a network namespace and a tap: run it as root");
    let scratch = Scratch::new("alpine");
    archive(kind, scratch.path());
    image(scratch.path());
    let host = Host::new(kind);
    session(&host, scratch.path());
    sound(&scratch.path().join("alpine.ext4"));
}

#[test]
fn static_busybox_from_an_imported_image() {
    published_command_line("static", |folder| {
        let mut import = Command::new(APPLIANCE);
        import.current_dir(folder).args(["rootfs", "import", "alpine.tar", "--ext4", "64m"]);
        run(&mut import);
    });
}

#[test]
fn musl_loader_from_an_image_made_by_hand() {
    published_command_line("dynamic", |folder| {
        let by_hand = Command::new("sh").current_dir(folder).args(["-c", BY_HAND]).output().unwrap();
        if !by_hand.status.success() {
            let said = String::from_utf8_lossy(&by_hand.stderr);
            eprintln!("no loop mount here ({}): the image is made by mke2fs -d", said.trim());
            run(Command::new("sh").current_dir(folder).args(["-c", WITHOUT_LOOP]));
        }
        fs::remove_file(folder.join("alpine.tar")).unwrap();
    });
}
