//! Compiles the corpus, each program at most once per text: a stamp beside the binary remembers what it was made of.

use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::corpus::Variant;

/// Flags for every variant: warnings are errors, because a test program that warns is a wrong test program.
const COMMON_FLAGS: [&str; 7] = ["-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"];

const MUSL_LIBRARIES: &str = "/usr/lib/x86_64-linux-musl";

/// The kernel's own headers (`linux/`, `asm/`) lie with glibc's: they come behind musl's.
const MUSL_MODE: &[&str] = &["-fPIE", "-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu"];

/// The compilers, and where their stamps are kept.
pub struct Toolchain {
    stamps: PathBuf,
    /// Texts that every program depends on.
    shared: Vec<u8>,
}

impl Toolchain {
    /// Makes sure that the compilers are there; root on Debian gets the missing ones installed.
    ///
    /// # Errors
    /// Names the packages that are missing and how to get them.
    pub fn prepare(headers: &[PathBuf], stamps: PathBuf) -> Result<Toolchain, String> {
        let missing: Vec<&str> = [
            ("gcc", "/usr/bin/gcc"),
            ("libc6-dev", "/usr/include/stdio.h"),
            ("musl-tools", "/usr/bin/musl-gcc"),
            ("busybox-static", "/bin/busybox"),
        ]
        .into_iter()
        .filter(|(_, file)| !Path::new(file).exists())
        .map(|(package, _)| package)
        .collect();
        if !missing.is_empty() {
            install(&missing)?;
        }
        fs::create_dir_all(&stamps).map_err(|error| format!("{}: {error}", stamps.display()))?;
        let mut shared = run(Command::new("gcc").arg("--version"))?.into_bytes();
        for header in headers {
            shared.extend(fs::read(header).map_err(|error| format!("{}: {error}", header.display()))?);
        }
        Ok(Toolchain { stamps, shared })
    }

    /// Leaves the program of `source` at `binary`; tells whether it had to be compiled.
    ///
    /// # Errors
    /// The compiler's own words.
    pub fn compile(&self, source: &Path, variant: Variant, binary: &Path) -> Result<bool, String> {
        let text = fs::read(source).map_err(|error| format!("{}: {error}", source.display()))?;
        let file = binary.file_name().ok_or_else(|| format!("{}: names no file", binary.display()))?;
        let mut stem = OsString::from(format!("{variant}."));
        stem.push(file);
        let stamp = self.stamps.join(&stem).with_extension("stamp");
        let digest = self.digest(&text, variant);
        if binary.exists() && fs::read_to_string(&stamp).is_ok_and(|known| known == digest) {
            return Ok(false);
        }
        let fresh = self.stamps.join(format!("{}.{}", stem.display(), std::process::id()));
        match variant {
            Variant::Musl => {
                let object = fresh.with_extension("o");
                run(Command::new("musl-gcc")
                    .args(COMMON_FLAGS)
                    .args(MUSL_MODE)
                    .args(["-c", "-o"])
                    .arg(&object)
                    .arg(source))?;
                let linked = run(&mut link_musl(&object, &fresh)?);
                let _ = fs::remove_file(&object);
                linked?;
            }
            _ => {
                run(Command::new("gcc")
                    .args(COMMON_FLAGS)
                    .args(mode_flags(variant))
                    .arg("-o")
                    .arg(&fresh)
                    .arg(source))?;
            }
        }
        check_image(&fresh, variant)?;
        fs::rename(&fresh, binary).map_err(|error| format!("{}: {error}", binary.display()))?;
        fs::write(&stamp, digest).map_err(|error| format!("{}: {error}", stamp.display()))?;
        Ok(true)
    }

    fn digest(&self, text: &[u8], variant: Variant) -> String {
        let mut hasher = DefaultHasher::new();
        (text, &self.shared, variant, COMMON_FLAGS, mode_flags(variant)).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}

fn mode_flags(variant: Variant) -> &'static [&'static str] {
    match variant {
        Variant::Dynamic => &["-fPIE", "-pie", "-pthread"],
        Variant::StaticPie => &["-fPIE", "-static-pie", "-pthread"],
        Variant::Musl => MUSL_MODE,
        Variant::Fixed => &["-fno-pie", "-no-pie", "-static", "-pthread"],
        Variant::Raw => &["-fPIE", "-static-pie", "-nostdlib", "-ffreestanding", "-fno-stack-protector"],
    }
}

/// Debian's `musl-gcc` links `Scrt1.o` with an interpreter even for `-static-pie`, so the link is spelled out with the
/// self-relocating `rcrt1.o`.
fn link_musl(object: &Path, output: &Path) -> Result<Command, String> {
    let of_gcc = |name: &str| -> Result<String, String> {
        Ok(run(Command::new("gcc").arg(format!("-print-file-name={name}")))?.trim().to_owned())
    };
    let of_musl = |name: &str| format!("{MUSL_LIBRARIES}/{name}");
    let mut link = Command::new("gcc");
    link.args(["-nostdlib", "-static-pie", "-o"]).arg(output);
    link.args([of_musl("rcrt1.o"), of_musl("crti.o"), of_gcc("crtbeginS.o")?]).arg(object);
    link.arg(format!("-L{MUSL_LIBRARIES}")).args(["-Wl,--start-group", "-lc", "-lgcc", "-lgcc_eh", "-Wl,--end-group"]);
    link.args([of_gcc("crtendS.o")?, of_musl("crtn.o")]);
    Ok(link)
}

/// A position-independent ELF image (or one that is not, if the variant says so), with an interpreter exactly when the variant is meant to have one: linkers fall
/// back to another kind of image without a word.
fn check_image(binary: &Path, variant: Variant) -> Result<(), String> {
    const ET_EXEC: u64 = 2;
    const ET_DYN: u64 = 3;
    const PT_INTERP: u64 = 3;
    let image = fs::read(binary).map_err(|error| format!("{}: {error}", binary.display()))?;
    let field = |at: u64, bytes: u64| -> Option<u64> {
        let field = image.get(usize::try_from(at).ok()?..usize::try_from(at + bytes).ok()?)?;
        Some(field.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    };
    let interpreted = || -> Option<bool> {
        let (headers, size, count) = (field(32, 8)?, field(54, 2)?, field(56, 2)?);
        (0..count)
            .map(|index| field(headers + index * size, 4))
            .try_fold(false, |found, kind| Some(found | (kind? == PT_INTERP)))
    };
    let kind = if variant == Variant::Fixed { ET_EXEC } else { ET_DYN };
    let expected = variant == Variant::Dynamic;
    if field(16, 2) == Some(kind) && interpreted() == Some(expected) {
        Ok(())
    } else {
        Err(format!("{}: the linker made no {variant} image", binary.display()))
    }
}

fn install(packages: &[&str]) -> Result<(), String> {
    let manual = format!("missing: {0}; install with `apt-get install -y {0}`", packages.join(" "));
    if !rustix::process::geteuid().is_root() {
        return Err(manual);
    }
    let mut attempt = Command::new("apt-get");
    attempt.args(["install", "-y", "--no-install-recommends"]).args(packages).env("DEBIAN_FRONTEND", "noninteractive");
    if run(&mut attempt).is_ok() {
        return Ok(());
    }
    run(Command::new("apt-get").arg("update")).map_err(|error| format!("{manual}: {error}"))?;
    run(&mut attempt).map(|_| ()).map_err(|error| format!("{manual}: {error}"))
}

/// Runs a tool to its end and returns what it printed.
///
/// # Errors
/// The command line and its stderr when it cannot start or fails.
pub fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
    }
}
