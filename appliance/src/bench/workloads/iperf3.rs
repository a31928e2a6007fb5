//! iperf3: one or four TCP streams each way, `sendfile`, UDP floods each way; the receiver's view counts.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Case, Metric, Server, Values, all, words};
use crate::bench::observe::Observed;

const PORT: u16 = 5201;
/// Seconds at the start of each test that do not count (`-O`).
const WARM_UP: u32 = 1;

/// Seconds between two points of a course (`-i`): a run of a second has five of them.
pub const STEP: f64 = 0.2;

/// What a case sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traffic {
    Tcp,
    /// Datagrams of this many bytes, as fast as they go.
    Flood(u32),
}

/// Name, traffic and the arguments that make the case. A datagram of 1470 bytes fills an ethernet frame with a VLAN
/// tag to spare.
const CASES: [Iperf3; 11] = [
    tcp("tcp", &[]),
    tcp("tcp-reverse", &["-R"]),
    tcp("tcp-4", &["-P", "4"]),
    tcp("tcp-4-reverse", &["-P", "4", "-R"]),
    tcp("tcp-zerocopy", &["-Z"]),
    tcp("tcp-zerocopy-reverse", &["-Z", "-R"]),
    flood("udp-64", 64, &[]),
    flood("udp-64-reverse", 64, &["-R"]),
    flood("udp-1470", 1470, &[]),
    flood("udp-1470-reverse", 1470, &["-R"]),
    flood("udp-1470-4", 1470, &["-P", "4"]),
];

const fn tcp(name: &'static str, arguments: &'static [&'static str]) -> Iperf3 {
    Iperf3 { name, traffic: Traffic::Tcp, arguments }
}

const fn flood(name: &'static str, bytes: u32, arguments: &'static [&'static str]) -> Iperf3 {
    Iperf3 { name, traffic: Traffic::Flood(bytes), arguments }
}

#[derive(Clone, Copy, Debug)]
struct Iperf3 {
    name: &'static str,
    traffic: Traffic,
    arguments: &'static [&'static str],
}

pub(super) fn case(name: &str) -> Option<Box<dyn Case>> {
    CASES.iter().find(|case| case.name == name).map(|case| Box::new(*case) as Box<dyn Case>)
}

impl Case for Iperf3 {
    fn workload(&self) -> &'static str {
        "iperf3"
    }

    fn name(&self) -> &str {
        self.name
    }

    fn metrics(&self) -> Vec<Metric> {
        match self.traffic {
            Traffic::Tcp => vec![Metric::rate("throughput", "Gbit/s")],
            Traffic::Flood(_) => vec![Metric::rate("received", "kpacket/s"), Metric::rate("sent", "kpacket/s")],
        }
    }

    fn server(&self) -> Option<Server> {
        let argv = words(&["/usr/bin/iperf3", "-s", "-4", "-p", &PORT.to_string(), "--forceflush"]);
        Some(Server { argv, port: PORT, greeting: "Server listening" })
    }

    fn client(&self, server_address: &str, seconds: u32) -> Vec<String> {
        let mut argv = words(&["/usr/bin/iperf3", "-c", server_address, "-p", &PORT.to_string(), "-J"]);
        argv.extend(words(&["-t", &seconds.to_string(), "-O", &WARM_UP.to_string(), "-i", &STEP.to_string()]));
        if let Traffic::Flood(bytes) = self.traffic {
            argv.extend(words(&["-u", "-b", "0", "-l", &bytes.to_string()]));
        }
        argv.extend(words(self.arguments));
        argv
    }

    fn duration(&self, seconds: u32) -> Duration {
        Duration::from_secs(u64::from(seconds + WARM_UP))
    }

    fn values(&self, seen: &Observed) -> Values {
        let end = parse(&seen.output)?.end;
        let received = end.sum_received.context("the test has no `end.sum_received`")?;
        if received.bytes <= 0.0 {
            bail!("the receiver got nothing");
        }
        match self.traffic {
            Traffic::Tcp => all(vec![received.bits_per_second / 1e9]),
            // The packet and loss counters of 3.12 mix in the warm-up; the byte counts do not.
            Traffic::Flood(bytes) => {
                let sent = end.sum_sent.context("the test has no `end.sum_sent`")?;
                let packets = |sum: &Sum| sum.bits_per_second / 8.0 / f64::from(bytes) / 1e3;
                all(vec![packets(&received), packets(&sent)])
            }
        }
    }

    fn course(&self, output: &str) -> Vec<f64> {
        // The client's intervals are what it sent, which for a flood is not what arrived.
        if self.traffic != Traffic::Tcp {
            return Vec::new();
        }
        let intervals = parse(output).map(|document| document.intervals).unwrap_or_default();
        let counted = intervals.iter().filter(|interval| !interval.sum.omitted && interval.sum.seconds > STEP / 2.0);
        counted.map(|interval| interval.sum.bits_per_second / 1e9).collect()
    }
}

/// The parts of `iperf3 -J` that count.
#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    intervals: Vec<Interval>,
    #[serde(default)]
    end: End,
}

#[derive(Debug, Deserialize)]
struct Interval {
    sum: IntervalSum,
}

