//! Debian's minimal system as the recipe `debian` makes it: sysvinit, a login, everyday programs, and the end.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use appliance::interrupt::Interrupt;
use appliance::rootfs::{self, recipe::Recipe};

use crate::lab::{APPLIANCE, Scratch, vmlinux};
use crate::terminal::Terminal;

/// The recipe's tree, which is built once, as an ext4 image. By the program, as its maintainer scripts want the `vmlinux`
/// beside it.
fn image(scratch: &Scratch) -> PathBuf {
    let path = scratch.path().join("debian.ext4");
    let mut build = Command::new(APPLIANCE);
    let output = build.args(["rootfs", "build", "--recipe", "debian", "--ext4", "400m", "--out"]).arg(&path).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = rootfs::ensure(&Recipe::load("debian").unwrap(), None, false, &Interrupt::default()).unwrap();
    let status = fs::read_to_string(tree.path("/var/lib/dpkg/status")).unwrap();
    assert!(
        status.matches("\nStatus: install ok installed\n").count() > 80 && !status.contains("unpacked"),
        "{status}"
    );
    path
}

fn clean(image: &std::path::Path) {
    let output = Command::new("/sbin/e2fsck").arg("-fn").arg(image).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn login(console: &mut Terminal) {
    console.expect("flatland login: ");
    console.send("root\r");
    console.expect("root@flatland:~# ");
}

#[test]
fn minbase_boots_to_a_login_installs_and_powers_off() {
    let scratch = Scratch::new("debian");
    let image = image(&scratch);
    let program = vmlinux();
    let disk = format!("ubd0={}", image.display());
    let line = [program.to_str().unwrap(), &disk, "rw", "mem=512m", "loglevel=4", "init=/sbin/init"];
    let mut console = Terminal::start(&line);
    console.expect("INIT: Entering runlevel: 2");
    login(&mut console);
    for (command, answer) in [
        ("tty; echo $SHELL-$-", "/dev/console\r\n/bin/bash-himBHs"),
        ("cat /proc/1/comm; runlevel", "init\r\nN 2"),
        ("dpkg -l | grep -vc ^ii; dpkg --audit && echo sound-$((1))", "5\r\n"),
        ("dpkg --audit && echo sound-$((1))", "sound-1"),
        ("apt-get --version | head -1", "apt 2."),
        ("ps -o comm= -p $$; top -b -n1 | grep -c Tasks", "bash\r\n1"),
        ("mount | head -1; df / | tail -1 | cut -d' ' -f1", "/dev/ubda on / type ext4 (rw,relatime)\r\n/dev/ubda"),
        ("stat -c %U:%G:%a /usr/bin/chage /tmp", "root:shadow:2755\r\nroot:root:1777"),
        ("useradd -m -s /bin/bash eve && su - eve -c 'id -un; pwd; umask'", "eve\r\n/home/eve\r\n0022"),
        ("su eve -c 'cat /etc/shadow' ; echo status $?", "Permission denied\r\nstatus 1"),
        ("ip -br link show lo", "UNKNOWN"),
    ] {
        console.send(&format!("{command}\r"));
        console.expect(answer);
        console.expect("# ");
    }
    // A package that dpkg makes, installs and removes there.
    console.send("mkdir -p p/DEBIAN p/opt; echo hi > p/opt/hi; printf 'Package: hi\\nVersion: 1\\nArchitecture: all\\nMaintainer: me\\nDescription: x\\n' > p/DEBIAN/control\r");
    console.expect("# ");
    console.send(
        "dpkg-deb -b p hi.deb && apt-get install -qq -y ./hi.deb && cat /opt/hi && dpkg -P hi; ls /opt | wc -l\r",
    );
    console.expect("Setting up hi (1)");
    console.expect("hi\r\n");
    console.expect("Removing hi");
    console.expect("0\r\n");
    // From a shell that waits for input, so that it hears of its terminal's end.
    console.send("(sleep 0.5; poweroff) &\r");
    console.expect("Will now halt.");
    assert_eq!(console.end(), Some(0));
    clean(&image);

    // The same image again, with a shell as init and with another end.
    let mut console = Terminal::start(&[program.to_str().unwrap(), &disk, "rw", "mem=512m", "quiet", "init=/bin/bash"]);
    console.expect("# ");
    console.send("getent passwd eve; mount | grep -c proc; exit 5\r");
    console.expect("/home/eve:/bin/bash\r\n");
    assert_eq!(console.end(), Some(5));
    let mut console = Terminal::start(&line);
    login(&mut console);
    console.send("(sleep 0.5; reboot) &\r");
    console.expect("Will now restart.");
    assert_eq!(console.end(), Some(0));
    clean(&image);
}
