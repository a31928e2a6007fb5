//! A flow: one TCP connection, its engine, and what the stack keeps beside it.
//!
//! The engine does the protocol; a flow adds what Linux promises and an engine does not know: `TCP_CORK`, keep-alive
//! counts, user timeouts, quick acknowledgements, FIN-WAIT-2 limits of orphans, counters for `TCP_INFO`. All of it is
//! bookkeeping over the segments that pass by ([`Flow::observe_received`], [`Flow::observe_sent`]) and deadlines
//! ([`Flow::next_deadline`], [`Flow::run_timers`]).

use super::engine::{TcpEngine, TcpState};
use super::segment::{SynOptions, TcpFlags, TcpSegment, seq_before};
use super::smoltcp_engine::SmoltcpEngine;
use crate::net::addr::FourTuple;
use crate::net::error::NetError;
use crate::net::ip::Path;
use crate::net::socket::{SocketId, SocketOptions};
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

/// How long a corked partial segment waits (`tcp(7)`, `TCP_CORK`).
const CORK_TIMEOUT: Duration = Duration::from_millis(200);
/// How long acknowledgements wait on a connection that answers data with data.
const ACK_DELAY: Duration = Duration::from_millis(10);
/// Data answered within this time makes a connection interactive (`TCP_ATO_MIN`).
const INTERACTIVE: Duration = Duration::from_millis(40);
/// An active open is given up after this (`tcp_syn_retries` = 6).
const SYN_TIMEOUT: Duration = Duration::from_secs(127);
/// A passive open is given up after this (`tcp_synack_retries` = 5).
const SYN_ACK_TIMEOUT: Duration = Duration::from_secs(63);
/// Unacknowledged data is given up after this (`tcp_retries2` = 15).
const RETRANSMIT_TIMEOUT: Duration = Duration::from_millis(924_600);
/// The same for a connection whose socket is closed (`tcp_orphan_retries`).
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(105);
/// Challenge acknowledgements of one connection are this far apart at least (`tcp_invalid_ratelimit`; RFC 5961,
/// section 7).
const CHALLENGE_INTERVAL: Duration = Duration::from_millis(500);
/// An orphan waits for the peer's FIN no longer than this (`tcp_fin_timeout`).
const FIN_TIMEOUT: Duration = Duration::from_secs(60);

/// Who holds a flow.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum FlowOwner {
    /// A socket.
    Socket(SocketId),
    /// A listener; the handshake is under way.
    Handshake(SocketId),
    /// A listener's queue; the handshake is done.
    AcceptQueue(SocketId),
    /// Nobody any more; it finishes by itself.
    Orphan,
}

/// Whether a flow stands in a queue of those with something to do.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum FlowQueue {
    /// In none.
    Idle,
    /// In the dirty list.
    Dirty,
    /// It waits for its device.
    Device,
}

/// What a flow's timers want.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum TimerAction {
    /// Nothing beyond what was done.
    None,
    /// The peer is gone: reset and report.
    Abort(NetError),
    /// Forget the flow without a word.
    Drop,
}

/// What becomes of a received segment that could end a connection, whoever sent it (RFC 5961).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Screened {
    /// The engine sees it.
    Pass,
    /// It never came.
    Drop,
    /// The peer is told what we have, and comes again with the right number if the segment was its own.
    Challenge,
}

/// Keep-alive and timeout settings, from the socket's options.
#[derive(Copy, Clone, Debug)]
struct Patience {
    keepalive: Option<(Duration, Duration, u32)>,
    user_timeout: Option<Duration>,
}

/// Counters and estimates for `TCP_INFO`.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct FlowStats {
    pub(crate) segments_in: u64,
    pub(crate) segments_out: u64,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) retransmits: u64,
    /// Smoothed round-trip time and its variation (RFC 6298); zero until measured.
    pub(crate) srtt: Duration,
    pub(crate) rttvar: Duration,
}

