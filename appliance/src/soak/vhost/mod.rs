//! `appliance soak vhost`: two guests on shared memory, with every optional feature left out in turn, and with one of them
//! killed at random moments.
//!
//! First 10 GB of noise go each way at once for each feature that a link works without, and both ends must agree on the
//! SHA-256 of what went. Then one guest stays and the other is killed, 500 times in all four pairs of roles (device or driver,
//! listening or connecting), now and then before the link is up; each successor must be found.

mod cable;
mod kills;
mod random;
mod transfer;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use netdrv::vhost_user::optional_features;

use crate::guest;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::rootfs::{self, Rootfs, recipe::Recipe};
use cable::Cable;
use kills::{Kills, ROLES};
use random::Random;
use transfer::Transfer;

const RECIPE: &str = "netbench";
/// Of a full run: bytes each way for each feature, and guests that are killed.
const BYTES: u64 = 10_000_000_000;
const KILLS: u32 = 500;

/// The command's options.
#[derive(Debug, Args)]
pub struct VhostArgs {
    /// How much of the full run is done
    #[arg(long, default_value_t = 100, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=100))]
    share: u32,
    /// Begins the random moments; the same seed gives the same ones [default: by the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Folder of the report
    #[arg(long, value_name = "DIR", default_value = "soak-results")]
    out: PathBuf,
    /// A root directory with python3 [default: built in the cache folder]
    #[arg(long, value_name = "DIR")]
    rootfs: Option<PathBuf>,
    /// The kernel to boot [default: beside this program]
    #[arg(long, value_name = "PATH")]
    vmlinux: Option<PathBuf>,
}

impl VhostArgs {
    /// Moves, kills and checks; writes the report.
    ///
    /// # Errors
    /// The first difference, with the seed.
    pub fn run(self) -> Result<ExitCode> {
        let interrupt = Interrupt::install()?;
        let vmlinux = guest::find_vmlinux(self.vmlinux.as_deref())?;
        let rootfs = match &self.rootfs {
            Some(dir) => Rootfs::open(dir)?,
            None => rootfs::ensure(&Recipe::load(RECIPE)?, None, false, &interrupt)?,
        };
        fs::create_dir_all(&self.out).with_context(|| format!("cannot make {}", self.out.display()))?;
        let by_clock = || std::time::UNIX_EPOCH.elapsed().map_or(1, |d| d.as_nanos() as u64);
        let seed = self.seed.unwrap_or_else(by_clock);
        let cable = Cable::new(vmlinux, rootfs.dir)?;
        let started = Instant::now();
        let (transfers, kills) = self.soak(&cable, seed, &interrupt).with_context(|| format!("seed {seed}"))?;
        let report = report(self.share, seed, started.elapsed(), &transfers, &kills);
        let path = self.out.join("vhost.md");
        fs::write(&path, &report).with_context(|| format!("cannot write {}", path.display()))?;
        print!("{report}");
        Ok(ExitCode::SUCCESS)
    }

    fn soak(&self, cable: &Cable, seed: u64, interrupt: &Interrupt) -> Result<(Vec<Transfer>, Vec<Kills>)> {
        let mut random = Random::new(seed);
        let all: Vec<&str> = optional_features().collect();
        let (nothing, everything) = (("nothing", String::new()), ("everything", all.join("+")));
        let each = all.iter().map(|&name| (name, name.to_owned()));
        let features: Vec<(&str, String)> = std::iter::once(nothing).chain(each).chain([everything]).collect();
        let count = (KILLS * self.share).div_ceil(100);
        let mut progress = Progress::new(features.len() + count as usize, 3);
        let mut transfers = Vec::new();
        for (without, off) in &features {
            progress.begin(&format!("noise both ways without {without}"));
            let idle = if random.below(2) == 0 { "spin:50" } else { "sleep" };
            let bytes = BYTES / 100 * u64::from(self.share);
            let done = transfer::run(cable, without, off, bytes, idle, interrupt);
            transfers.push(done.with_context(|| format!("without {without}, idle={idle}"))?);
            progress.end();
        }
        let (mut tallies, mut left) = (Vec::new(), count);
        for (n, roles) in ROLES.into_iter().enumerate() {
            let share = left.div_ceil((ROLES.len() - n) as u32);
            left -= share;
            progress.begin("killing one of two guests");
            tallies.push(kills::run(cable, roles, share, &mut random, &mut progress, interrupt)?);
        }
        progress.finish("all bytes arrived, and all successors were found");
        Ok((transfers, tallies))
    }
}

fn report(share: u32, seed: u64, took: Duration, transfers: &[Transfer], kills: &[Kills]) -> String {
    let mut text = format!(
        "# Soak: vhost-user\n\nTwo guests on shared memory; commit {}, seed {seed}, {share} % of the full run, {:.0} s in all.\n\n\
         ## Noise both ways at once\n\nEach row is a link on which the feature is not offered. Both ends computed the SHA-256 of what \
         they sent and received, and agreed; the sums' first digits are those of client to server, and back.\n\n\
         | without | idle= | GB each way | seconds | sums |\n| --- | --- | --- | --- | --- |\n",
        super::commit(),
        took.as_secs_f64()
    );
    for t in transfers {
        _ = writeln!(
            text,
            "| {} | {} | {} | {:.1} | {} {} |",
            t.without,
            t.idle,
            t.bytes as f64 / 1e9,
            t.took.as_secs_f64(),
            t.sums[0],
            t.sums[1],
        );
    }
    text += "\n## Kills\n\nThe first guest stays, the second is killed (SIGKILL) at random moments, some of them before the link is up. \
             Each successor was found by the one that stays: the time from its start to its first 64 KB that came back unharmed, \
             boot and interpreter included.\n\n\
             | stays | killed | kills | before the link was up | found | median ms | longest ms |\n\
             | --- | --- | --- | --- | --- | --- | --- |\n";
    for k in kills {
        let mut times: Vec<f64> = k.found.iter().map(|time| time.as_secs_f64() * 1000.0).collect();
        times.sort_by(f64::total_cmp);
        let (middle, longest) = (times.get(times.len() / 2), times.last());
        let [middle, longest] = [middle, longest].map(|time| time.copied().unwrap_or_default());
        let (stays, killed, count, early, found) = (&k.stays, &k.killed, k.kills, k.early, k.found.len());
        _ = writeln!(text, "| {stays} | {killed} | {count} | {early} | {found} | {middle:.0} | {longest:.0} |");
    }
    text
}
