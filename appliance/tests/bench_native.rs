//! The bench end to end with the native system only: what it reports, and that it leaves nothing behind. Needs root,
//! /dev/net/tun, a C compiler and a Debian mirror (or a filled cache), headless Chromium for the page,
//! and for one test a `vmlinux` beside the appliance.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

const APPLIANCE: &str = env!("CARGO_BIN_EXE_appliance");

/// Held by a test while it counts what a killed bench left, and by one that clears the host: `appliance down` is for all.
static CLEARING: Mutex<()> = Mutex::new(());

/// A folder of the test's own, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test makes network namespaces: run it as root");
        let path = std::env::temp_dir().join(format!("flatland-test-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn bench(out: &Path, args: &[&str]) -> Child {
    let mut command = Command::new(APPLIANCE);
    command.args(["bench", "--systems", "native"]).args(args).arg("--out").arg(out);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn build_rootfs() {
    let output = Command::new(APPLIANCE).args(["rootfs", "build"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What an appliance with that process id has on the host: namespaces, its note, processes in a namespace of its.
fn traces(pid: u32) -> Vec<PathBuf> {
    let places = [
        format!("/run/netns/flatland-{pid}-host"),
        format!("/run/netns/flatland-{pid}-guest"),
        format!("/run/netns/flatland-{pid}-sandbox"),
        format!("/run/flatland/{pid}.json"),
        format!("/run/flatland/{pid}.d"),
    ];
    places.into_iter().map(PathBuf::from).filter(|place| place.symlink_metadata().is_ok()).collect()
}

/// A process by its id and start time, so that a later one with the same id is not taken for it.
#[derive(Debug, PartialEq, Eq)]
struct Seen(String, String);

impl Seen {
    fn is_alive(&self) -> bool {
        start_time(&self.0).is_some_and(|time| time == self.1)
    }
}

/// Field 22 of /proc/<pid>/stat; nothing for a zombie.
fn start_time(pid: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_ascii_whitespace().collect();
    (*fields.first()? != "Z").then(|| fields[22 - 3].to_owned())
}

/// Live processes in the network namespaces of a running bench.
fn processes_of(bench: u32) -> Vec<Seen> {
    let inode = |path: String| fs::metadata(path).ok().map(|meta| meta.ino());
    let ours: Vec<u64> = ["host", "guest", "sandbox"]
        .iter()
        .filter_map(|side| inode(format!("/run/netns/flatland-{bench}-{side}")))
        .collect();
    let inside = |pid: &String| inode(format!("/proc/{pid}/ns/net")).is_some_and(|inode| ours.contains(&inode));
    let names = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name().display().to_string());
    let pids = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter(inside);
    pids.filter_map(|pid| Some(Seen(pid.clone(), start_time(&pid)?))).collect()
}

/// The server and the client of a bench whose first run has begun.
fn wait_for_a_run(bench: &Child, out: &Path) -> Vec<Seen> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let inside = processes_of(bench.id());
        // The server's log is there before it starts, the client's once it listens.
        if out.join("raw/native.iperf3.tcp.1.out").exists() && inside.len() >= 2 {
            return inside;
        }
        assert!(Instant::now() < deadline, "the bench did not start a server and a client");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// The host's list, at a time when no appliance has it changed.
fn allowed_congestion_control() -> String {
    let path = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";
    let lock = fs::File::open(path).unwrap();
    lock.lock().unwrap();
    fs::read_to_string(path).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_short_bench_reports_and_leaves_nothing() {
    let scratch = Scratch::new("short");
    build_rootfs();
    let allowed_before = allowed_congestion_control();
    let child = bench(&scratch.0, &["--runs", "2", "--seconds", "1"]);
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));

    let report: Value = serde_json::from_str(&fs::read_to_string(scratch.0.join("report.json")).unwrap()).unwrap();
    assert_eq!((&report["schema_version"], &report["complete"]), (&2.into(), &true.into()));
    let results = report["results"].as_array().unwrap();
    for workload in ["iperf3", "netperf", "getpid", "lmbench", "boot", "memory"] {
        let series: Vec<&Value> = results.iter().filter(|series| series["workload"] == workload).collect();
        assert!(!series.is_empty(), "{workload}");
        for series in series {
            let runs = series["runs"].as_array().unwrap();
            assert_eq!(runs.len(), 2);
            for run in runs {
                assert!(run["value"].as_f64().unwrap() > 0.0, "{run}");
                // What starts a process and no more takes less than a tick.
                let busy = run["cpu_seconds"]["guest_side"].as_f64().unwrap() > 0.0;
                assert!(busy || ["boot", "memory"].contains(&workload), "{run}");
                assert_ne!(run["surroundings"]["clock_source"], "");
                assert!(scratch.0.join(run["raw"].as_str().unwrap()).is_file());
            }
            let (min, median, max) = (&series["min"], &series["median"], &series["max"]);
            assert!(min.as_f64() <= median.as_f64() && median.as_f64() <= max.as_f64());
        }
    }
    let raw = fs::read_to_string(scratch.0.join("raw/native.iperf3.tcp.1.out")).unwrap();
    let raw: Value = serde_json::from_str(&raw).unwrap();
    let reported = results.iter().find(|series| series["case"] == "tcp").unwrap()["runs"][0]["value"].as_f64().unwrap();
    let measured = raw["end"]["sum_received"]["bits_per_second"].as_f64().unwrap() / 1e9;
    assert!((reported - measured).abs() < 1e-9, "{reported} {measured}");
    let page = fs::read_to_string(scratch.0.join("report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("lmbench"), "the page has its plots inside");
    assert!(scratch.0.join("flent/iperf3-tcp.native.flent.gz").is_file());
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("iperf3 tcp throughput") && table.contains("| native"), "{table}");
    assert!(fs::read_to_string(scratch.0.join("report.md")).unwrap().contains(table.trim()));

    assert_eq!(traces(pid), Vec::<PathBuf>::new());
    assert_eq!(allowed_congestion_control(), allowed_before);
}

#[test]
fn a_second_report_is_compared_with_the_first() {
    let scratch = Scratch::new("baseline");
    build_rootfs();
    let (first, second) = (scratch.0.join("first"), scratch.0.join("second"));
    let output = bench(&first, &["--workloads", "getpid", "--runs", "4"]).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let baseline = first.join("report.json");
    let args = ["--workloads", "getpid,boot", "--runs", "4", "--baseline", baseline.to_str().unwrap(), "--trust-noisy"];
    let output = bench(&second, &args).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&fs::read_to_string(second.join("report.json")).unwrap()).unwrap();
    let changes = report["baseline"]["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "the rows that both have: {changes:?}");
    assert!(changes[0]["p_value"].as_f64().unwrap() > 0.0 && changes[0]["verdict"] != "unknown", "{changes:?}");
}

/// A report of five rounds of iperf3 whose forward direction a token bucket holds at that rate.
fn limited_report(out: &Path, megabits: u32, baseline: Option<&Path>) -> Value {
    let mut args = vec!["--cases", "tcp", "--runs", "5", "--seconds", "1"];
    let baseline = baseline.map(|folder| folder.join("report.json").display().to_string());
    if let Some(path) = &baseline {
        // A bucket's rate holds whatever else the host does, other tests for instance.
        args.extend(["--baseline", path, "--trust-noisy"]);
    }
    let child = bench(out, &args);
    let namespace = format!("flatland-{}-guest", child.id());
    let rate = format!("{megabits}mbit");
    let limit = ["qdisc", "replace", "dev", "veth0", "root", "tbf", "rate", &rate, "burst", "256kb", "latency", "50ms"];
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut tc = Command::new("tc");
        let outcome = tc.args(["-n", &namespace]).args(limit).output().expect("tc(8), of the package iproute2");
        if outcome.status.success() {
            break;
        }
        assert!(Instant::now() < deadline, "{}", stderr(&outcome));
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_str(&fs::read_to_string(out.join("report.json")).unwrap()).unwrap()
}

#[test]
fn a_tenth_less_is_found_and_said_of_the_host() {
    let scratch = Scratch::new("injected");
    build_rootfs();
    let [first, same, slower] = ["first", "same", "slower"].map(|name| scratch.0.join(name));
    // Slow enough that a busy machine reaches it.
    limited_report(&first, 300, None);
    let same = limited_report(&same, 300, Some(&first));
    let slower = limited_report(&slower, 270, Some(&first));
    let tcp = |report: &Value| {
        let changes = report["baseline"]["changes"].as_array().unwrap().clone();
        changes.into_iter().find(|change| change["case"] == "tcp").unwrap()
    };
    assert!(tcp(&same)["verdict"] == "same" && tcp(&same)["by_host"] == false, "{}", tcp(&same));
    let found = tcp(&slower);
    let quotient = found["quotient"].as_f64().unwrap();
    assert!(found["by_host"] == true && (0.85..0.95).contains(&quotient), "{found}");
}

#[test]
fn a_guest_that_was_slowed_down_is_found() {
    let scratch = Scratch::new("slowed");
    build_rootfs();
    let [first, slowed] = ["first", "slowed"].map(|name| scratch.0.join(name));
    let report = |out: &Path, more: &[&str]| -> Value {
        let mut command = Command::new(APPLIANCE);
        command.args(["bench", "--systems", "native,nommu-patch", "--cases", "getpid", "--runs", "7"]);
        let output = command.args(more).arg("--out").arg(out).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_str(&fs::read_to_string(out.join("report.json")).unwrap()).unwrap()
    };
    report(&first, &[]);
    let baseline = first.join("report.json");
    // Other tests run meanwhile, on the same CPUs: by so much that the runs show it all the same.
    let slowed =
        report(&slowed, &["--slow", "nommu-patch=90", "--baseline", baseline.to_str().unwrap(), "--trust-noisy"]);
    assert_eq!(slowed["settings"]["slowed"], "nommu-patch=90");
    let again = &slowed["systems"][2];
    assert_eq!((&again["name"], &again["earlier"]["of"]), (&"nommu-patch-earlier".into(), &"nommu-patch".into()));
    let changes = slowed["baseline"]["changes"].as_array().unwrap();
    let change = |system: &str| changes.iter().find(|change| change["system"] == system).unwrap();
    assert_eq!(change("nommu-patch")["verdict"], "worse", "{changes:?}");
    assert!(change("nommu-patch")["measured_again"] == true && changes.len() == 2, "{changes:?}");
    assert_eq!(change("native")["verdict"], "same", "{changes:?}");

    let reports = ["first", "slowed"].map(|name| scratch.0.join(name).join("report.json"));
    let compare = |reports: [&PathBuf; 2], more: &[&str]| {
        let output = Command::new(APPLIANCE).arg("compare").args(reports).arg("--trust-noisy").args(more).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, text) = compare([&reports[0], &reports[1]], &[]);
    assert!(status == Some(1) && text.contains("- nommu-patch: getpid getpid call is worse"), "{text}");
    let (status, text) = compare([&reports[0], &reports[0]], &[]);
    assert!(status == Some(0) && text.contains("no change beyond noise in 2 rows"), "{text}");
    let (_, text) = compare([&reports[0], &reports[1]], &["--json"]);
    let again = serde_json::from_str::<Value>(&text).unwrap();
    let verdicts = |comparison: &Value| -> Vec<Value> {
        let changes = comparison["changes"].as_array().unwrap().iter();
        changes.flat_map(|change| ["system", "measured_again", "verdict"].map(|field| change[field].clone())).collect()
    };
    assert_eq!(verdicts(&again), verdicts(&slowed["baseline"]));
}

#[test]
fn a_command_of_the_users_is_timed() {
    let scratch = Scratch::new("command");
    build_rootfs();
    let args = ["--cmd", "sleep 0.2; echo score: 42 points", "--cmd-rate", "score:", "--runs", "1"];
    let output = bench(&scratch.0, &args).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&fs::read_to_string(scratch.0.join("report.json")).unwrap()).unwrap();
    let results = report["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    let wall = results[0]["median"].as_f64().unwrap();
    assert!((0.2..2.0).contains(&wall), "{wall}");
    assert_eq!((&results[1]["metric"], &results[1]["median"]), (&"score".into(), &42.0.into()));
}

#[test]
fn a_user_without_privilege_measures_in_namespaces_of_his_own() {
    let scratch = Scratch::new("unprivileged");
    build_rootfs();
    let output = Command::new(APPLIANCE).args(["rootfs", "build"]).output().unwrap();
    let rootfs = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    // The programs and the root directory may lie where only root may go: both are shown elsewhere, in mounts that end
    // with the test. The tun device is open to all, as udev makes it.
    let script = "mount -t tmpfs -o mode=755 tmpfs /dev/net && mknod -m 666 /dev/net/tun c 10 200 && \
                  mount -t tmpfs tmpfs /mnt && mkdir /mnt/bin /mnt/rootfs /mnt/out && chmod 777 /mnt/out && \
                  mount --bind \"$1\" /mnt/bin && mount --bind \"$2\" /mnt/rootfs && \
                  setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all \
                  /mnt/bin/appliance bench --rootfs /mnt/rootfs --systems native,nommu-patch --workloads getpid,iperf3 --runs 1 \
                  --seconds 1 --out /mnt/out; status=$?; cp /mnt/out/report.json \"$3\"; exit $status";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
        .arg(Path::new(APPLIANCE).parent().unwrap())
        .arg(&rootfs)
        .arg(&scratch.0)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&fs::read_to_string(scratch.0.join("report.json")).unwrap()).unwrap();
    let results = report["results"].as_array().unwrap();
    assert!(results.len() >= 8 && results.iter().all(|series| series["median"].as_f64().unwrap() > 0.0), "{results:?}");
}

/// A screenshot of `page` by headless Chromium, `width` pixels wide.
fn screenshot(page: &Path, to: &Path, width: u32, dark: bool) -> Vec<u8> {
    let mut command = Command::new("chromium-headless-shell");
    command.args(["--no-sandbox", "--hide-scrollbars", "--disable-gpu", &format!("--window-size={width},1600")]);
    // Chromium's own number for the preference: 0 is dark, 1 is light.
    command.arg(format!("--blink-settings=preferredColorScheme={}", u32::from(!dark)));
    command.arg(format!("--screenshot={}", to.display())).arg(format!("file://{}", page.display()));
    let output = command.output().expect("the package chromium-headless-shell is needed (scripts/test installs it)");
    assert!(output.status.success(), "{}", stderr(&output));
    fs::read(to).unwrap()
}

/// Width of a PNG, from its header.
fn png_width(png: &[u8]) -> u32 {
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    u32::from_be_bytes(png[16..20].try_into().unwrap())
}

#[test]
fn a_browser_draws_the_page_in_light_and_dark_and_on_a_phone() {
    let scratch = Scratch::new("page");
    build_rootfs();
    let args = ["--workloads", "getpid,iperf3", "--runs", "2", "--seconds", "2"];
    let output = bench(&scratch.0, &args).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let page = scratch.0.join("report.html");
    let [light, dark, phone] = [("light", 1200, false), ("dark", 1200, true), ("phone", 400, false)]
        .map(|(name, width, dark)| screenshot(&page, &scratch.0.join(format!("{name}.png")), width, dark));
    assert_eq!([png_width(&light), png_width(&dark), png_width(&phone)], [1200, 1200, 400]);
    // An empty page of this size compresses to a few kilobytes.
    for png in [&light, &dark, &phone] {
        assert!(png.len() > 20_000, "{} bytes", png.len());
    }
    assert_ne!(light, dark);
}

#[test]
fn an_interrupted_bench_leaves_nothing() {
    let scratch = Scratch::new("interrupted");
    build_rootfs();
    let child = bench(&scratch.0, &["--workloads", "iperf3", "--seconds", "30"]);
    let pid = child.id();
    let inside = wait_for_a_run(&child, &scratch.0);
    signal(&child, rustix::process::Signal::INT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert_eq!(traces(pid), Vec::<PathBuf>::new());
    assert!(!inside.iter().any(Seen::is_alive), "{inside:?}");
    assert!(fs::read_to_string(scratch.0.join("report.json")).unwrap().contains("\"complete\": false"));
}

#[test]
fn down_clears_what_a_killed_bench_left() {
    let scratch = Scratch::new("killed");
    build_rootfs();
    let child = bench(&scratch.0, &["--workloads", "iperf3", "--seconds", "30"]);
    let pid = child.id();
    let inside = wait_for_a_run(&child, &scratch.0);

    let down = || Command::new(APPLIANCE).arg("down").output().unwrap();
    let spared = down();
    assert!(spared.status.success() && stderr(&spared).contains(&format!("pid {pid} is running")), "{spared:?}");
    assert_eq!(traces(pid).len(), 4, "a running bench was cleared away");

    let clearing = CLEARING.lock().unwrap_or_else(PoisonError::into_inner);
    signal(&child, rustix::process::Signal::KILL);
    child.wait_with_output().unwrap();
    assert_eq!(traces(pid).len(), 4);
    drop(clearing);
    let cleared = down();
    assert!(cleared.status.success(), "{}", stderr(&cleared));
    assert_eq!(traces(pid), Vec::<PathBuf>::new());
    assert!(!inside.iter().any(Seen::is_alive), "{inside:?}");
}

#[test]
fn down_clears_whatever_the_moment_of_the_kill() {
    let scratch = Scratch::new("kills");
    build_rootfs();
    let setting = |name: &str| std::env::var(name).ok();
    let kills = setting("FLATLAND_KILLS").map_or(20, |text| text.parse::<u64>().unwrap());
    // Others must be downloaded, and boot more slowly: milliseconds until the last kill.
    let systems = setting("FLATLAND_KILLS_SYSTEMS").unwrap_or("native,native-nooff,nommu-patch@bridge".into());
    let latest = setting("FLATLAND_KILLS_WITHIN").map_or(1900, |text| text.parse::<u64>().unwrap());
    for kill in 0..kills {
        let out = scratch.0.join(kill.to_string());
        let mut child = Command::new(APPLIANCE)
            .args(["bench", "--systems", &systems, "--workloads", "getpid,netperf"])
            .args(["--seconds", "1", "--out"])
            .arg(&out)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From the first namespaces to the second run, by steps that no part of the work is in step with.
        std::thread::sleep(Duration::from_millis(15 + kill * 137 % latest));
        let inside = processes_of(child.id());
        signal(&child, rustix::process::Signal::KILL);
        child.wait().unwrap();
        // Two at once: neither minds what the other was quicker to remove.
        let down = || Command::new(APPLIANCE).arg("down").stderr(Stdio::piped()).spawn().unwrap();
        let clearing = CLEARING.lock().unwrap_or_else(PoisonError::into_inner);
        for cleared in [down(), down()].map(|down| down.wait_with_output().unwrap()) {
            assert!(cleared.status.success(), "{}", stderr(&cleared));
        }
        drop(clearing);
        // Time for a survivor to show itself.
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(traces(child.id()), Vec::<PathBuf>::new(), "kill {kill}");
        assert!(!inside.iter().any(Seen::is_alive), "kill {kill}: {inside:?}");
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(&format!("flatland-{}-", child.id())), "kill {kill}: {mounts}");
    }
}

#[test]
fn a_system_that_cannot_run_is_listed_with_its_reason() {
    let scratch = Scratch::new("unable");
    build_rootfs();
    let child = Command::new(APPLIANCE)
        .args(["bench", "--systems", "native,nommu-patch", "--workloads", "getpid", "--runs", "1"])
        .args(["--vmlinux", "/nonexistent/vmlinux", "--out"])
        .arg(&scratch.0)
        .output()
        .unwrap();
    assert_eq!(child.status.code(), Some(1));
    let report: Value = serde_json::from_str(&fs::read_to_string(scratch.0.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["systems"][0]["ran"], true);
    assert_eq!(report["systems"][1]["ran"], false);
    assert!(report["systems"][1]["reason"].as_str().unwrap().contains("/nonexistent/vmlinux"));
    assert!(String::from_utf8_lossy(&child.stdout).contains("nommu-patch cannot run: "));
}

#[test]
fn without_a_mirror_the_peers_are_listed_and_the_rest_is_measured() {
    let scratch = Scratch::new("mirrorless");
    let built = Command::new(APPLIANCE).args(["rootfs", "build"]).output().unwrap();
    let rootfs = String::from_utf8(built.stdout).unwrap().trim().to_owned();
    let out = scratch.0.join("out");
    let output = Command::new(APPLIANCE)
        .args(["bench", "--systems", "native,um,um-seccomp,um-legacy,gvisor", "--cases", "getpid", "--runs", "1"])
        .args(["--rootfs", &rootfs, "--out"])
        .arg(&out)
        // Nobody listens on the discard port, and nothing is in the cache yet.
        .env("FLATLAND_MIRROR", "http://127.0.0.1:9/debian")
        .env("FLATLAND_CACHE", scratch.0.join("cache"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&fs::read_to_string(out.join("report.json")).unwrap()).unwrap();
    let systems = report["systems"].as_array().unwrap();
    assert!(systems.len() == 5 && systems[0]["ran"] == true, "{systems:?}");
    for system in &systems[1..] {
        let reason = system["reason"].as_str().unwrap();
        // User-Mode Linux 6.1 is not even asked for where it could not run.
        assert!(system["ran"] == false && (reason.contains("FLATLAND_MIRROR") || reason.contains("AMX")), "{reason}");
        let told = format!("{} cannot run: ", system["name"].as_str().unwrap());
        assert!(String::from_utf8_lossy(&output.stdout).contains(&told), "{told}");
    }
    assert_eq!(report["results"].as_array().unwrap().len(), 1);
}

#[test]
fn guests_are_measured_over_shared_memory_and_through_a_switch() {
    let scratch = Scratch::new("shared");
    build_rootfs();
    let child = Command::new(APPLIANCE)
        .args(["bench", "--systems", "nommu-patch@vhost,nommu-patch@switch-sleep", "--cases", "tcp,TCP_RR"])
        .args(["--runs", "1", "--out"])
        .arg(&scratch.0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&fs::read_to_string(scratch.0.join("report.json")).unwrap()).unwrap();
    let results = report["results"].as_array().unwrap();
    assert_eq!(results.len(), 4);
    for series in results {
        assert!(series["median"].as_f64().unwrap() > 0.0, "{series}");
        for side in ["guest_side", "host_side"] {
            assert!(series["cpu_seconds"][side].as_f64().unwrap() > 0.0, "{series}");
        }
    }
    assert_eq!(traces(pid), Vec::<PathBuf>::new());
}
