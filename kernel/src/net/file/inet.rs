//! Sockets of `AF_INET` and `AF_INET6`: TCP, UDP, ping and raw, over the stack.
//!
//! Bytes are copied once, between guest memory and the stack's own buffers: the copy runs inside the stack's lock,
//! which ranks below those that a page fault takes.

use super::address::{AF_INET, AF_INET6, AF_UNSPEC};
use super::inet_option;
use super::option::Kept;
use super::{
    ControlMessage, MessageFlags, OptionValue, RawAddress, Received, SendOptions, SocketAddress, SocketOps, SocketType,
};
use crate::abi::ioctl::{FIONREAD, SIOCATMARK, TIOCOUTQ};
use crate::error::{Errno, Error, Result};
use crate::fs::poll::{PollEvents, PollWatch};
use crate::mm::{IovDest, IovSource, UserPtr};
use crate::net::network::{OpenSocket, network};
use crate::net::{Family, NetError, PacketChoices, Shutdown, SocketId, SocketKind};
use crate::task::{Capability, Thread};
use crate::{sched, time};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// `IPPROTO_*` (ip(7)).
const IPPROTO_ICMP: i32 = 1;
const IPPROTO_TCP: i32 = 6;
const IPPROTO_UDP: i32 = 17;
const IPPROTO_UDPLITE: i32 = 136;
const IPPROTO_RAW: i32 = 255;

/// Ports below this one belong to the superuser (`ip_unprivileged_port_start`).
const FIRST_UNPRIVILEGED_PORT: u16 = 1024;

/// A socket of the internet families.
pub struct InetSocket {
    pub(super) socket: OpenSocket,
    pub(super) kind: SocketKind,
    pub(super) family: Family,
    protocol: i32,
    pub(super) kept: Kept,
}

impl InetSocket {
    /// socket(2).
    ///
    /// # Errors
    /// ESOCKTNOSUPPORT, EPROTONOSUPPORT; EPERM for a raw socket without CAP_NET_RAW.
    pub fn create(t: &Thread, domain: u16, kind: u32, protocol: i32) -> Result<Box<dyn SocketOps>> {
        let family = if domain == AF_INET { Family::Inet } else { Family::Inet6 };
        if !(0..=IPPROTO_RAW).contains(&protocol) {
            return Err(Errno::EINVAL.because("no protocol has this number"));
        }
        let (kind, protocol) = match (kind, protocol) {
            (1, 0 | IPPROTO_TCP) => (SocketKind::Tcp, IPPROTO_TCP),
            (2, 0 | IPPROTO_UDP) => (SocketKind::Udp, IPPROTO_UDP),
            (2, IPPROTO_UDPLITE) => (SocketKind::UdpLite, IPPROTO_UDPLITE),
            (2, IPPROTO_ICMP) if family == Family::Inet => (SocketKind::Ping, IPPROTO_ICMP),
            (3, 0) => return Err(Errno::EPROTONOSUPPORT.because("a raw socket needs a protocol")),
            (3, _) if family == Family::Inet6 => {
                return Err(Errno::EPROTONOSUPPORT.because("there are no raw IPv6 sockets"));
            }
            (3, protocol) => {
                if !t.credentials().capable(Capability::NetRaw) {
                    return Err(Errno::EPERM.because("a raw socket needs CAP_NET_RAW"));
                }
                (SocketKind::Raw(protocol as u8), protocol)
            }
            (1 | 2, _) => return Err(Errno::EPROTONOSUPPORT.into()),
            _ => return Err(Errno::ESOCKTNOSUPPORT.into()),
        };
        let socket = network().open(|stack| Ok::<SocketId, Error>(stack.socket(kind, family)))?;
        Ok(Box::new(InetSocket { socket, kind, family, protocol, kept: Kept::new(inet_option::KEPT) }))
    }

    pub(super) fn id(&self) -> SocketId {
        self.socket.id()
    }

