//! rtnetlink(7): how ip(8) and its like read and change interfaces, addresses, routes and neighbours.
//!
//! A request is answered within the call that sends it: [`route::answer`] acts on the stack and puts its replies, cut
//! into datagrams, into the socket's inbox. A dump is thus a snapshot. Replies to one's own requests are never
//! dropped; instead a socket that does not read is refused further requests once its inbox is large.
//!
//! Changes are told to sockets that have joined the groups of links, addresses, routes and neighbours, whether they
//! came by netlink or by ioctl ([`notify`]).
//!
//! Of the netlink families there is `NETLINK_ROUTE` only; of its objects links, addresses, routes, neighbours, and
//! the three policy rules that every machine has, read-only. One routing table can be changed: main.

mod address;
mod link;
mod neighbor;
pub mod notify;
mod reply;
mod route;
mod rule;
mod socket;
mod table;
pub mod wire;

pub use socket::{AF_NETLINK, create};
