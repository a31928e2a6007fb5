//! One guest stays, the other is killed at random moments: what stays must find each successor.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::cable::{Cable, End, Guest, Port, descriptors};
use super::random::Random;
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// A successor that has not been found within this is lost.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest life, in microseconds, of a guest that is killed before it has said anything, and of one that is busy.
const EARLY: u64 = 150_000;
const BUSY: u64 = 120_000;
/// Descriptors that the one that stays may have more at the end: connections of the dead that still wait for answers.
const MORE_DESCRIPTORS: usize = 32;

/// Who is who: fields of the guest that stays, and of the one that is killed.
pub const ROLES: [(&str, &str); 4] =
    [("server,backend", ""), ("server", "backend"), ("backend", "server"), ("", "server,backend")];

/// What happened in one pair of roles.
#[derive(Clone, Debug, Default)]
pub struct Kills {
    pub stays: String,
    pub killed: String,
    pub kills: u32,
    /// Of those, while the link was coming up.
    pub early: u32,
    /// From the start of each successor to its first block that came back.
    pub found: Vec<Duration>,
}

/// Kills `count` guests in the given pair of roles.
///
/// # Errors
/// A successor that is not found, a changed block, an end of the one that stays, descriptors that pile up there.
pub fn run(
    cable: &Cable,
    (stays, killed): (&str, &str),
    count: u32,
    random: &mut Random,
    progress: &mut Progress,
    interrupt: &Interrupt,
) -> Result<Kills> {
    let idle = if random.below(2) == 0 { "spin:50" } else { "sleep" };
    let survivor = Port { end: End::Server, fields: stays, idle };
    let survivor = cable.boot("kills", &survivor, &["echo"])?;
    let mut tally = Kills { stays: named(stays), killed: named(killed), ..Kills::default() };
    let mut first_descriptors = None;
    // One more than is killed: whoever comes last must be found, too.
    for round in 0..=count {
        interrupt.check()?;
        let started = Instant::now();
        let victim = cable.boot("kills", &Port { end: End::Client, fields: killed, idle }, &["echo"])?;
        let early = round < count && random.below(4) == 0;
        if early {
            std::thread::sleep(Duration::from_micros(random.below(EARLY)));
            tally.early += 1;
        } else {
            found(&victim, interrupt).with_context(|| format!("guest {round} ({stays:?} stays, idle={idle})"))?;
            tally.found.push(started.elapsed());
            std::thread::sleep(Duration::from_micros(random.below(BUSY)));
        }
        if !survivor.is_running() {
            bail!("the guest that stays has ended: {}", survivor.finish(PATIENCE, interrupt).unwrap_err());
        }
        let ended = !victim.is_running();
        let log = victim.kill(interrupt).unwrap_or_default();
        if ended {
            bail!("guest {round} ended by itself: {log}");
        }
        let now = descriptors(survivor.id())?;
        let first = *first_descriptors.get_or_insert(now);
        if now > first + MORE_DESCRIPTORS {
            bail!("the guest that stays had {first} descriptors and has {now}");
        }
        if round < count {
            tally.kills += 1;
            progress.end();
        }
    }
    survivor.kill(interrupt)?;
    Ok(tally)
}

fn named(fields: &str) -> String {
    let role = if fields.contains("backend") { "device" } else { "driver" };
    let socket = if fields.contains("server") { "listens" } else { "connects" };
    format!("{role}, {socket}")
}

/// Waits until a block has come back.
fn found(guest: &Guest, interrupt: &Interrupt) -> Result<()> {
    match guest.line(PATIENCE, interrupt)? {
        Some(line) if line == "recovered" => Ok(()),
        Some(line) => bail!("the guest said: {line}"),
        None => bail!("the guest has ended"),
    }
}
