//! Ctrl-C, SIGTERM and SIGHUP as a flag that the waiting loops look at, so that guard objects get to clean up.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How often a waiting loop looks at the flag: rare enough not to disturb a measurement on the same CPU.
pub const POLL: Duration = Duration::from_millis(10);

/// Whether somebody asked us to stop. Clones share the flags.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    /// SIGINT: the user's Ctrl-C, which a guest on the terminal may want for itself.
    from_terminal: Arc<AtomicBool>,
    /// SIGTERM or SIGHUP: meant for this program.
    told_to_end: Arc<AtomicBool>,
}

/// The error of an operation that stopped because of a signal.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

impl Interrupt {
    /// Takes over SIGINT, SIGTERM and SIGHUP for the rest of the program.
    pub fn install() -> Result<Self> {
        let interrupt = Self::default();
        let Self { from_terminal, told_to_end } = &interrupt;
        for (signal, flag) in [(SIGINT, from_terminal), (SIGTERM, told_to_end), (SIGHUP, told_to_end)] {
            signal_hook::flag::register(signal, flag.clone()).context("cannot take over signals")?;
        }
        Ok(interrupt)
    }

    /// True once any of the signals came.
    pub fn raised(&self) -> bool {
        self.from_terminal.load(Ordering::Relaxed) || self.told_to_end()
    }

    /// True once a signal came that is not the terminal's.
    pub fn told_to_end(&self) -> bool {
        self.told_to_end.load(Ordering::Relaxed)
    }

    /// [`Interrupted`] once a signal came.
    pub fn check(&self) -> Result<()> {
        if self.raised() { Err(Interrupted.into()) } else { Ok(()) }
    }

    /// Waits until `ready` answers true; false when `limit` has passed first.
    pub fn wait_for(&self, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<bool> {
        let deadline = Instant::now() + limit;
        loop {
            self.check()?;
            if ready() {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            std::thread::sleep(POLL);
        }
    }
}
