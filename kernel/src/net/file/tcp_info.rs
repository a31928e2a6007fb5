//! `struct tcp_info` (linux/tcp.h), as getsockopt(TCP_INFO) returns it.

use crate::net::tcp::TcpInfo;
use crate::time::Duration;
use alloc::vec;
use alloc::vec::Vec;

/// Bytes of the structure in Linux 6.12.
const LEN: usize = 248;

/// `TCPI_OPT_SACK`.
const OPT_SACK: u8 = 2;
/// `TCPI_OPT_WSCALE`.
const OPT_WSCALE: u8 = 4;

/// Our own window scale is not shown by the engine; what it offers follows from the receive buffer (RFC 7323).
fn window_scale(buffer: usize) -> u8 {
    (0..14).find(|shift| buffer >> shift <= 0xffff).unwrap_or(14)
}

/// The structure's bytes. What the engine does not show is zero; the congestion window is given as what is in flight.
pub(super) fn encode(info: &TcpInfo) -> Vec<u8> {
    let mut bytes = vec![0; LEN];
    let micros = |d: Duration| u32::try_from(d.as_micros()).unwrap_or(u32::MAX);
    let clamped = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    bytes[0] = info.state as u8;
    let wscale = info.snd_wscale.map(|s| s & 0xf | window_scale(info.rcv_space) << 4);
    bytes[5] = if info.sack { OPT_SACK } else { 0 } | if wscale.is_some() { OPT_WSCALE } else { 0 };
    bytes[6] = wscale.unwrap_or(0);
    let in_flight = info.send_queued.div_ceil(info.snd_mss.max(1) as usize) as u64;
    let u32s = [
        (16, info.snd_mss),
        (20, info.rcv_mss),
        (24, clamped(in_flight)),
        (60, info.snd_mss + 40),
        (68, micros(info.rtt)),
        (72, micros(info.rttvar)),
        (76, 0x7fff_ffff),
        (80, clamped(in_flight).max(10)),
        (84, info.rcv_mss),
        (88, 3),
        (96, clamped(info.rcv_space as u64)),
        (100, clamped(info.total_retrans)),
        (136, clamped(info.segs_out)),
        (140, clamped(info.segs_in)),
        (148, micros(info.rtt)),
    ];
    for (at, value) in u32s {
        bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    let acknowledged = info.bytes_sent.saturating_sub(info.send_queued as u64);
    let u64s =
        [(104, u64::MAX), (112, u64::MAX), (120, acknowledged), (128, info.bytes_received), (200, info.bytes_sent)];
    for (at, value) in u64s {
        bytes[at..at + 8].copy_from_slice(&value.to_ne_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_the_least_that_covers_the_buffer() {
        assert_eq!(window_scale(65535), 0);
        assert_eq!(window_scale(65536), 1);
        assert_eq!(window_scale(512 * 1024), 4);
        assert_eq!(window_scale(usize::MAX), 14);
    }
}
