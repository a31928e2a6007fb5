//! Readiness, and the list of sockets where something happened.

use super::slab::Slab;
use super::socket::{Socket, SocketId};
use alloc::collections::VecDeque;

bitflags::bitflags! {
    /// Readiness in the bits of `poll(2)`.
    #[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
    pub struct Readiness: u32 {
        /// Data, a connection to accept, or the end of data.
        const IN = 0x001;
        /// Urgent data.
        const PRI = 0x002;
        /// Room to send.
        const OUT = 0x004;
        /// An error waits in `SO_ERROR`.
        const ERR = 0x008;
        /// Both directions are closed.
        const HUP = 0x010;
        /// The peer sends no more.
        const RDHUP = 0x2000;
    }
}

/// Sockets at which something happened since the caller last looked; each at most once.
#[derive(Default)]
pub(super) struct EventList {
    ids: VecDeque<SocketId>,
}

impl EventList {
    /// Notes that something happened: new data counts even where the readiness bits do not change, for `EPOLLET`.
    pub(super) fn note(&mut self, sockets: &mut Slab<Socket>, id: SocketId) {
        if let Some(socket) = sockets.get_mut(id)
            && !core::mem::replace(&mut socket.noted, true)
        {
            self.ids.push_back(id);
        }
    }

    /// Whether nothing happened.
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The next socket; its readiness is to be looked up now.
    pub(super) fn take(&mut self, sockets: &mut Slab<Socket>) -> Option<SocketId> {
        loop {
            let id = self.ids.pop_front()?;
            if let Some(socket) = sockets.get_mut(id) {
                socket.noted = false;
                return Some(id);
            }
        }
    }
}
