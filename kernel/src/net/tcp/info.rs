//! What `TCP_INFO` reports.

use super::engine::{Congestion, TcpEngine, TcpState};
use super::flow::Flow;
use core::time::Duration;

/// The fields of `struct tcp_info` (`linux/tcp.h`) that are known; what the engine does not show is zero.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct TcpInfo {
    pub state: TcpState,
    /// Bytes.
    pub snd_mss: u32,
    /// Bytes.
    pub rcv_mss: u32,
    /// The peer's window scale, if it scales.
    pub snd_wscale: Option<u8>,
    pub sack: bool,
    /// Smoothed; zero until measured.
    pub rtt: Duration,
    pub rttvar: Duration,
    pub segs_in: u64,
    pub segs_out: u64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub total_retrans: u64,
    /// Bytes sent and not acknowledged, or not sent.
    pub send_queued: usize,
    pub receive_queued: usize,
    /// Receive window in bytes.
    pub rcv_space: usize,
}

impl TcpInfo {
    pub(super) fn of(flow: &Flow) -> TcpInfo {
        let peer_mss = flow.peer.mss.unwrap_or(536);
        TcpInfo {
            state: flow.state,
            snd_mss: u32::from(flow.mss.min(peer_mss)),
            rcv_mss: u32::from(flow.mss),
            snd_wscale: flow.peer.window_scale,
            sack: flow.peer.sack,
            rtt: flow.stats.srtt,
            rttvar: flow.stats.rttvar,
            segs_in: flow.stats.segments_in,
            segs_out: flow.stats.segments_out,
            bytes_received: flow.stats.bytes_received,
            bytes_sent: flow.stats.bytes_sent,
            total_retrans: flow.stats.retransmits,
            send_queued: flow.send_queued(),
            receive_queued: flow.engine.receive_queued(),
            rcv_space: flow.engine.receive_capacity(),
        }
    }

    pub(super) fn of_unconnected(state: TcpState) -> TcpInfo {
        TcpInfo {
            state,
            snd_mss: 536,
            rcv_mss: 536,
            snd_wscale: None,
            sack: false,
            rtt: Duration::ZERO,
            rttvar: Duration::ZERO,
            segs_in: 0,
            segs_out: 0,
            bytes_received: 0,
            bytes_sent: 0,
            total_retrans: 0,
            send_queued: 0,
            receive_queued: 0,
            rcv_space: 0,
        }
    }
}

/// What `getsockopt(TCP_CONGESTION)` says for a socket with this choice.
pub fn congestion_name(choice: Option<Congestion>) -> &'static str {
    choice.unwrap_or(Congestion::Reno).name()
}
