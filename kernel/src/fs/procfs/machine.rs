//! The files of /proc that tell about the machine (proc(5)).

use super::Text;
use crate::mm::window;
use crate::sync::Once;
use crate::task;
use crate::time;
use crate::utsname;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Name, permissions, text.
pub(super) const FILES: &[(&str, u32, Text)] = &[
    ("cmdline", 0o444, cmdline),
    ("cpuinfo", 0o444, cpuinfo),
    ("consoles", 0o444, consoles),
    ("devices", 0o444, devices),
    ("diskstats", 0o444, String::new),
    ("filesystems", 0o444, filesystems),
    ("interrupts", 0o444, interrupts),
    ("loadavg", 0o444, loadavg),
    ("meminfo", 0o444, meminfo),
    ("partitions", 0o444, partitions),
    ("stat", 0o444, stat),
    ("swaps", 0o444, swaps),
    ("uptime", 0o444, uptime),
    ("version", 0o444, version),
    ("vmstat", 0o444, vmstat),
];

/// Clock ticks per second in these files (`sysconf(_SC_CLK_TCK)`).
pub(super) const USER_HZ: u64 = 100;

/// A span in clock ticks.
pub(super) fn ticks(d: time::Duration) -> u64 {
    d.as_nanos() as u64 / (1_000_000_000 / USER_HZ)
}

fn cmdline() -> String {
    format!("{}\n", utsname::command_line())
}

/// The console, which is stdin and stdout of the host process: reads, writes, no unblanking; enabled, preferred.
fn consoles() -> String {
    "console              -W- (EC    )    5:1\n".into()
}

fn devices() -> String {
    "Character devices:\n  1 mem\n  4 tty\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n136 pts\n\nBlock devices:\n"
        .into()
}

fn filesystems() -> String {
    "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\nnodev\tdevpts\nnodev\tmqueue\nnodev\thostfs\n\text4\n"
        .into()
}

fn interrupts() -> String {
    "           CPU0       \n".into()
}

fn partitions() -> String {
    let mut text = String::from("major minor  #blocks  name\n\n");
    for disk in crate::block::list() {
        let (number, kilobytes) = (disk.number, disk.device.size() / 1024);
        text += &format!("{:4}  {:7} {kilobytes:10} {}\n", number.major(), number.minor(), disk.name);
    }
    text
}

fn swaps() -> String {
    "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n".into()
}

fn version() -> String {
    format!("Linux version {} (flatland) {}\n", utsname::RELEASE, utsname::VERSION)
}

/// CPU time of all processes that there are. What processes that were waited for have used counts with their parents.
fn busy() -> time::Duration {
    let mut total = time::Duration::ZERO;
    for p in task::all_processes() {
        for times in [p.cpu_times(), p.children_cpu_times()] {
            total += times.user + times.system;
        }
    }
    total.min(time::since_boot())
}

/// Seconds with two decimals, rounded up: a machine that runs is not 0.00 seconds old.
fn hundredths(d: time::Duration) -> String {
    let n = d.as_millis().div_ceil(10);
    format!("{}.{:02}", n / 100, n % 100)
}

fn uptime() -> String {
    let up = time::since_boot();
    format!("{} {}\n", hundredths(up), hundredths(up.saturating_sub(busy())))
}

fn loadavg() -> String {
    let (threads, last) = task::counts();
    let shown = task::load_averages().map(|average| {
        // Half a hundredth more, which is how Linux rounds.
        let average = average + (1 << task::FRACTION_BITS) / 200;
        let (whole, rest) = (average >> task::FRACTION_BITS, average & ((1 << task::FRACTION_BITS) - 1));
        format!("{whole}.{:02}", (rest * 100) >> task::FRACTION_BITS)
    });
    format!("{} {}/{threads} {last}\n", shown.join(" "), task::running_threads())
}

fn stat() -> String {
    let up = time::since_boot();
    let busy = busy();
    let (user, idle) = (ticks(busy), ticks(up.saturating_sub(busy)));
    let switches: u64 = task::all_processes().iter().flat_map(|p| p.threads()).map(|t| t.entity.switches()).sum();
    let boot_time = time::realtime().saturating_sub(up).as_secs();
    let line = format!("{user} 0 0 {idle} 0 0 0 0 0 0");
    format!(
        "cpu  {line}\ncpu0 {line}\nintr 0\nctxt {switches}\nbtime {boot_time}\nprocesses {}\nprocs_running {}\nprocs_blocked 0\n\
         softirq 0 0 0 0 0 0 0 0 0 0 0\n",
        task::counts().1,
        task::running_threads()
    )
}

