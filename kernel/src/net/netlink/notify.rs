//! Groups: who wants to hear of changes (`ip monitor`).

use super::socket::{self, Inbox};
use super::wire::Message;
use super::{link, route};
use crate::net::{IfIndex, Route};
use alloc::sync::Arc;

/// `RTNLGRP_*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Group {
    Link = 1,
    Neighbor = 3,
    Address = 5,
    Route = 7,
}

/// Sends a message to the members of a group; it is made only if there are any.
pub(super) fn tell(group: Group, make: impl FnOnce() -> Option<Message>) {
    let members: alloc::vec::Vec<Arc<Inbox>> = socket::members(group as u32);
    if members.is_empty() {
        return;
    }
    if let Some(message) = make() {
        let bytes = message.finish();
        for member in members {
            member.deliver_notice(group as u32, bytes.clone());
        }
    }
}

/// A link was changed by another way than netlink.
pub fn link_changed(index: IfIndex) {
    link::link_changed(index);
}

/// A route was changed by another way than netlink.
pub fn route_changed(route: &Route, came: bool) {
    route::route_changed(route, came);
}