#[derive(Debug, Deserialize)]
struct IntervalSum {
    seconds: f64,
    bits_per_second: f64,
    #[serde(default)]
    omitted: bool,
}

#[derive(Debug, Default, Deserialize)]
struct End {
    sum_sent: Option<Sum>,
    sum_received: Option<Sum>,
}

#[derive(Debug, Deserialize)]
struct Sum {
    bytes: f64,
    bits_per_second: f64,
}

fn parse(output: &str) -> Result<Document> {
    // Warnings, which go to stderr natively, share the console with the document in a guest.
    let document = match (output.find('{'), output.rfind('}')) {
        (Some(start), Some(end)) if start < end => &output[start..=end],
        _ => bail!("iperf3 printed no JSON document"),
    };
    let document: Document = serde_json::from_str(document).context("iperf3's JSON does not parse")?;
    match &document.error {
        Some(error) => bail!("iperf3 says: {error}"),
        None => Ok(document),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cut from `iperf3 -c 10.78.0.1 -J -t 1 -O 1`, version 3.12.
    const TCP_OUTPUT: &str = r#"{"start": {"version": "iperf 3.12"}, "intervals": [
        {"sum": {"start": 0, "end": 1.0, "seconds": 1.0, "bytes": 1, "bits_per_second": 9e9, "omitted": true}},
        {"sum": {"start": 0, "end": 1.0, "seconds": 1.0, "bytes": 1, "bits_per_second": 14e9, "omitted": false}},
        {"sum": {"start": 1.0, "end": 1.0, "seconds": 0.0005, "bytes": 1, "bits_per_second": 1e9, "omitted": false}}
        ], "end": {
        "sum_sent": {"start": 0, "end": 1.000565, "seconds": 1.000565, "bytes": 1821900800,
            "bits_per_second": 14566976058.526934, "retransmits": 0, "sender": true},
        "sum_received": {"start": 0, "end": 1.009096, "seconds": 1.009096, "bytes": 1822425088,
            "bits_per_second": 14447981860.992413, "sender": true}}}"#;
    /// Cut from the same with `-u -b 0 -l 1470`; mind the nonsense in the packet counters.
    const UDP_OUTPUT: &str = r#"warning: UDP block size 1470 exceeds TCP MSS 1448, may result in fragmentation / drops
        {"end": {
        "sum_sent": {"start": 0, "end": 0.999969, "seconds": 0.999969, "bytes": 280608300,
            "bits_per_second": 2244935993.0157833, "lost_packets": 0, "packets": 190890, "sender": true},
        "sum_received": {"start": 0, "end": 1.003452, "seconds": 1.003452, "bytes": 116354910,
            "bits_per_second": 927637076.810849, "lost_packets": 223198, "packets": 190884, "sender": false}}}
        "#;

    fn values(name: &str, output: &str) -> Result<Vec<f64>> {
        case(name).unwrap().values(&Observed::of_output(output))?.into_iter().collect()
    }

    #[test]
    fn the_receivers_rate_counts() {
        let values = values("tcp", TCP_OUTPUT).unwrap();
        assert!((values[0] - 14.447_981_86).abs() < 1e-6, "{values:?}");
    }

    #[test]
    fn floods_are_counted_in_packets_on_both_sides() {
        // 116354910 and 280608300 bytes of 1470-byte datagrams.
        let values = values("udp-1470", UDP_OUTPUT).unwrap();
        assert!((values[0] - 78.8807).abs() < 1e-3 && (values[1] - 190.8958).abs() < 1e-3, "{values:?}");
        assert_eq!(values.len(), case("udp-1470").unwrap().metrics().len());
    }

    #[test]
    fn the_course_leaves_out_warm_up_and_crumbs() {
        assert_eq!(case("tcp").unwrap().course(TCP_OUTPUT), [14.0]);
        assert!(case("tcp").unwrap().course("nothing").is_empty());
        assert!(case("udp-64").unwrap().course(TCP_OUTPUT).is_empty());
    }

    #[test]
    fn failures_are_told() {
        let refused =
            r#"{"start": {}, "intervals": [], "end": {}, "error": "unable to connect to server: Connection refused"}"#;
        assert!(values("tcp", refused).unwrap_err().to_string().contains("Connection refused"));
        assert!(values("tcp", "").is_err());
        assert!(values("tcp", "} {").is_err());
        assert!(values("tcp", r#"{"end": {"sum_received": {"bytes": 0, "bits_per_second": 0}}}"#).is_err());
        assert!(values("tcp", &TCP_OUTPUT[..TCP_OUTPUT.len() - 2]).is_err(), "a cut-off document");
    }

    #[test]
    fn the_command_line_has_time_warm_up_and_datagrams() {
        let line = |name: &str| case(name).unwrap().client("10.77.0.1", 5).join(" ");
        assert_eq!(line("tcp-4-reverse"), "/usr/bin/iperf3 -c 10.77.0.1 -p 5201 -J -t 5 -O 1 -i 0.2 -P 4 -R");
        assert_eq!(line("udp-64"), "/usr/bin/iperf3 -c 10.77.0.1 -p 5201 -J -t 5 -O 1 -i 0.2 -u -b 0 -l 64");
        assert!(case("nonsense").is_none());
    }
}
