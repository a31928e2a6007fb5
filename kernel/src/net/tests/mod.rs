//! Two stacks, one link, virtual time.

mod datagrams;
mod forged;
mod fuzz;
mod links;
mod pair;
mod tcp_endings;
mod tcp_transfer;
