//! The command line, as User-Mode Linux users type it.
//!
//! Words are options (`name=value`, `name`, `vec<n>:…`) until `--`; what follows goes to init as arguments. An unknown
//! `name=value` goes to init's environment and an unknown bare word to its arguments, as Linux does. A malformed known
//! option is an error that names the option and the accepted form.

use super::ip_option::IpConfig;
use crate::block::UbdSpec;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{borrow::ToOwned, format};
use core::fmt;
use core::time::Duration;
use netdrv::options::DeviceSpec;

/// Least `mem=` that a machine starts with.
pub const MEM_MIN: usize = 16 << 20;
/// `mem=` where it is not given.
pub const MEM_DEFAULT: usize = 512 << 20;
/// Most memory: the window has room for more, but no host of today has.
const MEM_MAX: usize = 1 << 38;

/// How system calls are caught (`hook=`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// The safety net alone: every call traps.
    Seccomp,
    /// Call sites are patched when they first trap.
    Patch,
}

/// How long an idle vCPU polls before it sleeps (`idle=`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idle {
    /// Poll this long.
    Spin(Duration),
    /// Sleep at once.
    Sleep,
}

/// Where the root file system comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Root {
    /// A host directory (`rootfstype=hostfs rootflags=DIR`).
    Hostfs(String),
    /// ext4 on a block device (`root=/dev/ubda`).
    Block(String),
    /// A tmpfs with the contents of cpio archives (`initrd=`).
    Initrd(String),
}

/// What `trace=` asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Trace {
    /// Every system call, in strace's format.
    pub syscalls: bool,
}

/// A machine to boot.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Options {
    pub mem: usize,
    pub root: Root,
    /// The root is only read; changes go to memory and are gone afterwards (`rootflags=overlay`).
    pub overlay: bool,
    pub writable: bool,
    /// A host directory that programs may mount.
    pub hostfs: Option<String>,
    pub init: Option<String>,
    pub init_args: Vec<String>,
    pub init_env: Vec<String>,
    pub loglevel: u8,
    pub hook: Hook,
    pub idle: Idle,
    pub trace: Trace,
    pub strict: bool,
    pub devices: Vec<DeviceSpec>,
    pub disks: Vec<UbdSpec>,
    pub ip: Vec<IpConfig>,
    pub umid: Option<String>,
    /// The words as typed, for `/proc/cmdline`.
    pub text: String,
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// Boot a machine.
    Boot(alloc::boxed::Box<Options>),
    /// Print the help text.
    Help,
    /// Print the version.
    Version,
}

/// A malformed option, in one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OptionError(String);

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl OptionError {
    /// `name` cannot be `value` because of `problem`; `accepted` says what it can be.
    pub(super) fn new(name: &str, value: &str, problem: &str, accepted: &str) -> Self {
        OptionError(format!("{name}{value}: {problem}; accepted: {accepted}"))
    }
}

/// The help text.
pub const HELP: &str = "\
Usage: vmlinux [OPTION]... [NAME=VALUE]... [-- ARGUMENT...]
A Linux machine in one host process.

  rootfstype=hostfs rootflags=DIR  a host directory is the root file system
  ubd<N>[r][s][c]=[COW-FILE,]IMAGE a block device, /dev/ubda for ubd0; the root, if not said otherwise
  root=/dev/ubda1                  which block device is the root (ext4)
  rootflags=overlay                what is written to the root goes to memory (hostfs: rootflags=DIR,overlay)
  initrd=FILE                      cpio archives (gzip, zstd) in memory are the root; init is /init then
  rw | ro                          whether the root may be written (default: ro)
  hostfs=DIR                       programs may mount DIR and what is below it (mount -t hostfs none PLACE -o SUBDIRECTORY)
  init=PATH                        the first program (default: /sbin/init, /etc/init, /bin/init, /bin/sh)
  mem=SIZE                         guest memory, with k, m or g (default: 512m, least: 16m)
  ncpus=N                          virtual processors (only 1 so far)
  eth<N>=tuntap,TAP,MAC,HOST-IP    an ethernet device on a host TAP
  vec<N>:transport=tap,ifname=TAP[,mac=MAC][,depth=N][,gro=0|1]   the same, in newer spelling
  ip=CLIENT:SERVER:GATEWAY:NETMASK:HOSTNAME:DEVICE:AUTOCONF       the guest's address
  hook=auto|patch|seccomp          how system calls are caught (default: auto)
  idle=spin:MICROSECONDS|sleep     how an idle processor waits (default: spin:50)
  loglevel=N, quiet                which kernel messages appear on stderr (default: 5; quiet: 4)
  trace=syscalls                   show every system call, as strace does
  strict=0|1                       freed memory faults (1, default)
  umid=NAME                        a name for this machine
  --help, --version

