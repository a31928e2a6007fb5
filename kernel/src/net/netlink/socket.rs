//! Netlink sockets as files (netlink(7)).

use super::reply::{self, Acknowledgement, Reply};
use super::table;
use super::wire::{ACK, REQUEST, Request};
use crate::error::{Errno, Result};
use crate::fs::poll::{PollEvents, PollWatch};
use crate::mm::{IovDest, IovSource};
use crate::net::Shutdown;
use crate::net::file::option::{SOL_SOCKET, int_bytes, unknown_option};
use crate::net::file::{
    ControlMessage, MessageFlags, OptionValue, RawAddress, Received, SendOptions, SocketAddress, SocketOps, SocketType,
};
use crate::sched::{self, WaitQueue};
use crate::sync::{Rank, SpinLock};
use crate::task::Thread;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use alloc::vec;
use alloc::vec::Vec;

/// `AF_NETLINK`.
pub const AF_NETLINK: u16 = 16;
/// `SOL_NETLINK`.
const SOL_NETLINK: i32 = 270;
/// `sizeof(struct sockaddr_nl)`.
const ADDRESS_LEN: usize = 12;
/// Unread bytes beyond which a socket gets no notices (`net.core.rmem_default`)...
const NOTICE_LIMIT: usize = 212_992;
/// ...and may ask nothing.
const REQUEST_LIMIT: usize = 1 << 20;
/// Longest datagram that is taken.
const SEND_MAX: usize = 212_992;

const NETLINK_ADD_MEMBERSHIP: i32 = 1;
const NETLINK_DROP_MEMBERSHIP: i32 = 2;
const NETLINK_PKTINFO: i32 = 3;
const NETLINK_CAP_ACK: i32 = 10;
const NETLINK_EXT_ACK: i32 = 11;
const NETLINK_GET_STRICT_CHK: i32 = 12;
/// `NETLINK_BROADCAST_ERROR`, `NETLINK_NO_ENOBUFS`, `NETLINK_LISTEN_ALL_NSID`: there is nothing that they would change.
const WITHOUT_EFFECT: [i32; 3] = [4, 5, 8];

struct Datagram {
    /// The group it was sent to; 0 for a reply.
    group: u32,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct State {
    /// The port (`nl_pid`); 0 until bound.
    port: u32,
    /// Groups 1 to 32, as bits.
    groups: u32,
    acknowledgement: Acknowledgement,
    strict: bool,
    packet_info: bool,
    /// A notice was lost (`ENOBUFS`).
    overrun: bool,
    queue: VecDeque<Datagram>,
    bytes: usize,
}

/// What a netlink socket has received, and how it is set.
pub(super) struct Inbox {
    state: SpinLock<State>,
    waiters: Arc<WaitQueue>,
}

impl Inbox {
    fn deliver(&self, replies: Vec<Vec<u8>>) {
        {
            let mut state = self.state.lock();
            for bytes in replies {
                state.bytes += bytes.len();
                state.queue.push_back(Datagram { group: 0, bytes });
            }
        }
        self.waiters.wake(PollEvents::READABLE);
    }

    /// A notice; lost if too many are unread, which the next receive call says.
    pub(super) fn deliver_notice(&self, group: u32, bytes: Vec<u8>) {
        {
            let mut state = self.state.lock();
            if state.bytes + bytes.len() > NOTICE_LIMIT {
                state.overrun = true;
            } else {
                state.bytes += bytes.len();
                state.queue.push_back(Datagram { group, bytes });
            }
        }
        self.waiters.wake(PollEvents::READABLE);
    }
}

/// Bound sockets, by port.
static PORTS: SpinLock<BTreeMap<u32, Weak<Inbox>>> = SpinLock::new(Rank::Pipe, BTreeMap::new());

/// The members of a group.
pub(super) fn members(group: u32) -> Vec<Arc<Inbox>> {
    let all: Vec<Arc<Inbox>> = PORTS.lock().values().filter_map(Weak::upgrade).collect();
    all.into_iter().filter(|i| i.state.lock().groups & bit(group) != 0).collect()
}

fn bit(group: u32) -> u32 {
    1u32.checked_shl(group.wrapping_sub(1)).unwrap_or(0)
}

/// A socket of `NETLINK_ROUTE`.
struct NetlinkSocket {
    inbox: Arc<Inbox>,
    kind: SocketType,
}

/// socket(2). EPROTONOSUPPORT for the other netlink families.
pub fn create(kind: u32, protocol: i32) -> Result<Box<dyn SocketOps>> {
    let kind = match kind {
        2 => SocketType::Datagram,
        3 => SocketType::Raw,
        _ => return Err(Errno::ESOCKTNOSUPPORT.into()),
    };
    if protocol != 0 {
        return Err(Errno::EPROTONOSUPPORT.because("of netlink, there is NETLINK_ROUTE only"));
    }
    let state = SpinLock::new(Rank::Socket, State::default());
    Ok(Box::new(NetlinkSocket { inbox: Arc::new(Inbox { state, waiters: Arc::new(WaitQueue::new()) }), kind }))
}

impl Drop for NetlinkSocket {
    fn drop(&mut self) {
        let port = self.inbox.state.lock().port;
        if port != 0 {
            PORTS.lock().remove(&port);
        }
    }
}

/// `nl_pid` and `nl_groups`. EINVAL if it is no address of this family.
fn parse(address: &RawAddress) -> Result<(u32, u32)> {
    let bytes = address.bytes();
    if bytes.len() < ADDRESS_LEN || address.family()? != AF_NETLINK {
        return Err(Errno::EINVAL.because("not a sockaddr_nl"));
    }
    let word = |at: usize| bytes[at..].first_chunk().map_or(0, |b| u32::from_ne_bytes(*b));
    Ok((word(4), word(8)))
}

fn address(port: u32, groups: u32) -> SocketAddress {
    let mut bytes = AF_NETLINK.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&port.to_ne_bytes());
    bytes.extend_from_slice(&groups.to_ne_bytes());
    SocketAddress::Other(bytes)
}