/// One connection.
pub(crate) struct Flow {
    pub(crate) tuple: FourTuple,
    pub(crate) engine: Box<SmoltcpEngine>,
    pub(crate) owner: FlowOwner,
    pub(crate) queue: FlowQueue,
    pub(crate) path: Path,
    /// State when the stack last looked.
    pub(crate) state: TcpState,
    /// Earliest entry for this flow in the timer heap.
    pub(crate) armed: Instant,
    /// No longer in the flow table: only the socket still reads what has been received.
    pub(crate) detached: bool,
    /// Aborted by us; the RST has yet to leave.
    pub(crate) aborting: bool,
    /// Why the connection ended, for the socket.
    pub(crate) error: Option<NetError>,
    /// Whether the send buffer had room when the program last could know.
    pub(crate) writable: bool,
    pub(crate) reuse: bool,
    pub(crate) ttl: u8,
    pub(crate) tos: u8,
    /// `TCP_CORK` is set.
    pub(crate) cork: bool,
    pub(crate) quick_ack: bool,
    pub(crate) stats: FlowStats,
    /// The peer's SYN options.
    pub(crate) peer: SynOptions,
    /// Largest payload that fits the path.
    pub(crate) mss: u16,
    /// The sequence number after everything sent.
    pub(crate) snd_max: u32,
    /// The acknowledgement number last sent.
    pub(crate) rcv_nxt: u32,
    /// The window last sent, as in the header.
    pub(crate) window: u16,
    patience: Patience,
    /// Corked bytes that are less than a segment.
    held: Vec<u8>,
    hold_until: Instant,
    /// FIN once the held bytes are in the engine.
    fin_wanted: bool,
    /// The sequence number after everything handed to the engine.
    write_seq: u32,
    opened: Instant,
    last_heard: Instant,
    /// When the neighbour was last told to be alive.
    pub(crate) confirmed: Instant,
    /// Since when something unacknowledged is outstanding.
    pending_since: Option<Instant>,
    probing_since: Option<Instant>,
    fin_wait_until: Instant,
    last_data: Instant,
    interactive: bool,
    ack_delayed_until: Instant,
    delaying: bool,
    rtt_sample: Option<(u32, Instant)>,
    received_total: u64,
    /// The sequence number of the peer's SYN.
    initial_received: Option<u32>,
    challenged: Option<Instant>,
    /// Total received bytes up to which the peer has been offered room.
    offered_total: u64,
}

impl Flow {
    pub(crate) fn new(
        tuple: FourTuple,
        engine: Box<SmoltcpEngine>,
        owner: FlowOwner,
        path: Path,
        initial_sequence: u32,
        mss: u16,
        now: Instant,
    ) -> Flow {
        let state = engine.state();
        Flow {
            tuple,
            engine,
            owner,
            queue: FlowQueue::Idle,
            path,
            state,
            armed: Instant::FAR_FUTURE,
            detached: false,
            aborting: false,
            error: None,
            writable: false,
            reuse: false,
            ttl: 64,
            tos: 0,
            cork: false,
            quick_ack: false,
            stats: FlowStats::default(),
            peer: SynOptions::default(),
            mss,
            snd_max: initial_sequence,
            rcv_nxt: 0,
            window: 0,
            patience: Patience { keepalive: None, user_timeout: None },
            held: Vec::new(),
            hold_until: Instant::FAR_FUTURE,
            fin_wanted: false,
            write_seq: initial_sequence.wrapping_add(1),
            opened: now,
            last_heard: now,
            confirmed: Instant(0),
            pending_since: None,
            probing_since: None,
            fin_wait_until: Instant::FAR_FUTURE,
            last_data: Instant(0),
            interactive: false,
            ack_delayed_until: Instant::FAR_FUTURE,
            delaying: false,
            rtt_sample: None,
            received_total: 0,
            initial_received: None,
            challenged: None,
            offered_total: 0,
        }
    }

    /// Takes over a socket's options.
    pub(crate) fn apply_options(&mut self, options: &SocketOptions) {
        self.reuse = options.reuse_addr;
        self.ttl = options.ttl;
        self.tos = options.tos;
        self.cork = options.cork;
        self.quick_ack = options.quick_ack;
        let keepalive = (options.keep_idle, options.keep_interval, options.keep_count);
        self.patience.keepalive = options.keepalive.then_some(keepalive);
        self.patience.user_timeout = options.user_timeout;
        self.engine.set_nagle(!options.nodelay);
        if !self.patience_wants_probes() {
            self.stop_probing();
        }
    }

    /// Bytes that may be queued for sending.
    pub(crate) fn send_space(&self) -> usize {
        self.engine.send_space().saturating_sub(self.held.len())
    }

    /// Whether a writer that waits should be woken: a third of the buffer is free (`sk_stream_is_writeable`).
    pub(crate) fn is_writable(&self) -> bool {
        self.engine.state().may_send() && !self.fin_wanted && self.send_space() >= self.engine.send_capacity() / 3
    }

    /// Whether the engine has sent all that it was given, so that a look at it after that would find nothing.
    pub(crate) fn has_sent_all(&self) -> bool {
        self.write_seq == self.snd_max && self.engine.state() == TcpState::Established
    }

