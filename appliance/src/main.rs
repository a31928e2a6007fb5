//! `appliance`: parse, run, turn the outcome into an exit status (0 done, 1 failed, 2 bad usage, 130 interrupted).

use std::process::ExitCode;

use appliance::cli::Cli;
use appliance::interrupt::Interrupted;
use clap::Parser;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("appliance: {error}; cleaned up");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("appliance: {error:#}");
            ExitCode::FAILURE
        }
    }
}
