//! What the command line says of a tap, in both syntaxes.
//!
//! Errors are the problem alone; [`OptionError`](crate::OptionError) adds the option's name and the accepted form.

use crate::frame::MacAddr;
use crate::options::{clip, parse_mac};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::net::Ipv4Addr;

/// Frames that the caller moves at a time, if nothing else is said (User-Mode Linux's default, too).
const DEFAULT_DEPTH: u16 = 64;
/// Largest `depth=`.
const MAX_DEPTH: u16 = 1024;
/// Longest interface name, in bytes (IFNAMSIZ without the NUL).
const MAX_IFNAME_LEN: usize = 15;
/// Keys of `vec<n>:transport=tap`.
const VECTOR_KEYS: &str = "transport, ifname, mac, depth, gro";

/// How a tap is to be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TapOptions {
    /// The host's interface; `None` lets the host choose `tap<n>`.
    pub ifname: Option<String>,
    /// The guest's address; `None` draws a locally administered one.
    pub mac: Option<MacAddr>,
    /// The host's address on the link, a /24, when the tap is made by us.
    pub host_ip: Option<Ipv4Addr>,
    /// Frames that the caller should move in one call, 1..=1024.
    pub depth: u16,
    /// Whether the host may hand over coalesced segments.
    pub gro: bool,
}

impl Default for TapOptions {
    fn default() -> Self {
        TapOptions { ifname: None, mac: None, host_ip: None, depth: DEFAULT_DEPTH, gro: true }
    }
}

/// Reads the value of `eth<n>=`.
pub(crate) fn parse_tuntap(value: &str) -> Result<TapOptions, String> {
    let mut fields = value.split(',');
    let transport = fields.next().unwrap_or_default();
    if transport != "tuntap" {
        return Err(format!("the transport `{}` is not supported, tuntap, raw and vhost-user are", clip(transport)));
    }
    let mut field = || fields.next().filter(|f| !f.is_empty());
    let (ifname, mac, host_ip) = (field(), field(), field());
    if let Some(extra) = fields.next() {
        return Err(format!("`{}` is one field too many", clip(extra)));
    }
    Ok(TapOptions {
        ifname: ifname.map(parse_ifname).transpose()?,
        mac: mac.map(parse_mac).transpose()?,
        host_ip: host_ip.map(parse_host_ip).transpose()?,
        ..TapOptions::default()
    })
}

/// Reads the value of `vec<n>:`.
pub(crate) fn parse_vector_tap(value: &str) -> Result<TapOptions, String> {
    let mut options = TapOptions::default();
    let mut seen: [Option<&str>; 5] = [None; 5];
    for (at, pair) in value.split(',').enumerate() {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("`{}` is not key=value", clip(pair)))?;
        if seen.contains(&Some(key)) {
            return Err(format!("`{}` is given twice", clip(key)));
        }
        match key {
            "transport" if value == "tap" => {}
            "transport" => {
                return Err(format!("the transport `{}` is not supported, tap, raw and vhost-user are", clip(value)));
            }
            "ifname" => options.ifname = Some(parse_ifname(value)?),
            "mac" => options.mac = Some(parse_mac(value)?),
            "depth" => options.depth = parse_depth(value)?,
            "gro" => options.gro = parse_gro(value)?,
            _ => return Err(format!("`{}` is not a key; the keys are {VECTOR_KEYS}", clip(key))),
        }
        // Each known key appears once, so that the index stays below their number.
        if let Some(slot) = seen.get_mut(at) {
            *slot = Some(key);
        }
    }
    if !seen.contains(&Some("transport")) {
        return Err("the transport is missing".to_owned());
    }
    Ok(options)
}

/// The rules of the host's dev_valid_name(); `%` would make the host count.
pub(crate) fn parse_ifname(name: &str) -> Result<String, String> {
    let bad = |why: &str| Err(format!("the interface name `{}` {why}", clip(name)));
    if name.is_empty() || name.len() > MAX_IFNAME_LEN {
        return bad("has not 1 to 15 bytes");
    }
    if name == "." || name == ".." {
        return bad("is not allowed");
    }
    if name.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%')) {
        return bad("has a `/`, `:`, `%` or white space in it");
    }
    Ok(name.to_owned())
}

fn parse_host_ip(text: &str) -> Result<Ipv4Addr, String> {
    let ip: Ipv4Addr = text.parse().map_err(|_| format!("`{}` is not an IPv4 address", clip(text)))?;
    let host_part = ip.octets()[3];
    let class_e = ip.octets()[0] >= 240;
    if ip.octets()[0] == 0 || ip.is_loopback() || ip.is_multicast() || class_e || matches!(host_part, 0 | 255) {
        return Err(format!("the host-side IP {} cannot be an interface's address in a /24", ip));
    }
    Ok(ip)
}

fn parse_depth(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(depth @ 1..=MAX_DEPTH) => Ok(depth),
        _ => Err(format!("the depth `{}` is not 1..{MAX_DEPTH}", clip(text))),
    }
}

fn parse_gro(text: &str) -> Result<bool, String> {
    match text {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(format!("gro `{}` is neither 0 nor 1", clip(text))),
    }
}
