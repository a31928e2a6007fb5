//! TIME-WAIT (RFC 9293, section 3.6.1): a finished connection's tuple, kept for a minute without engine or buffers.

use super::segment::{ControlSegment, TcpFlags, TcpSegment, seq_before};
use crate::net::addr::FourTuple;
use crate::time::Instant;
use alloc::collections::VecDeque;
use core::time::Duration;

/// How long a tuple stays (`TCP_TIMEWAIT_LEN`).
pub const TIME_WAIT: Duration = Duration::from_secs(60);
/// Tuples kept at most (`tcp_max_tw_buckets`); beyond, the oldest go early.
pub const MAX_TIME_WAIT: usize = 32768;

/// A tuple in TIME-WAIT.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct TimeWait {
    /// Our next sequence number.
    pub snd_nxt: u32,
    /// The peer's next sequence number.
    pub rcv_nxt: u32,
    /// The window last advertised, as in the header.
    pub window: u16,
    /// When the tuple is free again.
    pub expires: Instant,
    /// Whether the socket had asked for address reuse.
    pub reuse: bool,
}

/// What a segment does to a tuple in TIME-WAIT.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum TimeWaitVerdict {
    /// Nothing.
    Ignore,
    /// It gets an acknowledgement.
    Acknowledge(ControlSegment),
    /// As [`TimeWaitVerdict::Acknowledge`], and the minute begins anew: the peer sent its FIN again.
    Restart(ControlSegment),
    /// The tuple is free: the segment opens a new connection (RFC 9293, section 3.6.1; RFC 6191).
    Reopen,
    /// The tuple is free: the peer has reset.
    Forget,
}

impl TimeWait {
    /// Judges a segment for this tuple.
    pub fn judge(&self, tuple: FourTuple, segment: &TcpSegment) -> TimeWaitVerdict {
        let ack = ControlSegment {
            local: tuple.local,
            remote: tuple.remote,
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: TcpFlags::ACK,
            window: self.window,
        };
        if segment.flags.contains(TcpFlags::RST) {
            // Only a reset that is exactly in sequence counts (RFC 5961, section 3.2).
            return if segment.seq == self.rcv_nxt { TimeWaitVerdict::Forget } else { TimeWaitVerdict::Ignore };
        }
        if segment.flags.contains(TcpFlags::SYN) {
            let newer = !seq_before(segment.seq, self.rcv_nxt);
            let opens = !segment.flags.contains(TcpFlags::ACK) && newer;
            return if opens { TimeWaitVerdict::Reopen } else { TimeWaitVerdict::Acknowledge(ack) };
        }
        if segment.flags.contains(TcpFlags::FIN) {
            return TimeWaitVerdict::Restart(ack);
        }
        if segment.payload_len > 0 { TimeWaitVerdict::Acknowledge(ack) } else { TimeWaitVerdict::Ignore }
    }
}

/// The order in which tuples expire. Every stay is equally long, so it is the order of arrival; a tuple whose stay
/// began anew appears twice, and its earlier mark means nothing.
#[derive(Default)]
pub struct TimeWaitQueue {
    marks: VecDeque<(Instant, FourTuple)>,
}

impl TimeWaitQueue {
    /// Notes that `tuple` expires at `expires`.
    pub fn push(&mut self, tuple: FourTuple, expires: Instant) {
        self.marks.push_back((expires, tuple));
    }

    /// The next mark that is due, or any when there are too many.
    pub fn pop(&mut self, now: Instant) -> Option<(Instant, FourTuple)> {
        let due = self.marks.front().is_some_and(|(at, _)| *at <= now) || self.marks.len() > MAX_TIME_WAIT;
        if due { self.marks.pop_front() } else { None }
    }

    /// When the next mark is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.marks.front().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(flags: TcpFlags, seq: u32, payload_len: usize) -> TcpSegment {
        TcpSegment { src_port: 80, dst_port: 1000, seq, ack: 0, flags, window: 0, header_len: 20, payload_len }
    }

    #[test]
    fn verdicts_follow_the_rfcs() {
        let tuple = FourTuple { local: "10.0.0.1:1000".parse().unwrap(), remote: "10.0.0.2:80".parse().unwrap() };
        let tw = TimeWait { snd_nxt: 500, rcv_nxt: 1000, window: 9, expires: Instant(0), reuse: false };
        let judge = |flags, seq, len| tw.judge(tuple, &segment(flags, seq, len));
        assert_eq!(judge(TcpFlags::SYN, 1000, 0), TimeWaitVerdict::Reopen);
        assert!(matches!(judge(TcpFlags::SYN, 999, 0), TimeWaitVerdict::Acknowledge(_)));
        assert!(matches!(judge(TcpFlags::SYN | TcpFlags::ACK, 2000, 0), TimeWaitVerdict::Acknowledge(_)));
        assert!(matches!(judge(TcpFlags::FIN | TcpFlags::ACK, 999, 0), TimeWaitVerdict::Restart(a) if a.ack == 1000));
        assert!(matches!(judge(TcpFlags::ACK, 990, 10), TimeWaitVerdict::Acknowledge(a) if a.seq == 500));
        assert_eq!(judge(TcpFlags::ACK, 1000, 0), TimeWaitVerdict::Ignore);
        assert_eq!(judge(TcpFlags::RST, 1000, 0), TimeWaitVerdict::Forget);
        assert_eq!(judge(TcpFlags::RST, 1001, 0), TimeWaitVerdict::Ignore);
    }
}