    /// Runs `attempt`; if it would block, once more after a look at the devices.
    fn or_receive<R>(&self, mut attempt: impl FnMut() -> Result<R, NetError>) -> Result<R, NetError> {
        let mut again = true;
        loop {
            // Called from here only, it becomes part of this.
            match attempt() {
                Err(NetError::WouldBlock) if again && network().receive(time::now()) => again = false,
                other => return other,
            }
        }
    }

    fn send_stream(&self, src: &mut IovSource<'_>, more: bool) -> Result<usize> {
        let mut fault = None;
        let empty = src.is_empty();
        let sent = self.or_receive(|| {
            let mut fill = |room: &mut [u8]| match src.take(room) {
                Ok(n) => n,
                Err(e) => {
                    fault = Some(e);
                    0
                }
            };
            network().call_sending(|stack, now| stack.send(self.id(), more, now, &mut fill))
        });
        match (sent, fault) {
            (Ok(0), Some(fault)) => Err(fault),
            (Err(NetError::WouldBlock), _) if empty => Ok(0),
            (sent, _) => Ok(sent?),
        }
    }

    fn send_datagram(&self, src: &mut IovSource<'_>, to: Option<SocketAddr>, choices: &PacketChoices) -> Result<usize> {
        let mut fault = None;
        let len = src.remaining();
        let sent = self.or_receive(|| {
            let mut fill = |room: &mut [u8]| match src.take(room) {
                Ok(n) => n,
                Err(e) => {
                    fault = Some(e);
                    0
                }
            };
            network().call_sending(|stack, now| stack.send_chosen(self.id(), to, choices, len, now, &mut fill))
        });
        match (sent, fault) {
            (Err(NetError::Fault), Some(fault)) => Err(fault),
            (sent, _) => Ok(sent?),
        }
    }

    fn receive_stream(&self, dst: &mut IovDest<'_>, flags: MessageFlags) -> Result<Received> {
        let mut fault = None;
        let (peek, discard) = (flags.contains(MessageFlags::PEEK), flags.contains(MessageFlags::TRUNC));
        let len = self.or_receive(|| {
            let mut take = |bytes: &[u8]| {
                if discard {
                    let n = bytes.len().min(dst.remaining());
                    dst.advance(n);
                    return n;
                }
                match dst.put(bytes) {
                    Ok(n) => n,
                    Err(e) => {
                        fault = Some(e);
                        0
                    }
                }
            };
            network().call_reading(|stack| stack.recv(self.id(), peek, &mut take))
        })?;
        match fault {
            Some(fault) if len == 0 => Err(fault),
            _ => Ok(Received { len, ..Received::default() }),
        }
    }

    fn receive_datagram(&self, dst: &mut IovDest<'_>, flags: MessageFlags, control: bool) -> Result<Received> {
        let mut fault = None;
        let mut copied = 0;
        let peek = flags.contains(MessageFlags::PEEK);
        let info = self.or_receive(|| {
            let mut take = |bytes: &[u8]| match dst.put(bytes) {
                Ok(n) => copied = n,
                Err(e) => fault = Some(e),
            };
            network().look(|stack| stack.receive_from(self.id(), peek, &mut take))
        });
        let info = match info {
            Err(NetError::EndOfData) => return Ok(Received::default()),
            other => other?,
        };
        if let Some(fault) = fault {
            return Err(fault);
        }
        let cut = copied < info.len;
        Ok(Received {
            len: if flags.contains(MessageFlags::TRUNC) { info.len } else { copied },
            from: Some(SocketAddress::Inet(info.from)),
            flags: if cut { MessageFlags::TRUNC } else { MessageFlags::empty() },
            control: if control { inet_option::ancillary(self, &info) } else { Vec::new() },
            arrived: Some(info.arrived),
            rights: Vec::new(),
        })
    }

