//! The root directory that native and guest runs share: programs, the libraries they load, a shell, a few files in
//! `/etc`, and empty directories for the file systems that are mounted on boot.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::corpus::Variant;
use super::toolchain::run;

/// Mount points and places; `/tests/<variant>` are added to these.
const DIRECTORIES: [&str; 12] =
    ["bin", "dev", "etc", "lib", "lib64", "proc", "run", "sys", "tests", "tmp", "usr/bin", "usr/lib"];

const FILES: [(&str, &str); 4] = [
    ("etc/passwd", "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
];

/// glibc loads this by name when a thread is cancelled or exits, so no program's needed libraries show it.
const UNWINDER: &str = "/lib/x86_64-linux-gnu/libgcc_s.so.1";

/// A root directory in the build cache.
pub struct GuestRoot {
    path: PathBuf,
}

impl GuestRoot {
    /// Makes or completes the directory tree.
    ///
    /// # Errors
    /// The path and the host's error.
    pub fn prepare(path: PathBuf) -> Result<GuestRoot, String> {
        for directory in DIRECTORIES {
            make_directory(&path.join(directory))?;
        }
        for variant in Variant::ALL {
            make_directory(&path.join("tests").join(variant.name()))?;
        }
        for (file, text) in FILES {
            fs::write(path.join(file), text).map_err(|error| format!("{file}: {error}"))?;
        }
        let root = GuestRoot { path };
        root.copy(Path::new("/bin/busybox"), "bin/busybox")?;
        root.copy(Path::new(UNWINDER), UNWINDER.trim_start_matches('/'))?;
        match symlink("busybox", root.path.join("bin/sh")) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(format!("bin/sh: {error}")),
            _ => Ok(root),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a program lies on the host.
    pub fn binary(&self, variant: Variant, name: &str) -> PathBuf {
        self.path.join("tests").join(variant.name()).join(name)
    }

    /// Brings in the interpreter and the libraries that `binary` loads, under the names it loads them by.
    ///
    /// # Errors
    /// A library that the host does not have, or that cannot be copied.
    pub fn provide_libraries(&self, binary: &Path) -> Result<(), String> {
        for line in run(Command::new("ldd").arg(binary))?.lines() {
            let wanted = line.split_once("=>").map_or(line, |(_, found)| found);
            let Some(library) = wanted.split_whitespace().next() else { continue };
            if library == "not" {
                return Err(format!("{}: {}", binary.display(), line.trim()));
            }
            if let Some(relative) = library.strip_prefix('/') {
                self.copy(Path::new(library), relative)?;
            }
        }
        Ok(())
    }

    /// Copies a host file unless it is there; other runs may do the same at the same time, hence the rename.
    fn copy(&self, from: &Path, to: &str) -> Result<(), String> {
        let target = self.path.join(to);
        if target.exists() {
            return Ok(());
        }
        if let Some(parent) = target.parent() {
            make_directory(parent)?;
        }
        let fresh = self.path.with_extension(format!("{}.{:?}", std::process::id(), std::thread::current().id()));
        fs::copy(from, &fresh)
            .and_then(|_| fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)))
            .and_then(|()| fs::rename(&fresh, &target))
            .map_err(|error| format!("{} to {}: {error}", from.display(), target.display()))
    }
}

fn make_directory(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))
}
