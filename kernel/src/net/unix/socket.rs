//! The calls on a unix socket.

use super::endpoint::{Endpoint, Role};
use super::name::{self, Name, Wanted};
use super::queue::{Taken, gather};
use super::rights::{Cargo, Credential, dispose};
use super::{AF_UNIX, collect, socket_option};
use crate::abi::ioctl::{FIONREAD, TIOCOUTQ};
use crate::error::{Errno, Result};
use crate::fs::poll::{PollEvents, PollWatch};
use crate::mm::{IovDest, IovSource, UserPtr};
use crate::net::Shutdown;
use crate::net::file::address::AF_UNSPEC;
use crate::net::file::{
    MessageFlags, OptionValue, RawAddress, Received, SendOptions, SocketAddress, SocketOps, SocketType,
};
use crate::sched;
use crate::task::Thread;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

/// What a datagram's size may not come closer to the send buffer's than this.
const DATAGRAM_RESERVE: usize = 32;

/// A unix socket that a description owns; its end closes the endpoint.
pub struct UnixSocket {
    endpoint: Arc<Endpoint>,
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        self.endpoint.close(false);
        collect::after_close();
    }
}

fn current() -> Result<&'static Thread> {
    sched::current().ok_or_else(|| Errno::EINVAL.because("no thread makes this call"))
}

impl UnixSocket {
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Self {
        UnixSocket { endpoint }
    }

    /// The socket itself.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    fn send_stream(&self, src: &mut IovSource<'_>, options: &SendOptions) -> Result<usize> {
        let own = &self.endpoint;
        let (peer, from) = {
            let state = own.lock();
            let Role::Connected(peer) = &state.role else {
                let named = options.to.is_some();
                return Err(if named { Errno::EOPNOTSUPP } else { Errno::ENOTCONN }.into());
            };
            if options.to.is_some() {
                return Err(Errno::EISCONN.into());
            }
            if state.send_shut {
                return Err(Errno::EPIPE.into());
            }
            (peer.clone(), state.name().cloned())
        };
        let cargo = Cargo::load(sched::current(), &options.control)?;
        if src.is_empty() {
            return Ok(0);
        }
        let room = own.account.room();
        if room == 0 {
            return Err(Errno::EAGAIN.because("the send buffer is full"));
        }
        let (sent, unsent) = {
            let mut state = peer.lock();
            if state.receive_shut {
                return Err(Errno::EPIPE.into());
            }
            state.inbox.write_stream(src, room, &from, cargo, &own.account)
        };
        dispose(unsent);
        peer.waiters.wake(PollEvents::READABLE);
        sent
    }

    fn destination(&self, options: &SendOptions) -> Result<Arc<Endpoint>> {
        let own = &self.endpoint;
        if own.kind() == SocketType::SeqPacket {
            // Linux ignores the address on a connection of packets.
            let state = own.lock();
            if let Some(error) = state.error {
                drop(state);
                own.lock().error = None;
                return Err(error.into());
            }
            return match &state.role {
                Role::Connected(peer) => Ok(peer.clone()),
                _ => Err(Errno::ENOTCONN.into()),
            };
        }
        match &options.to {
            Some(address) => name::find(current()?, own.kind(), address),
            None => own.peer_endpoint().ok_or_else(|| Errno::ENOTCONN.into()),
        }
    }

    fn send_message(&self, src: &mut IovSource<'_>, options: &SendOptions) -> Result<usize> {
        let own = &self.endpoint;
        if let Some(t) = sched::current() {
            own.autobind(t)?;
        }
        let len = src.remaining();
        if len > own.account.limit().saturating_sub(DATAGRAM_RESERVE) {
            return Err(Errno::EMSGSIZE.because("larger than the send buffer"));
        }
        let to = self.destination(options)?;
        let from = {
            let state = own.lock();
            if state.send_shut {
                return Err(Errno::EPIPE.into());
            }
            state.name().cloned()
        };
        if !own.is_connection() && !to.hears(own) {
            return Err(Errno::EPERM.because("the socket there is connected to another"));
        }
        own.check_space(&to)?;
        if own.account.room() == 0 {
            return Err(Errno::EAGAIN.because("the send buffer is full"));
        }
        let cargo = Cargo::load(sched::current(), &options.control)?;
        let bytes = gather(src)?;
        {
            let mut state = to.lock();
            if matches!(state.role, Role::Closed) || state.receive_shut {
                let closed = matches!(state.role, Role::Closed) && !own.is_connection();
                drop(state);
                if !closed {
                    return Err(Errno::EPIPE.into());
                }
                if own.peer_endpoint().is_some_and(|p| Arc::ptr_eq(&p, &to)) {
                    own.set_peer(None)?;
                }
                return Err(Errno::ECONNREFUSED.because("the socket there was closed"));
            }
            state.inbox.write_message(bytes, &from, cargo, &own.account);
        }
        to.waiters.wake(PollEvents::READABLE);
        Ok(len)
    }

    /// What the socket says when its inbox is empty.
    fn nothing_there(&self, error: Option<Errno>, shut: bool, connected: bool) -> Result<Received> {
        if let Some(error) = error {
            self.endpoint.lock().error = None;
            return Err(error.into());
        }
        if shut {
            return Ok(Received::default());
        }
        match self.endpoint.kind() {
            SocketType::Stream if !connected => Err(Errno::EINVAL.because("the socket is not connected")),
            SocketType::SeqPacket if !connected => Err(Errno::ENOTCONN.into()),
            _ => Err(Errno::EAGAIN.into()),
        }
    }

    fn received(&self, mut taken: Taken, flags: MessageFlags, control: bool) -> Received {
        taken.settle();
        let own = &self.endpoint;
        let stream = own.kind() == SocketType::Stream;
        let cut = !stream && taken.copied < taken.whole;
        let whole = cut && flags.contains(MessageFlags::TRUNC);
        let pass = control && own.pass_credentials.load(Ordering::Relaxed);
        let credential = taken.credential.filter(|_| pass);
        let name = taken.from.as_ref();
        Received {
            len: if whole { taken.whole } else { taken.copied },
            from: name.map(|n| Name::address(Some(n))),
            flags: if cut { MessageFlags::TRUNC } else { MessageFlags::empty() },
            control: credential.map(Credential::message).into_iter().collect(),
            rights: taken.files,
            arrived: None,
        }
    }
}

