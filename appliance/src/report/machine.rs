//! The machine under a measurement.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::bench::noise;

/// What a reader needs to compare figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// `uname -sr`.
    pub kernel: String,
    /// As in /proc/cpuinfo.
    pub cpu_model: String,
    /// CPUs that this process may use.
    pub cpus: usize,
    pub memory_bytes: u64,
    /// Whether a hypervisor shows itself.
    pub virtualized: bool,
    /// The host kernel's clock source.
    #[serde(default)]
    pub clock_source: String,
}

impl Machine {
    /// Asks the host.
    pub fn read() -> Self {
        let uname = rustix::system::uname();
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kilobytes = field(&meminfo, "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        Self {
            kernel: format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy()),
            cpu_model: field(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kilobytes.unwrap_or(0) * 1024,
            virtualized: field(&cpuinfo, "flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            clock_source: noise::clock_source(),
        }
    }
}

/// The value of the first `key : value` line.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.trim() == key).map(|(_, v)| v.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_files() {
        let text = "processor\t: 0\nmodel name\t: A: CPU\nflags\t\t: fpu hypervisor\n";
        assert_eq!(field(text, "model name"), Some("A: CPU"));
        assert_eq!(field(text, "model"), None);
        assert!(Machine::read().memory_bytes > 0);
    }
}
