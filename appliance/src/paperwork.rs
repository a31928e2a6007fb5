//! Shell completions and manual pages, made from the command line's definition.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Command;
use clap_complete::Shell;

/// Writes the completion script of `shell` to standard output.
pub fn completions(mut command: Command, shell: Shell) -> Result<ExitCode> {
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut io::stdout());
    Ok(ExitCode::SUCCESS)
}

/// Writes a manual page for the program and each of its commands into `folder`.
pub fn manual_pages(command: Command, folder: &Path) -> Result<ExitCode> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    clap_mangen::generate_to(command, folder)
        .with_context(|| format!("cannot write manual pages into {}", folder.display()))?;
    println!("{}", folder.display());
    Ok(ExitCode::SUCCESS)
}
