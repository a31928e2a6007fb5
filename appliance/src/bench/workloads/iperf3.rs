//! iperf3: one or four TCP streams each way, a UDP flood each way; the receiver's view counts.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Better, Case, Metric, Server, words};

const PORT: u16 = 5201;
/// Seconds at the start of each test that do not count (`-O`).
const WARM_UP: u32 = 1;
/// Payload of a UDP datagram that fills an Ethernet frame with a VLAN tag to spare.
const DATAGRAM: &str = "1470";

const TCP: [Metric; 1] = [Metric { name: "throughput", unit: "Gbit/s", better: Better::Higher }];
const UDP: [Metric; 2] = [
    Metric { name: "goodput", unit: "Gbit/s", better: Better::Higher },
    Metric { name: "sent", unit: "Gbit/s", better: Better::Higher },
];

/// Name, protocol and the arguments that make the case.
const CASES: [Iperf3; 6] = [
    Iperf3 { name: "tcp", udp: false, arguments: &[] },
    Iperf3 { name: "tcp-reverse", udp: false, arguments: &["-R"] },
    Iperf3 { name: "tcp-4", udp: false, arguments: &["-P", "4"] },
    Iperf3 { name: "tcp-4-reverse", udp: false, arguments: &["-P", "4", "-R"] },
    Iperf3 { name: "udp", udp: true, arguments: &["-u", "-b", "0", "-l", DATAGRAM] },
    Iperf3 { name: "udp-reverse", udp: true, arguments: &["-u", "-b", "0", "-l", DATAGRAM, "-R"] },
];

#[derive(Clone, Copy, Debug)]
struct Iperf3 {
    name: &'static str,
    udp: bool,
    arguments: &'static [&'static str],
}

pub(super) fn case(name: &str) -> Option<Box<dyn Case>> {
    CASES.iter().find(|case| case.name == name).map(|case| Box::new(*case) as Box<dyn Case>)
}

impl Case for Iperf3 {
    fn workload(&self) -> &'static str {
        "iperf3"
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn metrics(&self) -> &'static [Metric] {
        if self.udp { &UDP } else { &TCP }
    }

    fn server(&self) -> Option<Server> {
        Some(Server { argv: words(&["/usr/bin/iperf3", "-s", "-4", "-p", &PORT.to_string()]), port: PORT })
    }

    fn client(&self, server_address: &str, seconds: u32) -> Vec<String> {
        let mut argv = words(&["/usr/bin/iperf3", "-c", server_address, "-p", &PORT.to_string(), "-J"]);
        argv.extend(words(&["-t", &seconds.to_string(), "-O", &WARM_UP.to_string()]));
        argv.extend(words(self.arguments));
        argv
    }

    fn duration(&self, seconds: u32) -> Duration {
        Duration::from_secs(u64::from(seconds + WARM_UP))
    }

    fn parse(&self, output: &str) -> Result<Vec<f64>> {
        let end = parse_end(output)?;
        let received = end.sum_received.context("the test has no `end.sum_received`")?;
        let rate = |sum: &Sum| sum.bits_per_second / 1e9;
        if received.bytes <= 0.0 {
            bail!("the receiver got nothing");
        }
        if !self.udp {
            return Ok(vec![rate(&received)]);
        }
        // The packet and loss counters of 3.12 mix in the warm-up; the byte counts do not.
        let sent = end.sum_sent.context("the test has no `end.sum_sent`")?;
        Ok(vec![rate(&received), rate(&sent)])
    }
}

/// The parts of `iperf3 -J` that count.
#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    end: End,
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

fn parse_end(output: &str) -> Result<End> {
    // Warnings, which go to stderr natively, share the console with the document in a guest.
    let document = match (output.find('{'), output.rfind('}')) {
        (Some(start), Some(end)) if start < end => &output[start..=end],
        _ => bail!("iperf3 printed no JSON document"),
    };
    let document: Document = serde_json::from_str(document).context("iperf3's JSON does not parse")?;
    match document.error {
        Some(error) => bail!("iperf3 says: {error}"),
        None => Ok(document.end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cut from `iperf3 -c 10.78.0.1 -J -t 1 -O 1`, version 3.12.
    const TCP_OUTPUT: &str = r#"{"start": {"version": "iperf 3.12"}, "intervals": [], "end": {
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

    fn parse(name: &str, output: &str) -> Result<Vec<f64>> {
        case(name).unwrap().parse(output)
    }

    #[test]
    fn the_receivers_rate_counts() {
        let values = parse("tcp", TCP_OUTPUT).unwrap();
        assert!((values[0] - 14.447_981_86).abs() < 1e-6, "{values:?}");
    }

    #[test]
    fn udp_yields_goodput_and_what_was_sent() {
        let values = parse("udp", UDP_OUTPUT).unwrap();
        assert!((values[0] - 0.927_637).abs() < 1e-6 && (values[1] - 2.244_936).abs() < 1e-6, "{values:?}");
        assert_eq!(values.len(), case("udp").unwrap().metrics().len());
    }

    #[test]
    fn failures_are_told() {
        let refused =
            r#"{"start": {}, "intervals": [], "end": {}, "error": "unable to connect to server: Connection refused"}"#;
        assert!(parse("tcp", refused).unwrap_err().to_string().contains("Connection refused"));
        assert!(parse("tcp", "").is_err());
        assert!(parse("tcp", "} {").is_err());
        assert!(parse("tcp", r#"{"end": {"sum_received": {"bytes": 0, "bits_per_second": 0}}}"#).is_err());
        assert!(parse("tcp", &TCP_OUTPUT[..TCP_OUTPUT.len() - 2]).is_err(), "a cut-off document");
    }

    #[test]
    fn the_command_line_has_time_and_warm_up() {
        let argv = case("tcp-4-reverse").unwrap().client("10.77.0.1", 5).join(" ");
        assert_eq!(argv, "/usr/bin/iperf3 -c 10.77.0.1 -p 5201 -J -t 5 -O 1 -P 4 -R");
        assert!(case("nonsense").is_none());
    }
}
