//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{ArgGroup, Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::bench::brake::SlowDown;
use crate::bench::pinning::Wish;
use crate::bench::plan::{Plan, Preset, Wishes};
use crate::bench::stats::verdict::Verdict;
use crate::bench::systems::Choice;
use crate::bench::workloads::command::{Number, UserCommand};
use crate::bench::workloads::{Better, Workload};
use crate::guest::Hook;
use crate::interrupt::Interrupt;
use crate::report::comparison::Comparison;
use crate::report::timestamp::Timestamp;
use crate::report::{self, Report};
use crate::rootfs::ext4::parse_size;
use crate::rootfs::image::{self, Form};
use crate::rootfs::recipe::Recipe;
use crate::soak::storage::StorageArgs;
use crate::soak::vhost::VhostArgs;
use crate::{bench, doctor, down, paperwork, rootfs, shell, soak, switch};

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
    /// Say what changed beyond noise between two reports of a bench
    Compare(CompareArgs),
    /// Boot a guest with a shell on this terminal
    Shell(ShellArgs),
    /// Run something for long and look whether it holds
    #[command(subcommand)]
    Soak(SoakCommand),
    /// Switch ethernet frames between vhost-user ports and taps
    Switch(SwitchArgs),
    /// Clear what a killed appliance left on the host (needs root)
    Down,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write manual pages
    Man {
        /// The folder that they go into
        #[arg(long, default_value = ".", value_name = "DIR")]
        out: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum RootfsCommand {
    /// Build a root directory, an ext4 image or a cpio archive from Debian packages
    Build(BuildArgs),
    /// Make one from a tar archive of a tree, or from an OCI image layout
    Import(ImportArgs),
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct FormArgs {
    /// Write an ext4 image of this size, for ubd0= (512m, 2g)
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    ext4: Option<u64>,
    /// Write a cpio archive, for initrd=
    #[arg(long)]
    cpio: bool,
}

impl FormArgs {
    fn form(&self) -> Option<Form> {
        if self.cpio { Some(Form::Cpio) } else { self.ext4.map(Form::Ext4) }
    }
}

#[derive(Debug, Args)]
struct ImportArgs {
    /// A tar archive (any compression that tar knows), or a folder with an OCI image layout
    #[arg(value_name = "TAR|OCI-LAYOUT")]
    source: PathBuf,
    /// Unpack it there and keep it
    #[arg(long)]
    dir: Option<PathBuf>,
    #[command(flatten)]
    form: FormArgs,
    /// Where the image or archive goes [default: NAME.ext4 or NAME.cpio here]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CompareArgs {
    /// The report.json to compare with
    earlier: PathBuf,
    /// The report.json that is judged
    later: PathBuf,
    /// Let rows have a verdict, too, when others took CPU time from half of their runs
    #[arg(long)]
    trust_noisy: bool,
    /// Print the rows as JSON, as `baseline` has them in a report.json
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum SoakCommand {
    /// Kill machines while they write, and see that their ext4 images lose nothing
    Storage(StorageArgs),
    /// Make and end processes and threads, and see that the machine does not grow
    Process(ProcessArgs),
    /// Move noise between two guests on shared memory, and kill one of them, with features left out in turn
    Vhost(VhostArgs),
}

#[derive(Debug, Args)]
struct ProcessArgs {
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
    /// A built-in recipe (netbench, minimal, debian) or a TOML file
    #[arg(long, default_value = "netbench", value_name = "NAME|FILE")]
    recipe: String,
    /// Where to build it [default: the cache folder]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Packages beside the recipe's
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    packages: Vec<String>,
    #[command(flatten)]
    form: FormArgs,
    /// Where the image or archive goes [default: RECIPE.ext4 or RECIPE.cpio here]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
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
    /// Only these cases of the workloads, whether the preset has them or not (docs/benchmarking.md has their names)
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    cases: Vec<String>,
    /// Where to run it: native, native-lo, native-nooff, um, um-seccomp, um-legacy, gvisor, nommu-seccomp, nommu-sud,
    /// nommu-patch, nommu-zpoline; those with a tap also as NAME@bridge and NAME@guests, Flatland also as NAME@vhost,
    /// NAME@vhost-sleep, NAME@switch, NAME@switch-sleep; the groups nommu (nothing to download), peers, all
    /// [default: peers = native,um,um-seccomp,gvisor,nommu-seccomp,nommu-patch]
    #[arg(long, value_delimiter = ',', value_name = "NAME", value_parser = SystemList::parse)]
    systems: Vec<SystemList>,
    /// A command of your own for the root directory's shell, measured by its wall time; without --workloads, alone
    #[arg(long, value_name = "LINE")]
    cmd: Option<String>,
    /// The number that --cmd prints behind TEXT counts, too; more is better
    #[arg(long, value_name = "TEXT", requires = "cmd")]
    cmd_rate: Vec<String>,
    /// The same for a number of which less is better
    #[arg(long, value_name = "TEXT", requires = "cmd")]
    cmd_cost: Vec<String>,
    /// Seconds after which --cmd is killed
    #[arg(long, value_name = "S", default_value = "300", value_parser = clap::value_parser!(u32).range(1..=86400))]
    cmd_limit: u32,
    /// A report.json to compare with: says what changed beyond noise
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Let rows have a verdict against the baseline, too, when others took CPU time from half of their runs
    #[arg(long, requires = "baseline")]
    trust_noisy: bool,
    /// Slow a system down on purpose, to see whether a comparison notices
    #[arg(long, value_name = "SYSTEM=PERCENT", value_parser = SlowDown::parse, hide_short_help = true)]
    slow: Option<SlowDown>,
    /// Rounds [default: the preset's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: Option<u32>,
    /// Measured seconds of each network run [default: the preset's]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: Option<u32>,
    /// Begin no round that would last longer than so many minutes from the first one's start
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: Option<u32>,
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

/// What one word of `--systems` stands for.
#[derive(Clone, Debug)]
struct SystemList(Vec<Choice>);

impl SystemList {
    fn parse(word: &str) -> Result<Self, String> {
        Choice::expand(word).map(Self)
    }
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

#[derive(Debug, Args)]
struct SwitchArgs {
    /// vhost-user,SOCKET[,client][,mtu=N][,off=FEATURE+...], tuntap,TAP[,MAC][,HOST-IP] or raw,INTERFACE
    #[arg(required = true, num_args = 2.., value_name = "PORT")]
    ports: Vec<String>,
    /// Write every frame that comes in to this pcapng file
    #[arg(long, value_name = "FILE")]
    mirror: Option<PathBuf>,
    /// How to wait for frames: spin:MICROSECONDS or sleep
    #[arg(long, default_value = "spin:50")]
    idle: switch::Idle,
    /// Print the counters this often, not only at the end
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86400))]
    counters: Option<u32>,
}

impl Cli {
    /// Does what was asked for.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Doctor => Ok(doctor::run()),
            Command::Rootfs(RootfsCommand::Build(args)) => args.run(),
            Command::Rootfs(RootfsCommand::Import(args)) => args.run(),
            Command::Bench(args) => bench::run(Plan::new(args.wishes()?)?),
            Command::Compare(args) => args.run(),
            Command::Shell(args) => shell::run(args.options()),
            Command::Soak(SoakCommand::Storage(args)) => args.run(),
            Command::Soak(SoakCommand::Vhost(args)) => args.run(),
            Command::Soak(SoakCommand::Process(args)) => soak::process::run(&args.options()),
            Command::Switch(args) => switch::run(&args.options()),
            Command::Down => down::run(),
            Command::Completions { shell } => paperwork::completions(Cli::command(), shell),
            Command::Man { out } => paperwork::manual_pages(Cli::command(), &out),
        }
    }
}

