//! Progress of a job of known length: a bar on a terminal, plain lines anywhere else. Both go to stderr.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A job of a known number of steps.
#[derive(Debug)]
pub struct Progress {
    display: Display,
    done: usize,
    total: usize,
    started: Instant,
    /// How long the whole takes at least; zero: unknown.
    least: Duration,
}

#[derive(Debug)]
enum Display {
    Bar(ProgressBar),
    /// One line for every so many steps.
    Lines(usize),
}

impl Progress {
    /// A job of `total` steps; without a terminal each `every`-th step gets a line.
    pub fn new(total: usize, every: usize) -> Self {
        let display = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("[{elapsed_precise}] {bar:30} {pos}/{len} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_secs(1));
            Display::Bar(bar)
        } else {
            Display::Lines(every.max(1))
        };
        Self { display, done: 0, total, started: Instant::now(), least: Duration::ZERO }
    }

    /// The whole job is known to take so long or longer; an estimate of the time left goes with each step from now on.
    pub fn expect_at_least(&mut self, least: Duration) {
        self.least = least;
    }

    /// Says what the step that begins now does.
    pub fn begin(&self, what: &str) {
        let what = match self.left() {
            Some(left) => format!("{what}, about {left} left"),
            None => what.to_owned(),
        };
        match &self.display {
            Display::Bar(bar) => bar.set_message(what),
            Display::Lines(1) => eprintln!("[{}/{}] {what}", self.done + 1, self.total),
            Display::Lines(every) if self.done.is_multiple_of(*every) => {
                eprintln!("[{}/{}] {what} …", self.done + 1, self.total);
            }
            Display::Lines(_) => {}
        }
    }

    /// From the pace so far, and before there is one from what the job takes at least.
    fn left(&self) -> Option<String> {
        if self.least.is_zero() {
            return None;
        }
        let share = self.done as f64 / self.total.max(1) as f64;
        let expected = self.least.as_secs_f64() * (1.0 - share);
        let at_pace = self.started.elapsed().as_secs_f64() * (1.0 - share) / share.max(1e-9);
        // The pace of the first steps says little, for steps differ.
        let left = expected + (at_pace - expected) * share.min(0.2) * 5.0;
        let left = if self.done == 0 { expected } else { left.max(0.0) };
        Some(if left >= 90.0 { format!("{:.0} min", left / 60.0) } else { format!("{left:.0} s") })
    }

    /// The step that began last is over.
    pub fn end(&mut self) {
        self.done += 1;
        if let Display::Bar(bar) = &self.display {
            bar.set_position(self.done as u64);
        }
    }

    /// A line that stays on the screen.
    pub fn note(&self, line: &str) {
        match &self.display {
            Display::Bar(bar) => bar.println(line),
            Display::Lines(_) => eprintln!("{line}"),
        }
    }

    /// Ends the job with a line that stays.
    pub fn finish(self, line: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
        eprintln!("{line} ({seconds:.1} s)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_told_when_it_is_known() {
        let mut progress =
            Progress { display: Display::Lines(1), done: 0, total: 4, started: Instant::now(), least: Duration::ZERO };
        assert_eq!(progress.left(), None);
        progress.expect_at_least(Duration::from_secs(240));
        assert_eq!(progress.left().unwrap(), "4 min");
        progress.end();
        progress.end();
        // Nothing took any time, so the pace says that nothing is left.
        assert_eq!(progress.left().unwrap(), "0 s");
    }
}
