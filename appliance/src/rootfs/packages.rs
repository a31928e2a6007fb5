//! Debian packages, resolved and downloaded by apt with a configuration, package lists and a package status of its own.
//!
//! The status file is empty but for the packages that a recipe assumes to be installed, so apt's own resolver yields
//! the whole closure; `--print-uris` against an empty archive folder lists it, `--download-only` fetches and verifies
//! what the cache lacks. The host's apt configuration (proxies, certificates) applies; its sources, lists, status and
//! hooks do not, and no root is needed.

use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::recipe::Recipe;
use crate::interrupt::Interrupt;
use crate::process::{self, Ending, Process};
use crate::progress::Progress;

/// Debian's archive keys, where the package debian-archive-keyring puts them.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The longest that apt may take for one download run.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(1800);

/// One package of a root directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Binary package name.
    pub name: String,
    /// Debian version.
    pub version: String,
    /// File name in the archive folder; the version's colon is written `%3a`.
    #[serde(skip)]
    file: String,
}

/// apt with folders of its own under the cache.
#[derive(Debug)]
pub(super) struct Apt {
    config: PathBuf,
    archives: PathBuf,
    nothing: PathBuf,
    wanted: Vec<String>,
}

impl Apt {
    /// Writes configuration, sources and package status for `recipe`.
    pub fn prepare(recipe: &Recipe, cache: &Path) -> Result<Self> {
        let apt = cache.join("apt").join(&recipe.name);
        let archives = cache.join("debs");
        let nothing = apt.join("nothing");
        for folder in [&apt.join("state/lists/partial"), &apt.join("cache"), &archives.join("partial"), &nothing] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        fs::create_dir_all(nothing.join("partial"))?;
        let config = apt.join("apt.conf");
        fs::write(&config, configuration(&apt, &archives, &nothing))?;
        fs::write(apt.join("sources.list"), sources(recipe, &mirror(&recipe.suite)?)?)?;
        fs::write(apt.join("state/status"), status(&recipe.assume_installed))?;
        Ok(Self { config, archives, nothing, wanted: recipe.packages.clone() })
    }

    /// Fetches the package lists.
    pub fn update(&self, interrupt: &Interrupt) -> Result<()> {
        eprintln!("fetching package lists");
        let mut command = self.apt_get();
        // Without the option a failed download of a list is only a warning.
        command.args(["-q", "-o", "APT::Update::Error-Mode=any", "update"]);
        self.follow(command, interrupt, |_| ())
    }

    /// The recipe's packages with everything that they depend on.
    pub fn resolve(&self) -> Result<Vec<Package>> {
        self.print_uris(&self.nothing)
    }

    /// Downloads those of `packages` that the cache lacks; apt verifies them.
    pub fn download(&self, packages: &[Package], interrupt: &Interrupt) -> Result<()> {
        let missing = self.print_uris(&self.archives)?.len();
        if missing == 0 {
            return Ok(());
        }
        let mut progress = Progress::new(missing, 20);
        let mut command = self.apt_get();
        command.args(["-q", "-y", "--download-only", "install"]).args(&self.wanted);
        self.follow(command, interrupt, |line| {
            // Get:7 http://mirror/debian bookworm/main amd64 iperf3 amd64 3.12-1 [34.0 kB]
            if line.starts_with("Get:") {
                progress.begin(&format!("downloading {}", line.split(' ').nth(4).unwrap_or("a package")));
                progress.end();
            }
        })?;
        progress.finish(&format!("downloaded {missing} packages"));
        match packages.iter().find(|package| !self.archive(package).is_file()) {
            Some(lost) => bail!("apt did not deliver {}: is there room on the disk?", lost.file),
            None => Ok(()),
        }
    }

    /// The downloaded archive of `package`.
    pub fn archive(&self, package: &Package) -> PathBuf {
        self.archives.join(&package.file)
    }