impl CompareArgs {
    /// Exit status 1 where something became worse.
    fn run(self) -> Result<ExitCode> {
        let (path, earlier) = Report::read(&self.earlier)?;
        let (_, later) = Report::read(&self.later)?;
        let comparison = Comparison::new(&later, &earlier, &path, self.trust_noisy);
        match self.json {
            true => println!("{}", serde_json::to_string_pretty(&comparison)?),
            false => print!("{}", report::markdown::changes(&comparison).trim_start()),
        }
        let worse = comparison.changes.iter().any(|change| change.judged.verdict == Verdict::Worse);
        Ok(if worse { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

impl ProcessArgs {
    fn options(self) -> soak::process::Options {
        let out = || PathBuf::from("soak-results").join(Timestamp::now().compact());
        soak::process::Options {
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
        let recipe = Recipe::load(&self.recipe)?.with_packages(&self.packages)?;
        let interrupt = Interrupt::install()?;
        let rootfs = rootfs::ensure(&recipe, self.dir.as_deref(), self.force, &interrupt)?;
        let made = match self.form.form() {
            Some(form) => image::write(&rootfs.dir, &recipe.name, form, self.out.as_deref())?,
            None => rootfs.dir,
        };
        println!("{}", made.display());
        Ok(ExitCode::SUCCESS)
    }
}

impl ImportArgs {
    fn run(self) -> Result<ExitCode> {
        let interrupt = Interrupt::install()?;
        let form = self.form.form();
        if form.is_none() && self.dir.is_none() {
            anyhow::bail!("say what to make of it: --ext4 SIZE, --cpio, or --dir DIR");
        }
        let made = image::import(&self.source, self.dir.as_deref(), form, self.out.as_deref(), &interrupt)?;
        println!("{}", made.display());
        Ok(ExitCode::SUCCESS)
    }
}

impl BenchArgs {
    fn wishes(self) -> Result<Wishes> {
        let numbers = |texts: Vec<String>, better| texts.into_iter().map(move |text| Number { text, better });
        let numbers = numbers(self.cmd_rate, Better::Higher).chain(numbers(self.cmd_cost, Better::Lower)).collect();
        let limit = Duration::from_secs(self.cmd_limit.into());
        let command = self.cmd.map(|line| UserCommand::new(&line, numbers, limit)).transpose()?;
        Ok(Wishes {
            preset: self.preset,
            workloads: self.workloads,
            cases: self.cases,
            systems: self.systems.into_iter().flat_map(|list| list.0).collect(),
            command,
            baseline: self.baseline,
            trust_noisy: self.trust_noisy,
            slow: self.slow,
            rounds: self.runs,
            seconds: self.seconds,
            limit: self.limit.map(|minutes| Duration::from_secs(60 * u64::from(minutes))),
            pinning: match (self.pin, self.free) {
                (true, _) => Wish::Pin,
                (_, true) => Wish::Free,
                _ => Wish::Whatever,
            },
            out: self.out,
            rootfs: self.rootfs,
            vmlinux: self.vmlinux,
        })
    }
}

impl SwitchArgs {
    fn options(self) -> switch::Options {
        let counters = self.counters.map(|s| std::time::Duration::from_secs(s.into()));
        switch::Options { ports: self.ports, mirror: self.mirror, idle: self.idle, counters }
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
    use super::*;
    use crate::bench::systems::Kind;

    fn bench(args: &[&str]) -> Result<Wishes, clap::Error> {
        match Cli::try_parse_from([&["appliance", "bench"], args].concat())?.command {
            Command::Bench(args) => Ok(args.wishes().unwrap()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn systems_and_workloads_have_their_documented_names() {
        let line =
            "--workloads iperf3,netperf,getpid,lmbench,process,storage,boot,memory --systems all --runs 4 --free";
        let wishes = bench(&line.split(' ').collect::<Vec<_>>()).unwrap();
        assert_eq!(wishes.workloads, Workload::ALL);
        assert_eq!(wishes.systems.iter().map(|choice| choice.kind).collect::<Vec<_>>(), Kind::ALL);
        assert_eq!((wishes.rounds, wishes.pinning), (Some(4), Wish::Free));
    }

    #[test]
    fn groups_and_links_are_systems() {
        let wishes = bench(&["--systems", "peers,nommu-patch@guests"]).unwrap();
        let names: Vec<String> = wishes.systems.iter().map(|choice| choice.name()).collect();
        let expected = ["native", "um", "um-seccomp", "gvisor", "nommu-seccomp", "nommu-patch", "nommu-patch@guests"];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_command_comes_with_its_numbers() {
        let wishes = bench(&["--cmd", "make test", "--cmd-rate", "per second:", "--cmd-cost", "took"]).unwrap();
        let command: Box<dyn crate::bench::workloads::Case> = Box::new(wishes.command.unwrap());
        assert_eq!((command.name(), command.metrics().len()), ("make-test", 3));
        assert!(bench(&["--cmd-rate", "x"]).is_err());
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
