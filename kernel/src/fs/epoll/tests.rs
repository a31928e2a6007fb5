//! epoll over eventfds and pipes, without threads.

use super::*;
use crate::fs::eventfd::EventFd;
use crate::fs::file::OpenFlags;

const IN: u32 = PollEvents::IN.bits();
const OUT: u32 = PollEvents::OUT.bits();

struct Counter(Arc<EventFd>, Arc<OpenFile>);

fn counter() -> Counter {
    let ops = EventFd::new(0, false);
    Counter(ops.clone(), OpenFile::anonymous(ops, OpenFlags::RDWR))
}

fn instance() -> (Arc<Epoll>, Arc<OpenFile>) {
    let epoll = Epoll::new();
    (epoll.clone(), OpenFile::anonymous(epoll, OpenFlags::RDWR))
}

fn want(events: u32) -> Event {
    Event { events, data: 7 }
}

#[test]
fn level_triggered_events_stay_and_edges_do_not() {
    let (epoll, _) = instance();
    let (level, edge) = (counter(), counter());
    epoll.add(Fd(1), &level.1, Event { events: IN, data: 1 }).unwrap();
    epoll.add(Fd(2), &edge.1, Event { events: IN | ItemFlags::EDGE_TRIGGERED.bits(), data: 2 }).unwrap();
    assert!(epoll.collect(9).is_empty());
    level.0.add(1).unwrap();
    edge.0.add(1).unwrap();
    assert_eq!(epoll.collect(9).iter().map(|e| e.data).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(epoll.collect(9), [Event { events: IN, data: 1 }]);
    edge.0.add(1).unwrap();
    assert_eq!(epoll.collect(9).len(), 2);
    level.0.take().unwrap();
    assert!(epoll.collect(9).is_empty());
    assert!(!epoll.has_ready());
}

#[test]
fn a_one_shot_entry_waits_to_be_modified() {
    let (epoll, _) = instance();
    let c = counter();
    c.0.add(1).unwrap();
    epoll.add(Fd(1), &c.1, want(IN | ItemFlags::ONESHOT.bits())).unwrap();
    assert_eq!(epoll.collect(9).len(), 1);
    c.0.add(1).unwrap();
    assert!(epoll.collect(9).is_empty());
    epoll.modify(Fd(1), &c.1, want(IN | ItemFlags::ONESHOT.bits())).unwrap();
    assert_eq!(epoll.collect(9).len(), 1);
}

#[test]
fn many_ready_entries_take_turns() {
    let (epoll, _) = instance();
    let all: Vec<Counter> = (0..3).map(|_| counter()).collect();
    for (i, c) in (0..).zip(&all) {
        c.0.add(1).unwrap();
        epoll.add(Fd(i), &c.1, Event { events: IN, data: i as u64 }).unwrap();
    }
    let mut seen: Vec<u64> = (0..3).flat_map(|_| epoll.collect(1)).map(|e| e.data).collect();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2]);
}

#[test]
fn the_interest_list_is_by_number_and_description() {
    let (epoll, _) = instance();
    let c = counter();
    epoll.add(Fd(1), &c.1, want(OUT)).unwrap();
    assert_eq!(epoll.add(Fd(1), &c.1, want(OUT)).unwrap_err().errno(), Errno::EEXIST);
    epoll.add(Fd(2), &c.1, want(OUT)).unwrap();
    assert_eq!(epoll.collect(9).len(), 2);
    epoll.remove(Fd(1), &c.1).unwrap();
    assert_eq!(epoll.remove(Fd(1), &c.1).unwrap_err().errno(), Errno::ENOENT);
    assert_eq!(epoll.collect(9).len(), 1);
}

#[test]
fn the_last_close_removes_the_entry_and_its_registrations() {
    let (epoll, _) = instance();
    let c = counter();
    epoll.add(Fd(1), &c.1, want(IN)).unwrap();
    let ops = c.0.clone();
    drop(c.1);
    ops.add(1).unwrap();
    assert!(epoll.collect(9).is_empty());
    assert!(epoll.interest.lock().is_empty());
}

#[test]
fn instances_nest_but_not_in_circles() {
    let (inner, inner_file) = instance();
    let (outer, outer_file) = instance();
    let c = counter();
    inner.add(Fd(1), &c.1, want(IN)).unwrap();
    outer.add(Fd(2), &inner_file, want(IN)).unwrap();
    assert!(outer.collect(9).is_empty());
    c.0.add(1).unwrap();
    assert_eq!(outer.collect(9).len(), 1);
    c.0.take().unwrap();
    assert!(outer.collect(9).is_empty());
    assert_eq!(inner.add(Fd(3), &outer_file, want(IN)).unwrap_err().errno(), Errno::ELOOP);
    assert_eq!(inner.add(Fd(3), &inner_file, want(IN)).unwrap_err().errno(), Errno::ELOOP);
    let exclusive = want(IN | ItemFlags::EXCLUSIVE.bits());
    let (third, _) = instance();
    assert_eq!(third.add(Fd(4), &outer_file, exclusive).unwrap_err().errno(), Errno::EINVAL);
}
