//! The method section of a report: enough to redo the measurement by hand.

use super::Report;
use crate::bench::stats::verdict::{FALSE_DISCOVERY_RATE, LEAST_EFFECT};

/// Paragraphs in plain text.
pub(super) fn paragraphs(report: &Report) -> Vec<String> {
    let settings = &report.settings;
    let pinning = match (settings.host_side_cpu, settings.guest_side_cpu) {
        (Some(host), Some(guest)) => format!(
            "Servers ran on CPU {host}, systems under test and native clients on CPU {guest} (taskset -c), with \
             everything that they start."
        ),
        _ => "Nothing was pinned: the host's scheduler placed both ends.".into(),
    };
    let kernel = settings
        .vmlinux
        .as_ref()
        .map_or(String::new(), |file| format!(" The nommu systems booted {} (SHA-256 {}).", file.path, file.sha256));
    let recipe = settings.rootfs.recipe.as_ref().map_or(String::new(), |recipe| {
        format!(" (`appliance rootfs build --recipe {recipe}`, hash {})", short(settings.rootfs.recipe_hash.as_deref()))
    });
    vec![
        format!(
            "Host: {}, {} CPUs, {}, clock source {}.",
            report.machine.cpu_model, report.machine.cpus, report.machine.kernel, report.machine.clock_source
        ),
        format!(
            "Every system ran the same binaries from the root directory {}{recipe}: natively in a chroot with a tmpfs \
             on /tmp, in guests through hostfs with 512 MB of memory, in gVisor as a read-only root.{kernel}",
            settings.rootfs.path
        ),
        "Two network namespaces were made, joined by a veth pair (10.78.0.0/24); servers, vmlinux and User-Mode Linux \
         ran in the first, on a persistent tap with vnet_hdr (10.77.0.0/24), native clients in the second; gVisor in a \
         third on a veth pair of its own (10.82.0.0/24). Names with @bridge had the tap on a bridge (10.79.0.0/24), \
         with @guests the server in a second guest on that bridge; native-nooff is a veth pair with tso, gso, gro, tx, \
         rx and sg off (10.80.0.0/24), um-legacy a tap without vnet_hdr (10.81.0.0/24)."
            .into(),
        format!("{pinning} TCP used {}.", settings.congestion_control),
        format!(
            "{} rounds; in each, case by case, every system took one run in turn, the first one rotating. A run is a \
             fresh boot of the system, or a fresh process natively, with a fresh server. Tests over the network \
             measured {} s. iperf3 left out its first second; the receiver's count is what is told.",
            settings.rounds, settings.seconds
        ),
        format!(
            "A cell is the median over the rounds with their range; a ratio is the median of value over native's value \
             of the same round, with a 95 % percentile-bootstrap interval of 2000 resamples. Two samples are told apart \
             by the Mann-Whitney test (exact, two-sided) with Benjamini and Hochberg's procedure at {:.0} % over \
             the rows of a system, and a median quotient of all pairs of {:.0} % or more. A row that could not have passed with its \
             few rounds, however clear, says so.",
            FALSE_DISCOVERY_RATE * 100.0,
            LEAST_EFFECT * 100.0
        ),
        "CPU seconds are user and system time of the system's processes, boot included, and of the server while the \
         client ran; interrupt work on behalf of either is in neither. A run is noisy when more than 2 % of a CPU was \
         stolen by the hypervisor, other processes used more than 10 % of one, or a core was slower than 90 % of the \
         best pace that short loops have shown (a neighbour on the same core); such runs count, and are flagged. The \
         loops run every 4 ms during the runs, on both CPUs: 8,000 turns of eight chains of arithmetic, and 2,048 reads \
         from memory. Comparisons with an earlier report are of values at one pace: divided by the paces' powers, which are \
         fitted to the runs of both sides by least squares of logarithms. A system NAME-earlier boots the earlier report's \
         kernel, and what is told of NAME is told against it."
            .into(),
        "Boot is the time from the start of the system's process, its namespace and chroot included, to the arrival of \
         its first program's first output. Memory is the sum of the proportional set sizes of all its processes, sampled \
         every 50 ms."
            .into(),
    ]
}

/// `workload case`, the server's and the client's command line.
pub(super) fn command_lines(report: &Report) -> Vec<(String, Option<String>, String)> {
    let cases = &report.settings.cases;
    cases
        .iter()
        .map(|case| {
            let name = format!("{} {}", case.workload, case.case);
            (name, case.server.as_ref().map(|words| line(words)), line(&case.client))
        })
        .collect()
}

/// As one would type it.
fn line(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:@+".contains(c);
    let quoted = words.iter().map(|word| match word.chars().all(plain) && !word.is_empty() {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn short(hash: Option<&str>) -> &str {
    hash.map_or("unknown", |hash| hash.get(..12).unwrap_or(hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn what_is_needed_to_redo_it_is_told() {
        let report = sample();
        let text = paragraphs(&report).join("\n");
        for needed in ["CPU 0", "CPU 1", "cubic", "3 rounds", "/r", &report.machine.kernel, "Mann-Whitney"] {
            assert!(text.contains(needed), "no {needed} in {text}");
        }
        let (name, server, client) = command_lines(&report).remove(0);
        let told = (name.as_str(), server.as_deref(), client.as_str());
        assert_eq!(told, ("iperf3 tcp", Some("/usr/bin/iperf3 -s"), "/usr/bin/iperf3 -c SERVER"));
        assert_eq!(line(&["sh".into(), "-c".into(), "echo 'a'".into()]), "sh -c 'echo '\\''a'\\'''");
    }
}
