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
        Self { display, done: 0, total, started: Instant::now() }
    }

    /// Says what the step that begins now does.
    pub fn begin(&self, what: &str) {
        match &self.display {
            Display::Bar(bar) => bar.set_message(what.to_owned()),
            Display::Lines(1) => eprintln!("[{}/{}] {what}", self.done + 1, self.total),
            Display::Lines(every) if self.done.is_multiple_of(*every) => {
                eprintln!("[{}/{}] {what} …", self.done + 1, self.total);
            }
            Display::Lines(_) => {}
        }
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
