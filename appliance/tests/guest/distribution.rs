//! A distribution's way of starting: an init that runs start scripts and ends in a login, and the ends of a machine.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use appliance::guest::Boot;
use appliance::interrupt::Interrupt;
use appliance::process::Ending;
use appliance::rootfs::{self, recipe::Recipe};

use crate::lab::{Scratch, netbench, start_guest, vmlinux, words};
use crate::terminal::Terminal;

const INITTAB: &str = "\
::sysinit:/etc/init.d/rcS
::respawn:/sbin/getty -L 0 console vt100
::shutdown:/etc/init.d/rcK
::ctrlaltdel:/sbin/reboot
";

/// As a small distribution starts: mounts on top of what the kernel has mounted, a host name, a service.
const START: &str = "\
#!/bin/sh
set -e
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
hostname -F /etc/hostname
ifconfig lo up
syslogd -O /run/messages
echo start scripts done
";

const STOP: &str = "#!/bin/sh\necho stop scripts done\n";

/// The prompt takes host name and directory; `\\$` must become a number sign for root.
const PROFILE: &str = "\
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PS1='\\h:\\w\\$ '
umask 027
for script in /etc/profile.d/*.sh; do [ -r \"$script\" ] && . \"$script\"; done
";

/// A tree of busybox alone that starts as Alpine's does.
fn small_distribution(scratch: &Scratch) -> PathBuf {
    let dir = scratch.path().join("root");
    let recipe = Recipe::load("minimal").unwrap();
    rootfs::ensure(&recipe, Some(&dir), false, &Interrupt::default()).unwrap_or_else(|error| panic!("{error:#}"));
    let etc = dir.join("etc");
    fs::create_dir_all(etc.join("init.d")).unwrap();
    fs::create_dir_all(etc.join("profile.d")).unwrap();
    fs::create_dir_all(dir.join("root")).unwrap();
    for (name, text, mode) in [
        ("inittab", INITTAB, 0o644),
        ("init.d/rcS", START, 0o755),
        ("init.d/rcK", STOP, 0o755),
        ("profile", PROFILE, 0o644),
        ("profile.d/greeting.sh", "echo profile says $((6 * 7))\n", 0o644),
        ("hostname", "flat\n", 0o644),
        ("issue", "A small distribution\n", 0o644),
        ("securetty", "console\n", 0o644),
        ("passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644),
        ("shadow", "root::19000:0:99999:7:::\n", 0o600),
        ("group", "root:x:0:\n", 0o644),
    ] {
        let path = etc.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
    dir
}

#[test]
fn busybox_init_starts_scripts_and_a_login_and_powers_off() {
    let scratch = Scratch::new("distribution");
    let dir = small_distribution(&scratch);
    let mut boot = Boot::new(&dir, words(&["/sbin/init"]));
    boot.writable = true;
    let program = vmlinux();
    let mut line = vec![program.to_str().unwrap().to_owned()];
    line.extend(boot.arguments().into_iter().map(|word| word.into_string().unwrap()));
    let mut console = Terminal::start(&line.iter().map(String::as_str).collect::<Vec<_>>());
    console.expect("start scripts done");
    console.expect("A small distribution");
    console.expect("flat login: ");
    console.send("root\r");
    console.expect("profile says 42");
    console.expect("flat:~# ");
    for (command, answer) in [
        ("pwd; umask", "/root\r\n0027"),
        ("tty", "/dev/console"),
        ("cat /proc/1/comm", "init"),
        ("logger from-$((40 + 2)); sleep 0.2; grep -o from-42 /run/messages", "from-42"),
        ("cd /tmp; grep -c ' /proc ' /proc/mounts", "2"),
    ] {
        console.send(&format!("{command}\r"));
        console.expect(answer);
        console.expect("# ");
    }
    // A login that ends is followed by another.
    console.send("exit\r");
    console.expect("flat login: ");
    console.send("root\r");
    console.expect("flat:~# ");
    console.send("poweroff\r");
    console.expect("stop scripts done");
    assert_eq!(console.end(), Some(0));
}

#[test]
fn a_machine_ends_as_it_is_told() {
    for (command, status) in [
        ("busybox reboot -f", 0),
        ("busybox halt -f", 0),
        ("busybox poweroff -f", 0),
        ("exit 7", 7),
        ("(sleep 100 & sleep 100 & busybox poweroff -f)", 0),
    ] {
        let boot = Boot::new(&netbench().dir, words(&["/bin/sh", "-c", command]));
        let ended = start_guest(Command::new(vmlinux()), &boot).finish(20);
        assert_eq!(ended.ending, Ending::Exited(status), "{command}: {}", ended.stderr);
    }
}