    /// Where sendto(2) sends to: nowhere else on a stream, and on a datagram socket not to another family.
    fn destination(&self, to: Option<&RawAddress>) -> Result<Option<SocketAddr>> {
        let Some(raw) = to else { return Ok(None) };
        if matches!(self.kind, SocketKind::Udp | SocketKind::UdpLite)
            && self.family == Family::Inet
            && raw.bytes().len() >= 16
        {
            // As Linux: AF_UNSPEC is AF_INET here.
            if raw.family()? == AF_UNSPEC {
                return raw.with_family(AF_INET).inet(self.family).map(Some);
            }
        }
        if self.family == Family::Inet6 && raw.family()? == AF_UNSPEC {
            return Ok(None);
        }
        raw.inet(self.family).map(Some)
    }
}

impl SocketOps for InetSocket {
    fn kind(&self) -> (u16, SocketType, i32) {
        let domain = if self.family == Family::Inet { AF_INET } else { AF_INET6 };
        let kind = match self.kind {
            SocketKind::Tcp => SocketType::Stream,
            SocketKind::Udp | SocketKind::UdpLite | SocketKind::Ping => SocketType::Datagram,
            SocketKind::Raw(_) => SocketType::Raw,
        };
        (domain, kind, self.protocol)
    }

    fn poll(&self, watch: &mut PollWatch<'_>) -> PollEvents {
        watch.watch(self.socket.queue());
        self.socket.readiness()
    }

    fn bind(&self, t: &Thread, address: &RawAddress) -> Result<()> {
        if address.bytes().len() < 16 {
            return Err(Errno::EINVAL.because("the address is too short for its family"));
        }
        let any = address.bytes()[4..8] == [0; 4];
        let address = match address.family()? {
            // As Linux, for programs that forget the family: only with INADDR_ANY.
            AF_UNSPEC if self.family == Family::Inet && any => address.with_family(AF_INET),
            AF_INET if self.family == Family::Inet6 => {
                return Err(Errno::EAFNOSUPPORT.because("an AF_INET6 socket is bound to an AF_INET6 address"));
            }
            _ => *address,
        };
        let address = address.inet(self.family)?;
        let port = address.port();
        let has_ports = matches!(self.kind, SocketKind::Tcp | SocketKind::Udp | SocketKind::UdpLite);
        let privileged = has_ports && port < FIRST_UNPRIVILEGED_PORT;
        if privileged && port != 0 && !t.credentials().capable(Capability::NetBindService) {
            return Err(Errno::EACCES.because("a port below 1024 needs CAP_NET_BIND_SERVICE"));
        }
        Ok(network().look(|stack| stack.bind(self.id(), address))?)
    }

    fn connect(&self, _t: &Thread, address: &RawAddress) -> Result<()> {
        let peer = if address.family()? == AF_UNSPEC { None } else { Some(address.inet(self.family)?) };
        Ok(network().call_sending(|stack, now| stack.connect(self.id(), peer, now))?)
    }

    fn listen(&self, backlog: usize) -> Result<()> {
        Ok(network().look(|stack| stack.listen(self.id(), backlog))?)
    }

    fn accept(&self) -> Result<(Box<dyn SocketOps>, SocketAddress)> {
        let mut peer = None;
        let socket = self.or_receive(|| {
            network().open(|stack| {
                let (id, address) = stack.accept(self.id())?;
                peer = Some(address);
                Ok(id)
            })
        })?;
        let peer = peer.ok_or(Errno::ECONNABORTED)?;
        let (kind, family, protocol) = (self.kind, self.family, self.protocol);
        let kept = Kept::new(inet_option::KEPT);
        Ok((Box::new(InetSocket { socket, kind, family, protocol, kept }), SocketAddress::Inet(peer)))
    }

    fn local_address(&self) -> Result<SocketAddress> {
        Ok(SocketAddress::Inet(network().look(|stack| stack.local_addr(self.id()))?))
    }

