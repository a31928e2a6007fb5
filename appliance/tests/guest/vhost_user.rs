//! Guests on shared memory: linked to each other, through `appliance switch`, with peers that come late, go and come back.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use appliance::guest::Boot;

use crate::lab::{APPLIANCE, Running, Scratch, netbench, vmlinux, words};

const LIMIT: u64 = 60;
const SERVER: &str = "10.66.0.1";
const CLIENT: &str = "10.66.0.2";

/// Boots a guest whose eth0 is the vhost-user `link`, with a shell script as init.
pub fn guest(address: &str, link: &str, script: &str) -> Running {
    guest_that_waits(address, link, "idle=spin:50", script)
}

fn guest_that_waits(address: &str, link: &str, idle: &str, script: &str) -> Running {
    let mut command = Command::new(vmlinux());
    command.arg(format!("eth0=vhost-user,{link}"));
    command.arg(format!("ip={address}:::255.255.255.0::eth0:off")).arg(idle);
    command.args(Boot::new(&netbench().dir, words(&["/bin/bash", "-c", script])).arguments());
    Running::start(address, command)
}

/// A folder for sockets, with a path that is short enough for one.
pub struct Sockets(Scratch);

impl Sockets {
    pub fn new() -> Sockets {
        Sockets(Scratch::new("vhost"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn link(&self, name: &str, fields: &str) -> String {
        format!("{}{fields}", self.path(name).display())
    }
}

pub fn wait_for(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !path.exists() {
        assert!(Instant::now() < deadline, "no {}", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends `megabytes` of noise; both ends print the sum of what they saw.
fn sender(megabytes: u32) -> String {
    format!(
        "head -c {megabytes}M /dev/urandom >/tmp/noise
         until nc -N {SERVER} 5000 </tmp/noise; do sleep 0.05; done
         sha256sum </tmp/noise"
    )
}

const RECEIVER: &str = "nc -l -p 5000 | sha256sum";

fn sums_agree(server: Running, client: Running) {
    let sent = client.succeed(LIMIT);
    let received = server.succeed(LIMIT);
    assert_eq!(sent.split_whitespace().next().map(str::len), Some(64), "{sent}");
    assert_eq!(received, sent);
}

#[test]
fn two_guests_are_linked_and_carry_tcp_both_ways() {
    let sockets = Sockets::new();
    let server = guest(SERVER, &sockets.link("a", ",02:00:00:00:66:01,server,backend"), "iperf3 -s -1 && iperf3 -s -1");
    wait_for(&sockets.path("a"));
    let run = |arguments: &str| format!("until iperf3 -c {SERVER} -t 2 {arguments}; do sleep 0.1; done");
    let script = format!("{}; {}", run(""), run("-R"));
    let client = guest(CLIENT, &sockets.link("a", ",02:00:00:00:66:02"), &script);
    let report = client.succeed(LIMIT);
    assert_eq!(report.matches("receiver").count(), 2, "{report}");
    server.succeed(LIMIT);
}

#[test]
fn what_passes_between_two_guests_is_unharmed() {
    for (server, client) in [(",,server,backend", ""), (",,server", ",,backend")] {
        let sockets = Sockets::new();
        let receiving = guest(SERVER, &sockets.link("a", server), RECEIVER);
        let sending = guest(CLIENT, &sockets.link("a", client), &sender(32));
        sums_agree(receiving, sending);
    }
}

#[test]
fn a_link_without_any_optional_feature_works() {
    let off = "off=mrg_rxbuf+indirect+event_idx+csum+guest_csum+mtu";
    let sockets = Sockets::new();
    let server = guest_that_waits(SERVER, &sockets.link("a", ",,server,backend"), "idle=sleep", RECEIVER);
    let client = guest_that_waits(CLIENT, &sockets.link("a", &format!(",,{off}")), "idle=sleep", &sender(8));
    sums_agree(server, client);
}

/// A guest that pings until it is answered.
const PING: &str = "for i in $(seq 300); do ping -c 1 -W 1 10.66.0.1 >/dev/null && exit 0; sleep 0.05; done; exit 1";

#[test]
fn either_guest_may_boot_first() {
    for late_server in [true, false] {
        let sockets = Sockets::new();
        let server = || guest(SERVER, &sockets.link("a", ",,server,backend"), "sleep 60");
        let client = || guest(CLIENT, &sockets.link("a", ""), PING);
        let pause = || std::thread::sleep(Duration::from_millis(300));
        let (_server, client) = if late_server {
            let client = client();
            pause();
            (server(), client)
        } else {
            let server = server();
            pause();
            (server, client())
        };
        client.succeed(LIMIT);
    }
}

#[test]
fn a_guest_that_is_killed_is_missed_and_its_successor_found() {
    let sockets = Sockets::new();
    // The successor has the address of the first, or the client would have to forget its neighbour before.
    let server = || guest(SERVER, &sockets.link("a", ",02:00:00:00:66:01,server,backend"), "sleep 60");
    let script = format!(
        "({PING}) && echo up; until ! ping -c 1 -W 1 {SERVER} >/dev/null; do :; done; echo gone; ({PING}) && echo again"
    );
    let first = server();
    let client = guest(CLIENT, &sockets.link("a", ""), &script);
    client.expect("up");
    drop(first);
    client.expect("gone");
    let _second = server();
    client.expect("again");
    client.succeed(LIMIT);
}

#[test]
fn a_switch_joins_guests_and_records_what_passes() {
    let sockets = Sockets::new();
    let mut command = Command::new(APPLIANCE);
    command.args(["switch", "--idle", "sleep", "--mirror"]).arg(sockets.path("m.pcapng"));
    command.arg(format!("vhost-user,{}", sockets.link("a", "")));
    command.arg(format!("vhost-user,{}", sockets.link("b", ",,mtu=9000")));
    let switch = Running::start("switch", command);
    switch.expect("ready:");
    let server = guest_that_waits(SERVER, &sockets.link("a", ""), "idle=sleep", RECEIVER);
    let client = guest_that_waits(CLIENT, &sockets.link("b", ""), "idle=sleep", &sender(16));
    sums_agree(server, client);
    switch.terminate();
    let counters = switch.finish(10).stdout;
    assert!(counters.contains("| port"), "{counters}");
    let capture = std::fs::read(sockets.path("m.pcapng")).unwrap();
    assert!(capture.len() > 16 << 20, "{} bytes", capture.len());
    assert_eq!(capture[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
}
