//! Root directories end to end. Needs a Debian mirror or a filled cache, and no root.

use std::fs;
use std::process::{Command, Output};

const APPLIANCE: &str = env!("CARGO_BIN_EXE_appliance");

fn build(args: &[&str]) -> Output {
    Command::new(APPLIANCE).args(["rootfs", "build"]).args(args).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_minimal_root_is_built_once_and_its_programs_run() {
    let folder = std::env::temp_dir().join(format!("flatland-rootfs-{}", std::process::id()));
    let dir = folder.join("minimal");
    let path = dir.display().to_string();
    let first = build(&["--recipe", "minimal", "--dir", &path]);
    assert!(first.status.success(), "{}", stderr(&first));
    assert_eq!(String::from_utf8_lossy(&first.stdout).trim(), path);

    // busybox is static, so it runs here as it will run in a guest.
    let shell = Command::new(dir.join("usr/bin/busybox")).args(["sh", "-c", "echo $((6*7))"]).output().unwrap();
    assert_eq!(shell.stdout, b"42\n");
    assert_eq!(fs::read_link(dir.join("bin")).unwrap().to_str(), Some("usr/bin"));
    assert_eq!(fs::read_link(dir.join("usr/bin/sh")).unwrap().to_str(), Some("busybox"));
    assert!(fs::read_to_string(dir.join("etc/passwd")).unwrap().starts_with("root:x:0:0:"));

    let stamp = fs::metadata(dir.join("etc/flatland-rootfs.json")).unwrap().modified().unwrap();
    let second = build(&["--recipe", "minimal", "--dir", &path]);
    assert!(second.status.success() && second.stderr.is_empty(), "{}", stderr(&second));
    assert_eq!(fs::metadata(dir.join("etc/flatland-rootfs.json")).unwrap().modified().unwrap(), stamp);

    let left: Vec<_> = fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.file_name()).collect();
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(left, ["minimal"]);
}

#[test]
fn a_directory_of_somebody_else_is_not_overwritten() {
    let folder = std::env::temp_dir().join(format!("flatland-foreign-root-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("precious"), "data").unwrap();
    let output = build(&["--recipe", "minimal", "--dir", &folder.display().to_string()]);
    let kept = fs::read_to_string(folder.join("precious"));
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--dir"), "{}", stderr(&output));
    assert_eq!(kept.unwrap(), "data");
}

#[test]
fn an_unknown_recipe_names_the_known_ones() {
    let output = build(&["--recipe", "nosuch"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("netbench") && stderr(&output).contains("minimal"), "{}", stderr(&output));
}

/// Boots `vmlinux`, which lies beside the appliance (scripts/test builds both), and returns what the script printed.
fn boot(words: &[&str], script: &str) -> String {
    let vmlinux = std::path::Path::new(APPLIANCE).with_file_name("vmlinux");
    let mut command = Command::new(vmlinux);
    command.args(["mem=64m", "quiet", "init=/bin/sh"]).args(words).args(["--", "-c", script]);
    let output = command.output().expect("vmlinux beside the appliance: cargo build -p kernel");
    assert!(output.status.success(), "{words:?}: {}", stderr(&output));
    String::from_utf8_lossy(&output.stdout).replace('\r', "")
}

#[test]
fn images_and_archives_are_the_same_each_time_and_boot() {
    let folder = std::env::temp_dir().join(format!("flatland-rootfs-image-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let dir = folder.join("minimal").display().to_string();
    let make = |form: &[&str], name: &str| {
        let out = folder.join(name).display().to_string();
        let output = build(&[&["--recipe", "minimal", "--dir", &dir, "--out", &out], form].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        out
    };
    let (one, two) = (make(&["--ext4", "32m"], "one.ext4"), make(&["--ext4", "32m"], "two.ext4"));
    let (first, second) = (make(&["--cpio"], "one.cpio"), make(&["--cpio"], "two.cpio"));
    let same = fs::read(&one).unwrap() == fs::read(&two).unwrap();
    let same_archives = fs::read(&first).unwrap() == fs::read(&second).unwrap();
    let text = boot(&[&format!("ubd0={one}"), "rw"], "echo x > /new; ls -ln /bin/busybox /etc/passwd; cat /new");
    let initrd = boot(&[&format!("initrd={first}")], "cat /etc/passwd");
    let clean = Command::new("/sbin/e2fsck").args(["-fn", &one]).output().unwrap();
    let tar = folder.join("tree.tar").display().to_string();
    Command::new("tar").args(["-c", "-f", &tar, "-C", &dir, "."]).status().unwrap();
    let imported = folder.join("imported.ext4").display().to_string();
    let import = Command::new(APPLIANCE)
        .args(["rootfs", "import", &tar, "--ext4", "32m", "--out", &imported])
        .env("XDG_CACHE_HOME", &folder)
        .output()
        .unwrap();
    let again = boot(&[&format!("ubd0r={imported}")], "cat /etc/hostname");
    let small = build(&["--recipe", "minimal", "--dir", &dir, "--ext4", "4m"]);
    fs::remove_dir_all(&folder).unwrap();
    assert!(same && same_archives, "two builds of one tree differ");
    assert!(text.ends_with("x\n") && text.contains(" 0 ") && clean.status.success(), "{text}");
    assert!(initrd.starts_with("root:x:0:0:"), "{initrd}");
    assert!(import.status.success() && again == "flatland\n", "{} {again}", stderr(&import));
    assert!(!small.status.success() && stderr(&small).contains("--ext4"), "{}", stderr(&small));
}
