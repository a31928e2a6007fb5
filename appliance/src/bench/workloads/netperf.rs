//! netperf's classic tests: bulk TCP each way by send size, transactions over TCP and UDP with their latency, a UDP
//! flood.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Case, Metric, Server, Values, all, words};
use crate::bench::observe::Observed;

const PORT: u16 = 12865;
/// Send sizes that bulk tests are made with, besides netperf's own choice (the socket buffer's size).
const SIZES: [u32; 7] = [64, 128, 256, 512, 1024, 1500, 65507];
/// Tests by name.
const TESTS: [(&str, Shape); 6] = [
    ("TCP_STREAM", Shape::Bulk),
    ("TCP_MAERTS", Shape::Bulk),
    ("TCP_RR", Shape::Transactions),
    ("TCP_CRR", Shape::Transactions),
    ("UDP_RR", Shape::Transactions),
    ("UDP_STREAM", Shape::Flood),
];
/// What is asked for; not all of it applies to each test.
const SELECTORS: &str = "THROUGHPUT,THROUGHPUT_UNITS,LOCAL_SEND_THROUGHPUT,REMOTE_RECV_THROUGHPUT";
/// TCP_CRR counts transactions instead of seconds: timed, netserver notices the end only by its alarm, four seconds after
/// the client's. So many are meant to be a second's for a fast system, and take a slow one a few.
const CONNECTIONS_PER_SECOND: u32 = 2000;
/// What `-j` adds, in microseconds.
const PERCENTILES: [(&str, &str); 4] =
    [("P50_LATENCY", "p50"), ("P90_LATENCY", "p90"), ("P99_LATENCY", "p99"), ("MEAN_LATENCY", "mean")];

/// What a test's numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Bulk,
    Transactions,
    /// Transactions with `-j`, which reads the clock around each of them, so that the rate is another one.
    Latency,
    Flood,
}

#[derive(Clone, Debug)]
struct Netperf {
    name: String,
    test: &'static str,
    shape: Shape,
    /// Bytes of each send; `None`: netperf's choice.
    size: Option<u32>,
}

/// `TEST`, `TCP_STREAM-SIZE`, `TCP_MAERTS-SIZE` or `TCP_RR-latency` and `UDP_RR-latency`.
pub(super) fn case(name: &str) -> Option<Box<dyn Case>> {
    let (test, suffix) = name.split_once('-').map_or((name, None), |(test, suffix)| (test, Some(suffix)));
    let (test, shape) = TESTS.into_iter().find(|(known, _)| *known == test)?;
    let (shape, size) = match (shape, suffix) {
        (Shape::Flood, None) => (shape, Some(1470)),
        (Shape::Flood, Some("64")) => (shape, Some(64)),
        (_, None) => (shape, None),
        (Shape::Bulk, Some(size)) => (shape, SIZES.into_iter().find(|known| known.to_string() == size).map(Some)?),
        (Shape::Transactions, Some("latency")) if test.ends_with("_RR") => (Shape::Latency, None),
        _ => return None,
    };
    Some(Box::new(Netperf { name: name.to_owned(), test, shape, size }))
}

impl Netperf {
    /// Whether transactions are counted, and not seconds.
    fn counts(&self) -> bool {
        self.test == "TCP_CRR"
    }
}

impl Case for Netperf {
    fn workload(&self) -> &'static str {
        "netperf"
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn metrics(&self) -> Vec<Metric> {
        match self.shape {
            Shape::Bulk => vec![Metric::rate("throughput", "Gbit/s")],
            Shape::Transactions => vec![Metric::rate("transactions", "1/s")],
            Shape::Latency => PERCENTILES.iter().map(|(_, name)| Metric::cost(name, "µs")).collect(),
            Shape::Flood => vec![Metric::rate("received", "Gbit/s"), Metric::rate("sent", "Gbit/s")],
        }
    }

    fn server(&self) -> Option<Server> {
        // -f serves in the listening process itself, so that its CPU time is all in one place.
        let argv = words(&["/usr/bin/netserver", "-D", "-f", "-4", "-p", &PORT.to_string()]);
        Some(Server { argv, port: PORT, greeting: "Starting netserver" })
    }