An unknown NAME=VALUE goes to init's environment; words after -- are its arguments.
The exit status is init's own; 0 after a power-off; 128+N when signal N ended it; 2 for a bad command line.
";

fn parse_size(name: &str, value: &str) -> Result<usize, OptionError> {
    let accepted = "a number of bytes with an optional k, m or g, such as mem=256m";
    let error = |problem: &str| OptionError::new(name, value, problem, accepted);
    let (digits, shift) = match value.as_bytes().last().map(u8::to_ascii_lowercase) {
        Some(b'k') => (&value[..value.len() - 1], 10),
        Some(b'm') => (&value[..value.len() - 1], 20),
        Some(b'g') => (&value[..value.len() - 1], 30),
        _ => (value, 0),
    };
    let number: usize = digits.parse().map_err(|_| error("not a size"))?;
    number.checked_mul(1 << shift).filter(|&n| n <= MEM_MAX).ok_or_else(|| error("larger than any machine"))
}

fn parse_bool(name: &str, value: &str) -> Result<bool, OptionError> {
    match value {
        "0" | "off" | "no" => Ok(false),
        "1" | "on" | "yes" => Ok(true),
        _ => Err(OptionError::new(name, value, "neither on nor off", "0 or 1")),
    }
}

fn parse_hook(value: &str) -> Result<Hook, OptionError> {
    match value {
        "auto" => Ok(Hook::DEFAULT),
        "patch" => Ok(Hook::Patch),
        "seccomp" => Ok(Hook::Seccomp),
        "sud" | "zpoline" => {
            Err(OptionError::new("hook=", value, "this hook does not exist yet", "auto, patch, seccomp"))
        }
        _ => Err(OptionError::new("hook=", value, "unknown hook", "auto, patch, seccomp")),
    }
}

impl Hook {
    /// What `auto` means.
    pub const DEFAULT: Hook = Hook::Patch;
}

fn parse_idle(value: &str) -> Result<Idle, OptionError> {
    if value == "sleep" {
        return Ok(Idle::Sleep);
    }
    value
        .strip_prefix("spin:")
        .and_then(|us| us.parse::<u32>().ok())
        .map(|us| Idle::Spin(Duration::from_micros(us.into())))
        .ok_or_else(|| OptionError::new("idle=", value, "unknown way to wait", "spin:MICROSECONDS or sleep"))
}

fn parse_trace(value: &str) -> Result<Trace, OptionError> {
    let mut trace = Trace::default();
    for word in value.split(',') {
        match word {
            "syscalls" => trace.syscalls = true,
            "" | "none" => {}
            _ => return Err(OptionError::new("trace=", value, "unknown trace", "syscalls, none")),
        }
    }
    Ok(trace)
}

/// What is collected before it is known whether it makes a machine.
#[derive(Default)]
struct Draft {
    rootfstype: Option<String>,
    rootflags: Option<String>,
    root: Option<String>,
    initrd: Option<String>,
    quiet: bool,
    loglevel: Option<u8>,
}

/// Parses the words after the program's name.
pub fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Result<Command, OptionError> {
    let words: Vec<&str> = words.collect();
    let mut o = Options {
        mem: MEM_DEFAULT,
        root: Root::Hostfs(String::new()),
        overlay: false,
        writable: false,
        hostfs: None,
        init: None,
        init_args: Vec::new(),
        init_env: Vec::new(),
        loglevel: 5,
        hook: Hook::DEFAULT,
        idle: Idle::Spin(Duration::from_micros(50)),
        trace: Trace::default(),
        strict: true,
        devices: Vec::new(),
        disks: Vec::new(),
        ip: Vec::new(),
        umid: None,
        text: words.join(" "),
    };
    let mut draft = Draft::default();
    let mut rest = words.iter();
    while let Some(&word) = rest.next() {
        match word {
            "--" => {
                o.init_args.extend(rest.by_ref().map(|w| w.to_string()));
            }
            "--help" | "-h" => return Ok(Command::Help),
            "--version" | "-V" => return Ok(Command::Version),
            _ => option(word, &mut o, &mut draft)?,
        }
    }
    o.root = root_of(&draft, &o.disks)?;
    o.overlay = takes_overlay(&draft, &o.root)?;
    o.loglevel = draft.loglevel.unwrap_or(if draft.quiet { 4 } else { 5 });
    let mut names: Vec<&str> = o.devices.iter().map(|d| d.name.as_str()).collect();
    let disks: Vec<String> = o.disks.iter().map(|d| format!("ubd{}", d.index)).collect();
    names.extend(disks.iter().map(String::as_str));
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|p| p[0] == p[1]) {
        return Err(OptionError(format!("{}: given twice; accepted: one option for each device", pair[0])));
    }
    Ok(Command::Boot(alloc::boxed::Box::new(o)))
}

