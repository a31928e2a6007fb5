//! `appliance soak storage`: machines that are killed at random moments while they write, and what is left of their disks.
//!
//! A guest with an ext4 root makes directories, writes, moves and removes, syncs, and tells of each sync. It is killed
//! (SIGKILL) after a random time. Then our own recovery is tried on a copy of the image, e2fsck's on the image itself, and
//! every file that the guest had told of must be there with its contents. The next round goes on with the same image. A
//! difference ends the soak, and the image of that moment stays for a look.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::guest;
use crate::interrupt::Interrupt;
use crate::process::{self, Process};
use crate::progress::Progress;

/// What the guest runs. `i` counts on over the whole life of the image. `many` is a directory with a hash tree.
const WORKLOAD: &str = "i=$(cat /count 2>/dev/null || echo 0); while :; do i=$((i+1)); mkdir /d$i; \
     echo contents $i > /d$i/f; dd if=/dev/zero of=/z$((i%5)) bs=4k count=$((i%90)) 2>/dev/null; \
     ln /d$i/f /d$i/l; ln -s f /d$i/s; ln /d$i/f /many/a-name-that-is-one-of-many-$i; rm -rf /d$((i-40)); \
     rm -f /many/a-name-that-is-one-of-many-$((i-400)); echo $i > /count; sync; echo synced $i; \
     echo junk > /d$i/g; mv /d$i/g /d$i/h; truncate -s $((i*7%50000)) /d$i/h; done";

/// How many of the last synced files are looked at after each kill: as many as the workload keeps, without the oldest.
const KEPT: u32 = 30;

/// The command's options.
#[derive(Debug, Args)]
pub struct StorageArgs {
    /// How many machines are killed
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    kills: u32,
    /// Begins the random moments; the same seed gives the same ones [default: by the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Folder of the report and, after a failure, of the image
    #[arg(long, value_name = "DIR", default_value = "soak-results")]
    out: PathBuf,
    /// The kernel to boot [default: beside this program]
    #[arg(long, value_name = "PATH")]
    vmlinux: Option<PathBuf>,
}

/// What happened to images of one kind.
#[derive(Debug, Default)]
struct Tally {
    kills: u32,
    synced: u32,
    recovered: u32,
    clean: u32,
}

struct Soak {
    vmlinux: PathBuf,
    image: PathBuf,
    copy: PathBuf,
    random: u64,
}

impl StorageArgs {
    /// Kills and checks; writes the report.
    ///
    /// # Errors
    /// The first difference, with the place of the image.
    pub fn run(self) -> Result<ExitCode> {
        let interrupt = Interrupt::install()?;
        let vmlinux = guest::find_vmlinux(self.vmlinux.as_deref())?;
        fs::create_dir_all(&self.out).with_context(|| format!("cannot make {}", self.out.display()))?;
        let out = fs::canonicalize(&self.out)?;
        let by_clock = || std::time::UNIX_EPOCH.elapsed().map_or(1, |d| d.as_nanos() as u64);
        let seed = self.seed.unwrap_or_else(by_clock);
        let kinds: [(&str, &[&str]); 3] = [
            ("4 KB blocks", &["-b", "4096"]),
            ("1 KB blocks", &["-b", "1024"]),
            ("no checksums", &["-O", "^metadata_csum"]),
        ];
        let started = Instant::now();
        let mut progress = Progress::new(self.kills as usize, 10);
        let mut tallies = Vec::new();
        let mut left = self.kills;
        for (n, (name, options)) in kinds.into_iter().enumerate() {
            let share = left / (kinds.len() - n) as u32;
            left -= share;
            let mut soak = Soak {
                vmlinux: vmlinux.clone(),
                image: out.join(format!(".image-{}", std::process::id())),
                copy: out.join(format!(".copy-{}", std::process::id())),
                random: seed.wrapping_add(n as u64),
            };
            make_image(&soak.image, options)?;
            let mut tally = Tally::default();
            for _ in 0..share {
                interrupt.check()?;
                progress.begin(&format!("killing a machine with {name}"));
                if let Err(e) = soak.round(&mut tally, &interrupt) {
                    let kept = out.join("failed.ext4");
                    fs::rename(&soak.image, &kept)?;
                    return Err(e.context(format!(
                        "seed {seed}, {name}, kill {}; image: {}",
                        tally.kills,
                        kept.display()
                    )));
                }
                progress.end();
            }
            tallies.push((name, tally));
        }
        progress.finish("all images are sound");
        let report = report(seed, started.elapsed(), &tallies);
        let path = out.join("storage.md");
        fs::write(&path, &report).with_context(|| format!("cannot write {}", path.display()))?;
        print!("{report}");
        Ok(ExitCode::SUCCESS)
    }
}

impl Drop for Soak {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.image);
        _ = fs::remove_file(&self.copy);
    }
}