    fn client(&self, server_address: &str, seconds: u32) -> Vec<String> {
        let mut argv = words(&["/usr/bin/netperf", "-4", "-H", server_address, "-p", &PORT.to_string(), "-P", "0"]);
        // A negative length is a number of transactions.
        let length = match self.counts() {
            true => format!("-{}", seconds * CONNECTIONS_PER_SECOND),
            false => seconds.to_string(),
        };
        argv.extend(words(&["-l", &length, "-t", self.test]));
        let mut selectors = SELECTORS.to_owned();
        if self.shape == Shape::Latency {
            argv.extend(words(&["-j"]));
            for (key, _) in PERCENTILES {
                selectors += ",";
                selectors += key;
            }
        }
        argv.extend(words(&["--"]));
        if let Some(size) = self.size {
            // Of whichever side sends.
            argv.extend(words(&["-m", &format!("{size},{size}")]));
        }
        argv.extend(words(&["-k", &selectors]));
        argv
    }

    fn duration(&self, seconds: u32) -> Duration {
        Duration::from_secs(u64::from(seconds))
    }

    fn limit(&self, seconds: u32) -> Duration {
        self.duration(seconds) * if self.counts() { 20 } else { 1 }
    }

    fn values(&self, seen: &Observed) -> Values {
        let output = &seen.output;
        let values = match self.shape {
            Shape::Bulk => vec![gigabits(output, "THROUGHPUT")?],
            Shape::Transactions | Shape::Latency => {
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
        if self.shape == Shape::Latency {
            return Ok(PERCENTILES.iter().map(|(key, _)| number(output, key)).collect());
        }
        all(values)
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

    fn values(name: &str, output: &str) -> Result<Vec<f64>> {
        case(name).unwrap().values(&Observed::of_output(output))?.into_iter().collect()
    }

    #[test]
    fn real_output_parses() {
        assert_eq!(values("TCP_STREAM", STREAM).unwrap(), [5.58037]);
        assert_eq!(values("TCP_MAERTS-64", STREAM).unwrap(), [5.58037]);
        assert_eq!(values("TCP_RR", RR).unwrap(), [18204.98]);
        assert_eq!(values("UDP_STREAM", FLOODED).unwrap(), [1.21018, 1.75457]);
        let latency = format!("{RR}P50_LATENCY=53\nP90_LATENCY=61\nP99_LATENCY=90\nMEAN_LATENCY=54.48\n");
        assert_eq!(values("TCP_RR-latency", &latency).unwrap(), [53.0, 61.0, 90.0, 54.48]);
    }

    #[test]
    fn failures_are_told() {
        let refused = "establish control: are you sure there is a netserver listening on 10.77.0.1 at port 12865?\n";
        assert!(values("TCP_RR", refused).unwrap_err().to_string().contains("are you sure"));
        assert!(values("TCP_RR", STREAM).unwrap_err().to_string().contains("10^6bits/s"), "units are checked");
        assert!(values("TCP_STREAM", &STREAM.replace("5580.37", "0.00")).is_err());
        assert!(values("TCP_STREAM", &STREAM.replace("5580.37", "-nan")).is_err());
        assert!(values("TCP_STREAM", "").is_err());
    }

    #[test]
    fn a_lost_percentile_does_not_take_the_others_with_it() {
        let output = format!("{RR}P50_LATENCY=53\nP99_LATENCY=90\nMEAN_LATENCY=-1.#IND\n");
        let values = case("UDP_RR-latency").unwrap().values(&Observed::of_output(&output)).unwrap();
        assert_eq!(values.iter().map(|value| value.is_ok()).collect::<Vec<_>>(), [true, false, true, false]);
    }

    #[test]
    fn names_make_the_command_line() {
        let line = |name: &str| case(name).unwrap().client("h", 1).join(" ");
        assert!(line("UDP_STREAM").contains("-t UDP_STREAM -- -m 1470,1470 "), "{}", line("UDP_STREAM"));
        assert!(line("TCP_MAERTS-65507").contains("-t TCP_MAERTS -- -m 65507,65507 "));
        assert!(line("TCP_STREAM").contains("-t TCP_STREAM -- -k "));
        assert!(line("TCP_CRR").contains("-l -2000 -t TCP_CRR ") && line("TCP_RR").contains("-l 1 -t TCP_RR "));
        assert!(line("TCP_RR-latency").contains("-t TCP_RR -j -- -k THROUGHPUT,") && !line("TCP_RR").contains("-j"));
        for unknown in ["TCP_STREAM-65", "TCP_RR-64", "TCP_CRR-latency", "TCP_STREAM-latency", "SCTP_STREAM", ""] {
            assert!(case(unknown).is_none(), "{unknown}");
        }
    }
}
