//! Debian's iperf3 in the guest, as client and as server, against the host's.

use appliance::guest::Hook;
use appliance::wiring::{TAP_GUEST, TAP_HOST};
use serde_json::Value;

use crate::lab::{Lab, Running};

/// Beyond the test's own seconds: boot, connecting, the exchange of results, a busy machine.
const GRACE: u64 = 20;
/// Rate of the UDP tests, bit/s.
const UDP_RATE: f64 = 200e6;

/// One way to run iperf3.
struct Case {
    arguments: &'static [&'static str],
    streams: usize,
    seconds: u64,
    hook: Hook,
}

const fn case(arguments: &'static [&'static str], seconds: u64, hook: Hook) -> Case {
    Case { arguments, streams: 1, seconds, hook }
}

impl Case {
    fn is_udp(&self) -> bool {
        self.arguments.contains(&"-u")
    }

    fn is_bidirectional(&self) -> bool {
        self.arguments.contains(&"--bidir")
    }

    fn client<'a>(&self, server: &'a str, seconds: &'a str) -> Vec<&'a str> {
        let mut argv = vec!["/usr/bin/iperf3", "-c", server, "-J", "-t", seconds];
        argv.extend(self.arguments);
        argv
    }

    fn guest_is_client(&self, lab: &Lab) {
        let server = lab.host(&["/usr/bin/iperf3", "-s", "-1", "-4", "--forceflush"]);
        server.expect("Server listening");
        let client = lab.guest(self.hook, &self.client(TAP_HOST, &self.seconds.to_string()));
        self.check_client(client);
        server.succeed(GRACE);
    }

    fn guest_is_server(&self, lab: &Lab) {
        let server = lab.guest(self.hook, &["/usr/bin/iperf3", "-s", "-1", "-4", "--forceflush"]);
        server.expect("Server listening");
        let client = lab.host(&self.client(TAP_GUEST, &self.seconds.to_string()));
        self.check_client(client);
        let said = server.succeed(GRACE);
        let role = if self.arguments.contains(&"-R") { "sender" } else { "receiver" };
        assert!(said.contains("Accepted connection from 10.77.0.1") && said.contains(role), "{said}");
    }

    /// Waits for the client and looks at its report.
    fn check_client(&self, client: Running) {
        let output = client.succeed(self.seconds + GRACE);
        // The guest's console carries warnings beside the document.
        let (start, end) = (output.find('{').unwrap(), output.rfind('}').unwrap());
        let report: Value = serde_json::from_str(&output[start..=end]).unwrap_or_else(|e| panic!("{e}: {output}"));
        assert!(report.get("error").is_none(), "{:?}: {}", self.arguments, report["error"]);

        let intervals = report["intervals"].as_array().unwrap();
        assert!(intervals.len() as u64 >= self.seconds, "{:?}: {} intervals", self.arguments, intervals.len());
        let mut sums = vec!["sum"];
        let mut ends = vec!["sum_received"];
        if self.is_bidirectional() {
            sums.push("sum_bidir_reverse");
            ends.push("sum_received_bidir_reverse");
        }
        let directions = sums.len();
        for (second, interval) in intervals.iter().take(self.seconds as usize).enumerate() {
            let streams = interval["streams"].as_array().unwrap();
            assert_eq!(streams.len(), self.streams * directions, "{:?}: second {second}", self.arguments);
            for sum in &sums {
                let bytes = interval[sum]["bytes"].as_f64().unwrap();
                assert!(bytes > 0.0, "{:?}: {sum} of second {second} is {interval}", self.arguments);
            }
        }
        for end in ends {
            let received = report["end"][end]["bytes"].as_f64().unwrap();
            let least = if self.is_udp() { UDP_RATE / 8.0 * self.seconds as f64 / 2.0 } else { 10e6 };
            assert!(received >= least, "{:?}: {end} is {}", self.arguments, report["end"][end]);
        }
    }
}

const SECONDS: u64 = 5;
const FEWER: u64 = 2;
const UDP: &[&str] = &["-u", "-b", "200M"];
const UDP_REVERSE: &[&str] = &["-u", "-b", "200M", "-R"];

#[test]
fn the_guest_is_the_client() {
    let lab = Lab::new();
    let four = Case { streams: 4, ..case(&["-P", "4"], SECONDS, Hook::Seccomp) };
    for case in [
        case(&[], SECONDS, Hook::Seccomp),
        case(&["-R"], SECONDS, Hook::Patch),
        four,
        case(UDP, SECONDS, Hook::Patch),
        case(UDP_REVERSE, FEWER, Hook::Seccomp),
        case(&["--bidir"], FEWER, Hook::Patch),
        case(&["-Z"], FEWER, Hook::Seccomp),
    ] {
        case.guest_is_client(&lab);
    }
}

#[test]
fn the_guest_is_the_server() {
    let lab = Lab::new();
    let four = Case { streams: 4, ..case(&["-P", "4"], SECONDS, Hook::Patch) };
    let four_reverse = Case { streams: 4, ..case(&["-P", "4", "-R"], FEWER, Hook::Seccomp) };
    for case in [
        case(&[], SECONDS, Hook::Patch),
        case(&["-R"], SECONDS, Hook::Seccomp),
        four,
        four_reverse,
        case(UDP, SECONDS, Hook::Seccomp),
        case(UDP_REVERSE, FEWER, Hook::Patch),
        case(&["--bidir"], FEWER, Hook::Seccomp),
        case(&["-Z", "-R"], FEWER, Hook::Patch),
    ] {
        case.guest_is_server(&lab);
    }
}
