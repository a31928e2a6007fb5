//! The discipline by itself: bytes in, effects and lines out.

use super::*;

fn take(d: &mut Discipline, max: usize) -> Option<Vec<u8>> {
    d.take(max).map(|(bytes, _)| bytes)
}

fn raw(d: &mut Discipline) {
    let mut raw = d.settings();
    raw.c_lflag &= !(abi::ICANON | abi::ISIG | abi::ECHO);
    raw.c_iflag = 0;
    raw.c_oflag = 0;
    d.set_settings(raw);
}

#[test]
fn a_line_is_edited_and_then_read() {
    let mut d = Discipline::default();
    let e = d.receive(b"helxo\x7f\x7flo");
    assert_eq!(e.echo, b"helxo\x08 \x08\x08 \x08lo");
    assert!(!e.arrived);
    let e = d.receive(b"\rnext");
    assert_eq!(e.echo, b"\r\nnext");
    assert!(e.arrived);
    assert_eq!(take(&mut d, 3).unwrap(), b"hel");
    assert_eq!(take(&mut d, 100).unwrap(), b"lo\n");
    assert_eq!(take(&mut d, 100), None);
}

#[test]
fn control_d_ends_a_line_without_a_newline_and_alone_is_an_end_of_file() {
    let mut d = Discipline::default();
    d.receive(b"ab\x04\x04");
    assert_eq!(take(&mut d, 9).unwrap(), b"ab");
    assert_eq!(take(&mut d, 9).unwrap(), b"");
    assert_eq!(take(&mut d, 9), None);
}

#[test]
fn control_c_signals_and_drops_the_line() {
    let mut d = Discipline::default();
    assert_eq!(d.receive(b"abc").echo, b"abc");
    let e = d.receive(b"\x03");
    assert_eq!(e.signals, [Signal::INT]);
    assert_eq!(e.echo, b"^C");
    assert!(e.flushed);
    d.receive(b"\n");
    assert_eq!(take(&mut d, 9).unwrap(), b"\n");
}

#[test]
fn words_and_lines_are_erased() {
    let mut d = Discipline::default();
    d.receive(b"one two  \x17x\n");
    assert_eq!(take(&mut d, 99).unwrap(), b"one x\n");
    d.receive(b"gone\x15kept\n");
    assert_eq!(take(&mut d, 99).unwrap(), b"kept\n");
    d.receive(b"a\x16\x03\n");
    assert_eq!(take(&mut d, 99).unwrap(), b"a\x03\n");
}

#[test]
fn a_tab_is_erased_to_where_it_began() {
    let mut d = Discipline::default();
    d.process_output(b"$ ");
    d.receive(b"abc\t");
    assert_eq!(d.receive(b"\x7f").echo, b"\x08\x08\x08");
}

#[test]
fn raw_mode_passes_bytes_and_keeps_what_was_typed() {
    let mut d = Discipline::default();
    d.receive(b"half");
    raw(&mut d);
    let e = d.receive(b"\x03\r");
    assert_eq!(e, Effects { arrived: true, ..Effects::default() });
    assert_eq!(take(&mut d, 99).unwrap(), b"half\x03\r");
    assert_eq!(d.process_output(b"a\n"), b"a\n");
}

#[test]
fn a_line_that_is_too_long_still_ends() {
    let mut d = Discipline::default();
    for _ in 0..5 {
        assert!(d.room() >= 1000);
        d.receive(&[b'x'; 1000]);
    }
    d.receive(b"y\n");
    let line = take(&mut d, 9999).unwrap();
    assert_eq!((line.len(), line.last()), (MAX_INPUT + 1, Some(&b'\n')));
}

#[test]
fn input_that_has_no_room_waits_and_takes_effect_later() {
    let mut d = Discipline::default();
    raw(&mut d);
    let mut sent = 0;
    while d.room() > 0 {
        let n = d.room().min(1000);
        d.receive(&alloc::vec![b'x'; n]);
        sent += n;
    }
    assert_eq!(sent, MAX_INPUT + MAX_BACKLOG);
    let mut settings = d.settings();
    settings.c_lflag |= abi::ECHO;
    d.set_settings(settings);
    let (first, effects) = d.take(100).unwrap();
    assert_eq!((first.len(), effects.echo.len()), (100, 100));
    assert_eq!(d.room(), 100);
}

#[test]
fn echo_is_held_back_while_output_is_stopped() {
    let mut d = Discipline::default();
    assert_eq!(d.receive(b"\x13ab").echo, b"");
    assert!(d.is_stopped());
    assert_eq!(d.receive(b"\x11").echo, b"ab");
    d.suspend(true);
    assert_eq!(d.receive(b"\x11c").echo, b"");
    assert_eq!(d.suspend(false).echo, b"c");
}