impl NetlinkSocket {
    /// Gives the socket a port: the process id, or another number where that is taken.
    fn bind_port(&self, wanted: u32) -> Result<u32> {
        if let port @ 1.. = self.inbox.state.lock().port {
            return if wanted == 0 || wanted == port { Ok(port) } else { Err(Errno::EINVAL.because("bound already")) };
        }
        let own = sched::current().map_or(1, |t| t.process().pid().0 as u32);
        let port = {
            let mut ports = PORTS.lock();
            let port = match wanted {
                0 if !ports.contains_key(&own) => own,
                0 => (0..u32::MAX).rev().find(|p| !ports.contains_key(p)).ok_or(Errno::EADDRINUSE)?,
                wanted if ports.contains_key(&wanted) => return Err(Errno::EADDRINUSE.into()),
                wanted => wanted,
            };
            ports.insert(port, Arc::downgrade(&self.inbox));
            port
        };
        self.inbox.state.lock().port = port;
        Ok(port)
    }

    fn answer(&self, t: &Thread, port: u32, request: &Request<'_>) {
        // Below 16 are messages about messages, which want nothing.
        if request.flags & REQUEST == 0 || request.kind < 16 {
            return;
        }
        let how = self.inbox.state.lock().acknowledgement;
        let mut reply = Reply::to(request, port);
        let replies = match table::answer(&t.credentials(), request, &mut reply) {
            Ok(()) => {
                let mut replies = reply.finish();
                if request.flags & ACK != 0 && !request.is_get_dump() {
                    replies.push(reply::error(request, port, None, how));
                }
                replies
            }
            Err(e) => vec![reply::error(request, port, Some(e), how)],
        };
        self.inbox.deliver(replies);
    }
}

impl Request<'_> {
    /// Whether this is a dump, which its own last message acknowledges.
    fn is_get_dump(&self) -> bool {
        self.kind & 3 == 2 && self.is_dump()
    }
}

impl SocketOps for NetlinkSocket {
    fn kind(&self) -> (u16, SocketType, i32) {
        (AF_NETLINK, self.kind, 0)
    }

    fn poll(&self, watch: &mut PollWatch<'_>) -> PollEvents {
        watch.watch(&self.inbox.waiters);
        let state = self.inbox.state.lock();
        let mut events = PollEvents::WRITABLE;
        events.set(PollEvents::READABLE, !state.queue.is_empty());
        events.set(PollEvents::ERR, state.overrun);
        events
    }

    fn bind(&self, _t: &Thread, address: &RawAddress) -> Result<()> {
        let (port, groups) = parse(address)?;
        self.bind_port(port)?;
        self.inbox.state.lock().groups = groups;
        Ok(())
    }

    fn connect(&self, _t: &Thread, address: &RawAddress) -> Result<()> {
        match parse(address)? {
            (0, _) => self.bind_port(0).map(drop),
            _ => Err(Errno::ECONNREFUSED.because("netlink speaks with the kernel only")),
        }
    }

    fn listen(&self, _backlog: usize) -> Result<()> {
        Err(Errno::EOPNOTSUPP.into())
    }

    fn accept(&self) -> Result<(Box<dyn SocketOps>, SocketAddress)> {
        Err(Errno::EOPNOTSUPP.into())
    }

    fn local_address(&self) -> Result<SocketAddress> {
        let state = self.inbox.state.lock();
        Ok(address(state.port, state.groups))
    }

    fn peer_address(&self) -> Result<SocketAddress> {
        Ok(address(0, 0))
    }

    fn shutdown(&self, _how: Shutdown) -> Result<()> {
        Err(Errno::EOPNOTSUPP.into())
    }

    fn deliver(&self, message: &[u8]) -> Result<()> {
        self.inbox.deliver(vec![message.to_vec()]);
        Ok(())
    }

