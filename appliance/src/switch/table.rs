//! Which station is behind which port (IEEE 802.1D, section 7.8).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use netdrv::MacAddr;

/// How long a station is remembered that says nothing (802.1D's default).
const AGING: Duration = Duration::from_secs(300);
/// Most stations remembered: one that invents addresses cannot use up the memory.
const MAX_STATIONS: usize = 16_384;

/// The filtering database.
#[derive(Debug, Default)]
pub struct StationTable {
    stations: HashMap<MacAddr, (usize, Instant)>,
}

impl StationTable {
    /// Notes that a frame of `station`'s came in at `port`.
    pub fn learn(&mut self, station: MacAddr, port: usize, now: Instant) {
        if station.is_group() || station.is_zero() {
            return;
        }
        if let Some(known) = self.stations.get_mut(&station) {
            *known = (port, now);
            return;
        }
        if self.stations.len() >= MAX_STATIONS {
            self.stations.retain(|_, (_, seen)| now.duration_since(*seen) < AGING);
        }
        if self.stations.len() < MAX_STATIONS {
            self.stations.insert(station, (port, now));
        }
    }

    /// The port that a frame to `station` leaves by; `None` means all.
    pub fn port_of(&self, station: MacAddr, now: Instant) -> Option<usize> {
        let (port, seen) = self.stations.get(&station)?;
        (now.duration_since(*seen) < AGING).then_some(*port)
    }

    /// Forgets who was behind a port that went down.
    pub fn forget_port(&mut self, port: usize) {
        self.stations.retain(|_, (behind, _)| *behind != port);
    }

    /// Stations behind a port.
    pub fn behind(&self, port: usize) -> usize {
        self.stations.values().filter(|(behind, _)| *behind == port).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    #[test]
    fn stations_are_learnt_move_and_age() {
        let (mut table, now) = (StationTable::default(), Instant::now());
        assert_eq!(table.port_of(A, now), None);
        table.learn(A, 1, now);
        assert_eq!(table.port_of(A, now), Some(1));
        table.learn(A, 2, now);
        assert_eq!((table.port_of(A, now), table.behind(1), table.behind(2)), (Some(2), 0, 1));
        assert_eq!(table.port_of(A, now + AGING), None);
        table.forget_port(2);
        assert_eq!(table.port_of(A, now), None);
        table.learn(MacAddr::BROADCAST, 1, now);
        table.learn(MacAddr([0; 6]), 1, now);
        assert_eq!(table.behind(1), 0);
    }

    #[test]
    fn invented_addresses_fill_the_table_and_no_more() {
        let (mut table, now) = (StationTable::default(), Instant::now());
        for i in 0..2 * MAX_STATIONS as u32 {
            let [a, b, c, d] = i.to_be_bytes();
            table.learn(MacAddr([2, 1, a, b, c, d]), 0, now);
        }
        assert_eq!(table.behind(0), MAX_STATIONS);
        table.learn(MacAddr([6; 6]), 1, now + AGING);
        assert_eq!((table.behind(0), table.behind(1)), (0, 1), "old ones make room");
    }
}
