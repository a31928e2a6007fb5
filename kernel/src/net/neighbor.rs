//! Neighbours: which hardware address an IPv4 address on a link has (ARP, RFC 826; states as RFC 4861, section 7.3).
//!
//! The table decides, it does not send: [`NeighborTable::resolve`] and [`NeighborTable::expire`] say which requests
//! are to go out. A packet to an unknown neighbour waits in the entry (at most [`QUEUE_LEN`]); after [`PROBES`]
//! unanswered requests the entry fails, and its packets come back to be answered with an error. A failed entry is
//! tried again when it is used again.

use super::interface::{IfIndex, QueuedFrame};
use crate::time::Instant;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;
use hashbrown::HashMap;
use netdrv::MacAddr;

/// Packets that wait for one resolution.
const QUEUE_LEN: usize = 64;
/// Requests without an answer before an entry fails (`mcast_solicit`, `ucast_solicit`).
const PROBES: u8 = 3;
/// Time between requests (`retrans_time_ms`).
const RETRANS: Duration = Duration::from_secs(1);
/// How long a confirmation lasts (`base_reachable_time_ms`).
const REACHABLE: Duration = Duration::from_secs(30);
/// How long a stale entry in use may wait for a confirmation from above (`delay_first_probe_time`).
const DELAY: Duration = Duration::from_secs(5);
/// Entries kept at most (`gc_thresh3`); a flood of requests pushes out stale ones.
const MAX_ENTRIES: usize = 1024;

/// How sure we are of a neighbour (`NUD_*`, `rtnetlink(7)`).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum NeighborState {
    /// Asked for, no answer yet.
    Incomplete,
    /// Confirmed lately.
    Reachable,
    /// Once confirmed; used until a use shows otherwise.
    Stale,
    /// Stale and in use; a probe follows.
    Delay,
    /// Asking the known address again.
    Probe,
    /// No answer.
    Failed,
    /// Set by the administrator.
    Permanent,
}

struct Neighbor {
    state: NeighborState,
    mac: MacAddr,
    probes: u8,
    /// When the state ends.
    until: Instant,
    queue: VecDeque<QueuedFrame>,
}

/// One row of `ip neigh`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct NeighborEntry {
    /// On which link.
    pub interface: IfIndex,
    /// The IPv4 address.
    pub addr: Ipv4Addr,
    /// The hardware address, where known.
    pub mac: Option<MacAddr>,
    /// How sure we are.
    pub state: NeighborState,
}

/// What to do with a packet for a neighbour.
pub(super) enum Resolution {
    /// Send it there.
    Known(MacAddr),
    /// The table may keep the packet ([`NeighborTable::enqueue`]); a request is due now if set.
    Unknown { request: bool },
}

/// A request that is due.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Solicit {
    pub(super) interface: IfIndex,
    pub(super) addr: Ipv4Addr,
    /// Ask this address only, or everyone.
    pub(super) unicast: Option<MacAddr>,
}

/// The neighbours of every link.
#[derive(Default)]
pub struct NeighborTable {
    entries: HashMap<(IfIndex, Ipv4Addr), Neighbor>,
    /// No entry's timed state ends before this.
    next: Option<Instant>,
}

impl NeighborTable {
    /// Where packets for `addr` go; starts a resolution where that is not known.
    pub(super) fn resolve(&mut self, interface: IfIndex, addr: Ipv4Addr, now: Instant) -> Resolution {
        self.make_room();
        let entry = self.entries.entry((interface, addr)).or_insert_with(|| Neighbor {
            state: NeighborState::Failed,
            mac: MacAddr([0; 6]),
            probes: 0,
            until: now,
            queue: VecDeque::new(),
        });
        let resolution = match entry.state {
            NeighborState::Failed => {
                entry.state = NeighborState::Incomplete;
                entry.probes = 1;
                entry.until = now + RETRANS;
                Resolution::Unknown { request: true }
            }
            NeighborState::Incomplete => Resolution::Unknown { request: false },
            NeighborState::Permanent => Resolution::Known(entry.mac),
            NeighborState::Stale => {
                entry.state = NeighborState::Delay;
                entry.until = now + DELAY;
                Resolution::Known(entry.mac)
            }
            NeighborState::Reachable | NeighborState::Delay | NeighborState::Probe => Resolution::Known(entry.mac),
        };
        let until = entry.until;
        self.note_deadline(until);
        resolution
    }

    /// Keeps a packet until the neighbour answers; the oldest gives way when the queue is full, and is returned.
    pub(super) fn enqueue(&mut self, interface: IfIndex, addr: Ipv4Addr, frame: QueuedFrame) -> Option<QueuedFrame> {
        let Some(entry) = self.entries.get_mut(&(interface, addr)) else { return Some(frame) };
        let evicted = if entry.queue.len() >= QUEUE_LEN { entry.queue.pop_front() } else { None };
        entry.queue.push_back(frame);
        evicted
    }