    fn send(&self, src: &mut IovSource<'_>, options: &SendOptions) -> Result<usize> {
        if options.flags.contains(MessageFlags::OOB) {
            return Err(Errno::EOPNOTSUPP.because("there is no urgent data"));
        }
        if let Some(to) = &options.to
            && parse(to)?.0 != 0
        {
            return Err(Errno::ECONNREFUSED.because("netlink speaks with the kernel only"));
        }
        let port = self.bind_port(0)?;
        let len = src.remaining();
        if len > SEND_MAX {
            return Err(Errno::EMSGSIZE.into());
        }
        if self.inbox.state.lock().bytes > REQUEST_LIMIT {
            return Err(Errno::ENOBUFS.because("the replies are not read"));
        }
        let t = sched::current().ok_or(Errno::EINVAL)?;
        let mut bytes = vec![0; len];
        src.take(&mut bytes)?;
        let mut rest = &bytes[..];
        // A datagram of many small requests may ask for any amount: what goes beyond is not looked at, as where Linux's
        // receive buffer is full.
        while let Some((request, next)) = Request::split(rest)
            && self.inbox.state.lock().bytes <= REQUEST_LIMIT
        {
            self.answer(t, port, &request);
            rest = next;
        }
        Ok(len)
    }

    fn receive(&self, dst: &mut IovDest<'_>, flags: MessageFlags, control: bool) -> Result<Received> {
        if flags.contains(MessageFlags::OOB) {
            return Err(Errno::EOPNOTSUPP.because("there is no urgent data"));
        }
        let mut state = self.inbox.state.lock();
        if core::mem::take(&mut state.overrun) {
            return Err(Errno::ENOBUFS.because("notices were lost"));
        }
        let Some(first) = state.queue.front() else { return Err(Errno::EAGAIN.into()) };
        let (group, whole) = (first.group, first.bytes.len());
        let copied = dst.put(&first.bytes)?;
        if !flags.contains(MessageFlags::PEEK) {
            state.queue.pop_front();
            state.bytes -= whole;
        }
        let info = control && state.packet_info;
        let told = ControlMessage { level: SOL_NETLINK, kind: NETLINK_PKTINFO, data: group.to_ne_bytes().to_vec() };
        Ok(Received {
            len: if flags.contains(MessageFlags::TRUNC) { whole } else { copied },
            from: Some(address(0, bit(group))),
            flags: if copied < whole { MessageFlags::TRUNC } else { MessageFlags::empty() },
            control: info.then_some(told).into_iter().collect(),
            ..Received::default()
        })
    }

    fn set_option(&self, _t: &Thread, level: i32, name: i32, value: &OptionValue<'_>) -> Result<()> {
        use crate::abi::net::{SO_PASSCRED, SO_RCVBUF, SO_RCVBUFFORCE, SO_REUSEADDR, SO_SNDBUF, SO_SNDBUFFORCE};
        if level == SOL_SOCKET {
            return match name as u32 {
                SO_SNDBUF | SO_RCVBUF | SO_SNDBUFFORCE | SO_RCVBUFFORCE | SO_REUSEADDR | SO_PASSCRED => {
                    value.int().map(drop)
                }
                _ => Err(unknown_option(level)),
            };
        }
        if level != SOL_NETLINK {
            return Err(unknown_option(level));
        }
        let v = value.int()?;
        let group = || match bit(v as u32) {
            0 => Err(Errno::EINVAL.because("no such group")),
            bit => Ok(bit),
        };
        if name == NETLINK_ADD_MEMBERSHIP {
            self.bind_port(0)?;
        }
        let mut state = self.inbox.state.lock();
        match name {
            NETLINK_ADD_MEMBERSHIP => state.groups |= group()?,
            NETLINK_DROP_MEMBERSHIP => state.groups &= !group()?,
            NETLINK_PKTINFO => state.packet_info = v != 0,
            NETLINK_CAP_ACK => state.acknowledgement.capped = v != 0,
            NETLINK_EXT_ACK => state.acknowledgement.extended = v != 0,
            NETLINK_GET_STRICT_CHK => state.strict = v != 0,
            name if WITHOUT_EFFECT.contains(&name) => {}
            _ => return Err(unknown_option(level)),
        }
        Ok(())
    }

    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>> {
        use crate::abi::net::{SO_ERROR, SO_RCVBUF, SO_SNDBUF};
        let state = self.inbox.state.lock();
        Ok(int_bytes(match (level, name) {
            (SOL_SOCKET, name) if [SO_RCVBUF, SO_SNDBUF].contains(&(name as u32)) => NOTICE_LIMIT as i32,
            (SOL_SOCKET, name) if name as u32 == SO_ERROR => 0,
            (SOL_NETLINK, NETLINK_PKTINFO) => state.packet_info.into(),
            (SOL_NETLINK, NETLINK_CAP_ACK) => state.acknowledgement.capped.into(),
            (SOL_NETLINK, NETLINK_EXT_ACK) => state.acknowledgement.extended.into(),
            (SOL_NETLINK, NETLINK_GET_STRICT_CHK) => state.strict.into(),
            _ => return Err(unknown_option(level)),
        }))
    }
}
