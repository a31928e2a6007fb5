//! How soon a guest is up, and what it says when its network device cannot be had.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use appliance::guest::{Boot, Nic};
use appliance::process::Ending;

use crate::lab::{Lab, Running, netbench, start_guest, vmlinux, words};

/// Boots whose median counts.
const BOOTS: usize = 9;
/// A few times what a boot takes, for a busy machine and a build without optimization.
const BOOT_LIMIT: Duration = Duration::from_millis(250);

#[test]
fn init_speaks_soon_after_the_start() {
    let boot = Boot::new(&netbench().dir, words(&["/bin/busybox", "echo", "up"]));
    let mut times: Vec<Duration> = (0..BOOTS)
        .map(|_| {
            let mut command = Command::new(vmlinux());
            command.args(boot.arguments()).stdin(Stdio::null()).stdout(Stdio::piped());
            let started = Instant::now();
            let mut child = command.spawn().unwrap();
            let mut first = [0; 2];
            child.stdout.take().unwrap().read_exact(&mut first).unwrap();
            let time = started.elapsed();
            assert_eq!((&first, child.wait().unwrap().code()), (b"up", Some(0)));
            time
        })
        .collect();
    times.sort();
    println!("from the start to init's first write: {times:?}");
    assert!(times[BOOTS / 2] < BOOT_LIMIT, "{times:?}");
}

/// Expects exit status 2 and one line that names the option and holds all of `texts`.
fn expect_refusal(guest: Running, texts: &[&str]) {
    let ended = guest.finish(10);
    let said = ended.stderr;
    assert_eq!(ended.ending, Ending::Exited(2), "{said}");
    assert_eq!((said.lines().count(), ended.stdout.as_str()), (1, ""), "{said}");
    assert!(said.starts_with("vmlinux: eth0"), "{said}");
    for text in texts {
        assert!(said.contains(text), "no {text:?} in {said}");
    }
}

#[test]
fn a_tap_that_cannot_be_had_is_named() {
    let lab = Lab::new();
    let boot = |tap: &str, host: &str| {
        let nic = Nic { tap: tap.into(), host: host.into(), ..lab.nic() };
        let mut boot = Boot::new(&lab.rootfs().dir, words(&["/bin/true"]));
        boot.nic = Some(nic);
        boot
    };
    let host = lab.nic().host;
    let as_root = |tap: &str| start_guest(lab.vmlinux_command(), &boot(tap, &host));

    expect_refusal(as_root("sixteen-letters!"), &["sixteen-letters!", "15", "accepted"]);
    // The other end of the wiring is an interface, but no tap.
    expect_refusal(as_root("veth0"), &["veth0", "not a tap"]);

    // A guest holds the tap: nobody else gets it.
    let holder = lab.guest(appliance::guest::Hook::Seccomp, &["/bin/sh", "-c", "echo up; sleep 60"]);
    holder.expect("up");
    expect_refusal(as_root(&lab.nic().tap), &["tap0", "held by another process"]);
    drop(holder);

    // Somebody who may neither make a tap nor open root's. The program lies where only root may go, perhaps.
    let public = std::env::temp_dir().join(format!("flatland-vmlinux-{}", std::process::id()));
    fs::copy(vmlinux(), &public).unwrap();
    let as_nobody = |mode: &str, tap: &str| {
        let mut command = lab.nobody(mode);
        command.arg(&public);
        let mut boot = boot(tap, &host);
        boot.rootfs = "/".into();
        start_guest(command, &boot)
    };
    let tap = lab.nic().tap;
    let guests = [as_nobody("600", &tap), as_nobody("666", &tap), as_nobody("666", "tap7")];
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let [no_device, existing, missing] = guests;
        expect_refusal(no_device, &["tap0", "/dev/net/tun"]);
        expect_refusal(existing, &["tap0", "belongs to another user"]);
        expect_refusal(missing, &["tap7", "ip tuntap add"]);
    }));
    fs::remove_file(&public).unwrap();
    if let Err(failure) = outcome {
        std::panic::resume_unwind(failure);
    }
}