impl Soak {
    fn next(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.random >> 33) % below
    }

    fn machine(&self, image: &Path, script: &str) -> Command {
        let mut command = Command::new(&self.vmlinux);
        command.arg(format!("ubd0={}", image.display()));
        command.args(["rw", "mem=64m", "quiet", "init=/bin/sh", "--", "-c", script]);
        command.stdin(Stdio::null());
        command
    }

    fn round(&mut self, tally: &mut Tally, interrupt: &Interrupt) -> Result<()> {
        let life = Duration::from_millis(100 + self.next(1200));
        let mut command = self.machine(&self.image, WORKLOAD);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut machine = Process::spawn("vmlinux", command)?;
        let mut output = machine.take_stdout().context("vmlinux has no output")?;
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            _ = output.read_to_string(&mut text);
            text
        });
        std::thread::sleep(life);
        if !machine.is_running() {
            bail!("the machine ended by itself: {}", reader.join().unwrap_or_default());
        }
        let pid = rustix::process::Pid::from_raw(machine.id().cast_signed()).context("no pid")?;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
        machine.wait(Duration::from_secs(10), interrupt)?;
        tally.kills += 1;
        let told = reader.join().unwrap_or_default();
        let numbers = told.lines().filter_map(|l| l.trim().strip_prefix("synced ")?.parse::<u32>().ok());
        let last = numbers.clone().max();
        tally.synced += numbers.count() as u32;

        fs::copy(&self.image, &self.copy)?;
        let look = process::run(&mut self.machine(&self.copy, "cat /count || true"))
            .context("our own mount after the kill")?;
        let ours = String::from_utf8_lossy(&look.stdout).trim().parse::<u32>().unwrap_or(0);
        if last.is_some_and(|last| ours < last) {
            bail!("our recovery lost a sync: {ours} of {last:?}");
        }
        self.e2fsck("-fn", &self.copy, &[0]).context("after our own recovery")?;
        match self.e2fsck("-fp", &self.image, &[0, 1])? {
            0 => tally.clean += 1,
            _ => tally.recovered += 1,
        }
        self.e2fsck("-fn", &self.image, &[0])?;
        if let Some(last) = last {
            self.check_files(last)?;
        }
        Ok(())
    }

    fn e2fsck(&self, how: &str, image: &Path, accepted: &[i32]) -> Result<i32> {
        let tool = process::find_program("e2fsck").context("e2fsck is missing (package e2fsprogs)")?;
        let output = Command::new(tool).arg(how).arg(image).output()?;
        match output.status.code() {
            Some(code) if accepted.contains(&code) => Ok(code),
            code => bail!("e2fsck {how}: status {code:?}: {}", String::from_utf8_lossy(&output.stdout).trim()),
        }
    }

    /// Every file that was synced lately is there, under all of its names.
    fn check_files(&self, last: u32) -> Result<()> {
        let tool = process::find_program("debugfs").context("debugfs is missing (package e2fsprogs)")?;
        let mut script = String::new();
        let first = last.saturating_sub(KEPT).max(1);
        for i in first..=last {
            writeln!(script, "cat /d{i}/f\ncat /d{i}/l\ncat /many/a-name-that-is-one-of-many-{i}")?;
        }
        fs::write(&self.copy, script)?;
        let output = process::run(Command::new(tool).arg("-f").arg(&self.copy).arg(&self.image))?;
        let shown = String::from_utf8_lossy(&output.stdout);
        for i in first..=last {
            let wanted = format!("contents {i}");
            if shown.lines().filter(|l| *l == wanted).count() != 3 {
                bail!("/d{i}/f was synced (up to {last}) and is lost or changed");
            }
        }
        Ok(())
    }
}

/// An image with busybox.
fn make_image(image: &Path, options: &[&str]) -> Result<()> {
    let busybox = process::find_program("busybox").context("busybox is missing (package busybox-static)")?;
    let root = image.with_extension("root");
    _ = fs::remove_dir_all(&root);
    for folder in ["bin", "dev", "proc", "tmp", "many"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::copy(busybox, root.join("bin/busybox"))?;
    for applet in ["sh", "cat", "echo", "mkdir", "dd", "rm", "mv", "ln", "sync", "truncate"] {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    _ = fs::remove_file(image);
    let tool = process::find_program("mke2fs").context("mke2fs is missing (package e2fsprogs)")?;
    let made = process::run(
        Command::new(tool).args(["-q", "-F", "-t", "ext4"]).args(options).arg("-d").arg(&root).arg(image).arg("48M"),
    );
    fs::remove_dir_all(&root)?;
    made.map(drop)
}

fn report(seed: u64, took: Duration, tallies: &[(&str, Tally)]) -> String {
    let mut text = format!(
        "# Soak: storage\n\nMachines on ext4 images, killed at random moments (seed {seed}), {:.0} s in all. After each kill our own \
         recovery of a copy and e2fsck's of the image were checked with `e2fsck -fn`, and all files that were synced were there.\n\n\
         | image | kills | syncs told | e2fsck -fp: status 1 | status 0 | lost |\n\
         | --- | --- | --- | --- | --- | --- |\n",
        took.as_secs_f64()
    );
    for (name, t) in tallies {
        text += &format!("| {name} | {} | {} | {} | {} | 0 |\n", t.kills, t.synced, t.recovered, t.clean);
    }
    text
}
