//! Which request goes where.

use super::reply::{Reply, unsupported};
use super::wire::Request;
use super::{address, link, neighbor, route, rule};
use crate::error::{Errno, Result};
use crate::task::{Capability, Credentials};

/// Which of the four calls on an object a message type is: its two low bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verb {
    New,
    Delete,
    Get,
    Set,
}

/// First message type of each object (`RTM_BASE` is 16).
const LINK: u16 = 16;
const ADDRESS: u16 = 20;
const ROUTE: u16 = 24;
const NEIGHBOR: u16 = 28;
const RULE: u16 = 32;

/// Does what a request asks, and appends what it returns. EPERM for a change without CAP_NET_ADMIN.
pub(super) fn answer(who: &Credentials, request: &Request<'_>, reply: &mut Reply) -> Result<()> {
    let verb = match request.kind & 3 {
        0 => Verb::New,
        1 => Verb::Delete,
        2 => Verb::Get,
        _ => Verb::Set,
    };
    if request.kind < LINK {
        return Err(unsupported("no such message"));
    }
    if verb != Verb::Get && !who.capable(Capability::NetAdmin) {
        return Err(Errno::EPERM.because("a change needs CAP_NET_ADMIN"));
    }
    match request.kind & !3 {
        LINK => link::answer(verb, request, reply),
        ADDRESS => address::answer(verb, request, reply),
        ROUTE => route::answer(verb, request, reply),
        NEIGHBOR => neighbor::answer(verb, request, reply),
        RULE => rule::answer(verb, request, reply),
        _ => Err(unsupported("rtnetlink has links, addresses, routes, neighbours and rules here")),
    }
}

/// The families of a request: IPv4, or all of them, of which IPv4 is the one that there is.
pub(super) fn includes_ipv4(family: u8) -> bool {
    matches!(family, 0 | 2)
}

/// EAFNOSUPPORT unless a change is about IPv4.
pub(super) fn check_ipv4(family: u8) -> Result<()> {
    if family == 2 { Ok(()) } else { Err(Errno::EAFNOSUPPORT.because("only IPv4 is routed")) }
}