fn option(word: &str, o: &mut Options, draft: &mut Draft) -> Result<(), OptionError> {
    if let Some(spec) = DeviceSpec::parse(word).map_err(|e| OptionError(e.to_string()))? {
        o.devices.push(spec);
        return Ok(());
    }
    if let Some(spec) = UbdSpec::parse(word) {
        o.disks.push(spec.map_err(OptionError)?);
        return Ok(());
    }
    let Some((name, value)) = word.split_once('=') else {
        match word {
            "rw" => o.writable = true,
            "ro" => o.writable = false,
            "quiet" => draft.quiet = true,
            "debug" => draft.loglevel = Some(10),
            _ if word.starts_with('-') => {
                return Err(OptionError(format!("{word}: unknown option; accepted: see vmlinux --help")));
            }
            // As Linux: a bare word is init's.
            _ => o.init_args.push(word.to_owned()),
        }
        return Ok(());
    };
    let numbered = |prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    match name {
        "mem" => {
            o.mem = parse_size("mem=", value)?;
            if o.mem < MEM_MIN {
                return Err(OptionError::new("mem=", value, "too small for a machine", "16m or more"));
            }
        }
        "ncpus" => match value.parse::<u32>() {
            Ok(1) => {}
            Ok(2..) => return Err(OptionError::new("ncpus=", value, "only one vCPU is supported so far", "1")),
            _ => return Err(OptionError::new("ncpus=", value, "not a number of processors", "1")),
        },
        "init" => {
            if !value.starts_with('/') {
                return Err(OptionError::new("init=", value, "not an absolute path", "init=/path/to/program"));
            }
            o.init = Some(value.to_owned());
        }
        "hostfs" => {
            if !value.starts_with('/') {
                return Err(OptionError::new("hostfs=", value, "not an absolute path", "hostfs=/host/directory"));
            }
            o.hostfs = Some(value.to_owned());
        }
        "root" => draft.root = Some(value.to_owned()),
        "rootfstype" => draft.rootfstype = Some(value.to_owned()),
        "rootflags" => draft.rootflags = Some(value.to_owned()),
        "loglevel" => {
            let level = value.parse::<u8>().ok().filter(|&l| l <= 15);
            draft.loglevel = Some(level.ok_or_else(|| OptionError::new("loglevel=", value, "not a level", "0 to 15"))?);
        }
        "hook" => o.hook = parse_hook(value)?,
        "idle" => o.idle = parse_idle(value)?,
        "trace" => o.trace = parse_trace(value)?,
        "strict" => o.strict = parse_bool("strict=", value)?,
        "ip" => o.ip.extend(super::ip_option::parse(value)?),
        "umid" => {
            let fits = !value.is_empty() && value.len() < 64 && !value.contains('/');
            if !fits {
                return Err(OptionError::new("umid=", value, "not a name", "1 to 63 characters without /"));
            }
            o.umid = Some(value.to_owned());
        }
        "initrd" => {
            if value.is_empty() {
                return Err(OptionError::new("initrd=", value, "no file is named", "initrd=FILE, a cpio archive"));
            }
            draft.initrd = Some(value.to_owned());
        }
        "con" | "console" => console(word, value)?,
        _ if numbered("con") => console(word, value)?,
        _ => o.init_env.push(word.to_owned()),
    }
    Ok(())
}

/// `con=`: the console is on stdin and stdout; what else UML offers for consoles is refused.
fn console(word: &str, value: &str) -> Result<(), OptionError> {
    match value {
        "fd:0,fd:1" | "null" | "none" | "tty0" | "tty" | "ttyS0" => Ok(()),
        _ => Err(OptionError(format!("{word}: unknown console; accepted: con=fd:0,fd:1 or con=null"))),
    }
}

