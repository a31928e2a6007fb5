//! `appliance down`: clears what a killed appliance left on the host.

use std::process::ExitCode;

use anyhow::Result;

use crate::privilege;
use crate::process_tree;
use crate::wiring::{self, state};

/// Goes through the notes under /run/flatland; what belongs to a running appliance stays.
pub fn run() -> Result<ExitCode> {
    privilege::require_root("`appliance down`")?;
    let mut failed = false;
    let mut cleared = 0;
    for (path, note) in state::all() {
        let outcome = note.and_then(|note| {
            if note.owner_is_alive() {
                eprintln!("left alone: the appliance with pid {} is running", note.pid);
                return Ok(());
            }
            // What was about to make a namespace, or to enter one, would do so behind our back.
            process_tree::kill_mentioning(&note.marks());
            for name in &note.namespaces {
                if wiring::remove_namespace(name)? {
                    eprintln!("removed the network namespace {name}");
                }
            }
            cleared += u32::from(state::forget(&path, &note)?);
            Ok(())
        });
        if let Err(error) = outcome {
            eprintln!("appliance: {error:#}");
            failed = true;
        }
    }
    match cleared {
        0 => eprintln!("nothing to clear"),
        1 => eprintln!("cleared what 1 appliance left"),
        n => eprintln!("cleared what {n} appliances left"),
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
