//! `#!` lines (execve(2), "Interpreter scripts").

use super::{Request, elf};
use crate::error::Result;
use crate::fs::file::OpenFile;
use alloc::vec::Vec;

/// Longest line that is looked at (BINPRM_BUF_SIZE).
const LINE_MAX: usize = 256;
/// Most interpreters one inside the other.
pub(super) const MAX_DEPTH: usize = 5;

/// A parsed line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ScriptLine {
    pub interpreter: Vec<u8>,
    argument: Option<Vec<u8>>,
}

/// The line at the start of the file, if there is one.
pub(super) fn read(file: &OpenFile) -> Result<Option<ScriptLine>> {
    let mut head = [0u8; LINE_MAX];
    let n = elf::read_at(file, &mut head, 0)?;
    Ok(parse(&head[..n]))
}

/// What separates words: a carriage return does not.
fn is_blank(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

fn trim_blanks(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|&b| !is_blank(b)).unwrap_or(line.len());
    let end = line.iter().rposition(|&b| !is_blank(b)).map_or(start, |last| last + 1);
    &line[start..end]
}

fn parse(head: &[u8]) -> Option<ScriptLine> {
    let line = head.strip_prefix(b"#!")?;
    let line = match line.iter().position(|&b| b == b'\n') {
        Some(end) => &line[..end],
        // Without its end in the buffer, the interpreter's name itself must end inside it.
        None if head.len() == LINE_MAX && !trim_blanks(line).iter().any(|&b| is_blank(b)) => return None,
        None => line,
    };
    // A NUL ends the line, too, as it does where the file ends.
    let line = line.split(|&b| b == 0).next().unwrap_or_default();
    let line = trim_blanks(line);
    let end = line.iter().position(|&b| is_blank(b)).unwrap_or(line.len());
    let (interpreter, rest) = line.split_at(end);
    if interpreter.is_empty() {
        return None;
    }
    let rest = trim_blanks(rest);
    let argument = (!rest.is_empty()).then(|| rest.to_vec());
    Some(ScriptLine { interpreter: interpreter.to_vec(), argument })
}

impl ScriptLine {
    /// Rewrites the arguments: interpreter, its argument, the script's name, the script's own arguments.
    pub(super) fn apply(&self, request: &mut Request<'_>) -> Result<()> {
        let mut argv = Vec::with_capacity(request.argv.len() + 2);
        argv.push(self.interpreter.clone());
        argv.extend(self.argument.clone());
        argv.push(request.name.clone());
        argv.extend(request.argv.drain(..).skip(1));
        request.argv = argv;
        request.name.clone_from(&self.interpreter);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_linux_reads_them() {
        let line = parse(b"#! /bin/sh -e -x \nrest").unwrap();
        assert_eq!((&line.interpreter[..], line.argument.as_deref()), (&b"/bin/sh"[..], Some(&b"-e -x"[..])));
        assert_eq!(parse(b"#!/bin/sh").unwrap().interpreter, b"/bin/sh");
        assert_eq!(parse(b"#!/bin/sh\r\n").unwrap().interpreter, b"/bin/sh\r");
        assert_eq!(parse(b"#!/bin/sh\0 -x\n").unwrap(), parse(b"#!/bin/sh\n").unwrap());
        assert_eq!(parse(b"#!\n"), None);
        assert_eq!(parse(b"#! \t \n"), None);
        assert_eq!(parse(b"\x7fELF"), None);
        assert_eq!(parse(&[b"#!".as_slice(), &[b'a'; 254]].concat()), None);
    }
}