    fn print_uris(&self, archives: &Path) -> Result<Vec<Package>> {
        let mut command = self.apt_get();
        command.arg("-o").arg(format!("Dir::Cache::archives={}", archives.display()));
        command.args(["-qq", "-y", "--print-uris", "install"]).args(&self.wanted);
        let output = process::run(&mut command).context("apt cannot resolve the recipe's packages")?;
        String::from_utf8_lossy(&output.stdout).lines().map(parse_uri_line).collect()
    }

    fn apt_get(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.env("LC_ALL", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive").arg("-c").arg(&self.config);
        command
    }

    /// Runs apt, handing each line of its output to `line`, and quotes the end of it when apt fails.
    fn follow(&self, mut command: Command, interrupt: &Interrupt, mut line: impl FnMut(&str)) -> Result<()> {
        let errors = self.nothing.with_file_name("apt.err");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(fs::File::create(&errors)?);
        let said = process::describe(&command);
        let mut apt = Process::spawn("apt-get", command)?;
        let output = apt.take_stdout().context("apt-get has no output")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for text in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(text).is_err() {
                    break;
                }
            }
        });
        loop {
            interrupt.check()?;
            match lines.recv_timeout(Duration::from_millis(100)) {
                Ok(text) => line(&text),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        match apt.wait(DOWNLOAD_LIMIT, interrupt)?.0 {
            Ending::Exited(0) => Ok(()),
            ending => {
                let why = fs::read_to_string(&errors).unwrap_or_default();
                bail!("`{said}` failed ({ending}): {}\n(another mirror: set FLATLAND_MIRROR)", why.trim())
            }
        }
    }
}

fn configuration(apt: &Path, archives: &Path, nothing: &Path) -> String {
    let mut text = String::new();
    for hook in ["APT::Update::Pre-Invoke", "APT::Update::Post-Invoke", "APT::Update::Post-Invoke-Success"] {
        _ = writeln!(text, "#clear {hook};");
    }
    text += "#clear DPkg::Pre-Invoke;\n#clear DPkg::Post-Invoke;\n#clear DPkg::Pre-Install-Pkgs;\n";
    let folders = [
        ("Dir::State", apt.join("state")),
        ("Dir::State::status", apt.join("state/status")),
        ("Dir::Cache", apt.join("cache")),
        ("Dir::Cache::archives", archives.to_owned()),
        ("Dir::Etc::sourcelist", apt.join("sources.list")),
        ("Dir::Etc::sourceparts", nothing.to_owned()),
        ("Dir::Etc::preferences", PathBuf::from("/dev/null")),
        ("Dir::Etc::preferencesparts", nothing.to_owned()),
    ];
    for (key, path) in folders {
        _ = writeln!(text, "{key} \"{}\";", path.display());
    }
    let options = [
        // The sandbox user could not read a cache in somebody's home.
        ("APT::Sandbox::User", "root"),
        ("APT::Architecture", "amd64"),
        ("APT::Default-Release", ""),
        ("APT::Install-Recommends", "false"),
        ("APT::Install-Suggests", "false"),
        ("APT::Keep-Downloaded-Packages", "true"),
        ("Acquire::Languages", "none"),
        ("Acquire::Retries", "3"),
    ];
    for (key, value) in options {
        _ = writeln!(text, "{key} \"{value}\";");
    }
    for target in ["DEP-11", "DEP-11-icons", "DEP-11-icons-small", "DEP-11-icons-hidpi", "CNF", "Contents-deb"] {
        _ = writeln!(text, "Acquire::IndexTargets::deb::{target}::DefaultEnabled \"false\";");
    }
    text
}

fn sources(recipe: &Recipe, mirror: &str) -> Result<String> {
    if !Path::new(KEYRING).is_file() {
        bail!("no Debian archive keys at {KEYRING}: install the package debian-archive-keyring");
    }
    Ok(format!("deb [arch=amd64 signed-by={KEYRING}] {mirror} {} {}\n", recipe.suite, recipe.components.join(" ")))
}

/// A package status (dpkg-query(1)) in which just these are installed, newer than any dependency may ask.
fn status(installed: &[String]) -> String {
    installed.iter().fold(String::new(), |mut text, name| {
        _ = write!(
            text,
            "Package: {name}\nStatus: install ok installed\nPriority: optional\nMaintainer: none\n\
             Architecture: amd64\nMulti-Arch: allowed\nVersion: 99:0\nDescription: left out of this root\n\n"
        );
        text
    })
}