    fn peer_address(&self) -> Result<SocketAddress> {
        Ok(SocketAddress::Inet(network().look(|stack| stack.peer_addr(self.id()))?))
    }

    fn shutdown(&self, how: Shutdown) -> Result<()> {
        Ok(network().call_sending(|stack, now| stack.shutdown(self.id(), how, now))?)
    }

    fn send(&self, src: &mut IovSource<'_>, options: &SendOptions) -> Result<usize> {
        if options.flags.contains(MessageFlags::OOB) {
            return Err(Errno::EOPNOTSUPP.because("there is no urgent data"));
        }
        let choices = inet_option::choices(&options.control)?;
        if self.kind == SocketKind::Tcp {
            if options.flags.contains(MessageFlags::FASTOPEN) {
                return Err(Errno::EOPNOTSUPP.because("TCP Fast Open is off"));
            }
            return self.send_stream(src, options.flags.contains(MessageFlags::MORE));
        }
        if options.flags.contains(MessageFlags::MORE) {
            return Err(Errno::EOPNOTSUPP.because("datagrams are not put together from several calls"));
        }
        self.send_datagram(src, self.destination(options.to.as_ref())?, &choices)
    }

    fn receive(&self, dst: &mut IovDest<'_>, flags: MessageFlags, control: bool) -> Result<Received> {
        if flags.contains(MessageFlags::OOB) {
            return Err(Errno::EINVAL.because("there is no urgent data"));
        }
        match self.kind {
            SocketKind::Tcp => self.receive_stream(dst, flags),
            _ => self.receive_datagram(dst, flags, control),
        }
    }

    fn linger(&self, t: &Thread) {
        if self.kind != SocketKind::Tcp {
            return;
        }
        let time = network().look(|stack| stack.options(self.id()).map_or(None, |o| o.linger));
        let Some(time) = time.filter(|time| !time.is_zero()) else { return };
        // A connection that is not there has nothing to wait for.
        if network().call_sending(|stack, now| stack.shutdown(self.id(), Shutdown::Write, now)).is_err() {
            return;
        }
        let mut watch = PollWatch::for_thread(t, PollEvents::WRITABLE);
        watch.watch(self.socket.queue());
        let unsent = || {
            self.socket.readiness();
            network().look(|stack| stack.tcp_queued(self.id())).is_ok_and(|(_, bytes)| bytes > 0)
        };
        // However the wait ends, the close goes on.
        let _ended = sched::block_on(t, Some(time::now() + time), || (!unsent()).then_some(()));
    }

    fn low_water(&self) -> usize {
        network().look(|stack| stack.options(self.id()).map_or(1, |o| o.receive_low_water))
    }

    fn set_option(&self, t: &Thread, level: i32, name: i32, value: &OptionValue<'_>) -> Result<()> {
        inet_option::set(self, t, level, name, value)
    }

    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>> {
        inet_option::get(self, level, name)
    }

    fn ioctl(&self, _t: &Thread, request: u32, arg: usize) -> Result<usize> {
        let stream = self.kind == SocketKind::Tcp;
        let bytes = match request {
            FIONREAD if stream => network().look(|stack| stack.tcp_queued(self.id()))?.0,
            FIONREAD => network().look(|stack| stack.next_datagram_len(self.id()))?.unwrap_or(0),
            TIOCOUTQ if stream => network().look(|stack| stack.tcp_queued(self.id()))?.1,
            TIOCOUTQ | SIOCATMARK => 0,
            _ => return Err(Errno::ENOTTY.into()),
        };
        UserPtr::<i32>::new(arg).write(i32::try_from(bytes).unwrap_or(i32::MAX))?;
        Ok(0)
    }
}

/// One piece of ancillary data with an `int` in it.
pub(super) fn int_message(level: i32, kind: u32, value: i32) -> ControlMessage {
    ControlMessage { level, kind: kind as i32, data: value.to_ne_bytes().to_vec() }
}
