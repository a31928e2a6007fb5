//! The congestion control of both ends: cubic, so that hosts with another default compare.

use std::fs::{self, File};
use std::process::Command;

use anyhow::Result;

use super::netns::NetNs;
use crate::process;

const WANTED: &str = "cubic";
const CURRENT: &str = "/proc/sys/net/ipv4/tcp_congestion_control";
const ALLOWED: &str = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";

/// Sets cubic in `namespaces` and returns what they use in the end; a host without cubic keeps its own.
pub(super) fn prefer_cubic(namespaces: &[&NetNs]) -> String {
    let mut in_use = String::new();
    for ns in namespaces {
        in_use = current(ns).unwrap_or_default();
        if in_use != WANTED {
            // A namespace may choose only what the host allows to everybody.
            let _allowed = AllowedForNow::new();
            if set(ns).is_ok() {
                in_use = current(ns).unwrap_or_default();
            }
        }
    }
    in_use
}

fn current(ns: &NetNs) -> Result<String> {
    let output = process::run(ns.command().args(["cat", CURRENT]))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn set(ns: &NetNs) -> Result<()> {
    let command: &mut Command = &mut ns.command();
    process::run(command.args(["sh", "-c", &format!("echo {WANTED} > {CURRENT}")])).map(|_| ())
}

/// Cubic on the host's list of allowed algorithms, until dropped. The lock makes other appliances wait, lest one
/// takes back what another still needs.
struct AllowedForNow {
    before: Option<String>,
    _lock: Option<File>,
}

impl AllowedForNow {
    fn new() -> Self {
        let lock = File::open(ALLOWED).ok().filter(|file| file.lock().is_ok());
        let before = fs::read_to_string(ALLOWED)
            .ok()
            .map(|list| list.trim().to_owned())
            .filter(|list| list.split_ascii_whitespace().all(|name| name != WANTED))
            .filter(|list| fs::write(ALLOWED, format!("{list} {WANTED}")).is_ok());
        Self { before, _lock: lock }
    }
}

impl Drop for AllowedForNow {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            _ = fs::write(ALLOWED, before);
        }
    }
}
