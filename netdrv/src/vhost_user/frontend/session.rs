//! The front-end's side of the handshake, sans-IO: messages out, answers in.
//!
//! The order is the one of QEMU, which every back-end is tested against: what the device can, what the protocol can,
//! owner, configuration, what both will do, memory, rings, enable. Where the peer acknowledges (REPLY_ACK), each message
//! waits for it, so that a refusal is known by its name; else a refusal shows as a closed socket.

use crate::vhost_user::message::{FdRole, Features, Outgoing, ProtocolFeatures, Reply, Request};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Device status bits (virtio 1.2, section 2.1).
const STATUS_ACKNOWLEDGE_DRIVER: u64 = 1 | 2;
const STATUS_FEATURES_OK: u64 = STATUS_ACKNOWLEDGE_DRIVER | 8;
const STATUS_DRIVER_OK: u64 = STATUS_FEATURES_OK | 4;

/// Bytes of `struct virtio_net_config` up to and with `mtu`.
const NET_CONFIG_LEN: usize = 12;

/// Where a ring's tables are, as the peer is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RingAddress {
    pub(crate) size: u16,
    pub(crate) descriptors: u64,
    pub(crate) available: u64,
    pub(crate) used: u64,
}

/// What the front-end brings.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// What we can, without [`Features::PROTOCOL_FEATURES`].
    pub(crate) features: Features,
    pub(crate) protocol: ProtocolFeatures,
    /// Queue pairs that we would use.
    pub(crate) pairs: u16,
    /// Address of the shared region's first byte, as the peer is told, and its length.
    pub(crate) guest_base: u64,
    pub(crate) region_len: u64,
    /// Our MTU.
    pub(crate) mtu: u16,
}

/// What holds between the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Agreement {
    pub(crate) features: Features,
    pub(crate) protocol: ProtocolFeatures,
    /// Queue pairs in use.
    pub(crate) pairs: u16,
    /// The device's MTU, if it has one.
    pub(crate) mtu: Option<u16>,
}

/// Why the handshake failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// No back-end of today lacks it.
    #[error("the peer has legacy virtio only (no VIRTIO_F_VERSION_1)")]
    Legacy,
    /// An answer that was not asked for, or of the wrong kind.
    #[error("the peer answered request {0}, which was not asked")]
    Unexpected(u32),
    /// A negative acknowledgement.
    #[error("the peer refused request {0:?}")]
    Refused(Request),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    GetFeatures,
    GetProtocolFeatures,
    SetProtocolFeatures,
    GetQueueNum,
    SetOwner,
    GetConfig,
    SetFeatures,
    SetStatus(u64),
    SetMtu,
    SetMemTable,
    VringNum(u8),
    VringBase(u8),
    VringAddr(u8),
    VringKick(u8),
    VringCall(u8),
    VringEnable(u8),
}

/// A handshake under way.
#[derive(Debug)]
pub(crate) struct Session {
    offer: Offer,
    agreement: Agreement,
    /// What the device can.
    theirs: Features,
    steps: VecDeque<Step>,
    waiting: Option<(Step, Request)>,
    rings: Vec<RingAddress>,
}

impl Session {
    pub(crate) fn new(offer: Offer) -> Session {
        Session {
            agreement: Agreement { pairs: 1, ..Agreement::default() },
            theirs: Features::empty(),
            steps: VecDeque::from([Step::GetFeatures]),
            waiting: None,
            rings: Vec::new(),
            offer,
        }
    }

    /// What both sides can, known once [`Session::needs_rings`] is true.
    pub(crate) fn agreement(&self) -> Agreement {
        self.agreement
    }

    /// Whether the features are agreed on, so that rings can be made; [`Session::set_rings`] goes on.
    pub(crate) fn needs_rings(&self) -> bool {
        self.steps.is_empty() && self.waiting.is_none() && self.rings.is_empty()
    }