    /// Learns from an ARP packet. A reply to our request (`solicited`) confirms; anything else only updates an entry,
    /// or makes a stale one when `create` is set. Returns the packets that waited, and whether the address changed.
    pub(super) fn learn(
        &mut self,
        interface: IfIndex,
        addr: Ipv4Addr,
        mac: MacAddr,
        solicited: bool,
        create: bool,
        now: Instant,
    ) -> (VecDeque<QueuedFrame>, bool) {
        if create {
            self.make_room();
        }
        let entry = match self.entries.get_mut(&(interface, addr)) {
            Some(entry) => entry,
            None if create => self.entries.entry((interface, addr)).or_insert(Neighbor {
                state: NeighborState::Stale,
                mac,
                probes: 0,
                until: Instant::FAR_FUTURE,
                queue: VecDeque::new(),
            }),
            None => return (VecDeque::new(), false),
        };
        if entry.state == NeighborState::Permanent {
            return (VecDeque::new(), false);
        }
        let changed = entry.mac != mac;
        let asked = matches!(entry.state, NeighborState::Incomplete | NeighborState::Probe | NeighborState::Delay);
        if solicited && asked {
            entry.state = NeighborState::Reachable;
            entry.until = now + REACHABLE;
        } else if changed || matches!(entry.state, NeighborState::Incomplete | NeighborState::Failed) {
            entry.state = NeighborState::Stale;
            entry.until = Instant::FAR_FUTURE;
        }
        entry.mac = mac;
        entry.probes = 0;
        let until = entry.until;
        let queue = core::mem::take(&mut entry.queue);
        self.note_deadline(until);
        (queue, changed)
    }

