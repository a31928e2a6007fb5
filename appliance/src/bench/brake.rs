//! A slow-down to order, for trying out whether comparisons notice one (`--slow SYSTEM=PERCENT`).
//!
//! Every few milliseconds the processes of a run are stopped for a moment (SIGSTOP, SIGCONT), client and server alike, so
//! that they lose the asked share of their time and a rate that is counted by the clock falls by that share. The time that
//! each stop really took counts, so that late wake-ups of the thread here do not add up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// From the end of one stop to the next.
const RUN: Duration = Duration::from_millis(10);

/// Which system is to be slowed down, and by how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowDown {
    /// The system's name.
    pub system: String,
    /// A rate falls by so many percent; a cost that the clients count call by call grows by as much.
    pub percent: u32,
}

impl SlowDown {
    /// Reads `SYSTEM=PERCENT`.
    pub fn parse(word: &str) -> Result<Self, String> {
        let accepted = || format!("'{word}' is no slow-down: SYSTEM=PERCENT with 1 to 90 percent is accepted");
        let (system, percent) = word.split_once('=').ok_or_else(accepted)?;
        let percent = percent.parse().ok().filter(|percent| (1..=90).contains(percent)).ok_or_else(accepted)?;
        Ok(Self { system: system.to_owned(), percent })
    }
}

/// Process groups that lose a share of their time until this is dropped.
#[derive(Debug)]
pub(super) struct Brake {
    released: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Brake {
    /// Begins to stop the groups of these leaders, in this order.
    pub fn pull(leaders: &[u32], percent: u32) -> Self {
        let released = Arc::new(AtomicBool::new(false));
        let groups: Vec<Pid> = leaders.iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())).collect();
        let seen = released.clone();
        let thread = thread::spawn(move || hold(&groups, f64::from(percent) / 100.0, &seen));
        Self { released, thread: Some(thread) }
    }
}

impl Drop for Brake {
    fn drop(&mut self) {
        self.released.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

fn hold(groups: &[Pid], share: f64, released: &AtomicBool) {
    let tell = |signal| groups.iter().for_each(|group| _ = kill_process_group(*group, signal));
    let began = Instant::now();
    let mut stopped = Duration::ZERO;
    while !released.load(Ordering::Relaxed) {
        thread::sleep(RUN);
        // After a stop of this length the share is what was asked for.
        let due = (share * began.elapsed().as_secs_f64() - stopped.as_secs_f64()) / (1.0 - share);
        if due <= 0.0 {
            continue;
        }
        let stop = Instant::now();
        tell(Signal::STOP);
        thread::sleep(Duration::from_secs_f64(due));
        tell(Signal::CONT);
        stopped += stop.elapsed();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_slow_down_reads_back() {
        let of = |system: &str, percent| Ok(SlowDown { system: system.into(), percent });
        assert_eq!(SlowDown::parse("nommu-patch@vhost=10"), of("nommu-patch@vhost", 10));
        for bad in ["native", "native=", "native=0", "native=91", "native=x"] {
            assert!(SlowDown::parse(bad).unwrap_err().contains("SYSTEM=PERCENT"), "{bad}");
        }
    }

    #[test]
    fn the_asked_share_of_the_time_is_lost_and_no_more() {
        let mut command = Command::new("sh");
        let mut child = command.args(["-c", "sleep 30"]).process_group(0).spawn().unwrap();
        let stat = format!("/proc/{}/stat", child.id());
        let brake = Brake::pull(&[child.id()], 40);
        let looks = 400;
        let stopped = (0..looks).filter(|_| {
            thread::sleep(Duration::from_millis(2));
            std::fs::read_to_string(&stat).unwrap().contains(") T ")
        });
        let share = stopped.count() as f64 / f64::from(looks);
        drop(brake);
        let after = std::fs::read_to_string(&stat).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!((0.3..0.5).contains(&share), "{share}");
        assert!(!after.contains(") T "), "{after}");
    }
}