    /// Whether what has just come leaves nothing to do: it is data whose acknowledgement goes with the answer, everything of ours is
    /// sent, and the flow will be looked at by the time that the answer is due.
    pub(crate) fn can_wait_for_answer(&self, now: Instant) -> bool {
        let quiet = !self.detached && !self.aborting && !self.fin_wanted && self.held.is_empty();
        quiet
            && self.delaying
            && self.ack_delayed_until == now + ACK_DELAY
            && self.armed <= self.ack_delayed_until
            && self.has_sent_all()
    }

    /// Bytes not acknowledged (`SIOCOUTQ`).
    pub(crate) fn send_queued(&self) -> usize {
        self.engine.send_queued() + self.held.len()
    }

    /// Queues what `fill` writes; with `more`, or corked, a last partial segment waits for company.
    pub(crate) fn send(&mut self, more: bool, fill: &mut dyn FnMut(&mut [u8]) -> usize, now: Instant) -> usize {
        let corked = more || self.cork;
        if !self.held.is_empty() && !self.release_held() {
            return 0;
        }
        let mut total = 0;
        // Twice, as free space may wrap around the end of the ring.
        for _ in 0..2 {
            let (mut space, mut wrote) = (0, 0);
            let unsent = self.write_seq.wrapping_sub(self.snd_max) as usize;
            let (mss, held) = (usize::from(self.mss.max(1)), &mut self.held);
            let kept = self.engine.send(&mut |room| {
                space = room.len();
                wrote = fill(room).min(space);
                if !corked || wrote == space {
                    return wrote;
                }
                let tail = ((unsent + wrote) % mss).min(wrote);
                held.extend_from_slice(&room[wrote - tail..wrote]);
                wrote - tail
            });
            self.write_seq = self.write_seq.wrapping_add(kept as u32);
            total += wrote;
            if wrote < space || space == 0 {
                break;
            }
        }
        if !self.held.is_empty() && self.hold_until == Instant::FAR_FUTURE {
            self.hold_until = now + CORK_TIMEOUT;
        }
        self.writable = self.is_writable();
        total
    }

    /// Moves held bytes into the engine; false when its buffer is too full.
    pub(crate) fn release_held(&mut self) -> bool {
        let held = &mut self.held;
        let mut moved = 0;
        for _ in 0..2 {
            let rest = &held[moved..];
            let n = self.engine.send(&mut |room| {
                let n = room.len().min(rest.len());
                room[..n].copy_from_slice(&rest[..n]);
                n
            });
            moved += n;
        }
        held.drain(..moved);
        self.write_seq = self.write_seq.wrapping_add(moved as u32);
        self.hold_until = Instant::FAR_FUTURE;
        self.held.is_empty()
    }

    /// A FIN follows everything that was queued.
    pub(crate) fn finish_sending(&mut self) {
        if self.release_held() {
            self.engine.close();
        } else {
            self.fin_wanted = true;
        }
    }

    /// Whether [`Flow::finish_sending`] was called, or the engine is past it.
    pub(crate) fn sending_finished(&self) -> bool {
        let state = self.engine.state();
        self.fin_wanted || !(state.may_send() || state.is_opening())
    }

    /// Resets the connection; the RST leaves with the next transmission.
    pub(crate) fn abort(&mut self, error: Option<NetError>) {
        self.error = self.error.or(error);
        self.aborting = true;
        self.held.clear();
        self.engine.abort();
    }

    /// The socket is closed: limits for orphans apply from now on.
    pub(crate) fn become_orphan(&mut self, now: Instant) {
        self.owner = FlowOwner::Orphan;
        self.note_fin_wait(now);
    }

    /// An orphan in FIN-WAIT-2 waits for the peer's FIN for a limited time.
    pub(crate) fn note_fin_wait(&mut self, now: Instant) {
        if self.owner == FlowOwner::Orphan
            && self.engine.state() == TcpState::FinWait2
            && self.fin_wait_until == Instant::FAR_FUTURE
        {
            self.fin_wait_until = now + FIN_TIMEOUT;
        }
    }

    /// The sequence number that the peer sends next, once it has sent its SYN.
    pub(crate) fn next_received(&self) -> Option<u32> {
        let fin = u32::from(self.engine.state().peer_finished());
        Some(self.initial_received?.wrapping_add(1).wrapping_add(self.received_total as u32).wrapping_add(fin))
    }