impl SocketOps for UnixSocket {
    fn kind(&self) -> (u16, SocketType, i32) {
        (AF_UNIX, self.endpoint.kind(), 0)
    }

    fn unix(&self) -> Option<&UnixSocket> {
        Some(self)
    }

    fn poll(&self, watch: &mut PollWatch<'_>) -> PollEvents {
        self.endpoint.poll(watch)
    }

    fn bind(&self, t: &Thread, address: &RawAddress) -> Result<()> {
        self.endpoint.bind(t, &Wanted::parse(address)?)
    }

    fn connect(&self, t: &Thread, address: &RawAddress) -> Result<()> {
        let own = &self.endpoint;
        if own.is_connection() {
            return own.connect(t, address);
        }
        if address.family()? == AF_UNSPEC {
            return own.set_peer(None);
        }
        own.autobind(t)?;
        own.set_peer(Some(name::find(t, own.kind(), address)?))
    }

    fn listen(&self, backlog: usize) -> Result<()> {
        self.endpoint.listen(backlog, Credential::effective(current()?))
    }

    fn accept(&self) -> Result<(Box<dyn SocketOps>, SocketAddress)> {
        let (endpoint, peer) = self.endpoint.accept()?;
        Ok((Box::new(UnixSocket::new(endpoint)), Name::address(peer.as_ref())))
    }

    fn local_address(&self) -> Result<SocketAddress> {
        Ok(Name::address(self.endpoint.lock().name()))
    }

    fn peer_address(&self) -> Result<SocketAddress> {
        let peer = self.endpoint.peer_endpoint().ok_or(Errno::ENOTCONN)?;
        let name = peer.lock().name().cloned();
        Ok(Name::address(name.as_ref()))
    }

    fn shutdown(&self, how: Shutdown) -> Result<()> {
        self.endpoint.shutdown(how);
        Ok(())
    }

    fn send(&self, src: &mut IovSource<'_>, options: &SendOptions) -> Result<usize> {
        if options.flags.contains(MessageFlags::OOB) {
            return Err(Errno::EOPNOTSUPP.because("there is no urgent data"));
        }
        match self.endpoint.kind() {
            SocketType::Stream => self.send_stream(src, options),
            _ => self.send_message(src, options),
        }
    }

    fn receive(&self, dst: &mut IovDest<'_>, flags: MessageFlags, control: bool) -> Result<Received> {
        if flags.contains(MessageFlags::OOB) {
            return Err(Errno::EOPNOTSUPP.because("there is no urgent data"));
        }
        let own = &self.endpoint;
        let peek = flags.contains(MessageFlags::PEEK);
        let taken = {
            let mut state = own.lock();
            if state.inbox.is_empty() {
                let connected = matches!(state.role, Role::Connected(_));
                let (error, shut) = (state.error, state.receive_shut);
                drop(state);
                return self.nothing_there(error, shut, connected);
            }
            if own.kind() == SocketType::Stream {
                state.inbox.read_stream(dst, peek, own.pass_credentials.load(Ordering::Relaxed))
            } else {
                state.inbox.read_message(dst, peek)
            }
        }?;
        if !peek {
            own.made_space();
        }
        Ok(self.received(taken, flags, control))
    }

    fn set_option(&self, t: &Thread, level: i32, name: i32, value: &OptionValue<'_>) -> Result<()> {
        socket_option::set(&self.endpoint, t, level, name, value)
    }

    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>> {
        socket_option::get(&self.endpoint, level, name)
    }

    fn ioctl(&self, _t: &Thread, request: u32, arg: usize) -> Result<usize> {
        let bytes = match request {
            FIONREAD => {
                let state = self.endpoint.lock();
                if matches!(state.role, Role::Listening { .. }) {
                    return Err(Errno::EINVAL.because("a listener has no bytes"));
                }
                if self.endpoint.is_connection() { state.inbox.bytes() } else { state.inbox.first_len() }
            }
            TIOCOUTQ => self.endpoint.account.used(),
            _ => return Err(Errno::ENOTTY.into()),
        };
        UserPtr::<i32>::new(arg).write(i32::try_from(bytes).unwrap_or(i32::MAX))?;
        Ok(0)
    }
}
