//! `/proc/net/snmp`: protocol counters by the names of RFC 4293, 4022 and 4113.

use crate::net::SnmpStats;
use alloc::format;
use alloc::string::String;

/// A pair of lines: names, and values in the same order. Counters that the stack does not keep are 0.
fn pair(out: &mut String, protocol: &str, rows: &[(&str, i64)]) {
    let names: String = rows.iter().map(|(name, _)| format!(" {name}")).collect();
    let values: String = rows.iter().map(|(_, value)| format!(" {value}")).collect();
    out.push_str(&format!("{protocol}:{names}\n{protocol}:{values}\n"));
}

pub(super) fn snmp(s: &SnmpStats, established: usize, out: &mut String) {
    let n = |v: u64| v as i64;
    pair(
        out,
        "Ip",
        &[
            ("Forwarding", 2),
            ("DefaultTTL", 64),
            ("InReceives", n(s.ip_in_receives)),
            ("InHdrErrors", n(s.ip_in_hdr_errors)),
            ("InAddrErrors", n(s.ip_in_addr_errors)),
            ("ForwDatagrams", 0),
            ("InUnknownProtos", n(s.ip_in_unknown_protos)),
            ("InDiscards", 0),
            ("InDelivers", n(s.ip_in_delivers)),
            ("OutRequests", n(s.ip_out_requests)),
            ("OutDiscards", 0),
            ("OutNoRoutes", 0),
            ("ReasmTimeout", 0),
            ("ReasmReqds", n(s.ip_reasm_reqds)),
            ("ReasmOKs", n(s.ip_reasm_oks)),
            ("ReasmFails", n(s.ip_reasm_fails)),
            ("FragOKs", n(s.ip_frag_oks)),
            ("FragFails", 0),
            ("FragCreates", 0),
        ],
    );
    pair(
        out,
        "Icmp",
        &[("InMsgs", n(s.icmp_in_msgs)), ("InErrors", n(s.icmp_in_errors)), ("OutMsgs", n(s.icmp_out_msgs))],
    );
    pair(
        out,
        "Tcp",
        &[
            ("RtoAlgorithm", 1),
            ("RtoMin", 200),
            ("RtoMax", 120_000),
            ("MaxConn", -1),
            ("ActiveOpens", n(s.tcp_active_opens)),
            ("PassiveOpens", n(s.tcp_passive_opens)),
            ("AttemptFails", n(s.tcp_attempt_fails)),
            ("EstabResets", n(s.tcp_estab_resets)),
            ("CurrEstab", established as i64),
            ("InSegs", n(s.tcp_in_segs)),
            ("OutSegs", n(s.tcp_out_segs)),
            ("RetransSegs", n(s.tcp_retrans_segs)),
            ("InErrs", n(s.tcp_in_errs)),
            ("OutRsts", n(s.tcp_out_rsts)),
            ("InCsumErrors", 0),
        ],
    );
    pair(
        out,
        "Udp",
        &[
            ("InDatagrams", n(s.udp_in_datagrams)),
            ("NoPorts", n(s.udp_no_ports)),
            ("InErrors", n(s.udp_in_errors)),
            ("OutDatagrams", n(s.udp_out_datagrams)),
            ("RcvbufErrors", n(s.udp_rcvbuf_errors)),
            ("SndbufErrors", 0),
            ("InCsumErrors", 0),
            ("IgnoredMulti", 0),
            ("MemErrors", 0),
        ],
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_its_value() {
        let mut text = String::new();
        snmp(&SnmpStats { tcp_in_segs: 7, ..SnmpStats::default() }, 3, &mut text);
        let lines: alloc::vec::Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 8);
        for two in lines.chunks(2) {
            assert_eq!(two[0].split(' ').count(), two[1].split(' ').count());
        }
        let at = lines[4].split(' ').position(|n| n == "InSegs").unwrap();
        assert_eq!(lines[5].split(' ').nth(at), Some("7"));
    }
}
