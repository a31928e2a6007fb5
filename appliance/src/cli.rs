//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{ArgGroup, Args, Parser, Subcommand};

use crate::bench::pinning::Wish;
use crate::bench::plan::{Plan, Preset, Wishes};
use crate::bench::systems::Kind;
use crate::bench::workloads::Workload;
use crate::guest::Hook;
use crate::interrupt::Interrupt;
use crate::report::timestamp::Timestamp;
use crate::rootfs::recipe::Recipe;
use crate::{bench, doctor, down, rootfs, shell, soak};

/// Runs programs in Flatland guests and measures them.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what this host has, what it lacks, and how to mend it
    Doctor,
    /// Make root directories for guests
    #[command(subcommand)]
    Rootfs(RootfsCommand),
    /// Measure guests against the native host (needs root)
    Bench(BenchArgs),
    /// Boot a guest with a shell on this terminal
    Shell(ShellArgs),
    /// Work a guest for long and see that it does not grow
    #[command(subcommand)]
    Soak(SoakCommand),
    /// Clear what a killed appliance left on the host (needs root)
    Down,
}

#[derive(Debug, Subcommand)]
enum RootfsCommand {
    /// Build a root directory from Debian packages
    Build(BuildArgs),
}

#[derive(Debug, Subcommand)]
enum SoakCommand {
    /// Make and end processes and threads
    Process(SoakArgs),
}

#[derive(Debug, Args)]
struct SoakArgs {
    /// Processes to fork, execute and wait for
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    cycles: u64,
    /// Threads to make and join
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    threads: u64,
    /// Decides how they are batched and how they end
    #[arg(long, default_value_t = 1, value_name = "S")]
    seed: u32,
    /// How system calls reach the guest's kernel
    #[arg(long, value_enum, default_value = "patch")]
    hook: Hook,
    /// Guest memory
    #[arg(long, default_value = "512m", value_name = "SIZE")]
    mem: String,
    /// Folder of the report [default: soak-results/TIME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A root directory with the soak program [default: built in the cache folder]
    #[arg(long, value_name = "DIR")]
    rootfs: Option<PathBuf>,
    /// The kernel to boot [default: beside this program]
    #[arg(long, value_name = "PATH")]
    vmlinux: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct BuildArgs {
    /// A built-in recipe (netbench, minimal) or a TOML file
    #[arg(long, default_value = "netbench", value_name = "NAME|FILE")]
    recipe: String,
    /// Where to build it [default: the cache folder]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Build it again even when it is there
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("cpus"))]
struct BenchArgs {
    /// What to run [default: all]
    #[arg(long, value_delimiter = ',', value_enum)]
    workloads: Vec<Workload>,
    /// Where to run it [default: all]
    #[arg(long, value_delimiter = ',', value_enum)]
    systems: Vec<Kind>,
    /// Rounds [default: the preset's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: Option<u32>,
    /// Measured seconds of each network run [default: the preset's]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: Option<u32>,
    /// Which cases, and how often
    #[arg(long, value_enum, default_value = "quick")]
    preset: Preset,
    /// Servers on one CPU, guests on another [default with two CPUs]
    #[arg(long, group = "cpus")]
    pin: bool,
    /// The host's scheduler decides
    #[arg(long, group = "cpus")]
    free: bool,
    /// Folder of the report [default: bench-results/TIME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A root directory with the tools [default: built in the cache folder]
    #[arg(long, value_name = "DIR")]
    rootfs: Option<PathBuf>,
    /// The kernel to boot [default: beside this program]
    #[arg(long, value_name = "PATH")]
    vmlinux: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ShellArgs {
    /// The guest's root directory [default: netbench, built in the cache folder]
    #[arg(long, value_name = "DIR")]
    rootfs: Option<PathBuf>,
    /// Let the guest write to its root directory
    #[arg(long)]
    rw: bool,
    /// How system calls reach the guest's kernel [default: vmlinux's]
    #[arg(long, value_enum)]
    hook: Option<Hook>,
    /// Guest memory
    #[arg(long, default_value = "512m", value_name = "SIZE")]
    mem: String,
    /// The kernel to boot [default: beside this program]
    #[arg(long, value_name = "PATH")]
    vmlinux: Option<PathBuf>,
    /// A program of the root directory to run in place of a shell
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

impl Cli {
    /// Does what was asked for.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Doctor => Ok(doctor::run()),
            Command::Rootfs(RootfsCommand::Build(args)) => args.run(),
            Command::Bench(args) => bench::run(Plan::new(args.wishes())?),
            Command::Shell(args) => shell::run(args.options()),
            Command::Soak(SoakCommand::Process(args)) => soak::run(&args.options()),
            Command::Down => down::run(),
        }
    }
}

impl SoakArgs {
    fn options(self) -> soak::Options {
        let out = || PathBuf::from("soak-results").join(Timestamp::now().compact());
        soak::Options {
            cycles: self.cycles,
            threads: self.threads,
            seed: self.seed,
            hook: self.hook,
            memory: self.mem,
            rootfs: self.rootfs,
            vmlinux: self.vmlinux,
            out: self.out.unwrap_or_else(out),
        }
    }
}

impl BuildArgs {
    fn run(self) -> Result<ExitCode> {
        let recipe = Recipe::load(&self.recipe)?;
        let interrupt = Interrupt::install()?;
        let rootfs = rootfs::ensure(&recipe, self.dir.as_deref(), self.force, &interrupt)?;
        println!("{}", rootfs.dir.display());
        Ok(ExitCode::SUCCESS)
    }
}

impl BenchArgs {
    fn wishes(self) -> Wishes {
        Wishes {
            preset: self.preset,
            workloads: self.workloads,
            systems: self.systems,
            rounds: self.runs,
            seconds: self.seconds,
            pinning: match (self.pin, self.free) {
                (true, _) => Wish::Pin,
                (_, true) => Wish::Free,
                _ => Wish::Whatever,
            },
            out: self.out,
            rootfs: self.rootfs,
            vmlinux: self.vmlinux,
        }
    }
}

impl ShellArgs {
    fn options(self) -> shell::Options {
        shell::Options {
            rootfs: self.rootfs,
            vmlinux: self.vmlinux,
            hook: self.hook,
            memory: self.mem,
            writable: self.rw,
            command: self.command,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn bench(args: &[&str]) -> Result<Wishes, clap::Error> {
        match Cli::try_parse_from([&["appliance", "bench"], args].concat())?.command {
            Command::Bench(args) => Ok(args.wishes()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn systems_and_workloads_have_their_documented_names() {
        let line = "--workloads iperf3,netperf,getpid --systems native,nommu-seccomp,nommu-patch --runs 4 --free";
        let wishes = bench(&line.split(' ').collect::<Vec<_>>()).unwrap();
        assert_eq!(wishes.workloads, Workload::ALL);
        assert_eq!(wishes.systems, Kind::ALL);
        assert_eq!((wishes.rounds, wishes.pinning), (Some(4), Wish::Free));
    }

    #[test]
    fn nonsense_is_refused_with_what_is_accepted() {
        let error = bench(&["--systems", "nativ"]).err().unwrap().to_string();
        assert!(error.contains("nommu-seccomp"), "{error}");
        assert!(bench(&["--pin", "--free"]).is_err());
        assert!(bench(&["--runs", "0"]).is_err());
        assert!(Cli::try_parse_from(["appliance"]).is_err());
    }
}
