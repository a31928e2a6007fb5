//! The two machines a program runs on: this host, in namespaces that look like a fresh boot, and `vmlinux`.

use std::path::Path;
use std::process::Command;

/// Sets up the mounts that `vmlinux` makes at boot, then becomes the runner as process 1 of its PID namespace.
/// `$1` is the root, `$2` the program.
const BOOT_NATIVELY: &str = r#"
set -e
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
mount -t proc proc "$1/proc"
mount -t sysfs sysfs "$1/sys" 2>/dev/null || true
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$1/tmp"
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$1/run"
mount -t tmpfs -o mode=755 tmpfs "$1/dev"
mkdir "$1/dev/shm" "$1/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm"
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts "$1/dev/pts"
ln -s pts/ptmx "$1/dev/ptmx"
for node in null zero full random urandom tty; do
    : > "$1/dev/$node"
    mount --bind "/dev/$node" "$1/dev/$node"
done
ln -s /proc/self/fd "$1/dev/fd"
exec chroot "$1" /tests/runner "$2"
"#;

/// The program in the root directory on this host: the reference.
pub fn native(root: &Path, program: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--net", "--uts", "--ipc", "--kill-child"]);
    command.args(["sh", "-c", BOOT_NATIVELY, "boot"]).arg(root).arg(program);
    command.current_dir("/");
    command
}

/// The program in a guest booted on the root directory, with the given system call hook.
pub fn guest(root: &Path, program: &str, hook: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmlinux"));
    command.arg("rootfstype=hostfs").arg(format!("rootflags={}", root.display()));
    command.args(["mem=256m", "quiet", "strict=1"]).arg(format!("hook={hook}"));
    command.args(["init=/tests/runner", "--", program]);
    command.current_dir("/");
    command
}