    /// Brings the rings, two to a pair: receive, transmit.
    pub(crate) fn set_rings(&mut self, rings: Vec<RingAddress>) {
        self.steps.push_back(Step::SetMemTable);
        let indices = 0..rings.len() as u8;
        for i in indices.clone() {
            let of_ring =
                [Step::VringNum(i), Step::VringBase(i), Step::VringAddr(i), Step::VringKick(i), Step::VringCall(i)];
            self.steps.extend(of_ring);
        }
        // Without protocol features a ring is enabled from its start.
        if self.agreement.features.contains(Features::PROTOCOL_FEATURES) {
            self.steps.extend(indices.map(Step::VringEnable));
        }
        if self.agreement.protocol.contains(ProtocolFeatures::STATUS) {
            self.steps.push_back(Step::SetStatus(STATUS_DRIVER_OK));
        }
        self.rings = rings;
    }

    /// Whether the link is up.
    pub(crate) fn is_established(&self) -> bool {
        self.steps.is_empty() && self.waiting.is_none() && !self.rings.is_empty()
    }

    /// The next message to send, if one is due.
    pub(crate) fn poll_send(&mut self) -> Option<Outgoing> {
        if self.waiting.is_some() {
            return None;
        }
        let step = self.steps.pop_front()?;
        let (request, payload, fd) = self.message(step);
        let has_answer = matches!(
            request,
            Request::GetFeatures | Request::GetProtocolFeatures | Request::GetQueueNum | Request::GetConfig
        );
        let acknowledged = !has_answer && self.agreement.protocol.contains(ProtocolFeatures::REPLY_ACK);
        if has_answer || acknowledged {
            self.waiting = Some((step, request));
        }
        Some(Outgoing::new(request, acknowledged, &payload, fd))
    }

    fn message(&self, step: Step) -> (Request, Vec<u8>, Option<FdRole>) {
        let number = |request, value: u64| (request, value.to_ne_bytes().to_vec(), None);
        let state = |request, index: u8, value: u32| (request, words(&[u32::from(index), value]), None);
        match step {
            Step::GetFeatures => (Request::GetFeatures, Vec::new(), None),
            Step::GetProtocolFeatures => (Request::GetProtocolFeatures, Vec::new(), None),
            Step::SetProtocolFeatures => number(Request::SetProtocolFeatures, self.agreement.protocol.bits()),
            Step::GetQueueNum => (Request::GetQueueNum, Vec::new(), None),
            Step::SetOwner => (Request::SetOwner, Vec::new(), None),
            Step::GetConfig => {
                let mut payload = words(&[0, NET_CONFIG_LEN as u32, 0]);
                payload.resize(payload.len() + NET_CONFIG_LEN, 0);
                (Request::GetConfig, payload, None)
            }
            Step::SetFeatures => number(Request::SetFeatures, self.agreement.features.bits()),
            Step::SetStatus(status) => number(Request::SetStatus, status),
            Step::SetMtu => number(Request::NetSetMtu, u64::from(self.offer.mtu)),
            Step::SetMemTable => {
                let mut payload = words(&[1, 0]);
                let base = self.offer.guest_base;
                // guest address, size, front-end address, offset in the file
                for word in [base, self.offer.region_len, base, 0] {
                    payload.extend_from_slice(&word.to_ne_bytes());
                }
                (Request::SetMemTable, payload, Some(FdRole::Memory))
            }
            Step::VringNum(i) => state(Request::SetVringNum, i, u32::from(self.ring(i).size)),
            Step::VringBase(i) => state(Request::SetVringBase, i, 0),
            Step::VringAddr(i) => {
                let ring = self.ring(i);
                let mut payload = words(&[u32::from(i), 0]);
                for word in [ring.descriptors, ring.used, ring.available, 0] {
                    payload.extend_from_slice(&word.to_ne_bytes());
                }
                (Request::SetVringAddr, payload, None)
            }
            Step::VringKick(i) => (Request::SetVringKick, u64::from(i).to_ne_bytes().to_vec(), Some(FdRole::Kick(i))),
            Step::VringCall(i) => (Request::SetVringCall, u64::from(i).to_ne_bytes().to_vec(), Some(FdRole::Call)),
            Step::VringEnable(i) => state(Request::SetVringEnable, i, 1),
        }
    }

    fn ring(&self, index: u8) -> RingAddress {
        self.rings[usize::from(index)]
    }