    /// A connection made progress through this neighbour: it is alive (RFC 4861, section 7.3.1).
    pub(super) fn confirm(&mut self, interface: IfIndex, addr: Ipv4Addr, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&(interface, addr))
            && matches!(entry.state, NeighborState::Stale | NeighborState::Delay | NeighborState::Probe)
        {
            entry.state = NeighborState::Reachable;
            entry.probes = 0;
            entry.until = now + REACHABLE;
            let until = entry.until;
            self.note_deadline(until);
        }
    }

    /// Advances every entry whose time is up: requests to send go to `solicits`, packets of failed entries to `failed`.
    pub(super) fn expire(
        &mut self,
        now: Instant,
        solicits: &mut Vec<Solicit>,
        failed: &mut Vec<(IfIndex, Ipv4Addr, QueuedFrame)>,
    ) {
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        let mut next = Instant::FAR_FUTURE;
        for (&(interface, addr), entry) in &mut self.entries {
            if entry.until <= now {
                match entry.state {
                    NeighborState::Incomplete | NeighborState::Probe if entry.probes >= PROBES => {
                        entry.state = NeighborState::Failed;
                        failed.extend(entry.queue.drain(..).map(|frame| (interface, addr, frame)));
                    }
                    NeighborState::Incomplete => {
                        entry.probes += 1;
                        entry.until = now + RETRANS;
                        solicits.push(Solicit { interface, addr, unicast: None });
                    }
                    NeighborState::Delay | NeighborState::Probe => {
                        entry.state = NeighborState::Probe;
                        entry.probes += 1;
                        entry.until = now + RETRANS;
                        solicits.push(Solicit { interface, addr, unicast: Some(entry.mac) });
                    }
                    NeighborState::Reachable => entry.state = NeighborState::Stale,
                    NeighborState::Stale | NeighborState::Failed | NeighborState::Permanent => {}
                }
                if matches!(entry.state, NeighborState::Stale | NeighborState::Failed | NeighborState::Permanent) {
                    entry.until = Instant::FAR_FUTURE;
                }
            }
            next = next.min(entry.until);
        }
        self.next = (next != Instant::FAR_FUTURE).then_some(next);
    }

    /// When [`NeighborTable::expire`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Every entry.
    pub fn iter(&self) -> impl Iterator<Item = NeighborEntry> + '_ {
        self.entries.iter().map(|(&(interface, addr), entry)| {
            let known = !matches!(entry.state, NeighborState::Incomplete | NeighborState::Failed);
            NeighborEntry { interface, addr, mac: known.then_some(entry.mac), state: entry.state }
        })
    }

    /// Sets an entry by hand (`ip neigh replace … nud permanent`); returns the packets that waited for it.
    pub(super) fn set(
        &mut self,
        interface: IfIndex,
        addr: Ipv4Addr,
        mac: MacAddr,
        state: NeighborState,
        now: Instant,
    ) -> VecDeque<QueuedFrame> {
        let queue = self.entries.remove(&(interface, addr)).map(|e| e.queue).unwrap_or_default();
        let until = if state == NeighborState::Reachable { now + REACHABLE } else { Instant::FAR_FUTURE };
        self.note_deadline(until);
        let entry = Neighbor { state, mac, probes: 0, until, queue: VecDeque::new() };
        self.entries.insert((interface, addr), entry);
        queue
    }

    /// Forgets entries; returns the packets that waited for them.
    pub(super) fn flush(&mut self, matches: impl Fn(IfIndex, Ipv4Addr) -> bool) -> Vec<QueuedFrame> {
        let mut dropped = Vec::new();
        self.entries.retain(|&(interface, addr), entry| {
            let gone = matches(interface, addr);
            if gone {
                dropped.extend(entry.queue.drain(..));
            }
            !gone
        });
        dropped
    }

    fn note_deadline(&mut self, until: Instant) {
        if until != Instant::FAR_FUTURE {
            self.next = Some(self.next.map_or(until, |next| next.min(until)));
        }
    }

    fn make_room(&mut self) {
        if self.entries.len() >= MAX_ENTRIES {
            let idle = |e: &Neighbor| matches!(e.state, NeighborState::Stale | NeighborState::Failed);
            self.entries.retain(|_, e| !idle(e));
        }
        if self.entries.len() >= MAX_ENTRIES {
            // An entry with packets is being asked for: it ends within seconds by itself.
            let spare = |e: &Neighbor| e.state != NeighborState::Permanent && e.queue.is_empty();
            let victim = self.entries.iter().find(|(_, e)| spare(e)).map(|(k, _)| *k);
            if let Some(victim) = victim {
                self.entries.remove(&victim);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::buffer::BufferPool;
    use netdrv::FrameMeta;

    const LINK: IfIndex = IfIndex(2);
    const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    fn frame() -> QueuedFrame {
        QueuedFrame { meta: FrameMeta::default(), buf: BufferPool::default().copy(b"x"), charge: None }
    }

    fn state(table: &NeighborTable) -> NeighborState {
        table.iter().next().unwrap().state
    }

    fn expire(table: &mut NeighborTable, now: Instant) -> (usize, usize) {
        let (mut solicits, mut failed) = (Vec::new(), Vec::new());
        table.expire(now, &mut solicits, &mut failed);
        (solicits.len(), failed.len())
    }

    #[test]
    fn three_unanswered_requests_fail_the_entry_and_return_its_packets() {
        let mut table = NeighborTable::default();
        let mut now = Instant(1);
        assert!(matches!(table.resolve(LINK, PEER, now), Resolution::Unknown { request: true }));
        assert!(table.enqueue(LINK, PEER, frame()).is_none());
        assert!(matches!(table.resolve(LINK, PEER, now), Resolution::Unknown { request: false }));
        for expected in [(1, 0), (1, 0), (0, 1)] {
            now = now + RETRANS;
            assert_eq!(expire(&mut table, now), expected);
        }
        assert_eq!(state(&table), NeighborState::Failed);
        assert!(matches!(table.resolve(LINK, PEER, now), Resolution::Unknown { request: true }));
    }

    #[test]
    fn a_reply_releases_the_queue_and_ages_to_stale_then_probe() {
        let mut table = NeighborTable::default();
        let mut now = Instant(1);
        table.resolve(LINK, PEER, now);
        table.enqueue(LINK, PEER, frame());
        let (queue, _) = table.learn(LINK, PEER, MAC, true, false, now);
        assert_eq!(queue.len(), 1);
        assert_eq!(state(&table), NeighborState::Reachable);
        now = now + REACHABLE;
        expire(&mut table, now);
        assert_eq!(state(&table), NeighborState::Stale);
        assert!(matches!(table.resolve(LINK, PEER, now), Resolution::Known(MAC)));
        assert_eq!(state(&table), NeighborState::Delay);
        now = now + DELAY;
        assert_eq!(expire(&mut table, now), (1, 0));
        assert_eq!(state(&table), NeighborState::Probe);
        table.confirm(LINK, PEER, now);
        assert_eq!(state(&table), NeighborState::Reachable);
    }

    #[test]
    fn the_queue_and_the_table_are_bounded() {
        let mut table = NeighborTable::default();
        table.resolve(LINK, PEER, Instant(1));
        let evicted = (0..QUEUE_LEN + 5).filter(|_| table.enqueue(LINK, PEER, frame()).is_some()).count();
        assert_eq!(evicted, 5);
        for i in 0..3 * MAX_ENTRIES as u32 {
            table.learn(LINK, Ipv4Addr::from_bits(i), MAC, false, true, Instant(1));
        }
        assert!(table.iter().count() <= MAX_ENTRIES);
    }

    #[test]
    fn strangers_do_not_make_entries_and_cannot_change_permanent_ones() {
        let mut table = NeighborTable::default();
        table.learn(LINK, PEER, MAC, true, false, Instant(1));
        assert_eq!(table.iter().count(), 0);
        table.set(LINK, PEER, MAC, NeighborState::Permanent, Instant(0));
        table.learn(LINK, PEER, MacAddr([6; 6]), true, true, Instant(1));
        assert!(matches!(table.resolve(LINK, PEER, Instant(1)), Resolution::Known(MAC)));
    }
}