    /// Looks at a segment that somebody who guesses could have sent to end the connection: a reset counts only with the
    /// very next sequence number, a SYN never (RFC 5961, sections 3.2 and 4.2).
    pub(crate) fn screen(&self, segment: &TcpSegment) -> Screened {
        if !segment.flags.intersects(TcpFlags::RST | TcpFlags::SYN) {
            return Screened::Pass;
        }
        let (Some(next), state) = (self.next_received(), self.engine.state()) else { return Screened::Pass };
        if state == TcpState::SynSent {
            return Screened::Pass;
        }
        if segment.flags.contains(TcpFlags::RST) {
            return match segment.seq.wrapping_sub(next) as usize {
                0 => Screened::Pass,
                ahead if ahead < self.engine.receive_capacity() => Screened::Challenge,
                _ => Screened::Drop,
            };
        }
        if state.is_opening() { Screened::Pass } else { Screened::Challenge }
    }

    /// Whether a challenge may be sent now; it counts as sent.
    pub(crate) fn may_challenge(&mut self, now: Instant) -> bool {
        let due = self.challenged.is_none_or(|last| now.saturating_since(last) >= CHALLENGE_INTERVAL);
        if due {
            self.challenged = Some(now);
        }
        due
    }

    /// Keeps books on a received segment, before the engine sees it. Returns the round-trip time that it showed if it ended our
    /// part of the handshake.
    pub(crate) fn observe_received(&mut self, segment: &TcpSegment, bytes: &[u8], now: Instant) -> Option<Duration> {
        self.last_heard = now;
        self.stats.segments_in += 1;
        self.stop_probing();
        // The engine may yet refuse what comes before the connection is made: the last one stands.
        let opens = self.initial_received.is_none() || self.engine.state() == TcpState::SynSent;
        if segment.flags.contains(TcpFlags::SYN) && opens {
            self.peer = SynOptions::parse(bytes, segment.header_len);
            self.initial_received = Some(segment.seq);
        }
        let mut handshake = None;
        if segment.flags.contains(TcpFlags::ACK)
            && let Some((end, at)) = self.rtt_sample
            && !seq_before(segment.ack, end)
        {
            self.rtt_sample = None;
            let time = now.saturating_since(at);
            self.stats.measure(time);
            handshake = self.state.is_opening().then_some(time);
        }
        if segment.payload_len > 0 {
            // Immediate acknowledgement, unless the program is likely to answer: then it rides on the answer.
            self.last_data = now;
            let delay = self.interactive && !self.quick_ack;
            if delay != self.delaying {
                self.delaying = delay;
                self.engine.set_ack_delay(delay.then_some(ACK_DELAY));
            }
            if delay && self.ack_delayed_until == Instant::FAR_FUTURE {
                self.ack_delayed_until = now + ACK_DELAY;
            }
        }
        handshake
    }

    /// Notes how many bytes the engine put into the receive buffer.
    pub(crate) fn note_received(&mut self, bytes: usize) {
        self.received_total += bytes as u64;
        self.stats.bytes_received += bytes as u64;
    }

    /// Keeps books on a segment the engine wrote.
    pub(crate) fn observe_sent(&mut self, segment: &TcpSegment, now: Instant) {
        self.stats.segments_out += 1;
        self.window = segment.window;
        if segment.flags.contains(TcpFlags::ACK) {
            self.rcv_nxt = segment.ack;
            let room = self.engine.receive_capacity() - self.engine.receive_queued();
            self.offered_total = self.received_total + room as u64;
        }
        if segment.payload_len == 0 && now >= self.ack_delayed_until {
            // The answer that was waited for did not come: acknowledge at once from now on.
            self.interactive = false;
        }
        self.ack_delayed_until = Instant::FAR_FUTURE;
        if segment.sequence_len() == 0 {
            return;
        }
        let end = segment.end();
        if seq_before(self.snd_max, end) {
            let fresh = end.wrapping_sub(self.snd_max);
            self.stats.bytes_sent += u64::from(fresh);
            self.snd_max = end;
            if self.rtt_sample.is_none() {
                self.rtt_sample = Some((end, now));
            }
            if segment.payload_len > 0 && now.saturating_since(self.last_data) < INTERACTIVE {
                self.interactive = true;
            }
        } else if segment.payload_len > 0 || segment.flags.intersects(TcpFlags::SYN | TcpFlags::FIN) {
            self.stats.retransmits += 1;
            // An acknowledgement could be for either copy (Karn's algorithm, RFC 6298, section 3).
            self.rtt_sample = None;
        }
    }

