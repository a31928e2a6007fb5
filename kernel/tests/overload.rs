//! A machine that is asked for too much stays usable: `tests/fuzz/overload.c` plays the shell in it.

mod stress;

use std::time::Duration;
use stress::{Guest, HOOKS};

/// Exit status of a run in which the shell stayed usable.
const SUCCESS: i32 = 42;
const LIMIT: Duration = Duration::from_secs(60);

fn overload(case: &str, memory: &'static str) {
    for hook in HOOKS {
        let mut guest = Guest::new(&format!("overload-{case}-{hook}"));
        guest.memory = memory;
        guest.compile("overload", "overload.c", &["-static-pie", "-fPIE"]);
        let mut command = guest.command(hook, "/overload", &[case]);
        if case == "flood" {
            command.stdout(std::process::Stdio::null());
        }
        let run = guest.finish(command, LIMIT);
        run.expect_survival(SUCCESS);
        if case == "hog" {
            assert!(run.stderr.matches("out of memory: killed process").count() >= 5, "{}", run.stderr);
        }
    }
}

#[test]
fn two_hundred_processes_and_a_thousand_threads_at_once() {
    overload("crowd", "512m");
}

#[test]
fn fork_without_memory_for_the_copy_is_enomem() {
    overload("no-memory", "64m");
}

#[test]
fn a_fork_bomb_can_be_put_out() {
    overload("bomb", "64m");
}

#[test]
fn the_process_that_takes_all_memory_is_killed() {
    overload("hog", "64m");
}

#[test]
fn a_runaway_writer_leaves_the_shell_its_turn() {
    overload("flood", "64m");
}

#[test]
fn a_busy_loop_in_real_time_priority_leaves_the_shell_its_turn() {
    overload("real-time", "64m");
}

#[test]
fn output_that_nobody_reads_stops_only_who_writes_it() {
    for hook in HOOKS {
        let guest = Guest::new(&format!("unread-{hook}"));
        guest.compile("unread", "unread.c", &["-static-pie", "-fPIE"]);
        let command = guest.command(hook, "/unread", &[]);
        let run = guest.finish_unread(command, Duration::from_secs(5), LIMIT);
        run.expect_survival(SUCCESS);
        let expected: String = (0..100_000).map(|i| format!("line {i}\n")).collect();
        assert!(run.stdout.starts_with(&expected), "output is missing; {}", run.stdout.lines().count());
    }
}