/// The Debian mirror that the host's apt uses, unless `FLATLAND_MIRROR` names another.
fn mirror(suite: &str) -> Result<String> {
    if let Some(named) = std::env::var("FLATLAND_MIRROR").ok().filter(|uri| !uri.is_empty()) {
        if !named.starts_with("http://") && !named.starts_with("https://") || named.contains(char::is_whitespace) {
            bail!("FLATLAND_MIRROR is '{named}': an http:// or https:// address is accepted");
        }
        return Ok(named);
    }
    // Without release info this also answers when the host never fetched its lists.
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--no-release-info", "--format", "$(REPO_URI) $(RELEASE)"]);
    let output = process::run(&mut command).context("apt does not tell its sources")?;
    choose_mirror(&String::from_utf8_lossy(&output.stdout), suite).map(str::to_owned).context(
        "this host's apt has no Debian mirror among its sources: name one with FLATLAND_MIRROR=http://HOST/debian",
    )
}

fn choose_mirror<'a>(targets: &'a str, suite: &str) -> Option<&'a str> {
    let known: Vec<(&str, &str)> = targets
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(uri, _)| uri.starts_with("http://") || uri.starts_with("https://"))
        .collect();
    let debian = |uri: &str| uri.trim_end_matches('/').ends_with("/debian");
    let exact = known.iter().find(|(uri, release)| *release == suite && debian(uri));
    exact.or_else(|| known.iter().find(|(uri, _)| debian(uri))).map(|(uri, _)| *uri)
}

/// `'http://…/netbase_6.4_all.deb' netbase_6.4_all.deb 12800 MD5Sum:…`
fn parse_uri_line(line: &str) -> Result<Package> {
    let unreadable = || format!("apt printed a line that is no package: '{line}'");
    let file = line.split(' ').nth(1).with_context(unreadable)?;
    let mut parts = file.trim_end_matches(".deb").split('_');
    match (parts.next(), parts.next()) {
        (Some(name), Some(version)) if file.ends_with(".deb") && !file.contains('/') => {
            Ok(Package { name: name.to_owned(), version: version.replace("%3a", ":"), file: file.to_owned() })
        }
        _ => bail!(unreadable()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uri_lines() {
        let line = "'http://m/debian/pool/b/busybox-static_1.35.0-4%2bb1_amd64.deb' busybox-static_1%3a1.35.0-4+b1_amd64.deb 928188 MD5Sum:f6";
        let package = parse_uri_line(line).unwrap();
        assert_eq!((package.name.as_str(), package.version.as_str()), ("busybox-static", "1:1.35.0-4+b1"));
        assert_eq!(package.file, "busybox-static_1%3a1.35.0-4+b1_amd64.deb");
        for bad in ["", "nonsense", "'uri' ../evil_1_amd64.deb 1", "'uri' readme.txt 1"] {
            assert!(parse_uri_line(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_mirror_of_the_suite_wins() {
        let targets = "http://m/debian-security/ bookworm-security\nfile:/cd/debian bookworm\n\
                       http://old/debian/ trixie\nhttps://m/debian/ bookworm\nhttp://other.example/ bookworm\n";
        assert_eq!(choose_mirror(targets, "bookworm"), Some("https://m/debian/"));
        assert_eq!(choose_mirror(targets, "sid"), Some("http://old/debian/"));
        assert_eq!(choose_mirror("http://archive.ubuntu.com/ubuntu/ noble\n", "bookworm"), None);
    }

    #[test]
    fn assumed_packages_satisfy_any_version_and_architecture_qualifier() {
        let text = status(&["perl".into(), "gcc".into()]);
        assert_eq!(text.matches("Package: ").count(), 2);
        assert_eq!(text.matches("Multi-Arch: allowed").count(), 2);
        assert!(text.ends_with("\n\n"));
        assert_eq!(status(&[]), "");
    }
}