    /// Whether a read has freed so much that the peer should be told (RFC 9293, section 3.8.6.2.2).
    pub(crate) fn wants_window_update(&self) -> bool {
        let room = (self.engine.receive_capacity() - self.engine.receive_queued()) as u64;
        let offered = self.offered_total.saturating_sub(self.received_total);
        // Without window scaling the engine offers at most 64 KB, which this does not know: ask it.
        self.peer.window_scale.is_none() || room / 2 + 1024 >= offered
    }

    /// When something has to happen without further input.
    pub(crate) fn next_deadline(&mut self, now: Instant) -> Instant {
        let engine = match self.engine.next_deadline(now) {
            // The engine had its chance just now: whatever it still calls due is not to spin on.
            Some(at) if at <= now => now + Duration::from_millis(1),
            Some(at) => at,
            None => Instant::FAR_FUTURE,
        };
        engine
            .min(self.hold_until)
            .min(self.fin_wait_until)
            .min(self.give_up_at().map_or(Instant::FAR_FUTURE, |(at, _)| at))
            .min(self.keepalive_at())
    }

    /// Does what is due.
    pub(crate) fn run_timers(&mut self, now: Instant) -> TimerAction {
        if self.detached || self.aborting {
            return TimerAction::None;
        }
        if now >= self.hold_until || self.fin_wanted {
            let released = self.release_held();
            if released && self.fin_wanted {
                self.fin_wanted = false;
                self.engine.close();
            }
        }
        if now >= self.fin_wait_until {
            return TimerAction::Drop;
        }
        let outstanding = self.is_outstanding();
        if !outstanding {
            self.pending_since = None;
        } else if self.pending_since.is_none() {
            self.pending_since = Some(now);
        }
        if let Some((at, action)) = self.give_up_at()
            && now >= at
        {
            return action;
        }
        if now >= self.keepalive_at()
            && let Some((_, interval, _)) = self.patience.keepalive
        {
            self.probing_since = Some(now);
            self.engine.set_keepalive_probing(Some(interval));
        }
        TimerAction::None
    }

    fn is_outstanding(&self) -> bool {
        let fin = matches!(self.engine.state(), TcpState::FinWait1 | TcpState::Closing | TcpState::LastAck);
        self.engine.send_queued() > 0 || fin
    }

    fn give_up_at(&self) -> Option<(Instant, TimerAction)> {
        let timed_out = TimerAction::Abort(NetError::TimedOut);
        match self.engine.state() {
            TcpState::SynSent => {
                let limit = self.patience.user_timeout.unwrap_or(SYN_TIMEOUT);
                return Some((self.opened + limit, timed_out));
            }
            TcpState::SynReceived => return Some((self.opened + SYN_ACK_TIMEOUT, TimerAction::Drop)),
            _ => {}
        }
        if let (Some(since), Some((_, interval, count))) = (self.probing_since, self.patience.keepalive) {
            let limit = match self.patience.user_timeout {
                Some(limit) => self.last_heard + limit,
                None => since + interval.saturating_mul(count),
            };
            return Some((limit, timed_out));
        }
        let since = self.pending_since?.max(self.last_heard);
        let limit = match (self.owner, self.patience.user_timeout) {
            (_, Some(limit)) => limit,
            (FlowOwner::Orphan, None) => ORPHAN_TIMEOUT,
            (_, None) => RETRANSMIT_TIMEOUT,
        };
        Some((since + limit, timed_out))
    }

    fn keepalive_at(&self) -> Instant {
        let idle = self.probing_since.is_none() && self.pending_since.is_none();
        match self.patience.keepalive {
            Some((after, _, _)) if idle && self.patience_wants_probes() => self.last_heard + after,
            _ => Instant::FAR_FUTURE,
        }
    }

    fn patience_wants_probes(&self) -> bool {
        let alive = matches!(
            self.engine.state(),
            TcpState::Established | TcpState::CloseWait | TcpState::FinWait1 | TcpState::FinWait2
        );
        alive && self.patience.keepalive.is_some()
    }

    fn stop_probing(&mut self) {
        if self.probing_since.take().is_some() {
            self.engine.set_keepalive_probing(None);
        }
    }
}

impl FlowStats {
    /// Takes a round-trip time into the estimate (RFC 6298, section 2).
    fn measure(&mut self, rtt: Duration) {
        if self.srtt.is_zero() {
            (self.srtt, self.rttvar) = (rtt, rtt / 2);
        } else {
            self.rttvar = (self.rttvar * 3 + self.srtt.abs_diff(rtt)) / 4;
            self.srtt = (self.srtt * 7 + rtt) / 8;
        }
    }
}