    /// Takes an answer.
    ///
    /// # Errors
    /// See [`SessionError`]; the connection is to be closed.
    pub(crate) fn handle(&mut self, reply: Reply<'_>) -> Result<(), SessionError> {
        let unexpected = SessionError::Unexpected(reply.request);
        let Some((step, request)) = self.waiting.take().filter(|(_, r)| *r as u32 == reply.request) else {
            return Err(unexpected);
        };
        if step == Step::GetConfig {
            // A back-end that has no configuration answers without payload.
            self.handle_config(reply.payload);
            return Ok(());
        }
        let value = reply.number().ok_or(unexpected)?;
        match step {
            Step::GetFeatures => self.handle_features(Features::from_bits_truncate(value))?,
            Step::GetProtocolFeatures => self.handle_protocol_features(ProtocolFeatures::from_bits_truncate(value)),
            Step::GetQueueNum => {
                let theirs = u16::try_from(value).unwrap_or(u16::MAX);
                self.agreement.pairs = self.offer.pairs.min(theirs).max(1);
            }
            _ if value != 0 => return Err(SessionError::Refused(request)),
            _ => {}
        }
        Ok(())
    }

    fn handle_features(&mut self, theirs: Features) -> Result<(), SessionError> {
        if !theirs.contains(Features::VERSION_1) {
            return Err(SessionError::Legacy);
        }
        self.theirs = theirs;
        let mut common = theirs & (self.offer.features | Features::PROTOCOL_FEATURES);
        // What the offloads need (virtio 1.2, section 5.1.3.1).
        if !common.contains(Features::CSUM) {
            common -= Features::HOST_TSO4 | Features::HOST_TSO6 | Features::HOST_USO;
        }
        if !common.contains(Features::GUEST_CSUM) {
            common -= Features::GUEST_TSO4 | Features::GUEST_TSO6 | Features::GUEST_USO4 | Features::GUEST_USO6;
        }
        if !common.intersects(Features::HOST_TSO4 | Features::HOST_TSO6) {
            common -= Features::HOST_ECN;
        }
        if !common.intersects(Features::GUEST_TSO4 | Features::GUEST_TSO6) {
            common -= Features::GUEST_ECN;
        }
        self.agreement.features = common;
        if common.contains(Features::PROTOCOL_FEATURES) {
            self.steps.push_back(Step::GetProtocolFeatures);
        } else {
            self.plan_rest();
        }
        Ok(())
    }

    fn handle_protocol_features(&mut self, theirs: ProtocolFeatures) {
        self.agreement.protocol = theirs & self.offer.protocol;
        self.steps.push_back(Step::SetProtocolFeatures);
        if self.agreement.protocol.contains(ProtocolFeatures::MQ) {
            self.steps.push_back(Step::GetQueueNum);
        }
        self.plan_rest();
    }

    /// What follows once it is known what both sides can.
    fn plan_rest(&mut self) {
        let protocol = self.agreement.protocol;
        let has_status = protocol.contains(ProtocolFeatures::STATUS);
        self.steps.push_back(Step::SetOwner);
        if has_status {
            self.steps.push_back(Step::SetStatus(STATUS_ACKNOWLEDGE_DRIVER));
        }
        if protocol.contains(ProtocolFeatures::CONFIG) && self.agreement.features.contains(Features::MTU) {
            self.steps.push_back(Step::GetConfig);
        }
        self.steps.push_back(Step::SetFeatures);
        if has_status {
            self.steps.push_back(Step::SetStatus(STATUS_FEATURES_OK));
        }
        if protocol.contains(ProtocolFeatures::NET_MTU) && self.agreement.features.contains(Features::MTU) {
            self.steps.push_back(Step::SetMtu);
        }
    }

    /// `struct vhost_user_config` (offset, size, flags), then `struct virtio_net_config`, whose MTU lies at offset 10.
    fn handle_config(&mut self, payload: &[u8]) {
        let Some(&[low, high]) = payload.get(12 + 10..12 + 12).and_then(|b| b.first_chunk::<2>()) else { return };
        self.agreement.mtu = Some(u16::from_le_bytes([low, high])).filter(|&mtu| mtu >= MIN_MTU);
    }
}

