//! How far away hosts are (`tcp_metrics` on Linux), for the buffers of connections to them.
//!
//! A connection needs room for what is under way in a round trip, and an engine's buffers, as the window scale that its SYN
//! offers, have their size from the start. So every handshake leaves its round-trip time here, and the next connection with
//! that host has buffers to match. What a host is not known to need, it does not get: a ring that is larger than the cache
//! makes every copy slower.

use alloc::collections::VecDeque;
use core::net::Ipv4Addr;
use core::time::Duration;
use hashbrown::HashMap;

/// Hosts remembered; beyond, the one that was met first is forgotten.
const HOSTS: usize = 1024;
/// What a connection may be able to send, in bytes a second: 40 Gbit/s.
const RATE: u128 = 5_000_000_000;

/// Round-trip times by host.
#[derive(Default)]
pub(super) struct RoundTrips {
    hosts: HashMap<Ipv4Addr, Duration>,
    met: VecDeque<Ipv4Addr>,
}

impl RoundTrips {
    /// Takes what a handshake took. A shorter time counts at once: the longer one waited for something on the way, an address
    /// resolution or a busy processor. A longer one counts little by little.
    pub(super) fn note(&mut self, host: Ipv4Addr, time: Duration) {
        if let Some(known) = self.hosts.get_mut(&host) {
            *known = time.min(*known - *known / 4 + time / 4);
            return;
        }
        if self.met.len() >= HOSTS
            && let Some(first) = self.met.pop_front()
        {
            self.hosts.remove(&first);
        }
        self.met.push_back(host);
        self.hosts.insert(host, time);
    }

    /// Bytes that can be under way to a host and back, rounded up to a power of two; 0 for one that is not known.
    pub(super) fn bytes_under_way(&self, host: Ipv4Addr) -> usize {
        let Some(time) = self.hosts.get(&host) else { return 0 };
        let bytes = time.as_nanos().saturating_mul(RATE) / 1_000_000_000;
        usize::try_from(bytes).ok().and_then(usize::checked_next_power_of_two).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(n: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(0x0a00_0000 + n)
    }

    #[test]
    fn bytes_follow_the_time() {
        let mut trips = RoundTrips::default();
        assert_eq!(trips.bytes_under_way(host(1)), 0);
        trips.note(host(1), Duration::from_micros(200));
        assert_eq!(trips.bytes_under_way(host(1)), 1 << 20);
        trips.note(host(1), Duration::from_micros(20));
        assert_eq!(trips.bytes_under_way(host(1)), 1 << 17);
        trips.note(host(1), Duration::from_micros(100));
        assert_eq!(trips.bytes_under_way(host(1)), 1 << 18);
        trips.note(host(2), Duration::MAX);
        assert_eq!(trips.bytes_under_way(host(2)), usize::MAX);
    }

    #[test]
    fn the_hosts_met_first_are_forgotten() {
        let mut trips = RoundTrips::default();
        for n in 0..=HOSTS as u32 {
            trips.note(host(n), Duration::from_micros(200));
        }
        assert_eq!(trips.bytes_under_way(host(0)), 0);
        assert_ne!(trips.bytes_under_way(host(1)), 0);
        assert_eq!(trips.hosts.len(), HOSTS);
    }
}