/// Whether `rootflags=` asks for an overlay. Behind a hostfs directory there may be further words, separated by commas.
fn takes_overlay(draft: &Draft, root: &Root) -> Result<bool, OptionError> {
    let words = draft.rootflags.as_deref().unwrap_or_default().split(',');
    let words = words.skip(usize::from(matches!(root, Root::Hostfs(_)) && draft.rootflags.is_some()));
    let mut overlay = false;
    for word in words.filter(|w| !w.is_empty()) {
        match (word, root) {
            ("overlay", Root::Hostfs(_) | Root::Block(_)) => overlay = true,
            _ => {
                let accepted = "rootflags=overlay for a block device, rootflags=DIR,overlay for hostfs";
                return Err(OptionError::new("rootflags=", word, "unknown flag", accepted));
            }
        }
    }
    Ok(overlay)
}

/// As Linux and UML choose: what `rootfstype=` says; a block device if there is one.
fn root_of(draft: &Draft, disks: &[UbdSpec]) -> Result<Root, OptionError> {
    let accepted = "ubd0=IMAGE, or rootfstype=hostfs rootflags=DIR";
    if let Some(file) = &draft.initrd {
        return Ok(Root::Initrd(file.clone()));
    }
    let device = || draft.root.clone().unwrap_or_else(|| "/dev/ubda".into());
    match draft.rootfstype.as_deref() {
        Some("ext4") if disks.is_empty() => {
            Err(OptionError("rootfstype=ext4: no block device is given; accepted: ubd0=IMAGE".into()))
        }
        Some("ext4") => Ok(Root::Block(device())),
        None if !disks.is_empty() => Ok(Root::Block(device())),
        Some("hostfs") => {
            let dir = draft.rootflags.as_deref().or(draft.root.as_deref()).unwrap_or_default();
            let dir = dir.split(',').next().unwrap_or_default();
            if dir.is_empty() {
                return Err(OptionError(format!("rootflags=: no directory for the root; accepted: {accepted}")));
            }
            Ok(Root::Hostfs(dir.to_owned()))
        }
        Some(other) => Err(OptionError::new("rootfstype=", other, "unknown file system", accepted)),
        None => Err(OptionError(format!("root=: no root file system is given; accepted: {accepted}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: [&str; 2] = ["rootfstype=hostfs", "rootflags=/srv/root"];

    fn boot(words: &[&str]) -> Options {
        match parse(ROOT.iter().chain(words).copied()) {
            Ok(Command::Boot(o)) => *o,
            other => panic!("{other:?}"),
        }
    }

    fn error(words: &[&str]) -> String {
        parse(ROOT.iter().chain(words).copied()).unwrap_err().to_string()
    }

    #[test]
    fn a_full_line_as_users_type_it() {
        let o = boot(&[
            "eth0=tuntap,tap100,0e:fd:0:0:0:1,172.17.0.1",
            "rw",
            "mem=1024m",
            "loglevel=8",
            "init=/sbin/init",
            "TERM=xterm",
            "single",
            "--",
            "-c",
            "a=b",
        ]);
        assert_eq!(o.mem, 1 << 30);
        assert!(o.writable);
        assert_eq!(o.loglevel, 8);
        assert_eq!(o.init.as_deref(), Some("/sbin/init"));
        assert_eq!(o.init_env, ["TERM=xterm"]);
        assert_eq!(o.init_args, ["single", "-c", "a=b"]);
        assert_eq!(o.devices.len(), 1);
        assert_eq!(o.root, Root::Hostfs("/srv/root".into()));
    }

    #[test]
    fn bad_options_name_themselves_and_what_is_accepted() {
        for (word, name) in [
            ("mem=1q", "mem="),
            ("mem=4m", "mem="),
            ("mem=99999999999g", "mem="),
            ("ncpus=0", "ncpus="),
            ("init=sh", "init="),
            ("hook=magic", "hook="),
            ("idle=fast", "idle="),
            ("trace=all", "trace="),
            ("loglevel=x", "loglevel="),
            ("strict=2", "strict="),
            ("eth0=tuntap,tap0,zz,1.2.3.4", "eth0"),
            ("vec0:transport=pigeon", "vec0"),
            ("ubd0x=x.ext4", "ubd0x="),
            ("ip=300.1.1.1", "ip="),
            ("--frob", "--frob"),
        ] {
            let e = error(&[word]);
            assert!(e.starts_with(name) && e.contains("accepted:"), "{word}: {e}");
            assert_eq!(e.lines().count(), 1, "{e}");
        }
        assert!(parse(["rw"].into_iter()).unwrap_err().to_string().contains("rootfstype=hostfs"));
        assert!(error(&["eth0=tuntap,a", "eth0=tuntap,b"]).contains("twice"));
    }
}
