//! netperf's classic tests: bulk TCP each way, transactions over TCP and UDP, a UDP flood.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Better, Case, Metric, Server, words};

const PORT: u16 = 12865;

const BULK: [Metric; 1] = [Metric { name: "throughput", unit: "Gbit/s", better: Better::Higher }];
const TRANSACTIONS: [Metric; 1] = [Metric { name: "transactions", unit: "1/s", better: Better::Higher }];
const FLOOD: [Metric; 2] = [
    Metric { name: "goodput", unit: "Gbit/s", better: Better::Higher },
    Metric { name: "sent", unit: "Gbit/s", better: Better::Higher },
];

/// What a test's numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Bulk,
    Transactions,
    Flood,
}

#[derive(Clone, Copy, Debug)]
struct Netperf {
    name: &'static str,
    shape: Shape,
}

const CASES: [Netperf; 6] = [
    Netperf { name: "TCP_STREAM", shape: Shape::Bulk },
    Netperf { name: "TCP_MAERTS", shape: Shape::Bulk },
    Netperf { name: "TCP_RR", shape: Shape::Transactions },
    Netperf { name: "TCP_CRR", shape: Shape::Transactions },
    Netperf { name: "UDP_RR", shape: Shape::Transactions },
    Netperf { name: "UDP_STREAM", shape: Shape::Flood },
];

pub(super) fn case(name: &str) -> Option<Box<dyn Case>> {
    CASES.iter().find(|case| case.name == name).map(|case| Box::new(*case) as Box<dyn Case>)
}

impl Case for Netperf {
    fn workload(&self) -> &'static str {
        "netperf"
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn metrics(&self) -> &'static [Metric] {
        match self.shape {
            Shape::Bulk => &BULK,
            Shape::Transactions => &TRANSACTIONS,
            Shape::Flood => &FLOOD,
        }
    }

    fn server(&self) -> Option<Server> {
        // -f serves in the listening process itself, so that its CPU time is all in one place.
        let argv = words(&["/usr/bin/netserver", "-D", "-f", "-4", "-p", &PORT.to_string()]);
        Some(Server { argv, port: PORT })
    }

    fn client(&self, server_address: &str, seconds: u32) -> Vec<String> {
        let mut argv = words(&["/usr/bin/netperf", "-4", "-H", server_address, "-p", &PORT.to_string(), "-P", "0"]);
        argv.extend(words(&["-l", &seconds.to_string(), "-t", self.name, "--"]));
        if self.shape == Shape::Flood {
            argv.extend(words(&["-m", "1470"]));
        }
        argv.extend(words(&["-k", "THROUGHPUT,THROUGHPUT_UNITS,LOCAL_SEND_THROUGHPUT,REMOTE_RECV_THROUGHPUT"]));
        argv
    }

    fn duration(&self, seconds: u32) -> Duration {
        Duration::from_secs(u64::from(seconds))
    }

    fn parse(&self, output: &str) -> Result<Vec<f64>> {
        let values = match self.shape {
            Shape::Bulk => vec![gigabits(output, "THROUGHPUT")?],
            Shape::Transactions => {
                expect_units(output, "Trans/s")?;
                vec![number(output, "THROUGHPUT")?]
            }
            Shape::Flood => {
                vec![gigabits(output, "REMOTE_RECV_THROUGHPUT")?, gigabits(output, "LOCAL_SEND_THROUGHPUT")?]
            }
        };
        if values[0] <= 0.0 {
            bail!("netperf moved nothing");
        }
        Ok(values)
    }
}

/// A `KEY=value` line of netperf's `-k` output, as a number in 10^6 bit/s.
fn gigabits(output: &str, key: &str) -> Result<f64> {
    expect_units(output, "10^6bits/s")?;
    Ok(number(output, key)? / 1e3)
}

fn expect_units(output: &str, wanted: &str) -> Result<()> {
    let units = value(output, "THROUGHPUT_UNITS")?;
    if units != wanted {
        bail!("netperf reports in '{units}' where '{wanted}' was expected");
    }
    Ok(())
}

fn number(output: &str, key: &str) -> Result<f64> {
    let text = value(output, key)?;
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => bail!("netperf's {key} is '{text}', which is no number"),
    }
}

fn value<'a>(output: &'a str, key: &str) -> Result<&'a str> {
    let line = output.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
    line.with_context(|| {
        let said = output.lines().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
        format!("netperf printed no {key}; it said: {}", said.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What netperf 2.7.0 printed with the selectors above, for TCP_STREAM, TCP_RR and UDP_STREAM.
    const STREAM: &str = "THROUGHPUT=5580.37\nTHROUGHPUT_UNITS=10^6bits/s\nLOCAL_SEND_THROUGHPUT=5580.37\n\
                          REMOTE_RECV_THROUGHPUT=5580.37\n";
    const RR: &str = "THROUGHPUT=18204.98\r\nTHROUGHPUT_UNITS=Trans/s\r\nLOCAL_SEND_THROUGHPUT=0.15\r\n\
                      REMOTE_RECV_THROUGHPUT=0.15\r\n";
    const FLOODED: &str = "THROUGHPUT=1210.18\nTHROUGHPUT_UNITS=10^6bits/s\nLOCAL_SEND_THROUGHPUT=1754.57\n\
                           REMOTE_RECV_THROUGHPUT=1210.18\n";

    fn parse(name: &str, output: &str) -> Result<Vec<f64>> {
        case(name).unwrap().parse(output)
    }

    #[test]
    fn real_output_parses() {
        assert_eq!(parse("TCP_STREAM", STREAM).unwrap(), [5.58037]);
        assert_eq!(parse("TCP_RR", RR).unwrap(), [18204.98]);
        assert_eq!(parse("UDP_STREAM", FLOODED).unwrap(), [1.21018, 1.75457]);
    }

    #[test]
    fn failures_are_told() {
        let refused = "establish control: are you sure there is a netserver listening on 10.77.0.1 at port 12865?\n";
        assert!(parse("TCP_RR", refused).unwrap_err().to_string().contains("are you sure"));
        assert!(parse("TCP_RR", STREAM).unwrap_err().to_string().contains("10^6bits/s"), "units are checked");
        assert!(parse("TCP_STREAM", &STREAM.replace("5580.37", "0.00")).is_err());
        assert!(parse("TCP_STREAM", &STREAM.replace("5580.37", "-nan")).is_err());
        assert!(parse("TCP_STREAM", "").is_err());
    }

    #[test]
    fn only_the_flood_sets_a_message_size() {
        assert!(case("UDP_STREAM").unwrap().client("h", 1).contains(&"-m".to_owned()));
        assert!(!case("TCP_STREAM").unwrap().client("h", 1).contains(&"-m".to_owned()));
    }
}
