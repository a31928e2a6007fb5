//! netperf's classic tests in the guest against the host's netserver, and the other way round.

use appliance::bench::observe::Observed;
use appliance::bench::workloads::Workload;
use appliance::guest::Hook;
use appliance::wiring::{TAP_GUEST, TAP_HOST};

use crate::lab::Lab;

const TESTS: [&str; 6] = ["TCP_STREAM", "TCP_MAERTS", "TCP_RR", "TCP_CRR", "UDP_RR", "UDP_STREAM"];
const NETSERVER: [&str; 4] = ["/usr/bin/netserver", "-D", "-f", "-4"];
const PORT: u16 = 12865;
/// A second of measuring, boot, connecting, a busy machine.
const LIMIT: u64 = 20;

/// netperf's command line and the check of what it prints, as the bench has them.
fn client(test: &str, server: &str) -> Vec<String> {
    Workload::Netperf.case(test).unwrap().client(server, 1)
}

fn check(test: &str, output: &str) {
    let seen = Observed { output: output.to_owned(), ..Observed::default() };
    let values = Workload::Netperf.case(test).unwrap().values(&seen).unwrap_or_else(|e| panic!("{test}: {e:#}"));
    let values: Vec<f64> = values.into_iter().map(Result::unwrap).collect();
    // Gbit/s for bulk, transactions per second else.
    let least = if test.ends_with("RR") { 20.0 } else { 0.01 };
    assert!(values.iter().all(|value| *value >= least), "{test}: {values:?}");
}

#[test]
fn the_guest_is_the_client() {
    let lab = Lab::new();
    let server = lab.host(&NETSERVER);
    server.expect("Starting netserver");
    for (test, hook) in TESTS.into_iter().zip([Hook::Seccomp, Hook::Patch].into_iter().cycle()) {
        let argv = client(test, TAP_HOST);
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        check(test, &lab.guest(hook, &argv).succeed(LIMIT));
    }
    assert!(server.is_running(), "{}", server.said());
}

#[test]
fn the_guest_is_the_server() {
    let lab = Lab::new();
    for hook in [Hook::Seccomp, Hook::Patch] {
        let server = lab.guest(hook, &NETSERVER);
        drop(lab.connect(PORT, &server));
        for test in TESTS {
            let argv = client(test, TAP_GUEST);
            let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
            check(test, &lab.host(&argv).succeed(LIMIT));
        }
        assert!(server.is_running(), "{}", server.said());
    }
}
