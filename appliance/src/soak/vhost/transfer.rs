//! Noise both ways, with a feature left out: both ends must agree on the SHA-256 of every byte.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::cable::{Cable, End, Port};
use crate::interrupt::Interrupt;

/// What both ends agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The feature that was left out, or `nothing`, or `everything`.
    pub without: String,
    pub idle: &'static str,
    /// Each way.
    pub bytes: u64,
    pub took: Duration,
    /// The first digits of the sums, client to server and back.
    pub sums: [String; 2],
}

/// Moves `bytes` each way over a link that is named for what it lacks; `off` has the features' names.
///
/// # Errors
/// Sums that differ, too few bytes, a guest that ends badly or does not end.
pub fn run(
    cable: &Cable,
    without: &str,
    off: &str,
    bytes: u64,
    idle: &'static str,
    interrupt: &Interrupt,
) -> Result<Transfer> {
    let fields = if off.is_empty() { String::new() } else { format!("off={off}") };
    let words = ["noise", &bytes.to_string()];
    let started = Instant::now();
    let server = Port { end: End::Server, fields: "server,backend", idle };
    let server = cable.boot(without, &server, &words)?;
    let client = cable.boot(without, &Port { end: End::Client, fields: &fields, idle }, &words)?;
    // 2 MB/s is what no machine that works falls below.
    let limit = Duration::from_secs(120) + Duration::from_micros(bytes / 2);
    let client = client.finish(limit, interrupt).context("the client")?;
    let server = server.finish(limit, interrupt).context("the server")?;
    let took = started.elapsed();
    let sums = [sum(&client, &server, bytes)?, sum(&server, &client, bytes)?];
    Ok(Transfer { without: without.to_owned(), idle, bytes, took, sums })
}

/// The sum of one direction.
fn sum(sender: &[String], receiver: &[String], bytes: u64) -> Result<String> {
    let said = |lines: &[String], what: &str| lines.iter().find_map(|line| line.strip_prefix(what).map(str::to_owned));
    let sent = said(sender, "sent ").context("no sum of what was sent")?;
    let received = said(receiver, "received ").context("no sum of what was received")?;
    if received != format!("{sent} {bytes}") || sent.len() != 64 {
        bail!("sent {sent} ({bytes} bytes), received {received}");
    }
    Ok(sent[..12].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_lengths_must_agree() {
        let (good, bad) = ("a".repeat(64), "b".repeat(64));
        let lines = |text: String| vec!["received x 1".to_owned(), text];
        let judged = |sent: &str, received: &str, count: u64| {
            sum(&lines(format!("sent {sent}")), &[format!("received {received} {count}")], 10)
        };
        assert_eq!(judged(&good, &good, 10).unwrap(), "aaaaaaaaaaaa");
        assert!(judged(&good, &bad, 10).is_err() && judged(&good, &good, 9).is_err());
        assert!(sum(&[], &[], 10).is_err());
    }
}
