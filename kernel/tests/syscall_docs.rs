//! Holds `docs/syscalls.md` true: it is made from the table. `FLATLAND_BLESS=1 cargo test -p kernel --test syscall_docs`
//! writes it anew.

use kernel::syscall::{SYSCALLS, Support};
use std::fmt::Write;
use std::path::Path;

fn document() -> String {
    let count = |s: Support| SYSCALLS.iter().filter(|c| c.support == s).count();
    let mut out = String::from(
        "# System calls\n\nMade from `kernel/src/syscall/table.rs` (see `kernel/tests/syscall_docs.rs`); do not edit.\n\n\
         `full`: as Linux; `partial`: the note says what is missing; `ENOSYS`: refused, and named once in the log.\n\n",
    );
    let _ = writeln!(
        out,
        "{} full, {} partial, {} ENOSYS.\n\n| number | call | support | note |\n| --- | --- | --- | --- |",
        count(Support::Full),
        count(Support::Partial),
        count(Support::Missing)
    );
    for c in SYSCALLS {
        let support = match c.support {
            Support::Full => "full",
            Support::Partial => "partial",
            Support::Missing => "ENOSYS",
        };
        let _ = writeln!(out, "| {} | {} | {support} | {} |", c.nr, c.name, c.note);
    }
    out.push_str(
        "\n## Adding a call\n\n1. Write `sys_x(t: &Thread, …)` in the family's file under `kernel/src/syscall/`: decode and check the arguments, then call a\n   `do_x` that acts on typed values.\n\
         2. Put its path, its support level and a note into its row of the table. `Partial` wants a note, `Full` wants none.\n\
         3. Add a guest program under `kernel/tests/guest/` that shows the same natively and in the guest, error paths included.\n\
         4. `FLATLAND_BLESS=1 cargo test -p kernel --test syscall_docs` writes this file anew.\n",
    );
    out
}

#[test]
fn the_document_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/syscalls.md");
    let wanted = document();
    if std::env::var_os("FLATLAND_BLESS").is_some() {
        std::fs::write(&path, &wanted).expect("docs/syscalls.md can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "docs/syscalls.md is not what the table says: write it anew with FLATLAND_BLESS=1");
}

#[test]
fn the_table_is_sorted_and_honest() {
    for pair in SYSCALLS.windows(2) {
        assert!(pair[0].nr < pair[1].nr, "{} and {}", pair[0].name, pair[1].name);
    }
    for c in SYSCALLS {
        assert!(c.args.len() <= 6, "{}", c.name);
        match c.support {
            Support::Missing => assert!(c.handler.is_none(), "{} has a handler but counts as missing", c.name),
            Support::Partial => {
                assert!(c.handler.is_some() && !c.note.is_empty(), "{}: partial without a note", c.name)
            }
            Support::Full => assert!(c.handler.is_some(), "{} is full without a handler", c.name),
        }
    }
}
