//! vhost-user peers that others wrote, from Debian's packages: DPDK's testpmd on either side, QEMU's virtio-net through
//! `appliance switch`, User-Mode Linux's virtio_uml. They run on the host, with the loader and the libraries of a root
//! directory of their own; hugepages, /dev/kvm and modules of the host's are not needed.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use appliance::interrupt::Interrupt;
use appliance::rootfs::{self, Rootfs, recipe::Recipe};

use crate::lab::{APPLIANCE, Running, netbench};
use crate::vhost_user::{Sockets, guest, wait_for};

const LIMIT: u64 = 90;
/// Machines in software emulation take their time to boot beside other tests.
const EMULATED: u64 = 240;
const GUEST: &str = "10.66.0.1";
/// The guest asks until it is answered, then a few hundred times: small and large. At the end ping waits twice its longest time
/// only, which is too short where the host gives its processor to others: it may try three times.
const PINGS: &str = "for i in $(seq 100); do ping -c 1 -W 1 10.66.0.2 >/dev/null && break; done
                     steadily() {
                         for i in 1 2 3; do
                             said=$(ping -i 0.01 -q \"$@\" 10.66.0.2) && [[ $said == *' 0% packet loss'* ]] && break
                         done
                         echo \"$said\"
                     }
                     steadily -c 200; steadily -c 50 -s 1400";
/// Where a root has its libraries, and the loader among them.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const LOADER: &str = "ld-linux-x86-64.so.2";

fn root(recipe: &str) -> Rootfs {
    let path = format!("{}/../configs/rootfs/{recipe}.toml", env!("CARGO_MANIFEST_DIR"));
    let built = rootfs::ensure(&Recipe::load(&path).unwrap(), None, false, &Interrupt::default());
    built.unwrap_or_else(|error| panic!("{error:#}"))
}

/// A program of `root`, run on the host.
fn program(root: &Rootfs, path: &str) -> Command {
    let libraries = root.dir.join(LIBRARIES);
    let mut command = Command::new(libraries.join(LOADER));
    command.arg("--library-path").arg(&libraries).arg(root.dir.join(path));
    command
}

/// testpmd with one port; it answers ARP and ICMP echo requests for any address.
fn testpmd(name: &str, port: &str) -> Running {
    let root = root("dpdk");
    let mut command = program(&root, "usr/bin/dpdk-testpmd");
    command.args(["--no-huge", "-m", "256", "--no-pci", "--no-telemetry", "-l", "0-1"]);
    command.arg(format!("--file-prefix=flatland-{name}-{}", std::process::id()));
    for library in ["bus_vdev", "mempool_ring", "net_vhost", "net_virtio"] {
        command.arg("-d").arg(root.dir.join(LIBRARIES).join(format!("librte_{library}.so.23")));
    }
    command.args(["--vdev", port, "--", "--forward-mode=icmpecho", "--auto-start"]);
    command.args(["--total-num-mbufs=4096", "--stats-period", "1"]);
    Running::start("testpmd", command)
}

fn all_answered(guest: Running) {
    let report = guest.succeed(LIMIT);
    for count in ["200 received, 0% packet loss", "50 received, 0% packet loss"] {
        assert!(report.contains(count), "{report}");
    }
}

#[test]
fn dpdk_is_the_device() {
    let sockets = Sockets::new();
    let testpmd = testpmd("device", &format!("net_vhost0,iface={}", sockets.path("a").display()));
    all_answered(guest(GUEST, &sockets.link("a", ""), PINGS));
    assert!(testpmd.is_running(), "{}", testpmd.said());
}

#[test]
fn dpdk_is_the_driver() {
    let sockets = Sockets::new();
    let guest = guest(GUEST, &sockets.link("a", ",,server,backend"), PINGS);
    wait_for(&sockets.path("a"));
    let path = sockets.path("a");
    let testpmd = testpmd("driver", &format!("net_virtio_user0,path={},mac=02:00:00:00:66:02", path.display()));
    all_answered(guest);
    assert!(testpmd.is_running(), "{}", testpmd.said());
}

/// An initial RAM disk: busybox, modules and a script (the newc format of Linux's `initramfs` buffer specification).
struct InitRam {
    archive: Vec<u8>,
    inodes: u32,
}

impl InitRam {
    fn new() -> InitRam {
        let mut ram = InitRam { archive: Vec::new(), inodes: 0 };
        for folder in ["bin", "dev", "lib", "mnt", "proc", "sys", "tmp"] {
            ram.entry(folder, 0o040_755, &[]);
        }
        let busybox = netbench().dir.join("usr/bin/busybox");
        ram.entry("bin/busybox", 0o100_755, &fs::read(busybox).unwrap());
        ram
    }

    fn entry(&mut self, name: &str, mode: u32, contents: &[u8]) {
        self.inodes += 1;
        let fields = [self.inodes, mode, 0, 0, 1, 0, contents.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        let header: String = fields.iter().map(|field| format!("{field:08x}")).collect();
        write!(self.archive, "070701{header}{name}\0").unwrap();
        self.pad();
        self.archive.extend_from_slice(contents);
        self.pad();
    }

    fn pad(&mut self) {
        self.archive.resize(self.archive.len().next_multiple_of(4), 0);
    }

    /// Adds the modules, and an init that loads them in order, sets `eth0` up and runs `script`.
    fn finish(mut self, path: &Path, modules: &[PathBuf], script: &str) {
        let mut init = String::from(
            "#!/bin/busybox sh\nbb=/bin/busybox\n$bb mount -t proc proc /proc\n$bb mount -t sysfs sysfs /sys\n\
             $bb mount -t devtmpfs dev /dev\n",
        );
        for module in modules {
            let name = format!("lib/{}", module.file_name().unwrap().to_str().unwrap());
            self.entry(&name, 0o100_644, &fs::read(module).unwrap());
            init.push_str(&format!("$bb insmod /{name}\n"));
        }
        init.push_str("$bb ifconfig eth0 10.66.0.2 netmask 255.255.255.0 up\n");
        init.push_str(&format!("{script}\n$bb poweroff -f\n"));
        self.entry("init", 0o100_755, init.as_bytes());
        self.entry("TRAILER!!!", 0, &[]);
        File::create(path).unwrap().write_all(&self.archive).unwrap();
    }
}

/// The folder of the only kernel version below `folder`.
fn only_version(folder: &Path) -> PathBuf {
    let mut found = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let version = found.next().unwrap();
    assert_eq!(found.next(), None, "one kernel version");
    version
}

#[test]
fn qemu_talks_through_our_switch() {
    let (root, sockets) = (root("qemu"), Sockets::new());
    let modules = only_version(&root.dir.join("usr/lib/modules"));
    let names = [
        "drivers/virtio/virtio",
        "drivers/virtio/virtio_ring",
        "drivers/virtio/virtio_pci_legacy_dev",
        "drivers/virtio/virtio_pci_modern_dev",
        "drivers/virtio/virtio_pci",
        "net/core/failover",
        "drivers/net/net_failover",
        "drivers/net/virtio_net",
    ];
    let paths = names.map(|name| modules.join(format!("kernel/{name}.ko")));
    let script = "$bb head -c 8388608 /dev/urandom >/tmp/noise\n\
                  until $bb nc 10.66.0.1 5000 </tmp/noise; do $bb sleep 0.1; done\n\
                  echo SENT: $($bb sha256sum </tmp/noise)\n\
                  until $bb nc 10.66.0.1 5001 >/tmp/noise && [ -s /tmp/noise ]; do $bb sleep 0.1; done\n\
                  echo RECEIVED: $($bb sha256sum </tmp/noise)";
    InitRam::new().finish(&sockets.path("initrd"), &paths, script);
    let kernel = format!("boot/vmlinuz-{}", modules.file_name().unwrap().to_str().unwrap());

    let mut command = Command::new(APPLIANCE);
    command.args(["switch", "--idle", "sleep"]);
    command.args(["a", "b"].map(|name| format!("vhost-user,{}", sockets.link(name, ""))));
    let switch = Running::start("switch", command);
    switch.expect("ready:");
    let script = "nc -l -p 5000 | sha256sum
                  head -c 8388608 /dev/urandom >/tmp/noise; nc -N -l -p 5001 </tmp/noise; sha256sum </tmp/noise";
    let guest = guest(GUEST, &sockets.link("a", ""), script);

    let mut command = program(&root, "usr/bin/qemu-system-x86_64");
    command.env("QEMU_MODULE_DIR", root.dir.join(LIBRARIES).join("qemu"));
    for folder in ["usr/share/qemu", "usr/share/seabios"] {
        command.arg("-L").arg(root.dir.join(folder));
    }
    command
        .args("-accel tcg -m 256 -object memory-backend-memfd,id=m,size=256M,share=on -numa node,memdev=m".split(' '));
    command.arg("-chardev").arg(format!("socket,id=c,path={}", sockets.path("b").display()));
    // With MSI-X, and without KVM, this QEMU dereferences a null pointer as soon as the back-end is vhost-user.
    command.args("-netdev vhost-user,id=n,chardev=c -device virtio-net-pci,netdev=n,romfile=,vectors=0".split(' '));
    command.arg("-kernel").arg(root.dir.join(kernel)).arg("-initrd").arg(sockets.path("initrd"));
    command.args([
        "-append",
        // On a busy host the emulated timer may be late for the check.
        "console=ttyS0 quiet panic=-1 no_timer_check",
        "-display",
        "none",
        "-serial",
        "stdio",
        "-monitor",
        "none",
    ]);
    command.arg("-no-reboot");
    let console = Running::start("qemu", command).succeed(EMULATED);
    let sum = |label: &str| console.split(label).nth(1).and_then(|rest| rest.split_whitespace().next());
    let report = guest.succeed(LIMIT);
    let sums: Vec<&str> = report.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(sums.len(), 2, "{report}");
    assert_eq!([sum("SENT: "), sum("RECEIVED: ")], [Some(sums[0]), Some(sums[1])], "{console}");
}

/// A program that executes itself anew, through /proc/self/exe, cannot be started by another loader: it gets its own root.
const IN_ROOT: &str = "root=$1 sockets=$2 files=$3; shift 3; cd \"$root\" && mkdir -p proc tmp dev && \
                       mount -t proc proc proc && mount -t tmpfs tmpfs tmp && mkdir tmp/sockets tmp/files && \
                       mount --bind \"$sockets\" tmp/sockets && mount --bind \"$files\" tmp/files && \
                       mount --rbind /dev dev && exec chroot . \"$@\"";

#[test]
fn user_mode_linux_talks_to_a_guest() {
    let (root, sockets) = (root("uml"), Sockets::new());
    let modules = only_version(&root.dir.join("usr/lib/uml/modules"));
    let names = ["net/core/failover", "drivers/net/net_failover", "drivers/net/virtio_net"];
    let paths = names.map(|name| modules.join(format!("kernel/{name}.ko")));
    // iperf3 and its libraries come from the guests' root directory.
    let script = "$bb mount -t hostfs none /mnt -o /tmp/files\n$bb mount -t tmpfs tmpfs /mnt/tmp\n\
                  $bb mount -t devtmpfs dev /mnt/dev\n\
                  for way in '' -R; do\n\
                      until $bb chroot /mnt /usr/bin/iperf3 -c 10.66.0.1 -t 2 $way; do $bb sleep 0.2; done\n\
                  done\necho UML is done";
    InitRam::new().finish(&sockets.path("initrd"), &paths, script);
    let guest = guest(GUEST, &sockets.link("a", ",,server,backend"), "iperf3 -s");
    wait_for(&sockets.path("a"));

    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", IN_ROOT, "sh"]);
    command.arg(&root.dir).arg(sockets.path("")).arg(netbench().dir);
    command.args(["/usr/bin/linux.uml", "mem=256M", "con=null", "con0=null,fd:1", "initrd=/tmp/sockets/initrd"]);
    command.arg("virtio_uml.device=/tmp/sockets/a:1");
    // Its memory file, whose descriptor is what the back-end maps.
    command.env("TMPDIR", "/tmp");
    let ended = Running::start("uml", command).finish(EMULATED);
    let console = ended.stdout;
    assert!(console.contains("UML is done"), "{console}\n{}\n{}", ended.stderr, guest.said());
    assert_eq!(console.matches("receiver").count(), 2, "{console}");
}