/// Least MTU of an IPv4 link (virtio 1.2, section 5.1.4.1, has the same).
const MIN_MTU: u16 = 68;

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_ne_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: Offer = Offer {
        features: Features::all().difference(Features::PROTOCOL_FEATURES),
        protocol: ProtocolFeatures::all(),
        pairs: 2,
        guest_base: 1 << 32,
        region_len: 0x10000,
        mtu: 1500,
    };
    const RING: RingAddress = RingAddress { size: 256, descriptors: 0x1000, available: 0x2000, used: 0x3000 };

    /// Runs a handshake against a back-end with these features; returns the requests in order.
    fn run(features: u64, protocol: u64) -> Result<(Vec<u32>, Agreement), SessionError> {
        let mut session = Session::new(OFFER);
        let mut requests = Vec::new();
        while !session.is_established() {
            if session.needs_rings() {
                session.set_rings(alloc::vec![RING; usize::from(session.agreement().pairs) * 2]);
            }
            let message = session.poll_send().expect("neither waiting nor done");
            requests.push(message.request as u32);
            let need_reply = message.bytes[4] & 8 != 0;
            let payload = match message.request {
                Request::GetFeatures => features.to_ne_bytes().to_vec(),
                Request::GetProtocolFeatures => protocol.to_ne_bytes().to_vec(),
                Request::GetQueueNum => 8u64.to_ne_bytes().to_vec(),
                Request::GetConfig => [&[0; 22][..], &9000u16.to_le_bytes()].concat(),
                _ if need_reply => alloc::vec![0; 8],
                _ => continue,
            };
            session.handle(Reply { request: message.request as u32, payload: &payload })?;
        }
        Ok((requests, session.agreement()))
    }

    #[test]
    fn a_full_back_end_gets_everything_in_qemus_order() {
        let (requests, agreement) = run(u64::MAX, u64::MAX).unwrap();
        assert_eq!(agreement.pairs, 2);
        assert_eq!(agreement.mtu, Some(9000));
        assert_eq!(requests[..10], [1, 15, 16, 17, 3, 39, 24, 2, 39, 20]);
        assert_eq!(requests[10..16], [5, 8, 10, 9, 12, 13]);
        assert_eq!(requests[requests.len() - 5..], [18, 18, 18, 18, 39]);
    }

    #[test]
    fn a_plain_back_end_gets_only_what_it_knows() {
        let (requests, agreement) = run(1 << 32, u64::MAX).unwrap();
        assert_eq!(agreement, Agreement { features: Features::VERSION_1, pairs: 1, ..Agreement::default() });
        assert_eq!(requests, [1, 3, 2, 5, 8, 10, 9, 12, 13, 8, 10, 9, 12, 13]);
    }

    #[test]
    fn segments_are_not_agreed_on_without_checksums() {
        let all = Features::all();
        let (_, agreement) = run((all - Features::CSUM).bits(), 0).unwrap();
        assert!(!agreement.features.intersects(Features::HOST_TSO4 | Features::HOST_TSO6 | Features::HOST_ECN));
        assert!(agreement.features.contains(Features::GUEST_TSO4 | Features::GUEST_ECN));
        let (_, agreement) = run((all - Features::GUEST_CSUM).bits(), 0).unwrap();
        assert!(!agreement.features.intersects(Features::GUEST_TSO4 | Features::GUEST_TSO6 | Features::GUEST_ECN));
    }

    #[test]
    fn bad_answers_end_the_handshake() {
        assert_eq!(run(!(1 << 32), 0), Err(SessionError::Legacy));
        let mut session = Session::new(OFFER);
        assert_eq!(session.handle(Reply { request: 1, payload: &[0; 8] }), Err(SessionError::Unexpected(1)));
        session.poll_send().unwrap();
        assert_eq!(session.handle(Reply { request: 15, payload: &[0; 8] }), Err(SessionError::Unexpected(15)));
        let mut session = Session::new(OFFER);
        session.poll_send().unwrap();
        assert_eq!(session.handle(Reply { request: 1, payload: &[0; 7] }), Err(SessionError::Unexpected(1)));
        let mut session = Session::new(OFFER);
        session.poll_send().unwrap();
        session.handle(Reply { request: 1, payload: &u64::MAX.to_ne_bytes() }).unwrap();
        session.poll_send().unwrap();
        session.handle(Reply { request: 15, payload: &u64::MAX.to_ne_bytes() }).unwrap();
        assert_eq!(session.poll_send().unwrap().request, Request::SetProtocolFeatures);
        let refused = session.handle(Reply { request: 16, payload: &1u64.to_ne_bytes() });
        assert_eq!(refused, Err(SessionError::Refused(Request::SetProtocolFeatures)));
    }
}
