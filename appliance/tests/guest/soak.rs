//! `appliance soak`, a hundredth of the full runs: a machine that makes and ends processes does not grow; links on shared memory
//! carry every byte without each of their features, and outlive their peers.

use std::fs;
use std::process::Command;

use crate::lab::{APPLIANCE, netbench, vmlinux};

#[test]
fn a_hundredth_of_the_soak_passes() {
    let out = std::env::temp_dir().join(format!("flatland-soak-{}", std::process::id()));
    let output = Command::new(APPLIANCE)
        .args(["soak", "process", "--cycles", "1000", "--threads", "10000", "--seed", "7", "--out"])
        .arg(&out)
        .arg("--rootfs")
        .arg(&netbench().dir)
        .arg("--vmlinux")
        .arg(vmlinux())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("# Soak of processes and threads: passed"), "{text}");
    let report: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(out.join("report.json")).unwrap()).unwrap();
    assert_eq!((&report["seed"], &report["cycles"], &report["schema_version"]), (&7.into(), &1000.into(), &1.into()));
    let samples = report["samples"].as_array().unwrap();
    for (phase, total) in [("processes", 1000), ("threads", 10_000)] {
        let last = samples.iter().rev().find(|sample| sample["phase"] == phase).unwrap();
        assert_eq!(last["done"], total, "{last}");
    }
    fs::remove_dir_all(&out).unwrap();
}

#[test]
fn a_hundredth_of_the_vhost_soak_passes() {
    let out = std::env::temp_dir().join(format!("flatland-soak-vhost-report-{}", std::process::id()));
    let output = Command::new(APPLIANCE)
        .args(["soak", "vhost", "--share", "1", "--seed", "5", "--out"])
        .arg(&out)
        .arg("--rootfs")
        .arg(&netbench().dir)
        .arg("--vmlinux")
        .arg(vmlinux())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let report = fs::read_to_string(out.join("vhost.md")).unwrap();
    assert!(text.contains(&report) && report.contains("seed 5, 1 % of the full run"), "{text}");
    for row in ["| nothing |", "| mrg_rxbuf |", "| host_tso6 |", "| reply_ack |", "| everything |"] {
        assert!(report.contains(row), "{report}");
    }
    for killed in ["driver, connects", "device, connects", "driver, listens", "device, listens"] {
        assert_eq!(report.matches(&format!("| {killed} |")).count(), 2, "{report}");
    }
    fs::remove_dir_all(&out).unwrap();
}