fn meminfo() -> String {
    let (used, total) = window::get().map_or((0, 0), |w| w.usage());
    let (total, free) = (total / 1024, total.saturating_sub(used) / 1024);
    let used = used / 1024;
    let rows: &[(&str, usize)] = &[
        ("MemTotal", total),
        ("MemFree", free),
        ("MemAvailable", free),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("Active", used),
        ("Inactive", 0),
        ("Active(anon)", used),
        ("Inactive(anon)", 0),
        ("Active(file)", 0),
        ("Inactive(file)", 0),
        ("Unevictable", 0),
        ("Mlocked", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", used),
        ("Mapped", 0),
        ("Shmem", 0),
        ("KReclaimable", 0),
        ("Slab", 0),
        ("SReclaimable", 0),
        ("SUnreclaim", 0),
        ("KernelStack", 0),
        ("PageTables", 0),
        ("CommitLimit", total),
        ("Committed_AS", used),
        ("VmallocTotal", 0),
        ("VmallocUsed", 0),
        ("VmallocChunk", 0),
    ];
    let mut out: String = rows.iter().map(|(name, kib)| format!("{:<15} {kib:>8} kB\n", format!("{name}:"))).collect();
    out.push_str(
        "HugePages_Total:       0\nHugePages_Free:        0\nHugePages_Rsvd:        0\nHugePages_Surp:        0\n",
    );
    out.push_str("Hugepagesize:       2048 kB\n");
    out
}

/// Counters of pages. Events that this machine has no notion of (paging, reclaim) have never happened.
fn vmstat() -> String {
    let (used, total) = window::get().map_or((0, 0), |w| w.usage());
    let pages = |bytes: usize| bytes / crate::abi::PAGE_SIZE;
    let rows: &[(&str, usize)] = &[
        ("nr_free_pages", pages(total.saturating_sub(used))),
        ("nr_inactive_anon", 0),
        ("nr_active_anon", pages(used)),
        ("nr_inactive_file", 0),
        ("nr_active_file", 0),
        ("nr_unevictable", 0),
        ("nr_mlock", 0),
        ("nr_anon_pages", pages(used)),
        ("nr_mapped", 0),
        ("nr_file_pages", 0),
        ("nr_dirty", 0),
        ("nr_writeback", 0),
        ("nr_shmem", 0),
        ("pgpgin", 0),
        ("pgpgout", 0),
        ("pswpin", 0),
        ("pswpout", 0),
        ("pgfault", 0),
        ("pgmajfault", 0),
        ("oom_kill", 0),
    ];
    rows.iter().map(|(name, count)| format!("{name} {count}\n")).collect()
}

/// The host's description of its first processor.
fn cpuinfo() -> String {
    static TEXT: Once<String> = Once::new();
    TEXT.call_once(|| {
        one_processor(&String::from_utf8_lossy(&crate::host::read_file("/proc/cpuinfo").unwrap_or_default()))
    })
    .clone()
}

/// Features that guests are not given: their registers are not saved.
fn is_withheld(flag: &str) -> bool {
    flag.starts_with("amx")
}

/// The first processor of a /proc/cpuinfo, as if it were alone, without what guests are not given.
fn one_processor(host: &str) -> String {
    let mut out = String::new();
    for line in host.lines().take_while(|l| !l.is_empty()) {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = match key.trim() {
            "processor" | "physical id" | "core id" | "apicid" | "initial apicid" => "0".into(),
            "siblings" | "cpu cores" => "1".into(),
            "flags" => value.split_whitespace().filter(|f| !is_withheld(f)).collect::<Vec<_>>().join(" "),
            _ => String::from(value.trim()),
        };
        let space = if value.is_empty() { "" } else { " " };
        out.push_str(&format!("{key}:{space}{value}\n"));
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_has_one_processor_and_no_withheld_features() {
        let host = "processor\t: 5\nsiblings\t: 16\ncore id\t\t: 3\nflags\t\t: fpu amx_tile sse2 amx_int8 avx\n\
                    power management:\n\nprocessor\t: 6\n";
        let expected = "processor\t: 0\nsiblings\t: 1\ncore id\t\t: 0\nflags\t\t: fpu sse2 avx\npower management:\n\n";
        assert_eq!(one_processor(host), expected);
    }

    #[test]
    fn lines_of_meminfo_have_the_usual_columns() {
        let text = meminfo();
        assert!(text.starts_with("MemTotal:              0 kB\nMemFree:  "), "{text}");
    }
}
