//! /proc/net, and the facts about the network that it and /sys/class/net show.

use super::{Text, device};
use crate::fs::inode::Inode;
use crate::fs::pseudo::{FixedDir, Identity, PseudoDir, PseudoFile};
use crate::sync::Once;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The files of /proc/net whose rows the network side writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum NetTable {
    Tcp,
    Tcp6,
    Udp,
    Udp6,
    Raw,
    Raw6,
    Unix,
    Route,
    Arp,
    IfInet6,
    /// The whole text: pairs of lines, names and values.
    Snmp,
    Netlink,
    Packet,
    /// The whole text.
    Sockstat,
}

/// Counters of an interface since it came to be (`struct rtnl_link_stats64`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Statistics {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub multicast: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
    pub collisions: u64,
}

/// An interface (netdevice(7)).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Such as `eth0`.
    pub name: String,
    /// `ifindex`.
    pub index: u32,
    /// Hardware address; six zeros for the loopback.
    pub address: Vec<u8>,
    /// Hardware broadcast address.
    pub broadcast: Vec<u8>,
    /// In bytes.
    pub mtu: u32,
    /// `IFF_*`.
    pub flags: u32,
    /// `ARPHRD_*`.
    pub hardware_type: u16,
    /// Whether the link is there; `None` while the interface is down, when asking is an error.
    pub carrier: Option<bool>,
    /// RFC 2863 state: `up`, `down`, `unknown`.
    pub operstate: &'static str,
    /// Packets.
    pub tx_queue_len: u32,
    /// Counters.
    pub statistics: Statistics,
}

/// What the network side tells. Called without any lock held.
pub trait NetFacts: Send + Sync + 'static {
    /// All interfaces, by index.
    fn interfaces(&self) -> Vec<Interface>;

    /// Appends the rows of a table, each with its newline, in the exact form of Linux; the heading is there already.
    fn rows(&self, table: NetTable, out: &mut String);
}

static FACTS: Once<Box<dyn NetFacts>> = Once::new();

/// Sets who tells about the network. Done once, at boot; until then tables are empty.
pub fn register_net_facts(facts: impl NetFacts) {
    FACTS.call_once(|| Box::new(facts));
}

/// All interfaces, by index.
pub fn interfaces() -> Vec<Interface> {
    FACTS.get().map(|f| f.interfaces()).unwrap_or_default()
}

impl NetTable {
    const fn heading(self) -> &'static str {
        match self {
            NetTable::Tcp => concat!(
                "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
                "                                                     \n"
            ),
            NetTable::Udp | NetTable::Raw => {
                "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops             \n"
            }
            NetTable::Tcp6 => {
                "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
            }
            NetTable::Udp6 | NetTable::Raw6 => {
                "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"
            }
            NetTable::Unix => "Num       RefCount Protocol Flags    Type St Inode Path\n",
            NetTable::Route => concat!(
                "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT",
                "                                                       \n"
            ),
            NetTable::Arp => "IP address       HW type     Flags       HW address            Mask     Device\n",
            NetTable::Netlink => {
                "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n"
            }
            NetTable::Packet => "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n",
            NetTable::IfInet6 | NetTable::Snmp | NetTable::Sockstat => "",
        }
    }

    fn text(self) -> String {
        let mut out = String::from(self.heading());
        if let Some(facts) = FACTS.get() {
            facts.rows(self, &mut out);
        }
        out
    }
}

const TABLES: &[(&str, NetTable)] = &[
    ("tcp", NetTable::Tcp),
    ("tcp6", NetTable::Tcp6),
    ("udp", NetTable::Udp),
    ("udp6", NetTable::Udp6),
    ("raw", NetTable::Raw),
    ("raw6", NetTable::Raw6),
    ("unix", NetTable::Unix),
    ("route", NetTable::Route),
    ("arp", NetTable::Arp),
    ("if_inet6", NetTable::IfInet6),
    ("snmp", NetTable::Snmp),
    ("netlink", NetTable::Netlink),
    ("packet", NetTable::Packet),
    ("sockstat", NetTable::Sockstat),
];

/// /proc/net/dev.
fn dev() -> String {
    let mut out = String::from(concat!(
        "Inter-|   Receive                                                |  Transmit\n",
        " face |bytes    packets errs drop fifo frame compressed multicast",
        "|bytes    packets errs drop fifo colls carrier compressed\n"
    ));
    for i in interfaces() {
        let s = i.statistics;
        out.push_str(&format!(
            "{:>6}: {:7} {:7} {:4} {:4} {:4} {:5} {:10} {:9} {:8} {:7} {:4} {:4} {:4} {:5} {:7} {:10}\n",
            i.name,
            s.rx_bytes,
            s.rx_packets,
            s.rx_errors,
            s.rx_dropped,
            0,
            0,
            0,
            s.multicast,
            s.tx_bytes,
            s.tx_packets,
            s.tx_errors,
            s.tx_dropped,
            0,
            s.collisions,
            0,
            0
        ));
    }
    out
}

/// The directory; it is the same for every process.
pub(super) fn directory() -> Arc<dyn Inode> {
    static DIRECTORY: Once<Arc<PseudoDir>> = Once::new();
    DIRECTORY
        .call_once(|| {
            let table = |table: NetTable| {
                PseudoFile::new(Identity::new(device(), 0o444), move |out| {
                    out.extend_from_slice(table.text().as_bytes());
                    Ok(())
                })
            };
            let dev: Text = dev;
            let start = FixedDir::default().with("dev", super::file(0o444, dev));
            let all = TABLES.iter().fold(start, |dir, &(name, t)| dir.with(name, table(t)));
            PseudoDir::new(Identity::new(device(), 0o555), all)
        })
        .clone()
}
