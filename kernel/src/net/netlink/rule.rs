//! Policy rules: the three that every machine has (`ip rule`); they cannot be changed.

use super::reply::{Reply, unsupported};
use super::table::{Verb, includes_ipv4};
use super::wire::Request;
use crate::error::Result;

const RTM_NEWRULE: u16 = 32;
const FRA_PRIORITY: u16 = 6;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
/// `FR_ACT_TO_TBL`.
const TO_TABLE: u8 = 1;

/// Priority and table: local, main, default.
const RULES: [(u32, u32); 3] = [(0, 255), (32766, 254), (32767, 253)];

pub(super) fn answer(verb: Verb, request: &Request<'_>, reply: &mut Reply) -> Result<()> {
    if verb != Verb::Get || !request.is_dump() {
        return Err(unsupported("policy rules cannot be changed"));
    }
    if includes_ipv4(request.family()) {
        for (priority, table) in RULES {
            // struct fib_rule_hdr: family, prefix lengths, tos, table, two reserved bytes, action, flags.
            let head = [2, 0, 0, 0, table as u8, 0, 0, TO_TABLE, 0, 0, 0, 0];
            let mut message = reply.message(RTM_NEWRULE).raw(&head).number(FRA_TABLE, table);
            message = message.number(FRA_SUPPRESS_PREFIXLEN, u32::MAX);
            if priority != 0 {
                message = message.number(FRA_PRIORITY, priority);
            }
            reply.push(message);
        }
    }
    Ok(())
}
