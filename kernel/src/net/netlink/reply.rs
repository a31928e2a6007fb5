//! Replies to a request, packed into datagrams.

use super::wire::{self, Message, Request};
use crate::error::{Errno, Error};
use alloc::vec::Vec;

/// Bytes of one datagram of a dump: programs read with buffers of a page.
const DATAGRAM: usize = 3584;
/// `NLMSGERR_ATTR_MSG`: what went wrong, in words.
const ERROR_TEXT: u16 = 1;

/// What a socket wants to hear of errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Acknowledgement {
    /// `NETLINK_EXT_ACK`: the reason, in words.
    pub(super) extended: bool,
    /// `NETLINK_CAP_ACK`: without the request's payload.
    pub(super) capped: bool,
}

/// Replies to one request.
pub(super) struct Reply {
    port: u32,
    seq: u32,
    dump: bool,
    datagrams: Vec<Vec<u8>>,
}

impl Reply {
    pub(super) fn to(request: &Request<'_>, port: u32) -> Self {
        Reply { port, seq: request.seq, dump: request.is_dump(), datagrams: Vec::new() }
    }

    /// A message of this reply, to be filled and [`Reply::push`]ed.
    pub(super) fn message(&self, kind: u16) -> Message {
        Message::new(kind, if self.dump { wire::MULTI } else { 0 }, self.seq, self.port)
    }

    pub(super) fn push(&mut self, message: Message) {
        let bytes = message.finish();
        match self.datagrams.last_mut() {
            Some(last) if self.dump && last.len() + bytes.len() <= DATAGRAM => last.extend_from_slice(&bytes),
            _ => self.datagrams.push(bytes),
        }
    }

    /// The datagrams; a dump ends with `NLMSG_DONE`.
    pub(super) fn finish(mut self) -> Vec<Vec<u8>> {
        if self.dump {
            let done = self.message(wire::DONE).word(0);
            self.push(done);
        }
        self.datagrams
    }
}

/// `NLMSG_ERROR`: an error, or an acknowledgement where there is none.
pub(super) fn error(request: &Request<'_>, port: u32, error: Option<Error>, how: Acknowledgement) -> Vec<u8> {
    let reason = error.map(Error::reason).filter(|r| how.extended && !r.is_empty());
    let capped = how.capped || error.is_none();
    let mut flags = if capped { wire::CAPPED } else { 0 };
    if reason.is_some() {
        flags |= wire::ACK_TLVS;
    }
    let code = error.map_or(0, |e| -Error::errno(e).raw());
    let mut message = Message::new(wire::ERROR, flags, request.seq, port).word(code as u32).raw(request.header);
    if !capped {
        message = message.raw(request.payload);
    }
    if let Some(reason) = reason {
        message = message.text(ERROR_TEXT, reason);
    }
    message.finish()
}

/// The error for what rtnetlink has and this machine has not.
pub(super) fn unsupported(reason: &'static str) -> Error {
    Errno::EOPNOTSUPP.because(reason)
}
