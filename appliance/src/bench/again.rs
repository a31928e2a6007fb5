//! An earlier report's kernel, measured again in turns with today's.
//!
//! Two reports are of two times, and on a machine that is shared, what neighbours do moves figures more from one time to the
//! next than a build does. Rounds interleave, so that what is measured in the same rounds had the same neighbours. Hence every
//! report keeps its kernel beside it, and a bench with `--baseline` boots that one, too: each nommu system `NAME` that the
//! earlier report has runs a second time as `NAME-earlier`, right behind it. Today's runs are compared with those.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Candidate, systems};
use crate::report::json::FileState;
use crate::report::{Earlier, Report};

/// The kernel's name in the folder of a report.
const KERNEL: &str = "vmlinux";
/// What stands behind the name of a system that is measured with the earlier kernel.
const SUFFIX: &str = "-earlier";

/// Puts behind each system that `earlier`, read from `path`, has as well the same one with the earlier kernel. Says so when that
/// kernel is not there.
pub(super) fn add(systems: &mut Vec<Candidate>, (path, earlier): &(String, Report)) {
    let ours = |candidate: &Candidate| {
        let name = candidate.system.name();
        candidate.choice.kind.boots_vmlinux() && earlier.systems.iter().any(|then| then.ran && then.name == name)
    };
    if !systems.iter().any(ours) {
        return;
    }
    let kernel = Path::new(path).with_file_name(KERNEL);
    let kernel = fs::canonicalize(&kernel).unwrap_or(kernel);
    let Some(state) = FileState::of(&kernel)
        .filter(|state| earlier.settings.vmlinux.as_ref().is_some_and(|recorded| recorded.sha256 == state.sha256))
    else {
        eprintln!("{path}: its kernel is not beside it as {KERNEL}: what changed is told from two times, not in turns");
        return;
    };
    for candidate in std::mem::take(systems) {
        let again = ours(&candidate).then(|| {
            let of = candidate.system.name().to_owned();
            let system = systems::build(candidate.choice, format!("{of}{SUFFIX}"), Ok(kernel.clone()));
            let earlier = Earlier { of, started: earlier.started.clone(), sha256: state.sha256.clone() };
            Candidate { choice: candidate.choice, system, reason: None, earlier: Some(earlier) }
        });
        systems.push(candidate);
        systems.extend(again);
    }
}

/// Copies the kernel into a report's folder.
pub(super) fn keep(vmlinux: &Path, folder: &Path) -> Result<()> {
    let kept = folder.join(KERNEL);
    // A file that is copied onto itself is lost.
    if fs::canonicalize(&kept).ok().is_some_and(|kept| fs::canonicalize(vmlinux).ok() == Some(kept)) {
        return Ok(());
    }
    fs::copy(vmlinux, &kept).with_context(|| format!("cannot copy {} to {}", vmlinux.display(), kept.display()))?;
    Ok(())
}
